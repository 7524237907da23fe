//! What a trained detector says of spectra.

use rayon::prelude::*;

use super::{
    DetectorDesign,
    architecture::Architecture,
    decoding::Decoder,
    inference::{Inference, Settled},
    lanes::{Instructions, LANES},
    model::Model,
};
use crate::network::{
    count::{most_likely, softmax},
    design::Values,
    error::PredictionError,
    examples::length,
    grid::Grid,
    predictor::{Predictions, Reader, is_blank},
};

/// Candidates that are told of beyond the greatest count.
const SPARE: usize = 2;

/// A trained detector, ready to predict.
#[derive(Debug, Clone)]
pub(in crate::network) struct DetectorPredictor {
    architecture: Architecture,
    settled: Settled,
}

/// Where the predictions of a group go.
struct Group<'a> {
    counts: &'a mut [u8],
    probabilities: &'a mut [f64],
    parameters: &'a mut [f64],
    heat: &'a mut [f64],
    spectra: &'a [f32],
    noise: &'a [f32],
}

impl DetectorPredictor {
    pub(in crate::network) fn new(design: &DetectorDesign, values: Values) -> Self {
        let architecture = design.architecture;
        Self { architecture, settled: Settled::new(&Model::new(&architecture, 1), values) }
    }

    fn predict_group(
        &self,
        inference: &mut Inference,
        decoder: &mut Decoder,
        grid: &Grid,
        group: &mut Group,
    ) {
        let (slots, channels) = (self.architecture.slots, grid.channels);
        let most = slots + SPARE;
        for (lane, spectrum) in group.spectra.chunks_exact(channels).enumerate() {
            inference.read(lane, spectrum);
        }
        inference.run();
        decoder.look(&inference.told, channels);
        let mut candidates = Vec::with_capacity(most);
        let mut logits = vec![0.0; slots + 1];
        for (lane, (spectrum, noise)) in
            group.spectra.chunks_exact(channels).zip(group.noise).enumerate()
        {
            let probabilities = &mut group.probabilities[lane * (slots + 1)..][..=slots];
            if is_blank(spectrum, *noise) {
                probabilities[0] = 1.0;
                continue;
            }
            for (logit, told) in logits.iter_mut().zip(inference.counts.chunks_exact(LANES)) {
                *logit = told[lane];
            }
            softmax(&logits, probabilities);
            decoder.candidates(&inference.told, lane, most, &mut candidates);
            group.counts[lane] = most_likely(&logits).min(candidates.len()) as u8;
            let parameters = group.parameters[lane * most * 3..].chunks_exact_mut(3);
            let heat = &mut group.heat[lane * most..];
            for ((candidate, parameters), heat) in candidates.iter().zip(parameters).zip(heat) {
                *heat = candidate.heat;
                parameters.copy_from_slice(&[
                    candidate.amplitude * f64::from(*noise),
                    grid.start + grid.step * candidate.mean,
                    candidate.sigma * grid.step.abs(),
                ]);
            }
        }
    }
}

impl Reader for DetectorPredictor {
    fn candidates(&self) -> Option<usize> {
        Some(self.architecture.slots + SPARE)
    }

    fn predict(
        &self,
        spectra: &[f32],
        noise: &[f32],
        grid: &Grid,
    ) -> Result<Predictions, PredictionError> {
        let (rows, slots, channels) = (noise.len(), self.architecture.slots, grid.channels);
        grid.check()?;
        length("spectra", spectra.len(), rows.saturating_mul(channels))?;
        let candidates = slots + SPARE;
        let model = Model::new(&self.architecture, channels);
        let mut predictions = Predictions {
            slots,
            candidates,
            counts: vec![0; rows],
            probabilities: vec![0.0; rows * (slots + 1)],
            parameters: vec![f64::NAN; rows * candidates * 3],
            heat: None,
        };
        let mut heat = vec![f64::NAN; rows * candidates];
        predictions
            .counts
            .par_chunks_mut(LANES)
            .zip(predictions.probabilities.par_chunks_mut(LANES * (slots + 1)))
            .zip(predictions.parameters.par_chunks_mut(LANES * candidates * 3))
            .zip(heat.par_chunks_mut(LANES * candidates))
            .zip(spectra.par_chunks(LANES * channels))
            .zip(noise.par_chunks(LANES))
            .for_each_init(
                || {
                    let with = Instructions::best();
                    let inference = Inference::new(&model, &self.settled, channels, with);
                    (inference, Decoder::default())
                },
                |(inference, decoder), (((((counts, probabilities), parameters), heat), spectra), noise)| {
                    let mut group =
                        Group { counts, probabilities, parameters, heat, spectra, noise };
                    self.predict_group(inference, decoder, grid, &mut group);
                },
            );
        predictions.heat = Some(heat);
        Ok(predictions)
    }
}
