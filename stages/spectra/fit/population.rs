//! What components a field has, learned from the field: how many to a spectrum, how bright, where and how wide.

use super::least_squares::Parameters;

/// As many components, and as many spectra, as what was thought before anything was seen counts for.
pub(super) const BEFORE: f64 = 10.0;
/// The least share that what was thought before keeps however much was seen: a field may hold a component like no other.
pub(super) const LEAST_SHARE: f64 = 0.05;
/// The cells in which a density is kept.
const CELLS: usize = 256;
/// The kernel widths among which is chosen, in cells.
pub(super) const WIDTHS: [f64; 6] = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
/// A kernel is cut beyond this many of its widths.
const REACH: f64 = 4.0;

/// The components of a field: the densities of their parameters and of their number, as a prior for each of its spectra.
///
/// It is learned from the spectra that it is then used on (empirical Bayes; Robbins 1956, Efron 2010) by expectation
/// and maximisation (Dempster, Laird & Rubin 1977): each number of components that was tried on a spectrum is as probable
/// as its evidence says, its components count with that weight, and their densities are the next prior. The densities of
/// log amplitude, mean and log sigma are sums of normal kernels, as wide as predicts the components of a spectrum best
/// from those of all others (likelihood cross-validation; Silverman 1986, §3.4.4).
///
/// What was thought before is mixed in with a share that falls from 1, where nothing was seen, to a twentieth.
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    /// The logarithm of the probability of each number of components.
    pub(super) log_counts: Vec<f64>,
    /// Densities of log amplitude, mean and log sigma.
    pub(super) densities: [Density; 3],
    /// The share of what was thought before.
    pub(super) share: f64,
}

impl Population {
    /// The logarithm of the probability of `count` components, less that of none.
    pub(super) fn log_count(&self, count: usize) -> f64 {
        let last = self.log_counts.len() - 1;
        self.log_counts[count.min(last)] - self.log_counts[0]
    }

    /// The density of each parameter of a component, where `before` is what was thought of it.
    pub(super) fn density(
        &self,
        component: &Parameters,
        before: &Parameters,
        signs: f64,
    ) -> Parameters {
        std::array::from_fn(|i| {
            let density = self.densities[i].at(coordinate(component, i));
            // Densities of logarithms, as densities of amplitude (of either sign) and sigma.
            let density = match i {
                0 => density / (signs * component[0].abs()),
                1 => density,
                _ => density / component[2],
            };
            self.share * before[i] + (1.0 - self.share) * density
        })
    }
}

/// What the density of parameter `i` is one of.
pub(super) fn coordinate(component: &Parameters, i: usize) -> f64 {
    if i == 1 { component[1] } else { libm::log(component[i].abs().max(1e-300)) }
}

/// The components of all spectra, with their weights, and where those of each spectrum end.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) components: Vec<(Parameters, f64)>,
    pub(super) ends: Vec<usize>,
}

/// A density on a stretch of numbers; zero beyond.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Density {
    pub(super) low: f64,
    /// The width of a cell.
    pub(super) step: f64,
    /// At the centre of each cell.
    pub(super) values: Vec<f64>,
}

impl Density {
    pub(super) fn of(
        rows: &Rows,
        kernels: &[Kernel],
        coordinate: impl Fn(&Parameters) -> f64,
    ) -> Self {
        let values: Vec<f64> = rows.components.iter().map(|(found, _)| coordinate(found)).collect();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return Self { low: 0.0, step: 1.0, values: vec![0.0; CELLS] };
        }
        // Half a cell beyond the outermost, and no less than a span of one in all.
        let span = (high - low).max(1.0);
        let step = span / (CELLS - 1) as f64;
        let low = 0.5 * (low + high - span) - 0.5 * step;
        let cells: Vec<usize> =
            values.iter().map(|value| (((value - low) / step) as usize).min(CELLS - 1)).collect();
        let mut weights = vec![0.0; CELLS];
        for (cell, (_, weight)) in cells.iter().zip(&rows.components) {
            weights[*cell] += weight;
        }
        let total: f64 = weights.iter().sum();
        let mut best: Option<(f64, Vec<f64>)> = None;
        for kernel in kernels {
            let sums = kernel.sums(&weights);
            let likelihood = kernel.cross_validated(rows, &cells, &sums, total);
            if best.as_ref().is_none_or(|(known, _)| likelihood > *known) {
                best = Some((likelihood, sums));
            }
        }
        let (_, mut values) = best.unwrap_or_default();
        for value in &mut values {
            *value /= total.max(1e-300) * step;
        }
        Self { low, step, values }
    }

    /// The density at `value`, linear between the centres of cells.
    fn at(&self, value: f64) -> f64 {
        let cell = (value - self.low) / self.step - 0.5;
        let last = (self.values.len() - 1) as f64;
        if !(cell > -1.0 && cell < last + 1.0) {
            return 0.0;
        }
        let cell = cell.clamp(0.0, last);
        let first = (cell as usize).min(self.values.len() - 2);
        let part = cell - first as f64;
        (1.0 - part) * self.values[first] + part * self.values[first + 1]
    }
}

/// A normal kernel over cells, whose sum about every cell is 1: what would lie beyond the cells doesn't.
pub(super) struct Kernel {
    /// By distance.
    pub(super) values: Vec<f64>,
    /// What the kernel about each cell is to be multiplied by.
    pub(super) norms: Vec<f64>,
}

impl Kernel {
    pub(super) fn new(width: f64) -> Self {
        let reach = ((REACH * width) as usize).min(CELLS - 1);
        let values: Vec<f64> = (0..=reach)
            .map(|distance| {
                let z = distance as f64 / width;
                libm::exp(-0.5 * z * z)
            })
            .collect();
        let norms = (0..CELLS).map(|cell| {
            let inside = (0..CELLS).filter_map(|other| values.get(cell.abs_diff(other)));
            1.0 / inside.sum::<f64>()
        });
        Self { norms: norms.collect(), values }
    }

    /// What a component in one cell adds to another.
    fn between(&self, from: usize, to: usize) -> f64 {
        self.values.get(from.abs_diff(to)).map_or(0.0, |value| value * self.norms[from])
    }

    /// The sums of the kernels of all components, in each cell.
    fn sums(&self, weights: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; CELLS];
        for (from, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            let weight = weight * self.norms[from];
            let (before, after) = sums.split_at_mut(from);
            after.iter_mut().zip(&self.values).for_each(|(sum, value)| *sum += weight * value);
            let values = self.values.iter().skip(1);
            before.iter_mut().rev().zip(values).for_each(|(sum, value)| *sum += weight * value);
        }
        sums
    }

    /// The mean logarithm of the density of each component among those of other spectra.
    fn cross_validated(&self, rows: &Rows, cells: &[usize], sums: &[f64], total: f64) -> f64 {
        let (mut logarithm, mut start) = (0.0, 0);
        for &end in &rows.ends {
            let own = start..end;
            let weight: f64 = rows.components[own.clone()].iter().map(|(_, weight)| weight).sum();
            for at in own.clone() {
                let here: f64 = own
                    .clone()
                    .map(|other| rows.components[other].1 * self.between(cells[other], cells[at]))
                    .sum();
                // A share of an even density, so that one component like no other decides nothing.
                let others = ((sums[cells[at]] - here) / (total - weight).max(1e-9)).max(0.0);
                let density = (1.0 - LEAST_SHARE) * others + LEAST_SHARE / CELLS as f64;
                logarithm += rows.components[at].1 * libm::log(density);
            }
            start = end;
        }
        logarithm
    }
}

#[cfg(test)]
mod tests {
    use super::super::candidate::Candidate;
    use super::super::candidate::Tried;
    use super::super::evidence::Prior;
    use super::super::least_squares::Bounds;
    use super::*;

    const BOUNDS: Bounds = Bounds { low: [2.0, 0.0, 0.7], high: [100.0, 399.0, 50.0] };

    /// A spectrum on which these numbers of components were tried, each as probable as it says before the prior.
    fn tried(candidates: &[(&[Parameters], f64)]) -> Tried {
        let mut found = vec![None; 4];
        for (parameters, log_volume) in candidates {
            let parameters = parameters.to_vec();
            let count = parameters.len();
            found[count] =
                Some(Candidate { parameters, log_volume: *log_volume, ..Candidate::default() });
        }
        Tried { candidates: found, least: 0, prior: Prior::new(&BOUNDS, 30.0) }
    }

    /// Components about channel 100 and sigma 3, one or two to a spectrum, clearly.
    fn field(spectra: usize) -> Vec<Tried> {
        (0..spectra)
            .map(|row| {
                let shift = (row % 11) as f64;
                let one = [10.0 + shift, 95.0 + shift, 2.5 + 0.1 * shift];
                let other = [20.0, 250.0 + 3.0 * shift, 3.0];
                let both = [one, other];
                if row % 4 == 0 {
                    tried(&[(&[], 0.0), (&both[..1], 100.0), (&both, 40.0)])
                } else {
                    tried(&[(&[], 0.0), (&both[..1], 40.0), (&both, 100.0)])
                }
            })
            .collect()
    }

    fn learned(field: &[Tried]) -> Population {
        Population::learn(&field.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_density_is_one_in_all() {
        for density in learned(&field(200)).densities {
            let sum: f64 = density.values.iter().sum::<f64>() * density.step;
            assert!((sum - 1.0).abs() < 1e-12, "{sum}");
            let middle = density.low + (CELLS / 2) as f64 * density.step;
            assert!(density.at(middle - 1e9) == 0.0 && density.at(f64::NAN) == 0.0);
        }
    }

    #[test]
    fn it_expects_what_it_saw() {
        let population = learned(&field(400));
        // A quarter of the spectra with one component, the rest with two.
        assert!((libm::exp(population.log_counts[2]) - 0.75).abs() < 0.02);
        assert!((libm::exp(population.log_counts[1]) - 0.25).abs() < 0.02);
        let before = [0.01, 0.0025, 0.02];
        let density = |component: &Parameters| population.density(component, &before, 1.0);
        // Four of seven components in 11 channels about 100, none about 180.
        let (there, nowhere) = (density(&[15.0, 100.0, 3.0])[1], density(&[15.0, 180.0, 3.0])[1]);
        assert!((0.03..0.06).contains(&there), "{there}");
        assert!(nowhere < 2e-4 && nowhere > 0.0, "{nowhere}");
        assert!(density(&[15.0, 100.0, 3.0])[2] > 0.4);
        assert!(density(&[15.0, 100.0, 20.0])[2] <= LEAST_SHARE * 1.5 * 0.02);
    }

    #[test]
    fn where_nothing_was_seen_nothing_is_known() {
        let empty: Vec<Tried> = (0..50).map(|_| tried(&[(&[], 0.0)])).collect();
        let population = learned(&empty);
        assert_eq!(population.share.to_bits(), 1.0_f64.to_bits());
        let before = [0.01, 0.0025, 0.02];
        let bits = |density: Parameters| density.map(f64::to_bits);
        let found = population.density(&[5.0, 100.0, 3.0], &before, 1.0);
        assert_eq!(bits(found), bits(before));
        assert!(population.log_count(0).abs() < 1e-12 && population.log_count(1) < -2.0);
        assert_eq!(Population::learn(&[]), None);
        let few = learned(&field(3));
        assert!(few.share > 0.6, "{}", few.share);
    }

    #[test]
    fn kernels_are_as_wide_as_the_other_spectra_bear_out() {
        // At one channel in every spectrum, and anywhere.
        let mean = |of: &dyn Fn(usize) -> f64| {
            let field: Vec<Tried> =
                (0..300).map(|row| tried(&[(&[[10.0, of(row), 3.0]], 50.0)])).collect();
            learned(&field).densities[1].clone()
        };
        let anywhere = mean(&|row| (row * 157 % 400) as f64);
        let (least, most) = anywhere
            .values
            .iter()
            .fold((1.0_f64, 0.0_f64), |(least, most), v| (least.min(*v), most.max(*v)));
        assert!(most / least < 1.7, "{least} to {most}");
        let clustered = mean(&|row| if row % 2 == 0 { 50.0 } else { 300.0 } + (row % 5) as f64);
        assert!(clustered.at(52.0) > 0.05 && clustered.at(180.0) < 1e-6);
    }
}
