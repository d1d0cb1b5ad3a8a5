//! A build from its log: what it needed, when, and what was decided. As text.

use std::fmt::Write as _;

use plimsoll_core::Millis;
use plimsoll_core::event::{Event, Header, Record};

use crate::cells::{fit, one_line};
use crate::date::utc;
use crate::state::{BuildState, Status, Unit};
use crate::timeline::{self, Point};
use crate::wording::{Loss, count, decision, names, peak_share, percent, short, source};

/// Units in the table; the rest needed less than each of them.
const HEAVIEST: usize = 15;

/// Cells for a unit's title in the table.
const TITLE: usize = 44;

/// Names of the units that were running when a log breaks off.
const RUNNING_SHOWN: usize = 5;

/// The report of a build, complete or not, for `cargo plimsoll report --text`.
#[must_use]
pub fn report_text(header: &Header, records: &[Record]) -> String {
    let mut state = BuildState::new(header);
    let mut points = Vec::new();
    for record in records {
        state.apply(record);
        if let Event::Sample { used, budget, .. } = record.event {
            points.push(Point { t: record.t, used, budget });
        }
    }
    let mut text = String::new();
    heading(&mut text, &state, header);
    let picture = timeline::draw(&points, state.wall().max(state.now()));
    if !picture.is_empty() {
        let _ = write!(text, "\nMemory of everything that the build ran (█), and the budget (┄)\n");
        text.push_str(&picture);
    }
    heaviest(&mut text, &state);
    decisions(&mut text, &state);
    waits(&mut text, &state);
    totals(&mut text, &state);
    text
}

fn heading(text: &mut String, state: &BuildState, header: &Header) {
    let _ = writeln!(
        text,
        "cargo {}, {}, plimsoll {}, build {}",
        one_line(&header.command),
        utc(header.started_unix_ms),
        one_line(&header.version),
        one_line(&header.build.0),
    );
    let share = peak_share(state)
        .map_or_else(String::new, |(_, share)| format!(" ({share} of the budget)"));
    let _ = writeln!(
        text,
        "budget {} (--memory {}), {}; peak {}{share}, {}{}",
        header.budget,
        one_line(&header.memory),
        count(header.jobs as usize, "job"),
        state.peak(),
        state.wall(),
        state.done().map_or(String::new(), |done| format!(", exit {}", done.exit)),
    );
    if state.done().is_none() {
        let live: Vec<String> = state
            .units()
            .filter(|unit| matches!(unit.status, Status::Running | Status::Suspended))
            .map(|unit| short(&unit.title))
            .collect();
        let _ = write!(
            text,
            "This log is incomplete: it breaks off at {}. The build still runs, its driver was killed, \
             or the disk was full.",
            state.now()
        );
        if !live.is_empty() {
            let _ = write!(text, " Running then: {}.", names(&live, RUNNING_SHOWN));
        }
        text.push('\n');
    }
}

fn heaviest(text: &mut String, state: &BuildState) {
    let heaviest = state.heaviest();
    if heaviest.is_empty() {
        return;
    }
    let _ = write!(text, "\nHeaviest units\n");
    let _ = writeln!(
        text,
        "  {:>9}  {:>9} {:<7}  {:>12}  {:>12}  {:>12}  {:>4}  unit",
        "peak", "forecast", "from", "cpu", "wall", "waited", "runs"
    );
    for unit in heaviest.iter().take(HEAVIEST) {
        // These are only told at the end of a unit.
        let known = |time: Millis| match unit.status.ended() {
            true => time.to_string(),
            false => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "  {:>9}  {:>9} {:<7}  {:>12}  {:>12}  {:>12}  {:>4}  {}",
            unit.peak,
            unit.forecast,
            source(unit.source),
            known(unit.cpu),
            known(unit.wall),
            known(unit.waited),
            unit.attempts,
            fit(&unit.title, TITLE),
        );
    }
    let more = heaviest.len().saturating_sub(HEAVIEST);
    if more > 0 {
        let _ = writeln!(text, "  and {} that needed less each", count(more, "unit"));
    }
}

fn decisions(text: &mut String, state: &BuildState) {
    let told: Vec<String> = state
        .decisions()
        .iter()
        .filter_map(|made| {
            let title = made.unit.map_or_else(String::new, |unit| state.title(unit));
            let said = decision(&made.event, &title)?;
            Some(format!("  {:>12}  {}", made.t, one_line(&said)))
        })
        .collect();
    if told.is_empty() {
        return;
    }
    let _ = write!(text, "\nDecisions\n{}\n", told.join("\n"));
}

fn waits(text: &mut String, state: &BuildState) {
    let waited = state.mean_while_waiting();
    if waited.is_none() && state.links_waited() == Millis::ZERO {
        return;
    }
    let _ = write!(text, "\nWaits\n");
    if let Some((time, admitted, used)) = waited {
        let _ = writeln!(
            text,
            "  units waited during {time}; then {} of the budget was admitted and {} used, on average",
            percent(admitted),
            percent(used)
        );
    }
    let mut longest: Vec<&Unit> =
        state.units().filter(|unit| unit.waited >= Millis::seconds(1)).collect();
    longest.sort_by_key(|unit| (std::cmp::Reverse(unit.waited), unit.id));
    let longest: Vec<String> = longest
        .iter()
        .take(3)
        .map(|unit| format!("{} {}", short(&unit.title), unit.waited))
        .collect();
    if !longest.is_empty() {
        let _ = writeln!(text, "  longest: {}", longest.join(", "));
    }
    if state.links_waited() > Millis::ZERO {
        let _ = writeln!(text, "  linkers waited {} in all", state.links_waited());
    }
}

fn totals(text: &mut String, state: &BuildState) {
    let tally = state.tally();
    let more = |n: usize, what: &str| match n {
        0 => String::new(),
        n => format!(", {n} {what}"),
    };
    let _ = write!(text, "\nTotals\n");
    let _ = writeln!(
        text,
        "  {} ran: {} finished, {} failed, {} refused, {} not started{}{}",
        count(tally.ran, "unit"),
        tally.finished,
        tally.failed,
        tally.refused,
        tally.left,
        more(tally.under_way, "under way"),
        more(tally.inside, "more inside of them"),
    );
    let of = |is: fn(&Unit) -> bool| state.which(is).len();
    let lost = |loss| state.which(|unit| Loss::is_of(unit, loss)).len();
    let _ = writeln!(
        text,
        "  {} suspended{}, {} killed and run again, {} killed by somebody else{}{}",
        of(Unit::was_suspended),
        more(of(Unit::was_paged_out), "paged out meanwhile"),
        of(Unit::was_killed),
        lost(Loss::Killed),
        more(lost(Loss::Ended), "ended by somebody else"),
        more(lost(Loss::NoMemory), "without memory"),
    );
    let _ = writeln!(
        text,
        "  CPU time{} {}, of it lost {} ({}){}",
        // What runs tells its time at its end.
        if tally.under_way > 0 { " of what has ended" } else { "" },
        state.cpu(),
        state.lost_cpu(),
        percent(state.lost_share()),
        state.done().map_or(String::new(), |done| format!("; governor {}", done.governor_cpu)),
    );
}
