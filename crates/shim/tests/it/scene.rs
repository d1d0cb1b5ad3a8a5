//! A temporary directory with a shim under its names, a compiler, and what is left when the test ends.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Instant;

use plimsoll_shim::env;

use crate::governor::{Governor, PATIENCE};

pub(crate) struct Scene {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) governor: Option<Governor>,
}

/// The start of a library's command line; scripts ignore it.
pub(crate) const LIB: &[&str] = &[
    "--crate-name",
    "foo",
    "--crate-type",
    "lib",
    "--emit=dep-info,metadata,link",
    "src.rs",
    "--out-dir",
    "out",
    "-Cextra-filename=-ab",
];

/// What rustc says when a library's metadata is written.
pub(crate) const ANNOUNCED: &str =
    r#"{"$message_type":"artifact","artifact":"out/libfoo-ab.rmeta","emit":"metadata"}"#;

impl Scene {
    /// A compiler by the name of rustc that is a shell script.
    pub(crate) fn new(script: &str) -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap(), governor: Some(Governor::new()) };
        for name in ["plimsoll-rustc", "plimsoll-rustdoc"] {
            symlink(env!("CARGO_BIN_EXE_plimsoll-shim"), scene.at(name)).unwrap();
        }
        fs::create_dir(scene.at("out")).unwrap();
        fs::create_dir(scene.at("tmp")).unwrap();
        scene.script("rustc", script);
        scene
    }

    pub(crate) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An executable shell script. Another process writes it: what this one has open for writing, another test's
    /// fork may have open a moment longer, and nothing can be run meanwhile (`ETXTBSY`).
    pub(crate) fn script(&self, name: impl AsRef<Path>, text: &str) {
        let (path, written) = (self.at(name), self.at("written"));
        fs::write(&written, format!("#!/bin/sh\n{text}\n")).unwrap();
        assert!(Command::new("cp").arg(&written).arg(&path).status().unwrap().success());
        fs::remove_file(written).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn governor(&self) -> &Governor {
        self.governor.as_ref().unwrap()
    }

    /// The shim in rustc's place, with nothing of the test's own environment that it reads.
    pub(crate) fn shim<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.shim_before(self.at("rustc"));
        command.args(args);
        command
    }

    pub(crate) fn shim_before(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(self.at("plimsoll-rustc"));
        self.prepare(&mut command);
        command.arg(program);
        command
    }

    pub(crate) fn prepare(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO") || text.starts_with("PLIMSOLL") || text.starts_with("MAKE")
            {
                command.env_remove(name);
            }
        }
        if let Some(governor) = &self.governor {
            command.env(env::SOCKET, &governor.name);
        }
        command
            .env(env::TMP, self.at("tmp"))
            .env("PLIMSOLL_HOME", self.at("home"))
            .current_dir(self.dir.path());
    }

    /// A fifo on which a script can wait: `read line <gate`.
    pub(crate) fn gate(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        path
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.at(dir))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// A running shim. It is killed where a test fails before its end.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line on standard error, when it comes.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits for the end: status, standard output and what of standard error was not read yet.
    pub(crate) fn end(mut self) -> (ExitStatus, String, String) {
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        (self.child.wait().unwrap(), stdout, stderr)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process is there and is not a zombie.
pub(crate) fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The letter of `/proc/PID/stat`.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}

/// Polls until `condition` holds; a test that waits in vain fails.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Reads the process id that a script has written to `path`, when it has.
pub(crate) fn pid_in(path: &Path) -> u32 {
    let read = || fs::read_to_string(path).ok()?.strip_suffix('\n')?.parse().ok();
    until("a process id is written", || read().is_some());
    read().unwrap()
}
