//! Questions to the compiler are passed straight on; Cargo's two standard ones are answered from memory.
//!
//! Cargo asks every compiler `-vV`, and once a target for `--print=cfg` and more, and keeps the answers in
//! `target/.rustc_info.json` under a hash over the wrapper: with us and without us would take turns in
//! asking again. So the driver switches that file off, and what it was for is done here.
//!
//! An answer is kept per compiler file (path, size, times, inode), arguments and whatever in the environment
//! can change it. It is kept for real toolchains only: a rustup proxy answers by directory and override.
//! Anything odd (no directory, no space, a damaged file) and the compiler is asked.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::command_line::CommandLine;
use crate::{ending, env, program};

/// As many answers as ten toolchains with six targets each leave.
const MOST_FILES: usize = 64;

/// An answer is some kilobytes; a file beyond this is not ours.
const LARGEST: u64 = 1024 * 1024;

/// The first word of a file; the number changes with the format.
const MAGIC: &str = "plimsoll-probe-1";

/// What in the environment can change an answer.
const TELLING: &[&str] = &[
    "RUSTC_BOOTSTRAP",
    "RUSTC_FORCE_RUSTC_VERSION",
    "RUSTC_OVERRIDE_VERSION_STRING",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_HOME",
    "RUST_TARGET_PATH",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "SDKROOT",
    "MACOSX_DEPLOYMENT_TARGET",
    "IPHONEOS_DEPLOYMENT_TARGET",
    "XROS_DEPLOYMENT_TARGET",
    "TVOS_DEPLOYMENT_TARGET",
    "WATCHOS_DEPLOYMENT_TARGET",
];

/// Answers the question, or becomes the compiler.
pub(crate) fn answer(line: &CommandLine) -> ExitCode {
    if let Some(code) = Slot::of(line).and_then(|slot| slot.answer(line)) {
        return code;
    }
    ending::act(ending::become_command(line.command()))
}

/// Where one answer is kept.
struct Slot {
    file: PathBuf,
    /// Everything that the answer depends on: kept with it, for two keys may have one hash.
    key: Vec<u8>,
}

impl Slot {
    fn of(line: &CommandLine) -> Option<Self> {
        let dir = PathBuf::from(std::env::var_os(env::PROBES).filter(|dir| !dir.is_empty())?);
        if line.wrapper.is_some() || !is_standard(&line.args) {
            return None;
        }
        let program = program::find(&line.program)?;
        let mut key = Vec::new();
        let mut part = |bytes: &[u8]| {
            key.extend_from_slice(bytes);
            key.push(0);
        };
        part(program.as_os_str().as_encoded_bytes());
        // A toolchain: its libraries stand beside its programs. (A proxy of rustup has none.)
        let lib = program.parent()?.parent()?.join("lib");
        if !lib.join("rustlib").is_dir() {
            return None;
        }
        for path in [&program, &lib] {
            let found = fs::metadata(path).ok()?;
            part(
                format!(
                    "{} {} {} {}.{} {}.{}",
                    found.dev(),
                    found.ino(),
                    found.size(),
                    found.mtime(),
                    found.mtime_nsec(),
                    found.ctime(),
                    found.ctime_nsec()
                )
                .as_bytes(),
            );
        }
        for arg in &line.args {
            part(arg.as_encoded_bytes());
        }
        for name in TELLING {
            if let Some(value) = std::env::var_os(name) {
                part(name.as_bytes());
                part(value.as_encoded_bytes());
            }
        }
        let mut hash = DefaultHasher::new();
        key.hash(&mut hash);
        Some(Self { file: dir.join(format!("{:016x}", hash.finish())), key })
    }

    /// Gives the kept answer, or asks and keeps what came. `None` where neither can be done.
    fn answer(&self, line: &CommandLine) -> Option<ExitCode> {
        let answer = match self.read() {
            Some(answer) => answer,
            None => {
                let output = line.command().stdin(std::process::Stdio::inherit()).output().ok()?;
                if !output.status.success() {
                    // Asked again, so that it ends as it ended: questions have no side effects.
                    return None;
                }
                let answer = Answer { stdout: output.stdout, stderr: output.stderr };
                // Not kept: asked again next time.
                let _ = self.write(&answer);
                answer
            }
        };
        // Cargo reads both to their ends; where it has died nobody needs the answer.
        let _ = std::io::stderr().write_all(&answer.stderr);
        let _ = std::io::stdout().write_all(&answer.stdout);
        let _ = std::io::stdout().flush();
        Some(ExitCode::SUCCESS)
    }

    fn read(&self) -> Option<Answer> {
        let file = fs::File::open(&self.file).ok()?;
        let found = file.metadata().ok()?;
        if found.len() > LARGEST || found.uid() != rustix::process::geteuid().as_raw() {
            return None;
        }
        Answer::decode(&fs::read(&self.file).ok()?, &self.key)
    }

    fn write(&self, answer: &Answer) -> std::io::Result<()> {
        let dir = self.file.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let temporary = self.file.with_extension(std::process::id().to_string());
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(&answer.encode(&self.key)))
            .and_then(|()| fs::rename(&temporary, &self.file));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        remove_oldest(dir);
        written
    }
}

/// What the compiler said.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Answer {
    fn encode(&self, key: &[u8]) -> Vec<u8> {
        let lengths = [key.len(), self.stdout.len(), self.stderr.len()];
        let mut bytes =
            format!("{MAGIC} {} {} {}\n", lengths[0], lengths[1], lengths[2]).into_bytes();
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(&self.stdout);
        bytes.extend_from_slice(&self.stderr);
        bytes
    }

    fn decode(bytes: &[u8], key: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let mut words = std::str::from_utf8(&bytes[..end]).ok()?.split(' ');
        if words.next() != Some(MAGIC) {
            return None;
        }
        let mut rest = &bytes[end + 1..];
        let mut piece = || {
            let length: usize = words.next()?.parse().ok()?;
            let (piece, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(piece)
        };
        let (kept, stdout, stderr) = (piece()?, piece()?, piece()?);
        (kept == key && rest.is_empty())
            .then(|| Self { stdout: stdout.to_vec(), stderr: stderr.to_vec() })
    }
}

/// Cargo's two questions (cargo 1.95: `util/rustc.rs` and `core/compiler/build_context/target_info.rs`), as
/// far as the answer depends on nothing but what the key holds.
fn is_standard(args: &[OsString]) -> bool {
    if args.len() == 1 {
        return args[0] == "-vV";
    }
    let elsewhere = |arg: &OsString| {
        let bytes = arg.as_encoded_bytes();
        // An argument file, a target's description in a file, the very processor.
        bytes.starts_with(b"@") || bytes.ends_with(b".json") || bytes.ends_with(b"native")
    };
    args.len() > 3
        && args[0] == "-"
        && args[1] == "--crate-name"
        && args[2] == "___"
        && args.iter().any(|arg| arg == "--print=cfg")
        && !args.iter().any(elsewhere)
}

/// Keeps the directory small. Whoever writes pays, which is once a toolchain and target.
fn remove_oldest(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    if files.len() > MOST_FILES {
        files.sort();
        for (_, path) in &files[..files.len() - MOST_FILES] {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_answer_is_no_answer() {
        let answer = Answer { stdout: b"rustc 1.95.0\n".to_vec(), stderr: b"warning\n".to_vec() };
        let bytes = answer.encode(b"key\0");
        assert_eq!(Answer::decode(&bytes, b"other"), None);
        for cut in 0..bytes.len() {
            assert_eq!(Answer::decode(&bytes[..cut], b"key\0"), None, "{cut}");
        }
        assert_eq!(Answer::decode(&[&bytes[..], b"x"].concat(), b"key\0"), None);
        assert_eq!(Answer::decode(&bytes, b"key\0"), Some(answer));
    }

    #[test]
    fn only_the_standard_questions_are_kept() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let target =
            "- --crate-name ___ --print=file-names --crate-type bin --print=sysroot --print=cfg";
        assert!(is_standard(&words("-vV")));
        assert!(is_standard(&words(target)));
        assert!(!is_standard(&words(&format!("{target} --target my.json"))));
        assert!(!is_standard(&words(&format!("{target} -Ctarget-cpu=native"))));
        assert!(!is_standard(&words("--print cfg")));
        assert!(!is_standard(&words("-V")));
    }
}
