//! The decomposition of a spectrum: how many components there are, and which.

mod choosing;
mod refining;

use std::sync::Arc;

use super::candidate::{Candidate, Tried};
use super::channels::{Channels, NoiseModel};
use super::evidence::{Posterior, Prior};
use super::flags::Flags;
use super::kernels::{Instructions, dot, subtract};
use super::least_squares::{Bounds, LeastSquares, Parameters, Stop, fill};
use super::parameters::{to_channels, to_component, to_uncertainty};
use super::population::Population;
use super::settings::{FitSettings, Selection};
use super::starts::{MatchedFilter, halves};
use crate::spectra::{Axis, ByParameter, Component, residual_noise::residual_rms};

pub use self::refining::Refined;

/// A fit that is to be kept: until a step would lower χ² by less than this, a ten-thousandth of what matters.
const FINE: Stop = Stop { decrement: 1e-7, steps: 60 };
/// A fit that is to be compared with fits from other starts.
const ROUGH: Stop = Stop { decrement: 0.03, steps: 25 };
/// Components influence each other up to this many sigma, the sum of both.
const NEAR: f64 = 3.0;
/// A dip of the residual is told from this signal-to-noise ratio on.
const DIP: f64 = 5.0;

/// A component as a fit found it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FittedComponent {
    /// The component.
    pub component: Component,
    /// The standard deviation of each parameter: roots of the diagonal of the inverse information matrix, the noise's
    /// correlation and blending included.
    pub uncertainty: ByParameter<f64>,
    /// What is questionable about it.
    pub flags: Flags,
}

/// What a fit found in a spectrum.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SpectrumFit {
    /// The components, sorted by mean.
    pub components: Vec<FittedComponent>,
    /// The χ² of the residual, rᵀ C⁻¹ r with the covariance C of the noise.
    pub chi_squared: f64,
    /// χ² over the degrees of freedom: the channels that aren't missing, less three for each component.
    pub reduced_chi_squared: f64,
    /// The logarithm of the evidence of each number of components, from 0 to the largest allowed, less that of noise
    /// alone, what is expected of that number in the field included; under [`Selection::Bic`], half the criterion below
    /// that of noise alone. NaN where a number wasn't tried.
    pub log_evidence: Vec<f64>,
    /// What is questionable about the fit or any component.
    pub flags: Flags,
}

/// Fits spectra on one axis, one after the other.
///
/// What it gives depends on the spectrum, its noise and the settings only, bit for bit: not on the processor, nor on
/// what was fitted before.
#[derive(Debug, Clone)]
pub struct Fitter {
    axis: Axis,
    settings: FitSettings,
    instructions: Instructions,
    channels: Channels,
    bounds: Bounds,
    prior: Prior,
    population: Option<Arc<Population>>,
    least_squares: LeastSquares,
    filter: MatchedFilter,
    posterior: Posterior,
    /// Three columns of room.
    columns: Vec<f64>,
    /// The whitened spectrum less components.
    residual: Vec<f64>,
    base: Vec<f64>,
    /// Starts from which other components are looked for: the component that gives way, if one does, and those that
    /// come, if any.
    starts: Vec<(Option<usize>, [Parameters; 2], usize)>,
    group: Vec<Parameters>,
    /// The best of each number of components that was tried.
    tried: Vec<Option<Candidate>>,
}

impl Fitter {
    /// A fitter of spectra on `axis`.
    pub fn new(axis: &Axis, settings: FitSettings) -> Self {
        let bounds = Bounds { low: [0.0; 3], high: [0.0; 3] };
        Self {
            axis: axis.clone(),
            settings,
            instructions: Instructions::best(),
            channels: Channels::default(),
            bounds,
            prior: Prior::new(&bounds, 1.0),
            population: None,
            least_squares: LeastSquares::default(),
            filter: MatchedFilter::default(),
            posterior: Posterior::default(),
            columns: Vec::new(),
            residual: Vec::new(),
            base: Vec::new(),
            starts: Vec::new(),
            group: Vec::new(),
            tried: Vec::new(),
        }
    }

    /// The same, without what only some processors have. The results are the same, too; it is there to be compared
    /// with.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.instructions = Instructions::Plain;
        self
    }

    /// Judges from now on by what components there are in the field of the spectra.
    pub fn expect(&mut self, population: Arc<Population>) {
        self.population = Some(population);
    }

    /// What was tried on the spectrum that was fitted last, to [learn](Population::learn) the population of its field
    /// from, and to [reconsider](Self::reconsider). Nothing, where there was nothing to fit.
    pub fn tried(&self) -> Tried {
        Tried {
            candidates: self.tried.clone(),
            least: self.settings.min_components,
            prior: self.prior,
        }
    }

    /// Finds the components of a spectrum from nothing.
    ///
    /// Components are added one at a time. Another one is tried where a matched filter stands out most in the residual,
    /// and in place of each component as two halves of it, in two ways; what lowers χ² most is kept. This ends at the
    /// first number of components that is less probable than the one before, or at the largest allowed.
    ///
    /// `None` where there is nothing to fit: the noise isn't a positive number, or all channels are missing.
    pub fn search(&mut self, spectrum: &[f32], noise: NoiseModel) -> Option<SpectrumFit> {
        self.take(spectrum, noise)?;
        let nothing = self.polished(&[]);
        let best = self.grown(nothing);
        Some(self.finish(&best, noise))
    }

    /// Fits as many components as there are starts.
    ///
    /// `None` as in [`search`](Self::search).
    pub fn fit(
        &mut self,
        spectrum: &[f32],
        noise: NoiseModel,
        starts: &[Component],
    ) -> Option<SpectrumFit> {
        self.take(spectrum, noise)?;
        let candidate = self.fitted(starts, noise);
        Some(self.finish(&candidate, noise))
    }

    /// Judges anew by the population of the field what was `tried` on a spectrum to find this `fit`, and looks for more
    /// components where the most that were tried are now the most probable number.
    ///
    /// `None` as in [`search`](Self::search).
    pub fn reconsider(
        &mut self,
        spectrum: &[f32],
        noise: NoiseModel,
        fit: &SpectrumFit,
        tried: &Tried,
    ) -> Option<SpectrumFit> {
        self.take(spectrum, noise)?;
        let mut best: Option<Candidate> = None;
        let mut last = 0;
        for candidate in tried.candidates.iter().flatten() {
            let candidate = self.judged(candidate.clone());
            last = candidate.parameters.len();
            let allowed = last >= self.settings.min_components;
            let better =
                best.as_ref().is_none_or(|best| candidate.log_evidence > best.log_evidence);
            if allowed && better {
                best = Some(candidate.clone());
            }
            self.remember(candidate);
        }
        let mut best = best?;
        if best.parameters.len() == last {
            best = self.grown(best);
        }
        if best.parameters.len() == fit.components.len() {
            return Some(SpectrumFit { log_evidence: self.log_evidence(), ..fit.clone() });
        }
        Some(self.finish(&best, noise))
    }

    /// The rms of the noise as it is measured in what a fit leaves of its spectrum, where the fit says that there are no
    /// lines. `None` where nothing can be measured.
    pub fn measure_noise(&self, spectrum: &[f32], fit: &SpectrumFit) -> Option<f64> {
        let components: Vec<Component> =
            fit.components.iter().map(|found| found.component).collect();
        self.noise_without(spectrum, &components)
    }

    /// The rms of the noise as it is measured in a spectrum less these components.
    fn noise_without(&self, spectrum: &[f32], components: &[Component]) -> Option<f64> {
        let axis = &self.axis;
        let mut model = vec![0.0; spectrum.len()];
        for component in components {
            let reach = 6.0 * component.sigma / axis.width();
            let centre = axis.channel(component.mean);
            let low = (centre - reach).max(0.0) as usize;
            let high = ((centre + reach).max(0.0) as usize + 1).min(model.len());
            for (channel, value) in model.iter_mut().enumerate().take(high).skip(low) {
                *value += component.value(axis.value(channel as f64));
            }
        }
        residual_rms(spectrum, &model, 3 * components.len())
    }

    /// Takes in a spectrum, and sets up what depends on it.
    fn take(&mut self, spectrum: &[f32], noise: NoiseModel) -> Option<()> {
        self.tried.clear();
        self.tried.resize(self.settings.max_components + 1, None);
        if !self.channels.set(spectrum, noise, self.instructions) {
            return None;
        }
        let FitSettings { sigma: [narrowest, widest], min_snr, absorption, .. } = self.settings;
        let peak = self.channels.values.iter().fold(0.0_f64, |peak, value| peak.max(value.abs()));
        // A line narrower than a channel may be brighter than any channel.
        let brightest = (2.0 * peak + 5.0).max(2.0 * min_snr);
        let faintest = if absorption { -brightest } else { min_snr };
        let count = self.channels.count as f64;
        let widest = if widest.is_finite() { widest } else { count / 8.0 };
        self.bounds = Bounds {
            low: [faintest, 0.0, narrowest],
            high: [brightest, count - 1.0, widest.max(narrowest)],
        };
        self.prior = Prior::new(&self.bounds, peak);
        self.filter.set(&self.bounds, &self.channels);
        self.columns.resize(3 * self.channels.padded, 0.0);
        self.tried[0] =
            Some(Candidate { chi_squared: self.channels.chi_squared, ..Candidate::default() });
        Some(())
    }

    /// The fit of all components at once from `start`.
    fn polished(&mut self, start: &[Parameters]) -> Candidate {
        let (channels, bounds) = (&self.channels, &self.bounds);
        let fit = &mut self.least_squares;
        let base = &channels.whitened;
        let descent = fit.fit(self.instructions, channels, base, start, bounds, FINE);
        let volume = self.posterior.set(
            &fit.parameters,
            &fit.information,
            &fit.gradient,
            bounds,
            &self.prior,
        );
        let FitSettings { selection, min_snr, .. } = self.settings;
        // Emission is bounded; between emission and absorption lies what is too faint for either.
        let is_faint = fit.parameters.iter().any(|component| component[0].abs() < min_snr);
        let penalty = match selection {
            _ if is_faint => f64::NEG_INFINITY,
            Selection::Evidence => volume,
            Selection::Bic => -1.5 * start.len() as f64 * libm::log(channels.present as f64),
        };
        let candidate = Candidate {
            parameters: fit.parameters.clone(),
            chi_squared: channels.chi_squared - descent.decrease,
            log_volume: 0.5 * descent.decrease + penalty,
            log_evidence: 0.0,
            converged: descent.converged,
        };
        let candidate = self.judged(candidate);
        self.remember(candidate.clone());
        candidate
    }

    /// The candidate with its evidence by what is expected of the field now.
    fn judged(&self, mut candidate: Candidate) -> Candidate {
        candidate.log_evidence = candidate.log_volume
            + match self.settings.selection {
                Selection::Evidence => {
                    self.prior.log(&candidate.parameters, self.population.as_deref())
                }
                Selection::Bic => 0.0,
            };
        candidate
    }

    /// Keeps the candidate if it is the best of its number.
    fn remember(&mut self, candidate: Candidate) {
        if let Some(known) = self.tried.get_mut(candidate.parameters.len())
            && known.as_ref().is_none_or(|known| candidate.log_evidence > known.log_evidence)
        {
            *known = Some(candidate);
        }
    }

    /// The logarithm of the evidence of each number of components, NaN where it wasn't tried.
    fn log_evidence(&self) -> Vec<f64> {
        let of = |tried: &Option<Candidate>| tried.as_ref().map_or(f64::NAN, |t| t.log_evidence);
        self.tried.iter().map(of).collect()
    }

    fn fitted(&mut self, starts: &[Component], noise: NoiseModel) -> Candidate {
        let start: Vec<Parameters> =
            starts.iter().map(|start| to_channels(start, &self.axis, noise.rms)).collect();
        self.polished(&start)
    }

    /// Adds components as long as that makes it more probable.
    fn grown(&mut self, mut best: Candidate) -> Candidate {
        let FitSettings { min_components, max_components, .. } = self.settings;
        while best.parameters.len() < max_components
            && 3 * (best.parameters.len() + 1) < self.channels.present
        {
            let Some(more) = self.with_one_more(&best) else { break };
            if more.log_evidence <= best.log_evidence && best.parameters.len() >= min_components {
                break;
            }
            best = more;
        }
        best
    }

    /// The best fit of one component more that is found from `now`.
    fn with_one_more(&mut self, now: &Candidate) -> Option<Candidate> {
        let now = &now.parameters;
        self.leave(now);
        let (instructions, absorption) = (self.instructions, self.settings.absorption);
        self.starts.clear();
        if let Some((found, _)) =
            self.filter.best(instructions, &self.channels, &self.residual, absorption)
        {
            self.starts.push((None, [found; 2], 1));
        }
        for (k, component) in now.iter().enumerate() {
            self.starts.extend(halves(component).map(|two| (Some(k), two, 2)));
        }
        self.best_of_starts(now)
    }

    /// The best fit of those that `starts` lead to from `now`.
    fn best_of_starts(&mut self, now: &[Parameters]) -> Option<Candidate> {
        let instructions = self.instructions;
        // Only what is near takes part at first; the rest of the components stays as it is.
        let mut best: Option<(f64, Vec<Parameters>)> = None;
        for at in 0..self.starts.len() {
            let (gone, new, count) = self.starts[at];
            let new = &new[..count];
            let about = match gone {
                Some(gone) if new.is_empty() => std::slice::from_ref(&now[gone]),
                _ => new,
            };
            let takes_part = |k: usize| {
                let [_, mean, sigma] = now[k];
                Some(k) != gone
                    && about.iter().any(|new| (mean - new[1]).abs() < NEAR * (sigma + new[2]))
            };
            let stays = |k: usize| Some(k) != gone && !takes_part(k);
            self.subtract(now, stays);
            let chi_squared = dot(instructions, &self.base, &self.base);
            self.group.clear();
            self.group.extend((0..now.len()).filter(|&k| takes_part(k)).map(|k| now[k]));
            self.group.extend(new);
            let descent = self.least_squares.fit(
                instructions,
                &self.channels,
                &self.base,
                &self.group,
                &self.bounds,
                ROUGH,
            );
            let chi_squared = chi_squared - descent.decrease;
            if best.as_ref().is_none_or(|(least, _)| chi_squared < *least) {
                let mut all = best.take().map(|(_, all)| all).unwrap_or_default();
                all.clear();
                all.extend((0..now.len()).filter(|&k| stays(k)).map(|k| now[k]));
                all.extend(&self.least_squares.parameters);
                best = Some((chi_squared, all));
            }
        }
        best.map(|(_, start)| self.polished(&start))
    }

    /// Sets `residual` to what these components leave of the whitened spectrum.
    fn leave(&mut self, components: &[Parameters]) {
        self.subtract(components, |_| true);
        std::mem::swap(&mut self.base, &mut self.residual);
    }

    /// Sets `base` to the whitened spectrum less those components that `are_taken_off`.
    fn subtract(&mut self, components: &[Parameters], are_taken_off: impl Fn(usize) -> bool) {
        self.base.clone_from(&self.channels.whitened);
        let (a, rest) = self.columns.split_at_mut(self.channels.padded);
        let (b, c) = rest.split_at_mut(self.channels.padded);
        for (_, component) in components.iter().enumerate().filter(|(k, _)| are_taken_off(*k)) {
            let columns = [&mut *a, &mut *b, &mut *c];
            let range = fill(self.instructions, component, &self.channels, columns);
            let base = &mut self.base[range.clone()];
            subtract(self.instructions, component[0], &a[range], base);
        }
    }

    /// Components in the units of the spectrum and its axis.
    fn components(&self, candidate: &Candidate, rms: f64) -> impl Iterator<Item = Component> {
        candidate.parameters.iter().map(move |found| to_component(*found, &self.axis, rms))
    }

    /// What is to be told of the best fit.
    fn finish(&mut self, best: &Candidate, noise: NoiseModel) -> SpectrumFit {
        let best = self.polished(&best.parameters);
        let Candidate { parameters, chi_squared, converged, .. } = &best;
        let freedom = self.channels.present as f64 - 3.0 * parameters.len() as f64;
        let reduced_chi_squared = if freedom > 0.0 { chi_squared / freedom } else { f64::NAN };
        let whole = Flags::NONE.with(Flags::NOT_CONVERGED, !converged).with(
            Flags::POOR_CHI_SQUARED,
            reduced_chi_squared > 1.0 + 4.0 * (2.0 / freedom).sqrt(),
        );

        self.subtract(parameters, |_| true);
        self.base.iter_mut().for_each(|value| *value = -*value);
        let dip = self.filter.best(self.instructions, &self.channels, &self.base, false);
        let dip = dip.filter(|(_, signal)| *signal >= DIP).map(|(dip, _)| dip[1]);

        let mut components: Vec<FittedComponent> = (0..parameters.len())
            .map(|k| FittedComponent {
                component: to_component(parameters[k], &self.axis, noise.rms),
                uncertainty: to_uncertainty(self.posterior.deviations[k], &self.axis, noise.rms),
                flags: whole | self.doubts(parameters, k, dip),
            })
            .collect();
        components.sort_by(|a, b| a.component.mean.total_cmp(&b.component.mean));
        let flags = components.iter().fold(whole, |flags, component| flags | component.flags);
        SpectrumFit {
            components,
            chi_squared: *chi_squared,
            reduced_chi_squared,
            log_evidence: self.log_evidence(),
            flags,
        }
    }

    /// What is questionable about component `k`, given the channel of the deepest dip of the residual.
    fn doubts(&self, parameters: &[Parameters], k: usize, dip: Option<f64>) -> Flags {
        const HALF_WIDTH: f64 = 0.5 * crate::spectra::FWHM_PER_SIGMA;
        let [_, mean, sigma] = parameters[k];
        let others = || (0..parameters.len()).filter(|&other| other != k).map(|i| parameters[i]);
        let Bounds { low, high } = &self.bounds;
        let at_bound = (0..3).any(|i| {
            let value = parameters[k][i];
            value <= low[i] || value >= high[i]
        });
        Flags::NONE
            .with(
                Flags::BLENDED,
                others().any(|other| (other[1] - mean).abs() < HALF_WIDTH * (other[2] + sigma)),
            )
            .with(Flags::AT_BOUND, at_bound)
            .with(
                Flags::BROAD,
                parameters.len() > 1 && others().all(|other| sigma >= 2.0 * other[2]),
            )
            .with(Flags::NEGATIVE_RESIDUAL, dip.is_some_and(|dip| (dip - mean).abs() < 2.0 * sigma))
    }
}
