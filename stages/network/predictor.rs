//! Prediction: what the network says of spectra.

use rayon::prelude::*;

use super::checkpoint::Checkpoint;
use super::dense::ROWS;
use super::error::ExamplesError;
use super::examples::length;
use super::grid::Grid;
use super::loss::softmax;
use super::model::{Inference, Model};
use super::normalization::Normalization;
use super::target::TargetTransform;

/// What the network says of N spectra.
///
/// The count is the most likely one. In training the first n slots hold the n components sorted by mean, so for a count of n
/// the first n slots are the answer and the others mean nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Slots, K.
    pub slots: usize,
    /// The most likely count of each spectrum (N); the smaller of two that are equally likely.
    pub counts: Vec<u8>,
    /// The probability of each count 0 to K (N × (K + 1)).
    pub probabilities: Vec<f64>,
    /// Amplitude in the unit of the noise, mean and sigma in axis units of every slot, kept or not (N × K × 3).
    pub parameters: Vec<f64>,
}

impl Predictions {
    /// The kept components in the layout of a truth (N × K × 3): the first `count` slots, sorted by mean, then NaN.
    pub fn components(&self) -> Vec<f64> {
        let mut result = vec![f64::NAN; self.parameters.len()];
        let rows = self.parameters.chunks_exact(3 * self.slots);
        for ((slots, count), result) in
            rows.zip(&self.counts).zip(result.chunks_exact_mut(3 * self.slots))
        {
            let mut kept: Vec<&[f64]> = slots.chunks_exact(3).take(usize::from(*count)).collect();
            kept.sort_by(|a, b| a[1].total_cmp(&b[1]));
            for (result, component) in result.chunks_exact_mut(3).zip(kept) {
                result.copy_from_slice(component);
            }
        }
        result
    }
}

/// A trained network, ready to predict.
#[derive(Debug, Clone)]
pub struct Predictor {
    model: Model,
    weights: Vec<f32>,
    settled: Vec<Normalization>,
    transform: TargetTransform,
    grid: Grid,
    input_scale: f32,
}

impl Predictor {
    /// The network of a checkpoint.
    pub fn new(checkpoint: &Checkpoint) -> Self {
        let document = &checkpoint.document;
        let model = Model::new(&document.architecture);
        Self {
            settled: model.settled(&checkpoint.weights, &checkpoint.statistics),
            weights: checkpoint.weights.clone(),
            transform: document.transform,
            grid: document.grid,
            input_scale: document.input_scale,
            model,
        }
    }

    /// Predicts scaled `spectra` (N × C) of the given `noise` rms (N).
    ///
    /// Missing channels are 0 or not finite. A spectrum without any channel, or whose noise rms is not positive, has a count of
    /// 0 and parameters of NaN. A spectrum's result has the same bits for any number of threads and in any company.
    ///
    /// # Errors
    ///
    /// [`ExamplesError::Length`] if the arrays do not fit together.
    pub fn predict(&self, spectra: &[f32], noise: &[f32]) -> Result<Predictions, ExamplesError> {
        let (rows, slots, channels) = (noise.len(), self.model.slots, self.model.channels);
        length("spectra", spectra.len(), rows.saturating_mul(channels))?;
        let width = self.model.head.outputs;
        let mut predictions = Predictions {
            slots,
            counts: vec![0; rows],
            probabilities: vec![0.0; rows * (slots + 1)],
            parameters: vec![f64::NAN; rows * slots * 3],
        };
        predictions
            .counts
            .par_chunks_mut(ROWS)
            .zip(predictions.probabilities.par_chunks_mut(ROWS * (slots + 1)))
            .zip(predictions.parameters.par_chunks_mut(ROWS * slots * 3))
            .zip(spectra.par_chunks(ROWS * channels))
            .zip(noise.par_chunks(ROWS))
            .for_each_init(
                || Inference::new(&self.model),
                |inference, ((((counts, probabilities), parameters), spectra), noise)| {
                    let outputs = inference.run(
                        &self.weights,
                        &self.settled,
                        self.input_scale,
                        spectra.chunks_exact(channels),
                    );
                    let rows = outputs
                        .chunks_exact(width)
                        .zip(spectra.chunks_exact(channels))
                        .zip(noise)
                        .zip(counts)
                        .zip(probabilities.chunks_exact_mut(slots + 1))
                        .zip(parameters.chunks_exact_mut(slots * 3));
                    for (((((outputs, spectrum), noise), count), probabilities), parameters) in rows
                    {
                        let blank = spectrum.iter().all(|x| *x == 0.0 || !x.is_finite());
                        if blank || !(noise.is_finite() && *noise > 0.0) {
                            probabilities[0] = 1.0;
                            continue;
                        }
                        let (heads, logits) = outputs.split_at(3 * slots);
                        *count = most_likely(logits) as u8;
                        softmax(logits, probabilities);
                        for (head, physical) in
                            heads.chunks_exact(3).zip(parameters.chunks_exact_mut(3))
                        {
                            physical.copy_from_slice(&self.transform.physical(
                                [head[0], head[1], head[2]],
                                f64::from(*noise),
                                &self.grid,
                            ));
                        }
                    }
                },
            );
        Ok(predictions)
    }
}

/// The index of the greatest logit; the first of equals.
pub(super) fn most_likely(logits: &[f32]) -> usize {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::fixture::{Spectra, brief, started, train};

    fn predictor(spectra: &Spectra) -> Predictor {
        let examples = spectra.examples();
        let mut training = started(&examples, brief());
        train(&mut training, &examples, 2);
        Predictor::new(&training.checkpoint(serde_json::Value::Null, "test"))
    }

    fn predict(predictor: &Predictor, spectra: &[f32], noise: &[f32]) -> Predictions {
        match predictor.predict(spectra, noise) {
            Ok(predictions) => predictions,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn bits_depend_neither_on_company_nor_on_threads() {
        let spectra = Spectra::new(100, 45, 3);
        let predictor = predictor(&spectra);
        let all = predict(&predictor, &spectra.values, &spectra.noise);
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<u64>>();
        for (first, last) in [(0, 1), (1, 34), (37, 100), (99, 100)] {
            let some = predict(
                &predictor,
                &spectra.values[first * 45..last * 45],
                &spectra.noise[first..last],
            );
            assert_eq!(bits(&some.parameters), bits(&all.parameters[first * 9..last * 9]));
            assert_eq!(bits(&some.probabilities), bits(&all.probabilities[first * 4..last * 4]));
        }
        for threads in [1, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let Ok(pool) = pool else { panic!("no threads") };
            let again = pool.install(|| predict(&predictor, &spectra.values, &spectra.noise));
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
            predictor.predict(&values, &[0.5]),
            Err(ExamplesError::Length { array: "spectra", found: 180, expected: 45 })
        );
    }
}
