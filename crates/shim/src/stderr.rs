//! The compiler's standard error on its way to Cargo: line by line, at once, and each line once.
//!
//! A compiler that was killed and runs again says again what it had said. Lines that have been passed on
//! are counted; in the next run so many of each are dropped. That is right even where the order differs
//! (diagnostics of parallel queries), and it costs eight bytes a line.
//!
//! A word that may be somebody else's doing (memory ran out, the linker was ended), and what follows it, is kept until
//! the run has ended: a run that does not count has not said it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write;

/// How often a line (by its hash) has been seen.
type Lines = HashMap<u64, u32>;

/// Passes lines on.
#[derive(Debug, Default)]
pub(crate) struct Forwarder {
    unfinished: Vec<u8>,
    /// What Cargo has seen, over all runs.
    forwarded: Lines,
    /// What an earlier run said and this one has not said again yet.
    said: Lines,
    announced: bool,
    word: Option<Word>,
    /// What it was said by, and all that followed.
    withheld: Vec<u8>,
}

/// What a compiler says before it ends for something that may be somebody else's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// It found no memory.
    OutOfMemory,
    /// The linker, or the link shim in its place, was ended by this signal.
    LinkerEnded(i32),
}

impl Forwarder {
    /// The compiler is run again.
    pub(crate) fn begin_again(&mut self) {
        self.unfinished.clear();
        self.withheld.clear();
        self.word = None;
        self.said.clone_from(&self.forwarded);
    }

    /// Takes what the compiler wrote and passes every complete line on. True where the unit's metadata was
    /// announced among it, for the first time.
    pub(crate) fn take(&mut self, bytes: &[u8], out: &mut impl Write) -> bool {
        let announced = self.announced;
        self.unfinished.extend_from_slice(bytes);
        let Some(end) = self.unfinished.iter().rposition(|b| *b == b'\n') else { return false };
        let rest = self.unfinished.split_off(end + 1);
        let complete = std::mem::replace(&mut self.unfinished, rest);
        let mut fresh = Vec::with_capacity(complete.len());
        for line in complete.split_inclusive(|b| *b == b'\n') {
            self.word = self.word.or_else(|| Word::of(line));
            if self.word.is_some() {
                self.withheld.extend_from_slice(line);
            } else if self.is_fresh(line) {
                fresh.extend_from_slice(line);
            }
        }
        pass_on(&fresh, out);
        self.announced && !announced
    }

    /// What the compiler has said that may be somebody else's doing.
    pub(crate) fn word(&self) -> Option<Word> {
        self.word
    }

    /// The compiler has ended, and its run counts: passes on what was kept, and what it left without a line end.
    pub(crate) fn finish(&mut self, out: &mut impl Write) {
        pass_on(&std::mem::take(&mut self.withheld), out);
        let rest = std::mem::take(&mut self.unfinished);
        if !rest.is_empty() && self.is_fresh(&rest) {
            pass_on(&rest, out);
        }
    }

    /// Whether the unit's metadata has been announced, in whichever run.
    pub(crate) fn announced(&self) -> bool {
        self.announced
    }

    fn is_fresh(&mut self, line: &[u8]) -> bool {
        let mut hash = DefaultHasher::new();
        line.hash(&mut hash);
        let hash = hash.finish();
        if let Some(count) = self.said.get_mut(&hash).filter(|count| **count > 0) {
            *count -= 1;
            return false;
        }
        *self.forwarded.entry(hash).or_default() += 1;
        self.announced |= announces_metadata(line);
        true
    }
}

/// Cargo may be gone; the compiler is still drained, so that it can end.
fn pass_on(bytes: &[u8], out: &mut impl Write) {
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

impl Word {
    fn of(line: &[u8]) -> Option<Self> {
        if says_out_of_memory(line) {
            return Some(Self::OutOfMemory);
        }
        linker_ended(line).map(Self::LinkerEnded)
    }
}

/// The signal that ended the linker, by rustc's own error (`linking_failed`, with the words of `ExitStatus`), to a person
/// or as JSON.
fn linker_ended(line: &[u8]) -> Option<i32> {
    const JSON: &[u8] = b"{\"$message_type\":\"diagnostic\",\"message\":\"linking with `";
    let rest = line.strip_prefix(JSON).or_else(|| line.strip_prefix(b"error: linking with `"))?;
    let failed: &[u8] = b"` failed: signal: ";
    let at = rest.windows(failed.len()).position(|part| part == failed)?;
    let number = rest[at + failed.len()..].split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// The last words of Rust's standard library (`alloc::handle_alloc_error`) and of LLVM (`report_bad_alloc_error`) before
/// they abort.
fn says_out_of_memory(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.starts_with(b"memory allocation of ") && line.ends_with(b" bytes failed")
        || line.ends_with(b"LLVM ERROR: out of memory")
}

/// rustc's word to Cargo that dependents may start, as in <https://doc.rust-lang.org/rustc/json.html>.
fn announces_metadata(line: &[u8]) -> bool {
    line.starts_with(b"{\"$message_type\":\"artifact\"")
        && line.trim_ascii_end().ends_with(b"\"emit\":\"metadata\"}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNOUNCED: &str =
        "{\"$message_type\":\"artifact\",\"artifact\":\"/t/liba.rmeta\",\"emit\":\"metadata\"}\n";

    fn take(forwarder: &mut Forwarder, text: &str) -> (String, bool) {
        let mut out = Vec::new();
        let announced = forwarder.take(text.as_bytes(), &mut out);
        (String::from_utf8(out).unwrap(), announced)
    }

    #[test]
    fn a_second_run_adds_only_what_the_first_had_not_said() {
        let mut forwarder = Forwarder::default();
        assert_eq!(take(&mut forwarder, "a\nb\na\nha"), ("a\nb\na\n".to_owned(), false));
        forwarder.begin_again();
        assert_eq!(take(&mut forwarder, "b\na\n").0, "");
        assert_eq!(take(&mut forwarder, "a\na\nc\nd").0, "a\nc\n");
        forwarder.begin_again();
        assert_eq!(take(&mut forwarder, "a\na\na\nb\nc\nd\n").0, "d\n");
    }

    #[test]
    fn metadata_is_announced_once() {
        let mut forwarder = Forwarder::default();
        assert_eq!(take(&mut forwarder, ANNOUNCED), (ANNOUNCED.to_owned(), true));
        assert!(forwarder.announced());
        forwarder.begin_again();
        assert_eq!(take(&mut forwarder, ANNOUNCED), (String::new(), false));
    }

    #[test]
    fn that_memory_ran_out_is_said_only_by_a_run_that_counts() {
        let mut forwarder = Forwarder::default();
        let text = "a\nmemory allocation of 4096 bytes failed\nb\n";
        assert_eq!(take(&mut forwarder, text).0, "a\n");
        assert_eq!(forwarder.word(), Some(Word::OutOfMemory));
        forwarder.begin_again();
        assert_eq!(forwarder.word(), None);
        assert_eq!(take(&mut forwarder, text).0, "");
        let mut out = Vec::new();
        forwarder.finish(&mut out);
        assert_eq!(out, b"memory allocation of 4096 bytes failed\nb\n");
        assert!(says_out_of_memory(b"rustc-LLVM ERROR: out of memory\n"));
        assert!(!says_out_of_memory(
            b"warning: memory allocation of 1 bytes failed to be unused\n"
        ));
    }

    #[test]
    fn that_the_linker_was_ended_is_said_only_by_a_run_that_counts() {
        let error = "{\"$message_type\":\"diagnostic\",\"message\":\"linking with `/h/link/cc` failed: signal: 9 \
                     (SIGKILL)\",\"code\":null,\"level\":\"error\"}\n";
        let mut forwarder = Forwarder::default();
        assert_eq!(take(&mut forwarder, &format!("a\n{error}b\n")).0, "a\n");
        assert_eq!(forwarder.word(), Some(Word::LinkerEnded(9)));
        let plain = |text: &str| Word::of(text.as_bytes());
        let ended = plain("error: linking with `cc` failed: signal: 15 (SIGTERM)\n");
        assert_eq!(ended, Some(Word::LinkerEnded(15)));
        assert_eq!(plain("error: linking with `cc` failed: exit status: 1\n"), None);
        assert_eq!(plain("warning: linking with `cc` failed: signal: 9 is a text\n"), None);
    }

    #[test]
    fn a_last_line_without_an_end_is_passed_on() {
        let mut forwarder = Forwarder::default();
        assert_eq!(take(&mut forwarder, "thread 'rustc' pan").0, "");
        let mut out = Vec::new();
        forwarder.finish(&mut out);
        assert_eq!(out, b"thread 'rustc' pan");
    }
}
