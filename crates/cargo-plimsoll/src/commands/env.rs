//! `cargo plimsoll env`: what puts plain `cargo` in one shell inside the budget, as text for that shell.
//!
//! The wrapper alone: Cargo keeps its own jobserver and its `-j`, and turns to the account's governor through the
//! shims, as after `enable`.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Context as _;
use plimsoll_cargo::config_file;

use crate::cli::Language;
use crate::drive::shim_variables;
use crate::env::{ENABLED, Environment, MEMORY};
use crate::exit::{Failure, OUT};
use crate::settings::{Asked, Settings};
use crate::shell::Shell;
use crate::shims::Shims;

/// A variable, its value then and its value now; nothing where it is not set.
struct Variable {
    name: OsString,
    then: Option<OsString>,
    now: Option<OsString>,
}

/// Prints the text.
///
/// # Errors
/// Where the shims or a home are missing, a value cannot be written in the language, or stdout not be written.
pub fn run(
    language: Language,
    asked: &Asked,
    settings: &Settings,
    environment: &Environment,
    shell: &mut Shell,
) -> Result<(), Failure> {
    let home = settings.home.value.as_ref().ok_or(Failure::NoHome)?;
    let shims = Shims::find()?;
    config_file::make_private_directory(home)?;
    let was_in = environment.get(ENABLED).is_some();
    let mut set: Vec<(OsString, Option<OsString>)> = Vec::new();
    if !was_in {
        set.push((ENABLED.into(), Some("1".into())));
        set.extend(shim_variables(settings, environment, &shims));
    }
    if let Some(memory) = asked.memory {
        set.push((MEMORY.into(), Some(plimsoll_proto::exact(memory).into())));
    }
    let variables = set.into_iter().map(|(name, then)| {
        let now = environment.raw(&name).map(OsStr::to_owned);
        Variable { name, then, now }
    });
    // What is set already is not set again.
    let variables: Vec<Variable> = variables.filter(|it| it.then != it.now).collect();
    let text = language.text(&variables, was_in).context(
        "a path that this shell must set is not UTF-8; move Plimsoll or its state directory",
    )?;
    if std::io::stdout().is_terminal() {
        let how = match language {
            Language::Bash => "source <(cargo plimsoll env)",
            Language::Fish => "cargo plimsoll env --shell fish | source",
        };
        shell.note(format_args!("this text is for your shell, which reads it with: {how}"));
    }
    Ok(shell.answer(text).context(OUT)?)
}

impl Language {
    /// `None` where something is not UTF-8.
    fn text(self, variables: &[Variable], was_in: bool) -> Option<String> {
        let mut text = String::new();
        for variable in variables {
            text.push_str(&self.assign(&variable.name, variable.then.as_deref())?);
            text.push('\n');
        }
        if was_in {
            text.push_str("# `cargo` in this shell already had Plimsoll's memory budget\n");
            return Some(text);
        }
        let back: Option<Vec<String>> = variables
            .iter()
            .map(|variable| self.assign(&variable.name, variable.now.as_deref()))
            .collect();
        let back = back?;
        let (head, forget, tail) = match self {
            Self::Bash => ("plimsoll_leave() {", "unset -f plimsoll_leave", "}"),
            Self::Fish => ("function plimsoll_leave", "functions -e plimsoll_leave", "end"),
        };
        let body = back.iter().map(String::as_str).chain([forget]);
        let body: String = body.map(|line| format!("    {line}\n")).collect();
        text.push_str(&format!("{head}\n{body}{tail}\n"));
        text.push_str(
            "# `cargo` in this shell has Plimsoll's memory budget; `plimsoll_leave` ends that\n",
        );
        Some(text)
    }

    /// Sets a variable for the shell and what it starts, or unsets it.
    fn assign(self, name: &OsStr, value: Option<&OsStr>) -> Option<String> {
        let name = name.to_str()?;
        Some(match (self, value) {
            (Self::Bash, Some(value)) => format!("export {name}={}", self.quoted(value)?),
            (Self::Bash, None) => format!("unset {name}"),
            (Self::Fish, Some(value)) => format!("set -gx {name} {}", self.quoted(value)?),
            (Self::Fish, None) => format!("set -e {name}"),
        })
    }

    /// As one word. Fish reads quotes in its own way: between single ones only they and the backslash have a meaning.
    fn quoted(self, value: &OsStr) -> Option<String> {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        Some(match self {
            Self::Bash => shlex::try_quote(value).ok()?.into_owned(),
            Self::Fish => format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Vec<Variable> {
        let some = |value: &str| Some(OsString::from(value));
        vec![
            Variable { name: "A".into(), then: some("it's \\ $x"), now: None },
            Variable { name: "B".into(), then: some("1"), now: some("old one") },
        ]
    }

    #[test]
    fn a_shell_is_told_how_to_come_in_and_how_to_leave() {
        let bash = Language::Bash.text(&variables(), false).unwrap();
        let words = shlex::split(bash.lines().next().unwrap()).unwrap();
        assert_eq!(words, ["export", "A=it's \\ $x"]);
        assert!(bash.contains("\nexport B=1\nplimsoll_leave() {\n"), "{bash}");
        assert!(
            bash.contains("    unset A\n    export B='old one'\n    unset -f plimsoll_leave\n}\n")
        );
        let fish = Language::Fish.text(&variables(), false).unwrap();
        assert!(fish.starts_with("set -gx A 'it\\'s \\\\ $x'\nset -gx B '1'\n"), "{fish}");
        assert!(fish.contains("    set -e A\n    set -gx B 'old one'\n"), "{fish}");
        assert!(!Language::Bash.text(&[], true).unwrap().contains("plimsoll_leave"));
    }
}
