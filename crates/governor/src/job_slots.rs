//! Job slots on the jobserver pipe of one build's Cargo: put there, taken back, and made anew where a killed process
//! took one along.

use plimsoll_core::Millis;
use plimsoll_host::Jobserver;

/// A slot counts as lost when it has been missing for so long: between two looks a slot may be on its way
/// from one holder to the next.
const MISSING_FOR: Millis = Millis(2000);

/// The slots of one build; none to see to where the pipe is not ours.
#[derive(Debug)]
pub(crate) struct JobSlots {
    pipe: Option<Jobserver>,
    /// Slots on the pipe, free and taken.
    issued: u32,
    /// Slots that should come back but were not on the pipe yet.
    owed: u32,
    /// Since when slots have been missing on the pipe.
    missing_since: Option<Millis>,
}

impl JobSlots {
    /// A pipe on which so many slots are.
    pub(crate) fn on(pipe: Option<Jobserver>, issued: u32) -> Self {
        Self { pipe, issued, owed: 0, missing_since: None }
    }

    /// A driver has brought another pipe.
    pub(crate) fn set_pipe(&mut self, pipe: Option<Jobserver>) {
        self.pipe = pipe;
    }

    pub(crate) fn pipe(&self) -> Option<&Jobserver> {
        self.pipe.as_ref()
    }

    /// Have so many slots on the pipe. One that is wanted back may be in use, and is taken when it comes back.
    pub(crate) fn set(&mut self, aim: u32) {
        let Some(pipe) = &mut self.pipe else { return };
        if aim > self.issued {
            let more = aim - self.issued;
            let forgiven = more.min(self.owed);
            self.owed -= forgiven;
            let _ = pipe.lend(more - forgiven);
        } else {
            self.owed += self.issued - aim;
        }
        self.issued = aim;
        self.collect();
    }

    /// Takes back what is owed and has come back, and makes anew what was lost: a make or a compiler of a build
    /// script that was killed has taken its slots along. While no build script runs, only Cargo holds slots: one for
    /// each of its `started` units, and one that it may have asked for ahead. What is missing beyond that for a while
    /// is lost.
    pub(crate) fn audit(&mut self, now: Millis, started: u32, script_runs: bool) {
        self.collect();
        let Some(pipe) = &mut self.pipe else { return };
        let issued = self.issued + self.owed;
        let held = started.saturating_add(1);
        let missing = issued.saturating_sub(pipe.unread()).saturating_sub(held);
        if missing == 0 || script_runs {
            self.missing_since = None;
        } else if now - *self.missing_since.get_or_insert(now) >= MISSING_FOR {
            let _ = pipe.lend(missing);
            self.missing_since = None;
        }
    }

    fn collect(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        while self.owed > 0 && matches!(pipe.take_back(), Ok(true)) {
            self.owed -= 1;
        }
        // More than there are: a governor before this one had lent them, and was killed.
        let surplus = pipe.unread().saturating_sub(self.issued + self.owed);
        for _ in 0..surplus {
            let _ = pipe.take_back();
        }
    }
}
