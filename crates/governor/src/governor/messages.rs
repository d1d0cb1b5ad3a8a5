//! What clients say, turned into inputs of the schedule.

use plimsoll_core::UnitId;
use plimsoll_core::event::Event;
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::schedule::Input;
use plimsoll_host::{Role, parent_of};
use plimsoll_proto::{Rerun, ToDriver, ToGovernor, ToShim, VERSION};

use super::Governor;
use crate::connection::Peer;
use crate::options::{Ending, Observer};
use crate::processes::Part;

/// SIGABRT.
const ABORTED: i32 = 6;

impl Governor {
    pub(super) fn handle_message(
        &mut self,
        id: u64,
        message: ToGovernor,
        observer: &mut dyn Observer,
    ) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        match (connection.peer, message) {
            (Peer::Unknown, ToGovernor::Hello { version: VERSION, facts, runs, priority }) => {
                let pid = connection.pid;
                if connection.peer_has_ended() {
                    // Its number may be a stranger's by now.
                    self.connections.remove(id);
                    return;
                }
                let Some(build) = self.build_for(pid) else { return self.send_away(id) };
                let unit = self.units.number();
                if let Some(connection) = self.connections.get_mut(id) {
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
                self.processes.adopt(connection.pid, unit, Part::Linker, Role::Shim);
                self.ask_for_link(unit, inputs);
            }
            (Peer::Unknown, ToGovernor::Status) => {
                let answer = observer.status(&self.present());
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.answer(&answer);
                }
            }
            (Peer::Unknown, ToGovernor::Join(join))
                if join.version == VERSION
                    && self.account.is_some()
                    && !connection.peer_has_ended() =>
            {
                let pid = connection.pid;
                if self.join(id, pid, *join).is_none() {
                    self.connections.remove(id);
                }
            }
            (Peer::Unknown, ToGovernor::Pause { build, paused }) => {
                connection.answer("");
                self.pause(&build, paused);
            }
            (Peer::Unknown, ToGovernor::SetPriority { build, priority }) => {
                connection.answer("");
                self.set_priority(&build, priority);
            }
            (Peer::Unknown, ToGovernor::Drain) if self.account.is_some() => {
                connection.answer("");
                self.drain();
            }
            (Peer::Driver(build), ToGovernor::Interrupt) => self.interrupt(build),
            (Peer::Driver(build), ToGovernor::Continued) => self.suspend_again(build),
            (Peer::Driver(build), ToGovernor::Leave { exit, complete }) => {
                self.leave_build(build, Ending { exit, complete });
            }
            (Peer::Shim(unit), ToGovernor::Started { pid }) => {
                self.processes.adopt_child(connection.pid, pid, unit, Part::Compiler);
            }
            (Peer::Linker(unit), ToGovernor::Started { pid }) => {
                self.processes.adopt_child(connection.pid, pid, unit, Part::Linker);
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
                let repeats = self.units.get(unit).is_none_or(|it| it.facts().repeats());
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
                let is_inside = self.units.get(unit).is_some_and(|it| it.inside().is_some());
                if !ok
                    && !differs
                    && let Some(build) = self.build_of(unit).filter(|_| !is_inside)
                {
                    build.fails();
                }
                if differs {
                    self.ask_for_rerun(unit, Rerun::Differs);
                }
                self.finished(unit, ok);
            }
            (Peer::Linker(unit), ToGovernor::Finished { .. }) => {
                connection.peer = Peer::Done;
                self.processes.release(unit, Part::Linker);
                self.decide(Input::LinkFinished(unit));
            }
            (_, ToGovernor::Ping) => connection.send(&ToShim::Pong),
            (Peer::Shim(unit), ToGovernor::Withdraw) => {
                connection.peer = Peer::Done;
                self.withdraw(unit);
            }
            (Peer::Linker(unit), ToGovernor::Withdraw) => {
                connection.peer = Peer::Done;
                self.processes.release(unit, Part::Linker);
                self.decide(Input::LinkFinished(unit));
            }
            // A message that makes no sense here, or a peer of another version: it goes on without us.
            _ => {
                let peer = connection.peer;
                self.connections.remove(id);
                self.hung_up(peer);
            }
        }
    }

    /// A compiler that belongs to no build here goes on without us. Where another governor has taken over, that one
    /// knows.
    fn send_away(&mut self, id: u64) {
        if self.is_draining() {
            self.connections.remove(id);
            return;
        }
        if let Some(connection) = self.connections.get_mut(id) {
            let parent = parent_of(connection.pid);
            self.connections.send_away(id, parent);
        }
    }

    /// A connection closed. After its last word that means nothing; before it, the shim was killed, and
    /// what it left behind is ours to end.
    pub(super) fn hung_up(&mut self, peer: Peer) {
        match peer {
            Peer::Unknown | Peer::Done => {}
            Peer::Driver(build) => self.lose_driver(build),
            Peer::Linker(unit) => {
                self.processes.kill(unit, Part::Linker);
                self.processes.release(unit, Part::Linker);
                self.decide(Input::LinkFinished(unit));
            }
            Peer::Shim(unit) => {
                if self.units.get(unit).is_some_and(|record| !record.is_dismissed()) {
                    self.ask_for_rerun(unit, Rerun::ShimLost);
                }
                self.processes.kill(unit, Part::Compiler);
                self.processes.release(unit, Part::Linker);
                self.processes.release(unit, Part::Compiler);
                self.end_record(unit, false);
                self.decide(Input::ShimGone(unit));
            }
        }
    }

    /// Somebody else has ended a compiler or a linker, or it has found no memory. It runs again, the first time alone, as
    /// if memory had been short. Where memory was short indeed, that was all that can be done for it; where not,
    /// somebody kills at random, and being alone is no help.
    fn lost(&mut self, unit: UnitId, signal: i32, link: bool) {
        // Nobody sends SIGABRT: a compiler that found no memory aborts itself.
        let short = self.limits.memory_was_short() || signal == ABORTED;
        let Some(record) = self.units.get_mut(unit) else { return };
        let is_test = record.kind() == UnitKind::TestRun;
        if is_test && (!short || record.has_last_chance()) {
            // It failed by itself, somebody wanted it to end, or it needs more than there is.
            self.say(unit, Event::Lost { unit, signal, link_only: link });
            self.say_killed(unit, short);
            return self.pass_on(unit);
        }
        let again = record.lose(short);
        // Who was ended needs at least what it held.
        let seen = (!link && !is_test).then(|| (record.facts().clone(), record.peak()));
        self.say(unit, Event::Lost { unit, signal, link_only: link });
        if let Some((facts, peak)) = seen {
            self.history().record_lower_bound(&facts, peak);
        }
        self.decide(Input::Lost { unit, link, again });
    }

    /// A test was not killed for want of memory: its end is its own.
    fn pass_on(&mut self, unit: UnitId) {
        if let Some(connection) = self.connections.of(Peer::Shim(unit)) {
            connection.peer = Peer::Done;
            connection.send(&ToShim::Leave);
        }
        self.finished(unit, false);
    }

    /// Cargo has been told, or will be, that a unit failed which did not. What tests have done is not to be done again.
    pub(super) fn ask_for_rerun(&mut self, unit: UnitId, why: Rerun) {
        if self.build_of(unit).is_some_and(|build| build.ask_for_rerun(why)) {
            self.tell_driver(unit, &ToDriver::Rerun(why));
        }
    }

    fn tell_driver(&mut self, unit: UnitId, message: &ToDriver) {
        let driver = self.build_of(unit).and_then(|build| build.driver());
        if let Some(connection) = driver.and_then(|id| self.connections.get_mut(id)) {
            connection.send_line(&message.encode());
        }
    }
}
