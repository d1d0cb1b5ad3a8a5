//! The lines of what is not memory: a verdict must know these to be sure of the others.

use std::sync::LazyLock;

use crate::cause::Cause;
use crate::finding::{About, Finding, Weight};
use crate::signal::exit_number;
use crate::unit::after;
use crate::verdict::Certainty::{self, Certain, Likely, Possible};
use crate::words::Words;

/// One form: any of these words, and what they mean.
struct Form {
    any: &'static [&'static str],
    cause: Cause,
    certainty: Certainty,
    weight: Weight,
    about: About,
}

const fn form(
    cause: Cause,
    certainty: Certainty,
    weight: Weight,
    about: About,
    any: &'static [&'static str],
) -> Form {
    Form { any, cause, certainty, weight, about }
}

/// Looked through from the top; the first that fits is the finding.
const FORMS: &[Form] = &[
    // Plimsoll's own words; older ones too.
    form(
        Cause::Refused,
        Certain,
        Weight::Confession,
        About::Compiler,
        &[
            "`--oversized refuse` refuses it",
            "refused because of `--strict`",
            "It was stopped before the machine thrashes",
        ],
    ),
    form(
        Cause::Timeout,
        Certain,
        Weight::Confession,
        About::Job,
        &[
            "exceeded the maximum execution time",
            "exceeded the maximum time",
            "execution took longer than",
            "Too long with no output",
            "timeout: sending signal",
            "context deadline exceeded: job",
            "has timed out after",
            "The job running on runner",
            "Job timed out",
            "DUE TO TIME LIMIT",
            "Build timed out",
            "xecution timeout",
            "TIMEOUT [",
            "No output has been received in",
            "o output for ",
            "maximum allowed time",
            "maximum allowed runtime",
            "maximum build time",
            "build time limit",
            "time limit exceeded",
            "exceeded the time limit",
            "timeout exceeded",
            "Timeout has been exceeded",
            "timeout was exceeded",
            "Timed out (took longer than",
            "status \"TIMEOUT\"",
            "DeadlineExceeded",
            "Build has timed out",
            "run time limit",
            "walltime ",
            "of inactivity",
            "ommand timed out",
            "TimeoutExpired",
            "rocess timed out after",
            "tep timed out after",
            "uild timed out after",
            "ob timed out after",
            "Failed with result 'timeout'",
            " timed out. Killing.",
        ],
    ),
    form(
        Cause::Interrupted,
        Certain,
        Weight::Confession,
        About::Job,
        &[
            "Canceling since a higher priority waiting request",
            "The run was canceled by",
            "Received cancellation request",
            "Aborted by ",
            "SIGINT: terminal interrupt signal",
            "Job was canceled",
            "Job failed: canceled",
            "Job Cancelled",
            "has been canceled",
            "has been cancelled",
            "Received cancellation signal",
            "Sending interrupt signal to process",
            // Who takes the machine away for somebody else.
            "Preempted by ",
            "PreemptionByScheduler",
            "DUE TO PREEMPTION",
            "was preempted",
            "been preempted",
            "SPOT_INSTANCE_TERMINATION",
            "pot instance termination",
            "pot instance interruption",
            "pot interruption",
            "exceeded the maximum log length",
            "failed liveness probe",
            "resorting to SIGKILL",
        ],
    ),
    form(Cause::DiskFull, Certain, Weight::Confession, About::Job, &["condition: [DiskPressure]"]),
    // macOS kills what it has no valid signature for.
    form(
        Cause::Denied,
        Certain,
        Weight::Confession,
        About::Compiler,
        &[
            "CODE SIGNING: ",
            "Security policy would not allow process",
            "Code Signature Invalid",
            "not valid for use in process",
        ],
    ),
    form(
        Cause::Crash,
        Certain,
        Weight::Confession,
        About::Compiler,
        &[
            "has overflowed its stack",
            "unexpectedly overflowed its stack",
            "stack overflow, aborting",
            "capacity overflow",
            "double free or corruption",
            "malloc(): ",
            "free(): invalid",
            "rustc interrupted by SIGSEGV",
            "rustc received signal",
            "A segfault occurred while executing",
        ],
    ),
    form(
        Cause::DiskFull,
        Likely,
        Weight::Resource,
        About::Compiler,
        &[
            "Disk quota exceeded",
            "You are running out of disk space",
            "not enough space on the disk",
            "insufficient disk space",
            "ephemeral local storage usage exceeds",
            "low on resource: ephemeral-storage",
        ],
    ),
    form(
        Cause::Denied,
        Certain,
        Weight::Resource,
        About::Compiler,
        &[
            "Too many open files",
            "(os error 24)",
            "Permission denied (os error 13)",
            "Operation not permitted (os error 1)",
            "Read-only file system (os error 30)",
            "Text file busy (os error 26)",
            "Argument list too long",
            "Access is denied",
            "being used by another process",
            "contains a virus",
            "ile size limit exceeded",
            " sig=31 ",
        ],
    ),
    form(
        Cause::Crash,
        Certain,
        Weight::Specific,
        About::Compiler,
        &[
            "error: internal compiler error",
            "the compiler unexpectedly panicked",
            "query stack during panic",
            "SIGSEGV: invalid memory reference",
            "ERROR: AddressSanitizer: ",
            "PLEASE submit a bug report to https://github.com/llvm",
        ],
    ),
    form(
        Cause::MissingLibrary,
        Certain,
        Weight::Specific,
        About::Linker,
        &[
            "unable to find library -l",
            "cannot find -l",
            "library not found: ",
            "library not found for -l",
            "could not find native static library",
            "was not found in the pkg-config search path",
            "The system library `",
            "Could not find directory of OpenSSL",
            "Unable to find libclang",
            "fatal error: openssl/",
            "Could not run `pkg-config",
            "pkg-config exited with status code 1",
            "Package requirements (",
        ],
    ),
    form(
        Cause::MissingTool,
        Certain,
        Weight::Specific,
        About::Compiler,
        &[
            "error: linker `",
            "not installed?",
            "can't find crate for `core`",
            "can't find crate for `std`",
            "target may not be installed",
            "Could not find `protoc`",
            "failed to find tool",
            "could not execute process `",
            "no such command: `",
            "' is not installed",
            "program not found",
            "cargo: not found",
            "rustc: not found",
            "is not a valid toolchain name",
            "does not contain component",
            "custom toolchain",
        ],
    ),
    form(
        Cause::LinkError,
        Certain,
        Weight::Specific,
        About::Linker,
        &[
            "undefined symbol: ",
            "undefined reference to ",
            "duplicate symbol",
            "multiple definition of ",
            "file format not recognized",
            "incompatible with elf",
            "relocation truncated to fit",
            "failed to load bitcode of module",
            "failed to load bc of",
            "failed to get bitcode from object file",
            "symbol(s) not found for architecture",
            "Undefined symbols for architecture",
            "unresolved external",
            "will not fit in region",
            "LNK1104",
            "LNK1168",
            "LNK1201",
            "' overflowed by ",
            "file in wrong format",
        ],
    ),
    form(
        Cause::Network,
        Certain,
        Weight::Specific,
        About::Job,
        &[
            "failed to download from",
            "spurious network error",
            "Could not resolve host",
            "Could not resolve hostname",
            "Could not connect to server",
            "network failure seems to have happened",
            "Temporary failure in name resolution",
            "SSL connect error",
            "Connection refused (os error 111)",
            "error dialing backend: dial tcp",
            "Connection reset by peer",
            "failed to fetch `",
            "failed to authenticate when downloading repository",
            "failed to clone into",
            "download of ",
            "failed to get successful HTTP response",
            "Unable to fetch URL",
        ],
    ),
    form(
        Cause::Dependencies,
        Certain,
        Weight::Specific,
        About::Job,
        &[
            "the lock file ",
            "lock file version",
            "failed to select a version",
            "no matching package",
            "failed to parse manifest",
            "failed to parse lock file",
            "error: unclosed table",
            "--> Cargo.toml:",
            "TOML parse error",
            "failed to load manifest",
            "failed to read `",
            "rustc is not supported by the following package",
            "cannot be built because it requires rustc",
            "requires rustc ",
            "does not contain this feature",
            "does not contain the feature",
            "does not have the feature",
            "does not have these features",
            "no bin target named",
            "no test target named",
            "no example target named",
            "unexpected argument '",
            "could not find `Cargo.toml`",
            "did not match any packages",
            "cyclic package dependency",
            "feature `edition2024` is required",
            "attempting to make an HTTP request, but --offline",
            "checksum for `",
        ],
    ),
    form(
        Cause::Lint,
        Certain,
        Weight::Specific,
        About::Compiler,
        &[
            "`-D warnings`",
            "#[deny(clippy::",
            "#[deny(warnings)]",
            "implied by `-D",
            "Diff in ",
            "requested on the command line with `-D",
            "note: the lint level is defined here",
            "#[deny(",
            "security vulnerability detected",
            "vulnerability found",
            "vulnerabilities found",
        ],
    ),
    form(
        Cause::CompileError,
        Certain,
        Weight::Specific,
        About::Compiler,
        &[
            "error[E",
            "recursion limit reached",
            "reached the recursion limit",
            "proc-macro derive panicked",
            "proc macro panicked",
            "custom attribute panicked",
            "this file contains an unclosed delimiter",
            "error: expected ",
            "error: cannot find ",
            "error: evaluation of constant value failed",
            "are too big for the target architecture",
            "aborting due to ",
            "\"level\":\"error\"",
        ],
    ),
    form(
        Cause::TestFailed,
        Certain,
        Weight::Specific,
        About::Program,
        &[
            "test result: FAILED",
            "error: test failed",
            "error: doctest failed",
            "error: test run failed",
            "targets failed:",
            "error: memory leaked: ",
            // A fuzzer has its own limits.
            "ERROR: libFuzzer: ",
            "error: Undefined Behavior: ",
        ],
    ),
    form(
        Cause::MissingTool,
        Likely,
        Weight::General,
        About::Job,
        &["command not found", "executable file not found"],
    ),
    form(
        Cause::Dependencies,
        Likely,
        Weight::General,
        About::Job,
        &["failed to get `", "failed to load source for dependency"],
    ),
    form(Cause::CompileError, Likely, Weight::General, About::Compiler, &[" previous error"]),
    form(Cause::LinkError, Possible, Weight::General, About::Linker, &["error: linking with `"]),
    form(
        Cause::BuildScript,
        Likely,
        Weight::General,
        About::Compiler,
        &["failed to run custom build command for `"],
    ),
    form(
        Cause::Interrupted,
        Possible,
        Weight::Unexplained,
        About::Job,
        &["The operation was canceled"],
    ),
    form(Cause::Denied, Likely, Weight::Unexplained, About::Job, &[": Permission denied"]),
    form(
        Cause::Failed,
        Possible,
        Weight::Unexplained,
        About::Job,
        &[
            "error: could not compile `",
            "error: Could not compile `",
            "error: could not document `",
            "ERROR: Job failed",
            "Process completed with exit code",
            "error[",
            "error: ",
            "ERROR: ",
            "*** Error code ",
        ],
    ),
];

/// What a line says about an end that is not memory.
pub(crate) fn look(line: &str) -> Option<Finding> {
    // A terminal's echo of Ctrl-C.
    if line.starts_with("^C") {
        return Some(Finding::new(Cause::Interrupted, Likely, Weight::Status, About::Job));
    }
    if let Some(cause) = by_number(line) {
        return Some(Finding::new(cause, Likely, Weight::Resource, About::Compiler));
    }
    static WORDS: LazyLock<Words> =
        LazyLock::new(|| Words::new(FORMS.iter().flat_map(|form| form.any).copied()));
    WORDS.first(line)?;
    let form = FORMS.iter().find(|form| form.any.iter().any(|words| line.contains(words)))?;
    // Zero is no failure: `Process completed with exit code 0`.
    if is_below_an_error(line) || matches!(exit_number(line), Some(0)) {
        return None;
    }
    Some(Finding::new(form.cause, form.certainty, form.weight, form.about))
}

/// What a program says of itself, and no error: a warning, or a line of its own log, as `… INFO closing after 60 s of
/// inactivity`.
pub(crate) fn is_below_an_error(line: &str) -> bool {
    /// A level stands before what is said, after the time at most.
    const WITHIN: usize = 64;
    let head = line.char_indices().nth(WITHIN).map_or(line, |(at, _)| &line[..at]);
    let mut words = head.split(|c: char| !c.is_ascii_alphanumeric());
    // Who runs containers, and says it so, speaks of the job: `WARN[0010] … resorting to SIGKILL`.
    let of_containers = line.starts_with("WARN[") || line.starts_with("INFO[");
    line.starts_with("warning")
        || line.starts_with("W: ")
        || !of_containers && words.any(|word| matches!(word, "TRACE" | "DEBUG" | "INFO" | "WARN"))
}

/// Windows says its errors in any language, and their numbers. Unix has others of these, and says them in English.
fn by_number(line: &str) -> Option<Cause> {
    match os_error(line)? {
        5 if !line.contains("Input/output error") => Some(Cause::Denied),
        32 if !line.contains("Broken pipe") => Some(Cause::Denied),
        112 if !line.contains("Host is down") => Some(Cause::DiskFull),
        // A virus, a group's policy, Smart App Control.
        225 | 1260 | 4551 => Some(Cause::Denied),
        _ => None,
    }
}

/// The number of `… (os error 1455)`, `[WinError 1455] …`.
pub(crate) fn os_error(line: &str) -> Option<u32> {
    ["(os error ", "[WinError "].iter().find_map(|mark| {
        let rest = after(line, mark)?;
        rest.split([')', ']']).next()?.parse().ok()
    })
}
