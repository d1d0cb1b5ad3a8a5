//! The governor: its loop, and the parts of which each keeps a state of its own.
//!
//! | What changes | Where |
//! |---|---|
//! | who is connected | [`Connections`] |
//! | the builds | [`Builds`], one in [`GovernedBuild`](crate::build::GovernedBuild) |
//! | what units were seen to do | [`UnitRecords`] |
//! | processes: found, measured, paused, killed | [`Processes`] |
//! | limits, and the budgets that follow | [`MemoryLimits`] |
//! | when what is looked at | [`Cadence`] |
//! | what an account's governor looks at beside | [`AccountDuties`] |
//!
//! The files in this folder bring these together, each for one kind of news: what clients say, what the schedule
//! wants done, what a measurement shows.

mod account;
mod builds;
mod effects;
mod messages;
mod sampling;
mod units;

use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use plimsoll_core::event::Event;
use plimsoll_core::schedule::{Input, Schedule};
use plimsoll_core::settings::Memory;
use plimsoll_core::{BuildId, BuildNo, Millis};
use plimsoll_history::History;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::account_duties::AccountDuties;
use crate::builds::Builds;
use crate::cadence::Cadence;
use crate::connections::{Accepted, Connections};
use crate::error::GovernorError;
use crate::graph::GraphReader;
use crate::memory_limits::MemoryLimits;
use crate::options::{Observer, Options, Wake};
use crate::processes::Processes;
use crate::unit_records::UnitRecords;

/// The governor of the builds that share a memory budget.
pub struct Governor {
    options: Options,
    socket: String,
    started: Instant,
    /// Compilers are still governed: not any more once Cargo has become the user's own program.
    governing: bool,
    schedule: Schedule,
    connections: Connections,
    builds: Builds,
    units: UnitRecords,
    processes: Processes,
    limits: MemoryLimits,
    cadence: Cadence,
    /// Opened with the first question.
    history: Option<History>,
    /// Builds come from elsewhere; else there is one, which is below this process.
    account: Option<AccountDuties>,
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
        let connections = Connections::listen(&socket)?;
        Self::with(options, socket, connections, None)
    }

    /// The governor of all builds of an account, which turn to `listener`.
    ///
    /// # Errors
    /// Where `/proc` cannot be read.
    pub fn of_account(options: Options, listener: UnixListener) -> Result<Self, GovernorError> {
        let connections = Connections::on(listener, "the account's governor")?;
        Self::with(options, String::new(), connections, Some(AccountDuties::default()))
    }

    fn with(
        options: Options,
        socket: String,
        connections: Connections,
        account: Option<AccountDuties>,
    ) -> Result<Self, GovernorError> {
        let processes = Processes::below(std::process::id()).map_err(GovernorError::Processes)?;
        let (limits, at_start) = MemoryLimits::of_this_process(options.budget())?;
        Ok(Self {
            schedule: Schedule::new(options.cores, at_start),
            socket,
            started: Instant::now(),
            governing: true,
            connections,
            builds: Builds::new(),
            units: UnitRecords::new(account.is_some()),
            processes,
            limits,
            cadence: Cadence::default(),
            history: None,
            account,
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
            self.accept_waiting(observer);
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
    fn decide(&mut self, input: Input) {
        let now = self.now();
        for effect in self.schedule.handle(now, input) {
            self.carry_out(now, effect);
        }
    }

    fn wait(&self, extra: &[BorrowedFd<'_>], deadline: Millis) -> Result<Woken, GovernorError> {
        let now = self.now();
        let mut until = deadline.min(self.next_measurement());
        if let Some(again) = self.connections.deaf_until(now) {
            until = until.min(again);
        }
        let span = Duration::from_millis((until - now).0);
        let timeout =
            Timespec { tv_sec: span.as_secs() as i64, tv_nsec: i64::from(span.subsec_nanos()) };
        let ids = self.connections.ids();
        let mut fds = Vec::with_capacity(ids.len() + extra.len() + 2);
        fds.extend(self.connections.poll_fds());
        fds.extend(extra.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        let reads = self.builds.iter().filter_map(|(no, it)| Some((no, it.graph().reader()?)));
        let graphs: Vec<(BuildNo, &GraphReader)> = reads.collect();
        fds.extend(graphs.iter().map(|(_, graph)| PollFd::new(*graph, PollFlags::IN)));
        let graphs: Vec<BuildNo> = graphs.iter().map(|(no, _)| *no).collect();
        let listener = self.connections.listener(now);
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

    /// Takes everybody who waits to be let in. Who connects has a word to say, and most have said it by now.
    pub fn accept_waiting(&mut self, observer: &mut dyn Observer) {
        loop {
            let now = self.now();
            match self.connections.accept(now) {
                Accepted::Nobody => return,
                // Who finds no room goes on without us.
                Accepted::Refused => {}
                Accepted::As(id) => self.serve(id, observer),
            }
        }
    }

    fn serve(&mut self, id: u64, observer: &mut dyn Observer) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.flush();
        let received = connection.receive();
        for message in received.messages {
            self.handle_message(id, message, observer);
        }
        if received.ended
            && let Some(connection) = self.connections.remove(id)
        {
            self.hung_up(connection.peer);
        }
    }

    /// What builds before this one have shown.
    fn history(&mut self) -> &mut History {
        if self.history.is_none() {
            let (history, warning) = History::open(&self.options.home);
            if let Some(text) = warning {
                let now = self.now();
                self.builds.say_to_all(now, &Event::Notice { text });
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
        self.connections.stop_listening();
    }

    /// Nobody is governed, and nobody is connected.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.builds.is_empty() && self.connections.is_empty()
    }

    /// The budget is named anew, and what is kept free beside it.
    pub fn name_budget(&mut self, memory: Memory, reserve: Memory) {
        if (memory, reserve) != (self.options.memory, self.options.reserve) {
            (self.options.memory, self.options.reserve) = (memory, reserve);
            self.limits.name_anew(self.options.budget());
        }
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
