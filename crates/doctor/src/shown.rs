//! Lines that show something, or of which a part does: progress, commands, sources, titles. What they show is not what happened.

use std::borrow::Cow;

/// What Cargo says while all is well, most of a log: a crate may be called `oom-killer`.
pub(crate) fn is_progress(line: &str) -> bool {
    const WORDS: &[&str] = &[
        "Compiling ",
        "Checking ",
        "Downloaded ",
        "Downloading ",
        "Fresh ",
        "Adding ",
        "Locking ",
        // Of Git, a commit's title.
        "HEAD is now at ",
    ];
    WORDS.iter().any(|word| line.starts_with(word))
}

/// A command that a shell shows before it runs it.
pub(crate) fn is_command(line: &str) -> bool {
    ["+ ", "$ ", "[command]"].iter().any(|sign| line.starts_with(sign))
}

/// A line of a step's script, which GitHub shows in this colour before it runs it.
pub(crate) fn is_script(text: &str) -> bool {
    text.contains("\u{1b}[36;1m") && text.trim_end().ends_with("\u{1b}[0m")
}

/// Of a line longer than both together, what is looked at: a compiler's command line names its crate at the
/// beginning, and Cargo its signal at the end.
const LOOKED_AT: (usize, usize) = (2048, 512);

pub(crate) fn ends(line: &str) -> Cow<'_, str> {
    let (head, tail) = LOOKED_AT;
    if line.len() <= head + tail {
        return Cow::Borrowed(line);
    }
    let from = line.len() - tail;
    let head = (0..=head).rev().find_map(|end| line.get(..end)).unwrap_or_default();
    let tail = (from..line.len()).find_map(|start| line.get(start..)).unwrap_or_default();
    Cow::Owned(format!("{head} … {tail}"))
}

/// A line of the program that rustc shows: `12 |     let x = "Killed";`, and what it draws below; a comment.
pub(crate) fn is_source(line: &str) -> bool {
    if line.starts_with("//") || line.starts_with("/*") {
        return true;
    }
    let bar = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    bar.starts_with('|') && !bar.starts_with("||")
}

/// A commit's title, as conventions have it: it tells of what was, and was mended.
pub(crate) fn is_title(line: &str) -> bool {
    const KINDS: &[&str] = &["fix", "feat", "chore", "revert", "refactor"];
    KINDS.iter().any(|kind| {
        line.match_indices(kind).any(|(at, _)| {
            let rest = &line[at + kind.len()..];
            let rest =
                rest.strip_prefix('(').and_then(|r| r.split_once(')')).map_or(rest, |(_, r)| r);
            (at == 0 || line[..at].ends_with(' ')) && rest.trim_start_matches('!').starts_with(": ")
        })
    })
}

/// That a test failed, said by the program that ran it, which therefore lives.
pub(crate) fn fails_by_itself(line: &str) -> bool {
    line.starts_with("test result: FAILED")
        || line.starts_with("test ") && line.ends_with(" ... FAILED")
}

/// Of `test name ... ok` and nextest's `PASS [`, what is not of the test's name and result: these say nothing, but
/// one that dies leaves what it wrote behind its name.
pub(crate) fn behind_a_test_s_name(line: &str) -> &str {
    match line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
        Some((_, rest)) if !rest.starts_with("ignored") => rest,
        Some(_) => "",
        None if line.starts_with("PASS [") || line.starts_with("START [") => "",
        None => line,
    }
}
