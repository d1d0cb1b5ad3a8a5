//! Which form of jobserver the tools at hand understand.
//!
//! GNU make before 4.4 knows only descriptors and stops at `--jobserver-auth=fifo:`; ninja has been a
//! client since 1.13, and only of a named pipe. Both read `MAKEFLAGS`.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// What `MAKEFLAGS` should offer beside Cargo's own `CARGO_MAKEFLAGS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MakeflagsForm {
    /// Nothing: the descriptors in `CARGO_MAKEFLAGS` serve everybody who can be served.
    Descriptors,
    /// A named pipe: ninja takes part, and make understands it or is not there.
    Fifo,
}

/// The versions (major, minor) of the tools that take part in a jobserver; `None` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolVersions {
    /// GNU make.
    pub make: Option<(u32, u32)>,
    /// ninja.
    pub ninja: Option<(u32, u32)>,
}

impl ToolVersions {
    /// Asks `make` and `ninja` of the search path. Starts two processes, some milliseconds.
    #[must_use]
    pub fn probe() -> Self {
        Self { make: version_of(OsStr::new("make")), ninja: version_of(OsStr::new("ninja")) }
    }

    /// The form that serves most of them and breaks none.
    #[must_use]
    pub fn form(self) -> MakeflagsForm {
        let ninja_takes_part = self.ninja.is_some_and(|version| version >= (1, 13));
        let make_understands = self.make.is_none_or(|version| version >= (4, 4));
        if ninja_takes_part && make_understands {
            MakeflagsForm::Fifo
        } else {
            MakeflagsForm::Descriptors
        }
    }
}

fn version_of(program: &OsStr) -> Option<(u32, u32)> {
    let asked = Command::new(program)
        .arg("--version")
        .env_remove("MAKEFLAGS")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    parse_version(&String::from_utf8_lossy(&asked.stdout))
}

/// `GNU Make 4.3`, `1.13.0.git`: the first word of the first line that begins as a version does.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    text.lines().next()?.split_whitespace().find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_tools_print() {
        assert_eq!(parse_version("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu\n"), Some((4, 3)));
        assert_eq!(parse_version("GNU Make 4.4.1\n"), Some((4, 4)));
        assert_eq!(parse_version("1.13.0.git.kitware.jobserver-pipe-1\n"), Some((1, 13)));
        assert_eq!(parse_version("bmake: no such option\n"), None);
        assert_eq!(version_of(OsStr::new("no-such-program-here")), None);
    }

    #[test]
    fn a_fifo_is_offered_only_where_it_helps_and_breaks_nothing() {
        let form = |make, ninja| ToolVersions { make, ninja }.form();
        assert_eq!(form(Some((4, 3)), Some((1, 13))), MakeflagsForm::Descriptors);
        assert_eq!(form(Some((4, 4)), Some((1, 13))), MakeflagsForm::Fifo);
        assert_eq!(form(None, Some((1, 14))), MakeflagsForm::Fifo);
        assert_eq!(form(Some((4, 4)), Some((1, 12))), MakeflagsForm::Descriptors);
        assert_eq!(form(Some((4, 4)), None), MakeflagsForm::Descriptors);
    }
}
