//! The loss of a group of spectra, with its gradient.
//!
//! A component of sigma class s whose mean lies at channel m is told of by the channel i nearest to m. Of the heat p at each
//! channel and class, with t the greatest exp(−(channel − m)²/2) of the components of the class:
//!
//! - detection: the focal loss of Zhou, Wang and Krähenbühl (2019, eq. 1): −(1 − p)² ln p at the channels i, elsewhere
//!   −(1 − t)⁴ p² ln(1 − p);
//! - parameter: at i, the smooth absolute difference (x²/2 within 1, |x| − ½ beyond) of ln(amplitude / rms), of m − i, and of
//!   ln sigma in channels;
//! - count: −log softmax(logits)ₙ.
//!
//! The first two are sums over components, divided by the mean number of components of a training spectrum, so that their
//! balance with the third doesn't depend on it.

#![expect(
    clippy::inline_always,
    reason = "the bodies must be compiled for the instructions of their callers"
)]

use super::{
    DetectorDesign,
    elementary::{exp, ln_1p},
    lanes::{Instructions, LANES, looped, total},
    model::{CLASSES, TOLD},
    target::{Target, find_targets},
};
use crate::network::{
    count::cross_entropy, examples::Examples, history::LossParts, hyperparameters::LossWeights,
};

/// Numbers that are told at each channel.
pub(in crate::network) const OUTPUTS: usize = CLASSES * TOLD;
/// Computes losses group by group, reusing its room.
pub(in crate::network) struct Loss<'a> {
    design: &'a DetectorDesign,
    weights: LossWeights,
    examples: &'a Examples<'a>,
    instructions: Instructions,
    targets: Vec<Target>,
    /// (1 − t)⁴, or 0 where a component is told of (length × classes × lanes).
    away: Vec<f32>,
    logits: Vec<f32>,
    logit_gradient: Vec<f32>,
}

impl<'a> Loss<'a> {
    pub(in crate::network) fn new(
        design: &'a DetectorDesign,
        weights: LossWeights,
        examples: &'a Examples<'a>,
        instructions: Instructions,
    ) -> Self {
        let counts = design.architecture.slots + 1;
        Self {
            design,
            weights,
            examples,
            instructions,
            targets: Vec::new(),
            away: Vec::new(),
            logits: vec![0.0; counts],
            logit_gradient: vec![0.0; counts],
        }
    }

    /// The sum of the losses of the spectra `rows`, at most a group, of which the network told `told` (length × 12 × lanes)
    /// and `counts` (K + 1 × lanes). Writes `share` times the gradients.
    pub(in crate::network) fn evaluate(
        &mut self,
        rows: &[usize],
        told: &[f32],
        counts: &[f32],
        share: f32,
        told_gradient: &mut [f32],
        count_gradient: &mut [f32],
    ) -> LossParts {
        let length = told.len() / (OUTPUTS * LANES);
        self.away.resize(length * CLASSES * LANES, 1.0);
        find_targets(
            self.design,
            self.examples,
            rows,
            length,
            &mut self.targets,
            &mut self.away,
            |lane, channel, class| (channel * CLASSES + class) * LANES + lane,
        );
        let per_component = 1.0 / self.design.typical_count;
        let mut parts = LossParts::default();
        let factor = (self.weights.detection_weight * per_component) as f32 * share;
        let mut detection =
            f64::from(cold(self.instructions, told, &self.away, factor, told_gradient, rows.len()));
        for target in &self.targets {
            let at = (target.channel * OUTPUTS + target.class * TOLD) * LANES + target.spectrum;
            let (loss, slope) = hot(f64::from(told[at]));
            detection += loss;
            told_gradient[at] += factor * slope as f32;
            for (index, wanted) in target.values.iter().enumerate() {
                let at = at + (index + 1) * LANES;
                let error = f64::from(told[at]) - wanted;
                let (loss, slope) = smooth(error);
                parts.parameter += loss * per_component;
                told_gradient[at] += (slope * per_component) as f32 * share;
            }
        }
        parts.detection = detection * per_component;
        count_gradient.fill(0.0);
        for (lane, &row) in rows.iter().enumerate() {
            for (logit, told) in self.logits.iter_mut().zip(counts.chunks_exact(LANES)) {
                *logit = told[lane];
            }
            parts.count += cross_entropy(
                &self.logits,
                usize::from(self.examples.counts[row]),
                self.weights.count_weight,
                &mut self.logit_gradient,
            );
            let gradient = count_gradient.chunks_exact_mut(LANES);
            for (gradient, value) in gradient.zip(&self.logit_gradient) {
                gradient[lane] = share * value;
            }
        }
        parts.total = parts.parameter
            + self.weights.detection_weight * parts.detection
            + self.weights.count_weight * parts.count;
        parts
    }
}

/// −(1 − p)² ln p of a logit, and its derivative.
fn hot(logit: f64) -> (f64, f64) {
    let small = libm::exp(-logit.abs());
    let softplus = (-logit).max(0.0) + libm::log1p(small);
    let p = if logit > 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
    let q = 1.0 - p;
    (q * q * softplus, -q * q * (2.0 * p * softplus + q))
}

/// x²/2 within 1, |x| − ½ beyond, and its derivative.
fn smooth(x: f64) -> (f64, f64) {
    if x.abs() < 1.0 { (0.5 * x * x, x) } else { (x.abs() - 0.5, x.signum()) }
}

looped! {
    /// The sum of `away` · (−p² ln(1 − p)) over all channels, classes and the first `lanes` spectra. Writes `factor` times
    /// its gradient, and zero for what is no heat.
    cold(told: &[f32], away: &[f32], factor: f32, gradient: &mut [f32], lanes: usize) -> f32 = cold_body
}

#[inline(always)]
fn cold_body(told: &[f32], away: &[f32], factor: f32, gradient: &mut [f32], lanes: usize) -> f32 {
    let told = told.as_chunks::<LANES>().0.chunks_exact(TOLD);
    let gradient = gradient.as_chunks_mut::<LANES>().0.chunks_exact_mut(TOLD);
    let mut sums = [0f32; LANES];
    for ((told, away), gradient) in told.zip(away.as_chunks::<LANES>().0).zip(gradient) {
        for lane in 0..LANES {
            let x = told[0][lane];
            let small = exp(-x.abs());
            let softplus = (if x > 0.0 { x } else { 0.0 }) + ln_1p(small);
            let inverse = 1.0 / (1.0 + small);
            let (p, q) =
                if x > 0.0 { (inverse, small * inverse) } else { (small * inverse, inverse) };
            sums[lane] += away[lane] * (p * p * softplus);
            gradient[0][lane] = factor * away[lane] * (p * p * (2.0 * q * softplus + p));
        }
        for gradient in &mut gradient[1..] {
            *gradient = [0.0; LANES];
        }
    }
    total(&sums, lanes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{
        detector::Architecture,
        difference::{check_gradient, noise},
        fixture::Spectra,
    };

    const CHANNELS: usize = 30;
    const ROWS: [usize; 5] = [0, 1, 2, 3, 7];

    fn design() -> DetectorDesign {
        DetectorDesign {
            architecture: Architecture { slots: 3, width: 4 },
            edges: [1.8, 2.4],
            typical_count: 1.5,
        }
    }

    /// The gradient of what is told, then of the counts, of a loss with the given weights of detection and count.
    fn check(detection_weight: f64, count_weight: f64) {
        let spectra = Spectra::new(8, CHANNELS, 3);
        let examples = spectra.examples();
        let design = design();
        let weights = LossWeights { count_weight, detection_weight, ..LossWeights::default() };
        let size = (CHANNELS + 2) * OUTPUTS * LANES;
        let outputs: Vec<f32> = noise(size + 4 * LANES, 3).iter().map(|v| 1.5 * v).collect();
        let evaluate = |outputs: &[f32], with: Instructions| {
            let mut loss = Loss::new(&design, weights, &examples, with);
            let mut gradient = vec![7.0; outputs.len()];
            let (told, counts) = outputs.split_at(size);
            let (told_gradient, count_gradient) = gradient.split_at_mut(size);
            let parts = loss.evaluate(&ROWS, told, counts, 1.0, told_gradient, count_gradient);
            (parts, gradient)
        };
        let (parts, mut gradient) = evaluate(&outputs, Instructions::best());
        assert_eq!(evaluate(&outputs, Instructions::Plain), (parts, gradient.clone()));
        // Lanes without a spectrum have no part in the loss, whatever their gradient.
        for lanes in gradient.chunks_exact_mut(LANES) {
            lanes[ROWS.len()..].fill(0.0);
        }
        check_gradient(&outputs, &gradient, |o| evaluate(o, Instructions::best()).0.total);
    }

    #[test]
    fn each_part_s_gradient_equals_differences() {
        check(0.0, 0.0);
        check(5.0, 0.0);
        check(0.0, 5.0);
        check(0.5, 0.5);
    }

    #[test]
    fn a_network_that_tells_the_truth_has_no_loss_and_each_fault_costs() {
        let spectra = Spectra::new(8, CHANNELS, 3);
        let examples = spectra.examples();
        let (design, row) = (design(), 2);
        let mut told = vec![-30.0; CHANNELS * OUTPUTS * LANES];
        let mut counts = vec![-30.0; 4 * LANES];
        counts[2 * LANES] = 30.0;
        let components: Vec<[f64; 3]> = examples.components(row).collect();
        let mut places = Vec::new();
        for [amplitude, mean, sigma] in components {
            let (mean, sigma) = ((mean - 100.0) / 2.0, sigma / 2.0);
            let class = usize::from(sigma > 1.8) + usize::from(sigma > 2.4);
            let at = (mean.round() as usize * OUTPUTS + class * TOLD) * LANES;
            let truth = [30.0, libm::log(amplitude / 0.5), mean - mean.round(), libm::log(sigma)];
            for (index, value) in truth.into_iter().enumerate() {
                told[at + index * LANES] = value as f32;
            }
            places.push(at);
        }
        let loss = |told: &[f32], counts: &[f32]| {
            let mut loss =
                Loss::new(&design, LossWeights::default(), &examples, Instructions::best());
            let mut unused = (told.to_vec(), counts.to_vec());
            loss.evaluate(&[row], told, counts, 1.0, &mut unused.0, &mut unused.1)
        };
        let right = loss(&told, &counts);
        assert!(right.total < 1e-5, "{right:?}");
        let mut cold = told.clone();
        cold[places[0]] = -3.0;
        assert!(loss(&cold, &counts).detection > 1.0);
        let mut hot = told.clone();
        hot[10 * LANES * OUTPUTS + 15] = 30.0;
        assert!(loss(&hot, &counts).detection < 1e-5, "another spectrum's lane");
        let mut off = told.clone();
        off[places[0] + LANES] += 3.0;
        assert!((loss(&off, &counts).parameter - 2.5 / 1.5).abs() < 1e-4);
        counts[2 * LANES] = -30.0;
        assert!((loss(&told, &counts).count - libm::log(4.0)).abs() < 1e-6);
    }
}
