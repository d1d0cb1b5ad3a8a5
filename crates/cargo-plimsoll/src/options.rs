//! Plimsoll's options, each defined once.
//!
//! From these definitions come the parser of the options before a command, that of each of our own commands (which
//! takes only the options that it uses), their help, and the list of what may stand among Cargo's arguments. What an
//! option means together with the environment and the files is decided in [`crate::settings`].

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches as _};
use plimsoll_core::oversized::Oversized;
use plimsoll_core::schedule::Priority;
use plimsoll_core::settings::Memory;

use crate::color::When;
use plimsoll_cargo::Jobs;
use plimsoll_cargo::Subcommand;

/// What the command line says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Asked {
    /// Memory budget: a size (1600MiB, 1.5G), a share of the memory (50%), or auto, which follows what the machine
    /// and its containers can spare [default: auto]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Number of parallel jobs; the same as -j among Cargo's arguments [default: the number of processors]
    #[arg(long, short, value_name = "N", allow_hyphen_values = true)]
    pub jobs: Option<Jobs>,
    /// What to do with a unit that exceeds the whole budget [default: shrink]
    #[arg(long, value_name = "ACTION", value_parser = oversized())]
    pub oversized: Option<Oversized>,
    /// Also let the kernel limit the build to its budget (with a cgroup), so that a wrong forecast harms nothing else
    #[arg(long)]
    pub hard: bool,
    /// Share of this build beside your other builds: low, normal or high, each four times the one before [default:
    /// normal]
    #[arg(long, value_name = "PRIORITY", value_parser = priority(), hide_possible_values = true)]
    pub priority: Option<Priority>,
    /// Run a test that was killed for lack of memory again, alone (output and side effects of the first run stay)
    #[arg(long)]
    pub retry_tests: bool,
    /// Build one part of the workspace after the other
    #[arg(long)]
    pub staged: bool,
    /// With --staged: show the parts and build nothing
    #[arg(long, requires = "staged")]
    pub list: bool,
    /// Print nothing but errors: no status line, no summary
    #[arg(long, short)]
    pub quiet: bool,
    /// When to use colors [default: auto]
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        hide_possible_values = true,
        help = "When to use colors: auto, always or never [default: auto]"
    )]
    pub color: Option<When>,
    /// The `-j` among Cargo's arguments.
    #[arg(skip)]
    pub cargo_jobs: Option<Jobs>,
}

/// Options that Cargo has by the same name. Among its arguments they are Cargo's.
const ALSO_CARGOS: [&str; 3] = ["jobs", "quiet", "color"];

/// More options than this no command of ours has.
const BEHIND: usize = 100;

/// Options that every command of ours uses.
const FOR_ALL: &[&str] = &["quiet", "color"];

/// The options that a command of ours uses, beside [`FOR_ALL`].
fn used_by(command: &str) -> &'static [&'static str] {
    match command {
        "bench" => &["memory", "jobs"],
        "enable" | "env" => &["memory"],
        "run-under" | "worker build" => &["memory", "jobs", "oversized", "hard", "priority"],
        "settings" => &["memory", "jobs", "oversized", "hard", "priority", "retry_tests"],
        _ => &[],
    }
}

impl Asked {
    /// Reads words that are nothing but these options, wherever they stood on the command line. Saying the same twice
    /// is no contradiction.
    ///
    /// # Errors
    /// Where they cannot be read or contradict each other.
    pub fn read(mut words: Vec<OsString>) -> Result<Self, clap::Error> {
        let mut seen: Vec<OsString> = Vec::new();
        words.retain(|word| {
            let is_new = !seen.contains(word);
            seen.push(word.clone());
            is_new
        });
        let command = Self::augment_args(Command::new("cargo plimsoll").no_binary_name(true));
        let mut matches = command.try_get_matches_from(words)?;
        Self::from_arg_matches_mut(&mut matches)
    }
}

/// All definitions.
#[must_use]
pub fn definitions() -> Vec<Arg> {
    Asked::augment_args(Command::new("")).get_arguments().cloned().collect()
}

/// The definitions that a command of ours takes, by its name (`worker build`).
pub(crate) fn of_command(name: &str) -> Vec<Arg> {
    let uses = |arg: &Arg| {
        let id = arg.get_id().as_str();
        FOR_ALL.contains(&id) || used_by(name).contains(&id)
    };
    let adapted = |arg: Arg| {
        match (arg.get_id().as_str(), name) {
        ("quiet", "run-under" | "worker build") => arg,
        ("quiet", _) => arg.help("Print only results and errors, no notes"),
        ("memory", "bench") => {
            arg.help("Memory budget of Plimsoll's arms: a size or a share [default: the peak of recipe]")
        }
        ("memory", "enable") => arg.help(
            "Memory budget of all your builds together: a size (6G), a share of the memory (50%), or auto [default: as \
             before, at first auto]",
        ),
        _ => arg,
    }
    };
    // Behind those of the command itself, in the order of the definitions.
    let behind = |(at, arg): (usize, Arg)| arg.display_order(BEHIND + at);
    definitions().into_iter().filter(uses).map(adapted).enumerate().map(behind).collect()
}

/// The words that say what stood on the command line, each option with its value in one word.
pub(crate) fn words_of(matches: &ArgMatches) -> Vec<OsString> {
    let mut words = Vec::new();
    for arg in definitions() {
        let (id, Some(name)) = (arg.get_id().as_str(), arg.get_long()) else { continue };
        let is_there = matches!(matches.try_contains_id(id), Ok(true));
        if !is_there || matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        if arg.get_action().takes_values() {
            words.extend(matches.get_raw(id).into_iter().flatten().map(|it| one_word(name, it)));
        } else {
            words.push(format!("--{name}").into());
        }
    }
    words
}

/// Each option with its value in one word: in two, the same value twice would look like a word said twice.
pub(crate) fn in_one_word(words: Vec<OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    for word in words {
        match joined.last_mut() {
            Some(before) if !word.as_encoded_bytes().starts_with(b"-") => {
                before.push("=");
                before.push(word);
            }
            _ => joined.push(word),
        }
    }
    joined
}

fn one_word(name: &str, value: &OsStr) -> OsString {
    let mut word = OsString::from(format!("--{name}="));
    word.push(value);
    word
}

/// What may stand among Cargo's arguments.
#[derive(Clone, Debug, Default)]
pub(crate) struct AmongCargos {
    definitions: Vec<Arg>,
}

impl AmongCargos {
    /// For a subcommand of Cargo's.
    pub(crate) fn of(subcommand: &Subcommand) -> Self {
        let is_ours = |arg: &Arg| match arg.get_id().as_str() {
            "quiet" => !subcommand.takes_quiet,
            id => !ALSO_CARGOS.contains(&id),
        };
        let all = if subcommand.lets_ours_in { definitions() } else { Vec::new() };
        Self { definitions: all.into_iter().filter(is_ours).collect() }
    }

    /// The option of ours that this word names: `--memory`, `-q`.
    pub(crate) fn named(&self, word: &str) -> Option<&Arg> {
        self.definitions.iter().find(|arg| {
            let long = arg.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
            long || arg.get_short().is_some_and(|short| word == format!("-{short}"))
        })
    }

    /// Whether the word names an option of ours whose value may be the next word.
    pub(crate) fn takes_value(&self, word: &str) -> bool {
        self.named(word).is_some_and(|arg| arg.get_action().takes_values())
    }

    /// What a person reads below the help of that subcommand.
    pub(crate) fn help(&self) -> clap::builder::StyledStr {
        let command =
            Command::new("cargo plimsoll").disable_help_flag(true).args(self.definitions.clone());
        let heading = "Options of Plimsoll for this command:";
        command.help_template(format!("{heading}\n{{options}}")).render_help()
    }
}

fn oversized() -> impl TypedValueParser<Value = Oversized> {
    one_of(Oversized::ALL.map(|it| (it.as_str(), it.meaning())))
}

fn priority() -> impl TypedValueParser<Value = Priority> {
    one_of([Priority::Low, Priority::Normal, Priority::High].map(|it| (it.as_str(), "")))
}

/// A value that is one of these words, each with its meaning.
fn one_of<T, const N: usize>(
    words: [(&'static str, &'static str); N],
) -> impl TypedValueParser<Value = T> + use<T, N>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    let value = |(word, meaning): (&'static str, &'static str)| {
        let value = PossibleValue::new(word);
        if meaning.is_empty() { value } else { value.help(meaning) }
    };
    PossibleValuesParser::new(words.map(value)).try_map(|word: String| word.parse())
}

/// `--name` for messages.
pub(crate) fn shown(arg: &Arg) -> impl Display {
    format!("--{}", arg.get_long().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_core::Bytes;

    fn read(line: &str) -> Result<Asked, clap::Error> {
        Asked::read(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn what_is_said_twice_must_be_the_same() {
        let two = Some(Memory::Size(Bytes::gib(2)));
        assert_eq!(read("--memory=2G --hard --memory=2G --hard").unwrap().memory, two);
        let error = read("--memory=2G --memory=3G").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("'--memory <SIZE>'"), "{error}");
    }

    #[test]
    fn each_command_names_options_that_there_are() {
        let all: Vec<String> =
            definitions().iter().map(|arg| arg.get_id().as_str().to_owned()).collect();
        for command in ["bench", "enable", "env", "run-under", "worker build", "settings"] {
            for id in used_by(command).iter().chain(FOR_ALL).chain(&ALSO_CARGOS) {
                assert!(all.iter().any(|it| it == id), "{command}: {id}");
            }
        }
    }

    #[test]
    fn the_list_among_cargos_arguments_is_the_list_of_definitions() {
        let build = AmongCargos::of(&Subcommand::named(OsStr::new("build")));
        for arg in definitions() {
            let name = shown(&arg).to_string();
            let is_cargos = ALSO_CARGOS.contains(&arg.get_id().as_str());
            assert_eq!(build.named(&name).is_none(), is_cargos, "{name}");
        }
        let nextest = AmongCargos::of(&Subcommand::named(OsStr::new("nextest")));
        assert!(nextest.named("-q").is_some() && nextest.named("--jobs").is_none());
        assert!(build.named("-q").is_none(), "it is Cargo's");
        let foreign = AmongCargos::of(&Subcommand::named(OsStr::new("llvm-cov")));
        assert!(foreign.named("--memory").is_none());
    }
}
