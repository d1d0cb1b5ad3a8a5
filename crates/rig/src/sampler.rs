//! The independent sampler: what a build held, moment by moment, by the kernel's accounting and not by Plimsoll's.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cgroup::{Group, Version};
use crate::tree;

/// Between two samples, because a linker can gain 50 MiB in that time and hardly more.
pub const INTERVAL: Duration = Duration::from_millis(20);

/// Where the processes of one build are.
#[derive(Debug)]
pub enum Scope {
    /// In a cgroup of their own.
    Group(Group),
    /// Below us, wherever the system put them: no cgroup could be made.
    Tree,
}

impl Scope {
    /// How it measures, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Group(group) => match group.version() {
                Version::V1 => "cgroup v1",
                Version::V2 => "cgroup v2",
            },
            Self::Tree => "process tree",
        }
    }

    /// The living processes.
    pub fn processes(&self) -> Vec<i32> {
        match self {
            Self::Group(group) => group.processes(),
            Self::Tree => tree::descendants(),
        }
    }

    /// The cgroups that were made for it.
    pub fn folders(&self) -> Vec<PathBuf> {
        match self {
            Self::Group(group) => group.folders(),
            Self::Tree => Vec::new(),
        }
    }

    fn memory(&self) -> Option<u64> {
        match self {
            Self::Group(group) => group.memory().ok(),
            Self::Tree => Some(tree::memory(&tree::descendants())),
        }
    }

    /// Sends a signal to one process, if it is (still) in the scope.
    pub fn signal(&self, pid: i32, signal: Signal) -> bool {
        tree::signal(pid, signal, |pid| self.processes().contains(&pid))
    }

    /// Ends every process in the scope; new ones that appear meanwhile too.
    pub fn end_all(&self) {
        for _ in 0..500 {
            let pids = self.processes();
            if pids.is_empty() {
                return;
            }
            for pid in pids {
                self.signal(pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
            reap_orphans();
        }
    }
}

/// Collects orphans that came to us as their subreaper. Only when the build's own process was waited for already.
pub fn reap_orphans() {
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
}

/// What was seen.
#[derive(Debug)]
pub struct Sampler {
    start: Instant,
    psi_at_start: Option<u64>,
    cpu_at_start: Option<u64>,
    /// Milliseconds since the start, and bytes.
    pub series: Vec<(u64, u64)>,
    /// The highest sum.
    pub peak: u64,
    /// When it was seen.
    pub peak_at_ms: u64,
}

/// The figures of a whole run.
#[derive(Debug)]
pub struct Totals {
    /// Processor time.
    pub cpu: Option<Duration>,
    /// Per cent of the wall time for which everything stalled on memory.
    pub psi_full_pct: Option<f64>,
    /// By the kernel, in this group.
    pub oom_kills: Option<u64>,
}

impl Sampler {
    /// Starts the clock.
    pub fn start(scope: &Scope) -> Self {
        let (psi_at_start, cpu_at_start) = match scope {
            Scope::Group(group) => (group.pressure_full_us(), group.cpu_us()),
            Scope::Tree => (None, None),
        };
        Self {
            start: Instant::now(),
            psi_at_start,
            cpu_at_start: cpu_at_start.or_else(tree::waited_for_cpu_us),
            series: Vec::new(),
            peak: 0,
            peak_at_ms: 0,
        }
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Takes one sample.
    pub fn sample(&mut self, scope: &Scope) {
        let Some(bytes) = scope.memory() else { return };
        let at = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        if bytes > self.peak {
            self.peak = bytes;
            self.peak_at_ms = at;
        }
        self.series.push((at, bytes));
    }

    /// The totals, read after the build's process was waited for.
    pub fn totals(&self, scope: &Scope, wall: Duration) -> Totals {
        let (psi, cpu, oom_kills) = match scope {
            Scope::Group(group) => {
                (group.pressure_full_us(), group.cpu_us(), Some(group.oom_kills()))
            }
            Scope::Tree => (None, None, None),
        };
        let since = |end: Option<u64>, start: Option<u64>| Some(end?.saturating_sub(start?));
        let stalled = since(psi, self.psi_at_start);
        Totals {
            cpu: since(cpu.or_else(tree::waited_for_cpu_us), self.cpu_at_start)
                .map(Duration::from_micros),
            psi_full_pct: stalled.map(|us| {
                100.0 * Duration::from_micros(us).as_secs_f64() / wall.as_secs_f64().max(0.001)
            }),
            oom_kills,
        }
    }
}
