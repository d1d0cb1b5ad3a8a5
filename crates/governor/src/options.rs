//! What a governor and each of its builds are started with, and who hears what happens in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plimsoll_core::budget::MemoryBudget;
use plimsoll_core::event::{BuildLiveState, Header, Record};
use plimsoll_core::schedule::BuildTerms;
use plimsoll_core::settings::Memory;
use plimsoll_core::{BuildNo, Bytes};
use plimsoll_host::Jobserver;
use plimsoll_proto::Join;

use crate::graph::GraphCommand;

/// What a governor is started with.
#[derive(Debug)]
pub struct Options {
    /// Processors to plan for.
    pub cores: u32,
    /// The memory budget, as a person named it.
    pub memory: Memory,
    /// What of the machine's memory is kept free for everything else.
    pub reserve: Memory,
    /// Where history and logs live.
    pub home: PathBuf,
    /// The root of the workspace around a directory, by Cargo's rules for manifests.
    pub workspace_root: fn(&Path) -> Option<PathBuf>,
}

impl Options {
    /// The budget, before anything was read.
    pub(crate) fn budget(&self) -> MemoryBudget {
        MemoryBudget::new(self.memory).keeping(self.reserve)
    }
}

/// A build, as its driver describes it.
#[derive(Debug)]
pub struct BuildOptions {
    /// What it asks of the schedule.
    pub terms: BuildTerms,
    /// Its memory budget, as a person named it.
    pub memory: Memory,
    /// What a package's largest unit needs, by its user's word: it counts where nothing is remembered.
    pub notes: BTreeMap<String, Bytes>,
    /// Cargo's subcommand, for the log.
    pub command: String,
    /// Somebody else's program reads what compilers say: a unit that leaves gives it nothing to read.
    pub json_messages: bool,
    /// How to learn the unit graph, where Cargo can tell.
    pub graph: Option<GraphCommand>,
    /// The target directory. Its files are memory where it is on tmpfs.
    pub target_dir: Option<PathBuf>,
    /// Cargo's jobserver pipe, where it is ours.
    pub jobserver: Option<Jobserver>,
}

impl BuildOptions {
    /// What a driver says of its build: the one place where that becomes what the schedule decides by. `line` is the
    /// build's own inside the governor's, and `jobserver` is Cargo's pipe.
    #[must_use]
    pub fn of(join: Join, budget: Option<Bytes>, jobserver: Option<Jobserver>) -> Self {
        Self {
            terms: BuildTerms {
                jobs: join.jobs.max(1),
                oversized: join.oversized,
                keep_going: join.keep_going,
                budget,
                job_slots: jobserver.as_ref().map(|_| join.job_slots),
                priority: join.priority,
                interactive: join.interactive,
                staged: join.staged,
            },
            memory: join.memory,
            notes: join.notes,
            command: join.command,
            json_messages: join.json_messages,
            graph: None,
            target_dir: Some(join.target_dir).filter(|dir| !dir.as_os_str().is_empty()),
            jobserver,
        }
    }
}

/// How a build ended.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// The exit code (128 + n for a signal).
    pub exit: i32,
    /// All units that Cargo wanted were seen to the end: what was learned of the graph is complete.
    pub complete: bool,
}

/// Who hears what happens, in order, and answers questions about it.
pub trait Observer {
    /// A build begins; the first line of its log.
    fn opened(&mut self, build: BuildNo, header: &Header);
    /// Something happened in a build.
    fn record(&mut self, build: BuildNo, record: &Record);
    /// A build is over.
    fn closed(&mut self, build: BuildNo);
    /// The state of these builds now, as one line of JSON each.
    fn status(&self, builds: &BTreeMap<BuildNo, BuildLiveState>) -> String;
}

/// Why a turn ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// Which of the host's descriptors can be read, by their position.
    pub ready: Vec<usize>,
}
