//! Ctrl-C, Ctrl-Z and `fg`, SIGTERM: whatever waits, runs or is stopped.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::process::{Process, is_stopped, of_scene, runs, signal, until};
use crate::scene::Scene;

/// One unit that runs, one that is stopped, one that waits.
fn crowded() -> Scene {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; alloc 130MiB in 260ms; touch a-is-up; until go\n");
    // They come after another one, so that `a` is the oldest.
    scene.lib("z", &[], "").lib(
        "b",
        &["z"],
        "// fake: until a-is-up; log run-b; alloc 400MiB in 800ms; until go\n",
    );
    scene.lib("c", &["z"], "// fake: until a-is-up; alloc 20MiB in 40ms; until go\n");
    scene
}

const CROWDED: &str = "--memory 400MiB --jobs 4 build";

fn stopped(scene: &Scene) -> u32 {
    let b = scene.wait_for_lines("run-b", 1);
    until("b is stopped", || is_stopped(b).then_some(()));
    b
}

#[test]
fn a_signal_that_ends_the_driver_ends_everything() {
    for (number, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let scene = crowded();
        let running = scene.start(&mut scene.fake(CROWDED));
        stopped(&scene);
        running.signal(number);
        let done = running.end();
        assert_eq!(done.code(), code, "{}", done.stderr);
        scene.assert_clean();
        // What was interrupted is built by the next Cargo, whichever.
        scene.write("go", "");
        scene.ok(&mut scene.fake_cargo("build"));
    }
}

#[test]
fn a_signal_to_the_whole_group_ends_everything() {
    let scene = crowded();
    let running = scene.start(&mut scene.fake(CROWDED));
    stopped(&scene);
    running.signal_group(Signal::INT);
    let done = running.end();
    assert_eq!(done.code(), 130, "{}", done.stderr);
    scene.assert_clean();
}

#[test]
fn a_signal_before_anything_runs_ends_it_too() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    // A compiler that never answers Cargo's first question.
    let slow = scene.script("slow", "echo $$ >>$E2E_SCENE/asked; exec sleep 1000");
    let mut command = scene.plimsoll("build");
    let running = scene.start(command.env("RUSTC", slow));
    scene.wait_for_lines("asked", 1);
    running.signal_group(Signal::TERM);
    assert_eq!(running.end().code(), 143);
}

/// A job-control shell on a terminal of its own.
pub(crate) struct Terminal {
    keys: File,
    shell: Child,
    /// What was on the screen, one after the other.
    said: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
    closed: Arc<AtomicBool>,
}

impl Terminal {
    /// As a person's shell does it: each command is a job of its own.
    pub(crate) fn start(scene: &Scene, command: &mut Command) -> Self {
        Self::run(scene, command, |words| {
            format!(
                "set -m; {words}; echo status $? >&2; touch $E2E_SCENE/back
                 while [ -n \"$(jobs -s)\" ]; do
                     while [ ! -e $E2E_SCENE/fg ]; do sleep 0.01; done
                     rm $E2E_SCENE/fg; fg >/dev/null; echo status $? >&2
                 done"
            )
        })
    }

    /// As `xterm -e` does it: nothing stands between the terminal and the command.
    fn start_alone(scene: &Scene, command: &mut Command) -> Self {
        Self::run(scene, command, |words| format!("exec {words}"))
    }

    fn run(scene: &Scene, command: &mut Command, script: impl Fn(String) -> String) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keys = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&keys).unwrap();
        rustix::pty::unlockpt(&keys).unwrap();
        let name = rustix::pty::ptsname(&keys, Vec::new()).unwrap();
        let flags =
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let tty: OwnedFd =
            rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).unwrap();
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        let script = script(words.join(" "));
        let mut shell = Command::new("setsid");
        shell.args(["--ctty", "bash", "-c", &script]);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let copy = || Stdio::from(tty.try_clone().unwrap());
        shell.current_dir(scene.at("ws")).env("TERM", "xterm");
        let shell = shell.stdin(copy()).stdout(copy()).stderr(copy()).spawn().unwrap();
        drop(tty);
        resize(&keys, 24, 80);
        let keys = File::from(keys);
        let mut screen = keys.try_clone().unwrap();
        let closed = Arc::new(AtomicBool::new(false));
        let seen = closed.clone();
        let said = Arc::new(Mutex::new(Vec::new()));
        let so_far = said.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            let look = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            while !seen.load(Ordering::Relaxed) {
                let mut ready = [PollFd::new(&screen, PollFlags::IN)];
                match rustix::event::poll(&mut ready, Some(&look)) {
                    Ok(0) => continue,
                    _ => match screen.read(&mut bytes) {
                        Ok(read @ 1..) => so_far.lock().unwrap().extend_from_slice(&bytes[..read]),
                        // The terminal's end is an error (EIO) on Linux.
                        _ => break,
                    },
                }
            }
        });
        Self { keys, shell, said, reader, closed }
    }

    /// What was on the screen so far.
    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }

    /// Waits until the screen has shown a text so many times.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str, times: usize) {
        until(&format!("the screen shows `{text}`"), || {
            (self.screen().matches(text).count() >= times).then_some(())
        });
    }

    pub(crate) fn press(&mut self, key: u8) {
        self.keys.write_all(&[key]).unwrap();
    }

    /// Closes the window.
    fn hang_up(mut self) {
        self.closed.store(true, Ordering::Relaxed);
        self.reader.join().unwrap();
        drop(self.keys);
        until("the shell has ended", || self.shell.try_wait().unwrap());
    }

    /// Waits for the shell's end; what was on the screen.
    pub(crate) fn end(mut self) -> String {
        until("the shell has ended", || self.shell.try_wait().unwrap());
        drop(self.keys);
        self.reader.join().unwrap();
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }
}

fn resize(terminal: impl AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).unwrap();
}

const CTRL_C: u8 = 3;
const CTRL_Z: u8 = 26;

#[test]
fn ctrl_c_ends_everything() {
    let scene = crowded();
    let mut terminal = Terminal::start(&scene, &mut scene.fake(CROWDED));
    stopped(&scene);
    terminal.press(CTRL_C);
    let screen = terminal.end();
    assert!(screen.contains("status 130"), "{screen}");
}

/// Cargo leaves its progress bar, the terminal writes `^C` over its beginning, and the summary begins below it.
#[test]
fn the_summary_of_a_canceled_build_stands_on_lines_of_its_own_and_blames_nobody() {
    let scene = crowded();
    let mut command = scene.fake(CROWDED);
    let mut terminal = Terminal::start(&scene, command.env_remove("CI"));
    stopped(&scene);
    terminal.press(CTRL_C);
    let screen = terminal.end();
    let (_, summary) = screen.rsplit_once("\x1b[K\r\n").expect("the rest of the budget is cleared");
    assert!(summary.contains("Plimsoll\x1b[0m peak memory "), "{screen:?}");
    assert!(summary.contains(", then canceled\r\n"), "{screen:?}");
    assert!(!summary.contains("Not built") && !summary.contains("failed"), "{screen:?}");
}

#[test]
fn a_build_that_is_paused_in_top_says_so_in_its_own_terminal() {
    let scene = crowded();
    let mut command = scene.fake(CROWDED);
    let terminal = Terminal::start(&scene, command.env_remove("CI"));
    stopped(&scene);
    let a = scene.wait_for_lines("run-a", 1);
    pause(&scene, true);
    terminal.shows("from `cargo plimsoll top`; press p there to continue", 1);
    until("a is stopped", || is_stopped(a).then_some(()));
    pause(&scene, false);
    until("a goes on", || runs(a).then_some(()));
    scene.write("go", "");
    let screen = terminal.end();
    assert!(screen.contains("status 0"), "{screen}");
    assert!(!screen.contains("Continued"), "its row says so: {screen}");
}

/// Without a row of its own a build says it in a line.
#[test]
fn a_build_in_a_log_that_is_paused_in_top_says_so_once() {
    let scene = crowded();
    let running = scene.start(&mut scene.fake(CROWDED));
    stopped(&scene);
    let a = scene.wait_for_lines("run-a", 1);
    for paused in [true, true, false] {
        pause(&scene, paused);
        until("a follows", || (is_stopped(a) == paused).then_some(()));
    }
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    for line in [
        "      Paused from `cargo plimsoll top`; press p there to continue\n",
        "   Continued from `cargo plimsoll top`\n",
    ] {
        assert_eq!(done.stderr.matches(line).count(), 1, "{}", done.stderr);
    }
    assert!(!done.stderr.contains('\x1b'), "{}", done.stderr);
}

/// Says to the driver of the scene's build what `top` says.
fn pause(scene: &Scene, paused: bool) {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixStream};
    let build = until("it is governed", || scene.top());
    let build = build["build"].as_str().unwrap();
    let table = std::fs::read_to_string("/proc/net/unix").unwrap();
    let name = table
        .split_whitespace()
        .find_map(|word| word.strip_prefix('@').filter(|name| name.contains(build)))
        .unwrap();
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let mut stream = UnixStream::connect_addr(&address).unwrap();
    let paused = u8::from(paused);
    stream.write_all(format!("pause\tbuild={build}\ton={paused}\n").as_bytes()).unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_build_that_its_terminal_has_stopped_is_told_by_top() {
    let scene = crowded();
    let mut terminal = Terminal::start(&scene, &mut scene.fake(CROWDED));
    stopped(&scene);
    terminal.press(CTRL_Z);
    scene.wait_for("back");
    let driver = scene.wait_for_process("the driver is stopped", |p| {
        p.program == "cargo-plimsoll"
            && p.state == 'T'
            && !p.args.iter().any(|arg| arg.starts_with("__"))
    });
    let top = scene.run(&mut scene.plimsoll("top --once"));
    let said = format!(
        "the build in ws (process {}) is stopped: `fg` in its terminal continues it",
        driver.pid
    );
    assert!(top.stderr.contains(&said), "{}", top.stderr);
    scene.write("fg", "");
    scene.write("go", "");
    let screen = terminal.end();
    assert!(screen.contains("status 0"), "{screen}");
}

#[test]
fn a_terminal_that_goes_away_ends_everything() {
    let scene = crowded();
    let terminal = Terminal::start_alone(&scene, &mut scene.fake(CROWDED));
    stopped(&scene);
    terminal.hang_up();
    scene.assert_clean();
}

/// The bottom row, which the status line had, is given back.
#[test]
fn a_killed_driver_leaves_the_whole_terminal() {
    let scene = crowded();
    let mut command = scene.fake(CROWDED);
    let terminal = Terminal::start(&scene, command.env_remove("CI"));
    stopped(&scene);
    let driver = scene.wait_for_process("the driver", |p| {
        p.program == "cargo-plimsoll" && !p.args.iter().any(|arg| arg.starts_with("__"))
    });
    signal(driver.pid, Signal::KILL);
    scene.write("go", "");
    let screen = terminal.end();
    let (before, after) = screen.rsplit_once("\x1b[1;23r").expect("a row was reserved");
    assert!(!before.is_empty() && after.contains("\x1b[r"), "{screen:?}");
}

/// What a program of the user's does with Ctrl-C is its own affair.
#[test]
fn ctrl_c_reaches_the_users_program_once() {
    let scene = Scene::new();
    let main = "use std::os::unix::process::CommandExt as _;
        fn main() {
            let script = \"trap 'echo 1 >>$E2E_SCENE/got; [ ! -e $E2E_SCENE/go ] || exit 3' INT;
                touch $E2E_SCENE/up; while :; do sleep 0.01; done\";
            let _ = std::process::Command::new(\"sh\").args([\"-c\", script]).exec();
        }";
    scene.bin("a", &[], main);
    let mut terminal = Terminal::start(&scene, &mut scene.plimsoll("run -q"));
    scene.wait_for("up");
    terminal.press(CTRL_C);
    scene.wait_for_lines("got", 1);
    scene.write("go", "");
    terminal.press(CTRL_C);
    let screen = terminal.end();
    assert!(screen.contains("status 3"), "{screen}");
    assert_eq!(scene.read("got"), "1\n1\n");
}

#[test]
fn ctrl_z_stops_everything_and_fg_goes_on_where_it_was() {
    let scene = crowded();
    let mut terminal = Terminal::start(&scene, &mut scene.fake(CROWDED));
    let b = stopped(&scene);
    let a = scene.wait_for_lines("run-a", 1);
    terminal.press(CTRL_Z);
    scene.wait_for("back");
    // (But the shell, what it runs to wait, and the two that watch over the group.)
    let apart = |p: &Process| {
        matches!(p.program.as_str(), "bash" | "sleep") || p.args.iter().any(|a| a.starts_with("__"))
    };
    until("all are stopped", || {
        let all = of_scene(scene.dir());
        all.iter().filter(|p| !apart(p)).all(|p| p.state == 'T').then_some(())
    });
    scene.write("fg", "");
    until("a goes on", || runs(a).then_some(()));
    // What the budget had stopped is stopped again, and stays so.
    scene.wait_for_process("the driver runs", |p| {
        p.program == "cargo-plimsoll"
            && p.state != 'T'
            && !p.args.iter().any(|a| a.starts_with("__"))
    });
    until("b is stopped again", || is_stopped(b).then_some(()));
    scene.write("go", "");
    let screen = terminal.end();
    assert!(screen.contains("Stopped") || screen.contains("status 148"), "{screen}");
    assert!(screen.contains("status 0"), "{screen}");
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

#[test]
fn ctrl_c_after_ctrl_z_and_fg_ends_everything() {
    let scene = crowded();
    let mut terminal = Terminal::start(&scene, &mut scene.fake(CROWDED));
    stopped(&scene);
    let a = scene.wait_for_lines("run-a", 1);
    terminal.press(CTRL_Z);
    scene.wait_for("back");
    scene.write("fg", "");
    until("a goes on", || runs(a).then_some(()));
    terminal.press(CTRL_C);
    let screen = terminal.end();
    assert!(screen.contains("status 130"), "{screen}");
}

#[test]
fn top_follows_a_build_in_any_size_and_gives_the_terminal_back() {
    let scene = crowded();
    let running = scene.start(&mut scene.fake(CROWDED));
    stopped(&scene);
    let mut terminal = Terminal::start(&scene, &mut scene.plimsoll("top"));
    terminal.shows("budget full", 1);
    // Room for the units of what other tests build meanwhile, too.
    for (times, rows) in [(2, 18), (3, 40)] {
        resize(&terminal.keys, rows, 100);
        terminal.shows("budget full", times);
    }
    // It was only looked at: the build goes on when its watcher leaves.
    terminal.press(b'q');
    let screen = terminal.end();
    assert!(screen.contains("status 0"), "{screen:?}");
    assert!(screen.contains("\x1b[?1049l"), "the screen before is shown again: {screen:?}");
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
}

#[test]
fn top_waits_where_nothing_runs_and_leaves_on_a_signal() {
    let scene = Scene::new();
    let terminal = Terminal::start(&scene, &mut scene.plimsoll("top"));
    terminal.shows("q quit", 1);
    let top = scene.wait_for_process("top", |p| p.program == "cargo-plimsoll");
    signal(top.pid, Signal::TERM);
    let screen = terminal.end();
    assert!(screen.contains("status 0"), "{screen:?}");
    assert!(screen.contains("\x1b[?1049l"), "{screen:?}");
}
