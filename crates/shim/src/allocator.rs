//! What rustc's allocator keeps of what was freed.
//!
//! rustc allocates with jemalloc, which keeps freed pages for ten seconds, and for as long as it is not used.
//! Told so, it gives them back by itself, from a thread of its own. Which pages it keeps changes nothing of what
//! rustc writes. Settings as in <https://jemalloc.net/jemalloc.3.html>.

use std::process::Command;

/// Where jemalloc, in the form in which rustc contains it, looks for its settings.
const NAME: &str = "MALLOC_CONF";

/// How soon a compiler gives back what it has freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GiveBack {
    /// Within a second. For one that will link, because while it waits for its linker nothing else would make it
    /// do so: 250 of the 284 MiB beside the last link of a large program were of that kind.
    Soon,
    /// Within a fifth of a second. For one that is expected to cross the budget alone: cranelift-codegen holds 1,420 MiB at
    /// its peak and not 1,454, and takes 2 % more processor time. (At once: 1,398 MiB for 8 %.)
    Sooner,
}

impl GiveBack {
    /// Tells the allocator of `command`, unless the user has something to say to it.
    pub(crate) fn tell(self, command: &mut Command) {
        let settings = match self {
            Self::Soon => "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0",
            Self::Sooner => "background_thread:true,dirty_decay_ms:200,muzzy_decay_ms:0",
        };
        if std::env::var_os(NAME).is_none() {
            command.env(NAME, settings);
        }
    }
}
