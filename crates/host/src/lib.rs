//! What Plimsoll touches on the machine: processes and their memory, limits, pressure, tmpfs, the
//! jobserver's pipes.
//!
//! Everything here reads or acts; nothing decides. Linux is what is implemented ([`linux`'s modules]
//! hold the facts about it); elsewhere the same types exist, their constructors say that the system is
//! unsupported, and Cargo runs without a line.
//!
//! [`linux`'s modules]: ProcessTree

mod error;
mod process;
mod tools;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod unsupported;

pub use error::HostError;
#[cfg(target_os = "linux")]
pub use linux::{
    BuildWall, CgroupDir, CgroupLevel, Exit, Jobserver, Killers, Limits, LockWait, NoWall, Origin,
    ProcessTree, StoppedProcess, Tmpfs, TokenPipe, WallPlace, Witness, lock_waits, oom_kills,
    origin_of, parent_of, process_group, raise_open_files, runs_cargo, stand_apart,
};
pub use process::{BuildScript, Ended, Owner, Role, Tokens, Usage};
pub use tools::{MakeflagsForm, ToolVersions};
#[cfg(not(target_os = "linux"))]
pub use unsupported::{
    BuildWall, Exit, Jobserver, Limits, NoWall, ProcessTree, Tmpfs, TokenPipe, WallPlace,
    oom_kills, process_group,
};
