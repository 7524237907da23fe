//! The comparison of every way to decompose a spectrum, small.

use serde_json::Value;

use crate::support::{Folder, SMALL};

const LIMITS: &str = include_str!("../../examples/limits/pipeline.yaml");
const CUBE: &str = include_str!("../../examples/limits/cube.yaml");
const SURVEY: &str = include_str!("../../examples/limits/survey.yaml");

const SMALL_LIMITS: [&str; 8] = [
    "--set",
    "fresh.count=400",
    "--set",
    "forest.max_rows=400",
    "--set",
    "forest.depths=[4, 9]",
    "--set",
    "forest.trees=[2, 5]",
];

fn document(folder: &Folder, path: &str) -> Value {
    serde_json::from_str(&folder.read(path)).unwrap()
}

fn figure(comparison: &Value, column: &str, name: &str) -> f64 {
    comparison["columns"][column][name].as_f64().unwrap_or_else(|| panic!("{column} {name}"))
}

#[test]
fn every_way_stands_beside_the_best_possible() {
    let folder = Folder::new(LIMITS);
    folder.run(&[&SMALL[..], &SMALL_LIMITS].concat());

    let table = folder.read("out/table/markdown/comparison.md");
    let head = table.lines().next().unwrap();
    let names: Vec<&str> = head.split('|').map(str::trim).filter(|name| !name.is_empty()).collect();
    assert_eq!(names[..2], ["figure", "first solver"]);
    for name in ["forest", "network", "fit", "refine", "oracle", "majority count", "constant guess"]
    {
        assert!(names.contains(&name), "{head}");
    }
    assert!(table.contains("| count accuracy | 0.5270 | "), "{table}");

    let comparison = document(&folder, "out/table/comparison/comparison.json");
    assert_eq!(comparison["spectra"], 400);
    let of = |column, name| figure(&comparison, column, name);
    // Who knows the truth is right about the number, and no worse than who doesn't.
    assert_eq!(of("oracle", "count_accuracy").to_bits(), 1.0_f64.to_bits());
    for name in ["slot_r2_amplitude", "slot_r2_mean", "slot_r2_sigma"] {
        assert!(of("oracle", name) > of("fit", name), "{name}");
        assert!(of("fit", name) > of("forest", name), "{name}");
        assert!(of("forest", name) > of("majority count", name), "{name}");
    }
    // Nearly every spectrum gets from a poor proposal to the same answer as from nothing.
    assert!(of("refine", "f1") > of("fit", "f1") - 0.02);
    assert!(of("refine", "f1") > of("network", "f1"));
    // Its errors, and those of least squares, are as large as they must be: 1,200 of them, which correlate.
    for column in ["oracle", "fit"] {
        assert!((of(column, "within_1_bound") - 0.683).abs() < 0.06, "{column}");
        assert!((of(column, "within_2_bound") - 0.954).abs() < 0.03, "{column}");
    }
    // A forest states no uncertainties, a fit does.
    assert!(comparison["columns"]["forest"]["within_1_stated"].is_null());
    assert!(of("fit", "within_1_stated") > 0.6);

    let grid = document(&folder, "out/forest/grid/grid.json");
    let scores = grid["scores"].as_array().unwrap();
    assert_eq!((scores.len(), &grid["training_rows"]), (4, &400.into()));
    let best = grid["best"]["score"].as_f64().unwrap();
    assert!(scores.iter().all(|score| score["score"].as_f64().unwrap() <= best));

    // How far a forest was thinned changes it and what follows from it, and nothing else.
    let thinner = ["--set", "forest.max_rows=300"];
    let executed = folder.executed(&[&SMALL[..], &SMALL_LIMITS, &thinner].concat());
    assert_eq!(executed, ["evaluate-forest", "forest", "table"]);
}

#[test]
fn a_cube_with_a_truth_is_compared_too() {
    let folder = Folder::empty();
    folder.write("limits/cube.yaml", CUBE);
    folder.write("cube/tiny.fits", include_bytes!("../../examples/cube/tiny.fits"));
    folder.write("cube/tiny_truth.csv", include_str!("../../examples/cube/tiny_truth.csv"));
    folder.run(&[&["-f", "limits/cube.yaml"], &SMALL[..]].concat());
    let comparison = document(&folder, "limits/out/table/comparison/comparison.json");
    assert!(figure(&comparison, "fit", "f1") > 0.8);
    assert!(figure(&comparison, "oracle", "f1") > 0.9);
}

#[test]
fn what_a_network_proposes_is_refined_to_what_a_search_finds_on_many_channels() {
    let folder = Folder::new(SURVEY);
    let few = ["--set", "fresh.count=300", "--set", "crowded.count=300"];
    folder.run(&[&SMALL[..], &few].concat());
    for table in ["table", "crowded-table"] {
        let comparison = document(&folder, &format!("out/{table}/comparison/comparison.json"));
        let [refine, fit] = ["refine", "fit"].map(|column| figure(&comparison, column, "f1"));
        assert!(refine > fit - 0.01, "{table}: {refine} and {fit}");
    }
}

const TWO: &str = "
stages:
  one: { kind: generate, config: { count: 40 } }
  two: { kind: generate, config: { count: 50 } }
  fit-one: { kind: fit, inputs: { spectra: one.spectra } }
  fit-two: { kind: fit, inputs: { spectra: two.spectra } }
  evaluate-one:
    kind: evaluate
    inputs: { catalogue: fit-one.catalogue, truth: one.truth, spectra: one.spectra }
  evaluate-two:
    kind: evaluate
    inputs: { catalogue: fit-two.catalogue, truth: two.truth, spectra: two.spectra }
    config: { oracle: false }
  table:
    kind: compare
    inputs: { one: evaluate-one.metrics, two: evaluate-two.metrics }
";

#[test]
fn evaluations_of_other_spectra_are_not_compared() {
    let folder = Folder::new(TWO);
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("`one` and `two` are not about the same spectra: 40 with"),
        "{}",
        ended.stderr
    );
    let metrics = document(&folder, "out/evaluate-two/metrics/metrics.json");
    assert!(metrics["oracle"].is_null());
    assert!(metrics["metrics"]["cramer_rao"]["matched"]["all"]["within_2"].is_number());
}

#[test]
fn what_is_wrong_with_a_comparison_is_said_before_it_runs() {
    let folder = Folder::new(&TWO.replace(
        "    inputs: { one: evaluate-one.metrics, two: evaluate-two.metrics }\n",
        "    inputs: { one: evaluate-one.tables }\n    config: { figures: [f2] }\n",
    ));
    let ended = folder.pipe(&["plan"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("`one` must be of type `metrics`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("there is no figure `f2`"), "{}", ended.stderr);
}
