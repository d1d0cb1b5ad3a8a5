//! Where an account's governor and its compilers meet: a directory in Plimsoll's home, for its owner only, with
//! one file that says who governs and where that listens.
//!
//! Whoever needs a governor and finds none starts one: `cargo-plimsoll __governor` returns when one listens. A
//! governor of an older program is replaced in the same way: it sees its builds to their end. One that speaks a
//! newer protocol is left alone, and so is its line.
//!
//! Deliberately not here: what is said on the connection, and what the governor does when it starts.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plimsoll_proto::{Governing, HOME_VARIABLE, VERSION};

use crate::env;

/// The governor's program, beside the shims.
pub const PROGRAM: &str = "cargo-plimsoll";

/// Its argument that starts one where none governs.
pub const ARGUMENT: &str = "__governor";

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
/// Where it does not listen (any more), or where the directory or the listener is not this user's alone.
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
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    let stream = loop {
        match UnixStream::connect(&path) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    if peer.uid != own {
        return Err(stranger("the socket is another user's"));
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

/// A connection to the account's governor, which is started where there is none. Also gives the path of its socket.
/// `None` where none can be had: then there is no line.
#[must_use]
pub fn reach(home: &Path) -> Option<(UnixStream, PathBuf)> {
    let program = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    for started in [false, true] {
        if let Some(governing) = governing(home) {
            if governing.protocol > VERSION {
                return None;
            }
            let stays = started || !is_superseded(&governing, &program);
            if stays && let Ok(stream) = connect(home, &governing) {
                let path = Governing::directory(home).join(&governing.socket);
                return Some((stream, path));
            }
        }
        if !started {
            start(&program, home).ok()?;
        }
    }
    None
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
