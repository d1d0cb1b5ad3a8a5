//! Keys in the text of a TOML file, put in and taken out.
//!
//! The text is cut and joined at the places that the parser names, so that every other byte stays: comments,
//! order, spacing, line ends. What comes out is read again and compared: a text that cannot be edited without
//! changing more than the key is refused. Deliberately no file here, and no opinion about keys and values.

use std::fmt;
use std::ops::Range;

use toml_edit::{Document, InlineTable, Item, Table, TomlError, Value};

/// A key in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The table's path, from the root; never empty.
    pub table: &'a [&'a str],
    /// The key.
    pub name: &'a str,
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", dotted(self.table), quoted(self.name))
    }
}

/// Why a text cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum BadText {
    /// It is not TOML.
    #[error(transparent)]
    Syntax(TomlError),
    /// Something else stands where a table or a value belongs.
    #[error("line {line}: `{name}` is not {wanted}, so Cargo cannot read it either")]
    Type {
        /// The key, with the table.
        name: String,
        /// Where, from 1.
        line: usize,
        /// What should stand there.
        wanted: &'static str,
    },
    /// The edited text would say something else than it should.
    #[error("Plimsoll cannot edit `{0}` safely as it is written; edit it by hand")]
    Shape(String),
}

/// A value as it stands in a text.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it says.
    pub value: Value,
    /// The characters of the key (the last part of a dotted one).
    pub key: Range<usize>,
    /// The characters that say it, with quotes.
    pub place: Range<usize>,
}

/// What is to stand in a text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line<'a> {
    /// The value, as TOML.
    pub literal: &'a str,
    /// What follows the value on its line: nothing, or a comment.
    pub tail: &'a str,
    /// What follows the table's header, where that has to be made.
    pub header_tail: &'a str,
}

/// A value or a table's header that has a line of its own.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The path from the root, with the key; of a header: the table's.
    pub path: Vec<String>,
    /// Whether it is a header.
    pub(crate) is_header: bool,
    /// Where it stands, from the beginning of its first line to the end of the value or the header.
    pub place: Range<usize>,
    /// The value alone; of a header: the same as `place`.
    pub value: Range<usize>,
    /// What follows it on its line, without the line's end.
    pub tail: Range<usize>,
}

/// How a table is written.
enum Form<'a> {
    /// Not at all, or only by tables below it (`[build.x]`).
    Absent(Option<&'a Table>),
    /// `[build]`: the header's place.
    Header(&'a Table, Range<usize>),
    /// `build.jobs = 1`, and what stands before `jobs`.
    Dotted(&'a Table, String),
    /// `build = { jobs = 1 }`: the value's place.
    Inline(&'a InlineTable, Range<usize>),
}

/// The key's value.
pub fn get(text: &str, key: Key<'_>) -> Result<Option<Found>, BadText> {
    let document = parse(text)?;
    find(text, &form(text, &document, key)?, key)
}

/// The text with the key set.
pub fn set(text: &str, key: Key<'_>, to: Line<'_>) -> Result<String, BadText> {
    let document = parse(text)?;
    let form = form(text, &document, key)?;
    let shape = || BadText::Shape(key.to_string());
    let line = format!("{} = {}{}", quoted(key.name), to.literal, to.tail);
    let found = find(text, &form, key)?;
    let new = match (found, form) {
        (_, Form::Inline(..)) if !to.tail.is_empty() => return Err(shape()),
        (Some(found), _) => splice(text, found.place, &[to.literal, to.tail].concat()),
        (None, Form::Absent(_)) => {
            let end = newline(text);
            let gap = if text.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']).is_empty() {
                String::new()
            } else if text.ends_with('\n') {
                end.to_owned()
            } else {
                [end, end].concat()
            };
            format!("{text}{gap}[{}]{}{end}{line}{end}", dotted(key.table), to.header_tail)
        }
        (None, Form::Header(_, header)) => insert_line(text, header.end, &line),
        (None, Form::Dotted(table, before)) => {
            let at = last_leaf(table).ok_or_else(shape)?;
            insert_line(text, at, &format!("{before}{line}"))
        }
        (None, Form::Inline(table, place)) => {
            let behind = if table.is_empty() { " " } else { "," };
            let at = place.start + 1;
            splice(text, at..at, &format!(" {line}{behind}"))
        }
    };
    verified(text, new, key, Some(to.literal))
}

/// The text without the key; a comment behind it stays.
pub fn remove(text: &str, key: Key<'_>) -> Result<String, BadText> {
    let document = parse(text)?;
    let form = form(text, &document, key)?;
    let Some(found) = find(text, &form, key)? else { return Ok(text.to_owned()) };
    let place = match form {
        Form::Inline(..) => {
            let before = text[..found.key.start].trim_end();
            let after = &text[found.place.end..];
            let unspaced = after.trim_start();
            match (unspaced.strip_prefix(','), before.strip_suffix(',')) {
                (Some(rest), _) => before.len()..text.len() - rest.len(),
                (None, Some(before)) => before.len()..found.place.end,
                (None, None) => before.len()..text.len() - unspaced.len(),
            }
        }
        _ => {
            let start = line_start(text, found.key.start);
            let end = line_end(text, found.place.end);
            let rest = &text[found.place.end..end];
            let comment = rest.len() - rest.trim_start().len();
            if rest.trim().is_empty() { start..end } else { start..found.place.end + comment }
        }
    };
    verified(text, splice(text, place, ""), key, None)
}

/// Whether the text has a line `[table]`.
pub fn has_header(text: &str, table: &[&str]) -> bool {
    let key = Key { table, name: "" };
    parse(text).is_ok_and(|document| matches!(form(text, &document, key), Ok(Form::Header(..))))
}

/// The text without a `[table]` that has no key below it, and without the empty line before that.
pub fn remove_empty_table(text: &str, table: &[&str]) -> Result<String, BadText> {
    let document = parse(text)?;
    let Form::Header(table, header) = form(text, &document, Key { table, name: "" })? else {
        return Ok(text.to_owned());
    };
    let place = line_start(text, header.start)..line_end(text, header.end);
    if !table.iter().all(|(_, item)| is_below(item)) || text[place.clone()].trim() != &text[header]
    {
        return Ok(text.to_owned());
    }
    Ok(splice(text, with_gap(text, place), ""))
}

/// Everything that has a line of its own, in the order of the text.
pub fn entries(text: &str) -> Result<Vec<Entry>, BadText> {
    let document = parse(text)?;
    let mut found = Vec::new();
    push_entries(text, document.as_table(), &mut Vec::new(), &mut found);
    found.sort_by_key(|entry| entry.place.start);
    Ok(found)
}

/// A whole line, and the empty one before it.
pub(crate) fn with_gap(text: &str, line: Range<usize>) -> Range<usize> {
    let before = &text[..line.start];
    let ours = before.strip_suffix(newline(text)).filter(|before| before.ends_with('\n'));
    ours.map_or(line.start, str::len)..line.end
}

/// The line ends that the text has: those of its first line.
pub(crate) fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// The end of the line, behind its `\n`.
pub(crate) fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}

/// The text with this place said anew.
pub(crate) fn splice(text: &str, place: Range<usize>, new: &str) -> String {
    [&text[..place.start], new, &text[place.end..]].concat()
}

/// In which line that place is, from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn parse(text: &str) -> Result<Document<&str>, BadText> {
    Document::parse(text).map_err(BadText::Syntax)
}

fn quoted(name: &str) -> String {
    toml_edit::Key::new(name).display_repr().into_owned()
}

fn dotted(path: &[&str]) -> String {
    path.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(".")
}

fn form<'a>(text: &str, document: &'a Document<&str>, of: Key<'_>) -> Result<Form<'a>, BadText> {
    let mut form = Form::Header(document.as_table(), 0..0);
    for (depth, name) in of.table.iter().enumerate() {
        let (table, before) = match form {
            Form::Header(table, _) | Form::Absent(Some(table)) => (table, String::new()),
            Form::Dotted(table, before) => (table, before),
            Form::Absent(None) => return Ok(form),
            Form::Inline(..) => return Err(BadText::Shape(dotted(of.table))),
        };
        let Some((key, item)) = table.get_key_value(name) else { return Ok(Form::Absent(None)) };
        let wrong = || BadText::Type {
            name: dotted(&of.table[..=depth]),
            line: line_of(text, item.span().or(key.span()).map_or(0, |place| place.start)),
            wanted: "a table",
        };
        form = match item {
            Item::Table(table) if table.is_dotted() => {
                Form::Dotted(table, format!("{before}{}.", quoted(name)))
            }
            Item::Table(table) if table.is_implicit() => Form::Absent(Some(table)),
            Item::Table(table) => Form::Header(table, table.span().ok_or_else(wrong)?),
            Item::Value(Value::InlineTable(table)) => {
                Form::Inline(table, table.span().ok_or_else(wrong)?)
            }
            _ => return Err(wrong()),
        };
    }
    Ok(form)
}

fn find(text: &str, form: &Form<'_>, key: Key<'_>) -> Result<Option<Found>, BadText> {
    let found = match form {
        Form::Absent(None) => None,
        Form::Absent(Some(table)) | Form::Header(table, _) | Form::Dotted(table, _) => {
            table.get_key_value(key.name)
        }
        Form::Inline(table, _) => table.get_key_value(key.name),
    };
    let Some((name, item)) = found else { return Ok(None) };
    match (item, name.span(), item.span()) {
        (Item::Value(value), Some(key), Some(place)) => {
            Ok(Some(Found { value: value.clone(), key, place }))
        }
        (_, name, _) => Err(BadText::Type {
            name: key.to_string(),
            line: line_of(text, name.map_or(0, |place| place.start)),
            wanted: "a value",
        }),
    }
}

fn push_entries(text: &str, table: &Table, path: &mut Vec<String>, to: &mut Vec<Entry>) {
    let entry = |path: &[String], is_header, from: usize, value: Range<usize>| Entry {
        path: path.to_vec(),
        is_header,
        place: line_start(text, from)..value.end,
        tail: value.end..text[value.end..].find(['\r', '\n']).map_or(text.len(), |n| value.end + n),
        value,
    };
    for (name, item) in table.iter() {
        path.push(name.to_owned());
        match item {
            Item::Table(below) => {
                if let Some(header) =
                    below.span().filter(|_| is_below(item) && !below.is_implicit())
                {
                    to.push(entry(path, true, header.start, header));
                }
                push_entries(text, below, path, to);
            }
            Item::Value(value) => {
                let key = table.key(name).and_then(toml_edit::Key::span);
                if let (Some(key), Some(value)) = (key, value.span()) {
                    to.push(entry(path, false, key.start, value));
                }
            }
            _ => {}
        }
        path.pop();
    }
}

/// Whether it has a header of its own, behind the table's own keys.
fn is_below(item: &Item) -> bool {
    match item {
        Item::Table(table) => !table.is_dotted(),
        item => item.is_array_of_tables(),
    }
}

/// The end of the last value that dotted keys give.
fn last_leaf(table: &Table) -> Option<usize> {
    let end = |item: &Item| match item {
        Item::Value(value) => Some(value.span()?.end),
        Item::Table(table) if table.is_dotted() => last_leaf(table),
        _ => None,
    };
    table.iter().filter_map(|(_, item)| end(item)).max()
}

/// The text with a line more, after the one in which `at` stands.
fn insert_line(text: &str, at: usize, line: &str) -> String {
    let at = line_end(text, at);
    let end = newline(text);
    let line =
        if text[..at].ends_with('\n') { format!("{line}{end}") } else { format!("{end}{line}") };
    splice(text, at..at, &line)
}

fn line_start(text: &str, at: usize) -> usize {
    let mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    text[..at].rfind('\n').map_or(mark, |end| end + 1)
}

/// `new`, where it says what `old` says but for this key.
fn verified(old: &str, new: String, key: Key<'_>, to: Option<&str>) -> Result<String, BadText> {
    let refused = || BadText::Shape(key.to_string());
    let read = |text: &str| text.parse::<toml::Table>().map_err(|_| refused());
    let (mut wanted, mut said) = (read(old)?, read(&new)?);
    let table = table_at(&mut wanted, key.table).ok_or_else(refused)?;
    match to {
        Some(literal) => {
            let value = read(&format!("value = {literal}"))?.remove("value").ok_or_else(refused)?;
            table.insert(key.name.to_owned(), value);
        }
        None => drop(table.remove(key.name)),
    }
    // A table that is empty is as good as none.
    table_at(&mut said, key.table).ok_or_else(refused)?;
    if said == wanted { Ok(new) } else { Err(refused()) }
}

fn table_at<'a>(root: &'a mut toml::Table, path: &[&str]) -> Option<&'a mut toml::Table> {
    path.iter().try_fold(root, |table, name| {
        let new = || toml::Value::Table(toml::Table::new());
        table.entry(*name).or_insert_with(new).as_table_mut()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_below_a_table_is_found_in_every_form() {
        let key = Key { table: &["profile", "release", "package", "*"], name: "debug" };
        assert_eq!(key.to_string(), "profile.release.package.\"*\".debug");
        for (before, after) in [
            ("", "[profile.release.package.\"*\"]\ndebug = 0\n"),
            (
                "[profile.release]\nlto = true\n",
                "[profile.release]\nlto = true\n\n[profile.release.package.\"*\"]\ndebug = 0\n",
            ),
            (
                "[profile.release.package]\n\"*\".opt-level = 1",
                "[profile.release.package]\n\"*\".opt-level = 1\n\"*\".debug = 0",
            ),
            (
                "profile.release.package.'*' = { opt-level = 1 } # x",
                "profile.release.package.'*' = { debug = 0, opt-level = 1 } # x",
            ),
            (
                "[profile]\nrelease.lto = true\n[other]\n",
                "[profile]\nrelease.lto = true\n[other]\n\n[profile.release.package.\"*\"]\ndebug = 0\n",
            ),
        ] {
            let line = Line { literal: "0", ..Line::default() };
            assert_eq!(set(before, key, line).unwrap(), after);
            assert_eq!(get(after, key).unwrap().unwrap().value.as_integer(), Some(0));
            let without = remove(after, key).unwrap();
            let back = remove_empty_table(&without, key.table).unwrap();
            assert_eq!(back.trim_end(), before.trim_end());
        }
    }

    #[test]
    fn what_would_change_the_meaning_of_something_else_is_refused() {
        let key = Key { table: &["profile", "dev"], name: "debug" };
        let line = Line { literal: "0", tail: " # why", ..Line::default() };
        for text in ["profile = { dev = {} }", "profile.dev = { lto = true }"] {
            assert!(matches!(set(text, key, line), Err(BadText::Shape(_))), "{text}");
        }
        assert!(matches!(set("profile = 1", key, line), Err(BadText::Type { line: 1, .. })));
    }

    #[test]
    fn entries_are_named_with_their_places() {
        let text = "# c\n[a] # head\nb = 1 # one\nc.d = [\n 2,\n]# two\r\n[[e]]\n[f.g]\n";
        let entries = entries(text).unwrap();
        let said: Vec<_> = entries
            .iter()
            .map(|it| (it.path.join("."), &text[it.place.clone()], &text[it.tail.clone()]))
            .collect();
        assert_eq!(
            said,
            [
                ("a".to_owned(), "[a]", " # head"),
                ("a.b".to_owned(), "b = 1", " # one"),
                ("a.c.d".to_owned(), "c.d = [\n 2,\n]", "# two"),
                ("f.g".to_owned(), "[f.g]", ""),
            ]
        );
    }
}
