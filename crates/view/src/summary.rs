//! What is said at the end of a build: six lines at most, the calm ones first; and one for each stage.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use plimsoll_core::Bytes;
use plimsoll_core::event::Header;

use crate::state::{Above, BuildState, StageEnded, Status, Unit};
use crate::wording::{Loss, at_least, count, names, peak_share, percent, programs, short};

/// Names shown in one line of the summary; the report has them all.
const NAMES: usize = 3;

/// The summary of a build that ended, at most six lines and one for each stage, each ending in a line break; empty where
/// nothing was compiled and nothing must be said.
#[must_use]
pub fn summary(state: &BuildState, header: &Header) -> String {
    let ran = state.tally().ran;
    let mut lines: Vec<String> = stages(state).collect();
    lines.extend(held_back(state));
    lines.extend(heaviest(state));
    lines.extend(too_large(state));
    lines.extend(not_started(state));
    lines.extend(notices(state));
    if ran == 0 && lines.is_empty() {
        return String::new();
    }
    let of = peak_share(state).map_or_else(String::new, |(line, share)| {
        let auto = if header.memory == "auto" { ", auto" } else { "" };
        format!(" of {line} ({share}{auto})")
    });
    let mut text =
        format!("plimsoll: peak {}{of}, {}, {}\n", state.peak(), state.wall(), count(ran, "unit"),);
    for line in lines {
        text.push_str("  ");
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The stages of a staged build, one in a line.
fn stages(state: &BuildState) -> impl Iterator<Item = String> {
    state.stages().iter().map(|stage| {
        let StageEnded { number, of, name, peak, wall } = stage;
        format!("stage {number} of {of}: {name}: peak {peak}, {wall}")
    })
}

/// What was suspended and what was run again, why, and what that cost.
fn held_back(state: &BuildState) -> Option<String> {
    let mut parts = Vec::new();
    let suspended = heaviest_names(state, Unit::was_suspended);
    if !suspended.is_empty() {
        let units = count(suspended.len(), "unit");
        parts.push(format!("suspended {units} near the line ({})", names(&suspended, NAMES)));
    }
    let paged_out = heaviest_names(state, Unit::was_paged_out);
    if !paged_out.is_empty() {
        let units = count(paged_out.len(), "unit");
        parts.push(format!("paged out {units} meanwhile ({})", names(&paged_out, NAMES)));
    }
    let killed = heaviest_names(state, Unit::was_killed);
    if !killed.is_empty() {
        let (units, lost) = (count(killed.len(), "unit"), state.lost_cpu());
        parts.push(format!(
            "killed and ran again {units} to stay below it ({}), {lost} of CPU time lost ({})",
            names(&killed, NAMES),
            percent(state.lost_share())
        ));
    }
    for (loss, how) in [
        (Loss::Killed, "that somebody else killed"),
        (Loss::Ended, "that somebody else ended with SIGTERM, as earlyoom does,"),
        (Loss::NoMemory, "alone that had found no memory"),
    ] {
        let lost = heaviest_names(state, |unit| Loss::is_of(unit, loss));
        if !lost.is_empty() {
            let units = count(lost.len(), "unit");
            parts.push(format!("ran again {units} {how} ({})", names(&lost, NAMES)));
        }
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn heaviest(state: &BuildState) -> Option<String> {
    let heaviest: Vec<String> = state
        .heaviest()
        .iter()
        .take(NAMES)
        .map(|unit| format!("{} {}", short(&unit.title), unit.peak))
        .collect();
    (!heaviest.is_empty()).then(|| format!("heaviest: {}", heaviest.join(", ")))
}

/// Units with which the line was crossed though nothing ran beside them, and what was compiled otherwise for that: one line.
fn too_large(state: &BuildState) -> Option<String> {
    let parts: Vec<String> =
        giants(state).into_iter().chain(crowded(state)).chain(slimmed(state)).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Units that by themselves are above the line: what they need is what a person has to know. The line moves: each is told
/// with the one that it was above.
fn giants(state: &BuildState) -> Vec<String> {
    let mut by_line: BTreeMap<Reverse<Bytes>, Vec<(Bytes, &Unit)>> = BTreeMap::new();
    for unit in state.units() {
        if let (Some(needs), Some(above)) = (unit.giant(), &unit.above) {
            by_line.entry(Reverse(above.line)).or_default().push((needs, unit));
        }
    }
    let tell = |(Reverse(line), mut giants): (Reverse<Bytes>, Vec<(Bytes, &Unit)>)| {
        giants.sort_by_key(|(needs, unit)| (Reverse(*needs), unit.id));
        let told: Vec<String> = giants
            .iter()
            .map(|(needs, unit)| {
                let refused = unit.status == Status::Refused;
                let what = if refused { "refused" } else { "ran alone" };
                format!("{} needs {} ({what})", short(&unit.title), at_least(*needs))
            })
            .collect();
        format!("more than the line of {line} by itself: {}", names(&told, NAMES))
    };
    by_line.into_iter().map(tell).collect()
}

/// Units that are not above the line by themselves, but with what belongs to no unit: that is told by its name.
fn crowded(state: &BuildState) -> Option<String> {
    let mut units: Vec<(&Above, &Unit)> = state
        .units()
        .filter(|unit| unit.giant().is_none())
        .filter_map(|unit| Some((unit.above.as_ref()?, unit)))
        .collect();
    units.sort_by_key(|(above, unit)| (Reverse(above.needs), unit.id));
    let told: Vec<String> = units
        .iter()
        .map(|(above, unit)| format!("{} {}", short(&unit.title), above.needs.max(unit.peak)))
        .collect();
    let (most, _) = units.iter().max_by_key(|(above, _)| above.rest)?;
    Some(format!(
        "above the line of {} with {} that belong to no unit{}: {}",
        most.line,
        most.rest,
        programs(&most.programs),
        names(&told, NAMES)
    ))
}

/// What was compiled by other settings than Cargo's: its output is another.
fn slimmed(state: &BuildState) -> Option<String> {
    let changed = |unit: &Unit| {
        let changes = unit.slimmed.as_ref()?;
        Some(format!("{} ({changes})", short(&unit.title)))
    };
    let told: Vec<String> = state.units().filter_map(changed).collect();
    (!told.is_empty()).then(|| {
        format!(
            "other output than plain Cargo's, by --oversized shrink-output: {} (undone by `cargo clean -p` and a build without it)",
            names(&told, NAMES)
        )
    })
}

fn not_started(state: &BuildState) -> Option<String> {
    let left = heaviest_names(state, |unit| unit.status == Status::Left);
    (!left.is_empty()).then(|| {
        let units = count(left.len(), "unit");
        format!("not started after the first failure: {units} ({})", names(&left, NAMES))
    })
}

/// One line, whatever was said: the last word, and how many there were. All of it where no log keeps the rest.
fn notices(state: &BuildState) -> Vec<String> {
    match state.notices() {
        [] => Vec::new(),
        all if state.is_unlogged() => all.to_vec(),
        [only] => vec![only.clone()],
        [more @ .., last] => {
            let more = count(more.len(), "more notice");
            vec![format!("{last} (and {more}: cargo plimsoll report --text)")]
        }
    }
}

/// The short names of some units, the most important first.
fn heaviest_names(state: &BuildState, is: impl Fn(&Unit) -> bool) -> Vec<String> {
    state.which(is).iter().map(|unit| short(&unit.title)).collect()
}
