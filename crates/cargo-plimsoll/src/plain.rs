//! Plain Cargo, which takes our place: for subcommands that never compile, and where nothing can be
//! governed.

use std::process::Command;

use anyhow::Context as _;

use crate::cargo_args::CargoCall;
use crate::env::Environment;

/// The Cargo to call: with a `+toolchain` the one in `PATH` (rustup's proxy, which understands it),
/// else the one that called us (`$CARGO`). A `-j` that was taken out of the arguments is not put back.
#[must_use]
pub fn cargo(call: &CargoCall, environment: &Environment) -> Command {
    let ours = environment.get("CARGO").filter(|_| call.toolchain.is_none());
    let mut command = Command::new(ours.unwrap_or("cargo".as_ref()));
    command.args(call.command_line());
    command
}

/// Becomes Cargo, as it was asked for; comes back only where that fails or is not possible on this
/// platform.
///
/// # Errors
/// Where Cargo cannot be started.
pub fn run(call: &CargoCall, environment: &Environment) -> anyhow::Result<i32> {
    let mut asked = call.clone();
    if let Some(jobs) = call.jobs {
        asked.args.insert(0, format!("-j{jobs}").into());
    }
    let command = cargo(&asked, environment);
    let program = command.get_program().to_owned();
    become_or_wait(command).with_context(|| format!("cannot start `{}`", program.display()))
}

#[cfg(unix)]
fn become_or_wait(mut command: Command) -> std::io::Result<i32> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec())
}

#[cfg(not(unix))]
fn become_or_wait(mut command: Command) -> std::io::Result<i32> {
    Ok(command.status()?.code().unwrap_or(101))
}
