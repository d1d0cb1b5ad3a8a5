//! The process tree below the benchmark: for machines where no cgroup may be made, and to tell processes apart.
//!
//! Signals go out by pidfd, after a second look that the process is still one of ours: a number that was given to
//! somebody else's process meanwhile is never hit.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Every living descendant of this process.
pub fn descendants() -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, parent) in parents() {
        children.entry(parent).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut open = vec![i32::try_from(std::process::id()).unwrap_or(0)];
    while let Some(pid) = open.pop() {
        for &child in children.get(&pid).map_or(&[][..], Vec::as_slice) {
            found.push(child);
            open.push(child);
        }
    }
    found
}

/// Every living process with its parent.
pub fn parents() -> HashMap<i32, i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    entries.flatten().filter_map(pid).filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

/// The name of a process's program, at most 15 bytes of it.
pub fn name(pid: i32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
}

/// Anonymous + shared + swapped bytes of some processes. Shared pages of two processes count twice here, which is why a
/// cgroup is better.
pub fn memory(pids: &[i32]) -> u64 {
    pids.iter()
        .map(|pid| {
            status_memory(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default())
        })
        .sum()
}

/// Sends a signal to a process if `still_ours` holds once its pidfd is open.
pub fn signal(pid: i32, signal: Signal, still_ours: impl Fn(i32) -> bool) -> bool {
    let Some(id) = Pid::from_raw(pid) else { return false };
    let Ok(handle) = pidfd_open(id, PidfdFlags::empty()) else { return false };
    still_ours(pid) && pidfd_send_signal(handle, signal).is_ok()
}

/// What a process is, by the name of its program, if it is a compiler or linker at work (not a probe).
pub fn compiler_or_linker(pid: i32) -> Option<&'static str> {
    let comm = name(pid)?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    classify(&comm, &String::from_utf8_lossy(&command))
}

fn classify(comm: &str, command: &str) -> Option<&'static str> {
    const LINKERS: [&str; 8] =
        ["ld", "ld.bfd", "ld.gold", "ld.lld", "rust-lld", "lld", "mold", "wild"];
    match comm {
        "rustc" if command.contains("--crate-name") && !command.contains("--crate-name\0___") => {
            Some("rustc")
        }
        _ => LINKERS.contains(&comm).then_some("linker"),
    }
}

fn parent(pid: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything, parentheses included.
    text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<i32>().ok()
}

/// Whether a process was forked and is not what it will be yet: it still shows its parent's program and words.
pub fn is_about_to_become_another(pid: i32) -> bool {
    /// In `stat`'s flags from fork until exec (include/linux/sched.h).
    const PF_FORKNOEXEC: u32 = 0x40;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let flags = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse().ok());
    flags.is_some_and(|flags: u32| flags & PF_FORKNOEXEC != 0)
}

/// Processor time of all children that were waited for, in microseconds, from our own `/proc/self/stat`.
pub(crate) fn waited_for_cpu_us() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ').skip(13);
    let user = fields.next()?.parse::<u64>().ok()?;
    let system = fields.next()?.parse::<u64>().ok()?;
    let tick = rustix::param::clock_ticks_per_second().max(1);
    Some((user + system).saturating_mul(1_000_000) / tick)
}

/// An amount of `status` or `smaps_rollup`; 0 where it is not said.
pub fn bytes(text: &str, name: &str) -> u64 {
    let kib = text.lines().find_map(|line| {
        line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kib.unwrap_or(0) * 1024
}

fn status_memory(text: &str) -> u64 {
    ["RssAnon:", "RssShmem:", "VmSwap:"].iter().map(|name| bytes(text, name)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_counts_what_cannot_be_dropped() {
        let text = "VmRSS:\t 900 kB\nRssAnon:\t 10 kB\nRssFile:\t 800 kB\nRssShmem:\t 5 kB\nVmSwap:\t 1 kB\n";
        assert_eq!(status_memory(text), 16 * 1024);
    }

    #[test]
    fn probes_are_not_compilers_at_work() {
        assert_eq!(classify("rustc", "rustc\0--crate-name\0serde\0"), Some("rustc"));
        assert_eq!(classify("rustc", "rustc\0-\0--crate-name\0___\0--print=cfg\0"), None);
        assert_eq!(classify("rustc", "rustc\0-vV\0"), None);
        assert_eq!(classify("ld.lld", ""), Some("linker"));
        assert_eq!(classify("cargo", ""), None);
    }
}
