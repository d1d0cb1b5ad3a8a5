//! Plimsoll's own commands, one file each. Each answers on stdout; only `enable` and `disable` change anything.

pub mod disable;
pub mod enable;
pub mod history;
pub mod report;
pub mod settings;
pub mod status;
mod table;
pub mod top;
