//! What is said at the end of a build: a line or two, more if something was done, each with a status word
//! as Cargo has them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use plimsoll_core::Bytes;
use plimsoll_core::event::Header;

use crate::entry::{Entry, Tone};
use crate::outline::labelled;
use crate::state::{Above, BuildState, Done, StageEnded, Status, Unit};
use crate::wording::{Loss, amounts, at_least, count, names, peak_share, percent, programs, short};

/// Names shown in one line of the summary; the report has them all.
const NAMES: usize = 3;

/// The summary of a build that ended, at most nine lines and one for each stage; empty where nothing was compiled and
/// nothing must be said.
#[must_use]
pub fn summary(state: &BuildState, header: &Header) -> Vec<Entry> {
    let mut lines: Vec<Entry> = stages(state).collect();
    lines.extend(paused(state));
    lines.extend(restarted(state));
    lines.extend(heaviest(state));
    lines.extend(oversized(state));
    lines.extend(refused(state));
    lines.extend(changed(state));
    lines.extend(not_built(state));
    lines.extend(notices(state));
    if state.tally().ran > 0 || !lines.is_empty() {
        lines.insert(0, head(state, header));
    }
    lines
}

/// What the build needed of its budget, and how long it took.
fn head(state: &BuildState, header: &Header) -> Entry {
    let ran = state.tally().ran;
    let budget = state.budget_at_peak();
    if ran == 0 {
        let text = match budget {
            Bytes::MAX => "ran nothing".to_owned(),
            budget => format!("ran nothing; the memory budget is {budget}"),
        };
        return Entry::new(Tone::Info, "Plimsoll", text);
    }
    let share = peak_share(state).map_or_else(String::new, |(_, share)| {
        let auto = if header.memory == "auto" { ", auto" } else { "" };
        format!(" ({share}{auto})")
    });
    let text = format!(
        "peak memory {}{share}, {} in {}{}",
        amounts(state.peak(), budget),
        count(ran, "unit"),
        state.wall(),
        state.done().map_or_else(String::new, ended_by),
    );
    let tone = if state.peak() > budget { Tone::Caution } else { Tone::Good };
    Entry::new(tone, "Plimsoll", text)
}

/// How the build ended, where that was by a signal: nobody else says so.
fn ended_by(done: Done) -> String {
    match done.signal() {
        None => String::new(),
        // SIGHUP, SIGINT, SIGQUIT, SIGTERM: somebody asked for it.
        Some(1 | 2 | 3 | 15) => ", then canceled".to_owned(),
        Some(signal) => format!(", then killed by signal {signal}"),
    }
}

/// The stages of a staged build, one in a line.
fn stages(state: &BuildState) -> impl Iterator<Item = Entry> {
    state.stages().iter().map(|stage| {
        let StageEnded { number, of, name, peak, wall } = stage;
        let text = format!("{number} of {of}: {name}: peak memory {peak}, {wall}");
        Entry::new(Tone::Info, "Stage", text)
    })
}

/// What stood still for a while.
fn paused(state: &BuildState) -> Option<Entry> {
    let paused = heaviest_names(state, Unit::was_suspended);
    let paged_out = heaviest_names(state, Unit::was_paged_out);
    let mut parts = Vec::new();
    if !paused.is_empty() {
        let units = count(paused.len(), "unit");
        parts.push(format!("{units} to stay within the budget: {}", names(&paused, NAMES)));
    }
    if !paged_out.is_empty() {
        let units = count(paged_out.len(), "unit");
        parts.push(format!("paged out {units} meanwhile: {}", names(&paged_out, NAMES)));
    }
    (!parts.is_empty()).then(|| Entry::new(Tone::Info, "Paused", parts.join("; ")))
}

/// What was run again, why, and what that cost.
fn restarted(state: &BuildState) -> Option<Entry> {
    let mut parts = Vec::new();
    // One that was refused in the end did not run again.
    let killed = heaviest_names(state, |unit| unit.was_killed() && unit.status != Status::Refused);
    if !killed.is_empty() {
        let (units, lost) = (count(killed.len(), "unit"), state.lost_cpu());
        parts.push(format!(
            "{units} to stay within the budget: {} (lost {lost} of CPU time, {})",
            names(&killed, NAMES),
            percent(state.lost_share())
        ));
    }
    for (loss, how) in [
        (Loss::Killed, "killed by the kernel or another program"),
        (Loss::Ended, "terminated by another program (SIGTERM, as earlyoom sends it)"),
        (Loss::NoMemory, "that got no memory"),
    ] {
        let lost = heaviest_names(state, |unit| Loss::is_of(unit, loss));
        if !lost.is_empty() {
            let units = count(lost.len(), "unit");
            parts.push(format!("{units} {how}: {}", names(&lost, NAMES)));
        }
    }
    (!parts.is_empty()).then(|| Entry::new(Tone::Caution, "Restarted", parts.join("; ")))
}

fn heaviest(state: &BuildState) -> Option<Entry> {
    let heaviest: Vec<String> = state
        .heaviest()
        .iter()
        .take(NAMES)
        .map(|unit| format!("{} {}", short(&unit.title), unit.peak))
        .collect();
    (!heaviest.is_empty()).then(|| Entry::new(Tone::Info, "Heaviest", heaviest.join(", ")))
}

/// Units that exceeded the budget though nothing ran beside them.
fn oversized(state: &BuildState) -> Option<Entry> {
    let parts: Vec<String> =
        over_budget(state, false, " (ran alone)").chain(crowded(state)).collect();
    (!parts.is_empty()).then(|| Entry::new(Tone::Caution, "Oversized", parts.join("; ")))
}

/// Units that were not run, because they exceed the budget, or what the machine has.
fn refused(state: &BuildState) -> Option<Entry> {
    let parts: Vec<String> = over_budget(state, true, "").collect();
    (!parts.is_empty()).then(|| Entry::new(Tone::Bad, "Refused", parts.join("; ")))
}

/// Units that by themselves exceed the budget: what they need is what a person has to know. The budget moves: each is
/// named with the budget that it exceeded.
fn over_budget(
    state: &BuildState,
    refused: bool,
    what: &'static str,
) -> impl Iterator<Item = String> + use<> {
    let mut by_budget: BTreeMap<Reverse<Bytes>, Vec<(Bytes, &Unit)>> = BTreeMap::new();
    for unit in state.units().filter(|unit| (unit.status == Status::Refused) == refused) {
        if let (Some(needs), Some(above)) = (unit.oversized(), &unit.above) {
            by_budget.entry(Reverse(above.budget)).or_default().push((needs, unit));
        }
    }
    let tell = |(Reverse(budget), mut over_budget): (Reverse<Bytes>, Vec<(Bytes, &Unit)>)| {
        over_budget.sort_by_key(|(needs, unit)| (Reverse(*needs), unit.id));
        let told: Vec<String> = over_budget
            .iter()
            .map(|(needs, unit)| format!("{} needs {}", short(&unit.title), at_least(*needs)))
            .collect();
        format!("{}, more than the budget of {budget}{what}", names(&told, NAMES))
    };
    by_budget.into_iter().map(tell).collect::<Vec<_>>().into_iter()
}

/// Units that do not exceed the budget by themselves, but with what belongs to no unit: that is told by its name.
fn crowded(state: &BuildState) -> Option<String> {
    let mut units: Vec<(&Above, &Unit)> = state
        .units()
        .filter(|unit| unit.oversized().is_none())
        .filter_map(|unit| Some((unit.above.as_ref()?, unit)))
        .collect();
    units.sort_by_key(|(above, unit)| (Reverse(above.needs), unit.id));
    let told: Vec<String> = units
        .iter()
        .map(|(above, unit)| format!("{} {}", short(&unit.title), above.needs.max(unit.peak)))
        .collect();
    let (most, _) = units.iter().max_by_key(|(above, _)| above.rest)?;
    Some(format!(
        "{}: together with {} of the build's other processes{}, more than the budget of {}",
        names(&told, NAMES),
        most.rest,
        programs(&most.programs),
        most.budget,
    ))
}

/// What was compiled by other settings than Cargo's: its output is another.
fn changed(state: &BuildState) -> Option<Entry> {
    let changed = |unit: &Unit| {
        let changes = unit.slimmed.as_ref()?;
        Some(format!("{} ({changes})", short(&unit.title)))
    };
    let told: Vec<String> = state.units().filter_map(changed).collect();
    let text = || {
        format!(
            "the output of {}, because of `--oversized shrink-output`; `cargo clean -p <crate>` undoes it",
            names(&told, NAMES)
        )
    };
    (!told.is_empty()).then(|| Entry::new(Tone::Caution, "Changed", text()))
}

/// What had not begun when something failed. Cargo counts it among what could not be compiled.
fn not_built(state: &BuildState) -> Option<Entry> {
    // Of a build that somebody has ended, nobody expects more than had been built.
    if state.done().is_some_and(|done| done.signal().is_some()) {
        return None;
    }
    let left = heaviest_names(state, |unit| unit.status == Status::Left);
    let first = |status, what| {
        let units = state.which(|unit| unit.status == status && unit.inside.is_none());
        units.first().map(|unit| format!("{} {what}", short(&unit.title)))
    };
    let cause = first(Status::Refused, "was refused").or_else(|| first(Status::Failed, "failed"));
    let text = || {
        format!(
            "{}: still waiting for memory when {}. Cargo says `could not compile`, but found no error in {}",
            names(&left, NAMES),
            cause.unwrap_or_else(|| "the build failed".to_owned()),
            if left.len() == 1 { "it" } else { "them" }
        )
    };
    (!left.is_empty()).then(|| Entry::new(Tone::Caution, "Not built", text()))
}

/// One line, whatever was said: the last word, and how many there were. All of it where no log keeps the rest.
fn notices(state: &BuildState) -> Vec<Entry> {
    let note = |text: String| Entry::new(Tone::Caution, "Note", text);
    match state.notices() {
        [] => Vec::new(),
        all if state.is_unlogged() => all.iter().cloned().map(note).collect(),
        [only] => vec![note(only.clone())],
        [more @ .., last] => {
            let more = count(more.len(), "more note");
            vec![note(format!("{last} (and {more}: cargo plimsoll report)"))]
        }
    }
}

/// The short names of some units, the most important first.
fn heaviest_names(state: &BuildState, is: impl Fn(&Unit) -> bool) -> Vec<String> {
    labelled(&state.which(is))
}
