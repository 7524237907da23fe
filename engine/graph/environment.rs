//! The environment variables that a command sees, and how they enter its fingerprint.

use std::{
    collections::BTreeSet,
    env,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
};

use super::command::Environment;
use crate::base::digest::Digest;

/// What is passed to every command: where programs and the user's files are, the language, and what is common on machines
/// that compute.
pub const PASSED: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_*",
    "TZ",
    "TMPDIR",
    "TERM",
    "VIRTUAL_ENV",
    "CONDA_*",
    "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "SLURM_*",
    "PWD",
    "PIPE_SANDBOX",
];

/// What a shell, a terminal or a session sets for itself is no loss to a command, nor is what is ours.
const OWN: [&str; 7] = ["SHLVL", "OLDPWD", "_", "COLUMNS", "LINES", "XDG_*", "PIPE_*"];

fn is_passed(name: &OsStr) -> bool {
    is_among(name, &PASSED)
}

/// Whether one of `names`, which may end in `*`, stands for `name`.
fn is_among(name: &OsStr, names: &[&str]) -> bool {
    let name = name.as_bytes();
    names.iter().any(|known| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start.as_bytes()),
        None => name == known.as_bytes(),
    })
}

/// The variables that a command with this declaration sees, besides those that are set for it.
pub(crate) fn passed(declared: &Environment) -> Vec<(OsString, OsString)> {
    let named = |name: &OsStr| {
        let mut names = declared.names.iter().chain(&declared.secrets);
        names.any(|declared| OsStr::new(declared) == name)
    };
    env::vars_os().filter(|(name, _)| declared.inherit || is_passed(name) || named(name)).collect()
}

/// The names of the variables that are set and that a command with this declaration doesn't see.
pub(crate) fn withheld(declared: &Environment) -> BTreeSet<String> {
    if declared.inherit {
        return BTreeSet::new();
    }
    let seen: BTreeSet<OsString> = passed(declared).into_iter().map(|(name, _)| name).collect();
    let all = env::vars_os().map(|(name, _)| name);
    let missed = all.filter(|name| !seen.contains(name) && !is_among(name, &OWN));
    missed.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// What stands for the value of the variable `name` in a recipe: its hash with the name, as bytes, in a domain of its own.
/// Whoever reads it can't tell the value, though one who can guess it sees that the guess is right.
pub(crate) fn digest(name: &str) -> Option<Digest> {
    let value = env::var_os(name)?;
    let mut hasher = blake3::Hasher::new_derive_key("pipe 2026-11 environment v1");
    hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
    hasher.update(value.as_bytes());
    Some(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_is_what_is_listed() {
        for name in ["PATH", "LC_ALL", "LC_", "CONDA_PREFIX", "SLURM_JOB_ID"] {
            assert!(is_passed(OsStr::new(name)), "{name}");
        }
        for name in ["PATHX", "XPATH", "LCX", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH", ""] {
            assert!(!is_passed(OsStr::new(name)), "{name}");
        }
    }
}
