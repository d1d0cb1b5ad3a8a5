//! The governor's state and its loop.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plimsoll_core::event::{Event, Header, Now, Record};
use plimsoll_core::line::{Line, Own};
use plimsoll_core::schedule::{Input, Measured, Schedule};
use plimsoll_core::settings::Memory;
use plimsoll_core::{BuildId, BuildNo, Millis, UnitId};
use plimsoll_history::History;
use plimsoll_host::{CgroupDir, Limits, ProcessTree};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::account::connections_at_most;
use crate::builds::Build;
use crate::connection::{Connection, Peer};
use crate::error::GovernorError;
use crate::graph::GraphReader;
use crate::ledger::Entry;
use crate::walls::Walls;

/// What a governor is started with.
#[derive(Debug)]
pub struct Options {
    /// Processors to plan for.
    pub cores: u32,
    /// How the line is named.
    pub memory: Memory,
    /// What of the machine's memory is kept free for everything else.
    pub reserve: Memory,
    /// Where history and logs live.
    pub home: PathBuf,
    /// The root of the workspace around a directory, by Cargo's rules for manifests.
    pub workspace_root: fn(&Path) -> Option<PathBuf>,
}

impl Options {
    /// The line, before anything was read.
    pub(crate) fn line(&self) -> Line {
        Line::new(self.memory).keeping(self.reserve)
    }
}

/// Who hears what happens, in order, and answers questions about it.
pub trait Observer {
    /// A build begins; the first line of its log.
    fn opened(&mut self, build: BuildNo, header: &Header);
    /// Something happened in a build.
    fn record(&mut self, build: BuildNo, record: &Record);
    /// A build is over.
    fn closed(&mut self, build: BuildNo);
    /// The state of these builds now, as one line of JSON each.
    fn status(&self, builds: &BTreeMap<BuildNo, Now>) -> String;
}

/// Why a turn ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// Which of the host's descriptors can be read, by their position.
    pub ready: Vec<usize>,
}

/// The governor of the builds that share a line.
pub struct Governor {
    pub(crate) options: Options,
    socket: String,
    /// `None` once governing has ended: who asks then is not governed.
    pub(crate) listener: Option<UnixListener>,
    /// Nobody is let in before this moment.
    deaf_until: Millis,
    /// Builds come from elsewhere; else there is one, which is below this process.
    pub(crate) of_account: bool,
    /// A newer governor has taken over.
    pub(crate) draining: bool,
    /// When nobody's news was looked at last.
    pub(crate) looked: Millis,
    pub(crate) connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    started: Instant,
    pub(crate) schedule: Schedule,
    pub(crate) entries: BTreeMap<UnitId, Entry>,
    /// Those of the entries that have not finished: what is asked of them at each measurement hangs on what runs, and not
    /// on how long a build is.
    pub(crate) unfinished: BTreeSet<UnitId>,
    pub(crate) next_unit: u32,
    pub(crate) builds: BTreeMap<BuildNo, Build>,
    pub(crate) next_build: u32,
    /// The parents of compilers that belong to no build here, of which a person was told.
    pub(crate) strays: BTreeSet<u32>,
    pub(crate) tree: ProcessTree,
    pub(crate) limits: Limits,
    /// Who kills before the kernel does was looked for.
    pub(crate) knows_killers: bool,
    pub(crate) line: Line,
    pub(crate) walls: Walls,
    /// What all builds hold, as last measured.
    pub(crate) held: Own,
    pub(crate) history: Option<History>,
    /// The last measurements, on their way to the schedule.
    pub(crate) measured: Vec<Measured>,
    pub(crate) anchor: Option<UnitId>,
    /// The kernel's count of processes that it killed for memory, when last looked at.
    pub(crate) oom_kills: u64,
    pub(crate) sampled: Millis,
    pub(crate) scanned: Millis,
    pub(crate) line_read: Millis,
    pub(crate) sample_logged: Millis,
    /// The time in which everything stood still for memory, by the kernel's count: now, and at the last sample.
    pub(crate) stalled_us: u64,
    pub(crate) stalled_logged_us: u64,
    pub(crate) flushed: Millis,
    pub(crate) governing: bool,
}

impl Governor {
    /// Starts to listen, as the governor of everything below the process `root`.
    ///
    /// # Errors
    /// Where no socket can be made or `/proc` cannot be read.
    pub fn new(options: Options, root: u32, unix_ms: u64) -> Result<Self, GovernorError> {
        let build = BuildId::new(unix_ms, root);
        let uid = rustix::process::geteuid().as_raw();
        let mut noise = [0u8; 8];
        // Without noise the name is still unique: time and process id. It is no secret: peers are
        // checked by their user on both sides.
        let _ = rustix::rand::getrandom(&mut noise, rustix::rand::GetRandomFlags::empty());
        let socket = format!("plimsoll-{uid}-{build}-{:016x}", u64::from_ne_bytes(noise));
        let listener = listen(&socket)
            .map_err(|source| GovernorError::Listen { name: socket.clone(), source })?;
        Self::with(options, socket, listener, false)
    }

    /// The governor of all builds of an account, which turn to `listener`.
    ///
    /// # Errors
    /// Where `/proc` cannot be read.
    pub fn of_account(options: Options, listener: UnixListener) -> Result<Self, GovernorError> {
        let ready = rustix::net::listen(&listener, BACKLOG).map_err(Into::into);
        ready.and_then(|()| listener.set_nonblocking(true)).map_err(|source| {
            GovernorError::Listen { name: "the account's governor".to_owned(), source }
        })?;
        Self::with(options, String::new(), listener, true)
    }

    fn with(
        options: Options,
        socket: String,
        listener: UnixListener,
        of_account: bool,
    ) -> Result<Self, GovernorError> {
        let root = std::process::id();
        let tree = ProcessTree::new(root).map_err(GovernorError::Processes)?;
        let cgroups = CgroupDir::around(Path::new("/"), None);
        let limits = Limits::within(Path::new("/"), &cgroups).map_err(GovernorError::Limits)?;
        let mut line = options.line();
        let at_start = line.update(Millis::ZERO, &limits.read(), Default::default());
        Ok(Self {
            schedule: Schedule::new(options.cores, at_start),
            socket,
            listener: Some(listener),
            deaf_until: Millis::ZERO,
            of_account,
            draining: false,
            looked: Millis::ZERO,
            connections: BTreeMap::new(),
            next_connection: 0,
            started: Instant::now(),
            entries: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            next_unit: if of_account { first_unit() } else { 1 },
            builds: BTreeMap::new(),
            next_build: 1,
            strays: BTreeSet::new(),
            tree,
            limits,
            knows_killers: false,
            line,
            walls: Walls::new(cgroups),
            held: Own::default(),
            history: None,
            measured: Vec::new(),
            anchor: None,
            oom_kills: plimsoll_host::oom_kills(),
            sampled: Millis::ZERO,
            scanned: Millis::ZERO,
            line_read: Millis::ZERO,
            sample_logged: Millis::ZERO,
            stalled_us: 0,
            stalled_logged_us: 0,
            flushed: Millis::ZERO,
            governing: true,
            options,
        })
    }

    /// The abstract socket's name, for the shims.
    #[must_use]
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// The time since this governor started.
    #[must_use]
    pub fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// One turn: waits until something happens (or `deadline`, or a measurement is due), deals with it,
    /// and tells `observer` about it.
    ///
    /// # Errors
    /// Where waiting itself fails.
    pub fn turn(
        &mut self,
        extra: &[BorrowedFd<'_>],
        deadline: Millis,
        observer: &mut dyn Observer,
    ) -> Result<Wake, GovernorError> {
        let Woken { wake, listener, readable, graphs } = self.wait(extra, deadline)?;
        for id in readable {
            self.serve(id, observer);
        }
        if listener {
            self.accept(observer);
        }
        for build in graphs {
            self.read_graph(build);
        }
        self.measure_if_due();
        self.follow_stages();
        self.look_around(observer);
        self.tell(observer);
        Ok(wake)
    }

    /// Gives the input to the schedule and does what it says: the one way by which anything is decided.
    pub(crate) fn decide(&mut self, input: Input) {
        let now = self.now();
        for effect in self.schedule.handle(now, input) {
            self.carry_out(now, effect);
        }
    }

    fn wait(&self, extra: &[BorrowedFd<'_>], deadline: Millis) -> Result<Woken, GovernorError> {
        let now = self.now();
        let mut until = deadline.min(self.next_measurement());
        if now < self.deaf_until {
            until = until.min(self.deaf_until);
        }
        let span = Duration::from_millis((until - now).0);
        let timeout =
            Timespec { tv_sec: span.as_secs() as i64, tv_nsec: i64::from(span.subsec_nanos()) };
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        let mut fds = Vec::with_capacity(ids.len() + extra.len() + 2);
        let wants = |c: &Connection| match c.has_unsent() {
            true => PollFlags::IN | PollFlags::OUT,
            false => PollFlags::IN,
        };
        fds.extend(self.connections.values().map(|c| PollFd::new(c, wants(c))));
        fds.extend(extra.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        let reads = |(no, build): (&BuildNo, _)| Some((*no, reader_of(build)?));
        let graphs: Vec<(BuildNo, &GraphReader)> = self.builds.iter().filter_map(reads).collect();
        fds.extend(graphs.iter().map(|(_, graph)| PollFd::new(*graph, PollFlags::IN)));
        let graphs: Vec<BuildNo> = graphs.iter().map(|(no, _)| *no).collect();
        let listener = self.listener.as_ref().filter(|_| now >= self.deaf_until);
        fds.extend(listener.map(|it| PollFd::new(it, PollFlags::IN)));
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(GovernorError::Poll(error.into())),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let (clients, rest) = ready.split_at(ids.len());
        let (extra, rest) = rest.split_at(extra.len());
        let (read, listener) = rest.split_at(graphs.len());
        let pick = |flags: &[bool]| -> Vec<usize> {
            flags.iter().enumerate().filter(|(_, ready)| **ready).map(|(at, _)| at).collect()
        };
        Ok(Woken {
            wake: Wake { ready: pick(extra) },
            listener: listener.contains(&true),
            readable: pick(clients).into_iter().map(|at| ids[at]).collect(),
            graphs: pick(read).into_iter().map(|at| graphs[at]).collect(),
        })
    }

    /// Who connects has a word to say, and most have said it by now.
    pub(crate) fn accept(&mut self, observer: &mut dyn Observer) {
        while let Some(accepted) = self.listener.as_ref().map(UnixListener::accept) {
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // Without a descriptor left, whoever waits is still there later.
                Err(_) => return self.deaf_until = self.now() + DEAF,
            };
            let full = self.connections.len() >= connections_at_most();
            let now = self.now();
            // Who finds no room goes on without us.
            if let Some(connection) = Connection::accept(stream, now).filter(|_| !full) {
                let id = self.next_connection;
                self.connections.insert(id, connection);
                self.next_connection += 1;
                self.serve(id, observer);
            }
        }
    }

    fn serve(&mut self, id: u64, observer: &mut dyn Observer) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.flush();
        let received = connection.receive();
        for message in received.messages {
            self.handle_message(id, message, observer);
        }
        if received.ended
            && let Some(connection) = self.connections.remove(&id)
        {
            self.hung_up(connection.peer);
        }
    }

    pub(crate) fn history(&mut self) -> &mut History {
        if self.history.is_none() {
            let (history, warning) = History::open(&self.options.home);
            if let Some(text) = warning {
                self.say_to_all(&Event::Notice { text });
            }
            self.history = Some(history);
        }
        self.history.get_or_insert_with(|| unreachable!("opened just above"))
    }

    /// Governing ends, the build goes on: under `cargo run` Cargo has become the user's own program. A Cargo
    /// that this runs finds nobody, and compiles as if we were not there.
    pub fn stop_governing(&mut self, build: BuildNo) {
        self.resume_everything(build);
        self.governing = false;
        self.listener = None;
    }

    pub(crate) fn connection_of(&mut self, peer: Peer) -> Option<&mut Connection> {
        self.connections.values_mut().find(|connection| connection.peer == peer)
    }
}

/// What a wait came to.
struct Woken {
    wake: Wake,
    /// Somebody connects.
    listener: bool,
    /// Connections that have something to say.
    readable: Vec<u64>,
    /// Builds whose unit graph is there.
    graphs: Vec<BuildNo>,
}

/// What reads the build's unit graph, while it is awaited.
fn reader_of(build: &Build) -> Option<&GraphReader> {
    build.graph.as_ref().filter(|graph| graph.is_reading())
}

/// The number of an account's first unit: not one that a governor before it has given, so that whoever has heard
/// of both mixes none up. A second each for 1,024 units, and the time wraps after twelve days.
fn first_unit() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ((now.as_secs() as u32 & 0xf_ffff) << 10) | 1
}

/// Where nobody can be let in, for want of descriptors, that is tried again after so long.
const DEAF: Millis = Millis(100);

/// How many may wait to be let in.
const BACKLOG: i32 = 4096;

fn listen(name: &str) -> std::io::Result<UnixListener> {
    let address = SocketAddr::from_abstract_name(name)?;
    let listener = UnixListener::bind_addr(&address)?;
    // std listens with a backlog of 128 (4,096 in newer versions): 300 shims may start at once.
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
