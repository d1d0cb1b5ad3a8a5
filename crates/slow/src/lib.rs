//! Why a recorded build took as long as it did: what `cargo plimsoll doctor --slow` answers.
//!
//! [`Past`] is a build reduced to what its time was spent on, [`compare`] sets it beside earlier builds of the same
//! workspace, [`find`] judges, [`blocks`] and [`as_json`] word it.
//!
//! Architecture invariant: this crate is pure. It reads no clock, no file and no environment: records are arguments.

mod causes;
mod past;
mod rebuilt;
mod text;

pub use causes::find;
pub use past::Past;
pub use rebuilt::compare;
pub use text::{as_json, blocks};
