//! The build's private temporary directory, and the one of symbolic links that stand for linkers.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

/// A directory that is younger may belong to a driver that has not locked it yet.
const YOUNG: Duration = Duration::from_secs(60);

/// Directories of one build. Each may be missing: then what needs it goes without.
pub(super) struct Scratch {
    tmp: Option<PathBuf>,
    /// The temporary directory, locked as long as this build lives: a process id would not tell that, where
    /// several pid namespaces share a temporary directory.
    lock: Option<File>,
    link: Option<PathBuf>,
    probes: Option<PathBuf>,
    tools: Option<PathBuf>,
}

impl Scratch {
    /// Makes them: the temporary one for this build alone, the others below `home`, where they stay.
    pub(super) fn make(unix_ms: u64, home: Option<&Path>) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let name = format!("plimsoll-{uid}-{unix_ms}-{}", std::process::id());
        let tmp = temporary().and_then(|dir| private(dir.join(name)));
        let lock = tmp.as_deref().and_then(locked);
        let below = |name: &str| home.and_then(|home| private(home.join(name)));
        let link = below("link").or_else(|| private(tmp.as_ref()?.join("link")));
        let tools = below("tools").or_else(|| private(tmp.as_ref()?.join("tools")));
        Self { probes: below("probes"), link, tools, tmp, lock }
    }

    /// The build's own temporary directory.
    pub(super) fn tmp(&self) -> Option<&Path> {
        self.tmp.as_deref()
    }

    /// The directory of links that are named as linkers.
    pub(super) fn link(&self) -> Option<&Path> {
        self.link.as_deref()
    }

    /// The directory of scripts that are named as tools.
    pub(super) fn tools(&self) -> Option<&Path> {
        self.tools.as_deref()
    }

    /// The directory of the compilers' answers to Cargo's questions.
    pub(super) fn probes(&self) -> Option<&Path> {
        self.probes.as_deref()
    }

    /// Where state goes that has no home: it ends with the build.
    pub(super) fn state(&self) -> PathBuf {
        self.tmp.clone().unwrap_or_else(std::env::temp_dir).join("state")
    }
}

impl Drop for Scratch {
    /// Removes the temporary directory, and those of builds whose driver was killed.
    fn drop(&mut self) {
        let Some(tmp) = self.tmp.take() else { return };
        plimsoll_shim::clear_doubtful(&tmp);
        let _ = fs::remove_dir_all(&tmp);
        self.lock = None;
        let uid = rustix::process::geteuid().as_raw();
        let Some(entries) = tmp.parent().and_then(|parent| fs::read_dir(parent).ok()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let old = name.to_str().and_then(|name| started(name, uid)).is_some_and(is_old);
            if old && locked(&entry.path()).is_some() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// When the build began whose temporary directory has this name.
fn started(name: &str, uid: u32) -> Option<SystemTime> {
    let (ms, pid) = name.strip_prefix(&format!("plimsoll-{uid}-"))?.split_once('-')?;
    let _: u32 = pid.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms.parse().ok()?))
}

fn is_old(started: SystemTime) -> bool {
    started.elapsed().is_ok_and(|age| age > YOUNG)
}

/// The directory, where nobody else has it locked.
fn locked(directory: &Path) -> Option<File> {
    let file = File::open(directory).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok().map(|()| file)
}

/// The directory for temporary files: where the user's does not exist or cannot be written to, one that can, as C compilers
/// and linkers do (GCC's `choose_tmpdir`). None is made.
fn temporary() -> Option<PathBuf> {
    usable([std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()])
}

fn usable<const N: usize>(directories: [PathBuf; N]) -> Option<PathBuf> {
    let writable = |dir: &PathBuf| {
        dir.is_dir() && rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
    };
    directories.into_iter().find(writable)
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
    fn the_start_is_in_the_name() {
        let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        assert_eq!(started("plimsoll-0-1000-4194999", 0), Some(second));
        for other in ["plimsoll-1-123-4194999", "plimsoll-0-x", "plimsoll-0-1-2-3", "rustcAbC"] {
            assert_eq!(started(other, 0), None, "{other}");
        }
        assert!(is_old(second));
        assert!(!is_old(SystemTime::now()));
    }

    #[test]
    fn a_temporary_directory_that_does_not_exist_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent");
        fs::write(dir.path().join("file"), "").unwrap();
        let there = dir.path().to_owned();
        let of_these = [absent.clone(), dir.path().join("file"), there.clone()];
        assert_eq!(usable(of_these), Some(there));
        assert_eq!(usable([absent.clone()]), None);
        assert!(!absent.exists());
    }

    #[test]
    fn a_directory_is_its_builds_as_long_as_that_lives() {
        let dir = tempfile::tempdir().unwrap();
        let lock = locked(dir.path());
        assert!(lock.is_some() && locked(dir.path()).is_none());
        drop(lock);
        assert!(locked(dir.path()).is_some());
    }
}
