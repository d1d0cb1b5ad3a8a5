//! What `cargo plimsoll enable` leaves for the shims and the governor: one line in a file of Plimsoll's home.
//!
//! ```text
//! enabled\tv=1\tmemory=auto\twrapper=sccache\tconfig=/home/a/.cargo/config.toml
//! ```
//!
//! Deliberately not here: reading and writing the file, and what the words in it lead to.

use std::path::{Path, PathBuf};

use plimsoll_core::settings::Memory;

use crate::codec::{DecodeError, Fields, LineWriter};
use crate::message::{exact, path_bytes, path_from};

/// The version of the budget. A reader refuses what is newer and skips fields that it does not know.
const VERSION: u32 = 1;

/// Plimsoll stands before every compiler of this account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enabled {
    /// The budget of the whole machine.
    pub memory: Memory,
    /// The compiler wrapper that Cargo's configuration named before: a path, or a name to be searched in
    /// `PATH`. The shims chain it.
    pub wrapper: Option<PathBuf>,
    /// The documenter that Cargo's configuration named before, likewise.
    pub rustdoc: Option<PathBuf>,
    /// The file of Cargo's configuration that was edited.
    pub config: PathBuf,
}

impl Enabled {
    /// The file in Plimsoll's home that holds the budget. Where there is none, Plimsoll is not enabled.
    #[must_use]
    pub fn file(home: &Path) -> PathBuf {
        home.join("enabled")
    }

    /// The budget, its end included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let memory = exact(self.memory);
        let mut line = LineWriter::new("enabled").number("v", VERSION).text("memory", &memory);
        for (key, path) in [("wrapper", &self.wrapper), ("rustdoc", &self.rustdoc)] {
            if let Some(path) = path {
                line = line.bytes(key, path_bytes(path));
            }
        }
        line.bytes("config", path_bytes(&self.config)).finish()
    }

    /// Reads the budget, with its end or without.
    ///
    /// # Errors
    /// Where it is another line, a newer version's, or a field that is needed cannot be read.
    pub fn decode(line: &[u8]) -> Result<Self, DecodeError> {
        let fields = Fields::parse(line.strip_suffix(b"\n").unwrap_or(line));
        if fields.verb != b"enabled" {
            return Err(crate::message::unknown(fields.verb));
        }
        if fields.number::<u32>("v")? != VERSION {
            return Err(DecodeError::BadField("v"));
        }
        let path = |key| {
            let value = fields.all(key).next().filter(|value| !value.is_empty());
            value.map(path_from)
        };
        Ok(Self {
            memory: fields.text("memory")?.parse().map_err(|_| DecodeError::BadField("memory"))?,
            wrapper: path("wrapper"),
            rustdoc: path("rustdoc"),
            config: path("config").ok_or(DecodeError::BadField("config"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_core::Bytes;
    use plimsoll_core::settings::SMALLEST_BUDGET;
    use proptest::prelude::*;

    use super::*;

    fn enabled() -> Enabled {
        Enabled {
            memory: Memory::Auto,
            wrapper: Some("sccache".into()),
            rustdoc: None,
            config: "/h/.cargo/config.toml".into(),
        }
    }

    #[test]
    fn the_budget_is_the_documented_one() {
        let line = b"enabled\tv=1\tmemory=auto\twrapper=sccache\tconfig=/h/.cargo/config.toml\n";
        assert_eq!(enabled().encode(), line);
    }

    #[test]
    fn fields_of_a_newer_plimsoll_are_skipped_and_its_versions_refused() {
        let line =
            b"enabled\tv=1\tnice=5\tmemory=auto\twrapper=sccache\tconfig=/h/.cargo/config.toml";
        assert_eq!(Enabled::decode(line), Ok(enabled()));
        let bad = |line: &[u8]| Enabled::decode(line).unwrap_err();
        assert_eq!(bad(b"enabled\tv=2\tmemory=auto\tconfig=/c"), DecodeError::BadField("v"));
        assert_eq!(bad(b"enabled\tv=1\tmemory=x\tconfig=/c"), DecodeError::BadField("memory"));
        assert_eq!(bad(b"enabled\tv=1\tmemory=auto\tconfig="), DecodeError::BadField("config"));
        assert!(matches!(bad(b""), DecodeError::UnknownVerb(_)));
    }

    fn memory() -> impl Strategy<Value = Memory> {
        prop_oneof![
            Just(Memory::Auto),
            (1u8..=100).prop_map(Memory::Percent),
            (SMALLEST_BUDGET.0..1 << 50).prop_map(|bytes| Memory::Size(Bytes(bytes))),
        ]
    }

    fn path() -> impl Strategy<Value = PathBuf> {
        proptest::collection::vec(1u8.., 1..40).prop_map(|bytes| path_from(&bytes))
    }

    proptest! {
        #[test]
        fn any_amount_and_paths_survive(
            memory in memory(),
            wrapper in proptest::option::of(path()),
            rustdoc in proptest::option::of(path()),
            config in path(),
        ) {
            let enabled = Enabled { memory, wrapper, rustdoc, config };
            prop_assert_eq!(Enabled::decode(&enabled.encode()), Ok(enabled));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400)
        ) {
            let _ = Enabled::decode(&bytes);
            let _ = Enabled::decode(&[b"enabled\tv=1\t", bytes.as_slice()].concat());
        }
    }
}
