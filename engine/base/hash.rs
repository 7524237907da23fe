//! The digest of an open file's bytes.

use std::{
    fs::File,
    io::{self, Read as _},
};

use super::digest::Digest;

/// The digest and the number of the bytes of a regular file that is open at its beginning and was found to have `size` of
/// them; nothing if it is to `stop`, which is asked before every block. Of a file that has become larger one byte more is read
/// than it had.
///
/// Those of large files are hashed by all threads, block by block, the next being read meanwhile: a file that is mapped
/// costs no less time, and counts as memory of the process.
///
/// # Errors
/// When the file can't be read.
pub(crate) fn hash(
    file: &File,
    size: u64,
    stop: &(dyn Fn() -> bool + Sync),
) -> io::Result<Option<(Digest, u64)>> {
    const LARGE: u64 = 1 << 18;
    const BLOCK: u64 = 1 << 22;
    let mut file = file.take(size.saturating_add(1));
    let mut read = |block: &mut Vec<u8>| {
        block.clear();
        file.by_ref().take(BLOCK).read_to_end(block)
    };
    let room = || Vec::with_capacity(size.min(BLOCK) as usize + 1);
    let (mut block, mut next) = (room(), Vec::new());
    if size > BLOCK {
        next = room();
    }
    let mut hasher = blake3::Hasher::new();
    let mut length = read(&mut block)?;
    while length > 0 {
        if stop() {
            return Ok(None);
        }
        let mut hash = || {
            if size < LARGE {
                hasher.update(&block);
            } else {
                hasher.update_rayon(&block);
            }
        };
        let mut ahead = || read(&mut next);
        let ((), read) = if size > BLOCK { rayon::join(hash, ahead) } else { (hash(), ahead()) };
        length = read?;
        std::mem::swap(&mut block, &mut next);
    }
    Ok(Some((Digest::from_bytes(*hasher.finalize().as_bytes()), hasher.count())))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_large_file_is_let_go_of_within_a_block() {
        let file = tempfile::tempfile().unwrap();
        // A thousand blocks of nothing take up no room.
        let size = 1000 << 22;
        file.set_len(size).unwrap();
        let asked = AtomicU64::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) == 2;
        assert!(hash(&file, size, &stop).unwrap().is_none());
        assert_eq!(asked.into_inner(), 3);
    }

    #[test]
    fn what_has_grown_is_not_read_to_its_end() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        let (_, read) = hash(&file, 10, &|| false).unwrap().unwrap();
        assert_eq!(read, 11);
    }
}
