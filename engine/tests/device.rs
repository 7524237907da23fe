//! Where stages compute: who decides, what is refused, and that results have one name wherever they come from.

use std::{fs, path::Path};

use pipe_engine::{
    ArtifactType, Device, DeviceChoice, DeviceError, DeviceWish, Event, Exactness, Format,
    InputPort, Interrupt, Outcome, OutputPort, Registry, RunError, RunOptions, RunReport,
    StageContext, StageError, StageKind, cache::Cache, load, run,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Anything.
    seed: u64,
}

/// Writes down where it computes.
struct Compute;

impl StageKind for Compute {
    type Config = Config;

    const KIND: &'static str = "compute";
    const ABOUT: &'static str = "Writes down where it computes.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Reproducible;
    const INPUTS: &'static [InputPort] = &[];
    const OUTPUTS: &'static [OutputPort] =
        &[OutputPort::new("o", ArtifactType::new("o", Format::Any), "where")];

    fn run(_: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let device = context.device()?;
        Ok(context.output("o")?.write("device", device.to_string().as_bytes())?)
    }
}

fn attempt(
    folder: &Path,
    yaml: &str,
    registry: &Registry,
    device: Option<DeviceChoice>,
) -> Result<RunReport, RunError> {
    let file = folder.join("pipeline.yaml");
    fs::write(&file, yaml).unwrap();
    let mut pipeline = load::load(&file, &[], registry).unwrap();
    if let Some(choice) = device {
        pipeline.device = DeviceWish { choice, place: None };
    }
    let cache = Cache::open(&folder.join("cache")).unwrap();
    let options = RunOptions {
        targets: Vec::new(),
        jobs: 1,
        threads: 1,
        keep_going: false,
        name: None,
        follow: false,
    };
    let report = run(&pipeline, &cache, &options, &|_: &Event<'_>| {}, &Interrupt::new())?;
    pipe_engine::report::out::OutFolder::of(&pipeline).refresh(&cache, &pipeline, &report).unwrap();
    Ok(report)
}

const YAML: &str = "stages: { a: { kind: compute } }\n";
const ON_CUDA: &str = "device: cuda\nstages: { a: { kind: compute } }\n";

#[test]
fn the_command_line_is_before_the_pipeline_and_the_pipeline_before_what_there_is() {
    let with = Registry::new().with::<Compute>().with_cuda(|| Ok(()));
    let without = Registry::new().with::<Compute>().with_cuda(|| Err("no driver".into()));
    let computed = |yaml: &str, registry: &Registry, device| {
        let folder = tempfile::tempdir().unwrap();
        attempt(folder.path(), yaml, registry, device).unwrap();
        fs::read_to_string(folder.path().join("out/a/o/device")).unwrap()
    };
    assert_eq!(computed(YAML, &with, None), "cuda");
    assert_eq!(computed(YAML, &without, None), "cpu");
    assert_eq!(computed(ON_CUDA, &with, None), "cuda");
    assert_eq!(computed(ON_CUDA, &with, Some(DeviceChoice::On(Device::Cpu))), "cpu");
    assert_eq!(computed(ON_CUDA, &without, Some(DeviceChoice::Auto)), "cpu");
}

#[test]
fn what_is_not_there_is_refused_before_anything_runs_and_only_if_something_must_run() {
    let folder = tempfile::tempdir().unwrap();
    let with = Registry::new().with::<Compute>().with_cuda(|| Ok(()));
    let without = Registry::new().with::<Compute>().with_cuda(|| Err("no driver".into()));
    let unusable = DeviceError::Unusable { reason: "no driver".into() };
    for (registry, expected) in
        [(&without, unusable), (&Registry::new().with::<Compute>(), DeviceError::NotBuilt)]
    {
        let refused = attempt(folder.path(), ON_CUDA, registry, None);
        assert!(matches!(refused, Err(RunError::Device { source }) if source == expected));
        assert!(!folder.path().join("out").exists());
    }
    // What a GPU made is known where there is none, by the same name.
    attempt(folder.path(), ON_CUDA, &with, None).unwrap();
    let again = attempt(folder.path(), ON_CUDA, &without, None).unwrap();
    assert_eq!(again.count(Outcome::Reused), 1);
    let again = attempt(folder.path(), YAML, &without, None).unwrap();
    assert_eq!(again.count(Outcome::Reused), 1);
    assert_eq!(fs::read_to_string(folder.path().join("out/a/o/device")).unwrap(), "cuda");
}
