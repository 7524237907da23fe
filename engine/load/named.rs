//! The stages of a pipeline by their names, as people write them on a command line.

use thiserror::Error;

use super::reference::{Malformed, Reference};
use crate::graph::Pipeline;

/// A name that stands for no stage.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotFound {
    /// No stage is called so.
    #[error("there is no stage `{name}`")]
    Stage {
        /// The name.
        name: String,
        /// The names that there are, as declared.
        known: Vec<String>,
    },
    /// The stage has no such combination.
    #[error("no combination of `{stage}` is `{wanted}`")]
    Combination {
        /// The name of the stage.
        stage: String,
        /// What was asked for.
        wanted: String,
        /// The names of the combinations that there are; none if the stage has no matrix.
        known: Vec<String>,
    },
    /// Several combinations are meant, and one is needed.
    #[error("`{wanted}` names {} combinations, and one is needed", .known.len())]
    Several {
        /// What was asked for.
        wanted: String,
        /// Their names.
        known: Vec<String>,
    },
    /// It isn't written as a name.
    #[error("`{name}` names no stage: {fault}")]
    Malformed {
        /// The name.
        name: String,
        /// What is wrong with it.
        fault: String,
    },
}

impl Pipeline {
    /// The numbers of the stages that `wanted` names: `train` is all combinations of `train`, `train[filters=8]` those that
    /// have this value.
    ///
    /// # Errors
    /// When there are none.
    pub fn stages_named(&self, wanted: &str) -> Result<Vec<usize>, NotFound> {
        if let Some(found) = self.stages.iter().position(|node| node.name == wanted) {
            return Ok(vec![found]);
        }
        match self.outputs_named(wanted)? {
            (stages, None) => Ok(stages),
            (_, Some(_)) => Err(self.no_stage(wanted)),
        }
    }

    /// The number of the one stage that `wanted` names.
    ///
    /// # Errors
    /// When there is none, or there are several.
    pub fn stage_named(&self, wanted: &str) -> Result<usize, NotFound> {
        match self.stages_named(wanted)?.as_slice() {
            [only] => Ok(*only),
            several => Err(NotFound::Several {
                wanted: wanted.to_owned(),
                known: several.iter().map(|&stage| self.stages[stage].name.clone()).collect(),
            }),
        }
    }

    /// The stages, and the output if there is one, that `wanted` names, which is `STAGE` or `STAGE.OUTPUT` with a combination
    /// in brackets after one of the two.
    ///
    /// # Errors
    /// When there is no such stage. The output is not looked up.
    pub fn outputs_named<'w>(
        &self,
        wanted: &'w str,
    ) -> Result<(Vec<usize>, Option<&'w str>), NotFound> {
        let reference = Reference::parse(wanted).map_err(|Malformed { fault, .. }| {
            NotFound::Malformed { name: wanted.to_owned(), fault }
        })?;
        let all = || {
            let nodes = self.stages.iter().enumerate();
            nodes.filter(|(_, node)| node.declared == reference.stage)
        };
        if all().next().is_none() {
            return Err(self.no_stage(reference.stage));
        }
        let chosen: Vec<usize> = all()
            .filter(|(_, node)| match (&reference.selector, &node.combination) {
                (Some(selector), Some(combination)) => selector.matches(combination),
                (Some(_), None) => false,
                (None, _) => true,
            })
            .map(|(number, _)| number)
            .collect();
        if chosen.is_empty() {
            let known = all().filter(|(_, node)| node.combination.is_some());
            return Err(NotFound::Combination {
                stage: reference.stage.to_owned(),
                wanted: wanted[reference.selector_at].to_owned(),
                known: known.map(|(_, node)| node.name.clone()).collect(),
            });
        }
        Ok((chosen, reference.output))
    }

    fn no_stage(&self, name: &str) -> NotFound {
        let mut known: Vec<String> = self.stages.iter().map(|node| node.declared.clone()).collect();
        known.dedup();
        NotFound::Stage { name: name.to_owned(), known }
    }
}
