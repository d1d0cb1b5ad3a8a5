//! An account on which Plimsoll is enabled: what a person has, without touching the person's own.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::folders::empty;
use crate::programs::Plimsoll;

/// An account of the benchmark's own, on which Plimsoll is enabled. Undone in the end.
pub struct Account {
    cargo: PathBuf,
    home: PathBuf,
    program: PathBuf,
}

impl Account {
    /// A Cargo home that shares the real one's registry, with Plimsoll enabled in it.
    pub fn make(state: &Path, plimsoll: &Plimsoll) -> Result<Self> {
        let account = Self::prepare(state, plimsoll)?;
        account.enable(None)?;
        Ok(account)
    }

    /// The same, not enabled yet.
    pub fn prepare(state: &Path, plimsoll: &Plimsoll) -> Result<Self> {
        let (cargo, home) = (state.join("account/cargo"), state.join("account/plimsoll"));
        empty(&cargo)?;
        empty(&home)?;
        let real = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
        let real = real.context("neither CARGO_HOME nor HOME is set")?;
        for shared in ["registry", "git"] {
            let (from, to) = (real.join(shared), cargo.join(shared));
            if from.exists() {
                symlink(&from, &to).with_context(|| format!("making {}", to.display()))?;
            }
        }
        Ok(Self { cargo, home, program: plimsoll.program.clone() })
    }

    /// `cargo plimsoll enable`, with a budget where one is named.
    pub fn enable(&self, budget: Option<&OsStr>) -> Result<()> {
        let budget: Vec<_> =
            budget.into_iter().flat_map(|budget| ["--memory".as_ref(), budget]).collect();
        self.call("enable", &budget)
    }

    /// `cargo plimsoll disable`.
    pub fn disable(&self) -> Result<()> {
        self.call("disable", &[])
    }

    /// What a command's environment needs to be on it.
    pub fn environment(&self) -> [(String, std::ffi::OsString); 2] {
        [
            ("CARGO_HOME".to_owned(), self.cargo.clone().into()),
            ("PLIMSOLL_HOME".to_owned(), self.home.clone().into()),
        ]
    }

    fn call(&self, what: &str, more: &[&OsStr]) -> Result<()> {
        let output = std::process::Command::new(&self.program)
            .args(["plimsoll", what])
            .args(more)
            .envs(self.environment())
            .output()
            .with_context(|| format!("starting `cargo plimsoll {what}`"))?;
        if !output.status.success() {
            bail!("`cargo plimsoll {what}` failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Its governor is in the builds' group, and ended with that.
        let _ = self.call("disable", &[]);
    }
}
