//! Stopping, continuing and killing parts of the tree.
//!
//! Every signal goes through a pidfd of a process whose start was compared after opening it, so that
//! none reaches a stranger that got the pid. A set of processes that may fork while it is signalled
//! is signalled until it is stable: every member is seen stopped (or gone) and a pass over `/proc` finds
//! nothing new below it. What is to die is stopped first, because a fork cannot outrun that: no
//! descendant loses its parent before it was seen.

use std::fmt;
use std::num::ParseIntError;
use std::path::Path;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use super::ProcessTree;
use crate::linux::procfs::INIT;
use crate::linux::procfs::Proc;
use crate::linux::table::{Index, Table};
use crate::process::Owner;

/// Passes in a row before a set that is not stable yet is left to the next scan. Because each takes
/// a fraction of a millisecond, and a process that waits for a CPU stops only when it gets one.
const PASSES: usize = 24;
/// How long the final sweep goes on. Because only a process in an uninterruptible wait (a dead disk)
/// outlives a kill for longer, and nobody can help there.
const SWEEP: Duration = Duration::from_secs(5);

/// A process that stands still: its pid and its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoppedProcess {
    pid: u32,
    start: u64,
}

/// Who is told of all processes that are kept stopped.
pub type Witness = Box<dyn FnMut(&[StoppedProcess])>;

impl StoppedProcess {
    /// Lets it go on, if it is still the same process.
    pub fn go_on(&self) {
        let proc = Proc::open(Path::new("/proc"));
        let same = || {
            let stat = proc.as_ref().ok().and_then(|proc| proc.stat(self.pid));
            stat.is_some_and(|stat| stat.start == self.start)
        };
        if let Some(pid) = Pid::from_raw(self.pid.cast_signed())
            && let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
            && same()
        {
            let _ = pidfd_send_signal(process, Signal::CONT);
        }
    }
}

impl fmt::Display for StoppedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pid, self.start)
    }
}

impl FromStr for StoppedProcess {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (pid, start) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self { pid: pid.parse()?, start: start.parse()? })
    }
}

impl ProcessTree {
    /// Has `witness` told of all processes that are kept stopped, each time that these are others: before a process
    /// is stopped, so that whoever knows of them when this process is killed knows of every one, and after some
    /// have gone on.
    pub fn tell_of_stopped(&mut self, witness: Witness) {
        self.witness = Some(witness);
    }

    fn tell(&mut self, stopped: &[Index]) {
        let Some(witness) = &mut self.witness else { return };
        let nodes = stopped.iter().filter_map(|index| self.table.get(*index));
        let stopped: Vec<StoppedProcess> =
            nodes.map(|node| StoppedProcess { pid: node.pid, start: node.start }).collect();
        if stopped != self.told {
            witness(&stopped);
            self.told = stopped;
        }
    }

    /// Somebody is kept stopped.
    #[must_use]
    pub fn keeps_something_stopped(&self) -> bool {
        !self.stopped.is_empty()
    }

    /// Stops the owner's children and everything below them, whoever owns that, and keeps stopped what
    /// is found there later. Its shims stay as they are.
    pub fn stop(&mut self, owner: Owner) {
        if owner != Owner::REST && !self.stopped.contains(&owner) {
            self.stopped.push(owner);
        }
        self.hold_still();
    }

    /// Lets the owner's processes run again, but for those below another owner that is stopped.
    pub fn resume(&mut self, owner: Owner) {
        self.stop_paging(owner);
        self.stopped.retain(|stopped| *stopped != owner);
        self.discover();
        for index in self.reached_by(&[owner]) {
            if !self.stopped.iter().any(|stopped| self.table.reached_by(index, *stopped)) {
                self.signal(index, Signal::CONT);
            }
        }
        self.tell(&self.kept_stopped());
    }

    /// Kills the owner's children and everything below them, stopped or not. Its shims, which wait
    /// for them, stay. Returns when all are signalled; their memory is free a moment later.
    pub fn kill(&mut self, owner: Owner) {
        self.stop_paging(owner);
        self.stop(owner);
        for index in self.reached_by(&[owner]) {
            self.signal(index, Signal::KILL);
        }
        self.stopped.retain(|stopped| *stopped != owner);
        // What was forked in the last moment, by a process that had no CPU to stop on.
        for _ in 0..PASSES {
            self.discover();
            let left = self.reached_by(&[owner]);
            let left: Vec<Index> = left.into_iter().filter(|i| self.is_running(*i)).collect();
            if left.is_empty() {
                break;
            }
            for index in left {
                self.signal(index, Signal::KILL);
            }
            thread::yield_now();
        }
        self.tell(&self.kept_stopped());
    }

    /// Sets `oom_score_adj` (-1000 to 1000) of the owner's children and everything below them; what
    /// they start inherits it. Raising needs no privilege, and neither does coming back from there.
    pub fn set_oom_score(&mut self, owner: Owner, adj: i32) {
        let text = adj.to_string();
        for index in self.reached_by(&[owner]) {
            let Some(node) = self.table.get_mut(index) else { continue };
            if node.record.sampled.oom_score == Some(adj) {
                continue;
            }
            if let Ok(file) = self.proc.open_file(node.pid, "oom_score_adj", OFlags::WRONLY)
                && self.proc.stat(node.pid).is_some_and(|stat| stat.start == node.start)
                && rustix::io::write(&file, text.as_bytes()).is_ok()
            {
                node.record.sampled.oom_score = Some(adj);
            }
        }
    }

    /// The processes below the root that live now, found afresh; zombies are left out.
    pub fn alive_below_root(&mut self) -> Vec<u32> {
        let everything = self.everything();
        everything.iter().filter_map(|index| self.table.get(*index)).map(|node| node.pid).collect()
    }

    /// Kills what runs below the root in the root's own session, shims too, until nothing of it is left or
    /// five seconds have gone. Daemons, which leave the session, the root itself, and whatever is not below
    /// it, are never touched.
    pub fn kill_session(&mut self) {
        self.stopped.clear();
        let deadline = Instant::now() + SWEEP;
        loop {
            for _ in 0..PASSES {
                let restless = self.session();
                if self.still(&restless) {
                    break;
                }
                thread::yield_now();
            }
            let left = self.session();
            if left.is_empty() || Instant::now() >= deadline {
                return;
            }
            let mut dying = Vec::with_capacity(left.len());
            for index in left {
                self.signal(index, Signal::KILL);
                self.signal(index, Signal::CONT);
                let pid = self.table.get(index).and_then(|node| Pid::from_raw(node.pid as i32));
                dying.extend(pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()));
            }
            // A pidfd is readable when its process has ended: one that did is reason to look again.
            let mut ends: Vec<PollFd<'_>> =
                dying.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
            let patience = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            if poll(&mut ends, Some(&patience)).is_err() {
                thread::yield_now();
            }
        }
    }

    /// Stops what the stopped owners reach, until it is stable.
    pub(super) fn hold_still(&mut self) {
        for _ in 0..PASSES {
            self.discover();
            let reached = self.kept_stopped();
            self.tell(&reached);
            if self.still(&reached) {
                return;
            }
            thread::yield_now();
        }
    }

    /// Stops those that do not stand still yet; true where there were none. What may get no signal is none of them: it
    /// runs on, however often it is looked at.
    pub(super) fn still(&mut self, indices: &[Index]) -> bool {
        let mut still = true;
        for index in indices {
            let Some(stat) = self.refresh(*index) else { continue };
            match stat.state {
                b'T' | b't' | b'Z' | b'X' | b'x' => {}
                // It cannot fork where it waits, and stops when it comes back: the signal is pending. A
                // vfork's parent waits like this for a child that is stopped itself.
                b'D' => _ = self.signal(*index, Signal::STOP),
                _ => still &= !self.signal(*index, Signal::STOP),
            }
        }
        still
    }

    fn kept_stopped(&self) -> Vec<Index> {
        match self.stopped.as_slice() {
            [] => Vec::new(),
            stopped => self.reached_by(stopped),
        }
    }

    pub(super) fn reached_by(&self, owners: &[Owner]) -> Vec<Index> {
        let reached = |index| owners.iter().any(|owner| self.table.reached_by(index, *owner));
        self.table.living().map(|(index, _)| index).filter(|index| reached(*index)).collect()
    }

    /// Everything below the root that runs, found afresh.
    fn everything(&mut self) -> Vec<Index> {
        self.discover();
        let below: Vec<Index> = self.table.living().map(|(index, _)| index).collect();
        let root = Table::<super::Record>::ROOT;
        below.into_iter().filter(|i| *i != root && self.is_running(*i)).collect()
    }

    /// Of everything below the root, what is in the root's session.
    fn session(&mut self) -> Vec<Index> {
        let root = Table::<super::Record>::ROOT;
        let Some(own) = self.refresh(root).map(|stat| stat.session) else { return Vec::new() };
        let everything = self.everything();
        let ours = |index: &Index| self.refresh(*index).is_some_and(|stat| stat.session == own);
        everything.into_iter().filter(ours).collect()
    }

    /// Whether a signal to it is a matter of one user. The kernel refuses the others to everybody but root.
    fn is_of_our_user(&self, pid: u32) -> bool {
        let own = rustix::process::geteuid();
        !own.is_root() || self.proc.user_of(pid) == Some(own.as_raw())
    }

    fn is_running(&mut self, index: Index) -> bool {
        self.refresh(index).is_some() && self.table.get(index).is_some_and(|node| node.runs())
    }

    /// Sends a signal to exactly the process that the table means, where that has provably started below us and is of
    /// our user. One that has ended is none. Whether it was sent.
    fn signal(&self, index: Index, signal: Signal) -> bool {
        let Some(node) = self.table.get(index).filter(|node| node.alive) else { return false };
        let ours = node.pid != INIT && self.table.has_started_below(index);
        if !ours || !self.is_of_our_user(node.pid) {
            return false;
        }
        let Some(pid) = Pid::from_raw(node.pid as i32) else { return false };
        let same = || self.proc.stat(node.pid).is_some_and(|stat| stat.start == node.start);
        // A failure means that it has ended, or is another user's (setuid): nothing to be done.
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) if same() => pidfd_send_signal(fd, signal).is_ok(),
            // Kernels before 5.3, and sandboxes that forbid it.
            Err(Errno::NOSYS | Errno::PERM) if same() => kill_process(pid, signal).is_ok(),
            Ok(_) | Err(_) => false,
        }
    }
}
