//! Where links lead that a command left.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use crate::{artifact::artifact::Artifact, base::tree::Entry};

/// Where a link leads.
pub(super) enum Lead {
    /// To this place within the artifact, which may be a link.
    Within(PathBuf),
    /// To this path of an input.
    Input(String, PathBuf),
    /// To something else that the command made.
    Sandbox(PathBuf),
    /// To this file of the user's, which an input is.
    User(Entry, PathBuf),
    Out,
    Nothing,
}

/// What a command worked among.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// The folder in which it worked; there are no links in its path.
    pub(super) sandbox: &'a Path,
    /// Its inputs, by name.
    pub(super) inputs: &'a BTreeMap<String, Artifact>,
    /// Where it found each of them.
    pub(super) places: &'a BTreeMap<String, PathBuf>,
}

impl Surroundings<'_> {
    /// Where the link `link` leads: `base` is the folder of the output within which it stands.
    pub(super) fn lead(&self, link: &Path, base: Option<&Path>) -> Lead {
        /// As many as Linux follows.
        const MOST: usize = 40;
        let mut at = link.to_owned();
        for _ in 0..MOST {
            let Ok(target) = fs::read_link(&at) else { return Lead::Nothing };
            let joined = at.parent().unwrap_or(&at).join(target);
            at = real(&joined);
            if let Some(base) = base
                && at.starts_with(base)
            {
                return match fs::symlink_metadata(&at) {
                    Ok(_) => Lead::Within(at),
                    Err(_) => Lead::Nothing,
                };
            }
            for (name, place) in self.places {
                if let Ok(within) = at.strip_prefix(place) {
                    return Lead::Input(name.clone(), within.to_owned());
                }
            }
            match fs::symlink_metadata(&at) {
                Ok(meta) if meta.is_symlink() => {}
                Ok(_) if at.starts_with(self.sandbox) => return Lead::Sandbox(at),
                Ok(_) => {
                    return match self.user_file(&at) {
                        Some(entry) => Lead::User(entry, at),
                        None => Lead::Out,
                    };
                }
                Err(_) => return Lead::Nothing,
            }
        }
        Lead::Nothing
    }

    /// The file of an input that the user's file at `path` is: a large one is handed out as a link to it.
    fn user_file(&self, path: &Path) -> Option<Entry> {
        self.inputs.values().find_map(|artifact| {
            let base = artifact.outside_path()?;
            let is_it = |entry: &&Entry| {
                fs::canonicalize(entry.path.under(base)).is_ok_and(|file| file == path)
            };
            artifact.tree().files().iter().find(is_it).cloned()
        })
    }
}

/// The path without links in all but its last part.
pub(super) fn real(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            fs::canonicalize(parent).unwrap_or_else(|_| real(parent)).join(name)
        }
        // It ends with `..`.
        (Some(parent), None) => fs::canonicalize(path).unwrap_or_else(|_| {
            let mut above = real(parent);
            above.pop();
            above
        }),
        (None, _) => path.to_owned(),
    }
}

/// How a link in `folder` leads to `target`, both seen from the same place; `None` if that isn't Unicode.
pub(super) fn relative(folder: &Path, target: &Path) -> Option<String> {
    let names = |path: &Path| -> Option<Vec<String>> {
        let names = path.components().filter(|part| matches!(part, Component::Normal(_)));
        names.map(|part| part.as_os_str().to_str().map(str::to_owned)).collect()
    };
    let (folder, target) = (names(folder)?, names(target)?);
    let shared = folder.iter().zip(&target).take_while(|(a, b)| a == b).count();
    let climbs = folder.len() - shared;
    let mut parts = vec![".."; climbs];
    parts.extend(target[shared..].iter().map(String::as_str));
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}
