//! `chaos`: a build during which a random live compiler or linker of it is killed every few seconds, as an OOM killer
//! would. It must end well, and plain cargo must then find everything fresh.

use std::time::Duration;

use anyhow::Result;
use plimsoll_rig::folders::empty;
use plimsoll_rig::freshness::Freshness;
use plimsoll_rig::launch::end_one;
use plimsoll_rig::random::Random;
use plimsoll_rig::report::{Report, commit, machine};
use plimsoll_rig::sampler::Scope;
use plimsoll_rig::{programs, tree};
use serde_json::json;

use crate::bench::Bench;
use crate::budget::Budget;
use crate::{log, switch};

/// Kills one of a build's own compilers or linkers whenever it is time.
#[derive(Debug)]
pub(crate) struct Killer {
    every: Duration,
    next: Duration,
    random: Random,
    /// Kills that are still to come, at most.
    left: usize,
    /// What was hit, and when.
    pub(crate) hits: Vec<(&'static str, f64)>,
}

impl Killer {
    /// Waits `every` seconds before the first kill, and between two; kills `kills` times at most.
    pub(crate) fn new(every: f64, seed: u64, kills: Option<usize>) -> Self {
        let every = Duration::from_secs_f64(every.max(0.05));
        Self {
            every,
            next: every,
            left: kills.unwrap_or(usize::MAX),
            random: Random::new(seed),
            hits: Vec::new(),
        }
    }

    /// Called at every sample. Without a victim it looks again at the next.
    pub(crate) fn tick(&mut self, scope: &Scope, now: Duration) {
        if now < self.next || self.left == 0 {
            return;
        }
        let victims: Vec<_> = scope
            .processes()
            .into_iter()
            .filter_map(|pid| Some((pid, tree::compiler_or_linker(pid)?)))
            .collect();
        let Some(&(pid, what)) = victims.get(self.random.below(victims.len())) else { return };
        if end_one(scope, pid) {
            self.hits.push((what, now.as_secs_f64()));
            self.next = now + self.every;
            self.left -= 1;
        }
    }
}

/// The build, and the look afterwards.
pub(crate) fn chaos(
    bench: &Bench,
    budget: &Budget,
    every: f64,
    seed: u64,
    kills: Option<usize>,
) -> Result<Report> {
    let (floor, one, all) = budget.needs();
    let bytes = budget.resolve(bench.peaks(floor, one, all)?)?;
    let home = bench.state.join("homes").join("chaos");
    empty(&home)?;
    bench.workload.clean()?;
    let build = bench.plimsoll()?.build(&bench.workload, &home, Some(bytes), bench.jobs);
    let mut killer = Killer::new(every, seed, kills);
    let since = std::time::SystemTime::now();
    let (measured, log_file) =
        bench.once(&build, "chaos", Some(&mut |scope, now| killer.tick(scope, now)))?;
    let own = log::newest(&home, since);
    let hit = |what: &str| killer.hits.iter().filter(|(it, _)| *it == what).count();
    println!(
        "  {} kills in {:.1} s; its output is in {}",
        killer.hits.len(),
        measured.wall.as_secs_f64(),
        log_file.display()
    );
    let fresh = if measured.exit == Some(0) {
        switch::freshness(bench, &programs::plain(&bench.workload, bench.jobs))?
    } else {
        Freshness::default()
    };
    let ok = measured.exit == Some(0) && fresh.is_fresh();
    let mut command = format!(
        "chaos --workload {} {} --budget {budget} --every {every} --seed {seed}",
        bench.workload.name,
        bench.sizes()
    );
    if let Some(kills) = kills {
        command.push_str(&format!(" --kills {kills}"));
    }
    let body = format!(
        "`plimsoll-bench {command}`\n\ncommit {} · {}\n\n\
         | wall time | exit | rustc killed | linkers killed | retried, by its log | plain cargo afterwards |\n|---|---|---|---|---|---|\n\
         | {:.1} s | {} | {} | {} | {} | {} fresh, {} rebuilt {} |\n",
        commit(),
        machine(),
        measured.wall.as_secs_f64(),
        measured.exit.map_or("stopped".to_owned(), |exit| exit.to_string()),
        hit("rustc"),
        hit("linker"),
        own.as_ref().map_or("?".to_owned(), |own| own.lost.to_string()),
        fresh.fresh,
        fresh.rebuilt,
        fresh.reasons.join("; "),
    );
    let json = json!({
        "command": command, "commit": commit(), "machine": machine(), "exit": measured.exit,
        "wall_s": measured.wall.as_secs_f64(), "kills": killer.hits, "plimsoll": own, "afterwards": fresh,
    });
    Ok(Report { title: format!("Chaos on {}", bench.workload.name), body, json, ok })
}
