//! The names under which the shims are installed, and by which they are known again.

use std::path::Path;

/// The shim in rustc's place: Cargo's compiler wrapper.
pub const RUSTC: &str = "plimsoll-rustc";
/// The shim in rustdoc's place.
pub const RUSTDOC: &str = "plimsoll-rustdoc";

/// What stands before a test: Cargo's target runner.
pub const TEST: &str = "plimsoll-test";

/// Whether a program is one of the shims by its name, wherever it is installed.
#[must_use]
pub fn is_shim(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name == RUSTC || name == RUSTDOC)
}
