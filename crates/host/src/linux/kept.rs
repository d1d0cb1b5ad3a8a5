//! A file of the kernel's that is read again and again through one descriptor.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::procfs::number;

/// An open file of `/proc` or a cgroup: each read from its start gives its present content.
#[derive(Debug)]
pub(super) struct KeptFile {
    fd: OwnedFd,
}

impl KeptFile {
    /// `None` where there is no such file, or none that we may read.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).ok().map(|fd| Self { fd })
    }

    /// The content, as far as it fits into `buffer`; empty where it can be read no more (the cgroup was
    /// removed).
    pub(super) fn read<'a>(&self, buffer: &'a mut [u8]) -> &'a [u8] {
        let mut len = 0;
        while let Ok(read) = rustix::io::pread(&self.fd, &mut buffer[len..], len as u64) {
            len += read;
            if read == 0 || len == buffer.len() {
                break;
            }
        }
        &buffer[..len]
    }

    /// The one number that the file holds; `None` for `max` and whatever else is none.
    pub(super) fn number(&self) -> Option<u64> {
        let mut buffer = [0; 32];
        number(self.read(&mut buffer).trim_ascii())
    }
}

/// The number after `key` in a file of lines `key number`.
pub(super) fn field(text: &[u8], key: &str) -> Option<u64> {
    text.split(|b| *b == b'\n').find_map(|line| {
        number(line.strip_prefix(key.as_bytes())?.strip_prefix(b" ")?.trim_ascii())
    })
}
