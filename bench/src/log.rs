//! What Plimsoll itself says about a build: figures from its newest event log.
//!
//! Read as loose JSON on purpose: the benchmark shares no code with what it measures.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Figures of one build, by Plimsoll's own account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    /// The budget, averaged over time (it moves under `auto`).
    pub(crate) budget_bytes: u64,
    /// The peak of its own summary.
    pub(crate) peak_bytes: u64,
    /// Units that registered.
    pub(crate) units: u64,
    /// How often a unit was suspended.
    pub(crate) suspended: u64,
    /// How often it killed one to run it again.
    pub(crate) killed: u64,
    /// How often somebody else killed one.
    pub(crate) lost: u64,
    /// Units above the budget by themselves.
    pub(crate) lone: u64,
    /// Processor time thrown away by kills.
    pub(crate) lost_cpu_ms: u64,
    /// Mean of admitted memory / budget while units wait for memory, a processor being free, in per cent.
    pub(crate) admitted_pct: Option<f64>,
    /// The share of the time in which they did.
    #[serde(default)]
    pub(crate) short_pct: Option<f64>,
    /// Processor time of the governor.
    pub(crate) governor_cpu_ms: u64,
    /// Units in flight (running, waiting, stopped) at most.
    pub(crate) most_in_flight: u64,
    /// What was held at each sample, by milliseconds since the Unix epoch.
    #[serde(skip)]
    pub(crate) used: Vec<(u64, u64)>,
}

/// The figures of the newest log below a home folder that is not older than `since`.
pub(crate) fn newest(home: &Path, since: SystemTime) -> Option<Figures> {
    let mut logs = Vec::new();
    collect(home, &mut logs);
    logs.retain(|(changed, _)| *changed >= since);
    logs.sort();
    let (_, path) = logs.pop()?;
    let lines = BufReader::new(fs::File::open(path).ok()?).lines().map_while(Result::ok);
    Some(figures(lines))
}

fn collect(dir: &Path, logs: &mut Vec<(SystemTime, PathBuf)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, logs);
        } else if is_log(&path)
            && let Ok(changed) = entry.metadata().and_then(|it| it.modified())
        {
            logs.push((changed, path));
        }
    }
}

fn is_log(path: &Path) -> bool {
    let Ok(file) = fs::File::open(path) else { return false };
    let mut first = String::new();
    // A database is not text; then this is an error, and not a log.
    BufReader::new(file).read_line(&mut first).is_ok() && first.contains("\"plimsoll_log\"")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes and milliseconds of a build are far below 2^52"
)]
fn figures(lines: impl Iterator<Item = String>) -> Figures {
    let mut figures = Figures::default();
    let (mut budget_time, mut time, mut admitted_time, mut short_time) = (0.0, 0.0, 0.0, 0.0);
    let mut last: Option<(u64, u64, u64, bool)> = None;
    let mut began = 0;
    for record in lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok()) {
        let number = |name: &str| record.get(name).and_then(Value::as_u64).unwrap_or(0);
        match record.get("event").and_then(Value::as_str) {
            None => {
                figures.budget_bytes = number("budget");
                began = number("started_unix_ms");
            }
            Some("registered") => figures.units += 1,
            Some("suspended") => figures.suspended += 1,
            Some("lost") => figures.lost += 1,
            Some("lone") => figures.lone += 1,
            Some("killed") => {
                figures.killed += 1;
                figures.lost_cpu_ms += number("lost_cpu");
            }
            Some("sample") => {
                let now = number("t");
                figures.used.push((began + now, number("used")));
                if let Some((then, budget, admitted, short)) = last {
                    let span = now.saturating_sub(then) as f64;
                    time += span;
                    budget_time += span * budget as f64;
                    if short && budget > 0 {
                        short_time += span;
                        admitted_time += span * admitted as f64 / budget as f64;
                    }
                }
                let short = record.get("short").and_then(Value::as_bool).unwrap_or(false);
                last = Some((now, number("budget"), number("admitted"), short));
                let in_flight = number("running") + number("waiting") + number("stopped");
                figures.most_in_flight = figures.most_in_flight.max(in_flight);
            }
            Some("done") => {
                figures.peak_bytes = number("peak");
                figures.governor_cpu_ms = number("governor_cpu");
            }
            Some(_) => {}
        }
    }
    if time > 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mean of byte counts"
        )]
        {
            figures.budget_bytes = (budget_time / time) as u64;
        }
    }
    figures.admitted_pct = (short_time > 0.0).then(|| 100.0 * admitted_time / short_time);
    figures.short_pct = (time > 0.0).then(|| 100.0 * short_time / time);
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_from_events_and_unknown_ones_are_skipped() {
        let log = r#"{"plimsoll_log":1,"budget":1000,"started_unix_ms":7000}
{"t":0,"event":"registered","unit":1}
{"t":0,"event":"sample","used":5,"budget":1000,"admitted":800,"running":2,"waiting":1,"stopped":0,"short":true,"units":[]}
{"t":50,"event":"suspended","unit":1,"cause":"pressure","holds":9}
{"t":60,"event":"killed","unit":1,"cause":"pressure","freed":9,"lost_cpu":70,"link_only":false}
{"t":70,"event":"something-new"}
{"t":100,"event":"sample","used":5,"budget":1000,"admitted":100,"running":1,"waiting":0,"stopped":0,"units":[]}
{"t":200,"event":"sample","used":5,"budget":1000,"admitted":100,"running":1,"waiting":0,"stopped":0,"units":[]}
{"t":200,"event":"done","exit":0,"wall":200,"peak":900,"governor_cpu":3}"#;
        let got = figures(log.lines().map(str::to_owned));
        let expect = Figures {
            budget_bytes: 1000,
            peak_bytes: 900,
            units: 1,
            suspended: 1,
            killed: 1,
            lost_cpu_ms: 70,
            admitted_pct: Some(80.0),
            short_pct: Some(50.0),
            governor_cpu_ms: 3,
            most_in_flight: 3,
            used: vec![(7000, 5), (7100, 5), (7200, 5)],
            ..Figures::default()
        };
        assert_eq!(got, expect);
    }
}
