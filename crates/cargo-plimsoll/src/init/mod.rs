//! `cargo plimsoll init`: settings of a workspace that make its builds smaller, with or without Plimsoll.
pub(crate) mod mark;
