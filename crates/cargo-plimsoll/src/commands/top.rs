//! `cargo plimsoll top --once [--json]`: what this user's running builds do now.
//!
//! Every driver listens on an abstract socket `plimsoll-<uid>-<build>-<random>`, which the kernel
//! lists in `/proc/net/unix`. Each is asked for its state; one that does not answer in time, or that
//! belongs to somebody else, is left out. The governor answers with one line of JSON.

use crate::exit::Failure;
use crate::shell::Shell;

/// Prints the state of every running build.
///
/// # Errors
/// Where no build runs, or stdout cannot be written.
#[cfg(target_os = "linux")]
pub fn run(json: bool, shell: &mut Shell) -> Result<(), Failure> {
    use anyhow::Context as _;

    let uid = rustix::process::getuid().as_raw();
    let table = std::fs::read("/proc/net/unix").context("cannot read `/proc/net/unix`")?;
    let answers: Vec<String> =
        sockets(&table, uid).iter().filter_map(|name| ask(name, uid).ok()).collect();
    if answers.is_empty() {
        return Err(Failure::NothingRuns);
    }
    for answer in answers {
        if json {
            shell.answer(answer).context(crate::exit::OUT)?;
        } else {
            let state: serde_json::Value =
                serde_json::from_str(&answer).context("a build's answer cannot be read")?;
            shell.answer(text(&state)).context(crate::exit::OUT)?;
        }
    }
    Ok(())
}

/// Prints the state of every running build.
///
/// # Errors
/// Always: nothing is governed here.
#[cfg(not(target_os = "linux"))]
pub fn run(_json: bool, _shell: &mut Shell) -> Result<(), Failure> {
    Err(Failure::NeedsLinux("top"))
}

/// Names of the abstract sockets on which builds of `uid` listen, the oldest build first.
#[cfg(target_os = "linux")]
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

/// The state (`plimsoll_view::top_json`) as a person reads it. What an older or newer governor does not
/// say is left blank.
#[cfg(target_os = "linux")]
fn text(state: &serde_json::Value) -> String {
    use plimsoll_core::{Bytes, Millis};
    use serde_json::Value;

    use super::table::{self, Align};

    let number = |of: &Value, name: &str| of.get(name).and_then(Value::as_u64).unwrap_or_default();
    let word = |of: &Value, name: &str| {
        of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let bytes = |of: &Value, name: &str| Bytes(number(of, name)).to_string();
    let mut text = format!(
        "cargo {}: {} of {}, {} jobs, {}: {} running, {} waiting, {} stopped\n",
        word(state, "command"),
        bytes(state, "used_bytes"),
        bytes(state, "line_bytes"),
        number(state, "jobs"),
        Millis(number(state, "elapsed_ms")),
        number(state, "running"),
        number(state, "waiting"),
        number(state, "stopped"),
    );
    let units = state.get("units").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if units.is_empty() {
        return text;
    }
    let rows: Vec<_> = units
        .iter()
        .map(|unit| {
            [
                bytes(unit, "memory_bytes"),
                bytes(unit, "forecast_bytes"),
                word(unit, "forecast_from"),
                Millis(number(unit, "elapsed_ms")).to_string(),
                word(unit, "status"),
                word(unit, "title"),
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
    text.push_str(&table::render(columns, &rows));
    text
}

#[cfg(target_os = "linux")]
fn ask(name: &[u8], uid: u32) -> std::io::Result<String> {
    use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Write as _};
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixStream};
    use std::time::Duration;

    use plimsoll_proto::ToGovernor;

    /// The governor answers within one turn of its loop; one that takes longer is stopped.
    const PATIENCE: Duration = Duration::from_secs(2);
    /// A state with 10,000 units; a peer that sends more is not one of ours.
    const LONGEST: u64 = 8 << 20;

    let mut stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    // Names of abstract sockets are free for all: only our own user is believed.
    if rustix::net::sockopt::socket_peercred(&stream)?.uid.as_raw() != uid {
        return Err(ErrorKind::PermissionDenied.into());
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&ToGovernor::Status.encode())?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
    if line.ends_with('\n') { Ok(line) } else { Err(Error::from(ErrorKind::UnexpectedEof)) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};

    use plimsoll_proto::ToGovernor;

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
                {"unit": 2, "title": "regalloc2 0.12", "status": "waiting"},
            ],
        });
        let expected = "\
cargo build: 812 MiB of 1.56 GiB, 2 jobs, 12.4 s: 1 running, 1 waiting, 0 stopped
 memory  forecast  from       for  status   unit
700 MiB  1.27 GiB  history  9.0 s  running  cranelift-codegen 0.120
  0 KiB     0 KiB            0 ms  waiting  regalloc2 0.12
";
        assert_eq!(text(&state), expected);
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
            stream.write_all(b"{\"jobs\":2}\n").unwrap();
        });
        let table = std::fs::read("/proc/net/unix").unwrap();
        let found = sockets(&table, uid);
        assert!(found.contains(&name.clone().into_bytes()), "{name}");
        assert_eq!(ask(name.as_bytes(), uid).unwrap(), "{\"jobs\":2}\n");
        governor.join().unwrap();
        assert!(ask(name.as_bytes(), uid).is_err(), "nobody listens any more");
    }
}
