//! `artifacts`: the same bytes as plain cargo's. Builds plain, plain again (the control: what differs there is not
//! deterministic by itself) and with Plimsoll, in the same target path, and compares.

use std::time::SystemTime;

use anyhow::{Result, bail};
use plimsoll_rig::artifacts::{Manifest, differing, manifest};
use plimsoll_rig::folders::empty;
use plimsoll_rig::launch::{Build, stderr_of};
use plimsoll_rig::programs::plain;
use plimsoll_rig::report::{Report, commit, machine};
use serde_json::json;

use crate::bench::Bench;
use crate::budget::Budget;
use crate::chaos::Killer;
use crate::log;

/// The three builds and the comparison.
pub(crate) fn artifacts(bench: &Bench, budget: &Budget, kill_every: Option<f64>) -> Result<Report> {
    let (floor, one, all) = budget.needs();
    let bytes = budget.resolve(bench.peaks(floor, one, all)?)?;
    let home = bench.state.join("homes").join("artifacts");
    empty(&home)?;
    let plain = plain(&bench.workload, bench.jobs);
    let plimsoll = bench.plimsoll()?.build(&bench.workload, &home, Some(bytes), bench.jobs);
    let first = built(bench, &plain, None)?;
    let control = built(bench, &plain, None)?;
    let since = SystemTime::now();
    let mut killer = kill_every.map(|every| Killer::new(every, 1, None));
    let ours = built(bench, &plimsoll, killer.as_mut())?;
    let own = log::newest(&home, since);
    let unstable = differing(&first, &control);
    let different = differing(&first, &ours);
    let only_ours: Vec<_> = different.iter().filter(|it| !unstable.contains(it)).cloned().collect();
    let retried = own.as_ref().map_or(0, |own| own.killed + own.lost);
    let kill_arg = kill_every.map_or(String::new(), |every| format!(" --kill-every {every}"));
    let command = format!(
        "artifacts --workload {} {} --budget {budget}{kill_arg}",
        bench.workload.name,
        bench.sizes()
    );
    let mut body = format!(
        "`plimsoll-bench {command}`\n\ncommit {} · {}\n\n\
         | artifacts | differ plain against plain (control) | differ plain against plimsoll | of these, not in the control | units retried |\n\
         |---|---|---|---|---|\n| {} | {} | {} | {} | {retried} |\n",
        commit(),
        machine(),
        first.len(),
        unstable.len(),
        different.len(),
        only_ours.len(),
    );
    for path in only_ours.iter().take(20) {
        body += &format!("\n- {path}");
    }
    let json = json!({
        "command": command, "commit": commit(), "machine": machine(), "artifacts": first.len(),
        "control_differs": unstable, "plimsoll_differs": different, "only_plimsoll_differs": only_ours, "plimsoll": own,
    });
    Ok(Report {
        title: format!("Artifacts of {}", bench.workload.name),
        body,
        json,
        ok: only_ours.is_empty(),
    })
}

fn built(bench: &Bench, build: &Build, killer: Option<&mut Killer>) -> Result<Manifest> {
    bench.workload.clean()?;
    let (measured, log) = match killer {
        Some(killer) => {
            bench.once(build, "artifacts", Some(&mut |scope, now| killer.tick(scope, now)))?
        }
        None => bench.once(build, "artifacts", None)?,
    };
    if measured.exit != Some(0) {
        bail!("`{}` failed; its output is in {}", build.display(), stderr_of(&log).display());
    }
    let manifest = manifest(&bench.workload.target)?;
    println!("  {}: {} artifacts", build.display(), manifest.len());
    Ok(manifest)
}
