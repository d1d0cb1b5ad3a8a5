//! Two keys in the text of a Cargo configuration file, put in and taken out.
//!
//! The text is cut and joined at the places that the parser names, so that every other byte stays: comments,
//! order, spacing, line ends. What comes out is read again and compared: a text that cannot be edited without
//! changing more than the key is refused. Deliberately no file here, and no opinion about values.

use std::ops::Range;

use toml_edit::{Document, Item, Table, TomlError, Value};

/// A key of Cargo's table `build`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The program that wraps the compiler.
    RustcWrapper,
    /// The documenter.
    Rustdoc,
}

impl Key {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::RustcWrapper, Self::Rustdoc];

    fn name(self) -> &'static str {
        match self {
            Self::RustcWrapper => "rustc-wrapper",
            Self::Rustdoc => "rustdoc",
        }
    }
}

/// Why a text cannot be edited.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadText {
    /// It is not TOML.
    #[error(transparent)]
    Syntax(TomlError),
    /// Something else stands where a table or a string belongs.
    #[error("line {line}: `{name}` is not {wanted}; Cargo cannot read that either")]
    Type {
        /// The key, with the table.
        name: String,
        /// Where, from 1.
        line: usize,
        /// What should stand there.
        wanted: &'static str,
    },
    /// The edited text would say something else than it should.
    #[error("`build.{0}` stands in a form that cannot be edited safely; edit it by hand")]
    Shape(&'static str),
}

/// A value as it stands in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// What it says.
    pub(crate) value: String,
    /// The characters that say it, with quotes.
    pub(crate) literal: String,
}

impl Written {
    /// A value that stands in no text yet.
    pub(crate) fn new(value: &str) -> Self {
        Self { value: value.to_owned(), literal: Value::from(value).to_string() }
    }
}

/// How `build` is written.
enum Build<'a> {
    /// Not at all, or only by tables below it (`[build.x]`).
    Absent(Option<&'a Table>),
    /// `[build]`: the header's place.
    Header(&'a Table, Range<usize>),
    /// `build.jobs = 1`
    Dotted(&'a Table),
    /// `build = { jobs = 1 }`: the value's place.
    Inline(&'a toml_edit::InlineTable, Range<usize>),
}

/// A key's value and the places of both.
struct Found {
    written: Written,
    key: Range<usize>,
    value: Range<usize>,
}

/// The key's value.
pub(crate) fn get(text: &str, key: Key) -> Result<Option<Written>, BadText> {
    let document = parse(text)?;
    Ok(find(text, &build(text, &document)?, key)?.map(|found| found.written))
}

/// The text with the key set.
pub(crate) fn set(text: &str, key: Key, to: &Written) -> Result<String, BadText> {
    let document = parse(text)?;
    let build = build(text, &document)?;
    let name = key.name();
    let new = match (find(text, &build, key)?, build) {
        (Some(found), _) => splice(text, found.value, &to.literal),
        (None, Build::Absent(_)) => {
            let end = newline(text);
            let gap = if text.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']).is_empty() {
                String::new()
            } else if text.ends_with('\n') {
                end.to_owned()
            } else {
                [end, end].concat()
            };
            format!("{text}{gap}[build]{end}{name} = {}{end}", to.literal)
        }
        (None, Build::Header(_, header)) => {
            insert_line(text, header.end, &format!("{name} = {}", to.literal))
        }
        (None, Build::Dotted(table)) => {
            let at = last_leaf(table).ok_or(BadText::Shape(name))?;
            insert_line(text, at, &format!("build.{name} = {}", to.literal))
        }
        (None, Build::Inline(table, place)) => {
            let behind = if table.is_empty() { " " } else { "," };
            let at = place.start + 1;
            splice(text, at..at, &format!(" {name} = {}{behind}", to.literal))
        }
    };
    verified(text, new, key, Some(&to.value))
}

/// The text without the key; a comment behind it stays.
pub(crate) fn remove(text: &str, key: Key) -> Result<String, BadText> {
    let document = parse(text)?;
    let build = build(text, &document)?;
    let Some(found) = find(text, &build, key)? else { return Ok(text.to_owned()) };
    let place = match build {
        Build::Inline(..) => {
            let before = text[..found.key.start].trim_end();
            let after = &text[found.value.end..];
            let unspaced = after.trim_start();
            match (unspaced.strip_prefix(','), before.strip_suffix(',')) {
                (Some(rest), _) => before.len()..text.len() - rest.len(),
                (None, Some(before)) => before.len()..found.value.end,
                (None, None) => before.len()..text.len() - unspaced.len(),
            }
        }
        _ => {
            let start = line_start(text, found.key.start);
            let end = line_end(text, found.value.end);
            let rest = &text[found.value.end..end];
            let comment = rest.len() - rest.trim_start().len();
            if rest.trim().is_empty() { start..end } else { start..found.value.end + comment }
        }
    };
    verified(text, splice(text, place, ""), key, None)
}

/// Whether the text has a line `[build]`.
pub(crate) fn has_header(text: &str) -> bool {
    parse(text).is_ok_and(|document| matches!(build(text, &document), Ok(Build::Header(..))))
}

/// The text without a `[build]` that has no key below it, and without the empty line before that.
pub(crate) fn remove_empty_table(text: &str) -> Result<String, BadText> {
    let document = parse(text)?;
    let Build::Header(table, header) = build(text, &document)? else { return Ok(text.to_owned()) };
    let (start, end) = (line_start(text, header.start), line_end(text, header.end));
    let below = |item: &Item| match item {
        Item::Table(table) => !table.is_dotted(),
        item => item.is_array_of_tables(),
    };
    if !table.iter().all(|(_, item)| below(item)) || text[start..end].trim() != &text[header] {
        return Ok(text.to_owned());
    }
    let before = &text[..start];
    let gap = newline(text);
    let ours = before.strip_suffix(gap).filter(|before| before.ends_with('\n'));
    Ok([ours.unwrap_or(before), &text[end..]].concat())
}

fn parse(text: &str) -> Result<Document<&str>, BadText> {
    Document::parse(text).map_err(BadText::Syntax)
}

fn build<'a>(text: &str, document: &'a Document<&str>) -> Result<Build<'a>, BadText> {
    let Some((key, item)) = document.as_table().get_key_value("build") else {
        return Ok(Build::Absent(None));
    };
    let wrong = || BadText::Type {
        name: "build".to_owned(),
        line: line_of(text, item.span().or(key.span())),
        wanted: "a table",
    };
    match item {
        Item::Table(table) if table.is_dotted() => Ok(Build::Dotted(table)),
        Item::Table(table) if table.is_implicit() => Ok(Build::Absent(Some(table))),
        Item::Table(table) => Ok(Build::Header(table, table.span().ok_or_else(wrong)?)),
        Item::Value(Value::InlineTable(table)) => {
            Ok(Build::Inline(table, table.span().ok_or_else(wrong)?))
        }
        _ => Err(wrong()),
    }
}

fn find(text: &str, build: &Build<'_>, key: Key) -> Result<Option<Found>, BadText> {
    let (name, item) = match build {
        Build::Absent(None) => return Ok(None),
        Build::Absent(Some(table)) | Build::Header(table, _) | Build::Dotted(table) => {
            match table.get_key_value(key.name()) {
                Some((name, item)) => (name, item),
                None => return Ok(None),
            }
        }
        Build::Inline(table, _) => match table.get_key_value(key.name()) {
            Some((name, item)) => (name, item),
            None => return Ok(None),
        },
    };
    let place = name.span();
    match (item, place.clone(), item.span()) {
        (Item::Value(Value::String(said)), Some(key), Some(value)) => {
            let literal = text[value.clone()].to_owned();
            Ok(Some(Found {
                written: Written { value: said.value().clone(), literal },
                key,
                value,
            }))
        }
        _ => Err(BadText::Type {
            name: format!("build.{}", key.name()),
            line: line_of(text, place),
            wanted: "a string",
        }),
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

fn splice(text: &str, place: Range<usize>, new: &str) -> String {
    [&text[..place.start], new, &text[place.end..]].concat()
}

/// The line ends that the text has: those of its first line.
fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

fn line_start(text: &str, at: usize) -> usize {
    let mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    text[..at].rfind('\n').map_or(mark, |end| end + 1)
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}

fn line_of(text: &str, place: Option<Range<usize>>) -> usize {
    let at = place.map_or(0, |place| place.start);
    text[..at].matches('\n').count() + 1
}

/// `new`, where it says what `old` says but for this key.
fn verified(old: &str, new: String, key: Key, value: Option<&str>) -> Result<String, BadText> {
    let refused = || BadText::Shape(key.name());
    let read = |text: &str| text.parse::<toml::Table>().map_err(|_| refused());
    let mut wanted = read(old)?;
    let table = wanted.entry("build").or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let table = table.as_table_mut().ok_or_else(refused)?;
    match value {
        Some(value) => drop(table.insert(key.name().to_owned(), value.into())),
        None => drop(table.remove(key.name())),
    }
    let mut said = read(&new)?;
    said.entry("build").or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if said == wanted { Ok(new) } else { Err(refused()) }
}

#[cfg(test)]
pub(super) mod tests;
