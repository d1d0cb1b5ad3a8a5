//! Where there is no governor yet (anything but Linux): the compiler is run, and that is all.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::env;

/// Runs what the arguments name and ends with its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let mut argv = std::env::args_os();
    let name = argv.next().unwrap_or_default();
    let rustdoc =
        Path::new(&name).file_stem().is_some_and(|s| s.to_string_lossy().ends_with("rustdoc"));
    let program = if rustdoc {
        Some(std::env::var_os(env::RUSTDOC).unwrap_or_else(|| OsString::from("rustdoc")))
    } else {
        argv.next()
    };
    let Some(program) = program else { return ExitCode::from(2) };
    match Command::new(&program).args(argv).status() {
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            let text = format!("error: cannot run `{}`: {error}\n", Path::new(&program).display());
            // There is nobody left to tell where even this fails.
            let _ = std::io::stderr().write_all(text.as_bytes());
            ExitCode::from(127)
        }
    }
}
