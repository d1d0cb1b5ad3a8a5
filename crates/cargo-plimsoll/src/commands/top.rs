//! `cargo plimsoll top [--once] [--json]`: what this user's running builds do now.
//!
//! A driver with a line of its own listens on an abstract socket `plimsoll-<uid>-<build>-<random>`, which the kernel
//! lists in `/proc/net/unix`; the account's governor says in Plimsoll's home where it listens. Each is asked for its
//! state; one that does not answer in time, or that belongs to somebody else, is left out. A governor answers with
//! one line of JSON a build, and an empty one.

mod live;

use std::io::{BufRead as _, BufReader, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use plimsoll_core::{Bytes, Millis};
use plimsoll_proto::ToGovernor;
use plimsoll_shim::rendezvous;
use plimsoll_view::Told;
use plimsoll_view::{Align, table};

use crate::env::Environment;
use crate::exit::{Failure, OUT};
use crate::shell::Shell;

/// How it is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Live where there is a terminal, else once.
    Live,
    /// Once, as text.
    Once,
    /// Once, as one line of JSON a build.
    Json,
}

/// Shows the state of every running build.
///
/// # Errors
/// Where no build runs and it is to be shown once, or where it cannot be shown.
pub fn run(
    form: Form,
    home: Option<&Path>,
    environment: &Environment,
    shell: &mut Shell,
) -> Result<(), Failure> {
    let dumb = environment.get("TERM").is_none_or(|term| term == "dumb");
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !dumb;
    if form == Form::Live && terminal {
        return Ok(live::run(home)?);
    }
    let answers = answers(home, PATIENCE).context("cannot read `/proc/net/unix`")?;
    if let Some(pid) = home.and_then(silent_governor) {
        shell.warn(format_args!(
            "the account's governor (process {pid}) does not answer: its builds are not shown, and go on without a memory \
             limit (`kill -CONT {pid}` continues it if it was stopped)"
        ));
    }
    if answers.is_empty() {
        return Err(Failure::NothingRuns);
    }
    for (answer, _) in answers {
        if form == Form::Json {
            shell.answer(answer + "\n").context(OUT)?;
        } else {
            let told = serde_json::from_str(&answer).context("a build's answer cannot be read")?;
            shell.answer(text(&told)).context(OUT)?;
        }
    }
    Ok(())
}

/// A governor answers within one turn of its loop; one that takes longer is stopped.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a governor listens.
#[derive(Clone, Debug)]
enum Governor {
    /// A driver's own: an abstract socket.
    Driver(Vec<u8>),
    /// The account's, by Plimsoll's home.
    Account(PathBuf),
}

/// What the running builds say now, as far as they answer in time and can be understood, and who governs each.
fn builds(home: Option<&Path>, patience: Duration) -> Vec<(Told, Governor)> {
    let answers = answers(home, patience).unwrap_or_default().into_iter();
    answers.filter_map(|(json, from)| Some((serde_json::from_str(&json).ok()?, from))).collect()
}

/// What the builds of the account's governor say now.
///
/// # Errors
/// Where none runs, or it does not answer.
pub(super) fn account_builds(home: &Path) -> std::io::Result<Vec<Told>> {
    let lines = Governor::Account(home.to_owned()).ask(&ToGovernor::Status, PATIENCE)?;
    Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// The account's governor, where it listens and says nothing: it was stopped, or hangs.
#[cfg(target_os = "linux")]
pub(super) fn silent_governor(home: &Path) -> Option<u32> {
    let governing = rendezvous::governing(home)?;
    let silent = account_builds(home).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    silent.then_some(governing.pid)
}

/// One line of JSON of each running build, and who governs it.
fn answers(home: Option<&Path>, patience: Duration) -> std::io::Result<Vec<(String, Governor)>> {
    let uid = rustix::process::getuid().as_raw();
    let table = std::fs::read("/proc/net/unix")?;
    let drivers = sockets(&table, uid).into_iter().map(Governor::Driver);
    let governors = drivers.chain(home.map(|home| Governor::Account(home.to_owned())));
    let ask = |governor: Governor| {
        let lines = governor.ask(&ToGovernor::Status, patience).unwrap_or_default();
        lines.into_iter().map(move |line| (line, governor.clone()))
    };
    Ok(governors.flat_map(ask).collect())
}

impl Governor {
    fn connect(&self) -> std::io::Result<UnixStream> {
        match self {
            Self::Driver(name) => {
                let address = SocketAddr::from_abstract_name(name)?;
                let stream = UnixStream::connect_addr(&address)?;
                // Names of abstract sockets are free for all: only our own user is believed.
                let peer = rustix::net::sockopt::socket_peercred(&stream)?;
                match peer.uid == rustix::process::getuid() {
                    true => Ok(stream),
                    false => Err(ErrorKind::PermissionDenied.into()),
                }
            }
            Self::Account(home) => {
                let governing = rendezvous::governing(home).ok_or(ErrorKind::NotFound)?;
                rendezvous::connect(home, &governing)
            }
        }
    }

    /// Says one thing and reads the answer's lines, up to the empty one.
    fn ask(&self, what: &ToGovernor, patience: Duration) -> std::io::Result<Vec<String>> {
        /// States with 10,000 units; a peer that sends more is not one of ours.
        const LONGEST: u64 = 8 << 20;

        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.write_all(&what.encode())?;
        let lines = BufReader::new(stream.take(LONGEST)).lines();
        lines.take_while(|line| line.as_ref().map_or(true, |line| !line.is_empty())).collect()
    }
}

/// Names of the abstract sockets on which builds of `uid` listen, the oldest build first.
fn sockets(table: &[u8], uid: u32) -> Vec<Vec<u8>> {
    /// `__SO_ACCEPTCON` in the column `Flags`: it listens (net/unix/af_unix.c).
    const LISTENS: &[u8] = b"00010000";
    let prefix = format!("@plimsoll-{uid}-").into_bytes();
    let mut names: Vec<Vec<u8>> = table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            // Num: RefCount Protocol Flags Type St Inode Path
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let flags = words.nth(3)?;
            let path = words.nth(3)?;
            (flags == LISTENS && path.starts_with(&prefix)).then(|| path[1..].to_vec())
        })
        .collect();
    names.sort();
    names
}

/// The state as a person reads it. What an older or newer governor does not say is left blank.
fn text(told: &Told) -> String {
    let mut text = format!(
        "cargo {}: {} of {}, {} jobs, {}: {} running, {} waiting, {} stopped\n",
        told.command,
        Bytes(told.used_bytes),
        Bytes(told.line_bytes),
        told.jobs,
        Millis(told.elapsed_ms),
        told.running,
        told.waiting,
        told.stopped,
    );
    if told.units.is_empty() {
        return text;
    }
    let rows: Vec<_> = told
        .units
        .iter()
        .map(|unit| {
            [
                Bytes(unit.memory_bytes).to_string(),
                Bytes(unit.forecast_bytes).to_string(),
                unit.forecast_from.clone(),
                Millis(unit.elapsed_ms).to_string(),
                unit.state(),
                unit.title.clone(),
            ]
        })
        .collect();
    let columns = [
        ("memory", Align::Right),
        ("forecast", Align::Right),
        ("from", Align::Left),
        ("for", Align::Right),
        ("status", Align::Left),
        ("unit", Align::Left),
    ];
    text.push_str(&table(columns, &rows));
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_sockets_that_listen_for_this_user_are_builds() {
        let table = b"\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 85218 @plimsoll-1000-2-7-b
0000000000000000: 00000003 00000000 00000000 0001 03 85219 @plimsoll-1000-2-7-b
0000000000000000: 00000002 00000000 00010000 0001 01 85220 @plimsoll-1000-1-9-a
0000000000000000: 00000002 00000000 00010000 0001 01 85221 @plimsoll-10001-1-9-a
0000000000000000: 00000002 00000000 00010000 0001 01 85222 /run/plimsoll-1000-1-9-a
0000000000000000: 00000002 00000000 00000000 0002 01 85223
";
        assert_eq!(sockets(table, 1000), [b"plimsoll-1000-1-9-a", b"plimsoll-1000-2-7-b"]);
    }

    #[test]
    fn an_answer_is_a_table_for_a_person() {
        let state = serde_json::json!({
            "plimsoll_top": 1, "build": "2-7", "command": "build", "elapsed_ms": 12_400,
            "line_bytes": 1600u64 << 20, "used_bytes": 812 << 20, "jobs": 2,
            "running": 1, "waiting": 1, "stopped": 0,
            "units": [
                {"unit": 1, "title": "cranelift-codegen 0.120", "status": "running",
                 "memory_bytes": 700 << 20, "forecast_bytes": 1300u64 << 20,
                 "forecast_from": "history", "elapsed_ms": 9000},
                {"unit": 2, "title": "regalloc2 0.12", "status": "waiting", "why": "near the line"},
            ],
        });
        let expected = "\
cargo build: 812 MiB of 1.56 GiB, 2 jobs, 12.4 s: 1 running, 1 waiting, 0 stopped
 memory  forecast  from       for  status                  unit
700 MiB  1.27 GiB  history  9.0 s  running                 cranelift-codegen 0.120
  0 KiB     0 KiB            0 ms  waiting: near the line  regalloc2 0.12
";
        assert_eq!(text(&serde_json::from_value(state).unwrap()), expected);
    }

    #[test]
    fn a_build_that_listens_is_found_and_asked() {
        let uid = rustix::process::getuid().as_raw();
        let name = format!("plimsoll-{uid}-0000000000000-{}-test", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let governor = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = Vec::new();
            BufReader::new(stream.try_clone().unwrap()).read_until(b'\n', &mut line).unwrap();
            assert_eq!(ToGovernor::decode(line.trim_ascii_end()), Ok(ToGovernor::Status));
            stream.write_all(b"{\"jobs\":2}\n{\"jobs\":3}\n\n").unwrap();
            line.clear();
            stream.read_to_end(&mut line).unwrap();
        });
        let table = std::fs::read("/proc/net/unix").unwrap();
        let found = sockets(&table, uid);
        assert!(found.contains(&name.clone().into_bytes()), "{name}");
        let driver = Governor::Driver(name.into_bytes());
        let answer = driver.ask(&ToGovernor::Status, PATIENCE).unwrap();
        assert_eq!(answer, ["{\"jobs\":2}", "{\"jobs\":3}"]);
        governor.join().unwrap();
        assert!(driver.ask(&ToGovernor::Status, PATIENCE).is_err(), "nobody listens any more");
    }
}
