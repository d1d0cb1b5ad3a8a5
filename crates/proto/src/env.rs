//! The environment through which the driver speaks to the shims, and a shim to the link shims below it.
//! These names are private: they mean nothing to a person, and change without notice.
//!
//! Where none of the first three is set no driver has started this build: what is chained then stands in
//! Plimsoll's home (`cargo plimsoll enable`).

/// The governor's socket: a path, or an abstract name without the leading NUL. Empty: nobody governs. Not set: the
/// account's governor does, where Plimsoll is enabled.
pub const SOCKET: &str = "PLIMSOLL_SOCKET";
/// The compiler wrapper that the user had set before us (`RUSTC_WRAPPER`), which is chained.
pub const WRAPPER: &str = "PLIMSOLL_WRAPPER";
/// The real rustdoc; `rustdoc` from `PATH` where it is not set.
pub const RUSTDOC: &str = "PLIMSOLL_RUSTDOC";
/// The directory of symbolic links to the shim that are named as linkers.
pub const LINK_DIR: &str = "PLIMSOLL_LINK_DIR";
/// The build's private temporary directory.
pub const TMP: &str = "PLIMSOLL_TMP";
/// The directory in which answers of the compiler to Cargo's standard questions are kept.
pub const PROBES: &str = "PLIMSOLL_PROBES";
/// From a compiler's shim to the link shim: the unit's number.
pub const UNIT: &str = "PLIMSOLL_UNIT";
/// From a compiler's shim to the link shim: the linker as rustc would have been told.
pub const LINKER: &str = "PLIMSOLL_LINKER";
/// `1`: this driver was started in a cgroup of its own (a scope of systemd's), for a hard limit; there is no better one.
pub const SCOPED: &str = "PLIMSOLL_SCOPED";
/// The share of the machine that this build asks for, which people set: `low`, `normal` or `high`.
pub const PRIORITY: &str = "PLIMSOLL_PRIORITY";
/// `1`: a test that was killed for want of memory runs once more. Which people set, too.
pub const RETRY_TESTS: &str = "PLIMSOLL_RETRY_TESTS";
/// `1`: plain `cargo` is inside the budget as if Plimsoll were enabled (`cargo plimsoll env`). What is chained is then said
/// by the variables above.
pub const ENABLED: &str = "PLIMSOLL_ENABLED";
/// The package that a tool works on: its name, a space, its version.
pub const PACKAGE: &str = "PLIMSOLL_PACKAGE";

/// The variable that names the program of the tool `name`: `PLIMSOLL_TOOL_WASM_OPT`.
#[must_use]
pub fn tool(name: &str) -> String {
    format!("PLIMSOLL_TOOL_{}", name.to_uppercase().replace('-', "_"))
}
