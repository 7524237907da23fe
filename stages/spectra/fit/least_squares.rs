//! Least squares by Levenberg and Marquardt, within bounds.

use std::ops::Range;

use super::channels::Channels;
use super::kernels::{
    Instructions, LANES, decrease, derivatives, own_products, products, subtract,
};
use super::matrix::{entries, factorize, place, solve};

/// A component is zero beyond this many sigma: e⁻¹⁸ of its amplitude.
const REACH: f64 = 6.0;

/// A component inside a fit: amplitude in units of the noise rms, mean and sigma in channels.
pub(super) type Parameters = [f64; 3];

/// What the parameters of every component must lie between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub(super) low: Parameters,
    pub(super) high: Parameters,
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stop {
    /// Where the next step would lower χ² by less than this.
    pub(super) decrement: f64,
    /// After this many steps.
    pub(super) steps: usize,
}

/// How a fit ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Descent {
    /// By how much the components lower χ².
    pub(super) decrease: f64,
    /// Whether nothing was left to gain, rather than the steps used up.
    pub(super) converged: bool,
}

/// The room in which fits are done, so that none allocates.
#[derive(Debug, Clone, Default)]
pub(super) struct LeastSquares {
    padded: usize,
    /// Three columns for each component, each over all channels; written inside of the windows only.
    columns: Vec<f64>,
    windows: Vec<Range<usize>>,
    residual: Vec<f64>,
    /// The components of the best fit yet.
    pub(super) parameters: Vec<Parameters>,
    trial: Vec<Parameters>,
    /// Jᵀ C⁻¹ J at `parameters`, of the three derivatives of each component in turn.
    pub(super) information: Vec<f64>,
    /// Jᵀ C⁻¹ r at `parameters`.
    pub(super) gradient: Vec<f64>,
    damped: Vec<f64>,
    step: Vec<f64>,
    /// The parameters that aren't held at a bound.
    free: Vec<usize>,
}

/// The channels on which a component isn't zero, whole lanes of them, the whitened tail included.
pub(super) fn window(component: &Parameters, channels: &Channels) -> Range<usize> {
    let [_, mean, sigma] = *component;
    let reach = REACH * sigma;
    let low = (mean - reach).max(0.0) as usize;
    let high = (mean + reach).max(0.0) as usize + 1 + channels.whitening.tail;
    let high = high.next_multiple_of(LANES).min(channels.padded);
    (low / LANES * LANES).min(high)..high
}

/// Writes the derivatives of a component, whitened, into three columns over all channels; gives where.
pub(super) fn fill(
    instructions: Instructions,
    component: &Parameters,
    channels: &Channels,
    columns: [&mut [f64]; 3],
) -> Range<usize> {
    let range = window(component, channels);
    let [a, b, c] = columns.map(|column| &mut column[range.clone()]);
    let (positions, weights) =
        (&channels.positions[range.clone()], &channels.weights[range.clone()]);
    derivatives(instructions, component, positions, weights, a, b, c);
    if channels.whitening.tail > 0 {
        channels.whitening.apply(range.start, [a, b, c]);
    }
    range
}

impl LeastSquares {
    /// Fits components to `base`, a whitened spectrum over all channels, from `start`.
    pub(super) fn fit(
        &mut self,
        instructions: Instructions,
        channels: &Channels,
        base: &[f64],
        start: &[Parameters],
        bounds: &Bounds,
        stop: Stop,
    ) -> Descent {
        self.make_room(channels.padded, start.len());
        self.trial.clear();
        self.trial.extend(start.iter().map(|component| {
            std::array::from_fn(|i| component[i].max(bounds.low[i]).min(bounds.high[i]))
        }));
        let mut gained = self.evaluate(instructions, channels, base);
        self.parameters.clone_from(&self.trial);
        if start.is_empty() {
            return Descent { decrease: 0.0, converged: true };
        }
        self.linearize(instructions);

        let mut damping = 1e-3;
        for _ in 0..stop.steps {
            self.release(bounds);
            let Some(decrement) = self.propose(damping) else {
                damping *= 10.0;
                continue;
            };
            if decrement < stop.decrement || damping > 1e12 {
                return Descent { decrease: gained, converged: true };
            }
            let predicted = self.try_step(bounds);
            let found = self.evaluate(instructions, channels, base);
            let ratio = (found - gained) / predicted;
            if found > gained {
                gained = found;
                std::mem::swap(&mut self.parameters, &mut self.trial);
                self.linearize(instructions);
                if ratio > 0.75 {
                    damping = (damping * 0.1).max(1e-9);
                } else if ratio < 0.25 {
                    damping *= 4.0;
                }
            } else {
                damping = (damping * 8.0).max(1e-3);
            }
        }
        Descent { decrease: gained, converged: false }
    }

    fn make_room(&mut self, padded: usize, components: usize) {
        if self.padded != padded {
            self.padded = padded;
            self.columns.clear();
            self.residual.clear();
            self.residual.resize(padded, 0.0);
        }
        let n = 3 * components;
        if self.columns.len() < n * padded {
            self.columns.resize(n * padded, 0.0);
        }
        self.information.clear();
        self.information.resize(entries(n), 0.0);
        self.gradient.clear();
        self.gradient.resize(n, 0.0);
    }

    /// By how much the trial components lower χ²; leaves their derivatives and the residual.
    fn evaluate(&mut self, instructions: Instructions, channels: &Channels, base: &[f64]) -> f64 {
        self.windows.clear();
        let (mut low, mut high) = (usize::MAX, 0);
        for (component, columns) in
            self.trial.iter().zip(self.columns.chunks_exact_mut(3 * self.padded))
        {
            let (a, rest) = columns.split_at_mut(self.padded);
            let (b, c) = rest.split_at_mut(self.padded);
            let range = fill(instructions, component, channels, [a, b, c]);
            low = low.min(range.start);
            high = high.max(range.end);
            self.windows.push(range);
        }
        if low >= high {
            return 0.0;
        }
        self.residual[low..high].copy_from_slice(&base[low..high]);
        for (k, (component, range)) in self.trial.iter().zip(&self.windows).enumerate() {
            let shape = &self.columns[3 * k * self.padded..][range.clone()];
            subtract(instructions, component[0], shape, &mut self.residual[range.clone()]);
        }
        decrease(instructions, &base[low..high], &self.residual[low..high])
    }

    /// The columns of component `k` at some channels.
    fn columns(&self, k: usize, range: &Range<usize>) -> [&[f64]; 3] {
        std::array::from_fn(|i| &self.columns[(3 * k + i) * self.padded..][range.clone()])
    }

    /// Sums up the normal equations at what was evaluated last.
    fn linearize(&mut self, instructions: Instructions) {
        for k in 0..self.windows.len() {
            let own = self.windows[k].clone();
            let (among, with) =
                own_products(instructions, self.columns(k, &own), &self.residual[own.clone()]);
            self.gradient[3 * k..3 * k + 3].copy_from_slice(&with);
            for (row, line) in [&among[..1], &among[1..3], &among[3..]].into_iter().enumerate() {
                let at = place(3 * k + row, 3 * k);
                self.information[at..at + line.len()].copy_from_slice(line);
            }
            for l in 0..k {
                let other = &self.windows[l];
                let shared = own.start.max(other.start)..own.end.min(other.end);
                let block = if shared.is_empty() {
                    [[0.0; 3]; 3]
                } else {
                    products(instructions, self.columns(k, &shared), self.columns(l, &shared))
                };
                for (row, line) in block.iter().enumerate() {
                    let at = place(3 * k + row, 3 * l);
                    self.information[at..at + 3].copy_from_slice(line);
                }
            }
        }
    }

    /// Finds the parameters that aren't held at a bound by the gradient.
    fn release(&mut self, bounds: &Bounds) {
        self.free.clear();
        for (index, gradient) in self.gradient.iter().enumerate() {
            let (value, i) = (self.parameters[index / 3][index % 3], index % 3);
            let held = value <= bounds.low[i] && *gradient <= 0.0
                || value >= bounds.high[i] && *gradient >= 0.0;
            if !held {
                self.free.push(index);
            }
        }
    }

    /// Solves the damped normal equations; gives by how much the step should lower χ², or `None` where they can't be
    /// solved.
    fn propose(&mut self, damping: f64) -> Option<f64> {
        let n = self.free.len();
        self.damped.clear();
        self.step.clear();
        for (row, &i) in self.free.iter().enumerate() {
            for &j in &self.free[..row] {
                self.damped.push(self.information[place(i, j)]);
            }
            self.damped.push(self.information[place(i, i)] * (1.0 + damping) + f64::MIN_POSITIVE);
            self.step.push(self.gradient[i]);
        }
        if !factorize(&mut self.damped, n) {
            return None;
        }
        solve(&self.damped, &mut self.step);
        let gradient = self.free.iter().map(|&i| self.gradient[i]);
        Some(gradient.zip(&self.step).map(|(gradient, step)| gradient * step).sum())
    }

    /// Takes the step as far as the bounds and good sense allow; gives by how much the linear model says that this
    /// lowers χ².
    fn try_step(&mut self, bounds: &Bounds) -> f64 {
        self.trial.clone_from(&self.parameters);
        for (&index, step) in self.free.iter().zip(&mut self.step) {
            let (k, i) = (index / 3, index % 3);
            let sigma = self.parameters[k][2];
            // The linear model says nothing of a component elsewhere, or of quite another width.
            let step_bounded = match i {
                0 => *step,
                // A catalogue may come with any width.
                _ if sigma.is_nan() || sigma <= 0.0 => *step,
                1 => step.clamp(-1.5 * sigma, 1.5 * sigma),
                _ => step.clamp(-0.5 * sigma, sigma),
            };
            let from = self.parameters[k][i];
            let to = (from + step_bounded).max(bounds.low[i]).min(bounds.high[i]);
            self.trial[k][i] = to;
            *step = to - from;
        }
        let mut predicted = 0.0;
        for (row, (&i, step)) in self.free.iter().zip(&self.step).enumerate() {
            let mut sum = 0.5 * self.information[place(i, i)] * step;
            for (&j, other) in self.free[..row].iter().zip(&self.step) {
                sum += self.information[place(i, j)] * other;
            }
            predicted += 2.0 * step * (self.gradient[i] - sum);
        }
        predicted.max(f64::MIN_POSITIVE)
    }
}
