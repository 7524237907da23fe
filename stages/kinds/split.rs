//! The stage `split`: which rows train, validate and test.

use pipe_engine::{Exactness, Fault, InputPort, OutputPort, StageContext, StageError, StageKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{ROWS, Rows, SPECTRA, SpectraReader},
    spectra::{Membership, SPLIT_BLOCK, Split as Assignment, SplitError},
};

/// The assignment of rows to training, validation and test.
pub struct Split;

/// How many rows are for what. What is neither for validation nor for test is for training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The fraction of rows that decide when training stops, a multiple of 0.001.
    #[schemars(range(min = 0, max = 1))]
    pub validation: f64,
    /// The fraction of rows that nothing before the evaluation sees, a multiple of 0.001.
    #[schemars(range(min = 0, max = 1))]
    pub test: f64,
    /// The seed of the permutation.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { validation: 0.09, test: 0.01, seed: 1 }
    }
}

impl Config {
    fn assignment(&self) -> Result<Assignment, SplitError> {
        let training = 1.0 - self.validation - self.test;
        // 1 − 0.9 − 0.1 is a rounding below 0.
        let training = if training.abs() < 1e-9 { 0.0 } else { training };
        Assignment::new(self.seed, training, self.validation, self.test)
    }
}

impl StageKind for Split {
    type Config = Config;

    const KIND: &'static str = "split";
    const ABOUT: &'static str =
        "Decides which rows train, validate and test; a row keeps its place when rows are added.";
    const REVISION: u32 = 2;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] =
        &[InputPort::required("spectra", SPECTRA, "the spectra to split")];
    const OUTPUTS: &'static [OutputPort] =
        &[OutputPort::new("rows", ROWS, "the rows of the three parts, each sorted")];

    fn check(config: &Config) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (key, fraction) in [("validation", config.validation), ("test", config.test)] {
            let rows = fraction * SPLIT_BLOCK as f64;
            if (rows - rows.round()).abs() > 1e-6 {
                faults.push(Fault::at(key, format!("{fraction} is not a multiple of 0.001")));
            }
        }
        if faults.is_empty()
            && let Err(error) = config.assignment()
        {
            let fault = match error {
                SplitError::Fraction { name: "test", .. } => Fault::at("test", error.to_string()),
                SplitError::Fraction { name: "training", .. } => {
                    let sum = config.validation + config.test;
                    Fault::at(
                        "validation",
                        format!("validation and test take {sum} of all rows, which is more than 1"),
                    )
                }
                _ => Fault::at("validation", error.to_string()),
            };
            faults.push(fault);
        }
        faults
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let count = SpectraReader::open(context.input("spectra")?)?.rows();
        let mut rows = Rows::default();
        for (row, membership) in (0..count).zip(config.assignment()?.memberships(0..count)) {
            match membership {
                Membership::Training => rows.training.push(row),
                Membership::Validation => rows.validation.push(row),
                Membership::Test => rows.test.push(row),
            }
        }
        Ok(rows.write(context.output("rows")?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(validation: f64, test: f64) -> Vec<Fault> {
        Split::check(&Config { validation, test, seed: 1 })
    }

    #[test]
    fn fractions_are_checked() {
        assert_eq!(faults(0.09, 0.01), []);
        assert_eq!(faults(0.9, 0.1), []);
        assert_eq!(faults(0.0, 0.0), []);
        assert_eq!(faults(0.0005, 0.1)[0].path, ["validation"]);
        assert_eq!(faults(0.1, -0.1)[0].path, ["test"]);
        assert!(faults(0.7, 0.4)[0].message.contains("more than 1"));
    }
}
