//! Where the budget is, from what the machine and the cgroups above the build say.
//!
//! A limit above us (the machine, a container, a cgroup limit) holds three things: what the build holds, what
//! others hold that cannot be dropped, and what can be dropped but is needed all the time: the
//! compiler's own code (340 MiB of libraries), hot metadata, the linker's inputs. A build that eats
//! into the third part is not killed, it crawls: measured, memory PSI `full` at 89 % and three times
//! the time. So the budget under a limit is
//!
//! ```text
//! limit - what others hold that cannot be dropped - reserve
//! ```
//!
//! and the build's budget is the smallest of these, or the named one where that is smaller still. The
//! reserve starts from the limit's size and learns: stalls and refaults raise it, calm lowers it.
//!
//! Swap is not part of any budget: it is where a build ends up that had to exceed one. What of the
//! build is swapped out still counts as the build's.
//!
//! This module reads nothing; readings come from the host crate.

use std::collections::VecDeque;
use std::fmt;

use crate::measure::{Bytes, Millis};
use crate::settings::{Memory, SMALLEST_BUDGET};

/// What the machine and every cgroup above the build say at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryReading {
    /// The machine.
    pub machine: MachineMemory,
    /// The cgroups that contain the build and have a limit.
    pub cgroups: Vec<CgroupMemory>,
    /// How much time was lost for want of memory, if the kernel says.
    pub stall: MemoryStall,
}

/// The machine's memory (`/proc/meminfo`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineMemory {
    /// All of it.
    pub total: Bytes,
    /// What can be had without swapping, by the kernel's estimate: free, and file-backed pages and
    /// slabs that can be dropped. Kernel memory that cannot be dropped is not in it.
    pub available: Bytes,
    /// Swap that is free.
    pub swap_free: Bytes,
    /// Who kills before the kernel does, if anybody.
    pub killer: Option<OomDaemon>,
}

impl MachineMemory {
    /// What has to stay available so that nobody kills before the kernel does; zero while enough of the swap is free.
    fn kept_from_killer(&self) -> Bytes {
        let acts = |killer: &OomDaemon| self.swap_free <= killer.swap + OOM_DAEMON_MARGIN;
        let killer = self.killer.filter(acts);
        killer.map_or(Bytes::ZERO, |killer| killer.memory + OOM_DAEMON_MARGIN)
    }

    /// The swap that can be filled without memory's shortage alone being enough for a killer.
    fn swap_to_use(&self) -> Bytes {
        let kept = self.killer.map_or(Bytes::ZERO, |killer| killer.swap + OOM_DAEMON_MARGIN);
        self.swap_free - kept
    }
}

/// A daemon that kills before the kernel does (earlyoom, systemd-oomd): as soon as no more than both of these is left.
/// It takes the largest process or cgroup, which need not be ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomDaemon {
    /// Of what is available of the machine's memory.
    pub memory: Bytes,
    /// Of what is free of its swap; zero where there is no swap.
    pub swap: Bytes,
}

/// One cgroup above the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupMemory {
    /// Its limit: the smaller of the hard one and, where there is one, the throttling one.
    pub limit: Bytes,
    /// What it holds that cannot be dropped: anonymous, shared and kernel memory of everybody in it.
    pub held: Bytes,
    /// Swap that its members may still use, before the machine's own bound.
    pub swap_free: Bytes,
}

/// Totals since some moment of the past, only differences mean something; zero where unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStall {
    /// Microseconds in which everybody waited for memory at once (PSI `full`).
    pub full_us: u64,
    /// File-backed pages that had to be read again soon after they were dropped.
    pub refaulted: Bytes,
}

/// What the build itself holds at the moment of a [`MemoryReading`], tmpfs pages included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldMemory {
    /// Anonymous, shared, swapped and tmpfs pages.
    pub memory: Bytes,
    /// The swapped part of them.
    pub swapped: Bytes,
}

impl HeldMemory {
    fn resident(self) -> Bytes {
        self.memory - self.swapped
    }
}

/// The reserve under a limit, before it has learned anything: an eighth of the limit, at least this.
/// Because the compiler and its standard libraries map 340 MiB, of which about half is touched again
/// all the time; with less than this a build at its cgroup limit thrashes on rustc's own code.
pub const SMALLEST_RESERVE: Bytes = Bytes::mib(192);
/// At most this under a cgroup's limit. Because a cgroup limit of the heaviest unit plus 400 MiB must do, and
/// about 80 MiB beside that unit are cargo's, the shims' and the kernel's.
pub const LARGEST_CGROUP_RESERVE: Bytes = Bytes::mib(320);
/// At most this for the machine. Because there a larger reserve costs little and also serves the
/// person's other programs.
pub const LARGEST_MACHINE_RESERVE: Bytes = Bytes::gib(1);
/// So far the budget stays from where a killer would act. Because such a daemon looks up to ten times a
/// second, and the budget is read four times: others and the build may take so much between two looks.
pub const OOM_DAEMON_MARGIN: Bytes = Bytes::mib(128);
/// The share of the reserve that even a unit which is too large for everything else must leave to files.
pub const FILES_AT_LEAST: f64 = 0.25;
/// What the reserve may learn on top. Because file-backed pages that a build needs at one time are
/// bounded: the compiler's 340 MiB and the inputs of the links in flight.
pub const LARGEST_LEARNED: Bytes = Bytes::mib(512);
/// One step up. Because a step that is too small lets the build crawl for as many windows more.
pub const LEARN_STEP: Bytes = Bytes::mib(48);
/// One step down, a third of the step up: forgetting costs a crawl, remembering costs parallelism.
pub const FORGET_STEP: Bytes = Bytes::mib(16);
/// How long stalls are summed before they are judged. Because a link that reads its inputs for the
/// first time stalls for a second without any harm.
pub const STALL_WINDOW: Millis = Millis(2_000);
/// Calm for so long lowers the reserve by one step. Because the phases of a build (an oversized unit's code
/// generation, a storm of links) last about that long.
pub const CALM_WINDOW: Millis = Millis(20_000);
/// The share of a window lost to stalls from which a build thrashes: half of the 10 % that nobody
/// would accept.
pub const THRASHING_SHARE: f64 = 0.05;
/// The share of the budget that a build holds from which a lower budget would take something from it: where it
/// holds less, what is missing for files is not what the budget left to it.
pub const PRESSED_SHARE: f64 = 0.8;
/// Pages read again per second from which a build thrashes, where PSI is not there or does not say
/// so: a disk that gives 200 MiB/s then spends an eighth of its time on what had been in memory.
pub const THRASHING_REFAULTS: Bytes = Bytes::mib(24);
/// A budget that is about to rise waits for so long. Because what others gave back for a moment (a
/// test that restarts, two readings that do not fit together) is taken again at once.
pub const RISE_WINDOW: Millis = Millis(1_000);
/// Smaller moves of the budget are not made. Because processes and cgroups are read one after the
/// other, and in between a busy build grows by about as much.
pub const SMALLEST_CHANGE: Bytes = Bytes::mib(16);

/// The part of memory under a limit that is left to file-backed pages; learns from stalls.
#[derive(Clone, Debug, Default)]
pub struct FileReserve {
    /// On top of what the limit's size suggests. At most [`LARGEST_LEARNED`].
    learned: Bytes,
    /// When the current window began, and the totals then.
    window: Option<(Millis, MemoryStall)>,
    /// The highest share of its budget that the build held in the current window.
    pressed: f64,
    /// Since when nothing stalled.
    calm_since: Millis,
    /// The end of the last window that was lost to stalls.
    thrashed: Option<Millis>,
    /// What is to be kept free of the machine at least; [`Memory::Auto`] asks for nothing.
    asked: Memory,
}

impl FileReserve {
    /// One that keeps at least so much of the machine's memory free.
    #[must_use]
    pub fn asking(asked: Memory) -> Self {
        Self { asked, ..Self::default() }
    }

    /// The reserve under a cgroup's `limit`; never more than half of it.
    #[must_use]
    pub fn under_cgroup(&self, limit: Bytes) -> Bytes {
        self.under(limit, limit.scale(0.125), LARGEST_CGROUP_RESERVE)
    }

    /// The reserve of a machine with so much memory: what was asked for, at least; else never more than half of it.
    #[must_use]
    pub fn of_machine(&self, total: Bytes) -> Bytes {
        let asked = match self.asked {
            Memory::Auto => Bytes::ZERO,
            Memory::Size(size) => size,
            Memory::Percent(share) => total.scale(f64::from(share) / 100.0),
        };
        self.under(total, total.scale(1.0 / 16.0), LARGEST_MACHINE_RESERVE).max(asked)
    }

    /// The reserve over a `line` to which a cgroup limit is built: of a limit so much higher [`Self::under_cgroup`] leaves
    /// the budget at least. (Under it an eighth of the limit is kept, which is a seventh of what is left.)
    #[must_use]
    pub fn over_budget(&self, budget: Bytes) -> Bytes {
        budget.scale(1.0 / 7.0).clamp(SMALLEST_RESERVE, LARGEST_CGROUP_RESERVE) + self.learned
    }

    fn under(&self, limit: Bytes, share: Bytes, most: Bytes) -> Bytes {
        (share.clamp(SMALLEST_RESERVE, most) + self.learned).min(limit.scale(0.5))
    }

    /// Looks at how much time and how many pages were lost by `now`. Only `full` stalls and refaults
    /// count: a single task that waits for its first read harms nobody. The build holds a `share` of its budget:
    /// what stalls far below it is not mended by a lower one, which would only let less run at once.
    pub fn observe(&mut self, now: Millis, stall: MemoryStall, share: f64) {
        self.pressed = self.pressed.max(share);
        let Some((since, before)) = self.window else {
            self.window = Some((now, stall));
            self.calm_since = now;
            return;
        };
        let span = now - since;
        if span < STALL_WINDOW {
            return;
        }
        self.window = Some((now, stall));
        let pressed = std::mem::replace(&mut self.pressed, share) >= PRESSED_SHARE;
        let lost = stall.full_us.saturating_sub(before.full_us) as f64 / (span.0 as f64 * 1000.0);
        let refaults = (stall.refaulted - before.refaulted).scale(1000.0 / span.0 as f64);
        if lost >= THRASHING_SHARE || refaults >= THRASHING_REFAULTS {
            let step = if pressed { LEARN_STEP } else { Bytes::ZERO };
            self.learned = (self.learned + step).min(LARGEST_LEARNED);
            (self.calm_since, self.thrashed) = (now, Some(now));
        } else if now - self.calm_since >= CALM_WINDOW {
            self.learned = self.learned - FORGET_STEP;
            self.calm_since = now;
        }
    }
}

/// What one limit above the build comes to: the machine's memory, or a cgroup's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// It is the machine's memory.
    pub is_machine: bool,
    /// The limit.
    pub limit: Bytes,
    /// What others than the build hold of it.
    pub others: Bytes,
    /// What is kept for files and for everybody else.
    pub kept: Bytes,
}

/// How an automatic budget follows from it, as one sentence without its end.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_machine, limit, others, kept } = self;
        let of = if *is_machine { "the machine has" } else { "the container's limit is" };
        write!(f, "{of} {limit}, less ")?;
        if *others > Bytes::ZERO {
            write!(f, "{others} held by other processes and ")?;
        }
        write!(f, "{kept} kept free to cache the files that compilers read")
    }
}

impl Bound {
    /// What it leaves to the build.
    #[must_use]
    pub fn left(&self) -> Bytes {
        self.limit - self.others - self.kept
    }

    /// How that follows, as one sentence without its end.
    #[must_use]
    pub fn explained(&self) -> String {
        let Self { is_machine, limit, others, kept } = self;
        let of = if *is_machine { "the machine has" } else { "the container's limit is" };
        let others = match *others {
            Bytes::ZERO => String::new(),
            others => format!(" {others} held by other processes and"),
        };
        format!(
            "{of} {limit}, less{others} {kept} kept free to cache the files that compilers read"
        )
    }
}

/// The limit above the build that leaves least to it.
///
/// What others take and give back moves what it leaves; what the build itself takes does not.
#[must_use]
pub fn tightest(reading: &MemoryReading, own: HeldMemory, reserve: &FileReserve) -> Bound {
    let total = reading.machine.total;
    let machine = Bound {
        is_machine: true,
        limit: total,
        others: total - (reading.machine.available + own.resident()),
        kept: reserve.of_machine(total).max(reading.machine.kept_from_killer()),
    };
    let of_cgroup = |cgroup: &CgroupMemory| Bound {
        is_machine: false,
        limit: cgroup.limit,
        others: cgroup.held - own.resident(),
        kept: reserve.under_cgroup(cgroup.limit),
    };
    let bounds = reading.cgroups.iter().map(of_cgroup);
    bounds.fold(machine, |least, it| if it.left() < least.left() { it } else { least })
}

/// The budget under everything above the build, before any named one.
#[must_use]
pub fn auto(reading: &MemoryReading, own: HeldMemory, reserve: &FileReserve) -> Bytes {
    tightest(reading, own, reserve).left().max(SMALLEST_BUDGET)
}

/// The memory of the machine or of the tightest cgroup: what a share is a share of.
#[must_use]
pub fn whole(reading: &MemoryReading) -> Bytes {
    reading.cgroups.iter().map(|cgroup| cgroup.limit).fold(reading.machine.total, Bytes::min)
}

/// What the build could hold at the very most before it thrashes: what [`auto`] gives with a quarter of its reserve,
/// and swap. A unit that alone needs more than this cannot run here: with less left for files the machine reads the
/// compiler's own code from disk again and again (measured with 22 MiB left: PSI `full` at 89 %), and then the
/// kernel kills.
#[must_use]
pub fn capacity(reading: &MemoryReading, own: HeldMemory, reserve: &FileReserve) -> Bytes {
    let files = |reserve: Bytes| reserve.scale(FILES_AT_LEAST);
    let of_machine = files(reserve.of_machine(reading.machine.total));
    let of_machine = of_machine.max(reading.machine.kept_from_killer());
    at_most(reading, own, of_machine, |limit| files(reserve.under_cgroup(limit)))
}

/// What everything above leaves to the build, files included: what is beyond that the kernel kills for.
#[must_use]
pub fn left_by_others(reading: &MemoryReading, own: HeldMemory) -> Bytes {
    at_most(reading, own, Bytes::ZERO, |_| Bytes::ZERO)
}

/// What the build could hold at the very most, swap included, where so much is left to files.
fn at_most(
    reading: &MemoryReading,
    own: HeldMemory,
    of_machine: Bytes,
    under_cgroup: impl Fn(Bytes) -> Bytes,
) -> Bytes {
    let machine = (reading.machine.available + own.resident()).min(reading.machine.total)
        - of_machine
        + reading.machine.swap_to_use()
        + own.swapped;
    reading
        .cgroups
        .iter()
        .map(|cgroup| {
            let swap = cgroup.swap_free.min(reading.machine.swap_to_use()) + own.swapped;
            let held = cgroup.held - own.resident();
            cgroup.limit - held - under_cgroup(cgroup.limit) + swap
        })
        .fold(machine, Bytes::min)
}

/// Into how much swap what is stopped may be paged out: not all that is free, because others need some, too, and a
/// full one stops everything.
#[must_use]
pub fn swap_to_fill(reading: &MemoryReading) -> Bytes {
    let free = reading.cgroups.iter().map(|cgroup| cgroup.swap_free);
    let free = free.fold(reading.machine.swap_free, Bytes::min);
    free.scale(0.75).min(reading.machine.swap_to_use())
}

/// One of the last readings.
#[derive(Clone, Copy, Debug)]
struct Recent {
    at: Millis,
    /// What it allowed.
    budget: Bytes,
    /// What the build held in memory.
    held: Bytes,
}

/// The budget of one build, followed over time.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    memory: Memory,
    reserve: FileReserve,
    /// The last readings, oldest first, none older than [`RISE_WINDOW`].
    recent: VecDeque<Recent>,
    current: Option<Bytes>,
    /// The last reading allowed more than what was named.
    by_name: bool,
}

impl MemoryBudget {
    /// The budget that `memory` names.
    #[must_use]
    pub fn new(memory: Memory) -> Self {
        Self {
            memory,
            reserve: FileReserve::default(),
            recent: VecDeque::new(),
            current: None,
            by_name: false,
        }
    }

    /// Keeps at least so much of the machine's memory free for everything else, as the kernel counts what is
    /// available.
    #[must_use]
    pub fn keeping(mut self, reserve: Memory) -> Self {
        self.reserve.asked = reserve;
        self
    }

    /// Whether memory was short for file-backed pages a short while ago: processors that idle then wait for
    /// pages that were dropped, and more work would drop more.
    #[must_use]
    pub fn thrashes(&self, now: Millis) -> bool {
        self.reserve.thrashed.is_some_and(|at| now - at < CALM_WINDOW)
    }

    /// The budget from `now` on. Falls at once, rises when every reading of the last
    /// [`RISE_WINDOW`] allowed it. A named budget is kept below what the machine leaves.
    ///
    /// The `reading` is not younger than `own`: what the build gains in between would look like somebody else's.
    pub fn update(&mut self, now: Millis, reading: &MemoryReading, own: HeldMemory) -> Bytes {
        let share = self.current.map_or(0.0, |budget| own.memory.share_of(budget));
        self.reserve.observe(now, reading.stall, share);
        self.recent.retain(|it| now - it.at <= RISE_WINDOW);
        let allowed = auto(reading, self.charged(own), &self.reserve);
        let wanted = match self.memory {
            Memory::Auto => allowed,
            Memory::Size(size) => size.min(allowed),
            Memory::Percent(share) => {
                whole(reading).scale(f64::from(share) / 100.0).max(SMALLEST_BUDGET).min(allowed)
            }
        };
        self.by_name = wanted < allowed;
        self.recent.push_back(Recent { at: now, budget: wanted, held: own.resident() });
        let lowest = self.recent.iter().map(|it| it.budget).min().unwrap_or(wanted);
        let moved = match self.current {
            Some(current) => {
                let (low, high) = (current.min(lowest), current.max(lowest));
                high - low >= SMALLEST_CHANGE || (lowest == wanted && self.named() == Some(wanted))
            }
            None => true,
        };
        if moved {
            self.current = Some(lowest);
        }
        self.current.unwrap_or(lowest)
    }

    /// What of a reading is the build's: what it holds now, or has held within [`RISE_WINDOW`]. A process that has ended
    /// shows nothing any more while the kernel still takes its pages back, which on a busy machine takes some tenths of a
    /// second: as somebody else's they would take the budget down by as much. The budget does not rise for what had gone at
    /// once, because the reading that saw it there counts for as long.
    fn charged(&self, own: HeldMemory) -> HeldMemory {
        let most = self.recent.iter().map(|it| it.held).fold(own.resident(), Bytes::max);
        HeldMemory { memory: most + own.swapped, ..own }
    }

    /// What the build could hold at the very most ([`capacity`]), by the reading of the last [`Self::update`].
    #[must_use]
    pub fn capacity(&self, reading: &MemoryReading, own: HeldMemory) -> Bytes {
        capacity(reading, self.charged(own), &self.reserve)
    }

    /// Whether the budget stands where a person has put it: then what is swapped out counts, because the promise is
    /// about all that the build holds. Where the machine or a container bounds it, it is about memory.
    #[must_use]
    pub fn is_at_named_size(&self) -> bool {
        self.by_name
    }

    /// The reserve as learned so far.
    #[must_use]
    pub fn reserve(&self) -> &FileReserve {
        &self.reserve
    }

    /// The size that was named, which is reached exactly where the machine allows it.
    fn named(&self) -> Option<Bytes> {
        match self.memory {
            Memory::Size(size) => Some(size),
            Memory::Auto | Memory::Percent(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn machine(total: Bytes, available: Bytes) -> MemoryReading {
        MemoryReading {
            machine: MachineMemory { total, available, ..MachineMemory::default() },
            ..MemoryReading::default()
        }
    }

    fn cgroup(limit: Bytes, held: Bytes) -> MemoryReading {
        let mut reading = machine(Bytes::gib(24), Bytes::gib(20));
        reading.cgroups.push(CgroupMemory { limit, held, swap_free: Bytes::ZERO });
        reading
    }

    fn own(memory: Bytes) -> HeldMemory {
        HeldMemory { memory, swapped: Bytes::ZERO }
    }

    #[test]
    fn a_hard_limit_leaves_its_limit_without_others_and_the_reserve() {
        let reading = cgroup(Bytes::mib(1840), Bytes::mib(540));
        let budget = auto(&reading, own(Bytes::mib(500)), &FileReserve::default());
        assert_eq!(budget, Bytes::mib(1840 - 40 - 230));
    }

    #[test]
    fn a_hard_limit_of_the_floor_and_400_mib_has_room_for_the_floor() {
        for floor in [100, 350, 700, 1400, 3000, 6000, 12_000] {
            let floor = Bytes::mib(floor);
            let budget = auto(
                &cgroup(floor + Bytes::mib(400), Bytes::mib(30)),
                own(Bytes::ZERO),
                &FileReserve::default(),
            );
            assert!(budget >= floor, "{floor}: {budget}");
        }
    }

    #[test]
    fn what_the_build_takes_does_not_move_the_budget() {
        let before =
            auto(&machine(Bytes::gib(8), Bytes::gib(6)), own(Bytes::ZERO), &FileReserve::default());
        let after = auto(
            &machine(Bytes::gib(8), Bytes::gib(4)),
            own(Bytes::gib(2)),
            &FileReserve::default(),
        );
        assert_eq!(before, after);
        assert_eq!(before, Bytes::mib(6 * 1024 - 512));
    }

    #[test]
    fn the_budget_stays_out_of_the_reach_of_who_kills_before_the_kernel_does() {
        let reserve = FileReserve::default();
        let mut reading = machine(Bytes::gib(32), Bytes::gib(20));
        let without = auto(&reading, own(Bytes::ZERO), &reserve);
        assert_eq!(without, Bytes::gib(19));
        // earlyoom's defaults, first without swap.
        let memory = Bytes::mib(3277);
        reading.machine.killer = Some(OomDaemon { memory, swap: Bytes::ZERO });
        let most = Bytes::gib(20) - memory - OOM_DAEMON_MARGIN;
        assert_eq!(auto(&reading, own(Bytes::ZERO), &reserve), most);
        assert_eq!(capacity(&reading, own(Bytes::ZERO), &reserve), most, "not for a giant either");
        // Enough swap is free, but not all of it is to be used.
        reading.machine.swap_free = Bytes::gib(8);
        reading.machine.killer = Some(OomDaemon { memory, swap: Bytes::gib(1) });
        assert_eq!(auto(&reading, own(Bytes::ZERO), &reserve), without);
        let swap = Bytes::gib(7) - OOM_DAEMON_MARGIN;
        let files = Bytes::mib(256);
        let with_swap = Bytes::gib(20) - files + swap;
        assert_eq!(capacity(&reading, own(Bytes::ZERO), &reserve), with_swap);
        assert_eq!(swap_to_fill(&reading), Bytes::gib(6));
        // It is full.
        reading.machine.swap_free = Bytes::gib(1);
        assert_eq!(auto(&reading, own(Bytes::ZERO), &reserve), most);
        assert_eq!(swap_to_fill(&reading), Bytes::ZERO);
        // One that wants less than is kept for files anyhow changes nothing.
        reading.machine.killer = Some(OomDaemon { memory: Bytes::mib(320), swap: Bytes::gib(1) });
        assert_eq!(auto(&reading, own(Bytes::ZERO), &reserve), without);
    }

    #[test]
    fn what_is_swapped_out_does_not_raise_the_budget() {
        let reading = cgroup(Bytes::gib(2), Bytes::mib(1000));
        let all = auto(&reading, own(Bytes::mib(1000)), &FileReserve::default());
        let swapped = HeldMemory { memory: Bytes::mib(1300), swapped: Bytes::mib(300) };
        assert_eq!(auto(&reading, swapped, &FileReserve::default()), all);
    }

    #[test]
    fn the_tightest_cgroup_decides_and_a_share_is_of_it() {
        let mut reading = cgroup(Bytes::gib(4), Bytes::ZERO);
        reading.cgroups.push(CgroupMemory {
            limit: Bytes::gib(2),
            held: Bytes::ZERO,
            swap_free: Bytes::ZERO,
        });
        assert_eq!(
            auto(&reading, HeldMemory::default(), &FileReserve::default()),
            Bytes::mib(2048 - 256)
        );
        assert_eq!(whole(&reading), Bytes::gib(2));
        let mut half = MemoryBudget::new(Memory::Percent(50));
        assert_eq!(half.update(Millis(0), &reading, HeldMemory::default()), Bytes::gib(1));
    }

    #[test]
    fn capacity_counts_swap_and_leaves_a_quarter_of_the_reserve_to_files() {
        let mut reading = cgroup(Bytes::gib(2), Bytes::mib(48));
        reading.machine.swap_free = Bytes::gib(1);
        reading.cgroups[0].swap_free = Bytes::MAX;
        // Of the reserve of 256 MiB a quarter is left to files.
        let all = Bytes::mib(3 * 1024 - 48 - 64);
        assert_eq!(capacity(&reading, HeldMemory::default(), &FileReserve::default()), all);
    }

    #[test]
    fn a_named_budget_is_kept_below_what_the_machine_leaves() {
        let mut budget = MemoryBudget::new(Memory::Size(Bytes::mib(1600)));
        assert_eq!(
            budget.update(Millis(0), &machine(Bytes::gib(8), Bytes::gib(6)), HeldMemory::default()),
            Bytes::mib(1600)
        );
        let tight = machine(Bytes::gib(8), Bytes::gib(1));
        assert_eq!(budget.update(Millis(250), &tight, HeldMemory::default()), Bytes::mib(512));
    }

    #[test]
    fn what_is_to_be_kept_free_of_the_machine_is_not_the_builds() {
        let reading = machine(Bytes::gib(8), Bytes::gib(6));
        let budget = |memory, reserve: &str| {
            let mut budget = MemoryBudget::new(memory).keeping(reserve.parse().unwrap());
            budget.update(Millis(0), &reading, HeldMemory::default())
        };
        assert_eq!(budget(Memory::Auto, "2G"), Bytes::gib(4));
        assert_eq!(budget(Memory::Auto, "25%"), Bytes::gib(4));
        assert_eq!(budget(Memory::Auto, "64M"), Bytes::mib(6 * 1024 - 512), "less than by itself");
        assert_eq!(budget(Memory::Auto, "100%"), SMALLEST_BUDGET);
        assert_eq!(budget(Memory::Size(Bytes::gib(5)), "2G"), Bytes::gib(4));
    }

    #[test]
    fn a_budget_falls_at_once_and_rises_after_a_while() {
        let (roomy, tight) =
            (machine(Bytes::gib(8), Bytes::gib(6)), machine(Bytes::gib(8), Bytes::gib(3)));
        let mut budget = MemoryBudget::new(Memory::Auto);
        let high = budget.update(Millis(0), &roomy, HeldMemory::default());
        let low = budget.update(Millis(250), &tight, HeldMemory::default());
        assert_eq!(high - low, Bytes::gib(3));
        assert_eq!(budget.update(Millis(500), &roomy, HeldMemory::default()), low);
        assert_eq!(budget.update(Millis(1_250), &roomy, HeldMemory::default()), low);
        assert_eq!(budget.update(Millis(1_500), &roomy, HeldMemory::default()), high);
    }

    #[test]
    fn what_a_process_of_ours_gives_back_page_by_page_is_not_somebody_elses() {
        let mut budget = MemoryBudget::new(Memory::Auto);
        let mut at = |now: u64, held: u64, ours: u64| {
            let reading = cgroup(Bytes::mib(634), Bytes::mib(held));
            let budget_now = budget.update(Millis(now), &reading, own(Bytes::mib(ours)));
            (budget_now.as_mib(), budget.capacity(&reading, own(Bytes::mib(ours))).as_mib())
        };
        let before = (634.0 - 34.0 - 192.0, 634.0 - 34.0 - 48.0);
        assert_eq!(at(0, 384, 350), before);
        // Its process of 300 MiB has ended.
        let (allowed, most) = at(250, 370, 50);
        assert!(allowed == before.0 && most >= before.1, "{allowed} {most}");
        assert_eq!(at(500, 150, 50).0, before.0);
        assert_eq!(at(750, 84, 50).0, before.0);
        // What is still there then is somebody else's, and more of it at once.
        assert_eq!(at(1_250, 184, 50).0, before.0 - 100.0);
        assert_eq!(at(1_500, 284, 50).0, before.0 - 200.0);
    }

    #[test]
    fn the_budget_does_not_rise_with_what_has_just_ended() {
        let mut budget = MemoryBudget::new(Memory::Auto);
        let mut highest = Bytes::ZERO;
        for step in 0..60 {
            let ours = Bytes::mib(if step % 4 == 0 { 350 } else { 50 });
            let reading = cgroup(Bytes::gib(1), ours + Bytes::mib(200));
            highest = highest.max(budget.update(Millis(250 * step), &reading, own(ours)));
        }
        assert_eq!(highest, Bytes::mib(1024 - 200 - 192));
    }

    #[test]
    fn a_named_budget_comes_back_exactly() {
        let mut budget = MemoryBudget::new(Memory::Size(Bytes::mib(1600)));
        let nearly = machine(Bytes::gib(8), Bytes::mib(1590 + 512));
        assert_eq!(budget.update(Millis(0), &nearly, HeldMemory::default()), Bytes::mib(1590));
        let roomy = machine(Bytes::gib(8), Bytes::gib(6));
        budget.update(Millis(1_000), &roomy, HeldMemory::default());
        assert_eq!(budget.update(Millis(2_500), &roomy, HeldMemory::default()), Bytes::mib(1600));
    }

    #[test]
    fn a_build_thrashes_until_a_while_after_its_last_stall() {
        let mut budget = MemoryBudget::new(Memory::Auto);
        let mut reading = MemoryReading::default();
        let mut at = |now: u64, full_us: u64| {
            reading.stall.full_us += full_us;
            budget.update(Millis(now), &reading, HeldMemory::default());
            budget.thrashes(Millis(now))
        };
        assert!(!at(0, 0) && !at(2_000, 50_000), "a first read harms nobody");
        assert!(at(4_000, 200_000) && at(23_000, 0));
        assert!(!at(25_000, 0));
    }

    #[test]
    fn a_reserve_learns_from_stalls_and_slowly_forgets() {
        let mut reserve = FileReserve::default();
        let limit = Bytes::gib(2);
        let base = reserve.under_cgroup(limit);
        let mut stall = MemoryStall::default();
        let mut now = Millis::ZERO;
        reserve.observe(now, stall, 1.0);
        for _ in 0..3 {
            now += STALL_WINDOW;
            stall.full_us += 200_000;
            reserve.observe(now, stall, 1.0);
        }
        assert_eq!(reserve.under_cgroup(limit), base + Bytes::mib(3 * 48));
        for _ in 0..9 {
            now += STALL_WINDOW;
            reserve.observe(now, stall, 1.0);
        }
        assert_eq!(reserve.under_cgroup(limit), base + Bytes::mib(3 * 48));
        now += STALL_WINDOW;
        reserve.observe(now, stall, 1.0);
        assert_eq!(reserve.under_cgroup(limit), base + Bytes::mib(3 * 48 - 16));
        now += STALL_WINDOW;
        stall.refaulted += Bytes::mib(100);
        reserve.observe(now, stall, 1.0);
        assert_eq!(reserve.under_cgroup(limit), base + Bytes::mib(4 * 48 - 16));
    }

    #[test]
    fn a_reserve_learns_nothing_where_the_build_is_far_below_its_budget() {
        let mut budget = MemoryBudget::new(Memory::Auto);
        let mut reading = cgroup(Bytes::gib(2), Bytes::mib(300));
        let mut lines = Vec::new();
        for (window, held) in [300, 300, 300, 1700, 1700].into_iter().enumerate() {
            reading.cgroups[0].held = Bytes::mib(held);
            let now = STALL_WINDOW.scale(window as f64);
            lines.push(budget.update(now, &reading, own(Bytes::mib(held))).as_mib());
            assert!(window < 1 || budget.thrashes(now));
            reading.stall.full_us += 400_000;
        }
        assert_eq!(lines, [1792.0, 1792.0, 1792.0, 1744.0, 1696.0]);
    }

    fn readings() -> impl Strategy<Value = (MemoryReading, HeldMemory)> {
        let mib = |most: u64| (0..most).prop_map(Bytes::mib);
        let cgroup = (mib(40_000), mib(40_000), mib(4_000))
            .prop_map(|(limit, held, swap_free)| CgroupMemory { limit, held, swap_free });
        (
            mib(40_000),
            mib(40_000),
            mib(4_000),
            proptest::collection::vec(cgroup, 0..4),
            mib(40_000),
            mib(4_000),
            proptest::option::of((mib(8_000), mib(4_000))),
        )
            .prop_map(|(total, available, swap_free, cgroups, memory, swapped, killer)| {
                let available = available.min(total);
                let killer = killer.map(|(memory, swap)| OomDaemon { memory, swap });
                let machine = MachineMemory { total, available, swap_free, killer };
                let own = HeldMemory { memory, swapped: swapped.min(memory) };
                (MemoryReading { machine, cgroups, stall: MemoryStall::default() }, own)
            })
    }

    proptest! {
        #[test]
        fn a_budget_is_below_every_limit_and_never_below_the_smallest((reading, own) in readings()) {
            let budget = auto(&reading, own, &FileReserve::default());
            prop_assert!(budget >= SMALLEST_BUDGET);
            prop_assert!(budget <= whole(&reading).max(SMALLEST_BUDGET));
        }

        #[test]
        fn more_taken_by_others_never_raises_the_budget(
            (reading, own) in readings(),
            taken in (0u64..10_000).prop_map(Bytes::mib),
        ) {
            let mut fuller = reading.clone();
            fuller.machine.available = fuller.machine.available - taken;
            for cgroup in &mut fuller.cgroups {
                cgroup.held += taken;
            }
            let reserve = FileReserve::default();
            prop_assert!(auto(&fuller, own, &reserve) <= auto(&reading, own, &reserve));
            let reserve = FileReserve::default();
            prop_assert!(capacity(&fuller, own, &reserve) <= capacity(&reading, own, &reserve));
        }

        #[test]
        fn a_followed_line_is_within_its_deadband_of_the_last_second(
            steps in proptest::collection::vec((1u64..2_000, readings()), 1..40)
        ) {
            let mut budget = MemoryBudget::new(Memory::Auto);
            let mut now = Millis::ZERO;
            for (pause, (reading, own)) in steps {
                now += Millis(pause);
                let current = budget.update(now, &reading, own);
                let charged = budget.charged(own);
                prop_assert!(current <= auto(&reading, charged, budget.reserve()) + SMALLEST_CHANGE);
            }
        }

        #[test]
        fn a_reserve_stays_within_its_bounds(
            steps in proptest::collection::vec((1u64..30_000, 0u64..3_000_000, 0u64..200), 0..60),
            limit in (1u64..40_000).prop_map(Bytes::mib),
        ) {
            let mut reserve = FileReserve::default();
            let (least, mut now, mut stall) = (reserve.under_cgroup(limit), Millis::ZERO, MemoryStall::default());
            for (pause, full, refaulted) in steps {
                now += Millis(pause);
                stall.full_us += full;
                stall.refaulted += Bytes::mib(refaulted);
                reserve.observe(now, stall, 1.0);
                prop_assert!(reserve.under_cgroup(limit) >= least);
                prop_assert!(reserve.under_cgroup(limit) <= limit.scale(0.5));
                prop_assert!(reserve.under_cgroup(limit) <= LARGEST_CGROUP_RESERVE + LARGEST_LEARNED);
            }
        }
    }

    #[test]
    fn an_automatic_budget_is_explained() {
        let bound = Bound {
            is_machine: false,
            limit: Bytes::mib(700),
            others: Bytes::mib(1),
            kept: Bytes::mib(192),
        };
        assert_eq!(bound.left(), Bytes::mib(507));
        assert_eq!(
            bound.to_string(),
            "the container's limit is 700 MiB, less 1 MiB held by other processes and 192 MiB kept free to cache the \
             files that compilers read"
        );
        let machine = Bound { is_machine: true, others: Bytes::ZERO, ..bound };
        assert!(machine.to_string().starts_with("the machine has 700 MiB, less 192 MiB kept free"));
    }
}
