//! The reference pipeline, small: what a change of one key runs again.

use crate::support::{Folder, SMALL, not_tried};

const REFERENCE: &str = include_str!("../../pipeline.yaml");

fn executed(folder: &Folder, more: &[&str]) -> Vec<String> {
    folder.executed(&[&SMALL[..], more].concat())
}

#[test]
fn a_key_runs_what_it_touches_and_nothing_else() {
    let folder = Folder::new(REFERENCE);
    let all = ["evaluate", "generate", "plot", "predict", "scale", "split", "train"];
    assert_eq!(executed(&folder, &[]), all);
    assert!(executed(&folder, &[]).is_empty());
    assert_eq!(executed(&folder, &["--set", "evaluate.sigma_tolerance=0.4"]), ["evaluate", "plot"]);
    let rate = ["--set", "train.learning_rate=0.002"];
    assert_eq!(executed(&folder, &rate), ["evaluate", "plot", "predict", "train"]);
    // Both are known now, and so is what was there before them.
    assert!(executed(&folder, &["--set", "evaluate.sigma_tolerance=0.4"]).is_empty());
    assert!(executed(&folder, &rate).is_empty());
    assert!(executed(&folder, &[]).is_empty());
    let respelled = REFERENCE
        .replace("learning_rate: 0.004", "learning_rate: 4.0e-3 # the same")
        .replace("      min_components: 1\n      max_components: 2\n", "      max_components: 2\n      min_components: 1\n")
        .replace("scale:\n    inputs: { spectra: generate.spectra, rows: split.rows }\n    config: { method: rms }", "scale:\n    inputs: { rows: split.rows, spectra: generate.spectra }");
    assert_ne!(respelled, REFERENCE);
    folder.write("pipeline.yaml", respelled);
    assert!(executed(&folder, &[]).is_empty());
}

#[test]
fn its_outputs_stand_where_people_look() {
    let folder = Folder::new(REFERENCE);
    executed(&folder, &[]);
    for file in [
        "train/checkpoint/weights.safetensors",
        "train/checkpoint/checkpoint.json",
        "train/history/history.csv",
        "evaluate/metrics/metrics.json",
        "plot/figures/fits.png",
        "plot/figures/history.svg",
        "plot/figures/confusion.png",
    ] {
        assert!(folder.path("out").join(file).is_file(), "{file}");
    }
    let table = folder.read("out/predict/table/catalogue.csv");
    let columns = "row,x,y,component,amplitude,mean,sigma,mean_channel,sigma_channel,probability";
    assert_eq!(table.lines().next(), Some(columns));
    assert!(table.lines().nth(1).is_some_and(|line| line.starts_with("0,,,0,")), "{table}");
}

/// zarr-python 3 reads what we write. `PIPE_TEST_PYTHON` names a Python that has it.
#[test]
fn arrays_open_in_zarr_python() {
    let Some(python) = std::env::var_os("PIPE_TEST_PYTHON") else {
        not_tried("PIPE_TEST_PYTHON is not set");
        return;
    };
    let folder = Folder::new(REFERENCE);
    executed(&folder, &[]);
    let opened = folder.pipe(&[&["out", "generate"], &SMALL[..]].concat());
    assert_eq!(opened.code, Some(0), "{}", opened.stderr);
    let script = "
import zarr, numpy as np
spectra = zarr.open_group('out/generate/spectra', mode='r')
truth = zarr.open_group('out/generate/truth', mode='r')
values = spectra['spectra']
assert values.shape == (2000, 140) and values.dtype == np.float32, (values.shape, values.dtype)
assert values.metadata.dimension_names == ('row', 'channel'), values.metadata.dimension_names
axis = spectra['axis'][:]
assert spectra['axis'].attrs['units'] == 'km/s' and abs(axis[-1] - 1907.05456744) < 1e-6, axis[-1]
p, counts, rms = truth['parameters'][:], truth['counts'][:], spectra['noise_rms'][:]
assert p.shape == (2000, 2, 3) and set(counts) == {1, 2}
assert (np.isfinite(p[:, :, 0]).sum(axis=1) == counts).all()
model = np.nansum(p[:, :, :1] * np.exp(-0.5 * ((axis - p[:, :, 1:2]) / p[:, :, 2:]) ** 2), axis=1)
ratio = (values[:] - model).std(axis=1) / rms
assert abs(ratio.mean() - 1) < 0.01, ratio.mean()
";
    let ran = std::process::Command::new(python)
        .args(["-c", script])
        .current_dir(folder.path(""))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
