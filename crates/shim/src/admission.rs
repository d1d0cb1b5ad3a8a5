//! The governor's answer to a registration, for what is not a compiler: a test, a tool.

use plimsoll_core::diet::Diet;
use plimsoll_proto::ToShim;

use crate::connection::{Connection, Received};
use crate::ending::Ending;
use crate::{diagnostic, orphan};

/// What is to be done.
pub(crate) enum Answer {
    /// It runs; `again` where it is lost to somebody else, and going so far to need less.
    Run { again: bool, diet: Diet },
    /// Nobody governs it (any more).
    Alone,
    /// It is not to run.
    End(Ending),
}

/// Waits for it.
pub(crate) fn answer(governor: &mut Connection) -> Answer {
    match governor.wait() {
        Received::Message(ToShim::Admit { again, diet, .. }, _) => Answer::Run { again, diet },
        Received::Message(ToShim::Refuse { text }, _) => {
            diagnostic::plain(&text);
            Answer::End(Ending::FAILED)
        }
        // The governor has killed what we took for lost: its word comes late.
        Received::Message(ToShim::Retry, _) => answer(governor),
        Received::Message(ToShim::Leave | ToShim::Abort, _) => Answer::End(Ending::FAILED),
        Received::Message(ToShim::Ungoverned { .. } | ToShim::Pong, _) | Received::Gone => {
            Answer::Alone
        }
        Received::Silent(text) => {
            orphan::say(text.as_deref());
            Answer::Alone
        }
    }
}
