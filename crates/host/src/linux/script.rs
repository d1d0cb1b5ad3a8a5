//! A build script's run, as the process tree finds it.

use std::path::PathBuf;

use super::exit::Exit;

/// A build script's run that was found in Cargo's tree.
#[derive(Debug)]
pub struct BuildScript {
    /// Its process.
    pub pid: u32,
    /// `CARGO_PKG_NAME`.
    pub package: String,
    /// `CARGO_PKG_VERSION`.
    pub version: String,
    /// `CARGO_MANIFEST_DIR`, the package's directory.
    pub dir: PathBuf,
    /// Tells how it ended, where there are pidfds and it is sure to be one: what else carries a build script's
    /// environment may fail without the build failing.
    pub exit: Option<Exit>,
}
