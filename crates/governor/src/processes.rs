//! The processes of all builds, by unit and by build: found, measured, paused and killed.
//!
//! The process tree knows owners only, which are numbers. Which number stands for which unit's compiler, for its
//! linker or for a build is known here and nowhere else.

use std::collections::BTreeSet;
use std::io;

use plimsoll_core::{BuildNo, Bytes, Millis, UnitId};
use plimsoll_host::{BuildScript, Owner, ProcessTree, Role, Usage, Witness};

/// What the kernel should rather take than the anchor, Cargo or anything else of the user's
/// (`oom_score_adj`, -1000 to 1000). Shims set the same before they start a compiler.
const RATHER_THIS: i32 = 500;

/// A part of a unit that is measured, paused and killed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Its compiler, test, build script or command, with all that it starts.
    Compiler,
    /// Its linker.
    Linker,
}

/// All processes that this governor sees to.
pub(crate) struct Processes {
    tree: ProcessTree,
    /// The unit that the kernel should take last.
    anchor: Option<UnitId>,
}

impl Processes {
    /// Everything below the process `root`.
    pub(crate) fn below(root: u32) -> io::Result<Self> {
        Ok(Self { tree: ProcessTree::new(root)?, anchor: None })
    }

    /// The process belongs to the unit, with everything that it starts.
    pub(crate) fn adopt(&mut self, pid: u32, unit: UnitId, part: Part, role: Role) {
        self.tree.adopt(pid, owner(unit, part), role);
    }

    /// The process belongs to the unit, if `parent` has started it.
    pub(crate) fn adopt_child(&mut self, parent: u32, pid: u32, unit: UnitId, part: Part) {
        self.tree.adopt_child(parent, pid, owner(unit, part));
    }

    /// The unit's processes are its no more.
    pub(crate) fn release(&mut self, unit: UnitId, part: Part) {
        self.tree.release(owner(unit, part));
    }

    pub(crate) fn stop(&mut self, unit: UnitId) {
        self.tree.stop(owner(unit, Part::Compiler));
    }

    pub(crate) fn resume(&mut self, unit: UnitId) {
        self.tree.resume(owner(unit, Part::Compiler));
    }

    pub(crate) fn page_out(&mut self, unit: UnitId) {
        self.tree.page_out(owner(unit, Part::Compiler));
    }

    pub(crate) fn kill(&mut self, unit: UnitId, part: Part) {
        self.tree.kill(owner(unit, part));
    }

    /// From now on the kernel should take anything before this unit.
    pub(crate) fn set_anchor(&mut self, unit: UnitId) {
        if let Some(old) = self.anchor.replace(unit) {
            self.tree.set_oom_score(owner(old, Part::Compiler), RATHER_THIS);
        }
        self.tree.set_oom_score(owner(unit, Part::Compiler), 0);
    }

    /// What a part of a unit held when it was measured last.
    pub(crate) fn usage(&self, unit: UnitId, part: Part) -> Usage {
        self.tree.usage(owner(unit, part))
    }

    /// What belongs to the build and to none of its units.
    pub(crate) fn usage_beside_units(&self, build: BuildNo) -> Usage {
        self.tree.usage(root_of(build))
    }

    /// Everything.
    pub(crate) fn total(&self) -> Usage {
        self.tree.total()
    }

    /// The programs that belong to the build and to no unit, with what they hold.
    pub(crate) fn programs_beside_units(&self, build: BuildNo) -> Vec<(String, Bytes)> {
        self.tree.programs(|owner| owner == root_of(build))
    }

    /// The programs that belong to none of these units, with what they hold.
    pub(crate) fn programs_beside(
        &self,
        units: impl Iterator<Item = UnitId>,
    ) -> Vec<(String, Bytes)> {
        let of_units: BTreeSet<Owner> = units
            .flat_map(|unit| [owner(unit, Part::Compiler), owner(unit, Part::Linker)])
            .collect();
        self.tree.programs(|owner| !of_units.contains(&owner))
    }

    /// Measures everything.
    pub(crate) fn sample(&mut self, now: Millis) {
        self.tree.sample(None, now);
    }

    /// Measures one unit.
    pub(crate) fn sample_unit(&mut self, unit: UnitId, now: Millis) {
        let owners = [owner(unit, Part::Compiler), owner(unit, Part::Linker)];
        self.tree.sample(Some(&owners), now);
    }

    /// Looks for new processes; gives the build scripts among them.
    pub(crate) fn scan(&mut self) -> Vec<BuildScript> {
        self.tree.scan()
    }

    /// The build's processes are below `root`. False where that is no process any more.
    pub(crate) fn add_build(&mut self, build: BuildNo, root: u32) -> bool {
        self.tree.add_root(root, root_of(build))
    }

    /// The build is over.
    pub(crate) fn remove_build(&mut self, build: BuildNo) {
        self.tree.remove_root(root_of(build));
    }

    /// The build that a process belongs to.
    pub(crate) fn build_of(&mut self, pid: u32) -> Option<BuildNo> {
        self.tree.build_of(pid).map(|owner| BuildNo(u32::MAX - owner.0))
    }

    /// The unit in whose process tree a process runs.
    pub(crate) fn enclosing_unit(&mut self, pid: u32) -> Option<UnitId> {
        self.tree.enclosing_owner(pid).map(|owner| UnitId(owner.0 / 2))
    }

    /// A build script that was not found yet may have started it.
    pub(crate) fn may_be_inside_script(&mut self, pid: u32) -> bool {
        self.tree.may_be_inside_script(pid)
    }

    pub(crate) fn parent(&self, pid: u32) -> Option<u32> {
        self.tree.parent(pid)
    }

    /// Somebody has stopped it.
    pub(crate) fn is_stopped(&self, pid: u32) -> bool {
        self.tree.is_stopped(pid)
    }

    /// A governor that was killed has left it stopped.
    pub(crate) fn is_left_stopped(&self, pid: u32) -> bool {
        self.tree.is_left_stopped(pid)
    }

    /// The kernel lets us write to the swap what a paused process holds.
    pub(crate) fn can_page_out(&self) -> bool {
        self.tree.can_page_out()
    }

    /// Kills what still runs below us in our own session.
    pub(crate) fn kill_session(&mut self) {
        self.tree.kill_session();
    }

    /// Has `witness` told of each process before it is stopped.
    pub(crate) fn tell_of_stopped(&mut self, witness: Witness) {
        self.tree.tell_of_stopped(witness);
    }

    pub(crate) fn keeps_something_stopped(&self) -> bool {
        self.tree.keeps_something_stopped()
    }
}

fn owner(unit: UnitId, part: Part) -> Owner {
    let compiler = unit.0.wrapping_mul(2);
    Owner(match part {
        Part::Compiler => compiler,
        Part::Linker => compiler.wrapping_add(1),
    })
}

/// The owner of what belongs to a build and to none of its units. Units are numbered from below.
fn root_of(build: BuildNo) -> Owner {
    Owner(u32::MAX - build.0)
}
