//! How fast the two networks learn and predict: `cargo bench -p pipe-stages --bench networks [-- NAME...]`.
//!
//! A line for each measurement: network, work, spectra in a batch, spectra a second. `RAYON_NUM_THREADS` sets the threads,
//! `ROWS` the spectra; `benches/pytorch.py` compares with `PyTorch`. Then how fast a core does each layer of the detector, in
//! operations a second and as a share of what a product of large matrices by the crate `gemm` reaches on it, which uses no
//! AVX-512 as it is built here (`layers` alone: only this).

use std::{error::Error, ops::ControlFlow, time::Instant};

use pipe_stages::network::{
    Architecture, Examples, Grid, Hyperparameters, Predictor, Training, Unscaling,
    detector::{self, DetectorDesign},
    slots,
};

const CHANNELS: usize = 140;
const SLOTS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let is_wanted = |name| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let rows = std::env::var("ROWS").map_or(Ok(4096), |rows| rows.parse())?;
    for (name, architecture) in [
        ("slots", Architecture::Slots(slots::Architecture::new(CHANNELS, SLOTS))),
        ("detector", Architecture::Detector(detector::Architecture::new(SLOTS))),
    ] {
        if is_wanted(name) {
            measure(name, &architecture, rows)?;
        }
    }
    if is_wanted("layers") {
        layers();
    }
    Ok(())
}

/// How fast a core does each layer of the detector.
fn layers() {
    let peak = sgemm();
    println!("sgemm {:.1} Gflop/s", 1e-9 * peak);
    let design = DetectorDesign {
        architecture: detector::Architecture::new(SLOTS),
        edges: [2.0, 4.0],
        typical_count: 1.0,
    };
    for channels in [140, 424] {
        let operations = design.operations(channels);
        let all: usize = operations.iter().map(|(_, operations)| operations).sum();
        let mut seconds = 0.0;
        for ((name, rate), (_, operations)) in
            design.throughput(channels).into_iter().zip(operations)
        {
            let of_all = 100.0 * operations as f64 / all as f64;
            let (rate_told, share) = (1e-9 * rate, 100.0 * rate / peak);
            println!(
                "layer {channels} {name} {of_all:.1} % of all, {rate_told:.1} Gflop/s, {share:.0} % of sgemm"
            );
            seconds += operations as f64 / rate;
        }
        let rate = all as f64 / seconds;
        let (rate_told, share) = (1e-9 * rate, 100.0 * rate / peak);
        println!("layer {channels} all, {rate_told:.1} Gflop/s, {share:.0} % of sgemm");
    }
}

/// Operations a second of one core in the product of two matrices of 768 × 768: the best of several.
fn sgemm() -> f64 {
    const SIDE: usize = 768;
    let (a, b) = (vec![0.5_f32; SIDE * SIDE], vec![0.25_f32; SIDE * SIDE]);
    let mut c = vec![0.0_f32; SIDE * SIDE];
    let stride = SIDE as isize;
    let product = |c: &mut [f32]| {
        let began = Instant::now();
        // SAFETY: the three matrices hold SIDE² numbers each, and `c` is nobody else's.
        unsafe {
            gemm::gemm(
                SIDE,
                SIDE,
                SIDE,
                c.as_mut_ptr(),
                1,
                stride,
                false,
                a.as_ptr(),
                1,
                stride,
                b.as_ptr(),
                1,
                stride,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        began.elapsed().as_secs_f64()
    };
    let seconds = (0..15).map(|_| product(&mut c)).fold(f64::INFINITY, f64::min);
    2.0 * SIDE.pow(3) as f64 / seconds
}

fn measure(name: &str, architecture: &Architecture, count: usize) -> Result<(), Box<dyn Error>> {
    let (values, parameters, counts) = spectra(count);
    let noise = vec![1.0; count];
    let grid = Grid { start: 0.0, step: 1.0, channels: CHANNELS };
    let examples = Examples {
        spectra: &values,
        noise: &noise,
        parameters: &parameters,
        counts: &counts,
        slots: SLOTS,
        grid,
        unscaling: Unscaling::NoiseRms,
    };
    let rows: Vec<usize> = (0..count).collect();
    let mut trained = None;
    for batch_size in [32, 256] {
        let keys = Hyperparameters { batch_size, epochs: 9, ..Hyperparameters::default() };
        let mut training = Training::start(architecture.clone(), keys, &examples, &rows)?;
        let mut go_on = |_| ControlFlow::Continue(());
        // The first epoch finds memory and caches cold.
        training.advance(&examples, &rows, &rows[..1], &mut go_on)?;
        let began = Instant::now();
        training.advance(&examples, &rows, &rows[..1], &mut go_on)?;
        report(name, "train", batch_size, count, began);
        trained = Some(training);
    }
    let Some(training) = trained else { return Ok(()) };
    let predictor = Predictor::new(&training.checkpoint(serde_json::Value::Null, "cpu"));
    predictor.predict(&values, &noise, &grid)?;
    let began = Instant::now();
    predictor.predict(&values, &noise, &grid)?;
    report(name, "predict", count, count, began);
    Ok(())
}

fn report(name: &str, work: &str, batch: usize, rows: usize, began: Instant) {
    println!("{name} {work} {batch} {:.0}", rows as f64 / began.elapsed().as_secs_f64());
}

/// Spectra of one or two components with noise from −1 to 1, by a generator good enough for a clock; their truth and counts.
fn spectra(rows: usize) -> (Vec<f32>, Vec<f64>, Vec<u8>) {
    let mut state = 1_u64;
    let mut uniform = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (mut values, mut parameters, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        let count = 1 + row % SLOTS;
        let mut components = [[f64::NAN; 3]; SLOTS];
        for component in &mut components[..count] {
            *component = [3.0 + 60.0 * uniform(), 10.0 + 120.0 * uniform(), 1.0 + 5.0 * uniform()];
        }
        components[..count].sort_by(|a, b| a[1].total_cmp(&b[1]));
        for channel in 0..CHANNELS {
            let line = |[a, m, s]: &[f64; 3]| {
                let u = (channel as f64 - m) / s;
                a * (-0.5 * u * u).exp()
            };
            let sum: f64 = components[..count].iter().map(line).sum();
            values.push((sum + 2.0 * uniform() - 1.0) as f32);
        }
        parameters.extend(components.into_iter().flatten());
        counts.push(count as u8);
    }
    (values, parameters, counts)
}
