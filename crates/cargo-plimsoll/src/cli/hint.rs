//! What to write instead, where somebody gives Cargo's arguments to a command of ours that has the name of Cargo's.

use std::ffi::{OsStr, OsString};

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::subcommand::Subcommand;

/// `cargo bench` takes these, and `cargo build`, which our `bench` measures, does not.
const OF_BENCH: [&str; 4] = ["--bench", "--no-run", "--no-fail-fast", "--"];

/// Adds how Cargo's own command is called, where one has the name of the command that refuses these words.
pub(super) fn cargos_own(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    let kinds = [ErrorKind::UnknownArgument, ErrorKind::InvalidSubcommand];
    let ours = super::Cli::names();
    let at = words.iter().position(|word| ours.iter().any(|name| name.as_str() == word));
    let at = at.filter(|at| kinds.contains(&error.kind()) && Subcommand::is_built_in(&words[*at]));
    let Some(at) = at else { return error };
    let tip = instead(&words[at], &words[at + 1..]);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    error
}

/// Refuses arguments of our `bench` that only Cargo's has: a word that is no option, or an option of its own.
pub(super) fn cargos_bench(
    definition: &mut clap::Command,
    args: &[OsString],
) -> Result<(), clap::Error> {
    let name = |arg: &OsString| arg.to_string_lossy().split('=').next().map(str::to_owned);
    let is_cargos = |arg: &&OsString| name(arg).is_some_and(|it| OF_BENCH.contains(&it.as_str()));
    let first = args.first().filter(|arg| !arg.as_encoded_bytes().starts_with(b"-"));
    let Some(arg) = first.or_else(|| args.iter().find(is_cargos)) else { return Ok(()) };
    let text = format!("unexpected argument '{}' found", arg.display());
    let mut error = definition.error(ErrorKind::UnknownArgument, text);
    let tip = instead(OsStr::new("bench"), args);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    Err(error)
}

fn instead(command: &OsStr, args: &[OsString]) -> String {
    let shown: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let command = command.display();
    let line = format!("cargo plimsoll cargo {command} {}", shown.join(" "));
    format!("to run Cargo's own `{command}`, write `{}`", line.trim_end())
}
