//! Commands that stand in a sentence or a table are understood by the program. (Blocks of them are run: `e2e/documents.rs`.)

use std::collections::BTreeMap;
use std::ffi::OsString;

use cargo_plimsoll::cargo_args::CargoCall;
use cargo_plimsoll::cli::{Cli, Command};
use cargo_plimsoll::options::Asked;
use clap::error::ErrorKind;

use crate::documents;
use crate::links::read;

/// Commands of Cargo's, and of others that documents name.
const CARGOS: [&str; 10] =
    ["build", "cargo", "check", "clippy", "doc", "install", "nextest", "run", "test", "clean"];

/// What is wrong with a command, up to where the shell goes on with something else.
fn wrong(code: &str) -> Option<String> {
    let own = code.split([';', '|', '>', ')', '&']).next().unwrap_or_default();
    let own = own.split(" < ").next().unwrap_or_default();
    let is_placeholder =
        |word: &&str| word.contains(['<', '…', '=']) || word.chars().all(char::is_uppercase);
    let words: Vec<OsString> = own
        .split_whitespace()
        // `cargo plimsoll`.
        .skip(2)
        .take_while(|word| !is_placeholder(word))
        .map(OsString::from)
        .collect();
    let line = match Cli::read(words) {
        Ok(line) => line,
        Err(error) => {
            // A sentence may leave out what a command needs.
            let is_short = matches!(
                error.kind(),
                ErrorKind::MissingRequiredArgument
                    | ErrorKind::DisplayHelp
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                    | ErrorKind::MissingSubcommand
            );
            return (!is_short).then(|| error.to_string());
        }
    };
    let mut asked = line.ours;
    if let Some(Command::Cargo(words)) = line.cli.command {
        let named = words.iter().find(|word| !word.to_string_lossy().starts_with('+'))?;
        if !CARGOS.iter().any(|known| named == known) {
            return Some(format!("neither Cargo nor Plimsoll has `{}`", named.display()));
        }
        match CargoCall::read(Vec::new(), &words, &BTreeMap::new()) {
            Ok((_, ours)) => asked.extend(ours),
            Err(error) => return Some(error.to_string()),
        }
    }
    Asked::read(asked).err().map(|error| error.to_string())
}

#[test]
fn every_command_in_a_sentence_is_understood() {
    let mut found = Vec::new();
    for path in documents() {
        for code in read(&path).code {
            if let Some(what) = code.starts_with("cargo plimsoll").then(|| wrong(&code)).flatten() {
                found.push(format!("{}: {code}: {what}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
