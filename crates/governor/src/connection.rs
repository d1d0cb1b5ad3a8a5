//! One client of the socket: a shim, a link shim, a driver that has joined, or somebody who asks or says one thing.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use plimsoll_core::{BuildNo, Millis, UnitId};
use plimsoll_proto::{LineBuffer, ToGovernor, ToShim};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// What a client has turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// It has not said hello yet.
    Unknown,
    /// The shim of a unit.
    Shim(UnitId),
    /// The link shim of a unit.
    Linker(UnitId),
    /// The driver of a build.
    Driver(BuildNo),
    /// Said what it had to say; only its end is awaited.
    Done,
}

/// What a driver that does not read is kept for it at most: records of a large build's hour. More, and it is
/// taken for dead.
const UNSENT_AT_MOST: usize = 16 << 20;

/// Descriptors that may come along with one message.
const DESCRIPTORS: usize = 2;

/// A connection.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    stream: UnixStream,
    buffer: LineBuffer,
    /// What the peer has yet to take.
    unsent: Vec<u8>,
    /// That is all.
    ends: bool,
    descriptors: Vec<OwnedFd>,
    pub(crate) peer: Peer,
    /// The client's process id, in our pid namespace, as the kernel says it.
    pub(crate) pid: u32,
    /// When it came.
    pub(crate) since: Millis,
}

/// What reading a connection gave.
pub(crate) struct Received {
    pub(crate) messages: Vec<ToGovernor>,
    /// The peer has closed, or said something that is no message.
    pub(crate) ended: bool,
}

impl ClientConnection {
    /// Takes a fresh stream, where the peer is a process of this user; else `None`.
    pub(crate) fn accept(stream: UnixStream, now: Millis) -> Option<Self> {
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
        if peer.uid != rustix::process::geteuid() {
            return None;
        }
        stream.set_nonblocking(true).ok()?;
        Some(Self {
            stream,
            buffer: LineBuffer::default(),
            unsent: Vec::new(),
            ends: false,
            descriptors: Vec::new(),
            peer: Peer::Unknown,
            pid: peer.pid.as_raw_pid().cast_unsigned(),
            since: now,
        })
    }

    /// Reads what is there.
    pub(crate) fn receive(&mut self) -> Received {
        let mut received = Received { messages: Vec::new(), ended: false };
        let mut chunk = [0; 16 * 1024];
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let mut room = [IoSliceMut::new(&mut chunk)];
            let read = recvmsg(&self.stream, &mut room, &mut control, flags);
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    self.descriptors.extend(descriptors);
                    self.descriptors.truncate(DESCRIPTORS);
                }
            }
            match read {
                Ok(read) if read.bytes > 0 => {
                    if self.buffer.extend(&chunk[..read.bytes]).is_ok() {
                        if read.bytes == chunk.len() {
                            continue;
                        }
                    } else {
                        received.ended = true;
                    }
                }
                Err(Errno::AGAIN) => {}
                Err(Errno::INTR) => continue,
                Ok(_) | Err(_) => received.ended = true,
            }
            break;
        }
        while let Some(line) = self.buffer.next_line() {
            match ToGovernor::decode(&line) {
                Ok(message) => received.messages.push(message),
                Err(_) => {
                    received.ended = true;
                    break;
                }
            }
        }
        received
    }

    /// The peer has closed its end, whatever of its words is still to be read: most likely it has ended.
    pub(crate) fn peer_has_ended(&self) -> bool {
        let flags = PollFlags::RDHUP;
        let mut ready = [PollFd::new(&self.stream, flags)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut ready, Some(&now))
            .is_ok_and(|_| ready[0].revents().intersects(flags | PollFlags::HUP | PollFlags::ERR))
    }

    /// The two descriptors that came with the last message, where two did.
    pub(crate) fn take_descriptors(&mut self) -> Option<(OwnedFd, OwnedFd)> {
        let mut descriptors = std::mem::take(&mut self.descriptors).into_iter();
        Some((descriptors.next()?, descriptors.next()?))
    }

    /// Sends a message. A peer that cannot be reached is dead or about to close: its end is read soon.
    pub(crate) fn send(&mut self, message: &ToShim) {
        self.send_line(&message.encode());
    }

    /// Sends one line of bytes, now or as soon as the peer takes it.
    pub(crate) fn send_line(&mut self, line: &[u8]) {
        self.unsent.extend_from_slice(line);
        self.flush();
    }

    /// Sends a message along with descriptors.
    pub(crate) fn send_with(&mut self, message: &ToShim, fds: &[BorrowedFd<'_>]) {
        if self.has_unsent() {
            // A shim that does not read what it waits for: it goes on without a pipe of its own.
            return self.send(message);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(fds));
        let line = message.encode();
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = sendmsg(&self.stream, &[IoSlice::new(&line)], &mut control, flags);
        match sent {
            Ok(sent) if sent < line.len() => self.unsent.extend_from_slice(&line[sent..]),
            Ok(_) => {}
            // Without its descriptors the message still says what it says.
            Err(_) => self.send_line(&line),
        }
    }

    /// Sends what the peer has yet to take, as far as it does.
    pub(crate) fn flush(&mut self) {
        while !self.unsent.is_empty() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.stream, &self.unsent, flags) {
                Ok(sent) => _ = self.unsent.drain(..sent),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // It is gone: that is read soon.
                Err(_) => self.unsent.clear(),
            }
        }
        if self.ends {
            let _ = self.stream.shutdown(std::net::Shutdown::Write);
        }
    }

    /// There is something that the peer has yet to take.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// It has taken so little for so long that it is taken for dead.
    pub(crate) fn is_stuck(&self) -> bool {
        self.unsent.len() > UNSENT_AT_MOST
    }

    /// Answers a question, and says that this was all.
    pub(crate) fn answer(&mut self, lines: &str) {
        self.peer = Peer::Done;
        self.send_line(lines.as_bytes());
        self.send_line(b"\n");
    }

    /// Nothing more will be said: the peer reads the end after what it has yet to take.
    pub(crate) fn end_after_this(&mut self) {
        self.ends = true;
        self.flush();
    }

    /// The stream's end has come, or it said what is no message.
    pub(crate) fn close(self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Both)
    }
}

impl AsFd for ClientConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
