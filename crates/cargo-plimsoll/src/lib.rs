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
pub mod color;
#[cfg(any(test, not(target_os = "linux")))]
mod elsewhere;
pub mod env;
pub mod exit;
pub mod options;
pub mod plain;
pub mod plimsoll_toml;
pub mod settings;
pub mod shell;

#[cfg(target_os = "linux")]
mod account;
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
mod doctor {
    pub(crate) mod log;
}

use std::ffi::{OsStr, OsString};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use plimsoll_cargo::CargoConfig;

use crate::cargo_args::CargoCall;
use crate::cli::{Cli, Command, CommandLine};
use crate::env::Environment;
use crate::exit::Failure;
use crate::plimsoll_toml::{BadFile, Files};
use crate::settings::{Asked, BadSettings, Settings, Sources};
use crate::shell::Shell;
use plimsoll_cargo::{Kind, Subcommand};

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
    // Also for what is wrong with the command line.
    color::When::of(None, &Environment::of_process()).settle();
    let mut shell = Shell::of_process();
    let status = run(&mut shell).unwrap_or_else(|failure| {
        say(&failure, &mut shell);
        failure.status()
    });
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

fn run(shell: &mut Shell) -> Result<i32, Failure> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words.iter().all(|word| word == "plimsoll") && words.len() <= 1 {
        shell.answer(cli::NEXT).context(exit::OUT)?;
        return Ok(0);
    }
    let CommandLine { toolchain, ours, cli } = Cli::read(words)?;
    let place = Place::find(&cli)?;
    let asked = Asked::read(ours.clone())?;
    color::When::of(asked.color, &place.environment).settle();
    *shell = Shell::of_process();
    let globals = cli.globals.words();
    let words = match cli.command {
        Some(Command::Ours(command)) => {
            return system::command(command, &globals, asked, &place, shell);
        }
        Some(Command::Help { command }) => match Cli::help(&command) {
            Some(help) => {
                shell.answer(help.ansi()).context(exit::OUT)?;
                return Ok(0);
            }
            None => iter::once(OsString::from("help")).chain(command).collect(),
        },
        Some(Command::Cargo(words)) => words,
        None if toolchain.is_none() => return Err(Failure::NoCommand),
        None => Vec::new(),
    };
    let (call, settings) = place.call(toolchain, globals, &words, ours, shell)?;
    let topic = help_topic(&call);
    let named = topic.unwrap_or(&call.resolved);
    if let Some(name) = like(named, &place.environment) {
        return Err(Failure::NoSuchCommand { said: named.to_owned(), name });
    }
    if call.color.is_some() {
        color::When::of(call.color, &place.environment).settle();
        *shell = Shell::of_process();
    }
    shell.set_quiet(settings.quiet.value);
    let topic = topic.filter(|topic| Subcommand::named(topic).kind != Kind::NeverBuilds);
    if let Some(topic) = topic {
        return help_of_both(&call, topic, &place.environment, shell);
    }
    system::cargo(&call, &settings, &place.environment, shell)
}

/// The subcommand of Cargo's whose help is asked for: `build --help`, `help build`.
fn help_topic(call: &CargoCall) -> Option<&OsString> {
    match call.args.first() {
        topic if call.resolved == "help" => topic,
        _ => call.asks_help.then_some(&call.resolved),
    }
}

/// Cargo's help for one of its subcommands, and which of our options may stand there.
fn help_of_both(
    call: &CargoCall,
    topic: &OsStr,
    environment: &Environment,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let subcommand = Subcommand::named(topic);
    let exit = plain::wait_for(call, environment)?;
    let name = topic.to_string_lossy();
    let text = match subcommand.lets_ours_in {
        true => options::AmongCargos::of(&subcommand).help().ansi().to_string(),
        false => format!(
            "Options of Plimsoll stand before `{name}`: cargo plimsoll --memory 4G {name}. \
             `cargo plimsoll help` shows them."
        ),
    };
    if exit == 0 {
        shell.answer(format_args!("\n{text}")).context(exit::OUT)?;
    }
    Ok(exit)
}

/// The command of ours that was probably meant, where neither Cargo nor a program of it has one of this name.
fn like(said: &OsStr, environment: &Environment) -> Option<String> {
    /// A slip of the hand, or two of them in a longer word.
    const SLIPS: usize = 2;
    let said = said.to_str()?;
    let is_known = Subcommand::is_built_in(said.as_ref())
        || said.contains(['.', '/'])
        || has_program(&format!("cargo-{said}{}", std::env::consts::EXE_SUFFIX), environment);
    if is_known {
        return None;
    }
    let distance = |name: &str| strsim::damerau_levenshtein(said, name);
    let ours = Cli::names().into_iter().min_by_key(|name| distance(name))?;
    let cargos = Subcommand::built_in().map(distance).min()?;
    let slips = SLIPS.min(said.chars().count() / 2);
    (distance(&ours) <= slips && distance(&ours) < cargos).then_some(ours)
}

/// Whether a program of this name is in `PATH`, or beside the commands that Cargo has installed.
fn has_program(name: &str, environment: &Environment) -> bool {
    let installed = environment.cargo_home(Path::new("")).map(|home| home.join("bin").join(name));
    environment.program(name, Path::new("")).is_some() || installed.is_some_and(|it| it.is_file())
}

/// Where we were called: all that outlives the command line.
struct Place {
    environment: Environment,
    cwd: PathBuf,
}

#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "most commands of ours, and with them their settings, are Linux's")
)]
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
        mut ours: Vec<OsString>,
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
        let (mut call, among) = CargoCall::read(globals, &words, &aliases)?;
        ours.extend(options::in_one_word(among));
        let asked = Asked::read(ours)?;
        let asked = Asked { cargo_jobs: call.jobs, quiet: asked.quiet || call.quiet, ..asked };
        (call.staged, call.lists_stages) = (asked.staged, asked.list);
        if let Some(color) = asked.color {
            call.globals.extend(["--color".into(), color.as_str().into()]);
        }
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
