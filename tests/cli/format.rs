//! `docs/cache-format.md` is enough to read a cache by: `reader.py` knows nothing else.

use std::{
    fs,
    process::{Command, Output},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::support::{Folder, not_tried};

/// Results of every shape: whole, of rows, of steps and of entries, with logs, folders, and all sorts of values.
const ALL: &str = "\
stages:
  generate: { config: { count: 2100, seed: 3, channels: 16, axis_stop: 1400, mean: [1220, 1380] } }
  split: { inputs: { spectra: generate.spectra } }
  scale: { inputs: { spectra: generate.spectra } }
  train:
    inputs: { scaled: scale.spectra, spectra: generate.spectra, truth: generate.truth, rows: split.rows, scaler: scale.scaler }
    config: { network: slots, epochs: 2, schedule: constant, filters: 2, dense: [4], patience: 0 }
  said:
    kind: command
    config: { x: 0.5, big: 1e300, whole: 3.0, zero: -0.0, \"é\": [null, true, -3, {}], deep: { b: \"\", a: 18446744073709551615 } }
    run: \"sh -c 'echo hello; echo made > $1' - {outputs.o}\"
    outputs: [o]
  each:
    kind: command
    for_each: files
    inputs: { files: { file: data } }
    run: cp {inputs.files} {outputs.copy}
    outputs: { copy: \"{item}.copy\" }
";

/// Runs the reader, or says why that can't be tried.
fn read(folder: &Folder) -> Option<Output> {
    let python = std::env::var_os("PIPE_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    folder.write("reader.py", include_str!("reader.py"));
    let mut command = Command::new(python);
    command.args([folder.path("reader.py"), folder.path("cache")]);
    // A workspace is known by the path of its pipeline without links.
    command.arg(folder.path("pipeline.yaml").canonicalize().unwrap());
    command.arg(folder.memory().join("pipe"));
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            not_tried(&format!("there is no Python: {error}"));
            None
        }
    }
}

/// What the reader tells of the record of a stage, and of the part that holds `part`, or of the whole.
fn record<'a>(told: &'a Value, stage: &str, part: &str) -> &'a Value {
    let is = |record: &&Value| {
        record["stage"] == stage
            && if part.is_empty() {
                record["part"].is_null()
            } else {
                record["part"].to_string().contains(part)
            }
    };
    let found: Vec<&Value> = told["records"].as_array().unwrap().iter().filter(is).collect();
    assert_eq!(found.len(), 1, "{stage} {part}");
    found[0]
}

#[test]
fn a_reader_that_knows_the_document_alone_reads_everything() {
    let folder = Folder::new(ALL);
    folder.write("data/a", "one\n");
    folder.write("data/deeper/b", "two\n");
    thread::sleep(Duration::from_millis(2100));
    let report = folder.pipe(&["run", "--json", "--name", "base"]).json();
    folder.run(&[]);
    assert_eq!(folder.pipe(&["cache", "pin", "base"]).code, Some(0));
    let Some(output) = read(&folder) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();

    let stages = report["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 6);
    for stage in stages {
        let name = stage["name"].as_str().unwrap();
        let read = record(&told, name, "");
        assert_eq!(read["fingerprint"], stage["fingerprint"], "{name}");
        for (output, digest) in stage["outputs"].as_object().unwrap() {
            assert_eq!(read["outputs"][output]["digest"], *digest, "{name}.{output}");
        }
    }
    let said = record(&told, "said", "");
    assert_eq!(
        (&said["log"], &said["outputs"]["o"]["texts"]["."]),
        (&"hello\n".into(), &"made\n".into())
    );
    let copies = serde_json::json!({ "a.copy": "one\n", "deeper/b.copy": "two\n" });
    assert_eq!(record(&told, "each", "")["outputs"]["copy"]["texts"], copies);
    assert_eq!(record(&told, "each", "deeper/b")["outputs"]["copy"]["texts"]["."], "two\n");
    for part in ["\"first\":0,", "\"first\":2048,"] {
        record(&told, "generate", part);
    }
    record(&told, "train", "\"step\":2");

    let runs = told["runs"].as_array().unwrap();
    let of = |key: &str| runs.iter().map(|run| run[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("name"), ["base", ""]);
    assert_eq!(of("pinned"), [true, false]);
    for (run, stage) in runs[0]["stages"].as_array().unwrap().iter().zip(stages) {
        assert_eq!(run["fingerprint"], stage["fingerprint"]);
    }
    assert!(told["verified"].as_array().unwrap().iter().all(|marked| *marked == true));
    let memo = &told["memos"][0];
    assert_eq!(memo["files"].as_array().unwrap().len(), 2);
    for stage in stages {
        let known = &memo["results"][stage["fingerprint"].as_str().unwrap()];
        assert_eq!(*known, stage["outputs"], "{}", stage["name"]);
    }
}

#[test]
fn a_reader_that_knows_the_document_finds_damage() {
    for (kind, said) in [("blobs", "corrupt"), ("trees", "corrupt"), ("records", "checksum")] {
        let folder = Folder::new(
            "stages: { a: { kind: command, config: { n: 4711 }, run: \"touch {outputs.o}\", outputs: [o] } }",
        );
        folder.run(&[]);
        for file in folder.cached(kind) {
            Folder::damage(&file, |path| {
                let text = fs::read_to_string(path).unwrap();
                let other = text.replace("4711", "4712").replace("\"size\":0", "\"size\":1");
                fs::write(path, if other == text { "x".to_owned() } else { other }).unwrap();
            });
        }
        let Some(output) = read(&folder) else { return };
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(said), "{kind}: {error}");
    }
}
