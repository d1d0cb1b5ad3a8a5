//! What fits: under the machine's budget, under those of the cgroup limits around the build that asks, and under its own.
//!
//! All are asked the same question, of an outlook each. A build without a cgroup limit and without a line of its own is
//! bounded by the machine's alone.

use std::collections::BTreeSet;

use super::outlook::{Outlook, Projection};
use crate::ids::{BuildNo, CgroupNo};
use crate::measure::Bytes;

/// Below this share of a budget no token or place is withheld for memory's sake: there is room for every
/// module that a compiler could have in flight.
const ROOMY: f64 = 0.9;

/// The distance kept from the budget: what processes may gain between a measurement and its effect.
pub(super) fn guard(budget: Bytes) -> Bytes {
    budget.scale(0.012).max(Bytes::mib(6)).min(Bytes::mib(96))
}

/// Whom a budget bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// All builds.
    Machine,
    /// Those in a cgroup with a limit.
    Cgroup(CgroupNo),
    /// One that has a line of its own.
    Build(BuildNo),
}

/// The memory ahead of one scope.
#[derive(Clone, Debug)]
pub(super) struct Ahead {
    pub(super) scope: Scope,
    pub(super) outlook: Outlook,
    budget: Bytes,
    /// Its budget, less what a measurement may be late by.
    pub(super) usable: Bytes,
    /// Whom it bounds; all, where nobody is named.
    builds: Option<BTreeSet<BuildNo>>,
}

impl Ahead {
    pub(super) fn new(
        scope: Scope,
        outlook: Outlook,
        budget: Bytes,
        builds: Option<BTreeSet<BuildNo>>,
    ) -> Self {
        Self { scope, outlook, budget, usable: budget - guard(budget), builds }
    }

    pub(super) fn covers(&self, build: BuildNo) -> bool {
        self.builds.as_ref().is_none_or(|builds| builds.contains(&build))
    }

    /// There is room for what more threads would hold.
    fn is_roomy(&self) -> bool {
        self.outlook.soon() <= self.budget.scale(ROOMY)
    }

    /// What more threads may hold.
    fn left(&self) -> Bytes {
        if self.is_roomy() { self.budget - self.outlook.highest() } else { Bytes::ZERO }
    }
}

/// The memory ahead, of the machine, of each cgroup limit, and of each build with a line of its own.
#[derive(Clone, Debug)]
pub(super) struct Room {
    scopes: Vec<Ahead>,
}

impl Room {
    pub(super) fn new(scopes: Vec<Ahead>) -> Self {
        Self { scopes }
    }

    /// Those that bound a unit of `build`.
    pub(super) fn bounds(&self, build: BuildNo) -> impl Iterator<Item = &Ahead> {
        self.scopes.iter().filter(move |ahead| ahead.covers(build))
    }

    pub(super) fn add(&mut self, build: BuildNo, unit: &Projection) {
        for ahead in self.scopes.iter_mut().filter(|ahead| ahead.covers(build)) {
            ahead.outlook.add(unit);
        }
    }

    pub(super) fn remove(&mut self, build: BuildNo, unit: &Projection) {
        for ahead in self.scopes.iter_mut().filter(|ahead| ahead.covers(build)) {
            ahead.outlook.remove(unit);
        }
    }

    /// In each scope, what more threads may hold.
    pub(super) fn left(&self) -> Vec<(&Ahead, Bytes)> {
        self.scopes.iter().map(|ahead| (ahead, ahead.left())).collect()
    }

    /// There is room for what more threads of `build` would hold.
    pub(super) fn is_roomy(&self, build: BuildNo) -> bool {
        self.bounds(build).all(Ahead::is_roomy)
    }

    /// With a unit of `build` added, every budget that bounds it holds at every future moment.
    pub(super) fn fits(&self, build: BuildNo, unit: &Projection) -> bool {
        self.bounds(build).all(|ahead| ahead.outlook.fits(unit, ahead.usable))
    }
}
