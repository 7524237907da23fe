//! Sizes that files and configs claim: what is taken is what is there, or what is said to be the most.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{Ended, Folder};

/// Runs the program with so many KiB of address space.
fn within(folder: &Folder, kib: u64, arguments: &[&str]) -> Ended {
    let limit = format!("ulimit -v {kib}; exec timeout -k 1 60 \"$0\" \"$@\"");
    let mut shell = folder.program("sh", &["-c", &limit]);
    shell.arg(env!("CARGO_BIN_EXE_pipe")).args(arguments);
    folder.ended(shell.output().unwrap())
}

fn size_of(path: &Path) -> u64 {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().map(|entry| size_of(&entry.unwrap().path())).sum();
    }
    fs::metadata(path).unwrap().len()
}

#[test]
fn wide_spectra_take_no_more_than_they_hold() {
    let folder = Folder::new(
        "stages:
  g: { kind: generate, config: { count: 1, channels: 1000000, axis_stop: 1400, mean: [1220, 1380], seed: 1 } }
  scaled: { kind: scale, inputs: { spectra: g.spectra } }
",
    );
    let ended = within(&folder, 1_000_000, &["run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // An axis of reals, and twice the one spectrum.
    assert!(size_of(&folder.path("cache")) < 20_000_000);
    let more = within(&folder, 2_000_000, &["run", "g", "--set", "g.count=20", "-v"]);
    assert_eq!(more.code, Some(0), "{}", more.stderr);
    assert!(size_of(&folder.path("cache")) < 140_000_000);
    let again = within(&folder, 2_000_000, &["run", "g", "--set", "g.count=24"]);
    assert!(again.stdout.contains("2 of 3 chunks known"), "{}", again.stdout);
}

/// Replaces something in the description of an array.
fn describe(folder: &Folder, array: &str, key: &str, value: &Value) {
    let file = format!("bad/{array}/zarr.json");
    let mut metadata: Value = serde_json::from_str(&folder.read(&file)).unwrap();
    metadata[key] = value.clone();
    folder.write(&file, metadata.to_string());
}

/// Writes what `change` makes of each file of an array's chunks.
fn change_chunks(folder: &Folder, array: &str, change: impl Fn(&mut [u8])) {
    let mut files = vec![folder.path("bad").join(array).join("c")];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }
}

fn set_all(folder: &Folder, array: &str, every: usize, from: usize, value: f64) {
    change_chunks(folder, array, |bytes| {
        for number in bytes.chunks_exact_mut(8).skip(from).step_by(every) {
            number.copy_from_slice(&value.to_le_bytes());
        }
    });
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

const GOOD: &str = "
stages:
  generate: { config: { count: 64, channels: 32, axis_stop: 1400, mean: [1220, 1380], seed: 1 } }
  split: { inputs: { spectra: generate.spectra } }
  fit: { inputs: { spectra: generate.spectra } }
";
const BAD: &str = "
stages:
  refine: { inputs: { spectra: { file: bad/spectra }, catalogue: { file: bad/catalogue } } }
  fit: { inputs: { spectra: { file: bad/spectra } } }
  evaluate: { inputs: { spectra: { file: bad/spectra }, catalogue: { file: bad/catalogue }, truth: { file: bad/truth }, rows: { file: bad/rows } } }
  export: { inputs: { spectra: { file: bad/spectra }, catalogue: { file: bad/catalogue } } }
  plot: { inputs: { spectra: { file: bad/spectra }, truth: { file: bad/truth }, catalogue: { file: bad/catalogue } }, config: { formats: [svg] } }
  scale: { inputs: { spectra: { file: bad/spectra } } }
";

#[test]
fn no_array_ends_the_program_or_fills_the_memory() {
    let folder = Folder::new(GOOD);
    folder.run(&[]);
    for output in ["generate.spectra", "generate.truth", "split.rows", "fit.catalogue"] {
        let name = output.split('.').nth(1).unwrap();
        assert_eq!(folder.pipe(&["out", output, &format!("good/{name}")]).code, Some(0));
    }
    folder.write("bad.yaml", BAD);
    let try_it = |what: &str, spoil: &dyn Fn()| {
        let _ = fs::remove_dir_all(folder.path("bad"));
        copy(&folder.path("good"), &folder.path("bad"));
        spoil();
        let ended = within(&folder, 2_000_000, &["run", "-k", "-f", "bad.yaml", "--json"]);
        assert!(matches!(ended.code, Some(0 | 1)), "{what}: {:?} {}", ended.code, ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{what}: {}", ended.stderr);
        ended
    };
    assert_eq!(try_it("nothing", &|| ()).code, Some(0));
    for rows in [1_u64 << 62, 1 << 40, 100_000_000] {
        let ended = try_it("rows", &|| {
            describe(&folder, "spectra/spectra", "shape", &json!([rows, 32]));
            describe(&folder, "spectra/noise_rms", "shape", &json!([rows]));
        });
        assert_eq!(ended.code, Some(1), "{rows}");
    }
    let wide = json!([64, 1_u64 << 40]);
    try_it("channels", &|| describe(&folder, "spectra/spectra", "shape", &wide));
    let chunked =
        json!({ "name": "regular", "configuration": { "chunk_shape": [1_u64 << 60, 32] } });
    try_it("a chunk", &|| describe(&folder, "spectra/spectra", "chunk_grid", &chunked));
    try_it("slots", &|| {
        describe(&folder, "catalogue/parameters", "shape", &json!([64, 1_000_000, 3]));
    });
    let ended = try_it("a description", &|| {
        let text = format!("{{\"a\":\"{}\"}}", "x".repeat(20 << 20));
        folder.write("bad/spectra/zarr.json", text);
    });
    assert!(ended.stderr.contains("larger than 16 MiB"), "{}", ended.stderr);
    let axis = try_it("the axis", &|| set_all(&folder, "spectra/axis", 1, 0, f64::NAN));
    assert!(axis.stderr.contains("`axis`"), "{}", axis.stderr);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e38, 1e300, 1e-300] {
        for artifact in ["catalogue", "truth"] {
            for column in 0..3 {
                let what = format!("{artifact} {column} {value}");
                let parameters = format!("{artifact}/parameters");
                try_it(&what, &|| set_all(&folder, &parameters, 3, column, value));
            }
        }
        try_it(&format!("noise {value}"), &|| set_all(&folder, "spectra/noise_rms", 1, 0, value));
    }
    try_it("brightness", &|| {
        change_chunks(&folder, "spectra/spectra", |bytes| {
            for number in bytes.chunks_exact_mut(4) {
                number.copy_from_slice(&1e38_f32.to_le_bytes());
            }
        });
    });
}

#[test]
fn a_table_for_a_command_a_row_has_a_most() {
    let folder = Folder::new(
        "stages:
  rows: { kind: command, inputs: { t: { file: t.csv } }, for_each: t, run: \"cp {inputs.t} {outputs.o}\", outputs: [o] }
",
    );
    folder.write("t.csv", format!("a,b\n{},1\n", "x".repeat(2 << 20)));
    let ended = within(&folder, 1_000_000, &["run"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("row 1 of input `t` is larger than 1 MiB"), "{}", ended.stderr);
    fs::File::create(folder.path("t.csv")).unwrap().set_len(300 << 20).unwrap();
    let ended = within(&folder, 1_000_000, &["run"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("is larger than 256 MiB"), "{}", ended.stderr);
    // Columns in great number are no more work than their number.
    let names: Vec<String> = (0..20_000).map(|i| format!("c{i}")).collect();
    let row = vec!["1"; 20_000].join(",");
    folder.write("t.csv", format!("{}\n{row}\n{row}\n", names.join(",")));
    assert_eq!(within(&folder, 1_000_000, &["run"]).code, Some(0));
}

#[test]
fn a_limit_of_the_system_ends_with_a_word() {
    let folder = Folder::new(
        "stages:
  g: { kind: generate, config: { count: 4000, channels: 256, axis_stop: 1400, mean: [1220, 1380], seed: 1 } }
",
    );
    for (limit, advice) in [
        ("-f 1000", "`ulimit -f unlimited`"),
        ("-n 8", "`ulimit -n 1024`"),
        ("-v 40000", "`ulimit -u` (or `-v`)"),
    ] {
        let mut shell =
            folder.program("sh", &["-c", &format!("ulimit {limit}; exec \"$0\" run -j 2")]);
        let ended = folder.ended(shell.arg(env!("CARGO_BIN_EXE_pipe")).output().unwrap());
        assert_eq!(ended.code, Some(3), "{limit}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(advice), "{limit}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("error: "), "{limit}: {}", ended.stderr);
    }
    assert_eq!(folder.executed(&[]), ["g"]);
}
