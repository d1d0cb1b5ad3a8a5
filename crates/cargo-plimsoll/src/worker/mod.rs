//! Cloudflare Workers: which package, which tools, which steps, and what comes out.
//!
//! Plimsoll drives the ecosystem's own tools. A crate of the `worker` library is built by `worker-build`; one that is
//! packed as wasm-pack does it goes through [`steps`]. Either is one build inside one line: Cargo's compilers, and each
//! tool by a script of ours under its name, are units.

pub(crate) mod output;
pub(crate) mod project;
pub(crate) mod rustc;
pub(crate) mod steps;
pub(crate) mod tools;

/// What Workers are compiled for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
