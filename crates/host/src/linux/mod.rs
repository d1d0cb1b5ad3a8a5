//! Linux: `/proc`, cgroups v1 and v2, pidfds, pipes. Nothing here needs privileges.

mod cgroup;
mod environ;
mod exit;
mod jobserver;
mod kept;
mod limits;
mod memory;
mod mounts;
mod procfs;
mod signals;
mod table;
mod tmpfs;
mod tokens;
mod tree;

pub use exit::Exit;
pub use jobserver::Jobserver;
pub use limits::{Limits, oom_kills};
pub use procfs::process_group;
pub use tmpfs::Tmpfs;
pub use tokens::TokenPipe;
pub use tree::ProcessTree;
