//! What a fit promises, on synthetic spectra.

use super::channels::Channels;
use super::kernels::Instructions;
use super::least_squares::{Parameters, fill};
use super::*;
use crate::spectra::{
    Amplitudes, Axis, Component, Draws, NoiseLevel, Purpose, Range, Recipe, SyntheticSpectrum,
};

const TEST: Purpose = Purpose::new("fit test");

fn recipe() -> Recipe {
    Recipe {
        axis: Axis { start: 1204.0, step: 5.0, channels: 142, unit: String::new() },
        min_components: 1,
        max_components: 2,
        amplitude: Amplitudes::Absolute(Range::new(0.002, 0.05)),
        mean: Range::new(1250.0, 1850.0),
        sigma: Range::new(5.0, 30.0),
        noise: NoiseLevel::Uniform(Range::new(0.0007, 0.0008)),
        correlation: 0.0,
    }
}

fn noise(spectrum: &SyntheticSpectrum, recipe: &Recipe) -> NoiseModel {
    NoiseModel { rms: spectrum.rms, correlation: recipe.correlation }
}

fn settings(max_components: usize) -> FitSettings {
    FitSettings { max_components, ..FitSettings::default() }
}

/// `components` (in channels) on an axis of channels, with noise of unit rms.
fn spectrum(row: u64, channels: usize, components: &[Parameters]) -> Vec<f32> {
    let mut draws = Draws::new(3, TEST, row);
    (0..channels)
        .map(|i| {
            let line = |[amplitude, mean, sigma]: &Parameters| {
                let component = Component { amplitude: *amplitude, mean: *mean, sigma: *sigma };
                component.value(i as f64)
            };
            (components.iter().map(line).sum::<f64>() + draws.normal()) as f32
        })
        .collect()
}

fn channel_axis(channels: usize) -> Axis {
    Axis { start: 0.0, step: 1.0, channels, unit: String::new() }
}

const UNIT: NoiseModel = NoiseModel { rms: 1.0, correlation: 0.0 };

#[test]
fn the_derivatives_are_those_of_the_model() {
    for correlation in [0.0, 0.4] {
        let mut channels = Channels::default();
        let mut blank = vec![0.0_f32; 90];
        blank[37..41].fill(f32::NAN);
        let instructions = Instructions::best();
        assert!(channels.set(&blank, NoiseModel { rms: 1.0, correlation }, instructions));
        let columns = |component: &Parameters| {
            let [mut a, mut b, mut c] = [(); 3].map(|()| vec![0.0; channels.padded]);
            fill(instructions, component, &channels, [&mut a, &mut b, &mut c]);
            [a, b, c]
        };
        let at = [7.0, 39.3, 3.7];
        let derivatives = columns(&at);
        for (i, derivative) in derivatives.iter().enumerate() {
            let h = 1e-6;
            let model = |shift: f64| {
                let mut moved = at;
                moved[i] += shift;
                let [shape, ..] = columns(&moved);
                shape.into_iter().map(|value| moved[0] * value).collect::<Vec<f64>>()
            };
            for (channel, (up, down)) in model(h).iter().zip(model(-h)).enumerate() {
                let difference = (up - down) / (2.0 * h);
                let error = (derivative[channel] - difference).abs();
                assert!(error < 1e-7, "parameter {i}, channel {channel}: {error}");
            }
        }
        assert!(derivatives.iter().all(|column| column[37..41].iter().all(|v| *v == 0.0)));
    }
}

#[test]
fn components_are_recovered_within_their_uncertainties() {
    for correlation in [0.0, 0.37, -0.2] {
        let recipe = Recipe { correlation, ..recipe() };
        let mut fitter = Fitter::new(&recipe.axis, settings(2));
        let (mut within, mut all, mut chi) = ([0; 3], 0, 0.0);
        let mut right = 0;
        for row in 0..1_500 {
            let truth = recipe.row(12_345, row);
            let fit = fitter.search(&truth.values, noise(&truth, &recipe)).unwrap();
            chi += fit.reduced_chi_squared / 1_500.0;
            if fit.components.len() != truth.components.len() {
                continue;
            }
            right += 1;
            for (found, truth) in fit.components.iter().zip(&truth.components) {
                let FittedComponent { component: c, uncertainty: u, .. } = found;
                for error in [
                    (c.amplitude - truth.amplitude) / u.amplitude,
                    (c.mean - truth.mean) / u.mean,
                    (c.sigma - truth.sigma) / u.sigma,
                ] {
                    all += 1;
                    for (k, within) in within.iter_mut().enumerate() {
                        *within += usize::from(error.abs() <= (k + 1) as f64);
                    }
                }
            }
        }
        let [one, two, three] = within.map(|n| n as f64 / f64::from(all));
        assert!(right > 1_440, "{right} counts of 1500 are right");
        assert!((one - 0.68).abs() < 0.025 && (two - 0.95).abs() < 0.015, "{one} {two}");
        assert!(three > 0.985, "{three}");
        assert!((chi - 1.0).abs() < 0.01, "{chi} at {correlation}");
    }
}

#[test]
fn uncertainties_are_the_cramer_rao_bound_of_the_truth() {
    let truth = [
        Component { amplitude: 300.0, mean: 60.0, sigma: 4.0 },
        Component { amplitude: 200.0, mean: 68.0, sigma: 5.0 },
    ];
    let axis = channel_axis(130);
    let bound = cramer_rao(&truth, &axis, UNIT).unwrap();
    let values = spectrum(1, 130, &[[300.0, 60.0, 4.0], [200.0, 68.0, 5.0]]);
    let fit = Fitter::new(&axis, settings(3)).fit(&values, UNIT, &truth).unwrap();
    for (found, bound) in fit.components.iter().zip(bound) {
        assert!((found.uncertainty.mean / bound.mean - 1.0).abs() < 0.2, "{found:?} {bound:?}");
        assert!((found.uncertainty.sigma / bound.sigma - 1.0).abs() < 0.2);
        assert!(found.flags.contains(Flags::BLENDED));
    }
}

#[test]
fn the_evidence_prefers_what_is_clearly_there() {
    let cases: [&[Parameters]; 5] = [
        &[],
        &[[10.0, 100.0, 3.0]],
        &[[10.0, 100.0, 3.0], [8.0, 112.0, 3.0]],
        &[[20.0, 60.0, 2.0], [15.0, 100.0, 6.0], [12.0, 150.0, 3.0]],
        &[[30.0, 60.0, 2.0], [25.0, 70.0, 3.0], [15.0, 100.0, 6.0], [12.0, 150.0, 3.0]],
    ];
    let axis = channel_axis(200);
    let mut fitter = Fitter::new(&axis, settings(6));
    for (k, components) in cases.iter().enumerate() {
        let mut right = 0;
        for row in 0..40 {
            let fit = fitter.search(&spectrum(row, 200, components), UNIT).unwrap();
            right += usize::from(fit.components.len() == k);
            assert_eq!(fit.log_evidence.len(), 7);
            assert_eq!(fit.log_evidence[0].to_bits(), 0);
            let best =
                fit.log_evidence.iter().copied().filter(|e| e.is_finite()).fold(0.0, f64::max);
            assert!((fit.log_evidence[fit.components.len()] - best).abs() < 1e-9);
        }
        assert!(right >= 38, "{right} of 40 with {k} components");
    }
}

/// The fits of a field of narrow, blended lines, as they are by a broad prior and as they are by what these tell of it,
/// and how many have the right number of components.
#[test]
fn a_field_tells_what_to_expect() {
    let axis = channel_axis(200);
    let recipe = Recipe {
        axis: axis.clone(),
        min_components: 0,
        max_components: 3,
        amplitude: Amplitudes::Absolute(Range::new(4.0, 15.0)),
        mean: Range::new(90.0, 120.0),
        sigma: Range::new(1.5, 3.0),
        noise: NoiseLevel::Uniform(Range::new(1.0, 1.0)),
        correlation: 0.0,
    };
    let rows: Vec<SyntheticSpectrum> = (0..400).map(|row| recipe.row(62, row)).collect();
    let mut broad = Fitter::new(&axis, settings(4));
    let first: Vec<(SpectrumFit, Tried)> = rows
        .iter()
        .map(|row| {
            let fit = broad.search(&row.values, UNIT).unwrap();
            (fit, broad.tried())
        })
        .collect();
    let tried: Vec<&Tried> = first.iter().map(|(_, tried)| tried).collect();
    let mut fitter = Fitter::new(&axis, settings(4));
    fitter.expect(Population::learn(&tried).unwrap().into());

    let (mut before, mut after) = (0, 0);
    for (row, (fit, tried)) in rows.iter().zip(&first) {
        let again = fitter.reconsider(&row.values, UNIT, fit, tried).unwrap();
        let searched = fitter.search(&row.values, UNIT).unwrap();
        let bits = |fit: &SpectrumFit| {
            fit.components.iter().map(|c| c.component.mean.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(bits(&again), bits(&searched));
        before += usize::from(fit.components.len() == row.components.len());
        after += usize::from(again.components.len() == row.components.len());
    }
    assert!(after >= before + 8, "{before} counts of 400 were right, now {after}");
}

#[test]
fn noise_alone_seldom_makes_a_component() {
    for correlation in [0.0, 0.4] {
        let recipe = Recipe { min_components: 0, max_components: 0, correlation, ..recipe() };
        let mut fitter = Fitter::new(&recipe.axis, settings(4));
        let found = (0..2_000)
            .filter(|&row| {
                let blank = recipe.row(77, row);
                !fitter.search(&blank.values, noise(&blank, &recipe)).unwrap().components.is_empty()
            })
            .count();
        assert!(found <= 16, "{found} of 2000 at {correlation}");
    }
}

#[test]
fn the_processor_does_not_change_a_bit_nor_what_was_fitted_before() {
    for correlation in [0.0, 0.37] {
        let recipe = Recipe { min_components: 0, max_components: 4, correlation, ..recipe() };
        let mut best = Fitter::new(&recipe.axis, settings(5));
        let mut plain = Fitter::new(&recipe.axis, settings(5)).plain();
        for row in 0..150 {
            let truth = recipe.row(9, row);
            let noise = noise(&truth, &recipe);
            let bits = |fit: &SpectrumFit| format!("{fit:?}");
            let found = bits(&best.search(&truth.values, noise).unwrap());
            assert_eq!(found, bits(&plain.search(&truth.values, noise).unwrap()), "row {row}");
            let mut fresh = Fitter::new(&recipe.axis, settings(5));
            assert_eq!(found, bits(&fresh.search(&truth.values, noise).unwrap()), "row {row}");
        }
    }
}

#[test]
fn results_are_pinned() {
    let recipe = Recipe { correlation: 0.3, ..recipe() };
    let truth = recipe.row(42, 2);
    let mut fitter = Fitter::new(&recipe.axis, settings(3));
    let fit = fitter.search(&truth.values, noise(&truth, &recipe)).unwrap();
    let bits: Vec<[u64; 2]> = fit
        .components
        .iter()
        .map(|c| [c.component.mean.to_bits(), c.uncertainty.sigma.to_bits()])
        .collect();
    assert_eq!(bits, PINNED, "{bits:#x?}");
}

/// Mean and uncertainty of sigma of each component.
const PINNED: [[u64; 2]; 2] = [
    [0x4097_5241_f708_d583, 0x3fd4_b8d5_35a7_811d],
    [0x4099_31c0_b30a_8dcc, 0x3fd3_f947_c507_5e83],
];

#[test]
fn missing_channels_are_passed_over() {
    let mut values = spectrum(4, 203, &[[15.0, 60.0, 4.0], [12.0, 140.0, 5.0]]);
    let axis = channel_axis(203);
    let mut fitter = Fitter::new(&axis, settings(4));
    values[62..66].fill(f32::NAN);
    values[150] = f32::INFINITY;
    values[0] = f32::NAN;
    for correlation in [0.0, 0.3] {
        let fit = fitter.search(&values, NoiseModel { correlation, ..UNIT }).unwrap();
        let means: Vec<f64> = fit.components.iter().map(|c| c.component.mean).collect();
        assert_eq!(means.len(), 2, "{means:?}");
        assert!((means[0] - 60.0).abs() < 1.5 && (means[1] - 140.0).abs() < 1.5, "{means:?}");
        assert!((fit.reduced_chi_squared - fit.chi_squared / (197.0 - 6.0)).abs() < 1e-12);
    }
    assert_eq!(fitter.search(&[f32::NAN; 203], UNIT), None);
    assert_eq!(fitter.search(&values, NoiseModel { rms: f64::NAN, correlation: 0.0 }), None);
    assert_eq!(fitter.search(&values, NoiseModel { rms: 0.0, correlation: 0.0 }), None);
}

#[test]
fn bounds_hold_and_are_told() {
    let axis = channel_axis(200);
    let narrow = FitSettings { sigma: [1.0, 3.0], max_components: 1, ..FitSettings::default() };
    let values = spectrum(5, 200, &[[15.0, 60.0, 8.0]]);
    let fit = Fitter::new(&axis, narrow).search(&values, UNIT).unwrap();
    let found = fit.components[0];
    assert!((found.component.sigma - 3.0).abs() < 1e-12, "{found:?}");
    assert!(found.flags.contains(Flags::AT_BOUND | Flags::POOR_CHI_SQUARED));
    assert_eq!(fit.flags, found.flags);
    let free = Fitter::new(&axis, settings(1)).search(&values, UNIT).unwrap();
    assert!((free.components[0].component.sigma - 8.0).abs() < 1.0);
    assert_eq!(free.flags, Flags::NONE);
}

#[test]
fn absorption_is_found_where_it_is_allowed() {
    let axis = channel_axis(200);
    let values = spectrum(6, 200, &[[15.0, 60.0, 4.0], [-12.0, 120.0, 5.0]]);
    let emission = Fitter::new(&axis, settings(4)).search(&values, UNIT).unwrap();
    assert_eq!(emission.components.len(), 1);
    let both = FitSettings { absorption: true, ..settings(4) };
    let fit = Fitter::new(&axis, both).search(&values, UNIT).unwrap();
    let found: Vec<f64> = fit.components.iter().map(|c| c.component.amplitude).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!((found[0] - 15.0).abs() < 2.0 && (found[1] + 12.0).abs() < 2.0, "{found:?}");
}

#[test]
fn a_proposal_is_refined() {
    let axis = channel_axis(200);
    let truth = [[15.0, 60.0, 4.0], [12.0, 120.0, 5.0]];
    let values = spectrum(7, 200, &truth);
    let at = |[amplitude, mean, sigma]: Parameters| Component { amplitude, mean, sigma };
    let mut fitter = Fitter::new(&axis, settings(4));
    let searched = fitter.search(&values, UNIT).unwrap();
    let proposals: [&[Component]; 4] = [
        &[at([10.0, 61.0, 3.0]), at([10.0, 119.0, 6.0])],
        &[at([10.0, 61.0, 3.0])],
        &[],
        &[at([10.0, 61.0, 3.0]), at([10.0, 119.0, 6.0]), at([3.0, 20.0, 2.0])],
    ];
    for proposal in proposals {
        let Refined { fit: refined, searched: from_nothing, .. } =
            fitter.refine(&values, UNIT, false, proposal).unwrap();
        assert!(!from_nothing, "{proposal:?}");
        assert_eq!(refined.components.len(), 2, "{proposal:?}");
        assert!((refined.chi_squared - searched.chi_squared).abs() < 1e-4);
    }
    assert_eq!(fitter.fit(&values, UNIT, proposals[3]).unwrap().components.len(), 3);
}

#[test]
fn at_least_as_many_as_asked_for() {
    let axis = channel_axis(100);
    let forced = FitSettings { min_components: 2, ..settings(3) };
    let fit = Fitter::new(&axis, forced).search(&spectrum(8, 100, &[]), UNIT).unwrap();
    assert_eq!(fit.components.len(), 2);
}

#[test]
fn the_criterion_of_bayes_finds_clear_lines_too() {
    let axis = channel_axis(200);
    let by = FitSettings { selection: Selection::Bic, ..settings(4) };
    let values = spectrum(9, 200, &[[15.0, 60.0, 4.0], [12.0, 120.0, 5.0]]);
    let fit = Fitter::new(&axis, by).search(&values, UNIT).unwrap();
    assert_eq!(fit.components.len(), 2);
    let gain = 0.5 * (fit.chi_squared - values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>());
    let expected = -gain - 3.0 * 200.0_f64.ln();
    assert!((fit.log_evidence[2] - expected).abs() < 1e-6 * expected.abs());
}

#[test]
fn noise_is_measured_on_what_a_fit_leaves() {
    let recipe = Recipe { min_components: 2, ..recipe() };
    let mut fitter = Fitter::new(&recipe.axis, settings(3));
    let mut mean = 0.0;
    for row in 0..300 {
        let truth = recipe.row(31, row);
        let fit = fitter.search(&truth.values, noise(&truth, &recipe)).unwrap();
        mean += fitter.measure_noise(&truth.values, &fit).unwrap() / truth.rms / 300.0;
    }
    assert!((mean - 1.0).abs() < 0.01, "{mean}");
}

#[test]
fn an_axis_may_run_downwards() {
    let axis = Axis { start: 50.0, step: -0.25, channels: 200, unit: String::new() };
    let values = spectrum(10, 200, &[[15.0, 60.0, 4.0], [12.0, 120.0, 5.0]]);
    let fit = Fitter::new(&axis, settings(4)).search(&values, UNIT).unwrap();
    let found: Vec<Component> = fit.components.iter().map(|c| c.component).collect();
    assert!((found[0].mean - 20.0).abs() < 0.3 && (found[1].mean - 35.0).abs() < 0.3);
    assert!((found[0].sigma - 1.25).abs() < 0.2);
}
