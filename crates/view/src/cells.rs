//! Fitting text into the cells of a terminal: a wide character takes two, a combining one none.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// `text` in at most `columns` cells, its end replaced by `…` where it is longer.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else {
        return String::new();
    };
    let mut used = 0;
    let mut short: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= room
        })
        .collect();
    short.push('…');
    short
}

/// `text` on one line without control characters, which could move a terminal's cursor.
pub(crate) fn one_line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_cells_not_by_bytes() {
        assert_eq!(fit("plimsoll", 8), "plimsoll");
        assert_eq!(fit("plimsoll", 4), "pli…");
        assert_eq!(fit("船の箱", 6), "船の箱");
        assert_eq!(fit("船の箱", 5), "船の…");
        assert_eq!(fit("船の箱", 4), "船…");
        assert_eq!(fit("plimsoll", 0), "");
        assert_eq!(one_line("a\u{1b}[2Jb\nc\n"), "a [2Jb c");
    }
}
