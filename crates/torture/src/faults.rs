//! The faults: finds who of a build is who, and sends the signals when it is time.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use plimsoll_rig::random::Random;
use plimsoll_rig::sampler::Scope;
use plimsoll_rig::tree;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;

use crate::drawn::{Fault, How, Whom};

/// A blow whose victim is not there yet waits for it for so long, then it hits anybody.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A blow that was dealt.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Hit {
    /// Seconds since the start.
    pub(crate) at_s: f64,
    /// Who was hit.
    pub(crate) whom: Whom,
    /// With what.
    pub(crate) how: How,
    /// What was hit, for people.
    pub(crate) what: String,
}

/// Deals the faults of one build.
pub(crate) struct Injector {
    root: i32,
    random: Random,
    /// With the moment from which each is due; the next one last.
    pending: Vec<(Duration, Fault)>,
    /// Who stands still, and until when.
    stopped: Vec<(i32, Duration)>,
    /// What was dealt.
    pub(crate) hits: Vec<Hit>,
    /// What found no victim.
    pub(crate) missed: Vec<Fault>,
}

impl Injector {
    /// For the build below the process `root`, which plain cargo does in `plain`.
    pub(crate) fn new(root: u32, faults: &[Fault], plain: Duration, random: Random) -> Self {
        let mut pending: Vec<_> =
            faults.iter().map(|fault| (plain.mul_f64(fault.at), *fault)).collect();
        pending.reverse();
        let root = i32::try_from(root).unwrap_or(0);
        Self { root, random, pending, stopped: Vec::new(), hits: Vec::new(), missed: Vec::new() }
    }

    /// Called at every sample.
    pub(crate) fn tick(&mut self, scope: &Scope, now: Duration) {
        self.let_go(scope, now);
        while let Some((due, fault)) = self.pending.last().copied().filter(|(due, _)| *due <= now) {
            let anybody = Fault { whom: None, ..fault };
            if self.strike(scope, now, fault)
                || now > due + PATIENCE && self.strike(scope, now, anybody)
            {
                self.pending.pop();
            } else {
                return;
            }
        }
    }

    /// The build's own process has ended: what is still to come does not. What stands still goes on when it is time.
    pub(crate) fn give_up(&mut self) {
        self.missed.extend(self.pending.drain(..).map(|(_, fault)| fault));
    }

    /// Continues those whose time has come.
    pub(crate) fn let_go(&mut self, scope: &Scope, now: Duration) {
        self.stopped.retain(|(pid, until)| {
            let due = *until <= now;
            if due {
                scope.signal(*pid, Signal::CONT);
            }
            !due
        });
    }

    /// Whether somebody was hit so.
    pub(crate) fn hit(&self, whom: &[Whom], how: impl Fn(How) -> bool) -> bool {
        self.hits.iter().any(|hit| whom.contains(&hit.whom) && how(hit.how))
    }

    /// Deals a blow, and the one that goes with it.
    fn strike(&mut self, scope: &Scope, now: Duration, fault: Fault) -> bool {
        if !self.strike_one(scope, now, fault) {
            return false;
        }
        if let Some(whom) = fault.and_kill {
            // Where there is nobody of that kind, the one blow was all.
            let second = Fault { whom: Some(whom), how: How::Kill, ..fault };
            self.strike_one(scope, now, second);
        }
        true
    }

    fn strike_one(&mut self, scope: &Scope, now: Duration, fault: Fault) -> bool {
        let build = Family::look(scope, self.root);
        if fault.whom == Some(Whom::Group) {
            // Its own process has not been waited for, so the number is still its group's.
            let sent = build.begun
                && Pid::from_raw(self.root)
                    .is_some_and(|group| kill_process_group(group, signal(fault.how)).is_ok());
            if sent {
                self.note(now, Whom::Group, fault.how, "the process group".to_owned());
            }
            return sent;
        }
        let victims: Vec<_> = build
            .members
            .iter()
            .filter(|(_, whom)| fault.whom.is_none_or(|wanted| wanted == *whom))
            .collect();
        let Some((pid, whom)) = victims.get(self.random.below(victims.len())) else { return false };
        let what = format!("{} ({pid})", tree::name(*pid).unwrap_or_default());
        if !scope.signal(*pid, signal(fault.how)) {
            return false;
        }
        if let How::Stop(ms) = fault.how {
            self.stopped.push((*pid, now + Duration::from_millis(u64::from(ms))));
        }
        self.note(now, *whom, fault.how, what);
        true
    }

    fn note(&mut self, now: Duration, whom: Whom, how: How, what: String) {
        self.hits.push(Hit { at_s: now.as_secs_f64(), whom, how, what });
    }
}

fn signal(how: How) -> Signal {
    match how {
        How::Kill => Signal::KILL,
        How::Term => Signal::TERM,
        How::Int => Signal::INT,
        How::Stop(_) => Signal::STOP,
    }
}

/// The living processes of a build, and who each is.
struct Family {
    members: Vec<(i32, Whom)>,
    /// Its own process is the build already, and no longer the benchmark on its way there.
    begun: bool,
}

impl Family {
    fn look(scope: &Scope, root: i32) -> Self {
        let parents = tree::parents();
        let own = program(i32::try_from(std::process::id()).unwrap_or(0));
        let alive: Vec<i32> = scope
            .processes()
            .into_iter()
            .filter(|pid| !program(*pid).is_empty() && program(*pid) != own)
            .filter(|pid| !tree::is_about_to_become_another(*pid))
            .collect();
        let plain: HashMap<i32, Whom> =
            alive.iter().map(|pid| (*pid, who(*pid, *pid == root))).collect();
        let members = alive
            .iter()
            .map(|pid| {
                let above = std::iter::successors(parents.get(pid), |it| parents.get(it)).take(64);
                let inside = above
                    .filter_map(|it| plain.get(it))
                    .find(|whom| matches!(whom, Whom::Script | Whom::Test));
                (*pid, inside.copied().unwrap_or(plain[pid]))
            })
            .collect();
        Self { members, begun: alive.contains(&root) }
    }
}

fn program(pid: i32) -> String {
    let path = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.trim_end_matches(" (deleted)").to_owned()
}

fn who(pid: i32, is_root: bool) -> Whom {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> =
        words.split(|byte| *byte == 0).map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    let path = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    classify(&path, &words, is_root)
}

/// By a process's program and words.
fn classify(path: &Path, words: &[String], is_root: bool) -> Whom {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let has = |word: &str| words.iter().any(|it| it == word);
    let is_at_work = || {
        let named =
            words.iter().position(|it| it == "--crate-name").and_then(|at| words.get(at + 1));
        named.is_some_and(|name| name != "___") || has("--test")
    };
    match &*name {
        "cargo-plimsoll" if has("__governor") || has("__watchdog") => Whom::Governor,
        "cargo-plimsoll" if has("__hold-group") || has("__in-group") => Whom::Guard,
        "cargo-plimsoll" if is_root => Whom::Driver,
        "cargo" => Whom::Cargo,
        // rustup's proxy, before it becomes what it is called as.
        "rustup" if called_as(words, "cargo") => Whom::Cargo,
        "rustc" | "rustdoc" | "clippy-driver" if is_at_work() => Whom::Rustc,
        "rustc" | "rustdoc" | "rustup" => Whom::Probe,
        _ if name.starts_with("plimsoll-") => Whom::Shim,
        _ if words.first().is_some_and(|word| word.starts_with("plimsoll-watch")) => Whom::Governor,
        _ if ["build-script-", "build_script_"].iter().any(|it| name.starts_with(it)) => {
            Whom::Script
        }
        _ if path.components().any(|part| part.as_os_str() == "deps") => Whom::Test,
        _ if is_in_own_folder(path) && name.contains('-') => Whom::Test,
        _ if is_linker(&name) => Whom::Linker,
        _ => Whom::Other,
    }
}

/// Whether it lies in `<package>/<hash>/out`, where Cargo has a unit's files since 1.100.
fn is_in_own_folder(path: &Path) -> bool {
    let mut above = path.ancestors().skip(1).filter_map(Path::file_name);
    above.next().is_some_and(|it| it == "out")
        && above.next().is_some_and(|it| it.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit))
}

/// By its first word, whatever folder that names.
fn called_as(words: &[String], name: &str) -> bool {
    words.first().is_some_and(|word| Path::new(word).file_name().is_some_and(|it| it == name))
}

/// `x86_64-linux-gnu-gcc-12`, `collect2`, `ld.bfd`, `rust-lld`, …
fn is_linker(name: &str) -> bool {
    let parts = name.split(['-', '.']);
    let mut known = parts.filter(|part| {
        matches!(*part, "cc" | "gcc" | "clang" | "collect2" | "ld" | "lld" | "mold" | "wild")
    });
    known.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_known_by_program_and_words() {
        let who = |path: &str, words: &[&str], is_root| {
            let words: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
            classify(Path::new(path), &words, is_root)
        };
        assert_eq!(who("/t/cargo-plimsoll", &["cargo-plimsoll", "plimsoll"], true), Whom::Driver);
        assert_eq!(who("/t/cargo-plimsoll", &["x", "__in-group"], false), Whom::Guard);
        assert_eq!(who("/t/cargo-plimsoll", &["x", "__governor", "serve"], false), Whom::Governor);
        assert_eq!(who("/t/plimsoll-rustc", &["cc", "-o", "a"], false), Whom::Shim);
        assert_eq!(who("/r/rustc", &["rustc", "--crate-name", "serde"], false), Whom::Rustc);
        assert_eq!(who("/r/rustc", &["rustc", "-vV"], false), Whom::Probe);
        assert_eq!(who("/c/bin/rustup", &["/c/bin/cargo", "build"], true), Whom::Cargo);
        assert_eq!(who("/c/bin/rustup", &["rustc", "-vV"], false), Whom::Probe);
        assert_eq!(who("/r/rustc", &["rustc", "-", "--crate-name", "___"], false), Whom::Probe);
        assert_eq!(who("/usr/bin/x86_64-linux-gnu-ld.bfd", &["ld"], false), Whom::Linker);
        assert_eq!(who("/t/debug/build/a-1/build-script-build", &["b"], false), Whom::Script);
        assert_eq!(who("/t/debug/deps/library-0123", &["library"], false), Whom::Test);
        let own = |name| format!("/t/debug/build/a/0123/out/{name}");
        assert_eq!(who(&own("build_script_build"), &["b"], false), Whom::Script);
        assert_eq!(who(&own("library-0123"), &["library"], false), Whom::Test);
    }
}
