//! How high the hard limit is that the kernel keeps around a build which is to be kept to its budget whatever happens
//! (`--hard`).
//!
//! The budget and a hard limit count different things. The budget counts what cannot be dropped: anonymous, shared and swapped
//! memory. A hard limit counts all that the kernel charges to a cgroup: also file-backed pages, and the kernel's own memory.
//! A hard limit as high as the budget would leave nothing for the compiler's own code, and a build that eats into that is not
//! killed, it crawls ([`crate::budget`]). So
//!
//! ```text
//! height = line + kernel's share + reserve        reserve = Reserve::over_budget, the inverse of under_cgroup
//! ```
//!
//! and at most what everything above the build leaves to it, less a little: of two limits the lower one decides who
//! is killed, and behind ours there is nobody but the build. When the hard limit makes the build crawl (its own stalls and
//! refaults say so) the reserve learns, as it does under anybody's hard limit, and the hard limit grows by it.
//!
//! The hard limit follows the budget. It rises before anybody can have used the room (at the record that says so), and sinks
//! no deeper than to what is held and the smallest reserve, because the kernel kills for a limit that is set below.
//!
//! **An oversized unit**, a unit that by itself is above a named budget, runs alone by default: the budget is a wish, and ends
//! where the machine does. The hard limit goes with it, to what everything above leaves, until the unit has ended. Under
//! `--oversized refuse`, which refuses such a unit, the hard limit stands still, also for what cannot be refused (a build script).
//!
//! The driver and the governor stay outside: they must see to the build when it is at its hard limit. That they hold some
//! megabytes of the budget makes the hard limit a little higher than it must be.
//!
//! This module touches nothing; the host crate makes the cgroup.

use crate::budget::{
    FORGET_STEP, FileReserve, HeldMemory, MemoryReading, MemoryStall, SMALLEST_CHANGE,
    SMALLEST_RESERVE,
};
use crate::budget::{left_by_others, whole};
use crate::measure::{Bytes, Millis};

/// The part of the budget that the kernel takes beside it: page tables (a 512th of what they map), stacks and what it
/// knows of open files. Four times the page tables, because the rest is of their order.
pub const KERNEL_SHARE: f64 = 1.0 / 128.0;
/// So much lower than what is above. Because our readings are a tenth of a second old, and the kernel charges a
/// cgroup in portions for each processor.
pub const GAP_BELOW_OUTER_LIMITS: Bytes = Bytes::mib(16);
/// Where the kernel can slow a build down before it kills (v2 `memory.high`), it begins by this part below the hard limit,
/// at least [`SMALLEST_CHANGE`]. Because a compiler grows by some tens of megabytes between two of our looks.
pub const THROTTLED_SHARE: f64 = 1.0 / 32.0;

/// What is seen of the build's hard limit and of everything above it at one moment.
#[derive(Clone, Debug, Default)]
pub struct HardLimitReading {
    /// Everything above the hard limit, which is no part of it.
    pub above: MemoryReading,
    /// What is inside the cgroup limit and cannot be dropped.
    pub held: Bytes,
    /// All that is charged to it.
    pub charged: Bytes,
    /// What was lost behind it for want of memory.
    pub stall: MemoryStall,
}

/// Where the hard limit is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardLimitLevels {
    /// From here on the kernel kills.
    pub limit: Bytes,
    /// From here on it slows down, where it can.
    pub throttle: Bytes,
}

impl HardLimitLevels {
    fn of(limit: Bytes) -> Self {
        Self { limit, throttle: limit - limit.scale(THROTTLED_SHARE).max(SMALLEST_CHANGE) }
    }
}

/// The hard limit of one build, followed over time.
#[derive(Clone, Debug)]
pub struct HardLimit {
    refuses: bool,
    reserve: FileReserve,
    current: Option<Bytes>,
}

impl HardLimit {
    /// A hard limit that is not there yet; one that `refuses` is raised for nobody.
    #[must_use]
    pub fn new(refuses: bool) -> Self {
        Self { refuses, reserve: FileReserve::default(), current: None }
    }

    /// Where it stands.
    #[must_use]
    pub fn limit(&self) -> Bytes {
        self.current.unwrap_or_default()
    }

    /// Where the hard limit is to be from `now` on, where that is somewhere else. `lone`: a unit runs that by itself is
    /// above the budget.
    pub fn follow(
        &mut self,
        now: Millis,
        budget: Bytes,
        lone: bool,
        look: &HardLimitReading,
    ) -> Option<HardLimitLevels> {
        let full = self.current.map_or(0.0, |limit| look.charged.share_of(limit));
        self.reserve.observe(now, look.stall, full);
        let wanted = self.wanted(budget, lone && !self.refuses, look);
        let next = match self.current {
            None => wanted,
            Some(current) if wanted > current => wanted,
            Some(current) => {
                let lowest = wanted.max(look.held + SMALLEST_RESERVE);
                // A reserve that forgets a step is worth a move, readings that differ a little are not.
                if current - lowest < FORGET_STEP {
                    return None;
                }
                lowest
            }
        };
        self.current = Some(next);
        Some(HardLimitLevels::of(next))
    }

    fn wanted(&self, budget: Bytes, lone: bool, look: &HardLimitReading) -> Bytes {
        let left = left_to(look) - GAP_BELOW_OUTER_LIMITS;
        if lone {
            return left.max(budget);
        }
        let wanted = budget + budget.scale(KERNEL_SHARE) + self.reserve.over_budget(budget);
        // What others take makes the budget sink by as much; until it has, nobody is to be killed for that.
        wanted.min(left).max(budget)
    }
}

/// What everything above leaves to what is inside the cgroup limit, files included. No swap: a hard limit does not count that.
fn left_to(look: &HardLimitReading) -> Bytes {
    let mut above = look.above.clone();
    above.machine.swap_free = Bytes::ZERO;
    let own = HeldMemory { memory: look.held, swapped: Bytes::ZERO };
    left_by_others(&above, own).min(whole(&above))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::budget::{CgroupMemory, MachineMemory, STALL_WINDOW, auto};

    fn machine(available: Bytes) -> HardLimitReading {
        let swap_free = Bytes::gib(4);
        let machine = MachineMemory {
            total: Bytes::gib(32),
            available,
            swap_free,
            ..MachineMemory::default()
        };
        HardLimitReading {
            above: MemoryReading { machine, ..MemoryReading::default() },
            ..HardLimitReading::default()
        }
    }

    fn container(limit: Bytes, held: Bytes) -> HardLimitReading {
        let mut look = machine(Bytes::gib(30));
        look.above.cgroups.push(CgroupMemory { limit, held, swap_free: Bytes::MAX });
        look
    }

    fn height(budget: Bytes, lone: bool, look: &HardLimitReading) -> f64 {
        let mut hard_limit = HardLimit::new(false);
        hard_limit.follow(Millis::ZERO, budget, lone, look);
        hard_limit.limit().as_mib()
    }

    #[test]
    fn a_hard_limit_leaves_room_for_the_kernel_and_for_files() {
        let roomy = machine(Bytes::gib(30));
        assert_eq!(height(Bytes::mib(64), false, &roomy), 64.0 + 0.5 + 192.0);
        assert_eq!(height(Bytes::mib(640), false, &roomy), 640.0 + 5.0 + 192.0);
        assert_eq!(height(Bytes::gib(8), false, &roomy), 8192.0 + 64.0 + 320.0);
    }

    #[test]
    fn a_hard_limit_is_below_every_limit_above_it() {
        // The budget of such a container is 1,840 - 40 - 230 MiB.
        let inside = container(Bytes::mib(1840), Bytes::mib(40));
        assert_eq!(height(Bytes::mib(1570), false, &inside), 1840.0 - 40.0 - 16.0);
        assert_eq!(height(Bytes::gib(6), false, &machine(Bytes::gib(6))), 6144.0, "not below");
    }

    #[test]
    fn a_hard_limit_rises_at_once_and_sinks_to_what_is_held() {
        let mut hard_limit = HardLimit::new(false);
        let mut look = machine(Bytes::gib(30));
        let mut at = |budget: u64, held: u64| {
            look.held = Bytes::mib(held);
            hard_limit.follow(Millis(1), Bytes::mib(budget), false, &look).map(|h| h.limit.as_mib())
        };
        assert_eq!(at(640, 0), Some(837.0));
        assert_eq!(at(640, 600), None);
        assert_eq!(at(1280, 600), Some(1280.0 + 10.0 + 192.0));
        assert_eq!(
            at(640, 1200),
            Some(1200.0 + 192.0),
            "what runs is not killed for a lower budget"
        );
        assert_eq!(at(640, 1195), None, "a little is not worth it");
        assert_eq!(at(640, 300), Some(837.0));
    }

    #[test]
    fn an_oversized_unit_has_what_everything_above_leaves_and_one_that_refuses_stands() {
        let inside = container(Bytes::gib(4), Bytes::mib(96));
        assert_eq!(height(Bytes::gib(1), true, &inside), 4096.0 - 96.0 - 16.0);
        let mut refuses = HardLimit::new(true);
        refuses.follow(Millis::ZERO, Bytes::gib(1), true, &inside);
        assert_eq!(refuses.limit(), Bytes::mib(1024 + 8 + 192));
    }

    #[test]
    fn it_slows_down_a_little_before_it_kills() {
        let height = HardLimitLevels::of(Bytes::gib(2));
        assert_eq!(height.throttle, Bytes::mib(2048 - 64));
        assert_eq!(HardLimitLevels::of(Bytes::mib(256)).throttle, Bytes::mib(240));
    }

    #[test]
    fn a_hard_limit_at_which_the_build_crawls_grows() {
        let mut hard_limit = HardLimit::new(false);
        let mut look = machine(Bytes::gib(30));
        let mut limits = Vec::new();
        for window in 0..3 {
            look.charged = Bytes::mib(800);
            let now = STALL_WINDOW.scale(f64::from(window));
            limits.extend(hard_limit.follow(now, Bytes::mib(640), false, &look));
            look.stall.full_us += 400_000;
        }
        let limits: Vec<f64> = limits.iter().map(|height| height.limit.as_mib()).collect();
        assert_eq!(limits, [837.0, 885.0, 933.0]);
    }

    proptest! {
        #[test]
        // The machine itself has room for 29 GiB, beside its own reserve.
        fn under_a_hard_limit_for_a_budget_there_is_room_for_that_line(budget in 64u64..=29 << 10) {
            let budget = Bytes::mib(budget);
            let limit = Bytes::mib(height(budget, false, &machine(Bytes::gib(30))) as u64 + 1);
            let look = container(limit, Bytes::ZERO);
            prop_assert!(auto(&look.above, HeldMemory::default(), &FileReserve::default()) >= budget);
        }

        #[test]
        fn a_hard_limit_never_sinks_below_what_is_held_or_the_budget(
            steps in proptest::collection::vec(
                (1u64..3_000, 64u64..8_000, any::<bool>(), 0u64..9_000, 0u64..30_000), 1..60),
        ) {
            let (mut hard_limit, mut now) = (HardLimit::new(false), Millis::ZERO);
            for (pause, budget, lone, held, available) in steps {
                now += Millis(pause);
                let mut look = machine(Bytes::mib(available));
                look.held = Bytes::mib(held);
                let (before, budget) = (hard_limit.limit(), Bytes::mib(budget));
                let moved = hard_limit.follow(now, budget, lone, &look);
                prop_assert!(hard_limit.limit() >= budget);
                if let Some(height) = moved {
                    prop_assert!(height.throttle < height.limit);
                    let sank = height.limit < before;
                    prop_assert!(!sank || height.limit >= look.held + SMALLEST_RESERVE);
                }
            }
        }
    }
}
