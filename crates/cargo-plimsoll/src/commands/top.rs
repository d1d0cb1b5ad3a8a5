//! `cargo plimsoll top [--once] [--json]`: what this user's running builds do now.
//!
//! A driver with its own budget listens on an abstract socket `plimsoll-<uid>-<build>-<random>`, which the kernel
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
use plimsoll_shim::discovery;
use plimsoll_view::{Align, Silent, Snapshot, table};

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
    let Look { answers, silent } = look(home, PATIENCE).context("cannot read `/proc/net/unix`")?;
    for governor in &silent {
        shell.warn(governor.text());
    }
    if answers.is_empty() {
        return Err(match silent.is_empty() {
            true => Failure::NothingRuns,
            false => Failure::NothingAnswers,
        });
    }
    for (answer, _) in answers {
        if form == Form::Json {
            shell.answer(answer + "\n").context(OUT)?;
        } else {
            let snapshot = serde_json::from_str(&answer).context("cannot read a build's answer")?;
            shell.answer(text(&snapshot)).context(OUT)?;
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

/// What all governors said when they were asked.
#[derive(Debug, Default)]
struct Look {
    /// One line of JSON of each running build, and who governs it.
    answers: Vec<(String, Governor)>,
    /// Who was asked and said nothing.
    silent: Vec<Silent>,
}

/// What the builds of the account's governor say now.
///
/// # Errors
/// Where none runs, or it does not answer.
pub(super) fn account_builds(home: &Path) -> std::io::Result<Vec<Snapshot>> {
    let lines = Governor::Account(home.to_owned()).ask(&ToGovernor::Status, PATIENCE)?;
    Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Asks every governor of this user's how its builds are.
fn look(home: Option<&Path>, patience: Duration) -> std::io::Result<Look> {
    let uid = rustix::process::getuid().as_raw();
    let table = std::fs::read("/proc/net/unix")?;
    let drivers = sockets(&table, uid).into_iter().map(Governor::Driver);
    let governors = drivers.chain(home.map(|home| Governor::Account(home.to_owned())));
    let mut look = Look::default();
    for governor in governors {
        let pid = governor.process();
        // Nobody waits for a process that is stopped.
        let stopped = pid.is_some_and(is_stopped);
        let answer = match stopped {
            true => Err(ErrorKind::WouldBlock.into()),
            false => governor.ask(&ToGovernor::Status, patience),
        };
        match (answer, pid) {
            (Ok(lines), _) => {
                look.answers.extend(lines.into_iter().map(|line| (line, governor.clone())));
            }
            (Err(error), Some(pid)) if error.kind() == ErrorKind::WouldBlock => {
                let directory = governor.directory(pid);
                look.silent.push(Silent { pid, directory, stopped });
            }
            // It has ended meanwhile, or is somebody else's.
            (Err(_), _) => {}
        }
    }
    Ok(look)
}

/// A signal has stopped the process, or its terminal has: fields 2 and 3 of its `stat` (proc(5)).
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['T', 't']))
}

impl Governor {
    /// Its process.
    fn process(&self) -> Option<u32> {
        match self {
            // `plimsoll-<uid>-<start>-<pid>-<noise>`.
            Self::Driver(name) => std::str::from_utf8(name).ok()?.split('-').nth(3)?.parse().ok(),
            Self::Account(home) => discovery::governing(home).map(|governing| governing.pid),
        }
    }

    /// Where it runs, where it governs nothing but the build that it has started.
    fn directory(&self, pid: u32) -> Option<String> {
        let Self::Driver(_) = self else { return None };
        let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        Some(directory.to_string_lossy().into_owned())
    }

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
                let governing = discovery::governing(home).ok_or(ErrorKind::NotFound)?;
                discovery::connect(home, &governing)
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

/// Nothing for nothing: a unit that waits holds none.
fn amount(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { Bytes(bytes).to_string() }
}

/// The state as a person reads it. What an older or newer governor does not say is left blank.
fn text(snapshot: &Snapshot) -> String {
    let mut text = format!(
        "cargo {}{}: {}, {}, {}: {}\n",
        snapshot.command,
        match snapshot.workspace.as_str() {
            "" => String::new(),
            path => format!(" in {path}"),
        },
        snapshot.memory(),
        snapshot.allowed_jobs(),
        Millis(snapshot.elapsed_ms),
        snapshot.doing(),
    );
    if snapshot.units.is_empty() {
        return text;
    }
    let rows: Vec<_> = snapshot
        .units
        .iter()
        .map(|unit| {
            [
                amount(unit.memory_bytes),
                amount(unit.forecast_bytes),
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
        ("time", Align::Right),
        ("state", Align::Left),
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
            "plimsoll_top": 1, "build": "2-7", "command": "build", "workspace": "/home/a/shop", "elapsed_ms": 12_400,
            "budget_bytes": 1600u64 << 20, "used_bytes": 812 << 20, "jobs": 2,
            "running_units": 1, "waiting_units": 1, "paused_units": 0,
            "units": [
                {"unit": 1, "title": "cranelift-codegen 0.120", "status": "running",
                 "memory_bytes": 700 << 20, "forecast_bytes": 1300u64 << 20,
                 "forecast_from": "history", "elapsed_ms": 9000},
                {"unit": 2, "title": "regalloc2 0.12", "status": "waiting", "why": "budget full"},
            ],
        });
        let expected = "\
cargo build in /home/a/shop: 0.79 of 1.56 GiB, 2 jobs, 12.40s: 1 running, 1 waiting
 memory  forecast  from      time  state                 unit
700 MiB  1.27 GiB  history  9.00s  running               cranelift-codegen 0.120
                            0.00s  waiting: budget full  regalloc2 0.12
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
