//! Recognises a build script's run by its environment.
//!
//! Cargo gives `OUT_DIR` and `CARGO_PKG_NAME` to compilers, too, and all of these to what a build
//! script starts; `NUM_JOBS` only to build scripts (cargo, src/cargo/core/compiler/custom_build.rs).
//! Only the names below are looked at, and nothing else of an environment is kept.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::OFlags;

use super::procfs::Proc;

/// Whether a process is a build script's run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Script {
    /// Not looked at yet, or not past its exec.
    #[default]
    Unknown,
    /// It is none, or inside of one.
    No,
    /// It is one, or is what one has left behind that was never seen: what is below it belongs to it.
    Yes,
}

/// The process is between its exec and its environment.
#[derive(Debug)]
pub(super) struct NotYet;

/// Environments above this size are not read on: the kernel allows a quarter of the stack limit, and
/// Cargo's own names come last in none of them that we met.
const LARGEST: usize = 1 << 20;

/// The package where the process runs its build script. `outer` is the `OUT_DIR`
/// that the whole build inherited, which says nothing about its processes.
pub(super) fn read(proc: &Proc, pid: u32, outer: Option<&[u8]>) -> Result<Option<Package>, NotYet> {
    // Another user's process, or one that is gone, is none of ours.
    let Some(environ) = environ_of(proc, pid) else { return Ok(None) };
    if environ.is_empty() {
        return Err(NotYet);
    }
    Ok(parse(&environ, outer))
}

/// The process's `OUT_DIR`, if it has one.
pub(super) fn out_dir(proc: &Proc, pid: u32) -> Option<Vec<u8>> {
    variable_of(proc, pid, b"OUT_DIR")
}

/// One variable of the environment that the process was started with, if it has that.
pub(super) fn variable_of(proc: &Proc, pid: u32, name: &[u8]) -> Option<Vec<u8>> {
    variable(&environ_of(proc, pid)?, name).map(<[u8]>::to_vec)
}

fn environ_of(proc: &Proc, pid: u32) -> Option<Vec<u8>> {
    let file = proc.open_file(pid, "environ", OFlags::RDONLY).ok()?;
    let mut environ = vec![0; 8 << 10];
    let mut len = 0;
    loop {
        let read = rustix::io::read(&file, &mut environ[len..]).ok()?;
        len += read;
        if read == 0 || len >= LARGEST {
            environ.truncate(len);
            return Some(environ);
        }
        if len == environ.len() {
            environ.resize(len * 2, 0);
        }
    }
}

/// The package whose build script a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) dir: PathBuf,
}

fn parse(environ: &[u8], outer: Option<&[u8]>) -> Option<Package> {
    variable(environ, b"NUM_JOBS")?;
    variable(environ, b"OUT_DIR").filter(|out_dir| Some(*out_dir) != outer)?;
    let package = variable(environ, b"CARGO_PKG_NAME")?;
    let version = variable(environ, b"CARGO_PKG_VERSION").unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let dir = variable(environ, b"CARGO_MANIFEST_DIR").unwrap_or_default();
    let dir = PathBuf::from(OsStr::from_bytes(dir));
    Some(Package { name: text(package), version: text(version), dir })
}

fn variable<'a>(environ: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    environ.split(|b| *b == 0).find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_build_script_has_all_of_it() {
        let script =
            b"PATH=/bin\0CARGO_PKG_NAME=ring\0CARGO_PKG_VERSION=0.17\0CARGO_MANIFEST_DIR=/r\0OUT_DIR=/o\0NUM_JOBS=8\0";
        let ring =
            Package { name: "ring".to_owned(), version: "0.17".to_owned(), dir: "/r".into() };
        assert_eq!(parse(script, None), Some(ring));
        assert_eq!(parse(script, Some(b"/o")), None, "the build itself runs in that build script");
        assert_eq!(parse(b"CARGO_PKG_NAME=ring\0OUT_DIR=/o\0MY_NUM_JOBS=8\0", None), None);
        assert_eq!(parse(b"", None), None);
    }
}
