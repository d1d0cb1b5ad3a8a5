//! Builds that run beside each other in one scope.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use plimsoll_rig::launch::{Build, Interrupt, create, stderr_of};
use plimsoll_rig::sampler::{INTERVAL, Sampler, Scope};

/// A build on its way.
pub(crate) struct Running {
    pub(crate) name: &'static str,
    child: Child,
    /// Its time, once it has ended.
    pub(crate) took: Option<Duration>,
    /// It has ended, well or not.
    pub(crate) ended: Option<bool>,
}

impl Running {
    /// In a process group of its own, its output in files.
    pub(crate) fn start(
        name: &'static str,
        build: &Build,
        entrances: &[PathBuf],
        log: &Path,
    ) -> Result<Self> {
        let mut command = build.command(entrances)?;
        command.process_group(0).stdout(create(log)?).stderr(create(&stderr_of(log))?);
        let child = command.spawn().with_context(|| format!("starting {}", build.display()))?;
        Ok(Self { name, child, took: None, ended: None })
    }

    /// Whether it has ended by now.
    pub(crate) fn look(&mut self, now: Duration) -> Result<()> {
        if self.ended.is_none()
            && let Some(status) = self.child.try_wait().context("waiting for a build")?
        {
            self.ended = Some(status.signal().is_none() && status.success());
            self.took = Some(now);
        }
        Ok(())
    }

    /// Ends it, if it has not.
    pub(crate) fn end(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Samples until all have ended.
pub(crate) fn watch(
    running: &mut [Running],
    scope: &Scope,
    sampler: &mut Sampler,
    stop_after: Duration,
    interrupt: &Interrupt,
) -> Result<()> {
    while running.iter().any(|one| one.ended.is_none()) && sampler.elapsed() < stop_after {
        interrupt.check()?;
        sampler.sample(scope);
        for one in running.iter_mut() {
            one.look(sampler.elapsed())?;
        }
        std::thread::sleep(INTERVAL);
    }
    Ok(())
}
