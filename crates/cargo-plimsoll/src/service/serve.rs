//! The governor of an account: the same loop as a driver's, with a socket that others find.
//!
//! What the user has said of the machine's budget is read again while it runs. It leaves when nobody has needed it
//! for a while, when `cargo plimsoll disable` was said, or when a newer one has taken over; with builds under way
//! it leaves after the last of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use plimsoll_core::event::{BuildLiveState, Header, Record};
use plimsoll_core::settings::Memory;
use plimsoll_core::{BuildNo, Millis};
use plimsoll_governor::{Governor, Observer, Options};
use plimsoll_host::StoppedProcess;
use plimsoll_proto::{Enabled, Governing, ToGovernor, VERSION};
use plimsoll_shim::discovery;
use plimsoll_view::{BuildState, paused_line, top_json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{READY, RUNS, STOPPED, lock, socket_of, spoken};
use crate::env::{ENABLED, Environment, MEMORY};
use crate::plimsoll_toml;

/// Nobody was governed for so long: the next build's start costs a few milliseconds more.
const IDLE: Millis = Millis(10_000);

/// While something is stopped the watchdog is told this often that this process runs.
const WORD_EVERY: Millis = Millis(1000);

/// What was said of the budget is read again this often.
const SETTINGS_EVERY: Millis = Millis(2000);

pub(super) fn run(home: &Path) -> io::Result<()> {
    let place = Place::take(home)?;
    let listener = place.listen()?;
    let (memory, reserve) = budget(home).unwrap_or_default();
    let options = Options {
        cores: processors(),
        memory,
        reserve,
        home: home.to_owned(),
        workspace_root: crate::plimsoll_toml::workspace_root,
    };
    let mut governor = Governor::of_account(options, listener).map_err(io::Error::other)?;
    plimsoll_host::raise_open_files();
    // Where the watchdog is gone, the next turn says so and is the last.
    governor.tell_of_stopped(Box::new(|stopped| drop(tell_watchdog(stopped))));
    let before = discovery::governing(home);
    place.announce()?;
    if let Some(before) = before.and_then(|it| discovery::connect(home, &it).ok()) {
        drain(before);
    }
    say(READY)?;
    let ended = Service {
        place,
        builds: Builds::default(),
        idle_since: Some(Millis::ZERO),
        read: Millis::ZERO,
        said: Millis::ZERO,
        enabled: true,
    }
    .govern(&mut governor);
    governor.let_everything_go();
    ended
}

/// Processors to plan for.
fn processors() -> u32 {
    let told = std::env::var(crate::env::PROCESSORS).ok().and_then(|text| text.parse().ok());
    let found = || std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    told.filter(|told| *told > 0).unwrap_or_else(found)
}

/// What `cargo plimsoll enable`, else the shell that started us, else the user's own file says of the budget, and of
/// what is kept free beside it; `None` where it is enabled neither for the account nor for that shell (any more). A
/// file that cannot be used says nothing here: every command says so.
fn budget(home: &Path) -> Option<(Memory, Memory)> {
    let environment = Environment::of_process();
    let enabled = fs::read(Enabled::file(home)).ok().and_then(|it| Enabled::decode(&it).ok());
    let in_shell = || {
        environment.get(ENABLED).map(|_| {
            let named = environment.get(MEMORY).and_then(|memory| memory.to_str()?.parse().ok());
            named.unwrap_or_default()
        })
    };
    let named = enabled.map(|enabled| enabled.memory).or_else(in_shell)?;
    Some(plimsoll_toml::user(&environment).unwrap_or_default().of_account(named))
}

/// Tells the one before that another has taken over.
fn drain(mut before: UnixStream) {
    // It may have ended by itself.
    let _ = before.write_all(&ToGovernor::Drain.encode());
}

/// Tells the watchdog.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

fn tell_watchdog(stopped: &[StoppedProcess]) -> io::Result<()> {
    let words: Vec<String> = stopped.iter().map(ToString::to_string).collect();
    say(&format!("{STOPPED} {}", words.join(" ")))
}

/// Where this governor is found.
struct Place {
    home: PathBuf,
    governing: Governing,
}

impl Place {
    fn take(home: &Path) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let pid = std::process::id();
        let governing = Governing {
            protocol: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stamp: discovery::stamp(&program)?,
            program,
            pid,
            socket: socket_of(pid),
        };
        Ok(Self { home: home.to_owned(), governing })
    }

    fn socket(&self) -> PathBuf {
        Governing::directory(&self.home).join(&self.governing.socket)
    }

    fn listen(&self) -> io::Result<UnixListener> {
        let _ = fs::remove_file(self.socket());
        self.sweep();
        let directory = discovery::open_directory(&Governing::directory(&self.home))?;
        // A path may be longer than a socket's address: this one never is. Nobody else can look into the
        // directory, so that the socket's own mode, set after it is there, is a second lock.
        let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), self.governing.socket);
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(self.socket(), fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    /// Governors that were killed have left their sockets: nobody listens there any more.
    fn sweep(&self) {
        let directory = Governing::directory(&self.home);
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let sockets = entries.map(|entry| entry.path());
        for socket in sockets.filter(|path| path.extension().is_some_and(|it| it == "sock")) {
            let refused = discovery::connect_path(&socket)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            if refused {
                let pid = socket.file_stem().and_then(|pid| pid.to_str()?.parse().ok());
                if let Some(pid) = pid {
                    let _ = fs::remove_dir_all(Governing::unanswered(&directory, pid));
                }
                let _ = fs::remove_file(socket);
            }
        }
    }

    /// Says where it listens, in place of whoever did before.
    fn announce(&self) -> io::Result<()> {
        let file = Governing::file(&self.home);
        let fresh = file.with_extension(self.governing.pid.to_string());
        fs::write(&fresh, self.governing.encode())?;
        fs::rename(fresh, file)
    }

    fn is_announced(&self) -> bool {
        discovery::governing(&self.home).as_ref() == Some(&self.governing)
    }

    /// Nobody finds it any more.
    fn withdraw(&self) {
        if self.is_announced() {
            let _ = fs::remove_file(Governing::file(&self.home));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.withdraw();
        let _ = fs::remove_file(self.socket());
        let directory = Governing::directory(&self.home);
        let _ = fs::remove_dir_all(Governing::unanswered(&directory, self.governing.pid));
    }
}

/// The builds as they are seen, for who asks.
#[derive(Default)]
struct Builds(BTreeMap<BuildNo, (Header, BuildState)>);

impl Observer for Builds {
    fn opened(&mut self, build: BuildNo, header: &Header) {
        self.0.insert(build, (header.clone(), BuildState::new(header)));
    }

    fn record(&mut self, build: BuildNo, record: &Record) {
        if let Some((header, state)) = self.0.get_mut(&build) {
            let was_paused = state.is_paused();
            state.apply(record);
            if state.is_paused() != was_paused {
                spoken::say(header, &paused_line(!was_paused));
            }
        }
    }

    fn closed(&mut self, build: BuildNo) {
        self.0.remove(&build);
    }

    fn status(&self, builds: &BTreeMap<BuildNo, BuildLiveState>) -> String {
        let json = |(build, now): (&BuildNo, &BuildLiveState)| {
            let (header, state) = self.0.get(build)?;
            Some(top_json(state, header, now) + "\n")
        };
        builds.iter().filter_map(json).collect()
    }
}

struct Service {
    place: Place,
    builds: Builds,
    /// Since when nobody is governed.
    idle_since: Option<Millis>,
    /// When the settings were read last.
    read: Millis,
    /// When the watchdog was told last that this process runs.
    said: Millis,
    enabled: bool,
}

impl Service {
    fn govern(mut self, governor: &mut Governor) -> io::Result<()> {
        let (end, told) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, told.try_clone()?)?;
        }
        // The watchdog reads it: it is ready when nobody does any more.
        let watchdog = io::stdout();
        loop {
            let now = governor.now();
            let deadline = now + SETTINGS_EVERY;
            let wake = governor
                .turn(&[end.as_fd(), watchdog.as_fd()], deadline, &mut self.builds)
                .map_err(io::Error::other)?;
            let now = governor.now();
            if governor.keeps_something_stopped() && now - self.said >= WORD_EVERY {
                self.said = now;
                say(RUNS)?;
            }
            if now - self.read >= SETTINGS_EVERY {
                self.read = now;
                self.follow_settings(governor);
            }
            self.idle_since = governor.is_idle().then(|| self.idle_since.unwrap_or(now));
            let idle = self.idle_since.map_or(Millis::ZERO, |since| now - since);
            let unwanted = governor.is_draining() || !self.enabled;
            if !wake.ready.is_empty() || self.idle_since.is_some() && unwanted {
                return Ok(());
            }
            if idle >= IDLE && self.leaves(governor)? {
                return Ok(());
            }
        }
    }

    fn follow_settings(&mut self, governor: &mut Governor) {
        match budget(&self.place.home) {
            Some((memory, reserve)) => governor.name_budget(memory, reserve),
            None => self.enabled = false,
        }
    }

    /// Ends where really nobody comes any more: whoever found us before is let in first.
    fn leaves(&mut self, governor: &mut Governor) -> io::Result<bool> {
        let _alone = lock(&self.place.home)?;
        self.place.withdraw();
        governor.accept_waiting(&mut self.builds);
        if governor.is_idle() {
            return Ok(true);
        }
        self.place.announce()?;
        Ok(false)
    }
}
