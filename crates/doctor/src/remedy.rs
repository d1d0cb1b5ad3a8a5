//! What would have prevented it: named when and only when it applies.

use crate::cause::Cause;
use crate::verdict::Remedy;

/// What a log shows beside the death, on which remedies depend.
#[derive(Debug, Default)]
pub(crate) struct Circumstances {
    /// The subcommand of Cargo that fits, as far as the log shows it.
    subcommand: Option<&'static str>,
    release: bool,
    fat_lto: bool,
    full_debuginfo: bool,
    in_ci: bool,
}

impl Circumstances {
    /// Those of a recorded build, of which only Cargo's subcommand is known.
    pub(crate) fn of(command: &str) -> Self {
        const KNOWN: &[&str] =
            &["build", "check", "clippy", "doc", "test", "bench", "run", "rustc", "install"];
        let subcommand = KNOWN.iter().find(|known| **known == command).copied();
        Self { subcommand, ..Self::default() }
    }

    /// Whether it is the log of a CI's job.
    pub(crate) fn in_ci(&self) -> bool {
        self.in_ci
    }

    pub(crate) fn look(&mut self, line: &str) {
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

/// What would have prevented `cause`, of which `unit` died; `sure`: nothing speaks for another cause.
pub(crate) fn remedies(
    cause: Cause,
    unit: Option<&str>,
    sure: bool,
    seen: &Circumstances,
) -> Vec<Remedy> {
    let unit = unit.unwrap_or_default();
    let linked = unit.starts_with("link of");
    // Whatever no shim stands before is admitted by its memory, and not run again.
    let run_again = !unit.ends_with("(build script)")
        && !unit.starts_with("run of ")
        && !unit.starts_with("test ");
    let with = |command: String, why: &str| Remedy { command: Some(command), why: why.to_owned() };
    let words = |why: &str| Remedy { command: None, why: why.to_owned() };
    let release = if seen.release { " --release" } else { "" };
    let subcommand = seen.subcommand.unwrap_or("build");
    let governed = || {
        with(
            format!("cargo plimsoll {subcommand}{release}"),
            if run_again {
                "runs as much at once as fits into what the machine or container leaves, and runs again what is killed \
                 all the same"
            } else {
                "runs as much at once as fits into what the machine or container leaves"
            },
        )
    };
    let lean = || {
        let why = match (seen.fat_lto, linked, seen.full_debuginfo) {
            (true, ..) => {
                "fat LTO holds the whole program in one compiler; this makes it thin, with more codegen units"
            }
            (_, true, true) => {
                "less and split debug information: most of what the linker has to hold"
            }
            (_, true, false) => "settings with which the linker has less to hold",
            (_, _, true) => "less debug information and more codegen units: smaller compilers",
            _ => "settings with which single compilers and links need less",
        };
        with("cargo plimsoll init --lowmem".to_owned(), why)
    };
    let swap = || {
        words("Where one unit alone is larger than the machine, only paging helps: swap, or zram.")
    };
    match cause {
        Cause::OomKiller | Cause::Earlyoom | Cause::Killed if !seen.in_ci => {
            vec![governed(), lean(), swap()]
        }
        Cause::OomKiller
        | Cause::Earlyoom
        | Cause::Killed
        | Cause::MemoryLimit
        | Cause::Terminated => vec![
            governed(),
            with(
                format!("cargo plimsoll --memory 80% {subcommand}{release}"),
                "leaves more to what else runs in the same job or container",
            ),
            lean(),
        ],
        Cause::SystemdOomd => vec![
            governed(),
            words(
                "systemd-oomd kills everything in the terminal's scope; a build in a scope of its own (systemd-run --user --scope) dies alone.",
            ),
            swap(),
        ],
        Cause::AllocationFailed => vec![
            governed(),
            words(
                "Where `ulimit -v` or the CI limits the address space, lift that: it fails healthy compilers, too.",
            ),
            lean(),
        ],
        Cause::TmpfsFull => {
            let mut all = vec![
                with(
                    "CARGO_TARGET_DIR=$HOME/target cargo plimsoll build".to_owned(),
                    "puts the artifacts on a disk: what lies in a tmpfs is memory that no compiler can have",
                ),
                with("cargo plimsoll clean".to_owned(), "removes what no build can use again"),
            ];
            if !sure {
                all.push(words(
                    "A disk that is full ends compilers and linkers in the same way: look at `df -h` first.",
                ));
            }
            all
        }
        Cause::NoThreads => vec![
            with(
                format!("cargo plimsoll --jobs 1 {subcommand}{release}"),
                "starts one compiler at a time, which needs a fraction of the threads",
            ),
            words("Raise the limit of processes: `ulimit -u`, or the container's pids limit."),
        ],
        Cause::Bitcode => {
            let profile = if seen.release { "RELEASE" } else { "DEV" };
            vec![with(
                format!("CARGO_PROFILE_{profile}_LTO=off cargo plimsoll build{release}"),
                "links without intermediate code; what a killed compiler left half-written is written anew after `cargo clean`",
            )]
        }
        Cause::Refused => vec![
            with(
                format!("cargo plimsoll {subcommand}{release}"),
                "without --strict, a unit above the line runs alone",
            ),
            lean(),
            swap(),
        ],
        Cause::DiskFull => {
            let mut all = vec![with(
                "cargo plimsoll clean".to_owned(),
                "removes from the target directory what no build can use again",
            )];
            if !sure {
                all.push(words(
                    "Where `df -T` calls that file system tmpfs, or zram, it is memory after all.",
                ));
            }
            all
        }
        Cause::Timeout => vec![with(
            "cargo plimsoll doctor --slow".to_owned(),
            "says where a recorded build's time went",
        )],
        _ => Vec::new(),
    }
}
