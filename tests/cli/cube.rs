//! Observed cubes.
//!
//! The cubes of the folder that `PIPE_TEST_DATA` names are tried where it is set.

use std::{fs, path::PathBuf};

use crate::support::{Folder, SMALL};

const CUBE: &str = include_str!("../../examples/cube/pipeline.yaml");
const TINY: &[u8] = include_bytes!("../../examples/cube/tiny.fits");

fn folder() -> Folder {
    let folder = Folder::new(CUBE);
    folder.write("tiny.fits", TINY);
    folder
}

fn observed(name: &str) -> Option<PathBuf> {
    let Some(data) = std::env::var_os("PIPE_TEST_DATA") else {
        eprintln!("not tried: PIPE_TEST_DATA is not set");
        return None;
    };
    Some(PathBuf::from(data).join(name))
}

fn summary(folder: &Folder) -> serde_json::Value {
    serde_json::from_str(&folder.read("out/maps/summary/summary.json")).unwrap()
}

#[test]
fn the_example_runs_on_its_own_cube_and_another_cube_runs_only_what_reads_it() {
    let folder = folder();
    assert_eq!(folder.executed(&SMALL).len(), 9);
    assert!(folder.executed(&SMALL).is_empty());
    let found = summary(&folder);
    assert_eq!((&found["pixels"], &found["missing"]), (&79.into(), &1.into()));
    for figure in ["maps.png", "maps.svg", "spectra.png"] {
        assert!(folder.path("out/maps/figures").join(figure).is_file(), "{figure}");
    }
    // The pixel without data has no row in the catalogue; pixels are counted along the FITS axes.
    let table = folder.read("out/predict/table/catalogue.csv");
    for line in table.lines().skip(1) {
        let fields: Vec<u64> =
            line.split(',').take(3).map(|field| field.parse().unwrap()).collect();
        assert_eq!(fields[0], fields[2] * 10 + fields[1], "{line}");
        assert_ne!(fields[0], 0, "{line}");
    }
    // The same cube elsewhere is the same input.
    folder.write("elsewhere/other.fits", TINY);
    let elsewhere = ["--set", "vars.cube=elsewhere/other.fits"];
    assert!(folder.executed(&[&SMALL[..], &elsewhere].concat()).is_empty());
}

#[test]
fn a_broken_cube_is_named_with_what_is_wrong() {
    let folder = folder();
    let cut = &TINY[..TINY.len() / 2];
    let cases: [(&str, &[u8], &str); 3] = [
        ("text.fits", b"SIMPLE is what this is not", "FITS"),
        ("cut.fits", cut, "truncated"),
        ("empty.fits", b"", "FITS"),
    ];
    for (name, bytes, expected) in cases {
        folder.write(name, bytes);
        let ended = folder.pipe(&["run", "import", "--set", &format!("vars.cube={name}")]);
        assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
        let said = ended.stdout + &ended.stderr;
        assert!(said.contains(expected), "{name}: {said}");
    }
    let missing = folder.pipe(&["run", "--set", "vars.cube=nowhere.fits"]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.stderr.contains("nowhere.fits"), "{}", missing.stderr);
}

#[test]
fn an_observed_field_is_decomposed() {
    let Some(cube) = observed("grs-test_field_10x10.fits") else { return };
    let folder = folder();
    let cube = format!("vars.cube={}", cube.display());
    folder.run(&[&SMALL[..], &["--set", &cube]].concat());
    let found = summary(&folder);
    assert_eq!((&found["pixels"], &found["missing"]), (&99.into(), &1.into()));
}

#[test]
fn a_fourth_axis_of_length_one_is_dropped() {
    let Some(cube) = observed("n2h+10_37.fits") else { return };
    let folder = folder();
    folder.write("copy.fits", fs::read(cube).unwrap());
    folder.run(&["import", "--set", "vars.cube=copy.fits"]);
    let shown = folder.pipe(&["show", "import.spectra", "--set", "vars.cube=copy.fits"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains("126") && shown.stdout.contains("1000"), "{}", shown.stdout);
}
