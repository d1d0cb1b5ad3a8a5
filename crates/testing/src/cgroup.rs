//! A cgroup limit around a command: a memory cgroup with a limit, in either version of cgroups.
//!
//! Version 1: below our own cgroup. Version 2: below the nearest one around us that hands its memory controller on and
//! that this user may write to; for a user with a systemd of its own that is the scope into which `enter_scope` has
//! gone. Where there is neither, whoever asks for a cgroup limit is ignored.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::ignored;

/// What tells this program, started again, that it is in a scope of its own.
const SCOPED: &str = "PLIMSOLL_TESTING_SCOPED";
/// Where a process enters a cgroup.
const PROCESSES: &str = "cgroup.procs";
/// Version 2: what is handed on to the cgroups below.
const HANDED_ON: &str = "cgroup.subtree_control";
/// A cgroup whose last process has ended is removed within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// The version of cgroups whose memory controller is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy of the controller's own.
    V1,
    /// The unified one.
    V2,
}

/// The cgroup of a process (a number, or `self`) in which memory can be limited, and its version; `None` where there is
/// no such process, or no memory controller.
fn group_and_version(pid: &str) -> Option<(PathBuf, Version)> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let path = |is: &dyn Fn(&str, &str) -> bool| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (id, controllers) = (fields.next()?, fields.next()?);
            is(id, controllers).then(|| fields.next())?
        })
    };
    let mounted = |kind: &str, option: &str, path: &str| {
        mounts.lines().find_map(|line| {
            let (place, file_system) = line.split_once(" - ")?;
            let mut words = file_system.split(' ');
            let is_kind = words.next() == Some(kind);
            let has = |options: &str| options.split(',').any(|it| it == option);
            if !is_kind || !(option.is_empty() || words.next_back().is_some_and(has)) {
                return None;
            }
            let mut place = place.split(' ').skip(3);
            let (root, at) = (place.next()?, place.next()?);
            let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
            Some(Path::new(at).join(below))
        })
    };
    let first = path(&|_, controllers| controllers.split(',').any(|it| it == "memory"));
    if let Some(dir) = first.and_then(|path| mounted("cgroup", "memory", path)) {
        return Some((dir, Version::V1));
    }
    let dir = mounted("cgroup2", "", path(&|id, _| id == "0")?)?;
    let top = dir.ancestors().take_while(|dir| dir.join("cgroup.controllers").exists()).last()?;
    has_memory(&top.join("cgroup.controllers")).then_some((dir, Version::V2))
}

/// The same without the version.
#[must_use]
pub fn group_of(pid: &str) -> Option<PathBuf> {
    Some(group_and_version(pid)?.0)
}

fn has_memory(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().any(|controller| controller == "memory")
}

/// Where cgroups are made.
struct Place {
    version: Version,
    dir: PathBuf,
}

/// Finds it; else why there is none, in the same words on all such machines.
fn place() -> &'static Result<Place, &'static str> {
    static PLACE: OnceLock<Result<Place, &str>> = OnceLock::new();
    PLACE.get_or_init(find_place)
}

fn find_place() -> Result<Place, &'static str> {
    let Some((own, version)) = group_and_version("self") else {
        return Err("no memory cgroup can be made: there is no memory controller");
    };
    let (reach, why) = match version {
        Version::V1 => {
            (1, "no memory cgroup can be made: version 1 takes root, and files that can be written")
        }
        Version::V2 => (
            usize::MAX,
            "no memory cgroup can be made: version 2 takes root, or a user with a systemd of its own",
        ),
    };
    let found = own.ancestors().take(reach).find(|dir| takes_a_cgroup(version, dir));
    found.map(|dir| Place { version, dir: dir.to_owned() }).ok_or(why)
}

/// Whether a cgroup with a limit can be made below `dir`, and entered.
fn takes_a_cgroup(version: Version, dir: &Path) -> bool {
    if version == Version::V2 && !has_memory(&dir.join(HANDED_ON)) {
        // Only the root of all, which has no type, hands on while it has processes.
        let is_root = dir.join(PROCESSES).exists() && !dir.join("cgroup.type").exists();
        if !is_root || fs::write(dir.join(HANDED_ON), "+memory").is_err() {
            return false;
        }
    }
    let Ok(group) = Group::make(version, dir) else { return false };
    let limited = group.limit(1 << 30, false).is_ok();
    let mut enter = group.entrance();
    enter.arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    limited && enter.status().is_ok_and(|status| status.success())
}

/// A user cannot enter a cgroup of its systemd's from a session: there this becomes the same program in a scope that is
/// delegated to it. Call it while there is one thread.
pub(crate) fn enter_scope() {
    if std::env::var_os(SCOPED).is_some() {
        // The scope's processes go below it, so that it can hand its controller on.
        let own = group_of("self").unwrap_or_default();
        let leaf = own.join("plimsoll-testing");
        let moved = fs::create_dir(&leaf)
            .and_then(|()| fs::write(leaf.join(PROCESSES), "0"))
            .and_then(|()| fs::write(own.join(HANDED_ON), "+memory"));
        assert!(moved.is_ok(), "`{}` cannot be used: {moved:?}", own.display());
        return;
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let has_bus = runtime.is_some_and(|dir| dir.join("bus").exists());
    let version = group_and_version("self").map(|(_, version)| version);
    if !has_bus || version != Some(Version::V2) || find_place().is_ok() {
        return;
    }
    let scope = |program: &Path| {
        let mut command = Command::new("systemd-run");
        let words = ["--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes", "--"];
        command.args(words).arg(program);
        command
    };
    let mut trial = scope(Path::new("true"));
    trial.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(own) = std::env::current_exe() else { return };
    if trial.status().is_ok_and(|status| status.success()) {
        let mut again = scope(&own);
        drop(again.args(std::env::args_os().skip(1)).env(SCOPED, "1").exec());
    }
}

/// A memory cgroup, which is removed when this is dropped.
#[derive(Debug)]
struct Group {
    version: Version,
    dir: PathBuf,
}

impl Group {
    fn make(version: Version, parent: &Path) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("plimsoll-e2e-{}-{number}", std::process::id()));
        fs::create_dir(&dir)?;
        Ok(Self { version, dir })
    }

    fn limit(&self, bytes: u64, swap: bool) -> io::Result<()> {
        let number = bytes.to_string();
        let (limit, swap_limit, swap) = match (self.version, swap) {
            (Version::V1, true) => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "-1"),
            (Version::V1, false) => {
                ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", &*number)
            }
            (Version::V2, true) => ("memory.max", "memory.swap.max", "max"),
            (Version::V2, false) => ("memory.max", "memory.swap.max", "0"),
        };
        fs::write(self.dir.join(limit), &number)?;
        // Absent where swap is not accounted.
        let swap_limit = self.dir.join(swap_limit);
        if swap_limit.exists() { fs::write(swap_limit, swap) } else { Ok(()) }
    }

    fn entrance(&self) -> Command {
        let mut shell = Command::new("sh");
        let enter = format!("echo $$ >'{}/{PROCESSES}' && exec \"$@\"", self.dir.display());
        shell.args(["-c", &enter, "sh"]);
        shell
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let start = Instant::now();
        while let Err(error) = fs::remove_dir(&self.dir) {
            if thread::panicking() {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{} stays: {error}", self.dir.display());
            thread::sleep(Duration::from_millis(4));
        }
    }
}

/// A memory cgroup around commands, for whom [`Self::entrance`] leads there. Dropping it waits until it is empty, and
/// removes it.
#[derive(Debug)]
pub struct LimitedCgroup(Group);

impl LimitedCgroup {
    /// With a limit, and without swap. The test that asks is ignored where this user can make none.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let cgroup = Self::without_limit();
        cgroup.0.limit(bytes, false).unwrap_or_else(|error| panic!("{:?}: {error}", cgroup.0));
        cgroup
    }

    /// The same, but what is behind it may swap.
    #[must_use]
    pub fn with_swap(bytes: u64) -> Self {
        let cgroup = Self::without_limit();
        cgroup.0.limit(bytes, true).unwrap_or_else(|error| panic!("{:?}: {error}", cgroup.0));
        cgroup
    }

    /// A cgroup of one's own that limits nothing yet.
    #[must_use]
    pub fn without_limit() -> Self {
        match place() {
            Ok(place) => {
                let made = Group::make(place.version, &place.dir);
                Self(made.unwrap_or_else(|error| panic!("{}: {error}", place.dir.display())))
            }
            Err(why) => ignored(*why),
        }
    }

    /// The same, and nothing below it is swapped, so that a limit there is one.
    #[must_use]
    pub fn and_without_swap(self) -> Self {
        let (file, value) = match self.0.version {
            // What is made below takes it over.
            Version::V1 => ("memory.swappiness", "0"),
            Version::V2 => ("memory.swap.max", "0"),
        };
        let file = self.0.dir.join(file);
        if file.exists() {
            fs::write(&file, value).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
        self
    }

    /// A shell that goes inside the cgroup limit and becomes the command whose words follow.
    #[must_use]
    pub fn entrance(&self) -> Command {
        self.0.entrance()
    }

    /// The cgroup's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// What the kernel has killed for the cgroup limit.
    #[must_use]
    pub fn kills(&self) -> u64 {
        kills(&self.0.dir)
    }
}

/// Which version the cgroup limits of this machine have. The test that asks is ignored where there are none.
#[must_use]
pub fn version() -> Version {
    place().as_ref().unwrap_or_else(|why| ignored(*why)).version
}

/// What the kernel has killed for memory in the cgroup `dir`, or below it.
#[must_use]
pub fn kills(dir: &Path) -> u64 {
    let text = fs::read_to_string(dir.join("memory.oom_control"))
        .or_else(|_| fs::read_to_string(dir.join("memory.events")));
    let text = text.unwrap_or_default();
    let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    kills.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{}", dir.display()))
}

/// The memory of the processes in the cgroup `dir`, and below it, in bytes: anonymous and shared pages, without files. The
/// kernel counts it in one piece.
#[must_use]
pub fn held(dir: &Path) -> u64 {
    let text = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    let of = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    };
    let sum = |anonymous, shared| Some(of(anonymous)? + of(shared)?);
    let held = sum("total_rss", "total_shmem").or_else(|| sum("anon", "shmem"));
    held.unwrap_or_else(|| panic!("{}: {text}", dir.display()))
}

/// The limit of the cgroup `dir`, in bytes.
#[must_use]
pub fn limit(dir: &Path) -> u64 {
    number(dir, "memory.limit_in_bytes", "memory.max")
}

/// The most that was charged to the cgroup `dir`, in bytes.
#[must_use]
pub fn peak(dir: &Path) -> u64 {
    number(dir, "memory.max_usage_in_bytes", "memory.peak")
}

fn number(dir: &Path, v1: &str, v2: &str) -> u64 {
    let text = fs::read_to_string(dir.join(v1)).or_else(|_| fs::read_to_string(dir.join(v2)));
    let number = text.ok().and_then(|text| text.trim().parse().ok());
    number.unwrap_or_else(|| panic!("{} has neither {v1} nor {v2}", dir.display()))
}
