//! Command lines and what is read of them.

use super::*;
use crate::options::{Asked, in_one_word};
use plimsoll_core::Bytes;
use plimsoll_core::oversized::Oversized;
use plimsoll_core::schedule::Priority;
use plimsoll_core::settings::Memory;

fn aliases() -> BTreeMap<String, Vec<String>> {
    [("b2", "build -j2 --release"), ("rel", "build --release"), ("nt", "nextest run")]
        .into_iter()
        .map(|(name, words)| {
            (name.to_owned(), words.split_whitespace().map(str::to_owned).collect())
        })
        .collect()
}

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn try_read(line: &str) -> Result<(CargoCall, Asked), clap::Error> {
    let (call, ours) = CargoCall::read(Vec::new(), &words(line), &aliases()).unwrap();
    Ok((call, Asked::read(in_one_word(ours))?))
}

fn read(line: &str) -> (CargoCall, Asked) {
    try_read(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn passed_on(call: &CargoCall) -> String {
    let words: Vec<_> = call.command_line().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[test]
fn jobs_are_taken_out_where_they_are_cargos() {
    for (line, jobs, rest) in [
        ("build -j 4 --release", Some(4), "build --release"),
        ("build -j4", Some(4), "build"),
        ("b -j=4", Some(4), "b"),
        ("t --jobs 4 name", Some(4), "t name"),
        ("check --jobs=4", Some(4), "check"),
        ("build -j -2", Some(6), "build"),
        ("build --jobs default", Some(8), "build"),
        ("build -rj4", Some(4), "build -r"),
        ("build -vvj 4 -p app", Some(4), "build -vv -p app"),
        ("clippy -j2 -- -D warnings", Some(2), "clippy -- -D warnings"),
        ("b2 --locked", Some(2), "build --release --locked"),
        ("rel -j3", Some(3), "rel"),
        // Cargo refuses these itself.
        ("build -j", None, "build -j"),
        ("build -j 0", None, "build -j 0"),
        ("build -j many", None, "build -j many"),
        ("build -j2 -j3", None, "build -j2 -j3"),
        ("b2 -j3", None, "b2 -j3"),
        // These are somebody else's.
        ("nextest run -j 4", None, "nextest run -j 4"),
        ("nt -j4", None, "nt -j4"),
        ("llvm-cov -j 4", None, "llvm-cov -j 4"),
        ("test -- -j 4", None, "test -- -j 4"),
        ("run -- -j4", None, "run -- -j4"),
        ("run input -j4", None, "run input -j4"),
        ("run --bin app -j4 input -j5", Some(4), "run --bin app input -j5"),
        ("rustc -pj4 -Copt-level=3", None, "rustc -pj4 -Copt-level=3"),
        ("build --features -j4", Some(4), "build --features"),
        ("install -j4 ripgrep", Some(4), "install ripgrep"),
        ("build -p j4 -F j2", None, "build -p j4 -F j2"),
    ] {
        let (call, _) = read(line);
        assert_eq!(call.jobs.map(|jobs| jobs.resolve(8)), jobs, "{line}");
        assert_eq!(passed_on(&call), rest, "{line}");
    }
}

#[test]
fn our_options_may_stand_among_cargos() {
    let four = Some(Memory::Size(Bytes::gib(4)));
    for (line, memory, hard, rest) in [
        ("build --memory 4G --release -p cli", four, false, "build --release -p cli"),
        ("build --memory=4G --hard", four, true, "build"),
        ("build --memory 4G --memory=4G", four, false, "build"),
        ("nextest run --memory 4G", four, false, "nextest run"),
        ("test name --hard -- --memory 4G", None, true, "test name -- --memory 4G"),
        ("run app --memory 4G", None, false, "run app --memory 4G"),
        ("run --memory 4G app --hard", four, false, "run app --hard"),
        ("deny check --hard", None, false, "deny check --hard"),
        ("build --package --hard", None, true, "build --package"),
    ] {
        let (call, asked) = read(line);
        assert_eq!((asked.memory, asked.hard), (memory, hard), "{line}");
        assert_eq!(passed_on(&call), rest, "{line}");
    }
    let (call, asked) = read("build --priority low -r --oversized shrink-output --staged --list");
    assert_eq!(passed_on(&call), "build -r");
    assert_eq!(asked.priority, Some(Priority::Low));
    assert_eq!(asked.oversized, Some(Oversized::ShrinkOutput));
    assert!(asked.staged && asked.list);
    assert_eq!(passed_on(&read("nextest list --list").0), "nextest list --list");
}

#[test]
fn quiet_is_cargos_where_cargo_has_it_and_ours_where_not() {
    for (line, ours, cargos, rest) in [
        ("build -q", false, true, "build -q"),
        ("test --quiet", false, true, "test --quiet"),
        ("nextest run -q -p a", true, false, "nextest run -p a"),
        ("nextest run --quiet", true, false, "nextest run"),
        ("nextest run -- -q", false, false, "nextest run -- -q"),
    ] {
        let (call, asked) = read(line);
        assert_eq!((asked.quiet, call.quiet), (ours, cargos), "{line}");
        assert_eq!(passed_on(&call), rest, "{line}");
    }
}

#[test]
fn a_hard_limit_may_be_asked_for_among_cargos_options() {
    for (line, hard, rest) in [
        ("build --hard --release", true, "build --release"),
        ("test -- --hard", false, "test -- --hard"),
        ("run app --hard", false, "run app --hard"),
    ] {
        let (call, own) = read(line);
        assert_eq!(own.hard, hard, "{line}");
        assert_eq!(passed_on(&call), rest, "{line}");
    }
}

#[test]
fn tests_are_retried_where_that_is_asked_for_before_what_is_theirs() {
    for (line, retry_tests, rest) in [
        ("test --retry-tests -p a", true, "test -p a"),
        ("nextest run --retry-tests", true, "nextest run"),
        ("test -- --retry-tests", false, "test -- --retry-tests"),
    ] {
        let (call, own) = read(line);
        assert_eq!(own.retry_tests, retry_tests, "{line}");
        assert_eq!(passed_on(&call), rest, "{line}");
    }
}

#[test]
fn our_options_that_cannot_be_read_are_refused() {
    for (line, said) in [
        ("build --memory", "a value is required for '--memory"),
        ("build --memory --release", "a value is required for '--memory"),
        ("build --memory 1G --memory 2G", "cannot be used multiple times"),
        ("build --memory=lots", "`lots` is not an amount"),
        ("build --hard=yes", "'--hard'"),
        ("build --oversized shrimk", "a similar value exists: 'shrink'"),
    ] {
        let error = try_read(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(said), "{line}: {error}");
    }
    let alone = CargoCall::read(Vec::new(), &words("+nightly"), &aliases());
    assert!(matches!(alone, Err(BadArguments::NoSubcommand(_))));
}

#[test]
fn what_the_governor_must_know_is_seen() {
    let (call, _) = read(
        "+nightly build --keep-going -q --message-format short,JSON-render-diagnostics \
         --manifest-path a/Cargo.toml --target-dir=/t --config build.jobs=2 --config x.toml",
    );
    assert_eq!(call.toolchain, Some(OsString::from("+nightly")));
    assert!(call.keep_going && call.quiet && call.json_messages && !call.compiles_nothing);
    assert_eq!(call.manifest_path, Some(PathBuf::from("a/Cargo.toml")));
    assert_eq!(call.target_dir, Some(PathBuf::from("/t")));
    assert_eq!(call.config, ["build.jobs=2", "x.toml"]);
    assert_eq!(call.kind, Kind::Builds);

    for line in
        ["build --unit-graph", "install -n x", "install x --dry-run", "build -h", "doc --help"]
    {
        assert!(read(line).0.compiles_nothing, "{line}");
    }
    assert!(!read("publish --dry-run").0.compiles_nothing, "it verifies by building");
    let (call, _) = read("run --release -- --keep-going -q --help");
    assert!(!call.keep_going && !call.quiet && !call.compiles_nothing);
    assert_eq!(call.kind, Kind::BuildsThenRuns);
    assert_eq!(read("r").0.resolved, "run");
}

#[test]
fn cargos_options_before_the_subcommand_stay_there() {
    let globals = words("--config build.jobs=3 -C sub");
    let (call, _) = CargoCall::read(globals, &words("build -j4"), &aliases()).unwrap();
    assert_eq!(call.config, ["build.jobs=3"]);
    assert_eq!(call.directory, Some(PathBuf::from("sub")));
    assert_eq!(passed_on(&call), "--config build.jobs=3 -C sub build");
}

#[cfg(unix)]
#[test]
fn words_that_are_not_utf8_pass_through() {
    use std::os::unix::ffi::OsStringExt as _;
    let odd = |head: &str| {
        let mut bytes = head.as_bytes().to_vec();
        bytes.extend(b"caf\xe9");
        OsString::from_vec(bytes)
    };
    let line =
        vec!["build".into(), odd("--target-dir="), odd("-p"), odd("-"), odd(""), "-j2".into()];
    let (call, _) = CargoCall::read(Vec::new(), &line, &aliases()).unwrap();
    assert_eq!(call.target_dir, Some(PathBuf::from(odd(""))));
    assert_eq!(call.args, line[1..5]);
    assert!(call.jobs.is_some());
}
