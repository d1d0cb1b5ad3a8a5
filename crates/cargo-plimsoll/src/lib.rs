//! The command `cargo plimsoll`: arguments, settings, terminal and exit statuses.
//!
//! [`main`] reads as the story: the command line is parsed ([`cli`]), Cargo's arguments are
//! understood ([`cargo_args`]) beside Cargo's configuration ([`plimsoll_cargo`]), settings are resolved
//! ([`settings`]), and one of our commands answers ([`commands`]) or Cargo runs. Two of them put the shims into
//! Cargo's own configuration and take them out (`account`). All words go through
//! one printer ([`shell`]), all endings through one map ([`exit`]), all environment through one list
//! ([`mod@env`]).
//!
//! That is so on Linux (`linux`). On every other system the command line and the settings are read in the same way,
//! and Cargo runs as it is (`elsewhere`). This file alone tells the systems apart.

pub mod cargo_args;
pub mod cli;
#[cfg(any(test, not(target_os = "linux")))]
mod elsewhere;
pub mod env;
pub mod exit;
pub mod plain;
pub mod plimsoll_toml;
pub mod settings;
pub mod shell;

#[cfg(target_os = "linux")]
mod account;
#[cfg(target_os = "linux")]
pub mod bench;
#[cfg(target_os = "linux")]
pub mod commands;
#[cfg(target_os = "linux")]
mod doctor;
#[cfg(target_os = "linux")]
mod drive;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod service;
#[cfg(target_os = "linux")]
mod shims;
#[cfg(target_os = "linux")]
pub mod status;

/// What of those the command line names.
#[cfg(not(target_os = "linux"))]
pub mod bench {
    pub mod arm;
}
#[cfg(not(target_os = "linux"))]
mod doctor {
    pub(crate) mod log;
}

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use plimsoll_cargo::CargoConfig;

use crate::cargo_args::CargoCall;
use crate::cli::{Cli, Command};
use crate::env::Environment;
use crate::exit::Failure;
use crate::plimsoll_toml::{BadFile, Files};
use crate::settings::{Asked, BadSettings, Settings, Sources};
use crate::shell::Shell;

#[cfg(not(target_os = "linux"))]
use elsewhere as system;
#[cfg(not(target_os = "linux"))]
pub use elsewhere::shim;
#[cfg(target_os = "linux")]
use linux as system;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = system::part() {
        return code;
    }
    let mut shell = Shell::of_process();
    let status = run(&mut shell).unwrap_or_else(|failure| {
        say(&failure, &mut shell);
        failure.status()
    });
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

fn run(shell: &mut Shell) -> Result<i32, Failure> {
    let (toolchain, cli) = Cli::read(std::env::args_os().skip(1))?;
    let place = Place::find(&cli)?;
    let asked = cli.asked.asked();
    let globals = cli.globals.words();
    let words = match cli.command {
        Command::Ours(command) => {
            return system::command(command, &globals, asked, &place, shell);
        }
        Command::Help { command: None } => {
            shell.answer(Cli::help().ansi()).context(exit::OUT)?;
            return Ok(0);
        }
        Command::Help { command: Some(name) } => vec![OsString::from("help"), name],
        Command::Cargo(words) => words,
    };
    let (call, settings) = place.call(toolchain, globals, &words, asked, shell)?;
    shell.set_quiet(settings.quiet.value);
    system::cargo(&call, &settings, &place.environment, shell)
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

    /// The settings of a command that works whatever stands in a file, and what is wrong with the files.
    fn lenient(&self, asked: &Asked) -> Result<(Settings, Vec<BadFile>), BadSettings> {
        let config = CargoConfig::read(&self.environment, &self.cwd, &self.cwd, &[]);
        let (files, bad) = Files::readable(&self.cwd, &self.environment);
        Ok((self.settings(asked, &files, config)?, bad))
    }

    /// The same, where a person is warned.
    fn warned(&self, asked: &Asked, shell: &mut Shell) -> Result<Settings, BadSettings> {
        let (settings, bad) = self.lenient(asked)?;
        bad.iter().for_each(|bad| ignored(bad, shell));
        Ok(settings)
    }

    /// The settings of a command that has to do with the whole account: no repository has a say in it.
    fn account(&self, asked: &Asked, shell: &mut Shell) -> Result<Settings, BadSettings> {
        let config = CargoConfig::read(&self.environment, &self.cwd, &self.cwd, &[]);
        let user = plimsoll_toml::user(&self.environment).unwrap_or_else(|bad| {
            ignored(&bad, shell);
            Default::default()
        });
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
            whole: system::whole_memory,
        };
        Settings::resolve(asked, &sources, config, &self.cwd)
    }

    /// The call of Cargo that these words are, and its settings.
    fn call(
        &self,
        toolchain: Option<OsString>,
        globals: Vec<OsString>,
        words: &[OsString],
        asked: Asked,
        shell: &mut Shell,
    ) -> Result<(CargoCall, Settings), Failure> {
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
        let from = manifest.as_ref().unwrap_or(&self.cwd);
        let files = if call.builds() {
            Files::find(from, &self.environment).map_err(BadSettings::from)?
        } else {
            let (files, bad) = Files::readable(from, &self.environment);
            bad.iter().for_each(|bad| ignored(bad, shell));
            files
        };
        let settings = self.settings(&asked, &files, config)?;
        Ok((call, settings))
    }
}

/// A file that cannot be used, for a command that does not need it.
fn ignored(bad: &BadFile, shell: &mut Shell) {
    shell.warn(format_args!("this command ignores a file with an error: {bad}"));
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
