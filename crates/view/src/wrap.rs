//! Words in lines that a terminal shows without breaking them.

use unicode_width::UnicodeWidthStr as _;

/// The words of a text in lines of at most so many columns; a wider word has a line of its own.
#[must_use]
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let used = lines.last().map_or(0, |line| line.width());
        if used > 0 && used + 1 + word.width() > columns {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
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
