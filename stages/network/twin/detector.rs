//! The detector on a device.

use std::{fmt, mem, ops::Range};

use dfdx::prelude::*;

use super::convolution::{alone, convolve};
use super::dense::{add_bias, multiply};
use super::detector_loss::{self, Heads};
use super::lanes::to_lanes;
use super::normalization::{normalize_batch, normalize_by};
use super::on::On;
use super::pooling::halve;
use super::pools::pool;
use super::signal::{Matrix, Reused, Signal, upload};
use super::upsampling::{beside, double};
use crate::network::detector::activations::INPUT_SCALE;
use crate::network::detector::lanes::{Instructions, LANES};
use crate::network::detector::loss::{Loss, OUTPUTS};
use crate::network::detector::model::{Layer, Model, Plain};
use crate::network::detector::normalization::Way;
use crate::network::detector::validation::judge;
use crate::network::detector::{DetectorDesign, DetectorPredictor};
use crate::network::encoding::{PLANES, encode};
use crate::network::error::{DeviceFault, PredictionError};
use crate::network::examples::Examples;
use crate::network::grid::Grid;
use crate::network::history::LossParts;
use crate::network::hyperparameters::{Hyperparameters, LossWeights};
use crate::network::learner::{Batch, Learner};
use crate::network::predictions::{Predictions, Reader};
use crate::network::values::Values;

/// Spectra that are predicted together: some groups of the core's. The last are filled up to as many, so that all products
/// are of one size.
const ROWS: usize = 8 * LANES;

/// A detector on a device, for spectra of some number of channels; it holds no values.
pub(super) struct Detector<'a, D: Device<f32>> {
    device: D,
    design: &'a DetectorDesign,
    model: Model,
    channels: usize,
}

impl<'a, D: Device<f32>> Detector<'a, D> {
    pub(super) fn new(device: D, design: &'a DetectorDesign, channels: usize) -> Self {
        let model = Model::new(&design.architecture, channels);
        Self { device, design, model, channels }
    }

    /// What learns from batches of `examples`.
    pub(super) fn learner(
        self,
        on: &'a On<D>,
        keys: &Hyperparameters,
        examples: &'a Examples<'a>,
    ) -> DetectorLearner<'a, D> {
        DetectorLearner { on, network: self, loss: keys.loss, examples }
    }

    /// The sum of the losses of `rows` as in prediction, and how many counts are right.
    pub(super) fn judge(
        &self,
        keys: &Hyperparameters,
        values: Values,
        examples: &Examples,
        rows: &[usize],
    ) -> Result<(LossParts, usize), D::Err> {
        let mut loss = Loss::new(self.design, keys.loss, examples, Instructions::best());
        let told = self.model.head.convolution.output_size();
        let counts = self.model.count.convolution.output_size();
        let mut unused = [vec![0.0; told], vec![0.0; counts]];
        let (mut total, mut right) = (LossParts::default(), 0);
        for rows in rows.chunks(ROWS) {
            let observed = self.observed(examples, rows);
            let spectra: Vec<&[f32]> = observed.chunks_exact(self.channels).collect();
            let mut groups = rows.chunks(LANES);
            self.predict(values, &spectra, &mut |told, counts| {
                let Some(rows) = groups.next() else { unreachable!("there are no more groups") };
                let (parts, count) = judge(&mut loss, examples, rows, told, counts, &mut unused);
                total.add(&parts);
                right += count;
            })?;
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
        rows: &[usize],
        gradient: &mut [f32],
        moments: &mut [f32],
    ) -> Result<LossParts, D::Err> {
        let weights = upload(&self.device, weights.to_vec(), weights.len())?;
        let observed = self.observed(examples, rows);
        let planes = self.planes(observed.chunks_exact(self.channels))?;
        let mut found = Vec::new();
        let heads = self.forward(
            weights.retaped::<OwnedTape<f32, D>>(),
            &planes,
            &mut |layer, scale, shift, signal| {
                let normalized = normalize_batch(scale, shift, signal)?;
                found.push((layer, normalized.mean, normalized.variance));
                Ok(normalized.signal)
            },
        )?;
        let parts = detector_loss::evaluate(self.design, examples, rows, heads)?;
        let (total, parts) = parts.weighed(loss)?;
        let mean = total.try_mul(1.0 / rows.len() as f32)?.try_reshape_like(&())?;
        gradient.copy_from_slice(&mean.try_backward()?.get(&weights).as_vec());
        for (layer, mean, variance) in found {
            moments[layer.mean.clone()].copy_from_slice(&mean.as_vec());
            moments[layer.variance.clone()].copy_from_slice(&variance.as_vec());
        }
        Ok(parts)
    }

    /// Calls `tell` with what the heads say of each group of `spectra` in prediction, as the core has it: at each channel
    /// (length × 12 × lanes), and of the counts (K + 1 × lanes). The spectra are in units of their noise rms, and not finite
    /// where a channel is missing.
    pub(super) fn predict(
        &self,
        values: Values,
        spectra: &[&[f32]],
        tell: &mut dyn FnMut(&[f32], &[f32]),
    ) -> Result<(), D::Err> {
        let weights = upload(&self.device, values.weights.to_vec(), values.weights.len())?;
        let nothing = vec![0.0; self.channels];
        let told = self.model.head.convolution.length * OUTPUTS;
        let counts = self.model.count.convolution.filters;
        for spectra in spectra.chunks(ROWS) {
            let filled = (0..ROWS).map(|row| spectra.get(row).map_or(&nothing[..], |s| *s));
            let heads = self.forward(
                weights.clone(),
                &self.planes(filled)?,
                &mut |layer, scale, shift, signal| {
                    let row = |of: &Range<usize>| {
                        upload(&self.device, values.statistics[of.clone()].to_vec(), 1)
                    };
                    normalize_by(row(&layer.mean)?, row(&layer.variance)?, scale, shift, signal)
                },
            )?;
            let (all_told, all_counts) = (heads.told.as_vec(), heads.counts.as_vec());
            let groups =
                all_told.chunks_exact(told * LANES).zip(all_counts.chunks_exact(counts * LANES));
            for (told, counts) in groups.take(spectra.len().div_ceil(LANES)) {
                tell(&to_lanes(told, LANES), &to_lanes(counts, LANES));
            }
        }
        Ok(())
    }

    /// What the heads say. `normalize` is asked for each layer's normalisation.
    fn forward<'m, T: Tape<f32, D>>(
        &'m self,
        weights: Matrix<D, T>,
        planes: &Signal<D>,
        normalize: &mut Normalize<'_, 'm, D, T>,
    ) -> Result<Heads<D, T>, D::Err> {
        let model = &self.model;
        let mut weights = Reused::new(weights);
        let mut part = |range: &Range<usize>| weights.again().try_slice((range.clone(), ..));
        // What each layer and, last, the head reads, each part with its first feature.
        let mut inputs: Vec<Vec<(usize, Signal<D, T>)>> =
            (0..=model.layers.len()).map(|_| Vec::new()).collect();
        let (length, features) = (planes.length, planes.features);
        inputs[0].push((0, Signal { values: planes.values.retaped::<T>(), length, features }));
        let mut pools = Vec::new();
        for (index, layer) in model.layers.iter().enumerate() {
            let input = joined(mem::take(&mut inputs[index]))?;
            let convolved = convolve(&alone(&layer.convolution), part(&layer.weights)?, input)?;
            let (scale, shift) = (part(&layer.scale)?, part(&layer.shift)?);
            let normalized = normalize(layer, scale, shift, convolved)?;
            let (length, features) = (normalized.length, normalized.features);
            let mut values = Reused::new(normalized.values.try_relu()?);
            let mut result = || Signal { values: values.again(), length, features };
            for reader in &layer.readers {
                inputs[reader.layer].push((reader.feature, along(reader.way, result())?));
            }
            if index == model.bottom || index == model.top {
                pools.push(pool(result())?);
            }
        }
        let mut plain = |layer: &Plain, rows| {
            add_bias(part(&layer.bias)?, multiply(part(&layer.weights)?, rows)?)
        };
        let top = joined(inputs.pop().unwrap_or_default())?;
        let told = plain(&model.head, top.positions()?)?;
        let mut pools = pools.into_iter();
        let (Some(bottom), Some(top)) = (pools.next(), pools.next()) else {
            unreachable!("the bottom comes before the top")
        };
        let pooled = (bottom, top).try_concat_along(Axis::<1>)?;
        let hidden = plain(&model.hidden, pooled)?.try_relu()?;
        Ok(Heads { told, counts: plain(&model.count, hidden)? })
    }

    /// The observed spectra of `rows`, in units of their noise rms.
    fn observed(&self, examples: &Examples, rows: &[usize]) -> Vec<f32> {
        let mut observed = vec![0.0; rows.len() * self.channels];
        for (&row, observed) in rows.iter().zip(observed.chunks_exact_mut(self.channels)) {
            examples.observed(row, observed);
        }
        observed
    }

    /// The network's input for observed spectra, continued by zeros.
    fn planes<'s>(
        &self,
        spectra: impl ExactSizeIterator<Item = &'s [f32]>,
    ) -> Result<Signal<D>, D::Err> {
        let (count, length) = (spectra.len(), self.model.head.convolution.length);
        let mut planes = vec![0.0; count * length * PLANES];
        for (spectrum, planes) in spectra.zip(planes.chunks_exact_mut(length * PLANES)) {
            encode(spectrum, INPUT_SCALE, planes);
        }
        Ok(Signal { values: upload(&self.device, planes, count)?, length, features: PLANES })
    }
}

/// A signal on its way to a layer that reads it.
fn along<D: Device<f32>, T: Tape<f32, D>>(
    way: Way,
    signal: Signal<D, T>,
) -> Result<Signal<D, T>, D::Err> {
    match way {
        Way::Copy => Ok(signal),
        // Times one it is another tensor, which halving may slice although others read the signal too.
        Way::Pool => halve(Signal { values: signal.values.try_mul(1.0)?, ..signal }),
        Way::Repeat => double(signal),
    }
}

/// Signals side by side, by the first feature of each.
fn joined<D: Device<f32>, T: Tape<f32, D>>(
    mut parts: Vec<(usize, Signal<D, T>)>,
) -> Result<Signal<D, T>, D::Err> {
    parts.sort_by_key(|(feature, _)| *feature);
    let mut parts = parts.into_iter().map(|(_, signal)| signal);
    let Some(first) = parts.next() else { unreachable!("every layer reads something") };
    parts.try_fold(first, beside)
}

/// A detector that learns.
pub(super) struct DetectorLearner<'a, D: Device<f32>> {
    on: &'a On<D>,
    network: Detector<'a, D>,
    loss: LossWeights,
    examples: &'a Examples<'a>,
}

impl<D: Device<f32>> Learner for DetectorLearner<'_, D> {
    fn learn(
        &mut self,
        weights: &[f32],
        batch: Batch,
        gradient: &mut [f32],
        moments: &mut [f32],
    ) -> Result<LossParts, DeviceFault> {
        self.network
            .learn(weights, self.loss, self.examples, batch.rows, gradient, moments)
            .map_err(|error| self.on.fault(&error))
    }
}

/// A trained detector, ready to predict.
#[derive(Debug)]
pub(super) struct DetectorReader<D: Device<f32>> {
    on: On<D>,
    design: DetectorDesign,
    weights: Vec<f32>,
    statistics: Vec<f32>,
    /// It says what heads mean.
    native: DetectorPredictor,
}

impl<D: Device<f32>> DetectorReader<D> {
    pub(super) fn new(on: On<D>, design: &DetectorDesign, values: Values) -> Self {
        Self {
            on,
            design: design.clone(),
            weights: values.weights.to_vec(),
            statistics: values.statistics.to_vec(),
            native: DetectorPredictor::new(design, values),
        }
    }
}

impl<D: Device<f32> + fmt::Debug> Reader for DetectorReader<D> {
    fn candidates(&self) -> Option<usize> {
        self.native.candidates()
    }

    fn predict(
        &self,
        spectra: &[f32],
        noise: &[f32],
        grid: &Grid,
    ) -> Result<Predictions, PredictionError> {
        self.native.predict_by(spectra, noise, grid, |spectra, tell| {
            let values = Values { weights: &self.weights, statistics: &self.statistics };
            Detector::new(self.on.open()?, &self.design, grid.channels)
                .predict(values, spectra, tell)
                .map_err(|error| self.on.fault(&error))
        })
    }
}

/// Normalises a signal, given its layer, and the factor and the summand of the normalisation.
type Normalize<'f, 'm, D, T> = dyn FnMut(
        &'m Layer,
        Matrix<D, T>,
        Matrix<D, T>,
        Signal<D, T>,
    ) -> Result<Signal<D, T>, <D as HasErr>::Err>
    + 'f;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::adam::Adam;
    use crate::network::design::Design;
    use crate::network::detector::inference::{Inference, Settled};
    use crate::network::detector::normalization::{
        moments, normalize, normalize_back, receive_gradient, rectify_back,
    };
    use crate::network::detector::pass::Pass;
    use crate::network::difference::noise;
    use crate::network::fixture::{Spectra, brief, started_detector, train};
    use crate::network::normalization::Normalization;
    use crate::network::twin::comparison::{
        assert_near, column, gradients, rows as matrix, signal, traced,
    };
    use crate::network::twin::lanes::from_lanes;

    /// More than one of the core's groups, the last not full.
    const BATCH: usize = 19;

    /// With the normalisation and the rectification that go before, as the core has them in one sweep.
    #[test]
    fn values_and_gradients_on_every_way_equal_the_cores() {
        let with = Instructions::best();
        let (spectra, length, n) = (13, 8, 3);
        let (x, w, b) = (noise(spectra * length * n, 1), noise(n, 2), noise(n, 3));
        for way in [Way::Copy, Way::Pool, Way::Repeat] {
            let (weight, bias, input) = (column(&w), column(&b), signal(&x, length, n));
            let normalized =
                normalize_batch(weight.leaky_trace(), bias.leaky_trace(), traced(&input));
            let Ok(normalized) = normalized else { panic!("no result") };
            let values = normalized.signal.values.relu();
            let Ok(result) = along(way, Signal { values, length, features: n }) else {
                panic!("no result")
            };
            let dy = noise(spectra * result.length * n, 4);

            let (step, raw) = (n * LANES, to_lanes(&x, spectra));
            let sums = moments(with, &raw, n, spectra);
            let by = Normalization::of_batch(&sums, spectra * length, &w, &b);
            let mut y = vec![0.0; result.length * step];
            normalize(with, &by, way, &raw, &mut y, step);
            let (mut back, mut dx) = (vec![0.0; raw.len()], vec![0.0; raw.len()]);
            receive_gradient(with, &by, way, &raw, &to_lanes(&dy, spectra), step, &mut back);
            let sums = rectify_back(with, &by, &raw, &mut back, spectra);
            let through = by.backward(&sums, spectra * length);
            normalize_back(with, &through, &raw, &back, &mut dx);

            let terms = spectra * length;
            assert_near(&result.values.as_vec(), &from_lanes(&y, spectra), terms);
            let gradients = gradients(result.values, &dy);
            let single = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
            assert_near(&gradients.get(&weight).as_vec(), &single(&sums.second), terms);
            assert_near(&gradients.get(&bias).as_vec(), &single(&sums.first), terms);
            let found = gradients.get(&input.values).as_vec();
            assert_near(&found, &from_lanes(&dx, spectra), terms);
        }
    }

    #[test]
    fn parts_lie_by_their_features_in_whatever_order_they_came() {
        let part = |values: &[f32]| Signal { values: matrix(values, 1), length: 2, features: 1 };
        let parts = vec![(2, part(&[3.0, 6.0])), (0, part(&[1.0, 4.0])), (1, part(&[2.0, 5.0]))];
        let Ok(result) = joined(parts) else { panic!("no result") };
        assert_eq!(result.values.as_vec(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    /// Five whole training steps, each implementation going on from the weights that it came to itself: the parts of the
    /// loss, the moments, the gradient of every tensor and every tensor after the step.
    #[test]
    fn training_steps_equal_the_cores() {
        for channels in [33, 3] {
            let spectra = Spectra::new(5 * BATCH, channels, 3);
            let examples = spectra.examples();
            let keys = brief();
            let training = started_detector(&examples, keys);
            let Design::Detector(design) = &training.design else { panic!("another network") };
            let twin = Detector::new(Cpu::default(), design, channels);
            let model = Model::new(&design.architecture, channels);
            let with = Instructions::best();
            let mut pass = Pass::new(design, &model, keys.loss, &examples, BATCH, with);
            let mut core = (training.weights.clone(), Adam::new(training.weights.len()));
            let mut other = core.clone();
            let (mut gradient, mut of_twin) = (core.0.clone(), core.0.clone());
            let mut moments = training.statistics.clone();
            let mut moments_of_twin = moments.clone();
            for step in 0..5 {
                let rows: Vec<usize> = (step * BATCH..(step + 1) * BATCH).collect();
                let batch = Batch { epoch: 1, rows: &rows };
                let expected = pass.learn(&core.0, batch, &mut gradient, &mut moments);
                core.1.step(&mut core.0, &gradient, 1e-3);
                let found = twin.learn(
                    &other.0,
                    keys.loss,
                    &examples,
                    &rows,
                    &mut of_twin,
                    &mut moments_of_twin,
                );
                let (Ok(found), Ok(expected)) = (&found, &expected) else {
                    panic!("{found:?} {expected:?}")
                };
                other.1.step(&mut other.0, &of_twin, 1e-3);

                let list = |parts: &LossParts| {
                    [parts.total, parts.detection, parts.parameter, parts.count]
                        .map(|part| part as f32)
                };
                for (found, expected) in list(found).iter().zip(list(expected)) {
                    assert_near(&[*found], &[expected], 200);
                }
                for place in &model.layout.statistics {
                    let of = place.range.clone();
                    assert_near(&moments_of_twin[of.clone()], &moments[of], 200);
                }
                for place in &model.layout.weights {
                    let of = place.range.clone();
                    assert_near(&of_twin[of.clone()], &gradient[of.clone()], 200);
                    assert_near(&other.0[of.clone()], &core.0[of], 200);
                }
            }
        }
    }

    #[test]
    fn predictions_equal_the_cores() {
        let spectra = Spectra::new(150, 45, 3);
        let examples = spectra.examples();
        let mut training = started_detector(&examples, brief());
        train(&mut training, &examples, 2);
        let Design::Detector(design) = &training.design else { panic!("another network") };
        let values = Values { weights: &training.weights, statistics: &training.statistics };
        // On any number of channels, whatever those of the training were; the last groups are not full.
        for (rows, channels) in [(1, 45), (150, 45), (16, 3), (20, 46)] {
            let spectra = Spectra::new(rows, channels, 3);
            let model = Model::new(&design.architecture, channels);
            let settled = Settled::new(&model, values);
            let mut core = Inference::new(&model, &settled, channels, Instructions::best());
            let twin = Detector::new(Cpu::default(), design, channels);
            let spectra: Vec<&[f32]> = spectra.values.chunks_exact(channels).collect();
            let mut groups = spectra.chunks(LANES);
            let result = twin.predict(values, &spectra, &mut |told, counts| {
                let Some(group) = groups.next() else { panic!("too many groups") };
                for (lane, spectrum) in group.iter().enumerate() {
                    core.read(lane, spectrum);
                }
                core.run();
                for (found, expected) in [(told, &core.told), (counts, &core.counts)] {
                    let [found, expected] =
                        [found, expected].map(|values| from_lanes(values, group.len()));
                    assert_near(&found, &expected, 200);
                }
            });
            assert!(result.is_ok(), "{result:?}");
            assert!(groups.next().is_none(), "too few groups");
        }
    }
}
