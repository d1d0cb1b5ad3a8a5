//! A hard limit of our own: a cgroup below the driver's, with a limit, into which the build's processes go.
//!
//! ```text
//! v1   D/plimsoll-<pid>-<start>            D: the driver's own cgroup, where memory is limited
//! v2   D/plimsoll-<pid>-<start>            where D hands its memory controller on
//!      D/plimsoll-<pid>-<start>-driver     the driver, where it sat alone in D: a cgroup with processes in it can
//!                                          hand no controller on (EBUSY; cgroup-v2.rst, "No Internal Process")
//! ```
//! Nobody else's process is moved. Where others sit in D there is no hard limit, and [`NoHardLimit`] says what would help.
//!
//! The name says whose a hard limit is: a driver's, by its process id and its start (field 22 of proc(5)'s stat, so that
//! the next process of that id is not taken for it). Whoever makes the next hard limit in D sweeps away what dead drivers
//! left there, where it is empty: a cgroup with processes in it cannot be removed, so nobody is harmed where another
//! pid namespace's driver looks dead. Only names of this form are ever touched. What was left in a cgroup that hands
//! its controller on stays: no process, and so no driver, can come there.
//!
//! What is not here: how high the hard limit is (`plimsoll_core::hard_limit`), and when.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_core::Bytes;
use plimsoll_core::budget::MemoryStall;
use plimsoll_core::hard_limit::{HardLimitLevels, HardLimitReading};

use super::cgroup::CgroupFiles;
use super::hard_limit_name::{DRIVER, PREFIX, is_drivers, owner};
use super::kept::{KeptFile, field};
use super::limits::{CgroupDir, Limits, stalled};
use super::mounts::Version;
use super::procfs::{Proc, number};
use crate::HostError;

/// Where a process enters a cgroup, both versions.
const PROCESSES: &str = "cgroup.procs";
/// What a process writes there that goes itself.
const OURSELVES: &str = "0";
/// v2: what is handed on.
const HANDED_ON: &str = "cgroup.subtree_control";
/// A cgroup whose last process has just ended may be busy for a moment: so often it is tried,
const TRIES: u32 = 100;
/// with so long between.
const PAUSE: Duration = Duration::from_millis(10);

/// Why there can be no hard limit, and what would make it possible.
#[derive(Debug, thiserror::Error)]
pub enum NoHardLimit {
    /// No hierarchy with a memory controller is mounted where we are.
    #[error(
        "the kernel's memory controller is not available; mount a cgroup file system with the controller `memory` \
         at /sys/fs/cgroup"
    )]
    NoController,
    /// The cgroup's owner keeps its controllers.
    #[error("you may not create a cgroup below `{}` ({source}); you need {needs}", path.display())]
    NotOurs {
        /// The driver's cgroup.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
        /// What would help.
        needs: &'static str,
    },
    /// Whatever we make here would be inside of another build's hard limit, which bounds us already.
    #[error("the build already runs inside the hard limit of another build")]
    Behind,
    /// Somebody else's processes are in the cgroup.
    #[error(
        "other processes are in `{}`, and the kernel limits no cgroup below one that holds processes; start the \
         build with `systemd-run --scope -p Delegate=yes`, which gives it its own", .0.display()
    )]
    Occupied(PathBuf),
    /// What is there cannot be read.
    #[error(transparent)]
    Unreadable(#[from] HostError),
}

impl NoHardLimit {
    fn not_ours(version: Version, path: &Path, source: io::Error) -> Self {
        let needs = match version {
            Version::V1 => {
                "to be root, or a cgroup that root gave you (this system uses cgroup v1)"
            }
            Version::V2 => {
                "a delegated cgroup (`systemd-run --user --scope -p Delegate=yes`), or a container with \
                 writable cgroups"
            }
        };
        Self::NotOurs { path: path.to_owned(), source, needs }
    }
}

/// Where a hard limit is, and what has to be put back when it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPath {
    /// The driver's cgroup, before.
    home: PathBuf,
    /// The hard limit.
    dir: PathBuf,
    /// The driver's cgroup, where it had to make room.
    driver: Option<PathBuf>,
}

impl CgroupPath {
    /// The words by which another process of ours is told ([`Self::from_words`]).
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        let all = [Some(&self.home), Some(&self.dir), self.driver.as_ref()];
        all.into_iter().flatten().map(|path| path.clone().into_os_string()).collect()
    }

    /// What [`Self::words`] said; `None` for anything that is no hard limit of ours.
    #[must_use]
    pub fn from_words(words: &[OsString]) -> Option<Self> {
        let paths: Vec<PathBuf> = words.iter().map(PathBuf::from).collect();
        let (home, dir, driver) = match paths.as_slice() {
            [home, dir] => (home, dir, None),
            [home, dir, driver] => (home, dir, Some(driver)),
            _ => return None,
        };
        let is_ours = |path: &PathBuf| path.file_name().and_then(owner).is_some();
        let ours = is_ours(dir) && driver.is_none_or(is_ours);
        ours.then(|| Self { home: home.clone(), dir: dir.clone(), driver: driver.cloned() })
    }

    /// Puts the calling process inside the cgroup limit, and with it all that it starts.
    ///
    /// # Errors
    /// Where the hard limit is gone or the kernel refuses.
    pub fn enter(&self) -> Result<(), HostError> {
        let path = self.dir.join(PROCESSES);
        fs::write(&path, OURSELVES).map_err(|source| HostError::new("write", path, source))
    }

    /// Nobody is inside the cgroup limit, or it is gone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Also those that have no number here are somebody.
        fs::read_to_string(self.dir.join(PROCESSES)).unwrap_or_default().trim().is_empty()
    }

    /// Takes the hard limit away, and puts the driver's cgroup back where it was changed. Who is still behind it (a
    /// server that the build has started) goes on where the driver began.
    ///
    /// # Errors
    /// Where something of it stays.
    pub fn remove(&self) -> Result<(), HostError> {
        if self.driver.is_some() {
            // Without its controller the cgroup takes processes again.
            let _ = fs::write(self.home.join(HANDED_ON), "-memory");
        }
        let mut result = Ok(());
        for dir in self.driver.iter().chain([&self.dir]) {
            result = self.empty_and_remove(dir).and(result);
        }
        result
    }

    fn empty_and_remove(&self, dir: &Path) -> Result<(), HostError> {
        for left in (0..TRIES).rev() {
            for pid in processes(dir) {
                // What has just ended, or started another, is seen in the next round.
                let _ = fs::write(self.home.join(PROCESSES), pid.to_string());
            }
            match fs::remove_dir(dir) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) if left == 0 => return Err(HostError::new("remove", dir, error)),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
        Ok(())
    }
}

/// A hard limit that stands.
#[derive(Debug)]
pub struct HardLimitCgroup {
    version: Version,
    place: CgroupPath,
    /// Everything above it.
    above: Limits,
    files: CgroupFiles,
    /// All that is charged to it: v2 `memory.current`, v1 `memory.usage_in_bytes`.
    charged: Option<KeptFile>,
    /// v2 `memory.events`, v1 `memory.oom_control`: both have a budget `oom_kill`.
    kills: Option<KeptFile>,
    pressure: Option<KeptFile>,
}

impl HardLimitCgroup {
    /// Makes a cgroup below that of this process, in the file system below `root` (`/`, but for tests), as the
    /// driver `pid`. It has no limit yet. What dead drivers left beside it is swept away first.
    ///
    /// # Errors
    /// Where the kernel or its owner lets us make none.
    pub fn raise(root: &Path, pid: u32) -> Result<Self, NoHardLimit> {
        let around = CgroupDir::around(root, None);
        let innermost = |version| around.iter().find(|it| it.version() == version);
        let limits_memory = |it: &&CgroupDir| it.dir().join("memory.limit_in_bytes").exists();
        // A hybrid system has both, and memory is limited in one of them only.
        let home = innermost(Version::V1).filter(limits_memory).or(innermost(Version::V2));
        let home = home.ok_or(NoHardLimit::NoController)?;
        let (version, home) = (home.version(), home.dir().to_owned());
        if home.ancestors().any(|dir| dir.file_name().and_then(owner).is_some() && !is_drivers(dir))
        {
            return Err(NoHardLimit::Behind);
        }
        let proc = Proc::open(&root.join("proc"))?;
        sweep(&home, &proc);
        let start = proc.stat(pid).map_or(0, |stat| stat.start);
        let name = format!("{PREFIX}{pid}-{start}");
        let driver = match version {
            Version::V1 => None,
            Version::V2 => hand_on(&home, &home.join(format!("{name}{DRIVER}")), pid)?,
        };
        let place = CgroupPath { dir: home.join(name), home, driver };
        let stands = Self::open(root, version, &place, &around);
        if stands.is_err() {
            // What was made is taken away again; it may be less than all of it.
            let _ = place.remove();
        }
        stands
    }

    fn open(
        root: &Path,
        version: Version,
        place: &CgroupPath,
        around: &[CgroupDir],
    ) -> Result<Self, NoHardLimit> {
        let dir = &place.dir;
        let not_ours = |source| NoHardLimit::not_ours(version, &place.home, source);
        make_dir(dir).map_err(not_ours)?;
        // Only what has no limit can be given one: that tells whether the controller is there at all.
        write_limit(version, dir, None).map_err(|error| not_ours(error.source))?;
        let open = |name: &str| KeptFile::open(&dir.join(name));
        let (charged, kills) = match version {
            Version::V1 => ("memory.usage_in_bytes", "memory.oom_control"),
            Version::V2 => ("memory.current", "memory.events"),
        };
        Ok(Self {
            version,
            place: place.clone(),
            above: Limits::within(root, around)?,
            files: CgroupFiles::open(version, dir).ok_or(NoHardLimit::NoController)?,
            charged: open(charged),
            kills: open(kills),
            pressure: open("memory.pressure").filter(|file| stalled(file).is_some()),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &CgroupPath {
        &self.place
    }

    /// What there is to see of it now.
    #[must_use]
    pub fn look(&self) -> HardLimitReading {
        let reading = self.files.read(1.0);
        let number = |file: &Option<KeptFile>| file.as_ref().and_then(KeptFile::number);
        let refaulted = reading.refaulted.saturating_mul(rustix::param::page_size() as u64);
        HardLimitReading {
            above: self.above.read(),
            held: reading.held,
            charged: Bytes(number(&self.charged).unwrap_or(0)),
            stall: MemoryStall {
                full_us: self.pressure.as_ref().and_then(stalled).unwrap_or(0),
                refaulted: Bytes(refaulted),
            },
        }
    }

    /// How many of the build's processes the kernel has killed for it.
    #[must_use]
    pub fn kills(&self) -> u64 {
        let mut buffer = [0; 512];
        let Some(file) = &self.kills else { return 0 };
        field(file.read(&mut buffer), "oom_kill").unwrap_or(0)
    }

    /// How often systemd-oomd has killed all that is behind it. It counts that on the cgroup itself, before it begins (its
    /// version 250 and later; only v2 has such attributes).
    #[must_use]
    pub fn killed_by_oomd(&self) -> u64 {
        let mut buffer = [0; 32];
        let read = rustix::fs::getxattr(&self.place.dir, c"user.oomd_ooms", &mut buffer[..]);
        read.ok().and_then(|len| number(&buffer[..len])).unwrap_or(0)
    }

    /// Moves it.
    ///
    /// # Errors
    /// Where the kernel refuses: v1 does, where more is held than the limit would be.
    pub fn set(&self, height: HardLimitLevels) -> Result<(), HostError> {
        write_limit(self.version, &self.place.dir, Some(height))
    }
}

fn write_limit(
    version: Version,
    dir: &Path,
    height: Option<HardLimitLevels>,
) -> Result<(), HostError> {
    let limit = height.map(|height| height.limit.0.to_string());
    let throttle = height.map(|height| height.throttle.0.to_string());
    let write = |name: &str, value: Option<String>, none: &str| {
        let path = dir.join(name);
        fs::write(&path, value.as_deref().unwrap_or(none))
            .map_err(|source| HostError::new("write", path, source))
    };
    match version {
        Version::V1 => write("memory.limit_in_bytes", limit, "-1"),
        Version::V2 => {
            // The throttling limit first where it rises, so that nothing is slowed down for a moment; where it
            // falls the order makes no difference.
            write("memory.high", throttle, "max").and_then(|()| write("memory.max", limit, "max"))
        }
    }
}

/// Has `home` hand its memory controller on, and moves the driver into the cgroup `leaf` where it must; gives that
/// then.
fn hand_on(home: &Path, leaf: &Path, pid: u32) -> Result<Option<PathBuf>, NoHardLimit> {
    let names = |file: &str| fs::read_to_string(home.join(file)).unwrap_or_default();
    let has_memory = |text: String| text.split_whitespace().any(|name| name == "memory");
    if has_memory(names(HANDED_ON)) {
        return Ok(None);
    }
    if !has_memory(names("cgroup.controllers")) {
        return Err(NoHardLimit::NoController);
    }
    let not_ours = |source| NoHardLimit::not_ours(Version::V2, home, source);
    let busy = || NoHardLimit::Occupied(home.to_owned());
    if processes(home).iter().all(|other| *other == pid) {
        make_dir(leaf).map_err(not_ours)?;
        let moved = fs::write(leaf.join(PROCESSES), OURSELVES)
            .and_then(|()| fs::write(home.join(HANDED_ON), "+memory"));
        if moved.is_ok() {
            return Ok(Some(leaf.to_owned()));
        }
        let _ = fs::write(home.join(PROCESSES), OURSELVES);
        let _ = fs::remove_dir(leaf);
    }
    // The root of all cgroups may have processes and hand on.
    match fs::write(home.join(HANDED_ON), "+memory") {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Err(busy()),
        Err(error) => Err(not_ours(error)),
    }
}

/// Removes the hard limits that dead drivers have left in the cgroup `home`, where they are empty.
fn sweep(home: &Path, proc: &Proc) {
    // Where the ids in /proc are not those that we know nobody can be told to be dead.
    let entries = fs::read_dir(home).ok().filter(|_| proc.is_of_our_namespace());
    let Some(entries) = entries else { return };
    for entry in entries.flatten() {
        let Some((pid, start)) = owner(&entry.file_name()) else { continue };
        if proc.stat(pid).is_none_or(|stat| stat.is_dead() || stat.start != start) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Makes a cgroup of our name; one that is there already was begun by this process.
fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Who is in a cgroup; nobody, where there is none. A process of another pid namespace is listed as 0, which would mean
/// ourselves where it is written back: it cannot be named from here, and is left out.
fn processes(dir: &Path) -> Vec<u32> {
    let text = fs::read_to_string(dir.join(PROCESSES)).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_no_number_here_is_nobody() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(PROCESSES), "12\n0\n345\n").unwrap();
        assert_eq!(processes(dir.path()), [12, 345]);
        fs::write(dir.path().join(PROCESSES), "0\n").unwrap();
        let (home, dir) = (dir.path().to_owned(), dir.path().to_owned());
        assert!(!CgroupPath { home, dir, driver: None }.is_empty(), "but it is there");
    }

    #[test]
    fn a_place_is_told_in_words_and_no_other_directory_is_believed() {
        let place = |driver: Option<&str>| CgroupPath {
            home: "/cg".into(),
            dir: "/cg/plimsoll-1-2".into(),
            driver: driver.map(PathBuf::from),
        };
        for place in [place(None), place(Some("/cg/plimsoll-1-2-driver"))] {
            assert_eq!(CgroupPath::from_words(&place.words()), Some(place));
        }
        for words in [&["/cg"][..], &["/cg", "/etc"], &["/cg", "/cg/plimsoll-1-2", "/etc"]] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(CgroupPath::from_words(&words), None);
        }
    }
}
