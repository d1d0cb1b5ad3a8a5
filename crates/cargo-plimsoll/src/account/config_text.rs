//! Two keys in the text of a Cargo configuration file, put in and taken out.

use toml_edit::Value;

pub(crate) use plimsoll_cargo::toml_text::BadText;
use plimsoll_cargo::toml_text::{self, Line};

/// The table of both.
const TABLE: &[&str] = &["build"];

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

    fn path(self) -> toml_text::Key<'static> {
        let name = match self {
            Self::RustcWrapper => "rustc-wrapper",
            Self::Rustdoc => "rustdoc",
        };
        toml_text::Key { table: TABLE, name }
    }
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

/// The key's value.
pub(crate) fn get(text: &str, key: Key) -> Result<Option<Written>, BadText> {
    let wanted = "a string";
    let found = toml_text::get(text, key.path()).map_err(|error| match error {
        BadText::Type { name, line, .. } if name == key.path().to_string() => {
            BadText::Type { name, line, wanted }
        }
        error => error,
    })?;
    let Some(found) = found else { return Ok(None) };
    match found.value.as_str() {
        Some(value) => {
            Ok(Some(Written { value: value.to_owned(), literal: text[found.place].to_owned() }))
        }
        None => Err(BadText::Type {
            name: key.path().to_string(),
            line: toml_text::line_of(text, found.key.start),
            wanted,
        }),
    }
}

/// The text with the key set.
pub(crate) fn set(text: &str, key: Key, to: &Written) -> Result<String, BadText> {
    get(text, key)?;
    toml_text::set(text, key.path(), Line { literal: &to.literal, ..Line::default() })
}

/// The text without the key; a comment behind it stays.
pub(crate) fn remove(text: &str, key: Key) -> Result<String, BadText> {
    get(text, key)?;
    toml_text::remove(text, key.path())
}

/// Whether the text has a line `[build]`.
pub(crate) fn has_header(text: &str) -> bool {
    toml_text::has_header(text, TABLE)
}

/// The text without a `[build]` that has no key below it, and without the empty line before that.
pub(crate) fn remove_empty_table(text: &str) -> Result<String, BadText> {
    toml_text::remove_empty_table(text, TABLE)
}

#[cfg(test)]
pub(super) mod tests;
