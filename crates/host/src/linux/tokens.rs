//! Tokens in a pipe: what GNU make's jobserver protocol is made of.
//!
//! A token is one byte. Whoever wants to run one thread or job more reads one, and writes it back
//! afterwards. Readers expect a pipe that blocks, and share its file description with us; so what is
//! taken back here without waiting is read through a description of our own, opened through
//! `/proc/self/fd`.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ioctl_fionread, read, write};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::HostError;
use crate::process::Tokens;

/// What a token looks like: any byte will do; make and the `jobserver` crate write this one.
const TOKEN: u8 = b'+';
/// More tokens than this are never in one pipe, so that writing cannot block: the smallest pipe that
/// the kernel makes (for users who have too many) holds one page.
const MOST: u32 = 4096;

/// The two ends of a pipe of tokens.
#[derive(Debug)]
pub(super) struct Pipe {
    pub read: OwnedFd,
    pub write: OwnedFd,
    /// The reading end once more, not blocking.
    ours: OwnedFd,
    /// Tokens that were put in and not taken back.
    issued: u32,
}

impl Pipe {
    pub(super) fn anonymous(flags: PipeFlags) -> Result<Self, HostError> {
        let (read, write) =
            pipe_with(flags).map_err(|error| HostError::new("make", "a jobserver pipe", error))?;
        Self::new(read, write)
    }

    pub(super) fn new(read: OwnedFd, write: OwnedFd) -> Result<Self, HostError> {
        let path = format!("/proc/self/fd/{}", read.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let ours = rustix::fs::open(&*path, flags, Mode::empty())
            .map_err(|error| HostError::new("open", path, error))?;
        Ok(Self { read, write, ours, issued: 0 })
    }

    /// Puts `n` tokens in; returns how many there was room for.
    pub(super) fn put(&mut self, n: u32) -> io::Result<u32> {
        let room = MOST.saturating_sub(self.unread());
        let mut left = n.min(room);
        while left > 0 {
            let batch = [TOKEN; 64];
            let len = batch.len().min(left as usize);
            match write(&self.write, &batch[..len]) {
                Ok(written) => {
                    self.issued += written as u32;
                    left -= written as u32;
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    return Err(HostError::new("write to", "a jobserver pipe", error).into());
                }
            }
        }
        Ok(n.min(room))
    }

    /// Takes up to `n` unread tokens out, without waiting; returns how many.
    pub(super) fn take(&mut self, n: u32) -> io::Result<u32> {
        let mut taken = 0;
        while taken < n {
            let mut batch = [0; 64];
            let len = batch.len().min((n - taken) as usize);
            match read(&self.ours, &mut batch[..len]) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(read) => taken += read as u32,
                Err(Errno::INTR) => {}
                Err(error) => {
                    return Err(HostError::new("read from", "a jobserver pipe", error).into());
                }
            }
        }
        self.issued = self.issued.saturating_sub(taken);
        Ok(taken)
    }

    pub(super) fn unread(&self) -> u32 {
        ioctl_fionread(&self.read).map_or(0, |bytes| bytes.min(u64::from(u32::MAX)) as u32)
    }

    pub(super) fn audit(&self) -> Tokens {
        Tokens { issued: self.issued, unread: self.unread() }
    }
}

/// One compiler's own jobserver: the tokens in it are for its LLVM threads alone, so what it holds is
/// known exactly, and is back when the pipe is dropped.
#[derive(Debug)]
pub struct TokenPipe(Pipe);

impl TokenPipe {
    /// An empty pipe, not inherited by our children: it is passed with [`fds`](Self::fds).
    ///
    /// # Errors
    /// Where no pipe can be made.
    pub fn new() -> Result<Self, HostError> {
        Pipe::anonymous(PipeFlags::CLOEXEC).map(Self)
    }

    /// Grants `n` tokens more; returns how many the pipe had room for (all, below some thousands).
    ///
    /// # Errors
    /// Where the pipe cannot be written.
    pub fn issue(&mut self, n: u32) -> io::Result<u32> {
        self.0.put(n)
    }

    /// Withdraws up to `n` tokens that the compiler does not hold, without waiting; returns how many.
    ///
    /// # Errors
    /// Where the pipe cannot be read.
    pub fn withdraw(&mut self, n: u32) -> io::Result<u32> {
        self.0.take(n)
    }

    /// Tokens that are granted and not held.
    #[must_use]
    pub fn unread(&self) -> u32 {
        self.0.unread()
    }

    /// Granted and unread; the difference is what the compiler holds.
    #[must_use]
    pub fn audit(&self) -> Tokens {
        self.0.audit()
    }

    /// The reading and the writing end, to be passed to the shim.
    #[must_use]
    pub fn fds(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.0.read.as_fd(), self.0.write.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_compiler_holds_is_issued_minus_unread() {
        let mut pipe = TokenPipe::new().unwrap();
        assert_eq!(pipe.withdraw(1).unwrap(), 0, "an empty pipe does not block");
        assert_eq!(pipe.issue(5).unwrap(), 5);
        let (reading, writing) = pipe.fds();
        let mut token = [0; 2];
        assert_eq!(read(reading, &mut token), Ok(2));
        assert_eq!(pipe.audit(), Tokens { issued: 5, unread: 3 });
        assert_eq!(pipe.audit().held(), 2);
        assert_eq!(write(writing, &token[..1]), Ok(1));
        assert_eq!(pipe.audit().held(), 1);
        assert_eq!(pipe.withdraw(100).unwrap(), 4);
        assert_eq!(pipe.audit(), Tokens { issued: 1, unread: 0 });
    }

    #[test]
    fn a_pipe_is_never_filled_until_it_blocks() {
        let mut pipe = TokenPipe::new().unwrap();
        assert_eq!(pipe.issue(1_000_000).unwrap(), MOST);
        assert_eq!(pipe.issue(1).unwrap(), 0);
        assert_eq!(pipe.withdraw(u32::MAX).unwrap(), MOST);
    }

    #[test]
    fn taking_back_leaves_the_shared_end_blocking() {
        let pipe = TokenPipe::new().unwrap();
        let flags = rustix::fs::fcntl_getfl(pipe.fds().0).unwrap();
        assert!(!flags.contains(OFlags::NONBLOCK));
    }
}
