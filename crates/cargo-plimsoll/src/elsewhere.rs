//! Plimsoll on every system but Linux: there is no budget, so Cargo runs as it is, with a notice.
//!
//! The command line and the settings are read as on Linux, so that what is Plimsoll's does not reach Cargo; what of
//! it means the same to Cargo (`--jobs`) does. Of our own commands two work: `run-under`, which runs the command as it
//! is, and `doctor` with the log of a build, which is text from anywhere.
//!
//! Compiled on Linux, too, for its tests: what is passed on is decided apart from passing it on.
#![cfg_attr(
    target_os = "linux",
    expect(
        dead_code,
        unreachable_pub,
        reason = "on Linux nothing is passed on; the tests ask what would be"
    )
)]

use std::ffi::OsString;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use plimsoll_cargo::Jobs;
use plimsoll_cargo::{Kind, Subcommand};
use plimsoll_core::Bytes;

use crate::cargo_args::CargoCall;
use crate::cli::{DoctorOptions, Ours};
use crate::env::Environment;
use crate::exit::Failure;
use crate::settings::{Asked, Origin, Settings};
use crate::shell::Shell;
use crate::{Place, doctor, plain};

/// What a person is told where a budget would have been.
const NOTICE: &str = "Plimsoll holds a budget on Linux only; here this runs without one";

/// No part of Plimsoll is a process of its own here.
pub(crate) fn part() -> Option<ExitCode> {
    None
}

/// Without a budget nobody needs to know of what a share is a share.
pub(crate) fn whole_memory() -> Option<Bytes> {
    None
}

/// Runs a command of ours, as far as it works here.
pub(crate) fn command(
    command: Ours,
    _globals: &[OsString],
    asked: Asked,
    place: &Place,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    shell.set_quiet(place.unsaid(&asked)?.quiet.value);
    match command {
        Ours::RunUnder { command } => {
            shell.warn(NOTICE);
            let mut words = command.into_iter();
            let mut command = Command::new(words.next().unwrap_or_default());
            command.args(words);
            Ok(plain::replace_us_by(command)?)
        }
        Ours::Doctor(options) => {
            let log = log(&options).context("cannot read the log from standard input")?;
            let log = log.ok_or(Failure::NeedsLinux("doctor"))?;
            doctor::log::of_log(&log, options.json, None, shell)
        }
        other => Err(Failure::NeedsLinux(name(&other))),
    }
}

/// The log that the doctor is asked about: the file that is named, or standard input where anything stands on it.
fn log(options: &DoctorOptions) -> io::Result<Option<PathBuf>> {
    if options.fix || options.last.is_some() || options.slow.is_some() {
        return Ok(None);
    }
    if let Some(named) = &options.log {
        return Ok(Some(named.clone()));
    }
    let mut stdin = io::stdin().lock();
    let has_log = !stdin.is_terminal() && !stdin.fill_buf()?.is_empty();
    Ok(has_log.then(|| PathBuf::from(doctor::log::STDIN)))
}

/// The command as it is typed.
fn name(command: &Ours) -> &'static str {
    match command {
        Ours::Bench(_) => "bench",
        Ours::Clean(_) => "clean",
        Ours::Doctor(_) => "doctor",
        Ours::Enable => "enable",
        Ours::Disable => "disable",
        Ours::Uninstall { .. } => "uninstall",
        Ours::Status { .. } => "status",
        Ours::Env { .. } => "env",
        Ours::Init(_) => "init",
        Ours::RunUnder { .. } => "run-under",
        Ours::Settings { .. } => "settings",
        Ours::Top { .. } => "top",
        Ours::Report(_) => "report",
        Ours::History { .. } => "history",
        Ours::Worker(_) => "worker",
    }
}

/// Runs Cargo as it is.
pub(crate) fn cargo(
    call: &CargoCall,
    settings: &Settings,
    environment: &Environment,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let (call, notice) = passed_on(call, settings)?;
    if let Some(notice) = notice {
        shell.warn(notice);
    }
    Ok(plain::run(&call, environment)?)
}

/// The call that Cargo gets, and what a person is told about it.
fn passed_on(
    call: &CargoCall,
    settings: &Settings,
) -> Result<(CargoCall, Option<&'static str>), Failure> {
    if call.lists_stages {
        return Err(Failure::NeedsLinux("build --staged --list"));
    }
    let mut call = call.clone();
    if call.jobs.is_none() && Subcommand::named(&call.resolved).takes_jobs {
        call.jobs = match settings.jobs.origin {
            // Cargo finds these by itself.
            Origin::Default | Origin::Cargo(_) => None,
            _ => Jobs::from_integer(settings.jobs.value.into()),
        };
    }
    let notice = (call.kind != Kind::NeverBuilds && !call.compiles_nothing).then_some(NOTICE);
    Ok((call, notice))
}

/// A shim, which somebody's configuration names though `enable` does not work here: runs what it stands before. That
/// is `program`, or what the first argument names.
#[must_use]
pub fn shim(program: Option<&str>) -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = program.map(OsString::from).or_else(|| words.next()) else {
        return ExitCode::from(2);
    };
    let mut command = Command::new(program);
    command.args(words);
    let status = plain::replace_us_by(command).unwrap_or_else(|error| {
        Shell::of_process().error(&*error);
        101
    });
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;
    use std::rc::Rc;

    use super::*;
    use crate::cli::{self, Cli, CommandLine};

    /// A place without any configuration.
    fn place(variables: &[(&str, &str)]) -> Place {
        let environment = variables.iter().copied().collect();
        Place { environment, cwd: PathBuf::from("/nowhere") }
    }

    fn read(line: &str) -> CommandLine {
        Cli::read(line.split_whitespace().map(OsString::from)).unwrap()
    }

    /// Cargo's command line, and whether a person is told that there is no budget.
    fn passed(line: &str, variables: &[(&str, &str)]) -> Result<(String, bool), Failure> {
        let CommandLine { toolchain, ours, cli } = read(line);
        let Some(cli::Command::Cargo(words)) = cli.command else { panic!("{line}") };
        let shell = &mut Shell::new(io::sink(), io::sink());
        let (call, settings) =
            place(variables).call(toolchain, cli.globals.words(), &words, ours, shell)?;
        let (call, notice) = passed_on(&call, &settings)?;
        let words = plain::as_asked(&call, &Environment::default());
        let words: Vec<_> = words.get_args().map(|word| word.to_str().unwrap()).collect();
        Ok((words.join(" "), notice.is_some()))
    }

    #[test]
    fn cargo_gets_its_own_arguments_and_none_of_ours() {
        let ours = "--memory 2G --oversized run --hard --priority low --retry-tests";
        for (line, cargos) in [
            (format!("plimsoll {ours} build --release -p app"), "build --release -p app"),
            (format!("plimsoll {ours} test --memory 2G -- --memory x"), "test -- --memory x"),
            ("build --memory=50% --oversized=refuse --hard".to_owned(), "build"),
            ("check --staged --locked".to_owned(), "check --locked"),
            (
                "+nightly -v --config a=1 doc --open".to_owned(),
                "+nightly -v --config a=1 doc --open",
            ),
            ("cargo bench --bench b".to_owned(), "bench --bench b"),
            ("run -- --hard".to_owned(), "run -- --hard"),
            ("llvm-cov --memory 2G".to_owned(), "llvm-cov --memory 2G"),
        ] {
            assert_eq!(passed(&line, &[]).unwrap(), (cargos.to_owned(), true), "{line}");
        }
    }

    #[test]
    fn what_bounds_the_jobs_bounds_cargos() {
        let jobs = [("PLIMSOLL_JOBS", "3")];
        for (line, variables, cargos) in [
            ("--jobs 2 build", &[][..], "build -j2"),
            ("build -j4", &[], "build -j4"),
            ("build -r --jobs=-1", &[], "build -j-1 -r"),
            ("check", &jobs, "check -j3"),
            ("check -j2", &jobs, "check -j2"),
            ("build -j2 -j3", &[], "build -j2 -j3"),
            // Not Cargo's `-j`.
            ("nextest run", &jobs, "nextest run"),
        ] {
            assert_eq!(passed(line, variables).unwrap(), (cargos.to_owned(), true), "{line}");
        }
        assert_eq!(passed("fmt", &jobs).unwrap(), ("fmt".to_owned(), false));
    }

    #[test]
    fn a_person_is_told_only_where_something_would_be_compiled() {
        for line in ["metadata", "build --help", "fetch"] {
            assert_eq!(passed(line, &[]).unwrap(), (line.to_owned(), false));
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_as_on_linux() {
        for (line, variables) in [
            ("--memory 1G build --memory 2G", &[][..]),
            ("build --memory lots", &[]),
            ("build", &[("PLIMSOLL_OVERSIZED", "perhaps")]),
        ] {
            assert_eq!(passed(line, variables).unwrap_err().status(), 2, "{line}");
        }
    }

    #[derive(Clone, Default)]
    struct Captured(Rc<RefCell<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// How a command of ours ends here, and its answer.
    fn answer(line: &str) -> (Result<i32, Failure>, String) {
        let CommandLine { ours: words, cli, .. } = read(line);
        let Some(cli::Command::Ours(ours)) = cli.command else { panic!("{line}") };
        let out = Captured::default();
        let mut shell = Shell::new(out.clone(), io::sink());
        let ended = command(ours, &[], Asked::read(words).unwrap(), &place(&[]), &mut shell);
        (ended, String::from_utf8(out.0.take()).unwrap())
    }

    #[test]
    fn our_commands_say_by_their_name_that_they_are_for_linux() {
        for command in Cli::definition().get_subcommands() {
            let name = command.get_name();
            // The first of these is Cargo's, too; the others work.
            if ["help", "run-under", "doctor"].contains(&name) {
                continue;
            }
            let (ended, said) = answer(if name == "worker" { "worker build" } else { name });
            let failure = ended.unwrap_err();
            assert_eq!((failure.status(), said.as_str()), (2, ""));
            assert!(failure.to_string().contains(&format!("`cargo plimsoll {name}`")), "{failure}");
        }
        for line in ["doctor --fix", "doctor --last", "doctor --slow"] {
            let failure = answer(line).0.unwrap_err();
            assert!(matches!(failure, Failure::NeedsLinux("doctor")), "{line}: {failure}");
        }
        let list = passed("build --staged --list", &[]).unwrap_err();
        assert!(matches!(list, Failure::NeedsLinux(_)), "{list}");
    }

    #[test]
    fn the_doctor_reads_logs_from_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("build.log");
        let killed = "error: could not compile `big` (lib)\n\nCaused by:\n  process didn't exit successfully: \
                      `rustc --crate-name big` (signal: 9, SIGKILL: kill)\n";
        fs::write(&path, killed).unwrap();
        let (ended, said) = answer(&format!("doctor {}", path.display()));
        assert_eq!(ended.unwrap(), 1);
        assert!(said.contains("memory"), "{said}");
        let (ended, said) = answer(&format!("doctor --json {}", path.display()));
        assert_eq!(ended.unwrap(), 1);
        assert!(said.starts_with('{'), "{said}");
        assert_eq!(answer("doctor no/such/file").0.unwrap_err().status(), 101);
    }
}
