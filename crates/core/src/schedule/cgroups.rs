//! Cgroup limits: cgroups with a limit that some of the builds are in, and others are not. What all are in is part of the
//! machine's budget.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{BuildNo, CgroupNo, UnitId};
use crate::measure::Bytes;

/// A cgroup limit as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupBudget {
    /// The budget inside it.
    pub budget: Bytes,
    /// What those inside could hold at the very most, swap included: see [`super::Input::Budget`].
    pub capacity: Bytes,
    /// Swap that those behind it may still fill.
    pub swap: Bytes,
    /// Those inside.
    pub builds: BTreeSet<BuildNo>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct CgroupBudgets {
    budgets: BTreeMap<CgroupNo, CgroupBudget>,
    /// The one unit inside each that its budget never suspends or kills; see [`super::UnitTable::anchor`].
    anchors: BTreeMap<CgroupNo, UnitId>,
}

impl CgroupBudgets {
    /// These are all that there are.
    pub(super) fn set(&mut self, budgets: BTreeMap<CgroupNo, CgroupBudget>) {
        self.budgets = budgets;
        self.anchors.retain(|no, _| self.budgets.contains_key(no));
    }

    pub(super) fn all(&self) -> &BTreeMap<CgroupNo, CgroupBudget> {
        &self.budgets
    }

    pub(super) fn get(&self, no: CgroupNo) -> Option<&CgroupBudget> {
        self.budgets.get(&no)
    }

    pub(super) fn numbers(&self) -> Vec<CgroupNo> {
        self.budgets.keys().copied().collect()
    }

    /// Those inside.
    pub(super) fn builds(&self, no: CgroupNo) -> impl Iterator<Item = BuildNo> {
        self.get(no).into_iter().flat_map(|cgroup| cgroup.builds.iter().copied())
    }

    pub(super) fn holds(&self, no: CgroupNo, build: BuildNo) -> bool {
        self.get(no).is_some_and(|cgroup| cgroup.builds.contains(&build))
    }

    pub(super) fn anchor(&self, no: CgroupNo) -> Option<UnitId> {
        self.anchors.get(&no).copied()
    }

    pub(super) fn set_anchor(&mut self, no: CgroupNo, anchor: Option<UnitId>) {
        match anchor {
            Some(unit) => _ = self.anchors.insert(no, unit),
            None => _ = self.anchors.remove(&no),
        }
    }
}
