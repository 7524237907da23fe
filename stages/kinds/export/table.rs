//! The catalogue as a FITS binary table.

use std::ops::Range;

use pipe_engine::{StageContext, StageError};

use crate::{
    artifacts::{ComponentsReader, DetailsReader, SpectraReader, chunks},
    spectra::{
        BinaryTableWriter, CardValue, Celestial, Cell, Column, ColumnKind, Component, SkyGrid,
        fit::Flags,
    },
};

/// Writes `catalogue.fits`: the columns of which the catalogue knows something, a row for each component.
pub(super) fn write(
    spectra: &SpectraReader,
    components: &ComponentsReader,
    context: &StageContext<'_>,
) -> Result<(), StageError> {
    let details = DetailsReader::open(context.input("catalogue")?)?;
    let has = Has {
        place: spectra.pixels(0..0)?.is_some(),
        celestial: spectra.head().sky.as_ref().and_then(|sky| Celestial::of(&sky.grid())),
        uncertainty: details.uncertainties(0..0)?.is_some(),
        probability: details.probability(0..0)?.is_some(),
        flags: details.component_flags(0..0)?.is_some(),
        chi_squared: details.chi_squared(0..0)?.is_some(),
    };
    let columns = has.columns(&spectra.head().unit, &spectra.axis().unit);
    let mut rows = 0;
    for range in chunks(components.rows()) {
        rows += components.counts(range)?.into_iter().map(u64::from).sum::<u64>();
    }
    let mut more = Vec::new();
    if let (true, Some(sky)) = (has.place, &spectra.head().sky) {
        more.extend(pixel_list(&sky.grid(), &columns));
    }
    if has.flags {
        let bits: Vec<String> =
            Flags::NAMES.iter().map(|(flag, name)| format!("{} {name}", flag.bits())).collect();
        // A card has room for little more than a line.
        for (index, bits) in bits.chunks(3).enumerate() {
            more.push((format!("FLAGS{}", index + 1), CardValue::Text(bits.join(", "))));
        }
    }
    let mut file = context.output("fits")?.create("catalogue.fits")?;
    let mut table = BinaryTableWriter::start(&mut file, "CATALOGUE", &columns, rows, &more)?;
    for range in chunks(components.rows()) {
        context.check_interrupt()?;
        context.progress(range.start, components.rows(), "spectra");
        let lines = Lines::read(spectra, components, &details, range)?;
        lines.write(&has, spectra, &mut |cells| Ok(table.write(cells)?))?;
    }
    table.finish()?;
    Ok(file.finish()?)
}

/// What is known beyond the components.
#[expect(clippy::struct_excessive_bools, reason = "each says whether a column is there")]
struct Has {
    place: bool,
    celestial: Option<Celestial>,
    uncertainty: bool,
    probability: bool,
    flags: bool,
    chi_squared: bool,
}

impl Has {
    fn columns(&self, unit: &str, axis_unit: &str) -> Vec<Column> {
        use ColumnKind::{Integer, Long, Real};
        let mut columns = Vec::new();
        let mut add = |known: bool, name: &str, unit: &str, kind, about: &str| {
            if known {
                let (name, unit) = (name.to_owned(), unit.to_owned());
                columns.push(Column { name, unit, about: about.to_owned(), kind });
            }
        };
        add(true, "row", "", Long, "spectrum, from 0");
        add(self.place, "x", "pixel", Integer, "along FITS axis 1, from 0");
        add(self.place, "y", "pixel", Integer, "along FITS axis 2, from 0");
        if let Some(Celestial { longitude, latitude, .. }) = &self.celestial {
            add(true, longitude, "deg", Real, "longitude of the pixel's centre");
            add(true, latitude, "deg", Real, "latitude of the pixel's centre");
        }
        add(true, "component", "", Integer, "in its spectrum, by mean, from 0");
        for (name, unit) in [("amplitude", unit), ("mean", axis_unit), ("sigma", axis_unit)] {
            add(true, name, unit, Real, "");
            add(self.uncertainty, &format!("{name}_err"), unit, Real, "standard deviation");
        }
        add(true, "fwhm", axis_unit, Real, "full width at half maximum");
        add(true, "mean_channel", "chan", Real, "channel of the mean, from 0");
        add(true, "sigma_channel", "chan", Real, "sigma in channels");
        add(self.chi_squared, "chi_squared", "", Real, "of the spectrum");
        add(self.chi_squared, "reduced_chi_squared", "", Real, "of the spectrum");
        add(true, "noise_rms", unit, Real, "of the spectrum");
        add(self.flags, "flags", "", Integer, "what is questionable, as bits");
        add(self.probability, "probability", "", Real, "that it is there");
        columns
    }
}

/// The components of a chunk of rows, and what is known of them.
struct Lines {
    rows: Range<u64>,
    found: Vec<Vec<Component>>,
    slots: usize,
    pixels: Option<Vec<(u32, u32)>>,
    uncertainty: Option<Vec<[f64; 3]>>,
    flags: Option<Vec<u32>>,
    probability: Option<Vec<f64>>,
    chi_squared: Option<Vec<f64>>,
    reduced: Option<Vec<f64>>,
    noise: Vec<f64>,
}

impl Lines {
    fn read(
        spectra: &SpectraReader,
        components: &ComponentsReader,
        details: &DetailsReader,
        rows: Range<u64>,
    ) -> Result<Self, StageError> {
        let uncertainty = details.uncertainties(rows.clone())?;
        let noise = match details.noise_rms(rows.clone())? {
            Some(noise) => noise,
            None => spectra.noise(rows.clone())?,
        };
        Ok(Self {
            found: components.read(rows.clone())?,
            slots: components.slots(),
            pixels: spectra.pixels(rows.clone())?,
            uncertainty: uncertainty
                .map(|all| all.iter().map(|u| [u.amplitude, u.mean, u.sigma]).collect()),
            flags: details.component_flags(rows.clone())?,
            probability: details.probability(rows.clone())?,
            chi_squared: details.chi_squared(rows.clone())?,
            reduced: details.reduced_chi_squared(rows.clone())?,
            noise,
            rows,
        })
    }

    /// Hands the cells of each component to `write`, in the order of [`Has::columns`].
    fn write(
        &self,
        has: &Has,
        spectra: &SpectraReader,
        write: &mut dyn FnMut(&[Cell]) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let axis = spectra.axis();
        let mut cells = Vec::new();
        for (index, found) in self.found.iter().enumerate() {
            let real = |values: &Option<Vec<f64>>, at: usize| {
                values.as_ref().map(|values| Cell::Real(values[at]))
            };
            for (slot, component) in found.iter().enumerate() {
                let at = index * self.slots + slot;
                cells.clear();
                cells.push(Cell::Integer((self.rows.start + index as u64) as i64));
                if let Some(pixels) = &self.pixels {
                    let (x, y) = pixels[index];
                    cells.extend([x, y].map(|pixel| Cell::Integer(i64::from(pixel))));
                    if let Some(celestial) = &has.celestial {
                        let nowhere = (f64::NAN, f64::NAN);
                        let (l, b) = celestial.at(x.into(), y.into()).unwrap_or(nowhere);
                        cells.extend([Cell::Real(l), Cell::Real(b)]);
                    }
                }
                cells.push(Cell::Integer(slot as i64));
                let parameters = [component.amplitude, component.mean, component.sigma];
                for (parameter, value) in parameters.into_iter().enumerate() {
                    cells.push(Cell::Real(value));
                    let uncertainty = self.uncertainty.as_ref();
                    cells.extend(uncertainty.map(|all| Cell::Real(all[at][parameter])));
                }
                cells.push(Cell::Real(component.fwhm()));
                cells.push(Cell::Real(axis.channel(component.mean)));
                cells.push(Cell::Real(component.sigma / axis.width()));
                cells.extend(real(&self.chi_squared, index));
                cells.extend(real(&self.reduced, index));
                cells.push(Cell::Real(self.noise[index]));
                cells.extend(self.flags.as_ref().map(|flags| Cell::Integer(flags[at].into())));
                cells.extend(real(&self.probability, at));
                write(&cells)?;
            }
        }
        Ok(())
    }
}

/// The sky grid as the world coordinates of the columns `x` and `y`: those of a pixel list (Calabretta & Greisen 2002,
/// A&A 395, 1077, table 1). A column counts from 0, a FITS axis from 1.
fn pixel_list(sky: &SkyGrid, columns: &[Column]) -> Vec<(String, CardValue)> {
    let number = |name: &str| columns.iter().position(|column| column.name == name).map(|i| i + 1);
    let (Some(x), Some(y)) = (number("x"), number("y")) else { return Vec::new() };
    let column = |axis: char| if axis == '1' { x } else { y };
    let mut cards = Vec::new();
    for (keyword, value) in &sky.cards {
        if let Some((axis, parameter)) =
            keyword.strip_prefix("PV").and_then(|rest| rest.split_once('_'))
        {
            let n = if axis == "1" { x } else { y };
            cards.push((format!("TV{n}_{parameter}"), value.clone()));
            continue;
        }
        let Some(axis) = keyword.chars().last().filter(|axis| matches!(axis, '1' | '2')) else {
            let renamed = match keyword.as_str() {
                "RADESYS" | "RADECSYS" => format!("RADE{x}"),
                "EQUINOX" | "EPOCH" => format!("EQUI{x}"),
                "LONPOLE" => format!("LONP{x}"),
                "LATPOLE" => format!("LATP{x}"),
                "OBJECT" | "TELESCOP" | "INSTRUME" | "OBSERVER" | "LINE" => keyword.clone(),
                _ => continue,
            };
            cards.push((renamed, value.clone()));
            continue;
        };
        let n = column(axis);
        let mut value = value.clone();
        let renamed = match &keyword[..keyword.len() - 1] {
            "CTYPE" => format!("TCTYP{n}"),
            "CUNIT" => format!("TCUNI{n}"),
            "CRVAL" => format!("TCRVL{n}"),
            "CDELT" => format!("TCDLT{n}"),
            "CROTA" => format!("TCROT{n}"),
            "CRPIX" => {
                value = match value {
                    CardValue::Real(pixel) => CardValue::Real(pixel - 1.0),
                    CardValue::Integer(pixel) => CardValue::Integer(pixel - 1),
                    other => other,
                };
                format!("TCRPX{n}")
            }
            "PC1_" => format!("TP{x}_{n}"),
            "PC2_" => format!("TP{y}_{n}"),
            "CD1_" => format!("TC{x}_{n}"),
            "CD2_" => format!("TC{y}_{n}"),
            _ => continue,
        };
        cards.push((renamed, value));
    }
    cards
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sky_becomes_that_of_two_columns() {
        let has = Has {
            place: true,
            celestial: None,
            uncertainty: true,
            probability: false,
            flags: true,
            chi_squared: true,
        };
        let columns = has.columns("K", "km/s");
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names[..3], ["row", "x", "y"]);
        assert!(names.contains(&"mean_err") && !names.contains(&"probability"));
        let card = |keyword: &str, value| (keyword.to_owned(), value);
        let sky = SkyGrid {
            cards: vec![
                card("CTYPE1", CardValue::Text("RA---TAN".to_owned())),
                card("CRPIX2", CardValue::Real(4.5)),
                card("PC1_2", CardValue::Real(0.5)),
                card("PV2_10", CardValue::Real(0.25)),
                card("EQUINOX", CardValue::Real(2000.0)),
                card("BMAJ", CardValue::Real(0.1)),
            ],
        };
        let found = pixel_list(&sky, &columns);
        assert_eq!(
            found,
            [
                card("TCTYP2", CardValue::Text("RA---TAN".to_owned())),
                card("TCRPX3", CardValue::Real(3.5)),
                card("TP2_3", CardValue::Real(0.5)),
                card("TV3_10", CardValue::Real(0.25)),
                card("EQUI2", CardValue::Real(2000.0)),
            ]
        );
    }
}
