//! Plimsoll's own commands, one file each. Each answers on stdout; only `enable`, `disable` and `init` change anything.

pub mod bench;
pub mod disable;
pub mod enable;
#[cfg(target_os = "linux")]
pub mod env;
pub mod history;
pub mod init;
pub mod report;
pub mod settings;
pub mod status;
pub(crate) mod table;
pub mod top;
