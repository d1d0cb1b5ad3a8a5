//! A wall of the kernel's around a build: a memory cgroup of its own, whose limit nothing inside can pass.
//!
//! The line counts what cannot be dropped, a cgroup counts files, too: how high the wall stands is
//! [`plimsoll_core::line::wall_of`]'s to say. The build's processes are inside, whoever governs them is not: what the
//! kernel kills for the wall is always part of the build, and the governor lives to run it again.
//!
//! v1: a directory below our own cgroup. v2: the same, but a cgroup that hands the memory controller down may have no
//! processes of its own, so where we are alone in ours, we go to a leaf beside the wall. Where others are there, too, or
//! the controller is not handed to us, no wall can be had, and [`NoWall`] says what would help.
//!
//! Directories are called `plimsoll-<pid>-<start>`, by the process that made them: those of dead ones are swept by
//! the next, none of another name is ever touched. Not here: a cgroup for each unit.
#![expect(unsafe_code, reason = "a child enters its cgroup between fork and exec")]

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use plimsoll_core::Bytes;

use super::kept::field;
use super::limits::CgroupDir;
use super::mounts::Version;
use super::procfs::Proc;

/// What every directory of ours begins with.
const PREFIX: &str = "plimsoll-";
/// What the leaf beside a wall, where its maker is, ends with.
const LEAF: &str = "-driver";
/// How long a wall is waited for to be empty. Because the kernel takes a moment to bury what has ended.
const EMPTIES_WITHIN: Duration = Duration::from_secs(2);

/// Why there can be no wall here, and what would help.
#[derive(Debug, thiserror::Error)]
pub enum NoWall {
    /// Neither hierarchy is mounted with the controller.
    #[error("no memory cgroup can be seen here (is /sys/fs/cgroup mounted?)")]
    NoController,
    /// The cgroup is somebody else's.
    #[error("this user may make no cgroup in `{}` ({source}); {DELEGATE}", .dir.display())]
    NotOurs {
        /// Our cgroup.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// v2: other processes stand in the way of handing the controller down.
    #[error("`{}` does not hand its memory controller down ({source}); {DELEGATE}", .dir.display())]
    NotHandedDown {
        /// Our cgroup.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

const DELEGATE: &str =
    "run it as root, or with `systemd-run --user --scope -p Delegate=yes cargo plimsoll …`";

/// A wall. Dropping it removes it, when what was inside has ended.
#[derive(Debug)]
pub struct Wall {
    version: Version,
    dir: PathBuf,
    limit: Bytes,
    kills_before: u64,
    /// v2: where we went, and from where.
    leaf: Option<(PathBuf, PathBuf)>,
}

impl Wall {
    /// Makes one below our own cgroup, in the file system below `root` (`/`, but for tests).
    ///
    /// # Errors
    /// Where none can be made: [`NoWall`].
    pub fn new(root: &Path, limit: Bytes) -> Result<Self, NoWall> {
        let around = CgroupDir::around(root, None);
        let (version, parent) = [Version::V1, Version::V2]
            .into_iter()
            .find_map(|version| around.iter().find(|it| it.is_of(version)).map(|it| (version, it)))
            .filter(|(_, own)| own.dir().join("cgroup.procs").exists())
            .map(|(version, own)| (version, own.dir().to_owned()))
            .ok_or(NoWall::NoController)?;
        sweep(&parent);
        let name = own_name();
        let leaf = match version {
            Version::V1 => None,
            Version::V2 => hand_down(&parent, &format!("{name}{LEAF}"))?,
        };
        let dir = parent.join(name);
        let mut wall = Self { version, dir, limit: Bytes::MAX, kills_before: 0, leaf };
        let made = fs::create_dir(&wall.dir).and_then(|()| wall.set_limit(limit));
        if let Err(source) = made {
            let dir = parent;
            return Err(NoWall::NotOurs { dir, source });
        }
        wall.kills_before = wall.kernel_kills();
        Ok(wall)
    }

    /// Where it is: what a process does that outlives us to take it away ([`tear_down`]).
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// How high it stands.
    #[must_use]
    pub fn limit(&self) -> Bytes {
        self.limit
    }

    /// Moves it. Below what is held the kernel first drops files; where that is not enough, the wall stays.
    ///
    /// # Errors
    /// Where it stays as it was.
    pub fn set_limit(&mut self, limit: Bytes) -> io::Result<()> {
        let limit = Bytes(limit.0 & !0xfff);
        let text = limit.0.to_string();
        match self.version {
            Version::V1 => fs::write(self.dir.join("memory.limit_in_bytes"), text)?,
            Version::V2 => {
                // A little below it is slowed down, so that the governor acts before the kernel does.
                fs::write(self.dir.join("memory.max"), &text)?;
                let high = limit.scale(0.98).0.to_string();
                let _ = fs::write(self.dir.join("memory.high"), high);
            }
        }
        self.limit = limit;
        Ok(())
    }

    /// Has `command` run inside.
    ///
    /// # Errors
    /// Where the cgroup's door cannot be opened.
    pub fn hold(&self, command: &mut Command) -> io::Result<()> {
        let door = File::options().write(true).open(self.dir.join("cgroup.procs"))?;
        let enter = move || rustix::io::write(&door, b"0").map(drop).map_err(io::Error::from);
        // SAFETY: `enter` makes one system call: it allocates nothing and takes no lock.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }

    /// How many processes the kernel has killed for it.
    #[must_use]
    pub fn kills(&self) -> u64 {
        self.kernel_kills() - self.kills_before
    }

    fn kernel_kills(&self) -> u64 {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = fs::read(self.dir.join(file)).unwrap_or_default();
        field(&text, "oom_kill").unwrap_or(0)
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        let until = Instant::now() + EMPTIES_WITHIN;
        while !is_gone(&self.dir) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some((leaf, parent)) = &self.leaf {
            let _ = fs::write(parent.join("cgroup.subtree_control"), "-memory");
            let _ = fs::write(parent.join("cgroup.procs"), "0");
            let _ = is_gone(leaf);
        }
    }
}

/// Takes a wall away whose maker has died: opens it at once, and removes it when what is inside has ended.
pub fn tear_down(dir: &Path) {
    for (file, none) in
        [("memory.limit_in_bytes", "-1"), ("memory.high", "max"), ("memory.max", "max")]
    {
        let file = dir.join(file);
        if file.exists() {
            let _ = fs::write(file, none);
        }
    }
    while !is_gone(dir) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// True where there is no such cgroup (any more), or it can never be removed by us.
fn is_gone(dir: &Path) -> bool {
    match fs::remove_dir(dir) {
        Ok(()) => true,
        Err(error) => {
            !matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::DirectoryNotEmpty)
        }
    }
}

/// Makes the memory controller available to children of `parent`. Where we stand in the way ourselves, we go to a leaf.
fn hand_down(parent: &Path, leaf: &str) -> Result<Option<(PathBuf, PathBuf)>, NoWall> {
    let control = parent.join("cgroup.subtree_control");
    let has = |file: &Path| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.split_whitespace().any(|word| word == "memory")
    };
    if has(&control) {
        return Ok(None);
    }
    let refused = |source| NoWall::NotHandedDown { dir: parent.to_owned(), source };
    if !has(&parent.join("cgroup.controllers")) {
        return Err(refused(io::Error::other("the controller is not handed to it either")));
    }
    let Err(busy) = fs::write(&control, "+memory") else { return Ok(None) };
    let inside = fs::read_to_string(parent.join("cgroup.procs")).unwrap_or_default();
    let own = std::process::id().to_string();
    if inside.lines().any(|pid| pid.trim() != own) {
        return Err(refused(busy));
    }
    let leaf = parent.join(leaf);
    fs::create_dir(&leaf).map_err(refused)?;
    let moved =
        fs::write(leaf.join("cgroup.procs"), "0").and_then(|()| fs::write(&control, "+memory"));
    moved.map_err(|source| {
        let _ = fs::write(parent.join("cgroup.procs"), "0");
        let _ = is_gone(&leaf);
        refused(source)
    })?;
    Ok(Some((leaf, parent.to_owned())))
}

fn own_name() -> String {
    let pid = std::process::id();
    let start = Proc::open(Path::new("/proc")).ok().and_then(|proc| proc.stat(pid));
    format!("{PREFIX}{pid}-{}", start.map_or(0, |stat| stat.start))
}

/// Removes what makers that have died left behind, where it is empty.
fn sweep(parent: &Path) {
    let Ok(proc) = Proc::open(Path::new("/proc")) else { return };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| {
            let name = name.strip_prefix(PREFIX)?;
            let (pid, start) = name.strip_suffix(LEAF).unwrap_or(name).split_once('-')?;
            Some((pid.parse().ok()?, start.parse().ok()?))
        });
        let Some((pid, start)) = maker else { continue };
        let lives = |pid: u32, start: u64| proc.stat(pid).is_some_and(|stat| stat.start == start);
        if !lives(pid, start) {
            let _ = is_gone(&entry.path());
        }
    }
}
