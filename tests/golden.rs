//! Every kind of stage on a tiny input: the content digest of each output, pinned for what is exact, and the same for
//! any number of threads for all.
//!
//! A digest that differs here although no REVISION was raised is a stale cache for everybody: see CONTRIBUTING.md.

use std::{collections::BTreeMap, fs, path::Path};

use pipe_engine::{
    Event, Exactness, Interrupt, Outcome, RunOptions, cache::Cache, graph, load, run,
};

const PIPELINE: &str = include_str!("golden.yaml");

/// The content digests of the outputs of the exact kinds, their first twelve digits.
const PINNED: &[(&str, &str)] = &[
    ("compare.comparison", "f11685a30ce7"),
    ("compare.markdown", "cd0dedccaa47"),
    ("compare.tables", "60ff78d50c93"),
    ("cube-field-fit.catalogue", "a74cbead941b"),
    ("cube-field-fit.table", "fcd4ec14d32c"),
    ("evaluate-fit.components", "c7df7cffdc91"),
    ("evaluate-fit.metrics", "45d09df383e4"),
    ("evaluate-fit.tables", "4916059d02f2"),
    ("evaluate-forest.components", "84365598580e"),
    ("evaluate-forest.metrics", "d7604000731d"),
    ("evaluate-forest.tables", "85425c9cbb88"),
    ("evaluate-guess.components", "010c0cc64318"),
    ("evaluate-guess.metrics", "5dc03977df61"),
    ("evaluate-guess.tables", "0476f99215d8"),
    ("export.fits", "67d2f4a181bb"),
    ("field-fit.catalogue", "31edd538e8e6"),
    ("field-fit.table", "06664d67f940"),
    ("field-refine.catalogue", "0966b57a69cb"),
    ("field-refine.table", "ea5e94e4b535"),
    ("fit.catalogue", "b9d547059cb0"),
    ("fit.table", "f50262097be1"),
    ("forest.catalogue", "3034e5108881"),
    ("forest.grid", "9a160286a852"),
    ("forest.table", "184deee97bfd"),
    ("generate.spectra", "4a2e32d74883"),
    ("generate.truth", "8af3135b9dc2"),
    ("guess-refine.catalogue", "051ffa637813"),
    ("guess-refine.table", "a6ed7006f9b6"),
    ("import-truth.truth", "1795318f0704"),
    ("import.spectra", "3d5765511172"),
    ("like-export.fits", "d6b6af157b0d"),
    ("like-fit.catalogue", "72dff6b7f830"),
    ("like-fit.table", "7fef1f0c4241"),
    ("like-forest.catalogue", "ddcf56cfc363"),
    ("like-forest.grid", "cb2879cd7007"),
    ("like-forest.table", "b30d5200d0e0"),
    ("like-scale.scaler", "03da1afc1933"),
    ("like-scale.spectra", "761714157805"),
    ("like-split.rows", "167a6d78dda6"),
    ("like.spectra", "09139e598b7b"),
    ("like.truth", "c8bdf7eea9fb"),
    ("other.spectra", "cceb8ff1b5e4"),
    ("other.truth", "cda7800e40f0"),
    ("refine.catalogue", "29086c629301"),
    ("refine.table", "1a4786b1a13d"),
    ("scale-standard.scaler", "b1ad04b445c7"),
    ("scale-standard.spectra", "0b5d309d2bbf"),
    ("scale.scaler", "03da1afc1933"),
    ("scale.spectra", "1c2466de50f9"),
    ("select.best", "d1750d365094"),
    ("select.choice", "472ecf9cf3f3"),
    ("smooth.catalogue", "eb41caa55d3a"),
    ("smooth.table", "08b75d8d87bd"),
    ("split.rows", "ee08733d0cf7"),
    ("tolerant[amplitude_tolerance=0.1].components", "b2820681d829"),
    ("tolerant[amplitude_tolerance=0.1].metrics", "840eec12c47a"),
    ("tolerant[amplitude_tolerance=0.1].tables", "3d3733320210"),
    ("tolerant[amplitude_tolerance=0.4].components", "5582ac3cdcad"),
    ("tolerant[amplitude_tolerance=0.4].metrics", "5ef7e30b04cf"),
    ("tolerant[amplitude_tolerance=0.4].tables", "d1750d365094"),
];

/// Runs the pipeline with an empty cache on `threads` threads; gives the digest of each output, and which are exact.
fn digests(threads: usize, text: &str) -> BTreeMap<String, (Exactness, String)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.yaml");
    fs::write(&file, text).unwrap();
    let registry = pipe_stages::builtin();
    let pipeline =
        load::load(&file, &[], &registry).unwrap_or_else(|complaints| panic!("{complaints}"));
    let cache = Cache::open(&pipeline.cache).unwrap();
    let options = RunOptions {
        targets: Vec::new(),
        jobs: threads,
        threads,
        keep_going: true,
        name: None,
        follow: false,
    };
    let report = run(&pipeline, &cache, &options, &|_: &Event<'_>| {}, &Interrupt::new()).unwrap();
    let mut digests = BTreeMap::new();
    for stage in &report.stages {
        assert_eq!(stage.outcome, Outcome::Executed, "{stage:?}");
        let node = pipeline.stages.iter().find(|node| node.name == stage.name).unwrap();
        let exactness = match &node.task {
            graph::Task::Kind { kind, .. } => kind.exactness(),
            graph::Task::Select(_) => Exactness::Exact,
            graph::Task::Command(_) => Exactness::Reproducible,
        };
        // What an exact stage makes of a network's output depends on the processor, too.
        let exactness = if stage.name == "evaluate" { Exactness::Reproducible } else { exactness };
        for (output, digest) in &stage.outputs {
            digests.insert(format!("{}.{output}", stage.name), (exactness, digest.short()));
        }
    }
    digests
}

/// The pipeline with its files' paths filled in.
fn pipeline_text() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cube");
    PIPELINE.replace("EXAMPLE", folder.to_str().unwrap())
}

#[test]
fn exact_kinds_make_the_pinned_bytes_and_all_kinds_the_same_on_any_number_of_threads() {
    let text = pipeline_text();
    let one = digests(1, &text);
    for threads in [2, 7] {
        assert_eq!(digests(threads, &text), one, "with {threads} threads");
    }
    let exact: BTreeMap<&str, &str> = one
        .iter()
        .filter(|(_, (exactness, _))| *exactness == Exactness::Exact)
        .map(|(output, (_, digest))| (output.as_str(), digest.as_str()))
        .collect();
    let pinned: BTreeMap<&str, &str> = PINNED.iter().copied().collect();
    let line = |(output, digest): (&&str, &&str)| format!("    (\"{output}\", \"{digest}\"),");
    let table: Vec<String> = exact.iter().map(line).collect();
    assert!(exact == pinned, "the digests found are\n{}", table.join("\n"));
}

#[test]
fn every_kind_is_pinned() {
    let text = pipeline_text();
    for kind in pipe_stages::builtin().iter() {
        let name = kind.name();
        let used =
            text.contains(&format!("\n  {name}:\n")) || text.contains(&format!("kind: {name}\n"));
        assert!(used, "`{name}` is missing in golden.yaml");
    }
}

/// The same once more in a process whose C library is told that the processor can do little.
#[test]
fn exact_kinds_do_not_depend_on_the_processor() {
    let name = "exact_kinds_make_the_pinned_bytes_and_all_kinds_the_same_on_any_number_of_threads";
    let ran = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact"])
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-AVX512F,-FMA,-FMA4,-AVX,-SSE4_2")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}
