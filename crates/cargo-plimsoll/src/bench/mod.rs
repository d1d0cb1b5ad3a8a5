//! `cargo plimsoll bench`: the user's own workspace, built clean under several arms, side by side.
//!
//! [`arm`] is what is compared, `added` with which settings, `measure` runs one build and samples everything below
//! this process, the same way for every arm, `session` runs them all, and `outcome` is the table, as text, Markdown and
//! JSON.

pub(crate) mod added;
pub mod arm;
mod measure;
mod outcome;
pub(crate) mod session;
