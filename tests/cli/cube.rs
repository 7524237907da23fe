//! Observed cubes.
//!
//! The cubes of the folder that `PIPE_TEST_DATA` names are tried where it is set.

use std::{fs, path::PathBuf};

use crate::support::{Folder, SMALL, not_tried};

const CUBE: &str = include_str!("../../examples/cube/pipeline.yaml");
const TINY: &[u8] = include_bytes!("../../examples/cube/tiny.fits");

fn folder() -> Folder {
    let folder = Folder::new(CUBE);
    folder.write("tiny.fits", TINY);
    folder
}

fn observed(name: &str) -> Option<PathBuf> {
    let Some(data) = std::env::var_os("PIPE_TEST_DATA") else {
        not_tried("PIPE_TEST_DATA is not set");
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
    assert_eq!(folder.executed(&SMALL).len(), 12);
    assert!(folder.executed(&SMALL).is_empty());
    let found = summary(&folder);
    assert_eq!((&found["pixels"], &found["missing"]), (&79.into(), &1.into()));
    for figure in ["maps.png", "maps.svg", "spectra.png"] {
        assert!(folder.path("out/maps/figures").join(figure).is_file(), "{figure}");
    }
    // The pixel without data has no row in the catalogue; pixels are counted along the FITS axes.
    let table = folder.read("out/smooth/table/catalogue.csv");
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

/// A cube decomposed without a network.
const FITTED: &str = "
vars: { cube: tiny.fits }
stages:
  import: { inputs: { cube: { file: \"${cube}\" } } }
  fit: { inputs: { spectra: import.spectra } }
  maps: { inputs: { spectra: import.spectra, catalogue: fit.catalogue }, config: { dots_per_inch: 72 } }
";

#[test]
fn a_cube_is_decomposed_without_a_network() {
    let folder = Folder::new(FITTED);
    folder.write("tiny.fits", TINY);
    assert_eq!(folder.executed(&[]), ["fit", "import", "maps"]);
    assert!(folder.executed(&[]).is_empty());
    let table = folder.read("out/fit/table/catalogue.csv");
    let mut lines = table.lines();
    assert_eq!(
        lines.next(),
        Some(
            "row,x,y,component,amplitude,amplitude_err,mean,mean_err,sigma,sigma_err,fwhm,mean_channel,sigma_channel,\
             chi_squared,reduced_chi_squared,noise_rms,flags"
        )
    );
    assert!(lines.clone().count() > 50, "{table}");
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let [amplitude, error] = [4, 5].map(|i| fields[i].parse::<f64>().unwrap());
        assert!(amplitude > 0.0 && error > 0.0 && error < 5.0 * amplitude, "{line}");
        assert_ne!(fields[0], "0", "the pixel without data has no row: {line}");
    }
    // Another width that lines may have fits anew, and reads nothing again.
    let narrow = ["--set", "fit.sigma_channels=[0.7, 2]"];
    assert_eq!(folder.executed(&narrow), ["fit", "maps"]);
    let refused = folder.pipe(&["run", "--set", "fit.sigma_channels=[2, 1]"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("sigma_channels"), "{}", refused.stderr);
}

/// A cube decomposed, and taken to other programs.
const EXPORTED: &str = "
vars: { cube: tiny.fits }
stages:
  import: { inputs: { cube: { file: \"${cube}\" } } }
  fit: { inputs: { spectra: import.spectra } }
  export: { inputs: { spectra: import.spectra, catalogue: fit.catalogue } }
  maps: { inputs: { spectra: import.spectra, catalogue: fit.catalogue }, config: { dots_per_inch: 72 } }
";

/// astropy opens what is exported, and finds units, world coordinates and values as they should be. `PIPE_TEST_PYTHON`
/// names a Python that has it.
#[test]
fn what_is_exported_opens_in_astropy() {
    let Some(python) = std::env::var_os("PIPE_TEST_PYTHON") else {
        not_tried("PIPE_TEST_PYTHON is not set");
        return;
    };
    let folder = Folder::new(EXPORTED);
    folder.write("tiny.fits", TINY);
    let observed = ["grs-test_field_10x10.fits", "n2h+10_37.fits"].map(observed);
    let cubes = observed.into_iter().flatten().chain([folder.path("tiny.fits")]);
    for cube in cubes {
        folder.run(&["--set", &format!("vars.cube={}", cube.display())]);
        let ran = std::process::Command::new(&python)
            .args(["-c", include_str!("takeaway.py")])
            .args([cube, folder.path("out")])
            .output()
            .unwrap();
        let said = [&ran.stdout[..], &ran.stderr].concat();
        assert!(ran.status.success() && said == b"ok\n", "{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn only_the_files_that_are_wanted_are_exported() {
    let folder = Folder::new(EXPORTED);
    folder.write("tiny.fits", TINY);
    folder.run(&["export"]);
    let whole = fs::read(folder.path("out/export/fits/catalogue.fits")).unwrap();
    assert_eq!(folder.executed(&["export", "--set", "export.files=[catalogue]"]), ["export"]);
    assert_eq!(fs::read(folder.path("out/export/fits/catalogue.fits")).unwrap(), whole);
    assert!(!folder.path("out/export/fits/model.fits").exists());
    let refused = folder.pipe(&["run", "export", "--set", "export.files=[]"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("files"), "{}", refused.stderr);
}

/// The noise of this field is correlated between neighbouring channels: taken for white, it makes a third more lines.
#[test]
fn an_observed_field_is_not_over_fitted() {
    let Some(cube) = observed("grs-test_field_10x10.fits") else { return };
    let folder = Folder::new(FITTED);
    let cube = format!("vars.cube={}", cube.display());
    folder.run(&["--set", &cube, "--set", "fit.max_components=10"]);
    let components = folder.read("out/fit/table/catalogue.csv").lines().count() - 1;
    assert!((265..=292).contains(&components), "{components} components");
    // The residuals are as large as the noise, before and after whitening.
    let found = summary(&folder);
    for figure in ["residual_over_noise", "reduced_chi_squared"] {
        let median = found[figure]["median"].as_f64().unwrap();
        assert!((median - 1.0).abs() < 0.02, "{figure}: {median}");
    }
    let white = "fit.noise_correlation=0";
    folder.run(&["--set", &cube, "--set", "fit.max_components=10", "--set", white]);
    let as_white = folder.read("out/fit/table/catalogue.csv").lines().count() - 1;
    assert!(as_white > components + 40, "{as_white} components");
}

/// A cube whose components are proposed by another fit, of too few.
const REFINED: &str = "
vars: { cube: tiny.fits }
stages:
  import: { inputs: { cube: { file: \"${cube}\" } } }
  fit: { inputs: { spectra: import.spectra } }
  few: { kind: fit, inputs: { spectra: import.spectra }, config: { max_components: 1 } }
  refine: { inputs: { spectra: import.spectra, catalogue: few.catalogue } }
  maps: { inputs: { spectra: import.spectra, catalogue: refine.catalogue }, config: { dots_per_inch: 72 } }
";

#[test]
fn what_is_proposed_is_refined_to_what_a_search_finds() {
    let folder = Folder::new(REFINED);
    folder.write("tiny.fits", TINY);
    folder.run(&[]);
    let table = |stage: &str| folder.read(&format!("out/{stage}/table/catalogue.csv"));
    let [few, fit, refined] = ["few", "fit", "refine"].map(table);
    let counts = |table: &str| {
        let mut counts = [0; 80];
        table.lines().skip(1).for_each(|line| {
            counts[line.split(',').next().unwrap().parse::<usize>().unwrap()] += 1;
        });
        counts
    };
    assert_eq!(refined.lines().next(), fit.lines().next(), "the same columns");
    assert!(fit.lines().count() > few.lines().count() + 20);
    let same = |a: &str, b: &str| {
        let same = counts(a).iter().zip(counts(b)).filter(|(a, b)| **a == *b).count();
        assert!(same >= 78, "{same} of 80 pixels have as many");
    };
    same(&fit, &refined);
    // Another proposal hardly leads elsewhere.
    folder.run(&["--set", "few.max_components=2"]);
    same(&refined, &table("refine"));
    // A proposal for other spectra is refused.
    let other = REFINED.replace("catalogue: few.catalogue", "catalogue: other.catalogue");
    let other = other.replace(
        "  few:",
        "  made: { kind: generate, config: { count: 9 } }\n  other: { kind: fit, inputs: { spectra: made.spectra } }\n  few:",
    );
    folder.write("pipeline.yaml", other);
    let refused = folder.pipe(&["run", "refine"]);
    assert_eq!(refused.code, Some(1));
    let said = refused.stdout + &refused.stderr;
    assert!(said.contains("the catalogue has 9 rows, but there are 80 spectra"), "{said}");
}
