//! What several tests need. Each call returns where that is there, and otherwise ends the test as ignored.

use std::fs;
use std::process::{Command, Stdio};

use crate::ignored;

/// To be root.
pub fn root() {
    if !rustix::process::geteuid().is_root() {
        ignored("it takes root");
    }
}

/// So much swap that nobody uses yet.
pub fn swap(mib: u64) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = text.lines().find_map(|line| {
        line.strip_prefix("SwapFree:")?.split_whitespace().next()?.parse::<u64>().ok()
    });
    if free.unwrap_or(0) < mib << 10 {
        ignored("there is too little swap");
    }
}

/// A program in the search path.
pub fn program(name: &str) {
    if which::which(name).is_err() {
        ignored(format!("there is no {name}"));
    }
}

/// A toolchain of rustup's.
pub fn toolchain(name: &str) {
    success(
        Command::new("rustup").args(["run", name, "cargo", "--version"]),
        &format!("there is no {name} toolchain"),
    );
}

/// That a command succeeds; otherwise `reason` says what that means.
pub fn success(command: &mut Command, reason: &str) {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !command.status().is_ok_and(|status| status.success()) {
        ignored(reason);
    }
}

/// A kernel of this version or later.
pub fn linux(major: u32, minor: u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(major), Some(minor)) {
        ignored(format!("it takes Linux {major}.{minor}"));
    }
}
