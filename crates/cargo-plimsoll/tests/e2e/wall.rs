//! A wall of the kernel's around a command: a memory cgroup below our own, where this user may make one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::process::until;

/// The memory cgroup (v1) of a process; `None` where there is no such controller or process.
pub(crate) fn group_of(pid: &str) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        fields.next()?.split(',').any(|it| it == "memory").then(|| fields.next())?
    });
    Some(PathBuf::from("/sys/fs/cgroup/memory").join(path?.trim_start_matches('/')))
}

/// A memory cgroup with a limit and without swap. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Wall(PathBuf);

impl Wall {
    /// The same, but what is behind it may swap.
    pub(crate) fn with_swap(bytes: u64) -> Option<Self> {
        let wall = Self::new(bytes)?;
        let swap = wall.0.join("memory.memsw.limit_in_bytes");
        if swap.exists() {
            fs::write(swap, "-1").unwrap();
        }
        Some(wall)
    }

    /// `None`, and said loudly, where there is no memory controller (v1) or this user may make no group.
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("plimsoll-e2e-{}-{number}", std::process::id());
        let dir = group_of("self").unwrap_or_default().join(name);
        let limit = |file: &str| fs::write(dir.join(file), bytes.to_string());
        if fs::create_dir(&dir).is_err() {
            eprintln!("SKIPPED: this user may make no memory cgroup");
            return None;
        }
        let wall = Self(dir.clone());
        limit("memory.limit_in_bytes").unwrap();
        // Absent where swap is not accounted.
        let _ = limit("memory.memsw.limit_in_bytes");
        Some(wall)
    }

    /// A shell that goes behind the wall and becomes the command whose words follow.
    pub(crate) fn entrance(&self) -> Command {
        let mut shell = Command::new("sh");
        let enter = format!("echo $$ >'{}/cgroup.procs' && exec \"$@\"", self.0.display());
        shell.args(["-c", &enter, "sh"]);
        shell
    }

    /// What the kernel has killed for the wall.
    pub(crate) fn kills(&self) -> u64 {
        let text = fs::read_to_string(self.0.join("memory.oom_control")).unwrap();
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.unwrap().parse().unwrap()
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = fs::remove_dir(&self.0);
        } else {
            until("the wall is empty", || fs::remove_dir(&self.0).ok());
        }
    }
}
