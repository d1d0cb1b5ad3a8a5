//! What the programs share.

/// The lines of a text that hold a word.
///
/// ```
/// assert_eq!(workload_programs::lines("a b\nc\nb", "b").count(), 2);
/// ```
pub fn lines<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter(move |line| memchr::memmem::find(line.as_bytes(), word.as_bytes()).is_some())
}

/// A number as the shortest text that reads back as itself.
pub fn shortest(number: f64) -> String {
    ryu::Buffer::new().format(number).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_back() {
        assert_eq!(shortest(0.1 + 0.2).parse(), Ok(0.1 + 0.2));
    }
}
