//! Who may start: links first, then what was stopped, then the queue, longest path first, with
//! backfill that does not delay the head of the queue.

use std::cmp::Reverse;

use super::outlook::{Outlook, Pace, Projection, Shadow};
use super::pressure::guard;
use super::unit::{LinkState, RunState, Unit};
use super::{Effect, Schedule};
use crate::ids::UnitId;
use crate::measure::{Bytes, Millis};

/// How often the head of the queue may be overtaken before nothing starts until it does. Backfill
/// already keeps its expected start; this bounds what wrong expectations can cost.
const OVERTAKEN_AT_MOST: u32 = 200;

/// How long the head of the queue lets others pass on their promise to be gone in time, as a share of its
/// own work: a giant of 36 s that starts 9 s late has cost the build a quarter of itself at most.
const PATIENCE: f64 = 0.25;
const PATIENCE_AT_LEAST: Millis = Millis(1500);

/// A stopped unit stays so for at least this long: stopping and starting more often than the sampler
/// looks would only follow its noise.
const SUSPENDED_AT_LEAST: Millis = Millis(250);

/// An anchor that uses no processor for this long while others are stopped may be waiting for one of
/// them (a lock in the build directory, a pipe).
const ANCHOR_STUCK: Millis = Millis(3000);

/// How much less a lean compiler holds, as a share: measured, 2.4 % of cranelift-codegen's peak.
const LEAN_SAVES: f64 = 0.03;

impl Schedule {
    /// What the schedule counts on at the highest future moment, margins included.
    #[must_use]
    pub fn admitted(&self) -> Bytes {
        self.outlook().highest()
    }

    pub(super) fn outlook(&self) -> Outlook {
        self.outlook_of(|_| true)
    }

    /// As if only these units were there.
    pub(super) fn outlook_of(&self, which: impl Fn(&Unit) -> bool) -> Outlook {
        let units = self.units.iter().map(|(_, unit)| unit).filter(|unit| which(unit));
        Outlook::of(units, self.rest, self.pace())
    }

    fn pace(&self) -> Pace {
        Pace::of(&self.config, self.units.running().count())
    }

    /// The line less what a measurement may be late by.
    pub(super) fn usable(&self) -> Bytes {
        self.line - guard(self.line)
    }

    /// Gives the outlook with all that was admitted.
    pub(super) fn admit(&mut self, now: Millis, effects: &mut Vec<Effect>) -> Outlook {
        let mut outlook = self.outlook();
        self.admit_links(&mut outlook, effects);
        self.resume(now, &mut outlook, effects);
        self.admit_queue(now, &mut outlook, effects);
        outlook
    }

    /// Links go first: they end units, and a compiler that waits for its linker holds memory for nothing.
    /// Where what is read from files does not fit, they go one by one: of two, each would drop what the other
    /// has yet to read. (Relinking six programs of 1.1 GiB of inputs in 1.3 GiB, plain Cargo: 15 s by `-j1`,
    /// 18 s by `-j2`, 192 s by `-j3`.)
    fn admit_links(&mut self, outlook: &mut Outlook, effects: &mut Vec<Effect>) {
        let mut asking: Vec<(Millis, UnitId, Bytes)> = self
            .units
            .iter()
            .filter_map(|(id, unit)| match (unit.link, unit.state) {
                (LinkState::Waiting { since, peak }, RunState::Running) => Some((since, id, peak)),
                _ => None,
            })
            .collect();
        asking.sort_unstable_by_key(|(since, id, _)| (*since, *id));
        let links = |unit: &Unit| matches!(unit.link, LinkState::Running { .. });
        let mut another = self.units.iter().any(|(_, unit)| links(unit));
        let held_up = self.units.held_up();
        let works = |id, unit: &Unit| unit.uses_processor() && !held_up.contains(&id);
        for (_, id, peak) in asking {
            let Some(unit) = self.units.get(id) else { continue };
            let before = unit.project(self.pace());
            let mut linking = unit.clone();
            linking.link = LinkState::Running { peak };
            let after = linking.project(self.pace());
            outlook.remove(&before);
            let alone = self.units.iter().all(|(other, u)| other == id || !works(other, u));
            let nested = unit.inside.is_some();
            let fits = outlook.fits(&after, self.usable());
            let one_by_one = another && self.processors.are_thrashing();
            if nested || alone || fits && !unit.alone && !one_by_one {
                another = true;
                outlook.add(&after);
                self.units.with(id, |unit| unit.link = LinkState::Running { peak });
                effects.push(Effect::AdmitLink(id));
            } else {
                outlook.add(&before);
            }
        }
    }

    fn resume(&mut self, now: Millis, outlook: &mut Outlook, effects: &mut Vec<Effect>) {
        let stuck = now - self.anchor_progress.1 >= ANCHOR_STUCK;
        let mut stopped: Vec<(Millis, UnitId)> = self
            .units
            .iter()
            .filter(|(_, unit)| unit.state == RunState::Suspended)
            .map(|(id, unit)| (unit.admitted, id))
            .collect();
        stopped.sort_unstable();
        for (_, id) in stopped {
            let Some(unit) = self.units.get(id) else { continue };
            let (held, ahead) = (unit.held(), unit.project(self.pace()));
            let rested = now - unit.since >= SUSPENDED_AT_LEAST;
            outlook.remove(&held);
            let nothing_runs = !self.something_goes_on();
            let fits = || self.has_place(self.active()) && outlook.fits(&ahead, self.usable());
            if nothing_runs || (rested && (stuck || fits())) {
                self.take_place(self.active(), now);
                outlook.add(&ahead);
                self.units.with(id, |unit| effects.extend(unit.resume(now, id)));
                if stuck {
                    self.anchor_progress.1 = now;
                    return;
                }
            } else {
                outlook.add(&held);
            }
        }
    }

    /// What waits again inside another unit, because somebody else has killed it: its ancestor waits for it, so
    /// it never queues, and what it is to be alone without is only what goes on by itself. Says whether one
    /// is left waiting: then nothing else starts.
    fn admit_nested(
        &mut self,
        now: Millis,
        outlook: &mut Outlook,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let nested = |id: &UnitId| self.units.get(*id).is_some_and(|unit| unit.inside.is_some());
        let queue: Vec<UnitId> = self.waiting().filter(nested).collect();
        let mut left = false;
        for id in queue {
            let Some(unit) = self.units.get(id) else { continue };
            let stopped = self.units.ancestors(id).any(|(_, it)| it.state == RunState::Suspended);
            if unit.insists(now) && (stopped || self.something_goes_on()) {
                left = true;
                continue;
            }
            outlook.add(&unit.project(self.pace()));
            self.units.with(id, |unit| effects.push(unit.admit(now, id, false)));
        }
        left
    }

    /// Something runs, and not only for one inside it to be let in.
    fn something_goes_on(&self) -> bool {
        let held_up = self.units.held_up();
        let runs = |unit: &Unit| unit.state == RunState::Running;
        self.units.iter().any(|(id, unit)| {
            runs(unit)
                && !held_up.contains(&id)
                && self.units.ancestors(id).all(|(_, outer)| runs(outer))
        })
    }

    fn admit_queue(&mut self, now: Millis, outlook: &mut Outlook, effects: &mut Vec<Effect>) {
        self.short = self.admit_nested(now, outlook, effects);
        if self.short || self.somebody_is_alone() {
            return;
        }
        let mut queue: Vec<UnitId> = self.waiting().collect();
        queue.sort_by_cached_key(|id| self.rank(*id));
        let mut active = self.active();
        let mut started = self.units.iter().any(|(_, unit)| unit.state != RunState::Waiting);
        let mut head: Option<(UnitId, Projection, Option<Shadow>)> = None;
        let mut overtook = 0;
        let links_keep_up = self.links_keep_up();
        for id in queue {
            let Some(unit) = self.units.get(id) else { continue };
            if unit.links && !links_keep_up {
                self.short = true;
                continue;
            }
            let own = unit.project(self.pace());
            let (alone, retryable) = (unit.insists(now), unit.retryable);
            let room = match &head {
                _ if !started => true,
                _ if !self.has_place(active) => return,
                _ if alone || !outlook.fits(&own, self.usable()) => false,
                Some((first, ahead, shadow)) => match (self.is_patient(*first, now), shadow) {
                    (patient, Some(shadow)) => {
                        outlook.keeps(&own, ahead, *shadow, self.usable(), patient)
                    }
                    // When the head can start is unknown: what runs has outlived its forecast.
                    (patient, None) => patient,
                },
                None => true,
            };
            if room {
                let lone = !started && unit.known_need() + self.rest > self.line;
                if lone && self.refuses(id, effects) {
                    continue;
                }
                outlook.add(&own);
                self.take_place(active, now);
                active += 1;
                started = true;
                overtook += u32::from(head.is_some());
                // What stands between us and the compiler (doctests, a user's wrapper) would inherit the settings.
                let lean = retryable && self.crosses_alone(&own);
                self.units.with(id, |unit| effects.push(unit.admit(now, id, lean)));
            } else if head.is_none() {
                self.short = true;
                // Nothing starts before one that must be alone, or that was overtaken enough.
                if alone || self.overtaken(id) {
                    return;
                }
                head = Some((id, own, outlook.first_fit(&own, self.usable())));
                self.units.with(id, |unit| _ = unit.head_since.get_or_insert(now));
            }
            if alone {
                return;
            }
        }
        if let Some((first, _, _)) = head {
            self.units.with(first, |unit| unit.overtaken += overtook);
        }
    }

    /// With nothing beside it but what belongs to no unit, `own` is still expected to cross the line. What is
    /// remembered may be of a lean run, which holds less.
    fn crosses_alone(&self, own: &Projection) -> bool {
        Bytes(own.peak() as u64).scale(1.0 + LEAN_SAVES) + self.rest > self.usable()
    }

    /// A compiler that waits for its linker frees its processor, but not its memory: another one like it
    /// would only come to wait beside it, and fill what the linkers read their inputs into.
    fn links_keep_up(&self) -> bool {
        let waits = |unit: &Unit| matches!(unit.link, LinkState::Waiting { .. });
        let waiting = self.units.iter().filter(|(_, unit)| waits(unit)).count();
        waiting < self.config.cores as usize
    }

    /// Units that use a processor.
    pub(super) fn active(&self) -> usize {
        self.units.iter().filter(|(_, unit)| unit.uses_processor()).count()
    }

    /// A processor is free for one more unit beside the `active` ones.
    fn has_place(&self, active: usize) -> bool {
        active < self.processors.places(active, &self.config)
    }

    /// One more unit is about to run.
    fn take_place(&mut self, active: usize, now: Millis) {
        if active >= self.config.cores as usize {
            self.processors.started_beyond(now);
        }
    }

    fn waiting(&self) -> impl Iterator<Item = UnitId> {
        self.units.iter().filter(|(_, unit)| unit.state == RunState::Waiting).map(|(id, _)| id)
    }

    /// Smallest first: a unit that must be alone or was overtaken too often, then the longest path to
    /// the end of the build (its own work where the graph is not known), then Cargo's order.
    fn rank(&self, id: UnitId) -> (bool, Reverse<Millis>, UnitId) {
        let unit = self.units.get(id);
        let length = unit.map_or(Millis::ZERO, |unit| {
            unit.forecast.tail.unwrap_or_else(|| unit.forecast.curve.cpu())
        });
        let urgent = self.overtaken(id) || unit.is_some_and(|unit| unit.alone);
        (!urgent, Reverse(length), id)
    }

    /// The head of the queue lets others pass that should be gone before it can start. Expectations of
    /// time are often wrong, so it does for a while only: then only what fits beside it may pass.
    fn is_patient(&self, head: UnitId, now: Millis) -> bool {
        self.units.get(head).is_none_or(|unit| {
            let patience = unit.forecast.curve.cpu().scale(PATIENCE).max(PATIENCE_AT_LEAST);
            unit.head_since.is_none_or(|since| now - since < patience)
        })
    }

    fn overtaken(&self, id: UnitId) -> bool {
        self.units.get(id).is_some_and(|unit| unit.overtaken >= OVERTAKEN_AT_MOST)
    }

    fn somebody_is_alone(&self) -> bool {
        self.units.iter().any(|(_, unit)| unit.alone && unit.state != RunState::Waiting)
    }

    /// Under `--strict` a unit that is known to be above the line is refused before it runs.
    fn refuses(&mut self, id: UnitId, effects: &mut Vec<Effect>) -> bool {
        let Some(unit) = self.units.get(id) else { return false };
        if self.config.strict {
            effects.push(Effect::Refuse { unit: id, needs: unit.known_need() + self.rest });
            self.fail(id);
            self.units.remove(id);
        }
        self.config.strict
    }
}
