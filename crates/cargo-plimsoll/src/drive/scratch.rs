//! The build's private temporary directory, and the one of symbolic links that stand for linkers.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Directories of one build. Each may be missing: then what needs it goes without.
pub(super) struct Scratch {
    tmp: Option<PathBuf>,
    link: Option<PathBuf>,
    probes: Option<PathBuf>,
}

impl Scratch {
    /// Makes them: the temporary one for this build alone, the others below `home`, where they stay.
    pub(super) fn make(unix_ms: u64, home: Option<&Path>) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let name = format!("plimsoll-{uid}-{unix_ms}-{}", std::process::id());
        let tmp = private(std::env::temp_dir().join(name));
        let below = |name: &str| home.and_then(|home| private(home.join(name)));
        let link = below("link").or_else(|| private(tmp.as_ref()?.join("link")));
        Self { probes: below("probes"), link, tmp }
    }

    /// The build's own temporary directory.
    pub(super) fn tmp(&self) -> Option<&Path> {
        self.tmp.as_deref()
    }

    /// The directory of links that are named as linkers.
    pub(super) fn link(&self) -> Option<&Path> {
        self.link.as_deref()
    }

    /// The directory of the compilers' answers to Cargo's questions.
    pub(super) fn probes(&self) -> Option<&Path> {
        self.probes.as_deref()
    }

    /// Where state goes that has no home: it ends with the build.
    pub(super) fn state(&self) -> PathBuf {
        self.tmp.clone().unwrap_or_else(std::env::temp_dir).join("state")
    }

    /// Removes the temporary directory, and those of builds whose driver was killed.
    pub(super) fn remove(&mut self) {
        let Some(tmp) = self.tmp.take() else { return };
        let _ = fs::remove_dir_all(&tmp);
        let uid = rustix::process::geteuid().as_raw();
        let Some(entries) = tmp.parent().and_then(|parent| fs::read_dir(parent).ok()) else {
            return;
        };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(|name| is_stale(name, uid)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// A directory of ours whose driver is gone.
fn is_stale(name: &str, uid: u32) -> bool {
    let rest = name.strip_prefix(&format!("plimsoll-{uid}-"));
    let pid = rest.and_then(|rest| rest.split_once('-')).and_then(|(_, pid)| pid.parse().ok());
    pid.is_some_and(|pid: u32| !Path::new(&format!("/proc/{pid}")).exists())
}

/// Makes a directory for its owner only; one that is there is used where it is its owner's.
fn private(path: PathBuf) -> Option<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(&path).ok()?;
    let writable = rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_ok();
    writable.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_of_dead_drivers_are_stale() {
        assert!(!is_stale(&format!("plimsoll-0-123-{}", std::process::id()), 0));
        assert!(is_stale("plimsoll-0-123-4194999", 0));
        for other in ["plimsoll-1-123-4194999", "plimsoll-0-x", "plimsoll-0-1-2-3", "rustcAbC"] {
            assert!(!is_stale(other, 0), "{other}");
        }
    }
}
