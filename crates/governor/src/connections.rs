//! Everybody who is connected, and the socket to which they come.
//!
//! What it deliberately does not do: understand what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use plimsoll_core::Millis;
use plimsoll_proto::ToShim;
use rustix::event::{PollFd, PollFlags};

use crate::connection::{ClientConnection, Peer};
use crate::error::GovernorError;

/// Where nobody can be let in, for want of descriptors, that is tried again after so long.
const DEAF: Millis = Millis(100);

/// How many may wait to be let in.
const BACKLOG: i32 = 4096;

/// Who connects says a word at once; whoever does not in this time has none to say.
const SILENT_AT_MOST: Millis = Millis(10_000);

/// Parents of compilers that belong to no build here, of which a person was told: so many are remembered.
const STRAYS_AT_MOST: usize = 64;

/// The socket and its clients.
pub(crate) struct Connections {
    /// `None` once governing has ended: who asks then is not governed.
    listener: Option<UnixListener>,
    /// Nobody is let in before this moment.
    deaf_until: Millis,
    open: BTreeMap<u64, ClientConnection>,
    next: u64,
    /// The parents of compilers that belong to no build here, of which a person was told.
    strays: BTreeSet<u32>,
}

impl Connections {
    /// Listens on the abstract socket `name`.
    pub(crate) fn listen(name: &str) -> Result<Self, GovernorError> {
        let bound = SocketAddr::from_abstract_name(name)
            .and_then(|address| UnixListener::bind_addr(&address))
            .map_err(|source| GovernorError::Listen { name: name.to_owned(), source })?;
        Self::on(bound, name)
    }

    /// Listens on a socket that is bound already; `name` is for errors.
    pub(crate) fn on(listener: UnixListener, name: &str) -> Result<Self, GovernorError> {
        // std listens with a backlog of 128 (4,096 in newer versions): 300 shims may start at once.
        let ready = rustix::net::listen(&listener, BACKLOG).map_err(Into::into);
        ready
            .and_then(|()| listener.set_nonblocking(true))
            .map_err(|source| GovernorError::Listen { name: name.to_owned(), source })?;
        Ok(Self {
            listener: Some(listener),
            deaf_until: Millis::ZERO,
            open: BTreeMap::new(),
            next: 0,
            strays: BTreeSet::new(),
        })
    }

    /// Nobody is let in any more.
    pub(crate) fn stop_listening(&mut self) {
        self.listener = None;
    }

    /// When to try again to let somebody in, where that could not be done.
    pub(crate) fn deaf_until(&self, now: Millis) -> Option<Millis> {
        (now < self.deaf_until).then_some(self.deaf_until)
    }

    /// What to wait for to let somebody in.
    pub(crate) fn listener(&self, now: Millis) -> Option<&UnixListener> {
        self.listener.as_ref().filter(|_| now >= self.deaf_until)
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.open.keys().copied().collect()
    }

    /// What to wait for of each, in the order of [`Self::ids`].
    pub(crate) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.open.values().map(|connection| {
            let wants = match connection.has_unsent() {
                true => PollFlags::IN | PollFlags::OUT,
                false => PollFlags::IN,
            };
            PollFd::new(connection, wants)
        })
    }

    /// Lets in the next of those who wait, if there is one.
    pub(crate) fn accept(&mut self, now: Millis) -> Accepted {
        let Some(listener) = &self.listener else { return Accepted::Nobody };
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Accepted::Nobody;
            }
            Err(_) => {
                // Without a descriptor left, whoever waits is still there later.
                self.deaf_until = now + DEAF;
                return Accepted::Nobody;
            }
        };
        let full = self.open.len() >= connections_at_most();
        let Some(connection) = ClientConnection::accept(stream, now).filter(|_| !full) else {
            return Accepted::Refused;
        };
        let id = self.next;
        self.open.insert(id, connection);
        self.next += 1;
        Accepted::As(id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut ClientConnection> {
        self.open.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<ClientConnection> {
        self.open.remove(&id)
    }

    /// The one that is this peer.
    pub(crate) fn of(&mut self, peer: Peer) -> Option<&mut ClientConnection> {
        self.open.values_mut().find(|connection| connection.peer == peer)
    }

    /// Who is connected.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> {
        self.open.values().map(|connection| connection.peer)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Says something to each of the peers that are meant.
    pub(crate) fn send_to_all(&mut self, message: &ToShim, meant: impl Fn(Peer) -> bool) {
        for connection in self.open.values_mut().filter(|it| meant(it.peer)) {
            connection.send(message);
        }
    }

    /// The client belongs to no build here and goes on without us. A person is told once for each `parent`.
    pub(crate) fn send_away(&mut self, id: u64, parent: u32) {
        let Some(connection) = self.open.get_mut(&id) else { return };
        let say = self.strays.len() < STRAYS_AT_MOST && self.strays.insert(parent);
        connection.peer = Peer::Done;
        connection.send(&ToShim::Ungoverned { say });
    }

    /// Connections that have nothing to say, or do not read what they are told, make room. Gives who they were.
    pub(crate) fn drop_silent(&mut self, now: Millis) -> Vec<Peer> {
        let silent = |peer: Peer| matches!(peer, Peer::Unknown | Peer::Done);
        let is_gone = |it: &ClientConnection| {
            it.is_stuck() || silent(it.peer) && now - it.since >= SILENT_AT_MOST
        };
        let ids: Vec<u64> =
            self.open.iter().filter(|(_, it)| is_gone(it)).map(|(id, _)| *id).collect();
        let mut gone = Vec::new();
        for connection in ids.into_iter().filter_map(|id| self.open.remove(&id)) {
            gone.push(connection.peer);
            let _ = connection.close();
        }
        gone
    }
}

/// What became of somebody who waited to be let in.
pub(crate) enum Accepted {
    /// Nobody waits, or nobody can be let in now.
    Nobody,
    /// There was no room, or it was another user's: it goes on without us.
    Refused,
    /// It is the connection of this number.
    As(u64),
}

/// More connections than this are not a build's: a shim each for 1,000 units, and their linkers. Half of the
/// descriptors that this process may have are for token pipes and what it reads.
fn connections_at_most() -> usize {
    const AT_MOST: u64 = 4096;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    usize::try_from(limit.unwrap_or(AT_MOST) / 2).unwrap_or(0).min(AT_MOST as usize)
}
