//! Files in a folder that others write to: nothing is opened there but regular files, and no more of them is read than there
//! should be.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::{fs::OFlags, io::Errno};

/// Opens the file at `path` for reading. A link isn't followed, and nothing that isn't a regular file is waited for.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for what isn't a regular file; else when it can't be opened.
pub(crate) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let file =
        opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::LOOP) => invalid("it is a link"),
            // A socket, or a device without a driver.
            Some(Errno::NXIO | Errno::NODEV) => invalid("it is not a regular file"),
            _ => error,
        })?;
    let meta = file.metadata()?;
    if meta.is_file() { Ok((file, meta)) } else { Err(invalid("it is not a regular file")) }
}

/// The bytes of the file at `path`, which should be `most` at most.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for what isn't a regular file, or is larger; else when it can't be read.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (file, meta) = open(path)?;
    if meta.len() > most {
        return Err(invalid("it is larger than it can be"));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn nothing_but_regular_files_of_sane_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "text").unwrap();
        assert_eq!(read(&at("file"), 4).unwrap(), b"text");
        symlink(at("file"), at("link")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), 0o600.into()).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        File::create(at("sparse")).unwrap().set_len(200 << 30).unwrap();
        for name in ["link", "loop", "zero", "folder", "fifo", "socket", "sparse"] {
            let error = read(&at(name), 1 << 20).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}: {error}");
        }
        assert_eq!(read(&at("none"), 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
