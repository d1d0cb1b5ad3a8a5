//! A line as the program wrote it: without colours, and without what CI, container and journal put before it.

use std::borrow::Cow;

/// The line without escape sequences, prefixes and the space around it.
pub(crate) fn plain(line: &str) -> Cow<'_, str> {
    match without_escapes(after_step_of_gh(line)) {
        Cow::Borrowed(line) => Cow::Borrowed(without_prefixes(line)),
        Cow::Owned(line) => Cow::Owned(without_prefixes(&line).to_owned()),
    }
}

/// `job TAB step TAB time line`, as `gh run view --log` writes it.
fn after_step_of_gh(line: &str) -> &str {
    match line.splitn(3, '\t').nth(2) {
        Some(rest) if after_time(rest.trim_start_matches('\u{feff}')).is_some() => rest,
        _ => line,
    }
}

/// Without ANSI sequences (`ESC [ … letter`, `ESC ] … BEL`) and other control characters.
fn without_escapes(line: &str) -> Cow<'_, str> {
    if !line.contains(|c: char| c.is_control()) {
        return Cow::Borrowed(line);
    }
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => {
                    chars.by_ref().find(|c| ('@'..='~').contains(c));
                }
                Some(']') => {
                    chars.by_ref().find(|c| matches!(c, '\u{7}' | '\u{1b}'));
                }
                _ => {}
            },
            '\t' => text.push(' '),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    Cow::Owned(text)
}

/// How many prefixes may stand one behind the other: a step, a time and a mark of error are usual.
const PREFIXES: usize = 6;

fn without_prefixes(line: &str) -> &str {
    let mut rest = line.trim_end();
    for _ in 0..PREFIXES {
        match after_bar(rest).or_else(|| one_prefix(rest.trim_start())) {
            Some(shorter) => rest = shorter,
            None => break,
        }
    }
    rest.trim_start()
}

/// The line after one prefix, where it has one.
fn one_prefix(line: &str) -> Option<&str> {
    line.strip_prefix('\u{feff}')
        .or_else(|| after_time(line))
        .or_else(|| after_stage(line))
        .or_else(|| line.strip_prefix("##[error]"))
        .or_else(|| line.strip_prefix("> "))
        .or_else(|| line.strip_prefix("remote: "))
        .or_else(|| after_script(line))
        .or_else(|| after_label(line))
        .or_else(|| after_step(line))
        .or_else(|| after_seconds(line))
}

/// `2026-01-01T00:00:00.123Z `, and GitLab's stream behind it (`01O `, `00E+`).
fn after_time(line: &str) -> Option<&str> {
    let line = line.strip_prefix('[').unwrap_or(line);
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let bytes = word.as_bytes();
    let is_time = bytes.len() >= 19
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T')
        && bytes[..4].iter().all(u8::is_ascii_digit);
    if !is_time {
        return None;
    }
    let stream = rest.as_bytes();
    let gitlab = stream.len() >= 3
        && stream[0].is_ascii_digit()
        && stream[1].is_ascii_digit()
        && matches!(stream[2], b'O' | b'E')
        && matches!(stream.get(3), None | Some(b' ' | b'+'));
    Some(if gitlab { rest.get(4..).unwrap_or_default() } else { rest })
}

/// `[build/test]   | ` of `act`, `app-1  | ` of docker compose.
fn after_stage(line: &str) -> Option<&str> {
    let (stage, rest) = line.split_once("| ").or_else(|| Some((line.strip_suffix('|')?, "")))?;
    let stage = stage.trim_end();
    let bracketed = stage.starts_with('[') && stage.ends_with(']');
    (bracketed || is_service(stage)).then_some(rest)
}

/// How docker compose calls what runs in it: `app-1`, of old `dir_app_1`.
pub(crate) fn is_service(name: &str) -> bool {
    name.rsplit_once(['-', '_']).is_some_and(|(name, number)| {
        !name.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    })
}

/// `#12 34.56 ` of BuildKit.
fn after_step(line: &str) -> Option<&str> {
    let (number, rest) = line.strip_prefix('#')?.split_once(' ')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(rest)
}

/// What a build script said, in its own words and in Cargo's: `warning: rocks-sys@0.5.11: `.
fn after_script(line: &str) -> Option<&str> {
    line.strip_prefix("cargo:warning=").or_else(|| {
        let (package, rest) = line.strip_prefix("warning: ")?.split_once(": ")?;
        (package.contains('@') && !package.contains(' ')).then_some(rest)
    })
}

/// `[INFO] [stderr] ` of docs.rs, `[Build] [main] ` of a device's builder.
fn after_label(line: &str) -> Option<&str> {
    let (label, rest) = line.strip_prefix('[')?.split_once("] ")?;
    label.bytes().all(|byte| byte.is_ascii_alphabetic()).then_some(rest)
}

/// `| ` of BitBake, where lines begin; rustc draws its bars behind the numbers of lines, or the space of one.
fn after_bar(line: &str) -> Option<&str> {
    line.strip_prefix("| ")
}

/// `34.56 ` of BuildKit, `10:17.89 ` of mach, `[ 4529.478764] ` of the kernel.
fn after_seconds(line: &str) -> Option<&str> {
    let (inner, rest) = match line.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => line.split_once(' ').unwrap_or((line, "")),
    };
    let inner = inner.trim();
    let is_seconds = inner.contains('.')
        && inner.starts_with(|c: char| c.is_ascii_digit())
        && inner.bytes().all(|byte| byte.is_ascii_digit() || b".:s".contains(&byte));
    is_seconds.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_line_is_taken_off() {
        for line in [
            "error: x",
            "  error: x\t",
            "\u{1b}[1m\u{1b}[91merror\u{1b}[0m: x",
            "2026-01-01T00:00:00.1234567Z error: x",
            "\u{feff}2026-01-01T00:00:00.123Z ##[error]error: x",
            "2026-01-01T00:00:00.123456Z 01O error: x",
            "[2026-01-01T00:00:00.123Z] error: x",
            "[ci/build]   | error: x",
            "builder-1  | error: x",
            "#12 34.56 error: x",
            "build\tRun cargo build\t2026-01-01T00:00:00.1234567Z error: x",
            "remote: error: x",
            "10:17.89 error: x",
            "[ 4529.478764] error: x",
            "cargo:warning=error: x",
            "warning: rocks-sys@0.5.11: error: x",
            "[INFO] [stderr] error: x",
            "| error: x",
            "|   error: x",
            "\u{1b}]8;;link\u{7}error: x",
        ] {
            assert_eq!(plain(line), "error: x", "{line:?}");
        }
        for empty in ["2026-01-01T00:00:00.123456Z 01O ", "[ci/build]   | ", "#12 34.56 "] {
            assert_eq!(plain(empty), "", "{empty:?}");
        }
        assert_eq!(plain("  |   error: x"), "|   error: x", "what rustc draws");
        assert_eq!(plain("2.5 is no version"), "is no version");
        assert_eq!(plain("#[deny(warnings)] | x"), "#[deny(warnings)] | x");
    }
}
