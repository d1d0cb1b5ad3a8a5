//! What only the governor of an account does: look at what nobody tells it, and hand over to a newer one.

use plimsoll_core::Millis;

/// Ends, programs and locks are looked at this often.
const LOOK_EVERY: Millis = Millis(250);

/// How far it has come with that.
#[derive(Debug, Default)]
pub(crate) struct AccountDuties {
    /// A newer governor has taken over.
    draining: bool,
    /// When nobody's news was looked at last.
    looked: Millis,
}

impl AccountDuties {
    /// A newer governor takes over: no build is taken any more.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether to look around now; at once where somebody is about to leave.
    pub(crate) fn looks(&mut self, now: Millis, somebody_leaves: bool) -> bool {
        let due = somebody_leaves || now - self.looked >= LOOK_EVERY;
        if due {
            self.looked = now;
        }
        due
    }
}
