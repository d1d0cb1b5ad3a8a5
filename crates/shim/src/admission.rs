//! The governor's answer to a registration, for what is not a compiler: a test, a tool.

use plimsoll_core::oversized::Shrink;
use plimsoll_proto::ToShim;

use crate::connection::{FromGovernor, GovernorConnection};
use crate::ending::ChildEnding;
use crate::{diagnostic, orphan};

/// What is to be done.
pub(crate) enum Answer {
    /// It runs; `again` where it is lost to somebody else, and going so far to need less.
    Run { again: bool, shrink: Shrink },
    /// Nobody governs it (any more).
    Alone,
    /// It is not to run.
    End(ChildEnding),
}

/// Waits for it.
pub(crate) fn answer(governor: &mut GovernorConnection) -> Answer {
    match governor.wait() {
        FromGovernor::Message(ToShim::Admit { again, shrink, .. }, _) => {
            Answer::Run { again, shrink }
        }
        FromGovernor::Message(ToShim::Refuse { text }, _) => {
            diagnostic::plain(&text);
            Answer::End(ChildEnding::FAILED)
        }
        // The governor has killed what we took for lost: its word comes late.
        FromGovernor::Message(ToShim::Retry, _) => answer(governor),
        FromGovernor::Message(ToShim::Leave | ToShim::Abort, _) => Answer::End(ChildEnding::FAILED),
        FromGovernor::Message(ToShim::Ungoverned { .. } | ToShim::Pong, _) | FromGovernor::Gone => {
            Answer::Alone
        }
        FromGovernor::Silent(text) => {
            orphan::say(text.as_deref());
            Answer::Alone
        }
    }
}
