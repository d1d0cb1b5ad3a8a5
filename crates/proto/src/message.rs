//! The messages themselves.

use std::path::{Path, PathBuf};

use plimsoll_core::invocation::{Emit, UnitKind};
use plimsoll_core::unit::UnitFacts;
use plimsoll_core::{Bytes, UnitId};

use crate::VERSION;
use crate::codec::{DecodeError, Fields, LineWriter};

/// What a client says to the governor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToGovernor {
    /// A compiler shim registers its unit and waits to be admitted.
    Hello {
        /// The client's protocol version.
        version: u32,
        /// What it is about to run.
        facts: Box<UnitFacts>,
    },
    /// A link shim below the unit's compiler asks to start the linker.
    Link {
        /// The client's protocol version.
        version: u32,
        /// The unit whose compiler it was started by.
        unit: UnitId,
        /// The size of all files that the linker will read.
        inputs: Bytes,
    },
    /// The compiler (or linker) runs under this process id.
    Started {
        /// The child's process id.
        pid: u32,
    },
    /// The unit's metadata is written: Cargo may start its dependents.
    Announced,
    /// The child died of a signal that the governor did not send; the client waits to be admitted again.
    Lost {
        /// The signal.
        signal: i32,
    },
    /// The child ended for good.
    Finished {
        /// Its exit code is 0.
        ok: bool,
        /// The output of a retry differs from what dependents have already read: the unit was failed,
        /// and Cargo must run once more.
        differs: bool,
    },
    /// Asks for the build's state: one line of JSON is the answer.
    Status,
}

/// What the governor says to a shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToShim {
    /// Run the child. To a compiler shim two file descriptors come along: the reading and the writing
    /// end of the unit's own token pipe.
    Admit {
        /// The unit's number in this build.
        unit: UnitId,
        /// Should somebody else kill the child, the client is to say so ([`ToGovernor::Lost`]) and wait
        /// again; else it passes the child's end on.
        again: bool,
        /// The child's allocator is to give back early what is free.
        lean: bool,
    },
    /// The governor kills the child now; clean up and wait to be admitted again.
    Retry,
    /// The build has failed elsewhere: leave without having run, quietly.
    Leave,
    /// This unit will not run: say so and fail.
    Refuse {
        /// What a person should read.
        text: String,
    },
    /// The build is ending: kill the child, clean up, exit.
    Abort,
}

impl ToGovernor {
    /// The message as one line, its end included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello { version, facts } => {
                encode_facts(LineWriter::new("hello").number("v", *version), facts)
            }
            Self::Link { version, unit, inputs } => LineWriter::new("link")
                .number("v", *version)
                .number("unit", unit.0)
                .number("inputs", i64::try_from(inputs.0).unwrap_or(i64::MAX)),
            Self::Started { pid } => LineWriter::new("started").number("pid", *pid),
            Self::Announced => LineWriter::new("announced"),
            Self::Lost { signal } => LineWriter::new("lost").number("signal", *signal),
            Self::Finished { ok, differs } => {
                LineWriter::new("finished").number("ok", *ok).number("differs", *differs)
            }
            Self::Status => LineWriter::new("status").number("v", VERSION),
        }
        .finish()
    }

    /// Reads one line.
    ///
    /// # Errors
    /// Where the verb is unknown or a field that is needed cannot be read.
    pub fn decode(line: &[u8]) -> Result<Self, DecodeError> {
        let fields = Fields::parse(line);
        Ok(match fields.verb {
            b"hello" => Self::Hello {
                version: fields.number("v")?,
                facts: Box::new(decode_facts(&fields)?),
            },
            b"link" => Self::Link {
                version: fields.number("v")?,
                unit: UnitId(fields.number("unit")?),
                inputs: Bytes(fields.number("inputs")?),
            },
            b"started" => Self::Started { pid: fields.number("pid")? },
            b"announced" => Self::Announced,
            b"lost" => Self::Lost { signal: fields.number("signal")? },
            b"finished" => {
                Self::Finished { ok: fields.flag("ok"), differs: fields.flag("differs") }
            }
            b"status" => Self::Status,
            verb => return Err(unknown(verb)),
        })
    }
}

impl ToShim {
    /// The message as one line, its end included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Admit { unit, again, lean } => LineWriter::new("admit")
                .number("unit", unit.0)
                .number("again", *again)
                .number("lean", *lean),
            Self::Retry => LineWriter::new("retry"),
            Self::Leave => LineWriter::new("leave"),
            Self::Refuse { text } => LineWriter::new("refuse").text("text", text),
            Self::Abort => LineWriter::new("abort"),
        }
        .finish()
    }

    /// Reads one line.
    ///
    /// # Errors
    /// Where the verb is unknown or a field that is needed cannot be read.
    pub fn decode(line: &[u8]) -> Result<Self, DecodeError> {
        let fields = Fields::parse(line);
        Ok(match fields.verb {
            b"admit" => Self::Admit {
                unit: UnitId(fields.number("unit")?),
                again: fields.flag("again"),
                lean: fields.flag("lean"),
            },
            b"retry" => Self::Retry,
            b"leave" => Self::Leave,
            b"refuse" => Self::Refuse { text: fields.text("text")? },
            b"abort" => Self::Abort,
            verb => return Err(unknown(verb)),
        })
    }
}

pub(crate) fn unknown(verb: &[u8]) -> DecodeError {
    let shown = &verb[..verb.len().min(40)];
    DecodeError::UnknownVerb(String::from_utf8_lossy(shown).into_owned())
}

fn encode_facts(line: LineWriter, facts: &UnitFacts) -> LineWriter {
    let line = line
        .text("package", &facts.package)
        .text("version", &facts.version)
        .text("crate", &facts.crate_name)
        .text("kind", facts.kind.as_str())
        .number("check", facts.emit == Emit::Check)
        .number("links", facts.links)
        .text("metadata", &facts.metadata)
        .text("stem", &facts.file_stem)
        .text("target", &facts.target)
        .text("opt", &facts.opt_level)
        .number("debuginfo", facts.debuginfo)
        .number("cgus", facts.codegen_units)
        .number("lto", facts.lto)
        .number("incremental", facts.incremental)
        .text("features", &facts.features)
        .bytes("source", path_bytes(&facts.source))
        .bytes("out_dir", path_bytes(&facts.out_dir))
        .number("retryable", facts.retryable);
    facts.externs.iter().fold(line, |line, path| line.bytes("extern", path_bytes(path)))
}

fn decode_facts(fields: &Fields<'_>) -> Result<UnitFacts, DecodeError> {
    Ok(UnitFacts {
        package: fields.text("package")?,
        version: fields.text("version")?,
        crate_name: fields.text("crate")?,
        kind: UnitKind::parse(&fields.text("kind")?).ok_or(DecodeError::BadField("kind"))?,
        emit: if fields.flag("check") { Emit::Check } else { Emit::Build },
        links: fields.flag("links"),
        metadata: fields.text("metadata")?,
        file_stem: fields.text("stem")?,
        target: fields.text("target")?,
        opt_level: fields.text("opt")?,
        debuginfo: fields.number("debuginfo")?,
        codegen_units: fields.number("cgus")?,
        lto: fields.flag("lto"),
        incremental: fields.flag("incremental"),
        features: fields.text("features")?,
        source: path_from(fields.bytes("source")?),
        out_dir: path_from(fields.bytes("out_dir")?),
        externs: fields.all("extern").map(path_from).collect(),
        retryable: fields.flag("retryable"),
    })
}

pub(crate) fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

#[cfg(unix)]
pub(crate) fn path_from(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
pub(crate) fn path_from(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::LineBuffer;

    fn facts(package: String, source: Vec<u8>, externs: Vec<Vec<u8>>) -> UnitFacts {
        let mut facts = UnitFacts::build_script_run(package, "1.0\t%0".to_owned());
        facts.kind = UnitKind::Lib;
        facts.source = path_from(&source);
        facts.externs = externs.iter().map(|e| path_from(e)).collect();
        facts
    }

    #[test]
    fn every_message_survives_the_wire() {
        for message in [
            ToGovernor::Link { version: 1, unit: UnitId(4), inputs: Bytes::gib(3) },
            ToGovernor::Started { pid: 7 },
            ToGovernor::Announced,
            ToGovernor::Lost { signal: 9 },
            ToGovernor::Finished { ok: true, differs: false },
            ToGovernor::Status,
        ] {
            let line = message.encode();
            assert_eq!(ToGovernor::decode(&line[..line.len() - 1]), Ok(message));
        }
        for message in [
            ToShim::Admit { unit: UnitId(4), again: true, lean: true },
            ToShim::Retry,
            ToShim::Leave,
            ToShim::Refuse { text: "needs 3 GiB,\nhas 2".to_owned() },
            ToShim::Abort,
        ] {
            let line = message.encode();
            assert_eq!(ToShim::decode(&line[..line.len() - 1]), Ok(message));
        }
    }

    #[test]
    fn fields_of_a_newer_peer_are_skipped_and_its_verbs_refused() {
        assert_eq!(
            ToShim::decode(b"admit\tunit=4\tnice=5"),
            Ok(ToShim::Admit { unit: UnitId(4), again: false, lean: false })
        );
        assert!(matches!(ToShim::decode(b"dance"), Err(DecodeError::UnknownVerb(_))));
        assert_eq!(ToShim::decode(b"admit\tunit=x"), Err(DecodeError::BadField("unit")));
    }

    proptest! {
        #[test]
        fn names_and_paths_of_any_bytes_survive(
            package in "\\PC{0,20}",
            source in proptest::collection::vec(1u8.., 0..40),
            externs in proptest::collection::vec(proptest::collection::vec(1u8.., 0..40), 0..5),
            cut in 1usize..64,
        ) {
            let facts = Box::new(facts(package, source, externs));
            let message = ToGovernor::Hello { version: VERSION, facts };
            let mut buffer = LineBuffer::default();
            for piece in message.encode().chunks(cut) {
                buffer.extend(piece).unwrap();
            }
            let line = buffer.next_line().unwrap();
            prop_assert_eq!(ToGovernor::decode(&line), Ok(message));
            prop_assert_eq!(buffer.next_line(), None);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400)
        ) {
            let mut buffer = LineBuffer::default();
            buffer.extend(&bytes).unwrap();
            while let Some(line) = buffer.next_line() {
                let _ = ToGovernor::decode(&line);
                let _ = ToShim::decode(&line);
            }
            let _ = ToGovernor::decode(&bytes);
        }
    }
}
