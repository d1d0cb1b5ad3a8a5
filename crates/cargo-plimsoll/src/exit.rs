//! Every way in which `cargo plimsoll` ends, and its exit status. One exhaustive map.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::cargo_args::BadArguments;
use crate::settings::BadSettings;

/// What the statuses mean, for the help text.
pub const MEANINGS: &[(&str, &str)] = &[
    ("Cargo's", "a Cargo command ran: its status, or 128 + n if signal n ended it"),
    ("0", "a Plimsoll command succeeded"),
    ("1", "it found a problem, or has nothing to show (see its --help)"),
    ("2", "nothing was started: an option, a setting or a tool is wrong"),
    ("101", "Plimsoll failed, for example because it could not start Cargo"),
];

/// What was being done where an answer could not be printed.
pub const OUT: &str = "cannot write to stdout";

/// Why a command of ours did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// clap refuses the command line, or prints help or the version.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// Plimsoll's options among Cargo's arguments cannot be read.
    #[error(transparent)]
    Arguments(#[from] BadArguments),
    /// A setting cannot be used.
    #[error(transparent)]
    Settings(#[from] BadSettings),
    /// Options, and nothing to do with them.
    #[error("no command is given; write for example `cargo plimsoll build`")]
    NoCommand,
    /// Neither Cargo nor Plimsoll has this command.
    #[error("no such command: `{}`; did you mean `cargo plimsoll {name}`?", said.display())]
    NoSuchCommand {
        /// What was written.
        said: OsString,
        /// A command of ours.
        name: String,
    },
    /// No build of this user runs.
    #[error("no build is running; start one with `cargo plimsoll build`")]
    NothingRuns,
    /// Builds of this user run, and none answers.
    #[error(
        "a build is running, but it does not answer; if you stopped it with Ctrl-Z, `fg` continues it"
    )]
    NothingAnswers,
    /// There is no home to keep state in.
    #[error("Plimsoll has no directory for its state: set HOME or PLIMSOLL_HOME")]
    NoHome,
    /// Nobody knows where Cargo's own configuration is.
    #[error("Cargo's home directory is unknown: set HOME or CARGO_HOME")]
    NoCargoHome,
    /// No build is recorded at all.
    #[error("no build is recorded yet; run one with `cargo plimsoll build`")]
    NoLog,
    /// No build of the workspace is recorded.
    #[error(
        "no build of the workspace `{}` is recorded yet; run one with `cargo plimsoll build`, or add `--all` to include \
         other workspaces",
        .0.display()
    )]
    NoLogHere(PathBuf),
    /// The directory is in no workspace, and no build ran in it.
    #[error(
        "`{}` is not in a Cargo workspace, and no recorded build ran in it; go to a workspace, name one with \
         `--manifest-path`, or add `--all` to include every workspace",
        .0.display()
    )]
    NoWorkspace(PathBuf),
    /// A manifest that is named is not there.
    #[error("the manifest `{}` does not exist", .0.display())]
    NoManifest(PathBuf),
    /// No build of this id is recorded.
    #[error(
        "no recorded build has an id that begins with `{0}`; `cargo plimsoll report --list --all` shows them"
    )]
    NoSuchLog(String),
    /// Nothing is remembered.
    #[error("{}", no_history(.0))]
    NoHistory(Option<String>),
    /// Cargo tells no stages of this subcommand.
    #[error(
        "`--staged` works with build, check, test, bench, doc, run and rustc, not with `cargo {0}`"
    )]
    NotStaged(String),
    /// A toolchain is named that is not installed.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    NotInstalled(#[from] plimsoll_clean::place::NotInstalled),
    /// What is to be compared cannot be.
    #[error("{0}")]
    BadBench(String),
    /// A Worker cannot be built.
    #[error("{0}")]
    BadWorker(String),
    /// What the command needs is on Linux only.
    #[error(
        "`cargo plimsoll {0}` needs Linux; on this system, use Cargo's commands, `run-under`, or `doctor` with the log of \
         a build"
    )]
    NeedsLinux(&'static str),
    /// Something else: reading a file, starting Cargo, writing the answer.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

fn no_history(name: &Option<String>) -> String {
    match name {
        Some(name) => format!(
            "no recorded crate has `{name}` in its name; `cargo plimsoll history` shows them all"
        ),
        None => "no crate is recorded yet; run a build with `cargo plimsoll build`".to_owned(),
    }
}

impl Failure {
    /// The exit status.
    #[must_use]
    pub fn status(&self) -> i32 {
        match self {
            // 0 for help and the version, 2 for an error.
            Self::CommandLine(error) => error.exit_code(),
            Self::Arguments(_)
            | Self::NoCommand
            | Self::NoSuchCommand { .. }
            | Self::Settings(_)
            | Self::BadBench(_)
            | Self::NoManifest(_)
            | Self::BadWorker(_)
            | Self::NotStaged(_)
            | Self::NeedsLinux(_) => 2,
            #[cfg(target_os = "linux")]
            Self::NotInstalled(_) => 2,
            Self::NothingRuns
            | Self::NothingAnswers
            | Self::NoHome
            | Self::NoCargoHome
            | Self::NoLog
            | Self::NoLogHere(_)
            | Self::NoWorkspace(_)
            | Self::NoSuchLog(_)
            | Self::NoHistory(_) => 1,
            Self::Other(_) => 101,
        }
    }
}
