//! Pipelines: any text, and any `--set` behind NULs in it, becomes a sound graph or complaints whose places are in the
//! text.

#![no_main]

mod kinds;

use std::{path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use pipe_engine::{
    Registry,
    graph::{Input, Pipeline, Task},
    load::{Complaints, load_text},
};

/// A folder with a few files that a pipeline may name; only looked at.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join("pipe-fuzz-pipeline");
    std::fs::create_dir_all(folder.join("data")).expect("the folder can be made");
    for file in ["data/raw.csv", "clean.py", "a"] {
        std::fs::write(folder.join(file), "1\n").expect("its files can be written");
    }
    folder
});
static REGISTRY: LazyLock<Registry> = LazyLock::new(kinds::registry);

fuzz_target!(|text: &str| {
    let mut parts = text.split('\0').map(str::to_owned);
    let yaml = parts.next().unwrap_or_default();
    let overrides: Vec<String> = parts.collect();
    let file = FOLDER.join("pipeline.yaml");
    let loaded = load_text(&file, yaml.clone(), &overrides, &REGISTRY);
    match &loaded {
        Ok(pipeline) => check_pipeline(pipeline),
        Err(complaints) => check_complaints(complaints),
    }
    let again = load_text(&file, yaml, &overrides, &REGISTRY);
    assert_eq!(format!("{loaded:?}"), format!("{again:?}"), "it is read the same twice");
});

fn check_complaints(complaints: &Complaints) {
    assert!(!complaints.complaints.is_empty());
    for complaint in &complaints.complaints {
        assert!(!complaint.message.is_empty());
        assert!(!complaint.labels.is_empty(), "{complaint:?} has no place");
        for label in &complaint.labels {
            let source = &complaints.sources[label.span.source as usize];
            let range = label.span.range();
            assert!(source.text.get(range.clone()).is_some(), "{complaint:?} is beside the text");
            let (line, column) = source.position(range.start);
            assert!(line > 0 && column > 0);
        }
    }
    let _ = complaints.to_string();
}

fn check_pipeline(pipeline: &Pipeline) {
    let count = pipeline.stages.len();
    assert!(count > 0);
    let mut place = vec![usize::MAX; count];
    for (at, &stage) in pipeline.order.iter().enumerate() {
        assert_eq!(place[stage], usize::MAX, "a stage is in the order twice");
        place[stage] = at;
    }
    assert_eq!(pipeline.order.len(), count);
    let mut names = std::collections::HashSet::new();
    for (number, stage) in pipeline.stages.iter().enumerate() {
        assert!(names.insert(stage.name.as_str()), "two stages are called `{}`", stage.name);
        assert!(!stage.name.contains(['/', '\0', '\n']) && stage.name != "..", "{:?}", stage.name);
        assert!(
            pipeline.sources[stage.place.source as usize].text.get(stage.place.range()).is_some()
        );
        assert!(!stage.outputs().is_empty());
        for input in stage.inputs.values() {
            assert!(input.stages().all(|before| place[before] < place[number]), "a loop");
            match input {
                Input::Output { stage, output } => {
                    let outputs = pipeline.stages[*stage].outputs();
                    assert!(outputs.iter().any(|(name, _)| name == output), "no output `{output}`");
                }
                Input::File { path, .. } => assert!(path.is_absolute()),
                Input::Gathered { members, .. } => assert!(!members.is_empty()),
            }
        }
        match &stage.task {
            Task::Kind { kind, config } => {
                let again = kind.canonical(config.clone());
                assert_eq!(again.as_ref(), Ok(config), "a canonical config is canonical");
                kind.shape(config).expect("a canonical config has a shape");
            }
            Task::Command(command) => {
                for file in &command.files {
                    let parts = std::path::Path::new(&file.written).components();
                    let inside = |part| matches!(part, std::path::Component::Normal(_));
                    assert!(parts.clone().all(inside), "{:?}", file.written);
                }
                for output in &command.outputs {
                    assert!(!output.is_empty() && !output.contains(['/', '\0']), "{output:?}");
                }
            }
            Task::Select(_) => {}
        }
    }
}
