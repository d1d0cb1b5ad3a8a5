//! Every environment variable that people may set for Plimsoll, in one list.
//!
//! The private ones, spoken between driver and shim, are listed beside their messages
//! ([`plimsoll_proto::env`]); they mean nothing outside a build. Cargo's own variables are read as Cargo
//! reads them (see [`plimsoll_cargo::CargoConfig`]). Nothing here decides what a value means.

pub use plimsoll_cargo::Environment;

/// The budget, as `--memory` takes it.
pub const MEMORY: &str = "PLIMSOLL_MEMORY";
/// How many units run at once, as `--jobs` takes it.
pub const JOBS: &str = "PLIMSOLL_JOBS";
/// How many processors are planned for: more units or threads than that run only where they idle.
pub const PROCESSORS: &str = "PLIMSOLL_PROCESSORS";
/// What may be done with a unit that exceeds the budget by itself, as `--oversized` takes it.
pub const OVERSIZED: &str = "PLIMSOLL_OVERSIZED";
/// Whether the kernel, too, keeps the build to its budget, as by `--hard`.
pub const HARD: &str = "PLIMSOLL_HARD";
/// The build's share of the account's budget, as `--priority` takes it; plain `cargo` heeds it, too, after `enable`.
pub const PRIORITY: &str = plimsoll_proto::env::PRIORITY;
/// Whether a test that was killed for lack of memory runs once more, as by `--retry-tests`.
pub const RETRY_TESTS: &str = plimsoll_proto::env::RETRY_TESTS;
/// Whether plain `cargo` is inside the budget though the account is not, as `cargo plimsoll env` has it.
pub const ENABLED: &str = plimsoll_proto::env::ENABLED;
/// Whether Plimsoll says nothing but errors, as by `--quiet`.
pub const QUIET: &str = "PLIMSOLL_QUIET";
/// Where history and event logs are kept.
pub const HOME: &str = plimsoll_proto::HOME_VARIABLE;

/// What people may set, with one sentence each, for the help text.
pub const PUBLIC: &[(&str, &str)] = &[
    (MEMORY, "the same as --memory"),
    (JOBS, "the same as --jobs"),
    (PROCESSORS, "number of processors to use [default: all available]"),
    (OVERSIZED, "the same as --oversized"),
    (HARD, "1 is the same as --hard"),
    (PRIORITY, "the same as --priority; plain `cargo` obeys it, too"),
    (RETRY_TESTS, "1 is the same as --retry-tests"),
    (QUIET, "1 is the same as --quiet"),
    (ENABLED, "1 puts plain `cargo` inside the budget, as `env` does"),
    (HOME, "history and logs [default: ~/.local/state/plimsoll]"),
];
