//! What a log shows beside the death: what was being done, and on what machine.
//!
//! Certainty and remedies depend on it. A log says little of it, and mostly by the way: a path, a toolchain's name. What
//! is not said is taken to be Cargo building on a 64-bit Linux.

use std::sync::LazyLock;

use crate::free;
use crate::narrow::narrow;
use crate::words::Words;

/// The system that the log is from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum System {
    #[default]
    Linux,
    Macos,
    Windows,
    Android,
    /// A BSD or illumos.
    Unix,
}

/// What was being done, and so which program it is that dies without a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Cargo builds.
    #[default]
    Building,
    /// Tests run.
    Testing,
    /// Cargo reads an index or a repository, by a library of its own.
    Fetching,
    /// Git's own program reads a repository.
    Cloning,
    /// rustup unpacks a toolchain.
    Installing,
    /// Node builds a front end.
    Bundling,
    /// An image builder looks at or writes what was built.
    Packing,
}

/// What a log shows beside the death.
#[derive(Debug, Default)]
pub(crate) struct Circumstances {
    /// The subcommand of Cargo that fits, as far as the log shows it.
    pub(crate) subcommand: Option<&'static str>,
    pub(crate) release: bool,
    pub(crate) fat_lto: bool,
    pub(crate) full_debuginfo: bool,
    /// It is the log of a CI's job.
    pub(crate) in_ci: bool,
    /// The build ran inside a memory budget of Plimsoll's: to prescribe that would help nobody.
    pub(crate) governed: bool,
    pub(crate) system: System,
    pub(crate) doing: Doing,
    /// The triple of a compiler that is a 32-bit program itself, or its platform.
    pub(crate) narrow: Option<String>,
    /// Nix builds a derivation.
    pub(crate) nix: bool,
    /// It is docs.rs that builds.
    pub(crate) docs_rs: bool,
    /// Somebody's `timeout` kills what takes too long.
    pub(crate) timed: bool,
    /// Somebody types at a prompt that something be killed.
    pub(crate) killed_by_hand: bool,
    /// A build script that failed has written something.
    pub(crate) spoke: bool,
    /// A program runs that Cargo has started, and whether it has written something.
    runs: bool,
    pub(crate) wrote: bool,
    /// How much memory was free where that was shown last, in bytes, and how often it was shown.
    pub(crate) free: u64,
    pub(crate) shown: u32,
    /// How much was free in somebody's own words.
    pub(crate) told_free: u64,
}

/// What stands behind a drive of Windows.
const DRIVE: &str = ":\\";

/// Every line that tells of the machine or of what is done has one of these.
const TRIGGERS: &[&str] = &[
    "/users/",
    "-darwin",
    "killed: 9",
    "macbook",
    "link.exe",
    "lnk1",
    "os error 14",
    "exit code: 0xc",
    "termux",
    "jid ",
    "freebsd",
    "openbsd",
    "netbsd",
    "illumos",
    "/wrkdirs/",
    "/private/",
    "/var/folders/",
    "darwin kernel",
    "32-bit",
    "code: 1455",
    "sandboxoom",
    "kill -",
    "process completed (signal",
    "i686",
    "i586",
    "i386",
    "linux/386",
    "arm",
    "mips",
    "powerpc",
    ".drv'",
    "rustwide",
    "docs.rs",
    "timeout",
    "--- std",
    "free",
    "avail",
    "mem:",
    "mem[",
    "in use",
    "used",
    " ram",
    "memory",
    "updating ",
    "locking ",
    "download",
    "documenting ",
    "running ",
    "doc-tests ",
    "starting ",
    "cloning into",
    "index-pack",
    "git fetch",
    "info: ",
    "vite v",
    "vite build",
    "next build",
    "next.js",
    "webpack",
    "##[group]",
    "installing ",
    "finished ",
    "javascript heap",
    "array buffer allocation",
    "snapshot",
    "exporting to ",
    "exporting layers",
];

impl Circumstances {
    /// Those of a recorded build, of which only Cargo's subcommand is known.
    pub(crate) fn of(command: &str) -> Self {
        const KNOWN: &[&str] =
            &["build", "check", "clippy", "doc", "test", "bench", "run", "rustc", "install"];
        let subcommand = KNOWN.iter().find(|known| **known == command).copied();
        Self { subcommand, governed: true, ..Self::default() }
    }

    pub(crate) fn look(&mut self, line: &str) {
        static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(TRIGGERS.iter().copied()));
        self.look_for_settings(line);
        // Most of a log.
        if ["Compiling ", "Checking ", "Downloaded "].iter().any(|word| line.starts_with(word)) {
            self.doing = Doing::Building;
            (self.runs, self.wrote) = (false, false);
            // It names a package's directory.
            if self.system == System::Linux && line.contains('(') {
                self.system = system(line).unwrap_or_default();
            }
            return;
        }
        // Cargo says first that it failed, and then how.
        let of_cargo = ["error: ", "`error: ", "Caused by:", "process didn't exit"]
            .iter()
            .any(|words| line.starts_with(words));
        self.wrote |= self.runs && !of_cargo;
        if WORDS.first(line).is_none() && !line.contains(DRIVE) {
            return;
        }
        if line.starts_with("Running ") {
            (self.runs, self.wrote) = (true, false);
        }
        self.spoke |= line == "--- stdout" || line == "--- stderr";
        self.nix |= line.contains(".drv'");
        self.docs_rs |=
            line.contains("rustwide") || line.contains("docs.rs/") || line == "SandboxOOM";
        self.timed |= is_timed(line);
        self.killed_by_hand |= ["$ kill -9 ", "$ kill -KILL ", "$ pkill -9 ", "$ killall -9 "]
            .iter()
            .any(|command| line.contains(command));
        if self.system == System::Linux {
            self.system = system(line).unwrap_or_default();
        }
        if self.narrow.is_none() {
            self.narrow = narrow(line);
        }
        if let Some(doing) = doing(line) {
            self.doing = doing;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(free) = free::shown(&lower) {
            self.free = free;
            self.shown += 1;
        }
        self.told_free = free::told(&lower).unwrap_or(self.told_free);
    }

    fn look_for_settings(&mut self, line: &str) {
        let tests = line.starts_with("running ") && line.ends_with(" tests");
        let seen = if line.starts_with("Documenting ") {
            Some("doc")
        } else if line.contains("clippy-driver") {
            Some("clippy")
        } else if line.starts_with("Nextest run ID") {
            Some("nextest run")
        } else if tests || line.contains("--test ") && line.contains("--crate-name") {
            self.subcommand.or(Some("test"))
        } else if line.starts_with("Checking ") {
            self.subcommand.or(Some("check"))
        } else {
            None
        };
        self.subcommand = seen.or(self.subcommand);
        self.governed |= is_of_plimsoll(line);
        self.release |= line.contains("target/release/")
            || line.contains("`release` profile")
            || line.contains("-C opt-level=3");
        self.fat_lto |= line.contains("-C lto=fat") || line.contains("-C lto ");
        self.full_debuginfo |= line.contains("-C debuginfo=2");
        self.in_ci |= line.contains("/home/runner/work")
            || line.contains("##[")
            || line.contains("Process completed with exit code")
            || line.contains("runner has received")
            || line.contains("ERROR: Job failed")
            || line.contains("/builds/")
            || line.contains("non-zero code");
    }
}

/// Whether a line shows that the build ran under Plimsoll: a message of its, or the command that somebody typed or a
/// CI ran. Advice to run it is no such line.
fn is_of_plimsoll(line: &str) -> bool {
    let line = line.trim_start_matches("error: ").trim_start_matches("warning: ");
    if line.starts_with("plimsoll: ") || line.starts_with("Plimsoll peak memory ") {
        return true;
    }
    let command = line.trim_start_matches(['$', '+', '>', ' ']);
    let command = command.strip_prefix("Run ").unwrap_or(command);
    let rest = command.strip_prefix("cargo plimsoll ").unwrap_or_default();
    let first = rest.split(' ').next().unwrap_or_default();
    !matches!(first, "" | "doctor" | "init" | "clean" | "report")
}

/// The system by a line's paths and words.
fn system(line: &str) -> Option<System> {
    let before = |mark: &str, fits: fn(char) -> bool| {
        line.match_indices(mark).any(|(at, _)| line[..at].ends_with(fits))
    };
    // `C:\src`, and not an escape behind a colon.
    let windows =
        ["exit code: 0xc", "link.exe", "LNK1", "(os error 1450)", "(os error 1455)", "code: 1455"];
    if before(DRIVE, |c| c.is_ascii_uppercase()) || windows.iter().any(|mark| line.contains(mark)) {
        return Some(System::Windows);
    }
    if line.contains("termux") || line.contains("[Process completed (signal ") {
        return Some(System::Android);
    }
    if ["), jid ", "-freebsd", "-openbsd", "-netbsd", "-illumos", "/wrkdirs/"]
        .iter()
        .any(|mark| line.contains(mark))
    {
        return Some(System::Unix);
    }
    // `/c/Users/` is Git's shell on Windows.
    let users = line
        .match_indices("/Users/")
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric()));
    let darwin = line.contains("-apple-darwin") || line.contains("64-darwin");
    // How its C library calls the signal.
    let marks = [
        "Killed: 9",
        "MacBook",
        "/private/tmp/",
        "/private/var/",
        "/var/folders/",
        "Darwin Kernel",
    ];
    (users || darwin || marks.iter().any(|mark| line.contains(mark))).then_some(System::Macos)
}

/// What a line says that is being done now.
fn doing(line: &str) -> Option<Doing> {
    let any = |words: &[&str]| words.iter().any(|word| line.contains(word));
    let begins = |words: &[&str]| words.iter().any(|word| line.starts_with(word));
    if any(&["index-pack", "`git fetch "]) || begins(&["Cloning into"]) {
        return Some(Doing::Cloning);
    }
    if begins(&["Updating "]) && any(&[" index", " git repository"]) {
        return Some(Doing::Fetching);
    }
    if any(&["JavaScript heap out of memory", "Array buffer allocation failed"])
        || begins(&["vite v", "vite build", "next build", "webpack"])
        || any(&["Next.js 1"])
    {
        return Some(Doing::Bundling);
    }
    if begins(&["info: installing component", "info: downloading component"]) {
        return Some(Doing::Installing);
    }
    if any(&["Taking snapshot of ", "exporting to image", "exporting layers"]) {
        return Some(Doing::Packing);
    }
    if begins(&["Running unittests", "Running tests", "Doc-tests "])
        || begins(&["Starting "]) && any(&[" tests across ", " test across "])
    {
        return Some(Doing::Testing);
    }
    let builds = begins(&["Compiling ", "Checking ", "Documenting ", "Locking ", "Downloading "])
        || begins(&["Downloaded ", "Installing ", "Finished ", "Running `", "##[group]"])
        || begins(&["info: default toolchain"])
        || any(&["Running: [/bin/"]);
    builds.then_some(Doing::Building)
}

/// A command that is killed when it takes too long: `timeout --signal=KILL 900 cargo test`.
fn is_timed(line: &str) -> bool {
    let Some((before, rest)) = line.split_once("timeout ") else { return false };
    let command = before.is_empty() || before.ends_with([' ', '/', '"', '\'', '`']);
    let kill = ["-s KILL", "-sKILL", "-s 9", "-s9", "-s SIGKILL", "--signal=KILL", "--signal=9"];
    let kill = kill.iter().chain(&["--signal=SIGKILL", "--signal KILL", "--signal 9"]);
    command && kill.clone().any(|option| rest.trim_start().starts_with(option))
}
