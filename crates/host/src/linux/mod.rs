//! Linux: `/proc`, cgroups v1 and v2, pidfds, pipes. Nothing here needs privileges.

mod apart;
mod caught;
mod cgroup;
mod environ;
mod exit;
mod hard_limit;
mod hard_limit_name;
mod jobserver;
mod kept;
mod killers;
mod limits;
mod locks;
mod mounts;
mod origin;
mod procfs;
mod script;
mod table;
mod tmpfs;
mod tokens;
mod tree;

pub use apart::{raise_open_files, stand_apart};
pub use caught::{Signal, Signals, have_job_control, stop_self};
pub use exit::Exit;
pub use hard_limit::{CgroupPath, HardLimitCgroup, NoHardLimit};
pub use jobserver::Jobserver;
pub use killers::Killers;
pub use limits::{CgroupDir, CgroupLevel, Limits, oom_kills};
pub use locks::{LockWait, lock_waits};
pub use origin::{Origin, origin_of, runs_cargo};
pub use procfs::{parent_of, process_group};
pub use script::BuildScript;
pub use tmpfs::Tmpfs;
pub use tokens::TokenPipe;
pub use tree::{ProcessTree, StoppedProcess, Witness};
