//! The governor's answer to a registration, for what is not a compiler: a test, a tool.

use plimsoll_core::oversized::Shrink;
use plimsoll_proto::ToShim;

use crate::connection::{Connection, Heard};
use crate::ending::Ending;
use crate::{diagnostic, orphan};

/// What is to be done.
pub(crate) enum Answer {
    /// It runs; `again` where it is lost to somebody else, and going so far to need less.
    Run { again: bool, shrink: Shrink },
    /// Nobody governs it (any more).
    Alone,
    /// It is not to run.
    End(Ending),
}

/// Waits for it.
pub(crate) fn answer(governor: &mut Connection) -> Answer {
    match governor.wait() {
        Heard::Message(ToShim::Admit { again, shrink, .. }, _) => Answer::Run { again, shrink },
        Heard::Message(ToShim::Refuse { text }, _) => {
            diagnostic::plain(&text);
            Answer::End(Ending::FAILED)
        }
        // The governor has killed what we took for lost: its word comes late.
        Heard::Message(ToShim::Retry, _) => answer(governor),
        Heard::Message(ToShim::Leave | ToShim::Abort, _) => Answer::End(Ending::FAILED),
        Heard::Message(ToShim::Ungoverned { .. } | ToShim::Pong, _) | Heard::Gone => Answer::Alone,
        Heard::Silent(text) => {
            orphan::say(text.as_deref());
            Answer::Alone
        }
    }
}
