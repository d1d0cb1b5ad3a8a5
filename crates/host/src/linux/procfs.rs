//! One process as `/proc` shows it (proc(5)): parsing apart from reading, no allocation.
//!
//! Costs, measured on the machine that this was written on: `statm` through a kept descriptor about
//! 1 µs, `stat` and `status` 5 to 15 µs with their opening. `smaps_rollup` walks page tables (20 ms a
//! GB) and is read only of a fork's child that does not call exec. On kernels 6.2 to 6.15 `statm` and `status` both sum per-CPU counters
//! lazily: each may be off by up to max(32, 2 x CPUs) pages for each CPU that the process ran on, so
//! `status` would not help there, and only `smaps_rollup` would be exact.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use plimsoll_core::{Bytes, Millis, WATCHDOG};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::HostError;

/// The process that adopts every orphan of its pid namespace.
pub(super) const INIT: u32 = 1;

/// Set in `stat`'s flags from fork until exec (`PF_FORKNOEXEC`, include/linux/sched.h).
const FORKED_WITHOUT_EXEC: u64 = 0x40;

/// What `stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// `R`, `S`, `D`, `T`, `t`, `Z`, `X`, …
    pub state: u8,
    pub ppid: u32,
    /// Its process group; 0 where that was made outside our pid namespace.
    pub group: u32,
    /// Its session's leader; 0 where that is outside our pid namespace, as in a container that was entered.
    pub session: u32,
    /// It keeps an account's governor: it and what is below it belong to no build.
    pub is_watchdog: bool,
    /// It has not called exec since its fork: it still is, or looks like, its parent.
    pub forked_only: bool,
    /// User and system time, its own and that of the children that it has waited for.
    pub cpu: Ticks,
    /// When it started, in clock ticks since boot: with the pid, its identity.
    pub start: u64,
}

impl Stat {
    /// It has ended and waits to be waited for.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// Processor time in the kernel's clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks(pub u64);

impl Ticks {
    pub(super) fn millis(self) -> Millis {
        Millis(self.0 * 1000 / rustix::param::clock_ticks_per_second().max(1))
    }
}

/// What `statm` says of a process's memory, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Statm {
    pub resident: u64,
    /// File-backed and shared-memory pages among them.
    pub shared: u64,
}

impl Statm {
    /// Pages that no file has.
    pub(super) fn anonymous(self, page: u64) -> Bytes {
        Bytes(self.resident.saturating_sub(self.shared) * page)
    }

    /// What a reading between these two says, if all three are of the same memory and it did not shrink meanwhile
    /// after having grown, or the other way round.
    pub(super) fn is_between(self, before: Self, after: Self) -> bool {
        let within = |one: u64, two: u64, it: u64| (one.min(two)..=one.max(two)).contains(&it);
        within(before.resident, after.resident, self.resident)
            && within(before.shared, after.shared, self.shared)
    }
}

/// What only `status` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hidden {
    pub shmem: Bytes,
    pub swap: Bytes,
}

/// What a walk over the page tables says (`smaps_rollup`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// Pages that no other process has mapped, and that cannot be dropped.
    pub memory: Bytes,
    /// Its part of the swap; what it has in common with others, in equal parts.
    pub swap: Bytes,
}

/// `/proc`, kept open.
pub(super) struct Proc {
    dir: OwnedFd,
}

impl Proc {
    pub(super) fn open(path: &Path) -> Result<Self, HostError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .map(|dir| Self { dir })
            .map_err(|error| HostError::new("open", path, error))
    }

    /// Whether the pids here are those that we know. They are not in `unshare --pid` without
    /// `--mount-proc`: `/proc` then still numbers processes as the namespace does in which it was mounted.
    pub(super) fn is_of_our_namespace(&self) -> bool {
        let own = rustix::fs::readlinkat(&self.dir, c"self", Vec::new());
        own.is_ok_and(|own| number(own.as_bytes()) == Some(u64::from(std::process::id())))
    }

    pub(super) fn open_file(&self, pid: u32, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut buffer = [0u8; 40];
        let path = file_of(pid, name, &mut buffer).ok_or(Errno::NAMETOOLONG)?;
        rustix::fs::openat(&self.dir, path, flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// Whether the process's program has a name that Cargo gives to build scripts.
    pub(super) fn is_build_script(&self, pid: u32) -> bool {
        let name = self.program(pid).unwrap_or_default();
        name.starts_with("build-script-") || name.starts_with("build_script_")
    }

    /// The file name of the process's program.
    pub(super) fn program(&self, pid: u32) -> Option<String> {
        let mut buffer = [0u8; 40];
        let path = file_of(pid, "exe", &mut buffer)?;
        let program = rustix::fs::readlinkat(&self.dir, path, Vec::new()).ok()?;
        let program = program.to_string_lossy();
        // As the kernel says of a file that is not there any more.
        let program = program.strip_suffix(" (deleted)").unwrap_or(&program);
        let name = program.rsplit('/').next()?;
        Some(name.replace(char::is_control, "?"))
    }

    /// The user that the process runs as (root for one whose memory may not be dumped).
    pub(super) fn user_of(&self, pid: u32) -> Option<u32> {
        let mut buffer = [0u8; 40];
        let path = file_of(pid, ".", &mut buffer)?;
        rustix::fs::statat(&self.dir, path, rustix::fs::AtFlags::empty()).ok().map(|it| it.st_uid)
    }

    /// `None` where there is no such process any more (or none that we may see).
    pub(super) fn stat(&self, pid: u32) -> Option<Stat> {
        let file = self.open_file(pid, "stat", OFlags::RDONLY).ok()?;
        let mut buffer = [0u8; 512];
        let len = rustix::io::read(&file, &mut buffer).ok()?;
        parse_stat(&buffer[..len])
    }

    pub(super) fn hidden(&self, pid: u32) -> Option<Hidden> {
        let file = self.open_file(pid, "status", OFlags::RDONLY).ok()?;
        let mut buffer = [0u8; 4096];
        let len = rustix::io::read(&file, &mut buffer).ok()?;
        Some(parse_hidden(&buffer[..len]))
    }

    /// What the process has by itself. Dear: 20 ms for each gigabyte that it has mapped.
    pub(super) fn own(&self, pid: u32) -> Option<Own> {
        let file = self.open_file(pid, "smaps_rollup", OFlags::RDONLY).ok()?;
        let mut buffer = [0u8; 2048];
        let len = rustix::io::read(&file, &mut buffer).ok()?;
        parse_own(&buffer[..len])
    }

    /// Whether any swap is on: `/proc/swaps` has a line below its heading.
    pub(super) fn has_swap(&self) -> bool {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mut buffer = [0u8; 512];
        rustix::fs::openat(&self.dir, c"swaps", flags, Mode::empty())
            .and_then(|file| rustix::io::read(&file, &mut buffer))
            .is_ok_and(|len| buffer[..len].iter().filter(|b| **b == b'\n').count() > 1)
    }

    /// The pid that was given to the newest process or thread of our namespace: while it stays, there
    /// is no new process.
    pub(super) fn newest_pid(&self) -> Option<u32> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, c"loadavg", flags, Mode::empty()).ok()?;
        let mut buffer = [0u8; 128];
        let len = rustix::io::read(&file, &mut buffer).ok()?;
        number(buffer[..len].split(|b| b.is_ascii_whitespace()).nth(4)?).map(|pid| pid as u32)
    }

    /// All process ids, in ascending order.
    pub(super) fn list(&self, pids: &mut Vec<u32>) -> Result<(), Errno> {
        pids.clear();
        rustix::fs::seek(&self.dir, rustix::fs::SeekFrom::Start(0))?;
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut entries = RawDir::new(&self.dir, &mut buffer);
        while let Some(entry) = entries.next() {
            if let Some(pid) = number(entry?.file_name().to_bytes()) {
                pids.push(pid as u32);
            }
        }
        pids.sort_unstable();
        Ok(())
    }
}

/// The process group that we are in, 0 where it was made outside our pid namespace. `getpgrp` would say
/// the same, but what wraps it in Rust takes 0 for impossible.
#[must_use]
pub fn process_group() -> Option<u32> {
    let proc = Proc::open(Path::new("/proc")).ok()?;
    proc.stat(std::process::id()).map(|stat| stat.group)
}

/// The parent of a process; 0 where it has ended, or has none in our pid namespace.
#[must_use]
pub fn parent_of(pid: u32) -> u32 {
    let stat = Proc::open(Path::new("/proc")).ok().and_then(|proc| proc.stat(pid));
    stat.map_or(0, |stat| stat.ppid)
}

/// Reads `statm` through a descriptor that was opened earlier. Fails with `ESRCH` when the process
/// is gone, also when its pid means another one by now.
pub(super) fn read_statm(file: &OwnedFd) -> Result<Statm, Errno> {
    let mut buffer = [0u8; 160];
    let len = rustix::io::pread(file, &mut buffer, 0)?;
    parse_statm(&buffer[..len]).ok_or(Errno::SRCH)
}

fn file_of<'a>(pid: u32, name: &str, buffer: &'a mut [u8; 40]) -> Option<&'a CStr> {
    let mut digits = [0u8; 10];
    let mut first = digits.len();
    let mut rest = pid;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let digits = &digits[first..];
    let end = digits.len() + 1 + name.len();
    buffer.get_mut(..digits.len())?.copy_from_slice(digits);
    buffer[digits.len()] = b'/';
    buffer.get_mut(digits.len() + 1..end)?.copy_from_slice(name.as_bytes());
    CStr::from_bytes_until_nul(buffer.get(..=end)?).ok()
}

pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The name may contain spaces and parentheses; what follows the last one is regular.
    let end_of_name = text.iter().rposition(|b| *b == b')')?;
    let space = text.iter().position(|b| *b == b' ')?;
    let (pid, name) = (&text[..space], text.get(space + 2..end_of_name)?);
    let after = end_of_name + 2;
    let mut fields = text.get(after..)?.split(|b| *b == b' ');
    let state = *fields.next()?.first()?;
    let ppid = number(fields.next()?)? as u32;
    let group = number(fields.next()?)? as u32;
    let session = number(fields.next()?)? as u32;
    let flags = number(fields.nth(2)?)?;
    fields.nth(3)?;
    let mut cpu = 0;
    for _ in 0..4 {
        // The children's times are printed signed.
        cpu += number(fields.next()?).unwrap_or(0);
    }
    let start = number(fields.nth(4)?.trim_ascii_end())?;
    Some(Stat {
        state,
        ppid,
        group,
        session,
        is_watchdog: name == WATCHDOG.as_bytes() && number(pid)? == u64::from(session),
        forked_only: flags & FORKED_WITHOUT_EXEC != 0,
        cpu: Ticks(cpu),
        start,
    })
}

fn parse_statm(text: &[u8]) -> Option<Statm> {
    let mut fields = text.split(|b| *b == b' ').skip(1);
    Some(Statm { resident: number(fields.next()?)?, shared: number(fields.next()?)? })
}

fn parse_hidden(text: &[u8]) -> Hidden {
    let mut hidden = Hidden::default();
    for line in text.split(|b| *b == b'\n') {
        if let Some(value) = line.strip_prefix(b"RssShmem:") {
            hidden.shmem = kilobytes(value);
        } else if let Some(value) = line.strip_prefix(b"VmSwap:") {
            hidden.swap = kilobytes(value);
        }
    }
    hidden
}

/// `None` for what has no memory (any more).
fn parse_own(text: &[u8]) -> Option<Own> {
    let mut own = None;
    for line in text.split(|b| *b == b'\n') {
        if let Some(value) = line.strip_prefix(b"Private_Dirty:") {
            own.get_or_insert(Own::default()).memory = kilobytes(value);
        } else if let Some(value) = line.strip_prefix(b"SwapPss:") {
            own.get_or_insert(Own::default()).swap = kilobytes(value);
        }
    }
    own
}

/// `   1234 kB`.
pub(super) fn kilobytes(value: &[u8]) -> Bytes {
    let digits = value.trim_ascii().split(|b| *b == b' ').next().unwrap_or_default();
    Bytes::kib(number(digits).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text =
            b"4711 (a) R 7 (x) S 42 76 77 0 -1 4194368 1 2 3 4 100 20 3 4 20 0 1 0 987654 1 2 3\n";
        assert_eq!(
            parse_stat(text),
            Some(Stat {
                state: b'S',
                ppid: 42,
                group: 76,
                session: 77,
                is_watchdog: false,
                forked_only: true,
                cpu: Ticks(127),
                start: 987_654
            })
        );
        assert_eq!(parse_stat(b"4711 (a"), None);
        // What only has the name, in somebody's session, is no watchdog.
        let keeps = |text: &[u8]| parse_stat(text).map(|stat| stat.is_watchdog);
        let rest = b" 0 -1 4194368 1 2 3 4 100 20 3 4 20 0 1 0 987654 1 2 3\n";
        let text = |start: &[u8]| [start, rest].concat();
        assert_eq!(keeps(&text(b"76 (plimsoll-watch) S 42 76 76")), Some(true));
        assert_eq!(keeps(&text(b"77 (plimsoll-watch) S 42 76 76")), Some(false));
        assert_eq!(keeps(&text(b"76 (plimsoll-keepe) S 42 76 76")), Some(false));
    }

    #[test]
    fn memory_is_read_from_statm_and_status() {
        assert_eq!(
            parse_statm(b"765 434 406 5 0 123 0\n"),
            Some(Statm { resident: 434, shared: 406 })
        );
        assert_eq!(parse_statm(b""), None);
        let status = b"Name:\tx\nRssShmem:\t     12 kB\nThreads:\t1\nVmSwap:\t   3 kB\n";
        assert_eq!(parse_hidden(status), Hidden { shmem: Bytes::kib(12), swap: Bytes::kib(3) });
        let rollup = b"Shared_Dirty: 80 kB\nPrivate_Clean: 7 kB\nPrivate_Dirty: 40 kB\nSwap: 9 kB\nSwapPss: 5 kB\n";
        let own = Own { memory: Bytes::kib(40), swap: Bytes::kib(5) };
        assert_eq!((parse_own(rollup), parse_own(b"")), (Some(own), None));
    }

    #[test]
    fn two_readings_of_one_memory_have_a_third_between_them() {
        let at = |resident, shared| Statm { resident, shared };
        assert!(at(90, 10).is_between(at(90, 10), at(90, 10)));
        assert!(at(95, 10).is_between(at(100, 10), at(90, 10)));
        // A fork's child has its parent's anonymous pages, and none of its programs' yet.
        assert!(!at(82, 2).is_between(at(90, 10), at(90, 10)));
        assert!(!at(95, 10).is_between(at(90, 10), at(94, 10)));
    }

    #[test]
    fn paths_are_built_without_allocation() {
        let mut buffer = [0; 40];
        assert_eq!(
            file_of(4_194_304, "oom_score_adj", &mut buffer),
            Some(c"4194304/oom_score_adj")
        );
        let mut buffer = [0; 40];
        assert_eq!(file_of(0, "stat", &mut buffer), Some(c"0/stat"));
    }

    #[test]
    fn our_own_process_is_found_in_proc() {
        let proc = Proc::open(Path::new("/proc")).unwrap();
        let mut pids = Vec::new();
        proc.list(&mut pids).unwrap();
        assert!(pids.binary_search(&std::process::id()).is_ok());
        let stat = proc.stat(std::process::id()).unwrap();
        assert_eq!(stat.ppid, std::os::unix::process::parent_id());
        assert!(proc.newest_pid().is_some());
    }
}
