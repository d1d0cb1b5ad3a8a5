//! Cloudflare Workers: which package, which tools, which steps, and what comes out.
//!
//! Plimsoll drives the ecosystem's own tools. A crate of the `worker` library is built by `worker-build`; one that is
//! packed as wasm-pack does it goes through [`steps`]. Either is one build inside one line: Cargo's compilers, and each
//! tool by a script of ours under its name, are units.
//!
//! What it deliberately does not do: start the build, or print. It finds, says what is missing, tells the steps and packs
//! the output; [`steps::main`] alone runs something, as the command of a build that its caller drives.

pub mod output;
pub mod project;
pub mod rustc;
pub mod steps;
pub mod tools;

/// What Workers are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";
