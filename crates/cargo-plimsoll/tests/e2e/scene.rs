//! One test's world: a workspace, the directories around it, what runs in it, and what must not be left.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use plimsoll_testing::needs;
use rustix::process::{Pid, Signal};

use crate::fake_rustc;
use crate::process::{self, MARK, Process, of_scene, patience, until};

/// Asks a nightly Cargo before 1.100 for the newer layout of its build directory.
pub(crate) const LAYOUT: &str = "CARGO_UNSTABLE_BUILD_DIR_NEW_LAYOUT";

/// Has a command use the Cargo and the compiler of the toolchain that is to be tested: rustup's, named by this
/// variable; without it the one that is there.
pub(crate) fn in_toolchain(command: &mut Command) {
    if let Some(toolchain) = std::env::var_os("E2E_TOOLCHAIN") {
        command.env("RUSTUP_TOOLCHAIN", toolchain);
    }
}

pub(crate) struct Scene {
    dir: tempfile::TempDir,
    calls: AtomicU32,
}

impl Scene {
    /// An empty workspace.
    pub(crate) fn new() -> Self {
        Self::below(&std::env::temp_dir(), "scene-".as_ref())
    }

    /// The same in a directory below `parent` whose name begins with `prefix`.
    pub(crate) fn below(parent: &Path, prefix: &OsStr) -> Self {
        let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(parent).unwrap();
        let scene = Self { dir, calls: AtomicU32::new(0) };
        for name in ["ws", "tmp", "home", "target"] {
            fs::create_dir(scene.at(name)).unwrap();
        }
        scene.write("ws/Cargo.toml", "[workspace]\nmembers = [\"*\"]\nresolver = \"3\"\n");
        scene
    }

    /// A path in the scene.
    pub(crate) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, name: impl AsRef<Path>, text: impl AsRef<[u8]>) -> &Self {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap_or_default()
    }

    /// An executable shell script.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        self.write("written", format!("#!/bin/sh\n{text}\n"));
        let script = self.program(self.at("written"), name);
        fs::remove_file(self.at("written")).unwrap();
        script
    }

    /// A copy of a program. Another process writes it: what this one has open for writing, another test's fork may
    /// have open a moment longer, and nothing can be run meanwhile (`ETXTBSY`).
    pub(crate) fn program(&self, from: impl AsRef<Path>, name: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let to = self.at(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let copied = Command::new("cp").arg(from.as_ref()).arg(&to).status().unwrap();
        assert!(copied.success());
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
        to
    }

    /// A member of the workspace: its dependencies on other members, and a file of its own.
    pub(crate) fn package(&self, name: &str, needs: &[&str], file: &str, text: &str) -> &Self {
        let needs: String =
            needs.iter().map(|need| format!("{need} = {{ path = \"../{need}\" }}\n")).collect();
        self.write(
            format!("ws/{name}/Cargo.toml"),
            format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                 [dependencies]\n{needs}"
            ),
        );
        self.write(format!("ws/{name}/{file}"), text);
        self
    }

    /// A library.
    pub(crate) fn lib(&self, name: &str, needs: &[&str], text: &str) -> &Self {
        self.package(name, needs, "src/lib.rs", text)
    }

    /// A program.
    pub(crate) fn bin(&self, name: &str, needs: &[&str], text: &str) -> &Self {
        self.package(name, needs, "src/main.rs", text)
    }

    /// Plain Cargo.
    pub(crate) fn cargo(&self, args: &str) -> Command {
        let mut command = Command::new("cargo");
        self.prepare(&mut command);
        command.args(args.split_whitespace());
        command
    }

    /// `cargo plimsoll`.
    pub(crate) fn plimsoll(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-plimsoll"));
        self.prepare(&mut command);
        command.arg("plimsoll").args(args.split_whitespace());
        command
    }

    /// Gives a command this scene's directories and nothing of the developer's own settings.
    pub(crate) fn prepare(&self, command: &mut Command) {
        const OURS: &[&str] =
            &["CARGO", "PLIMSOLL", "RUSTC", "RUSTDOC", "RUSTFLAGS", "MAKE", "MFLAGS"];
        const ALSO: &[&str] = &["LD_LIBRARY_PATH", "RUST_BACKTRACE", "RUST_LOG", "NEXTEST", "TERM"];
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let stays = name == "CARGO_HOME" || name == LAYOUT;
            if !stays && OURS.iter().chain(ALSO).any(|ours| text.starts_with(ours)) {
                command.env_remove(name);
            }
        }
        in_toolchain(command);
        command
            .current_dir(self.at("ws"))
            .env(MARK, self.dir())
            .env("TMPDIR", self.at("tmp"))
            .env("PLIMSOLL_HOME", self.at("home"))
            .env("XDG_CONFIG_HOME", self.at("config"))
            .env("CARGO_TARGET_DIR", self.at("target"))
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .stdin(Stdio::null());
    }

    /// Has the command use the fake compiler.
    pub(crate) fn with_fake(&self, command: &mut Command) {
        command
            .env("RUSTC", fake_rustc::path())
            .env("FAKE_REAL_RUSTC", fake_rustc::real())
            .env("FAKE_STATE", self.dir());
    }

    /// `cargo plimsoll` with the fake compiler.
    pub(crate) fn fake(&self, args: &str) -> Command {
        let mut command = self.plimsoll(args);
        self.with_fake(&mut command);
        command
    }

    /// Plain Cargo with the fake compiler.
    pub(crate) fn fake_cargo(&self, args: &str) -> Command {
        let mut command = self.cargo(args);
        self.with_fake(&mut command);
        command
    }

    /// Starts a command in a process group of its own, its output in files.
    pub(crate) fn start(&self, command: &mut Command) -> Running<'_> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let file = |name: &str| File::create(self.at(format!("{name}.{call}"))).unwrap();
        command.stdout(file("out")).stderr(file("err")).process_group(0);
        Running { child: command.spawn().unwrap(), scene: self, call }
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, command: &mut Command) -> Done {
        self.start(command).end()
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, command: &mut Command) -> Done {
        let done = self.run(command);
        assert_eq!(done.code(), 0, "{command:?}\n{}", done.stderr);
        done
    }

    /// Plain Cargo, called with the same arguments, finds nothing to do.
    #[track_caller]
    pub(crate) fn assert_fresh(&self, command: &mut Command) {
        let done = self.ok(command.arg("-v"));
        assert!(
            !done.stderr.contains("Compiling") && !done.stderr.contains("Running `"),
            "not fresh:\n{}",
            done.stderr
        );
        // What a compiler leaves of its incremental state when it ends early; errors leave it, too.
        let is_session = |path: &Path| path.to_string_lossy().ends_with("-working");
        let sessions: Vec<PathBuf> =
            below(&self.at("target")).into_iter().filter(|path| is_session(path)).collect();
        assert!(sessions.is_empty(), "incremental sessions are left: {sessions:#?}");
    }

    /// Waits until a file is there.
    #[track_caller]
    pub(crate) fn wait_for(&self, file: &str) {
        until(&format!("`{file}` is there"), || self.at(file).exists().then_some(()));
    }

    /// Waits until a file has so many lines; gives the last, which a fake compiler makes its process id.
    #[track_caller]
    pub(crate) fn wait_for_lines(&self, file: &str, lines: usize) -> u32 {
        until(&format!("`{file}` has {lines} lines"), || {
            let text = self.read(file);
            (text.ends_with('\n') && text.lines().count() >= lines)
                .then(|| text.lines().nth(lines - 1)?.parse().ok())?
        })
    }

    /// The command run by an `outer` one that ends with its arguments, as `unshare` does.
    pub(crate) fn inside(&self, mut outer: Command, command: &Command) -> Command {
        outer.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        outer.current_dir(self.at("ws"));
        outer
    }

    /// The command in namespaces of its own. The test is ignored where this user may make none.
    pub(crate) fn in_namespaces(&self, options: &[&str], command: &Command) -> Command {
        let unshare = || {
            let mut unshare = Command::new("unshare");
            unshare.args(["--map-root-user", "--fork"]).args(options).arg("--");
            unshare
        };
        let mut probe = Command::new("true");
        self.prepare(&mut probe);
        let reason = format!("this user may not `unshare --map-root-user {}`", options.join(" "));
        needs::success(&mut self.inside(unshare(), &probe), &reason);
        self.inside(unshare(), command)
    }

    /// Waits for a process of the scene.
    #[track_caller]
    pub(crate) fn wait_for_process(&self, what: &str, is: impl Fn(&Process) -> bool) -> Process {
        until(what, || of_scene(self.dir()).into_iter().find(&is))
    }

    /// What a running build says of itself.
    pub(crate) fn top(&self) -> Option<serde_json::Value> {
        let mut command = self.plimsoll("top --once --json");
        let said = command.output().unwrap();
        // Builds of other tests answer, too: this one is known by its driver.
        let drivers: Vec<String> = of_scene(self.dir())
            .iter()
            .filter(|process| process.program == "cargo-plimsoll")
            .map(|process| format!("-{}", process.pid))
            .collect();
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let mut states = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        states.find(|state: &serde_json::Value| {
            let build = state["build"].as_str().unwrap_or_default();
            drivers.iter().any(|driver| build.ends_with(driver))
        })
    }

    /// Waits until the build has so many units running, waiting and paused.
    #[track_caller]
    pub(crate) fn wait_for_units(&self, running: u64, waiting: u64, paused: u64) {
        let mut last = None;
        until(&format!("{running} run, {waiting} wait, {paused} are paused"), || {
            let state = self.top()?;
            let of = |name: &str| state[name].as_u64();
            let now = (of("running_units"), of("waiting_units"), of("paused_units"));
            last = Some(state);
            (now == (Some(running), Some(waiting), Some(paused))).then_some(())
        });
    }

    /// The events of the last build's log, as text.
    pub(crate) fn log(&self) -> String {
        let logs = fs::read_dir(self.at("home/logs"));
        let mut logs: Vec<PathBuf> =
            logs.into_iter().flatten().flatten().map(|e| e.path()).collect();
        logs.sort();
        logs.last().and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default()
    }

    /// The logs of all builds.
    pub(crate) fn logs(&self) -> Vec<String> {
        below(&self.at("home/logs")).iter().map(|log| fs::read_to_string(log).unwrap()).collect()
    }

    /// How often an event is in the last build's log.
    pub(crate) fn events(&self, name: &str) -> usize {
        let word = format!("\"event\":\"{name}\"");
        self.log().lines().filter(|line| line.contains(&word)).count()
    }

    /// What lives, and what happened last: for a test that has waited in vain.
    fn state(&self) -> String {
        let log = self.log();
        let last: Vec<&str> = log.lines().rev().take(30).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        format!("{:#?}\n{}", of_scene(self.dir()), last.join("\n"))
    }

    /// The process of the account's governor, where one has said that it governs.
    pub(crate) fn governor(&self) -> Option<u32> {
        let line = self.read("home/run/governor");
        line.trim().split('\t').find_map(|field| field.strip_prefix("pid=")?.parse().ok())
    }

    /// The processes of the account's governors that have not left.
    fn governors(&self) -> Vec<u32> {
        let sockets = below(&self.at("home/run"));
        let pid = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".sock")?.parse().ok();
        sockets.iter().filter_map(pid).filter(|pid| process::process_exists(*pid)).collect()
    }

    /// After `disable` the account's governor leaves by itself. (It has nothing of a scene's environment.)
    #[track_caller]
    fn leave_account(&self) {
        let _ = fs::remove_file(self.at("home/enabled"));
        until("the governor has left", || self.governors().is_empty().then_some(()));
    }

    /// Nothing of the scene runs (what was told to end may still be about to), and nothing temporary is left.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let mut left = Vec::new();
        let gone = || {
            left = of_scene(self.dir());
            left.is_empty().then_some(())
        };
        let what = "no process of the scene is left";
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| until(what, gone))).is_err() {
            panic!("processes are left: {:#?}", of_scene(self.dir()));
        }
        self.leave_account();
        let temporary: Vec<PathBuf> = below(&self.at("tmp"));
        assert!(temporary.is_empty(), "temporary files are left: {temporary:#?}");
        let halves: Vec<PathBuf> =
            below(&self.at("target")).into_iter().filter(|path| is_half(path)).collect();
        assert!(halves.is_empty(), "halves of artifacts are left: {halves:#?}");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\n{}", self.log(), self.read("err.0"));
            for process in of_scene(self.dir()) {
                process::signal(process.pid, Signal::KILL);
            }
            for governor in self.governors() {
                process::signal(governor, Signal::KILL);
            }
        } else {
            self.assert_clean();
        }
    }
}

/// Everything below a directory.
pub(crate) fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        found.push(entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(below(&entry.path()));
        }
    }
    found
}

/// What a killed compiler or linker leaves in a target directory.
fn is_half(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let random = |rest: &str| rest.len() == 6 && rest.bytes().all(|b| b.is_ascii_alphanumeric());
    name.contains(".rcgu.")
        || name.ends_with(".temp-archive")
        || name.starts_with(".plimsoll-")
        || ["rmeta", "rustc"].iter().any(|start| name.strip_prefix(start).is_some_and(random))
}

/// A command on its way.
pub(crate) struct Running<'a> {
    child: Child,
    scene: &'a Scene,
    call: u32,
}

impl Running<'_> {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.id(), signal);
    }

    /// Sends a signal to the whole process group, as a terminal does.
    pub(crate) fn signal_group(&self, signal: Signal) {
        let group = Pid::from_raw(self.id().cast_signed()).unwrap();
        rustix::process::kill_process_group(group, signal).unwrap();
    }

    pub(crate) fn stdout(&self) -> String {
        self.scene.read(&format!("out.{}", self.call))
    }

    /// What it said, but for waits for what Cargos everywhere on this machine share.
    pub(crate) fn stderr(&self) -> String {
        let text = self.scene.read(&format!("err.{}", self.call));
        let other = |line: &&str| !line.contains("waiting for file lock on package cache");
        text.split_inclusive('\n').filter(other).collect()
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn end(self) -> Done {
        self.end_within(patience())
    }

    /// Waits for the end of what takes longer.
    #[track_caller]
    pub(crate) fn end_within(mut self, patience: Duration) -> Done {
        let start = Instant::now();
        let mut ended = || self.child.try_wait().unwrap();
        let status = loop {
            if let Some(status) = ended() {
                break status;
            }
            if start.elapsed() >= patience {
                panic!("the command has not ended: {}", self.scene.state());
            }
            thread::sleep(Duration::from_millis(4));
        };
        Done { status, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that has ended.
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The exit code as a shell gives it.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }
}
