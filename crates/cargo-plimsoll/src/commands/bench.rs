//! `cargo plimsoll bench`: this workspace under plain Cargo, the usual remedies and Plimsoll, side by side.

use std::path::Path;

use crate::bench::session::Session;
use crate::cli::BenchOptions;
use crate::env::Environment;
use crate::exit::Failure;
use crate::settings::Settings;
use crate::shell::Shell;

/// Builds every arm and prints the table. The exit status: 1 where a build failed, 128 + n where signal n ended it.
///
/// # Errors
/// Where there is no workspace, an argument cannot be compared, or a build cannot be started.
pub fn run(
    options: &BenchOptions,
    settings: &Settings,
    environment: &Environment,
    cwd: &Path,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let mut session = Session::prepare(options, settings, environment, cwd, shell)?;
    session.run(shell)?;
    session.tell(options, shell)
}
