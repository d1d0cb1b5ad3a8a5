//! From the lines of a log to the verdict.
//!
//! ```text
//! each line: a captured test's output?  --yes--> nothing in it counts
//!            a success of Cargo's?      --yes--> what was found before it was overcome
//!            names a failed unit?       --yes--> findings that wait for a name get it
//!            a finding?                 --yes--> kept, the first of each cause, weight and subject
//! ```
//! At the end the finding with the highest weight is the cause; of several, the earliest for which Cargo names a unit.

use crate::cause::Cause;
use crate::circumstances::{Circumstances, Doing};
use crate::doubt::doubted;
use crate::finding::{About, Finding, Weight, evidence};
use crate::lines::Lines;
use crate::plain::plain;
use crate::remedy::{Death, remedies};
use crate::shown::{
    behind_a_test_s_name, ends, fails_by_itself, is_command, is_progress, is_script, is_source,
    is_title,
};
use crate::unit::{Said, said};
use crate::verdict::{Certainty, Verdict};
use crate::{full, memory, other, phrases};

/// How many lines behind Cargo's statement still belong to it: `Caused by:`, the command and its signal.
const CAUSED_BY: u64 = 6;

/// Mounted file systems that are remembered; `df` on a CI names fewer.
const MOUNTS: usize = 64;

/// Reads a log as it comes.
#[derive(Debug, Default)]
pub struct LogReader {
    lines: Lines,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    findings: Vec<Finding>,
    /// What Cargo said last about a unit, and on which line.
    last: Option<(u64, Said)>,
    /// The line on which the running command or test program began.
    began: u64,
    /// Inside what a failed test had written.
    captured: bool,
    /// Something ended well, and nothing failed since.
    went_well: bool,
    /// GitHub has said since the step began that it failed.
    step_failed: bool,
    /// In a list below a heading, as change logs are written.
    listed: bool,
    /// Where file systems are mounted, and whether they live in memory.
    mounts: Vec<(String, bool)>,
    /// The path that was full.
    full: Option<String>,
    /// The path of the last error, which is said before its cause.
    failed_path: Option<String>,
    /// What the compiler said last was a warning, and the notes behind it are about that.
    warned: bool,
    /// Cargo's or rustc's words about a linker, without the unit's name so far.
    linking: bool,
    /// GitHub says that its runner was shut down, which it does not say of a job that somebody cancels.
    shut_down: bool,
    /// A path in `/dev/shm` was named.
    shared: bool,
    /// The line before told of a panic in the allocation of a program without `std`, as on a microcontroller.
    of_device: bool,
    /// An exception that Rust did not know, which was LLVM's if it is a compiler that failed.
    foreign: Option<(u64, String)>,
    circumstances: Circumstances,
}

impl LogReader {
    /// Takes the next bytes of the log: any bytes, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Self { lines, state } = self;
        lines.feed(bytes, |number, text| state.raw(number, text));
    }

    /// What ended the build.
    #[must_use]
    pub fn verdict(mut self) -> Verdict {
        let Self { lines, state } = &mut self;
        lines.finish(|number, text| state.raw(number, text));
        self.state.verdict()
    }
}

impl State {
    fn raw(&mut self, number: u64, text: &str) {
        self.step_failed |= text.contains("##[error]");
        self.circumstances.docs_rs |= text.contains("[INFO] [stderr]");
        if !is_script(text) {
            self.line(number, &plain(text));
        }
    }

    fn line(&mut self, number: u64, line: &str) {
        if line.is_empty() || is_source(line) || is_title(line) || self.is_captured(line) {
            return;
        }
        self.circumstances.look(line);
        if is_progress(line) || is_command(line) || self.is_listed(line) || self.begins_step(line) {
            return;
        }
        self.shared |= line.contains("/dev/shm/");
        let line = &*ends(line);
        if fails_by_itself(line) {
            self.take_for_talk();
        }
        let line = behind_a_test_s_name(line);
        if line.is_empty() || self.ends_well(number, line) {
            return;
        }
        if let Some(said) = said(line) {
            self.name_findings(&said);
            self.linking = false;
            if let Some((number, line)) = self.foreign.take_if(|_| !said.script) {
                let (cause, about) = (Cause::AllocationFailed, About::Compiler);
                let found = Finding::new(cause, Certainty::Likely, Weight::Death, about);
                self.keep(number, &line, found.of(Some(said.title.clone())));
            }
            self.last = Some((number, said));
        }
        if line.contains(memory::FOREIGN) {
            self.foreign = Some((number, line.to_owned()));
        }
        if let Some((mount, in_memory)) = full::mounted(line)
            && self.mounts.len() < MOUNTS
        {
            self.mounts.push((mount.to_owned(), in_memory));
        }
        let found = match full::full(line) {
            Some(path) => {
                let path = path.map(str::to_owned).or_else(|| self.failed_path.clone());
                self.full = self.full.take().or(path);
                Some(Finding::new(
                    Cause::DiskFull,
                    Certainty::Likely,
                    Weight::Resource,
                    About::Compiler,
                ))
            }
            // Its memory is not the build's.
            None if self.of_device => None,
            None if self.packer_failed(line) => Some(Finding::new(
                Cause::MemoryLimit,
                Certainty::Possible,
                Weight::Status,
                About::Job,
            )),
            None => memory::look(line).or_else(|| {
                let other = if self.of_a_warning(line) { None } else { other::look(line) };
                heavier(other, phrases::look(line))
            }),
        };
        self.of_device = line.contains("panicked at ") && line.contains("/alloc.rs:");
        if line.starts_with("error: failed to ") {
            self.failed_path = full::path(line).map(str::to_owned);
        }
        self.shut_down |= line.contains("received a shutdown signal");
        self.linking |=
            line.contains("error: linking with `") || line.contains("could not exec the linker `");
        if let Some(mut found) = found {
            if self.linking && found.about == About::Compiler {
                found.about = About::Linker;
            }
            self.keep(number, line, found);
        }
    }

    /// Whether a pod failed, without a word, while an image builder looked at all that was built: its files are then in
    /// memory, and its limit is the usual end.
    fn packer_failed(&self, line: &str) -> bool {
        self.circumstances.doing == Doing::Packing && line.contains("status is \"Failed\"")
    }

    /// Whether the line is a note behind a warning, which ends nothing.
    fn of_a_warning(&mut self, line: &str) -> bool {
        self.warned = line.starts_with("warning") || self.warned && !line.starts_with("error");
        self.warned && (line.starts_with("note: ") || line.starts_with("= note: "))
    }

    /// Whether the line is of what a failed test had written, which Cargo and nextest show under its name.
    fn is_captured(&mut self, line: &str) -> bool {
        let begins = line.starts_with("---- ") && line.ends_with(" ----")
            || matches!(line, "stdout ───" | "stderr ───" | "output ───")
            || line.starts_with("--- STDOUT:")
            || line.starts_with("--- STDERR:")
            || line.starts_with("──── STD");
        if begins {
            self.captured = true;
        } else if line == "failures:"
            || line.starts_with("test result:")
            || ["error: test ", "error: doctest ", "error: could not ", "error: process "]
                .iter()
                .any(|words| line.starts_with(words))
            || line.starts_with("Cancelling due to")
            || line.starts_with("Summary [")
            || line.starts_with("────")
        {
            self.captured = false;
        }
        self.captured
    }

    /// GitHub runs the next step where the one before went well, or says first that it failed.
    fn begins_step(&mut self, line: &str) -> bool {
        let begins = line.starts_with("##[group]Run ");
        if begins && !self.step_failed {
            self.findings.clear();
            self.last = None;
        }
        self.step_failed &= !begins;
        begins
    }

    /// Whether the line is of a list below a heading, or that heading: what was changed, and why.
    fn is_listed(&mut self, line: &str) -> bool {
        let heading = line.starts_with("## ") || line.starts_with("### ");
        let item = line.starts_with("- ") || line.starts_with("* ");
        self.listed = heading || self.listed && item;
        self.listed
    }

    /// What ended well takes back what was found since it began.
    fn ends_well(&mut self, number: u64, line: &str) -> bool {
        let begins = line.starts_with("Running ")
            || line.starts_with("Doc-tests ")
            || line.starts_with("Starting ");
        if begins && !line.starts_with("Running `") {
            self.began = number;
        }
        let finished = line.starts_with("Finished ")
            && (line.contains("target(s) in") || line.contains("[unoptimized"));
        if finished
            || line == "Job succeeded"
            || line.contains("\"reason\":\"build-finished\",\"success\":true")
        {
            self.findings.clear();
            self.last = None;
            self.went_well = true;
            return true;
        }
        let tested = line.starts_with("test result: ok")
            || line.starts_with("Summary [")
                && line.contains(" passed")
                && !line.contains(" failed")
                && !line.contains("timed out");
        if tested {
            self.findings.retain(|found| found.evidence.line < self.began);
            self.went_well = true;
        }
        tested
    }

    /// A test that comes to its end was not killed: what it wrote of memory before is its own talk, unless that is
    /// of a command that it ran.
    fn take_for_talk(&mut self) {
        let began = self.began;
        let written = |found: &&mut Finding| {
            found.evidence.line >= began && found.unit.is_none() && found.cause.is_memory()
        };
        for found in self.findings.iter_mut().filter(written) {
            found.weight = found.weight.min(Weight::Phrase);
        }
    }

    /// Findings that were about a compiler or linker get the name that Cargo says behind them.
    fn name_findings(&mut self, said: &Said) {
        for found in self.findings.iter_mut().filter(|found| found.unit.is_none()) {
            match found.about {
                About::Linker => found.unit = Some(said.link.clone()),
                About::Compiler => found.unit = Some(said.title.clone()),
                About::Program | About::Job => {}
            }
        }
    }

    fn keep(&mut self, number: u64, line: &str, mut found: Finding) {
        found.evidence = evidence(number, line);
        found.during = self.circumstances.doing;
        found.silent = !self.circumstances.wrote;
        found.shown = self.circumstances.shown;
        // What Cargo said just before knows the kind of a target, which a command line does not say.
        if let Some((at, said)) = &self.last {
            let near = number.saturating_sub(*at) <= CAUSED_BY || !line.contains('`');
            let caused =
                near && (line.contains("didn't exit successfully") || line.contains(" (signal: "));
            let here = number == *at || caused || said.script;
            if here && found.about != About::Job && (found.about != About::Program || said.script) {
                found.unit = Some(said.title.clone());
            }
            if said.script && found.about == About::Program {
                found.about = About::Compiler;
            }
        }
        if line.starts_with("error: ")
            && self.last.as_ref().is_some_and(|(at, said)| said.script && *at != number)
        {
            self.last = None;
        }
        self.went_well &= found.weight <= Weight::Unexplained;
        // One finding of each kind is enough: the first, for a build goes down by the first death.
        let known = self.findings.iter_mut().find(|other| {
            other.cause == found.cause && other.weight == found.weight && other.about == found.about
        });
        match known {
            Some(known) if known.unit.is_none() && number - known.evidence.line <= CAUSED_BY => {
                known.unit = found.unit;
            }
            Some(_) => {}
            None => self.findings.push(found),
        }
    }

    fn verdict(mut self) -> Verdict {
        self.place_what_is_full();
        // The first of the heaviest that has a name.
        let heaviest = self.findings.iter().map(|found| found.weight).max();
        let mut heaviest = self.findings.iter().filter(|found| Some(found.weight) == heaviest);
        let first = heaviest.clone().next();
        // What Cargo names a unit for weighs more than what stood anywhere in a CI's log.
        let best = heaviest.find(|found| found.unit.is_some()).or(first).cloned();
        let best = best.map(|best| self.unless_cancelled(best));
        let best = best.map(|best| doubted(best, &self.findings, &self.circumstances));
        let Some(best) = best else {
            let cause = if self.went_well { Cause::Succeeded } else { Cause::Unknown };
            let certainty = if self.went_well { Certainty::Certain } else { Certainty::Possible };
            return Verdict {
                memory: false,
                cause,
                certainty,
                unit: None,
                evidence: None,
                remedies: Vec::new(),
            };
        };
        let unit = best.unit.clone().or_else(|| self.unit_beside(&best));
        let certainty = self.certainty(&best);
        let death = Death {
            cause: best.cause,
            certainty,
            unit: unit.as_deref().unwrap_or_default(),
            line: &best.evidence.text,
            during: best.during,
        };
        let remedies = remedies(death, &self.circumstances);
        Verdict {
            memory: best.cause.is_memory(),
            cause: best.cause,
            certainty,
            unit,
            evidence: Some(best.evidence),
            remedies,
        }
    }

    /// A job that somebody cancels ends by SIGTERM, too.
    fn unless_cancelled(&self, best: Finding) -> Finding {
        let cancelled = self.findings.iter().find(|found| found.cause == Cause::Interrupted);
        match cancelled {
            Some(cancelled) if best.cause == Cause::Terminated && !self.shut_down => {
                cancelled.clone()
            }
            _ => best,
        }
    }

    /// Of several that say the same, the one with a name; for a memory death, only of another death.
    fn unit_beside(&self, best: &Finding) -> Option<String> {
        let same = |found: &&Finding| {
            found.cause.is_memory() == best.cause.is_memory() && found.cause != Cause::Failed
        };
        let named = self.findings.iter().filter(same).find_map(|found| found.unit.clone());
        named.or_else(|| self.last.as_ref().map(|(_, said)| said.title.clone()))
    }

    /// Traces that leave doubt are surer together.
    fn certainty(&self, best: &Finding) -> Certainty {
        let traces = self.findings.iter().filter(|found| found.cause.is_memory()).count();
        match best.certainty {
            // What is doubtful about a request is its size.
            Certainty::Possible
                if best.cause == Cause::AllocationFailed && best.weight == Weight::Death =>
            {
                Certainty::Possible
            }
            Certainty::Possible if best.cause.is_memory() && traces > 1 => Certainty::Likely,
            certainty => certainty,
        }
    }

    /// A full file system is want of memory where it lives in memory.
    fn place_what_is_full(&mut self) {
        let path = self.full.clone().unwrap_or_default();
        let on = self
            .mounts
            .iter()
            .filter(|(mount, _)| path.starts_with(mount.as_str()) && mount.len() > 1)
            .max_by_key(|(mount, _)| mount.len());
        let shared = self.shared;
        let in_memory = match on {
            Some((_, in_memory)) => Some((*in_memory, Certainty::Certain)),
            None if full::is_in_memory(&path) => Some((true, Certainty::Likely)),
            None if path.is_empty() && shared => Some((true, Certainty::Likely)),
            None => None,
        };
        // A write into a mapped file ends by SIGBUS on any full file system; CIs have their targets on disks.
        let on_disk = !shared
            && !matches!(in_memory, Some((true, _)))
            && (self.circumstances.in_ci
                || self.findings.iter().any(|f| f.cause == Cause::DiskFull));
        for found in &mut self.findings {
            match (found.cause, in_memory) {
                (Cause::TmpfsFull, _) if on_disk => found.cause = Cause::DiskFull,
                (Cause::DiskFull, Some((true, certainty))) => {
                    found.cause = Cause::TmpfsFull;
                    found.certainty = certainty;
                }
                (Cause::DiskFull, Some((false, certainty))) => found.certainty = certainty,
                (Cause::TmpfsFull, _) if shared => found.certainty = Certainty::Likely,
                _ => {}
            }
        }
    }
}

/// Of what can be understood of one line, that which explains more.
fn heavier(one: Option<Finding>, other: Option<Finding>) -> Option<Finding> {
    match (&one, &other) {
        (Some(first), Some(second)) if first.weight < second.weight => other,
        _ => one.or(other),
    }
}
