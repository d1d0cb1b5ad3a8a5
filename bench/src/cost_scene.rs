//! Where `cost` measures: its folders below the state folder, and the programs that stand for the compiler and Cargo.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use plimsoll_rig::folders::empty;
use plimsoll_rig::launch::{Build, Interrupt};
use plimsoll_rig::programs::Plimsoll;

use crate::cost_rustc::{HOLD, REAL};

/// Where it happens: folders below the state folder, and programs.
pub(crate) struct CostScene<'a> {
    /// Below this.
    pub(crate) dir: PathBuf,
    /// Ctrl-C.
    pub(crate) interrupt: &'a Interrupt,
    plimsoll: &'a Plimsoll,
    rustc: PathBuf,
    /// Stands for Cargo in the environment of units.
    pub(crate) cargo: PathBuf,
    real: PathBuf,
}

impl<'a> CostScene<'a> {
    pub(crate) fn prepare(
        state: &Path,
        plimsoll: &'a Plimsoll,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        let dir = state.join("cost");
        empty(&dir)?;
        let bin = dir.join("bin");
        empty(&bin)?;
        let me = std::env::current_exe().context("finding the benchmark's own program")?;
        let named = |name: &str| {
            let path = bin.join(name);
            symlink(&me, &path).with_context(|| format!("making {}", path.display()))?;
            anyhow::Ok(path)
        };
        Ok(Self {
            rustc: named("rustc")?,
            cargo: named("cargo")?,
            real: real_rustc()?,
            dir,
            interrupt,
            plimsoll,
        })
    }

    /// The crates that are built.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.dir.join("src")
    }

    /// Where the compilers say that they hold memory.
    pub(crate) fn hold(&self) -> PathBuf {
        self.dir.join("hold")
    }

    /// The target folder.
    pub(crate) fn target(&self) -> PathBuf {
        self.dir.join("target")
    }

    /// A build with the benchmark's own compiler.
    pub(crate) fn build(&self, args: Vec<OsString>, more: Vec<(String, PathBuf)>) -> Build {
        let own = [
            ("CARGO_TARGET_DIR", self.target()),
            ("PLIMSOLL_HOME", self.dir.join("home")),
            ("RUSTC", self.rustc.clone()),
            (REAL, self.real.clone()),
            (HOLD, self.hold()),
            ("CARGO_TERM_PROGRESS_WHEN", "never".into()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let env = own.into_iter().chain(more).map(|(name, value)| (name, value.into())).collect();
        Build {
            program: self.plimsoll.program.clone().into(),
            args,
            env,
            dir: self.workspace(),
            one_token: false,
            small_pages: false,
        }
    }
}

/// The compiler behind any proxy: a question to a proxy takes many times as long.
fn real_rustc() -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .context("starting `rustc --print sysroot`")?;
    let path = Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("bin/rustc");
    if !path.is_file() {
        bail!("`rustc --print sysroot` names no folder with a compiler: {}", path.display());
    }
    Ok(path)
}
