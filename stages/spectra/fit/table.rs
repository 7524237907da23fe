//! What was fitted, as CSV: a row for each component.

use std::io::Write;

use serde::Serialize;

use super::fitted_spectrum::FittedSpectrum;
use super::fitter::FittedComponent;
use crate::spectra::{Axis, CatalogueError};

/// The columns of the table, in order.
pub const FIT_COLUMNS: [&str; 17] = [
    "row",
    "x",
    "y",
    "component",
    "amplitude",
    "amplitude_err",
    "mean",
    "mean_err",
    "sigma",
    "sigma_err",
    "fwhm",
    "mean_channel",
    "sigma_channel",
    "chi_squared",
    "reduced_chi_squared",
    "noise_rms",
    "flags",
];

#[derive(Serialize)]
struct Line {
    row: u64,
    x: Option<u64>,
    y: Option<u64>,
    component: usize,
    amplitude: f64,
    amplitude_err: f64,
    mean: f64,
    mean_err: f64,
    sigma: f64,
    sigma_err: f64,
    fwhm: f64,
    mean_channel: f64,
    sigma_channel: f64,
    chi_squared: f64,
    reduced_chi_squared: f64,
    noise_rms: f64,
    flags: String,
}

/// Writes the table. Numbers have the fewest digits that read back as the same number.
pub struct FitTable<W: Write> {
    table: csv::Writer<W>,
}

impl<W: Write> FitTable<W> {
    /// A table that goes to `to`, beginning with the names of the columns.
    ///
    /// # Errors
    /// Where `to` can't be written.
    pub fn new(to: W) -> Result<Self, CatalogueError> {
        let mut table = Self::continued(to);
        table.table.write_record(FIT_COLUMNS)?;
        Ok(table)
    }

    /// More rows of a table whose beginning stands elsewhere.
    pub fn continued(to: W) -> Self {
        Self { table: csv::WriterBuilder::new().has_headers(false).from_writer(to) }
    }

    /// Appends the components of spectrum `row` at `pixel` (x, y).
    ///
    /// # Errors
    /// Where they can't be written.
    pub fn write(
        &mut self,
        row: u64,
        pixel: Option<(u64, u64)>,
        FittedSpectrum { fit, noise_rms }: &FittedSpectrum,
        axis: &Axis,
    ) -> Result<(), CatalogueError> {
        for (index, found) in fit.components.iter().enumerate() {
            let FittedComponent { component, uncertainty, flags } = found;
            self.table.serialize(Line {
                row,
                x: pixel.map(|pixel| pixel.0),
                y: pixel.map(|pixel| pixel.1),
                component: index,
                amplitude: component.amplitude,
                amplitude_err: uncertainty.amplitude,
                mean: component.mean,
                mean_err: uncertainty.mean,
                sigma: component.sigma,
                sigma_err: uncertainty.sigma,
                fwhm: component.fwhm(),
                mean_channel: axis.channel(component.mean),
                sigma_channel: component.sigma / axis.width(),
                chi_squared: fit.chi_squared,
                reduced_chi_squared: fit.reduced_chi_squared,
                noise_rms: *noise_rms,
                flags: flags.names(),
            })?;
        }
        Ok(())
    }

    /// Writes out what is still held back.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn finish(mut self) -> Result<(), CatalogueError> {
        Ok(self.table.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SpectrumFit, flags::Flags};
    use super::*;
    use crate::spectra::{ByParameter, Component};

    #[test]
    fn the_text_is_pinned() {
        let axis = Axis { start: 10.0, step: -0.5, channels: 100, unit: "km/s".to_owned() };
        let component = FittedComponent {
            component: Component { amplitude: 2.5, mean: -3.0, sigma: 0.25 },
            uncertainty: ByParameter { amplitude: 0.125, mean: 0.1, sigma: 0.0625 },
            flags: Flags::BLENDED | Flags::BROAD,
        };
        let fit = SpectrumFit {
            components: vec![component],
            chi_squared: 106.25,
            reduced_chi_squared: 1.0625,
            ..SpectrumFit::default()
        };
        let fit = FittedSpectrum { fit, noise_rms: 0.5 };
        let mut bytes = Vec::new();
        let mut table = FitTable::new(&mut bytes).unwrap();
        table.write(7, Some((3, 1)), &fit, &axis).unwrap();
        table.finish().unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            format!(
                "{}\n7,3,1,0,2.5,0.125,-3.0,0.1,0.25,0.0625,0.5887050112577373,26.0,0.5,106.25,1.0625,0.5,blended broad\n",
                FIT_COLUMNS.join(",")
            )
        );
    }
}
