//! Metadata that dependents have already read, kept over a second run of the compiler.
//!
//! Once a unit's `.rmeta` is announced, Cargo starts its dependents. A second run writes it again: with a
//! newer time all dependents would be stale for the next Cargo, and with other bytes (several threads in the front
//! end, a procedural macro that is not deterministic) they would not fit. So the file is kept under a second name before the second
//! run, and takes its place again afterwards: the same inode, the same bytes, the same time.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use plimsoll_core::invocation::Invocation;

/// A metadata file under a second name. The name goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    kept: PathBuf,
}

/// How the second run's metadata compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The first file is in its place again.
    Same,
    /// Dependents have read something else: this unit must fail.
    Differs,
}

/// Where rustc puts a library's metadata.
pub(crate) fn path(invocation: &Invocation) -> Option<PathBuf> {
    Some(invocation.out_dir.as_ref()?.join(format!("lib{}.rmeta", invocation.file_stem())))
}

impl Kept {
    /// Keeps the file at `path`, in `private` where that is on the same file system, else beside it.
    pub(crate) fn keep(path: PathBuf, private: Option<&Path>) -> io::Result<Self> {
        let name = format!(
            ".plimsoll-{}-{}",
            std::process::id(),
            path.file_name().unwrap_or_default().to_string_lossy()
        );
        if let Some(kept) = private.map(|dir| dir.join(&name))
            && fs::hard_link(&path, &kept).is_ok()
        {
            return Ok(Self { path, kept });
        }
        let kept = path.with_file_name(&name);
        if fs::hard_link(&path, &kept).is_err() {
            // A file system without hard links: a copy with the same time serves as well.
            fs::copy(&path, &kept)?;
            let time = fs::metadata(&path)?.modified()?;
            fs::File::options().write(true).open(&kept)?.set_modified(time)?;
        }
        Ok(Self { path, kept })
    }

    /// After a second run that succeeded: puts the first file back where the bytes are the same.
    pub(crate) fn settle(self) -> io::Result<Comparison> {
        if !same_bytes(&self.path, &self.kept)? {
            return Ok(Comparison::Differs);
        }
        fs::rename(&self.kept, &self.path)?;
        Ok(Comparison::Same)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Renaming one name of a file over another name of the same file does nothing, so the name may
        // still be there; after a real rename it is not.
        let _ = fs::remove_file(&self.kept);
    }
}

fn same_bytes(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (fs::File::open(a)?, fs::File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let mut left = [0; 16 * 1024];
    let mut right = [0; 16 * 1024];
    loop {
        let read = a.read(&mut left)?;
        if read == 0 {
            return Ok(true);
        }
        b.read_exact(&mut right[..read])?;
        if left[..read] != right[..read] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_first_file_takes_its_place_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("liba.rmeta");
        fs::write(&path, "metadata").unwrap();
        let before = fs::metadata(&path).unwrap();
        for private in [Some(dir.path()), None] {
            let kept = Kept::keep(path.clone(), private).unwrap();
            fs::remove_file(&path).unwrap();
            fs::write(&path, "metadata").unwrap();
            assert_eq!(kept.settle().unwrap(), Comparison::Same);
            let after = fs::metadata(&path).unwrap();
            assert_eq!(after.ino(), before.ino());
            assert_eq!(after.modified().unwrap(), before.modified().unwrap());
        }
        let kept = Kept::keep(path.clone(), None).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "metaDATA").unwrap();
        assert_eq!(kept.settle().unwrap(), Comparison::Differs);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
