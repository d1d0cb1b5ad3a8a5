//! What `cargo plimsoll clean` removes: what of a target directory no build of the workspace can use again.
//!
//! [`place`] finds the directories and what is true of the workspace now, [`layout`] knows where Cargo keeps a unit's
//! files, [`toolchains`] the compilers that are installed, [`units`] reads what it keeps about each unit (its fingerprints), `source` says where its source is, [`stale`] decides without reading or
//! writing anything, and [`files`] finds and removes what belongs to a unit.
//!
//! Invariant: what the next build would take for fresh stays. Where that cannot be told, it stays too.
//!
//! What it deliberately does not do: print, ask, or decide by itself to remove what it has found; its caller does.

pub mod files;
pub mod layout;
pub mod place;
mod source;
pub mod stale;
pub mod toolchains;
pub mod units;
