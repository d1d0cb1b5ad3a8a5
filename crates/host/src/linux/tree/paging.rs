//! Writing what a stopped unit holds to the swap.
//!
//! `process_madvise(2)` with `MADV_PAGEOUT` (Linux 5.10) reclaims the pages of another process. It needs `CAP_SYS_NICE`
//! (5.12 and later; a trace permission before): where that is refused, nothing is paged out from then on. The call
//! waits for the disk, so a thread of its own makes it, a piece at a time, until all is done or the unit goes on.
#![expect(unsafe_code, reason = "process_madvise has no safe interface")]

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::ProcessTree;
use crate::process::Owner;

/// What is written with one call: it ends within a moment when the unit is to go on.
const PIECE: usize = 16 << 20;

/// A unit whose memory is being written.
#[derive(Debug)]
pub(super) struct Pager {
    owner: Owner,
    stop: Arc<AtomicBool>,
}

impl Drop for Pager {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One process and the parts of its memory that only it has.
struct Target {
    process: OwnedFd,
    ranges: Vec<(usize, usize)>,
}

impl ProcessTree {
    /// Whether this process may page others out: as long as the kernel has not refused it.
    #[must_use]
    pub fn can_page_out(&self) -> bool {
        !self.paging_refused.load(Ordering::Relaxed)
    }

    /// Writes what the owner's processes, which are stopped, hold to the swap, on the side.
    pub fn page_out(&mut self, owner: Owner) {
        self.stop_paging(owner);
        let targets: Vec<Target> = self
            .reached_by(&[owner])
            .into_iter()
            .filter_map(|index| {
                let node = self.table.get(index)?;
                let pid = Pid::from_raw(node.pid.cast_signed())?;
                let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
                let same = self.proc.stat(node.pid).is_some_and(|stat| stat.start == node.start);
                let maps = std::fs::read(format!("/proc/{}/maps", node.pid)).ok()?;
                same.then(|| Target { process, ranges: anonymous(&maps) })
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let refused = Arc::clone(&self.paging_refused);
        self.pagers.push(Pager { owner, stop: Arc::clone(&stop) });
        // Where there can be no thread, nothing is paged out, and pressure finds another way.
        let _ = thread::Builder::new().name("page-out".to_owned()).spawn(move || {
            for target in targets {
                if !write_out(&target, &stop) {
                    refused.store(true, Ordering::Relaxed);
                    return;
                }
            }
        });
    }

    /// The owner's processes are about to run, or to end.
    pub(super) fn stop_paging(&mut self, owner: Owner) {
        self.pagers.retain(|pager| pager.owner != owner);
    }
}

/// False where the kernel does not let us.
fn write_out(target: &Target, stop: &AtomicBool) -> bool {
    for &(start, end) in &target.ranges {
        let mut at = start;
        while at < end {
            if stop.load(Ordering::Relaxed) {
                return true;
            }
            let length = PIECE.min(end - at);
            let piece =
                libc::iovec { iov_base: std::ptr::without_provenance_mut(at), iov_len: length };
            // SAFETY: the kernel reads one `iovec` of ours; the addresses in it are the other process's, and are not
            // touched here. `MADV_PAGEOUT` changes no contents.
            let done = unsafe {
                libc::syscall(
                    libc::SYS_process_madvise,
                    target.process.as_raw_fd(),
                    &raw const piece,
                    1usize,
                    libc::MADV_PAGEOUT,
                    0u32,
                )
            };
            if done < 0 {
                let error = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
                if matches!(error, libc::EPERM | libc::ENOSYS | libc::EINVAL) {
                    return false;
                }
                if error == libc::ESRCH {
                    return true;
                }
            }
            at += length;
        }
    }
    true
}

/// The private, writable, anonymous parts of an address space, as `/proc/PID/maps` lists them (proc(5)).
fn anonymous(maps: &[u8]) -> Vec<(usize, usize)> {
    let text = String::from_utf8_lossy(maps);
    let range = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let rights = words.next()?;
        let inode = words.nth(2)?;
        let ours = rights.contains('w') && rights.ends_with('p') && inode == "0";
        let number = |text| usize::from_str_radix(text, 16).ok();
        ours.then_some((number(start)?, number(end)?))
    };
    text.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_process_alone_has_is_written() {
        let maps = b"\
55d0-55d1 r-xp 00000000 08:01 123 /usr/bin/rustc
7f00-7f10 rw-p 00000000 00:00 0
7f10-7f20 rw-p 00001000 08:01 123 /usr/lib/librustc_driver.so
7f20-7f30 rw-s 00000000 00:05 0 /dev/zero
7f30-7f40 rw-p 00000000 00:00 0 [heap]
7f40-7f50 ---p 00000000 00:00 0
";
        assert_eq!(anonymous(maps), [(0x7f00, 0x7f10), (0x7f30, 0x7f40)]);
    }
}
