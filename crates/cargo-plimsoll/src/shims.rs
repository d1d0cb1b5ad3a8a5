//! The shims' programs, which are installed beside ours, and how they are known again in a configuration.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_shim::name;

/// Where the two shims are.
#[derive(Clone, Debug)]
pub(crate) struct Shims {
    /// The one in rustc's place.
    pub(crate) rustc: PathBuf,
    /// The one in rustdoc's place.
    pub(crate) rustdoc: PathBuf,
    /// The one before tests.
    pub(crate) test: PathBuf,
}

impl Shims {
    /// Those beside the running program, which must be there.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let shims = Self::named()?;
        for shim in [&shims.rustc, &shims.rustdoc] {
            anyhow::ensure!(shim.is_file(), "`{}` is missing; reinstall Plimsoll", shim.display());
        }
        Ok(shims)
    }

    /// Where they should be: enough to know them again.
    pub(crate) fn named() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot find where Plimsoll is installed")?;
        Ok(Self {
            rustc: own.with_file_name(name::RUSTC),
            rustdoc: own.with_file_name(name::RUSTDOC),
            test: own.with_file_name(name::TEST),
        })
    }

    /// Whether a program that is configured is a shim: one of these files, or one of the same name from
    /// another installation.
    pub(crate) fn include(&self, program: &Path) -> bool {
        let same = || {
            let real = program.canonicalize().ok()?;
            let ours = [&self.rustc, &self.rustdoc].map(|shim| shim.canonicalize().ok());
            Some(ours.contains(&Some(real)))
        };
        name::is_shim(program) || (program.is_absolute() && same().unwrap_or(false))
    }
}
