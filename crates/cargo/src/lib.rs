//! Cargo as Plimsoll finds it: the environment, the configuration, the subcommands and what `cargo metadata` says; and
//! the edits of Cargo's TOML files, byte for byte around what is changed.
//!
//! What it deliberately does not do: decide anything. What a value means for a build, which settings are worth writing
//! and who asks for them is its callers' business, and nothing of ours but the mark of a written line is known here.

mod config;
#[cfg(target_os = "linux")]
pub mod config_file;
mod environment;
mod jobs;
pub mod mark;
pub mod metadata;
mod subcommand;
pub mod toml_text;

pub use config::{CargoConfig, Given, Origin, Template, files};
pub use environment::Environment;
pub use jobs::{BadJobs, Jobs};
pub use subcommand::{Kind, Subcommand, expand_alias};
