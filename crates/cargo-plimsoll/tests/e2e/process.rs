//! Processes of a scene, told by a variable in their environment: also those that nobody is parent of.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// A test that waits longer than this for something has failed: a minute, or the seconds of `E2E_PATIENCE`, in a guest
/// whose processor is a program.
pub(crate) fn patience() -> Duration {
    let seconds = std::env::var("E2E_PATIENCE").map(|text| text.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(60))
}

/// Set in the environment of everything that a scene starts.
pub(crate) const MARK: &str = "E2E_SCENE";

/// Set in `stat`'s flags from fork until exec (include/linux/sched.h).
const PF_FORKNOEXEC: u32 = 0x40;

/// Polls until `condition` gives something; a test that waits in vain fails.
#[track_caller]
pub(crate) fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(patience(), what, condition)
}

/// The same with a patience of its own.
#[track_caller]
pub(crate) fn within<T>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < patience, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(4));
    }
}

/// The living processes of the scene in `dir`, zombies left out.
pub(crate) fn of_scene(dir: &Path) -> Vec<Process> {
    let mark = format!("{MARK}={}", dir.display()).into_bytes();
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark)
        })
        .filter_map(Process::read)
        .filter(|process| !matches!(process.state, 'Z' | 'X'))
        .collect()
}

/// Whether there is such a process, zombies left out.
pub(crate) fn process_exists(pid: u32) -> bool {
    Process::read(pid).is_some_and(|process| !matches!(process.state, 'Z' | 'X'))
}

/// One process as `/proc` shows it.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) state: char,
    /// It has not called exec since its fork: until then it shows its parent's pages as its own.
    forked_only: bool,
    /// The file name of its program.
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
}

impl Process {
    pub(crate) fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut words = stat[stat.rfind(')')? + 1..].split_whitespace();
        let state = words.next()?.chars().next()?;
        let parent = words.next()?.parse().ok()?;
        let flags: u32 = words.nth(4)?.parse().ok()?;
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let args = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into());
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let program = name.trim_end_matches(" (deleted)").to_owned();
        let forked_only = flags & PF_FORKNOEXEC != 0;
        Some(Self { pid, parent, state, forked_only, program, args: args.collect() })
    }

    /// Anonymous, shared and swapped pages, in bytes: what `/proc/PID/status` says. None before its exec:
    /// they are its parent's, and counted there.
    fn memory(&self) -> u64 {
        if self.forked_only {
            return 0;
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let wanted = ["RssAnon:", "RssShmem:", "VmSwap:"];
        let kib = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
        let lines = status.lines().filter(|line| wanted.iter().any(|name| line.starts_with(name)));
        lines.filter_map(kib).sum::<u64>() * 1024
    }
}

/// Sends a signal; a process that has ended is none.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Whether a process lives and is not stopped.
pub(crate) fn runs(pid: u32) -> bool {
    Process::read(pid).is_some_and(|process| !matches!(process.state, 'T' | 't' | 'Z' | 'X'))
}

/// Whether a process is stopped.
pub(crate) fn is_stopped(pid: u32) -> bool {
    Process::read(pid).is_some_and(|process| process.state == 'T')
}

/// The highest of what an own watcher reads again and again.
pub(crate) struct Sampler {
    watcher: Option<thread::JoinHandle<u64>>,
    /// Dropped when the watcher is to end.
    stop: Option<Sender<()>>,
}

impl Sampler {
    /// The memory of a scene's processes, which are read one after the other.
    pub(crate) fn start(dir: &Path) -> Self {
        let dir = dir.to_owned();
        Self::of(move || of_scene(&dir).iter().map(Process::memory).sum())
    }

    pub(crate) fn of(read: impl Fn() -> u64 + Send + 'static) -> Self {
        let (stop, stopped) = std::sync::mpsc::channel();
        let watcher = thread::spawn(move || {
            let mut most = 0;
            while stopped.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout)
            {
                most = most.max(read());
            }
            most
        });
        Self { watcher: Some(watcher), stop: Some(stop) }
    }

    /// The highest, in bytes.
    pub(crate) fn peak(mut self) -> u64 {
        drop(self.stop.take());
        self.watcher.take().unwrap().join().unwrap()
    }
}
