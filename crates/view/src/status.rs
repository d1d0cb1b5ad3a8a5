//! One line about a build that runs: for a terminal, and for a log that nobody watches.

use plimsoll_core::{Bytes, Millis};

use crate::cells::fit;
use crate::state::{BuildState, Counts, Status, Unit};
use crate::wording::short;

/// The status line of a terminal, in at most `columns` cells:
/// `plimsoll 1.21/1.56 GiB  5 running 12 waiting 1 stopped  cranelift-codegen 812 MiB`.
#[must_use]
pub fn status_line(state: &BuildState, columns: usize) -> String {
    let mut parts = vec![format!("plimsoll {}", amounts(state.used(), state.budget(), "/"))];
    let counts = counts(state.counts(), " ");
    if !counts.is_empty() {
        parts.push(counts);
    }
    if let Some(unit) = running(state).max_by_key(|unit| unit.memory) {
        parts.push(format!("{} {}", short(&unit.title), unit.memory));
    }
    fit(&parts.join("  "), columns)
}

/// The budget that is written once a minute where there is no terminal:
/// `plimsoll: 1.21 of 1.56 GiB, 5 running, 12 waiting, 1 stopped; longest: wasmtime, 2 min 3 s, 812 MiB`.
#[must_use]
pub fn waiting_line(state: &BuildState) -> String {
    let mut line = format!("plimsoll: {}", amounts(state.used(), state.budget(), " of "));
    let counts = counts(state.counts(), ", ");
    if !counts.is_empty() {
        line.push_str(", ");
        line.push_str(&counts);
    }
    let oldest = running(state).min_by_key(|unit| unit.admitted);
    if let Some(unit) = oldest {
        let since = state.now() - unit.admitted.unwrap_or(Millis::ZERO);
        line.push_str(&format!("; longest: {}, {since}, {}", short(&unit.title), unit.memory));
    }
    line
}

fn running(state: &BuildState) -> impl Iterator<Item = &Unit> {
    state.units().filter(|unit| unit.status == Status::Running && unit.memory > Bytes::ZERO)
}

/// How many units do what, without zeros.
pub(crate) fn counts(counts: Counts, between: &str) -> String {
    let all =
        [(counts.running, "running"), (counts.waiting, "waiting"), (counts.stopped, "stopped")];
    let shown: Vec<String> =
        all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    shown.join(between)
}

/// Memory and line in the unit of the budget: `1.21/1.56 GiB`, `80/700 MiB`.
pub(crate) fn amounts(used: Bytes, budget: Bytes, between: &str) -> String {
    if budget == Bytes::MAX {
        used.to_string()
    } else if budget >= Bytes::gib(1) {
        format!("{:.2}{between}{budget}", used.as_mib() / 1024.0)
    } else {
        format!("{:.0}{between}{:.0} MiB", used.as_mib(), budget.as_mib())
    }
}
