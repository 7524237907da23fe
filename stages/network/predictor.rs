//! A trained network, ready to predict.

use std::sync::Arc;

use super::{
    backend::{self, Backend},
    checkpoint::Checkpoint,
    design::Design,
    error::{DeviceFault, PredictionError},
    grid::Grid,
    predictions::{Predictions, Reader},
    values::Values,
};

/// A trained network, ready to predict.
#[derive(Debug, Clone)]
pub struct Predictor(Arc<dyn Reader>);

impl Predictor {
    /// The network of a checkpoint, on the processor.
    pub fn new(checkpoint: &Checkpoint) -> Self {
        let (network, values) = parts(checkpoint);
        Self(backend::native(network, values))
    }

    /// The network of a checkpoint.
    ///
    /// # Errors
    ///
    /// [`DeviceFault`] if the device can't be used.
    pub fn on(backend: Backend, checkpoint: &Checkpoint) -> Result<Self, DeviceFault> {
        let (network, values) = parts(checkpoint);
        Ok(Self(backend.arithmetic().reader(network, values)?))
    }

    /// The candidates that a detector tells of in each spectrum; none from a slot network.
    pub fn candidates(&self) -> Option<usize> {
        self.0.candidates()
    }

    /// Predicts scaled `spectra` (N × C) of the given `noise` rms (N), whose channels lie on `grid`.
    ///
    /// A slot network knows one grid only, that of its training; the caller checks that it is the same. Missing channels
    /// are 0 or not finite. A spectrum without any channel, or whose noise rms is not positive, has a count of
    /// 0 and parameters of NaN. A spectrum's result has the same bits for any number of threads and in any company.
    ///
    /// # Errors
    ///
    /// [`PredictionError::Examples`] if the arrays do not fit together, [`PredictionError::Device`] if the device fails.
    pub fn predict(
        &self,
        spectra: &[f32],
        noise: &[f32],
        grid: &Grid,
    ) -> Result<Predictions, PredictionError> {
        self.0.predict(spectra, noise, grid)
    }
}

fn parts(checkpoint: &Checkpoint) -> (&Design, Values<'_>) {
    let values = Values { weights: &checkpoint.weights, statistics: &checkpoint.statistics };
    (&checkpoint.document.network, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::error::ExamplesError;
    use crate::network::examples::Examples;
    use crate::network::fixture::{Spectra, brief, started, started_detector, train};
    use crate::network::hyperparameters::Hyperparameters;
    use crate::network::training::Training;

    fn predictor(spectra: &Spectra) -> Predictor {
        trained(spectra, started)
    }

    fn trained(spectra: &Spectra, start: fn(&Examples, Hyperparameters) -> Training) -> Predictor {
        let examples = spectra.examples();
        let mut training = start(&examples, brief());
        train(&mut training, &examples, 2);
        Predictor::new(&training.checkpoint(serde_json::Value::Null, "test"))
    }

    fn grid(channels: usize) -> Grid {
        Grid { start: 100.0, step: 2.0, channels }
    }

    fn predict(predictor: &Predictor, spectra: &[f32], noise: &[f32]) -> Predictions {
        match predictor.predict(spectra, noise, &grid(45)) {
            Ok(predictions) => predictions,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn bits_depend_neither_on_company_nor_on_threads() {
        let spectra = Spectra::new(100, 45, 3);
        for start in [started, started_detector] {
            same_bits(&spectra, &trained(&spectra, start));
        }
    }

    fn same_bits(spectra: &Spectra, predictor: &Predictor) {
        let all = predict(predictor, &spectra.values, &spectra.noise);
        let width = all.candidates * 3;
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<u64>>();
        for (first, last) in [(0, 1), (1, 34), (37, 100), (99, 100)] {
            let some = predict(
                predictor,
                &spectra.values[first * 45..last * 45],
                &spectra.noise[first..last],
            );
            assert_eq!(bits(&some.parameters), bits(&all.parameters[first * width..last * width]));
            assert_eq!(bits(&some.probabilities), bits(&all.probabilities[first * 4..last * 4]));
        }
        for threads in [1, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let Ok(pool) = pool else { panic!("no threads") };
            let again = pool.install(|| predict(predictor, &spectra.values, &spectra.noise));
            assert_eq!(bits(&again.parameters), bits(&all.parameters));
        }
    }

    #[test]
    fn probabilities_sum_to_one_and_kept_components_are_sorted() {
        let spectra = Spectra::new(100, 45, 3);
        let result = predict(&predictor(&spectra), &spectra.values, &spectra.noise);
        let components = result.components();
        for (row, probabilities) in result.probabilities.chunks_exact(4).enumerate() {
            assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let count = usize::from(result.counts[row]);
            assert!(probabilities.iter().all(|p| *p <= probabilities[count]));
            let kept = &components[row * 9..row * 9 + 3 * count];
            assert!(kept.iter().all(|v| v.is_finite()));
            assert!(kept.chunks_exact(3).is_sorted_by(|a, b| a[1] <= b[1]));
            assert!(components[row * 9 + 3 * count..row * 9 + 9].iter().all(|v| v.is_nan()));
        }
    }

    #[test]
    fn blank_rows_hold_nothing_and_missing_channels_are_as_zero() {
        let spectra = Spectra::new(40, 45, 3);
        let predictor = predictor(&spectra);
        let mut values = spectra.values[..4 * 45].to_vec();
        values[..45].fill(f32::NAN);
        values[2 * 45 + 7] = f32::NAN;
        values.copy_within(2 * 45..3 * 45, 3 * 45);
        values[3 * 45 + 7] = 0.0;
        let result = predict(&predictor, &values, &[0.5, f32::NAN, 0.5, 0.5]);
        for row in 0..2 {
            assert_eq!(result.counts[row], 0);
            assert_eq!(result.probabilities[row * 4..row * 4 + 4], [1.0, 0.0, 0.0, 0.0]);
            assert!(result.parameters[row * 9..row * 9 + 9].iter().all(|v| v.is_nan()));
        }
        assert_eq!(result.parameters[18..27], result.parameters[27..36]);
        assert!(result.parameters[18].is_finite());
        assert_eq!(
            predictor.predict(&values, &[0.5], &grid(45)),
            Err(ExamplesError::Length { array: "spectra", found: 180, expected: 45 }.into())
        );
    }

    /// The same sky on other channels, and one that the network never saw at all.
    #[test]
    fn a_detector_reads_spectra_of_any_channels() {
        let predictor = trained(&Spectra::new(100, 45, 3), started_detector);
        for channels in [1, 2, 3, 6, 45, 47, 300] {
            let spectra = Spectra::new(20, channels, 3);
            let axis = Grid { start: -7.0, step: -0.25, channels };
            let Ok(result) = predictor.predict(&spectra.values, &spectra.noise, &axis) else {
                panic!("refused")
            };
            assert_eq!(result.counts.len(), 20);
            let Some(heat) = &result.heat else { panic!("no heat") };
            for (heat, parameters) in heat
                .chunks_exact(result.candidates)
                .zip(result.parameters.chunks_exact(3 * result.candidates))
            {
                let told = heat.iter().take_while(|heat| heat.is_finite()).count();
                assert!(heat[..told].is_sorted_by(|a, b| a >= b));
                assert!(heat[told..].iter().all(|heat| heat.is_nan()));
                assert!(parameters[..3 * told].iter().all(|value| value.is_finite()));
                assert!(parameters[3 * told..].iter().all(|value| value.is_nan()));
            }
        }
    }
}
