//! The part of a `catalogue` that least squares tell: how sure each component is, and how good the fit.

use std::ops::Range;

use pipe_engine::{ArraySpec, ArrayWriter, Artifact, GroupReader, GroupWriter, Scalar};

use super::{CATALOGUE, CHUNK_ROWS, LayoutError, SpectraHead, wrong};
use crate::spectra::{
    ByParameter,
    fit::{FittedComponent, FittedSpectrum, SpectrumFit},
};

const UNCERTAINTY: &str = "uncertainty";
const COMPONENT_FLAGS: &str = "component_flags";
const FLAGS: &str = "flags";
const CHI_SQUARED: &str = "chi_squared";
const REDUCED_CHI_SQUARED: &str = "reduced_chi_squared";
const LOG_EVIDENCE: &str = "log_evidence";
const NOISE_RMS: &str = "noise_rms";

/// Adds to a `catalogue` what least squares tell of its components, chunk by chunk.
pub struct DetailsWriter {
    slots: usize,
    uncertainty: ArrayWriter<f64>,
    component_flags: ArrayWriter<u32>,
    flags: ArrayWriter<u32>,
    chi_squared: ArrayWriter<f64>,
    reduced_chi_squared: ArrayWriter<f64>,
    log_evidence: ArrayWriter<f64>,
    noise_rms: ArrayWriter<f64>,
}

impl DetailsWriter {
    /// Starts the arrays in the group of a catalogue of `rows` spectra with at most `slots` components each.
    ///
    /// # Errors
    /// When their metadata can't be written.
    pub fn create(
        group: &GroupWriter,
        rows: u64,
        slots: usize,
        head: &SpectraHead,
    ) -> Result<Self, LayoutError> {
        const BITS: &str = "questionable: a bit each for blended (1), at_bound (2), broad (4), negative_residual (8), \
             poor_chi_squared (16), not_converged (32)";
        let per_row = |about| ArraySpec {
            shape: vec![rows],
            dimensions: &["row"],
            chunk_rows: CHUNK_ROWS,
            unit: "",
            about,
        };
        let uncertainty = ArraySpec {
            shape: vec![rows, slots as u64, 3],
            dimensions: &["row", "component", "parameter"],
            ..per_row(
                "standard deviation of amplitude, mean and sigma, in the units of each; NaN where absent",
            )
        };
        let component_flags = ArraySpec {
            shape: vec![rows, slots as u64],
            dimensions: &["row", "component"],
            ..per_row(BITS)
        };
        let log_evidence = ArraySpec {
            shape: vec![rows, slots as u64 + 1],
            dimensions: &["row", "count"],
            ..per_row(
                "natural logarithm of the evidence of each number of components, less that of noise alone; NaN where \
                 not tried",
            )
        };
        let noise =
            ArraySpec { unit: &head.unit, ..per_row("rms of the noise that the fit rests on") };
        let chi_squared = per_row(
            "χ² of the residual under the noise's covariance; NaN where nothing was fitted",
        );
        let reduced = per_row("χ² over the degrees of freedom");
        Ok(Self {
            slots,
            uncertainty: group.array(UNCERTAINTY, &uncertainty)?,
            component_flags: group.array(COMPONENT_FLAGS, &component_flags)?,
            flags: group.array(FLAGS, &per_row(BITS))?,
            chi_squared: group.array(CHI_SQUARED, &chi_squared)?,
            reduced_chi_squared: group.array(REDUCED_CHI_SQUARED, &reduced)?,
            log_evidence: group.array(LOG_EVIDENCE, &log_evidence)?,
            noise_rms: group.array(NOISE_RMS, &noise)?,
        })
    }

    /// Writes what was found in a chunk's rows.
    ///
    /// # Errors
    /// When the number of rows is wrong, or the chunk can't be written.
    pub fn write(&self, chunk: u64, found: &[FittedSpectrum]) -> Result<(), LayoutError> {
        let mut uncertainty = vec![f64::NAN; found.len() * self.slots * 3];
        let mut component_flags = vec![0; found.len() * self.slots];
        for (row, FittedSpectrum { fit, .. }) in found.iter().enumerate() {
            for (slot, FittedComponent { uncertainty: u, flags, .. }) in
                fit.components.iter().enumerate()
            {
                let at = row * self.slots + slot;
                uncertainty[3 * at..3 * at + 3].copy_from_slice(&[u.amplitude, u.mean, u.sigma]);
                component_flags[at] = flags.bits();
            }
        }
        let of = |value: fn(&SpectrumFit) -> f64| -> Vec<f64> {
            found.iter().map(|found| value(&found.fit)).collect()
        };
        let flags: Vec<u32> = found.iter().map(|found| found.fit.flags.bits()).collect();
        let evidence: Vec<f64> =
            found.iter().flat_map(|found| found.fit.log_evidence.iter().copied()).collect();
        let noise: Vec<f64> = found.iter().map(|found| found.noise_rms).collect();
        self.uncertainty.write(chunk, &uncertainty)?;
        self.component_flags.write(chunk, &component_flags)?;
        self.flags.write(chunk, &flags)?;
        self.chi_squared.write(chunk, &of(|fit| fit.chi_squared))?;
        self.reduced_chi_squared.write(chunk, &of(|fit| fit.reduced_chi_squared))?;
        self.log_evidence.write(chunk, &evidence)?;
        Ok(self.noise_rms.write(chunk, &noise)?)
    }
}

/// Reads what a `catalogue` has besides the components: what least squares tell (from `fit`, `refine`, `smooth`), or
/// what a network does (from `predict`). Each answer is `None` where the catalogue doesn't have it.
///
/// Arrays by component have as many slots in each row as [`ComponentsReader::slots`](super::ComponentsReader::slots).
pub struct DetailsReader {
    group: GroupReader,
    artifact: Artifact,
    rows: u64,
    slots: usize,
}

impl DetailsReader {
    /// Opens a catalogue.
    ///
    /// # Errors
    /// When it has another layout.
    pub fn open(artifact: &Artifact) -> Result<Self, LayoutError> {
        let group = artifact.zarr()?;
        let (rows, slots) = match *group.array::<f64>("parameters")?.shape() {
            [rows, slots, 3] => (rows, slots as usize),
            _ => return Err(wrong(artifact, CATALOGUE, "`parameters` is not (row, component, 3)")),
        };
        Ok(Self { group, artifact: artifact.clone(), rows, slots })
    }

    /// The standard deviations of amplitude, mean and sigma (rows × slots), NaN where there is no component.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn uncertainties(
        &self,
        rows: Range<u64>,
    ) -> Result<Option<Vec<ByParameter<f64>>>, LayoutError> {
        let values = self.read::<f64>(UNCERTAINTY, rows, &[self.slots as u64, 3])?;
        let by_parameter = |u: &[f64]| ByParameter { amplitude: u[0], mean: u[1], sigma: u[2] };
        Ok(values.map(|values| values.chunks_exact(3).map(by_parameter).collect()))
    }

    /// What is questionable about each component (rows × slots), as bits of [`Flags`](crate::spectra::fit::Flags).
    ///
    /// # Errors
    /// When they can't be read.
    pub fn component_flags(&self, rows: Range<u64>) -> Result<Option<Vec<u32>>, LayoutError> {
        self.read(COMPONENT_FLAGS, rows, &[self.slots as u64])
    }

    /// What is questionable about each fit, as bits of [`Flags`](crate::spectra::fit::Flags).
    ///
    /// # Errors
    /// When they can't be read.
    pub fn flags(&self, rows: Range<u64>) -> Result<Option<Vec<u32>>, LayoutError> {
        self.read(FLAGS, rows, &[])
    }

    /// The χ² of each residual under the noise's covariance, NaN where nothing was fitted.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn chi_squared(&self, rows: Range<u64>) -> Result<Option<Vec<f64>>, LayoutError> {
        self.read(CHI_SQUARED, rows, &[])
    }

    /// χ² over the degrees of freedom.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn reduced_chi_squared(&self, rows: Range<u64>) -> Result<Option<Vec<f64>>, LayoutError> {
        self.read(REDUCED_CHI_SQUARED, rows, &[])
    }

    /// The logarithm of the evidence of each number of components (rows × (slots + 1)), less that of noise alone; NaN
    /// where a number wasn't tried.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn log_evidence(&self, rows: Range<u64>) -> Result<Option<Vec<f64>>, LayoutError> {
        self.read(LOG_EVIDENCE, rows, &[self.slots as u64 + 1])
    }

    /// The noise rms that each fit rests on, in the unit of the spectra.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn noise_rms(&self, rows: Range<u64>) -> Result<Option<Vec<f64>>, LayoutError> {
        self.read(NOISE_RMS, rows, &[])
    }

    /// How sure a network is of each component (rows × slots), NaN where there is none.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn probability(&self, rows: Range<u64>) -> Result<Option<Vec<f64>>, LayoutError> {
        self.read("probability", rows, &[self.slots as u64])
    }

    /// How probable a network says each number of components to be (rows × (slots + 1)).
    ///
    /// # Errors
    /// When it can't be read.
    pub fn count_probability(&self, rows: Range<u64>) -> Result<Option<Vec<f64>>, LayoutError> {
        self.read("count_probability", rows, &[self.slots as u64 + 1])
    }

    /// Some rows of an array that has `per_row` elements in each, if it is there.
    fn read<T: Scalar>(
        &self,
        name: &str,
        rows: Range<u64>,
        per_row: &[u64],
    ) -> Result<Option<Vec<T>>, LayoutError> {
        if !self.group.has(name) {
            return Ok(None);
        }
        let array = self.group.array::<T>(name)?;
        if array.shape().first() != Some(&self.rows) || array.shape()[1..] != *per_row {
            let why = format!("the shape of `{name}` disagrees with that of `parameters`");
            return Err(wrong(&self.artifact, CATALOGUE, why));
        }
        Ok(Some(array.read(rows)?))
    }
}

#[cfg(test)]
mod tests {
    use pipe_engine::{
        Event, Exactness, Format, InputPort, Interrupt, Outcome, OutputPort, RunOptions,
        StageContext, StageError, StageKind, cache::Cache, load, run,
    };

    use super::*;
    use crate::{
        artifacts::{ComponentsReader, TRUTH},
        spectra::fit::Flags,
    };

    /// A stage that reads a catalogue of `fit`, and what has no such details.
    struct Reading;

    impl StageKind for Reading {
        type Config = std::collections::BTreeMap<String, u64>;

        const KIND: &'static str = "reading";
        const ABOUT: &'static str = "Reads details.";
        const REVISION: u32 = 1;
        const EXACTNESS: Exactness = Exactness::Exact;
        const INPUTS: &'static [InputPort] = &[
            InputPort::required("fitted", CATALOGUE, "with details"),
            InputPort::required("truth", TRUTH, "without"),
        ];
        const OUTPUTS: &'static [OutputPort] = &[OutputPort::new(
            "document",
            pipe_engine::ArtifactType::new("document", Format::Document),
            "nothing",
        )];

        fn run(_: &Self::Config, context: &StageContext<'_>) -> Result<(), StageError> {
            let fitted = DetailsReader::open(context.input("fitted")?)?;
            let rows = 1..3;
            let components = ComponentsReader::open(context.input("fitted")?)?;
            let slots = components.slots();
            let counts = components.counts(rows.clone())?;
            let uncertainties = fitted.uncertainties(rows.clone())?.unwrap();
            assert_eq!(uncertainties.len(), 2 * slots);
            for (row, count) in counts.iter().enumerate() {
                for (slot, u) in uncertainties[row * slots..(row + 1) * slots].iter().enumerate() {
                    assert_eq!(u.mean > 0.0, slot < *count as usize, "row {row}, slot {slot}");
                }
            }
            let flags = fitted.component_flags(rows.clone())?.unwrap();
            let all = flags.chunks_exact(slots).map(|row| row.iter().fold(0, |all, one| all | one));
            assert_eq!(fitted.flags(rows.clone())?.unwrap(), all.collect::<Vec<u32>>());
            assert_eq!(fitted.flags(rows.clone())?.unwrap()[0], Flags::BLENDED.bits());
            let evidence = fitted.log_evidence(rows.clone())?.unwrap();
            assert_eq!(evidence.len(), 2 * (slots + 1));
            assert_eq!(evidence[0].to_bits(), 0, "that of noise alone");
            let chi = fitted.chi_squared(rows.clone())?.unwrap();
            let reduced = fitted.reduced_chi_squared(rows.clone())?.unwrap();
            for ((chi, reduced), count) in chi.iter().zip(&reduced).zip(counts) {
                assert!((chi / reduced - (140.0 - 3.0 * f64::from(count))).abs() < 1e-9);
            }
            let rms = fitted.noise_rms(rows.clone())?.unwrap();
            assert!(rms.iter().all(|rms| (0.0007..0.0008).contains(rms)), "{rms:?}");
            assert_eq!(fitted.probability(rows.clone())?, None);
            assert_eq!(fitted.count_probability(rows.clone())?, None);

            let truth = DetailsReader::open(context.input("truth")?)?;
            assert_eq!(truth.uncertainties(rows.clone())?, None);
            assert_eq!(truth.noise_rms(rows)?, None);
            Ok(context.output("document")?.document("read.json", &true)?)
        }
    }

    #[test]
    fn what_a_fit_tells_is_read_back_and_what_is_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pipeline.yaml");
        let text = "\
            stages:\n  \
              generate:\n    config: { count: 4 }\n  \
              fit:\n    inputs: { spectra: generate.spectra }\n  \
              reading:\n    inputs: { fitted: fit.catalogue, truth: generate.truth }\n";
        std::fs::write(&file, text).unwrap();
        let registry = crate::builtin().with::<Reading>();
        let pipeline = load::load(&file, &[], &registry).unwrap_or_else(|c| panic!("{c}"));
        let cache = Cache::open(&pipeline.cache).unwrap();
        let options = RunOptions {
            targets: Vec::new(),
            jobs: 1,
            threads: 1,
            keep_going: false,
            name: None,
            follow: false,
        };
        let report = run(&pipeline, &cache, &options, &|_: &Event<'_>| {}, &Interrupt::new());
        for stage in report.unwrap().stages {
            assert_eq!(stage.outcome, Outcome::Executed, "{stage:?}");
        }
    }
}
