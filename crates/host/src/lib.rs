//! What Plimsoll touches on the machine: processes and their memory, limits, pressure, tmpfs, the
//! jobserver's pipes.
//!
//! Everything here reads or acts; nothing decides. For Linux only, as all that depends on it: [`linux`'s modules] hold
//! the facts about it.
//!
//! [`linux`'s modules]: ProcessTree

mod error;
mod linux;
mod process;
mod tools;

pub use error::HostError;
pub use linux::{
    BuildScript, CgroupDir, CgroupLevel, CgroupPath, Exit, HardLimitCgroup, Jobserver, Killers,
    Limits, LockWait, NoHardLimit, Origin, ProcessTree, Signal, Signals, StoppedProcess, Tmpfs,
    TokenPipe, Witness, have_job_control, lock_waits, oom_kills, origin_of, parent_of,
    process_group, raise_open_files, runs_cargo, stand_apart, stop_self,
};
pub use process::{Ended, Owner, Role, Tokens, Usage};
pub use tools::{MakeflagsForm, ToolVersions};
