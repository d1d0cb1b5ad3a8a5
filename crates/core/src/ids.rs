//! Names of the things that a build is made of, each its own type so that they cannot be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One governed process tree of one build: a rustc, a rustdoc or a build-script run.
///
/// Numbered from 1 in the order of registration; never reused within a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitId(pub u32);

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// One build of those that a governor sees to, numbered from 1 in the order in which they came. [`BuildId`] is
/// its name in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildNo(pub u32);

/// A cgroup with a limit that some of the builds are in, and others are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupNo(pub u32);

/// One run of `cargo plimsoll`: the start in milliseconds since the Unix epoch and the driver's pid,
/// which sorts by time and cannot collide on one machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildId(pub String);

impl BuildId {
    /// The identity of the build that the driver `pid` started at `unix_ms`.
    #[must_use]
    pub fn new(unix_ms: u64, pid: u32) -> Self {
        Self(format!("{unix_ms:013}-{pid}"))
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
