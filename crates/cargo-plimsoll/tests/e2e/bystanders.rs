//! Whoever dies, in whatever order: no signal reaches a process that is of no build under the account's budget.
//!
//! The test lives in a pid namespace of its own, so that a mistake harms nobody. There it is process 1, which adopts
//! the orphans, its own and those of a stranger.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{
    Process, is_stopped, of_scene, patience, process_exists, runs, signal, until,
};
use crate::scene::{Running, Scene};
use crate::strangers::ROLE;

/// This program's role in the namespace.
pub(crate) const INSIDE: &str = "inside";
/// What it says there when all went well.
const DONE: &str = "nobody else was touched\n";

/// A person's build that Plimsoll was never asked to govern, and a shell that writes down each signal that it gets.
struct Stranger<'a> {
    scene: &'a Scene,
    build: Running<'a>,
    canary: Running<'a>,
}

/// Signals that a shell can catch, and that ours send.
const CANARY: &str = "
    for signal in CONT TERM HUP INT; do trap \"echo $signal >>$E2E_SCENE/signals\" $signal; done
    touch $E2E_SCENE/canary-is-up
    while [ ! -e $E2E_SCENE/go ]; do sleep 0.02; done";

impl<'a> Stranger<'a> {
    fn start(scene: &'a Scene) -> Self {
        for name in ["p", "q", "r"] {
            scene.lib(name, &[], "");
            scene.write(format!("ws/{name}/build.rs"), holds(name));
        }
        let mut build = scene.cargo("build --jobs 4");
        build.env("CARGO_HOME", scene.at("cargo"));
        let build = scene.start(&mut build);
        let mut canary = Command::new("sh");
        scene.prepare(&mut canary);
        let canary = scene.start(canary.args(["-c", CANARY]));
        for name in ["p-holds", "q-holds", "r-holds", "canary-is-up"] {
            scene.wait_for(name);
        }
        Self { scene, build, canary }
    }

    fn end(self) {
        self.scene.write("go", "");
        for running in [self.build, self.canary] {
            let done = running.end();
            assert_eq!(done.code(), 0, "{}", done.stderr);
        }
        assert_eq!(self.scene.read("signals"), "", "the stranger's shell got signals");
    }
}

/// A build script that holds 40 MiB until the file `go` is there.
fn holds(name: &str) -> String {
    let script = "fn main() {
        let scene = std::env::var(\"E2E_SCENE\").unwrap();
        let held = vec![1u8; 40 << 20];
        std::fs::write(format!(\"{scene}/NAME-holds\"), \"\").unwrap();
        while !std::path::Path::new(&format!(\"{scene}/go\")).exists() {
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
        std::hint::black_box(&held);
    }";
    script.replace("NAME", name)
}

/// Watches a scene's processes: whether one of them was ever stopped.
struct Watcher {
    /// Dropped when it is to end.
    end: Sender<()>,
    thread: thread::JoinHandle<Vec<Process>>,
}

impl Watcher {
    fn start(dir: &Path) -> Self {
        let (end, ended) = std::sync::mpsc::channel();
        let dir = dir.to_owned();
        let thread = thread::spawn(move || {
            let mut stopped = Vec::new();
            while ended.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                stopped.extend(of_scene(&dir).into_iter().filter(|it| it.state == 'T'));
            }
            stopped
        });
        Self { end, thread }
    }

    fn stopped(self) -> Vec<Process> {
        drop(self.end);
        self.thread.join().unwrap()
    }
}

#[test]
fn whoever_dies_no_signal_reaches_a_strangers_build() {
    let scene = Scene::new();
    let mut inside = Command::new(std::env::current_exe().unwrap());
    scene.prepare(&mut inside);
    inside.env(ROLE, INSIDE).env_remove(crate::process::MARK);
    let mut inside = scene.in_namespaces(&["--pid", "--kill-child", "--mount-proc"], &inside);
    let done = scene.start(&mut inside).end_within(3 * patience());
    assert_eq!(done.code(), 0, "{}\n{}", done.stdout, done.stderr);
    assert_eq!(done.stdout, DONE, "{}", done.stderr);
}

/// What this program does in the namespace instead of running tests.
pub(crate) fn inside() -> ! {
    let bystander = Scene::new();
    let watcher = Watcher::start(bystander.dir());
    let stranger = Stranger::start(&bystander);
    for deaths in [
        waiting_shim_loses_its_cargo,
        waiting_shim_loses_its_cargo_and_the_governor,
        running_unit_loses_its_cargo_and_then_the_governor,
        running_unit_loses_the_governor_and_then_its_cargo,
    ] {
        // The budget is crossed by what the stranger holds, were that taken for the build's.
        let scene = Scene::new();
        let mut enable = scene.plimsoll("enable --memory 64MiB");
        scene.ok(enable.env("CARGO_HOME", scene.at("cargo")));
        scene.lib("a", &[], "// fake: log run-a; until go\n");
        scene.lib("b", &[], "// fake: log run-b; until go\n");
        deaths(&scene);
        scene.write("go", "");
    }
    stranger.end();
    let stopped = watcher.stopped();
    assert!(stopped.is_empty(), "{stopped:#?}");
    drop(bystander);
    std::io::stdout().write_all(DONE.as_bytes()).unwrap();
    std::process::exit(0)
}

/// Plain Cargo on the account.
fn cargo<'a>(scene: &'a Scene, package: &str) -> Running<'a> {
    let mut build = scene.fake_cargo(&format!("build -p {package}"));
    build.env("CARGO_HOME", scene.at("cargo"));
    build.env("CARGO_TARGET_DIR", scene.at(format!("target-{package}")));
    scene.start(&mut build)
}

/// The shim of a crate.
fn shim(scene: &Scene, package: &str) -> Option<u32> {
    let is_its = |it: &Process| {
        it.program == "plimsoll-rustc"
            && it.args.windows(2).any(|two| two == ["--crate-name", package])
    };
    of_scene(scene.dir()).into_iter().find(is_its).map(|it| it.pid)
}

/// Whether a process has a socket open.
fn is_connected(pid: u32) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.into_iter().any(|to| to.to_string_lossy().starts_with("socket:"))
}

/// `a` runs under a governor that is then stopped, and `b`'s shim waits for it. Gives governor and shim, and what runs.
fn a_shim_waits(scene: &Scene) -> (u32, u32, [Running<'_>; 2]) {
    let first = cargo(scene, "a");
    scene.wait_for_lines("run-a", 1);
    let governor = scene.governor().expect("one governs");
    signal(governor, Signal::STOP);
    until("the governor stands still", || is_stopped(governor).then_some(()));
    let second = cargo(scene, "b");
    let waiting =
        until("the shim of b waits", || shim(scene, "b").filter(|pid| is_connected(*pid)));
    (governor, waiting, [first, second])
}

fn kill_and_wait(pid: u32) {
    signal(pid, Signal::KILL);
    until("it has ended", || (!process_exists(pid)).then_some(()));
}

fn waiting_shim_loses_its_cargo(scene: &Scene) {
    let (governor, waiting, [first, second]) = a_shim_waits(scene);
    kill_and_wait(second.id());
    until("process 1 has adopted it", || {
        Process::read(waiting).is_none_or(|it| it.parent == 1).then_some(())
    });
    signal(governor, Signal::CONT);
    until("the shim has ended", || (!process_exists(waiting)).then_some(()));
    scene.write("go", "");
    assert_eq!(first.end().code(), 0);
    assert!(!scene.at("run-b").exists(), "nobody was left who could use it");
}

fn waiting_shim_loses_its_cargo_and_the_governor(scene: &Scene) {
    let (governor, waiting, [first, second]) = a_shim_waits(scene);
    kill_and_wait(second.id());
    kill_and_wait(governor);
    until("the shim has ended", || (!process_exists(waiting)).then_some(()));
    until("another one governs", || scene.governor().filter(|pid| *pid != governor));
    scene.write("go", "");
    assert_eq!(first.end().code(), 0);
}

fn running_unit_loses_its_cargo_and_then_the_governor(scene: &Scene) {
    let build = cargo(scene, "a");
    let compiler = scene.wait_for_lines("run-a", 1);
    let governor = scene.governor().expect("one governs");
    // Both at once, and the governor before it has seen the other's end.
    signal(governor, Signal::STOP);
    kill_and_wait(build.id());
    kill_and_wait(governor);
    until("its compiler has ended", || (!runs(compiler)).then_some(()));
}

fn running_unit_loses_the_governor_and_then_its_cargo(scene: &Scene) {
    let build = cargo(scene, "a");
    let compiler = scene.wait_for_lines("run-a", 1);
    let governor = scene.governor().expect("one governs");
    kill_and_wait(governor);
    kill_and_wait(build.id());
    until("its compiler has ended", || (!runs(compiler)).then_some(()));
}
