//! Second thoughts about the heaviest finding: what the rest of the log says against it.
//!
//! SIGKILL and "out of memory" have other causes, too, and some show only beside the line itself: a system that
//! kills what it does not trust, a machine with much free memory, a time limit.

use crate::cause::Cause;
use crate::circumstances::{Circumstances, System};
use crate::finding::{About, Finding, Weight};
use crate::memory::{FOREIGN, requested};
use crate::signal::command_of_shell;
use crate::unit::is_of_builds;
use crate::verdict::Certainty::{self, Likely, Possible};

/// So much free memory, shown behind a death, was not short: single requests of compilers are smaller.
const PLENTY: u64 = 8 << 30;

/// The same, shown before: what the build itself may use of it must be left out.
const PLENTY_AT_FIRST: u64 = 32 << 30;

/// What it is, if not what it seems.
pub(crate) fn doubted(best: Finding, findings: &[Finding], seen: &Circumstances) -> Finding {
    let instead = |cause, certainty: Certainty| Finding { cause, certainty, ..best.clone() };
    if best.cause == Cause::Killed {
        // Android ends the terminal with all that runs in it.
        if let Some(all) = findings
            .iter()
            .find(|found| found.cause == Cause::NoThreads && found.weight >= Weight::Death)
        {
            return all.clone();
        }
        if let Some(certainty) = distrusted(&best, findings, seen) {
            return instead(Cause::Denied, certainty);
        }
        // It counts processes, too, and does not say which it was.
        if seen.system == System::Android {
            return instead(best.cause, Possible);
        }
        if seen.killed_by_hand && best.about == About::Job {
            return instead(Cause::Interrupted, Possible);
        }
        if seen.timed && best.unit.is_none() && best.about == About::Job {
            return instead(Cause::Timeout, Possible);
        }
    }
    if best.cause == Cause::AllocationFailed && best.weight >= Weight::Death {
        return match had_plenty(&best, seen) {
            Some(Plenty::Unexplained) => instead(Cause::Crash, Possible),
            // A limit of the address space would explain it, or of what is promised.
            Some(Plenty::Limited) => instead(best.cause, Possible),
            None => best,
        };
    }
    best
}

/// macOS kills at its start a program without a valid signature, or one that it holds in quarantine: it has written
/// nothing, and is none of the compilers.
fn distrusted(best: &Finding, findings: &[Finding], seen: &Circumstances) -> Option<Certainty> {
    let said =
        findings.iter().any(|found| found.weight == Weight::Confession && found.cause.is_memory());
    if seen.system != System::Macos || said {
        return None;
    }
    match best.unit.as_deref() {
        Some(unit) if unit.ends_with("(build script)") => {
            (best.about != About::Job && !seen.spoke && is_of_macos(&best.evidence.text))
                .then_some(Likely)
        }
        Some(unit) if unit.starts_with("run of ") => {
            (best.silent && is_of_macos(&best.evidence.text)).then_some(Possible)
        }
        Some(_) => None,
        // What asks a compiler for its version needs no memory to speak of.
        None if best.evidence.text.contains("rustc -vV`") => Some(Likely),
        None => {
            let text = best.evidence.text.as_str();
            // Said in a sentence.
            let told = Some(text)
                .filter(|text| best.weight == Weight::Phrase && text.contains("Killed: 9"));
            let command = command_of_shell(text).or(told)?;
            if command.ends_with(" --version") || command.ends_with(" -V") {
                return Some(Likely);
            }
            (!command.is_empty()
                && !command
                    .split_whitespace()
                    .any(|word| is_of_builds(word.rsplit('/').next().unwrap_or(word))))
            .then_some(Possible)
        }
    }
}

/// Much memory was free, and yet it failed.
enum Plenty {
    /// For no reason that the log shows.
    Unexplained,
    /// As it does at a limit.
    Limited,
}

/// Whether a line speaks of a place that there is in a Linux only, as in a container on a Mac.
pub(crate) fn is_of_linux(line: &str) -> bool {
    const PLACES: &[&str] =
        &["/usr/src/", "/usr/local/rustup", "/usr/local/cargo", "/home/", "/root/", "/app/"];
    line.split([' ', '`', '=', '"']).any(|word| PLACES.iter().any(|place| word.starts_with(place)))
}

/// Whether the program in backticks may lie on a Mac: a container there has paths of Linux.
fn is_of_macos(line: &str) -> bool {
    const PLACES: &[&str] =
        &["/Users/", "/private/", "/Volumes/", "/opt/homebrew/", "/var/folders/", "-darwin"];
    line.split('`').nth(1).is_none_or(|program| {
        !program.starts_with('/') || PLACES.iter().any(|place| program.contains(place))
    })
}

/// Whether the log shows that there was much free memory when this failed for want of it.
fn had_plenty(best: &Finding, seen: &Circumstances) -> Option<Plenty> {
    let text = best.evidence.text.as_str();
    let by_status = text.contains("STATUS_NO_MEMORY") || text.contains("0xc0000017");
    let by_llvm = ["LLVM ERROR: out of memory", FOREIGN].iter().any(|words| text.contains(words));
    let asked = requested(text).is_some();
    // A 32-bit compiler has little, however much there is.
    if !by_status && (!by_llvm && !asked || seen.narrow.is_some()) {
        return None;
    }
    let later = seen.shown > best.shown;
    let plenty = seen.told_free >= PLENTY
        || (later || by_status) && seen.free >= PLENTY
        || seen.free >= PLENTY_AT_FIRST;
    plenty.then_some(if asked { Plenty::Limited } else { Plenty::Unexplained })
}
