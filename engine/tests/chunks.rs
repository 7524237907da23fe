//! Chunks of a row-mapped stage run beside each other, and no more of them than there are jobs.

use std::{
    fs,
    sync::{Condvar, Mutex},
    time::Duration,
};

use pipe_engine::{
    ArtifactType, Event, Exactness, Format, InputPort, Interrupt, OutputPort, Registry, RowMap,
    RowsFrom, RunOptions, Shape, StageContext, StageError, StageKind, cache::Cache, load, run,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Extent {
    /// How many rows.
    count: u64,
}

/// How many chunks are under way, and how many were at most.
static UNDER_WAY: Mutex<(usize, usize)> = Mutex::new((0, 0));
static CHANGED: Condvar = Condvar::new();

/// Waits in every chunk, for a while, until another one is under way too.
struct Meeting;

impl StageKind for Meeting {
    type Config = Extent;

    const KIND: &'static str = "meeting";
    const ABOUT: &'static str = "Waits for another chunk.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[];
    const OUTPUTS: &'static [OutputPort] =
        &[OutputPort::new("o", ArtifactType::new("o", Format::Table), "nothing")];

    fn shape(_: &Extent) -> Shape {
        Shape::Rows(RowMap {
            rows: RowsFrom::Key("count"),
            broadcast: &[],
            chunk_rows: 1,
            unit: "rows",
        })
    }

    fn run(_: &Extent, context: &StageContext<'_>) -> Result<(), StageError> {
        let mut state = UNDER_WAY.lock().unwrap();
        state.0 += 1;
        state.1 = state.0.max(state.1);
        CHANGED.notify_all();
        let alone = |state: &mut (usize, usize)| state.1 < 2;
        let waited = CHANGED.wait_timeout_while(state, Duration::from_millis(500), alone);
        waited.unwrap().0.0 -= 1;
        Ok(context.output("o")?.write("o.csv", b"row\n")?)
    }
}

/// The most chunks that were under way at once.
fn most_at_once(jobs: usize) -> usize {
    *UNDER_WAY.lock().unwrap() = (0, 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.yaml");
    fs::write(&file, "stages: { a: { kind: meeting, config: { count: 6 } } }\n").unwrap();
    let pipeline = load::load(&file, &[], &Registry::new().with::<Meeting>()).unwrap();
    let cache = Cache::open(&folder.path().join("cache")).unwrap();
    let options = RunOptions {
        targets: Vec::new(),
        jobs,
        threads: jobs,
        keep_going: false,
        name: None,
        follow: false,
    };
    let report = run(&pipeline, &cache, &options, &|_: &Event<'_>| {}, &Interrupt::new()).unwrap();
    assert!(report.ok, "{report:#?}");
    UNDER_WAY.lock().unwrap().1
}

#[test]
fn chunks_run_beside_each_other_and_no_more_than_jobs_of_them() {
    assert_eq!(most_at_once(1), 1);
    assert_eq!(most_at_once(2), 2);
    let most = most_at_once(4);
    assert!((2..=4).contains(&most), "{most}");
}
