//! What a governor and each of its builds are started with, and who hears what happens in them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use plimsoll_core::event::{BuildLiveState, Header, Record};
use plimsoll_core::line::MemoryBudget;
use plimsoll_core::schedule::BuildTerms;
use plimsoll_core::settings::Memory;
use plimsoll_core::{BuildNo, Bytes};
use plimsoll_host::Jobserver;

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
}

impl Options {
    /// The budget, before anything was read.
    pub(crate) fn line(&self) -> MemoryBudget {
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
