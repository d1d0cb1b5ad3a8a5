//! One unit, from its registration to its end.
//!
//! ```text
//!             hello                admit
//! (no socket) ----> waiting ---------------> running --- exit ---> finished
//!      |            |  ^  |                   |  |  |
//!      v            |  |  | leave, refuse     |  |  | abort: kill, clean up
//!   exec the        |  |  v                   |  |  v
//!   compiler        |  |  exit 1              |  |  exit 1
//!      ^            |  '------- retry, lost --'  '-- governor gone --> running, alone
//!      '--- gone ---'          (kill, clean up)
//! ```

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::{ChildStderr, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use plimsoll_core::UnitId;
use plimsoll_core::invocation::{Emit, Invocation};
use plimsoll_core::oversized::{Shrink, Slimmer};
use plimsoll_core::unit::UnitFacts;
use plimsoll_proto::{ToGovernor, ToShim, VERSION};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, OFlags, memfd_create};

use crate::allocator::GiveBack;
use crate::child::{self, Child, Pages, Raise};
use crate::command_line::CommandLine;
use crate::connection::{DeathVerdict, FromGovernor, GovernorConnection};
use crate::ending::{self, ChildEnding};
use crate::linker;
use crate::metadata::{self, Comparison, Kept};
use crate::orphan::Starter;
use crate::partial_outputs::PartialOutputs;
use crate::stderr::Forwarder;
use crate::tokens::UnitTokens;
use crate::transport::Transport;
use crate::{diagnostic, env, loss, orphan, tree};

/// What a person reads where the governor knows of no build that the unit is of.
const UNGOVERNED: &str = "warning: Plimsoll finds no Cargo process that started this compiler; the compiler runs without a memory budget\n";

/// A compiler that stands still for so long may have been left so; see [`Unit::mind_silence`].
const SILENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Compiles, under the governor where there is one.
pub(crate) fn run(line: &CommandLine, invocation: Invocation) -> ChildEnding {
    let starter = Starter::of_this_process();
    let facts = line.facts(&invocation);
    let retryable = facts.retryable;
    let reached = Transport::find().and_then(|transport| {
        transport.open().map(|(governor, socket)| (transport, governor, socket))
    });
    let Some((transport, mut governor, socket)) = reached else {
        // Either nobody governs, or the driver has died and with it nobody takes its directory away.
        orphan::clean_up();
        return ending::become_command(line.command());
    };
    governor.say(&hello(&facts, None));
    // What can be known now is found out while the governor thinks.
    GovernedUnit {
        line,
        transport,
        socket,
        facts,
        governor: Some(governor),
        retryable,
        forwarder: Forwarder::default(),
        partial_outputs: PartialOutputs::of(&invocation),
        invocation,
        kept: None,
        runs: 0,
        again: false,
        shrink: Shrink::No,
        rejoined: 0,
        raise: Raise::needed(),
        starter,
    }
    .run()
}

/// The registration; of a compiler that `runs` already, too.
fn hello(facts: &UnitFacts, runs: Option<u32>) -> ToGovernor {
    let priority = std::env::var(env::PRIORITY).ok().and_then(|word| word.parse().ok());
    ToGovernor::Hello { version: VERSION, facts: Box::new(facts.clone()), runs, priority }
}

struct GovernedUnit<'a> {
    line: &'a CommandLine,
    /// To whom it turns.
    transport: Transport,
    /// The socket of the governor that it is connected with.
    socket: OsString,
    facts: UnitFacts,
    invocation: Invocation,
    /// `None` once it is gone.
    governor: Option<GovernorConnection>,
    retryable: bool,
    forwarder: Forwarder,
    partial_outputs: PartialOutputs,
    /// The metadata of an earlier run that dependents may have read.
    kept: Option<Kept>,
    /// How often the compiler was started.
    runs: u32,
    /// Should the compiler be lost to somebody else, it is to be run again.
    again: bool,
    /// How far it is to go to need less.
    shrink: Shrink,
    /// How often it has turned to another governor.
    rejoined: u32,
    raise: Raise,
    starter: Starter,
}

/// The answer to the registration.
enum Answer {
    Admitted(UnitId, Option<UnitTokens>),
    /// Nobody governs it (any more).
    Alone,
    /// The unit is not to run.
    End(ChildEnding),
}

/// How one run of the compiler came to its end.
enum Outcome {
    Ended(ExitStatus),
    /// Somebody else has ended it by this signal, or memory ran out; it is run again.
    Lost(i32),
    Retry,
    Abort,
    NotStarted(std::io::Error),
}

/// One run of the compiler.
struct Run {
    child: Child,
    /// Its standard output (procedural macros print): passed on when it is clear that the run counts.
    printed: Option<File>,
    stderr: Option<ChildStderr>,
    tokens: Option<Arc<UnitTokens>>,
}

/// A run's own temporary directory, so that what a killed one leaves there can be told. It goes with the run.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is empty, unless the compiler was killed.
        if fs::remove_dir(&self.0).is_err() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

impl GovernedUnit<'_> {
    fn run(mut self) -> ChildEnding {
        let ending = self.run_to_the_end();
        // Its second name goes before the process does.
        self.kept = None;
        self.partial_outputs.finish();
        if self.governor.is_none() || self.transport.leads_to_another() && orphan::driver_is_gone()
        {
            orphan::clean_up();
        }
        ending
    }

    fn run_to_the_end(&mut self) -> ChildEnding {
        loop {
            // Made while the governor thinks, as creating it takes time.
            let scratch = self.scratch();
            let (unit, tokens) = match self.wait() {
                Answer::Admitted(unit, tokens) => (Some(unit), tokens),
                // Nobody is left who could use what it makes.
                Answer::Alone if self.starter.is_gone() => return ChildEnding::FAILED,
                Answer::Alone if self.runs == 0 => {
                    drop(scratch);
                    orphan::clean_up();
                    return ending::become_command(self.line.command());
                }
                Answer::Alone => (None, None),
                Answer::End(ending) => return ending,
            };
            self.runs += 1;
            let started = SystemTime::now();
            let outcome = self.run_once(unit, tokens, scratch.as_ref());
            if let Some(scratch) = scratch {
                self.partial_outputs.read_note(&scratch.0);
            }
            match outcome {
                Outcome::Retry => self.prepare_again(started),
                Outcome::Abort => {
                    self.partial_outputs.sweep(started);
                    self.say(&ToGovernor::Finished { ok: false, differs: false });
                    return ChildEnding::FAILED;
                }
                Outcome::Lost(signal) => {
                    tree::kill_all();
                    self.prepare_again(started);
                    self.say(&ToGovernor::Lost { signal });
                }
                Outcome::Ended(status) => return self.finish(ChildEnding::from(status)),
                Outcome::NotStarted(error) => {
                    let program = self.line.program.display().to_string();
                    diagnostic::plain(&format!("cannot run `{program}`: {error}"));
                    self.say(&ToGovernor::Finished { ok: false, differs: false });
                    return ChildEnding::NOT_STARTED;
                }
            }
        }
    }

    fn say(&mut self, message: &ToGovernor) {
        if let Some(governor) = &mut self.governor {
            governor.say(message);
        }
    }

    /// Waits for the governor's word.
    fn wait(&mut self) -> Answer {
        let Some(governor) = &mut self.governor else { return Answer::Alone };
        loop {
            match governor.wait() {
                FromGovernor::Message(ToShim::Admit { unit, again, shrink }, tokens) => {
                    (self.again, self.shrink) = (again, shrink);
                    return Answer::Admitted(unit, tokens);
                }
                // The governor has killed what we took for lost: its word comes late.
                FromGovernor::Message(ToShim::Retry, _) => {}
                FromGovernor::Message(ToShim::Leave | ToShim::Abort, _) => {
                    return Answer::End(ChildEnding::FAILED);
                }
                FromGovernor::Message(ToShim::Refuse { text }, _) => {
                    diagnostic::error(&text, self.line.wants_json());
                    return Answer::End(ChildEnding::FAILED);
                }
                FromGovernor::Message(ToShim::Pong, _) => {}
                FromGovernor::Message(ToShim::Ungoverned { say }, _) => {
                    self.governor = None;
                    orphan::say(say.then_some(UNGOVERNED));
                    return Answer::Alone;
                }
                FromGovernor::Silent(text) => {
                    self.governor = None;
                    orphan::say(text.as_deref());
                    return Answer::Alone;
                }
                FromGovernor::Gone => {
                    self.governor = None;
                    if self.starter.is_gone() || !self.rejoin(None) {
                        orphan::say_once();
                        return Answer::Alone;
                    }
                    return self.wait();
                }
            }
        }
    }

    /// The governor is gone: turns to the next one, where there can be one. Says whether there is.
    fn rejoin(&mut self, runs: Option<u32>) -> bool {
        /// A governor that comes and goes more often than this is none.
        const OFTEN: u32 = 5;
        self.rejoined += 1;
        if !self.transport.leads_to_another() || self.rejoined > OFTEN {
            return false;
        }
        let Some((mut governor, socket)) = self.transport.open() else { return false };
        governor.say(&hello(&self.facts, runs));
        if self.forwarder.announced() {
            governor.say(&ToGovernor::Announced);
        }
        (self.governor, self.socket) = (Some(governor), socket);
        true
    }

    /// The next run's temporary directory: in the driver's, which goes with the build. Where there is no driver there is
    /// none, because a shim that is told to end with its build (Ctrl-C) could not take it away.
    fn scratch(&self) -> Option<Scratch> {
        if self.invocation.emit != Emit::Build || self.governor.is_none() {
            return None;
        }
        let build = std::env::var_os(env::TMP).filter(|dir| !dir.is_empty())?;
        let dir = PathBuf::from(build).join(format!("u{}-{}", std::process::id(), self.runs + 1));
        fs::DirBuilder::new().mode(0o700).create(&dir).ok()?;
        Some(Scratch(dir))
    }

    fn run_once(
        &mut self,
        unit: Option<UnitId>,
        tokens: Option<UnitTokens>,
        scratch: Option<&Scratch>,
    ) -> Outcome {
        let mut command = self.line.command();
        let tokens = tokens.map(Arc::new);
        if let Some(tokens) = &tokens {
            child::offer(tokens, &mut command);
        }
        if let Some(scratch) = scratch {
            command.env("TMPDIR", &scratch.0);
        }
        if let Some(unit) = unit {
            self.send_linker_through_us(unit, &mut command);
        }
        if self.shrink == Shrink::OtherOutput {
            command.args(Slimmer::of(&self.invocation).arguments);
        }
        if self.shrink >= Shrink::SameOutput {
            GiveBack::Sooner.tell(&mut command);
        } else if self.invocation.links {
            GiveBack::Soon.tell(&mut command);
        }
        if self.retryable {
            command.stderr(Stdio::piped());
            tree::adopt_orphans();
        }
        // A file, because nobody need watch it.
        let printed = self.retryable.then(|| memfd_create("stdout", MemfdFlags::CLOEXEC).ok());
        let printed = printed.flatten().map(File::from);
        if let Some(file) = printed.as_ref().and_then(|file| file.try_clone().ok()) {
            command.stdout(file);
        }
        let pages = if self.shrink == Shrink::No { Pages::Usual } else { Pages::Small };
        let mut child = match Child::start(&mut command, tokens.clone(), self.raise, pages) {
            Ok(child) => child,
            Err(error) => return Outcome::NotStarted(error),
        };
        self.say(&ToGovernor::Started { pid: child.id() });
        let stderr = child.take_stderr();
        // What cannot be switched is read in small pieces after a poll: that does not block either.
        if let Some(stderr) = &stderr {
            let _ = rustix::fs::fcntl_setfl(stderr, OFlags::NONBLOCK);
        }
        self.watch(Run { child, printed, stderr, tokens })
    }

    fn send_linker_through_us(&self, unit: UnitId, command: &mut std::process::Command) {
        let dir = self.transport.link_dir();
        if self.line.wrapper.is_some() {
            return;
        }
        if let Some(dir) = dir
            && let Some(detour) = linker::detour(&self.invocation, dir.as_ref())
        {
            command
                .arg(detour.argument)
                .env(env::LINK_DIR, dir)
                .env(env::SOCKET, &self.socket)
                .env(env::LINKER, detour.real)
                .env(env::UNIT, OsString::from(unit.0.to_string()));
        }
    }

    /// Stays with the compiler until it has ended: passes on what it says, does what the governor says.
    fn watch(&mut self, mut run: Run) -> Outcome {
        loop {
            let [ended, said, told] = self.poll(&run);
            if ![ended, said, told].contains(&true) {
                self.mind_silence(&run);
            }
            // First the governor: what a dying compiler says is not to be passed on.
            if told && let Some(outcome) = self.obey(&mut run) {
                return outcome;
            }
            if said {
                self.forward(&mut run);
            }
            if ended {
                return self.ended(run);
            }
        }
    }

    /// Waits until the child has ended, has said something, or the governor has.
    fn poll(&self, run: &Run) -> [bool; 3] {
        let mut ready = vec![PollFd::from_borrowed_fd(run.child.descriptor(), PollFlags::IN)];
        ready.extend(run.stderr.as_ref().map(|it| PollFd::new(it, PollFlags::IN)));
        ready.extend(self.governor.as_ref().map(|it| PollFd::new(it, PollFlags::IN)));
        let patience = self.transport.leads_to_another().then_some(&SILENCE);
        if rustix::event::poll(&mut ready, patience).is_err() {
            return [false; 3];
        }
        let mut ready = ready.iter().map(|fd| !fd.revents().is_empty());
        let mut next = |is_there: bool| is_there && ready.next().unwrap_or(false);
        [next(true), next(run.stderr.is_some()), next(self.governor.is_some())]
    }

    /// Reads what the governor has said. An outcome where that ended the run.
    fn obey(&mut self, run: &mut Run) -> Option<Outcome> {
        while let Some(received) = self.governor.as_mut().and_then(GovernorConnection::hear) {
            match received {
                FromGovernor::Message(ToShim::Retry, _) if self.retryable => {
                    // It may have been faster: then all is well, and nothing is run again.
                    if !run.child.kill().is_ok_and(|status| status.success()) {
                        tree::kill_all();
                        return Some(Outcome::Retry);
                    }
                }
                FromGovernor::Message(ToShim::Abort, _) => return Some(Self::end_for_nobody(run)),
                FromGovernor::Message(ToShim::Ungoverned { say }, _) => {
                    self.governor = None;
                    if self.starter.is_gone() {
                        return Some(Self::end_for_nobody(run));
                    }
                    orphan::say(say.then_some(UNGOVERNED));
                }
                FromGovernor::Message(..) => {}
                FromGovernor::Gone | FromGovernor::Silent(_) => {
                    self.governor = None;
                    if self.starter.is_gone() {
                        return Some(Self::end_for_nobody(run));
                    }
                    orphan::carry_on(run.tokens.as_deref());
                    if !self.rejoin(Some(run.child.id())) {
                        orphan::say_once();
                    }
                }
            }
        }
        None
    }

    /// Nothing has happened for a while. Where the compiler stands still and the governor does not answer, its watchdog would
    /// let it go on; where that is dead as well, nobody else would. It stays the governor's, which may be back at any moment.
    fn mind_silence(&mut self, run: &Run) {
        let Some(governor) = &mut self.governor else { return };
        if !tree::is_stopped(run.child.id()) || governor.asks() {
            return;
        }
        orphan::say(governor.silence().as_deref());
        tree::continue_all();
    }

    /// Nobody is left who could use what it makes.
    fn end_for_nobody(run: &mut Run) -> Outcome {
        let _ = run.child.kill();
        tree::kill_all();
        Outcome::Abort
    }

    /// Passes on what the compiler has said, as far as it is there.
    fn forward(&mut self, run: &mut Run) {
        let mut bytes = [0; 16 * 1024];
        while let Some(stderr) = &mut run.stderr {
            match stderr.read(&mut bytes) {
                Ok(0) => run.stderr = None,
                Ok(read) => {
                    if self.forwarder.take(&bytes[..read], &mut std::io::stderr()) {
                        self.say(&ToGovernor::Announced);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => run.stderr = None,
            }
        }
    }

    fn ended(&mut self, mut run: Run) -> Outcome {
        let status = match run.child.wait() {
            Ok(status) => status,
            Err(error) => return Outcome::NotStarted(error),
        };
        let by_somebody = loss::by_somebody(ChildEnding::from(status)).filter(|_| self.retryable);
        if by_somebody.is_some()
            && let Some(verdict) = self.governor.as_mut().and_then(GovernorConnection::verdict)
        {
            tree::kill_all();
            return match verdict {
                DeathVerdict::Retry => Outcome::Retry,
                DeathVerdict::Abort => Outcome::Abort,
            };
        }
        self.forward(&mut run);
        let by_its_word = loss::by_its_word(ChildEnding::from(status), &self.forwarder);
        if let Some(signal) = by_somebody.or(by_its_word)
            && self.retryable
            && self.governor.is_some()
            && self.again
        {
            // It will run again and say it again.
            return Outcome::Lost(signal);
        }
        // What the compiler's own children still say Cargo would wait for as well.
        if let Some(stderr) = &run.stderr {
            let _ = rustix::fs::fcntl_setfl(stderr, OFlags::empty());
            self.forward(&mut run);
        }
        // Its place in the file is that of the compiler's last word.
        if let Some(file) = &mut run.printed
            && file.stream_position().is_ok_and(|length| length > 0)
            && file.rewind().is_ok()
        {
            let _ = std::io::copy(file, &mut std::io::stdout());
        }
        self.forwarder.finish(&mut std::io::stderr());
        Outcome::Ended(status)
    }

    /// After a run that did not count: cleans up, and keeps what dependents have read.
    fn prepare_again(&mut self, started: SystemTime) {
        self.partial_outputs.sweep(started);
        self.forwarder.begin_again();
        if self.kept.is_none()
            && self.forwarder.announced()
            && let Some(path) = metadata::path(&self.invocation)
        {
            let private = std::env::var_os(env::TMP).map(PathBuf::from);
            // Where it cannot be kept, dependents are built again by the next Cargo: slower, not wrong.
            self.kept = Kept::keep(path, private.as_deref()).ok();
        }
    }

    /// The compiler has ended for good.
    fn finish(&mut self, ending: ChildEnding) -> ChildEnding {
        let ok = ending == ChildEnding::Code(0);
        let differs = ok
            && self
                .kept
                .take()
                .is_some_and(|kept| matches!(kept.settle(), Ok(Comparison::Differs)));
        self.say(&ToGovernor::Finished { ok: ok && !differs, differs });
        if !differs {
            return ending;
        }
        diagnostic::error(&self.came_out_differently(), self.line.wants_json());
        ChildEnding::FAILED
    }

    /// Why that is, and what helps.
    fn came_out_differently(&self) -> String {
        let name = &self.invocation.crate_name;
        let why = match (self.facts.threads, self.invocation.threads) {
            (threads @ 2.., _) => format!(
                "rustc's front end runs {threads} threads here, and with more than one its metadata differs each time. \
                 Run the same command again, or drop `-Zthreads` and `--jobs-frontend`"
            ),
            (_, Some(_)) => "Its build is not deterministic, most often because of a procedural macro. Run the same command again"
                .to_owned(),
            (_, None) => "Its build is not deterministic, most often because of a procedural macro, or because a nightly \
                          rustc runs several front-end threads by default. Run the same command again, or set \
                          `-Zthreads=1`"
                .to_owned(),
        };
        format!(
            "crate `{name}` was compiled twice to save memory, and the two outputs differ; other crates already use \
             the first. {why}"
        )
    }
}
