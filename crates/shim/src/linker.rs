//! Whether and how a unit's linker is put behind the link shim, and what a linker will read.
//!
//! rustc infers the linker's flavour from the stem of its file name, so the link shim goes by the real
//! linker's name, in a directory of our own. `-C linker` is in no hash that rustc takes, so that the
//! artifacts have the same bytes; Cargo never sees it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use plimsoll_core::invocation::Invocation;

use crate::program;

/// What rustc runs on Linux where it is told nothing.
const DEFAULT: &str = "cc";

/// A linker that is to be started through us.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Detour {
    /// The argument to add to rustc's.
    pub(crate) argument: OsString,
    /// The linker in the words in which rustc would have started it.
    pub(crate) real: OsString,
}

/// The way of `invocation`'s linker through `dir`, where it links at all and its linker is one that rustc
/// takes from `PATH` or from a path, and not from its own installation.
pub(crate) fn detour(invocation: &Invocation, dir: &Path) -> Option<Detour> {
    if !invocation.links {
        return None;
    }
    let real = match &invocation.linker {
        Some(linker) => linker.clone(),
        None if is_host(invocation.target.as_deref()) => OsString::from(DEFAULT),
        // Which linker a foreign target has by default only rustc knows.
        None => return None,
    };
    // rustc looks for its own `rust-lld` before it asks PATH.
    if real == "rust-lld" || program::find(&real).is_none_or(|path| !path.is_file()) {
        return None;
    }
    let link = dir.join(Path::new(&real).file_name()?);
    let shim = std::env::current_exe().ok()?;
    if fs::read_link(&link).ok().as_ref() != Some(&shim) {
        // Not there yet, or from where an older Plimsoll was. Other units may be doing the same.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).ok()?;
        let mut fresh = link.clone().into_os_string();
        fresh.push(format!(".{}", std::process::id()));
        symlink(&shim, &fresh).and_then(|()| fs::rename(&fresh, &link)).ok()?;
    }
    let mut argument = OsString::from("-Clinker=");
    argument.push(&link);
    Some(Detour { argument, real })
}

/// Whether the target is the one that we run on. (Cargo names the host too where the user did.)
fn is_host(target: Option<&str>) -> bool {
    let ours = concat!("-unknown-linux-", "gnu");
    target.is_none_or(|target| target.strip_suffix(ours) == Some(std::env::consts::ARCH))
}

/// The size of all files that `args` name, also in `@response` files, in bytes.
pub(crate) fn inputs(args: &[OsString]) -> u64 {
    args.iter()
        .map(|arg| match arg.as_bytes().strip_prefix(b"@") {
            Some(file) => fs::read(OsStr::from_bytes(file))
                .map(|text| response_words(&text).iter().map(|word| size(Path::new(word))).sum())
                .unwrap_or(0),
            None => size(Path::new(arg)),
        })
        .sum()
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map_or(0, |found| found.len())
}

/// The words of a response file as GNU tools read it: separated by white space, with quotes and
/// backslashes (<https://gcc.gnu.org/onlinedocs/gcc/Overall-Options.html>, `@file`).
fn response_words(text: &[u8]) -> Vec<PathBuf> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => word.get_or_insert_default().extend(bytes.next()),
            _ if quote == Some(byte) => quote = None,
            b'"' | b'\'' if quote.is_none() => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            _ if byte.is_ascii_whitespace() && quote.is_none() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words.into_iter().map(|word| PathBuf::from(OsString::from_vec(word))).collect()
}

#[cfg(test)]
mod tests {
    use plimsoll_core::invocation::{Request, parse};

    use super::*;

    fn invocation(line: &str) -> Invocation {
        let args: Vec<_> = line.split(' ').map(OsString::from).collect();
        let Request::Compile(invocation) = parse(&args, false) else { panic!("a compilation") };
        *invocation
    }

    #[test]
    fn linkers_of_rustcs_own_and_of_foreign_targets_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let bin = "--crate-name a a.rs --crate-type bin";
        for line in [
            "--crate-name a a.rs --crate-type lib".to_owned(),
            format!("{bin} --emit=metadata"),
            format!("{bin} --target wasm32-unknown-unknown"),
            format!("{bin} -Clinker=rust-lld"),
            format!("{bin} -Clinker=no-such-linker-anywhere"),
        ] {
            assert_eq!(detour(&invocation(&line), dir.path()), None, "{line}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let line = format!("{bin} --target wasm32-unknown-unknown -Clinker=/bin/sh");
        symlink("/where/an/older/one/was", dir.path().join("sh")).unwrap();
        let found = detour(&invocation(&line), dir.path()).unwrap();
        assert_eq!(found.real, "/bin/sh");
        let link = fs::read_link(dir.path().join("sh")).unwrap();
        assert_eq!(link, std::env::current_exe().unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(found.argument, OsString::from(format!("-Clinker={}/sh", dir.path().display())));
    }

    #[test]
    fn the_words_of_a_response_file() {
        let words = response_words(b"-o \"a b\"\n/t/x\\ y.o 'it''s' \"\\\"\"\n\"\"");
        let expected = ["-o", "a b", "/t/x y.o", "its", "\"", ""].map(PathBuf::from);
        assert_eq!(words, expected);
    }
}
