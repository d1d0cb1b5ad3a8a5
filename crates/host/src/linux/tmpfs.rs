//! Target directories in memory: a tmpfs's pages count against the budget, but belong to no process.

use std::os::fd::OwnedFd;
use std::path::Path;

use plimsoll_core::Bytes;
use rustix::fs::{Mode, OFlags, StatFs, fstatfs, open};

use crate::HostError;

/// `TMPFS_MAGIC` (linux/magic.h).
const TMPFS: u64 = 0x0102_1994;
/// `RAMFS_MAGIC`. It does not count its pages: its growth cannot be seen and reads as nothing.
const RAMFS: u64 = 0x8584_58f6;

/// A file system in memory, and what it held when the build began.
#[derive(Debug)]
pub struct Tmpfs {
    dir: OwnedFd,
    at_start: Bytes,
}

impl Tmpfs {
    /// The file system that holds `path`, or will hold it once it is made; `None` where that is not in
    /// memory.
    ///
    /// # Errors
    /// Where neither the path nor any of its parents can be opened.
    pub fn holding(path: &Path) -> Result<Option<Self>, HostError> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let mut parts =
            path.ancestors().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
        let dir = loop {
            let Some(part) = parts.next() else {
                return Err(HostError::new("open", path, rustix::io::Errno::NOENT));
            };
            match open(part, flags, Mode::empty()) {
                Ok(dir) => break dir,
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(HostError::new("open", part, error)),
            }
        };
        let stat = fstatfs(&dir)
            .map_err(|error| HostError::new("read the file system type of", path, error))?;
        // The type's width and sign differ between architectures; the magic numbers have 32 bits.
        let kind = stat.f_type as u64 & 0xffff_ffff;
        Ok((kind == TMPFS || kind == RAMFS).then(|| Self { dir, at_start: used(&stat) }))
    }

    /// How much more it holds than at the start; nothing where it holds less.
    #[must_use]
    pub fn growth(&self) -> Bytes {
        fstatfs(&self.dir).map(|stat| used(&stat) - self.at_start).unwrap_or_default()
    }

    /// What it holds, and how much it may hold in all.
    #[must_use]
    pub fn room(&self) -> (Bytes, Bytes) {
        let size = |stat: &StatFs| {
            Bytes(stat.f_blocks.saturating_mul(u64::try_from(stat.f_bsize).unwrap_or(0)))
        };
        fstatfs(&self.dir).map(|stat| (used(&stat), size(&stat))).unwrap_or_default()
    }
}

fn used(stat: &StatFs) -> Bytes {
    let blocks = stat.f_blocks.saturating_sub(stat.f_bfree);
    Bytes(blocks.saturating_mul(u64::try_from(stat.f_bsize).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_written_to_shared_memory_is_growth() {
        let shm = Path::new("/dev/shm");
        let dir = tempfile::tempdir_in(shm).unwrap();
        let tmpfs = Tmpfs::holding(&dir.path().join("target/debug")).unwrap().unwrap();
        let file = dir.path().join("big");
        fs::write(&file, vec![1u8; 32 << 20]).unwrap();
        // Others may write there, too: only a lower bound is sure, and none once it is smaller again.
        assert!(tmpfs.growth() >= Bytes::mib(24), "{}", tmpfs.growth());
        let (held, most) = tmpfs.room();
        assert!(held >= Bytes::mib(24) && held <= most, "{held} of {most}");
        let later = Tmpfs::holding(dir.path()).unwrap().unwrap();
        fs::remove_file(&file).unwrap();
        assert!(later.growth() < Bytes::mib(24));
    }

    #[test]
    fn proc_is_not_in_memory_as_files_are() {
        assert!(Tmpfs::holding(Path::new("/proc/self/no/such/file")).unwrap().is_none());
    }
}
