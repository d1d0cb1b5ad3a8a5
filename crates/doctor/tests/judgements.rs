//! Small logs: what would have prevented it is named when, and only when, it applies; what weighs more than what.

mod asked;

use plimsoll_doctor::{Cause, text};

use asked::{judge, suggested};

/// A compiler that was killed, with these arguments.
fn killed(arguments: &str) -> String {
    format!(
        "error: could not compile `app` (lib)\n\nCaused by:\n  process didn't exit successfully: \
         `rustc --crate-name app {arguments}` (signal: 9, SIGKILL: kill)\n"
    )
}

#[test]
fn a_killed_compiler_is_to_run_inside_a_budget_and_with_swap_where_it_is_a_person_s_machine() {
    let said = suggested(&killed("-C opt-level=3"));
    assert!(said.contains("cargo plimsoll build --release"), "{said}");
    assert!(said.contains("swap"), "{said}");
    assert!(!said.contains("LTO"), "{said}");
    let in_ci = format!("{}##[error]Process completed with exit code 101.\n", killed(""));
    let said = suggested(&in_ci);
    assert!(said.contains("cargo plimsoll build |"), "{said}");
    assert!(!said.contains("swap"), "nobody adds swap to a runner: {said}");
}

#[test]
fn thin_lto_is_named_where_fat_lto_was_and_debug_information_where_it_was_full() {
    assert!(suggested(&killed("-C lto=fat")).contains("fat LTO"));
    assert!(!suggested(&killed("-C lto=thin")).contains("fat LTO"));
    assert!(suggested(&killed("-C debuginfo=2")).contains("less debug info"));
    assert!(!suggested(&killed("-C debuginfo=0")).contains("less debug info"));
}

#[test]
fn no_lto_at_all_is_for_bitcode_that_does_not_load_and_for_nothing_else() {
    let bitcode = "     Running `rustc --crate-name app -C opt-level=3`\n\
                   error: failed to load bitcode of module \"app.1-cgu.0\": \n\
                   error: could not compile `app` (bin \"app\") due to 1 previous error\n";
    assert!(suggested(bitcode).contains("CARGO_PROFILE_RELEASE_LTO=off"), "{}", suggested(bitcode));
    assert!(
        suggested(&bitcode.replace("-C opt-level=3", "")).contains("CARGO_PROFILE_DEV_LTO=off")
    );
    let undefined = "rust-lld: error: undefined symbol: nowhere\n\
                     error: could not compile `app` (bin \"app\") due to 1 previous error\n";
    assert_eq!(suggested(undefined), "");
}

#[test]
fn what_is_not_memory_gets_no_memory_budget() {
    for log in [
        "error[E0308]: mismatched types\nerror: could not compile `app` (lib) due to 1 previous error\n",
        "error: test failed, to rerun pass `--lib`\n",
        "error: linker `nowhere` not found\n",
        "error: no matching package named `nowhere` found\n",
    ] {
        let verdict = judge(log);
        assert!(!verdict.memory && verdict.remedies.is_empty(), "{verdict:?}");
        assert!(text(&verdict).contains("not a memory problem ("));
    }
}

#[test]
fn a_full_file_system_is_moved_where_it_is_memory_and_cleaned_where_it_is_a_disk() {
    let full = |path: &str| {
        format!(
            "error: failed to write to `{path}/app.rmeta`: No space left on device (os error 28)\n"
        )
    };
    let memory = judge(&full("/dev/shm/target"));
    assert_eq!(memory.cause, Cause::TmpfsFull);
    assert!(suggested(&full("/dev/shm/target")).contains("CARGO_TARGET_DIR="));
    let disk = judge(&full("/home/user/target"));
    assert_eq!(disk.cause, Cause::DiskFull);
    assert!(!suggested(&full("/home/user/target")).contains("CARGO_TARGET_DIR="));
    // Where the log does not say what file system it is, the answer says how to tell.
    assert!(suggested(&full("/home/user/target")).contains("df -T"));
}

#[test]
fn a_test_or_a_build_script_is_not_promised_a_second_run() {
    let script = "error: failed to run custom build command for `v8 v130.0.1`\n\nCaused by:\n  process didn't exit \
                  successfully: `/t/build/v8-0123456789abcdef/build-script-build` (signal: 9, SIGKILL: kill)\n";
    assert!(!suggested(script).contains("again if it is killed"), "{}", suggested(script));
    assert!(suggested(&killed("")).contains("again if it is killed"));
    let test = "error: test failed, to rerun pass `--lib`\n\nCaused by:\n  process didn't exit successfully: \
                `/t/debug/deps/app-0123456789abcdef` (signal: 9, SIGKILL: kill)\n";
    assert_eq!(judge(test).unit.as_deref(), Some("run of test app"));
    assert!(!suggested(test).contains("again if it is killed"));
}

#[test]
fn what_a_ci_s_set_up_says_is_not_the_cause_of_what_fails_later() {
    let log = "W: Failed to fetch http://deb.example.com  Could not resolve host\n\
               debconf: delaying package configuration, since apt-utils is not installed\n\
               find: /proc/1/fd: Permission denied\n\
               bash: nvm: command not found\n\
               curl: (6) Could not resolve host: example.com\n\
               error[E0308]: mismatched types\n\
               error: could not compile `app` (lib) due to 1 previous error\n";
    let verdict = judge(log);
    assert_eq!((verdict.cause, verdict.unit.as_deref()), (Cause::CompileError, Some("app")));
}

#[test]
fn a_cancelled_job_was_not_short_of_memory_and_a_runner_that_was_shut_down_may_have_been() {
    let cancelled =
        "##[error]Process completed with exit code 143.\n##[error]The operation was canceled.\n";
    assert_eq!(judge(cancelled).cause, Cause::Interrupted);
    let shut_down = "##[error]Process completed with exit code 143.\n##[error]The runner has received a shutdown \
                     signal.\n##[error]The operation was canceled.\n";
    assert_eq!(judge(shut_down).cause, Cause::Terminated);
}

#[test]
fn a_note_behind_a_warning_is_no_failure() {
    let killed = "warning: unused variable: `x`\n\
                  note: the lint level is defined here\n\
                  ##[error]Process completed with exit code 137.\n";
    assert_eq!(judge(killed).cause, Cause::Killed);
    let refused = killed.replace("warning: ", "error: ");
    assert_eq!(judge(&refused).cause, Cause::Lint);
}

#[test]
fn a_test_that_fails_by_itself_was_not_killed_whatever_it_wrote() {
    let wrote = "     Running tests/oom.rs (target/debug/deps/oom-0123456789abcdef)\n\
                 injected: memory allocation of 64 bytes failed\n";
    let failed = format!("{wrote}test result: FAILED. 6 passed; 1 failed; 0 ignored\n");
    assert_eq!(judge(&failed).cause, Cause::TestFailed);
    let died = "error: test failed, to rerun pass `--test oom`\n\nCaused by:\n  process didn't exit successfully: \
                `/t/debug/deps/oom-0123456789abcdef` (signal: 6, SIGABRT: process abort signal)\n";
    assert_eq!(judge(&format!("{wrote}{died}")).cause, Cause::AllocationFailed);
}

#[test]
fn a_commit_s_title_tells_of_what_was() {
    for title in
        ["fix: rustc OOM killed in CI", "input: fix(ci)!: Out of memory: Killed process 1 (rustc)"]
    {
        let log = format!("{title}\n##[error]Process completed with exit code 1.\n");
        assert_eq!(judge(&log).cause, Cause::Failed, "{title}");
    }
}

#[test]
fn the_kill_of_something_else_explains_nothing_that_failed_otherwise() {
    let kill = "Out of memory: Killed process 41 (browser) total-vm:20480kB\n";
    assert!(judge(kill).memory);
    assert!(!judge(&format!("{kill}error: the deployment was refused\n")).memory);
}

#[test]
fn what_a_log_shows_is_not_what_happened() {
    for shown in [
        "+ docker inspect -f '{{.State.OOMKilled}}' devnet",
        "\u{1b}[36;1mecho 'memory allocation of 42 bytes failed'\u{1b}[0m",
        "## Fixed\n- rustc was OOM killed",
        "a container without a limit may be OOMKilled",
        "hash: 0Y0OomKilled1rTq",
        "the report quotes `error: could not compile app (signal: 9, SIGKILL: kill)`",
    ] {
        let log = format!("{shown}\n##[error]Process completed with exit code 1.\n");
        assert_eq!(judge(&log).cause, Cause::Failed, "{shown}");
    }
}

#[test]
fn a_step_that_is_followed_by_another_went_well_unless_it_says_otherwise() {
    let step = "the paging file is too small for this operation\n";
    let next = "##[group]Run cargo build\nerror[E0061]: this function takes 2 arguments\n";
    assert_eq!(judge(&format!("{step}{next}")).cause, Cause::CompileError);
    let failed = "##[error]Process completed with exit code 1.\n";
    assert!(judge(&format!("{step}{failed}{next}")).memory);
}

#[test]
fn a_linker_s_signal_may_be_told_as_a_status() {
    let log = "error: linking with `clang` failed: exit status: 137\n  |\n\
               error: could not compile `app` (bin \"app\") due to 1 previous error\n";
    let verdict = judge(log);
    assert_eq!((verdict.cause, verdict.unit.as_deref()), (Cause::Killed, Some("link of app")));
}

/// A test server closes an idle connection, a database warns of a query, and then the compiler is killed.
#[test]
fn what_a_program_logs_below_an_error_outweighs_nothing() {
    for said in [
        "2026-11-30T10:00:00Z INFO closing idle connection after 60 s of inactivity",
        "12:00:01 WARN upload: timeout exceeded, trying again",
        "DEBUG the request has been cancelled",
        "warning: query exceeded memory limit, spilling to disk",
    ] {
        let log = format!("   Compiling app v0.1.0\n{said}\n{}", killed("--crate-type lib"));
        assert_eq!(judge(&log).cause, Cause::Killed, "{said}");
    }
    let ended = "Error: The operation was ended: o output for 10 minutes of inactivity\n";
    assert_eq!(judge(&format!("{ended}{}", killed(""))).cause, Cause::Timeout);
}

#[test]
fn a_status_is_read_in_whatever_words_a_tool_gives_it() {
    for words in ["rc: 137", "rc=137", "\"rc\": 137", "'rc': -9", "rc 137", "exit status: 137"] {
        let log = format!("   Compiling app v0.1.0\nfatal: [builder]: FAILED!\n  {words}\n");
        assert_eq!(judge(&log).cause, Cause::Killed, "{words}");
    }
}

#[test]
fn a_service_that_is_taken_down_is_not_the_build() {
    let down = "search-1 exited with code 137\ndb_1 exited with code 137\n";
    let failed = "##[error]Process completed with exit code 1.\n";
    assert_eq!(judge(&format!("{failed}{down}")).cause, Cause::Failed);
    // Where it is the build, its end is the step's.
    let killed = "builder-1 exited with code 137\n##[error]Process completed with exit code 137.\n";
    assert_eq!(judge(killed).cause, Cause::Killed);
}

#[test]
fn a_test_that_dies_leaves_what_it_wrote_behind_its_name() {
    let log = |rest: &str| {
        format!(
            "test oom::out_of_memory ... {rest}\nerror: test failed, to rerun pass `--lib`\n\nCaused by:\n  process \
             didn't exit successfully: `/t/deps/app-0123456789abcdef` (signal: 6, SIGABRT: process abort signal)\n"
        )
    };
    let cause = |rest| judge(&log(rest)).cause;
    assert_eq!(cause("memory allocation of 64 bytes failed"), Cause::AllocationFailed);
    assert_eq!(cause("ok"), Cause::Crash);
    assert_eq!(cause("ignored, memory allocation of 64 bytes failed"), Cause::Crash);
}

#[test]
fn what_stands_indented_behind_bars_is_read() {
    let barred: String = killed("").lines().map(|line| format!("| {line}\n")).collect();
    let verdict = judge(&barred);
    assert_eq!((verdict.cause, verdict.unit.as_deref()), (Cause::Killed, Some("app")));
}
