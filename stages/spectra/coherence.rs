//! How much the components of a spectrum tell of those of its neighbours on the sky.

use super::assignment::assign;
use super::{Axis, ByParameter, Component};

/// Two components are taken for the same line where their squared distance, in units of its variance, is less than this:
/// χ² with three degrees of freedom exceeds it once in a thousand.
const GATE: f64 = 16.0;
/// The variance that stands for one that isn't known.
const UNKNOWN: f64 = 1e6;
/// Rounds of pairing components and measuring how far those of a pair are from each other.
const ROUNDS: usize = 6;
/// The least spread that is believed in: logarithm of the amplitude, channels, logarithm of sigma.
const LEAST_SPREAD: [f64; 3] = [0.03, 0.05, 0.03];
/// The standard deviation of a normal distribution over its median modulus.
const DEVIATION_PER_MEDIAN: f64 = 1.482_602_218_505_602;

/// A component of a fit, as it is compared with those of neighbours: by the logarithms of amplitude and sigma, so that
/// neither noise nor brightness matter, and by its mean in channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The component.
    pub component: Component,
    /// ln |amplitude|, mean in channels, ln(sigma in channels).
    at: [f64; 3],
    /// The variances of these.
    variance: [f64; 3],
}

impl Line {
    /// A component with its standard deviations.
    pub fn new(component: Component, deviation: ByParameter<f64>, axis: &Axis) -> Self {
        let width = axis.width();
        let of = |deviation: f64, scale: f64| {
            let relative = deviation / scale;
            if relative.is_finite() { relative * relative } else { UNKNOWN }
        };
        Self {
            component,
            at: [
                libm::log(component.amplitude.abs()),
                axis.channel(component.mean),
                libm::log(component.sigma / width),
            ],
            variance: [
                of(deviation.amplitude, component.amplitude),
                of(deviation.mean, width),
                of(deviation.sigma, component.sigma),
            ],
        }
    }
}

/// The lines of a spectrum next to another, and the squared distance in pixels.
#[derive(Debug, Clone, Copy)]
pub struct Neighbour<'a> {
    /// The lines.
    pub lines: &'a [Line],
    /// 1 for a pixel beside, 2 for one across the corner.
    pub squared_distance: f64,
    /// The correlation of the noise of both spectra, 0 to 1.
    pub noise_correlation: f64,
}

impl Neighbour<'_> {
    /// How much of the squared difference of a line and one of the neighbour's, in parameter `i`, the noise explains: errors
    /// that come from the same noise don't set them apart.
    fn explained(&self, line: &Line, other: &Line, i: usize) -> f64 {
        let (own, others) = (line.variance[i], other.variance[i]);
        own + others - 2.0 * self.noise_correlation * (own * others).sqrt()
    }
}

/// How alike neighbouring spectra of a field are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coherence {
    /// By how much a line differs from one spectrum to the next, beyond what noise does: the standard deviations of ln |amplitude|,
    /// mean (channels) and ln(sigma).
    pub spread: [f64; 3],
    /// The part of a spectrum's lines that the next one has, too.
    pub survival: f64,
    /// How many lines, in the mean, a spectrum has that the next one doesn't have.
    pub births: f64,
}

impl Coherence {
    /// Measures it on pairs of neighbours, one pixel from each other. `None` where they have no lines.
    ///
    /// Lines are paired within a gate, and the spread of the pairs' differences is taken, robustly, less what their
    /// uncertainties explain; the gate follows the spread. It begins at half the typical sigma, and at no time is it wider than
    /// that: in a field whose spectra have nothing to do with each other, a line then seldom finds another, and
    /// `survival` is small.
    pub fn measure(pairs: &[(&[Line], Neighbour<'_>)]) -> Option<Self> {
        let mut sigmas: Vec<f64> =
            pairs.iter().flat_map(|(a, _)| a.iter().map(|line| line.at[2])).collect();
        let typical = libm::exp(lower_median(&mut sigmas)?);
        let widest = [0.5, 0.5 * typical.max(1.0), 0.4];
        let mut found = Self { spread: widest, survival: 0.5, births: 0.5 };
        for _ in 0..ROUNDS {
            let (mut lines, mut paired, mut unpaired) = (0_u64, 0_u64, 0_u64);
            let mut differences = [const { Vec::new() }; 3];
            let mut explained = [const { Vec::new() }; 3];
            for (a, b) in pairs {
                lines += (a.len() + b.lines.len()) as u64;
                for (line, other) in a.iter().zip(found.pairs(a, b)) {
                    let Some(other) = other.map(|other| &b.lines[other]) else {
                        unpaired += 1;
                        continue;
                    };
                    paired += 1;
                    for i in 0..3 {
                        differences[i].push((line.at[i] - other.at[i]).abs());
                        explained[i].push(b.explained(line, other, i));
                    }
                }
            }
            for i in 0..3 {
                if let (Some(difference), Some(explained)) =
                    (lower_median(&mut differences[i]), lower_median(&mut explained[i]))
                {
                    let deviation = DEVIATION_PER_MEDIAN * difference;
                    let own = (deviation * deviation - explained).max(0.0).sqrt();
                    found.spread[i] = own.max(LEAST_SPREAD[i]).min(widest[i]);
                }
            }
            found.survival = (2.0 * paired as f64 / lines as f64).clamp(0.01, 0.99);
            found.births = (unpaired as f64 / pairs.len() as f64).max(0.01);
        }
        Some(found)
    }

    /// Which line of a neighbour is the same as each of `lines`, at most one for each.
    fn pairs(&self, lines: &[Line], neighbour: &Neighbour<'_>) -> Vec<Option<usize>> {
        let others = neighbour.lines;
        let apart = |a: &Line, b: &Line| self.squared(a, b, neighbour).0.min(GATE);
        let costs: Vec<f64> =
            lines.iter().flat_map(|a| others.iter().map(move |b| apart(a, b))).collect();
        let assigned = assign(&costs, lines.len(), others.len());
        let within = |(k, other): (usize, Option<usize>)| {
            other.filter(|other| costs[k * others.len() + other] < GATE)
        };
        assigned.into_iter().enumerate().map(within).collect()
    }

    /// The squared distance of a line from one of a neighbour in units of its variance, and the logarithm of the product of
    /// these variances.
    fn squared(&self, a: &Line, b: &Line, neighbour: &Neighbour<'_>) -> (f64, f64) {
        let (mut sum, mut log) = (0.0, 0.0);
        for i in 0..3 {
            let spread = self.spread[i];
            let variance =
                spread * spread * neighbour.squared_distance + neighbour.explained(a, b, i);
            let difference = a.at[i] - b.at[i];
            sum += difference * difference / variance;
            log += libm::log(variance);
        }
        let same_sign = (a.component.amplitude < 0.0) == (b.component.amplitude < 0.0);
        (if same_sign { sum } else { f64::MAX }, log)
    }

    /// Whether a neighbour has the same lines.
    pub fn agree(&self, lines: &[Line], neighbour: &Neighbour<'_>) -> bool {
        lines.len() == neighbour.lines.len()
            && self.pairs(lines, neighbour).iter().all(Option::is_some)
    }

    /// What neighbours add to the logarithm of the evidence of `lines`, up to a number that is the same for all lines that
    /// the spectrum might have.
    ///
    /// A neighbour says of a spectrum: each of my lines is there with the probability q (`survival`), where mine is, give or
    /// take the spread (normal in ln a, mean and ln s); besides there are others, their number after Poisson with the mean b (`births`),
    /// anywhere. That is the density of a multi-Bernoulli and a Poisson process (Mahler 2007, ch. 11). What several neighbours say
    /// is pooled as the weighted geometric mean (Genest & Zidek 1986), by inverse squared distance, so that all of
    /// them together count as one, and the odd one can't decide. It takes the place of what
    /// the fit thought before: all K equally likely, each line anywhere, with the `log_density` at every line of unit rms noise in
    /// amplitude and of channels.
    ///
    /// A line that both have may be noise that both have, with the correlation c (`noise_correlation`): of all that a neighbour's
    /// lines say, 1 − c counts, and c stays with what the fit thought before (a weighted geometric mean, too). That a neighbour has
    /// no such line can't come from the noise that they share, and counts in full.
    ///
    /// The likelihood of a fit is about normal, so that the product with a normal density about a neighbour's line has the
    /// integral of one whose variance is the sum of both.
    pub fn log_prior(
        &self,
        lines: &[Line],
        neighbours: &[Neighbour<'_>],
        log_density: f64,
        noise_rms: f64,
    ) -> f64 {
        const THREE_HALVES_LOG_2_PI: f64 = 2.756_815_599_614_018;
        let (log_q, log_gone) = (libm::log(self.survival), libm::log(1.0 - self.survival));
        let log_new = libm::log(self.births);
        let log_rms = libm::log(noise_rms);
        let orders: f64 = (1..=lines.len()).map(|k| libm::log(k as f64)).sum();
        let (mut sum, mut weights) = (0.0, 0.0);
        for neighbour in neighbours {
            let Neighbour { lines: others, squared_distance, noise_correlation } = neighbour;
            let own = 1.0 - noise_correlation;
            let mut log = 0.0;
            let mut paired = 0;
            for (line, other) in lines.iter().zip(self.pairs(lines, neighbour)) {
                let Some(other) = other else {
                    log += log_new;
                    continue;
                };
                paired += 1;
                let (squared, log_variance) = self.squared(line, &others[other], neighbour);
                let normal = -0.5 * (squared + log_variance) - THREE_HALVES_LOG_2_PI;
                // From logarithms to the amplitude in units of the noise, and to sigma.
                let scale = line.at[0] - log_rms + line.at[2];
                let same = log_q + normal - scale - log_density;
                log += (own * same).max(own * log_gone + log_new);
            }
            log += own * (others.len() - paired) as f64 * log_gone;
            // What the fit thought holds the orders already.
            let counted = 1.0 - noise_correlation * paired as f64 / lines.len().max(1) as f64;
            sum += (log - counted * orders) / squared_distance;
            weights += 1.0 / squared_distance;
        }
        if weights > 0.0 { sum / weights } else { 0.0 }
    }

    /// What `lines` might be instead, after these neighbours: all lines of one of them; one line more, of theirs; one line fewer, that
    /// half of them don't have. Empty where all of them agree.
    pub fn proposals(&self, lines: &[Line], neighbours: &[Neighbour<'_>]) -> Vec<Vec<Component>> {
        let mut sets: Vec<&[Line]> = Vec::new();
        let mut more: Vec<&Line> = Vec::new();
        let mut support = vec![0.0; lines.len()];
        let mut weights = 0.0;
        for neighbour in neighbours {
            let weight = 1.0 / neighbour.squared_distance;
            weights += weight;
            let paired = self.pairs(lines, neighbour);
            for (support, other) in support.iter_mut().zip(&paired) {
                *support += if other.is_some() { weight } else { 0.0 };
            }
            let among = Neighbour { squared_distance: 1.0, noise_correlation: 0.0, ..*neighbour };
            for (index, other) in neighbour.lines.iter().enumerate() {
                let is_new = !paired.contains(&Some(index))
                    && more.iter().all(|known| self.squared(known, other, &among).0 >= GATE);
                if is_new {
                    more.push(other);
                }
            }
            let mut known = std::iter::once(&lines).chain(&sets);
            if known.all(|known| !self.agree(known, neighbour)) {
                sets.push(neighbour.lines);
            }
        }
        let components = |lines: &[Line]| -> Vec<Component> {
            lines.iter().map(|line| line.component).collect()
        };
        let mut proposals: Vec<Vec<Component>> = sets.iter().map(|set| components(set)).collect();
        let own = components(lines);
        proposals.extend(more.iter().map(|line| {
            let mut with = own.clone();
            with.push(line.component);
            with
        }));
        for (k, _) in support.iter().enumerate().filter(|(_, support)| 2.0 * **support <= weights) {
            let mut without = own.clone();
            without.remove(k);
            proposals.push(without);
        }
        proposals
    }
}

/// The lower median of values, which it orders.
fn lower_median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectra::{Draws, Purpose};

    const TEST: Purpose = Purpose::new("coherence test");

    fn axis() -> Axis {
        Axis { start: 0.0, step: 2.0, channels: 200, unit: String::new() }
    }

    /// What a pixel beside has, with noise of its own.
    fn beside(lines: &[Line]) -> Neighbour<'_> {
        Neighbour { lines, squared_distance: 1.0, noise_correlation: 0.0 }
    }

    /// A line by its amplitude and channels, measured to 5 % or a fifth of a channel.
    fn line(amplitude: f64, channel: f64, sigma: f64) -> Line {
        let axis = axis();
        let component =
            Component { amplitude, mean: axis.value(channel), sigma: sigma * axis.width() };
        let deviation = ByParameter {
            amplitude: 0.05 * amplitude,
            mean: 0.2 * axis.width(),
            sigma: 0.05 * component.sigma,
        };
        Line::new(component, deviation, &axis)
    }

    /// Pairs of spectra with two lines each that drift, or that have nothing to do with each other; their fits are as
    /// wrong as they say.
    fn measured(drifts: bool) -> Coherence {
        let spectra: Vec<[Vec<Line>; 2]> = (0..2_000)
            .map(|row| {
                let mut draws = Draws::new(5, TEST, row);
                let places: [[f64; 2]; 2] = std::array::from_fn(|_| {
                    [10.0, 110.0].map(|from| draws.uniform(from, from + 80.0))
                });
                let spectrum = |places: [f64; 2], draws: &mut Draws| {
                    places.map(|place| {
                        let mut about = |spread: f64, error: f64| {
                            spread * draws.normal() + error * draws.normal()
                        };
                        line(
                            7.0 * libm::exp(about(0.1, 0.05)),
                            place + about(0.5, 0.2),
                            3.0 * libm::exp(about(0.08, 0.05)),
                        )
                    })
                };
                let other = if drifts { places[0] } else { places[1] };
                [spectrum(places[0], &mut draws), spectrum(other, &mut draws)].map(Vec::from)
            })
            .collect();
        let pairs: Vec<(&[Line], Neighbour<'_>)> =
            spectra.iter().map(|[a, b]| (&a[..], beside(b))).collect();
        Coherence::measure(&pairs).unwrap()
    }

    #[test]
    fn the_spread_is_that_of_the_lines_without_that_of_the_noise() {
        let Coherence { spread, survival, births } = measured(true);
        // Both members of a pair are spread about the same place.
        for (found, expected) in spread.into_iter().zip([0.1, 0.5, 0.08]) {
            let ratio = found / (expected * std::f64::consts::SQRT_2);
            assert!((ratio - 1.0).abs() < 0.1, "{found} is not {expected} √2");
        }
        assert!(survival > 0.98 && births < 0.04, "{survival}, {births}");
    }

    #[test]
    fn what_has_nothing_in_common_seldom_corresponds() {
        let Coherence { survival, births, .. } = measured(false);
        assert!(survival < 0.3 && births > 1.4, "{survival}, {births}");
        assert_eq!(Coherence::measure(&[]), None);
        assert_eq!(Coherence::measure(&[(&[], beside(&[]))]), None);
    }

    #[test]
    fn neighbours_propose_what_they_have_and_are_heard_in_the_mean() {
        let coherence = Coherence { spread: [0.1, 0.5, 0.1], survival: 0.9, births: 0.2 };
        let (a, b, c) = (line(9.0, 50.0, 3.0), line(4.0, 60.0, 3.0), line(4.0, 150.0, 2.0));
        let both = [a.clone(), b.clone()];
        let one = [a.clone()];
        let most = [beside(&both[..]), beside(&both[..]), beside(&one[..])];
        assert!(coherence.proposals(&both, &most[..2]).is_empty());
        // The set of a neighbour, which is also one line more.
        let proposals = coherence.proposals(&one, &most);
        assert_eq!(proposals, [[a.component, b.component], [a.component, b.component]]);
        // A line that none of them has.
        let odd = [a.clone(), b.clone(), c];
        let proposals = coherence.proposals(&odd, &most);
        assert!(proposals.contains(&vec![a.component, b.component]));

        let log_density = libm::log(1.0 / (20.0 * 200.0 * 25.0));
        let prior = |lines: &[Line], neighbours: &[Neighbour<'_>]| {
            coherence.log_prior(lines, neighbours, log_density, 1.0)
        };
        assert!(prior(&both, &most) > prior(&one, &most) + 1.0);
        assert!(prior(&odd, &most) < prior(&both, &most) - 1.0);
        // What four neighbours say is the mean of what each says.
        let more =
            |neighbours: &[Neighbour<'_>]| prior(&both, neighbours) - prior(&one, neighbours);
        let few = [beside(&both[..]), beside(&one[..]), beside(&one[..]), beside(&one[..])];
        let (who_has, who_has_not) = (more(&few[..1]), more(&few[1..2]));
        assert!(who_has > 1.0 && who_has_not < -1.0, "{who_has}, {who_has_not}");
        assert!((more(&few) - 0.25 * (who_has + 3.0 * who_has_not)).abs() < 1e-12);
        // Who has none keeps what the fit thought.
        assert_eq!(prior(&both, &[]).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn what_noise_may_have_made_in_both_counts_for_less_and_what_one_lacks_in_full() {
        let coherence = Coherence { spread: [0.1, 0.5, 0.1], survival: 0.9, births: 0.2 };
        let (a, b) = (line(9.0, 50.0, 3.0), line(4.0, 60.0, 3.0));
        let (both, one) = ([a.clone(), b], [a]);
        let log_density = libm::log(1.0 / (20.0 * 200.0 * 25.0));
        let more = |lines: &[Line], noise_correlation: f64| {
            let neighbours = [Neighbour { noise_correlation, ..beside(lines) }];
            let prior = |lines: &[Line]| coherence.log_prior(lines, &neighbours, log_density, 1.0);
            prior(&both) - prior(&one)
        };
        // Of what is known to 5 %, a fifth of a channel and 5 %.
        let log_variance = |c: f64| {
            let normal = |spread: f64, error: f64| {
                libm::log(spread * spread + 2.0 * (1.0 - c) * error * error)
            };
            normal(0.1, 0.05) + normal(0.5, 0.2) + normal(0.1, 0.05)
        };
        let free = more(&both, 0.0);
        assert!(free > 1.0, "{free}");
        for c in [0.3, 0.7, 1.0] {
            let expected = (1.0 - c) * (free - 0.5 * (log_variance(c) - log_variance(0.0)));
            let found = more(&both, c);
            assert!((found - expected).abs() < 1e-9, "{c}: {found} is not {expected}");
        }
        // The line that the neighbour lacks is a birth; the orders of the lines are the fit's as far as they pair.
        let orders = libm::log(2.0);
        assert!((more(&one, 0.0) - (libm::log(0.2) - orders)).abs() < 1e-9);
        assert!((more(&one, 0.7) - (libm::log(0.2) - (1.0 - 0.7 * 0.5) * orders)).abs() < 1e-9);
    }

    #[test]
    fn what_neighbours_say_of_a_place_is_a_density() {
        // Summed over all places that a lone line may have, it is the probability that there is just one, over that of
        // none: q/(1 − q) + b, where the fit's own density is one over the volume. Amplitude and sigma are given.
        let coherence = Coherence { spread: [0.2, 1.0, 0.2], survival: 0.8, births: 0.1 };
        let exact = |amplitude: f64, channel: f64, sigma: f64| {
            let mut line = line(amplitude, channel, sigma);
            line.variance = [0.0; 3];
            line
        };
        let mine = [exact(8.0, 100.0, 4.0)];
        let neighbours = [beside(&mine)];
        let (low, high) = ([2.0, 90.0, 1.0], [20.0, 110.0, 12.0]);
        let volume: f64 = (0..3).map(|i| high[i] - low[i]).product();
        let log_density = -libm::log(volume);
        let steps = 40;
        let mut sum = 0.0;
        for index in 0..steps * steps * steps {
            let places = [index % steps, index / steps % steps, index / steps / steps];
            let at: [f64; 3] = std::array::from_fn(|i| {
                low[i] + (high[i] - low[i]) * (f64::from(places[i]) + 0.5) / f64::from(steps)
            });
            let there = [exact(at[0], at[1], at[2])];
            sum += libm::exp(coherence.log_prior(&there, &neighbours, log_density, 1.0));
        }
        let mean = sum / f64::from(steps * steps * steps);
        let none = libm::exp(coherence.log_prior(&[], &neighbours, log_density, 1.0));
        let expected = 0.8 / 0.2 + 0.1;
        assert!((mean / none / expected - 1.0).abs() < 0.02, "{} is not {expected}", mean / none);
    }
}
