//! The tokens that let a compiler run further threads.

use std::os::fd::OwnedFd;

/// A jobserver of the unit's own: what is in it the compiler may take for further threads.
#[derive(Debug)]
pub(crate) struct UnitTokens {
    /// Tokens are taken from here.
    pub(crate) read: OwnedFd,
    /// And put back here.
    pub(crate) write: OwnedFd,
}
