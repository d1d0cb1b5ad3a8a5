//! Places on Cargo's pipe: put there, taken back, and minted again where a killed holder took
//! one along.

use plimsoll_core::Millis;

use crate::connection::Peer;
use crate::governor::Governor;

/// A place counts as lost when it has been missing for so long: between two looks a place may be on its way
/// from one holder to the next.
const MISSING_FOR: Millis = Millis(2000);

impl Governor {
    /// One that is wanted back may be in use, and is taken when it comes back to the pipe.
    pub(crate) fn set_places(&mut self, aim: u32) {
        if aim > self.places {
            let more = aim - self.places;
            let forgiven = more.min(self.owed);
            self.owed -= forgiven;
            let _ = self.options.jobserver.lend(more - forgiven);
        } else {
            self.owed += self.places - aim;
            self.collect_places();
        }
        self.places = aim;
    }

    pub(crate) fn collect_places(&mut self) {
        while self.owed > 0 && matches!(self.options.jobserver.take_back(), Ok(true)) {
            self.owed -= 1;
        }
    }

    /// Audits the pipe: a make or a compiler of a build script that was killed has taken its places along.
    /// While no build script runs, only Cargo holds places: one for each unit that it has started, and one
    /// that it may have asked for ahead. What is missing beyond that for a while is minted again.
    pub(crate) fn mint_lost_places(&mut self) {
        let now = self.now();
        let started = self.connections.values().filter(|c| matches!(c.peer, Peer::Shim(_))).count();
        let issued = self.places + self.owed;
        let held = u32::try_from(started).unwrap_or(u32::MAX).saturating_add(1);
        let unread = self.options.jobserver.unread();
        let missing = issued.saturating_sub(unread).saturating_sub(held);
        if missing == 0 || self.script_runs() {
            self.missing_since = None;
        } else if now - *self.missing_since.get_or_insert(now) >= MISSING_FOR {
            let _ = self.options.jobserver.lend(missing);
            self.missing_since = None;
        }
    }
}
