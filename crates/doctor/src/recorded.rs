//! From the recorded events of a build to the verdict.
//!
//! The record knows better than a log what was killed by somebody else, and less of what compilers said: a unit that
//! failed by itself is not told apart from one that does not compile.

use std::collections::BTreeMap;

use plimsoll_core::event::{Event, Header, Record};
use plimsoll_core::invocation::UnitKind;
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
    losses: u32,
    /// The last signal from outside, and whether it was the linker's.
    lost: Option<(i32, bool)>,
}

/// What ended a recorded build. The evidence's line is that of the log on disk, where the header is the first. `runs`:
/// its process is still there, so that a record without an end is no death.
#[must_use]
pub fn recorded(header: &Header, records: &[Record], runs: bool) -> Verdict {
    let mut units: BTreeMap<UnitId, Unit> = BTreeMap::new();
    let mut verdict = Verdict {
        memory: false,
        cause: Cause::Unknown,
        certainty: Certainty::Possible,
        unit: None,
        evidence: None,
        remedies: Vec::new(),
    };
    let (mut exit, mut used) = (None, Bytes::ZERO);
    // The first failure that names a unit is the cause: what comes behind it is told to leave.
    for (record, line) in records.iter().zip(2..) {
        let found = match &record.event {
            Event::Registered { unit, title, kind, .. } => {
                units.insert(
                    *unit,
                    Unit { title: title.clone(), kind: *kind, losses: 0, lost: None },
                );
                None
            }
            Event::Lost { unit, signal, link_only } => {
                if let Some(unit) = units.get_mut(unit) {
                    unit.losses += 1;
                    unit.lost = Some((*signal, *link_only));
                }
                None
            }
            Event::Sample { used: now, .. } => {
                used = *now;
                None
            }
            Event::Refused { unit, needs, budget } => Some((
                Cause::Refused,
                Certainty::Certain,
                units.get(unit).map(|unit| unit.title.clone()),
                format!("needs {needs}, the budget is {budget}"),
            )),
            Event::Finished { unit, ok: false, peak, .. } => {
                units.get(unit).map(|unit| failed(unit, *peak, header.budget))
            }
            Event::Done { exit: code, .. } => {
                exit = Some((*code, line));
                None
            }
            _ => None,
        };
        if let Some((cause, certainty, unit, text)) = found {
            let memory_first = cause.is_memory() && !verdict.memory;
            if verdict.cause == Cause::Unknown || memory_first {
                let evidence = Some(Evidence { line, text });
                verdict = Verdict {
                    memory: cause.is_memory(),
                    cause,
                    certainty,
                    unit,
                    evidence,
                    ..verdict
                };
            }
        }
    }
    whole(&mut verdict, exit, used, records.len(), runs, &units);
    verdict.remedies = if verdict.cause == Cause::Failed {
        let why = "The record keeps none of a compiler's words: `cargo plimsoll doctor FILE` reads the build's log.";
        vec![Remedy { command: None, why: why.to_owned() }]
    } else {
        let death = Death {
            cause: verdict.cause,
            certainty: verdict.certainty,
            unit: verdict.unit.as_deref().unwrap_or_default(),
            line: "",
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
            let times = if unit.losses == 1 { "once" } else { "each time" };
            let text = format!(
                "killed by somebody else {times}, {} in all, by signal {signal} at last; peak {peak}",
                unit.losses
            );
            (cause, certainty, title(link), text)
        }
        // Who kills a build script or a test is not seen: near the budget, memory is a possibility worth a look.
        None if unit.kind == UnitKind::BuildScriptRun && peak > budget.scale(0.9) => (
            Cause::Killed,
            Certainty::Possible,
            title(false),
            format!("failed at a peak of {peak}, near the budget of {budget}"),
        ),
        None => (
            Cause::Failed,
            Certainty::Likely,
            title(false),
            format!("ended with an error; peak {peak}"),
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
                "it ended with exit status 0".to_owned()
            } else {
                format!(
                    "it ended with exit status 0; units that somebody killed and that ran again: {saved}"
                )
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
                "Cargo ended by Ctrl-C".to_owned(),
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
                format!("Cargo itself ended with exit status {code}"),
            );
        }
        Some((code, line)) if verdict.cause == Cause::Unknown => {
            say(
                verdict,
                Cause::Failed,
                Certainty::Likely,
                line,
                format!("exit status {code}, and no unit failed"),
            );
        }
        None if runs => {
            let line = last(records);
            say(
                verdict,
                Cause::Unknown,
                Certainty::Certain,
                line,
                format!("it still runs, at {used}"),
            );
        }
        None if verdict.cause == Cause::Unknown => {
            let line = last(records);
            let text =
                format!("the record stops in the midst, at {used}: Plimsoll itself was killed");
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

/// The budget of the last record.
fn last(records: usize) -> u64 {
    u64::try_from(records).unwrap_or(u64::MAX).saturating_add(1)
}
