//! The way to a governor: a driver's own, or the account's, which is started where there is none.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use plimsoll_proto::Governing;

use crate::connection::GovernorConnection;
use crate::discovery::{self, Reached};
use crate::silence::Silence;
use crate::{chained, env, orphan};

/// To whom this unit turns.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    /// Below a driver that hosts its own governor: the abstract socket that it names.
    Driver(OsString),
    /// Below a driver that has joined the account's governor: the socket of that one, and Plimsoll's home, where
    /// the next one is found.
    Joined(OsString, PathBuf),
    /// Below a plain Cargo: the account's governor, by Plimsoll's home.
    Account(PathBuf),
}

impl Transport {
    /// `None` where nobody governs: Plimsoll is not enabled, and no driver is above.
    pub(crate) fn find() -> Option<Self> {
        match std::env::var_os(env::SOCKET) {
            Some(socket) if socket.is_empty() => None,
            Some(socket) if discovery::is_path(&socket) => {
                let home = Path::new(&socket).ancestors().nth(2).map(Path::to_owned);
                home.map(|home| Self::Joined(socket, home))
            }
            Some(socket) => Some(Self::Driver(socket)),
            None => chained::home().map(Self::Account),
        }
    }

    /// A connection, and the socket's name for a link shim.
    pub(crate) fn open(&self) -> Option<(GovernorConnection, OsString)> {
        match self {
            Self::Driver(socket) => Some((GovernorConnection::open(socket)?, socket.clone())),
            Self::Joined(socket, home) => match GovernorConnection::open(socket) {
                Some(connection) => Some((connection, socket.clone())),
                None => Self::Account(home.clone()).open(),
            },
            Self::Account(home) => {
                let (stream, path) = match discovery::reach(home) {
                    Reached::Here(stream, path) => (stream, path),
                    Reached::Silent(pid) => {
                        let silence = Silence::named(&Governing::directory(home), pid);
                        orphan::say(silence.begins().as_deref());
                        return None;
                    }
                    Reached::Nobody => return None,
                };
                Some((GovernorConnection::over(stream, &path), path.into_os_string()))
            }
        }
    }

    /// The directory of links that are named as linkers.
    pub(crate) fn link_dir(&self) -> Option<OsString> {
        let told = std::env::var_os(env::LINK_DIR).filter(|dir| !dir.is_empty());
        match self {
            Self::Driver(_) | Self::Joined(..) => told,
            Self::Account(home) => Some(home.join("link").into_os_string()),
        }
    }

    /// Whether another governor may follow one that is gone.
    pub(crate) fn leads_to_another(&self) -> bool {
        !matches!(self, Self::Driver(_))
    }
}
