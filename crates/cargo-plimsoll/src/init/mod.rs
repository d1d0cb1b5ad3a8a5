//! `cargo plimsoll init`: settings of a workspace that make its builds smaller, with or without Plimsoll.
//!
//! [`workspace`] is what is looked at, [`figures`] what recorded builds know, [`plan`] decides without reading or
//! writing anything, [`edit`] makes texts of it, and `plimsoll_cargo::mark` is how a written line says that it was, so that it can
//! be taken back.

pub(crate) mod edit;
pub(crate) mod figures;
pub(crate) mod plan;
pub(crate) mod scripts;
pub(crate) mod workspace;
