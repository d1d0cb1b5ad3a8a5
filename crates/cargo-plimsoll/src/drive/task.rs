//! What runs inside the budget: a Cargo, or a command that is not Cargo (`run-under`).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use plimsoll_cargo::Kind;
use plimsoll_governor::GraphCommand;

use super::cargo;
use crate::cargo_args::CargoCall;
use crate::env::Environment;
use crate::plain;
use crate::settings::Settings;

/// A command that is not Cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    program: OsString,
    args: Vec<OsString>,
    /// The `-j` that stood among its arguments: with it, it would not take from our jobserver.
    jobs: Option<u32>,
    pipeline: Option<Pipeline>,
}

/// What is known of a command that runs one Cargo, and tools on what that has built. It does nothing but build, so it
/// may run twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pipeline {
    /// How it is called.
    pub(crate) name: String,
    /// Where it runs.
    pub(crate) directory: PathBuf,
    /// What Cargo is asked to do.
    pub(crate) cargo: CargoCall,
    /// The package that is built: its name and its version.
    pub(crate) package: (String, String),
    /// The tools, each a unit of its own.
    pub(crate) tools: Vec<PipelineTool>,
    /// What else it is told in its environment.
    pub(crate) environment: Vec<(String, OsString)>,
}

/// A tool that a pipeline finds by a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PipelineTool {
    /// Its name.
    pub(crate) name: &'static str,
    /// The variable.
    pub(crate) variable: &'static str,
    /// The program.
    pub(crate) program: PathBuf,
}

/// The programs that take places from a jobserver in their environment, unless they are told a number.
const TAKE_PLACES: [&str; 4] = ["make", "gmake", "ninja", "samu"];

impl Foreign {
    /// Reads the words of a command; `None` where there is none.
    pub(crate) fn read(words: &[OsString]) -> Option<Self> {
        let (program, rest) = words.split_first()?;
        let mut command =
            Self { program: program.clone(), args: rest.to_vec(), jobs: None, pipeline: None };
        if TAKE_PLACES.iter().any(|name| OsStr::new(name) == command.name()) {
            command.take_jobs();
        }
        Some(command)
    }

    /// A program with its arguments, of which more is known.
    pub(crate) fn pipeline(program: OsString, args: Vec<OsString>, pipeline: Pipeline) -> Self {
        Self { program, args, jobs: None, pipeline: Some(pipeline) }
    }

    /// How it is called.
    fn title(&self) -> String {
        let name = self.pipeline.as_ref().map(|pipeline| pipeline.name.clone());
        name.unwrap_or_else(|| self.name().to_string_lossy().into_owned())
    }

    /// The program's file name.
    fn name(&self) -> &OsStr {
        Path::new(&self.program).file_name().unwrap_or(&self.program)
    }

    /// Takes `-j8`, `-j 8`, `--jobs=8` and `-j` out; what follows anything else is left as it is.
    fn take_jobs(&mut self) {
        let words = std::mem::take(&mut self.args);
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let text = word.to_str().unwrap_or_default();
            let number = match (text.strip_prefix("-j"), text.strip_prefix("--jobs=")) {
                (Some(""), _) => {
                    let next = words.next_if(|next| number(next).is_some());
                    next.as_deref().and_then(number)
                }
                (Some(rest), _) | (None, Some(rest)) if rest.parse::<u32>().is_ok() => {
                    rest.parse().ok()
                }
                _ => {
                    self.args.push(word);
                    continue;
                }
            };
            self.jobs = number.or(self.jobs);
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        if let Some(pipeline) = &self.pipeline {
            command.current_dir(&pipeline.directory);
            command.envs(pipeline.environment.iter().map(|(name, value)| (name, value)));
            let tools = pipeline.tools.iter().map(|tool| (tool.variable, &tool.program));
            command.envs(tools);
        }
        command
    }
}

fn number(word: impl AsRef<OsStr>) -> Option<u32> {
    word.as_ref().to_str()?.parse().ok()
}

/// What runs inside the budget.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task<'a> {
    /// A Cargo.
    Cargo(&'a CargoCall),
    /// Another command.
    Other(&'a Foreign),
}

impl<'a> Task<'a> {
    /// The Cargo that it is, or that it is known to run.
    fn cargo(&self) -> Option<&'a CargoCall> {
        match self {
            Self::Cargo(call) => Some(call),
            Self::Other(command) => command.pipeline.as_ref().map(|pipeline| &pipeline.cargo),
        }
    }

    /// What it is besides, where more of it is known.
    pub(super) fn pipeline(&self) -> Option<&'a Pipeline> {
        match self {
            Self::Cargo(_) => None,
            Self::Other(command) => command.pipeline.as_ref(),
        }
    }

    /// What it does, as far as governing it goes.
    pub(super) fn kind(&self) -> Kind {
        self.cargo().map_or(Kind::Builds, |call| call.kind)
    }

    /// It may be done twice, as long as no test has started: it does nothing but compile before that. Tests behind a
    /// runner of the user's are not seen.
    pub(super) fn may_run_twice(&self, settings: &Settings) -> bool {
        self.only_compiles() || !settings.cargo.has_runner && self.is_one_of(&["bench", "test"])
    }

    /// It does nothing but compile, or does so before all else.
    pub(super) fn only_compiles(&self) -> bool {
        self.is_one_of(&["build", "check", "clippy", "doc", "install", "run", "rustc", "rustdoc"])
    }

    fn is_one_of(&self, names: &[&str]) -> bool {
        self.cargo().is_some_and(|call| names.iter().any(|name| call.resolved == *name))
    }

    /// How it is called in the log.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Cargo(call) => call.resolved.to_string_lossy().into_owned(),
            Self::Other(command) => command.title(),
        }
    }

    /// The name under which its process is a unit, where it is one as a whole.
    pub(super) fn unit(&self) -> Option<String> {
        match self {
            Self::Cargo(_) => None,
            Self::Other(_) => Some(self.name()),
        }
    }

    /// Somebody else's Cargo may be below a command: what it prints is not ours to guess.
    pub(super) fn json_messages(&self) -> bool {
        self.cargo().is_none_or(|call| call.json_messages)
    }

    /// One part of the workspace after the other.
    pub(super) fn is_staged(&self) -> bool {
        self.cargo().is_some_and(|call| call.staged)
    }

    pub(super) fn keep_going(&self) -> bool {
        self.cargo().is_some_and(|call| call.keep_going)
    }

    /// Units at once, at most.
    pub(super) fn jobs(&self, settings: &Settings) -> u32 {
        match self {
            Self::Other(Foreign { jobs: Some(jobs), .. }) => (*jobs).max(1),
            _ => settings.jobs.value,
        }
    }

    /// Places on the pipe at first. A make begins with one job and is given more as there is room: what it has once
    /// taken it would only give back to take again.
    pub(super) fn job_slots(&self, settings: &Settings) -> u32 {
        self.cargo().map_or(0, |_| self.jobs(settings).saturating_sub(1))
    }

    pub(super) fn build_dir(&self, settings: &Settings) -> Option<PathBuf> {
        cargo::build_dir(self.cargo()?, settings)
    }

    pub(super) fn graph(&self, environment: &Environment) -> Option<GraphCommand> {
        cargo::graph(self.cargo()?, environment)
    }

    /// Its command, to be put inside the budget.
    pub(super) fn command(&self, environment: &Environment) -> Command {
        match self {
            Self::Cargo(call) => cargo::command(call, environment),
            Self::Other(command) => command.command(),
        }
    }

    /// Runs it as it is.
    pub(super) fn run_plain(&self, environment: &Environment) -> anyhow::Result<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        match self {
            Self::Cargo(call) => plain::run(call, environment),
            Self::Other(foreign) => {
                let mut command = foreign.command();
                let status = command
                    .status()
                    .with_context(|| format!("cannot start `{}`", foreign.program.display()))?;
                Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Foreign {
        Foreign::read(&line.split(' ').map(OsString::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_number_of_jobs_is_taken_from_what_takes_places_instead() {
        for (line, jobs, rest) in [
            ("make -j8 all", Some(8), "all"),
            ("/usr/bin/make -C x -j 3 all", Some(3), "-C x all"),
            ("make -j all", None, "all"),
            ("make --jobs=4", Some(4), ""),
            ("make -junk", None, "-junk"),
            ("ninja -j2 -k 0", Some(2), "-k 0"),
            ("cmake --build . -j8", None, "--build . -j8"),
        ] {
            let command = read(line);
            let args: Vec<_> = command.args.iter().map(|arg| arg.to_str().unwrap()).collect();
            assert_eq!((command.jobs, args.join(" ").as_str()), (jobs, rest), "{line}");
        }
    }
}
