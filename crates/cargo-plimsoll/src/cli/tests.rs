use super::*;
use crate::options::Asked;
use plimsoll_core::Bytes;
use plimsoll_core::oversized::Oversized;
use plimsoll_core::settings::Memory;

fn read(line: &str) -> CommandLine {
    let words = line.split_whitespace().map(OsString::from);
    Cli::read(words).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn asked(line: &str) -> Asked {
    Asked::read(read(line).ours).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn ours(line: &str) -> Ours {
    match read(line).cli.command {
        Some(Command::Ours(ours)) => ours,
        other => panic!("{line}: {other:?}"),
    }
}

fn cargo_words(line: &str) -> Vec<OsString> {
    match read(line).cli.command {
        Some(Command::Cargo(words)) => words,
        other => panic!("{line}: {other:?}"),
    }
}

fn refused(line: &str) -> String {
    let error = Cli::read(line.split_whitespace().map(OsString::from)).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{line}");
    error.to_string()
}

#[test]
fn the_definition_is_sound() {
    Cli::definition().debug_assert();
}

#[test]
fn parsing_stops_at_cargos_subcommand() {
    for line in [
        "plimsoll --memory 2G build --release --help -- --memory x",
        "--memory 2G build --release --help -- --memory x",
    ] {
        assert_eq!(asked(line).memory, Some(Memory::Size(Bytes::gib(2))));
        let words = cargo_words(line);
        assert_eq!(words, ["build", "--release", "--help", "--", "--memory", "x"]);
    }
    assert_eq!(cargo_words("plimsoll plimsoll"), ["plimsoll"]);
}

#[test]
fn the_toolchain_may_come_first() {
    let line = "plimsoll +nightly --oversized refuse build";
    assert_eq!(read(line).toolchain, Some("+nightly".into()));
    assert_eq!(asked(line).oversized, Some(Oversized::Refuse));
    assert_eq!(cargo_words("plimsoll --hard +nightly build"), ["+nightly", "build"]);
}

#[test]
fn cargos_global_options_are_kept() {
    let cli = read("-vv --locked --config a=1 --config b.toml -Z x -C d build").cli;
    let words = cli.globals.words();
    let expected = ["-v", "-v", "--locked", "--config", "a=1", "--config", "b.toml", "-Z", "x"];
    assert_eq!(words[..9], expected);
    assert_eq!(words[9..], ["-C", "d"]);
}

#[test]
fn our_own_commands_take_the_options_that_they_use() {
    let line = "--quiet settings --memory 50% --jobs -1";
    assert!(matches!(ours(line), Ours::Settings { json: false }));
    assert_eq!(asked(line).memory, Some(Memory::Percent(50)));
    assert_eq!(asked(line).jobs.map(|jobs| jobs.resolve(8)), Some(7));
    assert!(asked(line).quiet);
    assert!(matches!(ours("top --once --json"), Ours::Top { json: true, .. }));
    assert!(matches!(ours("enable --memory 6G"), Ours::Enable));
    for line in ["enable --memory 6G", "--memory 6G enable", "--memory 6G worker build --hard"] {
        assert_eq!(asked(line).memory, Some(Memory::Size(Bytes::gib(6))), "{line}");
    }
    assert!(matches!(ours("status --json"), Ours::Status { json: true }));
    for line in ["disable --retry-tests", "--retry-tests disable", "report --memory 2G"] {
        assert!(refused(line).contains("--"), "{line}");
    }
    for (command, hidden) in [("disable", "--memory"), ("doctor", "--jobs"), ("env", "--hard")] {
        let help = Cli::help(&[command.into()]).unwrap().to_string();
        assert!(help.contains("--color") && !help.contains(hidden), "{help}");
    }
}

#[test]
fn help_knows_our_commands_and_leaves_cargos_to_cargo() {
    let help = |words: &[&str]| {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Cli::help(&words).map(|text| text.to_string())
    };
    for command in Cli::names().iter().filter(|name| *name != "help") {
        let text = help(&[command]).unwrap();
        assert!(text.contains(&format!("Usage: cargo plimsoll {command}")), "{text}");
        assert!(help(&[]).unwrap().contains(&format!("\n  {command} ")), "{command}");
    }
    assert!(help(&["worker", "build"]).unwrap().contains("Usage: cargo plimsoll worker build"));
    assert_eq!(help(&["build"]), None);
}

#[test]
fn cargos_arguments_to_a_command_of_its_name_get_a_hint() {
    for (line, tip) in [
        ("clean -p x", "cargo plimsoll cargo clean -p x"),
        ("init --lib", "cargo plimsoll cargo init --lib"),
        ("init app", "cargo plimsoll cargo init app"),
        ("bench --bench name", "cargo plimsoll cargo bench --bench name"),
        ("--memory 1G bench name", "cargo plimsoll cargo bench name"),
        ("report future-incompatibilities", "cargo plimsoll cargo report future"),
    ] {
        assert!(refused(line).contains(tip), "{line}: {}", refused(line));
    }
    for line in ["doctor a b", "report a b", "history add x"] {
        assert!(!refused(line).contains("cargo plimsoll cargo"), "{}", refused(line));
    }
    assert!(matches!(ours("bench --release -p cli"), Ours::Bench(_)));
}

#[test]
fn lists_in_the_help_fit_into_80_columns() {
    let definition = Cli::definition();
    let texts = |command: &clap::Command| {
        let after = command.get_after_help().or(command.get_after_long_help()).cloned();
        let texts = [command.get_before_help().cloned(), after];
        texts.into_iter().flatten().map(|text| text.to_string()).collect::<Vec<_>>()
    };
    let commands = || definition.get_subcommands().flat_map(clap::Command::get_subcommands);
    let all = std::iter::once(&definition).chain(definition.get_subcommands()).chain(commands());
    for text in all.flat_map(texts) {
        for line in text.lines().filter(|line| line.starts_with("  ")) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn shells_are_named_as_they_are_called() {
    for (name, language) in [
        ("bash", Language::Bash),
        ("zsh", Language::Bash),
        ("sh", Language::Bash),
        ("dash", Language::Bash),
        ("fish", Language::Fish),
    ] {
        let line = format!("env --shell {name}");
        assert!(matches!(ours(&line), Ours::Env { shell } if shell == language), "{name}");
    }
}

#[test]
fn bad_words_say_what_is_wrong_and_exit_with_2() {
    for (line, said) in [
        ("--memory lots build", "`lots` is not an amount of memory"),
        ("--memory 12M build", "less than any build needs"),
        ("--jobs 0 build", "not a number of jobs"),
        ("--oversized strict build", "refuse, run, shrink, shrink-output"),
        ("clean --keep-days week", "`week` is not a number of days"),
        ("--release build", "unexpected argument '--release'"),
        ("report a b", "unexpected argument 'b'"),
    ] {
        assert!(refused(line).contains(said), "{line}: {}", refused(line));
    }
}
