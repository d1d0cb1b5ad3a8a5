//! `cargo plimsoll clean`: what of a target directory no build of the workspace can use again.
//!
//! [`place`] finds the directories and what is true of the workspace now, [`layout`] knows where Cargo keeps a unit's
//! files, [`units`] reads what it keeps about each unit (its fingerprints), [`stale`] decides without reading or
//! writing anything, and [`files`] finds and removes what belongs to a unit.
//!
//! Invariant: what the next build would take for fresh stays. Where that cannot be told, it stays too.

pub(crate) mod files;
pub(crate) mod layout;
pub(crate) mod place;
pub(crate) mod stale;
pub(crate) mod units;
