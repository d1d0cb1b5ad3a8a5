//! `plimsoll.toml`: what a repository and its user say once and for all.
//!
//! One file stands at the workspace's root, the other in the user's configuration directory. A repository's file
//! is somebody else's text: it can name numbers and nothing that would be run, and it cannot take more of the
//! machine than the user's own file gives. What goes before what is in [`crate::settings`].

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{fs, io};

use plimsoll_cargo::Jobs;
use plimsoll_cargo::toml_text::line_of;
use plimsoll_core::Bytes;
use plimsoll_core::oversized::{BadOversized, Oversized};
use plimsoll_core::settings::{BadMemory, Memory};
use toml_edit::{Document, Item, TableLike, Value};

use crate::env::Environment;

/// The file's name.
pub const NAME: &str = "plimsoll.toml";

/// What may stand in it, with one sentence each.
pub const KEYS: [(&str, &str); 6] = [
    ("memory", "the memory budget, as `--memory`"),
    ("jobs", "how many jobs run at once, at most, as `--jobs`"),
    (
        "reserve",
        "how much of the machine's memory stays free for everything else: a size or a share",
    ),
    ("oversized", "what may be done with a unit that exceeds the whole budget, as `--oversized`"),
    ("hard", "`true` also sets a hard limit of the kernel's, as `--hard`"),
    (
        "crates",
        "`[crates.NAME]`: what you know of a package before a build has shown it; `memory`, `note`",
    ),
];

/// A value in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// What one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlimsollToml {
    /// `memory`: the budget.
    pub memory: Option<Given<Memory>>,
    /// `jobs`: units at once, at most.
    pub jobs: Option<Given<Jobs>>,
    /// `reserve`: what of the machine's memory is kept free for everything else.
    pub reserve: Option<Given<Memory>>,
    /// `oversized`: what may be done with a unit that exceeds the budget by itself.
    pub oversized: Option<Given<Oversized>>,
    /// `hard`: whether the kernel, too, keeps the build to its budget.
    pub hard: Option<Given<bool>>,
    /// `[crates.NAME]`: what is known of single packages.
    pub crates: BTreeMap<String, CrateNote>,
}

/// What is known of a package's largest unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrateNote {
    /// What it needs at its peak, until a build has shown it.
    pub memory: Option<Bytes>,
    /// What a person should know of it.
    pub note: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// Both files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The repository's.
    pub repo: PlimsollToml,
    /// The user's own.
    pub user: PlimsollToml,
}

impl PlimsollToml {
    /// The budget of the account and what is kept free beside it: what `enable --memory` said goes before the file.
    #[must_use]
    pub fn of_account(&self, enabled: Memory) -> (Memory, Memory) {
        let said = |given: &Option<Given<Memory>>| given.as_ref().map(|given| given.value);
        let budget = Some(enabled).filter(|it| *it != Memory::Auto).or(said(&self.memory));
        (budget.unwrap_or_default(), said(&self.reserve).unwrap_or_default())
    }
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// It cannot be read.
    #[error("cannot read `{}`: {source}; make it readable or remove it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not TOML.
    #[error("{place}: not TOML: {what}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        what: String,
    },
    /// A key that means nothing.
    #[error("{place}: unknown key `{key}`; {advice}")]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What may have been meant.
        advice: String,
    },
    /// A value that cannot be used.
    #[error("{place}: {key}: {what}")]
    Value {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What is wrong, and what to write.
        what: String,
    },
}

impl Files {
    /// Reads the file of the workspace that `from` is in, and the user's; those that are not there say nothing.
    ///
    /// # Errors
    /// Where one of them is there and cannot be used.
    pub fn find(from: &Path, environment: &Environment) -> Result<Self, BadFile> {
        let (files, bad) = Self::readable(from, environment);
        bad.into_iter().next().map_or(Ok(files), Err)
    }

    /// The same for a command that works without them: one that cannot be used says nothing, and why.
    #[must_use]
    pub fn readable(from: &Path, environment: &Environment) -> (Self, Vec<BadFile>) {
        let user = user_file(environment);
        let repo = workspace_root(from).map(|root| root.join(NAME));
        let repo = repo.filter(|repo| Some(repo) != user.as_ref());
        let mut bad = Vec::new();
        let mut read = |path: Option<PathBuf>| {
            let said = path.map_or(Ok(PlimsollToml::default()), self::read);
            said.unwrap_or_else(|error| {
                bad.push(error);
                PlimsollToml::default()
            })
        };
        let files = Self { repo: read(repo), user: read(user) };
        (files, bad)
    }

    /// What is said of single packages, the repository's before the user's.
    #[must_use]
    pub fn crates(&self) -> BTreeMap<String, CrateNote> {
        let mut crates = self.user.crates.clone();
        crates.extend(self.repo.crates.clone());
        crates
    }
}

/// What the user's own file says.
///
/// # Errors
/// Where it is there and cannot be used.
pub fn user(environment: &Environment) -> Result<PlimsollToml, BadFile> {
    user_file(environment).map_or(Ok(PlimsollToml::default()), read)
}

/// Where the XDG base directory specification puts it; a relative `XDG_CONFIG_HOME` counts for nothing there.
pub(crate) fn user_file(environment: &Environment) -> Option<PathBuf> {
    let named = environment.get("XDG_CONFIG_HOME").map(PathBuf::from);
    let directory = named.filter(|directory| directory.is_absolute());
    let directory = directory.or_else(|| environment.home().map(|home| home.join(".config")))?;
    Some(directory.join("plimsoll").join(NAME))
}

/// The workspace's root, as Cargo finds it (`core/workspace.rs`): the nearest package's `package.workspace`, else
/// the nearest manifest with `[workspace]` that does not exclude it, else the package itself. `from` is a
/// directory or a manifest. No Cargo is asked: that would cost each build a process.
pub(crate) fn workspace_root(from: &Path) -> Option<PathBuf> {
    let manifest_of = |directory: &Path| {
        let text = fs::read_to_string(directory.join("Cargo.toml")).ok()?;
        text.parse::<toml::Table>().ok()
    };
    let above = |directory: &Path, name: &str| directory.join(name).exists();
    let from = if from.is_dir() { from } else { from.parent()? };
    let package = from.ancestors().find(|directory| above(directory, "Cargo.toml"))?;
    let manifest = manifest_of(package)?;
    if manifest.contains_key("workspace") {
        return Some(package.to_owned());
    }
    let named = manifest.get("package").and_then(|it| it.get("workspace")?.as_str());
    if let Some(named) = named {
        return package.join(named).canonicalize().ok();
    }
    let excludes = |root: &Path, manifest: &toml::Table| {
        let excluded = manifest.get("workspace").and_then(|it| it.get("exclude")?.as_array());
        let mut paths = excluded.into_iter().flatten().filter_map(toml::Value::as_str);
        paths.any(|path| package.starts_with(root.join(path)))
    };
    let root = package.ancestors().skip(1).find(|directory| {
        manifest_of(directory)
            .is_some_and(|it| it.contains_key("workspace") && !excludes(directory, &it))
    });
    Some(root.unwrap_or(package).to_owned())
}

fn read(path: PathBuf) -> Result<PlimsollToml, BadFile> {
    match fs::read_to_string(&path) {
        Ok(text) => parse(&path, &text),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(PlimsollToml::default())
        }
        Err(source) => Err(BadFile::Unreadable { path, source }),
    }
}

/// What a file with this text says.
///
/// # Errors
/// Where it says something that means nothing.
pub fn parse(path: &Path, text: &str) -> Result<PlimsollToml, BadFile> {
    let at = |offset: usize| Place { path: path.to_owned(), line: line_of(text, offset) };
    let document = Document::parse(text).map_err(|error| BadFile::Syntax {
        place: at(error.span().map_or(0, |span| span.start)),
        what: error.message().to_owned(),
    })?;
    let mut says = PlimsollToml::default();
    for entry in Entry::all(document.as_table(), "", &at) {
        match entry.key.as_str() {
            "memory" => says.memory = Some(entry.parsed()?),
            "jobs" => says.jobs = Some(entry.jobs()?),
            "reserve" => says.reserve = Some(entry.reserve()?),
            "oversized" => says.oversized = Some(entry.oversized()?),
            "hard" => says.hard = Some(entry.switch()?),
            "crates" => says.crates = crates(&entry, &at)?,
            _ => return Err(entry.unknown(&KEYS.map(|(key, _)| key))),
        }
    }
    Ok(says)
}

fn crates(
    entry: &Entry<'_>,
    at: &dyn Fn(usize) -> Place,
) -> Result<BTreeMap<String, CrateNote>, BadFile> {
    let mut crates = BTreeMap::new();
    for named in Entry::all(entry.table("[crates.serde]")?, "crates.", at) {
        let mut known = CrateNote { memory: None, note: None, place: named.place.clone() };
        let prefix = format!("{}.", named.key);
        for entry in Entry::all(named.table("memory = \"900M\"")?, &prefix, at) {
            match entry.key[prefix.len()..].as_ref() {
                "memory" => known.memory = Some(entry.size()?),
                "note" => known.note = Some(entry.text("a text, in quotes")?.to_owned()),
                _ => return Err(entry.unknown(&["memory", "note"])),
            }
        }
        crates.insert(named.key["crates.".len()..].to_owned(), known);
    }
    Ok(crates)
}

/// A key and what stands behind it.
struct Entry<'a> {
    /// With the tables that it is in.
    key: String,
    item: &'a Item,
    place: Place,
}

impl<'a> Entry<'a> {
    fn all(table: &'a dyn TableLike, prefix: &str, at: &dyn Fn(usize) -> Place) -> Vec<Self> {
        let entries = table.iter().map(|(key, item)| {
            let spans = [table.key(key).and_then(toml_edit::Key::span), item.span()];
            let start = spans.into_iter().flatten().next().map_or(0, |span| span.start);
            Self { key: format!("{prefix}{key}"), item, place: at(start) }
        });
        entries.collect()
    }

    fn wrong(&self, what: impl Display) -> BadFile {
        let (place, key) = (self.place.clone(), self.key.clone());
        BadFile::Value { place, key, what: what.to_string() }
    }

    fn given<T>(&self, value: T) -> Given<T> {
        Given { value, place: self.place.clone() }
    }

    fn text(&self, wanted: &str) -> Result<&'a str, BadFile> {
        self.item.as_str().ok_or_else(|| self.wrong(format_args!("write {wanted}")))
    }

    fn parsed(&self) -> Result<Given<Memory>, BadFile> {
        let text =
            self.text("a size (`\"1600MiB\"`), a share (`\"50%\"`) or `\"auto\"`, in quotes")?;
        text.parse().map(|value| self.given(value)).map_err(|error: BadMemory| self.wrong(error))
    }

    fn reserve(&self) -> Result<Given<Memory>, BadFile> {
        match self.parsed() {
            Err(BadFile::Value { what, .. }) if what.contains("less than any build needs") => {
                Err(self.wrong("Plimsoll always keeps more than that free; remove the line"))
            }
            parsed => parsed,
        }
    }

    fn size(&self) -> Result<Bytes, BadFile> {
        match self.parsed()?.value {
            Memory::Size(size) => Ok(size),
            Memory::Auto | Memory::Percent(_) => {
                Err(self.wrong("write a size, for example `\"900MiB\"`"))
            }
        }
    }

    fn jobs(&self) -> Result<Given<Jobs>, BadFile> {
        let jobs = match self.item.as_value() {
            Some(Value::Integer(number)) => Jobs::from_integer(*number.value()),
            Some(Value::String(text)) => text.value().parse().ok(),
            _ => None,
        };
        let wanted = "write a number other than 0 (a negative one counts down from the processors), or `\"default\"`";
        jobs.map(|jobs| self.given(jobs)).ok_or_else(|| self.wrong(wanted))
    }

    fn switch(&self) -> Result<Given<bool>, BadFile> {
        let value = self.item.as_bool().ok_or_else(|| self.wrong("write `true` or `false`"))?;
        Ok(self.given(value))
    }

    fn oversized(&self) -> Result<Given<Oversized>, BadFile> {
        let text =
            self.text("`\"refuse\"`, `\"run\"`, `\"shrink\"` or `\"shrink-output\"`, in quotes")?;
        text.parse().map(|it| self.given(it)).map_err(|error: BadOversized| self.wrong(error))
    }

    fn table(&self, example: &str) -> Result<&'a dyn TableLike, BadFile> {
        let wanted = || self.wrong(format_args!("write a table, for example `{example}`"));
        self.item.as_table_like().ok_or_else(wanted)
    }

    fn unknown(&self, known: &[&str]) -> BadFile {
        let (prefix, name) = self.key.rsplit_once('.').unwrap_or(("", &self.key));
        let distance = |other: &&&str| strsim::damerau_levenshtein(name, other);
        let nearest = known.iter().min_by_key(distance).filter(|nearest| distance(nearest) <= 2);
        let advice = match nearest {
            Some(meant) if prefix.is_empty() => format!("did you mean `{meant}`?"),
            Some(meant) => format!("did you mean `{prefix}.{meant}`?"),
            None => format!("known are {}", known.join(", ")),
        };
        BadFile::UnknownKey { place: self.place.clone(), key: self.key.clone(), advice }
    }
}

#[cfg(test)]
mod tests;
