//! From bytes, as they come, to lines: in bounded memory, whatever the bytes are.
//!
//! A line ends at a line feed; a carriage return ends a part of it, as progress bars write them, and CRLF. Of a
//! line that is longer than a compiler's command line usually is, beginning and end are kept: Cargo writes the
//! signal behind the whole command.

/// What is kept of a line's beginning. A compiler's command line with its crate's name is at the beginning.
const HEAD: usize = 16 * 1024;

/// What is kept of a line's end, where it is longer than [`HEAD`].
const TAIL: usize = 4 * 1024;

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub struct Lines {
    head: Vec<u8>,
    tail: Vec<u8>,
    number: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self { head: Vec::new(), tail: Vec::new(), number: 1 }
    }
}

impl Lines {
    /// Takes the next bytes, and gives each part of a line that they end, with the line's number from 1.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(u64, &str)) {
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.keep(&bytes[..end]);
            self.end(&mut each);
            if bytes[end] == b'\n' {
                self.number += 1;
            }
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// Gives what came after the last end of a line.
    pub fn finish(&mut self, mut each: impl FnMut(u64, &str)) {
        self.end(&mut each);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len().min(HEAD)));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(TAIL)..];
        self.tail.extend_from_slice(rest);
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
    }

    fn end(&mut self, each: &mut impl FnMut(u64, &str)) {
        if self.head.is_empty() {
            return;
        }
        if !self.tail.is_empty() {
            if self.tail.len() > TAIL {
                self.head.extend_from_slice(b" ... ");
            }
            let from = self.tail.len().saturating_sub(TAIL);
            self.head.extend_from_slice(&self.tail[from..]);
        }
        each(self.number, &String::from_utf8_lossy(&self.head));
        self.head.clear();
        self.tail.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(chunks: &[&[u8]]) -> Vec<(u64, String)> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.feed(chunk, |number, text| found.push((number, text.to_owned())));
        }
        lines.finish(|number, text| found.push((number, text.to_owned())));
        found
    }

    #[test]
    fn a_line_ends_at_crlf_and_a_progress_bar_does_not_count() {
        let found = all(&[b"one\r\n", b"bar\rbar 2\r", b"two\n\nthr", b"ee"]);
        let texts: Vec<_> = found.iter().map(|(n, text)| (*n, text.as_str())).collect();
        assert_eq!(texts, [(1, "one"), (2, "bar"), (2, "bar 2"), (2, "two"), (4, "three")]);
    }

    #[test]
    fn of_an_endless_line_beginning_and_end_are_kept() {
        let mut long = vec![b'x'; 1 << 20];
        long[0] = b'a';
        long.extend_from_slice(b"(signal: 9)");
        let found = all(&long.chunks(1000).collect::<Vec<_>>());
        assert_eq!(found.len(), 1);
        assert!(found[0].1.len() < HEAD + TAIL + 16);
        assert!(found[0].1.starts_with('a') && found[0].1.ends_with("(signal: 9)"));
    }
}
