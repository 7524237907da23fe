//! What a trained slot network says of spectra.

use rayon::prelude::*;

use super::{
    SlotsDesign,
    dense::ROWS,
    model::{Inference, Model},
    target::TargetTransform,
};
#[cfg(any(test, feature = "cuda"))]
use crate::network::error::DeviceFault;
use crate::network::{
    count::{most_likely, softmax},
    error::{ExamplesError, PredictionError},
    examples::length,
    grid::Grid,
    normalization::Normalization,
    predictions::{Predictions, Reader, is_blank},
    values::Values,
};

/// A trained slot network, ready to predict.
#[derive(Debug, Clone)]
pub(in crate::network) struct SlotsPredictor {
    model: Model,
    weights: Vec<f32>,
    settled: Vec<Normalization>,
    transform: TargetTransform,
    grid: Grid,
    input_scale: f32,
}

/// Where the predictions of some spectra go.
struct Group<'a> {
    counts: &'a mut [u8],
    probabilities: &'a mut [f64],
    parameters: &'a mut [f64],
    spectra: &'a [f32],
    noise: &'a [f32],
}

impl SlotsPredictor {
    pub(in crate::network) fn new(design: &SlotsDesign, values: Values) -> Self {
        let model = Model::new(&design.architecture);
        Self {
            settled: model.settled(values.weights, values.statistics),
            weights: values.weights.to_vec(),
            transform: design.transform,
            grid: design.grid,
            input_scale: design.input_scale,
            model,
        }
    }

    /// Nothing, of `noise.len()` spectra; and whether there are so many.
    fn nothing(&self, spectra: &[f32], noise: &[f32]) -> Result<Predictions, ExamplesError> {
        let (rows, slots) = (noise.len(), self.model.slots);
        length("spectra", spectra.len(), rows.saturating_mul(self.model.channels))?;
        Ok(Predictions {
            slots,
            candidates: slots,
            counts: vec![0; rows],
            probabilities: vec![0.0; rows * (slots + 1)],
            parameters: vec![f64::NAN; rows * slots * 3],
            heat: None,
        })
    }

    /// What the heads' `outputs` (N × (3K + K + 1)) mean.
    fn tell(&self, outputs: &[f32], group: Group) {
        let (slots, channels) = (self.model.slots, self.model.channels);
        let rows = outputs
            .chunks_exact(self.model.head.outputs)
            .zip(group.spectra.chunks_exact(channels))
            .zip(group.noise)
            .zip(group.counts)
            .zip(group.probabilities.chunks_exact_mut(slots + 1))
            .zip(group.parameters.chunks_exact_mut(slots * 3));
        for (((((outputs, spectrum), noise), count), probabilities), parameters) in rows {
            if is_blank(spectrum, *noise) {
                probabilities[0] = 1.0;
                continue;
            }
            let (heads, logits) = outputs.split_at(3 * slots);
            *count = most_likely(logits) as u8;
            softmax(logits, probabilities);
            for (head, physical) in heads.chunks_exact(3).zip(parameters.chunks_exact_mut(3)) {
                physical.copy_from_slice(&self.transform.physical(
                    [head[0], head[1], head[2]],
                    f64::from(*noise),
                    &self.grid,
                ));
            }
        }
    }

    /// Predicts by what `heads` says of all spectra: N × (3K + K + 1).
    #[cfg(any(test, feature = "cuda"))]
    pub(in crate::network) fn predict_by(
        &self,
        spectra: &[f32],
        noise: &[f32],
        heads: impl FnOnce(&[&[f32]]) -> Result<Vec<f32>, DeviceFault>,
    ) -> Result<Predictions, PredictionError> {
        let mut predictions = self.nothing(spectra, noise)?;
        let rows: Vec<&[f32]> = spectra.chunks_exact(self.model.channels).collect();
        let Predictions { counts, probabilities, parameters, .. } = &mut predictions;
        self.tell(&heads(&rows)?, Group { counts, probabilities, parameters, spectra, noise });
        Ok(predictions)
    }
}

impl Reader for SlotsPredictor {
    fn candidates(&self) -> Option<usize> {
        None
    }

    fn predict(
        &self,
        spectra: &[f32],
        noise: &[f32],
        _: &Grid,
    ) -> Result<Predictions, PredictionError> {
        let mut predictions = self.nothing(spectra, noise)?;
        let (slots, channels) = (self.model.slots, self.model.channels);
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
                    let group = Group { counts, probabilities, parameters, spectra, noise };
                    self.tell(outputs, group);
                },
            );
        Ok(predictions)
    }
}
