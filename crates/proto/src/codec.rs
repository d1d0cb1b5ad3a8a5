//! Lines of tab-separated fields: encoding, decoding, and cutting a byte stream into lines.

use std::fmt;

/// The longest line that is read: a unit with 1,000 dependencies at paths of 200 bytes. A peer that
/// sends more is not one of ours.
pub const MAX_LINE: usize = 256 * 1024;

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// More than [`MAX_LINE`] bytes without a line end.
    TooLong,
    /// A verb that this version does not know.
    UnknownVerb(String),
    /// A field is missing or its value cannot be read.
    BadField(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a message longer than {MAX_LINE} bytes"),
            Self::UnknownVerb(verb) => write!(f, "an unknown message `{verb}`"),
            Self::BadField(name) => write!(f, "a message whose field `{name}` cannot be read"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Collects received bytes and gives them back line by line.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
}

impl LineBuffer {
    /// Adds what was read from the peer.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] where a line exceeds [`MAX_LINE`]; the connection is to be closed.
    pub fn extend(&mut self, received: &[u8]) -> Result<(), DecodeError> {
        self.bytes.extend_from_slice(received);
        let unfinished = match self.bytes.iter().rposition(|b| *b == b'\n') {
            Some(end) => self.bytes.len() - end,
            None => self.bytes.len(),
        };
        if unfinished > MAX_LINE { Err(DecodeError::TooLong) } else { Ok(()) }
    }

    /// The next complete line, without its end.
    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        let end = self.bytes.iter().position(|b| *b == b'\n')?;
        let rest = self.bytes.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.bytes, rest);
        line.pop();
        Some(line)
    }
}

/// Writes one line.
pub(crate) struct LineWriter {
    line: Vec<u8>,
}

impl LineWriter {
    pub(crate) fn new(verb: &str) -> Self {
        Self { line: verb.as_bytes().to_vec() }
    }

    pub(crate) fn bytes(mut self, key: &str, value: &[u8]) -> Self {
        self.line.push(b'\t');
        self.line.extend_from_slice(key.as_bytes());
        self.line.push(b'=');
        for byte in value {
            match byte {
                b'%' | 0..=0x1f | 0x7f..=0xff => {
                    self.line.extend_from_slice(format!("%{byte:02X}").as_bytes());
                }
                plain => self.line.push(*plain),
            }
        }
        self
    }

    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.bytes(key, value.as_bytes())
    }

    pub(crate) fn number(self, key: &str, value: impl Into<i64>) -> Self {
        self.text(key, &value.into().to_string())
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.line.push(b'\n');
        self.line
    }
}

/// The fields of one received line.
pub(crate) struct Fields<'a> {
    /// The first word.
    pub(crate) verb: &'a [u8],
    fields: Vec<(&'a [u8], Vec<u8>)>,
}

impl<'a> Fields<'a> {
    pub(crate) fn parse(line: &'a [u8]) -> Self {
        let mut words = line.split(|b| *b == b'\t');
        let verb = words.next().unwrap_or_default();
        let fields = words.filter_map(|word| {
            let cut = word.iter().position(|b| *b == b'=')?;
            Some((&word[..cut], unescape(&word[cut + 1..])))
        });
        Self { verb, fields: fields.collect() }
    }

    /// All values of a field that may be repeated.
    pub(crate) fn all(&self, key: &'static str) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |(k, _)| *k == key.as_bytes()).map(|(_, v)| v.as_slice())
    }

    pub(crate) fn bytes(&self, key: &'static str) -> Result<&[u8], DecodeError> {
        self.all(key).next().ok_or(DecodeError::BadField(key))
    }

    pub(crate) fn text(&self, key: &'static str) -> Result<String, DecodeError> {
        Ok(String::from_utf8_lossy(self.bytes(key)?).into_owned())
    }

    pub(crate) fn number<N: TryFrom<i64>>(&self, key: &'static str) -> Result<N, DecodeError> {
        std::str::from_utf8(self.bytes(key)?)
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
            .and_then(|number| N::try_from(number).ok())
            .ok_or(DecodeError::BadField(key))
    }

    pub(crate) fn flag(&self, key: &'static str) -> bool {
        self.all(key).next() == Some(b"1")
    }
}

/// Undoes the `%XX`s; a `%` that starts none stands for itself.
fn unescape(value: &[u8]) -> Vec<u8> {
    let hex = |b: Option<&u8>| b.and_then(|b| (*b as char).to_digit(16)).map(|d| d as u8);
    let mut plain = Vec::with_capacity(value.len());
    let mut at = 0;
    while at < value.len() {
        match (value[at], hex(value.get(at + 1)), hex(value.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                plain.push(high << 4 | low);
                at += 3;
            }
            (byte, ..) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    plain
}
