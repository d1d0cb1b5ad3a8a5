//! Plimsoll's own commands, one file each (`doctor` is a module of its own). Each answers on stdout; only `enable`, `disable`, `uninstall`, `init`, `clean` and `worker` change anything.

pub mod bench;
pub mod clean;
pub mod disable;
pub mod enable;
pub mod env;
pub mod history;
pub mod init;
pub(crate) mod recorded;
pub mod report;
pub mod settings;
pub mod status;
pub mod top;
pub mod uninstall;
pub mod worker;
