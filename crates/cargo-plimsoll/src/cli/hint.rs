//! What to write instead, where somebody gives Cargo's arguments to a command of ours that has the name of Cargo's.

use std::ffi::{OsStr, OsString};

use clap::ArgMatches;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use plimsoll_cargo::Subcommand;

/// `cargo bench` takes these, and `cargo build`, which our `bench` measures, does not.
const OF_BENCH: [&str; 4] = ["--bench", "--no-run", "--no-fail-fast", "--"];

/// What `cargo report` shows.
const FUTURE: &str = "future-incompatibilities";

/// Adds how Cargo's own command is called, where one has the name of the command that refuses these words.
pub(super) fn cargos_own(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    let kinds = [ErrorKind::UnknownArgument, ErrorKind::InvalidSubcommand];
    let ours = super::Cli::names();
    let at = words.iter().position(|word| ours.iter().any(|name| name.as_str() == word));
    // What Cargo's `report` takes is told apart by its name.
    let is_cargos = |at: &usize| Subcommand::is_built_in(&words[*at]) && words[*at] != "report";
    let at = at.filter(|at| kinds.contains(&error.kind()) && is_cargos(at));
    let Some(at) = at else { return error };
    let tip = instead(&words[at], &words[at + 1..]);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    error
}

/// Refuses arguments of our `bench` that only Cargo's has: a word that is no option, or an option of its own.
pub(super) fn cargos_bench(
    definition: &clap::Command,
    args: &[OsString],
) -> Result<(), clap::Error> {
    let name = |arg: &OsString| arg.to_string_lossy().split('=').next().map(str::to_owned);
    let is_cargos = |arg: &&OsString| name(arg).is_some_and(|it| OF_BENCH.contains(&it.as_str()));
    let first = args.first().filter(|arg| !arg.as_encoded_bytes().starts_with(b"-"));
    match first.or_else(|| args.iter().find(is_cargos)) {
        Some(arg) => Err(unexpected(definition, "bench", arg, args)),
        None => Ok(()),
    }
}

/// Refuses what Cargo's `report` shows, and no build's id is.
pub(super) fn cargos_report(
    definition: &clap::Command,
    matches: &ArgMatches,
) -> Result<(), clap::Error> {
    let Some(("report", matches)) = matches.subcommand() else { return Ok(()) };
    let mut named = matches.ids().filter_map(|id| matches.try_get_raw(id.as_str()).ok().flatten());
    match named.find_map(|mut values| values.find(|value| *value == FUTURE)) {
        Some(value) => Err(unexpected(definition, "report", value, &[value.to_owned()])),
        None => Ok(()),
    }
}

fn unexpected(
    definition: &clap::Command,
    command: &str,
    arg: &OsStr,
    args: &[OsString],
) -> clap::Error {
    let mut error = clap::Error::new(ErrorKind::UnknownArgument).with_cmd(definition);
    let arg = ContextValue::String(arg.to_string_lossy().into_owned());
    error.insert(ContextKind::InvalidArg, arg);
    let tip = instead(OsStr::new(command), args);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    error
}

fn instead(command: &OsStr, args: &[OsString]) -> String {
    let shown: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let command = command.display();
    let line = format!("cargo plimsoll cargo {command} {}", shown.join(" "));
    format!("to run Cargo's own `{command}`, write `{}`", line.trim_end())
}
