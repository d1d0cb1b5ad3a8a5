//! What the account's governor leaves in Plimsoll's home while it runs: who it is and where it listens.
//!
//! ```text
//! governor\tv=1\tprotocol=2\tversion=0.1.0\tprogram=/home/a/.cargo/bin/cargo-plimsoll\tstamp=17…\tpid=4711\tsocket=4711.sock
//! ```
//!
//! Deliberately not here: reading and writing the file, connecting, and who replaces whom.

use std::path::{Path, PathBuf};

use crate::codec::{DecodeError, Fields, LineWriter};
use crate::message::{path_bytes, path_from};

/// The version of the budget. A reader refuses what is newer and skips fields that it does not know.
const VERSION: u32 = 1;

/// The governor that an account's compilers turn to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Governing {
    /// The version of the messages that it understands, [`crate::VERSION`].
    pub protocol: u32,
    /// The version of Plimsoll.
    pub version: String,
    /// Its program.
    pub program: PathBuf,
    /// When that program was last changed, in nanoseconds since the Unix epoch: another one in its place is
    /// another version.
    pub stamp: i64,
    /// Its process.
    pub pid: u32,
    /// The name of its socket in the same directory.
    pub socket: String,
}

impl Governing {
    /// The directory in Plimsoll's home where governor and compilers meet. For its owner only.
    #[must_use]
    pub fn directory(home: &Path) -> PathBuf {
        home.join("run")
    }

    /// The file there that holds the budget. Where there is none, no governor runs.
    #[must_use]
    pub fn file(home: &Path) -> PathBuf {
        Self::directory(home).join("governor")
    }

    /// The directory there that says of the governor with this process that it does not answer: with a file for each
    /// Cargo whose user was told.
    #[must_use]
    pub fn unanswered(directory: &Path, pid: u32) -> PathBuf {
        directory.join(format!("{pid}.unanswered"))
    }

    /// The budget, its end included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        LineWriter::new("governor")
            .number("v", VERSION)
            .number("protocol", self.protocol)
            .text("version", &self.version)
            .bytes("program", path_bytes(&self.program))
            .number("stamp", self.stamp)
            .number("pid", self.pid)
            .text("socket", &self.socket)
            .finish()
    }

    /// Reads the budget, with its end or without.
    ///
    /// # Errors
    /// Where it is another line, a newer version's, or a field that is needed cannot be read. A socket that is
    /// not a plain file name is none.
    pub fn decode(line: &[u8]) -> Result<Self, DecodeError> {
        let fields = Fields::parse(line.strip_suffix(b"\n").unwrap_or(line));
        if fields.verb != b"governor" {
            return Err(crate::message::unknown(fields.verb));
        }
        if fields.number::<u32>("v")? != VERSION {
            return Err(DecodeError::BadField("v"));
        }
        let socket = fields.text("socket")?;
        if socket.is_empty() || socket.contains(['/', '\0']) || socket.starts_with('.') {
            return Err(DecodeError::BadField("socket"));
        }
        Ok(Self {
            protocol: fields.number("protocol")?,
            version: fields.text("version")?,
            program: path_from(fields.bytes("program")?),
            stamp: fields.number("stamp")?,
            pid: fields.number("pid")?,
            socket,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_governor_survives_the_file(
            protocol: u32,
            version in "\\PC{0,12}",
            program in proptest::collection::vec(1u8.., 0..40),
            stamp: i64,
            pid: u32,
            socket in "[a-z0-9][a-z0-9.]{0,20}",
        ) {
            let program = path_from(&program);
            let governing = Governing { protocol, version, program, stamp, pid, socket };
            prop_assert_eq!(Governing::decode(&governing.encode()), Ok(governing));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let _ = Governing::decode(&bytes);
            let mut line = b"governor\tv=1\t".to_vec();
            line.extend(bytes);
            let _ = Governing::decode(&line);
        }
    }

    #[test]
    fn a_socket_elsewhere_is_none() {
        for socket in ["", "../x", "/tmp/x", ".x", "a/b"] {
            let line = format!(
                "governor\tv=1\tprotocol=1\tversion=1\tprogram=/p\tstamp=1\tpid=1\tsocket={socket}"
            );
            assert_eq!(Governing::decode(line.as_bytes()), Err(DecodeError::BadField("socket")));
        }
    }
}
