//! What a killed compiler leaves behind, and how it is told from what others are using.
//!
//! Found by killing rustc 1.95 at every moment of its life, in the directory of its output:
//!
//! | name | while | whose it is |
//! |---|---|---|
//! | `<stem>.*.rcgu.*` | code generation | the unit's, by name |
//! | `<output>.tmp<hex>` | `ld` writes | the unit's, by name |
//! | `<incremental>/<crate>-*/s-*-working`, `.lock` | all the time | who holds the lock; ours is free |
//! | `rmeta??????/`, `rustc??????/`, `.tmp??????.temp-archive/` | encoding, linking | anybody's |
//!
//! The last kind has no owner in its name, and several compilers write into one directory. Such a folder is
//! ours where it appeared during our run and no live process can be its owner: none that was there then and
//! works in this directory, or (where some do) none that has it open, mapped or among its arguments, twice, with
//! [`PATIENCE`] or [`LINKING_PATIENCE`] in between; and where the linker had started, the link shim has left word
//! which folder is its own. Of what stays in doubt the driver is left word, who looks once more when the build is over and
//! nobody is there any more whose it could be: until then it is kilobytes against another unit's failure.
//!
//! The finished outputs of a killed run are not removed: the next run replaces them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use plimsoll_core::invocation::Invocation;
use rustix::fs::FlockOperation;

/// A file's time comes from the kernel's coarse clock, which may be a tick behind.
const COARSE: Duration = Duration::from_millis(20);

/// While it encodes metadata or packs an archive rustc has the file in its folder open or mapped, but for the
/// moments between two system calls.
const PATIENCE: Duration = Duration::from_millis(100);

/// Before it starts the linker rustc prepares a folder for it, which takes longer than moments.
const LINKING_PATIENCE: Duration = Duration::from_secs(2);

/// The partial outputs of one unit, over all of its runs.
#[derive(Debug)]
pub(crate) struct PartialOutputs {
    dir: Option<PathBuf>,
    stem: String,
    crate_name: String,
    incremental: Option<PathBuf>,
    /// The folder of the run's linker, where it came so far.
    linking: Option<PathBuf>,
    doubtful: Vec<PathBuf>,
    last_sweep: Option<SystemTime>,
}

/// In a run's private temporary directory: the folder that rustc has made for the linker, as the link shim
/// found it among the linker's arguments.
const LINKING: &str = "plimsoll-linking";

/// In the build's temporary directory: folders of which no shim could tell whose they are, each ended by a zero byte.
const DOUBTFUL: &str = "plimsoll-doubtful";

/// Removes what shims have left word of in the build's temporary directory, where nobody is left whose it could be.
pub fn clear_doubtful(build: &Path) {
    let noted = fs::read(build.join(DOUBTFUL)).unwrap_or_default();
    for path in noted.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(OsStr::from_bytes(path));
        let Some((dir, name)) = path.parent().zip(path.file_name()) else { continue };
        if !is_nameless(name) || !path.is_dir() {
            continue;
        }
        let others = look_around(dir, &[name.to_owned()]);
        if others.referenced.is_empty() && !others.may_own(&path, false) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// The folder that rustc has made for this linker, and takes away when that has ended.
pub(crate) fn linking_folder(args: &[OsString]) -> Option<PathBuf> {
    let path = |arg: &OsString| {
        let bytes = arg.as_bytes();
        // Arguments that are too many come in a file.
        Some(
            Path::new(OsStr::from_bytes(bytes.strip_prefix(b"@").unwrap_or(bytes)))
                .parent()?
                .to_owned(),
        )
    };
    args.iter()
        .filter_map(path)
        .find(|dir| dir.is_absolute() && dir.file_name().is_some_and(is_nameless))
}

/// In the link shim: leaves word of rustc's folder, for the case that rustc is killed.
pub(crate) fn note_linking(args: &[OsString]) {
    let private = std::env::temp_dir();
    let ours = std::env::var_os(crate::env::TMP).is_some_and(|build| private.starts_with(build));
    if let Some(folder) = linking_folder(args).filter(|_| ours) {
        // Without it the folder is told by who was there.
        let _ = fs::write(private.join(LINKING), folder.as_os_str().as_bytes());
    }
}

impl PartialOutputs {
    /// Reads, in a run's private temporary directory, what its link shim has left word of.
    pub(crate) fn read_note(&mut self, private: &Path) {
        let folder =
            fs::read(private.join(LINKING)).ok().map(OsString::from_vec).map(PathBuf::from);
        self.linking = folder.filter(|folder| {
            folder.parent() == self.dir.as_deref() && folder.file_name().is_some_and(is_nameless)
        });
    }

    pub(crate) fn of(invocation: &Invocation) -> Self {
        Self {
            dir: invocation.out_dir.as_ref().and_then(|dir| std::path::absolute(dir).ok()),
            stem: invocation.file_stem(),
            crate_name: invocation.crate_name.clone(),
            incremental: invocation.incremental.clone(),
            linking: None,
            doubtful: Vec::new(),
            last_sweep: None,
        }
    }

    /// Removes what the run that began at `started` and is dead now has left.
    pub(crate) fn sweep(&mut self, started: SystemTime) {
        let since = started.checked_sub(COARSE).unwrap_or(started);
        self.sweep_incremental(since);
        let Some(dir) = self.dir.clone() else { return };
        if let Some(folder) = self.linking.take() {
            let _ = fs::remove_dir_all(folder);
        }
        let mut nameless = Vec::new();
        remove_matching(&dir, |name| {
            if is_nameless(name) {
                nameless.push(dir.join(name));
                return false;
            }
            self.is_by_name(name)
        });
        nameless.retain(|path| born(path).is_some_and(|born| born >= since));
        self.doubtful.extend(nameless);
        self.decide(None);
        self.last_sweep = Some(SystemTime::now());
    }

    /// The unit has ended: looks again at what was in doubt.
    pub(crate) fn finish(&mut self) {
        let Some(last) = self.last_sweep.filter(|_| !self.doubtful.is_empty()) else { return };
        let waited = last.elapsed().unwrap_or_default();
        // A small unit that was run again in no time: rare, and nobody's harm.
        std::thread::sleep(PATIENCE.saturating_sub(waited));
        self.decide(Some(waited.max(PATIENCE)));
        if let Some(build) = std::env::var_os(crate::env::TMP).filter(|dir| !dir.is_empty()) {
            self.leave_word(Path::new(&build));
        }
    }

    /// Tells the driver what is still in doubt.
    fn leave_word(&self, build: &Path) {
        let ended = |path: &PathBuf| [path.as_os_str().as_bytes(), b"\0"].concat();
        let noted: Vec<u8> = self.doubtful.iter().flat_map(ended).collect();
        if noted.is_empty() {
            return;
        }
        let file = fs::File::options().create(true).append(true).open(build.join(DOUBTFUL));
        // In one piece, because others write there, too. Without it the folders stay.
        let _ = file.and_then(|mut file| file.write_all(&noted));
    }

    /// Removes what has no owner; `waited` is how long ago it was looked at before.
    fn decide(&mut self, waited: Option<Duration>) {
        let Some(dir) = &self.dir else { return };
        self.doubtful.retain(|path| path.exists());
        if self.doubtful.is_empty() {
            return;
        }
        let names: Vec<OsString> =
            self.doubtful.iter().filter_map(|path| path.file_name().map(OsStr::to_owned)).collect();
        let others = look_around(dir, &names);
        self.doubtful.retain(|path| {
            let name = path.file_name().unwrap_or_default();
            if others.referenced.iter().any(|seen| seen == name) {
                // Another compiler's: it will take it away itself.
                return false;
            }
            let linking = name.as_bytes().starts_with(b"rustc");
            let patience = if linking { LINKING_PATIENCE } else { PATIENCE };
            if others.may_own(path, waited.is_some_and(|waited| waited >= patience)) {
                return true;
            }
            let _ = fs::remove_dir_all(path);
            false
        });
    }

    fn is_by_name(&self, name: &OsStr) -> bool {
        let bytes = name.as_bytes();
        let Some(rest) = bytes.strip_prefix(self.stem.as_bytes()) else {
            return bytes.strip_prefix(b"lib").is_some_and(|rest| {
                rest.starts_with(self.stem.as_bytes())
                    && is_linkers_temporary_after(&rest[self.stem.len()..])
            });
        };
        rest.starts_with(b".") && contains(rest, b".rcgu.") || is_linkers_temporary_after(rest)
    }

    fn sweep_incremental(&self, since: SystemTime) {
        let Some(root) = &self.incremental else { return };
        let prefix = format!("{}-", self.crate_name);
        for of_crate in entries(root) {
            if !of_crate.as_bytes().starts_with(prefix.as_bytes()) {
                continue;
            }
            let dir = root.join(of_crate);
            for name in entries(&dir) {
                let Some(session) = name.to_str().and_then(|name| name.strip_suffix("-working"))
                else {
                    continue;
                };
                let path = dir.join(&name);
                let lock = dir.join(format!("{session}.lock"));
                if born(&path).is_some_and(|born| born >= since) && is_free(&lock) {
                    let _ = fs::remove_dir_all(&path);
                    let _ = fs::remove_file(&lock);
                }
            }
        }
    }
}

/// Removes the files in `dir` whose names are `wanted`.
pub(crate) fn remove_matching(dir: &Path, mut wanted: impl FnMut(&OsStr) -> bool) {
    for name in entries(dir) {
        if wanted(&name) {
            // It is a leftover whether or not this succeeds; the next `cargo clean` takes it.
            let _ = fs::remove_file(dir.join(&name));
        }
    }
}

/// Whether `name` is what GNU ld or lld writes before it becomes `output`.
pub(crate) fn is_linkers_temporary(name: &OsStr, output: &OsStr) -> bool {
    name.as_bytes().strip_prefix(output.as_bytes()).is_some_and(is_linkers_temporary_after)
}

/// `.tmp` and six to eight letters or digits at the end (bfd: `.tmp%08x` cut short; lld: `.tmp%%%%%%%`).
fn is_linkers_temporary_after(rest: &[u8]) -> bool {
    let Some(at) = rest.windows(4).rposition(|part| part == b".tmp") else { return false };
    let random = &rest[at + 4..];
    (6..=8).contains(&random.len()) && random.iter().all(u8::is_ascii_alphanumeric)
}

/// The folders that rustc names by chance alone (tempfile: six letters or digits).
fn is_nameless(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let random = bytes
        .strip_prefix(b"rmeta")
        .or_else(|| bytes.strip_prefix(b"rustc"))
        .or_else(|| bytes.strip_prefix(b".tmp")?.strip_suffix(b".temp-archive"));
    random.is_some_and(|r| r.len() == 6 && r.iter().all(u8::is_ascii_alphanumeric))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|at| at == part)
}

fn entries(dir: &Path) -> Vec<OsString> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
}

/// When it appeared; where the file system does not know, when it last changed.
fn born(path: &Path) -> Option<SystemTime> {
    let found = fs::symlink_metadata(path).ok()?;
    found.created().or_else(|_| found.modified()).ok()
}

/// Whether nobody holds this incremental session: rustc keeps an exclusive flock on it to its end.
fn is_free(lock: &Path) -> bool {
    let Ok(file) = fs::File::open(lock) else { return true };
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// What the live processes of our user have to do with `names` in `dir`.
struct Others {
    /// The compilers that work in this directory.
    compilers: Vec<Compiler>,
    /// Names that some process has open, mapped or among its arguments.
    referenced: Vec<OsString>,
}

struct Compiler {
    /// After the machine's start.
    started: Duration,
    /// It may be stopped at any moment of its work, for as long as it takes.
    stopped: bool,
}

impl Others {
    /// Whether one of them was there when `path` appeared, and after the wait still does not show that it
    /// has nothing to do with it. (What cannot be told counts as yes.)
    fn may_own(&self, path: &Path, waited: bool) -> bool {
        let age = born(path).and_then(|born| born.elapsed().ok());
        let appeared = age.and_then(|age| uptime().checked_sub(age));
        self.compilers.iter().any(|compiler| {
            (compiler.stopped || !waited)
                && appeared.is_none_or(|appeared| compiler.started <= appeared + COARSE)
        })
    }
}

fn look_around(dir: &Path, names: &[OsString]) -> Others {
    let us = std::env::current_exe().ok();
    let mut others = Others { compilers: Vec::new(), referenced: Vec::new() };
    for entry in entries(Path::new("/proc")) {
        if !entry.as_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let process = Path::new("/proc").join(entry);
        let Ok(arguments) = fs::read(process.join("cmdline")) else { continue };
        let mut refer = |text: &[u8]| {
            for name in names {
                if contains(text, name.as_bytes()) && !others.referenced.contains(name) {
                    others.referenced.push(name.clone());
                }
            }
        };
        refer(&arguments);
        // Other shims have the compiler's arguments too, but write nothing.
        if !works_in(dir, &process, &arguments)
            || us.is_some() && fs::read_link(process.join("exe")).ok() == us
        {
            continue;
        }
        for descriptor in entries(&process.join("fd")) {
            if let Ok(target) = fs::read_link(process.join("fd").join(descriptor)) {
                refer(target.as_os_str().as_bytes());
            }
        }
        if let Ok(maps) = fs::read(process.join("maps")) {
            refer(&maps);
        }
        others.compilers.push(compiler(&process));
    }
    others
}

/// Whether a compiler's arguments name `dir` as the place of its output. Those that are in a file may.
fn works_in(dir: &Path, process: &Path, arguments: &[u8]) -> bool {
    let mut before: &[u8] = b"";
    arguments.split(|b| *b == 0).any(|arg| {
        let value =
            if before == b"--out-dir" { Some(arg) } else { arg.strip_prefix(b"--out-dir=") };
        before = arg;
        match value.map(|value| Path::new(OsStr::from_bytes(value))) {
            Some(value) if value.is_absolute() => value == dir,
            // Relative to where that process is.
            Some(value) => {
                fs::read_link(process.join("cwd")).is_ok_and(|there| there.join(value) == dir)
            }
            None => arg.starts_with(b"@"),
        }
    })
}

/// Fields 3 and 22 of a process's `stat` (proc(5)). One that has just ended counts as there from the start.
fn compiler(process: &Path) -> Compiler {
    let stat = fs::read(process.join("stat")).unwrap_or_default();
    let end = stat.iter().rposition(|b| *b == b')').map_or(0, |end| end + 1);
    let fields = String::from_utf8_lossy(&stat[end..]).into_owned();
    let mut fields = fields.split_whitespace();
    let stopped = matches!(fields.next(), Some("T" | "t"));
    let ticks: u64 = fields.nth(18).and_then(|ticks| ticks.parse().ok()).unwrap_or(0);
    let started = Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second());
    Compiler { started, stopped }
}

fn uptime() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn partial_outputs(dir: &Path) -> PartialOutputs {
        PartialOutputs {
            dir: Some(dir.to_owned()),
            stem: "foo-ab".to_owned(),
            crate_name: "foo".to_owned(),
            incremental: Some(dir.join("inc")),
            linking: None,
            doubtful: Vec::new(),
            last_sweep: None,
        }
    }

    #[test]
    fn exactly_the_killed_runs_own_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mine = [
            "foo-ab.foo.279affcbf9f9837a-cgu.0.rcgu.o",
            "foo-ab.4uzl3k.rcgu.bc",
            "foo-ab.tmpf17f59b",
            "libfoo-ab.so.tmpd3366dd",
        ];
        let others = [
            "foo-ab",
            "foo-ab.d",
            "libfoo-ab.rmeta",
            "foo-abc.foo.279affcbf9f9837a-cgu.0.rcgu.o",
            "foo-ab.template",
            "foo.tmpf17f59b",
        ];
        for name in mine.iter().chain(&others) {
            fs::write(at(name), "").unwrap();
        }
        for name in ["rmetaBz2YuL", "rustcGtdJvS", ".tmpRtsm2i.temp-archive", "rmeta", "rustc-docs"]
        {
            fs::create_dir(at(name)).unwrap();
        }
        fs::create_dir_all(at("inc/foo-0lo/s-a-working")).unwrap();
        fs::write(at("inc/foo-0lo/s-a.lock"), "").unwrap();
        fs::create_dir_all(at("inc/foo-0lo/s-b-working")).unwrap();
        fs::write(at("inc/foo-0lo/s-b.lock"), "").unwrap();
        let held = fs::File::open(at("inc/foo-0lo/s-b.lock")).unwrap();
        rustix::fs::flock(&held, FlockOperation::LockExclusive).unwrap();

        partial_outputs(dir.path()).sweep(SystemTime::now() - Duration::from_secs(60));
        let mut left: Vec<_> =
            entries(dir.path()).into_iter().map(|n| n.into_string().unwrap()).collect();
        left.sort();
        let mut expected = [&others[..], &["inc", "rmeta", "rustc-docs"]].concat();
        expected.sort_unstable();
        assert_eq!(left, expected);
        let mut sessions = entries(&at("inc/foo-0lo"));
        sessions.sort();
        assert_eq!(sessions, ["s-b-working", "s-b.lock"]);
    }

    #[test]
    fn a_folder_in_use_or_from_before_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["rmetaAAAAAA", "rmetaBBBBBB"] {
            fs::create_dir(at(name)).unwrap();
        }
        // Before our time.
        let mut ours = partial_outputs(dir.path());
        ours.sweep(SystemTime::now() + Duration::from_secs(60));
        assert!(at("rmetaAAAAAA").exists() && at("rmetaBBBBBB").exists());
        // A compiler that works in the directory and has one of them open.
        let mut compiler = std::process::Command::new("sh")
            .args(["-c", "exec 3<rmetaAAAAAA; echo ready; read line", "rustc", "--out-dir"])
            .arg(dir.path())
            .current_dir(dir.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        compiler.stdout.take().unwrap().read_exact(&mut ready).unwrap();
        ours.sweep(SystemTime::now() - Duration::from_secs(60));
        let left = (at("rmetaAAAAAA").exists(), at("rmetaBBBBBB").exists());
        compiler.kill().unwrap();
        compiler.wait().unwrap();
        assert_eq!(left, (true, true));
        // It is gone: what it had open was its own, and the other one is nobody's.
        ours.finish();
        assert!(at("rmetaAAAAAA").exists() && !at("rmetaBBBBBB").exists());
    }

    #[test]
    fn what_stays_in_doubt_goes_with_the_build() {
        let (dir, build) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| dir.path().join(name);
        for name in ["rmetaAAAAAA", "mine"] {
            fs::create_dir(at(name)).unwrap();
        }
        // A compiler that works in the directory and is stopped: it may be its folder.
        let mut compiler = std::process::Command::new("sh")
            .args(["-c", "echo ready; read line", "rustc", "--out-dir"])
            .arg(dir.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        compiler.stdout.take().unwrap().read_exact(&mut [0; 6]).unwrap();
        let mut ours = partial_outputs(dir.path());
        ours.doubtful = vec![at("rmetaAAAAAA"), at("mine"), at("gone")];
        ours.leave_word(build.path());
        clear_doubtful(build.path());
        let in_doubt = at("rmetaAAAAAA").exists();
        compiler.kill().unwrap();
        compiler.wait().unwrap();
        assert!(in_doubt);
        clear_doubtful(build.path());
        assert!(!at("rmetaAAAAAA").exists());
        assert!(at("mine").exists(), "only what a compiler has named");
    }
}
