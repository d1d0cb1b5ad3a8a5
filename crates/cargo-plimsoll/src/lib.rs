//! The command `cargo plimsoll`: arguments, settings, terminal and exit statuses.
//!
//! [`main`] reads as the story: the command line is parsed ([`cli`]), Cargo's arguments are
//! understood ([`cargo_args`]) beside Cargo's configuration ([`cargo_config`]), settings are resolved
//! ([`settings`]), and one of our commands answers ([`commands`]) or Cargo runs. Two of them put the shims into
//! Cargo's own configuration and take them out (`account`). All words go through
//! one printer ([`shell`]), all endings through one map ([`exit`]), all environment through one list
//! ([`mod@env`]).

#[cfg(target_os = "linux")]
mod account;
pub mod bench;
pub mod cargo_args;
pub mod cargo_config;
mod cargo_metadata;
#[cfg(target_os = "linux")]
mod clean;
pub mod cli;
pub mod commands;
#[cfg(target_os = "linux")]
mod doctor;
#[cfg(target_os = "linux")]
mod drive;
pub mod env;
pub mod exit;
mod init;
pub mod jobs;
pub mod plain;
pub mod plimsoll_toml;
#[cfg(target_os = "linux")]
mod service;
pub mod settings;
pub mod shell;
#[cfg(target_os = "linux")]
mod shims;
pub mod status;
pub mod subcommand;
mod toml_text;
#[cfg(target_os = "linux")]
mod worker;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::cargo_args::CargoCall;
use crate::cargo_config::CargoConfig;
use crate::cli::{Cli, Command, WorkerCommand};
use crate::commands::top::Form;
use crate::env::Environment;
use crate::exit::Failure;
use crate::plimsoll_toml::Files;
use crate::settings::{Asked, BadSettings, Settings, Sources};
use crate::shell::Shell;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(code) = drive::guard::main()
        .or_else(drive::wall::main)
        .or_else(service::main)
        .or_else(worker::steps::main)
        .or_else(tool)
    {
        return code;
    }
    let mut shell = Shell::of_process();
    let status = run(&mut shell).unwrap_or_else(|failure| {
        say(&failure, &mut shell);
        failure.status()
    });
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

/// Where this process stands before a tool of a Worker build.
#[cfg(target_os = "linux")]
fn tool() -> Option<ExitCode> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (first, rest) = args.split_first()?;
    (first == plimsoll_shim::tool::ARGUMENT).then(|| plimsoll_shim::tool::run(rest))
}

fn run(shell: &mut Shell) -> Result<i32, Failure> {
    let (toolchain, cli) = Cli::read(std::env::args_os().skip(1))?;
    let place = Place::find(&cli)?;
    let asked = cli.asked.asked();
    match cli.command {
        Command::Enable => {
            commands::enable::run(
                &asked,
                &place.account(&asked)?,
                &place.environment,
                &place.cwd,
                shell,
            )?;
        }
        #[cfg(target_os = "linux")]
        Command::Clean(options) => {
            let settings = place.unsaid(&asked)?;
            shell.set_quiet(settings.quiet.value);
            return commands::clean::run(&options, &place.environment, &place.cwd, shell);
        }
        #[cfg(not(target_os = "linux"))]
        Command::Clean(_) => return Err(Failure::NeedsLinux("clean")),
        Command::Disable => {
            commands::disable::run(&place.unsaid(&asked)?, &place.environment, &place.cwd, shell)?;
        }
        #[cfg(target_os = "linux")]
        Command::Doctor(options) => {
            let settings = place.ours(&asked)?;
            shell.set_quiet(settings.quiet.value);
            let Place { environment, cwd } = &place;
            return commands::doctor::run(&options, &settings, environment, cwd, shell);
        }
        #[cfg(not(target_os = "linux"))]
        Command::Doctor(_) => return Err(Failure::NeedsLinux("doctor")),
        Command::Status { json } => {
            commands::status::run(
                json,
                &place.account(&asked)?,
                &place.environment,
                &place.cwd,
                shell,
            )?;
        }
        Command::Bench(options) => {
            let settings = place.ours(&asked)?;
            shell.set_quiet(settings.quiet.value);
            let Place { environment, cwd } = &place;
            return commands::bench::run(&options, &settings, environment, cwd, shell);
        }
        #[cfg(target_os = "linux")]
        Command::Env { shell: language } => {
            let settings = place.ours(&asked)?;
            commands::env::run(language, &asked, &settings, &place.environment, shell)?;
        }
        #[cfg(not(target_os = "linux"))]
        Command::Env { .. } => return Err(Failure::NeedsLinux("env")),
        Command::Init(options) => {
            let settings = place.ours(&asked)?;
            let Place { environment, cwd } = &place;
            return commands::init::run(&options, &settings, environment, cwd, shell);
        }
        Command::RunUnder { command } => {
            let settings = place.ours(&asked)?;
            shell.set_quiet(settings.quiet.value);
            return Ok(run_under(&command, &settings, &place.environment, shell)?);
        }
        #[cfg(target_os = "linux")]
        Command::Worker(WorkerCommand::Build(options)) => {
            let (environment, globals) = (&place.environment, cli.globals.words());
            let build = commands::worker::WorkerBuild::prepare(
                &options,
                environment,
                &place.cwd,
                &globals,
            )?;
            let asked = Asked { cargo_jobs: build.jobs(), ..asked };
            let settings = place.ours(&asked)?;
            shell.set_quiet(settings.quiet.value);
            return build.run(&settings, environment, shell);
        }
        #[cfg(not(target_os = "linux"))]
        Command::Worker(_) => return Err(Failure::NeedsLinux("worker build")),
        Command::Settings => {
            let settings = place.ours(&asked)?;
            let line = commands::settings::line_now(settings.memory.value, settings.reserve.value);
            commands::settings::run(&settings, line, shell)?;
        }
        Command::Top { once, json } => {
            let form = match (json, once) {
                (true, _) => Form::Json,
                (false, true) => Form::Once,
                (false, false) => Form::Live,
            };
            let home = place.account(&asked)?.home.value;
            commands::top::run(form, home.as_deref(), &place.environment, shell)?;
        }
        Command::Report { id, .. } => {
            commands::report::run(&place.account(&asked)?, id.as_deref(), shell)?;
        }
        Command::History { name } => {
            commands::history::run(&place.account(&asked)?, name.as_deref(), shell)?;
        }
        Command::Help { command: None } => shell.answer(Cli::help().ansi()).context(exit::OUT)?,
        Command::Help { command: Some(name) } => {
            let words = [OsString::from("help"), name];
            return place.cargo(toolchain, cli.globals.words(), &words, asked, shell);
        }
        Command::Cargo(words) => {
            return place.cargo(toolchain, cli.globals.words(), &words, asked, shell);
        }
    }
    Ok(0)
}

/// Where we were called: all that outlives the command line.
struct Place {
    environment: Environment,
    cwd: PathBuf,
}

impl Place {
    fn find(cli: &Cli) -> Result<Self, Failure> {
        let cwd = std::env::current_dir().context("cannot tell the working directory")?;
        let cwd = cli.globals.directory().map_or(cwd.clone(), |directory| cwd.join(directory));
        Ok(Self { environment: Environment::of_process(), cwd })
    }

    /// The settings of a command of ours.
    fn ours(&self, asked: &Asked) -> Result<Settings, BadSettings> {
        let config = CargoConfig::read(&self.environment, &self.cwd, &self.cwd, &[]);
        let files = Files::find(&self.cwd, &self.environment)?;
        self.settings(asked, &files, config)
    }

    /// The settings of a command that must work whatever stands in a file.
    fn unsaid(&self, asked: &Asked) -> Result<Settings, BadSettings> {
        let config = CargoConfig::read(&self.environment, &self.cwd, &self.cwd, &[]);
        self.settings(asked, &Files::default(), config)
    }

    /// The settings of a command that has to do with the whole account: no repository has a say in it.
    fn account(&self, asked: &Asked) -> Result<Settings, BadSettings> {
        let config = CargoConfig::read(&self.environment, &self.cwd, &self.cwd, &[]);
        let user = plimsoll_toml::user(&self.environment)?;
        self.settings(asked, &Files { user, ..Files::default() }, config)
    }

    fn settings(
        &self,
        asked: &Asked,
        files: &Files,
        config: CargoConfig,
    ) -> Result<Settings, BadSettings> {
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let sources = Sources {
            environment: &self.environment,
            files,
            processors,
            whole: commands::settings::whole_memory,
        };
        Settings::resolve(asked, &sources, config, &self.cwd)
    }

    /// Runs Cargo.
    fn cargo(
        &self,
        toolchain: Option<OsString>,
        globals: Vec<OsString>,
        words: &[OsString],
        asked: Asked,
        shell: &mut Shell,
    ) -> Result<i32, Failure> {
        // `cargo plimsoll cargo bench`: Cargo's command where one of ours has the same name.
        let words = match words {
            [cargo, rest @ ..] if cargo == "cargo" && !rest.is_empty() => rest,
            words => words,
        };
        let words: Vec<OsString> = toolchain.into_iter().chain(words.iter().cloned()).collect();
        // Cargo resolves aliases before it looks at `--config`.
        let aliases = CargoConfig::read(&self.environment, &self.cwd, &self.cwd, &[]).aliases;
        let (call, own) = CargoCall::read(globals, &words, &aliases)?;
        let asked =
            Asked { cargo_jobs: call.jobs, quiet: asked.quiet || call.quiet, ..asked.and(own)? };
        let found_from = call.config_root(&self.cwd, &self.environment);
        let config = CargoConfig::read(&self.environment, &self.cwd, &found_from, &call.config);
        let manifest = call.manifest_path.as_ref().map(|path| self.cwd.join(path));
        let files = Files::find(manifest.as_ref().unwrap_or(&self.cwd), &self.environment)
            .map_err(BadSettings::from)?;
        let settings = self.settings(&asked, &files, config)?;
        shell.set_quiet(settings.quiet.value);
        #[cfg(target_os = "linux")]
        if call.lists_stages {
            return drive::stages::list(&call, &self.environment, shell);
        } else if call.staged {
            drive::stages::question(&call, &self.environment)?;
        }
        Ok(govern(&call, &settings, &self.environment, shell)?)
    }
}

#[cfg(target_os = "linux")]
use drive::{run as govern, run_under};

/// Elsewhere than on Linux there is no line to run it under.
#[cfg(not(target_os = "linux"))]
fn run_under(_: &[OsString], _: &Settings, _: &Environment, _: &mut Shell) -> anyhow::Result<i32> {
    anyhow::bail!("there is no line on this system, only on Linux; run the command as it is")
}

/// Elsewhere than on Linux Cargo runs as it is.
#[cfg(not(target_os = "linux"))]
fn govern(
    call: &CargoCall,
    _: &Settings,
    environment: &Environment,
    shell: &mut Shell,
) -> anyhow::Result<i32> {
    shell.warn("there is no line on this system, only on Linux; this is plain Cargo");
    plain::run(call, environment)
}

fn say(failure: &Failure, shell: &mut Shell) {
    match failure {
        Failure::CommandLine(refusal) if refusal.use_stderr() => {
            shell.refuse(refusal.render().ansi());
        }
        // Help or the version. Where stdout cannot be written there is nobody to tell.
        Failure::CommandLine(help) => drop(shell.answer(help.render().ansi())),
        failure => shell.error(failure),
    }
}
