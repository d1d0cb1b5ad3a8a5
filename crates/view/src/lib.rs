//! Plimsoll's views of the event stream: status line, summary, `top`, report.
//!
//! Events go into a [`BuildState`], one [`BuildState::apply`] each, and every text is a function of that
//! state: what a person sees while a build runs is what a log shows afterwards. An event that refers to
//! a unit that was never registered, or that this version does not know, changes nothing.
//!
//! Architecture invariant: this crate is pure. It reads no clock (the moment is an argument or in the
//! records), no file, no environment, knows no terminal and writes no colors; the shell does. (A frame of [`Live`] is a table of cells in memory.)

mod blocks;
mod cells;
mod date;
mod entry;
mod labels;
mod live;
mod outline;
mod report;
mod snapshot;
mod state;
mod status;
mod summary;
mod table;
mod timeline;
mod top;
mod wording;
mod wrap;

pub use blocks::{Block, broken};
pub use date::{ago, utc};
pub use entry::{Entry, Tone, WORD};
pub use labels::{Named, labels};
pub use live::{Key, Live, Wish};
pub use outline::{Outline, list, list_json};
pub use report::{report, report_text};
pub use snapshot::{Silent, Snapshot, UnitSnapshot};
pub use state::{BuildState, Counts, Decision, Done, Status, Unit};
pub use status::{paused_line, status_line, waiting_line, word_column};
pub use summary::summary;
pub use table::{Align, table};
pub use top::top_json;
pub use wording::{count, names, percent};
pub use wrap::wrapped;
