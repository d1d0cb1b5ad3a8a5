//! Who started a compiler: the Cargo that asks for it, the whole invocation that this is part of, and whether a
//! person waits for that.
//!
//! Read from the chain of parents in `/proc`, once for each build that comes without a driver. What cannot be read
//! (a process that has ended, or that is another user's) ends the chain.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// A chain of parents that is longer than this is not followed.
const DEEPEST: usize = 64;

/// Programs that run Cargo again and again, for days: each run is a build of its own.
const WATCHERS: [&str; 1] = ["cargo-watch"];

/// Editors' language servers: a person looks at what their checks say. Because they run Cargo without a
/// terminal, nothing else tells.
const EDITORS: [&str; 3] = ["rust-analyzer", "rustrover", "idea"];

/// Where a compiler comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The invocation's first process, below which everything is that it runs.
    pub root: u32,
    /// The name of Cargo's subcommand, where the command line begins with one.
    pub command: String,
    /// A person waits for it: it writes to a terminal, or an editor asked for it.
    pub interactive: bool,
    /// Its compilers' messages go to another program, as JSON.
    pub json_messages: bool,
    /// The user that it runs as.
    pub uid: u32,
}

/// Where the process `pid` comes from: a Cargo, or what a Cargo has started. Where there is no Cargo above it, its
/// parent counts as one. `None` where it cannot be read.
#[must_use]
pub fn origin_of(pid: u32) -> Option<Origin> {
    let uid = uid_of(pid)?;
    let mut chain = Vec::new();
    let mut above = pid;
    while above != 0 && chain.len() < DEEPEST && uid_of(above) == Some(uid) {
        chain.push((above, program(above)));
        let Some(next) = parent_of(above) else { break };
        above = next;
    }
    // `cargo nextest run` is one invocation, though it runs a Cargo below it. What a test or a build script runs is
    // another.
    let of_cargo = |name: &String| is_cargo(name) && !WATCHERS.contains(&name.as_str());
    let first = chain.iter().position(|(_, name)| is_cargo(name));
    let top = match first {
        Some(first) => {
            let more = chain[first + 1..].iter().take_while(|(_, name)| of_cargo(name)).count();
            first + more
        }
        None => chain.len().saturating_sub(1).min(1),
    };
    let root = chain.get(top)?.0;
    let is_editor = |name: &str| EDITORS.iter().any(|editor| name.starts_with(editor));
    let edited = chain[top..].iter().any(|(_, name)| is_editor(name));
    let words = words(root);
    Some(Origin {
        root,
        command: subcommand(&words),
        interactive: edited || has_terminal(root),
        json_messages: wants_json(&words),
        uid,
    })
}

/// Whether the process runs Cargo still: under `cargo run` it becomes the user's own program.
#[must_use]
pub fn runs_cargo(pid: u32) -> bool {
    let name = program(pid);
    is_cargo(&name) || name == "rustup"
}

fn is_cargo(name: &str) -> bool {
    name == "cargo" || name.starts_with("cargo-")
}

fn uid_of(pid: u32) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}")).ok().map(|it| it.uid())
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, and ends at the last `)`.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The name of the process's program, without what the kernel adds when its file was replaced.
fn program(pid: u32) -> String {
    let path = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(name)
}

/// Whether the process's standard error is a terminal. (A coding agent's commands write into pipes.)
fn has_terminal(pid: u32) -> bool {
    let stderr: PathBuf = fs::read_link(format!("/proc/{pid}/fd/2")).unwrap_or_default();
    stderr.starts_with("/dev/pts") || stderr.starts_with("/dev/console") || {
        let name = stderr.to_str().unwrap_or_default();
        name.strip_prefix("/dev/tty").is_some_and(|rest| !rest.is_empty())
    }
}

/// The process's arguments. Nothing but the subcommand's name is kept of them.
fn words(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).skip(1).map(|it| String::from_utf8_lossy(it).into()).collect()
}

/// The first of Cargo's words that is no option.
fn subcommand(words: &[String]) -> String {
    let plain = |word: &&String| {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !word.is_empty() && !word.starts_with('-') && word.chars().all(letter)
    };
    words.iter().find(plain).cloned().unwrap_or_else(|| "cargo".to_owned())
}

/// `--message-format=json…`, or in two words.
fn wants_json(words: &[String]) -> bool {
    const OPTION: &str = "--message-format";
    let said =
        |word: &String| word.strip_prefix(OPTION).is_some_and(|rest| rest.starts_with("=json"));
    words.iter().any(said)
        || words.windows(2).any(|two| two[0] == OPTION && two[1].starts_with("json"))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_outermost_cargo_below_a_watcher_is_the_build_and_a_pipe_is_no_terminal() {
        // Shells stand in: `cargo-watch` runs `cargo`, that runs another one, and that what asks. (The test
        // itself may run below a Cargo.)
        let dir = tempfile::tempdir().unwrap();
        for name in ["cargo", "cargo-watch"] {
            // By another process, so that no other test's fork has it open for writing.
            let copied = Command::new("cp").arg("/bin/sh").arg(dir.path().join(name)).status();
            assert!(copied.unwrap().success());
        }
        let cargo = dir.path().join("cargo").display().to_string();
        fs::write(dir.path().join("outer"), format!("echo $$; '{cargo}' inner build; :")).unwrap();
        fs::write(dir.path().join("inner"), "exec 3<&0; cat <&3 >/dev/null & echo $!; wait")
            .unwrap();
        let mut child = Command::new(dir.path().join("cargo-watch"))
            .args(["-c", &format!("'{cargo}' outer check; :")])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let pids: Vec<u32> =
            out.lines().take(2).map(|line| line.unwrap().trim().parse().unwrap()).collect();
        let origin = origin_of(pids[1]).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(origin.root, pids[0]);
        assert_eq!(origin.command, "outer");
        assert!(!origin.interactive);
        assert_eq!(Some(origin.uid), uid_of(std::process::id()));
    }

    #[test]
    fn what_cargo_was_asked_for_is_read_from_its_words() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (line, name, json) in [
            ("check --workspace --message-format=json-diagnostic-rendered-ansi", "check", true),
            ("-q build --message-format json", "build", true),
            ("b --message-format=short json", "b", false),
            ("--version", "cargo", false),
        ] {
            assert_eq!((subcommand(&words(line)).as_str(), wants_json(&words(line))), (name, json));
        }
    }

    #[test]
    fn what_is_gone_has_no_origin() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(origin_of(pid), None);
    }
}
