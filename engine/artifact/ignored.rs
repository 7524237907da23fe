//! What is left out of the user's folders: what editors, versioning and interpreters leave there, and what `.pipeignore`
//! files say, which are written as `.gitignore` files are.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};
use thiserror::Error;

use super::workspace::plain;
use crate::base::shown_path::escaped;

/// The name of the files with rules.
const FILE_NAME: &str = ".pipeignore";
/// The largest of them, in bytes.
const LARGEST: u64 = 1 << 20;

/// What is left out unless a rule brings it back.
const USUAL: [&str; 9] = [
    ".git",
    ".#*",
    "*~",
    "*.swp",
    ".~lock.*#",
    "__pycache__/",
    ".DS_Store",
    ".ipynb_checkpoints/",
    FILE_NAME,
];

static USUALLY: LazyLock<Gitignore> = LazyLock::new(|| {
    let mut builder = GitignoreBuilder::new("");
    for pattern in USUAL {
        builder.add_line(None, pattern).unwrap_or_else(|_| unreachable!("the patterns are fixed"));
    }
    builder.build().unwrap_or_else(|_| unreachable!("the patterns are fixed"))
});

/// Rules that can't be read.
#[derive(Debug, Error)]
pub(crate) enum RulesError {
    /// The file can't be read.
    #[error("failed to read `{}`", escaped(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A line is no pattern.
    #[error("line {line} of `{}` is no pattern", escaped(path))]
    Pattern {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Why not.
        source: ignore::Error,
    },
}

/// The rules that hold where a folder is being read.
pub(crate) struct Ignored {
    /// Those of each folder that has some, the innermost last.
    rules: Vec<(PathBuf, Gitignore)>,
}

impl Ignored {
    /// The rules that hold in the folder `base`: its own, and those of the folders above it up to `root`, if it is in that.
    pub(crate) fn at(base: &Path, root: Option<&Path>) -> Result<Self, RulesError> {
        let mut ignored = Self { rules: Vec::new() };
        let root = root.filter(|root| plain(base).starts_with(root)).unwrap_or(base);
        let mut above: Vec<&Path> =
            base.ancestors().take_while(|folder| folder.starts_with(root)).collect();
        above.reverse();
        for folder in above {
            ignored.enter(folder)?;
        }
        Ok(ignored)
    }

    /// Takes up the rules of `folder`, and drops those of the folders that it isn't in.
    pub(crate) fn enter(&mut self, folder: &Path) -> Result<(), RulesError> {
        self.leave(folder);
        let path = folder.join(FILE_NAME);
        let Some(text) = rules_file(&path)? else { return Ok(()) };
        let mut builder = GitignoreBuilder::new(folder);
        let refused = |line| {
            let path = path.clone();
            move |source| RulesError::Pattern { path, line, source }
        };
        for (i, line) in text.lines().enumerate() {
            builder.add_line(None, line).map_err(refused(i + 1))?;
        }
        let rules = builder.build().map_err(refused(text.lines().count()))?;
        self.rules.push((folder.to_owned(), rules));
        Ok(())
    }

    /// Drops the rules of folders that `path` isn't in.
    fn leave(&mut self, path: &Path) {
        while self.rules.last().is_some_and(|(folder, _)| !path.starts_with(folder)) {
            self.rules.pop();
        }
    }

    /// Whether what is called `path` isn't read. The folders that it is in are.
    pub(crate) fn leaves_out(&mut self, path: &Path, is_folder: bool) -> bool {
        self.leave(path);
        for (_, rules) in self.rules.iter().rev() {
            match rules.matched(path, is_folder) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        let name = path.file_name().map_or(Path::new(""), Path::new);
        USUALLY.matched(name, is_folder).is_ignore()
    }
}

/// The text of a file with rules, if there is one. Only a regular file is read, and without waiting.
fn rules_file(path: &Path) -> Result<Option<String>, RulesError> {
    use std::{io::Read as _, os::unix::fs::OpenOptionsExt as _};
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let opened = fs::File::options().read(true).custom_flags(nonblocking).open(path);
    let failed = |source| RulesError::Read { path: path.to_owned(), source };
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() || meta.len() > LARGEST {
        let fault = "it is no file, or larger than 1 MiB";
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, fault)));
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_rule_that_says_something_holds() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("data");
        let within = base.join("within");
        fs::create_dir_all(&within).unwrap();
        fs::write(folder.path().join(FILE_NAME), "*.tmp\n/data/top\n# a comment\n").unwrap();
        fs::write(within.join(FILE_NAME), "!keep.tmp\n!*~\n").unwrap();
        let mut ignored = Ignored::at(&base, Some(folder.path())).unwrap();
        for (name, out) in [
            ("a", false),
            ("a.tmp", true),
            ("keep.tmp", true),
            ("top", true),
            (".git", true),
            ("a~", true),
            (".#a", true),
            (".~lock.a.ods#", true),
            (".DS_Store", true),
            (".pipeignore", true),
            (".gitignore", false),
        ] {
            assert_eq!(ignored.leaves_out(&base.join(name), false), out, "{name}");
        }
        assert!(ignored.leaves_out(&base.join("__pycache__"), true));
        assert!(!ignored.leaves_out(&base.join("__pycache__"), false));
        ignored.enter(&within).unwrap();
        for (name, out) in [("a.tmp", true), ("keep.tmp", false), ("a~", false), ("top", false)] {
            assert_eq!(ignored.leaves_out(&within.join(name), false), out, "{name}");
        }
        // Rules above the workspace are none of ours.
        let mut alone = Ignored::at(&base, Some(&base)).unwrap();
        assert!(!alone.leaves_out(&base.join("a.tmp"), false));
        // After a folder its rules hold no more.
        assert!(ignored.leaves_out(&base.join("keep.tmp"), false));
    }
}
