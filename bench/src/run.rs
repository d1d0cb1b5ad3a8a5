//! `run`: arms side by side in one run, interleaved, kept, resumed.

use anyhow::{Result, bail};
use plimsoll_rig::report::{Report, machine};

use crate::arms::{self, Arm};
use crate::bench::{Bench, Named, Place};
use crate::budget::Budget;
use crate::read_ahead;
use crate::store::Record;
use crate::table;

/// What is laid side by side.
#[derive(Debug)]
pub(crate) struct Plan {
    /// In this order, in each repetition.
    pub(crate) arms: Vec<Arm>,
    /// For the arms that have a budget.
    pub(crate) budgets: Vec<Budget>,
    /// Around each arm, if any.
    pub(crate) cgroup_limits: Vec<Budget>,
    /// How often.
    pub(crate) repeat: u32,
}

/// Runs a plan: one report for each cgroup limit (one if there is none).
pub(crate) fn run(bench: &Bench, plan: &Plan) -> Result<Vec<Report>> {
    check(plan)?;
    let mut needs = (false, false, false);
    for budget in plan.budgets.iter().chain(&plan.cgroup_limits) {
        let (floor, one, all) = budget.needs();
        needs = (needs.0 || floor, needs.1 || one, needs.2 || all);
    }
    // Inside a cgroup limit, the time of plain cargo without it tells a crawl.
    needs.2 |= !plan.cgroup_limits.is_empty();
    println!("{}: {}", bench.workload.name, machine());
    let peaks = bench.peaks(needs.0, needs.1, needs.2)?;
    let named = |budget: &Budget| {
        Ok::<_, anyhow::Error>(Named { name: budget.to_string(), bytes: budget.resolve(peaks)? })
    };
    let budgets = plan.budgets.iter().map(named).collect::<Result<Vec<_>>>()?;
    let cgroup_limits = plan.cgroup_limits.iter().map(named).collect::<Result<Vec<_>>>()?;
    let cgroup_limits = if cgroup_limits.is_empty() {
        vec![None]
    } else {
        cgroup_limits.into_iter().map(Some).collect()
    };
    cgroup_limits
        .iter()
        .map(|cgroup_limit| inside(bench, plan, &budgets, cgroup_limit.as_ref()))
        .collect()
}

fn check(plan: &Plan) -> Result<()> {
    let outside = plan.arms.iter().any(|arm| matches!(arm, Arm::Plimsoll { outside: true, .. }));
    if outside && plan.cgroup_limits.is_empty() {
        bail!(
            "the arms `cold-outside` and `warm-outside` repeat an arm from inside a cgroup limit; name one with --cgroup-limit"
        );
    }
    if plan.cgroup_limits.is_empty()
        && plan.budgets.is_empty()
        && plan.arms.iter().any(|arm| arm.has_budget())
    {
        bail!(
            "these arms need a budget; name one with --budget (for instance `--budget 1.05x-j1`), or a --cgroup-limit"
        );
    }
    Ok(())
}

fn inside(
    bench: &Bench,
    plan: &Plan,
    budgets: &[Named],
    cgroup_limit: Option<&Named>,
) -> Result<Report> {
    if let Some(cgroup_limit) = cgroup_limit {
        println!("inside {} MiB ({}):", cgroup_limit.bytes >> 20, cgroup_limit.name);
    }
    let mut records: Vec<Record> = Vec::new();
    for repeat in 0..plan.repeat.max(1) {
        for &arm in &plan.arms {
            let budgets: Vec<Option<Named>> = if !arm.has_budget() || budgets.is_empty() {
                vec![None]
            } else {
                budgets.iter().cloned().map(Some).collect()
            };
            for budget in budgets {
                let mut place = Place { budget, cgroup_limit: cgroup_limit.cloned(), repeat };
                if let Arm::Plimsoll { warm, outside: true } = arm {
                    place.budget = Some(taken_inside(bench, warm, &place)?);
                }
                if let (Arm::Mbx { .. }, None, Some(cgroup_limit)) =
                    (arm, &place.budget, cgroup_limit)
                {
                    let bytes = arms::mbx_default_budget(cgroup_limit.bytes);
                    place.budget = Some(Named { name: "its default".to_owned(), bytes });
                }
                records.push(bench.arm(arm, &place)?);
            }
        }
    }
    // Inside a cgroup limit most plain builds end early: there the measure is the build without one.
    let outside = match cgroup_limit {
        Some(_) => bench.store.get(&bench.key(Arm::Plain(bench.jobs), &Place::default())?),
        None => None,
    };
    report(bench, plan, cgroup_limit, &records, outside.as_ref())
}

/// The budget that the arm inside the cgroup limit took: by name, or, under `auto`, what it followed on average.
fn taken_inside(bench: &Bench, warm: bool, place: &Place) -> Result<Named> {
    let record = bench.arm(Arm::Plimsoll { warm, outside: false }, place)?;
    match (record.budget_bytes, &record.plimsoll) {
        (Some(bytes), _) => Ok(Named { name: "as inside".to_owned(), bytes }),
        (None, Some(own)) if own.budget_bytes > 0 => Ok(Named {
            name: "as inside".to_owned(),
            bytes: own.budget_bytes.div_ceil(1 << 20) << 20,
        }),
        _ => bail!(
            "the arm inside the cgroup limit left no event log, so that its budget is not known"
        ),
    }
}

fn report(
    bench: &Bench,
    plan: &Plan,
    cgroup_limit: Option<&Named>,
    records: &[Record],
    outside: Option<&Record>,
) -> Result<Report> {
    let join = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(",");
    let mut command = format!(
        "run --workload {} --arms {} {}",
        bench.workload.name,
        join(&mut plan.arms.iter().map(Arm::to_string)),
        bench.sizes(),
    );
    if !plan.budgets.is_empty() {
        command += &format!(" --budget {}", join(&mut plan.budgets.iter().map(Budget::to_string)));
    }
    if let Some(cgroup_limit) = cgroup_limit {
        command += &format!(" --cgroup-limit {}", cgroup_limit.name);
    }
    if plan.repeat > 1 {
        command += &format!(" --repeat {}", plan.repeat);
    }
    if bench.swap {
        command += " --swap";
    }
    if let Some(read_ahead) = &bench.read_ahead {
        command += &format!(" --read-ahead {}", read_ahead.kib());
    }
    if !bench.extra.is_empty() {
        command += &format!(" -- {}", bench.extra.join(" "));
    }
    let mut title = bench.workload.name.clone();
    for extra in &bench.extra {
        title += &format!(" {extra}");
    }
    if !plan.budgets.is_empty() {
        title += &format!(" at {}", join(&mut plan.budgets.iter().map(Budget::to_string)));
    }
    if let Some(cgroup_limit) = cgroup_limit {
        title += &format!(
            " inside a cgroup limit of {}{}",
            cgroup_limit.name,
            if bench.swap { " with swap" } else { "" }
        );
    }
    if let Some(processors) = bench.plimsoll.as_ref().and_then(|it| it.processors) {
        title += &format!(", planned for {processors} processors");
    }
    if let Some(read_ahead) = &bench.read_ahead {
        title += &format!(", the disk reading {} KiB ahead", read_ahead.kib());
    }
    let mut commits: Vec<_> = records.iter().map(|record| record.commit.as_str()).collect();
    commits.sort_unstable();
    commits.dedup();
    let samplers = records.iter().map(|it| it.sampler.as_str()).next().unwrap_or("");
    let cgroup_budget = cgroup_limit.map_or(String::new(), |cgroup_limit| {
        let ahead =
            read_ahead::now(&bench.state).map(|kib| format!("disk read-ahead {kib} KiB · "));
        format!("cgroup limit {} MiB · {}", cgroup_limit.bytes >> 20, ahead.unwrap_or_default())
    });
    let body = format!(
        "`plimsoll-bench {command}`\n\n{cgroup_budget}commit {} · {} · measured by {samplers}\n\n{}",
        commits.join(", "),
        machine(),
        table::arms(records, outside),
    );
    let ok = records
        .iter()
        .filter(|it| it.plimsoll.is_some() || it.programs.is_some())
        .all(|it| it.exit == Some(0));
    let arms = records.iter().map(Record::to_publish).collect::<Result<Vec<_>, _>>()?;
    let json = serde_json::json!({ "command": command, "machine": machine(), "arms": arms });
    Ok(Report { title, body, json, ok })
}
