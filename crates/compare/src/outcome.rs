//! What the arms came to, beside plain Cargo: as text, Markdown and JSON.

use std::time::Duration;

use plimsoll_core::Bytes;
use plimsoll_view::{Align, table};
use serde::Serialize;

use crate::arm::Arm;

/// One arm in one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The arm.
    pub arm: Arm,
    /// From 1.
    pub(crate) round: u32,
    /// The budget that it had.
    pub budget: Option<Bytes>,
    /// The highest memory of all its processes together.
    pub peak: Bytes,
    /// The time of the clean build.
    pub wall: Duration,
    /// The time of the build after a source file was touched.
    pub rebuild: Option<Duration>,
    /// The exit status.
    pub exit: i32,
    /// A process was killed for lack of memory.
    pub(crate) out_of_memory: bool,
}

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The runs, in their order.
    pub runs: Vec<Run>,
    /// What was built: the arguments of `cargo build`.
    pub arguments: Vec<String>,
    /// Processors that were used.
    pub processors: u32,
}

/// The JSON form. Sizes in bytes, times in milliseconds.
#[derive(Serialize)]
struct Document<'a> {
    /// The version of this form.
    plimsoll_bench: u32,
    arguments: &'a [String],
    processors: u32,
    runs: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    arm: &'static str,
    round: u32,
    budget_bytes: Option<u64>,
    peak_bytes: u64,
    wall_ms: u64,
    rebuild_ms: Option<u64>,
    exit: i32,
    out_of_memory: bool,
    /// Beside plain Cargo of the same round, where that was well.
    peak_vs_plain: Option<f64>,
    wall_vs_plain: Option<f64>,
}

const COLUMNS: [(&str, Align); 8] = [
    ("arm", Align::Left),
    ("budget", Align::Right),
    ("peak", Align::Right),
    ("time", Align::Right),
    ("peak / plain", Align::Right),
    ("time / plain", Align::Right),
    ("rebuild", Align::Right),
    ("result", Align::Left),
];

impl Outcome {
    /// The peak of this arm in the newest round where it was well.
    pub(crate) fn peak_of(&self, arm: Arm) -> Option<Bytes> {
        self.runs.iter().rev().find(|run| run.arm == arm && run.exit == 0).map(|run| run.peak)
    }

    /// Whether every run was well.
    pub(crate) fn is_well(&self) -> bool {
        self.runs.iter().all(|run| run.exit == 0)
    }

    /// The table for a terminal.
    pub fn text(&self) -> String {
        table(COLUMNS, &self.rows())
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&COLUMNS.map(|(title, _)| title.to_owned()));
        text += &line(
            &COLUMNS
                .map(|(_, align)| if align == Align::Right { "---:" } else { "---" }.to_owned()),
        );
        self.rows().iter().for_each(|row| text += &line(row));
        text
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        let document = Document {
            plimsoll_bench: 1,
            arguments: &self.arguments,
            processors: self.processors,
            runs: self.runs.iter().map(|run| self.entry(run)).collect(),
        };
        // Nothing in it can fail to be written: no map with other keys than text.
        serde_json::to_string(&document).unwrap_or_default() + "\n"
    }

    fn entry(&self, run: &Run) -> Entry {
        let (peak, wall) = self.beside_plain(run).unzip();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Entry {
            arm: run.arm.name(),
            round: run.round,
            budget_bytes: run.budget.map(|budget| budget.0),
            peak_bytes: run.peak.0,
            wall_ms: ms(run.wall),
            rebuild_ms: run.rebuild.map(ms),
            exit: run.exit,
            out_of_memory: run.out_of_memory,
            peak_vs_plain: peak,
            wall_vs_plain: wall,
        }
    }

    /// Peak and time of a run that was well, as shares of plain Cargo's in the same round.
    fn beside_plain(&self, run: &Run) -> Option<(f64, f64)> {
        let is_plain = |other: &&Run| other.arm == Arm::Plain && other.round == run.round;
        let plain = self.runs.iter().find(is_plain)?;
        let well = plain.exit == 0 && run.exit == 0 && plain.peak > Bytes::ZERO;
        let peak = run.peak.0 as f64 / plain.peak.0 as f64;
        well.then(|| (peak, run.wall.as_secs_f64() / plain.wall.as_secs_f64()))
    }

    fn rows(&self) -> Vec<[String; 8]> {
        let rounds = self.runs.iter().map(|run| run.round).max().unwrap_or(1);
        let row = |run: &Run| {
            let share = |part: Option<f64>| part.map(|it| format!("{it:.2}")).unwrap_or_default();
            let (peak, wall) = self.beside_plain(run).unzip();
            let name = match rounds {
                1 => run.arm.name().to_owned(),
                _ => format!("{} {}", run.arm, run.round),
            };
            let ended = match (run.exit, run.out_of_memory) {
                (0, _) => "ok".to_owned(),
                (_, true) => "out of memory".to_owned(),
                (exit, false) => format!("failed ({exit})"),
            };
            [
                name,
                run.budget.map(|budget| budget.to_string()).unwrap_or_default(),
                run.peak.to_string(),
                seconds(run.wall),
                share(peak),
                share(wall),
                run.rebuild.map(seconds).unwrap_or_default(),
                ended,
            ]
        };
        self.runs.iter().map(row).collect()
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arm: Arm, peak: u64, wall: u64, exit: i32) -> Run {
        Run {
            arm,
            round: 1,
            budget: arm.is_ours().then_some(Bytes::mib(512)),
            peak: Bytes::mib(peak),
            wall: Duration::from_secs(wall),
            rebuild: None,
            exit,
            out_of_memory: exit == 137,
        }
    }

    fn outcome() -> Outcome {
        Outcome {
            runs: vec![
                run(Arm::Plain, 1000, 100, 0),
                run(Arm::Recipe, 500, 200, 0),
                run(Arm::Plimsoll, 500, 110, 0),
                run(Arm::Lowmem, 900, 3, 137),
            ],
            arguments: vec!["--release".to_owned()],
            processors: 2,
        }
    }

    #[test]
    fn shares_are_of_plain_cargo_and_only_of_what_was_well() {
        let text = outcome().text();
        let lines: Vec<Vec<&str>> =
            text.lines().map(|it| it.split_whitespace().collect()).collect();
        assert_eq!(lines[2], ["recipe", "500", "MiB", "200.0", "s", "0.50", "2.00", "ok"]);
        assert_eq!(lines[4].last_chunk().unwrap(), &["3.0", "s", "out", "of", "memory"]);
        assert!(!outcome().is_well());
        assert_eq!(outcome().peak_of(Arm::Recipe), Some(Bytes::mib(500)));
        assert_eq!(outcome().peak_of(Arm::Lowmem), None);
    }

    #[test]
    fn markdown_has_a_row_a_run_and_json_says_the_same() {
        let markdown = outcome().markdown();
        assert_eq!(markdown.lines().count(), 2 + 4);
        assert!(markdown.lines().all(|line| line.matches('|').count() == 9), "{markdown}");
        let json: serde_json::Value = serde_json::from_str(&outcome().json()).unwrap();
        assert_eq!(json["runs"][1]["wall_vs_plain"], 2.0);
        assert_eq!(json["runs"][2]["budget_bytes"], 512 << 20);
        assert_eq!(json["runs"][3]["peak_vs_plain"], serde_json::Value::Null);
        assert_eq!(json["runs"][3]["out_of_memory"], true);
    }
}
