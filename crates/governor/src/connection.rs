//! One client of the socket: a shim, a link shim, or somebody who asks for the state.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use plimsoll_core::UnitId;
use plimsoll_proto::{LineBuffer, ToGovernor, ToShim};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// What a client has turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// It has not said hello yet.
    Unknown,
    /// The shim of a unit.
    Shim(UnitId),
    /// The link shim of a unit.
    Linker(UnitId),
    /// Said what it had to say; only its end is awaited.
    Done,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    buffer: LineBuffer,
    pub(crate) peer: Peer,
    /// The client's process id, in our pid namespace, as the kernel says it.
    pub(crate) pid: u32,
}

/// What reading a connection gave.
pub(crate) struct Received {
    pub(crate) messages: Vec<ToGovernor>,
    /// The peer has closed, or said something that is no message.
    pub(crate) ended: bool,
}

impl Connection {
    /// Takes a fresh stream, where the peer is a process of this user; else `None`.
    pub(crate) fn accept(stream: UnixStream) -> Option<Self> {
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
        if peer.uid != rustix::process::geteuid() {
            return None;
        }
        stream.set_nonblocking(true).ok()?;
        Some(Self {
            stream,
            buffer: LineBuffer::default(),
            peer: Peer::Unknown,
            pid: peer.pid.as_raw_pid().cast_unsigned(),
        })
    }

    /// Reads what is there.
    pub(crate) fn receive(&mut self) -> Received {
        let mut received = Received { messages: Vec::new(), ended: false };
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => received.ended = true,
                Ok(length) => {
                    if self.buffer.extend(&chunk[..length]).is_ok() {
                        if length == chunk.len() {
                            continue;
                        }
                    } else {
                        received.ended = true;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => received.ended = true,
            }
            break;
        }
        while let Some(line) = self.buffer.next_line() {
            match ToGovernor::decode(&line) {
                Ok(message) => received.messages.push(message),
                Err(_) => received.ended = true,
            }
        }
        received
    }

    /// Sends a message. A peer that cannot be reached is dead or about to close: its end is read soon.
    pub(crate) fn send(&mut self, message: &ToShim) {
        let _ = self.stream.write_all(&message.encode());
    }

    /// Sends a message along with descriptors.
    pub(crate) fn send_with(&mut self, message: &ToShim, fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(fds));
        let line = message.encode();
        let _ = rustix::net::sendmsg(
            &self.stream,
            &[IoSlice::new(&line)],
            &mut control,
            SendFlags::NOSIGNAL,
        );
    }

    /// Answers a question with one line; the answer may be longer than a socket's buffer.
    pub(crate) fn answer(&mut self, line: &str) {
        let _ = self.stream.set_nonblocking(false);
        let _ = self.stream.set_write_timeout(Some(std::time::Duration::from_millis(200)));
        let _ = self.stream.write_all(line.as_bytes());
        let _ = self.stream.write_all(b"\n");
        let _ = self.stream.set_nonblocking(true);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
