//! The figures of a campaign, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_rig::report::{Report, commit, machine};
use serde::Serialize;
use serde_json::json;

use crate::drawn::{Drawn, Entry};
use crate::faults::Hit;
use crate::plan::Plan;
use crate::surroundings::Means;

/// How one build went.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    /// Its number in the campaign.
    pub(crate) number: u32,
    /// What was done to it.
    pub(crate) drawn: Drawn,
    /// 128 + n for a signal; none where it did not end.
    pub(crate) exit: Option<i32>,
    /// Why it ended so.
    pub(crate) ending: String,
    /// Until its own process ended.
    pub(crate) seconds: f64,
    /// The kernel's kills inside its cgroup limit.
    pub(crate) oom_kills: u64,
    /// The faults that were injected.
    pub(crate) hits: Vec<Hit>,
    /// Blows that found nobody.
    pub(crate) missed: usize,
    /// What is not as promised.
    #[serde(skip)]
    pub(crate) findings: Vec<String>,
}

impl Record {
    /// For the terminal, while it goes on.
    pub(crate) fn one_line(&self) -> String {
        let Drawn {
            workload, command, entry, jobs, budget, cgroup_limit, disk, swap_until, ..
        } = &self.drawn;
        let mut words = format!("{:>4}: {workload} {}", self.number, command.join(" "));
        words += match entry {
            Entry::Driver => "",
            Entry::Joined => ", joined",
            Entry::Plain => ", plain on the account",
        };
        words += &format!(", {jobs} jobs");
        let amounts = [("budget", budget), ("limit", cgroup_limit), ("disk", disk)];
        for (what, amount) in amounts {
            words += &amount.map_or(String::new(), |share| format!(", {what} {share}%"));
        }
        if swap_until.is_some() {
            words += ", swap";
        }
        let hits: Vec<_> =
            self.hits.iter().map(|hit| format!("{} {}", hit.how, hit.what)).collect();
        let hits = if hits.is_empty() { "no fault".to_owned() } else { hits.join("; ") };
        format!("{words} [{hits}] -> {} in {:.1} s", self.ending, self.seconds)
    }
}

/// The section.
pub(crate) fn report(plan: &Plan, means: Means, records: &[Record], took: Duration) -> Report {
    let mut command = format!("cargo torture --builds {}{}", plan.builds, plan.words());
    if let Some(most) = plan.at_most {
        command += &format!(" --minutes {}", most.as_secs() / 60);
    }
    if let Some(only) = plan.only {
        command += &format!(" --only {only}");
    }
    let count = |is: &dyn Fn(&Record) -> bool| records.iter().filter(|it| is(it)).count();
    let mut body = format!(
        "`{command}`\n\ncommit {} · {}\n\n\
         | builds | by `cargo plimsoll` / joined to an account / plain on an account | below plain Cargo's peak | in a cgroup limit (OOM kills) | with swap | on a small disk | undisturbed | time | findings |\n\
         |---|---|---|---|---|---|---|---|---|\n\
         | {} | {} / {} / {} | {} | {} ({}) | {} | {} | {} | {:.0} min | {} |\n",
        commit(),
        machine(),
        records.len(),
        count(&|it| it.drawn.entry == Entry::Driver),
        count(&|it| it.drawn.entry == Entry::Joined),
        count(&|it| it.drawn.entry == Entry::Plain),
        count(&|it| it.drawn.budget.is_some_and(|budget| budget < 100)),
        count(&|it| it.drawn.cgroup_limit.is_some() && means.cgroups),
        records.iter().map(|it| it.oom_kills).sum::<u64>(),
        count(&|it| it.drawn.swap_until.is_some() && means.swap),
        count(&|it| it.drawn.disk.is_some() && means.disks),
        count(&|it| it.hits.is_empty()),
        took.as_secs_f64() / 60.0,
        count(&|it| !it.findings.is_empty()),
    );
    let mut hits: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for hit in records.iter().flat_map(|it| &it.hits) {
        *hits.entry(hit.whom.to_string()).or_default().entry(hit.how.to_string()).or_default() += 1;
    }
    let kinds = ["SIGKILL", "SIGTERM", "SIGINT", "SIGSTOP, then SIGCONT"];
    body += &format!("\n| hit | {} |\n|---|---|---|---|---|\n", kinds.join(" | "));
    for (whom, by) in &hits {
        let cells = kinds.map(|kind| by.get(kind).map_or(String::new(), usize::to_string));
        body += &format!("| {whom} | {} |\n", cells.join(" | "));
    }
    let mut endings: BTreeMap<&str, usize> = BTreeMap::new();
    for record in records {
        *endings.entry(&record.ending).or_default() += 1;
    }
    body += "\n| exit status | builds |\n|---|---|\n";
    for (ending, count) in endings {
        body += &format!("| {ending} | {count} |\n");
    }
    for record in records.iter().filter(|it| !it.findings.is_empty()) {
        body += &format!("\n- `{}`: {}", plan.again(record.number), kinds_of(&record.findings));
    }
    let found: BTreeMap<u32, String> = records
        .iter()
        .filter(|it| !it.findings.is_empty())
        .map(|it| (it.number, kinds_of(&it.findings)))
        .collect();
    let ok = found.is_empty();
    let json = json!({
        "command": command, "commit": commit(), "machine": machine(),
        "builds": records, "findings": found,
    });
    Report { title: "Torture".to_owned(), body, json, ok }
}

/// Findings without the paths of this machine.
fn kinds_of(findings: &[String]) -> String {
    let kinds: Vec<_> = findings
        .iter()
        .map(|finding| match finding.split_once('/') {
            Some((before, path)) => {
                let name = path.rsplit('/').next().unwrap_or_default();
                format!("{}…/{name}", before)
            }
            None => finding.clone(),
        })
        .collect();
    kinds.join("; ")
}
