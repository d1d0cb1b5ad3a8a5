//! How a process or a step ended, told by a signal or by a status.
//!
//! Cargo, nextest, linkers, shells, make, Windows and CIs each have their own words for it. Who sent the signal is not
//! known here; a log that says so says it in a line of its own, which is `memory.rs`'s.

use crate::cause::Cause;
use crate::finding::{About, Finding, Weight};
use crate::plain::is_service;
use crate::unit::{after, is_of_builds, of_command};
use crate::verdict::Certainty::{Certain, Likely, Possible};

/// A process ended by a signal.
pub(crate) fn signal(line: &str) -> Option<Finding> {
    if let Some(number) = after(line, "terminated with signal ").and_then(number) {
        return by_signal(number, About::Linker);
    }
    // Clang says first what happened to its linker, and then that it was a signal.
    if let Some(ended) = after(line, "unable to execute command: ") {
        let (_, number) = ENDS.iter().find(|(word, _)| ended.starts_with(word))?;
        return by_signal(*number, About::Linker);
    }
    if let Some(about) = by_gcc(line) {
        return by_signal(9, about);
    }
    if line.contains("linker command failed due to signal") {
        let found = by_signal(9, About::Linker)?;
        return Some(Finding { weight: Weight::Phrase, ..found });
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
pub(crate) fn windows(line: &str) -> Option<Finding> {
    let hex = after(line, "0xc")?.get(..7).filter(|_| line.contains("exit"))?;
    let (cause, weight) = match hex {
        // Without memory, beyond what is promised, without resources.
        "0000017" | "000012d" | "000009a" => (Cause::AllocationFailed, Weight::Death),
        "000013a" => (Cause::Interrupted, Weight::Death),
        "0000135" | "0000139" | "000007b" => (Cause::MissingLibrary, Weight::Resource),
        // An access, an instruction, a stack, a heap, an abort.
        "0000005" | "000001d" | "00000fd" | "0000142" | "0000374" | "0000409" => {
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
        "SIGSYS" => 31,
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

/// How the GNU C library calls SIGKILL in other languages than English, and with it shells, make and GCC.
pub(crate) const KILLED: &[&str] = &[
    "Getötet",
    "Processus arrêté",
    "Tué",
    "Matado",
    "Terminado (killed)",
    "Morto",
    "Ucciso",
    "Unicestwiony",
    "Geëlimineerd",
    "Dödad",
    "Zabit",
    "Убито",
    "Вбито",
    "強制終了",
    "已杀死",
    "已砍掉",
    "強制結束",
];

/// The programs that GCC runs, and says so where a signal ends one.
const OF_GCC: &[&str] = &["cc1", "collect2", "lto1", "lto-wrapper"];

/// `collect2: schwerwiegender Fehler: ld mit Signal 9 [Getötet] beendet`.
fn by_gcc(line: &str) -> Option<About> {
    if line.contains("collect2") && line.contains(" 9 [") {
        return Some(About::Linker);
    }
    let killed = KILLED.iter().any(|word| line.contains(word));
    (killed && OF_GCC.iter().any(|program| line.contains(program))).then_some(About::Compiler)
}

/// A shell names a line of its script and a process, each in its language: `ci.sh: linha 14: 30551`,
/// `ci.sh : ligne 14 : 30551`, `ci.sh: 第 14 行：30551`.
fn names_a_process(before: &str) -> bool {
    const COLONS: [char; 2] = [':', '：'];
    let Some((script, pid)) = before.rsplit_once(COLONS) else { return false };
    let is_digit = |c: char| c.is_ascii_digit();
    let line = script.rsplit_once(COLONS).map(|(_, line)| line);
    let pid = pid.trim();
    !pid.is_empty() && pid.chars().all(is_digit) && line.is_some_and(|line| line.contains(is_digit))
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
    ("Bad system call", 31),
    ("File size limit exceeded", 25),
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
    let translated = KILLED.iter().map(|word| (*word, 9));
    for (nth, (word, number)) in ENDS.iter().copied().chain(translated).enumerate() {
        let Some(at) = line.find(word) else { continue };
        let before = line[..at].trim_end();
        let by_job = before.contains("line ") && before.ends_with(|c: char| c.is_ascii_digit())
            || nth >= ENDS.len() && names_a_process(before);
        let by_make = before.contains("*** [") && before.ends_with(']');
        let alone = before.is_empty()
            && line[at + word.len()..].trim_start_matches([' ', '(', '.']).len() < 14;
        let alone = alone && !line[at + word.len()..].contains(|c: char| c.is_ascii_digit());
        let by_sh = before.ends_with("sh:") && before.starts_with('/');
        // A program under `cargo run` may write that word.
        if alone {
            let found = by_signal(number, About::Job)?;
            return Some(Finding { certainty: Possible, ..found });
        }
        if by_job || by_make || by_sh {
            let found = by_signal(number, About::Job)?;
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

/// The command that a shell names behind a kill: `zsh: killed     ./app --version`, `line 3: 4121 Killed: 9    ./app`.
pub(crate) fn command_of_shell(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("illed")?;
    let shell = before.ends_with(['k', 'K'])
        && (before.starts_with("zsh: ") || before.contains("line ") || before.starts_with('['));
    shell.then(|| rest.trim_start_matches(": 9").trim())
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
        // A file as large as it may be, a system call that a sandbox forbids.
        25 | 31 => (Cause::Denied, Likely, Weight::Resource),
        4..=8 | 11 => (Cause::Crash, Likely, Weight::Resource),
        _ => return None,
    };
    Some(Finding::new(cause, certainty, weight, about))
}

/// What CIs say of a runner that they lost or shut down.
const SHUT_DOWN: &[&str] = &[
    "runner has received a shutdown signal",
    "lost communication with the server",
    "Received \"terminated\" signal",
    "Server terminated abruptly (error code: 14",
    "running your job. (Error Type: Disconnect)",
    "stopped hearing from agent",
];

/// How a whole step ended.
pub(crate) fn status(line: &str) -> Option<Finding> {
    let found = |cause, certainty, weight| Some(Finding::new(cause, certainty, weight, About::Job));
    if SHUT_DOWN.iter().any(|words| line.contains(words)) {
        return found(Cause::Terminated, Possible, Weight::Shutdown);
    }
    if line.contains("Received \"killed\" signal") || line.contains("(signal: SIGKILL)") {
        return found(Cause::Killed, Likely, Weight::Resource);
    }
    match exit_number(line)? {
        // A server that somebody stopped is not the build.
        137 if of_service(line) => found(Cause::Killed, Possible, Weight::Beside),
        137 => found(Cause::Killed, Likely, Weight::Status),
        143 => found(Cause::Terminated, Possible, Weight::Shutdown),
        130 => found(Cause::Interrupted, Certain, Weight::Status),
        124 => found(Cause::Timeout, Possible, Weight::Status),
        153 | 159 => found(Cause::Denied, Possible, Weight::Status),
        _ => None,
    }
}

/// `search-1 exited with code 137`, as docker compose says it of each service, also of those that it takes down.
fn of_service(line: &str) -> bool {
    line.split_once(" exited with code ").is_some_and(|(name, _)| is_service(name))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_and_make_say_it_in_their_languages() {
        for line in [
            "./ci.sh: line 14: 30551 Killed                  cargo build",
            "./ci.sh: linha 14: 30551 Morto                   cargo build",
            "./ci.sh: Zeile 14: 30551 Getötet                 cargo build",
            "./ci.sh : ligne 14 : 30551 Processus arrêté        cargo build",
            "./ci.sh: 第 14 行：30551 已杀死               cargo build",
            "./ci.sh: 14 行: 30551 強制終了            cargo build",
            "make: *** [Makefile:2: build] Getötet",
        ] {
            let found = signal(line).unwrap();
            assert_eq!((found.cause, found.weight), (Cause::Killed, Weight::Death), "{line}");
        }
        // A server that a script ends is not the build.
        let server = "./ci.sh: Zeile 20: 4711 Getötet                 python3 -m http.server";
        assert_eq!(signal(server).unwrap().weight, Weight::Status);
        for line in ["o disco: 14: Morto de saudade", "Zeile 3 wurde Getötet", "12: x: Morto"] {
            assert!(signal(line).is_none(), "{line}");
        }
    }
}
