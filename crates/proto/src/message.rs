//! The messages themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use plimsoll_core::invocation::{Emit, UnitKind};
use plimsoll_core::oversized::{Oversized, Shrink};
use plimsoll_core::schedule::Priority;
use plimsoll_core::settings::Memory;
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
        /// It runs already, as this process: the governor that had admitted it is gone.
        runs: Option<u32>,
        /// The share that its build asks for, where it does.
        priority: Option<Priority>,
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
    /// The client itself becomes what it asked for (a test), by exec: nothing more will be said.
    Becomes,
    /// A driver's command that is not Cargo runs: its process, and the name of its program.
    Command {
        /// The process.
        pid: u32,
        /// The program's file name.
        name: String,
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
    /// A driver has a build governed whose Cargo it has yet to start; two file descriptors come along, the
    /// reading and the writing end of Cargo's pipe.
    Join(Box<Join>),
    /// The driver was told to end the build: what is stopped is to go on, what waits is to leave.
    Interrupt,
    /// What was stopped was continued by a shell (`fg`): stop it again.
    Continued,
    /// Cargo has ended, and so does the build.
    Leave {
        /// Its exit code (128 + n for a signal).
        exit: i32,
        /// All units that Cargo wanted were seen to the end.
        complete: bool,
    },
    /// Asks for the state of all builds: one line of JSON each is the answer, and an empty line.
    Status,
    /// Nothing of this build is to run, or all of it again.
    Pause {
        /// The build's name.
        build: String,
        /// Nothing is to run.
        paused: bool,
    },
    /// This build's share is to be this.
    SetPriority {
        /// The build's name.
        build: String,
        /// Its share.
        priority: Priority,
    },
    /// A newer governor takes over: no new builds, and an end after the last.
    Drain,
    /// Asks for a [`ToShim::Pong`]: whoever has waited for long wants to know whether the governor still runs.
    Ping,
    /// The client goes on without the governor, which has not answered for too long.
    Withdraw,
}

/// What a driver says of its build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The driver's protocol version.
    pub version: u32,
    /// Cargo's subcommand.
    pub command: String,
    /// Units at once, at most.
    pub jobs: u32,
    /// Places on Cargo's pipe.
    pub job_slots: u32,
    /// The build's own budget, where it names one.
    pub memory: Memory,
    /// What may be done with a unit that is above the budget by itself.
    pub oversized: Oversized,
    /// The build goes on after a failure.
    pub keep_going: bool,
    /// Somebody else's program reads what compilers say.
    pub json_messages: bool,
    /// A person waits for it.
    pub interactive: bool,
    /// Its share.
    pub priority: Priority,
    /// The target directory; empty where it is not known.
    pub target_dir: PathBuf,
    /// Its units are admitted stage by stage.
    pub staged: bool,
    /// What single packages need, by the user's word.
    pub notes: BTreeMap<String, Bytes>,
}

/// What the governor says to a driver that has joined it. Header and records are JSON, as in an event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToDriver {
    /// The build is governed: the first line of its log.
    Header(String),
    /// Something happened in it.
    Record(String),
    /// Cargo must run once more.
    Rerun(Rerun),
}

/// Why Cargo must run once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rerun {
    /// A retried unit's metadata differed from what dependents had read.
    Differs,
    /// Somebody has killed a unit's shim, which nobody stands above but Cargo: that took it for the compiler's end.
    ShimLost,
    /// The kernel has killed a build script, or what it had started, for want of memory.
    ScriptLost,
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
        /// How far the child is to go to need less.
        shrink: Shrink,
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
    /// The client belongs to no build that is known here: it goes on without a governor.
    Ungoverned {
        /// A person is to be told, because nobody was told of this client's parent before.
        say: bool,
    },
    /// The answer to a [`ToGovernor::Ping`].
    Pong,
}

impl ToGovernor {
    /// The message as one line, its end included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello { version, facts, runs, priority } => {
                let mut line = LineWriter::new("hello").number("v", *version);
                if let Some(pid) = runs {
                    line = line.number("runs", *pid);
                }
                if let Some(priority) = priority {
                    line = line.text("priority", priority.as_str());
                }
                encode_facts(line, facts)
            }
            Self::Join(join) => encode_join(join),
            Self::Interrupt => LineWriter::new("interrupt"),
            Self::Continued => LineWriter::new("continued"),
            Self::Leave { exit, complete } => {
                LineWriter::new("leave").number("exit", *exit).number("complete", *complete)
            }
            Self::Pause { build, paused } => {
                LineWriter::new("pause").text("build", build).number("on", *paused)
            }
            Self::SetPriority { build, priority } => LineWriter::new("set-priority")
                .text("build", build)
                .text("priority", priority.as_str()),
            Self::Drain => LineWriter::new("drain").number("v", VERSION),
            Self::Ping => LineWriter::new("ping"),
            Self::Withdraw => LineWriter::new("withdraw"),
            Self::Link { version, unit, inputs } => LineWriter::new("link")
                .number("v", *version)
                .number("unit", unit.0)
                .number("inputs", i64::try_from(inputs.0).unwrap_or(i64::MAX)),
            Self::Started { pid } => LineWriter::new("started").number("pid", *pid),
            Self::Becomes => LineWriter::new("becomes"),
            Self::Command { pid, name } => {
                LineWriter::new("command").number("pid", *pid).text("name", name)
            }
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
                runs: fields.number("runs").ok(),
                priority: fields.text("priority").ok().and_then(|word| word.parse().ok()),
            },
            b"join" => Self::Join(Box::new(decode_join(&fields)?)),
            b"interrupt" => Self::Interrupt,
            b"continued" => Self::Continued,
            b"leave" => {
                Self::Leave { exit: fields.number("exit")?, complete: fields.flag("complete") }
            }
            b"pause" => Self::Pause { build: fields.text("build")?, paused: fields.flag("on") },
            b"set-priority" => Self::SetPriority {
                build: fields.text("build")?,
                priority: parsed(&fields, "priority")?,
            },
            b"drain" => Self::Drain,
            b"ping" => Self::Ping,
            b"withdraw" => Self::Withdraw,
            b"link" => Self::Link {
                version: fields.number("v")?,
                unit: UnitId(fields.number("unit")?),
                inputs: Bytes(fields.number("inputs")?),
            },
            b"started" => Self::Started { pid: fields.number("pid")? },
            b"becomes" => Self::Becomes,
            b"command" => Self::Command { pid: fields.number("pid")?, name: fields.text("name")? },
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
            Self::Admit { unit, again, shrink } => LineWriter::new("admit")
                .number("unit", unit.0)
                .number("again", *again)
                .text("shrink", shrink.as_str()),
            Self::Retry => LineWriter::new("retry"),
            Self::Leave => LineWriter::new("leave"),
            Self::Refuse { text } => LineWriter::new("refuse").text("text", text),
            Self::Abort => LineWriter::new("abort"),
            Self::Ungoverned { say } => LineWriter::new("ungoverned").number("say", *say),
            Self::Pong => LineWriter::new("pong"),
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
                shrink: parsed(&fields, "shrink").unwrap_or_default(),
            },
            b"retry" => Self::Retry,
            b"leave" => Self::Leave,
            b"refuse" => Self::Refuse { text: fields.text("text")? },
            b"abort" => Self::Abort,
            b"ungoverned" => Self::Ungoverned { say: fields.flag("say") },
            b"pong" => Self::Pong,
            verb => return Err(unknown(verb)),
        })
    }
}

impl ToDriver {
    /// The message as one line, its end included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Header(json) => LineWriter::new("header").text("json", json),
            Self::Record(json) => LineWriter::new("record").text("json", json),
            Self::Rerun(Rerun::Differs) => LineWriter::new("differs"),
            Self::Rerun(Rerun::ShimLost) => LineWriter::new("shim-lost"),
            Self::Rerun(Rerun::ScriptLost) => LineWriter::new("script-lost"),
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
            b"header" => Self::Header(fields.text("json")?),
            b"record" => Self::Record(fields.text("json")?),
            b"differs" => Self::Rerun(Rerun::Differs),
            b"shim-lost" => Self::Rerun(Rerun::ShimLost),
            b"script-lost" => Self::Rerun(Rerun::ScriptLost),
            verb => return Err(unknown(verb)),
        })
    }
}

/// A field that is read as people write it.
fn parsed<T: FromStr>(fields: &Fields<'_>, name: &'static str) -> Result<T, DecodeError> {
    fields.text(name)?.parse().map_err(|_| DecodeError::BadField(name))
}

fn encode_join(join: &Join) -> LineWriter {
    LineWriter::new("join")
        .number("v", join.version)
        .text("command", &join.command)
        .number("jobs", join.jobs)
        .number("places", join.job_slots)
        .text("memory", &exact(join.memory))
        .text("oversized", join.oversized.as_str())
        .number("keep_going", join.keep_going)
        .number("json", join.json_messages)
        .number("interactive", join.interactive)
        .text("priority", join.priority.as_str())
        .bytes("target", path_bytes(&join.target_dir))
        .number("staged", join.staged)
        .text("notes", &encode_notes(&join.notes))
}

/// Package names have neither spaces nor `=`.
fn encode_notes(notes: &BTreeMap<String, Bytes>) -> String {
    let words: Vec<String> =
        notes.iter().map(|(name, memory)| format!("{name}={}", memory.0)).collect();
    words.join(" ")
}

/// What cannot be read counts for nothing: a note is a help, no promise.
fn decode_notes(text: &str) -> BTreeMap<String, Bytes> {
    let word = |word: &str| {
        let (name, memory) = word.split_once('=')?;
        Some((name.to_owned(), Bytes(memory.parse().ok()?)))
    };
    text.split(' ').filter_map(word).collect()
}

fn decode_join(fields: &Fields<'_>) -> Result<Join, DecodeError> {
    Ok(Join {
        version: fields.number("v")?,
        command: fields.text("command")?,
        jobs: fields.number("jobs")?,
        job_slots: fields.number("places")?,
        memory: parsed(fields, "memory")?,
        oversized: parsed(fields, "oversized").unwrap_or_default(),
        keep_going: fields.flag("keep_going"),
        json_messages: fields.flag("json"),
        interactive: fields.flag("interactive"),
        priority: parsed(fields, "priority")?,
        target_dir: path_from(fields.bytes("target")?),
        staged: fields.flag("staged"),
        notes: fields.text("notes").map(|notes| decode_notes(&notes)).unwrap_or_default(),
    })
}

/// A budget as it is named, to the byte: what is shown to people is rounded.
#[must_use]
pub fn exact(memory: Memory) -> String {
    match memory {
        Memory::Size(bytes) => bytes.0.to_string(),
        other => other.to_string(),
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
        .text("stem", &facts.unit_name)
        .text("target", &facts.target)
        .text("opt", &facts.opt_level)
        .number("debuginfo", facts.debuginfo)
        .number("cgus", facts.codegen_units)
        .number("threads", facts.threads)
        .number("lto", facts.lto)
        .number("incremental", facts.incremental)
        .text("features", &facts.features)
        .bytes("source", path_bytes(&facts.source))
        .bytes("out_dir", path_bytes(&facts.out_dir))
        .number("retryable", facts.retryable)
        .text("slimmer", &facts.slimmer)
        .text("target-kind", &facts.target_kind);
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
        unit_name: fields.text("stem")?,
        target: fields.text("target")?,
        opt_level: fields.text("opt")?,
        debuginfo: fields.number("debuginfo")?,
        codegen_units: fields.number("cgus")?,
        threads: fields.number("threads").unwrap_or(1),
        lto: fields.flag("lto"),
        incremental: fields.flag("incremental"),
        features: fields.text("features")?,
        source: path_from(fields.bytes("source")?),
        out_dir: path_from(fields.bytes("out_dir")?),
        externs: fields.all("extern").map(path_from).collect(),
        retryable: fields.flag("retryable"),
        slimmer: fields.text("slimmer").unwrap_or_default(),
        target_kind: fields.text("target-kind").unwrap_or_default(),
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
        facts.target_kind = "example".to_owned();
        facts.source = path_from(&source);
        facts.externs = externs.iter().map(|e| path_from(e)).collect();
        facts
    }

    /// One of each that a governor is told.
    fn to_governor() -> Vec<ToGovernor> {
        vec![
            ToGovernor::Link { version: 1, unit: UnitId(4), inputs: Bytes::gib(3) },
            ToGovernor::Started { pid: 7 },
            ToGovernor::Announced,
            ToGovernor::Becomes,
            ToGovernor::Command { pid: 9, name: "make".to_owned() },
            ToGovernor::Lost { signal: 9 },
            ToGovernor::Finished { ok: true, differs: false },
            ToGovernor::Status,
            ToGovernor::Join(Box::new(Join {
                version: VERSION,
                command: "build".to_owned(),
                jobs: 4,
                job_slots: 3,
                memory: Memory::Size(Bytes((1 << 30) + 1)),
                oversized: Oversized::ShrinkOutput,
                keep_going: false,
                json_messages: true,
                interactive: false,
                priority: Priority::Low,
                target_dir: PathBuf::from("/t/\u{e4} b"),
                staged: true,
                notes: BTreeMap::from([
                    ("a-b".to_owned(), Bytes::mib(9)),
                    ("c".to_owned(), Bytes::gib(1)),
                ]),
            })),
            ToGovernor::Interrupt,
            ToGovernor::Continued,
            ToGovernor::Leave { exit: 101, complete: false },
            ToGovernor::Pause { build: "1-2".to_owned(), paused: true },
            ToGovernor::SetPriority { build: "1-2".to_owned(), priority: Priority::High },
            ToGovernor::Drain,
            ToGovernor::Ping,
            ToGovernor::Withdraw,
        ]
    }

    #[test]
    fn every_message_survives_the_wire() {
        for message in to_governor() {
            let line = message.encode();
            assert_eq!(ToGovernor::decode(&line[..line.len() - 1]), Ok(message));
        }
        for message in [
            ToDriver::Header("{\"a\":\"\t%\"}".to_owned()),
            ToDriver::Record("{}".to_owned()),
            ToDriver::Rerun(Rerun::Differs),
            ToDriver::Rerun(Rerun::ShimLost),
            ToDriver::Rerun(Rerun::ScriptLost),
        ] {
            let line = message.encode();
            assert_eq!(ToDriver::decode(&line[..line.len() - 1]), Ok(message));
        }
        for message in [
            ToShim::Admit { unit: UnitId(4), again: true, shrink: Shrink::OtherOutput },
            ToShim::Retry,
            ToShim::Leave,
            ToShim::Refuse { text: "needs 3 GiB,\nhas 2".to_owned() },
            ToShim::Abort,
            ToShim::Ungoverned { say: true },
            ToShim::Pong,
        ] {
            let line = message.encode();
            assert_eq!(ToShim::decode(&line[..line.len() - 1]), Ok(message));
        }
    }

    #[test]
    fn fields_of_a_newer_peer_are_skipped_and_its_verbs_refused() {
        assert_eq!(
            ToShim::decode(b"admit\tunit=4\tnice=5"),
            Ok(ToShim::Admit { unit: UnitId(4), again: false, shrink: Shrink::No })
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
            let runs = (cut % 2 == 0).then_some(cut as u32);
            let priority = (cut % 3 == 0).then_some(Priority::High);
            let message = ToGovernor::Hello { version: VERSION, facts, runs, priority };
            let mut buffer = LineBuffer::default();
            for piece in message.encode().chunks(cut) {
                buffer.extend(piece).unwrap();
            }
            let line = buffer.next_line().unwrap();
            prop_assert_eq!(ToGovernor::decode(&line), Ok(message));
            prop_assert_eq!(buffer.next_line(), None);
        }

        #[test]
        fn what_is_nearly_a_message_is_refused_or_means_what_it_says(
            which in any::<proptest::sample::Index>(),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3), 1..6),
        ) {
            let messages = to_governor();
            let mut line = messages[which.index(messages.len())].encode();
            line.pop();
            for (at, byte, change) in changes {
                let at = at.index(line.len() + 1);
                match change {
                    0 if at < line.len() => line[at] = byte,
                    1 if at < line.len() => _ = line.remove(at),
                    _ => line.insert(at, byte),
                }
            }
            if let Ok(message) = ToGovernor::decode(&line) {
                let again = message.encode();
                prop_assert_eq!(ToGovernor::decode(&again[..again.len() - 1]), Ok(message));
            }
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
                let _ = ToDriver::decode(&line);
            }
            let _ = ToGovernor::decode(&bytes);
        }
    }
}
