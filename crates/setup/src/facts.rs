//! What is looked at: machine, process, configuration and workspace, as plain values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use plimsoll_cargo::CargoConfig;
use plimsoll_core::Bytes;
use plimsoll_core::budget::{Bound, OomDaemon};
use plimsoll_host::CgroupLevel;
use plimsoll_init::figures::Figures;
use plimsoll_init::plan::Finding as Proposal;
use plimsoll_init::workspace::Workspace;

use super::flags::Flags;

/// Everything that the findings depend on.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The machine, and what contains us on it.
    pub machine: Machine,
    /// What this process, and with it Cargo, may do.
    pub(crate) bounds: Bounds,
    /// Where builds write.
    pub(crate) places: Vec<Place>,
    /// The linkers.
    pub(crate) linkers: Linkers,
    /// Cargo's configuration that holds here.
    pub cargo: CargoConfig,
    /// The jobs that Plimsoll itself is told, and where, but by an option.
    pub(crate) own_jobs: Option<(String, u32)>,
    /// `cargo plimsoll enable` is in force.
    pub enabled: bool,
    /// What keeps plain `cargo` from the account's budget here.
    pub obstacles: Vec<Obstacle>,
    /// The wrapper is one of Plimsoll's shims.
    pub wrapper_is_ours: bool,
    /// The wrapper can be found.
    pub(crate) wrapper_is_there: bool,
    /// Variables that Cargo reads: those that begin with `CARGO_`, `RUSTC_WORKSPACE_WRAPPER`, and `CI` and `TF_BUILD`.
    pub variables: BTreeMap<String, String>,
    /// The compiler's flags by the user: those that hold first, then those that they hide.
    pub(crate) flags: Vec<Flags>,
    /// What is wrong with each `plimsoll.toml` that cannot be used.
    pub bad_files: Vec<String>,
    /// The workspace; nothing where Cargo finds none.
    pub here: Option<Here>,
    /// Why there is no workspace, in Cargo's words.
    pub(crate) no_workspace: Option<String>,
}

impl Facts {
    /// Cargo takes this for a CI.
    pub(crate) fn is_ci(&self) -> bool {
        ["CI", "TF_BUILD"].iter().any(|name| self.variables.contains_key(*name))
    }
}

/// Something that goes past the shims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// `rustc` or `rustdoc`.
    pub tool: &'static str,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

/// The workspace around the working directory.
#[derive(Clone, Debug, Default)]
pub struct Here {
    /// As `init` sees it.
    pub workspace: Workspace,
    /// What `init` makes of it.
    pub(crate) proposals: Vec<Proposal>,
    /// What recorded builds know of it.
    pub figures: Figures,
}

/// The machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Processors that this process may use.
    pub processors: u32,
    /// Its memory.
    pub(crate) total: Bytes,
    /// What is free of it, or of the tightest cgroup: what the kernel could give without killing anybody.
    pub free: Bytes,
    /// What an automatic budget comes to, and the limit from which it follows.
    pub bound: Option<Bound>,
    /// How many processes the kernel has killed in the cgroups around us for lack of memory, as far as they count it.
    pub killed: u64,
    /// The anonymous memory of others, summed by the names of programs, and never more than their names.
    pub programs: Vec<(String, Bytes)>,
    /// When the first of the daemons among them acts that kill before the kernel does, where that is known.
    pub(crate) killer: Option<OomDaemon>,
    /// The cgroups around us that limit anything, the innermost first.
    pub(crate) levels: Vec<CgroupLevel>,
    /// Each swap: its kind, size and what is used of it.
    pub(crate) swaps: Vec<Swap>,
    /// Transparent huge pages: `always`, `madvise`, `never`; nothing where the kernel has none.
    pub(crate) huge_pages: Option<String>,
    /// Memory may be promised only up to a limit (`vm.overcommit_memory=2`): that limit and what is promised.
    pub(crate) strict_commit: Option<(Bytes, Bytes)>,
}

/// One swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Swap {
    /// It is compressed memory.
    pub(crate) is_zram: bool,
    /// Its size.
    pub(crate) size: Bytes,
    /// What is used of it.
    pub(crate) used: Bytes,
}

/// The limits of a process (getrlimit(2)), the soft ones; nothing is no limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    /// `RLIMIT_AS`.
    pub(crate) address_space: Option<Bytes>,
    /// `RLIMIT_DATA`.
    pub(crate) data: Option<Bytes>,
    /// `RLIMIT_NOFILE`: the soft and the hard one.
    pub files: Option<(u64, u64)>,
    /// `RLIMIT_NPROC`.
    pub(crate) processes: Option<u64>,
    /// A process that dies of a signal writes its memory into a file (`RLIMIT_CORE` is not 0, and the kernel pipes
    /// it to no program).
    pub(crate) dumps_core: bool,
}

/// A directory into which builds write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// How a person calls it: `the target directory`, `the temporary directory`.
    pub name: &'static str,
    /// The directory.
    pub path: PathBuf,
    /// Its file system is memory; what that holds, and how much it may.
    pub(crate) in_memory: Option<(Bytes, Bytes)>,
    /// How much of a file its disk reads at a page fault, and the kernel's file that says so.
    pub(crate) read_ahead: Option<(String, Bytes)>,
}

/// The linkers at hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Linkers {
    /// Those found in `PATH`: `ld.bfd`, `gold`, `lld`, `mold`, `wild`.
    pub found: Vec<&'static str>,
    /// The toolchain brings its own lld.
    pub(crate) has_rust_lld: bool,
    /// The program that rustc calls to link, and whether it is there.
    pub(crate) driver: Option<(String, bool)>,
    /// What that calls without being told, in the words of `ld -v`.
    pub(crate) drivers_own: Option<String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use plimsoll_core::Millis;
    use plimsoll_history::Row;

    use super::*;

    /// A library that was recorded.
    pub(crate) fn row(package: &str, profile: &str, peak: Bytes, link_peak: Bytes) -> Row {
        Row {
            package: package.to_owned(),
            version: "1.0.0".to_owned(),
            crate_name: package.to_owned(),
            kind: "lib".to_owned(),
            profile: profile.to_owned(),
            runs: 1,
            peak_last: peak,
            peak_max: peak,
            at_least: Bytes::ZERO,
            cpu: Millis(1),
            wall: Millis(1),
            link_peak,
            last_seen_unix: 0,
        }
    }
}
