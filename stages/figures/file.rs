//! The files of a figure: in which formats, and how fine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{error::FigureError, figure::Figure};

/// A format that figures can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Pixels.
    Png,
    /// Lines and text, sharp at any size.
    Svg,
}

/// How figures are written.
#[derive(Debug, Clone, Copy)]
pub struct FileOptions<'a> {
    /// The formats; each gives a file.
    pub formats: &'a [FileFormat],
    /// Dots to the inch of a PNG at the figure's printed size.
    pub dots_per_inch: u32,
}

impl Figure {
    /// The figure as files, in the order of the formats: their names, which begin with `name`,
    /// and their bytes.
    ///
    /// # Errors
    ///
    /// As [`Figure::png`].
    pub fn files(
        &self,
        name: &str,
        options: FileOptions,
    ) -> Result<Vec<(String, Vec<u8>)>, FigureError> {
        let file = |format: &FileFormat| match format {
            FileFormat::Png => {
                let scale = options.dots_per_inch as f32 / 96.0;
                Ok((format!("{name}.png"), self.png(scale)?))
            }
            FileFormat::Svg => Ok((format!("{name}.svg"), self.svg().into_bytes())),
        };
        options.formats.iter().map(file).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::confusion;
    use super::*;

    #[test]
    fn each_format_is_a_file() {
        let figure = confusion(&[vec![3, 1], vec![0, 2]]);
        let both = [FileFormat::Svg, FileFormat::Png];
        let options = FileOptions { formats: &both, dots_per_inch: 96 };
        let files = figure.files("confusion", options).unwrap();
        let names: Vec<&str> = files.iter().map(|f| f.0.as_str()).collect();
        assert_eq!(names, ["confusion.svg", "confusion.png"]);
        assert!(files[0].1.starts_with(b"<svg") && files[1].1.starts_with(b"\x89PNG"));
        // 3.5 in at 96 dots to the inch.
        assert_eq!(files[1].1[16..20], [0, 0, 1, 80]);
        let bad = FileOptions { formats: &both, dots_per_inch: 0 };
        assert!(figure.files("confusion", bad).is_err());
    }
}
