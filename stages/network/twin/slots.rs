//! The slot network on a device.

use std::ops::Range;

use dfdx::prelude::*;

use super::convolution::convolve;
use super::dense::{add_bias, multiply};
use super::normalization::{normalize_batch, normalize_by};
use super::pooling::halve;
use super::signal::{Matrix, Reused, Signal};
use super::slots_loss;
use crate::network::encoding::{PLANES, encode};
use crate::network::examples::Examples;
use crate::network::history::LossParts;
use crate::network::hyperparameters::LossWeights;
use crate::network::slots::dropout::Dropout;
use crate::network::slots::model::{Model, NormalizationPlace};
use crate::network::slots::target::TargetTransform;

/// A slot network on a device; it holds no values.
pub(super) struct Slots<'a, D: Device<f32>> {
    pub(super) device: D,
    pub(super) model: &'a Model,
    pub(super) transform: TargetTransform,
    /// By what the linear plane of the input is divided.
    pub(super) input_scale: f32,
}

impl<D: Device<f32>> Slots<'_, D> {
    /// Takes a batch forward and backward: writes the gradient of its mean loss and the moments that each normalisation
    /// found, and returns the sum of its losses.
    pub(super) fn learn(
        &self,
        weights: &[f32],
        loss: LossWeights,
        examples: &Examples,
        dropout: &Dropout,
        gradient: &mut [f32],
        moments: &mut [f32],
    ) -> Result<LossParts, D::Err> {
        let rows = dropout.rows;
        let weights = self.upload(weights.to_vec(), weights.len())?;
        let planes = self.planes(rows.iter().map(|&row| examples.spectrum(row)))?;
        let mut found = Vec::new();
        let outputs = self.forward(
            weights.retaped::<OwnedTape<f32, D>>(),
            &planes,
            &mut |place, weight, bias, signal| {
                let normalized = normalize_batch(weight, bias, signal)?;
                found.push((place, normalized.mean, normalized.variance));
                Ok(normalized.signal)
            },
            &mut |layer, values| {
                if dropout.share <= 0.0 {
                    return Ok(values);
                }
                let (count, features) = *values.shape();
                let mut mask = vec![1.0; count * features];
                dropout.apply(layer, features, &mut mask);
                values.try_mul(self.upload(mask, count)?)
            },
        )?;
        let parts = slots_loss::evaluate(&self.transform, examples, rows, outputs)?;
        let (total, parts) = parts.weighed(loss)?;
        let mean = total.try_mul(1.0 / rows.len() as f32)?.try_reshape_like(&())?;
        gradient.copy_from_slice(&mean.try_backward()?.get(&weights).as_vec());
        for (place, mean, variance) in found {
            moments[place.mean.clone()].copy_from_slice(&mean.as_vec());
            moments[place.variance.clone()].copy_from_slice(&variance.as_vec());
        }
        Ok(parts)
    }

    /// What the heads say of scaled spectra in prediction: rows × (3K + K + 1).
    pub(super) fn predict<'s>(
        &self,
        weights: &[f32],
        statistics: &[f32],
        spectra: impl ExactSizeIterator<Item = &'s [f32]>,
    ) -> Result<Vec<f32>, D::Err> {
        let weights = self.upload(weights.to_vec(), weights.len())?;
        let outputs = self.forward(
            weights,
            &self.planes(spectra)?,
            &mut |place, weight, bias, signal| {
                let mean = self.upload(statistics[place.mean.clone()].to_vec(), 1)?;
                let variance = self.upload(statistics[place.variance.clone()].to_vec(), 1)?;
                normalize_by(mean, variance, weight, bias, signal)
            },
            &mut |_, values| Ok(values),
        )?;
        Ok(outputs.as_vec())
    }

    /// The heads' outputs. `normalize` is asked for each normalisation, `drop` before and after each dense layer.
    fn forward<'m, T: Tape<f32, D>>(
        &'m self,
        weights: Matrix<D, T>,
        planes: &Signal<D>,
        normalize: &mut Normalize<'_, 'm, D, T>,
        drop: &mut Drop<'_, D, T>,
    ) -> Result<Matrix<D, T>, D::Err> {
        let mut weights = Reused::new(weights);
        let mut part = |range: &Range<usize>| weights.again().try_slice((range.clone(), ..));
        let (length, features) = (planes.length, planes.features);
        let mut signal = Signal { values: planes.values.retaped::<T>(), length, features };
        for block in &self.model.blocks {
            let convolved = convolve(&block.convolution, part(&block.weights)?, signal)?;
            let place = &block.normalization;
            let (weight, bias) = (part(&place.weight)?, part(&place.bias)?);
            // The greater of two is rectified alike before and after it is chosen.
            signal = halve(normalize(place, weight, bias, convolved)?)?;
            signal.values = signal.values.try_relu()?;
        }
        let mut rows = drop(0, signal.values)?;
        for (index, hidden) in self.model.hidden.iter().enumerate() {
            let values = multiply(part(&hidden.weights)?, rows)?;
            let place = &hidden.normalization;
            let (weight, bias) = (part(&place.weight)?, part(&place.bias)?);
            let raw = Signal { values, length: 1, features: hidden.dense.outputs };
            let normalized = normalize(place, weight, bias, raw)?;
            rows = drop(index + 1, normalized.values.try_relu()?)?;
        }
        let outputs = multiply(part(&self.model.head_weights)?, rows)?;
        add_bias(part(&self.model.head_bias)?, outputs)
    }

    /// The network's input for scaled spectra.
    fn planes<'s>(
        &self,
        spectra: impl ExactSizeIterator<Item = &'s [f32]>,
    ) -> Result<Signal<D>, D::Err> {
        let (count, channels) = (spectra.len(), self.model.channels);
        let mut planes = vec![0.0; count * channels * PLANES];
        for (spectrum, planes) in spectra.zip(planes.chunks_exact_mut(channels * PLANES)) {
            encode(spectrum, self.input_scale, planes);
        }
        Ok(Signal { values: self.upload(planes, count)?, length: channels, features: PLANES })
    }

    fn upload(&self, values: Vec<f32>, rows: usize) -> Result<Matrix<D>, D::Err> {
        let columns = values.len() / rows;
        self.device.try_tensor_from_vec(values, (rows, columns))
    }
}

/// Normalises a signal, given the place of the normalisation, its weight and its bias.
type Normalize<'f, 'm, D, T> = dyn FnMut(
        &'m NormalizationPlace,
        Matrix<D, T>,
        Matrix<D, T>,
        Signal<D, T>,
    ) -> Result<Signal<D, T>, <D as HasErr>::Err>
    + 'f;

/// Drops values of the layer with the given index.
type Drop<'f, D, T> =
    dyn FnMut(usize, Matrix<D, T>) -> Result<Matrix<D, T>, <D as HasErr>::Err> + 'f;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::adam::Adam;
    use crate::network::design::Design;
    use crate::network::fixture::{Spectra, brief, started, train};
    use crate::network::hyperparameters::Hyperparameters;
    use crate::network::slots::dense::ROWS as DENSE_ROWS;
    use crate::network::slots::model::Inference;
    use crate::network::slots::pass::Pass;
    use crate::network::slots::target::Space;
    use crate::network::twin::comparison::assert_near;

    /// Not a multiple of anything.
    const ROWS: usize = 19;

    #[test]
    fn predictions_equal_the_cores() {
        let spectra = Spectra::new(120, 45, 3);
        let examples = spectra.examples();
        let mut training = started(&examples, brief());
        train(&mut training, &examples, 2);
        let Design::Slots(design) = &training.design else { panic!("another network") };
        let model = Model::new(&design.architecture);
        let twin = Slots {
            device: Cpu::default(),
            model: &model,
            transform: design.transform,
            input_scale: design.input_scale,
        };
        let settled = model.settled(&training.weights, &training.statistics);
        let mut core = Inference::new(&model);
        for rows in 1..=DENSE_ROWS {
            let spectra = || spectra.values.chunks_exact(45).take(rows);
            let expected = core.run(&training.weights, &settled, design.input_scale, spectra());
            let found = twin.predict(&training.weights, &training.statistics, spectra());
            let Ok(found) = found else { panic!("{found:?}") };
            assert_near(&found, expected, 200);
        }
    }

    /// Five whole training steps, each implementation going on from the weights that it came to itself: the parts of the
    /// loss, the moments, the gradient of every tensor and every tensor after the step, in each space and with dropout.
    #[test]
    fn training_steps_equal_the_cores() {
        for space in [Space::Linear, Space::Logarithmic] {
            let spectra = Spectra::new(5 * ROWS, 33, 3);
            let examples = spectra.examples();
            let keys = Hyperparameters { amplitude_space: space, sigma_space: space, ..brief() };
            let training = started(&examples, keys);
            let Design::Slots(design) = &training.design else { panic!("another network") };
            let model = Model::new(&design.architecture);
            let twin = Slots {
                device: Cpu::default(),
                model: &model,
                transform: design.transform,
                input_scale: design.input_scale,
            };
            let mut pass = Pass::new(&model, ROWS);
            let mut core = (training.weights.clone(), Adam::new(training.weights.len()));
            let mut other = core.clone();
            let (mut gradient, mut of_twin) = (core.0.clone(), core.0.clone());
            let mut moments = training.statistics.clone();
            for step in 0..5 {
                let rows: Vec<usize> = (step * ROWS..(step + 1) * ROWS).collect();
                let dropout = Dropout { share: 0.1, seed: 1, epoch: 1, rows: &rows };
                pass.forward(&core.0, &examples, design.input_scale, &dropout);
                let parts = pass.loss(keys.loss, design.transform, &examples, &rows);
                pass.backward(&core.0, &mut gradient, &dropout);
                core.1.step(&mut core.0, &gradient, 1e-3);
                let found = twin.learn(
                    &other.0,
                    keys.loss,
                    &examples,
                    &dropout,
                    &mut of_twin,
                    &mut moments,
                );
                let Ok(found) = found else { panic!("{found:?}") };
                other.1.step(&mut other.0, &of_twin, 1e-3);

                let list = |parts: &LossParts| {
                    [
                        parts.total,
                        parts.parameter,
                        parts.sparsity,
                        parts.reconstruction,
                        parts.count,
                    ]
                    .map(|part| part as f32)
                };
                for (found, expected) in list(&found).iter().zip(list(&parts)) {
                    assert_near(&[*found], &[expected], 200);
                }
                for (place, by) in model.normalizations().zip(&pass.normalizations) {
                    assert_near(&moments[place.mean.clone()], &by.mean, 200);
                    assert_near(&moments[place.variance.clone()], &by.variance, 200);
                }
                for place in &model.layout.weights {
                    let of = place.range.clone();
                    assert_near(&of_twin[of.clone()], &gradient[of.clone()], 200);
                    assert_near(&other.0[of.clone()], &core.0[of], 200);
                }
            }
        }
    }
}
