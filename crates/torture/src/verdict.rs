//! What is judged after a build: its exit status, and what it has left. Nothing here is found by its name: processes by
//! the build's scope and by a mark in their environment, files by the folders that were the build's own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::drawn::{How, Whom};
use crate::faults::Injector;

/// Set in the environment of everything that a build starts, so that it is known wherever the system put it.
pub(crate) const MARK: &str = "TORTURE_MARK";

/// What may explain an ending besides the faults.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Circumstances {
    /// The kernel's kills inside the cgroup limit.
    pub(crate) oom_kills: u64,
    /// The target folder was on a small disk.
    pub(crate) small_disk: bool,
    /// It was in a cgroup limit.
    pub(crate) limited: bool,
}

/// Why a build ended so; an error where nothing that was done to it explains that.
pub(crate) fn explain(
    exit: Option<i32>,
    faults: &Injector,
    around: Circumstances,
    stderr: &str,
) -> Result<&'static str, String> {
    use Whom::{Cargo, Driver, Group, Other, Probe, Script, Shim, Test};
    let killed = |how| how == How::Kill;
    let ended = |how| matches!(how, How::Term | How::Int);
    match exit {
        None => Err("it did not end in time".to_owned()),
        Some(0) => Ok("0"),
        Some(137) if faults.hit(&[Driver, Cargo], killed) => Ok("137: driver or Cargo killed"),
        Some(143) if faults.hit(&[Driver, Cargo, Group], ended) => {
            Ok("143: driver or Cargo asked to end")
        }
        Some(130) if faults.hit(&[Group], ended) => Ok("130: interrupted"),
        Some(101) if faults.hit(&[Group, Driver, Cargo], |how| !matches!(how, How::Stop(_))) => {
            Ok("101: Cargo or the whole build asked to end")
        }
        Some(101)
            if faults
                .hit(&[Shim, Probe, Script, Test, Other], |how| !matches!(how, How::Stop(_))) =>
        {
            Ok("101: something that Cargo waits for was ended")
        }
        Some(101) if around.small_disk && is_full(stderr) => Ok("101: the disk was full"),
        Some(101) if around.oom_kills > 0 => Ok("101: above the cgroup limit"),
        Some(101) if around.limited && stderr.contains("needs more than") => {
            Ok("101: refused, above the cgroup limit")
        }
        Some(exit) => Err(format!("exit status {exit}, which nothing explains")),
    }
}

/// In the words of Cargo, rustc, linkers, and signal 7 of what writes through a mapping.
fn is_full(stderr: &str) -> bool {
    [
        "No space left",
        "os error 28",
        "signal: 7",
        "signal 7",
        "failed to write",
        "cannot write",
        "can't write",
    ]
    .iter()
    .any(|words| stderr.contains(words))
}

/// The living processes that have the mark of a build, zombies left out.
pub(crate) fn marked(mark: &Path) -> Vec<i32> {
    let wanted = format!("{MARK}={}", mark.display()).into_bytes();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
        })
        .filter(|pid| !matches!(state(*pid), None | Some('Z' | 'X')))
        .collect()
}

/// A process for people: its words, and whether it stands still.
pub(crate) fn describe(pid: i32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    let words: String = words.chars().take(160).collect();
    let still = if state(pid) == Some('T') { " (stopped)" } else { "" };
    format!("process {pid}{still}: {}", words.trim())
}

/// The letter of `/proc/PID/stat` (proc(5)).
pub(crate) fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Everything below a folder.
pub(crate) fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        found.push(entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(below(&entry.path()));
        }
    }
    found
}

/// Sockets of a build whose driver had this number: in the abstract space, and as files of a home whose owner is gone.
pub(crate) fn sockets(driver: u32, home: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let ours = |line: &str| {
        let name = line.rsplit_once('@')?.1;
        let is = name.starts_with("plimsoll-") && name.contains(&format!("-{driver}-"));
        is.then(|| format!("socket @{name}"))
    };
    let files = below(&home.join("run")).into_iter();
    let files = files.filter(|path| path.extension().is_some_and(|it| it == "sock"));
    table
        .lines()
        .filter_map(ours)
        .chain(files.map(|path| format!("socket {}", path.display())))
        .collect()
}

/// Whether a path is of what a killed compiler or linker leaves unfinished in a target folder.
pub(crate) fn is_half(path: &Path) -> bool {
    let random = |rest: &str| rest.len() == 6 && rest.bytes().all(|b| b.is_ascii_alphanumeric());
    // lld writes beside its output.
    let of_lld = |rest: &str| rest.len() == 7 && rest.bytes().all(|b| b.is_ascii_hexdigit());
    path.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name.contains(".rcgu.")
            || name.ends_with(".temp-archive")
            || name.starts_with(".plimsoll-")
            || name.rsplit_once(".tmp").is_some_and(|(_, rest)| of_lld(rest))
            || ["rmeta", "rustc"].iter().any(|start| name.strip_prefix(start).is_some_and(random))
    })
}

/// The bytes of everything below a folder.
pub(crate) fn size(dir: &Path) -> u64 {
    let files = below(dir).into_iter();
    files.filter_map(|path| fs::symlink_metadata(path).ok()).map(|it| it.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::faults::Hit;
    use plimsoll_rig::random::Random;

    fn after(hits: &[(Whom, How)]) -> Injector {
        let mut faults = Injector::new(1, &[], Duration::ZERO, Random::new(1));
        faults.hits = hits
            .iter()
            .map(|(whom, how)| Hit { at_s: 0.0, whom: *whom, how: *how, what: String::new() })
            .collect();
        faults
    }

    #[test]
    fn only_what_was_done_explains_an_ending() {
        let explained = |exit, hits: &[(Whom, How)]| {
            explain(Some(exit), &after(hits), Circumstances::default(), "").is_ok()
        };
        assert!(explained(0, &[(Whom::Rustc, How::Kill)]));
        assert!(!explained(101, &[(Whom::Rustc, How::Kill), (Whom::Linker, How::Term)]));
        assert!(explained(101, &[(Whom::Shim, How::Kill)]));
        assert!(!explained(101, &[(Whom::Shim, How::Stop(300)), (Whom::Guard, How::Kill)]));
        assert!(explained(137, &[(Whom::Driver, How::Kill)]) && !explained(137, &[]));
        assert!(!explained(143, &[(Whom::Driver, How::Kill)]));
        assert!(explain(None, &after(&[]), Circumstances::default(), "").is_err());
    }

    #[test]
    fn halves_are_known_also_inside_a_folder() {
        assert!(is_half(Path::new("debug/deps/rmetaAbC123/full.rmeta")));
        assert!(is_half(Path::new("debug/deps/a.1234-cgu.0.rcgu.o")));
        assert!(is_half(Path::new("debug/deps/find-5c0f733048487479.tmpf0d8854")));
        assert!(!is_half(Path::new("debug/deps/librustc_hash-12.rlib")));
    }
}
