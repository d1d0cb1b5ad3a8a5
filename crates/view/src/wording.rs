//! How units, counts and decisions are said to a person.

use plimsoll_core::event::Event;
use plimsoll_core::forecast::ForecastSource;
use plimsoll_core::schedule::StopReason;
use plimsoll_core::{Bytes, Millis};

use crate::state::{BuildState, Unit};

/// A link that waited less than this was not held back: so long a question to the governor may take.
const HELD: Millis = Millis(100);

/// How a compiler or linker was lost, by the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// SIGKILL: the kernel, systemd-oomd.
    Killed,
    /// SIGTERM: earlyoom, a CI.
    Ended,
    /// SIGABRT: nobody's but its own, as memory had run out.
    NoMemory,
}

impl Loss {
    pub(crate) fn of(signal: i32) -> Self {
        match signal {
            6 => Self::NoMemory,
            15 => Self::Ended,
            _ => Self::Killed,
        }
    }

    /// The unit was lost last in this way.
    pub(crate) fn is_of(unit: &Unit, loss: Self) -> bool {
        unit.lost.map(Self::of) == Some(loss)
    }
}

/// Memory and budget in one unit, which is the budget's: `1.21 of 1.56 GiB`, `80 of 700 MiB`.
pub(crate) fn amounts(used: Bytes, budget: Bytes) -> String {
    if budget == Bytes::MAX {
        used.to_string()
    } else if budget >= Bytes::gib(1) {
        format!("{:.2} of {budget}", used.as_mib() / 1024.0)
    } else {
        format!("{:.0} of {:.0} MiB", used.as_mib(), budget.as_mib())
    }
}

/// The budget at the moment of the build's peak, and the peak's share of it; `None` where there is no budget.
pub(crate) fn peak_share(state: &BuildState) -> Option<(Bytes, String)> {
    let budget = state.budget_at_peak();
    (budget < Bytes::MAX).then(|| (budget, percent(state.peak().share_of(budget))))
}

/// `1 unit`, `2 units`.
#[must_use]
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// A unit's title without its version: `serde`, `app (test)`. What build scripts do is said in the words of Cargo's
/// progress bar: `zstd-sys (build)` is one that runs, `zstd-sys (build.rs)` one that is compiled.
pub(crate) fn short(title: &str) -> String {
    if let Some(name) = title.strip_suffix(" (build script run)") {
        return short(name) + " (build)";
    }
    if let Some(name) = title.strip_suffix(" (build script)") {
        return short(name) + " (build.rs)";
    }
    let words = title.split(' ').enumerate();
    let words = words.filter(|(at, word)| *at != 1 || version_in(word).is_none());
    words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}

/// The version in a unit's title: `1.0.228`.
pub(crate) fn version(title: &str) -> Option<&str> {
    title.split(' ').nth(1).and_then(version_in)
}

fn version_in(word: &str) -> Option<&str> {
    word.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The first `most` names, and how many more there are: `a, b, c and 4 more`.
#[must_use]
pub fn names(names: &[String], most: usize) -> String {
    let shown = names.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A share in per cent, without digits that nobody needs: `97%`, `1.2%`. Only what is whole is `100%`:
/// 99.8% is still within the budget, and 100.2% is not.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 10.0 {
        format!("{percent:.1}%")
    } else if percent <= 100.0 {
        format!("{:.0}%", percent.floor())
    } else {
        format!("{:.0}%", percent.ceil())
    }
}

/// Where a forecast came from, in a word.
pub(crate) fn source(source: ForecastSource) -> &'static str {
    match source {
        ForecastSource::History => "history",
        ForecastSource::RelatedCrate => "related",
        ForecastSource::Cold => "cold",
    }
}

fn why(cause: StopReason) -> &'static str {
    match cause {
        StopReason::Pressure => "memory was about to exceed the budget",
        StopReason::NoRoom => "the budget had no room for it yet",
        StopReason::TooLarge => "it alone needs more than the machine has",
        StopReason::Ending => "the build was ending",
        StopReason::Paused => "you paused the build in `cargo plimsoll top`",
    }
}

/// Why a unit does not run, in so few words that they fit into a table.
pub(crate) fn briefly(cause: StopReason) -> &'static str {
    match cause {
        StopReason::Pressure => "budget full",
        StopReason::NoRoom => "no room yet",
        StopReason::TooLarge => "too large",
        StopReason::Ending => "build ends",
        StopReason::Paused => "by you",
    }
}

/// What a decision was and why, about the unit called `title`; `None` for what is no decision.
pub(crate) fn decision(event: &Event, title: &str) -> Option<String> {
    Some(match event {
        Event::Suspended { cause, holds, .. } => {
            format!("paused {title} at {holds}: {}", why(*cause))
        }
        Event::PagedOut { holds, .. } => format!("paged out {title} at {holds}"),
        Event::Resumed { .. } => format!("resumed {title}"),
        Event::LinkAdmitted { waited, .. } if *waited >= HELD => {
            format!("started the linker of {title} after it waited {waited}")
        }
        Event::Killed { cause, freed, lost_cpu, link_only, .. } => format!(
            "killed {}{title} at {freed} to run it again later, {lost_cpu} of CPU time lost: {}",
            if *link_only { "the linker of " } else { "" },
            why(*cause)
        ),
        Event::Lost { signal, link_only, .. } => {
            let what = if *link_only { format!("the linker of {title}") } else { title.to_owned() };
            match Loss::of(*signal) {
                Loss::NoMemory => {
                    format!("{what} got no memory (signal {signal}); it runs again")
                }
                Loss::Ended => {
                    format!("another program terminated {what} (signal {signal}); it runs again")
                }
                Loss::Killed => {
                    format!(
                        "another program or the kernel killed {what} (signal {signal}); it runs again"
                    )
                }
            }
        }
        Event::Lone { needs, budget, rest, programs, .. }
            if Bytes::ZERO < *budget && needs <= budget =>
        {
            format!(
                "{title} runs alone: it needs {needs}, the build's other processes hold {rest}{}, and the memory \
                 budget is {budget}",
                self::programs(programs)
            )
        }
        Event::Lone { needs, budget, .. } => {
            // Older logs do not say which budget that was.
            let budget = match *budget {
                Bytes::ZERO => String::new(),
                budget => format!(", and the memory budget is {budget}"),
            };
            format!("{title} runs alone: it needs {}{budget}", at_least(*needs))
        }
        Event::Refused { needs, budget, .. } => {
            format!(
                "refused {title}: it needs {}, and the memory budget is {budget}",
                at_least(*needs)
            )
        }
        Event::Slimmed { changes, .. } => {
            format!("compiled {title} with other settings, so that it needs less: {changes}")
        }
        Event::Left { .. } => format!("{title} was not started: the build had failed"),
        Event::Finished { ok: false, .. } => format!("{title} failed"),
        Event::Budget { budget } => format!("the memory budget changed to {budget}"),
        Event::StageEnded { stage, of, name, peak, wall } => {
            format!("stage {stage} of {of} ended ({name}): peak memory {peak}, {wall}")
        }
        Event::Notice { text } | Event::Unlogged { text } => text.clone(),
        _ => return None,
    })
}

/// What some programs hold: ` (sleep 300 MiB, cargo 14 MiB)`.
pub(crate) fn programs(programs: &[(String, Bytes)]) -> String {
    let told: Vec<String> = programs.iter().map(|(name, held)| format!("{name} {held}")).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
}

/// A need that may be unknown.
pub(crate) fn at_least(needs: Bytes) -> String {
    if needs == Bytes::ZERO { "an unknown amount".to_owned() } else { needs.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_but_tell_targets_apart() {
        assert_eq!(short("serde v1.0.228"), "serde");
        assert_eq!(short("app v0.1.0 (bin v8)"), "app (bin v8)");
        assert_eq!(short("v8 v130.0.1 (build script)"), "v8 (build.rs)");
        assert_eq!(short("v8 v130.0.1 (build script run)"), "v8 (build)");
        assert_eq!(short("v8"), "v8");
        assert_eq!(short("app vendored"), "app vendored");
        let all = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(
            (names(&all, 3), names(&all, 1)),
            ("a, b, c".to_owned(), "a and 2 more".to_owned())
        );
        let shares = [0.0123, 0.974, 0.998, 1.0, 1.002].map(percent);
        assert_eq!(shares, ["1.2%", "97%", "99%", "100%", "101%"]);
    }
}
