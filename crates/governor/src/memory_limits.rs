//! How much memory there is: the limits of the machine and of the cgroups around the builds, and the budgets that
//! follow from them.
//!
//! What contains all builds is part of the machine's budget, wherever the governor itself was started. A cgroup that
//! contains only some of them has a budget of its own.
//!
//! What it deliberately does not do: tell the schedule, or the builds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use plimsoll_core::budget::{
    HeldMemory, MachineMemory, MemoryBudget, MemoryReading, OOM_DAEMON_MARGIN, swap_to_fill,
};
use plimsoll_core::schedule::{CgroupBudget, Input};
use plimsoll_core::settings::Memory;
use plimsoll_core::{BuildNo, Bytes, CgroupNo, Millis};
use plimsoll_host::{CgroupDir, Killers, Limits};

use crate::error::GovernorError;

/// What is read of the machine and of the cgroups around the builds, and followed over time.
#[derive(Debug)]
pub(crate) struct MemoryLimits {
    limits: Limits,
    /// The budget of all builds.
    budget: MemoryBudget,
    /// The cgroups that contain all builds.
    common: Vec<CgroupDir>,
    /// The others.
    around: BTreeMap<CgroupNo, Around>,
    next: u32,
    /// Who kills before the kernel does was looked for.
    knows_killers: bool,
    stalls: Stalls,
    /// The kernel's count of processes that it killed for memory, when last looked at.
    oom_kills: u64,
}

/// A cgroup that contains some of the builds.
#[derive(Debug)]
struct Around {
    dir: CgroupDir,
    limits: Limits,
    /// What they said last.
    reading: MemoryReading,
    budget: MemoryBudget,
    builds: BTreeSet<BuildNo>,
}

/// The time in which everything stood still for memory, by the kernel's count: now, and at the last sample.
#[derive(Debug, Default)]
struct Stalls {
    now_us: u64,
    logged_us: u64,
}

impl Stalls {
    fn read(&mut self, full_us: u64) {
        let before = self.now_us;
        self.now_us = before.max(full_us);
        if before == 0 {
            // The first reading is where counting begins, not something that was lost.
            self.logged_us = self.now_us;
        }
    }
}

/// What the limits come to now.
pub(crate) struct Budgets {
    /// Of the cgroups that contain some of the builds.
    pub(crate) cgroups: BTreeMap<CgroupNo, CgroupBudget>,
    /// Of all builds ([`Input::Budget`]).
    pub(crate) all: Input,
}

impl MemoryLimits {
    /// Nobody is here yet but the governor itself. Gives its budget along with it.
    pub(crate) fn of_this_process(budget: MemoryBudget) -> Result<(Self, Bytes), GovernorError> {
        let common = CgroupDir::around(Path::new("/"), None);
        let limits = Limits::within(Path::new("/"), &common).map_err(GovernorError::Limits)?;
        let mut it = Self {
            limits,
            budget,
            common,
            around: BTreeMap::new(),
            next: 1,
            knows_killers: false,
            stalls: Stalls::default(),
            oom_kills: plimsoll_host::oom_kills(),
        };
        let at_start = it.budget.update(Millis::ZERO, &it.limits.read(), HeldMemory::default());
        Ok((it, at_start))
    }

    /// The budget of all builds is named anew.
    pub(crate) fn name_anew(&mut self, budget: MemoryBudget) {
        self.budget = budget;
    }

    /// Builds came or went, each with the cgroups that contain it: says anew which contain all of them, and which only
    /// some. `line` is the budget of all as it was named.
    pub(crate) fn follow_cgroups(
        &mut self,
        chains: Vec<(BuildNo, Vec<CgroupDir>)>,
        budget: MemoryBudget,
    ) {
        let Some(((_, first), rest)) = chains.split_first() else { return };
        let holds_all = |dir: &&CgroupDir| rest.iter().all(|(_, chain)| chain.contains(dir));
        let common: Vec<CgroupDir> = first.iter().filter(holds_all).cloned().collect();
        if common != self.common
            && let Ok(mut limits) = Limits::within(Path::new("/"), &common)
        {
            limits.heed(self.limits.killers().clone());
            (self.limits, self.budget, self.common) = (limits, budget, common);
        }
        let mut around: BTreeMap<CgroupDir, BTreeSet<BuildNo>> = BTreeMap::new();
        for (no, chain) in chains {
            for dir in chain.into_iter().filter(|dir| !self.common.contains(dir)) {
                around.entry(dir).or_default().insert(no);
            }
        }
        self.around.retain(|_, known| around.contains_key(&known.dir));
        for (dir, builds) in around {
            if let Some(known) = self.around.values_mut().find(|it| it.dir == dir) {
                known.builds = builds;
            } else if let Ok(mut limits) =
                Limits::within(Path::new("/"), std::slice::from_ref(&dir))
            {
                limits.heed(self.limits.killers().clone());
                let (budget, reading) = (MemoryBudget::new(Memory::Auto), MemoryReading::default());
                let no = CgroupNo(self.next);
                self.next += 1;
                self.around.insert(no, Around { dir, limits, reading, budget, builds });
            }
        }
    }

    /// Looks for who kills before the kernel does, once: when the first unit comes (again, when there was no build for a
    /// while), so that a build that compiles nothing does not pay for it. Whether it looked.
    pub(crate) fn find_killers(&mut self) -> bool {
        let looks = !std::mem::replace(&mut self.knows_killers, true);
        if looks {
            let killers = Killers::find(Path::new("/"));
            for around in self.around.values_mut() {
                around.limits.heed(killers.clone());
            }
            self.limits.heed(killers);
        }
        looks
    }

    /// There is no build any more: who kills is to be looked for again.
    pub(crate) fn forget_killers(&mut self) {
        self.knows_killers = false;
    }

    /// What the machine and the cgroups around all builds say now, for an answer to a person or to one build.
    pub(crate) fn look(&self) -> MemoryReading {
        self.limits.read()
    }

    /// Reads all limits, before what the builds hold is measured anew ([`MemoryBudget::update`]).
    pub(crate) fn read(&mut self) -> MemoryReading {
        for around in self.around.values_mut() {
            around.reading = around.limits.read();
        }
        self.limits.read()
    }

    /// Moves the budgets to what the limits said. `all` is what all builds hold, `held` what each of them does.
    pub(crate) fn follow(
        &mut self,
        now: Millis,
        reading: &MemoryReading,
        all: HeldMemory,
        held: impl Fn(BuildNo) -> HeldMemory,
        can_page_out: bool,
    ) -> Budgets {
        self.stalls.read(reading.stall.full_us);
        let budget = self.budget.update(now, reading, all);
        let machine = self.budget.capacity(reading, all);
        let mut cgroups = self.follow_around(now, held);
        let mut swap = swap_to_fill(reading);
        if !can_page_out {
            swap = Bytes::ZERO;
            cgroups.values_mut().for_each(|wall| wall.swap = Bytes::ZERO);
        } else if self.budget.is_at_named_size() {
            swap = Bytes::ZERO;
        }
        let thrashes =
            self.budget.thrashes(now) || self.around.values().any(|it| it.budget.thrashes(now));
        Budgets { cgroups, all: Input::Budget { budget, machine, swap, thrashes } }
    }

    /// The budgets of the cgroups that contain some of the builds.
    fn follow_around(
        &mut self,
        now: Millis,
        held: impl Fn(BuildNo) -> HeldMemory,
    ) -> BTreeMap<CgroupNo, CgroupBudget> {
        let mut cgroups = BTreeMap::new();
        for (no, around) in &mut self.around {
            let mut reading = around.reading.clone();
            if reading.cgroups.is_empty() {
                continue;
            }
            // What the machine has is the machine's budget to keep.
            reading.machine =
                MachineMemory { total: Bytes::MAX, available: Bytes::MAX, ..reading.machine };
            let mut own = HeldMemory::default();
            for build in around.builds.iter().map(|build| held(*build)) {
                own.memory += build.memory;
                own.swapped += build.swapped;
            }
            let budget = around.budget.update(now, &reading, own);
            let capacity = around.budget.capacity(&reading, own);
            let builds = around.builds.clone();
            let swap = swap_to_fill(&reading);
            cgroups.insert(*no, CgroupBudget { budget, capacity, swap, builds });
        }
        cgroups
    }

    /// What the builds, which hold `own` now, could hold at the very most.
    pub(crate) fn capacity(&self, reading: &MemoryReading, own: HeldMemory) -> Bytes {
        self.budget.capacity(reading, own)
    }

    /// The kernel has killed something since the last look, or memory is nearly gone now, in which case it
    /// may have been earlyoom or its like.
    pub(crate) fn memory_was_short(&mut self) -> bool {
        /// earlyoom's own default is 10 % of the machine's memory.
        const NEARLY_GONE: f64 = 0.11;
        let machine = self.limits.read().machine;
        let acts_at =
            machine.killer.map_or(Bytes::ZERO, |killer| killer.memory + OOM_DAEMON_MARGIN);
        let gone = machine.available < machine.total.scale(NEARLY_GONE).max(acts_at);
        self.kernel_has_killed() || gone
    }

    /// The kernel has killed something since the last look.
    pub(crate) fn kernel_has_killed(&mut self) -> bool {
        let kills = plimsoll_host::oom_kills();
        kills > std::mem::replace(&mut self.oom_kills, kills)
    }

    /// How long everything stood still for memory since this was asked last.
    pub(crate) fn take_stalled(&mut self) -> Millis {
        let Stalls { now_us, logged_us } = self.stalls;
        self.stalls.logged_us = now_us;
        Millis((now_us - logged_us) / 1000)
    }
}
