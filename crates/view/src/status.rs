//! One line about a build that runs: for a terminal, and for a log that nobody watches.

use plimsoll_core::{Bytes, Millis};
use unicode_width::UnicodeWidthStr as _;

use crate::cells::fit;
use crate::entry::{Entry, Tone, WORD};
use crate::state::{BuildState, Counts, Status, Unit};
use crate::wording::{amounts, short};

/// From this width on memory is drawn as a bar, too.
const ROOM_FOR_BAR: usize = 112;

/// From this width on the status word stands in Cargo's column.
const ROOM_FOR_COLUMN: usize = 72;

/// Cells of the bar, without its ends.
const BAR: usize = 20;

/// A unit's name that is cut to less tells nothing.
const LEAST_NAME: usize = 6;

/// The row at the bottom of a terminal, in at most `columns` cells:
/// `Plimsoll 1.21 of 1.56 GiB: 5 running, 12 waiting, 1 paused; cranelift-codegen 812 MiB`.
///
/// What is shown hangs on the width and on nothing that changes while a build runs, so that the row stands still.
#[must_use]
pub fn status_line(state: &BuildState, columns: usize) -> Entry {
    let word = if state.is_paused() { "Paused" } else { "Plimsoll" };
    let tone = if state.is_paused() { Tone::Caution } else { Tone::Info };
    let room = columns.saturating_sub(word_column(columns).max(word.len()) + 1);
    if state.is_paused() {
        return Entry::new(tone, word, fit(PAUSED, room));
    }
    let mut text = String::new();
    if columns >= ROOM_FOR_BAR {
        text.push_str(&bar(state.used().share_of(state.budget())));
        text.push(' ');
    }
    text.push_str(&standing(state));
    if let Some(unit) = running(state).max_by_key(|unit| unit.memory) {
        let memory = format!(" {}", unit.memory);
        let left = room.saturating_sub(text.width() + "; ".len() + memory.width());
        let name = short(&unit.title);
        if left >= name.width().min(LEAST_NAME) {
            text.push_str(&format!("; {}{memory}", fit(&name, left)));
        }
    }
    Entry::new(tone, word, fit(&text, room))
}

/// Cells of the column in which the status word of a row of so many columns stands.
#[must_use]
pub fn word_column(columns: usize) -> usize {
    if columns >= ROOM_FOR_COLUMN { WORD } else { 0 }
}

/// What a build that was paused says in its own terminal.
const PAUSED: &str = "from `cargo plimsoll top`; press p there to continue";

/// The line for a log without a terminal in which a build was paused, or goes on.
#[must_use]
pub fn paused_line(paused: bool) -> Entry {
    match paused {
        true => Entry::new(Tone::Caution, "Paused", PAUSED.to_owned()),
        false => Entry::new(Tone::Info, "Continued", "from `cargo plimsoll top`".to_owned()),
    }
}

/// The line that is written once a minute where there is no terminal:
/// `Plimsoll 1.21 of 1.56 GiB: 5 running, 12 waiting, 1 paused; longest wasmtime, 2m 03s, 812 MiB`.
#[must_use]
pub fn waiting_line(state: &BuildState) -> Entry {
    if state.is_paused() {
        return paused_line(true);
    }
    let mut text = standing(state);
    let oldest = running(state).min_by_key(|unit| unit.admitted);
    if let Some(unit) = oldest {
        let since = state.now() - unit.admitted.unwrap_or(Millis::ZERO);
        text.push_str(&format!("; longest {}, {since}, {}", short(&unit.title), unit.memory));
    }
    Entry::new(Tone::Info, "Plimsoll", text)
}

fn standing(state: &BuildState) -> String {
    let (amounts, counts) = (amounts(state.used(), state.budget()), counts(state.counts()));
    if counts.is_empty() { amounts } else { format!("{amounts}: {counts}") }
}

fn running(state: &BuildState) -> impl Iterator<Item = &Unit> {
    state.units().filter(|unit| unit.status == Status::Running && unit.memory > Bytes::ZERO)
}

/// How many units do what, without zeros.
pub(crate) fn counts(counts: Counts) -> String {
    let all = [(counts.running, "running"), (counts.waiting, "waiting"), (counts.paused, "paused")];
    let shown: Vec<String> =
        all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    shown.join(", ")
}

/// As Cargo draws its own.
fn bar(share: f64) -> String {
    let filled = ((share * BAR as f64).round() as usize).min(BAR);
    let mut done = "=".repeat(filled);
    if filled < BAR {
        done.push('>');
    }
    format!("[{done:<BAR$}]")
}
