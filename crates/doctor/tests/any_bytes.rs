//! Whatever the bytes of a log, and wherever they are cut, they are read.
#![expect(clippy::disallowed_methods, reason = "the corpus lies in files")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use plimsoll_doctor::{LogReader, Verdict, text};
use proptest::prelude::*;

fn judge(bytes: &[u8], cut: usize) -> Verdict {
    let mut reader = LogReader::default();
    for chunk in bytes.chunks(cut.max(1)) {
        reader.feed(chunk);
    }
    reader.verdict()
}

/// All texts of the corpus, one behind the other.
fn corpus() -> Vec<u8> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut bytes = Vec::new();
    for kind in ["memory", "other"] {
        let mut files: Vec<_> =
            corpus.join(kind).read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            bytes.extend(std::fs::read(file).unwrap());
        }
    }
    bytes
}

/// Pieces of what tools write, and what no tool writes.
fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..80),
        "[ -~]{0,60}".prop_map(String::into_bytes),
        proptest::sample::select(vec![
            "error: could not compile `",
            "error: could not compile `a` (bin \"",
            "process didn't exit successfully: `",
            "process didn't exit successfully: `rustc --crate-name` (signal: 9",
            "(signal: ",
            "collect2: fatal error: ld terminated with signal 9",
            "memory allocation of 99999999999999999999999 bytes failed",
            "Out of memory: Killed process 1 (",
            "oom-kill:constraint=x,task=",
            "SIGKILL [ ] (",
            "---- x stdout ----",
            "failed to run custom build command for `",
            "sending SIGTERM to process \"",
            "\u{1b}[",
            "[ ",
            "| ",
            "exit code ",
            "tmpfs on / type tmpfs",
            "Mem: 99999999999999999999Gi 1 18446744073709551615G",
            "Mem[|||| 1.2G/",
            "(os error ",
            "zsh: killed ",
            "toolchains/1.84.0-i686",
            "40 GB of RAM free",
            "timeout -s KILL ",
            "Finished `dev` profile target(s) in",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

proptest! {
    #[test]
    fn any_bytes_give_a_verdict(lines in proptest::collection::vec(line(), 0..40), cut in 1_usize..200) {
        let bytes = lines.join(&b'\n');
        let verdict = judge(&bytes, cut);
        prop_assert_eq!(&verdict, &judge(&bytes, usize::MAX), "where it is cut changes it");
        prop_assert_eq!(verdict.memory, verdict.cause.is_memory());
        prop_assert!(!text(&verdict).is_empty());
        let count = bytes.split(|byte| *byte == b'\n').count() as u64;
        prop_assert!(verdict.evidence.is_none_or(|evidence| (1..=count).contains(&evidence.line)));
    }

    #[test]
    fn any_piece_of_the_corpus_gives_a_verdict(from in 0_usize..100_000, length in 0_usize..9_000, flip in any::<u8>()) {
        let corpus = corpus();
        let from = from.min(corpus.len());
        let mut piece = corpus[from..(from + length).min(corpus.len())].to_vec();
        if let Some(byte) = piece.get_mut(length / 2) {
            *byte = flip;
        }
        let verdict = judge(&piece, 64);
        prop_assert_eq!(verdict.memory, verdict.cause.is_memory());
    }
}
