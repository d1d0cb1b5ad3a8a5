//! `cargo plimsoll bench`: this workspace under plain Cargo, the usual remedies and Plimsoll, side by side.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use plimsoll_compare::{Outcome, Request, Said, Session, What};
use plimsoll_core::settings::Memory;

use super::settings::budget_now;
use crate::cli::BenchOptions;
use crate::env::Environment;
use crate::exit::{Failure, OUT};
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
    let what = What::read(&options.args).map_err(|error| Failure::BadBench(error.to_string()))?;
    let request = Request {
        arms: options.arms(),
        rounds: options.rounds,
        rebuild: options.rebuild,
        touch: options.touch.clone(),
        keep: options.keep,
        what,
        cwd,
        environment,
        jobs: settings.jobs.value,
        processors: settings.processors.value,
        budget: match settings.memory.value {
            Memory::Size(budget) => Some(budget),
            share @ Memory::Percent(_) => budget_now(share, settings.reserve.value),
            Memory::Auto => None,
        },
        target: settings.cargo.target_dir.as_ref().map(|given| given.value.clone()),
        home: settings.home.value.as_deref(),
    };
    let mut say = |said| match said {
        Said::Note(text) => shell.note(text),
        Said::Warning(text) => shell.warn(text),
    };
    let mut session = Session::prepare(request, &mut say)?;
    session.run(&mut say)?;
    tell(session.outcome(), options, shell)?;
    Ok(session.exit())
}

/// Prints the table and writes the files.
fn tell(outcome: &Outcome, options: &BenchOptions, shell: &mut Shell) -> Result<(), Failure> {
    let to_file = |path: &Path, text: &str| {
        fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
    };
    let mut printed = false;
    for (path, text) in [(&options.json, outcome.json()), (&options.markdown, outcome.markdown())] {
        match path {
            Some(path) if path.as_os_str() == "-" => {
                shell.answer(text).context(OUT)?;
                printed = true;
            }
            Some(path) => to_file(path, &text)?,
            None => {}
        }
    }
    if !printed {
        shell.answer(outcome.text()).context(OUT)?;
    }
    Ok(())
}
