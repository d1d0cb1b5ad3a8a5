//! Want of memory in words that no form of `memory.rs` has: tools and CIs are many, the words for it few.
//!
//! The same words stand in advice, in names and in commands that a shell shows. What only sounds like it therefore
//! weighs less than what a tool says of the program that it was given; what is called an error, or a death, more.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::cause::Cause;
use crate::finding::{About, Finding, Weight};
use crate::verdict::Certainty::{Likely, Possible};
use crate::words::Words;

/// Every line that a rule below fits has one of these, in letters of either case.
const TRIGGERS: &[&str] =
    &["mem", "oom", "heap", "swap", "paging file", "system resources", "allocat", "sig", "kill"];

/// Memory is gone.
const GONE: &[&str] = &[
    "out of memory",
    "out-of-memory",
    "outofmemoryerror",
    "insufficient memory",
    "not enough memory",
    "memory exhausted",
    "memory is exhausted",
    "out of heap",
    "heap space",
    "heap limit",
    "out of swap",
    "low on memory",
    "low on resource: memory",
    "due to memory",
    "paging file is too small",
    "insufficient system resources",
    "bad_alloc",
];

/// What may have a limit, and what says that it was passed.
const LIMITED: &[&str] = &["memory", "memlimit", " mem ", "heap"];
const LIMIT: &[&str] = &["limit", "quota", "usage", "consumption", "maximum", "allowed"];
const PASSED: &[&str] = &["exceeded", "reaching", "reached", "excessive", "ran over"];

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
];

/// Who speaks so tells of something else: a signal that is sent, a time limit, a test, advice, a command.
const TALK: &[&str] = &["sending", "timeout", "timed out", "assert", "panicked at", "kill -9"];
const ADVICE: &[&str] = &[" if ", "avoid", "prevent"];
const SHOWN: &[&str] =
    &["+ ", "$ ", "# ", "Run ", "warning", "WARN ", "help:", "hint:", "W: ", "error["];

/// What a line says of memory, in whatever words.
pub(crate) fn look(line: &str) -> Option<Finding> {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(TRIGGERS.iter().copied()));
    WORDS.first(line)?;
    let lower = without_code(line).to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if SHOWN.iter().any(|word| line.starts_with(word)) || any(ADVICE) {
        return None;
    }
    let called = (lower.contains("error") || lower.contains("fatal")) && !any(TALK);
    let loud = if called { Weight::Resource } else { Weight::Heard };
    if any(LIMITED) && any(LIMIT) && any(PASSED) {
        let weight = if lower.contains("kill") { Weight::Confession } else { loud };
        return Some(Finding::new(Cause::MemoryLimit, Likely, weight, About::Job));
    }
    if any(NINE) && any(ENDED) && !any(TALK) {
        return Some(Finding::new(Cause::Killed, Likely, Weight::Resource, About::Job));
    }
    if any(GONE) || any(ASKED) && any(REFUSED) && any(AMOUNT) {
        // A job is not out of memory, its container is.
        let job = ["job", "build ", "container", "node "].iter().any(|word| lower.contains(word));
        return Some(if job {
            Finding::new(Cause::MemoryLimit, Likely, loud, About::Job)
        } else {
            Finding::new(Cause::AllocationFailed, Possible, loud, About::Compiler)
        });
    }
    None
}

/// Without what stands in backticks: names of crates, and the code that a compiler speaks of.
fn without_code(line: &str) -> Cow<'_, str> {
    // Not what stands between a lone one and an apostrophe.
    let ticks = line.matches('`').count();
    if ticks > 0 && ticks % 2 == 0 {
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
        let check = |line: &str, cause, weight| {
            let found = look(line).unwrap();
            assert_eq!((found.cause, found.weight), (cause, weight), "{line}");
        };
        check(
            "a job used more memory than its allowed maximum: exceeded",
            Cause::MemoryLimit,
            Weight::Heard,
        );
        check("newtool: fatal: out of memory", Cause::AllocationFailed, Weight::Resource);
        check("newtool: unable to allocate 4096 bytes", Cause::AllocationFailed, Weight::Heard);
        check("step 3 died with signal 9", Cause::Killed, Weight::Resource);
    }

    #[test]
    fn what_only_has_the_words_says_nothing() {
        for line in [
            "+ dmesg | grep -i 'out of memory'",
            "warning: out of memory errors are likely with this setting",
            "swap is added to avoid out of memory errors",
            "timeout: sending signal KILL to command",
            "error: could not compile `out-of-memory` (lib)",
            "error: cannot find function `failed_to_allocate_memory` in this scope",
            "memory limit: 4 GiB",
        ] {
            assert!(look(line).is_none(), "{line}");
        }
    }
}
