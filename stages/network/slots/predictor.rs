//! What a trained slot network says of spectra.

use rayon::prelude::*;

use super::{
    SlotsDesign,
    dense::ROWS,
    model::{Inference, Model},
    target::TargetTransform,
};
use crate::network::{
    count::{most_likely, softmax},
    design::Values,
    error::ExamplesError,
    examples::length,
    grid::Grid,
    normalization::Normalization,
    predictor::{Predictions, is_blank},
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

    pub(in crate::network) fn predict(
        &self,
        spectra: &[f32],
        noise: &[f32],
    ) -> Result<Predictions, ExamplesError> {
        let (rows, slots, channels) = (noise.len(), self.model.slots, self.model.channels);
        length("spectra", spectra.len(), rows.saturating_mul(channels))?;
        let width = self.model.head.outputs;
        let mut predictions = Predictions {
            slots,
            candidates: slots,
            counts: vec![0; rows],
            probabilities: vec![0.0; rows * (slots + 1)],
            parameters: vec![f64::NAN; rows * slots * 3],
            heat: None,
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
                        if is_blank(spectrum, *noise) {
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
