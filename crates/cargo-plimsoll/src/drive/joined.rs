//! A build under the account's budget: its driver's end of the connection.
//!
//! The governor sends what happens in the build, so that the status line and the summary are the same functions of
//! the same stream. If it is gone, what it had stopped goes on (its watchdog sees to that), and the build joins the
//! next one. Where none can be had, the build goes on without a budget, and a notice says so.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_core::event::{Event, Header, Record};
use plimsoll_core::{BuildNo, Millis};
use plimsoll_governor::{Ending, GovernorError, Observer as _, Wake};
use plimsoll_host::Jobserver;
use plimsoll_proto::{Join, LineBuffer, Rerun, ToDriver, ToGovernor};
use plimsoll_shim::discovery::{self, Reached};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::watch::Watch;

/// A governor that does not answer for so long is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Two governors may be met: one that is about to leave, and the one after it.
const ATTEMPTS: u32 = 3;

pub(super) struct Joined {
    home: PathBuf,
    join: Join,
    jobserver: Jobserver,
    header: Header,
    socket: String,
    started: Instant,
    /// `None` once it is gone.
    wire: Option<Wire>,
    seen_units: bool,
    /// Why Cargo must run once more.
    rerun: Option<Rerun>,
    /// The end was said.
    left: bool,
}

/// A connection with a governor.
struct Wire {
    stream: UnixStream,
    received: LineBuffer,
    /// The moment at which the build joined it: its records count from there.
    since: Millis,
}

/// The answer to joining.
struct Welcome {
    wire: Wire,
    header: Header,
    socket: String,
}

impl Joined {
    /// Joins the account's governor, which is started where none runs. Where none can be had, the driver hosts its own.
    pub(super) fn open(home: &Path, join: Join, jobserver: Jobserver) -> Result<Self, NotJoined> {
        let welcome = match join_any(home, &join, &jobserver, Millis::ZERO) {
            Ok(welcome) => welcome,
            Err(why) => return Err(NotJoined { jobserver, why }),
        };
        Ok(Self {
            home: home.to_owned(),
            join,
            jobserver,
            header: welcome.header,
            socket: welcome.socket,
            started: Instant::now(),
            wire: Some(welcome.wire),
            seen_units: false,
            rerun: None,
            left: false,
        })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn socket(&self) -> &str {
        &self.socket
    }

    pub(super) fn jobserver(&self) -> &Jobserver {
        &self.jobserver
    }

    pub(super) fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn wants_rerun(&self) -> Option<Rerun> {
        self.rerun
    }

    pub(super) fn begin_again(&mut self) {
        self.rerun = None;
    }

    pub(super) fn has_seen_units(&self) -> bool {
        self.seen_units
    }

    pub(super) fn interrupt(&mut self) {
        self.say(&ToGovernor::Interrupt);
    }

    pub(super) fn command(&mut self, pid: u32, name: String) {
        self.say(&ToGovernor::Command { pid, name });
    }

    pub(super) fn continued(&mut self) {
        self.say(&ToGovernor::Continued);
    }

    pub(super) fn leave(&mut self, ending: Ending) {
        self.left = true;
        self.say(&ToGovernor::Leave { exit: ending.exit, complete: ending.complete });
    }

    /// A governor that is gone is noticed when it is read.
    fn say(&mut self, message: &ToGovernor) {
        if let Some(wire) = &mut self.wire {
            let _ = wire.stream.write_all(&message.encode());
        }
    }

    pub(super) fn turn(
        &mut self,
        extra: &[BorrowedFd<'_>],
        deadline: Millis,
        watch: &mut Watch,
    ) -> Result<Wake, GovernorError> {
        let span = Duration::from_millis((deadline - self.now()).0);
        let timeout =
            Timespec { tv_sec: span.as_secs() as i64, tv_nsec: i64::from(span.subsec_nanos()) };
        let ready: Vec<bool> = {
            let mut fds: Vec<PollFd<'_>> =
                extra.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
            fds.extend(self.wire.iter().map(|it| PollFd::new(&it.stream, PollFlags::IN)));
            match rustix::event::poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(GovernorError::Poll(error.into())),
            }
            fds.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        if ready.get(extra.len()) == Some(&true) && !self.read(watch) {
            self.lose(watch);
        }
        let ready = (0..extra.len()).filter(|at| ready[*at]).collect();
        Ok(Wake { ready })
    }

    /// Takes in what the governor has said; false at its end.
    fn read(&mut self, watch: &mut Watch) -> bool {
        let Some(wire) = &mut self.wire else { return true };
        let mut bytes = [0; 64 * 1024];
        let goes_on = match wire.stream.read(&mut bytes) {
            Ok(read) => read > 0 && wire.received.extend(&bytes[..read]).is_ok(),
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
            }
        };
        while let Some(line) = wire.received.next_line() {
            match ToDriver::decode(&line) {
                Ok(ToDriver::Record(json)) => {
                    // One that cannot be read is of a newer governor: the others still say what they say.
                    if let Ok(mut record) = serde_json::from_str::<Record>(&json) {
                        record.t += wire.since;
                        self.seen_units |= matches!(record.event, Event::Registered { .. });
                        watch.record(BuildNo(1), &record);
                    }
                }
                Ok(ToDriver::Rerun(why)) => self.rerun = Some(why),
                Ok(ToDriver::Header(_)) => {}
                Err(_) => return false,
            }
        }
        goes_on
    }

    /// The governor is gone: the build joins the next one.
    fn lose(&mut self, watch: &mut Watch) {
        self.wire = None;
        if self.left {
            return;
        }
        let now = self.now();
        // Whoever had paused the build has told that to the one that is gone.
        watch.record(BuildNo(1), &Record { t: now, event: Event::BuildPaused { paused: false } });
        match join_any(&self.home, &self.join, &self.jobserver, now) {
            Ok(welcome) => self.wire = Some(welcome.wire),
            Err(why) => {
                let text = match why {
                    Why::Silent(_) => "the account's governor does not answer",
                    Why::Unreachable => {
                        "the account's governor has ended and no other can be started"
                    }
                };
                let text = format!("{text}; the build goes on without a memory budget");
                let event = Event::Notice { text };
                watch.record(BuildNo(1), &Record { t: now, event });
            }
        }
    }

    /// Says how it ended, and hears the rest.
    pub(super) fn close(&mut self, ending: Ending, watch: &mut Watch) {
        if !self.left {
            self.leave(ending);
        }
        let until = Instant::now() + PATIENCE;
        while let Some(wire) = &mut self.wire {
            let left = until.saturating_duration_since(Instant::now());
            let waits = wire.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))));
            if left.is_zero() || waits.is_err() || !self.read(watch) {
                self.wire = None;
            }
        }
    }
}

/// A build that no governor of the account's has taken.
pub(super) struct NotJoined {
    /// Cargo's pipe, which it was to hand over.
    pub(super) jobserver: Jobserver,
    /// What stood in the way.
    pub(super) why: Why,
}

/// Why a build was not taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    /// No governor can be reached or started, or Plimsoll is not enabled.
    Unreachable,
    /// The governor with this process does not answer: it was stopped, or hangs.
    Silent(u32),
}

impl Why {
    /// What a person should know of it.
    pub(super) fn notice(self) -> Option<String> {
        match self {
            Self::Unreachable => None,
            Self::Silent(pid) => Some(format!(
                "the account's governor (process {pid}) does not answer; this build has a memory budget of its own, which \
                 does not know of other builds (`kill -CONT {pid}` continues the governor if it was stopped)"
            )),
        }
    }
}

fn join_any(
    home: &Path,
    join: &Join,
    jobserver: &Jobserver,
    since: Millis,
) -> Result<Welcome, Why> {
    for _ in 0..ATTEMPTS {
        let (stream, path) = match discovery::reach(home) {
            Reached::Here(stream, path) => (stream, path),
            Reached::Silent(pid) => return Err(Why::Silent(pid)),
            Reached::Nobody => break,
        };
        let peer = rustix::net::sockopt::socket_peercred(&stream);
        match join_one(stream, &path, join, jobserver, since) {
            Ok(welcome) => return Ok(welcome),
            // A read's time is over (`EAGAIN`).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let pid = peer.map(|peer| peer.pid.as_raw_pid().cast_unsigned());
                return Err(Why::Silent(pid.unwrap_or_default()));
            }
            Err(_) => {}
        }
    }
    Err(Why::Unreachable)
}

fn join_one(
    mut stream: UnixStream,
    path: &Path,
    join: &Join,
    jobserver: &Jobserver,
    since: Millis,
) -> io::Result<Welcome> {
    let socket = path.to_str().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    let line = ToGovernor::Join(Box::new(join.clone())).encode();
    let (read, write) = jobserver.fds();
    let fds = [read.as_fd(), write.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let flags = SendFlags::NOSIGNAL;
    let sent = rustix::net::sendmsg(&stream, &[IoSlice::new(&line)], &mut control, flags)?;
    stream.write_all(&line[sent..])?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut wire = Wire { stream, received: LineBuffer::default(), since };
    let mut bytes = [0; 4096];
    let first = loop {
        if let Some(line) = wire.received.next_line() {
            break line;
        }
        match wire.stream.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => wire.received.extend(&bytes[..read]).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    let Ok(ToDriver::Header(json)) = ToDriver::decode(&first) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    wire.stream.set_read_timeout(None)?;
    Ok(Welcome { wire, header: serde_json::from_str(&json)?, socket })
}
