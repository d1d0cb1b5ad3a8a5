//! From the recorded events of a build to the verdict.
//!
//! The record knows better than a log what was killed by somebody else, and less of what compilers said: a unit that
//! failed by itself is not told apart from one that does not compile.

use std::collections::BTreeMap;

use plimsoll_core::event::{Event, Header, Record};
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::unit::UnitKey;
use plimsoll_core::{Bytes, UnitId};

use crate::cause::Cause;
use crate::circumstances::{Circumstances, Doing};
use crate::remedy::{Death, remedies};
use crate::verdict::{Certainty, Evidence, Remedy, Verdict};

/// What is known of a unit.
#[derive(Debug)]
struct Unit {
    title: String,
    kind: UnitKind,
    key: UnitKey,
    /// It runs in another unit's process tree, and that judges how it ends: a build script asks a compiler whether
    /// something compiles, and "no" is an answer.
    is_inside: bool,
    losses: u32,
    /// The last signal from outside, and whether it was the linker's.
    lost: Option<(i32, bool)>,
}

/// A unit's end that may have ended the build.
struct Failure {
    unit: UnitId,
    cause: Cause,
    certainty: Certainty,
    named: Option<String>,
    evidence: Evidence,
}

/// What ended a recorded build. The evidence's line is that of the log on disk, where the header is the first. `runs`:
/// its process is still there, so that a record without an end is no death.
#[must_use]
pub fn recorded(header: &Header, records: &[Record], runs: bool) -> Verdict {
    let mut units: BTreeMap<UnitId, Unit> = BTreeMap::new();
    let mut failures: Vec<Failure> = Vec::new();
    let (mut exit, mut used) = (None, Bytes::ZERO);
    for (record, line) in records.iter().zip(2..) {
        let (unit, (cause, certainty, named, text)) = match &record.event {
            Event::Registered { unit, title, kind, key, inside, .. } => {
                let known = Unit {
                    title: title.clone(),
                    kind: *kind,
                    key: key.clone(),
                    is_inside: inside.is_some(),
                    losses: 0,
                    lost: None,
                };
                units.insert(*unit, known);
                continue;
            }
            Event::Lost { unit, signal, link_only } => {
                if let Some(unit) = units.get_mut(unit) {
                    unit.losses += 1;
                    unit.lost = Some((*signal, *link_only));
                }
                continue;
            }
            Event::Sample { used: now, .. } => {
                used = *now;
                continue;
            }
            Event::Refused { unit, needs, budget, asked } => {
                let by = if *asked { "; `--oversized refuse` refused it" } else { "" };
                let text = format!("it needs {needs}, and the memory budget is {budget}{by}");
                let named = units.get(unit).map(|unit| unit.title.clone());
                (*unit, (Cause::Refused, Certainty::Certain, named, text))
            }
            Event::Finished { unit, ok: false, peak, .. } => match units.get(unit) {
                Some(it) if !it.is_inside => (*unit, failed(it, *peak, header.budget)),
                _ => continue,
            },
            Event::Finished { unit, ok: true, .. } => {
                // Cargo ran once more, and the same unit did well: its failure ended nothing.
                if let Some(key) = units.get(unit).map(|unit| &unit.key) {
                    failures.retain(|it| units.get(&it.unit).is_none_or(|unit| unit.key != *key));
                }
                continue;
            }
            Event::Done { exit: code, .. } => {
                exit = Some((*code, line));
                continue;
            }
            _ => continue,
        };
        failures.push(Failure { unit, cause, certainty, named, evidence: Evidence { line, text } });
    }
    // The first failure is the cause: what comes after it is told to leave. Unless memory runs out later.
    let memory = failures.iter().position(|it| it.cause.is_memory());
    let first = failures.into_iter().nth(memory.unwrap_or_default());
    let mut verdict = Verdict {
        memory: first.as_ref().is_some_and(|it| it.cause.is_memory()),
        cause: first.as_ref().map_or(Cause::Unknown, |it| it.cause),
        certainty: first.as_ref().map_or(Certainty::Possible, |it| it.certainty),
        unit: first.as_ref().and_then(|it| it.named.clone()),
        evidence: first.map(|it| it.evidence),
        remedies: Vec::new(),
    };
    whole(&mut verdict, exit, used, records.len(), runs, &units);
    verdict.remedies = if verdict.cause == Cause::Failed {
        let why = "Read the error in the build's output: Plimsoll does not record what compilers print. If you have \
                   the output in a file, `cargo plimsoll doctor FILE` explains it.";
        vec![Remedy { command: None, why: why.to_owned() }]
    } else {
        let line = verdict.evidence.as_ref().filter(|_| verdict.cause == Cause::Refused);
        let death = Death {
            cause: verdict.cause,
            certainty: verdict.certainty,
            unit: verdict.unit.as_deref().unwrap_or_default(),
            line: line.map_or("", |evidence| &evidence.text),
            during: Doing::default(),
        };
        remedies(death, &Circumstances::of(&header.command))
    };
    verdict
}

/// A unit whose failure Cargo saw.
fn failed(unit: &Unit, peak: Bytes, budget: Bytes) -> (Cause, Certainty, Option<String>, String) {
    let title = |link: bool| {
        Some(if link { format!("link of {}", unit.title) } else { unit.title.clone() })
    };
    match unit.lost {
        Some((signal, link)) => {
            let (cause, certainty) = match signal {
                15 => (Cause::Terminated, Certainty::Possible),
                7 => (Cause::TmpfsFull, Certainty::Possible),
                _ => (Cause::Killed, Certainty::Likely),
            };
            let times = match unit.losses {
                1 => "once".to_owned(),
                times => format!("{times} times"),
            };
            let text = format!(
                "the kernel or another program killed it {times}, last by signal {signal}; its peak was {peak}"
            );
            (cause, certainty, title(link), text)
        }
        // Who kills a build script or a test is not seen: near the budget, memory is a possibility worth a look.
        None if unit.kind == UnitKind::BuildScriptRun && peak > budget.scale(0.9) => (
            Cause::Killed,
            Certainty::Possible,
            title(false),
            format!("it failed at a peak of {peak}, near the memory budget of {budget}"),
        ),
        None => (
            Cause::Failed,
            Certainty::Likely,
            title(false),
            format!("it ended with an error; its peak was {peak}"),
        ),
    }
}

/// What the end of the whole build says, where no unit's does.
fn whole(
    verdict: &mut Verdict,
    exit: Option<(i32, u64)>,
    used: Bytes,
    records: usize,
    runs: bool,
    units: &BTreeMap<UnitId, Unit>,
) {
    match exit {
        Some((0, line)) => {
            let saved = units.values().filter(|unit| unit.lost.is_some()).count();
            let text = if saved == 0 {
                "it ended with exit code 0".to_owned()
            } else {
                format!("it ended with exit code 0; units that were killed and run again: {saved}")
            };
            say(verdict, Cause::Succeeded, Certainty::Certain, line, text);
            verdict.unit = None;
        }
        Some((130, line)) if !verdict.memory => {
            say(
                verdict,
                Cause::Interrupted,
                Certainty::Certain,
                line,
                "Ctrl-C ended Cargo".to_owned(),
            );
        }
        Some((code @ (137 | 143), line)) if !verdict.memory => {
            let cause = if code == 137 { Cause::Killed } else { Cause::Terminated };
            let certainty = if code == 137 { Certainty::Likely } else { Certainty::Possible };
            say(
                verdict,
                cause,
                certainty,
                line,
                format!("Cargo itself ended with exit code {code}"),
            );
        }
        Some((code, line)) if verdict.cause == Cause::Unknown => {
            say(
                verdict,
                Cause::Failed,
                Certainty::Likely,
                line,
                format!("Cargo ended with exit code {code}, and no unit failed"),
            );
        }
        None if runs => {
            let line = last(records);
            say(verdict, Cause::Unknown, Certainty::Certain, line, format!("it holds {used} now"));
        }
        None if verdict.cause == Cause::Unknown => {
            let line = last(records);
            let text = format!(
                "the log breaks off while the build holds {used}: Plimsoll itself was killed, or the disk was full"
            );
            say(verdict, Cause::Killed, Certainty::Possible, line, text);
        }
        _ => {}
    }
}

fn say(verdict: &mut Verdict, cause: Cause, certainty: Certainty, line: u64, text: String) {
    verdict.cause = cause;
    verdict.memory = cause.is_memory();
    verdict.certainty = certainty;
    verdict.evidence = Some(Evidence { line, text });
}

/// The line of the last record.
fn last(records: usize) -> u64 {
    u64::try_from(records).unwrap_or(u64::MAX).saturating_add(1)
}
