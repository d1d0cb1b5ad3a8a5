//! Plain Cargo, which takes our place: for subcommands that never compile, and on systems that have no budget.

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

/// Cargo with all that it was asked for, its `-j` too.
#[must_use]
pub fn as_asked(call: &CargoCall, environment: &Environment) -> Command {
    let mut asked = call.clone();
    if let Some(jobs) = call.jobs {
        asked.args.insert(0, format!("-j{jobs}").into());
    }
    cargo(&asked, environment)
}

/// Becomes Cargo, as it was asked for.
///
/// # Errors
/// Where Cargo cannot be started.
pub fn run(call: &CargoCall, environment: &Environment) -> anyhow::Result<i32> {
    replace_us_by(as_asked(call, environment))
}

/// Runs Cargo, as it was asked for, and waits for it; gives its exit status.
///
/// # Errors
/// Where it cannot be started.
pub(crate) fn wait_for(call: &CargoCall, environment: &Environment) -> anyhow::Result<i32> {
    let mut command = as_asked(call, environment);
    let program = command.get_program().to_owned();
    let status =
        command.status().with_context(|| format!("cannot start `{}`", program.display()))?;
    Ok(status.code().unwrap_or(101))
}

/// Becomes the command. Comes back only where that fails, or, on systems where no process becomes another program, when
/// the command has ended.
pub(crate) fn replace_us_by(command: Command) -> anyhow::Result<i32> {
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
    let status = command.status()?;
    // As it is: a process of Windows ends with 32 bits, and an `ExitCode` has 8.
    std::process::exit(status.code().unwrap_or(101))
}
