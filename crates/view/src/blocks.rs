//! A longer answer in parts, so that whoever prints it can color them and break their lines.

use std::fmt;

use unicode_width::UnicodeWidthStr as _;

use crate::entry::Entry;
use crate::wrap;

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A line with a status word.
    Entry(Entry),
    /// The title of a section.
    Title(String),
    /// Lines of text, each of which may be broken.
    Text(String),
    /// Lines that stay as they are: a table, a picture.
    Fixed(String),
}

/// As in a file: without colors, no line broken.
impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(entry) => writeln!(f, "{entry}"),
            Self::Title(title) => write!(f, "\n{title}\n"),
            Self::Text(text) | Self::Fixed(text) => f.write_str(text),
        }
    }
}

/// The lines of `text`, none wider than so many columns where words allow that: what follows stands below the first
/// word of its line, or of its second column if it has one (two spaces after a column of times).
#[must_use]
pub fn broken(text: &str, columns: usize) -> String {
    /// A narrower column of text is harder to read than lines that the terminal breaks.
    const LEAST: usize = 20;
    let mut all = String::new();
    for line in text.lines() {
        let body = line.trim_start();
        // Behind a column, as in `   1 min 1 s  paused app`.
        let column = body.find("  ").map_or(0, |at| body[..at].width() + 2);
        let indent = line.len() - body.len() + column;
        if line.width() <= columns || columns < indent + LEAST {
            all.push_str(line);
        } else {
            let indent = " ".repeat(indent);
            let options = wrap::options(columns).subsequent_indent(&indent);
            all.push_str(&textwrap::fill(line, options));
        }
        all.push('\n');
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_below_their_first_word_or_their_column() {
        let text =
            "  one two three four five six\n\n    1 min  seven eight nine ten eleven twelve\n";
        assert_eq!(
            broken(text, 24),
            "  one two three four\n  five six\n\n    1 min  seven eight nine ten eleven twelve\n"
        );
        assert_eq!(
            broken(text, 32),
            "  one two three four five six\n\n    1 min  seven eight nine ten\n           eleven twelve\n"
        );
    }
}
