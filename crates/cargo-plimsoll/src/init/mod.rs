//! `cargo plimsoll init`: settings of a workspace that make its builds smaller, with or without Plimsoll.
//!
//! [`workspace`] is what is looked at, [`figures`] what recorded builds know, [`plan`] decides without reading or
//! writing anything, [`edit`] makes texts of it, and [`mark`] is how a written line says that it was, so that it can
//! be taken back.

#[cfg(target_os = "linux")]
pub(crate) mod edit;
#[cfg(target_os = "linux")]
pub(crate) mod figures;
pub(crate) mod mark;
#[cfg(target_os = "linux")]
pub(crate) mod plan;
#[cfg(target_os = "linux")]
pub(crate) mod scripts;
#[cfg(target_os = "linux")]
pub(crate) mod workspace;
