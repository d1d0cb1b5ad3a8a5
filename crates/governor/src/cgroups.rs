//! Cgroups with limits, where builds come from several places. What contains all of them is part of the machine's
//! line, wherever the governor itself was started; what contains some of them is a cgroup limit around those, with a budget of
//! its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use plimsoll_core::budget::{Budget, Machine, Own, Reading, swap_to_fill};
use plimsoll_core::schedule::{CgroupLimit, Input};
use plimsoll_core::settings::Memory;
use plimsoll_core::{BuildNo, Bytes, CgroupNo, Millis};
use plimsoll_host::{CgroupDir, Killers, Limits};

use crate::governor::Governor;

/// The cgroups around the builds.
#[derive(Debug)]
pub(crate) struct CgroupLimits {
    /// Those that contain all builds.
    common: Vec<CgroupDir>,
    /// The others.
    around: BTreeMap<CgroupNo, Around>,
    next: u32,
}

#[derive(Debug)]
struct Around {
    dir: CgroupDir,
    limits: Limits,
    /// What they said last.
    reading: Reading,
    budget: Budget,
    builds: BTreeSet<BuildNo>,
}

impl CgroupLimits {
    /// Nobody is here yet but the governor itself, which these contain.
    pub(crate) fn new(common: Vec<CgroupDir>) -> Self {
        Self { common, around: BTreeMap::new(), next: 1 }
    }

    /// Files inside some cgroup limit do not fit beside the builds there.
    pub(crate) fn thrash(&self, now: Millis) -> bool {
        self.around.values().any(|it| it.budget.thrashes(now))
    }

    fn read(&mut self) {
        for around in self.around.values_mut() {
            around.reading = around.limits.read();
        }
    }

    /// How they stood at the last reading; `held` is what each build holds.
    fn stand(
        &mut self,
        now: Millis,
        held: impl Fn(BuildNo) -> Own,
    ) -> BTreeMap<CgroupNo, CgroupLimit> {
        let mut cgroups = BTreeMap::new();
        for (no, around) in &mut self.around {
            let mut reading = around.reading.clone();
            if reading.cgroups.is_empty() {
                continue;
            }
            // What the machine has is the machine's budget to keep.
            reading.machine =
                Machine { total: Bytes::MAX, available: Bytes::MAX, ..reading.machine };
            let mut own = Own::default();
            for build in around.builds.iter().map(|build| held(*build)) {
                own.memory += build.memory;
                own.swapped += build.swapped;
            }
            let budget = around.budget.update(now, &reading, own);
            let capacity = around.budget.capacity(&reading, own);
            let builds = around.builds.clone();
            let swap = swap_to_fill(&reading);
            cgroups.insert(*no, CgroupLimit { budget, capacity, swap, builds });
        }
        cgroups
    }
}

impl Governor {
    /// Builds came or went: says anew which cgroups contain all of them, and which only some.
    pub(crate) fn follow_cgroups(&mut self) {
        let chain = |(no, build): (&BuildNo, &crate::builds::Build)| {
            Some((*no, build.elsewhere.as_ref()?.cgroups.clone()))
        };
        let chains: Vec<(BuildNo, Vec<CgroupDir>)> = self.builds.iter().filter_map(chain).collect();
        let Some(((_, first), rest)) = chains.split_first() else { return };
        let holds_all = |dir: &&CgroupDir| rest.iter().all(|(_, chain)| chain.contains(dir));
        let common: Vec<CgroupDir> = first.iter().filter(holds_all).cloned().collect();
        if common != self.cgroups.common
            && let Ok(mut limits) = Limits::within(Path::new("/"), &common)
        {
            limits.heed(self.limits.killers().clone());
            self.limits = limits;
            self.budget = self.options.budget();
            self.cgroups.common = common;
        }
        let mut around: BTreeMap<CgroupDir, BTreeSet<BuildNo>> = BTreeMap::new();
        for (no, chain) in chains {
            for dir in chain.into_iter().filter(|dir| !self.cgroups.common.contains(dir)) {
                around.entry(dir).or_default().insert(no);
            }
        }
        self.cgroups.around.retain(|_, cgroup| around.contains_key(&cgroup.dir));
        for (dir, builds) in around {
            if let Some(cgroup) = self.cgroups.around.values_mut().find(|it| it.dir == dir) {
                cgroup.builds = builds;
            } else if let Ok(mut limits) =
                Limits::within(Path::new("/"), std::slice::from_ref(&dir))
            {
                limits.heed(self.limits.killers().clone());
                let budget = Budget::new(Memory::Auto);
                let no = CgroupNo(self.cgroups.next);
                self.cgroups.next += 1;
                let reading = Reading::default();
                self.cgroups.around.insert(no, Around { dir, limits, reading, budget, builds });
            }
        }
        self.read_lines();
    }

    /// Looks for who kills before the kernel does, once: when the first unit comes (again, when there was no build for a
    /// while), so that a build that compiles nothing does not pay for it.
    pub(crate) fn heed_killers(&mut self) {
        if !std::mem::replace(&mut self.knows_killers, true) {
            let killers = Killers::find(Path::new("/"));
            for around in self.cgroups.around.values_mut() {
                around.limits.heed(killers.clone());
            }
            self.limits.heed(killers);
            self.read_lines();
        }
    }

    /// Reads all limits, and tells of lines that moved.
    pub(crate) fn read_lines(&mut self) {
        let reading = self.read_limits();
        self.follow_limits(&reading);
    }

    /// Reads the limits, before what the builds hold is measured anew ([`Budget::update`]).
    pub(crate) fn read_limits(&mut self) -> Reading {
        self.line_read = self.now();
        self.cgroups.read();
        self.limits.read()
    }

    /// Moves the lines to what the limits said, and tells of those that moved.
    pub(crate) fn follow_limits(&mut self, reading: &Reading) {
        let now = self.now();
        let all = self.held;
        let before = self.stalled_us;
        self.stalled_us = before.max(reading.stall.full_us);
        if before == 0 {
            // The first reading is where counting begins, not something that was lost.
            self.stalled_logged_us = self.stalled_us;
        }
        let budget = self.budget.update(now, reading, all);
        let machine = self.budget.capacity(reading, all);
        let held = |no| self.builds.get(&no).map(|build| build.held).unwrap_or_default();
        let mut cgroups = self.cgroups.stand(now, held);
        let mut swap = swap_to_fill(reading);
        if !self.tree.can_page_out() {
            swap = Bytes::ZERO;
            cgroups.values_mut().for_each(|cgroup| cgroup.swap = Bytes::ZERO);
        } else if self.budget.is_where_named() {
            swap = Bytes::ZERO;
        }
        let thrashes = self.budget.thrashes(now) || self.cgroups.thrash(now);
        if cgroups != *self.schedule.cgroups() {
            self.decide(Input::CgroupLimits(cgroups));
        }
        self.decide(Input::Budget { budget, machine, swap, thrashes });
        self.tell_lines();
    }
}
