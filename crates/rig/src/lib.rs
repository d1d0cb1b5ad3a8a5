//! The rig on which builds are tried: it starts a build of a workload, bounds it, and watches it from outside.
//!
//! The benchmark (`bench`) measures with it, the fault campaign (`crates/torture`) strikes with it. What it deliberately
//! does not do: use anything of Plimsoll's own but its programs, so that both see what a stranger would see.
#![expect(clippy::print_stdout, reason = "results are what it prints")]

pub mod account;
pub mod artifacts;
pub mod cgroup;
pub mod folders;
pub mod freshness;
pub mod launch;
pub mod programs;
pub mod random;
pub mod report;
pub mod sampler;
pub mod tree;
pub mod workload;
