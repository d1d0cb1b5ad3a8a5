//! A line with a status word before it, in Cargo's columns: `    Finished dev target(s) in 9.70s`.

use std::fmt;

use crate::wrap::wrapped;

/// Cells of the column in which status words stand, at its right: Cargo's.
pub const WORD: usize = 12;

/// How a status word is meant, so that whoever prints it can color it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Something to know.
    Info,
    /// Something to look at.
    Caution,
    /// Something that did not work.
    Bad,
}

/// A status word and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How it is meant.
    pub tone: Tone,
    /// The status word, at most [`WORD`] cells.
    pub word: &'static str,
    /// The rest, on one line.
    pub text: String,
}

impl Entry {
    pub(crate) fn new(tone: Tone, word: &'static str, text: String) -> Self {
        Self { tone, word, text }
    }

    /// The text as it fits behind the status word on a screen of so many columns: the second line and what follows
    /// belong below the first.
    #[must_use]
    pub fn wrapped(&self, columns: usize) -> Vec<String> {
        /// A narrower column of text is harder to read than lines that the terminal breaks.
        const LEAST: usize = 20;
        let room = columns.saturating_sub(WORD + 1);
        if room < LEAST {
            return vec![self.text.clone()];
        }
        wrapped(&self.text, room)
    }
}

/// As in a log, without colors.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>WORD$} {}", self.word, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_wraps_behind_its_word_where_there_is_room() {
        let text = "libsqlite3-sys 308 MiB, aws-lc-sys 262 MiB";
        let entry = Entry::new(Tone::Info, "Heaviest", text.to_owned());
        assert_eq!(entry.to_string(), format!("    Heaviest {text}"));
        assert_eq!(entry.wrapped(80), [text]);
        assert_eq!(entry.wrapped(40), ["libsqlite3-sys 308 MiB,", "aws-lc-sys 262 MiB"]);
        for columns in [0, 12, 20] {
            assert_eq!(entry.wrapped(columns), [text]);
        }
    }
}
