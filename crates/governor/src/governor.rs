//! The governor's state and its loop.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_core::event::{Event, FORMAT, Header, Record};
use plimsoll_core::line::Line;
use plimsoll_core::schedule::{Config, Input, Measured, Schedule};
use plimsoll_core::settings::Memory;
use plimsoll_core::{BuildId, Bytes, Millis, UnitId};
use plimsoll_history::{EventLog, History};
use plimsoll_host::{Jobserver, Limits, ProcessTree, Tmpfs};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::connection::{Connection, Peer};
use crate::error::GovernorError;
use crate::graph::{GraphCommand, GraphReader, Tails};
use crate::ledger::{self, Entry};

/// What a governor is started with.
#[derive(Debug)]
pub struct Options {
    /// The schedule's constants.
    pub config: Config,
    /// How the line is named.
    pub memory: Memory,
    /// Where history and logs live.
    pub home: PathBuf,
    /// Cargo's subcommand, for the log.
    pub command: String,
    /// Somebody else's program reads what compilers say: a unit that leaves gives it nothing to read.
    pub json_messages: bool,
    /// How to learn the unit graph, where Cargo can tell.
    pub graph: Option<GraphCommand>,
    /// The target directory, which is memory where it lies on tmpfs.
    pub target_dir: Option<PathBuf>,
    /// Cargo's pipe.
    pub jobserver: Jobserver,
}

/// Who hears what happens, in order, and answers questions about it.
pub trait Observer {
    /// Something happened.
    fn record(&mut self, record: &Record);
    /// The build's state, as one line of JSON.
    fn status(&self, header: &Header, now: Millis) -> String;
}

/// Why a turn ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// Which of the host's descriptors can be read, by their position.
    pub ready: Vec<usize>,
}

/// How a build ended.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// The exit code (128 + n for a signal).
    pub exit: i32,
    /// All units that Cargo wanted were seen to the end: what was learned of the graph is complete.
    pub complete: bool,
}

/// The governor of one build.
pub struct Governor {
    pub(crate) options: Options,
    pub(crate) header: Header,
    socket: String,
    /// `None` once governing has ended: who asks then is not governed.
    listener: Option<UnixListener>,
    pub(crate) connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    started: Instant,
    pub(crate) schedule: Schedule,
    pub(crate) entries: BTreeMap<UnitId, Entry>,
    pub(crate) next_unit: u32,
    pub(crate) tree: ProcessTree,
    pub(crate) limits: Limits,
    pub(crate) line: Line,
    pub(crate) tmpfs: Option<Tmpfs>,
    pub(crate) history: Option<History>,
    log: Option<EventLog>,
    pub(crate) records: Vec<Record>,
    pub(crate) graph: Option<GraphReader>,
    /// The bottom levels that the graph gave, once it is known.
    pub(crate) tails: Option<Tails>,
    /// The last measurements, on their way to the schedule.
    pub(crate) measured: Vec<Measured>,
    pub(crate) anchor: Option<UnitId>,
    /// Places on Cargo's pipe, free and taken.
    pub(crate) places: u32,
    /// Places that should come back but were not in the pipe yet.
    pub(crate) owed: u32,
    /// The kernel's count of processes that it killed for memory, when last looked at.
    pub(crate) oom_kills: u64,
    /// Since when places have been missing on Cargo's pipe.
    pub(crate) missing_since: Option<Millis>,
    pub(crate) sampled: Millis,
    pub(crate) scanned: Millis,
    pub(crate) line_read: Millis,
    pub(crate) sample_logged: Millis,
    flushed: Millis,
    pub(crate) peak: Bytes,
    pub(crate) governing: bool,
    pub(crate) differs: bool,
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
        let tree = ProcessTree::new(root).map_err(GovernorError::Processes)?;
        let limits = Limits::discover(Path::new("/")).map_err(GovernorError::Limits)?;
        let mut line = Line::new(options.memory);
        let at_start = line.update(Millis::ZERO, &limits.read(), Default::default());
        let header = Header {
            plimsoll_log: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build,
            started_unix_ms: unix_ms,
            command: options.command.clone(),
            line: at_start,
            memory: options.memory.to_string(),
            jobs: options.config.jobs,
        };
        let tmpfs =
            options.target_dir.as_deref().and_then(|dir| Tmpfs::holding(dir).ok().flatten());
        Ok(Self {
            schedule: Schedule::new(options.config, at_start),
            header,
            socket,
            listener: Some(listener),
            connections: BTreeMap::new(),
            next_connection: 0,
            started: Instant::now(),
            entries: BTreeMap::new(),
            next_unit: 1,
            tree,
            limits,
            line,
            tmpfs,
            history: None,
            log: None,
            records: Vec::new(),
            graph: None,
            tails: None,
            measured: Vec::new(),
            anchor: None,
            places: options.config.jobs.saturating_sub(1),
            owed: 0,
            oom_kills: plimsoll_host::oom_kills(),
            missing_since: None,
            sampled: Millis::ZERO,
            scanned: Millis::ZERO,
            line_read: Millis::ZERO,
            sample_logged: Millis::ZERO,
            flushed: Millis::ZERO,
            peak: Bytes::ZERO,
            governing: true,
            differs: false,
            options,
        })
    }

    /// The abstract socket's name, for the shims.
    #[must_use]
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// The first line of this build's log.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Cargo's pipe.
    #[must_use]
    pub fn jobserver(&self) -> &Jobserver {
        &self.options.jobserver
    }

    /// The time since the start of the build.
    #[must_use]
    pub fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// A retried unit's metadata differed from what dependents had read: Cargo must run once more.
    #[must_use]
    pub fn wants_rerun(&self) -> bool {
        self.differs
    }

    /// Something is compiled, or was.
    #[must_use]
    pub fn has_seen_units(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Cargo runs once more: what failed before is forgotten.
    pub fn begin_again(&mut self) {
        self.differs = false;
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
        let (wake, listener, readable, graph) = self.wait(extra, deadline)?;
        for id in readable {
            self.serve(id, observer);
        }
        if listener {
            self.accept(observer);
        }
        if graph {
            self.read_graph();
        }
        self.measure_if_due();
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

    /// Notes that something happened, now.
    pub(crate) fn say(&mut self, event: Event) {
        self.records.push(Record { t: self.now(), event });
    }

    /// Notes something that a person should know.
    pub fn notice(&mut self, text: impl Into<String>) {
        self.say(Event::Notice { text: text.into() });
    }

    fn wait(
        &self,
        extra: &[BorrowedFd<'_>],
        deadline: Millis,
    ) -> Result<(Wake, bool, Vec<u64>, bool), GovernorError> {
        let now = self.now();
        let until = deadline.min(self.next_measurement());
        let span = Duration::from_millis((until - now).0);
        let timeout =
            Timespec { tv_sec: span.as_secs() as i64, tv_nsec: i64::from(span.subsec_nanos()) };
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        let mut fds = Vec::with_capacity(ids.len() + extra.len() + 2);
        fds.extend(self.connections.values().map(|c| PollFd::new(c, PollFlags::IN)));
        fds.extend(extra.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        let graph = self.graph.as_ref().filter(|graph| graph.is_reading());
        fds.extend(graph.map(|graph| PollFd::new(graph, PollFlags::IN)));
        let graph = graph.is_some();
        fds.extend(self.listener.as_ref().map(|it| PollFd::new(it, PollFlags::IN)));
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(GovernorError::Poll(error.into())),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let (clients, rest) = ready.split_at(ids.len());
        let (extra, rest) = rest.split_at(extra.len());
        let (graph, listener) = rest.split_at(usize::from(graph));
        let pick = |flags: &[bool]| -> Vec<usize> {
            flags.iter().enumerate().filter(|(_, ready)| **ready).map(|(at, _)| at).collect()
        };
        let wake = Wake { ready: pick(extra) };
        let readable = pick(clients).into_iter().map(|at| ids[at]).collect();
        Ok((wake, listener.contains(&true), readable, graph.contains(&true)))
    }

    /// Who connects has a word to say, and most have said it by now.
    fn accept(&mut self, observer: &mut dyn Observer) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
            if let Some(connection) = Connection::accept(stream) {
                let id = self.next_connection;
                self.connections.insert(id, connection);
                self.next_connection += 1;
                self.serve(id, observer);
            }
        }
    }

    fn serve(&mut self, id: u64, observer: &mut dyn Observer) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
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
            self.records.extend(
                warning.map(|text| Record { t: self.now(), event: Event::Notice { text } }),
            );
            self.history = Some(history);
        }
        self.history.get_or_insert_with(|| unreachable!("opened just above"))
    }

    /// Passes on what was said, to the observer and to the log. A build in which nothing is compiled
    /// leaves no log.
    fn tell(&mut self, observer: &mut dyn Observer) {
        let records = std::mem::take(&mut self.records);
        if self.log.is_none()
            && records.iter().any(|record| matches!(record.event, Event::Registered { .. }))
        {
            let (log, warning) = EventLog::create(&self.options.home.join("logs"), &self.header);
            self.log = Some(log);
            if let Some(text) = warning {
                self.notice(text);
            }
        }
        for record in &records {
            observer.record(record);
            if let Some(log) = &mut self.log {
                log.append(record);
            }
        }
        /// Often enough for `report` on a build whose driver was killed, seldom enough to cost nothing.
        const FLUSH_EVERY: Millis = Millis(300);
        let now = self.now();
        if now - self.flushed >= FLUSH_EVERY {
            self.flushed = now;
            if let Some(text) = self.log.as_mut().and_then(EventLog::flush) {
                self.notice(text);
            }
        }
    }

    /// The build is over: remembers what it showed and closes the log.
    pub fn finish(&mut self, ending: Ending, observer: &mut dyn Observer) {
        if !self.entries.is_empty() {
            let tails = if ending.complete { ledger::tails(&self.entries) } else { Vec::new() };
            let history = self.history();
            history.set_tails(&tails);
            if let Some(text) = history.flush() {
                self.notice(text);
            }
        }
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu = Millis::seconds(cpu.tv_sec as u64) + Millis(cpu.tv_nsec as u64 / 1_000_000);
        let wall = self.now();
        self.say(Event::Done { exit: ending.exit, wall, peak: self.peak, governor_cpu: cpu });
        self.flushed = Millis::ZERO;
        self.tell(observer);
        if let Some(log) = &mut self.log {
            let _ = log.flush();
        }
    }

    /// The unit graph is there: units that the history does not know are put in their order.
    fn read_graph(&mut self) {
        let Some(tails) = self.graph.as_mut().and_then(GraphReader::take) else { return };
        let live: Vec<UnitId> = self.schedule.views().map(|view| view.id).collect();
        for unit in live {
            if let Some(tail) = self.entries.get(&unit).and_then(|entry| tails.of(&entry.facts)) {
                self.decide(Input::Tail(unit, tail));
            }
        }
        self.tails = Some(tails);
    }

    /// Governing ends, the build goes on: under `cargo run` Cargo has become the user's own program. A Cargo
    /// that this runs finds nobody, and compiles as if we were not there.
    pub fn stop_governing(&mut self) {
        self.resume_everything();
        self.governing = false;
        self.listener = None;
    }

    pub(crate) fn connection_of(&mut self, peer: Peer) -> Option<&mut Connection> {
        self.connections.values_mut().find(|connection| connection.peer == peer)
    }
}

fn listen(name: &str) -> std::io::Result<UnixListener> {
    let address = SocketAddr::from_abstract_name(name)?;
    let listener = UnixListener::bind_addr(&address)?;
    // std listens with a backlog of 128 (4,096 in newer versions): 300 shims may start at once.
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
