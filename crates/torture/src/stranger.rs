//! A stranger beside a build: processes of the same user that Plimsoll was never asked to govern. None of its signals may
//! reach them, whoever of the build dies.
//!
//! Two of them look like build scripts by program and environment, which is how a build's own are found, and hold memory.
//! They and the orphans of the build have the same parent: the benchmark, which is a subreaper.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use plimsoll_rig::sampler::{INTERVAL, reap_orphans};
use plimsoll_rig::tree;
use rustix::process::Signal;

use crate::verdict;

/// Writes down each signal that a shell can catch, until it is told to end.
const WATCHES: &str = "
    for signal in CONT TERM HUP INT QUIT USR1; do trap \"echo SIG$signal >>$STRANGER/signals\" $signal; done
    held=$(head -c 30000000 /dev/zero | tr '\\0' x)
    while [ ! -e \"$STRANGER/end\" ]; do sleep 0.1; done
    echo ended >>\"$STRANGER/ended\"";

/// How long the stranger may take to end.
const LEAVING: Duration = Duration::from_secs(20);

/// It runs until [`Stranger::end`].
pub(crate) struct Stranger {
    dir: PathBuf,
    pids: Vec<i32>,
    was_stopped: bool,
}

impl Stranger {
    /// Starts it; what it writes is in `dir`.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let script = dir.join("build-script-build");
        fs::copy("/bin/sh", &script).context("copying the shell")?;
        let mut stranger = Self { dir: dir.to_owned(), pids: Vec::new(), was_stopped: false };
        for program in [Path::new("/bin/sh"), &script, &script] {
            let mut command = Command::new(program);
            command.args(["-c", WATCHES]).current_dir(dir).process_group(0);
            command.env("STRANGER", dir);
            if program == script {
                let package = [
                    ("CARGO_PKG_NAME", "stranger"),
                    ("CARGO_PKG_VERSION", "0.0.0"),
                    ("OUT_DIR", "/"),
                    ("NUM_JOBS", "1"),
                ];
                command.envs(package);
            }
            let child = command.spawn().context("starting a stranger")?;
            // Whoever waits for any orphan waits for it, too.
            stranger.pids.push(i32::try_from(child.id()).unwrap_or(0));
        }
        Ok(stranger)
    }

    /// Called at every sample.
    pub(crate) fn look(&mut self) {
        self.was_stopped |= self.pids.iter().any(|pid| verdict::state(*pid) == Some('T'));
    }

    /// Ends it. What was done to it.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.look();
        let _ = fs::write(self.dir.join("end"), "");
        let read = |name: &str| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        let until = Instant::now() + LEAVING;
        while read("ended").lines().count() < self.pids.len() && Instant::now() < until {
            std::thread::sleep(INTERVAL);
            reap_orphans();
        }
        let mut findings = Vec::new();
        if self.was_stopped {
            findings.push("a stranger's process was stopped".to_owned());
        }
        if read("ended").lines().count() < self.pids.len() {
            findings.push("a stranger's process was ended, or stands still".to_owned());
        }
        findings.extend(read("signals").lines().map(|it| format!("a stranger's process got {it}")));
        findings.dedup();
        findings
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        for pid in &self.pids {
            let ours = |pid: i32| tree::descendants().contains(&pid);
            tree::signal(*pid, Signal::KILL, ours);
        }
        reap_orphans();
    }
}
