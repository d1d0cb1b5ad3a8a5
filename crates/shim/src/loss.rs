//! Which ends of a compiler or linker are somebody else's doing, and not its own.
//!
//! SIGKILL is what the kernel and systemd-oomd send; SIGTERM is what earlyoom sends first, and a CI that wants room. No
//! compiler sends them to itself. What it does send itself stays its own failure: SIGSEGV, and SIGABRT, but for one that
//! follows its word that memory ran out.
//!
//! Who ends the whole build ends us as well, or tells the governor; so whoever asks here is still there.

use rustix::process::Signal;

use crate::ending::ChildEnding;
use crate::stderr::{Forwarder, Word};

/// What gcc and clang say where the linker below them was ended, and by which signal.
const OF_LINKERS: [(&[u8], Signal); 7] = [
    (b"terminated with signal 9", Signal::KILL),
    (b"terminated with signal 15", Signal::TERM),
    (b"Killed signal terminated program", Signal::KILL),
    (b"Terminated signal terminated program", Signal::TERM),
    (b"unable to execute command: Killed", Signal::KILL),
    (b"unable to execute command: Terminated", Signal::TERM),
    (b"linker command failed due to signal", Signal::KILL),
];

/// The signal by which somebody else has ended it.
pub(crate) fn by_somebody(ending: ChildEnding) -> Option<i32> {
    let signals = [Signal::KILL, Signal::TERM].map(Signal::as_raw);
    match ending {
        ChildEnding::Signal(signal) if signals.contains(&signal) => Some(signal),
        ChildEnding::Signal(_) | ChildEnding::Code(_) => None,
    }
}

/// The signal that explains a compiler's own end, by its last word: SIGABRT where it found no memory; where it failed
/// because its linker was ended by somebody, that one. (The link shim runs a linker again, but may be hit itself, and so
/// may the child that rustc has forked for it.)
pub(crate) fn by_its_word(ending: ChildEnding, said: &Forwarder) -> Option<i32> {
    let abort = Signal::ABORT.as_raw();
    match said.word()? {
        Word::OutOfMemory => (ending == ChildEnding::Signal(abort)).then_some(abort),
        Word::LinkerEnded(signal) if matches!(ending, ChildEnding::Code(code) if code != 0) => {
            by_somebody(ChildEnding::Signal(signal))
        }
        Word::LinkerEnded(_) => None,
    }
}

/// The signal by which somebody else has ended a linker, or `ld` below it.
pub(crate) fn of_linker(ending: ChildEnding, stderr: &[u8]) -> Option<i32> {
    let says = |words: &[u8]| stderr.windows(words.len()).any(|part| part == words);
    match ending {
        ChildEnding::Code(0) => None,
        ChildEnding::Code(_) => {
            OF_LINKERS.iter().find(|(words, _)| says(words)).map(|(_, signal)| signal.as_raw())
        }
        ChildEnding::Signal(_) => by_somebody(ending),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_compiler_does_to_itself_is_no_loss() {
        let after = |text: &str| {
            let mut forwarder = Forwarder::default();
            forwarder.take(text.as_bytes(), &mut Vec::new());
            forwarder
        };
        let ice = after("thread 'rustc' panicked\nquery stack during panic:\n");
        let memory = after("memory allocation of 4096 bytes failed\n");
        for (signal, somebody) in [(9, true), (15, true), (2, false), (6, false), (11, false)] {
            assert_eq!(by_somebody(ChildEnding::Signal(signal)).is_some(), somebody, "{signal}");
        }
        assert_eq!(by_its_word(ChildEnding::Signal(6), &ice), None);
        assert_eq!(by_its_word(ChildEnding::Signal(11), &memory), None);
        assert_eq!(by_its_word(ChildEnding::Code(101), &memory), None);
        assert_eq!(by_its_word(ChildEnding::Signal(6), &memory), Some(6));
        let linker =
            |signal| after(&format!("error: linking with `cc` failed: signal: {signal} (X)\n"));
        assert_eq!(by_its_word(ChildEnding::Code(1), &linker(9)), Some(9));
        assert_eq!(by_its_word(ChildEnding::Code(1), &linker(11)), None);
        assert_eq!(by_its_word(ChildEnding::Code(0), &linker(9)), None);
    }

    #[test]
    fn what_compiler_drivers_say_of_their_linker_is_understood() {
        let said = |text: &str| of_linker(ChildEnding::Code(1), text.as_bytes());
        assert_eq!(
            said("collect2: fatal error: ld terminated with signal 15 [Terminated]"),
            Some(15)
        );
        assert_eq!(said("collect2: fatal error: ld terminated with signal 9 [Killed]"), Some(9));
        assert_eq!(said("clang: error: unable to execute command: Terminated"), Some(15));
        assert_eq!(said("cc: fatal error: Killed signal terminated program collect2"), Some(9));
        assert_eq!(
            said("cc: fatal error: Terminated signal terminated program collect2"),
            Some(15)
        );
        assert_eq!(said("ld: cannot find -lfoo"), None);
        assert_eq!(
            said("collect2: fatal error: ld terminated with signal 11 [Segmentation fault]"),
            None
        );
        assert_eq!(of_linker(ChildEnding::Code(0), b"terminated with signal 9"), None);
    }
}
