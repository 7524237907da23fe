//! Writes a synthetic cube like a part of the Galactic Ring Survey, in memory that doesn't grow with it: 424 channels of
//! 212.5 m/s, noise of 0.08 to 0.15 K that is correlated between neighbouring channels, and none to four lines in each
//! spectrum, two in the mean (Riener et al. 2020 find 4.65 million in 2.3 million spectra).
//!
//! `cargo run --release -p pipe-stages --example survey_cube -- FILE NX NY [SEED]`

use std::{error::Error, fs::File, os::unix::fs::FileExt as _};

use pipe_stages::spectra::{
    Amplitudes, Axis, CardValue, CubeLayout, NoiseLevel, Range, Recipe, SkyGrid, SpectralGrid,
};
use rayon::prelude::*;

/// Spectra that are made at once.
const CHUNK: usize = 2048;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("give the {what}"));
    let path = next("file to write")?;
    let (nx, ny): (usize, usize) = (next("width")?.parse()?, next("height")?.parse()?);
    let seed = next("seed").map_or(Ok(1), |seed| seed.parse())?;

    let axis = Axis { start: -5000.0, step: 212.5, channels: 424, unit: "m/s".to_owned() };
    let recipe = Recipe {
        min_components: 0,
        max_components: 4,
        amplitude: Amplitudes::SignalToNoise(Range::new(3.0, 30.0)),
        mean: Range::new(-3000.0, 83_000.0),
        sigma: Range::new(300.0, 2500.0),
        noise: NoiseLevel::Uniform(Range::new(0.08, 0.15)),
        correlation: 0.37,
        axis: axis.clone(),
    };
    let number = |keyword: &str, value: f64| (keyword.to_owned(), CardValue::Real(value));
    let text = |keyword: &str, value: &str| (keyword.to_owned(), CardValue::Text(value.to_owned()));
    let sky = SkyGrid {
        cards: vec![
            text("CTYPE1", "GLON-CAR"),
            number("CRVAL1", 30.0),
            number("CDELT1", -0.006_15),
            number("CRPIX1", 1.0),
            text("CTYPE2", "GLAT-CAR"),
            number("CRVAL2", 0.0),
            number("CDELT2", 0.006_15),
            number("CRPIX2", 1.0),
        ],
    };
    let grids = (&sky, &SpectralGrid::linear("VRAD", &axis));
    let layout = CubeLayout::cube([nx, ny], axis.channels, grids, "K", "")?;
    let file = File::create(path)?;
    file.set_len(layout.size())?;
    file.write_all_at(layout.header(), 0)?;
    let chunks = (nx * ny).div_ceil(CHUNK);
    (0..chunks).into_par_iter().try_for_each(|chunk| {
        let rows = chunk * CHUNK..(nx * ny).min((chunk + 1) * CHUNK);
        let values: Vec<f32> =
            rows.clone().flat_map(|row| recipe.row(seed, row as u64).values).collect();
        layout.place(rows.start as u64, &values, |at, bytes| file.write_all_at(bytes, at))
    })?;
    Ok(())
}
