//! A build from its log: what it needed, when, and what was decided.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plimsoll_core::event::{Event, Header, Record};
use plimsoll_core::{Bytes, Millis, UnitId};

use crate::blocks::Block;
use crate::cells::{fit, one_line};
use crate::outline::{Outline, labelled};
use crate::state::{BuildState, Decision, Unit};
use crate::table::{Align, table};
use crate::timeline::{self, Point};
use crate::wording::{Loss, count, decision, names, percent, source};

/// Units in the table; the rest needed less than each of them.
const HEAVIEST: usize = 15;

/// Cells for a unit's name in the table.
const TITLE: usize = 44;

/// Names of units that were not started.
const LEFT_SHOWN: usize = 5;

/// What happens to one unit, or to the budget, up to so often is reported each time, and more often in one line.
const EACH: usize = 2;

/// A budget that stays within this share of its highest is not worth a word.
const MOVED: f64 = 0.1;

/// The report of a build, complete or not. `now` is in milliseconds since the Unix epoch; `runs`: the build's process is
/// still there.
#[must_use]
pub fn report(header: &Header, records: &[Record], now: u64, runs: bool) -> Vec<Block> {
    let outline = Outline::new(header, records, runs);
    let state = outline.state();
    let points: Vec<Point> = records
        .iter()
        .filter_map(|record| match record.event {
            Event::Sample { used, budget, .. } => Some(Point { t: record.t, used, budget }),
            _ => None,
        })
        .collect();
    let mut blocks = vec![
        Block::Entry(outline.heading(now)),
        Block::Entry(outline.result()),
        Block::Entry(outline.budget()),
    ];
    let mut section = |title: &str, block: Block| {
        blocks.push(Block::Title(title.to_owned()));
        blocks.push(block);
    };
    let picture = timeline::draw(&points, state.wall().max(state.now()));
    if !picture.is_empty() {
        section(
            "Memory of all processes of the build (█) and the memory budget (┄)",
            Block::Fixed(picture),
        );
    }
    if let Some(units) = heaviest(state) {
        section("Heaviest units", Block::Fixed(units));
    }
    let told = [
        ("Decisions", decisions(state, header)),
        ("Waits", waits(state)),
        ("Totals", Some(totals(state))),
    ];
    for (title, text) in told {
        if let Some(text) = text {
            section(title, Block::Text(text));
        }
    }
    blocks
}

/// The same as one text, as it is in a file.
#[must_use]
pub fn report_text(header: &Header, records: &[Record], now: u64, runs: bool) -> String {
    report(header, records, now, runs).iter().map(Block::to_string).collect()
}

fn heaviest(state: &BuildState) -> Option<String> {
    let all = state.heaviest();
    let units = &all[..all.len().min(HEAVIEST)];
    let columns = [
        ("peak", Align::Right),
        ("forecast", Align::Right),
        ("from", Align::Left),
        ("cpu", Align::Right),
        ("time", Align::Right),
        ("waited", Align::Right),
        ("runs", Align::Right),
        ("unit", Align::Left),
    ];
    let row = |(unit, label): (&&Unit, String)| {
        // These are only told at the end of a unit.
        let known = |time: Millis| match unit.status.ended() {
            true => time.to_string(),
            false => "-".to_owned(),
        };
        [
            unit.peak.to_string(),
            unit.forecast.to_string(),
            source(unit.source).to_owned(),
            known(unit.cpu),
            known(unit.wall),
            known(unit.waited),
            unit.attempts.to_string(),
            fit(&label, TITLE),
        ]
    };
    let rows: Vec<[String; 8]> = units.iter().zip(labelled(units)).map(row).collect();
    let mut text = indented(&table(columns, &rows));
    let more = all.len() - units.len();
    if more > 0 {
        let _ = writeln!(text, "  and {} that needed less", count(more, "unit"));
    }
    (!units.is_empty()).then_some(text)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// What was decided, in the order in which it happened. What happens again and again is one line.
fn decisions(state: &BuildState, header: &Header) -> Option<String> {
    let made = state.decisions();
    let ids: Vec<UnitId> = made.iter().filter_map(|it| it.unit).collect();
    let units: Vec<&Unit> = state.which(|unit| ids.contains(&unit.id));
    let labels: BTreeMap<UnitId, String> =
        units.iter().map(|unit| unit.id).zip(labelled(&units)).collect();
    let label = |id: UnitId| labels.get(&id).cloned().unwrap_or_else(|| state.title(id));
    let mut folded = Folded::new(made, header.budget);
    let lines: Vec<(Millis, String)> = made
        .iter()
        .filter_map(|made| {
            let said = match folded.said(made) {
                Said::Nothing => return None,
                Said::Instead(text) => text,
                Said::NotStarted(left) => {
                    let left: Vec<&Unit> =
                        units.iter().filter(|it| left.contains(&it.id)).copied().collect();
                    let which = names(&labelled(&left), LEFT_SHOWN);
                    format!(
                        "{} not started, because the build had failed: {which}",
                        count(left.len(), "unit")
                    )
                }
                Said::AsItIs(more) => {
                    let name = made.unit.map_or_else(String::new, label);
                    decision(&made.event, &name)? + &more
                }
            };
            Some((made.t, one_line(&said)))
        })
        .collect();
    let width = lines.iter().map(|(t, _)| t.to_string().len()).max()?;
    let line = |(t, said): &(Millis, String)| format!("  {:>width$}  {said}\n", t.to_string());
    Some(lines.iter().map(line).collect())
}

/// What a report says of a decision.
enum Said {
    /// Another line has told it.
    Nothing,
    /// The decision in words, and what comes behind.
    AsItIs(String),
    /// Something else.
    Instead(String),
    /// These units were not started.
    NotStarted(Vec<UnitId>),
}

/// Decisions that come again and again, counted.
struct Folded<'a> {
    budgets: Vec<Bytes>,
    pauses: BTreeMap<UnitId, (usize, Millis)>,
    notices: BTreeMap<&'a str, usize>,
    left: Vec<UnitId>,
    told_budget: bool,
    told: Vec<UnitId>,
    told_notices: Vec<&'a str>,
    told_left: bool,
}

impl<'a> Folded<'a> {
    fn new(made: &'a [Decision], budget: Bytes) -> Self {
        let mut folded = Self {
            budgets: vec![budget],
            pauses: BTreeMap::new(),
            notices: BTreeMap::new(),
            left: Vec::new(),
            told_budget: false,
            told: Vec::new(),
            told_notices: Vec::new(),
            told_left: false,
        };
        for made in made {
            match &made.event {
                Event::Budget { budget } => folded.budgets.push(*budget),
                Event::Suspended { unit, .. } => {
                    let (times, until) = folded.pauses.entry(*unit).or_default();
                    (*times, *until) = (*times + 1, made.t);
                }
                Event::Notice { text } => *folded.notices.entry(text).or_default() += 1,
                Event::Left { unit } => folded.left.push(*unit),
                _ => {}
            }
        }
        folded
    }

    fn said(&mut self, made: &'a Decision) -> Said {
        match &made.event {
            Event::Budget { .. } if !self.has_moved() => Said::Nothing,
            Event::Budget { .. } if self.budgets.len() - 1 > EACH => {
                match std::mem::replace(&mut self.told_budget, true) {
                    true => Said::Nothing,
                    false => Said::Instead(self.budget()),
                }
            }
            Event::Suspended { unit, .. } | Event::Resumed { unit } => {
                let (times, until) = self.pauses.get(unit).copied().unwrap_or_default();
                if times <= EACH {
                    Said::AsItIs(String::new())
                } else if self.told.contains(unit) {
                    Said::Nothing
                } else {
                    self.told.push(*unit);
                    Said::AsItIs(format!(" ({times} times, last at {until})"))
                }
            }
            Event::Notice { text } => match self.notices.get(text.as_str()) {
                Some(times) if *times > 1 => {
                    if self.told_notices.contains(&text.as_str()) {
                        return Said::Nothing;
                    }
                    self.told_notices.push(text);
                    Said::AsItIs(format!(" ({times} times)"))
                }
                _ => Said::AsItIs(String::new()),
            },
            Event::Left { .. } if self.left.len() > 1 => {
                match std::mem::replace(&mut self.told_left, true) {
                    true => Said::Nothing,
                    false => Said::NotStarted(self.left.clone()),
                }
            }
            _ => Said::AsItIs(String::new()),
        }
    }

    fn range(&self) -> (Bytes, Bytes) {
        let all = || self.budgets.iter().copied().filter(|it| *it < Bytes::MAX);
        (all().min().unwrap_or_default(), all().max().unwrap_or_default())
    }

    /// The budget has changed by so much that a person should know.
    fn has_moved(&self) -> bool {
        let (least, most) = self.range();
        most.scale(1.0 - MOVED) > least
    }

    /// Where the budget went.
    fn budget(&self) -> String {
        let (least, most) = self.range();
        format!(
            "the memory budget changed {} times, as other programs took and freed memory: between {least} and {most}, \
             {} at the end",
            self.budgets.len() - 1,
            self.budgets.last().copied().unwrap_or_default(),
        )
    }
}

fn waits(state: &BuildState) -> Option<String> {
    let mut text = String::new();
    let waited = state.mean_while_waiting();
    if waited.is_none() && state.links_waited() == Millis::ZERO {
        return None;
    }
    if let Some((time, admitted, used)) = waited {
        let _ = writeln!(
            text,
            "  units waited for memory for {time}; in that time the running units were expected to need {} of the budget and used {} on average",
            percent(admitted),
            percent(used)
        );
    }
    let mut longest: Vec<&Unit> =
        state.units().filter(|unit| unit.waited >= Millis::seconds(1)).collect();
    longest.sort_by_key(|unit| (std::cmp::Reverse(unit.waited), unit.id));
    longest.truncate(3);
    let longest: Vec<String> = labelled(&longest)
        .into_iter()
        .zip(&longest)
        .map(|(label, unit)| format!("{label} {}", unit.waited))
        .collect();
    if !longest.is_empty() {
        let _ = writeln!(text, "  longest: {}", longest.join(", "));
    }
    if state.links_waited() > Millis::ZERO {
        let _ = writeln!(text, "  linkers waited for {} in total", state.links_waited());
    }
    Some(text)
}

fn totals(state: &BuildState) -> String {
    let mut text = String::new();
    let tally = state.tally();
    let more = |n: usize, what: &str| match n {
        0 => String::new(),
        n => format!(", {n} {what}"),
    };
    let _ = writeln!(
        text,
        "  {} ran: {} finished, {} failed, {} refused, {} not started{}{}",
        count(tally.ran, "unit"),
        tally.finished,
        tally.failed,
        tally.refused,
        tally.left,
        more(tally.under_way, "under way"),
        more(tally.inside, "more inside them"),
    );
    let of = |is: fn(&Unit) -> bool| state.which(is).len();
    let lost = |loss| state.which(|unit| Loss::is_of(unit, loss)).len();
    let _ = writeln!(
        text,
        "  {} paused{}, {} killed and run again, {} killed by another program{}{}",
        of(Unit::was_suspended),
        more(of(Unit::was_paged_out), "of them paged out"),
        of(Unit::was_killed),
        lost(Loss::Killed),
        more(lost(Loss::Ended), "terminated by another program"),
        more(lost(Loss::NoMemory), "run again because they got no memory"),
    );
    let _ = writeln!(
        text,
        "  CPU time{} {}, {} of it lost ({}){}",
        // What runs reports its time at its end.
        if tally.under_way > 0 { " of the units that ended" } else { "" },
        state.cpu(),
        state.lost_cpu(),
        percent(state.lost_share()),
        state.done().map_or(String::new(), |done| format!("; governor {}", done.governor_cpu)),
    );
    text
}
