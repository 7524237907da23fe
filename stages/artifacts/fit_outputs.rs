//! The outputs of every stage that fits: a catalogue with details, and a table.

use std::ops::Range;

use pipe_engine::{GroupWriter, OutputFile, OutputPort, StageContext, StageError};

use crate::{
    artifacts::{CATALOGUE, ComponentsWriter, DetailsWriter, SpectraReader, TABLE},
    spectra::{
        Component,
        fit::{FitTable, FittedSpectrum},
    },
};

/// The ports of these outputs.
pub(crate) const FIT_OUTPUTS: &[OutputPort] = &[
    OutputPort::new(
        "catalogue",
        CATALOGUE,
        "the components of each spectrum, with uncertainties, χ², flags and log evidence",
    ),
    OutputPort::new("table", TABLE, "the same as CSV, a row for each component"),
];

/// Writes the outputs, chunk by chunk and in order.
pub(crate) struct FitOutputs<'a> {
    spectra: &'a SpectraReader,
    components: ComponentsWriter,
    details: DetailsWriter,
    table: OutputFile<'a>,
    group: GroupWriter,
    first_row: u64,
}

impl<'a> FitOutputs<'a> {
    /// Starts the outputs of a stage that fits at most `slots` components to each of the spectra.
    pub(crate) fn create(
        context: &'a StageContext<'_>,
        spectra: &'a SpectraReader,
        slots: usize,
    ) -> Result<Self, StageError> {
        let rows = spectra.rows();
        let (components, group) =
            ComponentsWriter::create(context.output("catalogue")?, rows, slots, spectra.head())?;
        let details = DetailsWriter::create(&group, rows, slots, spectra.head())?;
        let mut table = context.output("table")?.create("catalogue.csv")?;
        FitTable::new(&mut table)?.finish()?;
        Ok(Self { spectra, components, details, table, group, first_row: context.first_row() })
    }

    /// The group of the catalogue, which may take more arrays.
    pub(crate) fn group(&self) -> &GroupWriter {
        &self.group
    }

    /// Writes what was found in the rows of a chunk.
    pub(crate) fn write(
        &mut self,
        chunk: u64,
        rows: Range<u64>,
        found: &[FittedSpectrum],
    ) -> Result<(), StageError> {
        let pixels = self.spectra.pixels(rows.clone())?;
        let mut more = FitTable::continued(&mut self.table);
        for (index, fitted) in found.iter().enumerate() {
            let row = self.first_row + rows.start + index as u64;
            let pixel = pixels.as_ref().map(|pixels| pixels[index]);
            let pixel = pixel.map(|(x, y)| (u64::from(x), u64::from(y)));
            more.write(row, pixel, fitted, self.spectra.axis())?;
        }
        more.finish()?;
        let components: Vec<Vec<Component>> = found
            .iter()
            .map(|found| found.fit.components.iter().map(|found| found.component).collect())
            .collect();
        self.components.write(chunk, &components)?;
        Ok(self.details.write(chunk, found)?)
    }

    /// Ends the table.
    pub(crate) fn finish(self) -> Result<(), StageError> {
        Ok(self.table.finish()?)
    }
}
