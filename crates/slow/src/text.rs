//! A build's time and what it went into, as a person and as a program reads it. Reads nothing.

use std::fmt::Write as _;

use plimsoll_core::Millis;
use plimsoll_view::{percent, wrapped};
use serde_json::{Value, json};

use super::causes::Cause;
use super::past::{Past, Unit};
use super::rebuilt::{Rebuilt, Why};

/// The form of the JSON; the number changes where a reader would misunderstand it.
const FORMAT: u32 = 1;

/// Columns of a line of a cause, its margin not included.
const WIDTH: usize = 100;

/// Columns before the text of a cause.
const MARGIN: usize = 9;

/// Units that are named among the longest.
const LONGEST: usize = 5;

fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// As text, for a terminal.
pub fn text(past: &Past, rebuilt: &Rebuilt, causes: &[Cause]) -> String {
    let mut text = heading(past);
    text.push_str(&times(past));
    text.push_str(&compared(rebuilt));
    for cause in causes {
        let part = percent(past.share(Millis(cause.cost_ms)));
        let mut first = format!("{:<MARGIN$}", format!("~{part}"));
        text.push('\n');
        for said in [&cause.what, &cause.why] {
            for line in wrapped(said, WIDTH) {
                let margin = std::mem::replace(&mut first, " ".repeat(MARGIN));
                let _ = writeln!(text, "{margin}{line}");
            }
        }
        for (at, line) in wrapped(&cause.advice, WIDTH).iter().enumerate() {
            let arrow = if at == 0 { "-> " } else { "   " };
            let _ = writeln!(text, "{}{arrow}{line}", " ".repeat(MARGIN));
        }
    }
    if causes.is_empty() {
        text.push_str(&nothing(past));
    }
    text
}

fn heading(past: &Past) -> String {
    let header = &past.header;
    let exit = match past.exit {
        Some(exit) => format!(", exit {exit}"),
        None => ": its log is incomplete, or it still runs".to_owned(),
    };
    let command: String = header.command.chars().filter(|c| !c.is_control()).collect();
    format!(
        "cargo {command}, {}, build {}: {}{exit}\n",
        plimsoll_view::utc(header.started_unix_ms),
        header.build,
        past.wall,
    )
}

fn times(past: &Past) -> String {
    let mut text = format!(
        "{}, {} of processor time: {} of {}; line {}, peak {}\n",
        count(past.own().count(), "unit"),
        past.cpu(),
        percent(past.utilisation()),
        count(past.processors() as usize, "processor"),
        past.header.line,
        past.peak,
    );
    let mut shares: Vec<String> = Vec::new();
    let of = |name: String, time: Millis| {
        (past.share(time) >= 0.005)
            .then(|| format!("{name} {} ({time})", percent(past.share(time))))
    };
    let at_once = |n: usize| past.at_once.get(&n).copied().unwrap_or_default();
    shares.extend(of("nothing ran".to_owned(), at_once(0)));
    shares.extend(of("1 unit".to_owned(), at_once(1)));
    shares.extend(of("2 to 3".to_owned(), past.with_at_least(2) - past.with_at_least(4)));
    shares.extend(of("4 or more".to_owned(), past.with_at_least(4)));
    let _ = writeln!(text, "at once: {}", shares.join(", "));
    let mut longest: Vec<&Unit> = past.own().filter(|unit| unit.wall > Millis::ZERO).collect();
    longest.sort_by_key(|unit| std::cmp::Reverse(unit.wall));
    let longest: Vec<String> = longest
        .iter()
        .take(LONGEST)
        .map(|unit| match unit.link {
            Millis::ZERO => format!("{} {}", unit.title, unit.wall),
            link => format!("{} {} (its link {link})", unit.title, unit.wall),
        })
        .collect();
    if !longest.is_empty() {
        let _ = writeln!(text, "longest: {}", longest.join(", "));
    }
    text
}

fn compared(rebuilt: &Rebuilt) -> String {
    let Some((build, started)) = &rebuilt.before else {
        return format!(
            "compared: no earlier build of this workspace is recorded, so {} had to be built\n",
            count(rebuilt.units, "unit")
        );
    };
    let groups: Vec<String> = rebuilt
        .groups
        .iter()
        .map(|(why, group)| {
            let said = match why {
                Why::Flags => "with other flags",
                Why::Compiler => "by another compiler or setting",
                Why::Features => "with other features",
                Why::Profile => "by another profile",
                Why::Version => "of another version",
                Why::Lost => "that had been there",
                Why::Edited => "of your own, as after an edit",
                Why::New => "never built before",
            };
            format!(
                "{} {said} ({} of processor time)",
                count(group.titles.len(), "unit"),
                group.cpu
            )
        })
        .collect();
    format!(
        "compared with build {build} ({}): {}\n",
        plimsoll_view::utc(*started),
        groups.join(", ")
    )
}

fn nothing(past: &Past) -> String {
    format!(
        "\nnothing made it slow that could be mended: for {} ({}) a unit waited for memory, {} killed, linkers took {}, everything stood still for {}\n",
        past.short,
        percent(past.share(past.short)),
        count(past.kills as usize, "unit"),
        past.own().map(|unit| unit.link).sum::<Millis>(),
        past.stalled,
    )
}

/// As one line of JSON.
pub fn as_json(past: &Past, rebuilt: &Rebuilt, causes: &[Cause]) -> Value {
    json!({
        "plimsoll_doctor": FORMAT,
        "question": "slow",
        "build": past.header.build,
        "compared_with": rebuilt.before.as_ref().map(|(build, _)| build),
        "wall_ms": past.wall,
        "cpu_ms": past.cpu(),
        "processors": past.processors(),
        "jobs": past.header.jobs,
        "units": past.own().count(),
        "short_ms": past.short,
        "stalled_ms": past.stalled,
        "lost_cpu_ms": past.lost,
        "link_ms": past.own().map(|unit| unit.link).sum::<Millis>(),
        "causes": causes,
    })
}
