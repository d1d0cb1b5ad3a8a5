//! What clients say, turned into inputs of the schedule.

use std::path::{Path, PathBuf};

use plimsoll_core::event::{ColdFacts, Event};
use plimsoll_core::forecast::{Forecast, cold_link};
use plimsoll_core::invocation::{Emit, UnitKind};
use plimsoll_core::line::KILLER_MARGIN;
use plimsoll_core::oversized::Shrink;
use plimsoll_core::schedule::{self, Again, Input, NewUnit};
use plimsoll_core::unit::UnitFacts;
use plimsoll_core::{BuildNo, Bytes, Millis, UnitId};
use plimsoll_host::{BuildScript, Exit, Role, parent_of, runs_cargo};
use plimsoll_proto::{Rerun, ToDriver, ToGovernor, ToShim, VERSION};

use crate::builds::Build;
use crate::builds::Ending;
use crate::connection::Peer;
use crate::governor::{Governor, Observer};
use crate::ledger::{Entry, compiler, linker, unit_of};
use crate::sizes;

/// How often a unit may be lost to somebody who kills at random before its end is passed on.
const LOSSES_AT_MOST: u32 = 20;

/// SIGABRT.
const ABORTED: i32 = 6;

/// Where in the build a unit was found.
struct Place {
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
fn role_of(kind: UnitKind) -> schedule::Role {
    match kind {
        UnitKind::BuildScriptRun => schedule::Role::Script,
        UnitKind::TestRun => schedule::Role::Test,
        UnitKind::Command => schedule::Role::Command,
        UnitKind::Lib
        | UnitKind::ProcMacro
        | UnitKind::Bin
        | UnitKind::Test
        | UnitKind::BuildScript
        | UnitKind::Doc
        | UnitKind::DocTest
        | UnitKind::Tool => schedule::Role::Compiler,
    }
}

impl Governor {
    pub(crate) fn handle_message(
        &mut self,
        id: u64,
        message: ToGovernor,
        observer: &mut dyn Observer,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match (connection.peer, message) {
            (Peer::Unknown, ToGovernor::Hello { version: VERSION, facts, runs, priority }) => {
                let pid = connection.pid;
                if connection.peer_has_ended() {
                    // Its number may be a stranger's by now.
                    self.connections.remove(&id);
                    return;
                }
                let Some(build) = self.build_for(pid) else { return self.send_away(id) };
                let unit = UnitId(self.next_unit);
                self.next_unit += 1;
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.peer = Peer::Shim(unit);
                }
                if let Some(priority) = priority {
                    self.hear_priority(build, priority);
                }
                self.register(build, unit, pid, *facts, runs);
            }
            (Peer::Unknown, ToGovernor::Link { version: VERSION, unit, inputs })
                if !connection.peer_has_ended() =>
            {
                connection.peer = Peer::Linker(unit);
                self.tree.adopt(connection.pid, linker(unit), Role::Shim);
                self.ask_for_link(unit, inputs);
            }
            (Peer::Unknown, ToGovernor::Status) => {
                let answer = observer.status(&self.present());
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.answer(&answer);
                }
            }
            (Peer::Unknown, ToGovernor::Join(join))
                if join.version == VERSION && self.of_account && !connection.peer_has_ended() =>
            {
                let pid = connection.pid;
                if self.join(id, pid, *join).is_none() {
                    self.connections.remove(&id);
                }
            }
            (Peer::Unknown, ToGovernor::Pause { build, paused }) => {
                connection.answer("");
                self.pause(&build, paused);
            }
            (Peer::Unknown, ToGovernor::Favour { build, priority }) => {
                connection.answer("");
                self.favour(&build, priority);
            }
            (Peer::Unknown, ToGovernor::Drain) if self.of_account => {
                connection.answer("");
                self.drain();
            }
            (Peer::Driver(build), ToGovernor::Interrupt) => self.interrupt(build),
            (Peer::Driver(build), ToGovernor::Continued) => self.suspend_again(build),
            (Peer::Driver(build), ToGovernor::Leave { exit, complete }) => {
                self.leave_build(build, Ending { exit, complete });
            }
            (Peer::Shim(unit), ToGovernor::Started { pid }) => {
                self.tree.adopt_child(connection.pid, pid, compiler(unit));
            }
            (Peer::Linker(unit), ToGovernor::Started { pid }) => {
                self.tree.adopt_child(connection.pid, pid, linker(unit));
            }
            (Peer::Shim(unit), ToGovernor::Becomes) => {
                connection.peer = Peer::Done;
                let pid = connection.pid;
                self.becomes(unit, pid);
            }
            (Peer::Driver(build), ToGovernor::Command { pid, name }) => {
                let driver = connection.pid;
                self.command(build, driver, pid, name);
            }
            (Peer::Shim(unit), ToGovernor::Announced) => {
                self.say(unit, Event::Announced { unit });
                let repeats = self.entries.get(&unit).is_none_or(|it| it.facts.repeats());
                self.decide(Input::Announced { unit, repeats });
            }
            (Peer::Shim(unit), ToGovernor::Lost { signal }) => {
                self.lost(unit, signal, false);
            }
            (Peer::Linker(unit), ToGovernor::Lost { signal }) => {
                self.lost(unit, signal, true);
            }
            (Peer::Shim(unit), ToGovernor::Finished { ok, differs }) => {
                connection.peer = Peer::Done;
                // What that means to the build script that it is inside, that says itself.
                let is_inside = self.entries.get(&unit).is_some_and(|it| it.inside.is_some());
                if let Some(build) = self.build_of(unit).filter(|_| !is_inside) {
                    build.has_failed |= !ok && !differs;
                }
                if differs {
                    self.ask_for_rerun(unit, Rerun::Differs);
                }
                self.finished(unit, ok);
            }
            (Peer::Linker(unit), ToGovernor::Finished { .. }) => {
                connection.peer = Peer::Done;
                self.tree.release(linker(unit));
                self.decide(Input::LinkFinished(unit));
            }
            (_, ToGovernor::Ping) => connection.send(&ToShim::Pong),
            (Peer::Shim(unit), ToGovernor::Withdraw) => {
                connection.peer = Peer::Done;
                self.withdraw(unit);
            }
            (Peer::Linker(unit), ToGovernor::Withdraw) => {
                connection.peer = Peer::Done;
                self.tree.release(linker(unit));
                self.decide(Input::LinkFinished(unit));
            }
            // A message that makes no sense here, or a peer of another version: it goes on without us.
            _ => {
                let peer = connection.peer;
                self.connections.remove(&id);
                self.hung_up(peer);
            }
        }
    }

    /// A compiler that belongs to no build here goes on without us. Where another governor has taken over, that one
    /// knows.
    fn send_away(&mut self, id: u64) {
        /// Parents of such compilers that are remembered.
        const STRAYS_AT_MOST: usize = 64;
        if self.draining {
            self.connections.remove(&id);
            return;
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let parent = parent_of(connection.pid);
        let say = self.strays.len() < STRAYS_AT_MOST && self.strays.insert(parent);
        connection.peer = Peer::Done;
        connection.send(&ToShim::Ungoverned { say });
    }

    /// A unit goes on without us, because it was not answered for too long: what becomes of it is not known here.
    fn withdraw(&mut self, unit: UnitId) {
        self.tree.release(linker(unit));
        self.tree.release(compiler(unit));
        if let Some(entry) = self.entries.get_mut(&unit) {
            entry.admitted = None;
        }
        self.end_entry(unit, false);
        self.decide(Input::Finished { unit, ok: true });
    }

    /// A connection closed. After its last word that means nothing; before it, the shim was killed, and
    /// what it left behind is ours to end.
    pub(crate) fn hung_up(&mut self, peer: Peer) {
        match peer {
            Peer::Unknown | Peer::Done => {}
            Peer::Driver(build) => self.lose_driver(build),
            Peer::Linker(unit) => {
                self.tree.kill(linker(unit));
                self.tree.release(linker(unit));
                self.decide(Input::LinkFinished(unit));
            }
            Peer::Shim(unit) => {
                if self.entries.get(&unit).is_some_and(|entry| !entry.dismissed) {
                    self.ask_for_rerun(unit, Rerun::ShimLost);
                }
                self.tree.kill(compiler(unit));
                self.tree.release(linker(unit));
                self.tree.release(compiler(unit));
                self.end_entry(unit, false);
                self.decide(Input::Gone(unit));
            }
        }
    }

    /// Somebody else has ended a compiler or a linker, or it has found no memory. It runs again, the first time alone, as
    /// if memory had been short. Where memory was short indeed, that was all that can be done for it; where not,
    /// somebody kills at random, and being alone is no help.
    fn lost(&mut self, unit: UnitId, signal: i32, link: bool) {
        // Nobody sends SIGABRT: a compiler that found no memory aborts itself.
        let short = self.memory_was_short() || signal == ABORTED;
        let Some(entry) = self.entries.get_mut(&unit) else { return };
        entry.losses += 1;
        let is_test = entry.facts.kind == UnitKind::TestRun;
        if is_test && (!short || entry.last_chance) {
            // It failed by itself, somebody wanted it to end, or it needs more than there is.
            self.say(unit, Event::Lost { unit, signal, link_only: link });
            self.say_killed(unit, short);
            return self.pass_on(unit);
        }
        entry.last_chance = short || entry.losses >= LOSSES_AT_MOST;
        let again = match (short, entry.losses) {
            (true, _) => Again::Alone,
            (false, 1) => Again::Preferably,
            (false, _) => Again::Plainly,
        };
        // Who was ended needs at least what it held.
        let seen = (!link && !is_test).then(|| (entry.facts.clone(), entry.peak));
        self.say(unit, Event::Lost { unit, signal, link_only: link });
        if let Some((facts, peak)) = seen {
            self.history().record_lower_bound(&facts, peak);
        }
        self.decide(Input::Lost { unit, link, again });
    }

    /// A test was not killed for want of memory: its end is its own.
    fn pass_on(&mut self, unit: UnitId) {
        if let Some(connection) = self.connection_of(Peer::Shim(unit)) {
            connection.peer = Peer::Done;
            connection.send(&ToShim::Leave);
        }
        self.finished(unit, false);
    }

    /// The kernel has killed something since the last look, or memory is nearly gone now, in which case it
    /// may have been earlyoom or its like.
    pub(crate) fn memory_was_short(&mut self) -> bool {
        /// earlyoom's own default is 10 % of the machine's memory.
        const NEARLY_GONE: f64 = 0.11;
        let machine = self.limits.read().machine;
        let acts_at = machine.killer.map_or(Bytes::ZERO, |killer| killer.memory + KILLER_MARGIN);
        let gone = machine.available < machine.total.scale(NEARLY_GONE).max(acts_at);
        self.kernel_has_killed() || gone
    }

    /// The kernel has killed something since the last look.
    pub(crate) fn kernel_has_killed(&mut self) -> bool {
        let kills = plimsoll_host::oom_kills();
        kills > std::mem::replace(&mut self.oom_kills, kills)
    }

    /// Cargo has been told, or will be, that a unit failed which did not. What tests have done is not to be done again.
    pub(crate) fn ask_for_rerun(&mut self, unit: UnitId, why: Rerun) {
        let Some(build) = self.build_of(unit) else { return };
        if build.has_run_tests && why != Rerun::Differs {
            return;
        }
        build.rerun = Some(why);
        self.tell_driver(unit, &ToDriver::Rerun(why));
    }

    fn tell_driver(&mut self, unit: UnitId, message: &ToDriver) {
        let it = self.build_of(unit).and_then(|build| build.elsewhere.as_ref()?.driver);
        if let Some(connection) = it.and_then(|id| self.connections.get_mut(&id)) {
            connection.send_line(&message.encode());
        }
    }

    fn register(
        &mut self,
        build: BuildNo,
        unit: UnitId,
        pid: u32,
        facts: UnitFacts,
        runs: Option<u32>,
    ) {
        let mut inside = self.tree.enclosing_owner(pid);
        if inside.is_none() && self.tree.may_be_inside_script(pid) {
            // A build script that has just started may not have been found yet, and this be its probe.
            self.scan();
            inside = self.tree.enclosing_owner(pid);
        }
        let inside = inside.map(unit_of);
        self.tree.adopt(pid, compiler(unit), Role::Shim);
        // A build script's probe has the script itself for its parent.
        let is_own = |parent: &u32| self.part_of(inside).is_none() || runs_cargo(*parent, None);
        let cargo = Some(self.tree.parent(pid).unwrap_or_default()).filter(is_own);
        if let Some(compiler) = runs {
            self.take_over(unit, pid, compiler);
        }
        let running = runs.is_some();
        self.enter(unit, facts, Place { build, inside, cargo, running, script_of: None });
    }

    /// A build script was found running.
    pub(crate) fn found_script(&mut self, script: BuildScript) {
        let Some(build) = self.build_for(script.pid) else { return };
        let unit = UnitId(self.next_unit);
        self.next_unit += 1;
        self.tree.adopt(script.pid, compiler(unit), Role::Child);
        if self.of_account && self.tree.is_left_stopped(script.pid) {
            self.tree.resume(compiler(unit));
        }
        let facts = UnitFacts::build_script_run(script.package, script.version);
        let cargo = self.tree.parent(script.pid);
        let script_of = Some(script.dir);
        let place = Place { build, inside: None, cargo, running: true, script_of };
        self.enter(unit, facts, place);
        if let Some(entry) = self.entries.get_mut(&unit) {
            entry.exit = script.exit;
        }
    }

    /// A command that is not Cargo runs as this process, which `driver` has started.
    pub fn command(&mut self, build: BuildNo, driver: u32, pid: u32, name: String) {
        let unit = UnitId(self.next_unit);
        self.next_unit += 1;
        self.tree.adopt_child(driver, pid, compiler(unit));
        let cargo = Some(pid);
        let place = Place { build, inside: None, cargo, running: true, script_of: None };
        self.enter(unit, UnitFacts::command(name), place);
        if let Some(entry) = self.entries.get_mut(&unit) {
            entry.exit = Exit::of(pid);
        }
    }

    /// What was admitted as a test is one now: the process that asked has become it.
    fn becomes(&mut self, unit: UnitId, pid: u32) {
        let exit = Exit::of(pid);
        self.tree.release(compiler(unit));
        self.tree.adopt(pid, compiler(unit), Role::Child);
        match self.entries.get_mut(&unit) {
            Some(entry) if exit.is_some() => entry.exit = exit,
            // It has ended already.
            _ => self.finished(unit, true),
        }
    }

    /// The build script or compiler of whose work it is a part that is found in the process tree of `outer`; what a test
    /// or a command runs is a unit of the build.
    fn part_of(&self, outer: Option<UnitId>) -> Option<UnitId> {
        let outer = outer?;
        let entry = self.entries.get(&outer)?;
        match role_of(entry.facts.kind) {
            schedule::Role::Test | schedule::Role::Command => entry.inside,
            schedule::Role::Script | schedule::Role::Compiler => Some(outer),
        }
    }

    fn enter(&mut self, unit: UnitId, facts: UnitFacts, place: Place) {
        let Place { build, inside, cargo, running, script_of } = place;
        self.heed_killers();
        let now = self.now();
        let (mut forecast, cold) = self.forecast(&facts, build, script_of.as_deref());
        let several = self.builds.len() > 1;
        let part_of = self.part_of(inside);
        if let Some(build) = self.builds.get_mut(&build) {
            // Of what is inside another one that Cargo does not know.
            if part_of.is_none() {
                build.cargo = build.cargo.or(cargo);
                // What is remembered may be of another build that has this unit, too, and another way to its end.
                let told = build.known.as_ref().and_then(|graph| graph.tail(&facts));
                forecast.tail = told.or(forecast.tail);
                if forecast.tail.is_none() || build.options.terms.staged {
                    build.ask_graph();
                }
            }
            build.has_run_tests |= matches!(facts.kind, UnitKind::TestRun | UnitKind::DocTest);
        }
        if several {
            // Whose turn it is hangs on how long each is.
            self.builds.values_mut().for_each(Build::ask_graph);
        }
        let mut entry = Entry::new(build, facts, part_of, now);
        if let Some(outer) = part_of.and_then(|outer| self.entries.get(&outer)) {
            entry.title = format!("{} (inside {})", entry.title, outer.facts.package);
        }
        let registered = Event::Registered {
            unit,
            title: entry.title.clone(),
            kind: entry.facts.kind,
            key: entry.key.clone(),
            forecast: forecast.curve.peak(),
            source: forecast.source,
            inside: part_of,
            cold,
            made: Some(Box::new(entry.facts.made())),
        };
        self.say_in(build, registered);
        if running {
            entry.start(now, Millis::ZERO, None);
            self.say_in(build, Event::Admitted { unit, attempt: 1, shrink: Shrink::No });
        }
        let (retryable, links) = (entry.facts.retryable, entry.facts.links);
        let slims = !entry.facts.slimmer.is_empty();
        let role = role_of(entry.facts.kind);
        self.entries.insert(unit, entry);
        self.unfinished.insert(unit);
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
        let Some(build) = self.builds.get(&no).filter(|build| build.options.terms.staged) else {
            return;
        };
        let own = self.entries.get(&unit).filter(|entry| entry.inside.is_none());
        let Some(facts) = own.map(|entry| &entry.facts) else { return };
        if let Some(graph) = &build.known {
            let stage = graph.stages.of(facts);
            self.decide(Input::Stage(unit, stage));
        } else if build.graph.is_none() {
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
        let noted = self.builds.get(&build).and_then(|build| build.noted(facts));
        let bound = bound.max(noted.unwrap_or_default());
        (Forecast::cold(facts, &sizes).at_least(bound), Some(cold))
    }

    fn ask_for_link(&mut self, unit: UnitId, inputs: Bytes) {
        let Some(facts) = self.entries.get(&unit).map(|entry| entry.facts.clone()) else {
            // The unit is not ours (a governor before us): nothing stands in the linker's way.
            if let Some(connection) = self.connection_of(Peer::Linker(unit)) {
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
        if let Some(entry) = self.entries.get_mut(&unit) {
            entry.link_since = now;
        }
        self.say(unit, Event::LinkAsked { unit, forecast });
        self.decide(Input::LinkAsked(unit, forecast));
    }

    pub(crate) fn finished(&mut self, unit: UnitId, ok: bool) {
        // The last look, so that a short unit has at least one.
        self.measure_unit(unit);
        self.tree.release(linker(unit));
        self.tree.release(compiler(unit));
        self.end_entry(unit, ok);
        self.decide(Input::Finished { unit, ok });
    }

    fn end_entry(&mut self, unit: UnitId, ok: bool) {
        let now = self.now();
        let Some(entry) = self.entries.get_mut(&unit) else { return };
        entry.finished = true;
        self.unfinished.remove(&unit);
        entry.memory = Bytes::ZERO;
        (entry.tokens, entry.exit) = (None, None);
        let Some(admitted) = entry.admitted else {
            self.say(unit, Event::Left { unit });
            return;
        };
        let event = Event::Finished {
            unit,
            ok,
            peak: entry.peak,
            cpu: entry.cpu,
            wall: now - admitted,
            waited: admitted - entry.registered,
        };
        // A failed compile ends early and is no example. By its own settings what was slimmed needs more.
        let (peak, slimmed) = (entry.peak, entry.slimmed);
        let example = ok.then(|| (entry.facts.clone(), entry.observation(now)));
        self.say(unit, event);
        match example {
            Some((facts, _)) if slimmed => self.history().record_lower_bound(&facts, peak),
            Some((facts, observation)) => self.history().record(&facts, &observation),
            None => {}
        }
    }
}
