//! Fits of a cube made coherent with those of neighbours.

use std::{fs::File, io::BufWriter};

use pipe_stages::spectra::{
    Amplitudes, Axis, CardValue, CatalogueRow, CatalogueWriter, Component, Cube, CubeHeader, Draws,
    FWHM_PER_SIGMA, NoiseLevel, Purpose, Range, Recipe, SkyGrid, SpectralGrid, add_components,
    write_cube,
};
use serde_json::Value;

use crate::support::Folder;

const NX: usize = 24;
const NY: usize = 16;
const RMS: f64 = 0.1;
const CLOUDS: Purpose = Purpose::new("smooth test clouds");
const NOISE: Purpose = Purpose::new("smooth test");

const SMOOTHED: &str = "
vars: { cube: field.fits }
stages:
  import: { inputs: { cube: { file: \"${cube}\" } } }
  truth: { kind: import-truth, inputs: { table: { file: truth.csv }, spectra: import.spectra } }
  fit: { inputs: { spectra: import.spectra } }
  smooth: { inputs: { spectra: import.spectra, catalogue: fit.catalogue } }
  before: { kind: evaluate, inputs: { catalogue: fit.catalogue, truth: truth.truth, spectra: import.spectra }, config: { mean_tolerance: 1, mean_tolerance_unit: sigma } }
  after: { kind: evaluate, inputs: { catalogue: smooth.catalogue, truth: truth.truth, spectra: import.spectra }, config: { mean_tolerance: 1, mean_tolerance_unit: sigma } }
";

fn axis() -> Axis {
    Axis { start: -20_000.0, step: 400.0, channels: 100, unit: "m/s".to_owned() }
}

/// A bright line with a faint one on its flank, all of whose parameters drift over the field, and a lone faint one
/// in the right half.
fn drifting(x: usize, y: usize) -> Vec<Component> {
    let (u, v) = (x as f64, y as f64);
    let axis = axis();
    let line = |snr: f64, channel: f64, sigma: f64| Component {
        amplitude: snr * RMS,
        mean: axis.value(channel),
        sigma: sigma * axis.width(),
    };
    let channel = 40.0 + 6.0 * f64::sin(u / 9.0 + v / 13.0);
    let mut components = vec![
        line(12.0 + 4.0 * f64::sin(u / 6.0), channel, 3.5 + 0.8 * f64::cos(v / 7.0)),
        line(
            4.5 + 1.5 * f64::cos(u / 7.0),
            channel + 6.5 + 1.5 * f64::sin(v / 8.0),
            2.5 + 0.5 * f64::sin(u / 10.0),
        ),
    ];
    if x >= NX / 2 {
        components.push(line(3.0 + 0.5 * f64::sin(v / 5.0), 75.0 + 0.2 * u, 3.0));
    }
    components
}

/// Noise of unit rms for every pixel: of its own, or smoothed by a beam that covers several.
fn noise(seed: u64, channels: usize, beam: Option<f64>) -> Vec<Vec<f64>> {
    // Pixels beyond the field reach into it.
    const MARGIN: usize = 4;
    let white = |row: usize| -> Vec<f64> {
        let mut draws = Draws::new(seed, NOISE, row as u64);
        (0..channels).map(|_| draws.normal()).collect()
    };
    let Some(fwhm) = beam else { return (0..NX * NY).map(white).collect() };
    let (wide, high) = (NX + 2 * MARGIN, NY + 2 * MARGIN);
    let white: Vec<Vec<f64>> = (0..wide * high).map(white).collect();
    let sigma = fwhm / FWHM_PER_SIGMA;
    let weight = |dx: usize, dy: usize| {
        let square = dx.abs_diff(MARGIN).pow(2) + dy.abs_diff(MARGIN).pow(2);
        f64::exp(-0.5 * square as f64 / (sigma * sigma))
    };
    let beam: Vec<(usize, f64)> = (0..=2 * MARGIN)
        .flat_map(|dy| (0..=2 * MARGIN).map(move |dx| (dy * wide + dx, weight(dx, dy))))
        .collect();
    let norm = beam.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
    let smoothed = |row: usize| -> Vec<f64> {
        let corner = row / NX * wide + row % NX;
        let sum = |channel: usize| {
            beam.iter().map(|(at, weight)| weight * white[corner + at][channel]).sum::<f64>()
        };
        (0..channels).map(|channel| sum(channel) / norm).collect()
    };
    (0..NX * NY).map(smoothed).collect()
}

/// Writes a cube of these components, with a pixel and some channels missing, and its truth; its noise is that of a
/// beam as wide as this, if any.
fn write(
    folder: &Folder,
    seed: u64,
    axis: &Axis,
    beam: Option<f64>,
    components: impl Fn(usize, usize) -> Vec<Component>,
) {
    let real = |keyword: &str, value| (keyword.to_owned(), CardValue::Real(value));
    let text = |keyword: &str, value: &str| (keyword.to_owned(), CardValue::Text(value.to_owned()));
    let header = CubeHeader {
        axis: axis.clone(),
        axis_type: "VRAD".to_owned(),
        nx: NX,
        ny: NY,
        unit: "K".to_owned(),
        object: "synthetic".to_owned(),
        line: String::new(),
        sky: SkyGrid {
            cards: vec![
                text("CTYPE1", "GLON-CAR"),
                real("CRVAL1", 30.0),
                real("CDELT1", -0.006),
                text("CTYPE2", "GLAT-CAR"),
                real("CRVAL2", 0.0),
                real("CDELT2", 0.006),
            ],
        },
        spectral: SpectralGrid::linear("VRAD", axis),
    };
    let mut spectra = Vec::new();
    let mut truth = CatalogueWriter::new(File::create(folder.path("truth.csv")).unwrap()).unwrap();
    for (row, noise) in noise(seed, axis.channels, beam).into_iter().enumerate() {
        let (x, y) = header.pixel(row);
        let mut values: Vec<f64> = noise.iter().map(|value| RMS * value).collect();
        let mut components = components(x, y);
        components.sort_by(|a, b| a.mean.total_cmp(&b.mean));
        match (x, y) {
            (5, 6) => values.fill(f64::NAN),
            (20, 3) => values[..10].fill(f64::NAN),
            _ => {}
        }
        add_components(axis, &components, &mut values);
        spectra.extend(values.into_iter().map(|value| value as f32));
        for (index, component) in components.iter().enumerate().filter(|_| (x, y) != (5, 6)) {
            let pixel = Some((x as u64, y as u64));
            let line = CatalogueRow::new(row as u64, pixel, index as u64, component, axis, None);
            truth.write(&line).unwrap();
        }
    }
    truth.finish().unwrap();
    let file = BufWriter::new(File::create(folder.path("field.fits")).unwrap());
    write_cube(&Cube { header, spectra }, file).unwrap();
}

/// A long axis, with room for noise to make lines.
fn long_axis() -> Axis {
    Axis { channels: 424, ..axis() }
}

/// Twenty clouds with a place, an extent and a gradient of the mean each; the brightest has so much signal to noise.
fn clouds(seed: u64, brightest: f64, x: usize, y: usize) -> Vec<Component> {
    let axis = long_axis();
    let cloud = |index: u64| {
        let mut draws = Draws::new(seed, CLOUDS, index);
        let mut between = |low: f64, high: f64| draws.uniform(low, high);
        let (x, y) = (x as f64 - between(-3.0, 27.0), y as f64 - between(-3.0, 19.0));
        let (extent, peak) = (between(3.0, 8.0), between(brightest / 6.0, brightest));
        let (channel, along_x, along_y) =
            (between(60.0, 360.0), between(-0.4, 0.4), between(-0.4, 0.4));
        let sigma = between(2.0, 6.0);
        let snr = peak * f64::exp(-0.5 * (x * x + y * y) / (extent * extent));
        (snr > 0.5).then(|| Component {
            amplitude: snr * RMS,
            mean: axis.value(channel + along_x * x + along_y * y),
            sigma: sigma * axis.width(),
        })
    };
    (0..20).filter_map(cloud).collect()
}

/// How many components of a stage that fits there are not.
fn false_ones(folder: &Folder, stage: &str, evaluation: &str) -> f64 {
    let found = folder.read(&format!("out/{stage}/table/catalogue.csv")).lines().count() - 1;
    let metrics: Value =
        serde_json::from_str(&folder.read(&format!("out/{evaluation}/metrics/metrics.json")))
            .unwrap();
    found as f64 * (1.0 - metrics["metrics"]["matched"]["precision"].as_f64().unwrap())
}

/// The correlation of the noise of pixels beside each other along x, as the record of the run tells it.
fn shared_along_x(folder: &Folder) -> f64 {
    let noted = |record: std::path::PathBuf| {
        let record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
        let note = record["provenance"]["notes"]["shared noise"].as_str()?;
        Some(note.split(' ').next().unwrap().parse().unwrap())
    };
    folder.cached("records").into_iter().find_map(noted).unwrap()
}

/// F1 and the part of spectra with as many components as there are.
fn judged(folder: &Folder, stage: &str) -> [f64; 2] {
    let metrics: Value =
        serde_json::from_str(&folder.read(&format!("out/{stage}/metrics/metrics.json"))).unwrap();
    let metrics = &metrics["metrics"];
    [&metrics["matched"]["f1"], &metrics["count"]["accuracy"]].map(|v| v.as_f64().unwrap())
}

#[test]
fn what_neighbours_have_is_found_in_fields_that_drift() {
    // A field has 384 spectra, so a number more or less in one is chance; F1 is told by more.
    let mut gained = [0.0; 2];
    let mut folder = Folder::new(SMOOTHED);
    for seed in 1..=4 {
        folder = Folder::new(SMOOTHED);
        write(&folder, seed, &axis(), None, drifting);
        folder.run(&[]);
        let [before, after] = ["before", "after"].map(|stage| judged(&folder, stage));
        assert!(after[0] > before[0], "field {seed}: {before:?} became {after:?}");
        for i in 0..2 {
            gained[i] += after[i] - before[i];
        }
    }
    assert!(gained.iter().all(|gain| *gain > 0.0), "{gained:?}");
    // What is coherent stays as it is, and so does what has no data.
    let [fitted, smoothed] =
        ["fit", "smooth"].map(|stage| folder.read(&format!("out/{stage}/table/catalogue.csv")));
    let of = |table: &str, row: usize| -> Vec<String> {
        let head = format!("{row},");
        table.lines().filter(|line| line.starts_with(&head)).map(str::to_owned).collect()
    };
    let same = (0..NX * NY).filter(|&row| of(&fitted, row) == of(&smoothed, row)).count();
    assert!((NX * NY / 4..NX * NY).contains(&same), "{same} are as they were");
    assert_eq!(of(&smoothed, 6 * NX + 5), [""; 0]);
    // A single sweep sees less far than several.
    folder.run(&["--set", "smooth.sweeps=1"]);
    let once = folder.read("out/smooth/table/catalogue.csv");
    assert_ne!(once, fitted);
    assert_ne!(once, smoothed);
}

#[test]
fn spectra_that_have_nothing_to_do_with_each_other_are_left_alone() {
    let recipe = Recipe {
        min_components: 0,
        max_components: 3,
        amplitude: Amplitudes::SignalToNoise(Range::new(2.5, 15.0)),
        mean: Range::new(-16_000.0, 16_000.0),
        sigma: Range::new(500.0, 1800.0),
        noise: NoiseLevel::Uniform(Range::new(RMS, RMS)),
        correlation: 0.0,
        axis: axis(),
    };
    let folder = Folder::new(SMOOTHED);
    write(&folder, 1, &axis(), None, |x, y| recipe.row(1, (y * NX + x) as u64).components);
    folder.run(&[]);
    let shared = shared_along_x(&folder);
    assert!(shared < 0.02, "{shared}");
    let [before, after] = ["before", "after"].map(|stage| judged(&folder, stage));
    for (before, after) in before.into_iter().zip(after) {
        assert!(after > before - 0.005, "{before} became {after}");
    }
}

#[test]
fn neighbours_that_share_noise_do_not_agree_on_what_it_made() {
    let (mut before, mut after) = (0.0, 0.0);
    for (seed, brightest) in [(1, 12.0), (2, 12.0), (3, 5.0), (4, 5.0)] {
        let folder = Folder::new(SMOOTHED);
        write(&folder, seed, &long_axis(), Some(2.0), |x, y| clouds(seed, brightest, x, y));
        folder.run(&[]);
        let [fitted, smoothed] = ["before", "after"].map(|stage| judged(&folder, stage)[0]);
        assert!(smoothed > fitted, "field {seed}: F1 {fitted} became {smoothed}");
        // Of a normal beam, exp(−d²/4σ²).
        let shared = shared_along_x(&folder);
        assert!((shared - 0.71).abs() < 0.04, "field {seed}: {shared}");
        before += false_ones(&folder, "fit", "before");
        after += false_ones(&folder, "smooth", "after");
    }
    assert!(after <= before, "{before} false components became {after}");
}

#[test]
fn what_has_no_neighbours_or_no_uncertainties_is_refused() {
    let folder = Folder::new(SMOOTHED);
    write(&folder, 1, &axis(), None, drifting);
    let refused = |pipeline: String, expected: &str| {
        folder.write("pipeline.yaml", pipeline);
        let ended = folder.pipe(&["run", "smooth"]);
        assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
        let said = ended.stdout + &ended.stderr;
        assert!(said.contains(expected), "{said}");
    };
    let import = "import: { inputs: { cube: { file: \"${cube}\" } } }";
    let made = "import: { kind: generate, config: { count: 9 } }";
    let truth = "  truth: { kind: import-truth, inputs: { table: { file: truth.csv }, spectra: import.spectra } }\n";
    let evaluations = SMOOTHED.find("  before:").unwrap();
    let alone = SMOOTHED[..evaluations].replace(truth, "").replace(import, made);
    refused(alone, "the spectra have no pixels");
    let known = SMOOTHED.replace(
        "spectra: import.spectra, catalogue: fit.catalogue } }\n  before",
        "spectra: import.spectra, catalogue: known.catalogue } }\n  known: { kind: command, inputs: { truth: truth.truth }, run: \"cp -r {inputs.truth} {outputs.catalogue}\", outputs: [catalogue] }\n  before",
    );
    assert_ne!(known, SMOOTHED);
    refused(known, "the catalogue has no uncertainties");
}
