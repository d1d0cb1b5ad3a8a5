//! Daemons that kill before the kernel does, and when each of them acts.
//!
//! | | acts when no more than this is left | from |
//! |---|---|---|
//! | earlyoom | `-m`, `-M` of the memory (10 %) and `-s`, `-S` of the swap (10 %), if there is any; the memory is the machine's, since its version 1.8 what programs have and could have | earlyoom(1) |
//! | systemd-oomd | what `SwapUsedLimit=` leaves of both (10 %), where there is swap and some slice or service has `ManagedOOMSwap=kill` | oomd.conf(5), systemd.resource-control(5) |
//!
//! Who would have to act already, and runs all the same, is not believed.
//!
//! systemd-oomd's other reason, cgroups that wait for memory for half a minute, is none that a budget could follow: a
//! build that keeps its budget does not wait. What cannot be seen from here, as a daemon outside of our container, is
//! not there.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use plimsoll_core::Bytes;
use plimsoll_core::budget::OomDaemon;

use super::procfs::kilobytes;

/// What both daemons leave to a machine where they are told nothing.
const USUAL: f64 = 0.1;

/// Where systemd-oomd reads its settings first, and where the files are that overrule it in the order of their names;
/// of two with one name the one that stands later here counts (oomd.conf(5)).
const OOMD: &str = "etc/systemd/oomd.conf";
const OOMD_MORE: [&str; 4] = [
    "usr/lib/systemd/oomd.conf.d",
    "usr/local/lib/systemd/oomd.conf.d",
    "run/systemd/oomd.conf.d",
    "etc/systemd/oomd.conf.d",
];

/// Where units are that may hand their cgroups to systemd-oomd, and which of them contain a build.
const UNITS: [&str; 3] = ["usr/lib/systemd", "run/systemd", "etc/systemd"];
const AROUND_BUILDS: [&str; 7] = [
    "-.slice",
    "user.slice",
    "user-.slice",
    "user@.service",
    "app.slice",
    "session.slice",
    "system.slice",
];

/// The daemons of this machine that kill before the kernel does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Killers(Vec<Rule>);

/// When one of them acts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Rule {
    memory: Bound,
    swap: Bound,
    /// It does nothing on a machine without swap.
    wants_swap: bool,
    /// Its memory is what programs have and could have, and not the machine's.
    of_programs: bool,
}

impl Rule {
    /// When it acts where there is so much memory, so much of it for programs, and so much swap.
    fn on(self, memory: Bytes, of_programs: Bytes, swap: Bytes) -> Option<OomDaemon> {
        if self.wants_swap && swap == Bytes::ZERO {
            return None;
        }
        let bound = self.memory.of(memory);
        let share = if self.of_programs { of_programs.share_of(memory) } else { 1.0 };
        Some(OomDaemon { memory: bound.scale(share), swap: self.swap.of(swap) })
    }
}

/// A share of the whole, a size, or the smaller one of both.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bound {
    share: Option<f64>,
    size: Option<Bytes>,
}

impl Bound {
    fn of(self, whole: Bytes) -> Bytes {
        let share = self.share.or(self.size.is_none().then_some(USUAL));
        let share = share.map_or(Bytes::MAX, |share| whole.scale(share));
        share.min(self.size.unwrap_or(Bytes::MAX))
    }
}

impl Killers {
    /// Those that run, in the file system below `root` (`/`, but for tests). Looks at every process's name once.
    #[must_use]
    pub fn find(root: &Path) -> Self {
        let processes = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
        let is_number = |name: &OsStr| name.as_bytes().first().is_some_and(u8::is_ascii_digit);
        let dirs = processes.map(|it| it.path()).filter(|it| it.file_name().is_some_and(is_number));
        let rule = |dir: PathBuf| match fs::read(dir.join("comm")).ok()?.trim_ascii() {
            b"earlyoom" => earlyoom(&fs::read(dir.join("cmdline")).ok()?),
            b"systemd-oomd" => watches_swap(root).then(|| oomd(root)),
            _ => None,
        };
        let meminfo = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
        Self(dirs.filter_map(rule).filter_map(|rule| believable(rule, &meminfo)).collect())
    }

    /// When the first of them acts, on a machine with so much memory, so much of which programs have and could have, and
    /// so much swap.
    #[must_use]
    pub fn on(&self, memory: Bytes, of_programs: Bytes, swap: Bytes) -> Option<OomDaemon> {
        let each = self.0.iter().filter_map(|rule| rule.on(memory, of_programs, swap));
        each.reduce(|one, other| OomDaemon {
            memory: one.memory.max(other.memory),
            swap: one.swap.max(other.swap),
        })
    }
}

/// The rule as it must be, where whoever has it does not act now.
fn believable(rule: Rule, meminfo: &str) -> Option<Rule> {
    let of = |key: &str| {
        let mut lines = meminfo.lines();
        let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        value.map(|value| kilobytes(value.as_bytes())).unwrap_or_default()
    };
    let (available, free) = (of("MemAvailable"), of("SwapFree"));
    let acts = |rule: &Rule| {
        let on = rule.on(of("MemTotal"), available + of("AnonPages"), of("SwapTotal"));
        on.is_some_and(|it| available <= it.memory && free <= it.swap)
    };
    let later = Rule { of_programs: !rule.wants_swap, ..rule };
    [rule, later].into_iter().find(|rule| !acts(rule))
}

/// What earlyoom was told (getopt(3): `-m 10,5`, `-m10`, `-pm 10`); `None` where it only watches. Its second numbers
/// say from where on it does not ask any more.
fn earlyoom(command: &[u8]) -> Option<Rule> {
    /// Its short options that have a value.
    const VALUED: &[u8] = b"msMSNPr";
    let mut rule = Rule::default();
    let mut words = command.split(|byte| *byte == 0).skip(1);
    while let Some(word) = words.next() {
        if word == b"--dryrun" {
            return None;
        }
        let Some(letters) = word.strip_prefix(b"-").filter(|it| !it.starts_with(b"-")) else {
            continue;
        };
        let Some(at) = letters.iter().position(|letter| VALUED.contains(letter)) else { continue };
        let value = match &letters[at + 1..] {
            [] => words.next().unwrap_or_default(),
            joined => joined,
        };
        let number =
            value.split(|byte| *byte == b',').next().and_then(|it| str::from_utf8(it).ok());
        let number: Option<f64> = number.and_then(|it| it.trim().parse().ok());
        let share = number.map(|percent| percent / 100.0);
        let size = number.map(|kib| Bytes::kib(kib as u64));
        match letters[at] {
            b'm' => rule.memory.share = share,
            b'M' => rule.memory.size = size,
            b's' => rule.swap.share = share,
            b'S' => rule.swap.size = size,
            _ => {}
        }
    }
    Some(rule)
}

fn oomd(root: &Path) -> Rule {
    let dirs = OOMD_MORE.iter().filter_map(|dir| fs::read_dir(root.join(dir)).ok());
    let more = dirs.flatten().flatten().map(|entry| (entry.file_name(), entry.path()));
    let more: BTreeMap<OsString, PathBuf> = more.collect();
    let mut left = None;
    for file in [root.join(OOMD)].iter().chain(more.values()) {
        let text = fs::read_to_string(file).unwrap_or_default();
        left = text.lines().filter_map(left_by_oomd).next_back().or(left);
    }
    let bound = Bound { share: left, size: None };
    Rule { memory: bound, swap: bound, wants_swap: true, of_programs: false }
}

/// Whether systemd-oomd is to look at swap for anything that could contain a build.
fn watches_swap(root: &Path) -> bool {
    let says_so = |file: &Path| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.replace(' ', "") == "ManagedOOMSwap=kill")
    };
    let managers =
        UNITS.iter().flat_map(|dir| ["system", "user"].map(|of| root.join(dir).join(of)));
    managers.flat_map(|dir| AROUND_BUILDS.map(|unit| dir.join(unit))).any(|unit| {
        let mut more = unit.clone().into_os_string();
        more.push(".d");
        let more = fs::read_dir(more).into_iter().flatten().flatten();
        says_so(&unit) || more.into_iter().any(|entry| says_so(&entry.path()))
    })
}

/// `SwapUsedLimit=90%` leaves a tenth; ‰ and ‱ are per cent of per cent.
fn left_by_oomd(line: &str) -> Option<f64> {
    let value = line.trim().strip_prefix("SwapUsedLimit")?.trim_start().strip_prefix('=')?.trim();
    let units = [('%', 100.0), ('‰', 1_000.0), ('‱', 10_000.0)];
    units.iter().find_map(|(unit, whole)| {
        let used: f64 = value.strip_suffix(*unit)?.trim_end().parse().ok()?;
        Some(((whole - used) / whole).clamp(0.0, 1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Bytes = Bytes::gib(10);
    const SWAP: Bytes = Bytes::gib(4);

    fn on(command: &str, swap: Bytes) -> Option<OomDaemon> {
        let rule = earlyoom(command.replace(' ', "\0").as_bytes());
        Killers(rule.into_iter().collect()).on(MEMORY, MEMORY, swap)
    }

    fn killer(memory: Bytes, swap: Bytes) -> Option<OomDaemon> {
        Some(OomDaemon { memory, swap })
    }

    #[test]
    fn earlyooms_options_say_when_it_acts() {
        let tenth = MEMORY.scale(0.1);
        for (command, memory, swap) in [
            ("earlyoom", tenth, SWAP.scale(0.1)),
            ("/usr/bin/earlyoom -r 3600", tenth, SWAP.scale(0.1)),
            ("earlyoom -m 20,5 -s 50", MEMORY.scale(0.2), SWAP.scale(0.5)),
            ("earlyoom -gpm5", MEMORY.scale(0.05), SWAP.scale(0.1)),
            ("earlyoom -M 409600,1024 -S 0", Bytes::mib(400), Bytes::ZERO),
            ("earlyoom -m 50 -M 409600", Bytes::mib(400), SWAP.scale(0.1)),
            ("earlyoom -m 1 -M 4096000", MEMORY.scale(0.01), SWAP.scale(0.1)),
            ("earlyoom --prefer -m --avoid x -N -m", tenth, SWAP.scale(0.1)),
        ] {
            assert_eq!(on(command, SWAP), killer(memory, swap), "{command}");
        }
        assert_eq!(
            on("earlyoom", Bytes::ZERO),
            killer(tenth, Bytes::ZERO),
            "memory alone is enough"
        );
        assert_eq!(on("earlyoom --dryrun -m 50", SWAP), None);
    }

    #[test]
    fn daemons_are_found_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let file = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        file("proc/1/comm", "systemd\n");
        file("proc/net/comm", "earlyoom\n");
        assert_eq!(Killers::find(root).on(MEMORY, MEMORY, SWAP), None);
        file("proc/meminfo", "MemTotal: 10485760 kB\nMemAvailable: 9000000 kB\n");
        file("proc/70/comm", "systemd-oomd\n");
        assert_eq!(Killers::find(root).on(MEMORY, MEMORY, SWAP), None, "nobody asked it to");
        file("usr/lib/systemd/system/-.slice.d/10-oomd.conf", "[Slice]\nManagedOOMSwap=kill\n");
        let found = Killers::find(root);
        assert_eq!(found.on(MEMORY, MEMORY, SWAP), killer(MEMORY.scale(0.1), SWAP.scale(0.1)));
        assert_eq!(found.on(MEMORY, MEMORY, Bytes::ZERO), None, "it looks at swap, too");
        file("etc/systemd/oomd.conf", "[OOM]\n#SwapUsedLimit=90%\nSwapUsedLimit = 80 %\n");
        let fifth = killer(MEMORY.scale(0.2), SWAP.scale(0.2));
        assert_eq!(Killers::find(root).on(MEMORY, MEMORY, SWAP), fifth);
        file("usr/lib/systemd/oomd.conf.d/10-defaults.conf", "SwapUsedLimit=60%\n");
        let found = Killers::find(root).on(MEMORY, MEMORY, SWAP);
        assert_eq!(
            found,
            killer(MEMORY.scale(0.4), SWAP.scale(0.4)),
            "what a package adds is stronger"
        );
        file("etc/systemd/oomd.conf.d/10-defaults.conf", "");
        assert_eq!(Killers::find(root).on(MEMORY, MEMORY, SWAP), fifth, "unless it is masked");
        file("usr/lib/systemd/oomd.conf.d/20-other.conf", "SwapUsedLimit=950‰\n");
        file("etc/systemd/oomd.conf.d/15-own.conf", "SwapUsedLimit=20%\n");
        let twentieth = killer(MEMORY.scale(0.05), SWAP.scale(0.05));
        assert_eq!(Killers::find(root).on(MEMORY, MEMORY, SWAP), twentieth);
        // Of two the one that acts first.
        file("proc/71/comm", "earlyoom\n");
        file("proc/71/cmdline", "/usr/bin/earlyoom\x00-m\x0020\x00");
        let both = Killers::find(root).on(MEMORY, MEMORY, SWAP);
        assert_eq!(both, killer(MEMORY.scale(0.2), SWAP.scale(0.1)));
    }

    #[test]
    fn who_would_have_to_act_already_is_not_believed() {
        let earlyoom = Rule::default();
        let meminfo = |available: u64, anonymous: u64, swap_free: u64| {
            format!(
                "MemTotal: 10000 kB\nMemAvailable: {available} kB\nAnonPages: {anonymous} kB\nSwapTotal: 1000 kB\n\
                 SwapFree: {swap_free} kB\n"
            )
        };
        let [all, programs] = [false, true].map(|of_programs| Rule { of_programs, ..earlyoom });
        assert_eq!(believable(earlyoom, &meminfo(2000, 5000, 0)), Some(all));
        assert_eq!(believable(earlyoom, &meminfo(900, 5000, 500)), Some(all), "there is swap");
        // What the kernel and tmpfs hold is not counted by newer ones: a tenth of 5,900 kB.
        assert_eq!(believable(earlyoom, &meminfo(900, 5000, 0)), Some(programs));
        let on = programs.on(Bytes::kib(10_000), Bytes::kib(5_900), Bytes::ZERO).unwrap();
        assert_eq!(on.memory, Bytes::kib(590));
        assert_eq!(believable(earlyoom, &meminfo(500, 5000, 0)), None);
    }
}
