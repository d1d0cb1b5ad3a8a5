//! What the user asked for, resolved: option, then environment, then default, each with where it came
//! from.
//!
//! Pure: the environment, Cargo's configuration and the number of processors are arguments. No file is
//! made here; Plimsoll's home is only named, because a build that compiles nothing must not need it.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use plimsoll_core::schedule::{BadPriority, Priority};
use plimsoll_core::settings::{BadMemory, Memory};
use plimsoll_proto::StateHome;

use crate::cargo_args::OwnOptions;
use crate::cargo_config::{self, CargoConfig};
use crate::env::{self, Environment};
use crate::jobs::{BadJobs, Jobs};

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody asked.
    Default,
    /// This option on the command line.
    Option(&'static str),
    /// This environment variable.
    Variable(&'static str),
    /// Cargo's configuration, which bounds it.
    Cargo(cargo_config::Origin),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Option(name) => f.write_str(name),
            Self::Variable(name) => f.write_str(name),
            Self::Cargo(cargo_config::Origin::CommandLine) => f.write_str("build.jobs by --config"),
            Self::Cargo(cargo_config::Origin::Variable(name)) => f.write_str(name),
            Self::Cargo(cargo_config::Origin::File(path)) => {
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

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The line, as it was named.
    pub memory: Sourced<Memory>,
    /// Units at once, at least one.
    pub jobs: Sourced<u32>,
    /// Processors to plan for: what is beyond them runs only where they idle.
    pub processors: Sourced<u32>,
    /// A unit that is above the line by itself is refused.
    pub strict: Sourced<bool>,
    /// The build's share beside others of the account.
    pub priority: Sourced<Priority>,
    /// A test that was killed for want of memory runs once more.
    pub retry_tests: Sourced<bool>,
    /// Plimsoll says nothing but errors.
    pub quiet: Sourced<bool>,
    /// Where history and event logs are kept; nowhere where no home directory is known.
    pub home: Sourced<Option<PathBuf>>,
    /// Cargo's own configuration.
    pub cargo: CargoConfig,
}

/// What the command line says of the settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `--memory`.
    pub memory: Option<Memory>,
    /// Plimsoll's `--jobs`.
    pub jobs: Option<Jobs>,
    /// The `-j` among Cargo's arguments.
    pub cargo_jobs: Option<Jobs>,
    /// `--strict`.
    pub strict: bool,
    /// `--priority`.
    pub priority: Option<Priority>,
    /// `--retry-tests`.
    pub retry_tests: bool,
    /// `--quiet`, of Plimsoll or of Cargo.
    pub quiet: bool,
}

impl Asked {
    /// Adds the options that stood among Cargo's arguments.
    ///
    /// # Errors
    /// Where the line is named in both places, and differently.
    pub fn and(self, own: OwnOptions) -> Result<Self, BadSettings> {
        match (self.memory, own.memory) {
            (Some(before), Some(after)) if before != after => {
                Err(BadSettings::MemoryTwice { before, after })
            }
            _ => Ok(Self {
                memory: self.memory.or(own.memory),
                strict: self.strict || own.strict,
                retry_tests: self.retry_tests || own.retry_tests,
                ..self
            }),
        }
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    /// The line is named before and after the subcommand.
    #[error("`--memory` is {before} before the subcommand and {after} after it; give it once")]
    MemoryTwice {
        /// Before the subcommand.
        before: Memory,
        /// After it.
        after: Memory,
    },
    /// Jobs are named before and after the subcommand.
    #[error("`--jobs` is {before} before the subcommand and {after} after it; give it once")]
    JobsTwice {
        /// Before the subcommand.
        before: u32,
        /// After it.
        after: u32,
    },
    /// `PLIMSOLL_MEMORY` cannot be read.
    #[error("the environment variable {name}: {source}", name = env::MEMORY)]
    Memory {
        /// Why.
        source: BadMemory,
    },
    /// `PLIMSOLL_JOBS` or `PLIMSOLL_PROCESSORS` cannot be read.
    #[error("the environment variable {name}: {source}")]
    Jobs {
        /// The variable.
        name: &'static str,
        /// Why.
        source: BadJobs,
    },
    /// `PLIMSOLL_PRIORITY` cannot be read.
    #[error("the environment variable {name}: {source}", name = env::PRIORITY)]
    Priority {
        /// Why.
        source: BadPriority,
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
    /// Resolves the settings for a machine with `processors`, as seen from `cwd`.
    ///
    /// # Errors
    /// Where an environment variable cannot be read or two options contradict each other.
    pub fn resolve(
        asked: &Asked,
        environment: &Environment,
        cargo: CargoConfig,
        cwd: &Path,
        processors: u32,
    ) -> Result<Self, BadSettings> {
        let processors = number(environment, env::PROCESSORS, processors)?
            .unwrap_or(Sourced::new(processors, Origin::Default));
        Ok(Self {
            memory: memory(asked, environment)?,
            jobs: jobs(asked, environment, &cargo, processors.value)?,
            processors,
            strict: switch(asked.strict, "--strict", env::STRICT, environment)?,
            priority: priority(asked, environment)?,
            retry_tests: switch(asked.retry_tests, "--retry-tests", env::RETRY_TESTS, environment)?,
            quiet: switch(asked.quiet, "--quiet", env::QUIET, environment)?,
            home: home(environment, cwd),
            cargo,
        })
    }
}

fn memory(asked: &Asked, environment: &Environment) -> Result<Sourced<Memory>, BadSettings> {
    if let Some(memory) = asked.memory {
        return Ok(Sourced::new(memory, Origin::Option("--memory")));
    }
    match environment.get(env::MEMORY) {
        Some(value) => value
            .to_string_lossy()
            .parse()
            .map(|memory| Sourced::new(memory, Origin::Variable(env::MEMORY)))
            .map_err(|source| BadSettings::Memory { source }),
        None => Ok(Sourced::new(Memory::default(), Origin::Default)),
    }
}

fn priority(asked: &Asked, environment: &Environment) -> Result<Sourced<Priority>, BadSettings> {
    if let Some(priority) = asked.priority {
        return Ok(Sourced::new(priority, Origin::Option("--priority")));
    }
    match environment.get(env::PRIORITY) {
        Some(value) => value
            .to_string_lossy()
            .parse()
            .map(|priority| Sourced::new(priority, Origin::Variable(env::PRIORITY)))
            .map_err(|source| BadSettings::Priority { source }),
        None => Ok(Sourced::new(Priority::default(), Origin::Default)),
    }
}

/// What is asked for on the command line holds; `build.jobs` bounds everything else.
fn jobs(
    asked: &Asked,
    environment: &Environment,
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
    let wanted = number(environment, env::JOBS, processors)?
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
    let Some(value) = environment.get(name) else { return Ok(None) };
    let parsed: Result<Jobs, _> = value.to_string_lossy().parse();
    let number = parsed.map_err(|source| BadSettings::Jobs { name, source })?;
    Ok(Some(Sourced::new(number.resolve(all), Origin::Variable(name))))
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
mod tests {
    use plimsoll_core::Bytes;

    use super::*;

    fn resolve(
        asked: Asked,
        variables: &[(&str, &str)],
        build_jobs: Option<&str>,
    ) -> Result<Settings, BadSettings> {
        let environment = Environment::from_iter(variables.iter().copied());
        let jobs = build_jobs.map(|text| cargo_config::Given {
            value: text.parse().unwrap(),
            origin: cargo_config::Origin::Variable("CARGO_BUILD_JOBS"),
        });
        let cargo = CargoConfig { jobs, ..CargoConfig::default() };
        Settings::resolve(&asked, &environment, cargo, Path::new("/w"), 8)
    }

    #[test]
    fn an_option_goes_before_the_environment_and_that_before_the_default() {
        let nothing = resolve(Asked::default(), &[("HOME", "/h")], None).unwrap();
        assert_eq!(nothing.memory, Sourced::new(Memory::Auto, Origin::Default));
        assert_eq!(nothing.jobs, Sourced::new(8, Origin::Default));
        assert_eq!(nothing.processors, Sourced::new(8, Origin::Default));
        assert_eq!(nothing.strict, Sourced::new(false, Origin::Default));
        let home = PathBuf::from("/h/.local/state/plimsoll");
        assert_eq!(nothing.home, Sourced::new(Some(home), Origin::Default));

        let variables = [
            (env::MEMORY, "2G"),
            (env::JOBS, "3"),
            (env::STRICT, "yes"),
            (env::QUIET, "off"),
            (env::HOME, "kept"),
        ];
        let set = resolve(Asked::default(), &variables, None).unwrap();
        let two = Memory::Size(Bytes::gib(2));
        assert_eq!(set.memory, Sourced::new(two, Origin::Variable(env::MEMORY)));
        assert_eq!(set.jobs, Sourced::new(3, Origin::Variable(env::JOBS)));
        assert_eq!(set.strict, Sourced::new(true, Origin::Variable(env::STRICT)));
        assert_eq!(set.quiet, Sourced::new(false, Origin::Variable(env::QUIET)));
        assert_eq!(set.home.value, Some(PathBuf::from("/w/kept")));

        let asked = Asked {
            memory: Some(Memory::Percent(50)),
            jobs: Some(Jobs::Default),
            quiet: true,
            ..Asked::default()
        };
        let asked = resolve(asked, &variables, Some("2")).unwrap();
        assert_eq!(asked.memory, Sourced::new(Memory::Percent(50), Origin::Option("--memory")));
        assert_eq!(asked.jobs, Sourced::new(8, Origin::Option("--jobs")));
        assert_eq!(asked.quiet, Sourced::new(true, Origin::Option("--quiet")));
    }

    #[test]
    fn build_jobs_bounds_what_was_not_asked_for_on_the_command_line() {
        let jobs = |variables: &[(&str, &str)], ceiling| {
            resolve(Asked::default(), variables, Some(ceiling)).unwrap().jobs.value
        };
        assert_eq!(jobs(&[], "3"), 3);
        assert_eq!(jobs(&[], "16"), 8);
        assert_eq!(jobs(&[], "-6"), 2);
        assert_eq!(jobs(&[(env::JOBS, "6")], "3"), 3);
        assert_eq!(jobs(&[(env::JOBS, "2")], "3"), 2);
        assert_eq!(jobs(&[(env::PROCESSORS, "4")], "16"), 4);
    }

    #[test]
    fn contradictions_and_unreadable_variables_are_refused() {
        let four = "4".parse().ok();
        let asked = Asked { jobs: four, cargo_jobs: "2".parse().ok(), ..Asked::default() };
        assert_eq!(resolve(asked, &[], None), Err(BadSettings::JobsTwice { before: 4, after: 2 }));
        let asked = Asked { jobs: four, cargo_jobs: "-4".parse().ok(), ..Asked::default() };
        assert_eq!(resolve(asked, &[], None).unwrap().jobs.value, 4);

        let asked = Asked { memory: Some(Memory::Auto), ..Asked::default() };
        let own =
            OwnOptions { memory: Some(Memory::Percent(5)), strict: true, ..OwnOptions::default() };
        assert!(matches!(asked.and(own), Err(BadSettings::MemoryTwice { .. })));

        for (name, value) in [
            (env::MEMORY, "lots"),
            (env::JOBS, "0"),
            (env::PROCESSORS, "many"),
            (env::STRICT, "maybe"),
        ] {
            let error = resolve(Asked::default(), &[(name, value)], None).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(name) && text.contains(value), "{text}");
            assert!(resolve(Asked::default(), &[(name, "")], None).is_ok(), "{name} unset");
        }
    }

    #[test]
    fn state_goes_where_the_xdg_specification_says() {
        let home = |variables: &[(&str, &str)]| {
            resolve(Asked::default(), variables, None).unwrap().home.value
        };
        let both = [("HOME", "/h"), ("XDG_STATE_HOME", "/s")];
        assert_eq!(home(&both), Some(PathBuf::from("/s/plimsoll")));
        let relative = [("HOME", "/h"), ("XDG_STATE_HOME", "s")];
        assert_eq!(home(&relative), Some(PathBuf::from("/h/.local/state/plimsoll")));
        assert_eq!(home(&[]), None);
    }
}
