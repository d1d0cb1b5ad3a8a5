//! What a running build does now, unit by unit, for a program.

use std::cmp::Reverse;

use plimsoll_core::event::{BuildLiveState, Header};
use plimsoll_core::forecast::ForecastSource;
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::{BuildId, Bytes, Millis, UnitId};
use serde::Serialize;

use crate::state::{BuildState, Counts, Status, Unit};
use crate::wording;

/// The version of the JSON, for those who read it.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Top<'a> {
    plimsoll_top: u32,
    build: &'a BuildId,
    command: &'a str,
    /// The directory of its workspace, or where the command runs; empty where nobody knows.
    workspace: &'a str,
    elapsed_ms: Millis,
    /// `low`, `normal`, `high`.
    priority: &'static str,
    /// A person waits for it, or for somebody who waits for it.
    awaited: bool,
    /// Somebody has asked that nothing of it run.
    paused: bool,
    /// Its terminal has stopped it (Ctrl-Z), or somebody by a signal.
    stopped_by_signal: bool,
    /// The budget of all builds of its governor together.
    machine_budget_bytes: Bytes,
    budget_bytes: Bytes,
    used_bytes: Bytes,
    admitted_bytes: Bytes,
    peak_bytes: Bytes,
    jobs: u32,
    #[serde(flatten)]
    counts: Counts,
    /// The exit code, once the build has ended.
    exit: Option<i32>,
    units: Vec<TopUnit<'a>>,
}

#[derive(Serialize)]
struct TopUnit<'a> {
    unit: UnitId,
    title: &'a str,
    kind: UnitKind,
    status: Status,
    /// Why it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    attempts: u32,
    memory_bytes: Bytes,
    peak_bytes: Bytes,
    forecast_bytes: Bytes,
    forecast_from: ForecastSource,
    /// Since its first admission; since its registration where it waits for that.
    elapsed_ms: Millis,
}

/// The state `now` as one line of JSON.
///
/// Amounts are bytes, times milliseconds. `units` are what runs, the heaviest first; then what is paused;
/// then what waits, in the order of registration.
#[must_use]
pub fn top_json(state: &BuildState, header: &Header, now: &BuildLiveState) -> String {
    let units = live(state)
        .into_iter()
        .map(|unit| TopUnit {
            unit: unit.id,
            title: &unit.title,
            kind: unit.kind,
            status: unit.status,
            why: unit.held_by.map(wording::briefly),
            attempts: unit.attempts,
            memory_bytes: unit.memory,
            peak_bytes: unit.peak,
            forecast_bytes: unit.forecast,
            forecast_from: unit.source,
            elapsed_ms: elapsed(unit, now.elapsed),
        })
        .collect();
    let top = Top {
        plimsoll_top: FORMAT,
        build: &header.build,
        command: &header.command,
        workspace: &header.workspace,
        elapsed_ms: now.elapsed,
        priority: now.standing.priority.as_str(),
        awaited: now.standing.awaited,
        paused: now.standing.paused,
        stopped_by_signal: now.standing.stands,
        machine_budget_bytes: now.machine_budget,
        budget_bytes: state.budget(),
        used_bytes: state.used(),
        admitted_bytes: state.admitted(),
        peak_bytes: state.peak(),
        jobs: header.jobs,
        counts: state.counts(),
        exit: state.done().map(|done| done.exit),
        units,
    };
    // Cannot fail: every key is a string and every number finite.
    serde_json::to_string(&top).unwrap_or_default()
}

fn live(state: &BuildState) -> Vec<&Unit> {
    let mut units: Vec<&Unit> = state.units().filter(|unit| !unit.status.ended()).collect();
    units.sort_by_key(|unit| {
        let group = match unit.status {
            Status::Running => 0,
            Status::LinkHeld | Status::Suspended => 1,
            _ => 2,
        };
        (group, Reverse(unit.memory), unit.id)
    });
    units
}

fn elapsed(unit: &Unit, now: Millis) -> Millis {
    now - unit.admitted.unwrap_or(unit.registered)
}
