//! The shim as a process, between a governor that the test plays and a compiler that is a script or rustc.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admission;
mod alone;
mod chained;
mod governor;
mod link;
mod many;
mod probes;
mod real_rustc;
mod retry;
mod scene;
