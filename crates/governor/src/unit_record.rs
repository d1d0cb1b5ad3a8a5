//! What is kept about one unit while the build runs, beside its schedule: who it is, and what it was seen to do.

use plimsoll_core::forecast::{CurveBuilder, Observation};
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::oversized::Shrink;
use plimsoll_core::schedule::{RestartMode, UnitMeasurement};
use plimsoll_core::unit::{UnitFacts, UnitKey};
use plimsoll_core::{BuildNo, Bytes, Millis, UnitId};
use plimsoll_host::{Exit, TokenPipe, Usage};

/// How often a unit may be lost to somebody who kills at random before its end is passed on.
const LOSSES_AT_MOST: u32 = 20;

/// One unit.
#[derive(Debug)]
pub(crate) struct UnitRecord {
    build: BuildNo,
    facts: UnitFacts,
    key: UnitKey,
    title: String,
    inside: Option<UnitId>,
    registered: Millis,
    admitted: Option<Millis>,
    /// Its own token pipe, made anew for each attempt: the tokens of a killed compiler end with it.
    tokens: Option<TokenPipe>,
    issued: u32,
    most_tokens: u32,
    curve: CurveBuilder,
    /// The tree's processor time when this attempt began.
    cpu_before: Millis,
    cpu: Millis,
    memory: Bytes,
    peak: Bytes,
    link_peak: Bytes,
    link_since: Millis,
    finished: bool,
    /// Tells how it ended, where no shim does.
    exit: Option<Exit>,
    /// How often somebody else has killed it.
    losses: u32,
    /// How far it goes to need less, in its present or last run.
    shrink: Shrink,
    /// It is compiled by settings that let it need less: no example of what it needs by its own.
    slimmed: bool,
    /// Once more would be of no use.
    last_chance: bool,
    /// It was told to end without having run.
    dismissed: bool,
}

/// What a unit that has ended says of itself.
pub(crate) struct Run {
    /// From its first admission to its end.
    pub(crate) wall: Millis,
    /// How long it waited for its first admission.
    pub(crate) waited: Millis,
    pub(crate) cpu: Millis,
    /// Over all attempts.
    pub(crate) peak: Bytes,
}

impl UnitRecord {
    pub(crate) fn new(
        build: BuildNo,
        facts: UnitFacts,
        inside: Option<UnitId>,
        now: Millis,
    ) -> Self {
        Self {
            build,
            key: facts.key(),
            title: facts.title(),
            facts,
            inside,
            registered: now,
            admitted: None,
            tokens: None,
            issued: 0,
            most_tokens: 1,
            curve: CurveBuilder::default(),
            cpu_before: Millis::ZERO,
            cpu: Millis::ZERO,
            memory: Bytes::ZERO,
            peak: Bytes::ZERO,
            link_peak: Bytes::ZERO,
            link_since: Millis::ZERO,
            finished: false,
            exit: None,
            losses: 0,
            shrink: Shrink::No,
            slimmed: false,
            last_chance: false,
            dismissed: false,
        }
    }

    /// It runs below a unit of this package: people are told so.
    pub(crate) fn named_inside(mut self, package: &str) -> Self {
        self.title = format!("{} (inside {package})", self.title);
        self
    }

    pub(crate) fn build(&self) -> BuildNo {
        self.build
    }

    pub(crate) fn facts(&self) -> &UnitFacts {
        &self.facts
    }

    pub(crate) fn kind(&self) -> UnitKind {
        self.facts.kind
    }

    /// Its name in the history.
    pub(crate) fn key(&self) -> &UnitKey {
        &self.key
    }

    /// How people call it.
    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    /// The build script or compiler of whose work it is a part.
    pub(crate) fn inside(&self) -> Option<UnitId> {
        self.inside
    }

    /// What it holds, as last measured.
    pub(crate) fn memory(&self) -> Bytes {
        self.memory
    }

    /// The most that it has held.
    pub(crate) fn peak(&self) -> Bytes {
        self.peak
    }

    /// Processor time of its present or last attempt.
    pub(crate) fn cpu(&self) -> Millis {
        self.cpu
    }

    /// How far it goes to need less, in its present or last run.
    pub(crate) fn shrink(&self) -> Shrink {
        self.shrink
    }

    /// In what way it is compiled by other settings than its own, where it is.
    pub(crate) fn slimmed(&self) -> Option<&str> {
        self.slimmed.then_some(self.facts.slimmer.as_str())
    }

    /// Once more would be of no use.
    pub(crate) fn has_last_chance(&self) -> bool {
        self.last_chance
    }

    /// It was told to end without having run.
    pub(crate) fn is_dismissed(&self) -> bool {
        self.dismissed
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Tells how it ended, where no shim does.
    pub(crate) fn exit(&self) -> Option<&Exit> {
        self.exit.as_ref()
    }

    pub(crate) fn set_exit(&mut self, exit: Option<Exit>) {
        self.exit = exit;
    }

    /// No shim says when it ends.
    pub(crate) fn is_unwatched(&self) -> bool {
        match self.kind() {
            UnitKind::BuildScriptRun | UnitKind::Command => true,
            UnitKind::TestRun => self.exit.is_some(),
            _ => false,
        }
    }

    /// It is told to end without having run.
    pub(crate) fn dismiss(&mut self) {
        self.dismissed = true;
    }

    /// An attempt begins, with `cpu` of processor time behind its processes.
    pub(crate) fn start(
        &mut self,
        now: Millis,
        cpu: Millis,
        tokens: Option<TokenPipe>,
        shrink: Shrink,
    ) {
        self.admitted.get_or_insert(now);
        self.cpu_before = cpu;
        self.cpu = Millis::ZERO;
        self.curve = CurveBuilder::default();
        self.tokens = tokens;
        self.issued = 0;
        self.most_tokens = 1;
        self.shrink = shrink;
        self.slimmed = shrink == Shrink::OtherOutput && !self.facts.slimmer.is_empty();
    }

    /// Issues tokens, or takes unread ones back: those that were read come back when the compiler is
    /// done with them.
    pub(crate) fn issue_tokens(&mut self, aim: u32) {
        let Some(pipe) = &mut self.tokens else { return };
        if aim > self.issued {
            // A pipe that is full or gone holds what it holds: the audit says what.
            let _ = pipe.issue(aim - self.issued);
        } else {
            let _ = pipe.withdraw(self.issued - aim);
        }
        self.issued = pipe.audit().issued;
    }

    /// Its linker asks to start.
    pub(crate) fn asks_for_link(&mut self, now: Millis) {
        self.link_since = now;
    }

    /// How long its linker has waited.
    pub(crate) fn link_waited(&self, now: Millis) -> Millis {
        now - self.link_since
    }

    /// Somebody else has ended it, or it found no memory. Says how it is to run again. Where memory was short, the next
    /// time is its last.
    pub(crate) fn lose(&mut self, short: bool) -> RestartMode {
        self.losses += 1;
        self.last_chance = short || self.losses >= LOSSES_AT_MOST;
        match (short, self.losses) {
            (true, _) => RestartMode::Alone,
            (false, 1) => RestartMode::Preferably,
            (false, _) => RestartMode::Plainly,
        }
    }

    /// Takes a measurement: the compiler's and the linker's part of the unit.
    pub(crate) fn measure(
        &mut self,
        id: UnitId,
        compiler: Usage,
        linker: Usage,
    ) -> UnitMeasurement {
        let whole = compiler.memory + linker.memory;
        self.cpu = compiler.cpu + linker.cpu - self.cpu_before;
        self.memory = whole;
        self.peak = self.peak.max(whole);
        self.link_peak = self.link_peak.max(linker.memory);
        self.curve.push(self.cpu, whole - linker.memory);
        // Most units were never issued one: asking their pipes would be a call for each unit and sample.
        let pipe = self.tokens.as_ref().filter(|_| self.issued > 0);
        let unread = pipe.map_or(0, TokenPipe::unread).min(self.issued);
        self.most_tokens = self.most_tokens.max(1 + self.issued - unread);
        UnitMeasurement {
            unit: id,
            memory: whole,
            link_memory: linker.memory,
            swapped: compiler.swapped + linker.swapped,
            cpu: self.cpu,
            issued: self.issued,
            unread,
        }
    }

    /// What the run that just ended showed.
    pub(crate) fn observation(&self, now: Millis) -> Observation {
        Observation {
            curve: self.curve.finish(),
            cpu: self.cpu,
            wall: now - self.admitted.unwrap_or(now),
            link_peak: self.link_peak,
            tokens: self.most_tokens,
            critical_path: None,
        }
    }

    /// It goes on without us: nothing is known of how it ends.
    pub(crate) fn withdraw(&mut self) {
        self.admitted = None;
    }

    /// It has ended. Says how its run was, where it was admitted.
    pub(crate) fn finish(&mut self, now: Millis) -> Option<Run> {
        self.finished = true;
        self.memory = Bytes::ZERO;
        (self.tokens, self.exit) = (None, None);
        let admitted = self.admitted?;
        Some(Run {
            wall: now - admitted,
            waited: admitted - self.registered,
            cpu: self.cpu,
            peak: self.peak,
        })
    }

    /// One that has run for so long and ended.
    #[cfg(test)]
    pub(crate) fn ended(facts: UnitFacts, inside: Option<UnitId>, cpu: Millis) -> Self {
        let mut record = Self::new(BuildNo(1), facts, inside, Millis::ZERO);
        (record.cpu, record.finished) = (cpu, true);
        record
    }
}
