//! The process tree against real processes.
//!
//! Each test's root is a process of its own, so that tests do not see each other's. What the kernel's
//! page-table walk (`smaps_rollup`) says is the oracle for memory. Waiting is always for a condition,
//! with a deadline; nothing outlives its test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
extern crate plimsoll_testing;

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use plimsoll_core::{Bytes, Millis};
use plimsoll_host::{Owner, ProcessTree, Role};
use plimsoll_testing::needs;
use rustix::process::{Pid, Signal};

const UNIT: Owner = Owner(1);
const LINK: Owner = Owner(2);
const REST: Owner = Owner::REST;

/// The variable that makes this program a [`puppet`] instead of running tests: `role argument`.
const PUPPET: &str = "PLIMSOLL_HOST_TEST_PUPPET";

fn main() -> ExitCode {
    match std::env::var(PUPPET) {
        Ok(act) => puppet(&act),
        Err(_) => plimsoll_testing::run(),
    }
}

/// What the tests start, in processes of their own.
#[expect(clippy::zombie_processes, reason = "as a root it waits for any child, not for one")]
fn puppet(act: &str) -> ! {
    let mut words = act.split(' ');
    match words.next() {
        Some("hold") => {
            let mib: usize = words.next().unwrap().parse().unwrap();
            let memory = vec![1u8; mib << 20];
            say_ready();
            wait_for_the_end(&memory)
        }
        Some("share") => {
            let mib: usize = words.next().unwrap().parse().unwrap();
            let name = format!("puppet-{}", std::process::id());
            let file = rustix::fs::memfd_create(&*name, rustix::fs::MemfdFlags::CLOEXEC).unwrap();
            let mut file = fs::File::from(file);
            file.write_all(&vec![1u8; mib << 20]).unwrap();
            let kept = share::map(&file, mib << 20);
            say_ready();
            wait_for_the_end(&kept)
        }
        Some("swap") => {
            let mib: usize = words.next().unwrap().parse().unwrap();
            let memory = vec![1u8; mib << 20];
            share::page_out(&memory);
            say_ready();
            wait_for_the_end(&memory)
        }
        Some("burn") => {
            say_ready();
            let mut sum = 0u64;
            loop {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
        }
        // Becomes what the driver is: the parent of a build's orphans.
        Some("root") => {
            rustix::process::set_child_subreaper(Pid::from_raw(1)).unwrap();
            let script = act.strip_prefix("root ").unwrap();
            Command::new("sh").args(["-c", script]).env_remove(PUPPET).spawn().unwrap();
            while rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok() {}
            wait_for_the_end(&())
        }
        other => panic!("no such act: {other:?}"),
    }
}

/// Mapping a file and advice on memory need `unsafe`.
mod share {
    #![expect(unsafe_code, reason = "there is no safe way to map memory or to advise on it")]

    use std::ffi::c_void;
    use std::fs::File;

    /// A shared mapping of the file, its pages touched.
    pub(super) struct Mapping(*mut c_void, usize);

    pub(super) fn map(file: &File, len: usize) -> Mapping {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: the kernel chooses the place; nobody else knows this mapping or changes the file.
        let at = unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ, flags, file, 0) };
        Mapping(at.unwrap(), len)
    }

    /// Asks the kernel to swap the memory out.
    pub(super) fn page_out(memory: &[u8]) {
        use rustix::mm::{Advice, madvise};
        let (page, start) = (rustix::param::page_size(), memory.as_ptr() as usize);
        let skipped = start.next_multiple_of(page) - start;
        let inner = &memory[skipped..memory.len() - page];
        let at = inner.as_ptr() as *mut c_void;
        // SAFETY: whole pages of our own; paging out does not change what they hold.
        unsafe { madvise(at, inner.len() / page * page, Advice::LinuxPageOut) }.unwrap();
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: this is the mapping that was made above, and it is used no more.
            let _ = unsafe { rustix::mm::munmap(self.0, self.1) };
        }
    }
}

fn say_ready() {
    let mut out = std::io::stdout();
    out.write_all(b"\nready\n").unwrap();
    out.flush().unwrap();
}

/// Until the test kills it, with what it has. (Background jobs of a shell have no standard input to wait for.)
fn wait_for_the_end<T>(kept: &T) -> ! {
    loop {
        std::hint::black_box(kept);
        thread::park();
    }
}

/// A command line for a shell that acts as the puppet.
fn puppet_line(act: &str) -> String {
    let exe = std::env::current_exe().unwrap();
    format!("env {PUPPET}='{act}' '{}'", exe.display())
}

/// A root with everything below it, all gone when it is dropped.
struct Root {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
    /// Lines that nobody has asked for yet.
    heard: Vec<String>,
}

impl Root {
    /// A subreaper that runs `script` in a shell and outlives it.
    fn start(script: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env(PUPPET, format!("root {script}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output, heard: Vec::new() }
    }

    fn tree(&self) -> ProcessTree {
        ProcessTree::new(self.process.id()).unwrap()
    }

    /// The next line that begins with `what`, without that. Several processes write, in any order.
    fn line(&mut self, what: &str) -> String {
        loop {
            if let Some(at) = self.heard.iter().position(|line| line.starts_with(what)) {
                return self.heard.remove(at)[what.len()..].trim().to_owned();
            }
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "no `{what}` in the output");
            self.heard.push(line);
        }
    }

    fn pid(&mut self, what: &str) -> u32 {
        self.line(what).parse().unwrap()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Ok(mut tree) = ProcessTree::new(self.process.id()) {
            tree.kill_session();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        thread::yield_now();
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn is_gone(pid: u32) -> bool {
    state(pid).is_none_or(|state| state == 'Z' || state == 'X')
}

/// The kernel's exact account of a process: anonymous, shared-memory and swapped pages.
fn rollup(pid: u32) -> Bytes {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let of = |key: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0 kB");
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    Bytes::kib(of("Anonymous:") + of("Pss_Shmem:") + of("Swap:"))
}

fn assert_close(ours: Bytes, exact: Bytes) {
    let slack = Bytes::mib(2) + exact.scale(0.02);
    assert!(ours <= exact + slack && exact <= ours + slack, "ours {ours}, exact {exact}");
}

#[test]
fn memory_is_what_the_page_tables_say() {
    let mut root = Root::start(&format!("{} & echo pid $!; wait", puppet_line("hold 150")));
    let mut tree = root.tree();
    let pid = root.pid("pid");
    root.line("ready");
    tree.adopt(pid, UNIT, Role::Child);
    tree.sample(None, Millis(0));
    assert_close(tree.usage(UNIT).memory, rollup(pid));
    assert!(tree.usage(UNIT).memory > Bytes::mib(150));
    assert_eq!(tree.usage(UNIT).processes, 1);
    assert!(tree.total().memory >= tree.usage(UNIT).memory);
    assert_eq!(tree.total().processes, 3, "the shell and the root count");
    tree.release(UNIT);
    tree.sample(None, Millis(10));
    assert!(tree.usage(REST).memory > Bytes::mib(150), "it fell back to the rest");
}

#[test]
fn shared_memory_is_counted() {
    let mut root = Root::start(&format!("{} & echo pid $!; wait", puppet_line("share 80")));
    let mut tree = root.tree();
    let pid = root.pid("pid");
    root.line("ready");
    tree.adopt(pid, UNIT, Role::Child);
    tree.sample(None, Millis(0));
    assert_close(tree.usage(UNIT).memory, rollup(pid));
    assert!(tree.usage(UNIT).memory > Bytes::mib(80));
}

#[test]
fn swapped_memory_is_counted() {
    needs::swap(100);
    let mut root = Root::start(&format!("{} & echo pid $!; wait", puppet_line("swap 64")));
    let mut tree = root.tree();
    let pid = root.pid("pid");
    root.line("ready");
    tree.adopt(pid, UNIT, Role::Child);
    tree.sample(None, Millis(0));
    let usage = tree.usage(UNIT);
    assert!(usage.swapped > Bytes::mib(48), "{usage:?}");
    assert_close(usage.memory, rollup(pid));
    assert!(usage.memory > Bytes::mib(64));
}

#[test]
fn descendants_are_found_and_belong_to_the_nearest_adopted_ancestor() {
    let script = "sh -c 'echo outer $$; sh -c \"echo inner \\$\\$; sleep 1000 & echo leaf \\$!; wait\"; :' & wait";
    let mut root = Root::start(script);
    let (outer, inner, leaf) = (root.pid("outer"), root.pid("inner"), root.pid("leaf"));
    let mut tree = root.tree();
    assert_eq!(tree.enclosing_owner(leaf), None);
    assert!(tree.may_be_inside_script(leaf), "nobody has looked at the two above it");
    tree.adopt(outer, UNIT, Role::Child);
    assert_eq!(tree.enclosing_owner(leaf), Some(UNIT));
    tree.adopt(inner, LINK, Role::Child);
    assert_eq!(tree.enclosing_owner(leaf), Some(LINK));
    assert_eq!(tree.enclosing_owner(inner), Some(UNIT));
    assert_eq!(tree.enclosing_owner(outer), None);
    tree.scan();
    assert!(!tree.may_be_inside_script(leaf));
    assert!(!tree.may_be_inside_script(outer));
    tree.sample(None, Millis(0));
    assert_eq!(tree.usage(UNIT).processes, 1);
    assert_eq!(tree.usage(LINK).processes, 2);
    tree.release(LINK);
    tree.sample(None, Millis(10));
    assert_eq!(tree.usage(UNIT).processes, 3);
}

#[test]
fn what_is_not_below_the_root_is_never_adopted() {
    let root = Root::start("sleep 1000");
    let mut tree = root.tree();
    for pid in [0, 1, std::process::id(), root.process.id(), u32::MAX, 4_194_305] {
        tree.adopt(pid, UNIT, Role::Child);
        assert_eq!(tree.enclosing_owner(pid), None);
    }
    tree.kill(UNIT);
    tree.sample(None, Millis(0));
    assert_eq!(tree.usage(UNIT).processes, 0);
    assert!(!is_gone(root.process.id()));
}

#[test]
fn an_orphan_keeps_its_owner_and_is_killed_with_it() {
    let script = "sh -c 'echo unit $$; sh -c \"echo middle \\$\\$; sleep 1000 & echo leaf \\$!; wait\"; wait' & wait";
    let mut root = Root::start(script);
    let (unit, middle, leaf) = (root.pid("unit"), root.pid("middle"), root.pid("leaf"));
    let mut tree = root.tree();
    tree.adopt(unit, UNIT, Role::Child);
    tree.scan();
    signal(middle, Signal::KILL);
    until("its parent is gone", || is_gone(middle));
    tree.scan();
    tree.sample(None, Millis(0));
    assert_eq!(tree.enclosing_owner(leaf), Some(UNIT));
    tree.kill(UNIT);
    until("the orphan has ended", || is_gone(leaf));
}

#[test]
fn a_stopped_tree_stands_still_and_runs_again_but_its_shim_never_stops() {
    let mut root = Root::start(&format!(
        "sh -c 'echo shim $$; sh -c \"echo child \\$\\$; {} & echo busy \\$!; wait\"; :' & wait",
        puppet_line("burn").replace('\'', "\\\"")
    ));
    let (shim, child, busy) = (root.pid("shim"), root.pid("child"), root.pid("busy"));
    root.line("ready");
    let mut tree = root.tree();
    tree.adopt(shim, UNIT, Role::Shim);
    tree.adopt(child, UNIT, Role::Child);
    tree.stop(UNIT);
    until("both are stopped", || [child, busy].iter().all(|pid| state(*pid) == Some('T')));
    assert_ne!(state(shim), Some('T'));
    tree.resume(UNIT);
    until("both run", || [child, busy].iter().all(|pid| state(*pid) != Some('T')));
    tree.sample(None, Millis(0));
    let before = tree.usage(UNIT).cpu;
    let mut now = Millis(0);
    until("it uses the processor", || {
        now += Millis(1000);
        tree.sample(Some(&[UNIT]), now);
        tree.usage(UNIT).cpu > before + Millis(50)
    });
    tree.kill(UNIT);
    until("both are gone", || is_gone(child) && is_gone(busy));
    tree.sample(None, now + Millis(1000));
    assert!(tree.usage(UNIT).cpu > before, "what has ended still counts");
}

#[test]
fn a_process_that_keeps_forking_is_stopped_and_killed() {
    let forker = "while :; do sleep 1000 & sleep 0.01; done";
    let mut root = Root::start(&format!("sh -c 'echo unit $$; {forker}' & wait"));
    let unit = root.pid("unit");
    let mut tree = root.tree();
    tree.adopt(unit, UNIT, Role::Child);
    until("it has forked a lot", || {
        tree.scan();
        tree.alive_below_root().len() > 20
    });
    tree.stop(UNIT);
    until("all but the shell around it stand still", || {
        tree.scan();
        // In `D` the shell waits for a child of vfork's that was stopped before its exec.
        let moves = |pid: &u32| !matches!(state(*pid), Some('T' | 'Z' | 'D') | None);
        tree.alive_below_root().into_iter().filter(moves).count() == 1
    });
    let stopped = tree.alive_below_root().len();
    tree.scan();
    assert_eq!(tree.alive_below_root().len(), stopped);
    tree.kill(UNIT);
    until("nothing is left", || tree.alive_below_root().is_empty());
}

#[test]
fn a_stopped_owner_stays_stopped_when_somebody_continues_it() {
    let mut root = Root::start("sh -c 'echo unit $$; sleep 1000 & wait' & wait");
    let unit = root.pid("unit");
    let mut tree = root.tree();
    tree.adopt(unit, UNIT, Role::Child);
    tree.stop(UNIT);
    until("it is stopped", || state(unit) == Some('T'));
    // As a shell's `fg` does to the whole process group.
    signal(unit, Signal::CONT);
    until("a scan stops it again", || {
        tree.scan();
        state(unit) == Some('T')
    });
}

/// So that whoever was told can let it go on, even if we are killed before the signal's next line.
#[test]
fn a_process_is_told_of_before_it_is_stopped_and_no_more_once_it_goes_on() {
    let mut root = Root::start("sh -c 'sleep 1000 & echo unit $$; wait' & wait");
    let unit = root.pid("unit");
    let mut tree = root.tree();
    tree.adopt(unit, UNIT, Role::Child);
    let told = Rc::new(RefCell::new(Vec::new()));
    let teller = Rc::clone(&told);
    tree.tell_of_stopped(Box::new(move |stopped| {
        teller.borrow_mut().push((stopped.len(), state(unit)));
    }));
    tree.stop(UNIT);
    until("it is stopped", || state(unit) == Some('T'));
    tree.scan();
    let (stopped, seen) = told.borrow()[0];
    assert_ne!(seen, Some('T'));
    assert_eq!(stopped, 2, "the shell and its child");
    assert_eq!(told.borrow().len(), 1, "nothing new is not news");
    tree.resume(UNIT);
    assert_eq!(told.borrow().last().map(|(stopped, _)| *stopped), Some(0));
    tree.stop(UNIT);
    tree.kill(UNIT);
    assert_eq!(told.borrow().last().map(|(stopped, _)| *stopped), Some(0));
}

#[test]
fn stopping_a_unit_stops_the_link_shim_below_it_and_stopping_the_link_does_not() {
    let script = "sh -c 'echo rustc $$; sh -c \"echo shim \\$\\$; sleep 1000 & echo ld \\$!; wait\"; :' & wait";
    let mut root = Root::start(script);
    let (rustc, shim, ld) = (root.pid("rustc"), root.pid("shim"), root.pid("ld"));
    let mut tree = root.tree();
    tree.adopt(rustc, UNIT, Role::Child);
    tree.adopt(shim, LINK, Role::Shim);
    tree.adopt(ld, LINK, Role::Child);
    tree.stop(LINK);
    until("the linker is stopped", || state(ld) == Some('T'));
    assert_ne!(state(shim), Some('T'));
    assert_ne!(state(rustc), Some('T'));
    tree.stop(UNIT);
    until("all are stopped", || [rustc, shim, ld].iter().all(|pid| state(*pid) == Some('T')));
    tree.resume(UNIT);
    until("the unit runs", || [rustc, shim].iter().all(|pid| state(*pid) != Some('T')));
    assert_eq!(state(ld), Some('T'), "its own stop still holds");
    tree.resume(LINK);
    until("the linker runs", || state(ld) != Some('T'));
}

#[test]
fn a_build_script_is_found_once_and_what_it_starts_is_not() {
    let names = "OUT_DIR=/o/out NUM_JOBS=8 CARGO_PKG_NAME=zstd-sys CARGO_PKG_VERSION=2.0.1+zstd";
    let mut root = Root::start(&format!(
        "env {names} sh -c 'echo script $$; env OUT_DIR=/inner sh -c \"echo inner \\$\\$; sleep 1000\" & wait' & \
         env OUT_DIR=/o CARGO_PKG_NAME=rustc-run sh -c 'echo rustc $$; sleep 1000' & wait"
    ));
    let script = root.pid("script");
    let mut tree = root.tree();
    let mut found = Vec::new();
    until("everything is started and the script found", || {
        found.extend(tree.scan());
        !found.is_empty() && tree.alive_below_root().len() >= 3
    });
    found.extend(tree.scan());
    found.extend(tree.scan());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].pid, script);
    assert_eq!(found[0].package, "zstd-sys");
    assert_eq!(found[0].version, "2.0.1+zstd");
}

/// Places in the table are used again, so that a child may stand before its parent there.
#[test]
fn what_a_build_script_starts_is_no_other_one_wherever_it_stands_in_the_table() {
    let names = "OUT_DIR=/o/out NUM_JOBS=8 CARGO_PKG_NAME=nested CARGO_PKG_VERSION=1.0.0";
    let mut root = Root::start(&format!(
        "for i in 1 2 3 4 5; do sleep 2 & done; echo first; wait; echo gone $$; kill -STOP $$; \
         env {names} sh -c 'echo script $$; sleep 1000 & sleep 1001 & (sleep 1002 & wait) & wait'"
    ));
    root.line("first");
    let mut tree = root.tree();
    until("the first are there", || tree.alive_below_root().len() >= 6);
    let shell = root.pid("gone");
    until("they are gone and it is stopped", || {
        tree.alive_below_root() == [shell] && state(shell) == Some('T')
    });
    signal(shell, Signal::CONT);
    let script = root.pid("script");
    until("all are there", || tree.alive_below_root().len() >= 6);
    let found = tree.scan();
    assert_eq!(found.iter().map(|script| script.pid).collect::<Vec<_>>(), [script]);
    assert!(tree.scan().is_empty());
}

/// It has a build script's environment, and so has what it starts.
#[test]
fn what_a_build_script_that_was_never_seen_leaves_behind_is_none() {
    let names = "OUT_DIR=/o/out NUM_JOBS=8 CARGO_PKG_NAME=nested CARGO_PKG_VERSION=1.0.0";
    let mut root = Root::start(&format!(
        "env {names} sh -c 'sh -c \"echo left \\$\\$; sleep 1000 & sleep 1001; :\" &'; echo over; sleep 1002; :"
    ));
    root.line("over");
    let left = root.pid("left");
    let mut tree = root.tree();
    let mut found = Vec::new();
    until("it is below the root, with what it has started", || {
        found.extend(tree.scan());
        tree.parent(left) == Some(root.process.id()) && tree.alive_below_root().len() >= 5
    });
    found.extend(tree.scan());
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn an_adopted_process_is_no_build_script() {
    let names = "OUT_DIR=/o/out NUM_JOBS=8 CARGO_PKG_NAME=nested CARGO_PKG_VERSION=1.0.0";
    let mut root = Root::start(&format!("env {names} sh -c 'echo pid $$; sleep 1000' & wait"));
    let pid = root.pid("pid");
    let mut tree = root.tree();
    tree.adopt(pid, UNIT, Role::Shim);
    assert!(tree.scan().is_empty());
}

#[test]
fn an_oom_score_is_set_for_children_and_not_for_shims() {
    let mut root = Root::start("sh -c 'echo shim $$; sleep 1000 & echo child $!; wait' & wait");
    let (shim, child) = (root.pid("shim"), root.pid("child"));
    let mut tree = root.tree();
    tree.adopt(shim, UNIT, Role::Shim);
    tree.adopt(child, UNIT, Role::Child);
    let score = |pid: u32| -> i32 {
        let path = format!("/proc/{pid}/oom_score_adj");
        fs::read_to_string(Path::new(&path)).unwrap().trim().parse().unwrap()
    };
    let before = score(shim);
    tree.set_oom_score(UNIT, before + 300);
    assert_eq!((score(shim), score(child)), (before, before + 300));
    tree.set_oom_score(UNIT, before);
    assert_eq!(score(child), before);
}

#[test]
fn nothing_is_left_of_the_session_but_the_root_daemons_and_strangers_stay() {
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let mut root = Root::start(
        "setsid sh -c 'echo daemon $$; exec sleep 1000' & \
         sh -c 'sleep 1000 & sleep 1001 & (sleep 1002 &) ; kill -STOP $$' & \
         sh -c 'trap : TERM; while :; do sleep 0.02; done' & \
         echo started; while :; do wait; done",
    );
    let daemon = root.pid("daemon");
    let mut tree = root.tree();
    until("all are there", || tree.alive_below_root().len() >= 6);
    tree.kill_session();
    assert_eq!(tree.alive_below_root(), [daemon]);
    tree.adopt(daemon, UNIT, Role::Child);
    tree.kill(UNIT);
    assert!(!is_gone(root.process.id()));
    assert!(!is_gone(stranger.id()));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// A build that is not below the governor: found with all it has started before, measured, and left alone.
#[test]
fn a_build_from_elsewhere_is_a_root_of_its_own_and_no_signal_reaches_what_is_nobodys() {
    const BUILD: Owner = Owner(40);
    let mut ours = Command::new("sleep").arg("60").spawn().unwrap();
    let mut tree = ProcessTree::new(ours.id()).unwrap();
    tree.scan();
    let script = "sleep 60 & echo $!; sleep 60 & echo $!; wait";
    let mut cargo = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(cargo.stdout.take().unwrap());
    let pids: Vec<u32> = out.lines().take(2).map(|line| line.unwrap().parse().unwrap()).collect();
    tree.scan();
    assert_eq!(tree.build_of(pids[0]), None);
    assert!(tree.add_root(cargo.id(), BUILD));
    tree.scan();
    assert_eq!(tree.build_of(pids[0]), Some(BUILD));
    assert_eq!(tree.enclosing_owner(pids[0]), None, "no unit");
    tree.adopt(pids[0], UNIT, Role::Child);
    tree.sample(None, Millis(1));
    assert_eq!((tree.usage(BUILD).processes, tree.usage(UNIT).processes), (2, 1));
    // Through the build nothing is reached, through its unit only that.
    tree.kill(BUILD);
    tree.kill(UNIT);
    let state = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('Z')).unwrap_or(true)
    };
    until("the unit's has ended", || state(pids[0]));
    assert!(!state(pids[1]) && !state(cargo.id()));
    tree.release(UNIT);
    tree.remove_root(BUILD);
    tree.scan();
    assert_eq!(tree.build_of(pids[1]), None);
    tree.sample(None, Millis(2));
    assert_eq!(tree.total().processes, 1, "only the governor's own");
    // Its second sleep ends with it: `wait` was all that the shell did.
    let left = rustix::process::Pid::from_raw(pids[1].cast_signed()).unwrap();
    rustix::process::kill_process(left, rustix::process::Signal::KILL).unwrap();
    cargo.wait().unwrap();
    assert!(!tree.add_root(cargo.id(), BUILD), "it has ended");
    ours.kill().unwrap();
    ours.wait().unwrap();
}
