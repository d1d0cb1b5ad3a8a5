//! The governor's side of the socket, played by the test itself: it says what it expects to hear next.

use std::io::{self, IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use plimsoll_core::UnitId;
use plimsoll_core::oversized::Shrink;
use plimsoll_core::unit::UnitFacts;
use plimsoll_proto::{LineBuffer, ToGovernor, ToShim};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// After so long a test has failed; nothing waits for it otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Governor {
    pub(crate) name: String,
    listener: UnixListener,
}

impl Governor {
    pub(crate) fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("plimsoll-test-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self { name, listener: UnixListener::bind_addr(&address).unwrap() }
    }

    pub(crate) fn accept(&self) -> Peer {
        wait_readable(self.listener.as_fd());
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer { stream, received: LineBuffer::default(), lost: false }
    }

    /// Accepts a compiler's shim and hears what it is about to run.
    pub(crate) fn unit(&self) -> (Peer, UnitFacts) {
        let mut peer = self.accept();
        match peer.hear() {
            ToGovernor::Hello { facts, .. } => (peer, *facts),
            other => panic!("not a hello: {other:?}"),
        }
    }

    /// Accepts, admits and hears that the compiler runs: its process id.
    pub(crate) fn start(&self) -> (Peer, u32) {
        let (mut peer, _) = self.unit();
        peer.admit();
        let pid = peer.started();
        (peer, pid)
    }
}

fn wait_readable(fd: BorrowedFd<'_>) {
    let timeout = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&timeout)));
    assert_eq!(ready, Ok(1), "nobody came");
}

pub(crate) struct Peer {
    stream: UnixStream,
    received: LineBuffer,
    /// What is lost may be lost once: what the governor says of a kernel that is short of memory.
    lost: bool,
}

impl Peer {
    pub(crate) fn hear(&mut self) -> ToGovernor {
        loop {
            if let Some(line) = self.received.next_line() {
                let message = ToGovernor::decode(&line).unwrap();
                self.lost |= matches!(message, ToGovernor::Lost { .. });
                return message;
            }
            let mut bytes = [0; 4096];
            let read = match self.stream.read(&mut bytes) {
                // A read with a timeout can end so without any handler (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.unwrap(),
            };
            assert!(read > 0, "the shim has hung up");
            self.received.extend(&bytes[..read]).unwrap();
        }
    }

    pub(crate) fn started(&mut self) -> u32 {
        match self.hear() {
            ToGovernor::Started { pid } => pid,
            other => panic!("not started: {other:?}"),
        }
    }

    pub(crate) fn finished(&mut self) -> bool {
        match self.hear() {
            ToGovernor::Finished { ok, differs: false } => ok,
            other => panic!("not finished: {other:?}"),
        }
    }

    pub(crate) fn say(&mut self, message: &ToShim) {
        self.lost &= *message != ToShim::Retry;
        std::io::Write::write_all(&mut self.stream, &message.encode()).unwrap();
    }

    /// Sends what is not a message.
    pub(crate) fn say_bytes(&mut self, bytes: &[u8]) {
        std::io::Write::write_all(&mut self.stream, bytes).unwrap();
    }

    /// Admits with a token pipe, of which both ends are returned.
    pub(crate) fn admit(&mut self) -> (OwnedFd, OwnedFd) {
        self.admit_as(Shrink::No)
    }

    /// The same; how far it is to go to need less.
    pub(crate) fn admit_as(&mut self, shrink: Shrink) -> (OwnedFd, OwnedFd) {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let both = [read.as_fd(), write.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&both)));
        let line = ToShim::Admit { unit: UnitId(7), again: !self.lost, shrink }.encode();
        let sent = rustix::net::sendmsg(
            &self.stream,
            &[IoSlice::new(&line)],
            &mut control,
            SendFlags::empty(),
        );
        assert_eq!(sent, Ok(line.len()));
        (read, write)
    }

    /// Lets a linker start.
    pub(crate) fn admit_link(&mut self) {
        self.say(&ToShim::Admit { unit: UnitId(7), again: !self.lost, shrink: Shrink::No });
    }

    /// True where the shim hangs up without another word.
    pub(crate) fn hangs_up(&mut self) -> bool {
        let mut byte = [0];
        !matches!(self.stream.read(&mut byte), Ok(1))
    }
}
