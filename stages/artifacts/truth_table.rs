//! The table of the true components: how well each can be known, and what was found of it.

use std::io::Write;

use pipe_engine::StageError;

use crate::spectra::{ByParameter, Component, Pair, separation};

const TITLES: [&str; 14] = [
    "row",
    "component",
    "amplitude",
    "amplitude_bound",
    "mean",
    "mean_bound",
    "sigma",
    "sigma_bound",
    "signal_to_noise",
    "separation",
    "found",
    "found_amplitude",
    "found_mean",
    "found_sigma",
];

/// What is known of a spectrum of which the truth is known.
pub(crate) struct Compared<'a> {
    /// Its row.
    pub(crate) row: u64,
    /// The true components.
    pub(crate) truth: &'a [Component],
    /// The Cramér–Rao bound of each, a standard deviation; `None` where there is none.
    pub(crate) bound: Option<&'a [ByParameter<f64>]>,
    /// The noise rms.
    pub(crate) rms: f64,
    /// The components found.
    pub(crate) found: &'a [Component],
    /// Which of them are which of the true ones.
    pub(crate) pairs: &'a [Pair],
}

/// Writes CSV with a line for each true component. Amplitudes are in the unit of the spectra, means and sigmas in that of
/// the axis; `separation` is the distance to the nearest neighbour in rms sigmas, and `found` the number of the component
/// in the catalogue. What there is none of is left empty.
pub(crate) struct TruthTable<W: Write>(csv::Writer<W>);

impl<W: Write> TruthTable<W> {
    pub(crate) fn new(file: W) -> Result<Self, StageError> {
        let mut table = csv::Writer::from_writer(file);
        table.write_record(TITLES)?;
        Ok(Self(table))
    }

    pub(crate) fn write(&mut self, spectrum: &Compared<'_>) -> Result<(), StageError> {
        let Compared { row, truth, bound, rms, found, pairs } = *spectrum;
        for (index, component) in truth.iter().enumerate() {
            let bound = bound.and_then(|bound| bound.get(index));
            let pair = pairs.iter().find(|pair| pair.truth == index).map(|pair| pair.predicted);
            let partner = pair.and_then(|index| found.get(index));
            let signal_to_noise = Some(component.amplitude / rms).filter(|ratio| ratio.is_finite());
            let numbers = [
                Some(component.amplitude),
                bound.map(|bound| bound.amplitude),
                Some(component.mean),
                bound.map(|bound| bound.mean),
                Some(component.sigma),
                bound.map(|bound| bound.sigma),
                signal_to_noise,
                separation(truth, index),
            ];
            let partner = partner
                .map_or([None; 3], |found| [found.amplitude, found.mean, found.sigma].map(Some));
            let text = |number: Option<f64>| number.map_or_else(String::new, |n| n.to_string());
            let line = [row.to_string(), index.to_string()]
                .into_iter()
                .chain(numbers.map(text))
                .chain([pair.map_or_else(String::new, |found| found.to_string())])
                .chain(partner.map(text));
            self.0.write_record(line)?;
        }
        Ok(())
    }

    /// Ends the table, and gives what it was written to.
    pub(crate) fn finish(self) -> Result<W, StageError> {
        self.0.into_inner().map_err(|error| StageError::new(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_bound_of_a_component_and_its_partner() {
        let at = |amplitude, mean, sigma| Component { amplitude, mean, sigma };
        let truth = [at(4.0, 10.0, 1.0), at(2.0, 13.0, 1.0)];
        let found = [at(2.5, 13.5, 1.25)];
        let bound = [at(0.5, 0.25, 0.125); 2].map(|c| ByParameter {
            amplitude: c.amplitude,
            mean: c.mean,
            sigma: c.sigma,
        });
        let pairs = [Pair { truth: 1, predicted: 0 }];
        let mut table = TruthTable::new(Vec::new()).unwrap();
        let all = Compared {
            row: 7,
            truth: &truth,
            bound: Some(&bound),
            rms: 0.5,
            found: &found,
            pairs: &pairs,
        };
        table.write(&all).unwrap();
        // Without noise there is no bound.
        table
            .write(&Compared { truth: &truth[..1], bound: None, rms: 0.0, pairs: &[], ..all })
            .unwrap();
        let text = String::from_utf8(table.finish().unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "7,0,4,0.5,10,0.25,1,0.125,8,3,,,,",
                "7,1,2,0.5,13,0.25,1,0.125,4,3,0,2.5,13.5,1.25",
                "7,0,4,,10,,1,,,,,,,",
            ]
        );
    }
}
