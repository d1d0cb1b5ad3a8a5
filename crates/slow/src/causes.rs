//! What made a recorded build slow, with numbers. Reads nothing.
//!
//! A cause is named where it is worth the reading: each has a threshold with a because. What they cost may overlap:
//! a build that is built anew also waits for the budget while it is.

use plimsoll_core::invocation::UnitKind;
use plimsoll_core::unit::INCREMENTAL;
use plimsoll_core::{Bytes, Millis};
use plimsoll_view::percent;
use serde::Serialize;

use super::past::{Past, Unit};
use super::rebuilt::{Group, Rebuilt, Why};

/// The part of a build's processor time that must have been spent on something to be worth a word: less is not what
/// a person waits for.
const WORTH: f64 = 0.1;

/// The part of the time that must have been lost to the budget: two samples of a build of 20 s.
const SHORT: f64 = 0.05;

/// The part of the time in which all jobs were taken while processors idled.
const AT_CEILING: f64 = 0.3;

/// The part of the time in which one unit runs and nothing else: from here on it is what ends the build.
const ALONE: f64 = 0.25;

/// A single unit or link that takes less than this is no cause.
const LONG: Millis = Millis(2_000);

/// The part of the time that one link may take unnoticed.
const LINK: f64 = 0.15;

/// The part of the time in which everything stood still from which a build thrashes: as the budget has it.
const STALLED: f64 = 0.1;

/// The part of the processors that its units could have used below which somebody else had them, or they waited for
/// the disk. Because a compiler computes nearly all the time that it is given.
const GIVEN: f64 = 0.5;

/// Names that are told.
const NAMED: usize = 4;

/// Something that made the build slow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// A stable word for scripts.
    pub(crate) topic: &'static str,
    /// What was so, with its number.
    pub(crate) what: String,
    /// Why that takes time.
    pub(crate) why: String,
    /// What to do about it.
    pub(crate) advice: String,
    /// About how much of the wall time it took, in milliseconds.
    pub(crate) cost_ms: u64,
}

/// All that apply, the dearest first.
pub fn find(past: &Past, rebuilt: &Rebuilt) -> Vec<Cause> {
    let mut found: Vec<Cause> =
        rebuilt.groups.iter().filter_map(|(why, group)| anew(past, rebuilt, why, group)).collect();
    found.extend(not_incremental(past, rebuilt));
    found.extend(few_jobs(past));
    found.extend(budget(past));
    found.extend(oversized(past));
    found.extend(link(past));
    found.extend(thrashing(past));
    found.extend(others(past));
    found.sort_by_key(|cause| std::cmp::Reverse(cause.cost_ms));
    found
}

/// A part of the processor time as a part of the wall time.
fn of_cgroup(past: &Past, cpu: Millis) -> u64 {
    (past.wall.0 as f64 * share_of(cpu, past.cpu())) as u64
}

fn share_of(part: Millis, whole: Millis) -> f64 {
    part.0 as f64 / whole.0.max(1) as f64
}

/// Names, the first of them, and how many more.
fn names(all: &[String]) -> String {
    plimsoll_view::names(all, NAMED)
}

fn anew(past: &Past, rebuilt: &Rebuilt, why: &Why, group: &Group) -> Option<Cause> {
    let share = share_of(group.cpu, past.cpu());
    if share < WORTH {
        return None;
    }
    let count = format!("{} of {} units", group.titles.len(), rebuilt.units);
    let (topic, reason, why, advice) = match why {
        Why::New | Why::Edited => return None,
        Why::Flags => (
            "flags",
            "the compiler's flags changed (RUSTFLAGS, or `rustflags` in Cargo's configuration)".to_owned(),
            "Cargo rebuilds everything for each set of flags, including build scripts and procedural macros",
            "set the flags in `.cargo/config.toml` and not in a variable, so that every tool and editor uses the same; or give each a target directory of its own (CARGO_TARGET_DIR)",
        ),
        Why::Compiler => (
            "compiler",
            "the compiler changed, or a setting of the profile (panic, overflow-checks, strip, …)".to_owned(),
            "one compiler or profile cannot use what another one built",
            "name one toolchain in `rust-toolchain.toml`; after an update this happens once, and `cargo plimsoll clean` removes what the old toolchain left",
        ),
        Why::Features => (
            "features",
            "some have other features, so everything that depends on them is rebuilt".to_owned(),
            "Cargo unites the features of all packages of a build, so `-p one` and the whole workspace may need different builds",
            "build the same packages each time, or unite the features in one package that all others depend on (cargo-hakari)",
        ),
        Why::Profile => (
            "profile",
            match &group.asked {
                Some((then, now)) => format!("by another profile or command (`{then}` then, `{now}` now)"),
                None => "by another profile or command".to_owned(),
            },
            "each profile has its own artifacts, and so do check and build",
            "use one profile for what you do often; `cargo build` cannot use what `cargo check` made",
        ),
        Why::Version => (
            "versions",
            "their packages have other versions".to_owned(),
            "a new version is compiled once, together with everything that depends on it",
            "`cargo update -p NAME` changes less at once than `cargo update`",
        ),
        Why::Lost => (
            "lost",
            match past.header.target_was_empty {
                Some(true) => "the same units were built before, but the target directory was empty (cleaned, or a different one)".to_owned(),
                _ => "the same units were built before, but were no longer in the target directory (cleaned, or a different one)".to_owned(),
            },
            "nothing about them changed",
            "keep the target directory: `cargo plimsoll clean` removes only what no build can use again; in CI, cache it by the lock file's hash",
        ),
    };
    Some(Cause {
        topic,
        what: format!(
            "{count} were rebuilt and took {} of {} of CPU time: {reason}. They are {}",
            group.cpu,
            past.cpu(),
            names(&group.titles)
        ),
        why: why.to_owned(),
        advice: advice.to_owned(),
        cost_ms: of_cgroup(past, group.cpu),
    })
}

fn not_incremental(past: &Past, rebuilt: &Rebuilt) -> Option<Cause> {
    let is_one = |unit: &&Unit| {
        let made = unit.made.as_ref();
        let kind = matches!(unit.kind, UnitKind::Lib | UnitKind::Bin | UnitKind::Test);
        kind && made
            .is_some_and(|it| it.local && it.how.contains("-O0") && !it.how.contains(INCREMENTAL))
    };
    // Only what was there before could have been reused.
    rebuilt.groups.get(&Why::Edited)?;
    let units: Vec<&Unit> = past.own().filter(is_one).collect();
    let cpu: Millis = units.iter().map(|unit| unit.cpu).sum();
    let titles: Vec<String> = units.iter().map(|unit| unit.title.clone()).collect();
    (share_of(cpu, past.cpu()) >= WORTH).then(|| Cause {
        topic: "incremental",
        what: format!(
            "{} units of your own were compiled as a whole and took {cpu} of {} of CPU time: {}",
            units.len(),
            past.cpu(),
            names(&titles)
        ),
        why: "incremental compilation is off (CARGO_INCREMENTAL=0, `build.incremental`, the profile, or Cargo's default in CI since 1.99), so one changed line recompiles its whole crate".to_owned(),
        advice: "unset CARGO_INCREMENTAL where you edit; `cargo plimsoll doctor` says what switches it off".to_owned(),
        cost_ms: of_cgroup(past, cpu),
    })
}

fn few_jobs(past: &Past) -> Option<Cause> {
    let (jobs, processors) = (past.header.jobs, past.processors());
    let time = past.with_at_least(jobs as usize);
    if jobs == 0 || jobs >= processors || past.share(time) < AT_CEILING {
        return None;
    }
    let idle = 1.0 - f64::from(jobs) / f64::from(processors);
    Some(Cause {
        topic: "jobs",
        what: format!(
            "the build could use only {jobs} of {processors} processors, and all {jobs} were busy for {time} ({} of the time)",
            percent(past.share(time))
        ),
        why: "`jobs` is an upper limit, so the other processors got no work".to_owned(),
        advice: "remove --jobs, `build.jobs` and CARGO_BUILD_JOBS: Plimsoll runs as much as fits into memory and processors".to_owned(),
        cost_ms: (time.0 as f64 * idle) as u64,
    })
}

/// A size as `--memory` takes it, rounded up.
fn memory(bytes: Bytes) -> String {
    const STEP: u64 = 64;
    format!("{}MiB", (bytes.0 >> 20).div_ceil(STEP) * STEP)
}

fn budget(past: &Past) -> Option<Cause> {
    let stopped: Millis = past.own().map(|unit| unit.stopped).sum();
    let lost = share_of(past.lost, past.cpu());
    if past.share(past.short) < SHORT && lost < SHORT {
        return None;
    }
    let lone: Vec<String> =
        past.own().filter(|unit| unit.is_lone).map(|unit| unit.title.clone()).collect();
    let mut what = if past.short > Millis::ZERO {
        format!(
            "the memory budget of {} held the build back for {} ({} of the time): a unit waited while a processor was free",
            past.header.budget,
            past.short,
            percent(past.share(past.short))
        )
    } else {
        format!("with the memory budget of {}, work was done twice", past.header.budget)
    };
    if past.kills > 0 {
        what.push_str(&format!(
            "; {} were killed and ran again, {} of CPU time was lost ({})",
            past.kills,
            past.lost,
            percent(lost)
        ));
    }
    if stopped > Millis::ZERO {
        what.push_str(&format!("; units were paused for {stopped} in total"));
    }
    if !lone.is_empty() {
        what.push_str(&format!(
            "; these exceed the budget by themselves, so they ran alone: {}",
            names(&lone)
        ));
    }
    let wanted = past.wanted.max(past.peak);
    let advice = if wanted > past.header.budget {
        format!(
            "with a budget of about {wanted}, by the forecasts of that time, no unit would have waited: --memory {}; or use settings that need less: cargo plimsoll init",
            memory(wanted)
        )
    } else {
        "the forecasts were too high; this build is recorded, so the next forecasts are better"
            .to_owned()
    };
    Some(Cause {
        topic: "budget",
        what,
        why: "a build that stays within its memory budget waits where it would otherwise be killed"
            .to_owned(),
        advice,
        cost_ms: past.short.0 + of_cgroup(past, past.lost),
    })
}

fn oversized(past: &Past) -> Option<Cause> {
    let most = past.own().max_by_key(|unit| unit.alone)?;
    if past.share(most.alone) < ALONE || most.alone < LONG || past.header.jobs < 2 {
        return None;
    }
    let Unit { title, alone, cpu, wall, peak, .. } = most;
    let how = most.made.as_ref().map(|it| it.how.as_str()).unwrap_or_default();
    let advice = if how.contains("lto") {
        "use thin LTO and not fat LTO for builds that you do not ship: cargo plimsoll init --profile NAME"
    } else if how.contains("cgu=1 ") || how.ends_with("cgu=1") {
        "more codegen units let it use more threads: `codegen-units = 16` (cargo plimsoll init --lowmem)"
    } else {
        "split it, switch some of its features off, or let it start earlier by removing dependencies (cargo build --timings shows the chain)"
    };
    Some(Cause {
        topic: "alone",
        what: format!(
            "{title} ran alone for {alone} ({} of the time); it took {wall} and {cpu} of CPU time, and its peak memory was {peak}{}",
            percent(past.share(*alone)),
            if how.is_empty() { String::new() } else { format!(" ({how})") }
        ),
        why: if most.is_lone {
            "it exceeds the memory budget by itself, so nothing else may run".to_owned()
        } else {
            "nothing else was left to do, so more jobs, processors or memory do not help".to_owned()
        },
        advice: advice.to_owned(),
        cost_ms: alone.0,
    })
}

fn link(past: &Past) -> Option<Cause> {
    let all: Millis = past.own().map(|unit| unit.link).sum();
    let longest = past.own().max_by_key(|unit| unit.link)?;
    let is_long = |time: Millis| past.share(time) >= LINK && time >= LONG;
    // Many links beside each other count once.
    if !is_long(longest.link) && !is_long(Millis(all.0 / u64::from(past.processors()))) {
        return None;
    }
    let links = past.own().filter(|unit| unit.link > Millis::ZERO).count();
    Some(Cause {
        topic: "link",
        what: format!(
            "{links} links took {all} in total; the longest, of {}, took {} ({} of the time)",
            longest.title,
            longest.link,
            percent(past.share(longest.link))
        ),
        why: "a linker reads the objects and debug info of all dependencies each time, even after a small change".to_owned(),
        advice: "use a faster linker (`cargo plimsoll doctor` says which one you use), less debug info of dependencies or `split-debuginfo` (cargo plimsoll init), or fewer test programs".to_owned(),
        cost_ms: longest.link.0,
    })
}

fn thrashing(past: &Past) -> Option<Cause> {
    let share = share_of(past.stalled, past.sampled);
    (share >= STALLED).then(|| Cause {
        topic: "thrashing",
        what: format!("everything stood still for {} ({} of the time), because pages of files that were dropped from memory had to be read again", past.stalled, percent(share)),
        why: "programs held so much memory that little was left for the files that compilers and linkers read".to_owned(),
        advice: "set a smaller memory budget, which leaves more to files (--memory auto learns it); check the disk's read-ahead with `cargo plimsoll doctor`; or use zram".to_owned(),
        cost_ms: past.stalled.0,
    })
}

fn others(past: &Past) -> Option<Cause> {
    let processors = past.processors();
    let could = past.at_once.iter().map(|(units, time)| {
        time.0 * u64::try_from(*units).unwrap_or(u64::MAX).min(u64::from(processors))
    });
    let could = Millis(could.sum());
    let share = share_of(past.cpu(), could);
    // What thrashes waits, too: that cause says it better.
    let stalls = share_of(past.stalled, past.sampled) >= STALLED;
    if share >= GIVEN || stalls || could < LONG {
        return None;
    }
    let busy = past.wall - past.at_once.get(&0).copied().unwrap_or_default();
    Some(Cause {
        topic: "others",
        what: format!(
            "the units that ran could have used {could} of CPU time, and got {} ({})",
            past.cpu(),
            percent(share)
        ),
        why: "something else used the processors (another build, an editor, another virtual machine), or compilers waited for a slow disk".to_owned(),
        advice: "`cargo plimsoll enable` shares the processors between builds and prefers the one that you wait for; `cargo plimsoll doctor` checks the rest".to_owned(),
        cost_ms: (busy.0 as f64 * (1.0 - share)) as u64,
    })
}

#[cfg(test)]
#[path = "causes_tests.rs"]
mod tests;
