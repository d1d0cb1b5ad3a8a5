//! Want of memory in words that no form of `memory.rs` has: tools and CIs are many, the words for it few.
//!
//! The same words stand in advice, in names, in a program's own log and in commands that a shell shows. What only
//! sounds like it therefore weighs less than what a tool says of the program that it was given.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::cause::Cause;
use crate::finding::{About, Finding, Weight};
use crate::verdict::Certainty::{Likely, Possible};
use crate::words::Words;

/// Every line that a rule below fits has one of these, in letters of either case.
const TRIGGERS: &[&str] = &[
    "memory", "memlimit", " mem ", "heap", "swap", "alloc", "mmap", "signal", "sigkill", "kill",
    " ram",
];

/// Memory is gone.
const GONE: &[&str] = &[
    "out of memory",
    "out-of-memory",
    "outofmemoryerror",
    "outofmemoryexception",
    "out of ram",
    "all available ram",
    "insufficient memory",
    "not enough memory",
    "memory is exhausted",
    "heap space",
    "out of swap",
    "low on memory",
    "low on resource: memory",
    "due to memory",
    "bad_alloc",
];

/// What may have a limit, and what says that it was passed.
const LIMITED: &[&str] = &["memory", "memlimit", " mem ", "heap"];
const LIMIT: &[&str] = &["limit", "quota", "usage", "consumption", "maximum", "allowed"];
const PASSED: &[&str] = &["exceeded", "exceeds", "reaching", "reached", "excessive", "over memory"];

/// Memory was asked for, and not given.
const ASKED: &[&str] = &["allocat", "malloc", "mmap", "virtual memory"];
const REFUSED: &[&str] = &["fail", "unable", "cannot", "could not", "can't"];
const AMOUNT: &[&str] = &["memory", "bytes"];

/// Signal 9, and what says that something ended by it.
const NINE: &[&str] =
    &["sigkill", "signal 9", "signal: 9", "signal kill", "killed: 9", "(killed)", "[killed]"];
const ENDED: &[&str] = &[
    "killed by",
    "killed with",
    "terminated",
    "died",
    "failed",
    "exited",
    "received",
    "due to",
    "aborted",
    "error",
    "stopping process",
    "completed",
];

/// Whose memory a CI speaks of.
const JOB: &[&str] = &["job", "build ", "container", "node ", "session"];

/// Who speaks so tells of something else: a signal that is sent, a time limit, a test, advice, a command.
const TALK: &[&str] =
    &["sending", "timeout", "timed out", "assert", "panicked at", "kill -9", "restarting"];
const ADVICE: &[&str] = &[" if ", "avoid", "prevent", "would ", "changelog", "fixed "];
const SHOWN: &[&str] = &[
    "# ", "Run ", "warning", "WARN ", "WARN[", "help:", "= help:", "hint:", "note:", "W: ",
    "error[",
];

/// What a line says of memory, in whatever words.
pub(crate) fn look(line: &str) -> Option<Finding> {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(TRIGGERS.iter().copied()));
    WORDS.first(line)?;
    let lower = without_code(line).to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if SHOWN.iter().any(|word| line.starts_with(word)) || any(ADVICE) || any(&["static tls"]) {
        return None;
    }
    let found =
        |cause, certainty, about| Some(Finding::new(cause, certainty, Weight::Phrase, about));
    if any(LIMITED) && any(LIMIT) && any(PASSED) {
        return found(Cause::MemoryLimit, Likely, About::Job);
    }
    // What a shell wrote, quoted by a person.
    let quoted = ["`Killed`", "\"Killed\"", "'Killed'"].iter().any(|word| line.contains(word));
    if quoted && any(&[" returns ", " says ", " prints ", " shows ", " get ", " just "]) {
        return found(Cause::Killed, Possible, About::Job);
    }
    if any(NINE) && any(ENDED) && !any(TALK) {
        return found(Cause::Killed, Likely, About::Job);
    }
    if GONE.iter().any(|words| says(&lower, words)) || any(ASKED) && any(REFUSED) && any(AMOUNT) {
        // A job is not out of memory, its container is.
        return if any(JOB) {
            found(Cause::MemoryLimit, Likely, About::Job)
        } else {
            found(Cause::AllocationFailed, Possible, About::Compiler)
        };
    }
    None
}

/// Whether the line says the words, and neither quotes them nor has them in a name.
fn says(line: &str, words: &str) -> bool {
    line.match_indices(words).any(|(at, _)| {
        !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "\"'/-_".contains(c))
    })
}

/// Without what stands in backticks: names of crates, and the code that a compiler speaks of.
fn without_code(line: &str) -> Cow<'_, str> {
    // Not what stands between a lone one and an apostrophe.
    let ticks = line.matches('`').count();
    if ticks > 0 && ticks.is_multiple_of(2) {
        line.split('`').step_by(2).collect::<Vec<_>>().join("``").into()
    } else {
        line.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wrote_a_form_for_is_understood() {
        let check = |line: &str, cause| assert_eq!(look(line).unwrap().cause, cause, "{line}");
        check("newci: the job's memory exceeded what is allowed", Cause::MemoryLimit);
        check("newtool: fatal: out of memory", Cause::AllocationFailed);
        check("newtool: unable to allocate 4096 bytes", Cause::AllocationFailed);
        check("step 3 died with signal 9", Cause::Killed);
    }

    #[test]
    fn what_only_has_the_words_says_nothing() {
        for line in [
            "warning: out of memory errors are likely with this setting",
            "swap is added to avoid out of memory errors",
            "timeout: sending signal KILL to command",
            "error: could not compile `out-of-memory` (lib)",
            "error: cannot find function `failed_to_allocate_memory` in this scope",
            "memory limit: 4 GiB",
            "memory limit 4 GiB; what exceeded it would be killed",
            "https://example.com/out-of-memory",
        ] {
            assert!(look(line).is_none(), "{line}");
        }
    }
}
