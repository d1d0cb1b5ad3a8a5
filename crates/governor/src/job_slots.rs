//! Places on Cargo's pipe: put there, taken back, and minted again where a killed holder took
//! one along.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_core::{BuildNo, Millis};

use crate::builds::Build;
use crate::connection::Peer;
use crate::governor::Governor;

/// A place counts as lost when it has been missing for so long: between two looks a place may be on its way
/// from one holder to the next.
const MISSING_FOR: Millis = Millis(2000);

impl Governor {
    /// One that is wanted back may be in use, and is taken when it comes back to the pipe.
    pub(crate) fn set_job_slots(&mut self, no: BuildNo, aim: u32) {
        let Some(build) = self.builds.get_mut(&no) else { return };
        let Some(jobserver) = &mut build.options.jobserver else { return };
        if aim > build.job_slots {
            let more = aim - build.job_slots;
            let forgiven = more.min(build.owed);
            build.owed -= forgiven;
            let _ = jobserver.lend(more - forgiven);
        } else {
            build.owed += build.job_slots - aim;
        }
        build.job_slots = aim;
        build.collect_job_slots();
    }

    /// Takes back what is owed and has come back, and audits the pipes: a make or a compiler of a build script
    /// that was killed has taken its places along. While no build script runs, only Cargo holds places: one for
    /// each unit that it has started, and one that it may have asked for ahead. What is missing beyond that for
    /// a while is minted again.
    pub(crate) fn audit_job_slots(&mut self) {
        let now = self.now();
        let mut started: BTreeMap<BuildNo, u32> = BTreeMap::new();
        for connection in self.connections.values() {
            if let Peer::Shim(unit) = connection.peer
                && let Some(entry) = self.entries.get(&unit)
            {
                *started.entry(entry.build).or_default() += 1;
            }
        }
        let scripts: BTreeSet<BuildNo> =
            self.scripts().filter_map(|unit| Some(self.entries.get(&unit)?.build)).collect();
        for (no, build) in &mut self.builds {
            build.collect_job_slots();
            let started = started.get(no).copied().unwrap_or_default();
            build.mint_lost_job_slots(now, started, scripts.contains(no));
        }
    }
}

impl Build {
    fn collect_job_slots(&mut self) {
        let Some(jobserver) = &mut self.options.jobserver else { return };
        while self.owed > 0 && matches!(jobserver.take_back(), Ok(true)) {
            self.owed -= 1;
        }
        // More than there are: a governor before this one had lent them, and was killed.
        let surplus = jobserver.unread().saturating_sub(self.job_slots + self.owed);
        for _ in 0..surplus {
            let _ = jobserver.take_back();
        }
    }

    fn mint_lost_job_slots(&mut self, now: Millis, started: u32, script_runs: bool) {
        let Some(jobserver) = &mut self.options.jobserver else { return };
        let issued = self.job_slots + self.owed;
        let held = started.saturating_add(1);
        let missing = issued.saturating_sub(jobserver.unread()).saturating_sub(held);
        if missing == 0 || script_runs {
            self.missing_since = None;
        } else if now - *self.missing_since.get_or_insert(now) >= MISSING_FOR {
            let _ = jobserver.lend(missing);
            self.missing_since = None;
        }
    }
}
