//! The error of everything that touches the machine.

use std::io;
use std::path::PathBuf;

/// An operation of the operating system that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{}`", path.display())]
pub struct HostError {
    /// What was tried, as in "cannot …".
    pub doing: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl HostError {
    pub(crate) fn new(
        doing: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self { doing, path: path.into(), source: source.into() }
    }
}

/// Keeps the kind, the operation, the path and the source.
impl From<HostError> for io::Error {
    fn from(error: HostError) -> Self {
        Self::new(error.source.kind(), error)
    }
}
