//! Writes the small synthetic cube `tiny.fits` of `examples/cube`, and the truth about it, `tiny_truth.csv`.
//!
//! `cargo run --release -p pipe-stages --example tiny_cube -- FOLDER`

use std::{error::Error, fs::File, io::BufWriter, path::PathBuf};

use pipe_stages::spectra::{
    Amplitudes, Axis, CardValue, CatalogueRow, CatalogueWriter, Cube, CubeHeader, NoiseLevel,
    Range, Recipe, SkyGrid, SpectralGrid, write_cube,
};

const NX: usize = 10;
const NY: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("give the folder to write to")?);
    let axis = Axis { start: -20_000.0, step: 400.0, channels: 100, unit: "m/s".to_owned() };
    let recipe = Recipe {
        min_components: 0,
        max_components: 3,
        amplitude: Amplitudes::SignalToNoise(Range::new(6.0, 40.0)),
        mean: Range::new(-16_000.0, 16_000.0),
        sigma: Range::new(700.0, 2500.0),
        noise: NoiseLevel::Uniform(Range::new(0.09, 0.11)),
        correlation: 0.0,
        axis: axis.clone(),
    };
    let number = |value: f64| CardValue::Real(value);
    let text = |value: &str| CardValue::Text(value.to_owned());
    let cards = [
        ("CTYPE1", text("GLON-CAR")),
        ("CRVAL1", number(30.0)),
        ("CDELT1", number(-0.006)),
        ("CRPIX1", number(5.0)),
        ("CTYPE2", text("GLAT-CAR")),
        ("CRVAL2", number(0.0)),
        ("CDELT2", number(0.006)),
        ("CRPIX2", number(4.0)),
    ];
    let header = CubeHeader {
        axis: axis.clone(),
        axis_type: "VRAD".to_owned(),
        nx: NX,
        ny: NY,
        unit: "K".to_owned(),
        object: "synthetic".to_owned(),
        line: String::new(),
        sky: SkyGrid { cards: cards.map(|(keyword, value)| (keyword.to_owned(), value)).into() },
        spectral: SpectralGrid::linear("VRAD", &axis),
    };
    let mut spectra = Vec::with_capacity(NX * NY * axis.channels);
    let mut truth = CatalogueWriter::new(File::create(folder.join("tiny_truth.csv"))?)?;
    for row in 0..NX * NY {
        let spectrum = recipe.row(5, row as u64);
        let (x, y) = header.pixel(row);
        let mut values = spectrum.values;
        // What observed cubes have: a pixel without data, and channels without data.
        match (x, y) {
            (0, 0) => values.fill(f32::NAN),
            (9, 7) => values[..10].fill(f32::NAN),
            _ => {}
        }
        spectra.extend(values);
        if (x, y) == (0, 0) {
            continue;
        }
        for (index, component) in spectrum.components.iter().enumerate() {
            let pixel = Some((x as u64, y as u64));
            truth.write(&CatalogueRow::new(
                row as u64,
                pixel,
                index as u64,
                component,
                &axis,
                None,
            ))?;
        }
    }
    truth.finish()?;
    write_cube(&Cube { header, spectra }, BufWriter::new(File::create(folder.join("tiny.fits"))?))?;
    Ok(())
}
