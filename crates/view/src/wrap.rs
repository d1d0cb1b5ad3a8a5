//! Words in lines that a terminal shows without breaking them.

use textwrap::{Options, WordSplitter};

/// How text is wrapped to so many columns, as a terminal counts them: names of crates and options stay whole.
pub(crate) fn options(columns: usize) -> Options<'static> {
    Options::new(columns).break_words(false).word_splitter(WordSplitter::NoHyphenation)
}

/// The words of a text in lines of at most so many columns; a wider word has a line of its own.
#[must_use]
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    textwrap::wrap(&text, options(columns)).into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_wide_as_a_terminal_shows_them() {
        assert_eq!(wrapped("", 8), [""]);
        assert_eq!(wrapped(" one  two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("船の 箱船", 8), ["船の", "箱船"]);
        assert_eq!(wrapped("a unbreakable b", 4), ["a", "unbreakable", "b"]);
    }
}
