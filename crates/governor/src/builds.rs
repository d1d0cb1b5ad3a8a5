//! All builds that this governor sees to, by number.

use std::collections::BTreeMap;
use std::path::Path;

use plimsoll_core::budget::HeldMemory;
use plimsoll_core::event::Event;
use plimsoll_core::{BuildNo, Bytes, Millis};
use plimsoll_host::{CgroupDir, Usage};

use crate::build::GovernedBuild;
use crate::connections::Connections;
use crate::options::Observer;

/// Log files are written this often: often enough for `report` on a build whose driver was killed, seldom enough to
/// cost nothing.
const FLUSH_EVERY: Millis = Millis(300);

/// The builds.
pub(crate) struct Builds {
    builds: BTreeMap<BuildNo, GovernedBuild>,
    next: u32,
    /// What all of them hold, as last measured.
    held: HeldMemory,
    flushed: Millis,
}

/// What belongs to no unit, as last measured.
pub(crate) struct BesideUnits {
    /// Of everything.
    pub(crate) all: Bytes,
    /// Each build's part of it.
    pub(crate) builds: Vec<(BuildNo, Bytes)>,
}

impl Builds {
    pub(crate) fn new() -> Self {
        Self {
            builds: BTreeMap::new(),
            next: 1,
            held: HeldMemory::default(),
            flushed: Millis::ZERO,
        }
    }

    /// The number that the next build gets.
    pub(crate) fn next_number(&self) -> BuildNo {
        BuildNo(self.next)
    }

    /// A build has come, under the number that was the next.
    pub(crate) fn insert(&mut self, build: GovernedBuild) {
        self.builds.insert(BuildNo(self.next), build);
        self.next += 1;
    }

    pub(crate) fn remove(&mut self, no: BuildNo) -> Option<GovernedBuild> {
        self.builds.remove(&no)
    }

    pub(crate) fn get(&self, no: BuildNo) -> Option<&GovernedBuild> {
        self.builds.get(&no)
    }

    pub(crate) fn get_mut(&mut self, no: BuildNo) -> Option<&mut GovernedBuild> {
        self.builds.get_mut(&no)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (BuildNo, &GovernedBuild)> {
        self.builds.iter().map(|(no, build)| (*no, build))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (BuildNo, &mut GovernedBuild)> {
        self.builds.iter_mut().map(|(no, build)| (*no, build))
    }

    pub(crate) fn numbers(&self) -> Vec<BuildNo> {
        self.builds.keys().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.builds.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.builds.len()
    }

    /// The build that goes by this name in the world.
    pub(crate) fn named(&self, name: &str) -> Option<BuildNo> {
        let mut builds = self.iter();
        builds.find(|(_, build)| build.log().header().build.0 == name).map(|(no, _)| no)
    }

    /// The build without a driver whose root is this process.
    pub(crate) fn rooted_at(&self, pid: u32) -> Option<BuildNo> {
        let is_it = |build: &GovernedBuild| {
            build.external().is_some_and(|it| it.pid() == pid && it.connection().is_none())
        };
        self.iter().find(|(_, build)| is_it(build)).map(|(no, _)| no)
    }

    /// The cgroups that contain each build that is not below this process.
    pub(crate) fn cgroups(&self) -> Vec<(BuildNo, Vec<CgroupDir>)> {
        self.iter().filter_map(|(no, it)| Some((no, it.external()?.cgroups().to_vec()))).collect()
    }

    /// Something happened in a build.
    pub(crate) fn say(&mut self, no: BuildNo, now: Millis, event: Event) {
        if let Some(build) = self.get_mut(no) {
            build.say(now, event);
        }
    }

    /// Something happened that concerns every build.
    pub(crate) fn say_to_all(&mut self, now: Millis, event: &Event) {
        self.builds.values_mut().for_each(|build| build.say(now, event.clone()));
    }

    /// Takes a measurement: what the units of each build hold (`of_units`), everything below this process (`total`),
    /// and what belongs to a build from elsewhere and to none of its units (`beside`).
    pub(crate) fn measure(
        &mut self,
        of_units: &BTreeMap<BuildNo, HeldMemory>,
        total: Usage,
        beside: impl Fn(BuildNo) -> Usage,
    ) -> BesideUnits {
        let all_units: Bytes = of_units.values().map(|it| it.memory).sum();
        let mut memory = total.memory;
        let mut builds = Vec::with_capacity(self.builds.len());
        for (no, build) in &mut self.builds {
            let own = of_units.get(no).copied().unwrap_or_default();
            let beside = match build.external() {
                Some(_) => beside(*no),
                // The only build of its driver: what is below that belongs to it.
                None => Usage {
                    memory: total.memory - own.memory,
                    swapped: total.swapped - own.swapped,
                    ..total
                },
            };
            build.measure(own, beside);
            builds.push((*no, build.rest()));
            memory += build.in_files();
        }
        self.held = HeldMemory { memory, swapped: total.swapped };
        BesideUnits { all: memory - all_units, builds }
    }

    /// What all of them hold, as last measured.
    pub(crate) fn held(&self) -> HeldMemory {
        self.held
    }

    /// Passes on what happened, to the observer, to the drivers and to the log files in `directory`.
    pub(crate) fn pass_on(
        &mut self,
        now: Millis,
        directory: &Path,
        observer: &mut dyn Observer,
        connections: &mut Connections,
    ) {
        let flush = now - self.flushed >= FLUSH_EVERY;
        if flush {
            self.flushed = now;
        }
        for (no, build) in &mut self.builds {
            let driver = build.driver().and_then(|id| connections.get_mut(id));
            build.log_mut().pass_on(now, *no, directory, flush, observer, driver);
        }
    }
}
