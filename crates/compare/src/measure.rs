//! One build, and the memory of everything that it runs.
//!
//! The sampler is the same for every arm: all processes below this one, which is a subreaper meanwhile, so that
//! nothing escapes; anonymous, shared and swapped pages ([`plimsoll_host::Usage`]). Between two samples a peak can
//! go unseen.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use plimsoll_core::{Bytes, Millis};
use plimsoll_host::{ProcessTree, Signal, Signals};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

/// Between two samples.
const PERIOD: Duration = Duration::from_millis(50);
/// How long a build that was told to end is waited for.
const GRACE: Duration = Duration::from_secs(5);
/// How much of what Cargo says is kept, from its end.
const KEPT: u64 = 64 << 10;

/// What one build came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// The highest sum over all its processes.
    pub peak: Bytes,
    /// Its time.
    pub wall: Duration,
    /// Its exit status; 128 + n where signal n ended it.
    pub exit: i32,
    /// A process of it was killed with SIGKILL, and the kernel has killed for memory meanwhile.
    pub(crate) out_of_memory: bool,
    /// The end of what it said on stderr.
    pub words: String,
}

/// What runs builds one after another, until a person has enough.
pub(crate) struct Bench {
    signals: Signals,
    /// The number of the signal that asked to end.
    pub(crate) ended_by: Option<i32>,
}

impl Bench {
    /// Catches the signals that end a program.
    pub(crate) fn new() -> anyhow::Result<Self> {
        rustix::process::set_child_subreaper(Pid::from_raw(1))
            .context("cannot become a subreaper, which measures every process of a build")?;
        let signals = Signals::catch().context("cannot catch signals")?;
        Ok(Self { signals, ended_by: None })
    }

    /// Runs a command to its end; nothing where a signal has ended it. `title` stands in the progress line.
    pub(crate) fn run(
        &mut self,
        mut command: Command,
        title: &str,
    ) -> anyhow::Result<Option<Measured>> {
        let mut words = tempfile::tempfile().context("cannot make a temporary file")?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words.try_clone()?);
        let mut tree = ProcessTree::new(std::process::id())?;
        tree.sample(None, Millis::ZERO);
        let own = tree.total().memory;
        let kills = plimsoll_host::oom_kills();
        let start = Instant::now();
        let program = command.get_program().display().to_string();
        let mut child = command.spawn().with_context(|| format!("cannot start `{program}`"))?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
            .context("cannot watch Cargo")?;
        let mut progress = Progress::new(title);
        let mut peak = Bytes::ZERO;
        let ended = self.follow(&mut child, &pidfd, |now| {
            tree.scan();
            tree.sample(None, Millis(now.as_millis() as u64));
            peak = peak.max(Bytes(tree.total().memory.0.saturating_sub(own.0)));
            progress.show(now, peak);
        });
        let wall = start.elapsed();
        drop(progress);
        // Whatever it left behind.
        tree.kill_session();
        reap();
        let status = ended?;
        if self.ended_by.is_some() {
            return Ok(None);
        }
        let words = end_of(&mut words)?;
        let exit = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let killed = exit == 137 || words.contains("signal: 9") || words.contains("signal 9");
        let out_of_memory = exit != 0 && killed && plimsoll_host::oom_kills() > kills;
        Ok(Some(Measured { peak, wall, exit, out_of_memory, words }))
    }

    fn follow(
        &mut self,
        child: &mut Child,
        pidfd: &OwnedFd,
        mut sample: impl FnMut(Duration),
    ) -> anyhow::Result<std::process::ExitStatus> {
        let start = Instant::now();
        let mut told: Option<Instant> = None;
        loop {
            sample(start.elapsed());
            let timeout =
                rustix::event::Timespec { tv_sec: 0, tv_nsec: PERIOD.subsec_nanos().into() };
            let mut fds = [
                PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for Cargo"),
            }
            for signal in self.signals.pending() {
                let Signal::End { number, from_terminal } = signal else { continue };
                self.ended_by.get_or_insert(number);
                told.get_or_insert_with(Instant::now);
                // From a terminal it has reached Cargo already.
                if let Some(number) = rustix::process::Signal::from_named_raw(number)
                    && !from_terminal
                {
                    let _ = pidfd_send_signal(pidfd, number);
                }
            }
            if let Some(status) = child.try_wait().context("cannot wait for Cargo")? {
                return Ok(status);
            }
            if told.is_some_and(|at| at.elapsed() > GRACE) {
                let _ = pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Takes leave of orphans that have come to us and ended.
fn reap() {
    use rustix::process::{WaitOptions, wait};
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

fn end_of(words: &mut File) -> anyhow::Result<String> {
    let length = words.metadata()?.len();
    words.seek(std::io::SeekFrom::Start(length.saturating_sub(KEPT)))?;
    let mut bytes = Vec::new();
    words.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One line of a terminal that is written again and again.
struct Progress<'a> {
    title: &'a str,
    shown: Option<u64>,
}

impl<'a> Progress<'a> {
    fn new(title: &'a str) -> Self {
        Self { title, shown: None }
    }

    fn show(&mut self, now: Duration, peak: Bytes) {
        if self.shown == Some(now.as_secs()) || !std::io::stderr().is_terminal() {
            return;
        }
        self.shown = Some(now.as_secs());
        let text = format!("\r\x1b[K{}: {} s, peak {peak}", self.title, now.as_secs());
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
