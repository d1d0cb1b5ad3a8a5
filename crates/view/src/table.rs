//! Columns of text: each as wide as its widest cell on a terminal, two spaces between.

use unicode_width::UnicodeWidthStr as _;

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Lays out rows of equally many cells, the head first, without spaces at line ends.
#[must_use]
pub fn table<const N: usize>(columns: [(&str, Align); N], rows: &[[String; N]]) -> String {
    let head = columns.map(|(title, _)| title.to_owned());
    let lines = || std::iter::once(&head).chain(rows);
    let widths: [usize; N] =
        std::array::from_fn(|at| lines().map(|line| line[at].width()).max().unwrap_or_default());
    let mut text = String::new();
    for line in lines() {
        let mut row = String::new();
        for ((cell, width), (_, align)) in line.iter().zip(widths).zip(columns) {
            if !row.is_empty() {
                row.push_str("  ");
            }
            let gap = " ".repeat(width - cell.width());
            match align {
                Align::Left => row.extend([cell, gap.as_str()]),
                Align::Right => row.extend([gap.as_str(), cell]),
            }
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "1".to_owned()], ["箱café".to_owned(), "23".to_owned()]];
        let text = table([("crate", Align::Left), ("peak", Align::Right)], &rows);
        assert_eq!(text, "crate   peak\na          1\n箱café    23\n");
    }
}
