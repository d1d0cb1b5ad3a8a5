//! What fits: under the machine's line, and under the own line of the build that asks.
//!
//! Both are asked the same question, of an outlook each. A build without a line of its own is bounded by the
//! machine's alone.

use super::outlook::{Outlook, Projection};
use super::pressure::guard;
use crate::ids::BuildNo;
use crate::measure::Bytes;

/// Whom a line bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All builds.
    Machine,
    /// One that has a line of its own.
    Build(BuildNo),
}

/// The memory ahead of one scope.
#[derive(Clone, Debug)]
pub(super) struct Ahead {
    pub(super) scope: Scope,
    pub(super) outlook: Outlook,
    /// Its line, less what a measurement may be late by.
    pub(super) usable: Bytes,
}

impl Ahead {
    pub(super) fn new(scope: Scope, outlook: Outlook, line: Bytes) -> Self {
        Self { scope, outlook, usable: line - guard(line) }
    }

    fn covers(&self, build: BuildNo) -> bool {
        match self.scope {
            Scope::Machine => true,
            Scope::Build(no) => no == build,
        }
    }
}

/// The memory ahead, of the machine (first) and of each build with a line of its own.
#[derive(Clone, Debug)]
pub(super) struct Room {
    scopes: Vec<Ahead>,
}

impl Room {
    /// The machine's comes first.
    pub(super) fn new(scopes: Vec<Ahead>) -> Self {
        Self { scopes }
    }

    /// All memory ahead.
    pub(super) fn machine(&self) -> &Outlook {
        &self.scopes[0].outlook
    }

    /// Those that bound a unit of `build`: the machine, and the build where it has a line.
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

    /// With a unit of `build` added, every line that bounds it holds at every future moment.
    pub(super) fn fits(&self, build: BuildNo, unit: &Projection) -> bool {
        self.bounds(build).all(|ahead| ahead.outlook.fits(unit, ahead.usable))
    }
}
