//! `cargo plimsoll bench`: this workspace under plain Cargo, the usual remedies and Plimsoll, side by side.

use std::path::Path;

use crate::cli::BenchOptions;
use crate::env::Environment;
use crate::exit::Failure;
use crate::settings::Settings;
use crate::shell::Shell;

/// Builds every arm and prints the table. The exit status: 1 where a build failed, 128 + n where signal n ended it.
///
/// # Errors
/// Where there is no workspace, an argument cannot be compared, or a build cannot be started.
#[cfg(target_os = "linux")]
pub fn run(
    options: &BenchOptions,
    settings: &Settings,
    environment: &Environment,
    cwd: &Path,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    use crate::bench::session::Session;

    let mut session = Session::prepare(options, settings, environment, cwd, shell)?;
    session.run(shell)?;
    session.tell(options, shell)
}

/// Elsewhere than on Linux memory is not measured.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn run(
    _: &BenchOptions,
    _: &Settings,
    _: &Environment,
    _: &Path,
    _: &mut Shell,
) -> Result<i32, Failure> {
    Err(Failure::NeedsLinux("bench"))
}
