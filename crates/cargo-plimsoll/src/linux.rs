//! Plimsoll where there is a budget: its commands, and Cargo inside the budget. Its counterpart for every other system is
//! `elsewhere`.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cargo_args::CargoCall;
use crate::cli::{Ours, WorkerCommand};
use crate::commands::top::Form;
use crate::env::Environment;
use crate::exit::Failure;
use crate::settings::{Asked, Settings};
use crate::shell::Shell;
use crate::{Place, commands, drive, service};

pub(crate) use crate::commands::settings::whole_memory;

/// Where this process is a part of Plimsoll's that no person calls: a guard, a hard limit, the account's governor, a step or
/// a tool of a Worker build.
pub(crate) fn part() -> Option<ExitCode> {
    drive::guard::main()
        .or_else(drive::hard_limit::main)
        .or_else(service::main)
        .or_else(pack)
        .or_else(tool)
}

/// Where this process is to run the steps of a Worker that is packed.
fn pack() -> Option<ExitCode> {
    let (code, why) = plimsoll_worker::steps::main()?;
    if let Some(why) = why {
        Shell::of_process().error(&*anyhow::Error::msg(why));
    }
    Some(code)
}

/// Where this process stands before a tool of a Worker build.
fn tool() -> Option<ExitCode> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (first, rest) = args.split_first()?;
    (first == plimsoll_shim::tool::ARGUMENT).then(|| plimsoll_shim::tool::run(rest))
}

/// Runs a command of ours. `globals` are Cargo's own options that stood before it.
pub(crate) fn command(
    command: Ours,
    globals: &[OsString],
    asked: Asked,
    place: &Place,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    shell.set_quiet(place.unsaid(&asked)?.quiet.value);
    match command {
        Ours::Enable => {
            let settings = place.account(&asked, shell)?;
            commands::enable::run(&asked, &settings, &place.environment, &place.cwd, shell)?;
        }
        Ours::Clean(options) => {
            return commands::clean::run(&options, &place.environment, &place.cwd, shell);
        }
        Ours::Disable => {
            commands::disable::run(&place.unsaid(&asked)?, &place.environment, &place.cwd, shell)?;
        }
        Ours::Uninstall { yes } => {
            let settings = place.unsaid(&asked)?;
            return commands::uninstall::run(yes, &settings, &place.environment, &place.cwd, shell);
        }
        Ours::Doctor(options) => {
            let (settings, bad) = place.lenient(&asked)?;
            let Place { environment, cwd } = &place;
            return crate::doctor::run(&options, &settings, &bad, (environment, cwd), shell);
        }
        Ours::Status { json } => {
            let settings = place.account(&asked, shell)?;
            commands::status::run(json, &settings, &place.environment, &place.cwd, shell)?;
        }
        Ours::Bench(options) => {
            let settings = place.ours(&asked)?;
            let Place { environment, cwd } = &place;
            return commands::bench::run(&options, &settings, environment, cwd, shell);
        }
        Ours::Env { shell: language } => {
            let settings = place.warned(&asked, shell)?;
            commands::env::run(language, &asked, &settings, &place.environment, shell)?;
        }
        Ours::Init(options) => {
            let settings = place.warned(&asked, shell)?;
            let Place { environment, cwd } = &place;
            return commands::init::run(&options, &settings, environment, cwd, shell);
        }
        Ours::RunUnder { command } => {
            let settings = place.ours(&asked)?;
            return Ok(drive::run_under(&command, &settings, &place.environment, shell)?);
        }
        Ours::Worker(WorkerCommand::Build(options)) => {
            let (environment, globals) = (&place.environment, globals);
            let build =
                commands::worker::WorkerBuild::prepare(&options, environment, &place.cwd, globals)?;
            let asked = Asked { cargo_jobs: build.jobs(), ..asked };
            let settings = place.ours(&asked)?;
            return build.run(&settings, environment, shell);
        }
        Ours::Settings { json } => {
            commands::settings::run(json, place.ours(&asked)?, shell)?;
        }
        Ours::Top { once, json } => {
            let form = match (json, once) {
                (true, _) => Form::Json,
                (false, true) => Form::Once,
                (false, false) => Form::Live,
            };
            let home = place.account(&asked, shell)?.home.value;
            commands::top::run(form, home.as_deref(), &place.environment, shell)?;
        }
        Ours::Report(options) => {
            let settings = place.account(&asked, shell)?;
            commands::report::run(&options, &settings, &place.cwd, shell)?;
        }
        Ours::History { name, json } => {
            let settings = place.account(&asked, shell)?;
            commands::history::run(&settings, name.as_deref(), json, shell)?;
        }
    }
    Ok(0)
}

/// Runs Cargo inside the budget.
pub(crate) fn cargo(
    call: &CargoCall,
    settings: &Settings,
    environment: &Environment,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    if call.lists_stages {
        return drive::stages::list(call, environment, shell);
    } else if call.staged {
        drive::stages::question(call, environment)?;
    }
    Ok(drive::run(call, settings, environment, shell)?)
}
