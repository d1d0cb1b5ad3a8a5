//! The words in which the process tree and the jobserver are spoken of, on every system.

use plimsoll_core::{Bytes, Millis};

/// Whose memory a process is: a number that the governor gives; 0 is "the rest" (cargo, the driver,
/// everything that nobody claimed).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u32);

impl Owner {
    /// Cargo, the driver and everything unclaimed. It can be neither stopped nor killed.
    pub const REST: Self = Self(0);
}

/// What an adopted process is to its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Plimsoll's own process, which must stay able to clean up: it is counted, and neither stopped
    /// nor killed through its own owner.
    Shim,
    /// The compiler, linker or build script: it and its descendants are what is stopped and killed.
    Child,
    /// The process below which a whole build is (its driver, or a plain Cargo): what belongs to none of its units
    /// is counted here. No signal reaches anything through it.
    Root,
}

/// What an owner's processes use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tree memory: anonymous, shared and swapped pages of all its processes. Pages of a `memfd` are counted in each of
    /// the processes that map it, pages that a fork's child has of its parent only with that.
    pub memory: Bytes,
    /// The swapped part of `memory`.
    pub swapped: Bytes,
    /// Processor time, never falling: of what runs and of what has ended.
    pub cpu: Millis,
    /// Processes that live, zombies left out.
    pub processes: u32,
}

/// What is known of the end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It runs, or its parent has not waited for it yet.
    NotYet,
    /// With this wait status: 0 is a success.
    With(i32),
    /// It ended, and this kernel does not say how.
    Somehow,
}

/// The audit of a jobserver's pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Tokens that were put in and not taken back by us.
    pub issued: u32,
    /// Tokens in the pipe now, free for whoever reads first.
    pub unread: u32,
}

impl Tokens {
    /// Tokens that somebody must hold. Those of a killed holder stay in this number for ever: when
    /// nothing runs, it is what has to be minted again.
    #[must_use]
    pub fn held(self) -> u32 {
        self.issued.saturating_sub(self.unread)
    }
}
