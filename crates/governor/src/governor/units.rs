//! Units come and end: who they are, what is expected of them, and what they showed.

use std::path::{Path, PathBuf};

use plimsoll_core::event::{ColdFacts, Event};
use plimsoll_core::forecast::{Forecast, cold_link};
use plimsoll_core::invocation::{Emit, UnitKind};
use plimsoll_core::oversized::Shrink;
use plimsoll_core::schedule::{self, Input, NewUnit};
use plimsoll_core::unit::UnitFacts;
use plimsoll_core::{BuildNo, Bytes, Millis, UnitId};
use plimsoll_host::{BuildScript, Exit, Role, runs_cargo};
use plimsoll_proto::ToShim;

use super::Governor;
use crate::connection::Peer;
use crate::processes::Part;
use crate::sizes;
use crate::unit_record::{Run, UnitRecord};

/// Where in the build a unit was found.
struct Whereabouts {
    build: BuildNo,
    /// The unit in whose process tree it runs.
    inside: Option<UnitId>,
    /// The Cargo that started it.
    cargo: Option<u32>,
    /// It runs already.
    running: bool,
    /// The package's directory, where it is a build script.
    script_of: Option<PathBuf>,
}

/// What a unit of this kind is to the schedule.
fn role_of(kind: UnitKind) -> schedule::UnitRole {
    match kind {
        UnitKind::BuildScriptRun => schedule::UnitRole::Script,
        UnitKind::TestRun => schedule::UnitRole::Test,
        UnitKind::Command => schedule::UnitRole::Command,
        UnitKind::Lib
        | UnitKind::ProcMacro
        | UnitKind::Bin
        | UnitKind::Test
        | UnitKind::BuildScript
        | UnitKind::Doc
        | UnitKind::DocTest
        | UnitKind::Tool => schedule::UnitRole::Compiler,
    }
}

impl Governor {
    pub(super) fn register(
        &mut self,
        build: BuildNo,
        unit: UnitId,
        pid: u32,
        facts: UnitFacts,
        runs: Option<u32>,
    ) {
        let mut inside = self.processes.enclosing_unit(pid);
        if inside.is_none() && self.processes.may_be_inside_script(pid) {
            // A build script that has just started may not have been found yet, and this be its probe.
            self.scan();
            inside = self.processes.enclosing_unit(pid);
        }
        self.processes.adopt(pid, unit, Part::Compiler, Role::Shim);
        // A build script's probe has the script itself for its parent.
        let is_own = |parent: &u32| self.part_of(inside).is_none() || runs_cargo(*parent, None);
        let cargo = Some(self.processes.parent(pid).unwrap_or_default()).filter(is_own);
        if let Some(compiler) = runs {
            // Its governor is gone: it runs on, and is governed again from here.
            self.processes.adopt_child(pid, compiler, unit, Part::Compiler);
        }
        let running = runs.is_some();
        self.enter(unit, facts, Whereabouts { build, inside, cargo, running, script_of: None });
    }

    /// A build script was found running.
    pub(super) fn found_script(&mut self, script: BuildScript) {
        let Some(build) = self.build_for(script.pid) else { return };
        let unit = self.units.number();
        self.processes.adopt(script.pid, unit, Part::Compiler, Role::Child);
        if self.account.is_some() && self.processes.is_left_stopped(script.pid) {
            self.processes.resume(unit);
        }
        let facts = UnitFacts::build_script_run(script.package, script.version);
        let cargo = self.processes.parent(script.pid);
        let script_of = Some(script.dir);
        let place = Whereabouts { build, inside: None, cargo, running: true, script_of };
        self.enter(unit, facts, place);
        if let Some(record) = self.units.get_mut(unit) {
            record.set_exit(script.exit);
        }
    }

    /// A command that is not Cargo runs as this process, which `driver` has started.
    pub fn command(&mut self, build: BuildNo, driver: u32, pid: u32, name: String) {
        let unit = self.units.number();
        self.processes.adopt_child(driver, pid, unit, Part::Compiler);
        let cargo = Some(pid);
        let place = Whereabouts { build, inside: None, cargo, running: true, script_of: None };
        self.enter(unit, UnitFacts::command(name), place);
        if let Some(record) = self.units.get_mut(unit) {
            record.set_exit(Exit::of(pid));
        }
    }

    /// What was admitted as a test is one now: the process that asked has become it.
    pub(super) fn becomes(&mut self, unit: UnitId, pid: u32) {
        let exit = Exit::of(pid);
        self.processes.release(unit, Part::Compiler);
        self.processes.adopt(pid, unit, Part::Compiler, Role::Child);
        match self.units.get_mut(unit) {
            Some(record) if exit.is_some() => record.set_exit(exit),
            // It has ended already.
            _ => self.finished(unit, true),
        }
    }

    /// The build script or compiler of whose work it is a part that is found in the process tree of `outer`; what a test
    /// or a command runs is a unit of the build.
    fn part_of(&self, outer: Option<UnitId>) -> Option<UnitId> {
        let outer = outer?;
        let record = self.units.get(outer)?;
        match role_of(record.kind()) {
            schedule::UnitRole::Test | schedule::UnitRole::Command => record.inside(),
            schedule::UnitRole::Script | schedule::UnitRole::Compiler => Some(outer),
        }
    }

    fn enter(&mut self, unit: UnitId, facts: UnitFacts, place: Whereabouts) {
        let Whereabouts { build, inside, cargo, running, script_of } = place;
        if self.limits.find_killers() {
            self.read_lines();
        }
        let now = self.now();
        let (mut forecast, cold) = self.forecast(&facts, build, script_of.as_deref());
        let several = self.builds.len() > 1;
        let part_of = self.part_of(inside);
        if let Some(build) = self.builds.get_mut(build) {
            // Of what is inside another one that Cargo does not know.
            if part_of.is_none() {
                build.is_asked_by(cargo);
                // What is remembered may be of another build that has this unit, too, and another way to its end.
                let told = build.known_graph().and_then(|graph| graph.critical_path(&facts));
                forecast.critical_path = told.or(forecast.critical_path);
                if forecast.critical_path.is_none() || build.terms().staged {
                    build.ask_graph();
                }
            }
            build.sees(facts.kind);
        }
        if several {
            // Whose turn it is hangs on how long each is.
            self.builds.iter_mut().for_each(|(_, build)| build.ask_graph());
        }
        let mut record = UnitRecord::new(build, facts, part_of, now);
        if let Some(outer) = part_of.and_then(|outer| self.units.get(outer)) {
            record = record.named_inside(&outer.facts().package);
        }
        let facts = record.facts();
        let registered = Event::Registered {
            unit,
            title: record.title().to_owned(),
            kind: facts.kind,
            key: record.key().clone(),
            forecast: forecast.curve.peak(),
            source: forecast.source,
            inside: part_of,
            cold,
            made: Some(Box::new(facts.made())),
        };
        let (retryable, links) = (facts.retryable, facts.links);
        let slims = !facts.slimmer.is_empty();
        let role = role_of(facts.kind);
        self.builds.say(build, now, registered);
        if running {
            record.start(now, Millis::ZERO, None, Shrink::No);
            let admitted = Event::Admitted { unit, attempt: 1, shrink: Shrink::No };
            self.builds.say(build, now, admitted);
        }
        self.units.insert(unit, record);
        self.decide(Input::Register(
            unit,
            Box::new(NewUnit {
                build,
                forecast,
                retryable,
                links,
                slims,
                inside,
                running,
                role,
                cargo,
            }),
        ));
        self.place_in_stage(unit, build);
    }

    /// Says which stage a unit belongs to, where its build has any.
    fn place_in_stage(&mut self, unit: UnitId, no: BuildNo) {
        let Some(build) = self.builds.get(no).filter(|build| build.terms().staged) else {
            return;
        };
        let own = self.units.get(unit).filter(|record| record.inside().is_none());
        let Some(facts) = own.map(|record| record.facts()) else { return };
        if let Some(graph) = build.known_graph() {
            let stage = graph.stages.of(facts);
            self.decide(Input::Stage(unit, stage));
        } else if build.graph().is_not_coming() {
            self.leave_stages(no);
        }
    }

    fn forecast(
        &mut self,
        facts: &UnitFacts,
        build: BuildNo,
        script_of: Option<&Path>,
    ) -> (Forecast, Option<ColdFacts>) {
        let remembered = self.history().forecast(facts);
        if let Some(known) = &remembered
            && let Some(forecast) = Forecast::recorded(&known.observations, known.exact)
        {
            return (forecast.at_least(known.at_least), None);
        }
        let sizes = script_of.map_or_else(|| sizes::of(facts), sizes::of_script);
        let cold = ColdFacts {
            sizes,
            check: facts.emit == Emit::Check,
            optimised: facts.optimised(),
            debuginfo: facts.debuginfo > 0,
        };
        let bound = remembered.map(|known| known.at_least).unwrap_or_default();
        let noted = self.builds.get(build).and_then(|build| build.noted(facts));
        let bound = bound.max(noted.unwrap_or_default());
        (Forecast::cold(facts, &sizes).at_least(bound), Some(cold))
    }

    pub(super) fn ask_for_link(&mut self, unit: UnitId, inputs: Bytes) {
        let Some(facts) = self.units.get(unit).map(|record| record.facts().clone()) else {
            // The unit is not ours (a governor before us): nothing stands in the linker's way.
            if let Some(connection) = self.connections.of(Peer::Linker(unit)) {
                connection.send(&ToShim::Admit { unit, again: false, shrink: Shrink::No });
            }
            return;
        };
        let remembered = self.history().forecast(&facts);
        let recorded = remembered
            .and_then(|known| known.observations.iter().map(|o| o.link_peak).max())
            .filter(|peak| *peak > Bytes::ZERO);
        let forecast = recorded.unwrap_or_else(|| cold_link(inputs));
        let now = self.now();
        if let Some(record) = self.units.get_mut(unit) {
            record.asks_for_link(now);
        }
        self.say(unit, Event::LinkAsked { unit, forecast });
        self.decide(Input::LinkAsked(unit, forecast));
    }

    pub(super) fn finished(&mut self, unit: UnitId, ok: bool) {
        // The last look, so that a short unit has at least one.
        self.measure_unit(unit);
        self.processes.release(unit, Part::Linker);
        self.processes.release(unit, Part::Compiler);
        self.end_record(unit, ok);
        self.decide(Input::Finished { unit, ok });
    }

    /// The unit has ended: says so, and remembers what it showed.
    pub(super) fn end_record(&mut self, unit: UnitId, ok: bool) {
        let now = self.now();
        let run = self.units.finish(unit, now);
        let Some(record) = self.units.get(unit) else { return };
        let Some(Run { wall, waited, cpu, peak }) = run else {
            return self.say(unit, Event::Left { unit });
        };
        // A failed compile ends early and is no example. By its own settings what was slimmed needs more.
        let slimmed = record.slimmed().is_some();
        let example = ok.then(|| (record.facts().clone(), record.observation(now)));
        self.say(unit, Event::Finished { unit, ok, peak, cpu, wall, waited });
        match example {
            Some((facts, _)) if slimmed => self.history().record_lower_bound(&facts, peak),
            Some((facts, observation)) => self.history().record(&facts, &observation),
            None => {}
        }
    }

    /// A unit goes on without us, because it was not answered for too long: what becomes of it is not known here.
    pub(super) fn withdraw(&mut self, unit: UnitId) {
        self.processes.release(unit, Part::Linker);
        self.processes.release(unit, Part::Compiler);
        if let Some(record) = self.units.get_mut(unit) {
            record.withdraw();
        }
        self.end_record(unit, false);
        self.decide(Input::Finished { unit, ok: true });
    }
}
