//! What Plimsoll keeps on disk between builds: the history of units, in SQLite, and the event logs.
//!
//! [`History`] remembers what each unit needed (tree memory over processor time, wall time, its linker's
//! peak, its bottom level), so that the next build knows before it starts. [`EventLog`] writes one build's
//! events, a line each, for `top` and `report`.
//!
//! Both are conveniences of a build, never a condition for it: a full disk, a read-only home, a locked or
//! damaged file cost a warning and what would have been remembered, nothing else.
//!
//! Compatibility: the database's schema is numbered by `PRAGMA user_version` and its migrations only
//! append; a database of a newer Plimsoll is left untouched. The log's version is in its header.
//!
//! What is deliberately not here: combining observations into a forecast (core's work), command lines,
//! values of environment variables and absolute paths, which are never stored.

mod error;
mod logs;
mod open;
mod record;
mod related;
mod rows;
mod schema;
mod store;

pub use error::HistoryError;
pub use logs::{EventLog, KEPT_LOGS, LogError, read, read_header, recorded};
pub use rows::Row;
pub use store::{History, Remembered};
