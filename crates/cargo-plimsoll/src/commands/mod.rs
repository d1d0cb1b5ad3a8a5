//! Plimsoll's own commands, one file each. Each answers on stdout and changes nothing.

pub mod history;
pub mod report;
pub mod settings;
mod table;
pub mod top;
