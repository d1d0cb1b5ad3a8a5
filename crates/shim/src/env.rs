//! The environment through which the driver speaks to the shims, and a shim to the link shims below it.
//! These names are private: they mean nothing to a person, and change without notice.
//!
//! Where none of the first three is set no driver has started this build: what is chained then stands in
//! Plimsoll's home (`cargo plimsoll enable`).

/// The governor's abstract socket, without the leading NUL. Not set: nobody governs.
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
