//! A build's time and what it went into, as a person and as a program reads it. Reads nothing.

use plimsoll_core::Millis;
use plimsoll_view::{Block, Entry, Named, Outline, Tone, count, labels, percent};
use serde_json::{Value, json};

use super::causes::Cause;
use super::past::{Past, Unit};
use super::rebuilt::{Rebuilt, Why};

/// The form of the JSON; the number changes where a reader would misunderstand it.
const FORMAT: u32 = 1;

/// Columns before the text of a cause.
const MARGIN: usize = 7;

/// Units that are named among the longest.
const LONGEST: usize = 5;

/// For a person. `outline` is the same build; `now` is in milliseconds since the Unix epoch.
#[must_use]
pub fn blocks(
    past: &Past,
    outline: &Outline,
    rebuilt: &Rebuilt,
    causes: &[Cause],
    now: u64,
) -> Vec<Block> {
    let entry = |word, text| Block::Entry(Entry { tone: Tone::Info, word, text });
    let mut blocks = vec![Block::Entry(outline.heading(now)), Block::Entry(outline.result())];
    blocks.push(entry("CPU time", cpu(past)));
    blocks.push(entry("At once", at_once(past)));
    blocks.extend(longest(past).map(|text| entry("Longest", text)));
    blocks.push(entry("Compared", compared(rebuilt, now)));
    for cause in causes {
        let part = percent(past.share(Millis(cause.cost_ms)));
        let said = format!(
            "\n{:<MARGIN$}{}\n{:MARGIN$}{}\n{:MARGIN$}-> {}\n",
            format!("~{part}"),
            cause.what,
            "",
            cause.why,
            "",
            cause.advice
        );
        blocks.push(Block::Text(said));
    }
    if causes.is_empty() {
        blocks.push(Block::Text(nothing(past)));
    }
    blocks
}

fn cpu(past: &Past) -> String {
    format!(
        "{}: {} of {}",
        past.cpu(),
        percent(past.utilisation()),
        count(past.processors() as usize, "processor"),
    )
}

/// How many units ran at once for how long.
fn at_once(past: &Past) -> String {
    let of = |name: &str, time: Millis| {
        (past.share(time) >= 0.005)
            .then(|| format!("{name} {} ({time})", percent(past.share(time))))
    };
    let at_once = |n: usize| past.at_once.get(&n).copied().unwrap_or_default();
    let shares = [
        of("nothing", at_once(0)),
        of("1 unit", at_once(1)),
        of("2 to 3 units", past.with_at_least(2) - past.with_at_least(4)),
        of("4 or more", past.with_at_least(4)),
    ];
    shares.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn longest(past: &Past) -> Option<String> {
    let mut longest: Vec<&Unit> = past.own().filter(|unit| unit.wall > Millis::ZERO).collect();
    longest.sort_by_key(|unit| std::cmp::Reverse(unit.wall));
    longest.truncate(LONGEST);
    let named: Vec<Named<'_>> = longest
        .iter()
        .map(|unit| Named { title: &unit.title, kind: unit.kind, made: unit.made.as_ref() })
        .collect();
    let told: Vec<String> = labels(&named)
        .into_iter()
        .zip(&longest)
        .map(|(label, unit)| match unit.link {
            Millis::ZERO => format!("{label} {}", unit.wall),
            link => format!("{label} {} (linker {link})", unit.wall),
        })
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

fn compared(rebuilt: &Rebuilt, now: u64) -> String {
    let Some((build, started)) = &rebuilt.before else {
        return format!(
            "no earlier build of this workspace is recorded; {} had to be built",
            count(rebuilt.units, "unit")
        );
    };
    let groups: Vec<String> = rebuilt
        .groups
        .iter()
        .map(|(why, group)| {
            let said = match why {
                Why::Flags => "with other flags",
                Why::Compiler => "with another compiler or setting",
                Why::Features => "with other features",
                Why::Profile => "with another profile",
                Why::Version => "in another version",
                Why::Lost => "that had been built before",
                Why::Edited => "of your own, as after an edit",
                Why::New => "for the first time",
            };
            format!("{} {said} ({} of CPU time)", count(group.titles.len(), "unit"), group.cpu)
        })
        .collect();
    format!("with build {build}, {}: {}", plimsoll_view::ago(now, *started), groups.join(", "))
}

fn nothing(past: &Past) -> String {
    format!(
        "\nNothing that you can change slowed this build: units waited for memory for {} ({} of the time), {} \
         were killed and ran again, linkers took {}, and everything stood still for {}.\n",
        past.short,
        percent(past.share(past.short)),
        past.kills,
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
        "workspace": Some(&past.header.workspace).filter(|it| !it.is_empty()),
        "command": past.header.command,
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
