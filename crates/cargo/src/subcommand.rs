//! What Plimsoll knows of Cargo's subcommands by name: whether they compile, and how they read
//! their arguments. Resolves aliases as Cargo does.
//!
//! Facts from Cargo 1.95, `src/bin/cargo/commands/*.rs` and `cli.rs`. A subcommand that is not known
//! is taken for one that compiles and that reads all its arguments itself.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What a subcommand does, as far as governing it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It compiles, or may.
    Builds,
    /// It compiles and then becomes the user's own program, which is not governed.
    BuildsThenRuns,
    /// It never compiles: there is nothing to govern.
    NeverBuilds,
}

/// How a subcommand is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subcommand {
    /// What it does.
    pub kind: Kind,
    /// Its `-j` is Cargo's own, a number of units at once.
    pub takes_jobs: bool,
    /// Its `-q` is Cargo's own.
    pub takes_quiet: bool,
    /// None of its options is called like one of Plimsoll's, so Plimsoll's may stand among them.
    pub lets_ours_in: bool,
    /// Its first positional argument and all that follow belong to another program.
    pub first_word_ends_options: bool,
}

const COMPILES: &[&str] =
    &["bench", "build", "check", "clippy", "doc", "fix", "install", "package", "publish", "test"];

const FORWARDS: &[&str] = &["run", "rustc", "rustdoc"];

const NEVER_BUILDS: &[&str] = &[
    "add",
    "clean",
    "config",
    "fetch",
    "fmt",
    "generate-lockfile",
    "git-checkout",
    "help",
    "info",
    "init",
    "locate-project",
    "login",
    "logout",
    "metadata",
    "new",
    "owner",
    "pkgid",
    "read-manifest",
    "remove",
    "report",
    "search",
    "tree",
    "uninstall",
    "update",
    "vendor",
    "verify-project",
    "version",
    "yank",
];

const BUILT_IN_ALIASES: &[(&str, &str)] =
    &[("b", "build"), ("c", "check"), ("d", "doc"), ("r", "run"), ("t", "test"), ("rm", "remove")];

impl Subcommand {
    /// How the subcommand of this name (not an alias) is to be treated.
    #[must_use]
    pub fn named(name: &OsStr) -> Self {
        let known = Self {
            kind: Kind::Builds,
            takes_jobs: true,
            takes_quiet: true,
            lets_ours_in: true,
            first_word_ends_options: false,
        };
        let Some(text) = name.to_str() else { return Self::unknown(name) };
        if COMPILES.contains(&text) {
            known
        } else if FORWARDS.contains(&text) {
            let kind = if text == "run" { Kind::BuildsThenRuns } else { Kind::Builds };
            Self { kind, first_word_ends_options: true, ..known }
        } else if text == "nextest" {
            // Its `-j` is the number of tests at once, and it has no `-q`.
            Self { takes_jobs: false, takes_quiet: false, ..known }
        } else if NEVER_BUILDS.contains(&text) {
            Self { kind: Kind::NeverBuilds, takes_jobs: false, lets_ours_in: false, ..known }
        } else {
            Self::unknown(name)
        }
    }

    fn unknown(name: &OsStr) -> Self {
        let script = Path::new(name);
        let kind = if script.components().count() > 1 || script.extension() == Some("rs".as_ref()) {
            Kind::BuildsThenRuns
        } else {
            Kind::Builds
        };
        Self {
            kind,
            takes_jobs: false,
            takes_quiet: true,
            lets_ours_in: false,
            first_word_ends_options: true,
        }
    }

    /// Cargo itself has a subcommand, or an alias, of this name.
    #[must_use]
    pub fn is_built_in(name: &OsStr) -> bool {
        let short = |text: &str| BUILT_IN_ALIASES.iter().any(|(short, _)| *short == text);
        name.to_str().is_some_and(|text| is_built_in(text) || short(text))
    }

    /// All names of Cargo's own.
    pub fn built_in() -> impl Iterator<Item = &'static str> {
        [COMPILES, FORWARDS, NEVER_BUILDS].into_iter().flatten().copied()
    }
}

/// What Cargo will really run for `name`: the words that stand for it (the subcommand first), or
/// nothing where it is no alias.
///
/// Built-in subcommands go before aliases, and those before external subcommands. An alias that
/// Cargo would refuse (recursive, or without a subcommand) counts as none.
#[must_use]
pub fn expand_alias(
    name: &OsStr,
    aliases: &BTreeMap<String, Vec<String>>,
) -> Option<Vec<OsString>> {
    let mut words = vec![name.to_owned()];
    let mut seen = Vec::new();
    loop {
        let current = words[0].to_str()?.to_owned();
        let replacement = alias_of(&current, aliases);
        let Some(replacement) = replacement else {
            return (!seen.is_empty()).then_some(words);
        };
        if seen.contains(&current) || replacement.first()?.starts_with('-') {
            return None;
        }
        seen.push(current);
        words.splice(0..1, replacement.into_iter().map(OsString::from));
    }
}

fn alias_of(name: &str, aliases: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    let built_in = name != "clippy" && name != "fmt" && is_built_in(name);
    if built_in {
        return None;
    }
    aliases.get(name).cloned().or_else(|| {
        let (_, full) = BUILT_IN_ALIASES.iter().find(|(short, _)| *short == name)?;
        Some(vec![(*full).to_owned()])
    })
}

fn is_built_in(name: &str) -> bool {
    [COMPILES, FORWARDS, NEVER_BUILDS].iter().any(|names| names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(name: &str) -> Option<Vec<String>> {
        let aliases = [
            ("bb", vec!["build", "-j2"]),
            ("b", vec!["bb", "--release"]),
            ("test", vec!["build"]),
            ("clippy", vec!["check"]),
            ("loop", vec!["pool"]),
            ("pool", vec!["loop"]),
            ("q", vec!["-q", "build"]),
            ("nt", vec!["nextest", "run"]),
        ];
        let aliases = aliases
            .into_iter()
            .map(|(name, words)| (name.to_owned(), words.into_iter().map(str::to_owned).collect()))
            .collect();
        let words = expand_alias(OsStr::new(name), &aliases)?;
        Some(words.into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn aliases_resolve_as_in_cargo() {
        assert_eq!(expand("bb").unwrap(), ["build", "-j2"]);
        assert_eq!(expand("b").unwrap(), ["build", "-j2", "--release"]);
        assert_eq!(expand("r").unwrap(), ["run"]);
        assert_eq!(expand("nt").unwrap(), ["nextest", "run"]);
        assert_eq!(expand("clippy").unwrap(), ["check"], "an external subcommand is shadowed");
        for none in ["test", "build", "loop", "q", "audit"] {
            assert_eq!(expand(none), None, "{none}");
        }
    }

    #[test]
    fn every_subcommand_is_treated_as_what_it_is() {
        let kind = |name: &str| Subcommand::named(OsStr::new(name)).kind;
        assert_eq!(kind("build"), Kind::Builds);
        assert_eq!(kind("run"), Kind::BuildsThenRuns);
        assert_eq!(kind("tools/gen.rs"), Kind::BuildsThenRuns);
        assert_eq!(kind("metadata"), Kind::NeverBuilds);
        assert_eq!(kind("llvm-cov"), Kind::Builds);
        let nextest = Subcommand::named(OsStr::new("nextest"));
        assert!(nextest.lets_ours_in && !nextest.takes_jobs);
        assert!(!Subcommand::named(OsStr::new("llvm-cov")).lets_ours_in);
    }
}
