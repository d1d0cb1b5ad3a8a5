//! The words that follow `cargo plimsoll [options]`: which subcommand of Cargo, what its arguments
//! say that the governor must know, and which of them are Plimsoll's.
//!
//! Everything that is not ours goes to Cargo as it was written, in its order; words need not be
//! UTF-8. What Cargo would refuse (a `-j` that is no number, one given twice) is left for Cargo to
//! refuse in its own words. Deliberately not a parser of Cargo's command line: it knows only which
//! options take a value, so as not to read a value as an option.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;

use crate::color::When;
use crate::env::Environment;
use crate::options::AmongCargos;
use plimsoll_cargo::Jobs;
use plimsoll_cargo::{Kind, Subcommand, expand_alias};

/// One call of Cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CargoCall {
    /// `+toolchain`, as written.
    pub toolchain: Option<OsString>,
    /// Cargo's own options before the subcommand.
    pub globals: Vec<OsString>,
    /// The subcommand as it is passed on: as written, or what an alias stands for.
    pub subcommand: OsString,
    /// What the subcommand is after aliases: `build` for `b`.
    pub resolved: OsString,
    /// The subcommand's arguments, without Plimsoll's and without `-j`.
    pub args: Vec<OsString>,
    /// What the subcommand does.
    pub kind: Kind,
    /// The `-j` that was taken out of the arguments: an inherited jobserver makes Cargo warn of it.
    pub jobs: Option<Jobs>,
    /// `--keep-going`: an error does not end the build.
    pub keep_going: bool,
    /// Cargo was told to be quiet.
    pub quiet: bool,
    /// `--color`, where it stands among the subcommand's arguments.
    pub color: Option<When>,
    /// Compiler messages go to stdout as JSON.
    pub json_messages: bool,
    /// Nothing is compiled: `--unit-graph`, `install --dry-run` or a plea for help.
    pub compiles_nothing: bool,
    /// `--manifest-path`.
    pub manifest_path: Option<PathBuf>,
    /// `-C`: where Cargo goes before anything else.
    pub directory: Option<PathBuf>,
    /// `--config`, in their order.
    pub config: Vec<OsString>,
    /// `--target-dir`.
    pub target_dir: Option<PathBuf>,
    /// `--path` of `cargo install`.
    pub install_path: Option<PathBuf>,
    /// Nothing but help is asked for.
    pub asks_help: bool,
    /// `--staged`.
    pub staged: bool,
    /// `--list`, beside `--staged`.
    pub lists_stages: bool,
}

/// Words that are no call of Cargo.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadArguments {
    /// No subcommand follows the toolchain.
    #[error("no subcommand follows `{0}`; write for example `cargo plimsoll {0} build`")]
    NoSubcommand(String),
}

impl CargoCall {
    /// Reads the words from the toolchain or subcommand on; `globals` are Cargo's options that stood
    /// before it, `aliases` those of Cargo's configuration.
    ///
    /// Beside it are the words that are Plimsoll's options, for [`crate::options::Asked::read`].
    ///
    /// # Errors
    /// Where no subcommand is named.
    pub fn read(
        globals: Vec<OsString>,
        words: &[OsString],
        aliases: &BTreeMap<String, Vec<String>>,
    ) -> Result<(Self, Vec<OsString>), BadArguments> {
        let (toolchain, words) = split_toolchain(words);
        let [written, rest @ ..] = words else {
            let shown = toolchain.unwrap_or_default();
            return Err(BadArguments::NoSubcommand(shown.to_string_lossy().into_owned()));
        };
        let expanded = expand_alias(written, aliases).unwrap_or_else(|| vec![written.clone()]);
        let resolved = expanded[0].clone();
        let from_alias = expanded.len() - 1;
        let subcommand = Subcommand::named(&resolved);
        let all: Vec<OsString> = expanded[1..].iter().chain(rest).cloned().collect();

        let mut call = Self {
            toolchain,
            globals: Vec::new(),
            subcommand: written.clone(),
            resolved,
            args: Vec::new(),
            kind: subcommand.kind,
            jobs: None,
            keep_going: false,
            quiet: false,
            color: None,
            json_messages: false,
            compiles_nothing: false,
            manifest_path: None,
            directory: None,
            config: Vec::new(),
            target_dir: None,
            install_path: None,
            asks_help: false,
            staged: false,
            lists_stages: false,
        };
        let mut ours = Vec::new();
        for item in cut(&globals, false, &AmongCargos::default()) {
            call.note(&item);
        }
        call.globals = globals;

        let among = AmongCargos::of(&subcommand);
        let items = cut(&all, subcommand.first_word_ends_options, &among);
        // More than one, or one that is no number: Cargo says so itself.
        let takes_jobs = subcommand.takes_jobs
            && items.iter().filter(|item| item.is_jobs()).count() == 1
            && items.iter().any(|item| item.jobs().is_some());
        // Without `--staged` a `--list` is somebody else's.
        let is_staged = items.iter().any(|item| item.name == "--staged");
        let is_ours = |item: &Item<'_>| {
            among.named(&item.option()).is_some() && (is_staged || item.name != "--list")
        };
        let mut kept_of_alias = 0;
        for item in &items {
            if takes_jobs && let Some(jobs) = item.jobs() {
                call.jobs = Some(jobs);
                call.note(item);
                call.args.extend(item.before_jobs.clone());
            } else if is_ours(item) {
                ours.extend_from_slice(item.words);
            } else {
                call.note(item);
                if item.end <= from_alias {
                    kept_of_alias += item.words.len();
                }
                call.args.extend_from_slice(item.words);
            }
        }
        if kept_of_alias == from_alias {
            call.args.drain(..from_alias);
        } else {
            // Something inside the alias was taken: what is left of it is passed on instead.
            call.subcommand = call.resolved.clone();
        }
        Ok((call, ours))
    }

    /// The whole command line after the program.
    pub fn command_line(&self) -> impl Iterator<Item = &OsStr> {
        self.toolchain
            .iter()
            .chain(&self.globals)
            .chain(std::iter::once(&self.subcommand))
            .chain(&self.args)
            .map(OsString::as_os_str)
    }

    /// Whether this call may compile anything, as far as its words tell.
    #[must_use]
    pub fn builds(&self) -> bool {
        self.kind != Kind::NeverBuilds && !self.compiles_nothing
    }

    /// Where Cargo begins to look for configuration files: `cargo install` leaves out those of the
    /// directory that it is called in (`commands/install.rs`).
    #[must_use]
    pub fn config_root(&self, cwd: &Path, environment: &Environment) -> PathBuf {
        match &self.install_path {
            _ if self.resolved != "install" => cwd.to_owned(),
            Some(path) => cwd.join(path),
            None => environment.cargo_home(cwd).unwrap_or_else(|| cwd.to_owned()),
        }
    }

    /// `cargo publish --dry-run` builds the package, to verify it.
    fn dry_run_compiles_nothing(&self) -> bool {
        self.resolved == "install"
    }

    fn note(&mut self, item: &Item<'_>) {
        let path = || item.value.as_ref().map(PathBuf::from);
        match item.name.as_str() {
            "--keep-going" => self.keep_going = true,
            "--quiet" => self.quiet = true,
            "--help" => (self.compiles_nothing, self.asks_help) = (true, true),
            "--unit-graph" => self.compiles_nothing = true,
            "--dry-run" => self.compiles_nothing |= self.dry_run_compiles_nothing(),
            "--manifest-path" => self.manifest_path = path(),
            "--target-dir" => self.target_dir = path(),
            "--path" => self.install_path = path(),
            "--color" => {
                let text = item.value.as_deref().unwrap_or_default().to_string_lossy();
                self.color = When::from_str(&text, true).ok();
            }
            "-C" => self.directory = path(),
            "--config" => self.config.extend(item.value.clone()),
            "--message-format" => {
                let text = item.value.as_deref().unwrap_or_default().to_string_lossy();
                self.json_messages |=
                    text.split(',').any(|word| word.to_ascii_lowercase().starts_with("json"));
            }
            _ => {}
        }
        for flag in item.flags.chars() {
            match flag {
                'q' => self.quiet = true,
                'h' => (self.compiles_nothing, self.asks_help) = (true, true),
                'n' => self.compiles_nothing |= self.dry_run_compiles_nothing(),
                _ => {}
            }
        }
    }
}

fn split_toolchain(words: &[OsString]) -> (Option<OsString>, &[OsString]) {
    match words {
        [first, rest @ ..] if first.as_encoded_bytes().starts_with(b"+") => {
            (Some(first.clone()), rest)
        }
        _ => (None, words),
    }
}

/// One option with its value, one positional word, or all that follows the options.
#[derive(Default)]
struct Item<'a> {
    /// The words that it is made of.
    words: &'a [OsString],
    /// The index after its last word.
    end: usize,
    /// The option's name where it is known in full (`--jobs`, `-C`), else empty.
    name: String,
    /// Its value.
    value: Option<OsString>,
    /// Single-letter flags without a value.
    flags: String,
    /// What is left of a cluster (`-rj4`) without the `j` and its value.
    before_jobs: Option<OsString>,
}

impl Item<'_> {
    fn is_jobs(&self) -> bool {
        self.name == "--jobs"
    }

    fn jobs(&self) -> Option<Jobs> {
        if self.is_jobs() { self.value.as_ref()?.to_str()?.parse().ok() } else { None }
    }

    /// Its name, as it is written: `--memory`, or a letter by itself (`-q`).
    fn option(&self) -> String {
        if self.name.is_empty() { format!("-{}", self.flags) } else { self.name.clone() }
    }
}

/// Long options of Cargo whose value may be the next word.
const WITH_VALUE: &[&str] = &[
    "--artifact-dir",
    "--bench",
    "--bin",
    "--branch",
    "--color",
    "--config",
    "--example",
    "--exclude",
    "--features",
    "--git",
    "--index",
    "--jobs",
    "--lockfile-path",
    "--manifest-path",
    "--message-format",
    "--out-dir",
    "--output-format",
    "--package",
    "--path",
    "--profile",
    "--registry",
    "--rev",
    "--root",
    "--tag",
    "--target",
    "--target-dir",
    "--test",
    "--token",
    "--vers",
    "--version",
];

/// Single-letter options with a value, and their long names.
const SHORT_WITH_VALUE: &[(char, &str)] =
    &[('C', "-C"), ('F', "--features"), ('Z', "-Z"), ('j', "--jobs"), ('p', "--package")];

/// Cuts the words into items; what follows `--` (or, with `first_word_ends`, the first positional
/// word) is one item.
fn cut<'a>(words: &'a [OsString], first_word_ends: bool, ours: &AmongCargos) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let bytes = word.as_encoded_bytes();
        let positional = !bytes.starts_with(b"-") || bytes == b"-";
        if bytes == b"--" || positional && first_word_ends {
            items.push(Item { words: &words[at..], end: words.len(), ..Item::default() });
            break;
        }
        let mut item = if bytes.starts_with(b"--") {
            long_option(word)
        } else if positional {
            Item::default()
        } else {
            short_options(word)
        };
        let wants_value = item.value.is_none()
            && (WITH_VALUE.contains(&item.name.as_str())
                || ours.takes_value(&item.name)
                || SHORT_WITH_VALUE.iter().any(|(_, name)| *name == item.name));
        let next = words.get(at + 1).filter(|next| {
            // Of Cargo's options only `-j` takes a value that begins with a hyphen.
            item.is_jobs() || !next.as_encoded_bytes().starts_with(b"-")
        });
        let mut end = at + 1;
        if wants_value && let Some(next) = next {
            item.value = Some(next.clone());
            end += 1;
        }
        item.words = &words[at..end];
        item.end = end;
        items.push(item);
        at = end;
    }
    items
}

fn long_option<'a>(word: &OsStr) -> Item<'a> {
    let (name, value) = match word.as_encoded_bytes().iter().position(|byte| *byte == b'=') {
        Some(cut) => split_at(word, cut, cut + 1),
        None => (word.to_string_lossy().into_owned(), None),
    };
    Item { name, value, ..Item::default() }
}

fn short_options<'a>(word: &OsStr) -> Item<'a> {
    let mut item = Item::default();
    for (at, letter) in word.as_encoded_bytes().iter().enumerate().skip(1) {
        let letter = char::from(*letter);
        if let Some((_, name)) = SHORT_WITH_VALUE.iter().find(|(short, _)| *short == letter) {
            item.name = (*name).to_owned();
            let (before, value) = split_at(word, at, at + 1);
            item.value = value.filter(|value| !value.is_empty()).map(|value| {
                // As in `-j=4`.
                match value.as_encoded_bytes() {
                    [b'=', ..] => split_at(&value, 0, 1).1.unwrap_or_default(),
                    _ => value,
                }
            });
            item.before_jobs = (at > 1).then(|| OsString::from(before));
            break;
        }
        item.flags.push(letter);
    }
    item
}

/// The text before `head` (an ASCII byte's place) and the bytes from `tail` on.
#[cfg(unix)]
fn split_at(word: &OsStr, head: usize, tail: usize) -> (String, Option<OsString>) {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = word.as_bytes();
    let name = String::from_utf8_lossy(&bytes[..head]).into_owned();
    (name, Some(OsStr::from_bytes(&bytes[tail..]).to_owned()))
}

/// The text before `head` (an ASCII byte's place) and the text from `tail` on.
#[cfg(not(unix))]
fn split_at(word: &OsStr, head: usize, tail: usize) -> (String, Option<OsString>) {
    let bytes = word.as_encoded_bytes();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&bytes[..head]), Some(OsString::from(text(&bytes[tail..]))))
}

#[cfg(test)]
mod tests;
