//! Results for people: Markdown tables, and their place in `RESULTS.md`.

use crate::budget::mib;
use crate::store::{Outcome, Record};

/// The last column: what Plimsoll says of itself.
const OWN: &str = "Plimsoll: peak (against the sampler's), paused / killed / lost, CPU lost, admitted while units wait for memory (share of the time), governor";

/// A run in one line, while it goes on.
pub(crate) fn one_line(record: &Record) -> String {
    format!(
        "{}: {} in {:.1} s, peak {:.0} MiB{}{}",
        record.arm,
        outcome(record),
        record.wall_s,
        mib(record.peak_bytes),
        record.budget_bytes.map_or(String::new(), |budget| format!(" of {:.0}", mib(budget))),
        record
            .psi_full_pct
            .filter(|pct| *pct >= 1.0)
            .map_or(String::new(), |pct| format!(", stalled {pct:.0}%")),
    )
}

/// A table with one row for each arm and budget; repetitions are folded into a median (time) and the worst (peak, kills).
/// Times are also given relative to `base`, or else to the first arm.
pub(crate) fn arms(records: &[Record], base: Option<&Record>) -> String {
    let mut groups: Vec<Vec<&Record>> = Vec::new();
    for record in records {
        let same = |it: &Record| {
            (&it.arm, &it.budget, &it.cgroup_limit)
                == (&record.arm, &record.budget, &record.cgroup_limit)
        };
        match groups.iter_mut().find(|group| group.first().is_some_and(|it| same(it))) {
            Some(group) => group.push(record),
            None => groups.push(vec![record]),
        }
    }
    let base = match base {
        Some(base) => (format!("{} without the cgroup limit", base.arm), base.wall_s),
        None => groups.first().map_or((String::new(), f64::NAN), |group| {
            let name = group.first().map_or(String::new(), |it| it.arm.clone());
            (name, median(group.iter().map(|it| it.wall_s)))
        }),
    };
    let mut rows = vec![
        format!(
            "| arm | budget | wall time | x {} | CPU | peak | of budget | OOM kills | PSI full | result | {OWN} |",
            base.0
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    rows.extend(groups.iter().map(|group| row(group, base.1)));
    rows.join("\n") + "\n"
}

fn row(group: &[&Record], base: f64) -> String {
    let Some(first) = group.first() else { return String::new() };
    let wall = median(group.iter().map(|it| it.wall_s));
    let cpu = median(group.iter().filter_map(|it| it.cpu_s));
    let peak = group.iter().map(|it| it.peak_bytes).max().unwrap_or(0);
    let budget = match (&first.budget, first.budget_bytes, &first.plimsoll) {
        (Some(name), Some(bytes), _) => format!("{:.0} MiB ({name})", mib(bytes)),
        (_, _, Some(own)) => format!("{:.0} MiB (auto)", mib(own.budget_bytes)),
        _ => String::new(),
    };
    let budget_bytes = first
        .budget_bytes
        .or(first.plimsoll.as_ref().map(|own| own.budget_bytes))
        .filter(|it| *it > 0);
    let kills: Option<u64> = group.iter().map(|it| it.oom_kills).sum();
    let psi = group
        .iter()
        .filter_map(|it| it.psi_full_pct)
        .fold(None, |worst: Option<f64>, it| Some(worst.map_or(it, |worst| worst.max(it))));
    let ends: Vec<_> = group.iter().map(|it| outcome(it)).collect();
    let ends = if ends.iter().all(|it| Some(it) == ends.first()) {
        format!(
            "{}{}",
            outcome(first),
            if group.len() > 1 { format!(" x {}", group.len()) } else { String::new() }
        )
    } else {
        ends.join(", ")
    };
    let own = first.plimsoll.as_ref().map_or(String::new(), |own| {
        format!(
            "{:.0} MiB ({:+.1}%), {} / {} / {}, {:.1}%, {}, {:.2}% of a core",
            mib(own.peak_bytes),
            100.0 * (mib(own.peak_bytes) / mib(first.peak_bytes).max(0.001) - 1.0),
            own.suspended,
            own.killed,
            own.lost,
            100.0 * seconds(own.lost_cpu_ms) / first.cpu_s.unwrap_or(f64::NAN),
            own.admitted_pct.map_or("-".to_owned(), |pct| {
                format!("{pct:.0}% ({:.0}%)", own.short_pct.unwrap_or(f64::NAN))
            }),
            100.0 * seconds(own.governor_cpu_ms) / first.wall_s.max(0.001),
        )
    });
    let of_line = budget_bytes
        .map_or(String::new(), |budget| format!("{:.1}%", 100.0 * mib(peak) / mib(budget)));
    let cells = [
        first.arm.clone(),
        budget,
        format!("{wall:.1} s"),
        format!("{:.2}", wall / base.max(0.001)),
        if cpu.is_nan() { String::new() } else { format!("{cpu:.1} s") },
        format!("{:.0} MiB", mib(peak)),
        of_line,
        kills.map_or("?".to_owned(), |kills| kills.to_string()),
        psi.map_or("?".to_owned(), |pct| format!("{pct:.1}%")),
        ends,
        own,
    ];
    format!("| {} |", cells.join(" | "))
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

fn outcome(record: &Record) -> String {
    match record.outcome {
        Outcome::Ok => "ok".to_owned(),
        Outcome::Failed => format!("failed ({})", record.exit.unwrap_or(0)),
        Outcome::Died => format!("died ({} OOM kills)", record.oom_kills.unwrap_or(0)),
        Outcome::Crawled => "crawled (stopped)".to_owned(),
    }
}

/// The middle of some numbers; not a number if there are none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert!((median([4.0, 1.0, 3.0, 2.0].into_iter()) - 2.5).abs() < 1e-9);
        assert!(median(std::iter::empty()).is_nan());
    }
}
