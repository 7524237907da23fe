//! Figures as files of a stage's output, shared by the stages that draw.

use std::sync::atomic::{AtomicU64, Ordering};

use pipe_engine::{Fault, StageContext, StageError};
use rayon::prelude::*;

use crate::figures::{Figure, FileFormat, FileOptions};

/// Refuses no format, and one given twice.
pub(crate) fn check(formats: &[FileFormat]) -> Vec<Fault> {
    let twice = formats.iter().enumerate().any(|(i, format)| formats[..i].contains(format));
    let mut faults = Vec::new();
    if formats.is_empty() {
        faults.push(Fault::at("formats", "no format is given").help("use `png`, `svg` or both"));
    } else if twice {
        faults.push(Fault::at("formats", "a format is given twice"));
    }
    faults
}

/// Writes figures as files of the output `figures`.
///
/// # Errors
/// When one can't be drawn or written, or the run is to stop.
pub(crate) fn write(
    drawn: &[(&str, Figure)],
    options: FileOptions<'_>,
    context: &StageContext<'_>,
) -> Result<(), StageError> {
    let output = context.output("figures")?;
    let done = AtomicU64::new(0);
    let files = |(name, figure): &(&str, Figure)| -> Result<(), StageError> {
        context.check_interrupt()?;
        for (file, bytes) in figure.files(name, options)? {
            output.write(&file, &bytes)?;
        }
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        context.progress(done, drawn.len() as u64, "figures");
        Ok(())
    };
    drawn.par_iter().try_for_each(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_some_and_each_once() {
        assert!(check(&[FileFormat::Png, FileFormat::Svg]).is_empty());
        assert_eq!(check(&[])[0].path, ["formats"]);
        assert_eq!(check(&[FileFormat::Svg, FileFormat::Svg]).len(), 1);
    }
}
