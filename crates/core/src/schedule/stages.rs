//! Stages: a build that is admitted one part of its workspace after the other.
//!
//! A unit of a later stage waits as long as the build has one of an earlier stage; in all else it is like any other.
//! What Cargo will still ask for is not known here, so a stage is taken for over when nothing of it has been there,
//! and nothing new has come, for [`SETTLED`]: a unit's end brings its dependents within a few milliseconds. Nothing
//! waits for ever: the lowest stage that is there always comes. What waits for its stage takes no place from what
//! does not (`tokens.rs`), so that Cargo shows all that is ready.

use std::collections::BTreeMap;

use super::Schedule;
use super::unit::{RunState, ScheduledUnit};
use crate::ids::BuildNo;
use crate::measure::Millis;

/// Nothing of a stage was there, and nothing came, for so long: it is over. Because Cargo asks for what a unit was the last obstacle to
/// within some 10 ms of its end, on a busy machine within 100.
pub(super) const SETTLED: Millis = Millis(250);

/// Where a build stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StageStanding {
    /// Units of this stage and of those before are admitted.
    pub(super) stage: u32,
    /// Since when there is only work of later stages.
    settling: Option<Millis>,
}

impl StageStanding {
    /// A unit came: others may follow it.
    pub(super) fn stir(&mut self) {
        self.settling = None;
    }
}

impl Schedule {
    /// The stage that this build has reached; zero before the first.
    #[must_use]
    pub fn stage_of(&self, build: BuildNo) -> u32 {
        self.builds.get(build).map_or(0, |build| build.stage.stage)
    }

    /// Lets each build go on to the next stage of which there is something, where nothing is left of those before.
    pub(super) fn advance_stages(&mut self, now: Millis) {
        let mut lowest: BTreeMap<BuildNo, u32> = BTreeMap::new();
        for (_, unit) in self.units.iter() {
            // What runs a Cargo of its own is not waited for: what that compiles may be of any stage.
            if let Some(stage) = unit.stage.filter(|_| !unit.role.hosts()) {
                let seen = lowest.entry(unit.build).or_insert(stage);
                *seen = (*seen).min(stage);
            }
        }
        for (no, lowest) in lowest {
            self.builds.with(no, |build| {
                let standing = &mut build.stage;
                if lowest <= standing.stage {
                    standing.settling = None;
                    return;
                }
                let since = *standing.settling.get_or_insert(now);
                if now - since >= SETTLED {
                    *standing = StageStanding { stage: lowest, settling: None };
                }
            });
        }
    }

    /// Whether the unit waits because its stage has not come, or is not known yet. What is inside another one belongs
    /// to that one's.
    pub(super) fn awaits_stage(&self, unit: &ScheduledUnit) -> bool {
        let Some(build) = self.builds.get(unit.build).filter(|build| build.terms.staged) else {
            return false;
        };
        unit.state == RunState::Waiting
            && unit.stage.is_none_or(|stage| stage > build.stage.stage)
            && unit.inside.is_none()
    }
}
