//! What would have prevented it: named when and only when it applies.
//!
//! What dies is not always a compiler, nor Cargo's: who died and on what system decides before the cause does.

use crate::cause::Cause;
use crate::circumstances::{Circumstances, Doing, System};
use crate::doubt::is_of_linux;
use crate::memory::{LARGE, requested};
use crate::signal::exit_number;
use crate::verdict::{Certainty, Remedy};

/// What died, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death<'a> {
    pub(crate) cause: Cause,
    pub(crate) certainty: Certainty,
    pub(crate) unit: &'a str,
    /// The line that shows it.
    pub(crate) line: &'a str,
    pub(crate) during: Doing,
}

/// What would have prevented it.
pub(crate) fn remedies(death: Death<'_>, seen: &Circumstances) -> Vec<Remedy> {
    let told = Told { death, seen };
    match death.cause {
        Cause::OomKiller
        | Cause::MemoryLimit
        | Cause::Earlyoom
        | Cause::SystemdOomd
        | Cause::Killed
        | Cause::Terminated
        | Cause::AllocationFailed => told.of_memory(),
        Cause::TmpfsFull => told.of_tmpfs(),
        Cause::Bitcode => told.of_bitcode(),
        Cause::Refused => told.of_refusal(),
        Cause::NoThreads => told.of_threads(),
        Cause::DiskFull => told.of_disk(),
        Cause::Denied => told.of_rules(),
        Cause::LinkError if ["LNK1104", "LNK1168"].iter().any(|code| death.line.contains(code)) => {
            vec![words(
                "The linker may not write the file: end the program that is still running, or exclude the target directory from what the virus scanner watches. Where it is a library (`.lib`), it is not installed.",
            )]
        }
        Cause::Crash => told.of_crash(),
        Cause::Timeout => vec![with(
            "cargo plimsoll doctor --slow".to_owned(),
            "says where a recorded build's time went",
        )],
        _ => Vec::new(),
    }
}

fn with(command: String, why: &str) -> Remedy {
    Remedy { command: Some(command), why: why.to_owned() }
}

fn words(why: &str) -> Remedy {
    Remedy { command: None, why: why.to_owned() }
}

fn swap() -> Remedy {
    words("Where one unit alone is larger than the machine, only paging helps: swap, or zram.")
}

/// A death, and what the log shows beside it.
#[derive(Clone, Copy)]
struct Told<'a> {
    death: Death<'a>,
    seen: &'a Circumstances,
}

impl Told<'_> {
    fn subcommand(&self) -> &'static str {
        if self.is_doc() { "doc" } else { self.seen.subcommand.unwrap_or("build") }
    }

    fn release(&self) -> &'static str {
        if self.seen.release { " --release" } else { "" }
    }

    /// The command that the log's Cargo ran, under Plimsoll.
    fn command(&self, options: &str) -> String {
        format!("cargo plimsoll{options} {}{}", self.subcommand(), self.release())
    }

    /// Whether Plimsoll has a line there.
    fn has_line(&self) -> bool {
        self.seen.system == System::Linux
            || self.seen.system == System::Macos && is_of_linux(self.death.line)
    }

    fn is_doc(&self) -> bool {
        self.death.unit.starts_with("documentation of ")
    }

    fn is_test(&self) -> bool {
        let unit = self.death.unit;
        unit.starts_with("test ")
            || unit.starts_with("run of test ")
            || unit.is_empty() && self.death.during == Doing::Testing
    }

    fn of_memory(&self) -> Vec<Remedy> {
        if let Some(said) = self.of_another_program() {
            return said;
        }
        let allocation = self.death.cause == Cause::AllocationFailed;
        if allocation && self.death.certainty == Certainty::Possible && is_large(self.death.line) {
            return vec![
                with(
                    "cargo clean".to_owned(),
                    "so much at once is seldom what a program needs: it comes from data that is corrupt or of another version, which this removes, or from a fault that another version of the program may not have",
                ),
                swap(),
            ];
        }
        if let Some(narrow) = self.seen.narrow.as_deref().filter(|_| allocation) {
            return vec![of_narrow(narrow), self.lean()];
        }
        let mut all = self.first();
        if allocation {
            all.extend(self.of_allocation());
        }
        if self.is_doc() && self.has_line() {
            all.push(with(
                format!("{} --no-deps", self.command("")),
                "documents the workspace alone, and not all that it depends on",
            ));
        }
        if !self.is_doc() && !self.is_test() && !self.seen.nix {
            all.push(self.lean());
        }
        if self.seen.system == System::Android {
            all.push(of_phantoms());
        }
        if self.death.cause == Cause::SystemdOomd {
            all.insert(1, words(
                "systemd-oomd kills everything in the terminal's scope; a build in a scope of its own (systemd-run --user --scope) dies alone.",
            ));
        }
        // Nobody adds swap to a CI's machine, and a container's limit is not widened by it.
        let own =
            !self.seen.in_ci && !matches!(self.death.cause, Cause::MemoryLimit | Cause::Terminated);
        if own && (self.has_line() || self.seen.system == System::Unix) && !allocation {
            all.push(swap());
        }
        all
    }

    /// Where Plimsoll did not run it: because it was told so, or because the machine is too small.
    fn of_refusal(&self) -> Vec<Remedy> {
        let asked = ["--oversized refuse", "--strict"];
        if asked.iter().any(|option| self.death.line.contains(option)) {
            return vec![
                with(
                    self.command(" --oversized shrink"),
                    "runs it alone and makes it need less; its output stays the same",
                ),
                words(
                    "A larger memory budget (`--memory`), of at least what it needs, lets it run.",
                ),
                self.lean(),
            ];
        }
        vec![
            with(
                self.command(" --oversized shrink-output"),
                "compiles this unit with settings that need less memory; its output differs",
            ),
            self.lean(),
            swap(),
        ]
    }

    /// Where it is no part of a build that dies.
    fn of_another_program(&self) -> Option<Vec<Remedy>> {
        let seen = self.seen;
        let heap = self.death.line.contains("heap");
        if ["java.lang.OutOfMemoryError", "Java heap space"]
            .iter()
            .any(|words| self.death.line.contains(words))
        {
            return Some(vec![with(
                "export JAVA_TOOL_OPTIONS=-Xmx4g".to_owned(),
                "Java died, and not a compiler: its heap has a limit of its own (Gradle has it in `org.gradle.jvmargs`)",
            )]);
        }
        if seen.docs_rs {
            return Some(vec![words(
                "docs.rs builds with a limit of its own: less to document by `[package.metadata.docs.rs]` (`features`, `targets`), or a higher limit on request, which needs the measured peak of a local `cargo doc`.",
            )]);
        }
        if let Some(program) = self.death.unit.strip_prefix("run of ").filter(|_| !self.is_test()) {
            return Some(of_program(program));
        }
        // A compiler that Cargo names died as a compiler, whatever was said before.
        if !self.death.unit.is_empty() && self.death.during != Doing::Bundling {
            return None;
        }
        match self.death.during {
            Doing::Building | Doing::Testing => None,
            Doing::Fetching => Some(vec![
                with(
                    "CARGO_NET_GIT_FETCH_WITH_CLI=true cargo fetch".to_owned(),
                    "Cargo itself died while it read an index or a repository: git's own program needs far less memory for that than the library in Cargo (`net.git-fetch-with-cli`)",
                ),
                words(
                    "Cargo 1.68 and later read the index of crates.io file by file: `CARGO_REGISTRIES_CRATES_IO_PROTOCOL=sparse`, or a newer Cargo.",
                ),
            ]),
            Doing::Cloning => Some(vec![
                with(
                    "git config --global pack.threads 1".to_owned(),
                    "git died, and not a compiler: one thread holds one window of the repository",
                ),
                words(
                    "A clone with less history (`git clone --depth 1`), or swap. That git died shows that `net.git-fetch-with-cli` is on, or that Cargo has no part in it.",
                ),
            ]),
            Doing::Installing => Some(vec![
                with(
                    "rustup toolchain install stable --profile minimal".to_owned(),
                    "rustup died, and not a compiler: the minimal profile leaves out the documentation, most of what is unpacked",
                ),
                words("`RUSTUP_UNPACK_RAM` bounds what rustup unpacks at once; swap helps, too."),
            ]),
            Doing::Bundling if heap => Some(vec![with(
                "export NODE_OPTIONS=--max-old-space-size=4096".to_owned(),
                "Node died, and not a compiler: its heap has a limit of its own (in MiB), which may be as high as the machine's memory allows",
            )]),
            Doing::Bundling => Some(vec![words(
                "Node died, and not a compiler: bundle before or after Cargo's build and not beside it, without source maps; `NODE_OPTIONS=--max-old-space-size=1024` keeps its heap (in MiB) below what there is.",
            )]),
            Doing::Packing => Some(vec![
                words(
                    "The image builder died while it packed what was built, and not Cargo: give its container more memory, and copy only the finished programs into the last stage.",
                ),
                words(
                    "kaniko holds less with `--compressed-caching=false`, `--snapshot-mode=redo` and `--use-new-run`.",
                ),
            ]),
        }
    }

    /// What lets less run at once.
    fn first(&self) -> Vec<Remedy> {
        let (seen, unit) = (self.seen, self.death.unit);
        if seen.nix {
            return vec![with(
                "nix build --max-jobs 1 --cores 2".to_owned(),
                "one derivation at a time, with two compilers in it: Nix starts Cargo itself, with as many as there are processors",
            )];
        }
        if self.is_test() {
            let (command, threads) = match (seen.subcommand, self.has_line()) {
                (Some("nextest run"), true) => ("cargo plimsoll nextest run", " --test-threads 1"),
                (Some("nextest run"), false) => ("cargo nextest run", " --test-threads 1"),
                (_, true) => ("cargo plimsoll test", " -- --test-threads=1"),
                (_, false) => ("cargo test", " -- --test-threads=1"),
            };
            return vec![with(
                format!("{command}{}{threads}", self.release()),
                "a test died, and not a compiler: one at a time, each has all the memory there is",
            )];
        }
        if !self.has_line() {
            let jobs =
                if self.subcommand().starts_with("nextest") { "--build-jobs 1" } else { "-j 1" };
            return vec![with(
                format!("cargo {}{} {jobs}", self.subcommand(), self.release()),
                "one compiler at a time (`cargo plimsoll` has a line to keep on Linux only)",
            )];
        }
        if seen.governed {
            return vec![
                with(
                    self.command(" --memory 60%"),
                    "the build already ran inside a memory budget, so something else took the memory: a smaller \
                     budget leaves more to other programs",
                ),
                with(
                    self.command(" --jobs 1"),
                    "runs one unit at a time, with all of the budget for itself",
                ),
            ];
        }
        // Whatever no shim stands before is admitted by its memory, and not run again.
        let run_again = !unit.ends_with("(build script)");
        let mut all = vec![with(
            self.command(""),
            if run_again {
                "runs as much at once as fits into what the machine or container leaves, and runs again what is killed \
                 all the same"
            } else {
                "runs as much at once as fits into what the machine or container leaves"
            },
        )];
        let shared =
            seen.in_ci || matches!(self.death.cause, Cause::MemoryLimit | Cause::Terminated);
        if shared && !matches!(self.death.cause, Cause::AllocationFailed | Cause::SystemdOomd) {
            all.push(with(
                self.command(" --memory 80%"),
                "leaves more to what else runs in the same job or container",
            ));
        }
        all
    }

    /// What makes single compilers and links smaller.
    fn lean(&self) -> Remedy {
        let linked = self.death.unit.starts_with("link of");
        let why = match (self.seen.fat_lto, linked, self.seen.full_debuginfo) {
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
    }

    /// Where memory was refused: what refuses it differs.
    fn of_allocation(&self) -> Vec<Remedy> {
        let mut all = vec![match self.seen.system {
            System::Windows => words(
                "A larger page file: Windows promises no more memory than RAM and page file hold together, however little of it is used.",
            ),
            System::Macos | System::Android | System::Unix => swap(),
            System::Linux => words(
                "Swap: where the kernel promises no more than there is (`vm.overcommit_memory=2`), and where one unit alone is larger than the machine.",
            ),
        }];
        if self.has_line() {
            all.push(words(
                "Where `ulimit -v` or the CI limits the address space, lift that: it fails healthy compilers, too.",
            ));
        }
        all
    }

    fn of_tmpfs(&self) -> Vec<Remedy> {
        let mut all = vec![
            with(
                "CARGO_TARGET_DIR=$HOME/target cargo plimsoll build".to_owned(),
                "puts the artifacts on a disk: what lies in a tmpfs is memory that no compiler can have",
            ),
            with("cargo plimsoll clean".to_owned(), "removes what no build can use again"),
        ];
        if self.death.certainty != Certainty::Certain {
            all.push(words(
                "A disk that is full ends compilers and linkers in the same way: look at `df -h` first.",
            ));
        }
        all
    }

    fn of_disk(&self) -> Vec<Remedy> {
        let mut all = vec![with(
            "cargo plimsoll clean".to_owned(),
            "removes from the target directory what no build can use again",
        )];
        if self.death.certainty != Certainty::Certain {
            all.push(words(
                "Where `df -T` calls that file system tmpfs, or zram, it is memory after all.",
            ));
        }
        all
    }

    fn of_bitcode(&self) -> Vec<Remedy> {
        let profile = if self.seen.release { "RELEASE" } else { "DEV" };
        vec![with(
            format!("CARGO_PROFILE_{profile}_LTO=off cargo plimsoll build{}", self.release()),
            "links without intermediate code; what a killed compiler left half-written is written anew after `cargo clean`",
        )]
    }

    fn of_threads(&self) -> Vec<Remedy> {
        if self.seen.system == System::Android {
            return vec![
                of_phantoms(),
                with(
                    format!("cargo {}{} -j 1", self.subcommand(), self.release()),
                    "starts one compiler at a time, so that there are fewer processes",
                ),
            ];
        }
        let command = if self.has_line() {
            self.command(" --jobs 1")
        } else {
            format!("cargo {}{} -j 1", self.subcommand(), self.release())
        };
        vec![
            with(command, "starts one compiler at a time, which needs a fraction of the threads"),
            words("Raise the limit of processes: `ulimit -u`, or the container's pids limit."),
        ]
    }

    /// Which rule it was decides.
    fn of_rules(&self) -> Vec<Remedy> {
        let line = self.death.line;
        let any = |marks: &[&str]| marks.iter().any(|mark| line.contains(mark));
        if any(&["SIGSYS", "Bad system call", "signal: 31", "sig=31"])
            || exit_number(line) == Some(159)
        {
            return vec![words(
                "A sandbox (seccomp) ends programs that make a call it does not know: a newer container runtime with its newer profile, or `--security-opt seccomp=unconfined` to see whether that is it.",
            )];
        }
        if any(&["Too many open files", "(os error 24)"]) {
            return vec![words(
                "Raise the limit of open files: `ulimit -n`, or the container's (`--ulimit nofile=`).",
            )];
        }
        if any(&["virus", "(os error 225)", "(os error 1260)", "(os error 4551)"]) {
            return vec![words(
                "A virus scanner or a policy of Windows forbids the program: exclude the target directory from what is watched, or allow what is built there.",
            )];
        }
        let killed =
            any(&["SIGKILL", "illed", "CODE SIGNING", "Security policy", "Code Signature"]);
        if self.seen.system == System::Macos && killed {
            let mut all = vec![words(
                "macOS kills a program whose signature is not valid, or that is in quarantine: `codesign --force --sign - PROGRAM`, `xattr -d com.apple.quarantine PROGRAM`, or let the terminal start it (Privacy & Security, Developer Tools).",
            )];
            if self.death.unit.ends_with("(build script)") {
                all.push(with(
                    "cargo clean".to_owned(),
                    "has the programs written and signed anew: copying over one that has run leaves an invalid signature",
                ));
            }
            return all;
        }
        Vec::new()
    }

    fn of_crash(&self) -> Vec<Remedy> {
        // Only second thoughts leave a crash so uncertain.
        if self.death.certainty == Certainty::Possible {
            return vec![words(
                "The log shows much free memory, so that it is rather a fault of the compiler or a broken toolchain: try another version of it.",
            )];
        }
        if self.death.line.contains("memory allocation of ") {
            return vec![words(
                "No machine has so much: the number comes from corrupt data or a fault of the program. `cargo clean` removes what a build has cached; a newer version may know better.",
            )];
        }
        Vec::new()
    }
}

/// A program that Cargo, a tool or a person runs, and that is no compiler.
fn of_program(program: &str) -> Vec<Remedy> {
    if program == "wasm-opt" {
        return vec![
            with(
                "cargo plimsoll run-under -- wasm-pack build".to_owned(),
                "wasm-opt runs while nothing else does",
            ),
            words(
                "A lower level (`-O1`), or none (`wasm-opt = false`), in `[package.metadata.wasm-pack.profile.release]`.",
            ),
        ];
    }
    vec![
        words(
            "The program itself died, and no compiler: how Cargo builds it does not change what it needs.",
        ),
        swap(),
    ]
}

/// Whether a line tells of one request that is doubtful by its size alone.
fn is_large(line: &str) -> bool {
    requested(line).is_some_and(|bytes| bytes >= LARGE)
}

/// Android counts the processes that apps start.
fn of_phantoms() -> Remedy {
    with(
        "adb shell settings put global settings_enable_monitor_phantom_procs false".to_owned(),
        "Android ends apps whose processes are more than 32 together; this switches that off (Android 12L and later)",
    )
}

/// A 64-bit compiler for the same programs.
fn of_narrow(narrow: &str) -> Remedy {
    const WHY: &str = "a 32-bit compiler can hold 2 to 4 GiB, however much the machine has: a 64-bit toolchain compiles for the same target";
    // What runs where the 32-bit one does.
    let host = narrow.strip_prefix("i686-").or_else(|| narrow.strip_prefix("i586-"));
    match host {
        Some(rest) => with(format!("cargo +stable-x86_64-{rest} build --target {narrow}"), WHY),
        None => Remedy {
            command: None,
            why: format!(
                "A 64-bit toolchain, on a 64-bit machine or container (now: {narrow}), with `--target` for the same programs: a 32-bit compiler can hold 2 to 4 GiB, however much the machine has."
            ),
        },
    }
}
