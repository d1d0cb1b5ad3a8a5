//! How far the disk of the state folder reads ahead: a link's time inside a cgroup limit depends on it more than on anything else.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Set for as long as this lives.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    file: PathBuf,
    before: String,
    kib: u32,
}

impl ReadAhead {
    /// Has the disk below `dir` read `kib` KiB ahead, which needs root and is felt by the whole system meanwhile.
    pub(crate) fn set(dir: &Path, kib: u32) -> Result<Self> {
        let file = setting(dir)?;
        let before = fs::read_to_string(&file)
            .with_context(|| format!("reading {}: is this a disk?", file.display()))?;
        fs::write(&file, kib.to_string())
            .with_context(|| format!("setting {}: that needs root", file.display()))?;
        Ok(Self { file, before: before.trim().to_owned(), kib })
    }

    /// What was asked for, in KiB.
    pub(crate) fn kib(&self) -> u32 {
        self.kib
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.file, &self.before) {
            eprintln!(
                "{}: it was {} and cannot be set back: {error}",
                self.file.display(),
                self.before
            );
        }
    }
}

/// The disk's own setting in KiB; `None` where there is no disk below.
pub(crate) fn now(dir: &Path) -> Option<u32> {
    fs::read_to_string(setting(dir).ok()?).ok()?.trim().parse().ok()
}

fn setting(dir: &Path) -> Result<PathBuf> {
    let device = fs::metadata(dir).with_context(|| format!("looking at {}", dir.display()))?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    Ok(PathBuf::from(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb")))
}
