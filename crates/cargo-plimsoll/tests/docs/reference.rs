//! The page of all settings, made from the definitions that the program itself uses.

use std::fmt::Write as _;
use std::fs;

use cargo_plimsoll::cli::Cli;
use cargo_plimsoll::{env, exit, plimsoll_toml};
use clap::{Arg, Command};

use crate::root;

const PAGE: &str = "docs/src/reference.md";
/// Set, it has the test write the page instead of comparing it.
const WRITE: &str = "WRITE_REFERENCE";

/// Text in a cell of a table, on one line.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}

/// `-q`, `--memory <SIZE>`: how an argument is written.
fn spelling(arg: &Arg) -> String {
    let values = || {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" ")
    };
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("-{short}")));
    names.extend(arg.get_long().map(|long| format!("--{long}")));
    let takes = arg.get_action().takes_values();
    match (names.is_empty(), takes) {
        (true, _) => values(),
        (false, true) => format!("{} {}", names.join(", "), values()),
        (false, false) => names.join(", "),
    }
}

/// The sentences of an argument, and the values that it may have.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = cell(&help);
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        let _ = write!(text, " [{}]", values.join(", "));
    }
    text
}

fn shown(arg: &Arg) -> bool {
    !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version")
}

fn table<'a>(page: &mut String, head: &str, rows: impl Iterator<Item = (String, String)> + 'a) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = writeln!(page, "\n| {head} | |\n|---|---|");
    for (name, meaning) in rows {
        let _ = writeln!(page, "| {name} | {meaning} |");
    }
}

fn arguments(page: &mut String, args: &[&Arg]) {
    let row = |arg: &&Arg| (format!("`{}`", spelling(arg).replace('|', "\\|")), meaning(arg));
    table(page, "option", args.iter().map(row));
}

/// A command and those below it.
fn command(page: &mut String, of: &Command, path: &str, level: usize) {
    let path = format!("{path} {}", of.get_name());
    let about = of.get_long_about().or(of.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(page, "\n{} `{path}`\n\n{}.", "#".repeat(level), about.trim_end_matches('.'));
    let own: Vec<&Arg> =
        of.get_arguments().filter(|arg| shown(arg) && !arg.is_global_set()).collect();
    arguments(page, &own);
    for below in of.get_subcommands().filter(|below| shown_command(below)) {
        command(page, below, &path, level + 1);
    }
}

/// All commands that people type; clap hides them, because the program's own help groups them.
fn shown_command(command: &Command) -> bool {
    !command.get_name().starts_with("__") && command.get_name() != "help"
}

fn page() -> String {
    let mut cli = Cli::definition();
    cli.build();
    let mut page = format!(
        "# Every setting\n\nThis page is made from the program's own definitions. Do not edit it; run \
         `{WRITE}=1 cargo test -p cargo-plimsoll --test docs` to write it again.\n\n\
         [Settings in a file](settings.md) says which value wins.\n\n## Options\n\n\
         Write them before the subcommand, or among Cargo's arguments.\n"
    );
    let is_own = |arg: &&Arg| arg.get_help_heading().is_none();
    let all: Vec<&Arg> = cli.get_arguments().filter(|arg| shown(arg)).collect();
    arguments(&mut page, &all.iter().copied().filter(is_own).collect::<Vec<_>>());
    let mut headings: Vec<&str> = all.iter().filter_map(|arg| arg.get_help_heading()).collect();
    headings.dedup();
    for heading in headings {
        let _ = writeln!(page, "\n### {heading}");
        let below = |arg: &&Arg| arg.get_help_heading() == Some(heading);
        arguments(&mut page, &all.iter().copied().filter(below).collect::<Vec<_>>());
    }
    page.push_str("\n## Environment variables\n");
    let variables = env::PUBLIC.iter().map(|(name, meaning)| (format!("`{name}`"), cell(meaning)));
    table(&mut page, "variable", variables);
    page.push_str("\n## Keys of `plimsoll.toml`\n");
    let keys = plimsoll_toml::KEYS.iter().map(|(key, meaning)| (format!("`{key}`"), cell(meaning)));
    table(&mut page, "key", keys);
    page.push_str("\n## Exit statuses\n");
    let statuses = exit::MEANINGS.iter().map(|(status, meaning)| ((*status).into(), cell(meaning)));
    table(&mut page, "status", statuses);
    page.push_str("\n## Commands\n\nThese are Plimsoll's own. Every other word is a Cargo command, and runs inside the budget.\n");
    for below in cli.get_subcommands().filter(|below| shown_command(below)) {
        command(&mut page, below, "cargo plimsoll", 3);
    }
    page
}

#[test]
fn the_page_of_settings_is_up_to_date() {
    let path = root().join(PAGE);
    let page = page();
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, page).unwrap();
        return;
    }
    let is = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == page,
        "{PAGE} is not what the program defines; `{WRITE}=1 cargo test -p cargo-plimsoll --test docs` writes it"
    );
}
