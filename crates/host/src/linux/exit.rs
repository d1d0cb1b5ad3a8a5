//! How a process ended that is another's child: a build script is Cargo's.
//!
//! Linux 6.15 and later tell it to whoever held a pidfd of the process (`PIDFD_GET_INFO` with
//! `PIDFD_INFO_EXIT`, include/uapi/linux/pidfd.h), once its parent has waited for it.
#![expect(unsafe_code, reason = "the question is an ioctl that rustix has no function for")]

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::ioctl::{Updater, ioctl, opcode};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::process::Ended;

/// `struct pidfd_info` in its first version, which every later kernel still takes.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    process: [u32; 3],
    users: [u32; 8],
    exit_code: i32,
}

const EXIT: u64 = 1 << 3;
const GET_INFO: rustix::ioctl::Opcode = opcode::read_write::<Info>(0xFF, 11);

/// A process whose end is of interest.
#[derive(Debug)]
pub struct Exit(OwnedFd);

impl Exit {
    /// Of the process that has the pid now: whoever asks compares its start afterwards.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(pid.cast_signed())?;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Self)
    }

    /// Whether the process has ended; what it started may run on.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        matches!(poll(&mut ready, Some(&Timespec::default())), Ok(1..))
    }

    /// How the process ended, where it has.
    #[must_use]
    pub fn ended(&self) -> Ended {
        let mut info = Info { mask: EXIT, ..Info::default() };
        // SAFETY: the kernel reads and writes a structure of the size that is part of the opcode, and `Info`
        // is laid out as its header says: two u64, eleven u32 and an i32.
        let asked = unsafe { ioctl(self.0.as_fd(), Updater::<GET_INFO, Info>::new(&mut info)) };
        match asked {
            Ok(()) if info.mask & EXIT != 0 => Ended::With(info.exit_code),
            Ok(()) => Ended::NotYet,
            // ESRCH: waited for, by a kernel that forgets it then. Else: a kernel that knows no such question.
            Err(_) => Ended::Somehow,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_end_is_told_after_the_parent_has_waited() {
        for code in [0, 3] {
            let mut command = Command::new("sh");
            command.arg("-c").arg(format!("read x; exit {code}")).stdin(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let exit = Exit::of(child.id()).unwrap();
            let before = exit.ended();
            assert!(!exit.has_ended());
            child.wait().unwrap();
            assert!(exit.has_ended());
            match exit.ended() {
                Ended::Somehow => assert_ne!(before, Ended::With(code), "an older kernel"),
                ended => {
                    assert_eq!(before, Ended::NotYet);
                    assert_eq!(ended, Ended::With(code << 8));
                }
            }
        }
    }
}
