//! The processes below this shim: killed to the last one, or continued when nobody else will.
//!
//! The shim is a *subreaper*: what a killed compiler leaves (its linker, the linker's `ld`) becomes the
//! shim's own child instead of init's. So everything below us is the unit's, and nothing escapes; but for the
//! account's governor and its watchdog, if it was us who had to start them.

use std::fs;

use plimsoll_core::WATCHDOG;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

/// From here on orphans below us are our children. An old kernel without it leaves them to the driver.
pub(crate) fn adopt_orphans() {
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Kills everything below us and waits until it is gone. To be called when no child is still to be waited
/// for by somebody else.
pub(crate) fn kill_all() {
    loop {
        let below = below_us();
        if below.is_empty() {
            return;
        }
        let killed = below.iter().filter(|process| process.send(Signal::KILL)).count();
        // The dead below a living parent are that parent's to reap; when it dies they become ours.
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) if killed == 0 => return,
            Err(_) => {}
        }
    }
}

/// Continues everything below us.
pub(crate) fn continue_all() {
    for process in below_us() {
        process.send(Signal::CONT);
    }
}

/// Whether a process is stopped, or held by a debugger: field 3 of `/proc/PID/stat` (proc(5)).
pub(crate) fn is_stopped(pid: u32) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let end = stat.iter().rposition(|byte| *byte == b')');
    matches!(end.and_then(|end| stat.get(end + 2)), Some(b'T' | b't'))
}

/// One process, by a descriptor that cannot come to mean another one.
struct Process {
    descriptor: rustix::fd::OwnedFd,
}

impl Process {
    fn send(&self, signal: Signal) -> bool {
        rustix::process::pidfd_send_signal(&self.descriptor, signal).is_ok()
    }
}

fn below_us() -> Vec<Process> {
    let us = rustix::process::getpid().as_raw_pid();
    let pairs = parents();
    let mut tree = vec![us];
    let mut at = 0;
    while let Some(parent) = tree.get(at).copied() {
        tree.extend(pairs.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    tree.iter()
        .skip(1)
        .filter_map(|pid| {
            let descriptor =
                rustix::process::pidfd_open(Pid::from_raw(*pid)?, PidfdFlags::empty()).ok()?;
            // The number may have gone to another process since we read it: that one has another parent.
            let parent = parent_of(*pid)?;
            (parent == us || tree.contains(&parent)).then_some(Process { descriptor })
        })
        .collect()
}

/// All processes that may be a unit's, each with its parent.
fn parents() -> Vec<(i32, i32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, parent_of(pid)?))
        })
        .collect()
}

/// The parent of a process that may be a unit's, by fields 1, 2, 4 and 6 of `/proc/PID/stat` (proc(5)): a watchdog, which
/// leads its session, is none. The name may hold anything, and ends at the last `)`.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let end = stat.iter().rposition(|b| *b == b')')?;
    let mut fields = std::str::from_utf8(&stat[end + 1..]).ok()?.split_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let session: i32 = fields.nth(1)?.parse().ok()?;
    let is_watchdog = session == pid && stat[..end].ends_with(format!(" ({WATCHDOG}").as_bytes());
    (!is_watchdog).then_some(parent)
}
