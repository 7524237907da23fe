//! Work that grows, or was cut short: only what is new is computed.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::Folder;

const SPECTRA: &str = "\
stages:
  generate: { config: { count: 5000, seed: 3, channels: 32 } }
  scale: { inputs: { spectra: generate.spectra } }
";

/// How many parts of each stage's result there are and how many were known, and the digests of all outputs.
struct Ran {
    parts: BTreeMap<String, (u64, u64)>,
    outputs: BTreeMap<String, Value>,
}

fn run(folder: &Folder, arguments: &[&str]) -> Ran {
    let mut all = vec!["run", "--json"];
    all.extend(arguments);
    let ended = folder.pipe(&all);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let report = ended.json();
    let mut ran = Ran { parts: BTreeMap::new(), outputs: BTreeMap::new() };
    for stage in report["stages"].as_array().unwrap() {
        let name = stage["name"].as_str().unwrap().to_owned();
        if let Some(parts) = stage.get("parts") {
            let count = |key: &str| parts[key].as_u64().unwrap();
            ran.parts.insert(name.clone(), (count("all"), count("known")));
        }
        ran.outputs.insert(name, stage["outputs"].clone());
    }
    ran
}

/// What a folder of its own, which knows nothing, makes of the same pipeline.
fn from_scratch(folder: &Folder, arguments: &[&str]) -> BTreeMap<String, Value> {
    let other = Folder::new(&folder.read("pipeline.yaml"));
    run(&other, arguments).outputs
}

#[test]
fn more_rows_compute_the_new_chunks_only() {
    let folder = Folder::new(SPECTRA);
    // 2048 rows make a chunk: 5,000 are two whole ones and a part of a third.
    let first = run(&folder, &[]);
    assert_eq!(first.parts["generate"], (3, 0));
    let more = ["--set", "generate.count=7000"];
    let second = run(&folder, &more);
    for stage in ["generate", "scale"] {
        assert_eq!(second.parts[stage], (4, 2), "{stage}");
    }
    assert_eq!(second.outputs, from_scratch(&folder, &more));
    // Fewer rows are all known but those of a last chunk that ends elsewhere.
    assert_eq!(run(&folder, &["--set", "generate.count=4096"]).parts["generate"], (2, 2));
    // Another seed is another spectrum in every row.
    assert_eq!(run(&folder, &["--set", "generate.seed=4"]).parts["generate"], (3, 0));
    let told = folder.pipe(&["run", "--set", "generate.count=9000"]);
    assert!(told.stdout.contains("3 of 5 chunks known"), "{}", told.stdout);
}

/// The most memory that a run had resident, in KiB.
#[cfg(target_os = "linux")]
fn peak(folder: &Folder, arguments: &[&str]) -> u64 {
    let mut all = vec!["run", "-q", "-j", "2"];
    all.extend(arguments);
    let mut child = folder.command(&all).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    // The kernel keeps the maximum: the last look before the end is as good as all.
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let told = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = told.unwrap_or(peak).max(peak);
        thread::sleep(Duration::from_millis(1));
    }
    assert!(child.wait().unwrap().success());
    assert!(peak > 0);
    peak
}

/// A small network, and rows that it predicts.
const PREDICTED: &str = "\
vars: { many: 2048 }
stages:
  generate: { config: { count: 2000, seed: 3, channels: 64 } }
  split: { inputs: { spectra: generate.spectra } }
  scale: { inputs: { spectra: generate.spectra } }
  train:
    inputs: { scaled: scale.spectra, spectra: generate.spectra, truth: generate.truth, rows: split.rows, scaler: scale.scaler }
    config: { network: slots, epochs: 1, filters: 2, dense: [8] }
  many: { kind: generate, config: { count: \"${many}\", seed: 4, channels: 64 } }
  scaled: { kind: scale, inputs: { spectra: many.spectra } }
  predict: { inputs: { spectra: many.spectra, checkpoint: train.checkpoint } }
";

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_rows() {
    let folder = Folder::new(PREDICTED);
    folder.run(&["train"]);
    let few = peak(&folder, &["--set", "vars.many=20000"]);
    let many = peak(&folder, &["--set", "vars.many=220000"]);
    // The spectra alone are 51 MB more, and as many again scaled.
    assert!(many < few + 16 * 1024, "{few} KiB became {many} KiB");
}

#[test]
fn a_damaged_chunk_is_made_again_alone() {
    let folder = Folder::new(SPECTRA);
    let first = run(&folder, &[]);
    let blob = folder
        .cached("blobs")
        .into_iter()
        .find(|path| path.metadata().unwrap().len() == 2048 * 32 * 4)
        .unwrap();
    std::fs::remove_file(blob).unwrap();
    let second = run(&folder, &[]);
    let repaired: Vec<_> =
        second.parts.iter().filter(|(_, (all, known))| known + 1 == *all).collect();
    assert_eq!(repaired.len(), 1, "{:?}", second.parts);
    assert_eq!(first.outputs, second.outputs);
}

/// The record of a chunk whose text is sound, and names an output that nobody has, must not stand for ever.
#[test]
fn a_chunk_whose_record_rotted_is_made_again_once() {
    for count in ["5000", "2000"] {
        let folder = Folder::new(SPECTRA);
        let arguments = ["generate", "--set", &format!("generate.count={count}")];
        let first = run(&folder, &arguments);
        let (all, _) = first.parts["generate"];
        let is_part = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path).unwrap().contains("\"first\": 0")
        };
        let (parts, wholes): (Vec<_>, Vec<_>) =
            folder.cached("records").into_iter().partition(is_part);
        let whole = wholes
            .into_iter()
            .find(|path| !std::fs::read_to_string(path).unwrap().contains("\"part\""));
        let whole = whole.unwrap();
        Folder::damage(&parts[0], |path| {
            let text = std::fs::read_to_string(path).unwrap();
            let at = text.find("\"spectra\": \"").unwrap() + 12;
            let other = if &text[at..=at] == "0" { "1" } else { "0" };
            std::fs::write(path, [&text[..at], other, &text[at + 1..]].concat()).unwrap();
        });
        // Without the whole, its parts are looked at.
        std::fs::remove_file(&whole).unwrap();
        let second = run(&folder, &arguments);
        assert_eq!(second.parts["generate"], (all, all - 1));
        assert_eq!(second.outputs, first.outputs);
        std::fs::remove_file(&whole).unwrap();
        assert_eq!(run(&folder, &arguments).parts["generate"], (all, all), "{count}");
    }
}

#[test]
fn a_killed_run_keeps_the_chunks_that_it_finished() {
    let folder = Folder::new(SPECTRA);
    let many =
        ["run", "generate", "--set", "generate.count=400000", "--set", "generate.channels=140"];
    let mut child =
        folder.command(&many).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while folder.cached("records").len() < 4 && child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_mins(1));
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = folder.cached("records").len() as u64;
    // 40,000 rows are 19 whole chunks and a part of one.
    let few = ["generate", "--set", "generate.count=40000", "--set", "generate.channels=140"];
    let again = run(&folder, &few);
    let (all, known) = again.parts["generate"];
    assert!(all == 20 && known >= kept.min(15) / 2 && known > 0, "{known} of {all}, {kept} kept");
    assert_eq!(again.outputs, from_scratch(&folder, &few));
}

/// A FITS image of 32-bit reals.
fn fits(axes: &[usize], more: &[(String, String)], values: impl Iterator<Item = f32>) -> Vec<u8> {
    let mut header = String::new();
    let mut card = |key: &str, value: &str| {
        let _ = write!(header, "{key:8}= {value:>20}{:50}", "");
    };
    card("SIMPLE", "T");
    card("BITPIX", "-32");
    card("NAXIS", &axes.len().to_string());
    for (axis, length) in (1..).zip(axes) {
        card(&format!("NAXIS{axis}"), &length.to_string());
    }
    for (key, value) in more {
        card(key, value);
    }
    card("BUNIT", "'K       '");
    let _ = write!(header, "{:80}", "END");
    let mut bytes = header.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes.extend(values.flat_map(f32::to_be_bytes));
    bytes.resize(bytes.len().next_multiple_of(2880), 0);
    bytes
}

/// A FITS cube of `nx` by `ny` pixels and 8 channels, whose values are those of the pixels, wherever the cube ends.
fn cube(nx: usize, ny: usize) -> Vec<u8> {
    let mut cards = Vec::new();
    for (axis, kind, unit, step) in
        [(1, "GLON-CAR", "deg", 0.01), (2, "GLAT-CAR", "deg", 0.01), (3, "VRAD", "m/s", 200.0)]
    {
        cards.push((format!("CTYPE{axis}"), format!("'{kind}'")));
        cards.push((format!("CUNIT{axis}"), format!("'{unit:8}'")));
        cards.push((format!("CRPIX{axis}"), "1.0".to_owned()));
        cards.push((format!("CRVAL{axis}"), "1.0".to_owned()));
        cards.push((format!("CDELT{axis}"), step.to_string()));
    }
    let value =
        |channel: usize, pixel: usize| ((pixel * 31 + channel * 17) % 101) as f32 / 50.0 - 1.0;
    let pixels = nx * ny;
    let values = (0..8 * pixels).map(|at| value(at / pixels, at % pixels));
    fits(&[nx, ny, 8], &cards, values)
}

#[test]
fn rows_appended_to_a_cube_are_imported_alone() {
    let folder = Folder::new(
        "stages:\n  import: { inputs: { cube: { file: cube.fits } } }\n  \
         scale: { inputs: { spectra: import.spectra } }\n",
    );
    folder.write("cube.fits", cube(128, 40));
    assert_eq!(run(&folder, &[]).parts["import"], (3, 0));
    folder.write("cube.fits", cube(128, 60));
    let grown = run(&folder, &[]);
    for stage in ["import", "scale"] {
        assert_eq!(grown.parts[stage], (4, 2), "{stage}");
    }
    let other = Folder::new(&folder.read("pipeline.yaml"));
    other.write("cube.fits", cube(128, 60));
    assert_eq!(grown.outputs, run(&other, &[]).outputs);
    // A wider cube has other pixels in every row.
    folder.write("cube.fits", cube(129, 60));
    assert_eq!(run(&folder, &[]).parts["import"].1, 0);
}

#[test]
fn a_noise_map_is_part_of_what_its_rows_depend_on() {
    let folder = Folder::new(
        "stages:\n  import: { inputs: { cube: { file: cube.fits }, noise: { file: noise.fits } } }\n",
    );
    let noise = |nx: usize, ny: usize, other: usize| {
        let values = (0..nx * ny).map(move |at| if at == other { 0.5 } else { 0.25 });
        fits(&[nx, ny], &[], values)
    };
    folder.write("cube.fits", cube(128, 40));
    folder.write("noise.fits", noise(128, 40, 7));
    assert_eq!(run(&folder, &[]).parts["import"], (3, 0));
    // Another value in the last of three blocks.
    folder.write("noise.fits", noise(128, 40, 5000));
    let changed = run(&folder, &[]);
    assert_eq!(changed.parts["import"], (3, 1));
    let other = Folder::new(&folder.read("pipeline.yaml"));
    other.write("cube.fits", cube(128, 40));
    other.write("noise.fits", noise(128, 40, 5000));
    assert_eq!(changed.outputs, run(&other, &[]).outputs);
    // Both have grown.
    folder.write("cube.fits", cube(128, 60));
    folder.write("noise.fits", noise(128, 60, 5000));
    assert_eq!(run(&folder, &[]).parts["import"], (4, 2));
    for (wrong, says) in [
        (noise(60, 128, 0), "the map has 60 × 128 pixels and the cube 128 × 60"),
        (
            fits(&[128, 60], &[], (0..7680).map(|at| at as f32)),
            "pixel (0, 0) of the map, from 0, is 0",
        ),
        (b"no FITS".to_vec(), "this is not a FITS file"),
    ] {
        folder.write("noise.fits", wrong);
        let failed = folder.pipe(&["run"]);
        assert_ne!(failed.code, Some(0));
        let said = words(&(failed.stdout + &failed.stderr));
        assert!(said.contains(says), "{said}");
    }
    folder.write("noise.fits", noise(128, 60, 0));
    let twice = folder.pipe(&["run", "--set", "import.noise_rms=0.3"]);
    let said = words(&(twice.stdout + &twice.stderr));
    assert!(said.contains("leave out the input or the key `noise_rms`"), "{said}");
}

/// A text without its line breaks and rules.
fn words(text: &str) -> String {
    text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

const TRAINING: &str = "\
stages:
  generate: { config: { count: 600, seed: 3, channels: 32, axis_stop: 1400, mean: [1220, 1380] } }
  split: { inputs: { spectra: generate.spectra } }
  scale: { inputs: { spectra: generate.spectra } }
  train:
    inputs: { scaled: scale.spectra, spectra: generate.spectra, truth: generate.truth, rows: split.rows, scaler: scale.scaler }
    config: { network: slots, epochs: 6, schedule: constant, filters: 4, dense: [16], patience: 0 }
";

#[test]
fn more_epochs_go_on_from_the_last() {
    let folder = Folder::new(TRAINING);
    run(&folder, &["--set", "train.epochs=4"]);
    let more = run(&folder, &[]);
    assert_eq!(more.parts["train"], (6, 4), "four of six epochs were known");
    assert_eq!(more.outputs, from_scratch(&folder, &[]));
    // Fewer epochs than were ever done begin at an earlier state.
    let fewer = ["--set", "train.epochs=5"];
    assert_eq!(run(&folder, &fewer).outputs, from_scratch(&folder, &fewer));
    // A schedule that looks at its end can't be gone on with.
    run(&folder, &["--set", "train.schedule=cosine", "--set", "train.epochs=4"]);
    let cosine = run(&folder, &["--set", "train.schedule=cosine"]);
    assert_eq!(cosine.parts["train"], (6, 0));
}

/// The steps of the training whose states are kept.
fn steps(folder: &Folder) -> usize {
    let is_step = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).is_ok_and(|text| text.contains("\"step\""))
    };
    folder.cached("records").iter().filter(|path| is_step(path)).count()
}

#[test]
fn a_training_killed_anywhere_ends_as_if_it_had_not_been() {
    for schedule in ["constant", "cosine"] {
        let folder = Folder::new(TRAINING);
        let schedule = format!("train.schedule={schedule}");
        let arguments = ["--set", &schedule, "--set", "train.epochs=60"];
        let uninterrupted = from_scratch(&folder, &arguments);
        for delay in [0, 3, 7, 1, 12] {
            let before = steps(&folder);
            let mut all = vec!["run", "-q"];
            all.extend(arguments);
            let mut child =
                folder.command(&all).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let began = Instant::now();
            while steps(&folder) <= before && child.try_wait().unwrap().is_none() {
                assert!(began.elapsed() < Duration::from_mins(1));
            }
            thread::sleep(Duration::from_millis(delay));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let ended = run(&folder, &arguments);
        assert!(ended.parts["train"].1 > 0, "{schedule}: nothing was kept");
        assert_eq!(ended.outputs, uninterrupted, "{schedule}");
    }
}

#[test]
fn states_do_not_pile_up() {
    let folder = Folder::new(TRAINING);
    run(&folder, &["--set", "train.epochs=40"]);
    let states = steps(&folder);
    assert!((2..=14).contains(&states), "{states} states of 40 epochs");
}
