//! Who died, and where, decides what would have prevented it; and what the text says, JSON says, too.
#![expect(clippy::disallowed_methods, reason = "the corpus lies in files")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod asked;

use std::path::Path;

use plimsoll_doctor::{Cause, Certainty, text};

use asked::{judge, suggested};

/// The first command or words.
fn first(log: &str) -> String {
    suggested(log).lines().next().unwrap_or_default().to_owned()
}

const WINDOWS: &str = "   Compiling app v0.1.0 (C:\\src\\app)\n\
                       memory allocation of 67108864 bytes failed\n\
                       error: could not compile `app` (lib)\n";

const LINUX: &str = "   Compiling app v0.1.0 (/home/user/app)\n\
                     memory allocation of 67108864 bytes failed\n\
                     error: could not compile `app` (lib)\n";

#[test]
fn windows_gets_a_page_file_and_no_ulimit_and_linux_swap() {
    let said = suggested(WINDOWS);
    assert!(said.contains("page file") && said.contains("cargo build -j 1"), "{said}");
    assert!(!said.contains("ulimit") && !said.contains("cargo plimsoll build"), "{said}");
    let said = suggested(LINUX);
    assert!(said.contains("Add swap") && said.contains("ulimit -v"), "{said}");
    assert!(said.contains("cargo plimsoll build") && !said.contains("page file"), "{said}");
}

#[test]
fn plimsoll_is_named_where_it_keeps_a_budget() {
    let killed = |program: &str| {
        format!(
            "error: could not compile `app` (lib)\n\nCaused by:\n  process didn't exit successfully: `{program} \
             --crate-name app` (signal: 9, SIGKILL: kill)\n"
        )
    };
    let named = |log: String| first(&log).starts_with("cargo plimsoll build");
    assert!(named(killed("rustc")));
    assert!(!named(killed("/Users/me/.rustup/toolchains/stable-aarch64-apple-darwin/bin/rustc")));
    assert!(!named(format!(
        "{}pid 4 (rustc), jid 1, uid 5, was killed: out of swap space\n",
        killed("rustc")
    )));
    // A container on a Mac is a Linux.
    let container =
        killed("/usr/local/rustup/toolchains/stable-aarch64-unknown-linux-gnu/bin/rustc");
    assert!(named(format!("host: aarch64-apple-darwin\n{container}")));
}

#[test]
fn a_32_bit_compiler_is_to_be_a_64_bit_one() {
    let toolchain =
        "C:\\Users\\me\\.rustup\\toolchains\\stable-i686-pc-windows-msvc\\bin\\rustc.exe\n";
    let said = first(&format!("{toolchain}{WINDOWS}"));
    let wanted = "cargo +stable-x86_64-pc-windows-msvc build --target i686-pc-windows-msvc";
    assert!(said.starts_with(wanted), "{said}");
    for sign in [
        "info: default host triple is armv7-unknown-linux-gnueabihf\n",
        "#21 [linux/arm/v7 build 4/6] RUN cargo build\n",
        "armv7l\n",
        "note: rustc 1.90.0 running on i686-unknown-linux-gnu\n",
    ] {
        let said = first(&format!("{sign}{LINUX}"));
        assert!(said.contains("64-bit") || said.contains("x86_64"), "{sign}{said}");
    }
    // What a 64-bit compiler compiles for does not bind it.
    let target = "     Running `rustc --crate-name app --target i686-pc-windows-msvc`\n";
    assert!(!suggested(&format!("{target}{LINUX}")).contains("64-bit"));
}

#[test]
fn the_program_that_died_gets_a_remedy_of_its_own() {
    let killed = "Killed\n";
    for (before, remedy) in [
        ("    Updating crates.io index\n", "CARGO_NET_GIT_FETCH_WITH_CLI=true"),
        (
            "    Updating git repository `https://git.example.org/x`\n",
            "CARGO_NET_GIT_FETCH_WITH_CLI=true",
        ),
        ("Cloning into 'depot'...\n", "pack.threads"),
        ("info: installing component 'rust-docs'\n", "--profile minimal"),
        ("INFO[0107] Taking snapshot of full filesystem...\n", "image builder"),
        ("#18 exporting to image\n", "image builder"),
        ("vite v6.0.0 building for production...\n", "--max-old-space-size"),
        ("> next build\n", "--max-old-space-size"),
        (
            "     Running tests/load.rs (target/debug/deps/load-0123456789abcdef)\n",
            "--test-threads=1",
        ),
    ] {
        let said = suggested(&format!("{before}{killed}"));
        assert!(said.contains(remedy), "{before}{said}");
        assert!(!said.contains("init --lowmem"), "no compiler died: {before}{said}");
        // A compiler behind it is one.
        let log = format!("{before}   Compiling app v0.1.0\n{killed}");
        assert!(first(&log).starts_with("cargo plimsoll"), "{log}{}", first(&log));
        assert!(!suggested(&log).contains(remedy), "{log}");
    }
    let heap =
        "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n";
    assert!(
        first(heap).starts_with("export NODE_OPTIONS=--max-old-space-size="),
        "{}",
        first(heap)
    );
}

#[test]
fn a_test_runs_alone_whoever_runs_it() {
    let nextest = " Nextest run ID 0c1d with nextest profile: default\n\
                   \x20    SIGKILL [  48.120s] (3/9) app::load everything\n";
    assert!(first(nextest).contains("nextest run --test-threads 1"), "{}", first(nextest));
    let cargo = "running 3 tests\nerror: test failed, to rerun pass `--lib`\n\nCaused by:\n  process didn't exit \
                 successfully: `/t/debug/deps/app-0123456789abcdef` (signal: 9, SIGKILL: kill)\n";
    assert!(first(cargo).contains("test -- --test-threads=1"), "{}", first(cargo));
}

#[test]
fn rustdoc_nix_and_docs_rs_get_what_applies_to_them() {
    let doc = "error: could not document `app`\n\nCaused by:\n  process didn't exit successfully: `rustdoc \
               --crate-name app src/lib.rs` (signal: 9, SIGKILL: kill)\n";
    let said = suggested(doc);
    assert!(said.starts_with("cargo plimsoll doc |") && !said.contains("--lowmem"), "{said}");
    assert!(said.contains("cargo plimsoll doc --no-deps"), "{said}");
    let at_docs_rs = format!("[INFO] running `Command {{ std: \"docker\" }}` by rustwide\n{doc}");
    let said = suggested(&at_docs_rs);
    assert!(
        said.contains("package.metadata.docs.rs") && !said.contains("cargo plimsoll"),
        "{said}"
    );
    let nix =
        "error: builder for '/nix/store/0b7w-app-0.1.0.drv' failed due to signal 9 (Killed)\n";
    let said = suggested(nix);
    assert!(
        said.starts_with("nix build --max-jobs 1") && !said.contains("cargo plimsoll"),
        "{said}"
    );
}

#[test]
fn a_compiler_s_stack_that_cannot_grow_is_want_of_memory_whatever_the_system_calls_it() {
    for said in [
        "allocating stack failed with: Resource temporarily unavailable (os error 11)",
        "mmap failed to allocate stack: Resource temporarily unavailable (os error 11)",
        "unable to allocate fiber: слова (os error 8)",
    ] {
        let log = format!(
            "thread 'rustc' panicked at stacker/src/lib.rs:1:\n{said}\nerror: could not compile `app` (lib)\n"
        );
        let judged = judge(&log);
        assert_eq!(
            (judged.cause, judged.unit.as_deref()),
            (Cause::AllocationFailed, Some("app")),
            "{said}"
        );
    }
}

#[test]
fn a_request_is_doubted_by_its_size() {
    let asked = |bytes: u64| judge(&format!("memory allocation of {bytes} bytes failed\n"));
    let (usual, large, absurd) = (asked(1 << 30), asked(63_063_237_072), asked(1 << 41));
    assert_eq!((usual.cause, usual.certainty), (Cause::AllocationFailed, Certainty::Certain));
    assert_eq!((large.cause, large.certainty), (Cause::AllocationFailed, Certainty::Possible));
    assert_eq!(large.remedies[0].command.as_deref(), Some("cargo clean"));
    assert_eq!((absurd.memory, absurd.cause), (false, Cause::Crash));
    assert!(!absurd.remedies[0].why.is_empty());
    // A second trace makes a size no likelier.
    let log = "memory allocation of 63063237072 bytes failed\n##[error]Process completed with exit code 137.\n";
    assert_eq!(judge(log).certainty, Certainty::Possible);
}

#[test]
fn free_memory_that_the_log_shows_speaks_against_want_of_it() {
    let llvm = "LLVM ERROR: out of memory\nerror: could not compile `app` (lib)\n";
    let free = |gib: u32| {
        format!(
            "               total        used        free\nMem:           126Gi       {}Gi        {gib}Gi\n",
            126 - gib
        )
    };
    assert!(judge(llvm).memory);
    assert!(!judge(&format!("{llvm}{}", free(20))).memory, "free when it had failed");
    assert!(judge(&format!("{}{llvm}", free(20))).memory, "the build may have used that");
    assert!(!judge(&format!("{}{llvm}", free(100))).memory, "hardly all of that");
    assert!(judge(&format!("{llvm}{}", free(2))).memory);
    assert!(!judge(&format!("It has 30 GB of memory free.\n{llvm}")).memory);
    assert!(judge(&format!("It has 30 GB of disk free, and the memory is small.\n{llvm}")).memory);
    // A 32-bit compiler has little, however much there is.
    let narrow = "note: rustc 1.90.0 running on i686-unknown-linux-gnu\n";
    assert!(judge(&format!("{narrow}{llvm}{}", free(100))).memory);
    let doubted = judge(&format!("{llvm}{}", free(100)));
    assert!(text(&doubted).contains("not a memory problem (possible)"));
}

#[test]
fn macos_kills_at_its_start_what_it_does_not_trust() {
    let script = |program: &str, behind: &str| {
        judge(&format!(
            "error: failed to run custom build command for `app v0.1.0`\n\nCaused by:\n  process didn't exit \
             successfully: `{program}` (signal: 9, SIGKILL: kill)\n{behind}"
        ))
    };
    let at = "/target/debug/build/app-0123456789abcdef/build-script-build";
    let silent = script(&format!("/Users/me/app{at}"), "");
    assert_eq!((silent.cause, silent.memory), (Cause::Denied, false));
    assert!(silent.remedies.iter().any(|remedy| remedy.why.contains("codesign")));
    // One that has written something ran, and one of Linux has another system.
    assert!(
        script(&format!("/Users/me/app{at}"), "  --- stdout\n  cargo:rerun-if-changed=x\n").memory
    );
    assert!(script(&format!("/home/me/app{at}"), "").memory);
    assert!(
        script(&format!("/home/me/app{at}"), "host: aarch64-apple-darwin\n").memory,
        "a container"
    );
    let compiler = "error: could not compile `app` (lib)\n\nCaused by:\n  process didn't exit successfully: \
                    `/Users/me/.rustup/rustc --crate-name app` (signal: 9, SIGKILL: kill)\n";
    assert!(judge(compiler).memory, "a compiler is signed");
    assert_eq!(judge("me@MacBook ~ % app\nzsh: killed     app --version\n").cause, Cause::Denied);
    assert!(judge("me@MacBook ~ % cargo build\nzsh: killed     cargo build\n").memory);
}

#[test]
fn android_ends_a_terminal_for_its_processes_and_may_have_killed_a_compiler_for_them() {
    let ended = "   Compiling app v0.1.0\n\n[Process completed (signal 9) - press Enter]\n";
    let judged = judge(ended);
    assert_eq!((judged.cause, judged.memory), (Cause::NoThreads, false));
    assert!(first(ended).starts_with("adb shell"), "{}", first(ended));
    let compiler = "error: could not compile `app` (lib)\n\nCaused by:\n  process didn't exit successfully: \
                    `/data/data/com.termux/files/usr/bin/rustc --crate-name app` (signal: 9, SIGKILL: kill)\n";
    let judged = judge(compiler);
    assert_eq!((judged.memory, judged.certainty), (true, Certainty::Possible));
    assert!(suggested(compiler).contains("adb shell"), "{}", suggested(compiler));
}

#[test]
fn what_a_rule_of_the_system_forbids_gets_that_rule_s_remedy() {
    for (log, remedy) in [
        (
            "process didn't exit successfully: `rustc --crate-name app` (signal: 31, SIGSYS: bad system call)\n",
            "seccomp",
        ),
        ("##[error]Process completed with exit code 159.\n", "seccomp"),
        ("error: x: Too many open files (os error 24)\n", "ulimit -n"),
        ("Caused by:\n  x (os error 225)\n", "virus scanner"),
        ("  = note: LINK : fatal error LNK1104: cannot open file 'a.exe'\n", "still runs"),
    ] {
        let verdict = judge(log);
        assert!(!verdict.memory, "{log}");
        assert!(suggested(log).contains(remedy), "{log}{verdict:?}");
    }
}

#[test]
fn windows_errors_are_known_by_their_numbers() {
    let cause = |said: &str| judge(&format!("error: failed to write `x`: {said}\n")).cause;
    for number in [8, 14, 1450, 1455, 1816] {
        assert_eq!(
            cause(&format!("слова (os error {number})")),
            Cause::AllocationFailed,
            "{number}"
        );
    }
    assert_eq!(cause("слова (os error 112)"), Cause::DiskFull);
    assert_eq!(cause("слова (os error 5)"), Cause::Denied);
    for other in [
        "Exec format error (os error 8)",
        "Bad address (os error 14)",
        "The access code is invalid. (os error 12)",
        "Input/output error (os error 5)",
        "Broken pipe (os error 32)",
        "No such file or directory (os error 2)",
    ] {
        assert_eq!(cause(other), Cause::Failed, "{other}");
    }
    assert_eq!(cause("Cannot allocate memory (os error 12)"), Cause::AllocationFailed);
}

#[test]
fn an_exception_that_rust_does_not_know_is_want_of_memory_only_in_a_compiler() {
    let foreign = "fatal runtime error: Rust cannot catch foreign exceptions\n";
    let compiler = format!("{foreign}error: could not compile `app` (lib)\n");
    let judged = judge(&compiler);
    assert_eq!((judged.cause, judged.unit.as_deref()), (Cause::AllocationFailed, Some("app")));
    let test = format!("running 1 test\n{foreign}error: test failed, to rerun pass `--lib`\n");
    assert!(!judge(&test).memory);
    let script = format!("{foreign}error: failed to run custom build command for `app v0.1.0`\n");
    assert!(!judge(&script).memory);
}

/// Every text of the corpus.
fn corpus() -> Vec<(String, String)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut texts = Vec::new();
    for kind in ["memory", "other"] {
        for entry in corpus.join(kind).read_dir().unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            texts.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    texts
}

#[test]
fn text_json_and_remedies_say_the_same_of_every_text() {
    for (name, log) in corpus() {
        let verdict = judge(&log);
        let (said, json) = (text(&verdict), serde_json::to_value(&verdict).unwrap());
        let certainty = json["certainty"].as_str().unwrap();
        assert_eq!(json["memory"], verdict.cause.is_memory(), "{name}");
        let denied = said.contains("not a memory problem (");
        let known = !matches!(verdict.cause, Cause::Succeeded | Cause::Unknown | Cause::Failed);
        assert_eq!(denied, !verdict.memory && known, "{name}: {said}");
        assert_eq!(said.contains("What to do"), !verdict.remedies.is_empty(), "{name}: {said}");
        assert!(!verdict.memory || !verdict.remedies.is_empty(), "{name}: {said}");
        let judged = !matches!(verdict.cause, Cause::Succeeded | Cause::Unknown);
        assert_eq!(said.contains(&format!("({certainty})")), judged, "{name}: {said}");
        let windows = log.contains("C:\\") || log.contains("D:\\");
        assert!(!windows || !said.contains("ulimit -v"), "{name}: {said}");
    }
}

#[test]
fn the_command_keeps_the_profile_that_the_log_names() {
    let log = "bash: line 171:    42 Killed                  cargo build --release --locked\n";
    assert!(first(log).starts_with("cargo plimsoll build --release |"), "{}", first(log));
    let log = "bash: line 171:    42 Killed                  cargo build --locked\n";
    assert!(first(log).starts_with("cargo plimsoll build |"), "{}", first(log));
}

#[test]
fn a_crash_is_not_said_to_have_had_memory_that_the_log_does_not_show() {
    let crash = "Segmentation fault (core dumped)\n";
    assert_eq!(judge(crash).cause, Cause::Crash);
    assert_eq!(suggested(crash), "");
}
