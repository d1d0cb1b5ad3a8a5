//! One build of those that this governor sees to: what it asked for, and what is kept of it beside its units.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plimsoll_core::event::{Event, FORMAT, Header, Now, Record};
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::line::Own;
use plimsoll_core::schedule::{Input, Terms};
use plimsoll_core::settings::Memory;
use plimsoll_core::unit::UnitFacts;
use plimsoll_core::{BuildId, BuildNo, Bytes, Millis, UnitId};
use plimsoll_history::EventLog;
use plimsoll_host::{Jobserver, Tmpfs};
use plimsoll_proto::{Join, Rerun, ToDriver};

use crate::account::Elsewhere;
use crate::connection::Peer;
use crate::governor::{Governor, Observer};
use crate::graph::{Graph, GraphCommand, GraphReader, jobs_of_cargo};
use crate::ledger;

/// A build, as its driver describes it.
#[derive(Debug)]
pub struct BuildOptions {
    /// What it asks of the schedule.
    pub terms: Terms,
    /// How its line is named.
    pub memory: Memory,
    /// What a package's largest unit needs, by its user's word: it counts where nothing is remembered.
    pub notes: BTreeMap<String, Bytes>,
    /// Cargo's subcommand, for the log.
    pub command: String,
    /// Somebody else's program reads what compilers say: a unit that leaves gives it nothing to read.
    pub json_messages: bool,
    /// How to learn the unit graph, where Cargo can tell.
    pub graph: Option<GraphCommand>,
    /// The target directory, which is memory where it lies on tmpfs.
    pub target_dir: Option<PathBuf>,
    /// Cargo's pipe, where it is ours.
    pub jobserver: Option<Jobserver>,
}

impl BuildOptions {
    /// What a driver says of its build: the one place where that becomes what the schedule decides by. `line` is the
    /// build's own inside the governor's, and `jobserver` is Cargo's pipe.
    #[must_use]
    pub fn of(join: Join, line: Option<Bytes>, jobserver: Option<Jobserver>) -> Self {
        Self {
            terms: Terms {
                jobs: join.jobs.max(1),
                oversized: join.oversized,
                keep_going: join.keep_going,
                line,
                places: jobserver.as_ref().map(|_| join.places),
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

/// A stage on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StageRun {
    /// Zero before the first.
    number: u32,
    since: Millis,
    /// The most that the build held since then.
    pub(crate) peak: Bytes,
}

/// A build on its way.
pub(crate) struct Build {
    pub(crate) options: BuildOptions,
    pub(crate) header: Header,
    /// The governor's time when it came: its records count from there.
    started: Millis,
    log: Option<EventLog>,
    /// What happened and was not told yet.
    records: Vec<Record>,
    pub(crate) graph: Option<GraphReader>,
    /// Cargo was asked for it.
    pub(crate) asked_graph: bool,
    /// The graph, once it is known.
    pub(crate) known: Option<Graph>,
    /// The stage that it is in, where it is staged.
    pub(crate) stage: StageRun,
    pub(crate) tmpfs: Option<Tmpfs>,
    /// Places on Cargo's pipe, free and taken.
    pub(crate) places: u32,
    /// Places that should come back but were not in the pipe yet.
    pub(crate) owed: u32,
    /// Since when places have been missing on Cargo's pipe.
    pub(crate) missing_since: Option<Millis>,
    pub(crate) peak: Bytes,
    /// What it holds, as last measured.
    pub(crate) held: Own,
    /// What of that belongs to no unit.
    pub(crate) rest: Bytes,
    /// What of that are files of the target directory, where that is memory.
    pub(crate) in_files: Bytes,
    /// Its line, as last told.
    pub(crate) line: Bytes,
    /// Why Cargo must run once more.
    pub(crate) rerun: Option<Rerun>,
    /// The Cargo that asked for its first unit, once there is one.
    pub(crate) cargo: Option<u32>,
    /// A unit of it has failed by itself.
    pub(crate) has_failed: bool,
    /// A test of it has started: what was done is not to be done again.
    pub(crate) has_run_tests: bool,
    /// It is not below this process.
    pub(crate) elsewhere: Option<Elsewhere>,
    /// The observer knows of it.
    pub(crate) announced: bool,
}

/// Whether Cargo has built nothing in a target directory yet, or `cargo clean` was there. What somebody else put
/// into it counts as something.
fn is_empty(target_dir: &Path) -> bool {
    std::fs::read_dir(target_dir).map_or(true, |mut entries| entries.next().is_none())
}

impl Build {
    /// What the unit needs by its user's word. A package's build script is not what such a word is about.
    pub(crate) fn noted(&self, facts: &UnitFacts) -> Option<Bytes> {
        let is_meant = matches!(
            facts.kind,
            UnitKind::Lib | UnitKind::ProcMacro | UnitKind::Bin | UnitKind::Test | UnitKind::Doc
        );
        self.options.notes.get(&facts.package).copied().filter(|_| is_meant)
    }

    /// How its Cargo has ended, as far as its units tell.
    pub(crate) fn exit_by_its_units(&self) -> i32 {
        if self.has_failed || self.rerun.is_some() { 101 } else { 0 }
    }

    /// Asks Cargo for the unit graph, once there is something to compile; only once.
    pub(crate) fn ask_graph(&mut self) {
        let Some(cargo) = self.cargo.filter(|_| !self.asked_graph) else { return };
        self.asked_graph = true;
        let elsewhere = self.elsewhere.is_some();
        let told = self.options.graph.take();
        let command = told.or_else(|| GraphCommand::of_cargo(cargo).filter(|_| elsewhere));
        self.graph = command.and_then(GraphReader::start);
    }

    fn say(&mut self, now: Millis, event: Event) {
        self.records.push(Record { t: now - self.started, event });
    }
}

impl Governor {
    /// A build begins, whose processes are below the process `root`; gives the number by which it goes here.
    pub fn open(&mut self, options: BuildOptions, root: u32, unix_ms: u64) -> BuildNo {
        let no = BuildNo(self.next_build);
        self.next_build += 1;
        self.decide(Input::Open(no, options.terms));
        let line = self.schedule.line_of(no);
        let header = Header {
            plimsoll_log: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: BuildId::new(unix_ms, root),
            started_unix_ms: unix_ms,
            command: options.command.clone(),
            line,
            memory: self.named_memory(options.memory).to_string(),
            jobs: match options.terms.jobs {
                u32::MAX => jobs_of_cargo(root).unwrap_or(self.options.cores),
                jobs => jobs,
            },
            processors: self.options.cores,
            target_was_empty: options.target_dir.as_deref().map(is_empty),
        };
        let target_dir = options.target_dir.as_deref();
        let build = Build {
            tmpfs: target_dir.and_then(|dir| Tmpfs::holding(dir).ok().flatten()),
            places: options.terms.places.unwrap_or_default(),
            started: self.now(),
            header,
            log: None,
            records: Vec::new(),
            graph: None,
            asked_graph: false,
            known: None,
            stage: StageRun::default(),
            owed: 0,
            missing_since: None,
            peak: Bytes::ZERO,
            held: Own::default(),
            rest: Bytes::ZERO,
            in_files: Bytes::ZERO,
            line,
            rerun: None,
            cargo: None,
            has_failed: false,
            has_run_tests: false,
            elsewhere: None,
            announced: false,
            options,
        };
        self.builds.insert(no, build);
        no
    }

    /// By what the line of a build that asks for `own` is named: by the account's word, where it has none of its own.
    fn named_memory(&self, own: Memory) -> Memory {
        if own == Memory::Auto { self.options.memory } else { own }
    }

    /// The first line of a build's log.
    #[must_use]
    pub fn header(&self, build: BuildNo) -> Option<&Header> {
        self.builds.get(&build).map(|build| &build.header)
    }

    /// Cargo's pipe, where it is ours.
    #[must_use]
    pub fn jobserver(&self, build: BuildNo) -> Option<&Jobserver> {
        self.builds.get(&build)?.options.jobserver.as_ref()
    }

    /// Why Cargo must run once more; not where something has failed by itself, as it would again.
    #[must_use]
    pub fn wants_rerun(&self, build: BuildNo) -> Option<Rerun> {
        self.builds.get(&build).filter(|build| !build.has_failed)?.rerun
    }

    /// Something is compiled, or was.
    #[must_use]
    pub fn has_seen_units(&self, build: BuildNo) -> bool {
        self.builds.get(&build).is_some_and(|build| build.cargo.is_some())
    }

    /// Cargo runs once more: what failed before is forgotten.
    pub fn begin_again(&mut self, build: BuildNo) {
        if let Some(build) = self.builds.get_mut(&build) {
            (build.rerun, build.has_failed) = (None, false);
        }
    }

    /// Notes something that a person should know.
    pub fn notice(&mut self, build: BuildNo, text: impl Into<String>) {
        self.say_in(build, Event::Notice { text: text.into() });
    }

    /// Notes that something happened in a build, now.
    pub(crate) fn say_in(&mut self, build: BuildNo, event: Event) {
        let now = self.now();
        if let Some(build) = self.builds.get_mut(&build) {
            build.say(now, event);
        }
    }

    /// Notes that something happened to a unit, now.
    pub(crate) fn say(&mut self, unit: UnitId, event: Event) {
        if let Some(build) = self.entries.get(&unit).map(|entry| entry.build) {
            self.say_in(build, event);
        }
    }

    /// Notes something that concerns every build.
    pub(crate) fn say_to_all(&mut self, event: &Event) {
        let now = self.now();
        self.builds.values_mut().for_each(|build| build.say(now, event.clone()));
    }

    pub(crate) fn build_of(&mut self, unit: UnitId) -> Option<&mut Build> {
        let build = self.entries.get(&unit)?.build;
        self.builds.get_mut(&build)
    }

    /// Passes on what was said, to the observer and to the logs. A build in which nothing is compiled
    /// leaves no log.
    pub(crate) fn tell(&mut self, observer: &mut dyn Observer) {
        /// Often enough for `report` on a build whose driver was killed, seldom enough to cost nothing.
        const FLUSH_EVERY: Millis = Millis(300);
        let now = self.now();
        let flush = now - self.flushed >= FLUSH_EVERY;
        if flush {
            self.flushed = now;
        }
        let logs = self.options.home.join("logs");
        for (no, build) in &mut self.builds {
            let mut records = std::mem::take(&mut build.records);
            let registers = |record: &Record| matches!(record.event, Event::Registered { .. });
            if build.log.is_none() && records.iter().any(registers) {
                let (log, warning) = EventLog::create(&logs, &build.header);
                build.log = Some(log);
                let t = now - build.started;
                records.extend(warning.map(|text| Record { t, event: Event::Unlogged { text } }));
            }
            if !std::mem::replace(&mut build.announced, true) {
                observer.opened(*no, &build.header);
            }
            let driver = build.elsewhere.as_ref().and_then(|it| it.driver);
            let mut driver = driver.and_then(|id| self.connections.get_mut(&id));
            for record in &records {
                observer.record(*no, record);
                if let Some(driver) = &mut driver
                    && let Ok(json) = serde_json::to_string(record)
                {
                    driver.send_line(&ToDriver::Record(json).encode());
                }
                if let Some(log) = &mut build.log {
                    log.append(record);
                }
            }
            if flush && let Some(text) = build.log.as_mut().and_then(EventLog::flush) {
                build.say(now, Event::Unlogged { text });
            }
        }
    }

    /// A build is over: remembers what it showed, closes its log and forgets it.
    pub fn close(&mut self, no: BuildNo, ending: Ending, observer: &mut dyn Observer) {
        // A test's end may not have been looked at since; and whatever outlives its build is nobody's unit any more.
        self.end_unwatched();
        for unit in self.live(no) {
            self.finished(unit, false);
        }
        let of_it = self.entries.iter().filter(|(_, entry)| entry.build == no);
        if of_it.clone().next().is_some() {
            let tails = if ending.complete { ledger::tails(&self.entries, no) } else { Vec::new() };
            let history = self.history();
            history.set_tails(&tails);
            if let Some(text) = history.flush() {
                self.notice(no, text);
            }
        }
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu = Millis::seconds(cpu.tv_sec as u64) + Millis(cpu.tv_nsec as u64 / 1_000_000);
        self.end_stages(no);
        let Some(build) = self.builds.get(&no) else { return };
        let (wall, peak) = (self.now() - build.started, build.peak);
        self.say_in(no, Event::Done { exit: ending.exit, wall, peak, governor_cpu: cpu });
        self.tell(observer);
        observer.closed(no);
        if let Some(mut build) = self.builds.remove(&no)
            && let Some(log) = &mut build.log
        {
            let _ = log.flush();
        }
        self.let_driver_go(no);
        self.entries.retain(|_, entry| entry.build != no);
        self.unfinished.retain(|unit| self.entries.contains_key(unit));
        self.knows_killers &= !self.builds.is_empty();
        self.decide(Input::Close(no));
    }

    /// The driver of a build that is over has heard everything.
    fn let_driver_go(&mut self, no: BuildNo) {
        let is_its = |peer: Peer| peer == Peer::Driver(no);
        if let Some(connection) = self.connections.values_mut().find(|it| is_its(it.peer)) {
            connection.peer = Peer::Done;
            connection.end_after_this();
        }
    }

    /// How each build is now.
    pub(crate) fn present(&self) -> BTreeMap<BuildNo, Now> {
        let now = self.now();
        let machine_line = self.schedule.line();
        let of = |(no, build): (&BuildNo, &Build)| {
            let standing = self.schedule.standing(*no);
            (*no, Now { elapsed: now - build.started, standing, machine_line })
        };
        self.builds.iter().map(of).collect()
    }

    /// The unit graph of a build is there: its units are put in their order.
    pub(crate) fn read_graph(&mut self, no: BuildNo) {
        let Some(build) = self.builds.get_mut(&no) else { return };
        let Some(reader) = build.graph.as_mut() else { return };
        let Some(graph) = reader.take() else {
            self.leave_stages(no);
            return;
        };
        let graph = build.known.insert(graph).clone();
        for unit in self.live(no) {
            let own = self.entries.get(&unit).filter(|entry| entry.inside.is_none());
            let Some(entry) = own else { continue };
            let (tail, stage) = (graph.tail(&entry.facts), graph.stages.of(&entry.facts));
            if let Some(tail) = tail {
                self.decide(Input::Tail(unit, tail));
            }
            self.decide(Input::Stage(unit, stage));
        }
        self.decide(Input::Replan(no));
    }

    /// The stages of a build cannot be told: it goes on without them.
    pub(crate) fn leave_stages(&mut self, no: BuildNo) {
        let Some(build) = self.builds.get_mut(&no) else { return };
        if !std::mem::take(&mut build.options.terms.staged) {
            return;
        }
        let terms = build.options.terms;
        self.notice(no, "not staged: Cargo does not tell how this build's units hang together");
        self.decide(Input::Open(no, terms));
    }

    /// Notes which stage each staged build is in.
    pub(crate) fn follow_stages(&mut self) {
        let staged = self.builds.iter().filter(|(_, build)| build.options.terms.staged);
        let reached: Vec<(BuildNo, u32)> =
            staged.map(|(no, _)| (*no, self.schedule.stage_of(*no))).collect();
        for (no, stage) in reached {
            self.enter_stage(no, stage);
        }
    }

    fn enter_stage(&mut self, no: BuildNo, number: u32) {
        let now = self.now();
        let Some(build) = self.builds.get_mut(&no).filter(|it| it.stage.number != number) else {
            return;
        };
        let next = StageRun { number, since: now, peak: build.held.memory };
        let ended = std::mem::replace(&mut build.stage, next);
        let all = build.known.as_ref().map(|graph| graph.stages.list()).unwrap_or_default();
        if let Some(stage) = (ended.number as usize).checked_sub(1).and_then(|at| all.get(at)) {
            let event = Event::StageEnded {
                stage: ended.number,
                of: u32::try_from(all.len()).unwrap_or(u32::MAX),
                name: stage.name.clone(),
                peak: ended.peak,
                wall: now - ended.since,
            };
            build.say(now, event);
        }
    }

    /// The last stage is over. Says so where stages were of no use.
    fn end_stages(&mut self, no: BuildNo) {
        self.follow_stages();
        let Some(build) = self.builds.get(&no).filter(|build| build.options.terms.staged) else {
            return;
        };
        let (fits, line) = (build.peak <= build.line, build.line);
        let began = build.stage.number > 0;
        self.enter_stage(no, 0);
        if began && fits {
            let text = format!(
                "stages brought nothing here: the line of {line} holds without --staged, and more can run at once"
            );
            self.notice(no, text);
        }
    }
}
