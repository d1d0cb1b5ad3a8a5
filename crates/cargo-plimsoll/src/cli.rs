//! The command line of `cargo plimsoll`, up to the subcommand.
//!
//! Parsing only: what the words mean together is decided in [`crate::settings`], what Cargo's
//! arguments say in [`crate::cargo_args`]. The parser stops at the first word that is not an option of
//! ours (or one of Cargo's global options), so Cargo's arguments reach Cargo as they were written.

mod help;
mod hint;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use plimsoll_compare::Arm;

use crate::env;
use crate::exit;
use crate::options;
use help::{
    BENCH_HELP, CLEAN_HELP, DISABLE_HELP, DOCTOR_HELP, ENABLE_HELP, ENV_HELP, HISTORY_HELP,
    INIT_HELP, REPORT_HELP, RUN_UNDER_HELP, SETTINGS_HELP, STATUS_HELP, UNINSTALL_HELP,
    WORKER_HELP,
};

/// Run any Cargo command inside a memory budget.
#[derive(Debug, Parser)]
#[command(
    name = "cargo plimsoll",
    bin_name = "cargo plimsoll",
    version,
    override_usage = "cargo plimsoll [OPTIONS] <CARGO COMMAND> [CARGO'S ARGUMENTS]\n       \
                      cargo plimsoll [OPTIONS] <COMMAND>",
    disable_help_subcommand = true,
    help_template = "{about}\n\n{usage-heading} {usage}\n\n{before-help}{all-args}{after-help}",
    before_help = commands_help(),
    after_help = after_help()
)]
pub struct Cli {
    /// Cargo's own options before the subcommand.
    #[command(flatten)]
    pub globals: CargoGlobals,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command line, read up to Cargo's subcommand.
#[derive(Debug)]
pub struct CommandLine {
    /// The toolchain (`+nightly`), where it comes first.
    pub toolchain: Option<OsString>,
    /// Plimsoll's options, each in one word.
    pub ours: Vec<OsString>,
    /// The rest.
    pub cli: Cli,
}

/// Options that Cargo takes before its subcommand, passed on to it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cargo's own options, passed on")]
pub struct CargoGlobals {
    /// Print more (-vv: even more)
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Do not change Cargo.lock
    #[arg(long)]
    locked: bool,
    /// Do not use the network
    #[arg(long)]
    offline: bool,
    /// The same as --locked and --offline
    #[arg(long)]
    frozen: bool,
    /// Override a value of Cargo's configuration
    #[arg(long, value_name = "KEY=VALUE|PATH")]
    config: Vec<OsString>,
    /// Change to this directory first (unstable in Cargo)
    #[arg(short = 'C', value_name = "PATH")]
    directory: Option<PathBuf>,
    /// Set an unstable flag of Cargo (nightly only)
    #[arg(short = 'Z', value_name = "FLAG")]
    unstable: Vec<OsString>,
}

/// What `bench` is asked for.
#[derive(Clone, Debug, Args)]
pub struct BenchOptions {
    /// Arms to run: plain, serial, recipe, plimsoll, again, lowmem [default: all but again]
    #[arg(long, value_name = "ARM,…", value_delimiter = ',')]
    arms: Vec<Arm>,
    /// Number of rounds; in each, every arm builds once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..100))]
    pub rounds: u32,
    /// Also measure a rebuild after a change to one source file
    #[arg(long)]
    pub rebuild: bool,
    /// The source file that --rebuild changes [default: one of a package that no other one needs]
    #[arg(long, value_name = "PATH", requires = "rebuild")]
    pub touch: Option<PathBuf>,
    /// Write the figures to this file as JSON (- for stdout)
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,
    /// Write the table to this file as Markdown (- for stdout)
    #[arg(long, value_name = "PATH")]
    pub markdown: Option<PathBuf>,
    /// Keep the target directories of the builds
    #[arg(long)]
    pub keep: bool,
    /// Arguments for `cargo build`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CARGO BUILD ARGUMENTS"
    )]
    pub args: Vec<OsString>,
}

impl BenchOptions {
    /// The arms in the order in which they run, each once.
    #[must_use]
    pub fn arms(&self) -> Vec<Arm> {
        let is_asked = |arm: &Arm| match self.arms.as_slice() {
            [] => *arm != Arm::Again,
            asked => asked.contains(arm),
        };
        Arm::ALL.into_iter().filter(is_asked).collect()
    }
}

/// What `clean` is asked for.
#[derive(Clone, Debug, Args)]
pub struct CleanOptions {
    /// Remove without asking
    #[arg(long)]
    pub yes: bool,
    /// Show what would be removed, and remove nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Keep what was built in the last N days
    #[arg(long, value_name = "N", value_parser = days)]
    pub keep_days: Option<u32>,
    /// Keep what these toolchains built: installed, current, or their names [default: installed]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub keep_toolchains: Vec<String>,
}

/// What `init` is asked for.
#[derive(Clone, Debug, Default, Args)]
pub struct InitOptions {
    /// Show the difference and change nothing; the exit status is 1 if there is one
    #[arg(long)]
    pub check: bool,
    /// Take back what `init` wrote, and only that
    #[arg(long, conflicts_with_all = ["lowmem", "profile", "scripts"])]
    pub undo: bool,
    /// Write only the four scripts build-low-memory.sh, build-incremental.sh, build-env.sh and build-cf-worker.sh
    #[arg(long, conflicts_with_all = ["lowmem", "profile"])]
    pub scripts: bool,
    /// Also write settings that change your programs, into the profiles dev and release
    #[arg(long)]
    pub lowmem: bool,
    /// Write them into a new profile instead, for `cargo build --profile NAME`
    #[arg(long, value_name = "NAME", conflicts_with = "lowmem", value_parser = profile_name)]
    pub profile: Option<String>,
    /// The profile that the new profile inherits [default: release]
    #[arg(long, value_name = "NAME", requires = "profile", value_parser = profile_name)]
    pub inherits: Option<String>,
}

/// What `doctor` is asked: without anything, whether machine and workspace are set up well.
#[derive(Clone, Debug, Default, Args)]
pub struct DoctorOptions {
    /// Apply the fixes that change no program and are easy to undo, asking before each
    #[arg(long, conflicts_with_all = ["last", "slow", "log"])]
    pub fix: bool,
    /// With --fix: apply them without asking
    #[arg(long, requires = "fix")]
    pub yes: bool,
    /// Say what ended the last build of this workspace, or the build with this id
    #[arg(long, value_name = "ID", num_args = 0..=1, conflicts_with_all = ["slow", "log"], group = "recorded")]
    pub last: Option<Option<String>>,
    /// Say why the last build of this workspace, or the build with this id, was slow
    #[arg(long, value_name = "ID", num_args = 0..=1, conflicts_with = "log", group = "recorded")]
    pub slow: Option<Option<String>>,
    /// With --last or --slow: take the last build of any workspace
    #[arg(long, requires = "recorded")]
    pub all: bool,
    /// With --last or --slow: take the last build of the workspace of this manifest
    #[arg(long, value_name = "PATH", requires = "recorded", conflicts_with = "all")]
    pub manifest_path: Option<PathBuf>,
    /// Also list the checks that passed
    #[arg(long, short)]
    pub verbose: bool,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Say what ended the build with this log (- for stdin)
    pub log: Option<PathBuf>,
}

/// Which recorded builds a question is about.
#[derive(Clone, Debug, Default, Args)]
pub struct WhichBuild {
    /// Include the builds of every workspace
    #[arg(long)]
    pub all: bool,
    /// Take the workspace of this manifest
    #[arg(long, value_name = "PATH", conflicts_with = "all")]
    pub manifest_path: Option<PathBuf>,
}

impl DoctorOptions {
    /// Which recorded build is asked about.
    #[must_use]
    pub fn which(&self) -> WhichBuild {
        WhichBuild { all: self.all, manifest_path: self.manifest_path.clone() }
    }
}

/// What `report` shows.
#[derive(Clone, Debug, Default, Args)]
pub struct ReportOptions {
    /// The id of a build, or its beginning [default: the last build of this workspace]
    #[arg(conflicts_with = "builds")]
    pub id: Option<String>,
    /// List the recorded builds of this workspace
    // Not by its own name: that is the `--list` of `--staged`.
    #[arg(id = "builds", long = "list")]
    pub list: bool,
    /// Which workspace.
    #[command(flatten)]
    pub which: WhichBuild,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Print text, which is the default
    #[arg(long, conflicts_with = "json", hide = true)]
    pub text: bool,
}

/// What `worker` does.
#[derive(Clone, Debug, Subcommand)]
pub enum WorkerCommand {
    /// Build a Cloudflare Worker inside the budget, and show the size of the result
    #[command(after_help = WORKER_HELP)]
    Build(WorkerOptions),
}

/// What `worker build` is asked for.
#[derive(Clone, Debug, Args)]
pub struct WorkerOptions {
    /// The package to build [default: the one here, or the only Worker of the workspace]
    #[arg(long, short, value_name = "NAME")]
    pub package: Option<String>,
    /// Build optimized, which is the default
    #[arg(long, group = "kind")]
    pub release: bool,
    /// Build for development: not optimized, with checks
    #[arg(long, group = "kind", alias = "debug")]
    pub dev: bool,
    /// Build with this Cargo profile
    #[arg(long, group = "kind", value_name = "NAME", value_parser = profile_name)]
    pub profile: Option<String>,
    /// Do not run wasm-opt
    #[arg(long)]
    pub no_opt: bool,
    /// The output directory, relative to the package [default: build; pkg for a packed crate]
    #[arg(long, short = 'd', value_name = "PATH")]
    pub out_dir: Option<PathBuf>,
    /// The file name of a packed crate [default: the name of the crate]
    #[arg(long, value_name = "NAME")]
    pub out_name: Option<String>,
    /// The directory of your JavaScript for a packed crate, relative to the package [default: js, if it exists]
    #[arg(long, value_name = "PATH")]
    pub glue: Option<PathBuf>,
    /// Also write a zip archive of the output and the license [default: target/NAME-worker.zip]
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    pub zip: Option<Option<PathBuf>>,
    /// More arguments for `cargo build`
    #[arg(last = true, value_name = "CARGO BUILD ARGUMENTS")]
    pub args: Vec<OsString>,
}

impl WorkerOptions {
    /// The profile of Cargo's.
    #[must_use]
    pub fn profile(&self) -> &str {
        let kind = if self.dev { "dev" } else { "release" };
        self.profile.as_deref().unwrap_or(kind)
    }
}

/// The language of a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// POSIX: bash, zsh, dash.
    Bash,
    /// fish.
    Fish,
}

fn shell() -> impl TypedValueParser<Value = Language> {
    let shells = ["bash", "zsh", "fish", "sh", "dash", "ksh"];
    let language = |name: String| if name == "fish" { Language::Fish } else { Language::Bash };
    PossibleValuesParser::new(shells).map(language)
}

/// What to do: a command of ours, or any of Cargo's.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A command of ours.
    #[command(flatten)]
    Ours(Ours),
    /// Show this help, or that of a command
    Help {
        /// The command
        command: Vec<OsString>,
    },
    /// Any subcommand of Cargo: build, check, test, clippy, doc, run, bench, install, nextest, …
    #[command(external_subcommand)]
    Cargo(Vec<OsString>),
}

/// A command of ours.
#[derive(Debug, Subcommand)]
pub enum Ours {
    /// Compare Plimsoll with plain Cargo and the usual advice
    #[command(after_help = BENCH_HELP)]
    Bench(BenchOptions),
    /// Remove files that no build can use again from the target directory
    #[command(after_help = CLEAN_HELP)]
    Clean(CleanOptions),
    /// Find out what killed or slowed a build, or what is set up badly
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorOptions),
    /// Put plain `cargo`, and every tool that runs it, inside one budget
    #[command(after_help = ENABLE_HELP)]
    Enable,
    /// Undo `enable`: plain `cargo` is as it was before
    #[command(after_help = DISABLE_HELP)]
    Disable,
    /// Undo `enable`, and remove all that Plimsoll keeps on this account
    #[command(after_help = UNINSTALL_HELP)]
    Uninstall {
        /// Remove without asking
        #[arg(long)]
        yes: bool,
    },
    /// Show whether plain `cargo` runs inside the budget here
    #[command(after_help = STATUS_HELP)]
    Status {
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Put plain `cargo` inside the budget, in one shell only
    #[command(after_help = ENV_HELP)]
    Env {
        /// The shell that reads the commands [default: bash]
        #[arg(long, value_name = "SHELL", value_parser = shell(), default_value = "bash", hide_default_value = true)]
        shell: Language,
    },
    /// Write workspace settings with which builds need less memory
    #[command(after_help = INIT_HELP)]
    Init(InitOptions),
    /// Run make, ninja or any other command inside the budget
    #[command(after_help = RUN_UNDER_HELP)]
    RunUnder {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Show every setting and where it comes from
    #[command(after_help = SETTINGS_HELP)]
    Settings {
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Show live what your running builds do
    Top {
        /// Print it once and exit
        #[arg(long)]
        once: bool,
        /// Print it once, as one line of JSON per build
        #[arg(long)]
        json: bool,
    },
    /// Show a recorded build: memory over time, heaviest units, decisions
    #[command(after_help = REPORT_HELP)]
    Report(ReportOptions),
    /// Show how much memory and time each crate needed in past builds
    #[command(after_help = HISTORY_HELP)]
    History {
        /// Show only crates whose name contains this
        name: Option<String>,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Build Cloudflare Workers
    #[command(subcommand)]
    Worker(WorkerCommand),
}

impl CargoGlobals {
    /// `-C`: where Cargo goes before anything else.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The options as Cargo takes them.
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["-v".into(); usize::from(self.verbose)];
        let flags =
            [(self.locked, "--locked"), (self.offline, "--offline"), (self.frozen, "--frozen")];
        words.extend(flags.iter().filter(|(on, _)| *on).map(|(_, name)| OsString::from(name)));
        let with_value = self.config.iter().map(|value| ("--config", value));
        let with_value = with_value.chain(self.unstable.iter().map(|value| ("-Z", value)));
        let directory = self.directory.as_ref().map(|directory| ("-C", directory.as_os_str()));
        let with_value = with_value.map(|(name, value)| (name, value.as_os_str())).chain(directory);
        for (name, value) in with_value {
            words.extend([OsString::from(name), value.to_owned()]);
        }
        words
    }
}

impl Cli {
    /// Reads the words after the program's name, as Cargo gives them (`plimsoll build …`) or as a
    /// person does who calls `cargo-plimsoll build …` directly.
    ///
    /// # Errors
    /// Where they cannot be read, or ask for help or the version: clap's error prints either.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<CommandLine, clap::Error> {
        let mut words = words.into_iter().peekable();
        words.next_if(|word| word == "plimsoll");
        let toolchain = words.next_if(|word| word.as_encoded_bytes().starts_with(b"+"));
        let words: Vec<OsString> = words.collect();
        let program = OsString::from("cargo plimsoll");
        let mut definition = Self::definition();
        let read =
            definition.try_get_matches_from_mut(std::iter::once(program).chain(words.clone()));
        let matches = read.map_err(|error| hint::cargos_own(error, &words))?;
        let ours = ours(&mut definition, &matches)?;
        let cli = Self::from_arg_matches(&matches)?;
        if let Some(Command::Ours(Ours::Bench(options))) = &cli.command {
            hint::cargos_bench(&definition, &options.args)?;
        }
        hint::cargos_report(&definition, &matches)?;
        Ok(CommandLine { toolchain, ours, cli })
    }

    /// All that can be said before Cargo's subcommand, and to our own commands.
    #[must_use]
    pub fn definition() -> clap::Command {
        // They stand in the help by what they are for.
        let definition = Self::command().mut_subcommands(|command| command.hide(true));
        let mut definition = definition.args(options::definitions());
        let names: Vec<String> =
            definition.get_subcommands().map(|it| it.get_name().to_owned()).collect();
        for name in names.iter().filter(|name| *name != "help") {
            definition = definition.mut_subcommand(name, |command| with_options(command, name));
        }
        definition
    }

    /// The long help, as `--help` prints it; `None` where one of these words is no command of ours.
    #[must_use]
    pub fn help(words: &[OsString]) -> Option<clap::builder::StyledStr> {
        let mut definition = Self::definition();
        definition.build();
        let mut command = &mut definition;
        for word in words {
            command = command.find_subcommand_mut(word).filter(|it| it.get_name() != "help")?;
        }
        Some(command.render_long_help())
    }

    /// The names of our own commands.
    pub(crate) fn names() -> Vec<String> {
        Self::command().get_subcommands().map(|it| it.get_name().to_owned()).collect()
    }
}

/// A command of ours, and those below it, with the options of Plimsoll's that it uses.
fn with_options(command: clap::Command, name: &str) -> clap::Command {
    if !command.has_subcommands() {
        return command.args(options::of_command(name));
    }
    command.mut_subcommands(|below| {
        let name = format!("{name} {}", below.get_name());
        with_options(below, &name)
    })
}

/// The options of ours that stand before the command and after it.
fn ours(
    definition: &mut clap::Command,
    matches: &ArgMatches,
) -> Result<Vec<OsString>, clap::Error> {
    let mut words = options::words_of(matches);
    let (mut command, mut level) = (&*definition, matches);
    let mut name = Vec::new();
    while let Some((below, next)) = level.subcommand() {
        // Cargo's commands use all of them.
        let Some(found) = command.find_subcommand(below) else { return Ok(words) };
        (command, level) = (found, next);
        name.push(below.to_owned());
        words.extend(options::words_of(level));
    }
    let name = name.join(" ");
    let takes = options::of_command(&name);
    let is_foreign = |arg: &&clap::Arg| {
        let id = arg.get_id();
        let is_said = matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        is_said && !takes.iter().any(|taken| taken.get_id() == id)
    };
    let foreign =
        options::definitions().iter().find(is_foreign).map(|arg| options::shown(arg).to_string());
    match foreign.filter(|_| !name.is_empty() && name != "help") {
        Some(option) => Err(definition.error(
            ErrorKind::UnknownArgument,
            format!("`cargo plimsoll {name}` does not take {option}; leave it out"),
        )),
        None => Ok(words),
    }
}

/// A number of days.
fn days(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number of days; write `7`, for example"))
}

/// What Cargo takes as a profile's name.
fn profile_name(name: &str) -> Result<String, String> {
    let fits = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(fits) {
        return Err("a profile's name consists of letters, digits, `-` and `_`".to_owned());
    }
    Ok(name.to_owned())
}

/// Our commands by what they are for, in the order of the help. One in no group joins the last.
const GROUPS: [(&str, &[&str]); 3] = [
    ("Build", &["run-under", "worker"]),
    ("Understand", &["doctor", "report", "top", "history", "bench", "settings", "status"]),
    ("Set up", &["enable", "disable", "env", "init", "clean", "uninstall"]),
];

fn commands_help() -> String {
    let mut text = String::from(
        "Cargo's commands, inside the memory budget:\n  \
         build, check, test, clippy, doc, run, install, nextest, llvm-cov and any other\n",
    );
    let commands = Ours::augment_subcommands(clap::Command::new(""));
    let of_group = |name: &str| {
        let found = GROUPS.iter().position(|(_, names)| names.contains(&name));
        found.unwrap_or(GROUPS.len() - 1)
    };
    for (at, (heading, names)) in GROUPS.iter().enumerate() {
        let _ = writeln!(text, "\n{heading}:");
        let mut of_it: Vec<_> =
            commands.get_subcommands().filter(|it| of_group(it.get_name()) == at).collect();
        of_it.sort_by_key(|it| names.iter().position(|name| *name == it.get_name()));
        for command in of_it {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {:<11} {about}", command.get_name());
        }
    }
    text.push_str("\n`cargo plimsoll help <COMMAND>` shows more about a command.");
    text
}

/// What a person reads who names no command.
pub(crate) const NEXT: &str = "\
Plimsoll runs Cargo inside a memory budget, so that no build is killed for lack of memory.
  cargo plimsoll build     build; also check, test, clippy, doc, run and any other Cargo command
  cargo plimsoll doctor    find out what killed a build, or what is set up badly
  cargo plimsoll enable    put plain `cargo`, editors and scripts inside the budget, too
  cargo plimsoll help      see all commands and options";

fn after_help() -> String {
    let mut text = String::from(
        "You can also write Plimsoll's options among Cargo's arguments, before a `--`:\n  \
         cargo plimsoll build --memory 4G --release -p cli\n\n\
         plimsoll.toml (at the workspace's root, and in ~/.config/plimsoll) can set:\n  \
         memory, jobs, reserve, oversized, hard, [crates.NAME]\n\n\
         To run the Cargo command of the same name as one of ours, write `cargo` before it:\n  \
         cargo plimsoll cargo bench\n\nEnvironment:\n",
    );
    for (name, meaning) in env::PUBLIC {
        let _ = writeln!(text, "  {name:<21} {meaning}");
    }
    text.push_str("\nExit status:\n");
    for (code, meaning) in exit::MEANINGS {
        let _ = writeln!(text, "  {code:<8} {meaning}");
    }
    text
}

#[cfg(test)]
mod tests;
