//! What the user asked for, resolved: option, then environment, then the repository's `plimsoll.toml`, then the
//! user's own, then default, each with where it came from.
//!
//! The repository's file is bounded by the user's: it cannot raise the budget or the jobs above, or lower the
//! reserve below, what stands there; it can ask for a hard limit (`hard`), and not take one away.
//!
//! Pure: the environment, the files, Cargo's configuration and the machine are arguments. No file is
//! made here; Plimsoll's home is only named, because a build that compiles nothing must not need it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use plimsoll_cargo::{CargoConfig, Jobs};
use plimsoll_core::Bytes;
use plimsoll_core::oversized::Oversized;
use plimsoll_core::schedule::Priority;
use plimsoll_core::settings::Memory;
use plimsoll_proto::StateHome;

use crate::env::{self, Environment};
pub use crate::options::Asked;
use crate::plimsoll_toml::{self, BadFile, CrateNote, Files};

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody asked.
    Default,
    /// This option on the command line.
    Option(&'static str),
    /// This environment variable.
    Variable(&'static str),
    /// A line of a `plimsoll.toml`.
    File(plimsoll_toml::Place),
    /// Cargo's configuration, which bounds it.
    Cargo(plimsoll_cargo::Origin),
    /// What `enable --memory` said for the whole account.
    Account,
}

impl Origin {
    /// The kind of it, for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Option(_) => "option",
            Self::Variable(_) => "variable",
            Self::File(_) => "file",
            Self::Cargo(_) => "cargo",
            Self::Account => "account",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Option(name) => f.write_str(name),
            Self::Variable(name) => f.write_str(name),
            Self::File(place) => place.fmt(f),
            Self::Account => f.write_str("cargo plimsoll enable --memory"),
            Self::Cargo(plimsoll_cargo::Origin::CommandLine) => {
                f.write_str("build.jobs by --config")
            }
            Self::Cargo(plimsoll_cargo::Origin::Variable(name)) => f.write_str(name),
            Self::Cargo(plimsoll_cargo::Origin::File(path)) => {
                write!(f, "build.jobs in {}", path.display())
            }
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Sourced<T> {
    fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

impl<T> From<plimsoll_toml::Given<T>> for Sourced<T> {
    fn from(given: plimsoll_toml::Given<T>) -> Self {
        Self::new(given.value, Origin::File(given.place))
    }
}

/// Where settings are looked for, beside the command line.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// Both `plimsoll.toml`.
    pub files: &'a Files,
    /// Processors that this process may use.
    pub processors: u32,
    /// The memory of the tightest cgroup or the machine; asked only where a size meets a share.
    pub whole: fn() -> Option<Bytes>,
}

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The budget, as it was named.
    pub memory: Sourced<Memory>,
    /// Units at once, at least one.
    pub jobs: Sourced<u32>,
    /// What of the machine's memory is kept free for everything else; `auto` is what Plimsoll keeps without being told.
    pub reserve: Sourced<Memory>,
    /// What may be done with a unit that exceeds the budget by itself.
    pub oversized: Sourced<Oversized>,
    /// What is known of single packages, by name.
    pub crates: BTreeMap<String, CrateNote>,
    /// Processors to plan for: what is beyond them runs only where they idle.
    pub processors: Sourced<u32>,
    /// The kernel keeps the build to its budget, too.
    pub hard: Sourced<bool>,
    /// The build's share beside others of the account.
    pub priority: Sourced<Priority>,
    /// A test that was killed for lack of memory runs once more.
    pub retry_tests: Sourced<bool>,
    /// Plimsoll says nothing but errors.
    pub quiet: Sourced<bool>,
    /// Where history and event logs are kept; nowhere where no home directory is known.
    pub home: Sourced<Option<PathBuf>>,
    /// Cargo's own configuration.
    pub cargo: CargoConfig,
}

/// A number of processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processors(NonZeroU32);

/// A number of processors that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a number of processors; write a number from 1 on")]
pub struct BadProcessors(String);

impl Processors {
    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl FromStr for Processors {
    type Err = BadProcessors;

    fn from_str(text: &str) -> Result<Self, BadProcessors> {
        text.parse().map(Self).map_err(|_| BadProcessors(text.to_owned()))
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// A `plimsoll.toml` says something that means nothing.
    #[error(transparent)]
    File(#[from] BadFile),
    /// Jobs are named before and after the subcommand.
    #[error("`--jobs` is {before} before the subcommand and {after} after it; give it once")]
    JobsTwice {
        /// Before the subcommand.
        before: u32,
        /// After it.
        after: u32,
    },
    /// A variable cannot be read. Its cause stands in the text, and is none of the chain: it would be said twice.
    #[error("the environment variable {name}: {why}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value.
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A yes-or-no variable says neither.
    #[error("the environment variable {name}: `{value}` is neither yes nor no; write `1` or `0`")]
    Switch {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

impl Settings {
    /// Resolves the settings, as seen from `cwd`.
    ///
    /// # Errors
    /// Where an environment variable cannot be read or two options contradict each other.
    pub fn resolve(
        asked: &Asked,
        sources: &Sources<'_>,
        cargo: CargoConfig,
        cwd: &Path,
    ) -> Result<Self, BadSettings> {
        let environment = sources.environment;
        let processors = variable::<Processors>(environment, env::PROCESSORS)?.map_or(
            Sourced::new(sources.processors, Origin::Default),
            |Sourced { value, origin }| Sourced::new(value.get(), origin),
        );
        Ok(Self {
            memory: memory(asked, sources)?,
            jobs: jobs(asked, sources, &cargo, processors.value)?,
            reserve: reserve(sources),
            oversized: oversized(asked, sources)?,
            crates: sources.files.crates(),
            processors,
            hard: hard(asked, sources)?,
            priority: priority(asked, environment)?,
            retry_tests: switch(asked.retry_tests, "--retry-tests", env::RETRY_TESTS, environment)?,
            quiet: switch(asked.quiet, "--quiet", env::QUIET, environment)?,
            home: home(environment, cwd),
            cargo,
        })
    }
}

fn memory(asked: &Asked, sources: &Sources<'_>) -> Result<Sourced<Memory>, BadSettings> {
    if let Some(memory) = asked.memory {
        return Ok(Sourced::new(memory, Origin::Option("--memory")));
    }
    if let Some(memory) = variable(sources.environment, env::MEMORY)? {
        return Ok(memory);
    }
    let Files { repo, user } = sources.files;
    let (repo, user) = (repo.memory.as_ref(), user.memory.as_ref());
    let stays_below = |repo: Memory, user: Memory| match (repo, user) {
        (_, Memory::Auto) => true,
        (Memory::Auto, _) => false,
        (repo, user) => at_most(repo, user, sources.whole),
    };
    Ok(chosen(repo, user, stays_below).unwrap_or(Sourced::new(Memory::Auto, Origin::Default)))
}

fn reserve(sources: &Sources<'_>) -> Sourced<Memory> {
    let Files { repo, user } = sources.files;
    let leaves_as_much = |repo: Memory, user: Memory| match (repo, user) {
        (_, Memory::Auto) => true,
        (Memory::Auto, _) => false,
        (repo, user) => at_most(user, repo, sources.whole),
    };
    chosen(repo.reserve.as_ref(), user.reserve.as_ref(), leaves_as_much)
        .unwrap_or(Sourced::new(Memory::Auto, Origin::Default))
}

fn oversized(asked: &Asked, sources: &Sources<'_>) -> Result<Sourced<Oversized>, BadSettings> {
    if let Some(oversized) = asked.oversized {
        return Ok(Sourced::new(oversized, Origin::Option("--oversized")));
    }
    if let Some(oversized) = variable(sources.environment, env::OVERSIZED)? {
        return Ok(oversized);
    }
    let Files { repo, user } = sources.files;
    let given = repo.oversized.as_ref().or(user.oversized.as_ref());
    Ok(given.cloned().map_or(Sourced::new(Oversized::default(), Origin::Default), Sourced::from))
}

/// What a variable says, where it is set.
fn variable<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    environment: &Environment,
    name: &'static str,
) -> Result<Option<Sourced<T>>, BadSettings> {
    let Some(value) = environment.get(name) else { return Ok(None) };
    let parsed = value.to_string_lossy().parse();
    let value = parsed.map_err(|why: T::Err| BadSettings::Variable { name, why: Box::new(why) })?;
    Ok(Some(Sourced::new(value, Origin::Variable(name))))
}

/// Either file may switch it on; the environment and the command line are the user's own word.
fn hard(asked: &Asked, sources: &Sources<'_>) -> Result<Sourced<bool>, BadSettings> {
    let said = switch(asked.hard, "--hard", env::HARD, sources.environment)?;
    if said.origin != Origin::Default {
        return Ok(said);
    }
    let Files { repo, user } = sources.files;
    let given = [&repo.hard, &user.hard].into_iter().flatten();
    let given = given.clone().find(|given| given.value).or(user.hard.as_ref()).or(given.last());
    Ok(given.cloned().map_or(said, Sourced::from))
}

/// The repository's value where it is within the user's, else the user's.
fn chosen<T: Copy>(
    repo: Option<&plimsoll_toml::Given<T>>,
    user: Option<&plimsoll_toml::Given<T>>,
    within: impl Fn(T, T) -> bool,
) -> Option<Sourced<T>> {
    let given = match (repo, user) {
        (Some(repo), Some(user)) if !within(repo.value, user.value) => user,
        (repo, user) => repo.or(user)?,
    };
    Some(Sourced::from(given.clone()))
}

/// Whether `one` comes to no more than `other`; it does not, where that cannot be told.
fn at_most(one: Memory, other: Memory, whole: fn() -> Option<Bytes>) -> bool {
    let bytes = |memory: Memory| match memory {
        Memory::Auto => None,
        Memory::Size(size) => Some(size),
        Memory::Percent(share) => Some(whole()?.scale(f64::from(share) / 100.0)),
    };
    match (one, other) {
        (Memory::Percent(one), Memory::Percent(other)) => one <= other,
        (one, other) => bytes(one).zip(bytes(other)).is_some_and(|(one, other)| one <= other),
    }
}

fn priority(asked: &Asked, environment: &Environment) -> Result<Sourced<Priority>, BadSettings> {
    if let Some(priority) = asked.priority {
        return Ok(Sourced::new(priority, Origin::Option("--priority")));
    }
    let said = variable(environment, env::PRIORITY)?;
    Ok(said.unwrap_or(Sourced::new(Priority::default(), Origin::Default)))
}

/// What is asked for on the command line holds; `build.jobs` bounds everything else.
fn jobs(
    asked: &Asked,
    sources: &Sources<'_>,
    cargo: &CargoConfig,
    processors: u32,
) -> Result<Sourced<u32>, BadSettings> {
    let ours = asked.jobs.map(|jobs| jobs.resolve(processors));
    let cargos = asked.cargo_jobs.map(|jobs| jobs.resolve(processors));
    if let (Some(before), Some(after)) = (ours, cargos)
        && before != after
    {
        return Err(BadSettings::JobsTwice { before, after });
    }
    if let Some(jobs) = ours.or(cargos) {
        return Ok(Sourced::new(jobs, Origin::Option("--jobs")));
    }
    let Files { repo, user } = sources.files;
    let in_files = || {
        let fewer = |repo: Jobs, user: Jobs| repo.resolve(processors) <= user.resolve(processors);
        let Sourced { value, origin } = chosen(repo.jobs.as_ref(), user.jobs.as_ref(), fewer)?;
        Some(Sourced::new(value.resolve(processors), origin))
    };
    let wanted = number(sources.environment, env::JOBS, processors)?
        .or_else(in_files)
        .unwrap_or(Sourced::new(processors, Origin::Default));
    Ok(match &cargo.jobs {
        Some(ceiling) if ceiling.value.resolve(processors) < wanted.value => {
            Sourced::new(ceiling.value.resolve(processors), Origin::Cargo(ceiling.origin.clone()))
        }
        _ => wanted,
    })
}

/// A variable that counts as `--jobs` does: from `all`, where it is negative.
fn number(
    environment: &Environment,
    name: &'static str,
    all: u32,
) -> Result<Option<Sourced<u32>>, BadSettings> {
    let said = variable::<Jobs>(environment, name)?;
    Ok(said.map(|Sourced { value, origin }| Sourced::new(value.resolve(all), origin)))
}

fn switch(
    asked: bool,
    option: &'static str,
    name: &'static str,
    environment: &Environment,
) -> Result<Sourced<bool>, BadSettings> {
    if asked {
        return Ok(Sourced::new(true, Origin::Option(option)));
    }
    let Some(value) = environment.get(name) else {
        return Ok(Sourced::new(false, Origin::Default));
    };
    let value = value.to_string_lossy();
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(Sourced::new(true, Origin::Variable(name))),
        "0" | "false" | "no" | "off" => Ok(Sourced::new(false, Origin::Variable(name))),
        _ => Err(BadSettings::Switch { name, value: value.into_owned() }),
    }
}

/// Plimsoll's home, as all its programs find it; a relative one is below `cwd`.
fn home(environment: &Environment, cwd: &Path) -> Sourced<Option<PathBuf>> {
    let Some(found) = StateHome::find(|name| environment.get(name).map(OsStr::to_owned)) else {
        return Sourced::new(None, Origin::Default);
    };
    let origin = match found.variable {
        "HOME" => Origin::Default,
        variable => Origin::Variable(variable),
    };
    Sourced::new(Some(cwd.join(found.path)), origin)
}

#[cfg(test)]
mod tests;
