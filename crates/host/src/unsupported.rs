//! Systems without an implementation: every constructor says so, and no value of these types exists.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use plimsoll_core::line::Reading;
use plimsoll_core::wall::{Height, Look};
use plimsoll_core::{Bytes, Millis};

use crate::HostError;
use crate::process::{BuildScript, Ended, Owner, Role, Tokens, Usage};

fn unsupported(what: impl AsRef<Path>) -> HostError {
    HostError::new(
        "govern on this system",
        what.as_ref(),
        io::Error::from(io::ErrorKind::Unsupported),
    )
}

/// A process whose end is of interest: not to be had on this system.
#[derive(Debug)]
pub struct Exit(Infallible);

#[expect(missing_docs, reason = "documented where it is implemented; nobody can call this")]
impl Exit {
    #[must_use]
    pub fn of(_pid: u32) -> Option<Self> {
        None
    }

    #[must_use]
    pub fn has_ended(&self) -> bool {
        match self.0 {}
    }

    #[must_use]
    pub fn ended(&self) -> Ended {
        match self.0 {}
    }
}

/// Everything below one process: not to be had on this system.
#[derive(Debug)]
pub struct ProcessTree(Infallible);

#[expect(missing_docs, reason = "documented where they are implemented; nobody can call these")]
impl ProcessTree {
    /// Fails.
    ///
    /// # Errors
    /// Always: [`io::ErrorKind::Unsupported`].
    pub fn new(root: u32) -> io::Result<Self> {
        Err(unsupported(format!("process {root}")).into())
    }

    pub fn adopt(&mut self, _pid: u32, _owner: Owner, _role: Role) {
        match self.0 {}
    }

    pub fn release(&mut self, _owner: Owner) {
        match self.0 {}
    }

    pub fn add_root(&mut self, _pid: u32, _owner: Owner) -> bool {
        match self.0 {}
    }

    pub fn remove_root(&mut self, _owner: Owner) {
        match self.0 {}
    }

    pub fn build_of(&mut self, _pid: u32) -> Option<Owner> {
        match self.0 {}
    }

    pub fn enclosing_owner(&mut self, _pid: u32) -> Option<Owner> {
        match self.0 {}
    }

    pub fn adopt_child(&mut self, _parent: u32, _pid: u32, _owner: Owner) {
        match self.0 {}
    }

    #[must_use]
    pub fn parent(&self, _pid: u32) -> Option<u32> {
        match self.0 {}
    }

    pub fn may_be_inside_script(&mut self, _pid: u32) -> bool {
        match self.0 {}
    }

    pub fn scan(&mut self) -> Vec<BuildScript> {
        match self.0 {}
    }

    pub fn sample(&mut self, _owners: Option<&[Owner]>, _now: Millis) {
        match self.0 {}
    }

    #[must_use]
    pub fn usage(&self, _owner: Owner) -> Usage {
        match self.0 {}
    }

    #[must_use]
    pub fn total(&self) -> Usage {
        match self.0 {}
    }

    #[must_use]
    pub fn programs(&self, _which: impl Fn(Owner) -> bool) -> Vec<(String, Bytes)> {
        match self.0 {}
    }

    #[must_use]
    pub fn can_page_out(&self) -> bool {
        match self.0 {}
    }

    pub fn page_out(&mut self, _owner: Owner) {
        match self.0 {}
    }

    pub fn stop(&mut self, _owner: Owner) {
        match self.0 {}
    }

    pub fn resume(&mut self, _owner: Owner) {
        match self.0 {}
    }

    pub fn kill(&mut self, _owner: Owner) {
        match self.0 {}
    }

    pub fn set_oom_score(&mut self, _owner: Owner, _adj: i32) {
        match self.0 {}
    }

    pub fn alive_below_root(&mut self) -> Vec<u32> {
        match self.0 {}
    }

    pub fn kill_session(&mut self) {
        match self.0 {}
    }
}

/// The limits above us: not to be had on this system.
#[derive(Debug)]
pub struct Limits(Infallible);

#[expect(missing_docs, reason = "documented where they are implemented; nobody can call these")]
impl Limits {
    /// Fails.
    ///
    /// # Errors
    /// Always: [`io::ErrorKind::Unsupported`].
    pub fn discover(root: &Path) -> Result<Self, HostError> {
        Err(unsupported(root))
    }

    #[must_use]
    pub fn read(&self) -> Reading {
        match self.0 {}
    }
}

/// A file system in memory: not to be had on this system.
#[derive(Debug)]
pub struct Tmpfs(Infallible);

#[expect(missing_docs, reason = "documented where they are implemented; nobody can call these")]
impl Tmpfs {
    /// There is none.
    ///
    /// # Errors
    /// Never.
    pub fn holding(_path: &Path) -> Result<Option<Self>, HostError> {
        Ok(None)
    }

    #[must_use]
    pub fn growth(&self) -> Bytes {
        match self.0 {}
    }
}

/// One compiler's own jobserver: not to be had on this system.
#[derive(Debug)]
pub struct TokenPipe(Infallible);

#[expect(missing_docs, reason = "documented where they are implemented; nobody can call these")]
impl TokenPipe {
    /// Fails.
    ///
    /// # Errors
    /// Always: [`io::ErrorKind::Unsupported`].
    pub fn new() -> Result<Self, HostError> {
        Err(unsupported("a jobserver pipe"))
    }

    pub fn issue(&mut self, _n: u32) -> io::Result<u32> {
        match self.0 {}
    }

    pub fn withdraw(&mut self, _n: u32) -> io::Result<u32> {
        match self.0 {}
    }

    #[must_use]
    pub fn unread(&self) -> u32 {
        match self.0 {}
    }

    #[must_use]
    pub fn audit(&self) -> Tokens {
        match self.0 {}
    }
}

/// The jobserver that Cargo inherits: not to be had on this system.
#[derive(Debug)]
pub struct Jobserver(Infallible);

#[expect(missing_docs, reason = "documented where they are implemented; nobody can call these")]
impl Jobserver {
    /// Fails.
    ///
    /// # Errors
    /// Always: [`io::ErrorKind::Unsupported`].
    pub fn new(_jobs: u32) -> Result<Self, HostError> {
        Err(unsupported("a jobserver pipe"))
    }

    /// Fails.
    ///
    /// # Errors
    /// Always: [`io::ErrorKind::Unsupported`].
    pub fn with_fifo(_jobs: u32, path: &Path) -> Result<Self, HostError> {
        Err(unsupported(path))
    }

    #[must_use]
    pub fn cargo_makeflags(&self) -> String {
        match self.0 {}
    }

    #[must_use]
    pub fn fifo_makeflags(&self) -> Option<String> {
        match self.0 {}
    }

    pub fn lend(&mut self, _n: u32) -> io::Result<u32> {
        match self.0 {}
    }

    pub fn take_back(&mut self) -> io::Result<bool> {
        match self.0 {}
    }

    #[must_use]
    pub fn unread(&self) -> u32 {
        match self.0 {}
    }

    #[must_use]
    pub fn audit(&self) -> Tokens {
        match self.0 {}
    }
}

/// Why there can be no wall.
#[derive(Debug, thiserror::Error)]
pub enum NoWall {
    /// Only Linux has them.
    #[error("only Linux has cgroups")]
    NoController,
    /// Nobody can be there.
    #[error("the build is behind the wall of another one")]
    Behind,
}

/// Where a wall is: not to be had on this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WallPlace(Infallible);

#[expect(missing_docs, reason = "documented where they are implemented; nobody can call these")]
impl WallPlace {
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        match self.0 {}
    }

    #[must_use]
    pub fn from_words(_words: &[OsString]) -> Option<Self> {
        None
    }

    /// # Errors
    /// None: nobody can call this.
    pub fn enter(&self) -> Result<(), HostError> {
        match self.0 {}
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self.0 {}
    }

    /// # Errors
    /// None: nobody can call this.
    pub fn remove(&self) -> Result<(), HostError> {
        match self.0 {}
    }
}

/// A wall of our own: not to be had on this system.
#[derive(Debug)]
pub struct BuildWall(Infallible);

#[expect(missing_docs, reason = "documented where they are implemented; nobody can call these")]
impl BuildWall {
    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub fn raise(_root: &Path, _pid: u32) -> Result<Self, NoWall> {
        Err(NoWall::NoController)
    }

    #[must_use]
    pub fn place(&self) -> &WallPlace {
        match self.0 {}
    }

    #[must_use]
    pub fn look(&self) -> Look {
        match self.0 {}
    }

    #[must_use]
    pub fn kills(&self) -> u64 {
        match self.0 {}
    }

    #[must_use]
    pub fn killed_by_oomd(&self) -> u64 {
        match self.0 {}
    }

    /// # Errors
    /// None: nobody can call this.
    pub fn set(&self, _height: Height) -> Result<(), HostError> {
        match self.0 {}
    }
}

/// How many processes the kernel has killed for memory: not known here.
#[must_use]
pub fn oom_kills() -> u64 {
    0
}

/// The process group that we are in: not asked for here.
#[must_use]
pub fn process_group() -> Option<u32> {
    None
}
