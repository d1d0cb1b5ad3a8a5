//! Where an account's governor and its compilers meet: a directory in Plimsoll's home, for its owner only, with
//! one file that says who governs and where that listens.
//!
//! Whoever needs a governor and finds none starts one: `cargo-plimsoll __governor` returns when one listens. A
//! governor of an older program is replaced in the same way: it sees its builds to their end. One that speaks a
//! newer protocol is left alone, and so is its budget.
//!
//! Deliberately not here: what is said on the connection, and what the governor does when it starts.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use plimsoll_proto::{Governing, HOME_VARIABLE, VERSION};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::env;

/// The governor's program, beside the shims.
pub const PROGRAM: &str = "cargo-plimsoll";

/// Its argument that starts one where none governs.
pub const ARGUMENT: &str = "__governor";

/// How long one waits for a place in a governor's queue, and for one that has left somebody without an answer. A queue that
/// is full holds hundreds, and is empty again after milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
const LITTLE: Duration = Duration::from_millis(200);

/// What of its starter's environment a governor needs; everything else (a build's secrets) stays out of it.
const KEPT: [&str; 10] = [
    HOME_VARIABLE,
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
    "HOME",
    "PATH",
    "TMPDIR",
    "LANG",
    "PLIMSOLL_PROCESSORS",
    "PLIMSOLL_MEMORY",
    env::ENABLED,
];

/// The governor that this account's compilers turn to, as far as it has said so.
#[must_use]
pub fn governing(home: &Path) -> Option<Governing> {
    Governing::decode(&fs::read(Governing::file(home)).ok()?).ok()
}

/// When the program was last changed, in nanoseconds since the Unix epoch.
///
/// # Errors
/// Where there is no such file.
pub fn stamp(program: &Path) -> io::Result<i64> {
    let found = fs::metadata(program)?;
    Ok(found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec()))
}

/// Whether the running governor has to make way for `program`: it speaks an older protocol, or that very program was
/// installed anew since it started. Two installations side by side do not drive each other out.
#[must_use]
pub fn is_superseded(governing: &Governing, program: &Path) -> bool {
    let renewed = || {
        governing.program == program && stamp(program).is_ok_and(|stamp| stamp != governing.stamp)
    };
    governing.protocol < VERSION || renewed()
}

/// Connects to the governor at `home` that has said who it is.
///
/// # Errors
/// Where it does not listen (any more), or where the directory or the listener is not this user's alone. `WouldBlock` where
/// it takes nobody in: so many have turned to it that its queue is full.
pub fn connect(home: &Path, governing: &Governing) -> io::Result<UnixStream> {
    connect_to(&Governing::directory(home), &governing.socket)
}

/// Connects to a socket by its path.
///
/// # Errors
/// As [`connect`].
pub fn connect_path(path: &Path) -> io::Result<UnixStream> {
    let name = path.file_name().and_then(|name| name.to_str());
    let (Some(directory), Some(name)) = (path.parent(), name) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    connect_to(directory, name)
}

fn connect_to(directory: &Path, name: &str) -> io::Result<UnixStream> {
    let own = rustix::process::geteuid();
    let stranger = |what: &str| io::Error::new(io::ErrorKind::PermissionDenied, what.to_owned());
    let directory = open_directory(directory)?;
    let found = directory.metadata()?;
    if found.uid() != own.as_raw() || found.mode() & 0o077 != 0 {
        return Err(stranger("the directory of the socket is not this user's alone"));
    }
    // A path may be longer than a socket's address: this one never is.
    let within = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let address = SocketAddrUnix::new(format!("{within}/{name}"))?;
    let pid = pid_of(name).unwrap_or_default();
    let patience = match Governing::unanswered(Path::new(&within), pid).exists() {
        true => LITTLE,
        false => PATIENCE,
    };
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // Of a connection it bounds how long one waits for a place in the queue.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Err(Errno::INTR) => {}
            result => break result?,
        }
    }
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, None)?;
    let stream = UnixStream::from(socket);
    let peer = sockopt::socket_peercred(&stream)?;
    if peer.uid != own {
        return Err(stranger("the socket belongs to another user"));
    }
    Ok(stream)
}

/// Opens a directory so that names can be looked up in it.
///
/// # Errors
/// Where there is no such directory.
pub fn open_directory(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// What came of looking for the account's governor.
#[derive(Debug)]
pub enum Reached {
    /// A connection, and the path of its socket.
    Here(UnixStream, PathBuf),
    /// There is one, this process, which takes nobody in.
    Silent(u32),
    /// None can be had.
    Nobody,
}

/// A connection to the account's governor, which is started where there is none.
#[must_use]
pub fn reach(home: &Path) -> Reached {
    let Ok(program) = std::env::current_exe().map(|own| own.with_file_name(PROGRAM)) else {
        return Reached::Nobody;
    };
    for started in [false, true] {
        if let Some(governing) = governing(home) {
            if governing.protocol > VERSION {
                return Reached::Nobody;
            }
            if started || !is_superseded(&governing, &program) {
                match connect(home, &governing) {
                    Ok(stream) => {
                        let path = Governing::directory(home).join(&governing.socket);
                        return Reached::Here(stream, path);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Reached::Silent(governing.pid);
                    }
                    Err(_) => {}
                }
            }
        }
        if !started && start(&program, home).is_err() {
            return Reached::Nobody;
        }
    }
    Reached::Nobody
}

/// The governor's process, by the name of its socket.
fn pid_of(socket: &str) -> Option<u32> {
    socket.strip_suffix(".sock")?.parse().ok()
}

/// Starts a governor where none governs; returns when one listens, or when it cannot.
fn start(program: &Path, home: &Path) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg(ARGUMENT).env_clear();
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env(HOME_VARIABLE, home);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().map(drop)
}

/// The socket of an account's governor is a path, a driver's own an abstract name.
pub(crate) fn is_path(socket: &OsStr) -> bool {
    socket.as_encoded_bytes().starts_with(b"/")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Who waits for a place there would wait for ever.
    #[test]
    fn a_governor_that_takes_nobody_in_is_silent_and_no_reason_to_start_another() {
        let home = tempfile::tempdir().unwrap();
        let directory = Governing::directory(home.path());
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        let path = directory.join("7.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        fs::create_dir(Governing::unanswered(&directory, 7)).unwrap();
        let mut inside = Vec::new();
        let error = loop {
            match connect_path(&path) {
                Ok(stream) => inside.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(!inside.is_empty());
        let governing = Governing {
            protocol: VERSION,
            version: String::new(),
            program: std::env::current_exe().unwrap().with_file_name(PROGRAM),
            stamp: 0,
            pid: 7,
            socket: "7.sock".to_owned(),
        };
        fs::write(Governing::file(home.path()), governing.encode()).unwrap();
        assert!(matches!(reach(home.path()), Reached::Silent(7)));
        drop(listener);
        assert!(connect_path(&path).is_err_and(|it| it.kind() == io::ErrorKind::ConnectionRefused));
    }
}
