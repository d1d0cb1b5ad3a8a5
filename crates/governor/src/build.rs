//! One build of those that this governor sees to: what it asked for, and what is kept of it beside its units.

use std::collections::BTreeMap;

use plimsoll_core::budget::HeldMemory;
use plimsoll_core::event::{Event, Header};
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::schedule::{BuildTerms, Priority};
use plimsoll_core::unit::UnitFacts;
use plimsoll_core::{Bytes, Millis};
use plimsoll_host::{Tmpfs, Usage};
use plimsoll_proto::Rerun;

use crate::build_log::BuildLog;
use crate::external::ExternalRoot;
use crate::graph::{Graph, UnitGraph};
use crate::job_slots::JobSlots;
use crate::options::BuildOptions;

/// A build on its way.
pub(crate) struct GovernedBuild {
    terms: BuildTerms,
    notes: BTreeMap<String, Bytes>,
    json_messages: bool,
    log: BuildLog,
    graph: UnitGraph,
    slots: JobSlots,
    memory: BuildMemory,
    stage: StageRun,
    /// Why Cargo must run once more.
    rerun: Option<Rerun>,
    /// The Cargo that asked for its first unit, once there is one.
    cargo: Option<u32>,
    /// A unit of it has failed by itself.
    has_failed: bool,
    /// A test of it has started: what was done is not to be done again.
    has_run_tests: bool,
    /// It is not below this process.
    external: Option<ExternalRoot>,
}

/// What a build holds, as last measured.
#[derive(Debug, Default)]
struct BuildMemory {
    tmpfs: Option<Tmpfs>,
    held: HeldMemory,
    /// What of that belongs to no unit.
    rest: Bytes,
    /// What of that are files of the target directory, where that is memory.
    in_files: Bytes,
    peak: Bytes,
}

/// A stage on its way.
#[derive(Clone, Copy, Debug, Default)]
struct StageRun {
    /// Zero before the first.
    number: u32,
    since: Millis,
    /// The most that the build held since then.
    peak: Bytes,
}

impl GovernedBuild {
    pub(crate) fn new(options: BuildOptions, header: Header, now: Millis) -> Self {
        let target_dir = options.target_dir.as_deref();
        let tmpfs = target_dir.and_then(|dir| Tmpfs::holding(dir).ok().flatten());
        Self {
            terms: options.terms,
            notes: options.notes,
            json_messages: options.json_messages,
            log: BuildLog::new(header, now),
            graph: UnitGraph::new(options.graph),
            slots: JobSlots::on(options.jobserver, options.terms.job_slots.unwrap_or_default()),
            memory: BuildMemory { tmpfs, ..BuildMemory::default() },
            stage: StageRun::default(),
            rerun: None,
            cargo: None,
            has_failed: false,
            has_run_tests: false,
            external: None,
        }
    }

    /// It is not below this process.
    pub(crate) fn is_external(&mut self, root: ExternalRoot) {
        self.external = Some(root);
    }

    /// A driver says what it asks for: its compilers came before it did.
    pub(crate) fn adopt(&mut self, options: BuildOptions, driver: u64) {
        (self.terms, self.notes) = (options.terms, options.notes);
        self.json_messages = options.json_messages;
        self.graph.set_command(options.graph);
        self.slots.set_pipe(options.jobserver);
        if let Some(external) = &mut self.external {
            external.becomes_driver(driver);
        }
    }

    pub(crate) fn external(&self) -> Option<&ExternalRoot> {
        self.external.as_ref()
    }

    pub(crate) fn external_mut(&mut self) -> Option<&mut ExternalRoot> {
        self.external.as_mut()
    }

    /// The connection of its driver, where it has one.
    pub(crate) fn driver(&self) -> Option<u64> {
        self.external.as_ref()?.connection()
    }

    /// What it asks of the schedule.
    pub(crate) fn terms(&self) -> BuildTerms {
        self.terms
    }

    pub(crate) fn set_priority(&mut self, priority: Priority) {
        self.terms.priority = priority;
    }

    /// It goes on without stages; whether it had any.
    pub(crate) fn leave_stages(&mut self) -> bool {
        std::mem::take(&mut self.terms.staged)
    }

    /// Somebody else's program reads what its compilers say.
    pub(crate) fn has_json_messages(&self) -> bool {
        self.json_messages
    }

    pub(crate) fn log(&self) -> &BuildLog {
        &self.log
    }

    pub(crate) fn log_mut(&mut self) -> &mut BuildLog {
        &mut self.log
    }

    pub(crate) fn say(&mut self, now: Millis, event: Event) {
        self.log.say(now, event);
    }

    pub(crate) fn slots(&self) -> &JobSlots {
        &self.slots
    }

    pub(crate) fn slots_mut(&mut self) -> &mut JobSlots {
        &mut self.slots
    }

    pub(crate) fn graph(&self) -> &UnitGraph {
        &self.graph
    }

    pub(crate) fn graph_mut(&mut self) -> &mut UnitGraph {
        &mut self.graph
    }

    pub(crate) fn known_graph(&self) -> Option<&Graph> {
        self.graph.known()
    }

    /// Asks Cargo for the unit graph, once there is something to compile; only once.
    pub(crate) fn ask_graph(&mut self) {
        if let Some(cargo) = self.cargo {
            self.graph.ask(cargo, self.external.is_some());
        }
    }

    /// What the unit needs by its user's word. A package's build script is not what such a word is about.
    pub(crate) fn noted(&self, facts: &UnitFacts) -> Option<Bytes> {
        let is_meant = matches!(
            facts.kind,
            UnitKind::Lib | UnitKind::ProcMacro | UnitKind::Bin | UnitKind::Test | UnitKind::Doc
        );
        self.notes.get(&facts.package).copied().filter(|_| is_meant)
    }

    /// Takes a measurement: what its units hold, and what belongs to it and to none of them.
    pub(crate) fn measure(&mut self, of_units: HeldMemory, beside: Usage) {
        let memory = &mut self.memory;
        memory.in_files = memory.tmpfs.as_ref().map(Tmpfs::growth).unwrap_or_default();
        memory.rest = beside.memory + memory.in_files;
        memory.held = HeldMemory {
            memory: memory.rest + of_units.memory,
            swapped: beside.swapped + of_units.swapped,
        };
        memory.peak = memory.peak.max(memory.held.memory);
        self.stage.peak = self.stage.peak.max(memory.held.memory);
    }

    /// What it holds, as last measured.
    pub(crate) fn held(&self) -> HeldMemory {
        self.memory.held
    }

    /// What of that belongs to no unit.
    pub(crate) fn rest(&self) -> Bytes {
        self.memory.rest
    }

    /// What of that are files of the target directory, where that is memory.
    pub(crate) fn in_files(&self) -> Bytes {
        self.memory.in_files
    }

    /// The most that it held.
    pub(crate) fn peak(&self) -> Bytes {
        self.memory.peak
    }

    /// A unit of it that Cargo knows was asked for by this Cargo.
    pub(crate) fn is_asked_by(&mut self, cargo: Option<u32>) {
        self.cargo = self.cargo.or(cargo);
    }

    /// Something is compiled, or was.
    pub(crate) fn has_seen_units(&self) -> bool {
        self.cargo.is_some()
    }

    /// A unit of this kind has come.
    pub(crate) fn sees(&mut self, kind: UnitKind) {
        self.has_run_tests |= matches!(kind, UnitKind::TestRun | UnitKind::DocTest);
    }

    /// A unit of it has failed by itself.
    pub(crate) fn fails(&mut self) {
        self.has_failed = true;
    }

    /// Cargo must run once more. Not where tests have run: what they have done is not to be done again. Whether it is
    /// to.
    pub(crate) fn ask_for_rerun(&mut self, why: Rerun) -> bool {
        let may = !self.has_run_tests || why == Rerun::Differs;
        if may {
            self.rerun = Some(why);
        }
        may
    }

    /// Why Cargo must run once more; not where something has failed by itself, as it would again.
    pub(crate) fn wants_rerun(&self) -> Option<Rerun> {
        self.rerun.filter(|_| !self.has_failed)
    }

    /// Cargo runs once more: what failed before is forgotten.
    pub(crate) fn begin_again(&mut self) {
        (self.rerun, self.has_failed) = (None, false);
    }

    /// How its Cargo has ended, as far as its units tell.
    pub(crate) fn exit_by_its_units(&self) -> i32 {
        if self.has_failed || self.rerun.is_some() { 101 } else { 0 }
    }

    /// A stage has begun.
    pub(crate) fn has_begun_stages(&self) -> bool {
        self.stage.number > 0
    }

    /// It is in the stage of this number from now on. Says how the one before was.
    pub(crate) fn enter_stage(&mut self, now: Millis, number: u32) {
        if self.stage.number == number {
            return;
        }
        let next = StageRun { number, since: now, peak: self.memory.held.memory };
        let ended = std::mem::replace(&mut self.stage, next);
        let all = self.graph.known().map(|graph| graph.stages.list()).unwrap_or_default();
        let before = (ended.number as usize).checked_sub(1).and_then(|at| all.get(at));
        let Some(stage) = before else { return };
        let event = Event::StageEnded {
            stage: ended.number,
            of: u32::try_from(all.len()).unwrap_or(u32::MAX),
            name: stage.name.clone(),
            peak: ended.peak,
            wall: now - ended.since,
        };
        self.log.say(now, event);
    }

    /// It is over.
    pub(crate) fn close(self) {
        self.log.close();
    }
}
