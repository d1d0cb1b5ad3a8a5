//! What to do about it: named when and only when it applies.
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

/// What to do about it.
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
                "The linker cannot write the file. End the program if it still runs, or exclude the target directory from the virus scanner. If the file is a library (`.lib`), install it.",
            )]
        }
        Cause::Crash => told.of_crash(),
        Cause::Timeout => vec![with(
            "cargo plimsoll doctor --slow".to_owned(),
            "shows where a recorded build spent its time",
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
    words("If one unit alone needs more than the machine has, add swap or zram.")
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
        let named = self.death.line.contains(" --release");
        if self.seen.release || named { " --release" } else { "" }
    }

    /// The command that the log's Cargo ran, under Plimsoll.
    fn command(&self, options: &str) -> String {
        format!("cargo plimsoll{options} {}{}", self.subcommand(), self.release())
    }

    /// Whether Plimsoll keeps a memory budget there.
    fn has_budget(&self) -> bool {
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
                    "removes cached data that may be corrupt: a program seldom needs that much at once. If it asks again, try another version of the program",
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
        if self.is_doc() && self.has_budget() {
            all.push(with(
                format!("{} --no-deps", self.command("")),
                "documents only the workspace, not its dependencies",
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
                "systemd-oomd kills everything in the terminal's scope. Start the build in its own scope (`systemd-run --user --scope`), so that only the build dies.",
            ));
        }
        // Nobody adds swap to a CI's machine, and a container's limit is not widened by it.
        let own =
            !self.seen.in_ci && !matches!(self.death.cause, Cause::MemoryLimit | Cause::Terminated);
        if own && (self.has_budget() || self.seen.system == System::Unix) && !allocation {
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
                    "runs the unit alone and makes it need less; its output stays the same",
                ),
                words("Or give it a memory budget (`--memory`) of at least what it needs."),
                self.lean(),
            ];
        }
        vec![
            with(
                self.command(" --oversized shrink-output"),
                "compiles the unit with settings that need less memory; its output differs",
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
                "raises Java's own heap limit: Java died, not a compiler (in Gradle: `org.gradle.jvmargs`)",
            )]);
        }
        if seen.docs_rs {
            return Some(vec![words(
                "docs.rs has its own memory limit. Document less (`features` and `targets` in `[package.metadata.docs.rs]`), or ask docs.rs for a higher limit and name the peak that you measured with `cargo doc`.",
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
                    "fetches with the git program, which needs far less memory than the git library in Cargo: Cargo died while it read an index or a repository",
                ),
                words(
                    "Or read the crates.io index file by file: set `CARGO_REGISTRIES_CRATES_IO_PROTOCOL=sparse` (Cargo 1.68 or later; newer ones do it by default).",
                ),
            ]),
            Doing::Cloning => Some(vec![
                with(
                    "git config --global pack.threads 1".to_owned(),
                    "lets git use one thread, which needs less memory: git died, not a compiler",
                ),
                words("Or clone with less history (`git clone --depth 1`), or add swap."),
            ]),
            Doing::Installing => Some(vec![
                with(
                    "rustup toolchain install stable --profile minimal".to_owned(),
                    "installs without the documentation, which is most of what rustup unpacks: rustup died, not a compiler",
                ),
                words(
                    "Or limit what rustup unpacks at once with `RUSTUP_UNPACK_RAM` (in bytes), or add swap.",
                ),
            ]),
            Doing::Bundling if heap => Some(vec![with(
                "export NODE_OPTIONS=--max-old-space-size=4096".to_owned(),
                "raises Node's own heap limit (in MiB): Node died, not a compiler",
            )]),
            Doing::Bundling => Some(vec![words(
                "Node died, not a compiler. Bundle before or after the Cargo build, not at the same time, and without source maps. `NODE_OPTIONS=--max-old-space-size=1024` limits Node's heap (in MiB).",
            )]),
            Doing::Packing => Some(vec![
                words(
                    "The image builder died, not Cargo. Give its container more memory, and copy only the finished programs into the last stage.",
                ),
                words(
                    "kaniko needs less memory with `--compressed-caching=false`, `--snapshot-mode=redo` and `--use-new-run`.",
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
                "builds one derivation at a time, with two compilers: Nix starts one per processor otherwise",
            )];
        }
        if self.is_test() {
            let (command, threads) = match (seen.subcommand, self.has_budget()) {
                (Some("nextest run"), true) => ("cargo plimsoll nextest run", " --test-threads 1"),
                (Some("nextest run"), false) => ("cargo nextest run", " --test-threads 1"),
                (_, true) => ("cargo plimsoll test", " -- --test-threads=1"),
                (_, false) => ("cargo test", " -- --test-threads=1"),
            };
            return vec![with(
                format!("{command}{}{threads}", self.release()),
                "runs one test at a time: a test died, not a compiler",
            )];
        }
        if !self.has_budget() {
            let jobs =
                if self.subcommand().starts_with("nextest") { "--build-jobs 1" } else { "-j 1" };
            return vec![with(
                format!("cargo {}{} {jobs}", self.subcommand(), self.release()),
                "runs one compiler at a time (`cargo plimsoll` keeps a memory budget only on Linux)",
            )];
        }
        if seen.governed {
            return vec![
                with(
                    self.command(" --memory 60%"),
                    "leaves more memory to other programs: the build already ran inside a memory budget, so something \
                     else took the memory",
                ),
                with(
                    self.command(" --jobs 1"),
                    "runs one unit at a time, which has the whole budget",
                ),
            ];
        }
        // Whatever no shim stands before is admitted by its memory, and not run again.
        let run_again = !unit.ends_with("(build script)");
        let mut all = vec![with(
            self.command(""),
            if run_again {
                "runs only as much at once as fits into the free memory of the machine or container, and runs a compiler \
                 again if it is killed all the same"
            } else {
                "runs only as much at once as fits into the free memory of the machine or container"
            },
        )];
        let shared =
            seen.in_ci || matches!(self.death.cause, Cause::MemoryLimit | Cause::Terminated);
        if shared && !matches!(self.death.cause, Cause::AllocationFailed | Cause::SystemdOomd) {
            all.push(with(
                self.command(" --memory 80%"),
                "leaves more memory to everything else in the same job or container",
            ));
        }
        all
    }

    /// What makes single compilers and links smaller.
    fn lean(&self) -> Remedy {
        let linked = self.death.unit.starts_with("link of");
        let why = match (self.seen.fat_lto, linked, self.seen.full_debuginfo) {
            (true, ..) => {
                "switches from fat LTO, which holds the whole program in one compiler, to thin LTO with more codegen units"
            }
            (_, true, true) => {
                "reduces and splits debug information, most of what the linker holds"
            }
            (_, true, false) => "writes settings with which the linker needs less memory",
            (_, _, true) => {
                "writes settings with less debug information and more codegen units, so that each compiler needs less memory"
            }
            _ => "writes settings with which each compiler and linker needs less memory",
        };
        with("cargo plimsoll init --lowmem".to_owned(), why)
    }

    /// Where memory was refused: what refuses it differs.
    fn of_allocation(&self) -> Vec<Remedy> {
        let mut all = vec![match self.seen.system {
            System::Windows => words(
                "Enlarge the page file: Windows grants only as much memory as RAM and page file have together.",
            ),
            System::Macos | System::Android | System::Unix => swap(),
            System::Linux => words(
                "Add swap, if one unit alone needs more than the machine has, or if the kernel grants only what it has (`vm.overcommit_memory=2`).",
            ),
        }];
        if self.has_budget() {
            all.push(words(
                "If `ulimit -v` or the CI limits the address space, lift that limit: healthy compilers fail under it, too.",
            ));
        }
        all
    }

    fn of_tmpfs(&self) -> Vec<Remedy> {
        let mut all = vec![
            with(
                "CARGO_TARGET_DIR=$HOME/target cargo plimsoll build".to_owned(),
                "puts the artifacts on a disk: files in a tmpfs take memory from the compilers",
            ),
            with(
                "cargo plimsoll clean".to_owned(),
                "removes from the target directory what no build can use again",
            ),
        ];
        if self.death.certainty != Certainty::Certain {
            all.push(words(
                "First look at `df -h`: a full disk ends compilers and linkers in the same way.",
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
                "Look at `df -T`: if it calls the file system tmpfs or zram, memory is full, not a disk.",
            ));
        }
        all
    }

    fn of_bitcode(&self) -> Vec<Remedy> {
        let profile = if self.seen.release { "RELEASE" } else { "DEV" };
        vec![with(
            format!("CARGO_PROFILE_{profile}_LTO=off cargo plimsoll build{}", self.release()),
            "links without the intermediate code. Run `cargo clean` first: a killed compiler may have left half of a file",
        )]
    }

    fn of_threads(&self) -> Vec<Remedy> {
        if self.seen.system == System::Android {
            return vec![
                of_phantoms(),
                with(
                    format!("cargo {}{} -j 1", self.subcommand(), self.release()),
                    "runs one compiler at a time, so that there are fewer processes",
                ),
            ];
        }
        let command = if self.has_budget() {
            self.command(" --jobs 1")
        } else {
            format!("cargo {}{} -j 1", self.subcommand(), self.release())
        };
        vec![
            with(command, "runs one compiler at a time, which needs far fewer threads"),
            words("Or raise the limit on processes: `ulimit -u`, or the container's pids limit."),
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
                "A sandbox (seccomp) ended a program that made a system call it does not know. Update the container runtime; `--security-opt seccomp=unconfined` shows whether that is the cause.",
            )];
        }
        if any(&["Too many open files", "(os error 24)"]) {
            return vec![words(
                "Raise the limit on open files: `ulimit -n`, or `--ulimit nofile=` for a container.",
            )];
        }
        if any(&["virus", "(os error 225)", "(os error 1260)", "(os error 4551)"]) {
            return vec![words(
                "A virus scanner or a Windows policy blocks the program. Exclude the target directory from the scanner, or allow programs that are built there.",
            )];
        }
        let killed =
            any(&["SIGKILL", "illed", "CODE SIGNING", "Security policy", "Code Signature"]);
        if self.seen.system == System::Macos && killed {
            let mut all = vec![words(
                "macOS kills a program whose signature is invalid or that is in quarantine. Sign it (`codesign --force --sign - PROGRAM`), release it (`xattr -d com.apple.quarantine PROGRAM`), or allow your terminal to run it (Privacy & Security, Developer Tools).",
            )];
            if self.death.unit.ends_with("(build script)") {
                all.push(with(
                    "cargo clean".to_owned(),
                    "has the programs written and signed again: a program that is copied over one that has run keeps an invalid signature",
                ));
            }
            return all;
        }
        Vec::new()
    }

    fn of_crash(&self) -> Vec<Remedy> {
        // Second thoughts about memory that was refused, because of this.
        let much_is_free = self.seen.free > 0 || self.seen.told_free > 0;
        if self.death.certainty == Certainty::Possible && much_is_free {
            return vec![words(
                "Try another version of the toolchain: the log shows much free memory, so this is more likely a bug in the compiler or a broken toolchain.",
            )];
        }
        if self.death.line.contains("memory allocation of ") {
            return vec![words(
                "No machine has that much memory: the number comes from corrupt data or a bug in the program. Run `cargo clean` to remove cached data, or try another version of the program.",
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
                "runs wasm-opt while nothing else runs",
            ),
            words(
                "Or set a lower level (`-O1`) or none (`wasm-opt = false`) in `[package.metadata.wasm-pack.profile.release]`.",
            ),
        ];
    }
    vec![
        words(
            "The program itself died, not a compiler. The way Cargo builds it does not change how much memory it needs.",
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
        "switches off a limit of Android 12L and later: it ends apps when they have more than 32 processes together",
    )
}

/// A 64-bit compiler for the same programs.
fn of_narrow(narrow: &str) -> Remedy {
    const WHY: &str = "uses a 64-bit toolchain for the same target: a 32-bit compiler cannot hold more than 2 to 4 GiB";
    // What runs where the 32-bit one does.
    let host = narrow.strip_prefix("i686-").or_else(|| narrow.strip_prefix("i586-"));
    match host {
        Some(rest) => with(format!("cargo +stable-x86_64-{rest} build --target {narrow}"), WHY),
        None => Remedy {
            command: None,
            why: format!(
                "Compile with a 64-bit toolchain on a 64-bit machine or container, and name the target with `--target`. This compiler is a 32-bit program ({narrow}), which cannot hold more than 2 to 4 GiB."
            ),
        },
    }
}
