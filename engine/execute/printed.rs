//! What a command prints: a file that both its streams are appended to.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{
    base::disk,
    cache::{CacheError, Staged, Staging},
};

/// What a command prints is kept up to this size. Of more than that the first half is kept, and the last.
const LARGEST: u64 = 1 << 30;
/// How much of its end is shown when the command fails, in bytes.
const TAIL: u64 = 1 << 16;

/// What a command prints.
#[derive(Debug)]
pub(crate) struct Printed {
    file: File,
    path: PathBuf,
    /// How much of it was told while it was printed.
    told: u64,
}

impl Printed {
    /// Nothing yet, in a new file.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        disk::step(path)?;
        let mut options = File::options();
        let file = options.read(true).append(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { file, path: path.to_owned(), told: 0 })
    }

    /// Where a program's streams go.
    pub(crate) fn stream(&self) -> io::Result<Stdio> {
        self.file.try_clone().map(Stdio::from)
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Drops what is in the middle when too much was printed.
    pub(crate) fn limit(&self) {
        // A program that goes on printing appends to what is left. What can't be dropped stays.
        if self.len().is_ok_and(|length| length > LARGEST) && self.file.set_len(LARGEST / 2).is_ok()
        {
            let word = "\n[… more than 1 GiB was printed: what stood here was dropped …]\n";
            let _ = io::Write::write_all(&mut &self.file, word.as_bytes());
        }
    }

    /// The whole lines that were printed since it was last asked, or a part of a line that is very long.
    pub(crate) fn news(&mut self, ended: bool) -> String {
        let length = self.len().unwrap_or(0);
        // What was dropped isn't told.
        self.told = self.told.min(length);
        let mut bytes = vec![0; (length - self.told).min(TAIL) as usize];
        let Ok(read) = self.file.read_at(&mut bytes, self.told) else { return String::new() };
        bytes.truncate(read);
        if !ended && (bytes.len() as u64) < TAIL {
            bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        }
        self.told += bytes.len() as u64;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of it.
    pub(crate) fn tail(&self) -> String {
        let length = self.len().unwrap_or(0);
        let mut bytes = vec![0; length.min(TAIL) as usize];
        let read = self.file.read_at(&mut bytes, length.saturating_sub(TAIL)).unwrap_or(0);
        bytes.truncate(read);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Stages it. `haunted`: something may still write to it, so a copy is staged.
    pub(crate) fn stage(&self, staging: &Staging, haunted: bool) -> Result<Staged, CacheError> {
        let here = self.file.metadata().map_err(CacheError::io("inspect", &self.path))?;
        let there = fs::symlink_metadata(&self.path);
        let is_there = there.is_ok_and(|there| {
            (there.dev(), there.ino(), there.nlink()) == (here.dev(), here.ino(), 1)
        });
        if is_there && !haunted {
            let file = staging.fresh();
            disk::rename(&self.path, &file).map_err(CacheError::io("stage", &self.path))?;
            return Staged::adopt(file);
        }
        // The command put something else in its place, or something still has it open.
        let mut writer = staging.writer()?;
        let mut at = 0;
        let mut block = vec![0; 1 << 16];
        while at < here.len() {
            let read = self.file.read_at(&mut block, at);
            match read.map_err(CacheError::io("read", &self.path))? {
                0 => break,
                read => {
                    io::Write::write_all(&mut writer, &block[..read])
                        .map_err(CacheError::io("write", &self.path))?;
                    at += read as u64;
                }
            }
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_whole_lines_and_the_tail_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut printed = Printed::create(&folder.path().join("log")).unwrap();
        let say = |text: &str| io::Write::write_all(&mut &printed.file, text.as_bytes()).unwrap();
        say("one\ntw");
        assert_eq!(printed.news(false), "one\n");
        assert_eq!(printed.news(false), "");
        let say = |text: &str| io::Write::write_all(&mut &printed.file, text.as_bytes()).unwrap();
        say("o\nthree");
        assert_eq!(printed.news(false), "two\n");
        assert_eq!(printed.news(true), "three");
        let long = "x".repeat(3 * TAIL as usize);
        io::Write::write_all(&mut &printed.file, long.as_bytes()).unwrap();
        assert_eq!(printed.news(false).len() as u64, TAIL, "a line without an end is told, too");
        assert_eq!(printed.tail().len() as u64, TAIL);
    }
}
