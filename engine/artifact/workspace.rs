//! Where a pipeline stands, and which of the user's files a path in it names.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use globset::{GlobBuilder, GlobMatcher};

/// The folder of a pipeline, and the folders of pipe's own that may be in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Workspace {
    /// Without links.
    pub(crate) root: PathBuf,
    /// The folder in which the newest outputs stand.
    pub(crate) out: PathBuf,
    pub(crate) cache: PathBuf,
}

impl Workspace {
    pub(crate) fn new(root: &Path, cache: &Path) -> Self {
        Self { root: root.to_owned(), out: root.join("out"), cache: cache.to_owned() }
    }

    /// The device and the inode of each of the folders of pipe's own that is there.
    pub(crate) fn own(&self) -> Vec<(u64, u64)> {
        let number = |path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        [&self.out, &self.cache].into_iter().filter_map(number).collect()
    }
}

/// Which files of a folder are meant, where not all are.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// As it was written.
    pub(crate) written: String,
    matcher: GlobMatcher,
    /// How deep in the folder the files are, if that is told.
    pub(crate) depth: Option<usize>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Parts `written` into the longest folder without a wildcard, and the pattern of the files in it. `None` if it is no
    /// pattern.
    ///
    /// # Errors
    /// When it is one that can't be understood.
    pub(crate) fn parse(written: &str) -> Result<Option<(String, Self)>, globset::Error> {
        let wild = |part: &str| part.contains(['*', '?', '[', '{']);
        let parts: Vec<&str> = written.split('/').collect();
        let Some(first) = parts.iter().position(|part| wild(part)) else { return Ok(None) };
        let (above, rest) = parts.split_at(first);
        let folder = match above {
            [] => ".".to_owned(),
            [""] => "/".to_owned(),
            above => above.join("/"),
        };
        let matcher = GlobBuilder::new(&rest.join("/")).literal_separator(true).build()?;
        let depth = (!rest.iter().any(|part| part.contains("**"))).then_some(rest.len());
        let pattern =
            Self { written: written.to_owned(), matcher: matcher.compile_matcher(), depth };
        Ok(Some((folder, pattern)))
    }

    /// Whether the file at `path` within the folder is meant.
    pub(crate) fn fits(&self, path: &Path) -> bool {
        self.matcher.is_match(path)
    }
}

/// What of a folder of the user's is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    pub(crate) workspace: Option<Arc<Workspace>>,
    pub(crate) pattern: Option<Arc<Pattern>>,
}

/// What the user's home folder is called at the beginning of a path.
const HOME: &str = "~";

/// `written` with the user's home folder in the place of a `~` at its beginning.
///
/// # Errors
/// Why that can't be, and what to do.
pub(crate) fn expand_home(written: &str) -> Result<PathBuf, (&'static str, &'static str)> {
    let Some(rest) = written.strip_prefix(HOME) else { return Ok(PathBuf::from(written)) };
    match rest.strip_prefix('/') {
        None if !rest.is_empty() => Err((
            "homes of other users aren't looked up",
            "write the path, or `./~…` for a file that is called so",
        )),
        rest => match std::env::home_dir().filter(|home| home.is_absolute()) {
            Some(home) => Ok(home.join(rest.unwrap_or_default())),
            None => Err(("`HOME` isn't set", "write the path")),
        },
    }
}

/// The parts of `path` below `folder`, or a folder that it is by another name. Neither has to be there.
pub(crate) fn within(path: &Path, folder: &Path) -> Option<PathBuf> {
    let plain = plain(path);
    if let Ok(rest) = plain.strip_prefix(folder) {
        return Some(rest.to_owned());
    }
    let number = |path: &Path| -> io::Result<(u64, u64)> {
        let meta = fs::metadata(path)?;
        Ok((meta.dev(), meta.ino()))
    };
    let wanted = number(folder).ok()?;
    let real = fs::canonicalize(path).ok()?;
    let above = real.ancestors().find(|above| number(above).is_ok_and(|found| found == wanted))?;
    real.strip_prefix(above).ok().map(Path::to_owned)
}

/// The path without `.` and, as far as its text tells, `..`.
pub(crate) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = plain.pop(),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_the_longest_folder_without_wildcards() {
        for (written, folder, fits, fits_not) in [
            ("data/*.fits", "data", "a.fits", "d/a.fits"),
            ("*.csv", ".", "a.csv", "a/b.csv"),
            ("/x/y/**/z?", "/x/y", "a/b/z1", "a/z"),
            ("/*.csv", "/", "a.csv", "a/b.csv"),
            ("a/[0-9]/b", "a", "1/b", "x/b"),
            ("a/{b,c}.d", "a", "c.d", "e.d"),
        ] {
            let (found, pattern) = Pattern::parse(written).unwrap().unwrap();
            assert_eq!(found, folder, "{written}");
            assert!(pattern.fits(Path::new(fits)), "{written}");
            assert!(!pattern.fits(Path::new(fits_not)), "{written}");
        }
        assert!(Pattern::parse("data/a.fits").unwrap().is_none());
        assert!(Pattern::parse("data/[").is_err());
    }

    #[test]
    fn a_folder_is_known_by_any_name() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let out = root.join("out");
        assert_eq!(within(&root.join("./a/../out/x/y"), &out), Some(PathBuf::from("x/y")));
        assert_eq!(within(&root.join("outer/x"), &out), None);
        fs::create_dir_all(out.join("x")).unwrap();
        fs::write(out.join("x/y"), "").unwrap();
        std::os::unix::fs::symlink("out/x", root.join("l")).unwrap();
        assert_eq!(within(&root.join("l/y"), &out), Some(PathBuf::from("x/y")));
        fs::write(root.join("z"), "").unwrap();
        assert_eq!(within(&root.join("z"), &out), None);
    }
}
