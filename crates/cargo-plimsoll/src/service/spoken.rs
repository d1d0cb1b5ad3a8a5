//! What a plain Cargo's build says in its own terminal: it has no driver that could.
//!
//! Deliberately not here: files. What is written there by somebody else than Cargo may be written over.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};

use plimsoll_core::event::Header;
use plimsoll_view::Entry;
use rustix::fs::OFlags;

/// Our own program: a driver tells its terminal itself.
const DRIVER: &str = "cargo-plimsoll";

/// Says it where the Cargo of this build writes its messages. A terminal that takes nothing now (Ctrl-S) is not waited
/// for.
pub(super) fn say(header: &Header, entry: &Entry) {
    // `<start>-<process>`.
    let Some((_, pid)) = header.build.0.rsplit_once('-') else { return };
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = program.file_name().and_then(|name| name.to_str()).unwrap_or(DRIVER);
    if name.trim_end_matches(" (deleted)") == DRIVER {
        return;
    }
    let path = format!("/proc/{pid}/fd/2");
    let Ok(kind) = fs::metadata(&path).map(|file| file.file_type()) else { return };
    // Cargo's progress bar stands there, with the cursor at its beginning.
    let cleared = if kind.is_char_device() { "\x1b[K" } else { "" };
    if !kind.is_char_device() && !kind.is_fifo() {
        return;
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    if let Ok(mut terminal) = OpenOptions::new().write(true).custom_flags(flags).open(path) {
        let _ = terminal.write_all(format!("{cleared}{entry}\n").as_bytes());
    }
}
