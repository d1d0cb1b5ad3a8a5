//! What can keep a governor from starting. Once it runs, nothing stops it: a shim that misbehaves loses
//! its connection, and a build without a governor is still a build.

use std::io;

/// Why a governor could not be started.
#[derive(Debug, thiserror::Error)]
pub enum GovernorError {
    /// The socket on which shims register.
    #[error("cannot listen for compilers on the abstract socket `{name}`")]
    Listen {
        /// The socket's name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The process table.
    #[error("cannot read this build's processes from /proc")]
    Processes(#[source] io::Error),
    /// The limits above the build.
    #[error("cannot read how much memory the machine has")]
    Limits(#[source] plimsoll_host::HostError),
    /// Waiting for events.
    #[error("cannot wait for events")]
    Poll(#[source] io::Error),
}
