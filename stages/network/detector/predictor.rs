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
#[cfg(any(test, feature = "cuda"))]
use crate::network::error::DeviceFault;
use crate::network::{
    count::{most_likely, softmax},
    error::{ExamplesError, PredictionError},
    examples::length,
    grid::Grid,
    predictions::{Predictions, Reader, is_blank},
    values::Values,
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

    /// Nothing, of `noise.len()` spectra; and whether there are so many.
    fn nothing(
        &self,
        spectra: &[f32],
        noise: &[f32],
        grid: &Grid,
    ) -> Result<Predictions, ExamplesError> {
        let (rows, slots) = (noise.len(), self.architecture.slots);
        grid.check()?;
        length("spectra", spectra.len(), rows.saturating_mul(grid.channels))?;
        let candidates = slots + SPARE;
        Ok(Predictions {
            slots,
            candidates,
            counts: vec![0; rows],
            probabilities: vec![0.0; rows * (slots + 1)],
            parameters: vec![f64::NAN; rows * candidates * 3],
            heat: Some(vec![f64::NAN; rows * candidates]),
        })
    }

    /// `predictions` of `spectra`, group by group.
    fn groups<'a>(
        predictions: &'a mut Predictions,
        spectra: &'a [f32],
        noise: &'a [f32],
        grid: &Grid,
    ) -> Vec<Group<'a>> {
        let (counts, candidates) = (predictions.slots + 1, predictions.candidates);
        let heat = predictions.heat.as_deref_mut().unwrap_or_default();
        predictions
            .counts
            .chunks_mut(LANES)
            .zip(predictions.probabilities.chunks_mut(LANES * counts))
            .zip(predictions.parameters.chunks_mut(LANES * candidates * 3))
            .zip(heat.chunks_mut(LANES * candidates))
            .zip(spectra.chunks(LANES * grid.channels))
            .zip(noise.chunks(LANES))
            .map(|(((((counts, probabilities), parameters), heat), spectra), noise)| Group {
                counts,
                probabilities,
                parameters,
                heat,
                spectra,
                noise,
            })
            .collect()
    }

    /// What it means that the network told `told` (length × 12 × lanes) and `counts` (K + 1 × lanes) of a group.
    fn tell(
        &self,
        told: &[f32],
        counts: &[f32],
        decoder: &mut Decoder,
        grid: &Grid,
        group: &mut Group,
    ) {
        let (slots, channels) = (self.architecture.slots, grid.channels);
        let most = slots + SPARE;
        decoder.look(told, channels);
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
            for (logit, counts) in logits.iter_mut().zip(counts.chunks_exact(LANES)) {
                *logit = counts[lane];
            }
            softmax(&logits, probabilities);
            decoder.candidates(told, lane, most, &mut candidates);
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

    /// Predicts by what `heads` tells of all spectra, group by group in their order: `told` and `counts` as in
    /// [`Inference`].
    #[cfg(any(test, feature = "cuda"))]
    pub(in crate::network) fn predict_by(
        &self,
        spectra: &[f32],
        noise: &[f32],
        grid: &Grid,
        heads: impl FnOnce(&[&[f32]], &mut dyn FnMut(&[f32], &[f32])) -> Result<(), DeviceFault>,
    ) -> Result<Predictions, PredictionError> {
        let mut predictions = self.nothing(spectra, noise, grid)?;
        let rows: Vec<&[f32]> = spectra.chunks_exact(grid.channels).collect();
        let mut groups = Self::groups(&mut predictions, spectra, noise, grid).into_iter();
        let mut decoder = Decoder::default();
        heads(&rows, &mut |told, counts| {
            let Some(mut group) = groups.next() else { unreachable!("there are no more groups") };
            self.tell(told, counts, &mut decoder, grid, &mut group);
        })?;
        Ok(predictions)
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
        let mut predictions = self.nothing(spectra, noise, grid)?;
        let model = Model::new(&self.architecture, grid.channels);
        Self::groups(&mut predictions, spectra, noise, grid).into_par_iter().for_each_init(
            || {
                let with = Instructions::best();
                let inference = Inference::new(&model, &self.settled, grid.channels, with);
                (inference, Decoder::default())
            },
            |(inference, decoder), mut group| {
                for (lane, spectrum) in group.spectra.chunks_exact(grid.channels).enumerate() {
                    inference.read(lane, spectrum);
                }
                inference.run();
                self.tell(&inference.told, &inference.counts, decoder, grid, &mut group);
            },
        );
        Ok(predictions)
    }
}
