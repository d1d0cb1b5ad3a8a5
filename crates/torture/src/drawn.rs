//! What is done to one build, drawn from the campaign's seed and the build's number. Pure: no process, no file.

use std::fmt;

use plimsoll_rig::random::Random;
use serde::Serialize;

/// What is built, how it is asked for, and how often it is drawn relative to the others.
const BUILDS: [(&str, &[&str], u32); 8] = [
    ("macros", &["build"], 5),
    ("programs", &["test"], 7),
    ("macros", &["check"], 4),
    ("macros", &["test"], 5),
    ("programs", &["build"], 6),
    ("tiny", &["build"], 1),
    ("tiny", &["check"], 1),
    ("native", &["build"], 1),
];

/// Of what a campaign draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything.
    All,
    /// Nothing that takes more than a few seconds.
    Small,
    /// The first two, and each with a blow: for a machine that looks at every change.
    Smoke,
}

impl Extent {
    fn builds(self) -> &'static [(&'static str, &'static [&'static str], u32)] {
        match self {
            Self::All => &BUILDS,
            Self::Small => &BUILDS[..7],
            Self::Smoke => &BUILDS[..2],
        }
    }

    /// How many faults a build gets.
    fn faults(self) -> &'static [u32] {
        match self {
            Self::All | Self::Small => &[0, 1, 1, 1, 2, 2, 3, 5],
            Self::Smoke => &[1, 2, 3],
        }
    }
}

/// Budgets, in per cent of what plain cargo held at its peak: from far below the heaviest unit to far above all.
const BUDGETS: [u32; 8] = [5, 25, 40, 55, 70, 90, 130, 400];

/// Cgroup limits, likewise, on top of [`BESIDE`]: the lowest do not hold the heaviest unit.
const CGROUP_LIMITS: [u32; 6] = [30, 50, 70, 100, 150, 300];

/// What a cgroup limit must leave beside the build's own memory: the compiler's libraries are read from disk again and again
/// otherwise, and a build that crawls is no finding.
pub(crate) const BESIDE: u64 = 300 << 20;

/// Sizes of a small disk in memory, in per cent of the finished target folder.
const DISKS: [u32; 4] = [15, 40, 70, 95];

/// How the build is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Entry {
    /// `cargo plimsoll`, which hosts its own budget.
    Driver,
    /// `cargo plimsoll` on an account that is enabled.
    Joined,
    /// Plain `cargo` on such an account.
    Plain,
}

/// Who is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Whom {
    /// `cargo plimsoll`.
    Driver,
    /// Cargo, or one that it started.
    Cargo,
    /// What stands before rustc, rustdoc, a linker or a test.
    Shim,
    /// A compiler at work on a unit; rustdoc, too.
    Rustc,
    /// A compiler that is only asked something.
    Probe,
    /// `cc`, `ld` and what stands between them, of a unit.
    Linker,
    /// One of the driver's two guards.
    Guard,
    /// A build script, or what it has started.
    Script,
    /// A test, or what it has started.
    Test,
    /// The account's governor or its watchdog.
    Governor,
    /// Something else of the build.
    Other,
    /// The whole process group, as a key on a terminal does.
    Group,
}

impl Whom {
    /// Who there is, by the way in which the build is started; what takes most of its time more than once.
    fn of(entry: Entry) -> &'static [Self] {
        use Whom::{Cargo, Driver, Governor, Guard, Linker, Rustc, Script, Shim};
        match entry {
            Entry::Driver => {
                &[Driver, Cargo, Shim, Rustc, Rustc, Rustc, Linker, Linker, Guard, Script]
            }
            Entry::Joined => &[Driver, Cargo, Shim, Rustc, Rustc, Linker, Guard, Script, Governor],
            Entry::Plain => &[Cargo, Shim, Rustc, Rustc, Linker, Script, Governor, Governor],
        }
    }
}

/// What hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum How {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGSTOP, and SIGCONT after so many milliseconds.
    Stop(u32),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "SIGKILL",
            Self::Term => "SIGTERM",
            Self::Int => "SIGINT",
            Self::Stop(_) => "SIGSTOP, then SIGCONT",
        })
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Driver => "driver",
            Self::Cargo => "Cargo",
            Self::Shim => "shim",
            Self::Rustc => "rustc, rustdoc",
            Self::Probe => "compiler's answer to a question",
            Self::Linker => "linker",
            Self::Guard => "guard",
            Self::Script => "build script",
            Self::Test => "test",
            Self::Governor => "account's governor, watchdog",
            Self::Other => "other",
            Self::Group => "the whole process group",
        })
    }
}

/// One blow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Fault {
    /// When, as a share of the time that plain cargo takes.
    pub(crate) at: f64,
    /// Nobody in particular: any process of the build.
    pub(crate) whom: Option<Whom>,
    /// With what.
    pub(crate) how: How,
    /// Who is killed in the same moment.
    pub(crate) and_kill: Option<Whom>,
}

/// One build of the campaign.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Drawn {
    /// The workload.
    pub(crate) workload: &'static str,
    /// Cargo's subcommand.
    pub(crate) command: &'static [&'static str],
    /// How it is started.
    pub(crate) entry: Entry,
    /// Units at once.
    pub(crate) jobs: u32,
    /// The budget, in per cent of plain cargo's peak; `auto` where there is none.
    pub(crate) budget: Option<u32>,
    /// With the history of an earlier build.
    pub(crate) warm: bool,
    /// A cgroup limit, in per cent of plain cargo's peak, beside [`BESIDE`].
    pub(crate) cgroup_limit: Option<u32>,
    /// Swap is on, until this share of plain cargo's time.
    pub(crate) swap_until: Option<f64>,
    /// The target folder is on a disk of memory of so many per cent of its size.
    pub(crate) disk: Option<u32>,
    /// Plimsoll, not plain cargo, builds what is left to build afterwards.
    pub(crate) again_with_plimsoll: bool,
    /// The faults, in their order.
    pub(crate) faults: Vec<Fault>,
}

impl Drawn {
    /// The `number`th build of a seed.
    pub(crate) fn draw(seed: u64, number: u32, extent: Extent) -> Self {
        let mut random = Random::nth(seed, number);
        let weighed: Vec<_> = extent
            .builds()
            .iter()
            .flat_map(|(workload, command, weight)| {
                std::iter::repeat_n((*workload, *command), usize::try_from(*weight).unwrap_or(1))
            })
            .collect();
        let (workload, command) = random.one_of(&weighed).unwrap_or((BUILDS[0].0, BUILDS[0].1));
        let ways = [Entry::Driver, Entry::Driver, Entry::Driver, Entry::Joined, Entry::Plain];
        let entry = random.one_of(&ways).unwrap_or(Entry::Driver);
        let jobs = random.one_of(&[1, 2, 4, 8]).unwrap_or(2);
        let budget = if random.once_in(5) { None } else { random.one_of(&BUDGETS) };
        let warm = random.once_in(2);
        let cgroup_limit = if random.once_in(4) { random.one_of(&CGROUP_LIMITS) } else { None };
        let swap_until = random.once_in(12).then(|| random.share());
        let disk = if random.once_in(8) { random.one_of(&DISKS) } else { None };
        let again_with_plimsoll = random.once_in(2);
        let count = random.one_of(extent.faults()).unwrap_or(1);
        let mut faults: Vec<Fault> = (0..count).map(|_| Fault::draw(&mut random, entry)).collect();
        faults.sort_by(|one, other| one.at.total_cmp(&other.at));
        Self {
            workload,
            command,
            entry,
            jobs,
            budget,
            warm,
            cgroup_limit,
            swap_until,
            disk,
            again_with_plimsoll,
            faults,
        }
    }
}

impl Fault {
    fn draw(random: &mut Random, entry: Entry) -> Self {
        let at = random.share() * 0.95;
        if random.once_in(10) {
            let how = random.one_of(&[How::Int, How::Int, How::Term]).unwrap_or(How::Int);
            return Self { at, whom: Some(Whom::Group), how, and_kill: None };
        }
        let whom = if random.once_in(4) { None } else { random.one_of(Whom::of(entry)) };
        let how = match random.below(6) {
            0..=2 => How::Kill,
            3 | 4 => How::Term,
            // A governor is given up after ten seconds.
            _ if whom == Some(Whom::Governor) => {
                How::Stop(random.one_of(&[300, 4000, 12_000]).unwrap_or(300))
            }
            _ => How::Stop(random.one_of(&[50, 300, 1500, 4000]).unwrap_or(300)),
        };
        // A stopped governor and a killed Cargo: its shims come when nobody is left who has started them.
        let and_kill = if random.once_in(4) { random.one_of(Whom::of(entry)) } else { None };
        Self { at, whom, how, and_kill }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_can_be_drawn_again_without_those_before_it() {
        assert_eq!(Drawn::draw(3, 17, Extent::All), Drawn::draw(3, 17, Extent::All));
        assert_ne!(Drawn::draw(3, 17, Extent::All), Drawn::draw(4, 17, Extent::All));
    }

    #[test]
    fn each_build_of_a_smoke_has_a_blow() {
        assert!((0..50).all(|number| !Drawn::draw(1, number, Extent::Smoke).faults.is_empty()));
    }

    #[test]
    fn a_campaign_has_everything_in_it() {
        let all: Vec<Drawn> = (0..200).map(|number| Drawn::draw(1, number, Extent::All)).collect();
        for entry in [Entry::Driver, Entry::Joined, Entry::Plain] {
            assert!(all.iter().any(|it| it.entry == entry), "{entry:?}");
        }
        for (workload, command, _) in BUILDS {
            assert!(all.iter().any(|it| (it.workload, it.command) == (workload, command)));
        }
        for whom in [Entry::Driver, Entry::Plain].into_iter().flat_map(Whom::of) {
            assert!(
                all.iter().flat_map(|it| &it.faults).any(|it| it.whom == Some(*whom)),
                "{whom:?}"
            );
        }
        let twice =
            |it: &Fault| it.whom == Some(Whom::Governor) && it.and_kill == Some(Whom::Cargo);
        assert!(all.iter().flat_map(|it| &it.faults).any(twice), "two deaths at once");
        assert!(all.iter().any(|it| it.cgroup_limit.is_some() && it.swap_until.is_some()));
        assert!(
            all.iter().any(|it| it.disk.is_some()) && all.iter().any(|it| it.faults.is_empty())
        );
    }
}
