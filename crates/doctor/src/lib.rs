//! What killed a build: a verdict from the build's log, as any terminal or CI shows it, or from its recorded events.
//!
//! ```text
//! bytes --Lines--> plain lines --memory, signal, other, phrases--> findings --LogReader--> Verdict <--recorded-- events
//!                        `---------unit, circumstances------^ doubt, remedy
//! ```
//! A log is read once, from beginning to end, in bounded memory: what is kept is the findings, at most one for
//! each cause, and the last statement about a unit. What is deliberately not here: any look at the machine. A log is
//! often another machine's.
//!
//! Architecture invariant: this crate is pure. It opens no file, reads no clock and no environment.

mod cause;
mod circumstances;
mod doubt;
mod finding;
mod free;
mod full;
mod lines;
mod log;
mod memory;
mod narrow;
mod other;
mod phrases;
mod plain;
mod recorded;
mod remedy;
mod shown;
mod signal;
mod text;
mod unit;
mod verdict;
mod words;

pub use cause::Cause;
pub use lines::Lines;
pub use log::LogReader;
pub use recorded::recorded;
pub use text::{blocks, recorded_blocks, text};
pub use verdict::{Certainty, Evidence, Remedy, Verdict};
