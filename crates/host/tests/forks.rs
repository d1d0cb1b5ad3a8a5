//! What counts of processes that have not called exec since their fork, against real ones.
//!
//! Each test's root is a process that holds memory and has a child which stays before its exec. Time is what the test
//! says it is; nothing outlives its test.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use plimsoll_core::{Bytes, Millis};
use plimsoll_host::{Owner, ProcessTree, Role};

const UNIT: Owner = Owner(1);

/// What the root holds.
const HELD: Bytes = Bytes::mib(200);
/// What its child writes to of that.
const WRITTEN: Bytes = Bytes::mib(40);

/// The variable that makes this binary's `puppet` test act.
const PUPPET: &str = "PLIMSOLL_HOST_TEST_PUPPET";

/// Not a test: what the tests start.
#[test]
#[ignore = "the other tests run it in processes of their own"]
fn puppet() {
    let Ok(act) = std::env::var(PUPPET) else { return };
    let mut memory = vec![1u8; HELD.0 as usize];
    let child = match act.as_str() {
        "vfork" => before_exec::borrow(),
        "fork" => before_exec::copy(&mut memory[..WRITTEN.0 as usize]),
        other => panic!("no such act: {other}"),
    };
    let mut out = std::io::stdout();
    writeln!(out, "\nchild {child}").unwrap();
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).unwrap() > 0 {
        // Every page anew, as if all of it had changed.
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = byte.wrapping_add(1));
        writeln!(out, "written").unwrap();
        line.clear();
    }
}

/// Children that stay before their exec.
mod before_exec {
    #![expect(unsafe_code, reason = "there is no safe fork")]

    use std::ffi::c_void;
    use std::io::{Read as _, Write as _};

    const STACK: usize = 64 << 10;

    /// One that runs in our memory, as vfork's and posix_spawn's do.
    pub(super) fn borrow() -> i32 {
        extern "C" fn wait(_: *mut c_void) -> i32 {
            stay()
        }
        // It is never given back: the child runs on it.
        let stack = vec![0u128; STACK / size_of::<u128>()].leak();
        let flags = libc::CLONE_VM | libc::SIGCHLD;
        // SAFETY: the child has a stack of its own, and does nothing but system calls.
        unsafe {
            libc::clone(wait, stack.as_mut_ptr_range().end.cast(), flags, std::ptr::null_mut())
        }
    }

    /// One with a copy of our memory, that has written to a part of it.
    pub(super) fn copy(part: &mut [u8]) -> i32 {
        let (mut done, mut doing) = std::io::pipe().unwrap();
        // SAFETY: the child only writes to memory that it has and then does nothing but system calls.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            part.fill(2);
            doing.write_all(&[1]).unwrap();
            stay();
        }
        done.read_exact(&mut [0]).unwrap();
        pid
    }

    /// Until the root ends.
    fn stay() -> ! {
        // SAFETY: system calls about this process alone.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            loop {
                libc::pause();
            }
        }
    }
}

/// A root that holds memory, and its child.
struct Root {
    process: Child,
    output: BufReader<ChildStdout>,
    child: u32,
}

impl Root {
    fn start(act: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "puppet", "--nocapture"])
            .env(PUPPET, act)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut root = Self { process, output, child: 0 };
        root.child = root.line("child ").parse().unwrap();
        root
    }

    fn line(&mut self, what: &str) -> String {
        let mut line = String::new();
        while !line.starts_with(what) {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "no `{what}` in the output");
        }
        line[what.len()..].trim().to_owned()
    }

    /// The root writes to all that it holds.
    fn write_all(&mut self) {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.line("written");
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A tree that has seen the child for `seconds`, which were measured ten times each.
fn watched(root: &Root, seconds: u64) -> ProcessTree {
    let mut tree = ProcessTree::new(root.process.id()).unwrap();
    tree.adopt(root.child, UNIT, Role::Child);
    assert_eq!(tree.parent(root.child), Some(root.process.id()));
    (0..=10 * seconds).for_each(|tenth| tree.sample(None, Millis(100 * tenth)));
    tree
}

fn is_about(ours: Bytes, exact: Bytes) -> bool {
    let slack = Bytes::mib(4);
    ours <= exact + slack && exact <= ours + slack
}

#[test]
fn a_vforks_child_holds_nothing_of_its_own_however_late_its_exec() {
    let root = Root::start("vfork");
    let tree = watched(&root, 5);
    assert_eq!(tree.usage(UNIT).processes, 1);
    assert_eq!(tree.usage(UNIT).memory, Bytes::ZERO);
    assert!(is_about(tree.total().memory, HELD), "{}", tree.total().memory);
}

#[test]
fn of_a_forks_child_counts_what_it_has_written_to() {
    let mut root = Root::start("fork");
    // What its parent changes, the child alone has as it was.
    for (own, all) in [(WRITTEN, HELD + WRITTEN), (HELD, HELD + HELD)] {
        let tree = watched(&root, 5);
        let (memory, total) = (tree.usage(UNIT).memory, tree.total().memory);
        assert!(is_about(memory, own), "{memory} instead of {own}");
        assert!(is_about(total, all), "{total} instead of {all}");
        root.write_all();
    }
}
