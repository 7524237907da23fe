//! The maps, pixel by pixel: as FITS images and as a figure.

use pipe_engine::{StageContext, StageError};

use super::{error::MapsError, line_of_sight::LineOfSight};
use crate::{
    artifacts::{Sky, SpectraReader},
    figures::{self, Figure, Map, MapKind, WorldAxis},
    spectra::{Celestial, SkyMap, write_map},
};

/// The most pixels that a sky may have; a survey of the whole Galactic plane has some million.
const MOST_PIXELS: usize = 200_000_000;

/// What a map shows.
struct Quantity {
    /// The name of its file, without the ending.
    file: &'static str,
    title: &'static str,
    kind: MapKind,
    unit: Unit,
    of: fn(&LineOfSight) -> f64,
}

/// The unit of a map.
#[derive(Clone, Copy)]
enum Unit {
    None,
    Intensity,
    Axis,
    IntensityTimesAxis,
}

/// All maps, in the order in which they are drawn.
const QUANTITIES: [Quantity; 6] = [
    Quantity {
        file: "intensity",
        title: "Integrated intensity",
        kind: MapKind::Continuous,
        unit: Unit::IntensityTimesAxis,
        of: |line| line.moments.integral,
    },
    Quantity {
        file: "centroid",
        title: "Centroid",
        kind: MapKind::Continuous,
        unit: Unit::Axis,
        of: |line| line.moments.centroid,
    },
    Quantity {
        file: "width",
        title: "Width (sigma)",
        kind: MapKind::Continuous,
        unit: Unit::Axis,
        of: |line| line.moments.width,
    },
    Quantity {
        file: "count",
        title: "Number of components",
        kind: MapKind::Count,
        unit: Unit::None,
        of: |line| line.count as f64,
    },
    Quantity {
        file: "noise_rms",
        title: "Noise rms",
        kind: MapKind::Continuous,
        unit: Unit::Intensity,
        of: |line| line.noise,
    },
    Quantity {
        file: "reduced_chi_squared",
        title: "Reduced χ²",
        kind: MapKind::Continuous,
        unit: Unit::None,
        of: |line| line.reduced_chi_squared,
    },
];

/// The lines of sight on their sky.
pub(super) struct Field<'a> {
    sky: &'a Sky,
    spectra: &'a SpectraReader,
    lines: &'a [LineOfSight],
    /// Which pixel each of the lines is.
    pixels: Vec<usize>,
}

impl<'a> Field<'a> {
    pub(super) fn new(
        sky: &'a Sky,
        spectra: &'a SpectraReader,
        lines: &'a [LineOfSight],
    ) -> Result<Self, StageError> {
        let (nx, ny) = (sky.nx, sky.ny);
        if nx.checked_mul(ny).is_none_or(|size| size > MOST_PIXELS) {
            return Err(MapsError::Size { nx, ny }.into());
        }
        let pixels = spectra.pixels(0..spectra.rows())?.ok_or(MapsError::NoSky)?;
        let place = |(x, y): (u32, u32)| {
            if x as usize >= nx || y as usize >= ny {
                return Err(MapsError::Outside { x, y, nx, ny });
            }
            Ok(y as usize * nx + x as usize)
        };
        let pixels = pixels.into_iter().map(place).collect::<Result<_, _>>()?;
        Ok(Self { sky, spectra, lines, pixels })
    }

    /// The values of a map; NaN where nothing was observed.
    fn values(&self, quantity: &Quantity) -> Vec<f64> {
        let mut values = vec![f64::NAN; self.sky.nx * self.sky.ny];
        for (pixel, line) in self.pixels.iter().zip(self.lines) {
            if line.is_observed() {
                values[*pixel] = (quantity.of)(line);
            }
        }
        values
    }

    fn unit(&self, unit: Unit) -> String {
        let (intensity, axis) = (&self.spectra.head().unit, &self.spectra.axis().unit);
        match unit {
            Unit::None => String::new(),
            Unit::Intensity => intensity.clone(),
            Unit::Axis => axis.clone(),
            Unit::IntensityTimesAxis => format!("{intensity} {axis}").trim().to_owned(),
        }
    }

    /// Writes every map as a FITS image on the sky grid of the cube.
    pub(super) fn write(&self, context: &StageContext<'_>) -> Result<(), StageError> {
        let grid = self.sky.grid();
        for quantity in &QUANTITIES {
            context.check_interrupt()?;
            let values: Vec<f32> = self.values(quantity).into_iter().map(|v| v as f32).collect();
            let unit = self.unit(quantity.unit);
            let map = SkyMap {
                sky: &grid,
                nx: self.sky.nx,
                ny: self.sky.ny,
                values: &values,
                unit: &unit,
                quantity: quantity.file,
            };
            let mut file = context.output("fits")?.create(&format!("{}.fits", quantity.file))?;
            write_map(&map, &mut file)?;
            file.finish()?;
        }
        Ok(())
    }

    /// Draws every map.
    pub(super) fn draw(&self) -> Figure {
        let drawn: Vec<(Vec<f64>, String, &Quantity)> = QUANTITIES
            .iter()
            .map(|quantity| (self.values(quantity), self.unit(quantity.unit), quantity))
            .collect();
        let maps: Vec<Map> = drawn
            .iter()
            .map(|(values, unit, quantity)| Map {
                title: quantity.title,
                unit,
                kind: quantity.kind,
                values,
            })
            .collect();
        let (nx, ny) = (self.sky.nx, self.sky.ny);
        let Some(celestial) = Celestial::of(&self.sky.grid()) else {
            return figures::maps(nx, ny, &maps, [None; 2]);
        };
        // Longitudes are unrolled about the middle of the field, so that they don't jump from 0 to 360.
        let middle = celestial.at(0.5 * (nx as f64 - 1.0), 0.5 * (ny as f64 - 1.0));
        let middle = middle.map_or(f64::NAN, |(longitude, _)| longitude);
        let is_longitude = [!celestial.is_swapped(), celestial.is_swapped()];
        let coordinate = |is_longitude: bool, x: f64, y: f64| match celestial.at(x, y) {
            Some((longitude, _)) if is_longitude => {
                middle + libm::remainder(longitude - middle, 360.0)
            }
            Some((_, latitude)) => latitude,
            None => f64::NAN,
        };
        let labels = is_longitude.map(|is_longitude| {
            let name = if is_longitude { &celestial.longitude } else { &celestial.latitude };
            format!("{} (deg)", spelled(name))
        });
        let lower = |x: f64| coordinate(is_longitude[0], x, -0.5);
        let left = |y: f64| coordinate(is_longitude[1], -0.5, y);
        let world = [
            WorldAxis { label: &labels[0], at: &lower, is_angle: is_longitude[0] },
            WorldAxis { label: &labels[1], at: &left, is_angle: is_longitude[1] },
        ];
        figures::maps(nx, ny, &maps, world.map(Some))
    }
}

/// What a celestial coordinate is called on an axis.
fn spelled(name: &str) -> &str {
    match name {
        "RA" => "Right ascension",
        "DEC" => "Declination",
        "GLON" => "Galactic longitude",
        "GLAT" => "Galactic latitude",
        "ELON" => "Ecliptic longitude",
        "ELAT" => "Ecliptic latitude",
        other => other,
    }
}
