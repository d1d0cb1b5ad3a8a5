//! What `cargo plimsoll init` proposes: settings of a workspace that make its builds smaller, with or without Plimsoll.
//!
//! [`workspace`] is what is looked at, [`figures`] what recorded builds know, [`plan`] decides without reading or
//! writing anything, [`edit`] makes texts of it, and `plimsoll_cargo::mark` is how a written line says that it was, so that it can
//! be taken back. [`scripts`] are the guide's, written and taken back in the same way.
//!
//! What it deliberately does not do: print, or ask anybody. It proposes, makes texts and writes files; its callers say so.

pub mod edit;
pub mod figures;
pub mod plan;
mod recipe;
pub mod scripts;
pub mod workspace;

pub use recipe::recipe;
