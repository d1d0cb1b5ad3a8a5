//! The records of all units, of those that run and of those that have ended in a build that goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use plimsoll_core::invocation::UnitKind;
use plimsoll_core::{BuildNo, Millis, UnitId};

use crate::connection::Peer;
use crate::unit_record::{Run, UnitRecord};

/// All of them, by number.
#[derive(Debug)]
pub(crate) struct UnitRecords {
    records: BTreeMap<UnitId, UnitRecord>,
    /// Those that have not finished: what is asked of them at each measurement hangs on what runs, and not
    /// on how long a build is.
    unfinished: BTreeSet<UnitId>,
    next: u32,
}

impl UnitRecords {
    /// None yet. The first number of an account's governor is not one that a governor before it has given, so that
    /// whoever has heard of both mixes none up.
    pub(crate) fn new(of_account: bool) -> Self {
        let next = if of_account { first_of_account() } else { 1 };
        Self { records: BTreeMap::new(), unfinished: BTreeSet::new(), next }
    }

    /// A number for a new unit.
    pub(crate) fn number(&mut self) -> UnitId {
        let unit = UnitId(self.next);
        self.next += 1;
        unit
    }

    pub(crate) fn insert(&mut self, unit: UnitId, record: UnitRecord) {
        self.records.insert(unit, record);
        self.unfinished.insert(unit);
    }

    pub(crate) fn get(&self, unit: UnitId) -> Option<&UnitRecord> {
        self.records.get(&unit)
    }

    pub(crate) fn get_mut(&mut self, unit: UnitId) -> Option<&mut UnitRecord> {
        self.records.get_mut(&unit)
    }

    /// The build that the unit belongs to.
    pub(crate) fn build_of(&self, unit: UnitId) -> Option<BuildNo> {
        self.get(unit).map(UnitRecord::build)
    }

    /// The unit has ended. Says how its run was, where it was admitted.
    pub(crate) fn finish(&mut self, unit: UnitId, now: Millis) -> Option<Run> {
        self.unfinished.remove(&unit);
        self.records.get_mut(&unit)?.finish(now)
    }

    /// The units of a build, in the order in which they came.
    pub(crate) fn of_build(
        &self,
        build: BuildNo,
    ) -> impl DoubleEndedIterator<Item = (UnitId, &UnitRecord)> + Clone {
        self.records.iter().filter(move |(_, it)| it.build() == build).map(|(id, it)| (*id, it))
    }

    /// The units of a build that have not ended.
    pub(crate) fn live(&self, build: BuildNo) -> Vec<UnitId> {
        let is_of_it = |unit: &UnitId| self.build_of(*unit) == Some(build);
        self.unfinished.iter().copied().filter(is_of_it).collect()
    }

    /// What runs and has no shim to say that it ended.
    pub(crate) fn unwatched(&self) -> impl Iterator<Item = (UnitId, &UnitRecord)> {
        let running = self.unfinished.iter().filter_map(|unit| Some((*unit, self.get(*unit)?)));
        running.filter(|(_, record)| record.is_unwatched())
    }

    /// The builds in which build scripts or commands run, as far as is known: what they start takes job slots from
    /// Cargo's pipe.
    pub(crate) fn builds_with_scripts(&self) -> BTreeSet<BuildNo> {
        let scripts = self.unwatched().filter(|(_, record)| record.kind() != UnitKind::TestRun);
        scripts.map(|(_, record)| record.build()).collect()
    }

    /// All units of a build are told to end.
    pub(crate) fn dismiss(&mut self, build: BuildNo) {
        self.records.values_mut().filter(|it| it.build() == build).for_each(UnitRecord::dismiss);
    }

    /// A build is over.
    pub(crate) fn forget(&mut self, build: BuildNo) {
        self.records.retain(|_, record| record.build() != build);
        self.unfinished.retain(|unit| self.records.contains_key(unit));
    }

    /// Whether a peer is a shim or link shim of the build.
    pub(crate) fn is_of(&self, peer: Peer, build: BuildNo) -> bool {
        match peer {
            Peer::Shim(unit) | Peer::Linker(unit) => self.build_of(unit) == Some(build),
            Peer::Unknown | Peer::Driver(_) | Peer::Done => false,
        }
    }
}

/// A second each for 1,024 units, and the time wraps after twelve days.
fn first_of_account() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ((now.as_secs() as u32 & 0xf_ffff) << 10) | 1
}
