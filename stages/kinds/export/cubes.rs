//! The model and the residual of a cube as FITS cubes, in memory that doesn't grow with them.

use std::ops::Range;

use pipe_engine::{PlacedFile, StageContext, StageError};

use super::error::ExportError;
use crate::{
    artifacts::{ComponentsReader, SpectraReader, chunks, row_chunks::for_each_chunk},
    spectra::{CubeLayout, add_components},
};

/// Writes those of model and residual that are `wanted`. Where nothing was observed, both are NaN; a channel that is
/// missing is missing in the residual alone.
pub(super) fn write(
    spectra: &SpectraReader,
    components: &ComponentsReader,
    wanted: [bool; 2],
    context: &StageContext<'_>,
) -> Result<(), StageError> {
    if wanted == [false; 2] {
        return Ok(());
    }
    let is_whole = covers_the_sky(spectra)?;
    let start = |wanted: bool, name: &str| -> Result<Option<CubeFile<'_>>, StageError> {
        if !wanted {
            return Ok(None);
        }
        let layout = layout(spectra, name)?;
        let file = context.output("fits")?.create_sized(&format!("{name}.fits"), layout.size())?;
        file.write_at(0, layout.header())?;
        let cube = CubeFile { file, layout };
        if !is_whole {
            cube.fill(spectra.axis().channels, context)?;
        }
        Ok(Some(cube))
    };
    let model = start(wanted[0], "model")?;
    let residual = start(wanted[1], "residual")?;
    let channels = spectra.axis().channels;
    for_each_chunk(context, spectra.rows(), |_, rows| {
        let observed = spectra.read(rows.clone())?;
        let found = components.read(rows.clone())?;
        let runs = runs(&places(spectra, rows)?);
        let mut modelled = vec![f32::NAN; observed.len()];
        let mut sum = vec![0.0; channels];
        let spectrum = |values| <[f32]>::chunks_exact(values, channels.max(1));
        let lines = modelled.chunks_exact_mut(channels.max(1)).zip(spectrum(&observed));
        for ((values, observed), found) in lines.zip(&found) {
            if observed.iter().any(|value| value.is_finite()) {
                sum.fill(0.0);
                add_components(spectra.axis(), found, &mut sum);
                values.iter_mut().zip(&sum).for_each(|(value, sum)| *value = *sum as f32);
            }
        }
        if let Some(model) = &model {
            model.write(&runs, &modelled, channels)?;
        }
        if let Some(residual) = &residual {
            // Of the model as it is written, so that the two cubes add up to the observed one.
            let left: Vec<f32> = observed.iter().zip(&modelled).map(|(y, m)| y - m).collect();
            residual.write(&runs, &left, channels)?;
        }
        Ok(())
    })?;
    for cube in [model, residual].into_iter().flatten() {
        context.check_interrupt()?;
        cube.file.finish()?;
    }
    Ok(())
}

/// A FITS file being written.
struct CubeFile<'a> {
    file: PlacedFile<'a>,
    layout: CubeLayout,
}

impl CubeFile<'_> {
    /// Writes NaN everywhere.
    fn fill(&self, channels: usize, context: &StageContext<'_>) -> Result<(), StageError> {
        const AT_ONCE: u64 = 4096;
        let pixels = self.layout.pixels();
        for first in (0..pixels).step_by(AT_ONCE as usize) {
            context.check_interrupt()?;
            let count = AT_ONCE.min(pixels - first) as usize;
            let nothing = vec![f32::NAN; count * channels];
            self.layout.place(first, &nothing, |at, bytes| self.file.write_at(at, bytes))?;
        }
        Ok(())
    }

    /// Writes spectra, each run of which stands at neighbouring pixels.
    fn write(&self, runs: &[Run], spectra: &[f32], channels: usize) -> Result<(), StageError> {
        for Run { first, spectra: of } in runs {
            let values = &spectra[of.start * channels..of.end * channels];
            self.layout.place(*first, values, |at, bytes| self.file.write_at(at, bytes))?;
        }
        Ok(())
    }
}

fn layout(spectra: &SpectraReader, quantity: &str) -> Result<CubeLayout, StageError> {
    let head = spectra.head();
    let (axis, unit) = (&head.axis, head.unit.as_str());
    Ok(match &head.sky {
        Some(sky) => {
            let grids = (&sky.grid(), &sky.spectral_grid(axis));
            CubeLayout::cube([sky.nx, sky.ny], axis.channels, grids, unit, quantity)?
        }
        None => CubeLayout::lines(spectra.rows() as usize, axis, unit, quantity)?,
    })
}

/// The number of the pixel of each row: y · nx + x, or the row itself where there is no sky.
fn places(spectra: &SpectraReader, rows: Range<u64>) -> Result<Vec<u64>, StageError> {
    let (Some(sky), Some(pixels)) = (&spectra.head().sky, spectra.pixels(rows.clone())?) else {
        return Ok(rows.collect());
    };
    let (nx, ny) = (sky.nx, sky.ny);
    let place = |(x, y): (u32, u32)| {
        if x as usize >= nx || y as usize >= ny {
            return Err(ExportError::Outside { x, y, nx, ny }.into());
        }
        Ok(u64::from(y) * nx as u64 + u64::from(x))
    };
    pixels.into_iter().map(place).collect()
}

/// Whether every pixel has a spectrum. That none has two is made sure of here, too.
fn covers_the_sky(spectra: &SpectraReader) -> Result<bool, StageError> {
    let Some(sky) = &spectra.head().sky else { return Ok(true) };
    let mut taken = vec![0_u64; (sky.nx * sky.ny).div_ceil(64)];
    for rows in chunks(spectra.rows()) {
        for place in places(spectra, rows)? {
            let (word, bit) = (&mut taken[(place / 64) as usize], 1 << (place % 64));
            if *word & bit != 0 {
                let (x, y) = (place % sky.nx as u64, place / sky.nx as u64);
                return Err(ExportError::Twice { x, y }.into());
            }
            *word |= bit;
        }
    }
    Ok(spectra.rows() == (sky.nx * sky.ny) as u64)
}

/// Spectra whose pixels follow each other.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    /// The pixel of the first.
    first: u64,
    /// Which of the spectra.
    spectra: Range<usize>,
}

fn runs(places: &[u64]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (index, place) in places.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.first + run.spectra.len() as u64 == *place => run.spectra.end += 1,
            _ => runs.push(Run { first: *place, spectra: index..index + 1 }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_written_together() {
        let run = |first, spectra| Run { first, spectra };
        assert_eq!(
            runs(&[3, 4, 5, 9, 8, 10]),
            [run(3, 0..3), run(9, 3..4), run(8, 4..5), run(10, 5..6)]
        );
        assert_eq!(runs(&[]), []);
    }
}
