//! How many spectra a core fits in a second.
//!
//! ```text
//! cargo bench -p pipe-stages --bench fitting              all parts, about ten seconds
//! cargo bench -p pipe-stages --bench fitting -- FOLDER    the same, and the spectra and figures as JSON, for others
//! ```
//!
//! On one thread; what counts is its time on a processor, so that what else the machine does matters little, and of
//! several rounds the fastest. `benches/fitting.py` runs other programs on the same spectra.

use std::{error::Error, fs, path::PathBuf};

use pipe_stages::spectra::{
    Amplitudes, Axis, Component, NoiseLevel, Range, Recipe, SyntheticSpectrum,
    fit::{FitSettings, FittedSpectrum, Fitter, NoiseModel},
};
use serde_json::json;

const ROUNDS: usize = 5;
const SEED: u64 = 20_261;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().skip(1).find(|word| !word.starts_with('-')).map(PathBuf::from);
    let lines = Field::new(&lines(), 4000);
    let survey = Field::new(&survey(), 500);
    let settings = |most| FitSettings { max_components: most, ..FitSettings::default() };

    let mut fitter = Fitter::new(&lines.axis, settings(2));
    let known = lines.rate(|row| {
        fitter.fit(&row.values, noise_of(row), &near(row)).map_or(f64::NAN, |fit| fit.chi_squared)
    })?;
    let mut fitter = Fitter::new(&lines.axis, settings(2));
    let blind = lines.rate(|row| {
        fitter.search(&row.values, noise_of(row)).map_or(f64::NAN, |fit| fit.chi_squared)
    })?;
    let mut fitter = Fitter::new(&survey.axis, settings(6));
    let crowded = survey.rate(|row| {
        FittedSpectrum::search(&mut fitter, &row.values, noise_of(row), true, 6).fit.chi_squared
    })?;
    let rates = [
        ("known", "140 channels, the true number of components, from 2 % off", known),
        ("blind", "140 channels, 0 to 2 components from nothing", blind),
        (
            "survey",
            "424 channels, 0 to 6 components from nothing, the noise measured again",
            crowded,
        ),
    ];
    println!("| part | spectra a second and core | χ² of a spectrum |\n| --- | --- | --- |");
    for (_, what, [rate, chi_squared]) in rates {
        println!("| {what} | {rate:.0} | {chi_squared:.1} |");
    }
    if let Some(folder) = folder {
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("lines.json"), lines.json().to_string())?;
        fs::write(folder.join("survey.json"), survey.json().to_string())?;
        let figures: serde_json::Map<_, _> = rates
            .into_iter()
            .flat_map(|(name, _, [rate, chi_squared])| {
                [
                    (name.to_owned(), json!(rate)),
                    (format!("{name}_chi_squared"), json!(chi_squared)),
                ]
            })
            .collect();
        fs::write(folder.join("rates.json"), json!(figures).to_string())?;
    }
    Ok(())
}

/// One or two lines on 140 channels.
fn lines() -> Recipe {
    let (start, stop, channels) = (1_204.822_626_82, 1_907.054_567_44, 140);
    let step = (stop - start) / (channels - 1) as f64;
    Recipe {
        axis: Axis { start, step, channels, unit: "m/s".to_owned() },
        min_components: 1,
        max_components: 2,
        amplitude: Amplitudes::Absolute(Range::new(0.002, 0.05)),
        mean: Range::new(1250.0, 1850.0),
        sigma: Range::new(5.0, 30.0),
        noise: NoiseLevel::Uniform(Range::new(0.0007, 0.0008)),
        correlation: 0.0,
    }
}

/// Up to six lines on 424 channels.
fn survey() -> Recipe {
    Recipe {
        axis: Axis { start: -5.0, step: 0.2125, channels: 424, unit: "km/s".to_owned() },
        min_components: 0,
        max_components: 6,
        amplitude: Amplitudes::SignalToNoise(Range::new(3.0, 30.0)),
        mean: Range::new(-3.0, 83.0),
        sigma: Range::new(0.3, 2.5),
        noise: NoiseLevel::Uniform(Range::new(0.08, 0.15)),
        correlation: 0.0,
    }
}

/// Spectra to be fitted.
struct Field {
    axis: Axis,
    rows: Vec<SyntheticSpectrum>,
}

impl Field {
    fn new(recipe: &Recipe, rows: u64) -> Self {
        let rows = (0..rows).map(|row| recipe.row(SEED, row)).collect();
        Self { axis: recipe.axis.clone(), rows }
    }

    /// How many spectra are done in a second, and the mean of what `fit` gives of them.
    fn rate(
        &self,
        mut fit: impl FnMut(&SyntheticSpectrum) -> f64,
    ) -> Result<[f64; 2], Box<dyn Error>> {
        let (count, mut fastest, mut sum) = (self.rows.len() as f64, f64::INFINITY, 0.0);
        for _ in 0..ROUNDS {
            let began = processor_seconds()?;
            sum = self.rows.iter().map(&mut fit).sum();
            fastest = fastest.min(processor_seconds()? - began);
        }
        Ok([count / fastest, sum / count])
    }

    fn json(&self) -> serde_json::Value {
        let numbers = |components: &[Component]| -> Vec<[f64; 3]> {
            components.iter().map(|c| [c.amplitude, c.mean, c.sigma]).collect()
        };
        let Axis { start, step, channels, .. } = &self.axis;
        json!({
            "axis": { "start": start, "step": step, "channels": channels },
            "spectra": self.rows.iter().map(|row| json!({
                "values": row.values,
                "rms": row.rms,
                "components": numbers(&row.components),
                "starts": numbers(&near(row)),
            })).collect::<Vec<_>>(),
        })
    }
}

fn noise_of(row: &SyntheticSpectrum) -> NoiseModel {
    NoiseModel { rms: row.rms, correlation: 0.0 }
}

/// The components of a spectrum, each parameter off by 2 % of the amplitude or sigma.
fn near(row: &SyntheticSpectrum) -> Vec<Component> {
    let of = |c: &Component| Component {
        amplitude: 1.02 * c.amplitude,
        mean: c.mean + 0.02 * c.sigma,
        sigma: 0.98 * c.sigma,
    };
    row.components.iter().map(of).collect()
}

/// The time that this thread has been on a processor, in seconds, as Linux counts it.
fn processor_seconds() -> Result<f64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().ok_or("an empty schedstat")?;
    Ok(nanoseconds.parse::<f64>()? * 1e-9)
}
