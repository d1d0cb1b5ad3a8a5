//! What can end a build, and which of it is want of memory.

use serde::Serialize;

/// What ended a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The kernel says that it killed a process because the machine had no memory left.
    OomKiller,
    /// A container, cgroup or CI job reached its own limit.
    MemoryLimit,
    /// earlyoom killed a process before the kernel had to.
    Earlyoom,
    /// systemd-oomd killed a scope because it waited too much for memory.
    SystemdOomd,
    /// SIGKILL, and nobody says from whom.
    Killed,
    /// SIGTERM from the CI's runner or a daemon, and nobody says why.
    Terminated,
    /// An allocation failed: a limit of the address space, or no memory to promise.
    AllocationFailed,
    /// A file system in memory (tmpfs, zram) is full.
    TmpfsFull,
    /// Intermediate code could not be loaded for link-time optimisation.
    Bitcode,
    /// Plimsoll did not run a unit that is larger than the budget or the machine.
    Refused,
    /// No thread or process could be started: a limit of their number.
    NoThreads,
    /// The compiler refuses the program.
    CompileError,
    /// A lint, a warning that counts as an error, or formatting.
    Lint,
    /// The linker refuses its inputs.
    LinkError,
    /// A library of the system is not there.
    MissingLibrary,
    /// A program or part of the toolchain is not there.
    MissingTool,
    /// A disk is full.
    DiskFull,
    /// A time limit.
    Timeout,
    /// Ctrl-C, or somebody cancelled the job.
    Interrupted,
    /// A test failed by its own assertion or panic.
    TestFailed,
    /// A program crashed: a wrong memory access, a stack overflow, a panic of the compiler.
    Crash,
    /// A server could not be reached.
    Network,
    /// Manifest, lock file, features or versions do not fit together, or the command line is wrong.
    Dependencies,
    /// A build script failed for reasons of its own.
    BuildScript,
    /// A rule of the operating system: access, signatures, a sandbox, a virus scanner, open files.
    Denied,
    /// It failed, and nothing says why.
    Failed,
    /// It did not fail.
    Succeeded,
    /// Nothing says how it ended.
    Unknown,
}

impl Cause {
    /// Whether this is want of memory.
    #[must_use]
    pub fn is_memory(self) -> bool {
        self <= Self::Refused
    }

    /// What it is, as the end of "`unit` …" or "the build …".
    #[must_use]
    pub fn happened(self) -> &'static str {
        match self {
            Self::OomKiller => "was killed by the kernel: the machine was out of memory",
            Self::MemoryLimit => "was killed at the memory limit of its container or CI job",
            Self::Earlyoom => {
                "was killed by earlyoom or nohang: the machine was nearly out of memory"
            }
            Self::SystemdOomd => "was killed by systemd-oomd: too much waited for memory",
            Self::Killed => "was killed (SIGKILL), as the kernel kills when memory runs out",
            Self::Terminated => {
                "was terminated (SIGTERM) from outside, as CI runners and earlyoom do when memory runs out"
            }
            Self::AllocationFailed => "could not get the memory it asked for",
            Self::TmpfsFull => "found its file system full, and that is one in memory",
            Self::NoThreads => "met a limit of threads or processes",
            Self::Bitcode => {
                "could not load intermediate code at the link, as when what wrote it was short of memory"
            }
            Self::Refused => "was not run: it needs more than there is",
            Self::CompileError => "does not compile",
            Self::Lint => "has a lint, a warning or formatting that counts as an error",
            Self::LinkError => "does not link: the linker refuses its inputs",
            Self::MissingLibrary => "needs a library that is not installed",
            Self::MissingTool => "needs a program or toolchain that is not installed",
            Self::DiskFull => "found its disk full",
            Self::Timeout => "ran into a time limit",
            Self::Interrupted => "was interrupted or cancelled",
            Self::TestFailed => "failed as a test",
            Self::Crash => "crashed by itself",
            Self::Network => "could not reach a server",
            Self::Dependencies => {
                "could not begin: manifest, lock file, features, versions or arguments"
            }
            Self::BuildScript => "failed in its build script",
            Self::Denied => "was stopped by a rule of the operating system",
            Self::Failed => "failed, and the log does not say why",
            Self::Succeeded => "did not fail",
            Self::Unknown => "ended in a way that the log does not tell",
        }
    }
}
