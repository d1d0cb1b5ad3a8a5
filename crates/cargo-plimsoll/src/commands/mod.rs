//! Plimsoll's own commands, one file each. Each answers on stdout; only `enable`, `disable`, `init`, `clean` and `worker` change anything.

pub mod bench;
#[cfg(target_os = "linux")]
pub mod clean;
pub mod disable;
#[cfg(target_os = "linux")]
pub mod doctor;
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
#[cfg(target_os = "linux")]
pub mod worker;
