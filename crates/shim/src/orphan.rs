//! Nobody governs a unit any more, or nobody is left who asked for it. Nothing stays stopped or starved, and a person is
//! told once.
//!
//! The notice goes to the standard error of *Cargo*, our parent: what the shim itself writes Cargo would
//! keep as this crate's diagnostics and show again in every later build. A marker in the build's temporary
//! directory makes sure that it is said once; the last shim takes the directory away, as nobody else will.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{PidfdFlags, PidfdGetfdFlags};

use crate::tokens::UnitTokens;
use crate::{child, env, tree};

/// In the build's temporary directory: somebody has said it.
const MARKER: &str = "governor-is-gone";

const NOTICE: &str =
    "warning: Plimsoll ended unexpectedly; the build goes on without a memory budget\n";

/// The unit goes on alone: continues what the governor may have stopped, and gives the compiler tokens for all
/// processors.
pub(crate) fn carry_on(tokens: Option<&UnitTokens>) {
    tree::continue_all();
    if let Some(tokens) = tokens {
        child::fill(tokens);
    }
}

/// Tells the person at the terminal, unless another shim has.
pub(crate) fn say_once() {
    let Some(dir) = build_dir() else { return };
    if fs::File::create_new(dir.join(MARKER)).is_ok() {
        say(Some(NOTICE));
    }
}

/// Tells the person at the terminal this, where there is something to be told.
pub(crate) fn say(text: Option<&str>) {
    if let Some(text) = text
        && let Some(mut cargo) = cargos_stderr()
    {
        let _ = cargo.write_all(text.as_bytes());
    }
}

/// The process that has started us, and is to use what we make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Starter(Option<rustix::process::Pid>);

impl Starter {
    /// To be asked for when this process begins.
    pub(crate) fn of_this_process() -> Self {
        Self(rustix::process::getppid())
    }

    /// It has ended: the kernel has given us to somebody else.
    pub(crate) fn is_gone(self) -> bool {
        self != Self::of_this_process()
    }
}

/// Whether the build's driver has died, which keeps its temporary directory locked as long as it lives: a governor
/// of the account's does not die with it.
pub(crate) fn driver_is_gone() -> bool {
    let Some(dir) = build_dir().and_then(|dir| fs::File::open(dir).ok()) else { return false };
    rustix::fs::flock(&dir, rustix::fs::FlockOperation::NonBlockingLockShared).is_ok()
}

/// Takes the build's temporary directory away where no other unit uses it any more.
pub(crate) fn clean_up() {
    let Some(dir) = build_dir() else { return };
    let links = std::env::var_os(env::LINK_DIR).map(PathBuf::from);
    let known = |path: &Path| {
        path.file_name().is_some_and(|name| name == MARKER) || Some(path) == links.as_deref()
    };
    let Ok(found) = fs::read_dir(&dir) else { return };
    // A unit's own directory means that it still runs, and its linker may still be to come.
    if !found.flatten().all(|entry| known(&entry.path())) {
        return;
    }
    if let Some(links) = links.filter(|links| links.starts_with(&dir)) {
        for link in fs::read_dir(&links).into_iter().flatten().flatten() {
            if link.file_type().is_ok_and(|kind| kind.is_symlink()) {
                let _ = fs::remove_file(link.path());
            }
        }
        let _ = fs::remove_dir(links);
    }
    let _ = fs::remove_file(dir.join(MARKER));
    let _ = fs::remove_dir(dir);
}

fn build_dir() -> Option<PathBuf> {
    std::env::var_os(env::TMP).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// Cargo's standard error: its very descriptor where the kernel lets us have it (ptrace rules), else opened
/// by name where that means the same thing, which it does for a terminal and a pipe.
fn cargos_stderr() -> Option<fs::File> {
    let cargo = rustix::process::getppid().filter(|pid| pid.as_raw_pid() != 1)?;
    let taken = rustix::process::pidfd_open(cargo, PidfdFlags::empty())
        .and_then(|process| rustix::process::pidfd_getfd(process, 2, PidfdGetfdFlags::empty()));
    if let Ok(descriptor) = taken {
        return Some(fs::File::from(descriptor));
    }
    let path = format!("/proc/{}/fd/2", cargo.as_raw_pid());
    let kind = fs::metadata(&path).ok()?.file_type();
    if kind.is_char_device() || kind.is_fifo() {
        fs::OpenOptions::new().write(true).open(path).ok()
    } else {
        None
    }
}
