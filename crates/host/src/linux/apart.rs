//! A process that nobody waits for: in a session of its own, without a descriptor of its starter's.
#![expect(unsafe_code, reason = "closing what others have left open has no safe interface")]

use std::fs;
use std::io;

use plimsoll_core::WATCHDOG;

/// Leaves the starter's session, directory and descriptors; standard input, output and error stay. From here on
/// this process and what it starts belong to no build, wherever they hang in the tree of processes: its name,
/// [`WATCHDOG`], says so. To be called before anything of its own is open, and by a process that leads no group.
///
/// # Errors
/// Where the process leads a group already, or `/proc` cannot be read.
pub fn stand_apart() -> io::Result<()> {
    rustix::process::setsid()?;
    std::env::set_current_dir("/")?;
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    // The listing's own descriptor is among them, and closed by now.
    let is_open = |fd: &i32| fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok();
    for fd in open.into_iter().filter(is_open) {
        // SAFETY: it is open, and nothing of this process's own is yet, as the caller sees to.
        unsafe { rustix::io::close(fd) };
    }
    fs::write("/proc/self/comm", WATCHDOG)?;
    // Whoever started us may be one that the kernel is to take first.
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    Ok(())
}

/// As many open files as this process may have: three hundred shims and their token pipes at once need more than
/// the usual 1,024 descriptors.
pub fn raise_open_files() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
}
