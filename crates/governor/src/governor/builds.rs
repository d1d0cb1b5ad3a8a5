//! Builds begin and end; what happens in them is passed on, and their unit graphs and stages are followed.

use std::collections::BTreeMap;
use std::path::Path;

use plimsoll_core::event::{BuildLiveState, Event, FORMAT, Header};
use plimsoll_core::schedule::Input;
use plimsoll_core::settings::Memory;
use plimsoll_core::{BuildId, BuildNo, Millis, UnitId};
use plimsoll_host::Jobserver;
use plimsoll_proto::Rerun;

use super::Governor;
use crate::build::GovernedBuild;
use crate::connection::Peer;
use crate::critical_path;
use crate::graph::jobs_of_cargo;
use crate::options::{BuildOptions, Ending, Observer};
use crate::workspace::workspace_of;

/// Whether Cargo has built nothing in a target directory yet, or `cargo clean` was there. What somebody else put
/// into it counts as something.
fn is_empty(target_dir: &Path) -> bool {
    std::fs::read_dir(target_dir).map_or(true, |mut entries| entries.next().is_none())
}

impl Governor {
    /// A build begins, whose processes are below the process `root`; gives the number by which it goes here.
    pub fn open(&mut self, options: BuildOptions, root: u32, unix_ms: u64) -> BuildNo {
        let no = self.builds.next_number();
        self.decide(Input::Open(no, options.terms));
        let header = Header {
            plimsoll_log: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: BuildId::new(unix_ms, root),
            started_unix_ms: unix_ms,
            command: options.command.clone(),
            budget: self.schedule.budget_of(no),
            memory: self.named_memory(options.memory).to_string(),
            jobs: match options.terms.jobs {
                u32::MAX => jobs_of_cargo(root).unwrap_or(self.options.cores),
                jobs => jobs,
            },
            processors: self.options.cores,
            target_was_empty: options.target_dir.as_deref().map(is_empty),
            workspace: workspace_of(root, self.options.workspace_root)
                .map(|path| path.to_string_lossy().into_owned())
                .unwrap_or_default(),
        };
        self.builds.insert(GovernedBuild::new(options, header, self.now()));
        no
    }

    /// By what the budget of a build that asks for `own` is named: by the account's word, where it has none of its own.
    fn named_memory(&self, own: Memory) -> Memory {
        if own == Memory::Auto { self.options.memory } else { own }
    }

    /// The first line of a build's log.
    #[must_use]
    pub fn header(&self, build: BuildNo) -> Option<&Header> {
        self.builds.get(build).map(|build| build.log().header())
    }

    /// Cargo's pipe, where it is ours.
    #[must_use]
    pub fn jobserver(&self, build: BuildNo) -> Option<&Jobserver> {
        self.builds.get(build)?.slots().pipe()
    }

    /// Why Cargo must run once more; not where something has failed by itself, as it would again.
    #[must_use]
    pub fn wants_rerun(&self, build: BuildNo) -> Option<Rerun> {
        self.builds.get(build)?.wants_rerun()
    }

    /// Something is compiled, or was.
    #[must_use]
    pub fn has_seen_units(&self, build: BuildNo) -> bool {
        self.builds.get(build).is_some_and(GovernedBuild::has_seen_units)
    }

    /// Cargo runs once more: what failed before is forgotten.
    pub fn begin_again(&mut self, build: BuildNo) {
        if let Some(build) = self.builds.get_mut(build) {
            build.begin_again();
        }
    }

    /// Notes something that a person should know.
    pub fn notice(&mut self, build: BuildNo, text: impl Into<String>) {
        self.say_in(build, Event::Notice { text: text.into() });
    }

    /// Notes that something happened in a build, now.
    pub(super) fn say_in(&mut self, build: BuildNo, event: Event) {
        let now = self.now();
        self.builds.say(build, now, event);
    }

    /// Notes that something happened to a unit, now.
    pub(super) fn say(&mut self, unit: UnitId, event: Event) {
        if let Some(build) = self.units.build_of(unit) {
            self.say_in(build, event);
        }
    }

    pub(super) fn build_of(&mut self, unit: UnitId) -> Option<&mut GovernedBuild> {
        self.builds.get_mut(self.units.build_of(unit)?)
    }

    /// Passes on what was said, to the observer and to the logs.
    pub(super) fn tell(&mut self, observer: &mut dyn Observer) {
        let now = self.now();
        let logs = self.options.home.join("logs");
        self.builds.pass_on(now, &logs, observer, &mut self.connections);
    }

    /// A build is over: remembers what it showed, closes its log and forgets it.
    pub fn close(&mut self, no: BuildNo, ending: Ending, observer: &mut dyn Observer) {
        // A test's end may not have been looked at since; and whatever outlives its build is nobody's unit any more.
        self.end_unwatched();
        for unit in self.units.live(no) {
            self.finished(unit, false);
        }
        if self.units.of_build(no).next().is_some() {
            let critical_paths = if ending.complete {
                critical_path::critical_paths(&self.units, no)
            } else {
                Vec::new()
            };
            let history = self.history();
            history.set_critical_paths(&critical_paths);
            if let Some(text) = history.flush() {
                self.notice(no, text);
            }
        }
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu = Millis::seconds(cpu.tv_sec as u64) + Millis(cpu.tv_nsec as u64 / 1_000_000);
        self.end_stages(no);
        let Some(build) = self.builds.get(no) else { return };
        let (wall, peak) = (build.log().elapsed(self.now()), build.peak());
        self.say_in(no, Event::Done { exit: ending.exit, wall, peak, governor_cpu: cpu });
        self.tell(observer);
        observer.closed(no);
        if let Some(build) = self.builds.remove(no) {
            build.close();
        }
        self.let_driver_go(no);
        self.units.forget(no);
        if self.builds.is_empty() {
            self.limits.forget_killers();
        }
        self.decide(Input::Close(no));
    }

    /// The driver of a build that is over has heard everything.
    fn let_driver_go(&mut self, no: BuildNo) {
        if let Some(connection) = self.connections.of(Peer::Driver(no)) {
            connection.peer = Peer::Done;
            connection.end_after_this();
        }
    }

    /// How each build is now.
    pub(super) fn present(&self) -> BTreeMap<BuildNo, BuildLiveState> {
        let now = self.now();
        let machine_budget = self.schedule.budget();
        let of = |(no, build): (BuildNo, &GovernedBuild)| {
            let standing = self.schedule.standing(no);
            (no, BuildLiveState { elapsed: build.log().elapsed(now), standing, machine_budget })
        };
        self.builds.iter().map(of).collect()
    }

    /// The unit graph of a build is there: its units are put in their order.
    pub(super) fn read_graph(&mut self, no: BuildNo) {
        let Some(build) = self.builds.get_mut(no) else { return };
        if !build.graph_mut().take_answer() {
            return self.leave_stages(no);
        }
        let Some(graph) = build.known_graph() else { return };
        let mut inputs = Vec::new();
        for unit in self.units.live(no) {
            let own = self.units.get(unit).filter(|record| record.inside().is_none());
            let Some(facts) = own.map(|record| record.facts()) else { continue };
            inputs.extend(
                graph
                    .critical_path(facts)
                    .map(|critical_path| Input::CriticalPath(unit, critical_path)),
            );
            inputs.push(Input::Stage(unit, graph.stages.of(facts)));
        }
        inputs.push(Input::GraphKnown(no));
        for input in inputs {
            self.decide(input);
        }
    }

    /// The stages of a build cannot be told: it goes on without them.
    pub(super) fn leave_stages(&mut self, no: BuildNo) {
        let Some(build) = self.builds.get_mut(no) else { return };
        if build.leave_stages() {
            let terms = build.terms();
            self.notice(
                no,
                "the build is not staged: Cargo does not report how its units depend on each other",
            );
            self.decide(Input::Open(no, terms));
        }
    }

    /// Notes which stage each staged build is in.
    pub(super) fn follow_stages(&mut self) {
        let now = self.now();
        for (no, build) in self.builds.iter_mut().filter(|(_, build)| build.terms().staged) {
            build.enter_stage(now, self.schedule.stage_of(no));
        }
    }

    /// The last stage is over. Says so where stages were of no use.
    fn end_stages(&mut self, no: BuildNo) {
        self.follow_stages();
        let now = self.now();
        let Some(build) = self.builds.get_mut(no).filter(|build| build.terms().staged) else {
            return;
        };
        let budget = build.log().budget();
        let of_no_use = build.has_begun_stages() && build.peak() <= budget;
        build.enter_stage(now, 0);
        if of_no_use {
            let text = format!(
                "`--staged` saved nothing: the build fits in {budget} without it, and more units can then run at once"
            );
            self.notice(no, text);
        }
    }
}
