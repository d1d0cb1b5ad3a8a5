//! The command that Cargo asked for: which program, whether it is the compiler itself, and what it is told.
//!
//! `@argfile`s are opened to be understood and handed on as they were: the compiler opens them again.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll_core::invocation::{self, Invocation, Request, UnitKind};
use plimsoll_core::unit::UnitFacts;

use crate::chained;

/// Under this name Cargo tells its own processes that they stand in for rustc in `cargo fix`.
const CARGO_FIX: &str = "__CARGO_FIX_PLZ";

/// What is to be run.
pub(crate) struct CommandLine {
    /// rustc, clippy-driver, rustdoc, or whatever the user put in their place.
    pub(crate) program: OsString,
    /// Everything after it, untouched.
    pub(crate) args: Vec<OsString>,
    /// The user's own wrapper, which comes before the program.
    pub(crate) wrapper: Option<OsString>,
    rustdoc: bool,
    understood: Vec<OsString>,
}

impl CommandLine {
    /// Reads our own arguments. `None` where not even a program is named.
    pub(crate) fn read(mut args: Vec<OsString>, rustdoc: bool) -> Option<Self> {
        let (program, wrapper) = if rustdoc {
            (chained::rustdoc().unwrap_or_else(|| OsString::from("rustdoc")), None)
        } else if args.is_empty() {
            return None;
        } else {
            (args.remove(0), chained::wrapper())
        };
        let understood = open_argfiles(compiler_args(&args));
        Some(Self { program, args, wrapper, rustdoc, understood })
    }

    /// What the compiler is asked to do.
    pub(crate) fn request(&self) -> Request {
        invocation::parse(&self.understood, self.rustdoc)
    }

    /// The command as Cargo meant it, the user's wrapper included.
    pub(crate) fn command(&self) -> Command {
        let mut command = match &self.wrapper {
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(&self.args);
        command
    }

    /// Whether Cargo reads diagnostics as JSON.
    pub(crate) fn wants_json(&self) -> bool {
        let json = |word: &OsStr| word == "json";
        self.understood.iter().any(|arg| arg == "--error-format=json")
            || self.understood.windows(2).any(|two| two[0] == "--error-format" && json(&two[1]))
    }

    /// What the governor is told of the unit.
    pub(crate) fn facts(&self, invocation: &Invocation) -> UnitFacts {
        let var = |name| std::env::var(name).unwrap_or_default();
        let mut facts =
            UnitFacts::new(invocation.clone(), var("CARGO_PKG_NAME"), var("CARGO_PKG_VERSION"));
        if invocation.threads == Some(0) {
            facts.threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        }
        facts.source = absolute(&facts.source);
        for path in &mut facts.externs {
            *path = absolute(path);
        }
        facts.out_dir = std::env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
        facts.retryable = self.retryable(invocation.kind);
        facts
    }

    /// See [`UnitFacts::retryable`].
    fn retryable(&self, kind: UnitKind) -> bool {
        let stem = Path::new(&self.program).file_stem().unwrap_or_default();
        let compiler = if self.rustdoc {
            kind == UnitKind::Doc && stem == "rustdoc"
        } else {
            stem == "rustc" || stem == "clippy-driver"
        };
        compiler && self.wrapper.is_none() && std::env::var_os(CARGO_FIX).is_none()
    }
}

/// The arguments meant for the compiler: where the program is a workspace wrapper (clippy-driver, cargo
/// under `cargo fix`), the first of them is the rustc that it stands before.
fn compiler_args(args: &[OsString]) -> &[OsString] {
    match args.split_first() {
        Some((first, rest))
            if Path::new(first).file_stem().is_some_and(|stem| stem == "rustc")
                && Path::new(first).extension().is_none_or(|end| end == "exe") =>
        {
            rest
        }
        _ => args,
    }
}

/// Puts the lines of each `@file` in its place, as rustc does; one that cannot be read stays a word.
fn open_argfiles(args: &[OsString]) -> Vec<OsString> {
    let mut words = Vec::with_capacity(args.len());
    for arg in args {
        let file = arg.to_str().and_then(|text| text.strip_prefix('@'));
        match file.map(std::fs::read_to_string) {
            Some(Ok(text)) => words.extend(text.lines().map(OsString::from)),
            _ => words.push(arg.clone()),
        }
    }
    words
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_rustc_behind_a_workspace_wrapper_is_not_the_source_file() {
        let line =
            CommandLine::read(words("clippy-driver /t/bin/rustc --crate-name a a.rs"), false);
        let Request::Compile(unit) = line.unwrap().request() else { panic!("a compilation") };
        assert_eq!(unit.source, Path::new("a.rs"));
        assert_eq!(compiler_args(&words("rustc.rs --crate-name a")).len(), 3);
    }

    #[test]
    fn json_is_seen_in_both_spellings() {
        for (line, json) in [
            ("rustc --error-format=json a.rs", true),
            ("rustc --error-format json a.rs", true),
            ("rustc --error-format=human a.rs", false),
        ] {
            assert_eq!(CommandLine::read(words(line), false).unwrap().wants_json(), json, "{line}");
        }
    }
}
