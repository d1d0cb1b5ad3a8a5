//! What a build is surrounded by: swap that is on for a while, and a small disk in memory. Always taken off, also on
//! failure; what a campaign that was itself killed has left, the next one takes off.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Enough for the largest of the small builds, and soon read back.
const SWAP: usize = 192 << 20;

/// What the file is called, below the state folder.
const FILE: &str = "torture.swap";

/// Swap, on.
#[derive(Debug)]
pub(crate) struct Swap {
    file: PathBuf,
}

impl Swap {
    /// Switches it on: a file below `state`.
    pub(crate) fn on(state: &Path) -> Result<Self> {
        let swap = Self { file: state.join(FILE) };
        let mut file =
            File::create(&swap.file).with_context(|| format!("making {}", swap.file.display()))?;
        file.set_permissions(fs::Permissions::from_mode(0o600))
            .with_context(|| format!("closing {} to others", swap.file.display()))?;
        // It may have no holes.
        let block = vec![0; 1 << 20];
        for _ in 0..SWAP / block.len() {
            file.write_all(&block).with_context(|| format!("filling {}", swap.file.display()))?;
        }
        drop(file);
        call("mkswap", &[swap.file.as_os_str()])?;
        call("swapon", &[swap.file.as_os_str()])?;
        Ok(swap)
    }

    /// Whether it is on.
    pub(crate) fn is_on(state: &Path) -> bool {
        let file = state.join(FILE);
        let table = fs::read_to_string("/proc/swaps").unwrap_or_default();
        table.lines().any(|line| line.split_whitespace().next() == file.to_str())
    }

    fn off(file: &Path) {
        let _ = call("swapoff", &[file.as_os_str()]);
        let _ = fs::remove_file(file);
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        Self::off(&self.file);
    }
}

/// A disk in memory, mounted.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
}

impl Disk {
    /// Mounts one of `bytes` on an empty folder.
    pub(crate) fn mount(dir: &Path, bytes: u64) -> Result<Self> {
        let size = format!("size={bytes}");
        let words = ["-t", "tmpfs", "-o", &size, "plimsoll-torture"].map(OsStr::new);
        call("mount", &[&words[..], &[dir.as_os_str()]].concat())?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Gives it all the room that a build wants.
    pub(crate) fn widen(&self) -> Result<()> {
        call("mount", &["-o".as_ref(), "remount,size=4G".as_ref(), self.dir.as_os_str()])
    }

    /// Whether something is mounted there.
    pub(crate) fn is_at(dir: &Path) -> bool {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        table.lines().any(|line| line.split(' ').nth(4) == dir.to_str())
    }

    fn off(dir: &Path) {
        if call("umount", &[dir.as_os_str()]).is_err() {
            // Somebody still has a file of it open; it goes with that.
            let _ = call("umount", &["--lazy".as_ref(), dir.as_os_str()]);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Self::off(&self.dir);
    }
}

/// What can be had on this machine, by this user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means {
    /// Cgroups, and cgroup limits.
    pub(crate) cgroups: bool,
    /// Swap.
    pub(crate) swap: bool,
    /// Disks in memory.
    pub(crate) disks: bool,
}

impl Means {
    /// Tries each, after what another campaign may have left was taken off.
    pub(crate) fn find(state: &Path) -> Self {
        if Swap::is_on(state) {
            Swap::off(&state.join(FILE));
        }
        let targets = state.join("target");
        for dir in fs::read_dir(&targets).into_iter().flatten().flatten() {
            if Disk::is_at(&dir.path()) {
                Disk::off(&dir.path());
            }
        }
        let trial = state.join("trial");
        let disks = fs::create_dir_all(&trial).is_ok() && Disk::mount(&trial, 1 << 20).is_ok();
        let _ = fs::remove_dir(&trial);
        Self {
            cgroups: plimsoll_rig::cgroup::Group::make(None).is_ok(),
            swap: Swap::on(state).is_ok(),
            disks,
        }
    }

    /// What is left out, for people.
    pub(crate) fn missing(self) -> Option<String> {
        let all = [
            (self.cgroups, "cgroups and their cgroup limits"),
            (self.swap, "swap"),
            (self.disks, "disks in memory"),
        ];
        let missing: Vec<_> = all.iter().filter(|(is, _)| !is).map(|(_, what)| *what).collect();
        (!missing.is_empty()).then(|| missing.join(", "))
    }
}

/// Runs a system's own command; its words are the error's.
fn call(program: &str, words: &[&OsStr]) -> Result<()> {
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting `{program}`"))?;
    if !output.status.success() {
        bail!("`{program}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
