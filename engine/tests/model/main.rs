//! Random pipelines, edits, kills, collections and damage, against a model that is too simple to be wrong.
//!
//! The model evaluates a pipeline as plain functions on bytes. After every step, what the engine has must equal what
//! the model says; and whatever was computed and published before must not be computed again, unless its place in the
//! cache was damaged, or it was collected since. What is computed, every stage writes down in a file outside the cache.

mod kinds;
mod pipelines;
mod world;

use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence, RngSeed},
};

use crate::{pipelines::Edit, world::World};

/// Something that happens to a workspace and its cache.
#[derive(Debug, Clone)]
enum Step {
    /// The pipeline or a file of the user's is edited.
    Edit(Edit),
    /// The pipeline is run to its end.
    Run { jobs: usize },
    /// It is run by two processes at once.
    RunTwice,
    /// It is run by a process that is killed after so many microseconds.
    Kill { after: u64 },
    /// All is collected but what the newest run needs.
    Collect,
    /// The pipeline is run by a process, and all is collected after so many microseconds.
    RunAndCollect { after: u64 },
    /// A file of the cache is damaged: the `which`th, in the way `how`.
    Damage { which: usize, how: world::Damage },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => pipelines::edits().prop_map(Step::Edit),
        8 => (1_usize..4).prop_map(|jobs| Step::Run { jobs }),
        1 => Just(Step::RunTwice),
        1 => Just(Step::Collect),
        1 => (0_u64..20_000).prop_map(|after| Step::RunAndCollect { after }),
        2 => (0_u64..20_000).prop_map(|after| Step::Kill { after }),
        3 => (any::<usize>(), world::damage()).prop_map(|(which, how)| Step::Damage { which, how }),
    ];
    prop::collection::vec(step, 1..60)
}

/// Of what the cases are drawn: always the same, unless the tester names another.
fn seed() -> u64 {
    std::env::var("PIPE_MODEL_SEED").map_or(1, |seed| seed.parse().expect("a seed is a number"))
}

proptest! {
    #![proptest_config(Config {
        cases: 200,
        rng_seed: RngSeed::Fixed(seed()),
        max_shrink_iters: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    })]

    #[test]
    fn whatever_happens_results_are_right_and_nothing_known_is_computed(
        pipeline in pipelines::pipelines(),
        steps in steps(),
    ) {
        let mut world = World::new(pipeline);
        for step in &steps {
            match step {
                Step::Edit(edit) => world.edit(edit),
                Step::Run { jobs } => world.run(*jobs),
                Step::RunTwice => world.run_twice(),
                Step::Kill { after } => world.run_and_kill(*after),
                Step::Collect => world.collect(),
                Step::RunAndCollect { after } => world.run_and_collect(*after),
                Step::Damage { which, how } => world.damage(*which, *how),
            }
        }
        world.run(2);
    }
}

/// Not a test: what the processes do that [`World`] starts.
#[test]
#[ignore = "it is run by the other test, in processes of their own"]
fn process() {
    world::run_here();
}
