//! What `init` writes says so on its own budget, so that it can be taken back from the text alone.
//!
//! `lto = "thin" # plimsoll init wrote "thin": why; was "fat" # small binaries`: the value that was written (an
//! edit of it is seen), what it does and costs, and what stood there before, as it stood. A header that was made has
//! one, too. Nothing else is kept anywhere: a clone, another machine or a colleague takes it back as well.

use crate::toml_text::{self, BadText, Entry, Key, Line, line_end, newline, splice, with_gap};

/// How the comment behind a written value begins.
const WROTE: &str = " # plimsoll init wrote ";
/// What parts the reason from what stood there before; no reason contains it.
const WAS: &str = "; was ";
/// The comment behind a header that was made.
const HEADER: &str = " # plimsoll init";
/// The first line of a file that an earlier `init` made.
const MADE: &str = "# Made by `cargo plimsoll init`; `cargo plimsoll init --undo` takes it back.";

/// A text with what was written taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// The text; nothing where the file was made by `init` and has nothing else in it.
    pub text: Option<String>,
    /// Keys whose value was edited since: they stay, without the comment.
    pub edited: Vec<String>,
    /// How many values were taken back.
    pub values: usize,
}

/// The text with the key set and the reason behind it.
///
/// # Errors
/// Where the key stands where no comment can follow it, in an inline table or over several lines.
pub fn put(text: &str, key: Key<'_>, literal: &str, why: &str) -> Result<String, BadText> {
    let mut tail = format!("{WROTE}{literal}: {why}");
    let mut before = None;
    if let Some(found) = toml_text::get(text, key)? {
        let end = found.place.end + line_tail(&text[found.place.end..]).len();
        let old = &text[found.place.start..end];
        if old.contains('\n') {
            return Err(BadText::Shape(key.to_string()));
        }
        tail.extend([WAS, old]);
        before = Some((found.place.end, end));
    }
    let line = Line { literal, tail: &tail, header_tail: HEADER };
    // Refuses what has no line of its own.
    toml_text::set(text, key, line)?;
    // What followed the value is in the new comment.
    let bare = before.map_or_else(|| text.to_owned(), |(from, to)| splice(text, from..to, ""));
    let new = toml_text::set(&bare, key, line)?;
    let unended = !text.is_empty() && !text.ends_with('\n');
    match new.strip_suffix(newline(text)) {
        // A file whose last line had no end gets none: undoing is exact then.
        Some(new) if unended => Ok(new.to_owned()),
        _ => Ok(new),
    }
}

/// The text without what `init` wrote.
///
/// # Errors
/// Where it is not TOML.
pub fn undo(text: &str) -> Result<Undone, BadText> {
    let mut undone = Undone::default();
    let entries = toml_text::entries(text)?;
    let mut new = text.to_owned();
    let mut gone: Vec<&[String]> = Vec::new();
    // From the end: what comes before keeps its place.
    for entry in entries.iter().rev() {
        let tail = &text[entry.tail.clone()];
        if entry.is_header {
            if tail == HEADER {
                let empty = below(&entries, entry).all(|it| gone.contains(&it.path.as_slice()));
                new = if empty {
                    without(&new, entry, true)
                } else {
                    splice(&new, entry.tail.clone(), "")
                };
            }
        } else if let Some(said) = tail.strip_prefix(WROTE) {
            let literal = &text[entry.value.clone()];
            if !wrote(literal, tail) {
                undone.edited.push(entry.path.join("."));
                new = splice(&new, entry.tail.clone(), "");
            } else if let Some((_, was)) = said.split_once(WAS) {
                undone.values += 1;
                new = splice(&new, entry.value.start..entry.tail.end, was);
            } else {
                undone.values += 1;
                gone.push(&entry.path);
                new = without(&new, entry, false);
            }
        }
    }
    undone.edited.reverse();
    let rest = new.strip_prefix(MADE).map(|rest| rest.trim_start_matches(['\r', '\n']));
    undone.text = match rest {
        Some(rest) if rest.trim().is_empty() => None,
        Some(rest) => Some(rest.to_owned()),
        None => Some(new),
    };
    Ok(undone)
}

/// Whether this tail of a value's line says that this value was written.
fn wrote(literal: &str, tail: &str) -> bool {
    let said = tail.strip_prefix(WROTE).and_then(|said| said.strip_prefix(literal));
    said.is_some_and(|rest| rest.starts_with(": "))
}

/// The rest of a budget, without its end.
fn line_tail(rest: &str) -> &str {
    &rest[..rest.find(['\r', '\n']).unwrap_or(rest.len())]
}

/// The values of a header's own table.
fn below<'a>(entries: &'a [Entry], header: &'a Entry) -> impl Iterator<Item = &'a Entry> {
    let behind = entries.iter().skip_while(move |it| it.place.start <= header.place.start);
    behind.take_while(|it| !it.is_header)
}

/// The text without this budget, and for a header without the empty one before it.
fn without(text: &str, entry: &Entry, with_empty: bool) -> String {
    let start = if with_empty { entry.value.start } else { entry.place.start };
    let line = start..line_end(text, start);
    let last = line.end == text.len() && !text.ends_with('\n');
    let has_text = !text[..line.start].trim().is_empty();
    let mut place = if with_empty && has_text { with_gap(text, line) } else { line };
    if last {
        // The end of the budget before was made for it.
        let before = &text[..place.start];
        place.start = before.strip_suffix(newline(text)).unwrap_or(before).len();
    }
    splice(text, place, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LTO: Key<'_> = Key { table: &["profile", "release"], name: "lto" };
    const JOBS: Key<'_> = Key { table: &["build"], name: "jobs" };
    const DEBUG: Key<'_> = Key { table: &["profile", "dev", "package", "*"], name: "debug" };

    fn all(text: &str) -> Result<String, BadText> {
        let text = put(text, LTO, "\"thin\"", "thin LTO; costs little")?;
        let text = put(&text, JOBS, "2", "two units")?;
        put(&text, DEBUG, "false", "no debug info")
    }

    fn undone(text: &str) -> String {
        undo(text).unwrap().text.unwrap_or_default()
    }

    #[test]
    fn each_line_says_what_was_written_why_and_what_was_there() {
        let before = "[profile.release] # ours\r\nlto = 'fat'  # small; was bigger\r\n# end\r\n";
        let after = all(before).unwrap();
        assert_eq!(
            after,
            "[profile.release] # ours\r\n\
             lto = \"thin\" # plimsoll init wrote \"thin\": thin LTO; costs little; was 'fat'  # small; was bigger\r\n\
             # end\r\n\r\n\
             [build] # plimsoll init\r\njobs = 2 # plimsoll init wrote 2: two units\r\n\r\n\
             [profile.dev.package.\"*\"] # plimsoll init\r\n\
             debug = false # plimsoll init wrote false: no debug info\r\n"
        );
        assert_eq!(undone(&after), before);
    }

    #[test]
    fn what_was_edited_since_stays_and_is_named() {
        let text = all("[profile.release]\nlto = true\n").unwrap();
        let text = text.replace("jobs = 2 #", "jobs = 4 #").replace("[build]", "# mine\n[build]");
        let text = format!("# top\n{text}\n[x]\ny = 1");
        let undone = undo(&text).unwrap();
        assert_eq!(undone.edited, ["build.jobs"]);
        assert_eq!(undone.values, 2);
        assert_eq!(
            undone.text.as_deref(),
            Some("# top\n[profile.release]\nlto = true\n\n# mine\n[build]\njobs = 4\n\n[x]\ny = 1")
        );
    }

    #[test]
    fn a_key_that_was_added_below_our_header_keeps_it() {
        let text = format!("{}rustc = \"r\"\n", put("", JOBS, "1", "one").unwrap());
        assert_eq!(undone(&text), "[build]\nrustc = \"r\"\n");
    }

    #[test]
    fn a_file_that_was_made_goes_unless_something_else_is_in_it() {
        let text = put(&format!("{MADE}\n"), JOBS, "1", "one").unwrap();
        assert_eq!(undo(&text).unwrap().text, None);
        assert_eq!(undone(&format!("{text}\n[a]\n")), "[a]\n");
    }

    #[test]
    fn where_no_comment_can_follow_it_is_refused() {
        for text in ["profile.release = { lto = true }\n", "[profile.release]\nlto = [\n1]\n"] {
            assert!(matches!(put(text, LTO, "\"thin\"", "w"), Err(BadText::Shape(_))), "{text}");
        }
    }

    fn piece() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(
            &[
                "# a comment\n",
                "\n",
                "[build]\n",
                "[build] # b\njobs = 7 # mine\n",
                "[profile.release]\n",
                "[profile.release]\nlto = true\t# fat; was none \nstrip = true\n",
                "[profile.dev]\ndebug = 1\n",
                "[profile.release.package.\"*\"]\nopt-level = 2\n",
                "[a.\"b c\"]\n\"ü\" = \"# plimsoll init wrote 2: x\"\n",
                "[[bin]]\nname = \"x\"\n",
                "[profile.dev.package]\n'*'.strip = true\n",
                "build.rustc = 'r'\n",
                "c = [\n  1, # one\n]\n",
                "  \n",
                "[profile.dev.package.'*']\ndebug = 2",
            ][..],
        )
    }

    proptest! {
        /// Whatever the file: what was put in comes out, and nothing else.
        #[test]
        fn undo_takes_exactly_back(pieces in proptest::collection::vec(piece(), 0..6), crlf: bool, cut: bool) {
            let mut text = pieces.concat();
            if crlf { text = text.replace('\n', "\r\n"); }
            if cut { text.truncate(text.trim_end_matches(['\r', '\n']).len()); }
            let Ok(after) = all(&text) else { return Ok(()) };
            prop_assert_eq!(undo(&after).unwrap().text, Some(text.clone()), "{}", after);
            prop_assert_eq!(undo(&text).unwrap().text, Some(text));
        }
    }
}
