//! The connection to the governor: one message a line, and with an admission the unit's token pipe.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

use plimsoll_proto::{LineBuffer, ToGovernor, ToShim};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::discovery;
use crate::silence::Silence;
use crate::tokens::UnitTokens;

/// What came from the governor.
#[derive(Debug)]
pub(crate) enum FromGovernor {
    /// A message, with the token pipe that came along.
    Message(ToShim, Option<UnitTokens>),
    /// There is no governor any more (or it speaks what we do not understand).
    Gone,
    /// There is one, which does not answer. With what a person is to be told, where nobody else has done that.
    Silent(Option<String>),
}

/// What the governor says to a child's death by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeathVerdict {
    /// It has killed the child itself, which is to run again.
    Retry,
    /// The build is ending.
    Abort,
}

/// How long after a child's death by a stranger's signal the governor's own word is waited for: that it was its kill, or
/// that the build is ending. It says so before; this is for the word that is still on its way. Who ends the whole group
/// has ended us, too, by then.
const GRACE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A connection to a governor of our own user.
pub(crate) struct GovernorConnection {
    stream: UnixStream,
    received: LineBuffer,
    descriptors: VecDeque<OwnedFd>,
    gone: bool,
    /// Of an account's governor: what is known of its silence.
    silence: Option<Silence>,
    /// It was asked whether it still runs, and has not answered yet.
    asked: bool,
}

impl GovernorConnection {
    /// Connects to the socket `name`: a path, or an abstract name. Waits while the governor's queue is full, so
    /// that hundreds of shims can come at once. `None` where nobody listens, or somebody who is not us.
    pub(crate) fn open(name: &OsStr) -> Option<Self> {
        if discovery::is_path(name) {
            let path = Path::new(name);
            return discovery::connect_path(path).ok().map(|stream| Self::over(stream, path));
        }
        let address = SocketAddr::from_abstract_name(name.as_encoded_bytes()).ok()?;
        let stream = loop {
            match UnixStream::connect_addr(&address) {
                Ok(stream) => break stream,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        };
        // Anybody may bind an abstract name, but not under our user's id.
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
        (peer.uid == rustix::process::getuid()).then(|| Self::with(stream, None))
    }

    /// Speaks over a connection with the account's governor whose socket is `path`.
    pub(crate) fn over(stream: UnixStream, path: &Path) -> Self {
        let silence = path.parent().and_then(|directory| Silence::of(&stream, directory));
        Self::with(stream, silence)
    }

    fn with(stream: UnixStream, silence: Option<Silence>) -> Self {
        Self {
            stream,
            received: LineBuffer::default(),
            descriptors: VecDeque::new(),
            gone: false,
            silence,
            asked: false,
        }
    }

    /// Says `message`. A governor that is gone is noticed by the next [`Self::hear`].
    pub(crate) fn say(&mut self, message: &ToGovernor) {
        if self.stream.write_all(&message.encode()).is_err() {
            self.gone = true;
        }
    }

    /// Waits for the next message: for as long as it takes from a governor that answers.
    pub(crate) fn wait(&mut self) -> FromGovernor {
        loop {
            if let Some(received) = self.next() {
                return received;
            }
            let Some(silence) = &self.silence else {
                self.receive(RecvFlags::empty());
                continue;
            };
            let mut ready = [PollFd::new(&self.stream, PollFlags::IN)];
            match rustix::event::poll(&mut ready, Some(&silence.patience())) {
                Ok(0) => {
                    if !self.asks() {
                        return FromGovernor::Silent(self.give_up());
                    }
                }
                Ok(_) => {
                    self.receive(RecvFlags::DONTWAIT);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => self.gone = true,
            }
        }
    }

    /// Asks an account's governor whether it still runs; false where it was asked before and has not answered since.
    pub(crate) fn asks(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.asked, true);
        if first {
            self.say(&ToGovernor::Ping);
        }
        first
    }

    /// Goes on without a governor that does not answer. What a person is to be told, where nobody else has done that.
    pub(crate) fn give_up(&mut self) -> Option<String> {
        self.say(&ToGovernor::Withdraw);
        self.gone = true;
        self.silence()
    }

    /// It does not answer. What a person is to be told, where nobody else has done that.
    pub(crate) fn silence(&self) -> Option<String> {
        self.silence.as_ref().and_then(Silence::begins)
    }

    /// The next message that has arrived, if any.
    pub(crate) fn hear(&mut self) -> Option<FromGovernor> {
        loop {
            if let Some(received) = self.next() {
                return Some(received);
            }
            if !self.receive(RecvFlags::DONTWAIT) {
                return None;
            }
        }
    }

    /// What it says to the child's death, also where its word is still on its way.
    pub(crate) fn verdict(&mut self) -> Option<DeathVerdict> {
        loop {
            match self.hear() {
                Some(FromGovernor::Message(ToShim::Retry, _)) => return Some(DeathVerdict::Retry),
                Some(FromGovernor::Message(ToShim::Abort, _)) => return Some(DeathVerdict::Abort),
                Some(FromGovernor::Message(..)) => {}
                Some(FromGovernor::Gone | FromGovernor::Silent(_)) => return None,
                None => {
                    let mut ready = [PollFd::new(&self.stream, PollFlags::IN)];
                    match rustix::event::poll(&mut ready, Some(&GRACE)) {
                        Ok(0) => return None,
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(_) => return None,
                    }
                }
            }
        }
    }

    fn next(&mut self) -> Option<FromGovernor> {
        let Some(line) = self.received.next_line() else {
            return self.gone.then_some(FromGovernor::Gone);
        };
        if std::mem::take(&mut self.asked)
            && let Some(silence) = &self.silence
        {
            silence.ends();
        }
        match ToShim::decode(&line) {
            Ok(ToShim::Pong) => self.next(),
            Ok(message @ ToShim::Admit { .. }) => {
                let pipe = match (self.descriptors.pop_front(), self.descriptors.pop_front()) {
                    (Some(read), Some(write)) => Some(UnitTokens { read, write }),
                    _ => None,
                };
                Some(FromGovernor::Message(message, pipe))
            }
            Ok(message) => Some(FromGovernor::Message(message, None)),
            Err(_) => {
                self.gone = true;
                Some(FromGovernor::Gone)
            }
        }
    }

    /// Reads once; false where nothing is there.
    fn receive(&mut self, flags: RecvFlags) -> bool {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let read = recvmsg(
            &self.stream,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            flags | RecvFlags::CMSG_CLOEXEC,
        );
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        match read {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return false,
            Ok(read) if read.bytes > 0 => {
                self.gone |= self.received.extend(&bytes[..read.bytes]).is_err();
            }
            Ok(_) | Err(_) => self.gone = true,
        }
        true
    }
}

impl AsFd for GovernorConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
