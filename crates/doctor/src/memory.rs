//! The lines that want of memory leaves in logs.
//!
//! The forms are those of rustc, Cargo, nextest, GCC, Clang, GNU ld, lld, sccache, shells, make, the kernel, earlyoom,
//! systemd, container runtimes and CIs; `corpus/INDEX.md` has an example of each.

use std::sync::LazyLock;

use crate::cause::Cause;
use crate::finding::{About, Finding, Weight};
use crate::unit::{after, is_of_builds, of_command};
use crate::verdict::Certainty::{Certain, Likely, Possible};
use crate::words::Words;

/// Every line that a rule below fits has one of these, in letters of either case.
const TRIGGERS: &[&str] = &[
    "memory",
    "oom",
    "sending sig",
    "nohang",
    "bad_alloc",
    "(os error 1",
    "signal",
    "SIG",
    "Killed",
    "Terminated",
    "Bus error",
    "Segmentation fault",
    "Illegal instruction",
    "Abort",
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
    "rc\": -",
];

/// What a line says about memory, or about a signal.
pub(crate) fn look(line: &str) -> Option<Finding> {
    static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(TRIGGERS.iter().copied()));
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
    if lower.contains("out of memory") || lower.contains("oom_reaper") || lower.contains("oom-kill")
    {
        if let Some(victim) = in_brackets(&lower, "killed process ")
            .or_else(|| in_brackets(&lower, "kill process "))
            .or_else(|| in_brackets(&lower, "reaped process "))
        {
            let group = lower.contains("memory cgroup") || lower.contains("constraint_memcg");
            return told(if group { Cause::MemoryLimit } else { Cause::OomKiller }, Some(victim));
        }
        if let Some(task) = after(&lower, ",task=") {
            let group = lower.contains("constraint_memcg");
            let cause = if group { Cause::MemoryLimit } else { Cause::OomKiller };
            return told(cause, task.split(',').next());
        }
    }
    // The BSDs: `pid 878 (rustc), jid 0, uid 0, was killed: failed to reclaim memory`.
    if lower.contains("killed: ")
        && (lower.contains("memory") || lower.contains("swap"))
        && let Some(victim) = in_brackets(&lower, "pid ")
    {
        return told(Cause::OomKiller, Some(victim));
    }
    // illumos.
    if lower.contains("no swap space")
        && let Some(victim) = in_brackets(&lower, "pid ")
    {
        return told(Cause::OomKiller, Some(victim));
    }
    // Who asked last is seldom who is killed.
    if let Some(who) = lower.split(" invoked oom-killer").next().filter(|who| *who != lower)
        && is_of_builds(who.rsplit(' ').next().unwrap_or(who))
    {
        return Some(Finding::new(Cause::OomKiller, Possible, Weight::Heard, About::Job));
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
    let oom_killed = ["oomkilled", "oom killed", "oom-killed"];
    // What may, should or would be is not what was.
    let supposed = ["false", "may ", "might ", "should ", "would ", "expect"];
    let limit = (oom_killed.iter().any(|words| is_word(&lower, words))
        && !supposed.iter().any(|word| lower.contains(word)))
        || lower.contains("container oom ") && lower.contains("(image=")
        || lower.contains("out of memory (used over")
        || lower.contains("\"out of memory\" (\"oom\") event")
        || lower.contains("oom-kill event")
        || lower.contains("oom_kill event")
        || lower.contains("exceeded job memory limit")
        || lower.contains("exceeded memory limit")
        || lower.contains("memory limit exceeded")
        || lower.contains("condition: [memorypressure]")
        || lower.contains("container ran out of memory")
        || lower.contains("ran out of memory and was killed");
    limit.then(|| Finding::new(Cause::MemoryLimit, Certain, Weight::Confession, About::Job))
}

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

/// More than any machine has: a request that large is a mistake of the program.
const ABSURD: u64 = 1 << 46;

/// An allocation failed, and the program says so.
fn allocation(line: &str) -> Option<Finding> {
    // Whoever only warns goes on without it.
    if line.starts_with("WARN") || line.starts_with("warning") {
        return None;
    }
    let failed = |about| Some(Finding::new(Cause::AllocationFailed, Certain, Weight::Death, about));
    if let Some(rest) = after(line, "memory allocation of ") {
        let digits = rest.split(' ').next()?;
        if !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && rest.contains(" bytes failed")
        {
            return if digits.parse::<u64>().is_ok_and(|bytes| bytes < ABSURD) {
                failed(About::Compiler)
            } else {
                Some(Finding::new(Cause::Crash, Likely, Weight::Death, About::Compiler))
            };
        }
    }
    let lower = line.to_ascii_lowercase();
    if lower.contains("memory exhausted") || lower.contains("ld: out of memory") {
        return failed(if lower.contains("ld") { About::Linker } else { About::Compiler });
    }
    if lower.contains("cannot allocate memory") || lower.contains("(os error 12)") {
        let linker = lower.contains("linker") || lower.contains("lld") || lower.contains("mold");
        return failed(if linker { About::Linker } else { About::Compiler });
    }
    let windows = lower.contains("paging file is too small")
        || lower.contains("insufficient system resources")
        || lower.contains("not enough memory resources")
        || lower.contains("not enough storage is available")
        || lower.contains("0x8007000e")
        || lower.contains("lnk1102")
        || matches!(exit_number(line), Some(1450 | 1455))
        || lower.contains("out of heap space");
    let allocator = lower.starts_with("<jemalloc>: error");
    let python = line == "MemoryError" || line.starts_with("MemoryError: ");
    let known = windows
        || python
        || allocator
        || lower.contains("llvm error: out of memory")
        || lower.contains("what(): std::bad_alloc")
        || lower.contains("instance of 'std::bad_alloc'")
        || lower.contains("out of memory allocating ")
        || lower.contains("javascript heap out of memory")
        || lower.contains("fatal error: runtime: out of memory")
        || lower.contains("rustc: out of memory")
        || lower.contains("lld: error: out of memory")
        || lower.contains("failed to allocate memory")
        || lower.contains("tried to allocate more memory than available to compiler");
    if known { failed(About::Compiler) } else { None }
}

/// A process ended by a signal.
fn signal(line: &str) -> Option<Finding> {
    if let Some(number) = after(line, "terminated with signal ").and_then(number) {
        return by_signal(number, About::Linker);
    }
    // Clang says first what happened to its linker, and then that it was a signal.
    if let Some(ended) = after(line, "unable to execute command: ") {
        let (_, number) = ENDS.iter().find(|(word, _)| ended.starts_with(word))?;
        return by_signal(*number, About::Linker);
    }
    if line.contains("linker command failed due to signal") {
        let found = by_signal(9, About::Linker)?;
        return Some(Finding { weight: Weight::Heard, ..found });
    }
    // A shell or a wrapper between them says the signal as a status.
    let linked = after(line, "linking with `").and_then(|rest| after(rest, "` failed: "));
    if let Some(ended) = linked.or_else(|| after(line, "linker command failed with ")) {
        let number = after(ended, "signal: ").and_then(number);
        return by_signal(number.or_else(|| exit_number(ended)?.checked_sub(128))?, About::Linker);
    }
    for (word, sign) in
        [("Killed", 9), ("Terminated", 15), ("Bus error", 7), ("Segmentation fault", 11)]
    {
        if line.contains(&format!("{word} signal terminated program"))
            || line.contains(&format!("{word} (program "))
        {
            return by_signal(sign, About::Compiler);
        }
    }
    if let Some(number) = after(line, "terminated by signal ")
        .or_else(|| after(line, "killed by signal "))
        .and_then(number)
    {
        // sccache and GNU time.
        let known = line.contains("ompile") || line.starts_with("Command ");
        return if known { by_signal(number, About::Compiler) } else { None };
    }
    // The latter is Go's, in which many tools around builds are written.
    if line.contains("exited with SIGKILL") || line.contains("signal: killed") {
        return by_signal(9, About::Job);
    }
    if let Some(found) = of_nextest(line) {
        return Some(found);
    }
    let of_process = line.contains("didn't exit successfully")
        || line.contains(" (signal: ") && line.contains(", SIG")
        || (line.contains("status: signal: ") || line.contains("status code signal: "))
            && line.contains(" (SIG")
        || line.contains("exited with signal");
    let quoted = line.find("(signal: ").is_some_and(|at| line[..at].matches('`').count() % 2 == 1);
    let of_process = of_process && !quoted
        || (line.contains("exited with") || line.contains("failed")) && line.contains("SIG");
    if of_process {
        let number = ["(signal: ", "signal: ", "with signal "]
            .iter()
            .find_map(|mark| line.rfind(mark).and_then(|at| number(&line[at + mark.len()..])))
            .or_else(|| match exit_number(&line[line.rfind('(')?..]) {
                Some(137) => Some(9),
                Some(143) => Some(15),
                _ => None,
            })?;
        return by_signal(number, about(line)).map(|found| found.of(unit(line)));
    }
    by_shell(line)
}

/// The unit of the command in backticks.
fn unit(line: &str) -> Option<String> {
    line.split('`').nth(1).and_then(of_command)
}

/// Whether the command in backticks is a compiler or a program.
fn about(line: &str) -> About {
    let compiler = line.split('`').nth(1).is_none_or(|command| {
        command.contains("--crate-name")
            || command.split(' ').next().is_some_and(crate::unit::is_compiler)
    });
    if compiler { About::Compiler } else { About::Program }
}

/// How Windows ends a process: `(exit code: 0xc0000017, STATUS_NO_MEMORY)`.
fn windows(line: &str) -> Option<Finding> {
    let hex = after(line, "0xc")?.get(..7).filter(|_| line.contains("exit"))?;
    let (cause, weight) = match hex {
        // Without memory, beyond what is promised, without resources.
        "0000017" | "000012d" | "000009a" => (Cause::AllocationFailed, Weight::Death),
        "000013a" => (Cause::Interrupted, Weight::Death),
        "0000135" | "0000139" | "000007b" => (Cause::MissingLibrary, Weight::Resource),
        // An access, an instruction, a stack, a heap, an abort.
        "0000005" | "000001d" | "00000fd" | "0000374" | "0000409" => {
            (Cause::Crash, Weight::Resource)
        }
        _ => return None,
    };
    Some(Finding::new(cause, Likely, weight, about(line)).of(unit(line)))
}

/// `SIGKILL [   0.010s] (2/2) app tests::large`, as nextest says it.
fn of_nextest(line: &str) -> Option<Finding> {
    let (name, rest) = line.split_once(" [")?;
    let name = name.rsplit(' ').next()?;
    let number = match name {
        "SIGKILL" => 9,
        "SIGTERM" => 15,
        "SIGBUS" => 7,
        "SIGABRT" => 6,
        "SIGSEGV" => 11,
        _ => return None,
    };
    let (_, test) = rest.split_once("] ")?;
    let test = test.trim_start();
    let test = match test.strip_prefix('(') {
        Some(counted) => counted.split_once(") ")?.1,
        None => test,
    };
    by_signal(number, About::Program).map(|found| found.of(Some(format!("test {test}"))))
}

/// How shells and make call the signals.
const ENDS: &[(&str, u64)] = &[
    ("Killed", 9),
    ("Terminated", 15),
    ("Bus error", 7),
    ("Segmentation fault", 11),
    ("Illegal instruction", 4),
    ("Aborted (core dumped)", 6),
    ("Abort trap", 6),
];

/// `Killed`, `ci.sh: line 1: 301 Killed   cargo build`, `make: *** [Makefile:2: build] Killed`, `[1]  301 killed  cargo build`.
fn by_shell(line: &str) -> Option<Finding> {
    let job = line.strip_prefix("zsh: ").or_else(|| line.strip_prefix('[')).unwrap_or("");
    let job = job.trim_start_matches(|c: char| c.is_ascii_digit() || "]+- ".contains(c));
    if job.starts_with("killed ") || job.starts_with("Killed ") {
        return by_signal(9, About::Job);
    }
    // Behind a progress bar that did not end its line.
    let glued = line.strip_suffix("Killed");
    if glued.is_some_and(|bar| {
        !bar.ends_with("OOM") && bar.ends_with(|c: char| c.is_alphanumeric() || ")]%".contains(c))
    }) {
        return by_signal(9, About::Job);
    }
    if line.starts_with("*** Signal 9") {
        return by_signal(9, About::Job);
    }
    for (word, number) in ENDS {
        let Some(at) = line.find(word) else { continue };
        let before = line[..at].trim_end();
        let by_job = before.contains("line ") && before.ends_with(|c: char| c.is_ascii_digit());
        let by_make = before.contains("*** [") && before.ends_with(']');
        let alone = before.is_empty()
            && line[at + word.len()..].trim_start_matches([' ', '(', '.']).len() < 14;
        let alone = alone && !line[at + word.len()..].contains(|c: char| c.is_ascii_digit());
        let by_sh = before.ends_with("sh:") && before.starts_with('/');
        // A program under `cargo run` may write that word.
        if alone {
            let found = by_signal(*number, About::Job)?;
            return Some(Finding { certainty: Possible, ..found });
        }
        if by_job || by_make || by_sh {
            let found = by_signal(*number, About::Job)?;
            // A server that a script ends is not the build.
            let command = line[at + word.len()..].trim();
            let of_builds = |word| is_of_builds(file(word));
            let other = !command.is_empty() && !command.split_whitespace().any(of_builds);
            let weight = if by_job && other { Weight::Status } else { found.weight };
            return Some(Finding { weight, ..found });
        }
    }
    None
}

/// A program's name without its directory.
fn file(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

fn by_signal(number: u64, about: About) -> Option<Finding> {
    let (cause, certainty, weight) = match number {
        9 => (Cause::Killed, Likely, Weight::Death),
        15 => (Cause::Terminated, Possible, Weight::Resource),
        7 if about != About::Program => (Cause::TmpfsFull, Possible, Weight::Resource),
        2 => (Cause::Interrupted, Certain, Weight::Death),
        4 | 6 | 7 | 8 | 11 => (Cause::Crash, Likely, Weight::Resource),
        _ => return None,
    };
    Some(Finding::new(cause, certainty, weight, about))
}

/// Threads and processes ran out.
fn threads(line: &str) -> Option<Finding> {
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

/// How a whole step ended.
fn status(line: &str) -> Option<Finding> {
    let found = |cause, certainty, weight| Some(Finding::new(cause, certainty, weight, About::Job));
    if line.contains("runner has received a shutdown signal")
        || line.contains("lost communication with the server")
        || line.contains("Received \"terminated\" signal")
        || line.contains("Server terminated abruptly (error code: 14")
        || line.contains("running your job. (Error Type: Disconnect)")
        || line.contains("stopped hearing from agent")
    {
        return found(Cause::Terminated, Possible, Weight::Shutdown);
    }
    if line.contains("Received \"killed\" signal") || line.contains("(signal: SIGKILL)") {
        return found(Cause::Killed, Likely, Weight::Resource);
    }
    match exit_number(line)? {
        137 => found(Cause::Killed, Likely, Weight::Status),
        143 => found(Cause::Terminated, Possible, Weight::Shutdown),
        130 => found(Cause::Interrupted, Certain, Weight::Status),
        124 => found(Cause::Timeout, Possible, Weight::Status),
        _ => None,
    }
}

/// The number of `exit code 137`, `exit status: 137`, `non-zero code: 137`, `Error 137`.
pub(crate) fn exit_number(line: &str) -> Option<u64> {
    let lower = line.to_ascii_lowercase();
    ["exit", "code", "status", "rc", " error "].iter().find_map(|mark| {
        let at = lower.match_indices(mark).map(|(at, _)| at);
        // `decode 137` is no status.
        let mut words = at.filter(|&at| !lower[..at].ends_with(|c: char| c.is_ascii_alphabetic()));
        words.find_map(|at| number_behind(&lower[at + mark.len()..]))
    })
}

/// The number behind words that may stand before it: `ed with non-zero code: 137`.
fn number_behind(mut rest: &str) -> Option<u64> {
    const BETWEEN: &[&str] =
        &["ed ", "code", "status", "value", "with ", "non-zero ", "a ", "exit", "failure"];
    loop {
        rest = rest.trim_start_matches([':', ' ', '=', '"', '\'', '(']);
        match BETWEEN.iter().find_map(|word| rest.strip_prefix(word)) {
            Some(shorter) => rest = shorter,
            // Python says the signal.
            None => {
                return match rest.strip_prefix('-') {
                    Some(signal) => number(signal)?.checked_add(128),
                    None => number(rest),
                };
            }
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    // `0xc0000005` is another number.
    text[..end].parse().ok().filter(|_| !text[end..].starts_with('x'))
}
