//! What `cargo plimsoll bench` runs: the user's own workspace, built clean under several arms, side by side.
//!
//! [`Arm`] is what is compared, `added` with which settings, `measure` runs one build and samples everything below
//! this process, the same way for every arm, `session` runs them all, and `outcome` is the table, as text, Markdown and
//! JSON.
//!
//! What it deliberately does not do: read settings, or print. It needs Linux; of other systems only what the command line
//! names is known.

mod arm;

#[cfg(target_os = "linux")]
mod added;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod outcome;
#[cfg(target_os = "linux")]
mod session;

pub use arm::{Arm, BadWhat, What};
#[cfg(target_os = "linux")]
pub use outcome::{Outcome, Run};
#[cfg(target_os = "linux")]
pub use session::{Request, Said, Session};
