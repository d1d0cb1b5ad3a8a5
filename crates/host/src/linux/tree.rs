//! The process tree of a build: which processes are in it, and whose they are.
//!
//! Processes are found by one pass over `/proc` with one `stat` for each pid that was not seen before
//! (`/proc/PID/task/*/children` is missing on many kernels, and with rustc's dozens of threads it costs
//! more reads than it saves). Pids that are not of the build are remembered while they are listed, so
//! a reused pid is looked at again. Where no pid was given out since the last pass (`/proc/loadavg`
//! says so), nothing is listed at all.
//!
//! Deliberately not here: what a process holds (`memory`), signals (`signals`), what the table is
//! (`table`).

mod forked;
mod memory;
mod paging;
mod signals;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use plimsoll_core::{Bytes, Millis};

use super::environ::{self, Script};
use super::exit::Exit;
use super::procfs::{INIT, Proc, Stat};
use super::script::BuildScript;
use super::table::{Index, Node, Table};
use crate::HostError;
use crate::process::{Owner, Role, Usage};
use memory::Sampled;
use paging::Pager;
pub use signals::{StoppedProcess, Witness};

/// How often shared memory and swap are read.
const STATUS_PERIOD: Millis = Millis(1_000);

/// A chain of parents that is longer than this is not followed: no build nests that deep.
const DEEPEST: usize = 128;

/// What is kept with each process.
#[derive(Debug, Default)]
struct Record {
    sampled: Sampled,
    script: Script,
    /// Of a build's root: the `OUT_DIR` that the whole build inherited.
    outer_script: Option<Vec<u8>>,
}

/// Everything below one process, the root: the build.
///
/// The root (the driver) is counted with the rest; it is never signalled. Make the root a child
/// subreaper (prctl(2)), or orphans that no scan saw while their parents lived escape.
pub struct ProcessTree {
    proc: Proc,
    table: Table<Record>,
    /// Owners whose processes are kept stopped, also those that are found later.
    stopped: Vec<Owner>,
    /// Who is told of these processes, and what of them was told last.
    witness: Option<Witness>,
    told: Vec<StoppedProcess>,
    /// Pids that are not of the build, ascending.
    foreign: Vec<u32>,
    /// Scratch space for listings.
    listing: Vec<u32>,
    /// The newest pid of the namespace at the last scan, and how many scans in a row it was that.
    newest: (Option<u32>, u32),
    /// Whether the machine has swap, and when that was looked at.
    has_swap: bool,
    swap_checked: Option<Millis>,
    /// Whose memory is being written to the swap.
    pagers: Vec<Pager>,
    /// The kernel does not let us.
    paging_refused: Arc<AtomicBool>,
    /// The last pass left processes whose parents it did not know.
    open: bool,
}

/// After so many scans with the same newest pid there is nothing new to be found. Because a pid is
/// given out a moment before its process can be listed: the scan after that moment finds it.
const SETTLED_SCANS: u32 = 2;

/// Somebody has announced it as a unit's.
fn is_adopted(node: &Node<Record>) -> bool {
    !matches!(node.claim, Some((_, Role::Root)) | None)
}

impl ProcessTree {
    /// Everything below `root` (the driver) is the build.
    ///
    /// # Errors
    /// Where `/proc` cannot be opened, has no such process, or is that of another pid namespace.
    pub fn new(root: u32) -> io::Result<Self> {
        let path = Path::new("/proc");
        let proc = Proc::open(path)?;
        if !proc.is_of_our_namespace() {
            let source = io::Error::other(
                "it belongs to another pid namespace; mount it again in this one (`unshare --mount-proc`, or `mount -t proc proc /proc`)",
            );
            return Err(HostError::new("use", path, source).into());
        }
        let stat = proc.stat(root).ok_or_else(|| {
            let source = io::Error::from(io::ErrorKind::NotFound);
            HostError::new("find the process", path.join(root.to_string()), source)
        })?;
        let mut table: Table<Record> = Table::new(root, &stat);
        if let Some(node) = table.get_mut(Table::<Record>::ROOT) {
            node.record.script = Script::No;
            node.record.outer_script = environ::out_dir(&proc, root);
        }
        Ok(Self {
            proc,
            table,
            stopped: Vec::new(),
            witness: None,
            told: Vec::new(),
            foreign: Vec::new(),
            listing: Vec::new(),
            newest: (None, 0),
            has_swap: false,
            swap_checked: None,
            pagers: Vec::new(),
            paging_refused: Arc::default(),
            open: false,
        })
    }

    /// A process that was announced (a shim, its compiler, a linker): it and its descendants belong to
    /// `owner` until an adopted process below says otherwise. Reads only the chain of parents. What is
    /// not below the root, has ended, or is the root itself is ignored.
    pub fn adopt(&mut self, pid: u32, owner: Owner, role: Role) {
        if let Some(index) = self.locate(pid) {
            self.claim(index, owner, role);
        }
    }

    /// The same of a compiler or linker whose parent says its number: ignored where it is not `parent`'s child.
    /// (A number from another pid namespace means another process.)
    pub fn adopt_child(&mut self, parent: u32, pid: u32, owner: Owner) {
        let Some(index) = self.locate(pid) else { return };
        if self.parent(pid) == Some(parent) {
            self.claim(index, owner, Role::Child);
        }
    }

    fn claim(&mut self, index: Index, owner: Owner, role: Role) {
        if self.table.get(index).is_some_and(|it| matches!(it.claim, Some((_, Role::Root)))) {
            // A build's first process is no unit of it.
            return;
        }
        self.table.claim(index, Some((owner, role)));
        if self.stopped.iter().any(|stopped| self.table.reached_by(index, *stopped)) {
            self.hold_still();
        }
    }

    /// `pid` and everything below it, now and later, is a build of its own, and `owner` stands for what of it
    /// belongs to no unit. It need not be below the root. False where there is no such process (any more).
    pub fn add_root(&mut self, pid: u32, owner: Owner) -> bool {
        let Some(stat) = self.proc.stat(pid).filter(|stat| !stat.is_dead()) else { return false };
        let below = self.known(pid, &stat).or_else(|| self.locate(pid));
        let index = below.unwrap_or_else(|| {
            let index = self.table.hang(pid, &stat);
            // What it has started so far was taken for somebody else's.
            self.foreign.clear();
            self.newest = (None, 0);
            index
        });
        if let Some(node) = self.table.get_mut(index) {
            node.record.script = Script::No;
            node.record.outer_script = environ::out_dir(&self.proc, pid);
        }
        if !self.table.get(index).is_some_and(is_adopted) {
            // A unit's process stays the unit's, whatever it runs.
            self.table.claim(index, Some((owner, Role::Root)));
        }
        true
    }

    /// A build is over, of which `owner` is the root: unless it is below another, it and what is left below it
    /// are nobody's any more. No signal is sent.
    pub fn remove_root(&mut self, owner: Owner) {
        let top = self.table.claimed_by(owner).filter(|index| self.table.is_top(*index));
        if let Some(top) = top {
            self.table.forget(top);
            self.foreign.clear();
            self.newest = (None, 0);
        }
        self.table.release(owner);
    }

    /// The build that the process is in: the owner that stands for the root that it is below, or is.
    pub fn build_of(&mut self, pid: u32) -> Option<Owner> {
        let stat = self.proc.stat(pid)?;
        let index = self.known(pid, &stat).or_else(|| self.locate(pid))?;
        self.table.ancestry(index).find_map(|node| match node.claim {
            Some((owner, Role::Root)) => Some(owner),
            _ => None,
        })
    }

    /// Whether the process is stopped.
    #[must_use]
    pub fn is_stopped(&self, pid: u32) -> bool {
        self.proc.stat(pid).is_some_and(|stat| stat.state == b'T')
    }

    /// Whether the process is stopped though its parent is not: whoever has done that (a governor that was killed) is not
    /// there any more to let it go on.
    #[must_use]
    pub fn is_left_stopped(&self, pid: u32) -> bool {
        let is_stopped = |stat: &Stat| stat.state == b'T';
        let Some(stat) = self.proc.stat(pid).filter(is_stopped) else { return false };
        self.proc.stat(stat.ppid).is_some_and(|parent| !is_stopped(&parent))
    }

    /// Forgets an owner: its processes fall back to their next adopted ancestor, or to the rest. What was
    /// stopped with it and is still there runs again.
    pub fn release(&mut self, owner: Owner) {
        self.stop_paging(owner);
        if self.stopped.contains(&owner) {
            self.resume(owner);
        }
        self.table.release(owner);
        self.table.add_up();
    }

    /// The owner of the nearest adopted process above `pid`; `None` where that is the rest, or where
    /// `pid` is not of the build.
    pub fn enclosing_owner(&mut self, pid: u32) -> Option<Owner> {
        let index = self.locate(pid)?;
        self.table.ancestry(index).skip(1).find_map(|node| match node.claim {
            Some((_, Role::Root)) | None => None,
            Some((owner, _)) => Some(owner),
        })
    }

    /// The parent that `pid` had when it was found; `None` where it was not.
    #[must_use]
    pub fn parent(&self, pid: u32) -> Option<u32> {
        self.table.ancestry(self.table.find(pid)?).nth(1).map(|node| node.pid)
    }

    /// Whether `pid` may run inside a build script that [`scan`](Self::scan) has yet to find: a process
    /// between it and the root was not looked at so far. Almost always it is Cargo's own child, and
    /// the listing of all processes, which costs as much as the rest of a registration, can be saved.
    pub fn may_be_inside_script(&mut self, pid: u32) -> bool {
        let Some(index) = self.locate(pid) else { return false };
        self.table.ancestry(index).skip(1).any(|node| node.record.script == Script::Unknown)
    }

    /// Finds new processes, and keeps those of stopped owners stopped. Returns the build scripts' runs
    /// among them, each once: a build script that runs inside another one, or inside an adopted
    /// process, belongs to that and is not returned. What a script that has ended has left behind is none.
    pub fn scan(&mut self) -> Vec<BuildScript> {
        let newest = self.proc.newest_pid();
        let seen = if newest == self.newest.0 { self.newest.1 + 1 } else { 0 };
        self.newest = (newest, seen);
        if newest.is_none() || seen < SETTLED_SCANS || self.open {
            self.discover();
        }
        if !self.stopped.is_empty() {
            self.hold_still();
        }
        let mut found = Vec::new();
        // What is below a process is judged after it, and may stand before it in the table.
        loop {
            let mut judged = false;
            for at in 0..self.table.end() {
                let Some((index, node)) = self.table.at(at) else { continue };
                if node.record.script == Script::Unknown {
                    found.extend(self.look_for_script(index));
                    judged |=
                        self.table.get(index).is_some_and(|n| n.record.script != Script::Unknown);
                }
            }
            if !judged {
                return found;
            }
        }
    }

    fn look_for_script(&mut self, index: Index) -> Option<BuildScript> {
        let open = |above: &Node<Record>| above.runs() && above.record.script == Script::Unknown;
        if self.table.ancestry(index).skip(1).any(open) {
            return None;
        }
        let inside = self
            .table
            .ancestry(index)
            .skip(1)
            .any(|above| is_adopted(above) || above.record.script == Script::Yes);
        let node = self.table.get(index)?;
        let (pid, start) = (node.pid, node.start);
        let (verdict, script) = if inside || is_adopted(node) {
            (Script::No, None)
        } else if self.has_settled(index) {
            let outer = self.table.ancestry(index).find_map(|it| it.record.outer_script.clone());
            match environ::read(&self.proc, pid, outer.as_deref()) {
                // Cargo is neither the root nor has it ended: a script that has, before it was found, leaves its
                // environment to what it has started.
                Ok(Some(_))
                    if self.table.parent(index).is_none_or(|it| it == Table::<Record>::ROOT) =>
                {
                    (Script::Yes, None)
                }
                Ok(Some(environ::Package { name: package, version, dir })) => {
                    let exit = Exit::of(pid).filter(|_| self.proc.is_build_script(pid));
                    // The environment was that of the process that we know, if it still has the pid.
                    let same = self.proc.stat(pid).is_some_and(|stat| stat.start == start);
                    let script = BuildScript { pid, package, version, dir, exit };
                    (Script::Yes, Some(script).filter(|_| same))
                }
                Ok(None) => (Script::No, None),
                Err(environ::NotYet) => return None,
            }
        } else {
            return None;
        };
        self.table.get_mut(index)?.record.script = verdict;
        script
    }

    /// Whether the process is past its exec. Before, its environment and memory are its parent's.
    fn has_settled(&mut self, index: Index) -> bool {
        match self.table.get(index) {
            Some(node) if node.settled => true,
            Some(_) => self.refresh(index).is_some_and(|stat| !stat.forked_only),
            None => false,
        }
    }

    /// Reads `stat` again; buries the process where it has ended.
    fn refresh(&mut self, index: Index) -> Option<Stat> {
        let node = self.table.get(index).filter(|node| node.alive)?;
        let same = |stat: &Stat| stat.start == node.start && !stat.is_watchdog;
        let Some(stat) = self.proc.stat(node.pid).filter(same) else {
            // It has ended, or has become what belongs to no build.
            self.bury(index);
            return None;
        };
        let node = self.table.get_mut(index)?;
        node.cpu = node.cpu.max(stat.cpu.millis());
        node.zombie = stat.is_dead();
        node.settled |= !stat.forked_only;
        Some(stat)
    }

    /// The process has ended; its parent, if it waited for it, has its times now.
    fn bury(&mut self, index: Index) {
        let mut ended = Some(index);
        while let Some(waiter) = ended.take().and_then(|index| self.table.bury(index)) {
            let Some(node) = self.table.get(waiter) else { return };
            match self.proc.stat(node.pid).filter(|stat| stat.start == node.start) {
                Some(stat) => {
                    if let Some(node) = self.table.get_mut(waiter) {
                        node.cpu = node.cpu.max(stat.cpu.millis());
                    }
                }
                None => ended = Some(waiter),
            }
        }
    }

    /// What the owner's processes used when they were last sampled.
    #[must_use]
    pub fn usage(&self, owner: Owner) -> Usage {
        self.table.usage(owner)
    }

    /// What the whole build used when it was last sampled, the root included.
    #[must_use]
    pub fn total(&self) -> Usage {
        self.table.total()
    }

    /// What the processes of these owners hold, by the names of their programs.
    pub fn programs(&self, which: impl Fn(Owner) -> bool) -> Vec<(String, Bytes)> {
        let mut programs: BTreeMap<String, Bytes> = BTreeMap::new();
        let holding = self.table.living().map(|(_, node)| node);
        for node in holding.filter(|node| which(node.owner()) && node.memory > Bytes::ZERO) {
            if let Some(name) = self.proc.program(node.pid) {
                *programs.entry(name).or_default() += node.memory;
            }
        }
        programs.into_iter().collect()
    }

    /// The process in the table, entered with its ancestors where it is below the root.
    fn locate(&mut self, pid: u32) -> Option<Index> {
        let mut stat = self.proc.stat(pid)?;
        let mut chain = vec![(pid, stat)];
        if let Some(known) = self.known(pid, &stat) {
            return Some(known).filter(|index| *index != Table::<Record>::ROOT);
        }
        let mut above = loop {
            if stat.ppid == 0 || stat.is_watchdog || chain.len() > DEEPEST {
                return None;
            }
            let parent = stat.ppid;
            let younger = stat.start;
            stat = self.proc.stat(parent)?;
            if stat.start > younger {
                return None;
            }
            if let Some(known) = self.known(parent, &stat) {
                let first = chain.last().map_or(stat, |(_, stat)| *stat);
                break self.parent_of(&first).filter(|parent| *parent == known)?;
            }
            chain.push((parent, stat));
        };
        for (pid, stat) in chain.iter().rev() {
            above = self.table.insert(*pid, stat, above);
        }
        Some(above)
    }

    /// The process of the table below which one with this `stat` belongs; `None` where it is a stranger's. Process 1
    /// adopts every orphan of its pid namespace: only what is in its own session is what it has started. And a number
    /// may have been given again since its process was looked at last.
    fn parent_of(&mut self, stat: &Stat) -> Option<Index> {
        let mut parent = self.table.find(stat.ppid).filter(|_| !stat.is_watchdog)?;
        if let Some(now) = self.proc.stat(stat.ppid) {
            parent = self.known(stat.ppid, &now)?;
        }
        let of_init = || self.proc.stat(INIT).is_some_and(|init| init.session == stat.session);
        (stat.ppid != INIT || of_init()).then_some(parent)
    }

    /// The process in the table with this pid and start.
    fn known(&mut self, pid: u32, stat: &Stat) -> Option<Index> {
        let index = self.table.find(pid)?;
        if self.table.get(index)?.start == stat.start {
            return Some(index);
        }
        self.bury(index);
        None
    }

    /// Enters processes that appeared since the last pass, and buries those that are gone.
    fn discover(&mut self) {
        let mut listing = std::mem::take(&mut self.listing);
        if self.proc.list(&mut listing).is_ok() {
            for at in 0..self.table.end() {
                let Some((index, node)) = self.table.at(at) else { continue };
                if listing.binary_search(&node.pid).is_err() {
                    self.bury(index);
                }
            }
            self.open = !self.enter_new(&listing);
        }
        self.listing = listing;
    }

    /// Enters the listed pids that are below the root. True where each one's place is clear: a pid
    /// whose parent was not listed (it is younger than the listing) waits for the next pass.
    fn enter_new(&mut self, listing: &[u32]) -> bool {
        let mut unknown: Vec<(u32, Stat)> = Vec::new();
        let mut foreign = Vec::with_capacity(self.foreign.len() + 16);
        let mut before = self.foreign.iter().copied().peekable();
        for pid in listing {
            while before.next_if(|old| old < pid).is_some() {}
            if before.next_if(|old| old == pid).is_some() {
                foreign.push(*pid);
            } else if self.table.find(*pid).is_none() {
                unknown.extend(self.proc.stat(*pid).map(|stat| (*pid, stat)));
            }
        }
        loop {
            let open = unknown.len();
            let mut strangers = Vec::new();
            unknown.retain(|(pid, stat)| {
                if let Some(parent) = self.parent_of(stat) {
                    self.table.insert(*pid, stat, parent);
                    false
                } else if stat.ppid <= INIT
                    || stat.is_watchdog
                    || foreign.binary_search(&stat.ppid).is_ok()
                {
                    strangers.push(*pid);
                    false
                } else {
                    true
                }
            });
            foreign.append(&mut strangers);
            foreign.sort_unstable();
            if unknown.is_empty() || unknown.len() == open {
                break;
            }
        }
        self.foreign = foreign;
        unknown.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    struct Ends(Child);

    impl Drop for Ends {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn sleeps() -> Ends {
        Ends(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    /// Else each scan would look for it to stand still again and again, in vain.
    #[test]
    fn what_may_get_no_signal_is_not_waited_for() {
        let (root, stranger) = (sleeps(), sleeps());
        let mut tree = ProcessTree::new(root.0.id()).unwrap();
        let pid = stranger.0.id();
        let index = tree.table.hang(pid, &tree.proc.stat(pid).unwrap());
        tree.table.claim(index, Some((Owner(2), Role::Child)));
        assert!(tree.still(&[index]));
        assert_ne!(tree.proc.stat(pid).unwrap().state, b'T');
    }

    /// Nobody has looked for long, and the number of a unit's process is that of a stranger, who has started something.
    #[test]
    fn what_a_stranger_with_the_number_of_an_ended_process_starts_is_not_of_the_build() {
        let (root, unit) = (sleeps(), Owner(2));
        let mut tree = ProcessTree::new(root.0.id()).unwrap();
        // This process is the stranger, and the build had its number before.
        let stranger = std::process::id();
        let now = tree.proc.stat(stranger).unwrap();
        let before = Stat { start: now.start - 1, ..now };
        let index = tree.table.insert(stranger, &before, Table::<Record>::ROOT);
        tree.table.claim(index, Some((unit, Role::Child)));
        let started = sleeps();
        tree.discover();
        tree.discover();
        assert_eq!(tree.table.find(started.0.id()), None);
        assert_eq!(tree.table.find(stranger), None);
    }
}
