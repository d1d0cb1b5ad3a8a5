//! The doctor's three questions: `setup` (is this machine and workspace set up well?), `killed` and `log` (what killed a build?),
//! `slow` (why was it slow?). Each looks at facts, and decides by a part that reads nothing.

pub(crate) mod killed;
pub(crate) mod log;
pub(crate) mod setup;
pub(crate) mod slow;
