//! The table of processes below the root: who descends from whom, and whose each one is. No IO.
//!
//! A process is looked up by pid, but linked by index: when it ends it stays in the table, without
//! a pid, for as long as a descendant lives (a *tombstone*). So an orphan keeps its owner, whoever
//! the kernel made its new parent, and a subtree stays one when its middle has died.

use std::collections::HashMap;

use plimsoll_core::{Bytes, Millis};

use super::procfs::Stat;
use crate::process::{Owner, Role, Usage};

/// A place in the table. Valid until the process and all its descendants have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Index(usize);

/// One process.
#[derive(Debug)]
pub(super) struct Node<R> {
    pub pid: u32,
    /// With the pid, its identity; see [`Stat::start`].
    pub start: u64,
    /// False for tombstones.
    pub alive: bool,
    /// It has ended and was not waited for yet.
    pub zombie: bool,
    /// It has called exec since its fork, so it is itself and not its parent's image.
    pub settled: bool,
    /// The owner that announced this very process.
    pub claim: Option<(Owner, Role)>,
    /// What it held when it was last read.
    pub memory: Bytes,
    /// The swapped part of `memory`.
    pub swapped: Bytes,
    /// What it and the children that it waited for had used when it was last read.
    pub cpu: Millis,
    /// What the sampler and the scanner keep with it.
    pub record: R,
    /// The owner of the nearest claimed process, itself included; kept true by `settle_owners`.
    owner: Owner,
    parent: Option<Index>,
    children: u32,
    /// It hangs on the root without being its child: who waits for it is not of the table.
    guest: bool,
}

impl<R> Node<R> {
    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    /// Alive, and more than an entry that waits for its parent.
    pub(super) fn runs(&self) -> bool {
        self.alive && !self.zombie
    }
}

/// What an owner used, over the processes that live and those that have ended.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    usage: Usage,
    /// Processor time of its ended processes that no process of its own has waited for.
    gone: Millis,
    /// Processor time of other owners' processes that one of its own has waited for.
    foreign: Millis,
    /// Processor time that its living processes account for, while it is being summed.
    living: Millis,
}

/// The processes below (and with) the root.
#[derive(Debug)]
pub(super) struct Table<R> {
    nodes: Vec<Option<Node<R>>>,
    free: Vec<Index>,
    by_pid: HashMap<u32, Index>,
    accounts: HashMap<Owner, Account>,
    total: Usage,
    /// What released owners had used.
    released: Millis,
    /// What processes had used that hung on the root and have left, which it does not wait for.
    departed: Millis,
}

impl<R: Default> Table<R> {
    /// The root has index 0 and never leaves.
    pub(super) const ROOT: Index = Index(0);

    pub(super) fn new(root: u32, stat: &Stat) -> Self {
        let mut table = Self {
            nodes: Vec::new(),
            free: Vec::new(),
            by_pid: HashMap::new(),
            accounts: HashMap::new(),
            total: Usage::default(),
            released: Millis::ZERO,
            departed: Millis::ZERO,
        };
        table.add(root, stat, None);
        table
    }

    pub(super) fn find(&self, pid: u32) -> Option<Index> {
        self.by_pid.get(&pid).copied()
    }

    pub(super) fn get(&self, index: Index) -> Option<&Node<R>> {
        self.nodes.get(index.0)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: Index) -> Option<&mut Node<R>> {
        self.nodes.get_mut(index.0)?.as_mut()
    }

    /// One past the largest index.
    pub(super) fn end(&self) -> usize {
        self.nodes.len()
    }

    /// The process at place `at`, for loops that change the table as they go.
    pub(super) fn at(&self, at: usize) -> Option<(Index, &Node<R>)> {
        let node = self.nodes.get(at)?.as_ref().filter(|node| node.alive)?;
        Some((Index(at), node))
    }

    /// The processes that live, the root included.
    pub(super) fn living(&self) -> impl Iterator<Item = (Index, &Node<R>)> {
        (0..self.end()).filter_map(|at| self.at(at))
    }

    /// A process that was found below `parent`.
    pub(super) fn insert(&mut self, pid: u32, stat: &Stat, parent: Index) -> Index {
        if let Some(stale) = self.find(pid) {
            self.bury(stale);
        }
        self.add(pid, stat, Some(parent))
    }

    fn add(&mut self, pid: u32, stat: &Stat, parent: Option<Index>) -> Index {
        let owner = parent.and_then(|p| self.get(p)).map_or(Owner::REST, Node::owner);
        let node = Node {
            pid,
            start: stat.start,
            alive: true,
            zombie: stat.is_dead(),
            settled: !stat.forked_only,
            claim: None,
            memory: Bytes::ZERO,
            swapped: Bytes::ZERO,
            cpu: stat.cpu.millis(),
            record: R::default(),
            owner,
            parent,
            children: 0,
            guest: false,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.nodes[index.0] = Some(node);
                index
            }
            None => {
                self.nodes.push(Some(node));
                Index(self.nodes.len() - 1)
            }
        };
        if let Some(parent) = parent.and_then(|p| self.get_mut(p)) {
            parent.children += 1;
        }
        self.by_pid.insert(pid, index);
        index
    }

    /// The process has ended. Returns its parent where that lives: its times have just grown.
    pub(super) fn bury(&mut self, index: Index) -> Option<Index> {
        if index == Self::ROOT {
            return None;
        }
        let node = self.get_mut(index).filter(|node| node.alive)?;
        node.alive = false;
        node.memory = Bytes::ZERO;
        node.swapped = Bytes::ZERO;
        node.record = R::default();
        let (pid, owner, cpu, parent) = (node.pid, node.owner, node.cpu, node.parent);
        self.by_pid.remove(&pid);
        let is_guest = self.get(index).is_some_and(|node| node.guest);
        let waiter =
            parent.filter(|_| !is_guest).filter(|p| self.get(*p).is_some_and(|node| node.alive));
        if waiter.is_none() && self.ancestry(index).any(|node| node.guest) {
            // The root never waits for it, as it does for orphans of its own.
            self.departed += cpu;
        }
        let waiting_owner = waiter.and_then(|p| self.get(p)).map(Node::owner);
        if waiting_owner != Some(owner) {
            self.accounts.entry(owner).or_default().gone += cpu;
            if let Some(other) = waiting_owner {
                self.accounts.entry(other).or_default().foreign += cpu;
            }
        }
        self.prune(index);
        waiter
    }

    /// Removes a tombstone without descendants, and its ancestors that are no more than that then.
    fn prune(&mut self, mut index: Index) {
        while let Some(node) = self.get(index) {
            if node.alive || node.children > 0 {
                return;
            }
            let parent = node.parent;
            self.nodes[index.0] = None;
            self.free.push(index);
            let Some(parent) = parent else { return };
            if let Some(node) = self.get_mut(parent) {
                node.children -= 1;
            }
            index = parent;
        }
    }

    /// The process and its ancestors up to the root, tombstones included.
    pub(super) fn ancestry(&self, index: Index) -> impl Iterator<Item = &Node<R>> {
        std::iter::successors(self.get(index), |node| self.get(node.parent?))
    }

    /// Sets or removes the claim on a process; everything below it that nobody else claimed follows.
    pub(super) fn claim(&mut self, index: Index, claim: Option<(Owner, Role)>) {
        if let Some(node) = self.get_mut(index).filter(|_| index != Self::ROOT) {
            node.claim = claim;
            self.settle_owners();
        }
    }

    /// Forgets an owner: what it claimed falls back to the next claimed ancestor.
    pub(super) fn release(&mut self, owner: Owner) {
        let left: Vec<Index> =
            self.living().filter(|(_, node)| node.owner == owner).map(|(at, _)| at).collect();
        for node in self.nodes.iter_mut().flatten() {
            if node.claim.is_some_and(|(claimed, _)| claimed == owner) {
                node.claim = None;
            }
        }
        if let Some(account) = self.accounts.remove(&owner) {
            self.released += account.usage.cpu;
        }
        self.settle_owners();
        // What they had used by now stays the owner's, whoever waits for them.
        for index in left {
            if let Some(heir) = self.get(index).map(|node| (node.owner, node.cpu)) {
                self.accounts.entry(heir.0).or_default().foreign += heir.1;
            }
        }
    }

    /// A process that is not below the root, but belongs to the table as if it were.
    pub(super) fn hang(&mut self, pid: u32, stat: &Stat) -> Index {
        let index = self.insert(pid, stat, Self::ROOT);
        if let Some(node) = self.get_mut(index) {
            node.guest = true;
        }
        index
    }

    /// Hangs what is a build of its own below `top` on the root, with the builds that are below that.
    fn part_from(&mut self, top: Index) {
        let is_root =
            |at: &Index| self.get(*at).is_some_and(|it| matches!(it.claim, Some((_, Role::Root))));
        let next_above = |at: &Index| self.chain(*at).skip(1).find(|it| *it == top || is_root(it));
        let parts: Vec<Index> = (0..self.end())
            .map(Index)
            .filter(|at| is_root(at) && next_above(at) == Some(top))
            .collect();
        for index in parts {
            let parent = self.get(index).and_then(|node| node.parent);
            if let Some(parent) = parent.and_then(|parent| self.get_mut(parent)) {
                parent.children -= 1;
            }
            if let Some(node) = self.get_mut(index) {
                (node.parent, node.guest) = (Some(Self::ROOT), true);
            }
            if let Some(root) = self.get_mut(Self::ROOT) {
                root.children += 1;
            }
        }
    }

    /// Forgets a process and everything below it, but for builds of their own, as if it had never been found.
    pub(super) fn forget(&mut self, top: Index) {
        if top == Self::ROOT {
            return;
        }
        self.part_from(top);
        let below = |at: &Index| self.chain(*at).any(|index| index == top);
        let mut leaving: Vec<Index> = (0..self.end()).map(Index).filter(below).collect();
        leaving.retain(|index| self.get(*index).is_some());
        let parent = self.get(top).and_then(|node| node.parent);
        for index in leaving {
            if let Some(node) = self.nodes[index.0].take() {
                self.departed += if node.alive { node.cpu } else { Millis::ZERO };
                if self.by_pid.get(&node.pid) == Some(&index) {
                    self.by_pid.remove(&node.pid);
                }
                self.free.push(index);
            }
        }
        if let Some(parent) = parent {
            if let Some(node) = self.get_mut(parent) {
                node.children -= 1;
            }
            self.prune(parent);
        }
        self.add_up();
    }

    /// The process's index and those of its ancestors up to the root.
    fn chain(&self, index: Index) -> impl Iterator<Item = Index> {
        let there = |index: Index| self.get(index).map(|_| index);
        std::iter::successors(there(index), move |index| self.get(*index)?.parent.and_then(there))
    }

    /// A process with a claim of the owner's, tombstones included. (Of a build there is one.)
    pub(super) fn claimed_by(&self, owner: Owner) -> Option<Index> {
        let claimed = |at: &Index| {
            self.get(*at).and_then(|node| node.claim).is_some_and(|(claimed, _)| claimed == owner)
        };
        (0..self.end()).map(Index).find(claimed)
    }

    /// The process that has forked it, while that lives.
    pub(super) fn parent(&self, index: Index) -> Option<Index> {
        let parent = self.get(index).filter(|node| !node.guest)?.parent?;
        self.get(parent).filter(|node| node.alive).map(|_| parent)
    }

    /// Whether the process hangs on the root directly.
    pub(super) fn is_top(&self, index: Index) -> bool {
        self.get(index).is_some_and(|node| node.parent == Some(Self::ROOT))
    }

    fn settle_owners(&mut self) {
        for at in 0..self.nodes.len() {
            let nearest = self.ancestry(Index(at)).find_map(|node| node.claim);
            if let Some(node) = self.nodes[at].as_mut() {
                node.owner = nearest.map_or(Owner::REST, |(owner, _)| owner);
            }
        }
    }

    /// Whether a signal to `owner` reaches this process: it is, or descends from, one of the owner's
    /// children, or from a shim of the owner's that has died. The root and the rest are never reached.
    pub(super) fn reached_by(&self, index: Index, owner: Owner) -> bool {
        if owner == Owner::REST || index == Self::ROOT {
            return false;
        }
        self.ancestry(index).any(|node| match node.claim {
            Some((claimed, Role::Child)) => claimed == owner,
            Some((claimed, Role::Shim)) => claimed == owner && !node.alive,
            Some((_, Role::Root)) | None => false,
        })
    }

    /// Whether the process has provably started below a unit of a build, or below the root itself: through ancestors
    /// none of which is younger than its child, up to the build's first process. Unlike [`Self::reached_by`] this does not
    /// say whose it is. It is asked before each signal, so that no other mistake lets one reach a stranger.
    pub(super) fn has_started_below(&self, index: Index) -> bool {
        let mut below_a_unit = false;
        let mut child = u64::MAX;
        for node in self.ancestry(index) {
            if node.start > child {
                return false;
            }
            child = node.start;
            match node.claim {
                Some((_, Role::Child)) => below_a_unit = true,
                Some((_, Role::Shim)) => below_a_unit |= !node.alive,
                Some((_, Role::Root)) => return below_a_unit,
                None => {}
            }
            if node.guest {
                // It hangs on the root without having started there.
                return false;
            }
        }
        index != Self::ROOT
    }

    /// Sums what the processes hold by owner, after they were read.
    pub(super) fn add_up(&mut self) {
        for account in self.accounts.values_mut() {
            let before = account.usage.cpu;
            account.usage = Usage { cpu: before, ..Usage::default() };
            account.living = Millis::ZERO;
        }
        let mut total = Usage { cpu: self.total.cpu, ..Usage::default() };
        let mut cpu_of_all = Millis::ZERO;
        for node in self.nodes.iter().flatten().filter(|node| node.alive) {
            let account = self.accounts.entry(node.owner).or_default();
            account.living += node.cpu;
            for sum in [&mut account.usage, &mut total] {
                sum.memory += node.memory;
                sum.swapped += node.swapped;
                sum.processes += u32::from(!node.zombie);
            }
            cpu_of_all += node.cpu;
        }
        let mut cpu_of_owners = self.released;
        for (owner, account) in &mut self.accounts {
            if *owner != Owner::REST {
                let own = account.living + account.gone - account.foreign;
                account.usage.cpu = account.usage.cpu.max(own);
                cpu_of_owners += account.usage.cpu;
            }
        }
        // What a process of the tree has waited for is in its own times: the living have it all.
        total.cpu = total.cpu.max(cpu_of_all + self.departed);
        self.total = total;
        if let Some(rest) = self.accounts.get_mut(&Owner::REST) {
            rest.usage.cpu = rest.usage.cpu.max(total.cpu - cpu_of_owners);
        }
    }

    pub(super) fn usage(&self, owner: Owner) -> Usage {
        self.accounts.get(&owner).map(|account| account.usage).unwrap_or_default()
    }

    pub(super) fn total(&self) -> Usage {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linux::procfs::Ticks;

    const UNIT: Owner = Owner(1);
    const LINK: Owner = Owner(2);

    fn stat(cpu_ms: u64) -> Stat {
        let ticks = cpu_ms * rustix::param::clock_ticks_per_second() / 1000;
        Stat {
            state: b'S',
            ppid: 0,
            group: 0,
            session: 0,
            is_watchdog: false,
            forked_only: false,
            cpu: Ticks(ticks),
            start: 1,
        }
    }

    fn table() -> Table<()> {
        Table::new(100, &stat(0))
    }

    /// root - cargo - shim - rustc - link shim - cc - ld
    fn build() -> (Table<()>, [Index; 6]) {
        let mut table = table();
        let mut parent = Table::<()>::ROOT;
        let chain = [101, 102, 103, 104, 105, 106].map(|pid| {
            parent = table.insert(pid, &stat(0), parent);
            parent
        });
        let [_, shim, rustc, link_shim, cc, _] = chain;
        table.claim(shim, Some((UNIT, Role::Shim)));
        table.claim(rustc, Some((UNIT, Role::Child)));
        table.claim(link_shim, Some((LINK, Role::Shim)));
        table.claim(cc, Some((LINK, Role::Child)));
        (table, chain)
    }

    fn owners(table: &Table<()>, of: &[Index]) -> Vec<u32> {
        of.iter().map(|index| table.get(*index).unwrap().owner().0).collect()
    }

    fn reached(table: &Table<()>, of: &[Index], owner: Owner) -> Vec<bool> {
        of.iter().map(|index| table.reached_by(*index, owner)).collect()
    }

    #[test]
    fn the_nearest_claim_wins_and_a_release_falls_back() {
        let (mut table, chain) = build();
        assert_eq!(owners(&table, &chain), [0, 1, 1, 2, 2, 2]);
        table.release(LINK);
        assert_eq!(owners(&table, &chain), [0, 1, 1, 1, 1, 1]);
        table.release(UNIT);
        assert_eq!(owners(&table, &chain), [0; 6]);
    }

    #[test]
    fn a_signal_reaches_children_and_all_below_but_never_the_owners_shim() {
        let (table, chain) = build();
        assert_eq!(reached(&table, &chain, UNIT), [false, false, true, true, true, true]);
        assert_eq!(reached(&table, &chain, LINK), [false, false, false, false, true, true]);
        assert_eq!(reached(&table, &chain, Owner::REST), [false; 6]);
    }

    #[test]
    fn an_orphan_keeps_its_owner_and_what_reaches_it() {
        let (mut table, [_, shim, rustc, link_shim, cc, ld]) = build();
        assert_eq!(table.bury(rustc), Some(shim));
        assert_eq!(table.bury(link_shim), None);
        assert_eq!(owners(&table, &[cc, ld]), [2, 2]);
        assert_eq!(reached(&table, &[shim, cc, ld], UNIT), [false, true, true]);
        table.bury(ld);
        table.bury(cc);
        assert!(table.get(rustc).is_none(), "tombstones leave with their last descendant");
        assert!(table.get(shim).is_some());
    }

    #[test]
    fn the_children_of_a_dead_shim_are_reached_though_nobody_announced_them() {
        let mut table = table();
        let shim = table.insert(102, &stat(0), Table::<()>::ROOT);
        let rustc = table.insert(103, &stat(0), shim);
        table.claim(shim, Some((UNIT, Role::Shim)));
        assert!(!table.reached_by(rustc, UNIT));
        table.bury(shim);
        assert!(table.reached_by(rustc, UNIT));
    }

    #[test]
    fn only_what_has_started_below_a_unit_or_the_root_may_be_signalled() {
        let at = |start: u64| Stat { start, ..stat(0) };
        let (mut table, [cargo, shim, rustc, .., ld]) = build();
        assert!([cargo, shim, rustc, ld].iter().all(|it| table.has_started_below(*it)));
        assert!(!table.has_started_below(Table::<()>::ROOT));
        // A build from elsewhere: its Cargo, its shims and what belongs to no unit are nobody's to signal.
        let cargo = table.hang(200, &at(10));
        table.claim(cargo, Some((Owner(9), Role::Root)));
        let shim = table.insert(201, &at(11), cargo);
        table.claim(shim, Some((UNIT, Role::Shim)));
        let rustc = table.insert(202, &at(12), shim);
        table.claim(rustc, Some((UNIT, Role::Child)));
        let linker = table.insert(203, &at(13), rustc);
        assert!([rustc, linker].iter().all(|it| table.has_started_below(*it)));
        assert!([cargo, shim].iter().all(|it| !table.has_started_below(*it)));
        // Somebody who was there before what the table takes for its parent.
        let stranger = table.insert(204, &at(5), rustc);
        let below = table.insert(205, &at(14), stranger);
        assert!([stranger, below].iter().all(|it| !table.has_started_below(*it)));
        // What hangs on the root and is no build.
        let guest = table.hang(300, &at(20));
        table.claim(guest, Some((UNIT, Role::Child)));
        assert!(!table.has_started_below(guest));
    }

    #[test]
    fn processor_time_is_counted_once_and_never_falls() {
        let (mut table, [cargo, shim, rustc, link_shim, cc, ld]) = build();
        table.get_mut(rustc).unwrap().cpu = Millis(1000);
        table.get_mut(ld).unwrap().cpu = Millis(300);
        table.add_up();
        assert_eq!(table.usage(UNIT).cpu, Millis(1000));
        assert_eq!(table.usage(LINK).cpu, Millis(300));
        // Each is waited for by the one above, whose times then contain it.
        table.bury(ld);
        table.get_mut(cc).unwrap().cpu = Millis(300);
        table.bury(cc);
        table.get_mut(link_shim).unwrap().cpu = Millis(300);
        table.bury(link_shim);
        table.get_mut(rustc).unwrap().cpu = Millis(1300);
        table.add_up();
        assert_eq!(table.usage(UNIT).cpu, Millis(1000));
        assert_eq!(table.usage(LINK).cpu, Millis(300));
        assert_eq!(table.total().cpu, Millis(1300));
        table.bury(rustc);
        table.get_mut(shim).unwrap().cpu = Millis(1300);
        table.bury(shim);
        table.get_mut(cargo).unwrap().cpu = Millis(1350);
        table.release(LINK);
        table.add_up();
        assert_eq!(table.usage(UNIT).cpu, Millis(1000));
        assert_eq!(table.usage(Owner::REST).cpu, Millis(50));
        assert_eq!(table.total().cpu, Millis(1350));
    }

    /// make, or worker-build: a unit above the Cargo whose units end one by one.
    #[test]
    fn what_a_unit_below_another_has_used_is_not_that_ones_as_well() {
        const COMMAND: Owner = Owner(5);
        let mut table = table();
        let make = table.insert(101, &stat(0), Table::<()>::ROOT);
        table.claim(make, Some((COMMAND, Role::Child)));
        let cargo = table.insert(102, &stat(0), make);
        let shim = table.insert(103, &stat(0), cargo);
        table.claim(shim, Some((UNIT, Role::Shim)));
        let rustc = table.insert(104, &stat(0), shim);
        table.get_mut(rustc).unwrap().cpu = Millis(1000);
        table.add_up();
        table.bury(rustc);
        table.get_mut(shim).unwrap().cpu = Millis(1010);
        table.add_up();
        assert_eq!(table.usage(UNIT).cpu, Millis(1010));
        // The unit says that it has ended; then its shim does, and Cargo waits for that, and make for Cargo.
        table.release(UNIT);
        table.add_up();
        assert_eq!(table.usage(COMMAND).cpu, Millis::ZERO);
        table.bury(shim);
        table.get_mut(cargo).unwrap().cpu = Millis(1030);
        table.add_up();
        assert_eq!(table.usage(COMMAND).cpu, Millis(20));
        table.bury(cargo);
        table.get_mut(make).unwrap().cpu = Millis(1040);
        table.add_up();
        assert_eq!(table.usage(COMMAND).cpu, Millis(30));
        assert_eq!(table.total().cpu, Millis(1040));
    }

    #[test]
    fn the_time_of_builds_from_elsewhere_is_counted_when_they_are_gone() {
        const BUILD: Owner = Owner(9);
        let mut table = table();
        let mut used = 0;
        for pid in [200, 300, 400] {
            let cargo = table.hang(pid, &stat(0));
            table.claim(cargo, Some((BUILD, Role::Root)));
            let rustc = table.insert(pid + 1, &stat(0), cargo);
            let inner = table.insert(pid + 2, &stat(0), rustc);
            for (index, ms) in [(cargo, 100), (rustc, 400), (inner, 50)] {
                table.get_mut(index).unwrap().cpu = Millis(ms);
            }
            table.add_up();
            used += 550;
            assert_eq!(table.total().cpu, Millis(used));
            // An orphan of it that ends is nobody's to wait for here; what is left goes with the build.
            table.bury(cargo);
            table.bury(rustc);
            table.add_up();
            table.forget(cargo);
            table.release(BUILD);
            table.add_up();
            assert_eq!(table.total().cpu, Millis(used));
            assert_eq!(table.nodes.iter().flatten().count(), 1);
        }
    }

    #[test]
    fn a_build_within_a_build_stays_when_that_is_gone() {
        let mut table = table();
        let outer = table.hang(200, &stat(0));
        table.claim(outer, Some((Owner(8), Role::Root)));
        let test = table.insert(201, &stat(0), outer);
        let inner = table.insert(202, &stat(0), test);
        table.claim(inner, Some((Owner(9), Role::Root)));
        let rustc = table.insert(203, &stat(0), inner);
        table.forget(outer);
        assert!(table.get(test).is_none() && table.is_top(inner));
        assert_eq!(owners(&table, &[inner, rustc]), [9, 9]);
        table.forget(inner);
        assert_eq!(table.nodes.iter().flatten().count(), 1);
    }

    #[test]
    fn builds_within_a_build_that_goes_stay_together() {
        let mut table = table();
        let outer = table.hang(200, &stat(0));
        let inner = table.insert(201, &stat(0), outer);
        let test = table.insert(202, &stat(0), inner);
        let innermost = table.insert(203, &stat(0), test);
        for (index, owner) in [(outer, 7), (inner, 8), (innermost, 9)] {
            table.claim(index, Some((Owner(owner), Role::Root)));
        }
        table.bury(test);
        table.forget(outer);
        assert!(table.is_top(inner) && !table.is_top(innermost));
        table.bury(innermost);
        table.bury(inner);
        assert_eq!(table.nodes.iter().flatten().count(), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Forget(usize),
        Hang(u32),
        Fork(usize),
        Exit(usize),
        Claim(usize, u32, bool),
        Release(u32),
        Grow(usize, u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => any::<usize>().prop_map(Step::Fork),
            2 => any::<usize>().prop_map(Step::Exit),
            2 => (any::<usize>(), 1u32..5, any::<bool>()).prop_map(|(a, o, s)| Step::Claim(a, o, s)),
            1 => (1u32..5).prop_map(Step::Release),
            1 => any::<usize>().prop_map(Step::Forget),
            1 => (3u32..5).prop_map(Step::Hang),
            2 => (any::<usize>(), 0u64..1000).prop_map(|(a, m)| Step::Grow(a, m)),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn owners_share_out_everything_and_nothing_is_left(steps in steps()) {
            let mut table = table();
            let mut pid = 100;
            for step in steps {
                let living: Vec<Index> = table.living().map(|(index, _)| index).collect();
                let pick = |at: usize| living[at % living.len()];
                let before: Vec<Millis> = (0..5).map(|o| table.usage(Owner(o)).cpu).collect();
                let total = table.total().cpu;
                let mut released = None;
                match step {
                    Step::Fork(at) => {
                        pid += 1;
                        table.insert(pid, &stat(0), pick(at));
                    }
                    Step::Exit(at) => {
                        table.bury(pick(at));
                    }
                    Step::Claim(at, owner, shim) => {
                        let role = match owner {
                            4 => Role::Root,
                            _ if shim => Role::Shim,
                            _ => Role::Child,
                        };
                        table.claim(pick(at), Some((Owner(owner), role)));
                    }
                    Step::Hang(owner) => {
                        pid += 1;
                        let index = table.hang(pid, &stat(0));
                        table.claim(index, Some((Owner(owner), Role::Root)));
                    }
                    Step::Forget(at) => {
                        let top = pick(at);
                        table.forget(top);
                        prop_assert_eq!(table.get(top).is_none(), top != Table::<()>::ROOT);
                    }
                    Step::Release(owner) => {
                        table.release(Owner(owner));
                        released = Some(owner);
                    }
                    Step::Grow(at, mib) => {
                        let node = table.get_mut(pick(at)).unwrap();
                        node.memory = Bytes::mib(mib);
                        node.cpu += Millis(mib);
                    }
                }
                table.add_up();
                prop_assert!(table.total().cpu >= total);
                let sum: Bytes = (0..5).map(|o| table.usage(Owner(o)).memory).sum();
                prop_assert_eq!(sum, table.total().memory);
                let count: u32 = (0..5).map(|o| table.usage(Owner(o)).processes).sum();
                prop_assert_eq!(count as usize, table.living().count());
                for (owner, cpu) in before.iter().enumerate() {
                    if released != Some(owner as u32) {
                        prop_assert!(table.usage(Owner(owner as u32)).cpu >= *cpu);
                    }
                }
            }
            let all: Vec<Index> = table.living().map(|(index, _)| index).collect();
            for index in all {
                table.bury(index);
            }
            prop_assert_eq!(table.nodes.iter().flatten().count(), 1, "only the root is left");
        }
    }
}
