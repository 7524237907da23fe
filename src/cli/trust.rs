//! Whose pipelines are run. A pipeline is a program, so one that was come upon, and not named, is run only if nobody else could
//! have put it there: it belongs to whoever runs it or to root, or was trusted once.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, Metadata},
    io::{self, Write as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use super::{
    error::CommandError,
    folders::{from_here, own_folder},
};

/// Checks that a pipeline that was found, with its cache, may be used.
pub(crate) fn check(file: &Path, cache: &Path) -> Result<(), CommandError> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    // A cache elsewhere is one that the pipeline names, and whoever trusts that trusts its word.
    let beside = cache.starts_with(folder).then_some(cache);
    for (what, path) in [("the pipeline", Some(file)), ("the cache", beside)] {
        let Some(path) = path else { continue };
        let Some(why) = doubt(path) else { continue };
        if trusted()?.iter().any(|known| path.starts_with(known)) {
            continue;
        }
        let (path, folder) = (from_here(path), from_here(folder));
        return Err(CommandError::wrong(
            format!("{what} `{}` was found here, and {why}", path.display()),
            format!(
                "a pipeline runs programs as you. If you know what it does: `pipe trust {}`, once; or name it: `-f {}`. \
                 Nothing was run",
                folder.display(),
                from_here(file).display()
            ),
        ));
    }
    Ok(())
}

/// Why somebody else may have put there what stands at `path`, if so. What isn't there is nobody's.
fn doubt(path: &Path) -> Option<String> {
    let folder = path.parent().and_then(|folder| fs::metadata(folder).ok());
    // A link is its own owner's, and so is what it leads to.
    let found = [fs::symlink_metadata(path), fs::metadata(path)];
    for meta in found.iter().flatten() {
        if !is_ours(meta.uid()) {
            return Some(format!("belongs to user {}", meta.uid()));
        }
    }
    let sticky = |meta: &Metadata| meta.is_dir() && meta.mode() & 0o1000 != 0;
    let meta = found[1].as_ref().ok()?;
    if meta.mode() & 0o002 != 0 && !sticky(meta) {
        return Some("everybody may write to it".to_owned());
    }
    let folder = folder?;
    (folder.mode() & 0o002 != 0 && !sticky(&folder))
        .then(|| "everybody may write to its folder".to_owned())
}

/// Whether it is the number of whoever runs this, also by `sudo`, or of root.
fn is_ours(user: u32) -> bool {
    let me = rustix::process::geteuid().as_raw();
    let by_sudo = || std::env::var("SUDO_UID").ok().and_then(|user| user.parse().ok());
    user == 0 || user == me || me == 0 && by_sudo() == Some(user)
}

/// The file with what is trusted: a path a line.
fn list() -> Result<PathBuf, CommandError> {
    let config = own_folder("XDG_CONFIG_HOME", ".config");
    config.map(|folder| folder.join("trusted")).ok_or_else(|| {
        CommandError::wrong(
            "there is no folder to remember what is trusted",
            "set `HOME` or `XDG_CONFIG_HOME`, or name the pipeline: `-f FILE`",
        )
    })
}

/// What is trusted.
pub(crate) fn trusted() -> Result<Vec<PathBuf>, CommandError> {
    let file = list()?;
    let bytes = match fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CommandError::file("read", file)(error)),
    };
    let meta = fs::metadata(&file).map_err(CommandError::file("look at", &file))?;
    if !is_ours(meta.uid()) || meta.mode() & 0o022 != 0 {
        return Err(CommandError::wrong(
            format!("others may write to `{}`, so it isn't believed", file.display()),
            "take that from them, and look at what it says",
        ));
    }
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(lines.map(|line| PathBuf::from(OsStr::from_bytes(line))).collect())
}

/// Trusts `path` and what is below it from now on, or doesn't any more. Gives the path in full, and whether anything changed.
pub(crate) fn change(path: &Path, trust: bool) -> Result<(PathBuf, bool), CommandError> {
    let full = fs::canonicalize(path).map_err(CommandError::file("find", path))?;
    let mut all = trusted()?;
    let was = all.contains(&full);
    if full.as_os_str().as_bytes().contains(&b'\n') {
        return Err(CommandError::wrong("a path with a newline can't be remembered", "rename it"));
    }
    if was == trust {
        return Ok((full, false));
    }
    if trust {
        all.push(full.clone());
    } else {
        all.retain(|known| *known != full);
    }
    let file = list()?;
    let folder = file.parent().unwrap_or(&file);
    let mut private = DirBuilder::new();
    let made = private.recursive(true).mode(0o700).create(folder);
    made.map_err(CommandError::file("make the folder", folder))?;
    let mut bytes = Vec::new();
    for path in all {
        bytes.extend(path.into_os_string().into_vec());
        bytes.push(b'\n');
    }
    // Beside its place first, so that it is never half there.
    let new = file.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let written = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
    written
        .and_then(|mut to| to.write_all(&bytes).and_then(|()| to.sync_all()))
        .and_then(|()| fs::rename(&new, &file))
        .map_err(CommandError::file("write", &file))?;
    Ok((full, true))
}
