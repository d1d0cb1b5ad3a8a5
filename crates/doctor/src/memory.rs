//! The lines that want of memory leaves in logs.
//!
//! The forms are those of rustc, Cargo, GCC, Clang, GNU ld, lld, Windows, the kernel, earlyoom, systemd, container
//! runtimes and CIs; `corpus/INDEX.md` has an example of each. How processes end is `signal.rs`'s.

use std::sync::LazyLock;

use crate::cause::Cause;
use crate::finding::{About, Finding, Weight};
use crate::other::{is_below_an_error, os_error};
use crate::signal::{KILLED, exit_number, signal, status, windows};
use crate::unit::{after, is_of_builds};
use crate::verdict::Certainty::{Certain, Likely, Possible};
use crate::words::Words;

/// Every line that a rule below fits has one of these, in letters of either case.
const TRIGGERS: &[&str] = &[
    "memory",
    "oom",
    "sending sig",
    "nohang",
    "bad_alloc",
    "os error",
    "WinError",
    "enomem",
    "allocating stack",
    "allocate fiber",
    "allocate stack",
    "stack space",
    "Array buffer allocation",
    "Process completed",
    "signal",
    "collect2",
    "SIG",
    "Killed",
    "Terminated",
    "Bus error",
    "Segmentation fault",
    "Illegal instruction",
    "Abort",
    "Bad system call",
    "size limit exceeded",
    "unavailable",
    "pthread_create",
    "create thread",
    "fork",
    "bitcode",
    "load bc of",
    "exit",
    "code",
    "status",
    " error ",
    "lost communication",
    "stopped hearing",
    "Error Type: Disconnect",
    "<jemalloc>",
    "swap",
    "paging file",
    "system resources",
    "out of heap",
    "not enough storage",
    "0x8007000e",
    "create new OS thread",
    "native thread",
    "rc\":",
    "rc'",
    "rc:",
    "rc=",
    "rc ",
    "lnk1102",
];

/// What a line says about memory, or about a signal.
pub(crate) fn look(line: &str) -> Option<Finding> {
    static WORDS: LazyLock<Words> =
        LazyLock::new(|| Words::new(TRIGGERS.iter().chain(KILLED).copied()));
    if WORDS.first(line).is_some() {
        return look_closely(line);
    }
    debug_assert!(look_closely(line).is_none(), "a trigger is missing for {line:?}");
    None
}

fn look_closely(line: &str) -> Option<Finding> {
    confession(line)
        .or_else(|| allocation(line))
        .or_else(|| windows(line))
        .or_else(|| signal(line))
        .or_else(|| threads(line))
        .or_else(|| bitcode(line))
        .or_else(|| status(line))
}

/// Somebody says that he killed for memory: the kernel, a daemon, a container runtime.
fn confession(line: &str) -> Option<Finding> {
    let told = |cause, victim: Option<&str>| {
        let (certainty, weight) = match victim {
            Some(name) if !is_of_builds(name) => (Possible, Weight::Beside),
            Some(_) => (Certain, Weight::Confession),
            None => (Likely, Weight::Confession),
        };
        let about = if victim.is_some_and(is_linker) { About::Linker } else { About::Compiler };
        let about = if victim.is_some() { about } else { About::Job };
        Some(Finding::new(cause, certainty, weight, about))
    };
    let lower = line.to_ascii_lowercase();
    if ["out of memory", "oom_reaper", "oom-kill"].iter().any(|words| lower.contains(words)) {
        let victim = ["killed process ", "kill process ", "reaped process "]
            .iter()
            .find_map(|mark| in_brackets(&lower, mark))
            .or_else(|| after(&lower, ",task=")?.split(',').next());
        let group = lower.contains("memory cgroup") || lower.contains("constraint_memcg");
        let cause = if group { Cause::MemoryLimit } else { Cause::OomKiller };
        if victim.is_some() {
            return told(cause, victim);
        }
    }
    // The BSDs: `pid 878 (rustc), jid 0, uid 0, was killed: failed to reclaim memory`; illumos: `no swap space`.
    let reclaimed =
        lower.contains("killed: ") && (lower.contains("memory") || lower.contains("swap"));
    if (reclaimed || lower.contains("no swap space"))
        && let Some(victim) = in_brackets(&lower, "pid ")
    {
        return told(Cause::OomKiller, Some(victim));
    }
    // Who asked last is seldom who is killed.
    if let Some(who) = lower.split(" invoked oom-killer").next().filter(|who| *who != lower)
        && is_of_builds(who.rsplit(' ').next().unwrap_or(who))
    {
        return Some(Finding::new(Cause::OomKiller, Possible, Weight::Phrase, About::Job));
    }
    if lower.contains("sending sig") && lower.contains(" to process ") {
        return told(Cause::Earlyoom, lower.split('"').nth(1).or(Some("cargo")));
    }
    // Android, and macOS.
    if lower.contains("lowmemorykiller: kill") || lower.contains("memorystatus: kill") {
        return told(Cause::OomKiller, None);
    }
    if lower.contains("nohang") && lower.contains("to the victim") {
        return told(Cause::Earlyoom, Some("cargo"));
    }
    if lower.contains("systemd-oomd") && lower.contains("killed") {
        return told(Cause::SystemdOomd, None);
    }
    if lower.contains("killed by the oom killer") || lower.contains("result 'oom-kill'") {
        return told(Cause::OomKiller, None);
    }
    // What may, should or would be is not what was.
    let supposed = ["false", "may ", "might ", "should ", "would ", "expect"];
    let limit =
        ["oomkilled", "oom killed", "oom-killed"].iter().any(|words| is_word(&lower, words))
            && !supposed.iter().any(|word| lower.contains(word))
            || lower.contains("container oom ") && lower.contains("(image=")
            || AT_LIMIT.iter().any(|words| lower.contains(words)) && !is_below_an_error(line);
    limit.then(|| Finding::new(Cause::MemoryLimit, Certain, Weight::Confession, About::Job))
}

/// What runtimes and CIs say of a job at its limit.
const AT_LIMIT: &[&str] = &[
    "out of memory (used over",
    "\"out of memory\" (\"oom\") event",
    "oom-kill event",
    "oom_kill event",
    "exceeded job memory limit",
    "exceeded memory limit",
    "memory limit exceeded",
    "condition: [memorypressure]",
    "container ran out of memory",
    "ran out of memory and was killed",
];

fn is_linker(name: &str) -> bool {
    matches!(
        name,
        "ld" | "ld.lld" | "lld" | "rust-lld" | "mold" | "ld.mold" | "ld.bfd" | "collect2" | "wild"
    )
}

/// Whether these words stand in the line, and not as a part of longer ones: hashes have any letters.
fn is_word(line: &str, words: &str) -> bool {
    line.match_indices(words).any(|(at, _)| {
        !line[..at].ends_with(char::is_alphanumeric)
            && !line[at + words.len()..].starts_with(char::is_alphanumeric)
    })
}

/// What stands in the brackets behind `mark`: `killed process 24744 (rustc) total-vm`.
fn in_brackets<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    after(line, mark)?.split_once('(')?.1.split(')').next()
}

/// 1 TiB, more than any machine for builds has: a request that large is corrupt, or a mistake of the program.
const ABSURD: u64 = 1 << 40;

/// 10 GiB: what a compiler asks for at once is seldom so much, and mistakes of programs mostly are.
pub(crate) const LARGE: u64 = 10 << 30;

/// What LLVM's `bad_alloc` becomes in rustc; a program of the user's may meet another exception.
pub(crate) const FOREIGN: &str = "Rust cannot catch foreign exceptions";

/// What systems, runtimes and compilers say of memory that they were not given.
const REFUSED: &[&str] = &[
    // Windows.
    "paging file is too small",
    "insufficient system resources",
    "not enough memory resources",
    "not enough storage is available",
    "0x8007000e",
    "lnk1102",
    "out of heap space",
    "llvm error: out of memory",
    "what(): std::bad_alloc",
    "instance of 'std::bad_alloc'",
    "out of memory allocating ",
    "javascript heap out of memory",
    "fatal error: runtime: out of memory",
    "rustc: out of memory",
    "lld: error: out of memory",
    "failed to allocate memory",
    "tried to allocate more memory than available to compiler",
    "array buffer allocation failed",
    "spawn enomem",
    "enomem: ",
    // rustc's stacks that grow.
    "allocating stack failed",
    "unable to allocate fiber",
    "failed to allocate stack",
    "failed to reserve stack space",
];

/// What systems call by a number in parentheses, behind words in any language. Windows: not enough memory (8), out of
/// memory (14), no system resources (1450), quota (1453, 1454, 1816), commitment limit (1455). Unix: ENOMEM (12).
fn by_number(line: &str) -> bool {
    match os_error(line) {
        Some(1450 | 1453 | 1454 | 1455 | 1816) => true,
        // Unix has other errors of these numbers, and says them in English always.
        Some(8) => !line.contains("Exec format error"),
        Some(14) => !line.contains("Bad address"),
        // Windows has another.
        Some(12) => !line.contains("access code is invalid") && !line.contains(":\\"),
        _ => false,
    }
}

/// What was asked for at once, where a line says that and nothing else.
pub(crate) fn requested(line: &str) -> Option<u64> {
    let rest = ["memory allocation of ", "out of memory allocating "]
        .iter()
        .find_map(|mark| after(line, mark))?;
    let (digits, rest) = rest.split_once(' ')?;
    let failed = rest.starts_with("bytes failed") || rest.starts_with("bytes after a total of");
    (failed && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        // Too large for a number is too large.
        .then(|| digits.parse().unwrap_or(u64::MAX))
}

/// An allocation failed, and the program says so.
fn allocation(line: &str) -> Option<Finding> {
    // Whoever only warns goes on without it.
    if line.starts_with("WARN") || line.starts_with("warning") {
        return None;
    }
    let failed = |about| Some(Finding::new(Cause::AllocationFailed, Certain, Weight::Death, about));
    if let Some(bytes) = requested(line) {
        return match bytes {
            ABSURD.. => Some(Finding::new(Cause::Crash, Likely, Weight::Death, About::Compiler)),
            LARGE.. => Some(Finding::new(
                Cause::AllocationFailed,
                Possible,
                Weight::Death,
                About::Compiler,
            )),
            _ => failed(About::Compiler),
        };
    }
    let lower = line.to_ascii_lowercase();
    if lower.contains("memory exhausted") || lower.contains("ld: out of memory") {
        return failed(if lower.contains("ld") { About::Linker } else { About::Compiler });
    }
    // The loader keeps little for the variables of threads, however much memory there is.
    if lower.contains("in static tls block") {
        return None;
    }
    if lower.contains("cannot allocate memory") || by_number(line) {
        let linker = lower.contains("linker") || lower.contains("lld") || lower.contains("mold");
        return failed(if linker { About::Linker } else { About::Compiler });
    }
    let known = REFUSED.iter().any(|words| lower.contains(words))
        || lower.starts_with("<jemalloc>: error")
        || line == "MemoryError"
        || line.starts_with("MemoryError: ")
        || matches!(exit_number(line), Some(1450 | 1455));
    if known { failed(About::Compiler) } else { None }
}

/// Threads and processes ran out: a limit of their number, of the account, the container or the system.
fn threads(line: &str) -> Option<Finding> {
    // Termux, when Android has ended it: of all apps together, 32 processes may have been started by others.
    if line.starts_with("[Process completed (signal 9)") {
        return Some(Finding::new(Cause::NoThreads, Likely, Weight::Death, About::Job));
    }
    if line.contains("rejected by pids controller") {
        return Some(Finding::new(Cause::NoThreads, Certain, Weight::Death, About::Job));
    }
    const STARTING: &[&str] = &[
        "spawn",
        "thread",
        "Thread",
        "fork",
        "exec",
        "rustc",
        "jobserver",
        "ctrlc handler",
        "what():",
    ];
    let again = line.contains("Resource temporarily unavailable");
    // Cargo and rustup say the cause on a line of its own.
    let cause = line.starts_with("Resource temporarily") || line.starts_with("info: caused by: ");
    let starting = STARTING.iter().any(|word| line.contains(word)) && !line.contains("file lock");
    let found = again && (cause || starting)
        || line.contains("pthread_create failed")
        || line.contains("failed to create thread")
        || line.contains("failed to create new OS thread")
        || line.contains("unable to create native thread")
        || line.contains("fork: retry")
        || line.contains("Cannot fork");
    found.then(|| Finding::new(Cause::NoThreads, Likely, Weight::Resource, About::Compiler))
}

/// What link-time optimisation could not read.
fn bitcode(line: &str) -> Option<Finding> {
    let load = line.contains("failed to load bitcode of module")
        || line.contains("failed to load bc of")
        || line.contains("failed to parse bitcode");
    // Bitcode of another version of LLVM says so.
    let other_version =
        ["Invalid record", "Unknown attribute", "Producer", "Invalid value", "nvalid type"];
    (load && !other_version.iter().any(|words| line.contains(words)))
        .then(|| Finding::new(Cause::Bitcode, Possible, Weight::Resource, About::Linker))
}
