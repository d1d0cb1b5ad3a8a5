//! What can end a build, and which of it is lack of memory.

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
    /// Intermediate code could not be loaded for link-time optimization.
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
    /// Ctrl-C, or somebody canceled the job.
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
    /// Whether memory ran out.
    #[must_use]
    pub fn is_memory(self) -> bool {
        self <= Self::Refused
    }

    /// What it is, as the end of "`unit` …" or "the build …".
    #[must_use]
    pub fn happened(self) -> &'static str {
        match self {
            Self::OomKiller => "was killed by the kernel: the machine was out of memory",
            Self::MemoryLimit => {
                "was killed at a memory limit, such as a container's or a CI job's"
            }
            Self::Earlyoom => {
                "was killed by earlyoom or nohang: the machine was almost out of memory"
            }
            Self::SystemdOomd => "was killed by systemd-oomd: processes waited too long for memory",
            Self::Killed => "was killed (SIGKILL); the kernel does that when memory runs out",
            Self::Terminated => {
                "was terminated from outside (SIGTERM); CI runners and earlyoom do that when memory runs out"
            }
            Self::AllocationFailed => "did not get the memory that it asked for",
            Self::TmpfsFull => "filled a file system that lies in memory (tmpfs)",
            Self::NoThreads => "reached a limit on threads or processes",
            Self::Bitcode => {
                "could not load the intermediate code for link-time optimization; this happens when the compiler that wrote it \
                 ran out of memory"
            }
            Self::Refused => "was not run: it needs more memory than it may use",
            Self::CompileError => "does not compile",
            Self::Lint => "fails because of a lint, a denied warning or formatting",
            Self::LinkError => "does not link: the linker rejects its inputs",
            Self::MissingLibrary => "needs a library that is not installed",
            Self::MissingTool => "needs a program or toolchain that is not installed",
            Self::DiskFull => "ran out of disk space",
            Self::Timeout => "reached a time limit",
            Self::Interrupted => "was interrupted or canceled",
            Self::TestFailed => "failed: a test did not pass",
            Self::Crash => "crashed",
            Self::Network => "could not reach a server",
            Self::Dependencies => {
                "could not start because of the manifest, the lock file, features, versions or arguments"
            }
            Self::BuildScript => "failed: a build script ended with an error",
            Self::Denied => "was blocked by the operating system",
            Self::Failed => "failed, and the log does not say why",
            Self::Succeeded => "succeeded",
            Self::Unknown => "ended, and the log does not say how",
        }
    }
}
