//! Whether Plimsoll writes in colours: one decision for everything that it prints.
//!
//! The first of these that says something counts, as in Cargo: `--color`, `CARGO_TERM_COLOR`, then `NO_COLOR`,
//! `CLICOLOR_FORCE` and `TERM`, and last whether a terminal listens. Nothing here says which colours.

use std::io;

use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;

use crate::env::Environment;

/// Cargo's own variable for the same question.
const CARGO: &str = "CARGO_TERM_COLOR";

/// When colours are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// Where a terminal shows them.
    #[default]
    Auto,
    /// Also into files and pipes.
    Always,
    /// Nowhere.
    Never,
}

impl When {
    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }

    /// What the command line says, else Cargo's variable. A value of that which means nothing is Cargo's to refuse.
    #[must_use]
    pub fn of(asked: Option<Self>, environment: &Environment) -> Self {
        let said = || Self::from_str(environment.text(CARGO)?, true).ok();
        asked.or_else(said).unwrap_or_default()
    }

    /// Decides it for this process. Whoever prints asks [`on_stdout`] or [`on_stderr`], or writes through
    /// [`crate::shell::Shell`], which does.
    pub fn settle(self) {
        let choice = match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// Whether what goes to stdout has colours.
#[must_use]
pub fn on_stdout() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// Whether what goes to stderr has colours.
#[must_use]
pub fn on_stderr() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_goes_before_cargos_variable() {
        let with = |value: &str| Environment::from_iter([(CARGO, value)]);
        assert_eq!(When::of(Some(When::Never), &with("always")), When::Never);
        assert_eq!(When::of(None, &with("always")), When::Always);
        for nothing in ["", "sometimes"] {
            assert_eq!(When::of(None, &with(nothing)), When::Auto);
        }
    }
}
