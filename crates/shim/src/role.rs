//! Who this process is: a compiler's shim, rustdoc's, or a linker's; told by its own name.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use plimsoll_core::invocation::Request;

use crate::command_line::CommandLine;
use crate::{diagnostic, ending, env, link, name, probe, test_run, unit};

/// The whole of the shim: reads name, arguments and environment, and ends as what it ran ended.
#[must_use]
pub fn main() -> ExitCode {
    let mut argv = std::env::args_os();
    let called = argv.next().unwrap_or_default();
    let args: Vec<OsString> = argv.collect();
    if is_linker(&called) {
        return ending::act(link::run(&args));
    }
    if Path::new(&called).file_name().is_some_and(|name| name == name::TEST) {
        return ending::act(test_run::run(&args));
    }
    let rustdoc = Path::new(&called)
        .file_stem()
        .is_some_and(|stem| stem.as_encoded_bytes().ends_with(b"rustdoc"));
    let Some(line) = CommandLine::read(args, rustdoc) else {
        diagnostic::plain(
            "Cargo starts `plimsoll-rustc` in place of rustc; run `cargo plimsoll build` instead",
        );
        return ExitCode::from(2);
    };
    match line.request() {
        Request::Probe => probe::answer(&line),
        Request::Compile(invocation) => ending::act(unit::run(&line, *invocation)),
    }
}

/// Whether rustc started us under a linker's name.
fn is_linker(name: &OsStr) -> bool {
    let (Some(dir), Some(_), Some(_)) = (
        std::env::var_os(env::LINK_DIR),
        std::env::var_os(env::UNIT),
        std::env::var_os(env::LINKER),
    ) else {
        return false;
    };
    Path::new(name).parent() == Some(Path::new(&dir))
}
