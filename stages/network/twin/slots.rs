//! The slot network on a device.

use std::{fmt, ops::Range};

use dfdx::prelude::*;

use super::convolution::convolve;
use super::dense::{add_bias, multiply};
use super::normalization::{normalize_batch, normalize_by};
use super::on::On;
use super::pooling::halve;
use super::signal::{Matrix, Reused, Signal, upload};
use super::slots_loss;
use crate::network::encoding::{PLANES, encode};
use crate::network::error::{DeviceFault, PredictionError};
use crate::network::examples::Examples;
use crate::network::grid::Grid;
use crate::network::history::LossParts;
use crate::network::hyperparameters::{Hyperparameters, LossWeights};
use crate::network::learner::{Batch, Learner};
use crate::network::predictions::{Predictions, Reader};
use crate::network::slots::dropout::Dropout;
use crate::network::slots::loss::Loss;
use crate::network::slots::model::{Model, NormalizationPlace};
use crate::network::slots::validation::judge;
use crate::network::slots::{SlotsDesign, SlotsPredictor};
use crate::network::values::Values;

/// Spectra that are predicted together. The last are filled up to as many, so that all products are of one size.
const ROWS: usize = 128;

/// A slot network on a device; it holds no values.
pub(super) struct Slots<'a, D: Device<f32>> {
    device: D,
    design: &'a SlotsDesign,
    model: Model,
}

impl<'a, D: Device<f32>> Slots<'a, D> {
    pub(super) fn new(device: D, design: &'a SlotsDesign) -> Self {
        Self { device, design, model: Model::new(&design.architecture) }
    }

    /// What learns from batches of `examples`.
    pub(super) fn learner(
        self,
        on: &'a On<D>,
        keys: &Hyperparameters,
        examples: &'a Examples<'a>,
    ) -> SlotsLearner<'a, D> {
        SlotsLearner { on, network: self, keys: *keys, examples }
    }

    /// The sum of the losses of `rows` as in prediction, and how many counts are right.
    pub(super) fn judge(
        &self,
        keys: &Hyperparameters,
        values: Values,
        examples: &Examples,
        rows: &[usize],
    ) -> Result<(LossParts, usize), D::Err> {
        let mut loss = Loss::new(keys.loss, self.design.transform, examples);
        let mut unused = vec![0.0; self.model.head.outputs];
        let (mut total, mut right) = (LossParts::default(), 0);
        for rows in rows.chunks(ROWS) {
            let spectra: Vec<&[f32]> = rows.iter().map(|&row| examples.spectrum(row)).collect();
            let outputs = self.predict(values, &spectra)?;
            let (parts, count) = judge(&mut loss, examples, rows, &outputs, &mut unused);
            total.add(&parts);
            right += count;
        }
        Ok((total, right))
    }

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
        let weights = upload(&self.device, weights.to_vec(), weights.len())?;
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
                values.try_mul(upload(&self.device, mask, count)?)
            },
        )?;
        let parts = slots_loss::evaluate(&self.design.transform, examples, rows, outputs)?;
        let (total, parts) = parts.weighed(loss)?;
        let mean = total.try_mul(1.0 / rows.len() as f32)?.try_reshape_like(&())?;
        gradient.copy_from_slice(&mean.try_backward()?.get(&weights).as_vec());
        for (place, mean, variance) in found {
            moments[place.mean.clone()].copy_from_slice(&mean.as_vec());
            moments[place.variance.clone()].copy_from_slice(&variance.as_vec());
        }
        Ok(parts)
    }

    /// What the heads say of scaled spectra in prediction: N × (3K + K + 1).
    pub(super) fn predict(&self, values: Values, spectra: &[&[f32]]) -> Result<Vec<f32>, D::Err> {
        let weights = upload(&self.device, values.weights.to_vec(), values.weights.len())?;
        let nothing = vec![0.0; self.model.channels];
        let mut result = Vec::with_capacity(spectra.len() * self.model.head.outputs);
        for spectra in spectra.chunks(ROWS) {
            let filled = (0..ROWS).map(|row| spectra.get(row).map_or(&nothing[..], |s| *s));
            let outputs = self.forward(
                weights.clone(),
                &self.planes(filled)?,
                &mut |place, weight, bias, signal| {
                    let row = |of: &Range<usize>| {
                        upload(&self.device, values.statistics[of.clone()].to_vec(), 1)
                    };
                    normalize_by(row(&place.mean)?, row(&place.variance)?, weight, bias, signal)
                },
                &mut |_, values| Ok(values),
            )?;
            let outputs = outputs.as_vec();
            result.extend_from_slice(&outputs[..spectra.len() * self.model.head.outputs]);
        }
        Ok(result)
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
            encode(spectrum, self.design.input_scale, planes);
        }
        Ok(Signal {
            values: upload(&self.device, planes, count)?,
            length: channels,
            features: PLANES,
        })
    }
}

/// A slot network that learns.
pub(super) struct SlotsLearner<'a, D: Device<f32>> {
    on: &'a On<D>,
    network: Slots<'a, D>,
    keys: Hyperparameters,
    examples: &'a Examples<'a>,
}

impl<D: Device<f32>> Learner for SlotsLearner<'_, D> {
    fn learn(
        &mut self,
        weights: &[f32],
        batch: Batch,
        gradient: &mut [f32],
        moments: &mut [f32],
    ) -> Result<LossParts, DeviceFault> {
        let dropout = Dropout {
            share: self.network.design.architecture.dropout,
            seed: self.keys.seed,
            epoch: batch.epoch,
            rows: batch.rows,
        };
        self.network
            .learn(weights, self.keys.loss, self.examples, &dropout, gradient, moments)
            .map_err(|error| self.on.fault(&error))
    }
}

/// A trained slot network, ready to predict.
#[derive(Debug)]
pub(super) struct SlotsReader<D: Device<f32>> {
    on: On<D>,
    design: SlotsDesign,
    weights: Vec<f32>,
    statistics: Vec<f32>,
    /// It says what heads mean.
    native: SlotsPredictor,
}

impl<D: Device<f32>> SlotsReader<D> {
    pub(super) fn new(on: On<D>, design: &SlotsDesign, values: Values) -> Self {
        Self {
            on,
            design: design.clone(),
            weights: values.weights.to_vec(),
            statistics: values.statistics.to_vec(),
            native: SlotsPredictor::new(design, values),
        }
    }
}

impl<D: Device<f32> + fmt::Debug> Reader for SlotsReader<D> {
    fn candidates(&self) -> Option<usize> {
        None
    }

    fn predict(
        &self,
        spectra: &[f32],
        noise: &[f32],
        _: &Grid,
    ) -> Result<Predictions, PredictionError> {
        self.native.predict_by(spectra, noise, |spectra| {
            let values = Values { weights: &self.weights, statistics: &self.statistics };
            Slots::new(self.on.open()?, &self.design)
                .predict(values, spectra)
                .map_err(|error| self.on.fault(&error))
        })
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
    use crate::network::slots::dense::ROWS as DENSE_ROWS;
    use crate::network::slots::model::Inference;
    use crate::network::slots::pass::Pass;
    use crate::network::slots::target::Space;
    use crate::network::twin::comparison::assert_near;

    /// Not a multiple of anything.
    const BATCH: usize = 19;

    #[test]
    fn predictions_equal_the_cores() {
        let spectra = Spectra::new(120, 45, 3);
        let examples = spectra.examples();
        let mut training = started(&examples, brief());
        train(&mut training, &examples, 2);
        let Design::Slots(design) = &training.design else { panic!("another network") };
        let twin = Slots::new(Cpu::default(), design);
        let model = Model::new(&design.architecture);
        let settled = model.settled(&training.weights, &training.statistics);
        let mut core = Inference::new(&model);
        for rows in 1..=DENSE_ROWS {
            let spectra = || spectra.values.chunks_exact(45).take(rows);
            let expected = core.run(&training.weights, &settled, design.input_scale, spectra());
            let values = Values { weights: &training.weights, statistics: &training.statistics };
            let found = twin.predict(values, &spectra().collect::<Vec<_>>());
            let Ok(found) = found else { panic!("{found:?}") };
            assert_near(&found, expected, 200);
        }
    }

    /// Five whole training steps, each implementation going on from the weights that it came to itself: the parts of the
    /// loss, the moments, the gradient of every tensor and every tensor after the step, in each space and with dropout.
    #[test]
    fn training_steps_equal_the_cores() {
        for space in [Space::Linear, Space::Logarithmic] {
            let spectra = Spectra::new(5 * BATCH, 33, 3);
            let examples = spectra.examples();
            let keys = Hyperparameters { amplitude_space: space, sigma_space: space, ..brief() };
            let training = started(&examples, keys);
            let Design::Slots(design) = &training.design else { panic!("another network") };
            let twin = Slots::new(Cpu::default(), design);
            let model = Model::new(&design.architecture);
            let mut pass = Pass::new(&model, BATCH);
            let mut core = (training.weights.clone(), Adam::new(training.weights.len()));
            let mut other = core.clone();
            let (mut gradient, mut of_twin) = (core.0.clone(), core.0.clone());
            let mut moments = training.statistics.clone();
            for step in 0..5 {
                let rows: Vec<usize> = (step * BATCH..(step + 1) * BATCH).collect();
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
