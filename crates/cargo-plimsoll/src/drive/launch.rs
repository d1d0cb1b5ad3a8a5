//! How Cargo is started so that its compilers come through the shims, without a trace in its fingerprints.
//!
//! `RUSTC_WRAPPER` is in no unit's fingerprint, but build scripts may ask to run again when it changes:
//! so the configuration's own variable is used, unless the user has set the former. Then the fingerprints
//! are told of the user's value.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll_cargo::{Given, Origin};
use plimsoll_host::{HostError, Jobserver, MakeflagsForm, ToolVersions};
use plimsoll_shim::env as private;

use super::cargo::RUSTC_WRAPPER;
use super::scratch::Scratch;
use super::task::{Pipeline, Task};
use crate::account::Account;
use crate::cargo_args::CargoCall;
use crate::env::Environment;
use crate::settings::Settings;
use crate::shims::Shims;

/// Cargo's pipe; also as a named one where the tools at hand can all use that.
pub(super) fn jobserver(
    jobs: u32,
    scratch: &Scratch,
    environment: &Environment,
) -> Result<Jobserver, HostError> {
    // Asking for versions costs two processes: only where there is a ninja at all.
    let named = scratch.tmp().filter(|tmp| {
        environment.program("ninja", tmp).is_some()
            && ToolVersions::probe().form() == MakeflagsForm::Fifo
    });
    match named {
        Some(tmp) => Jobserver::with_fifo(jobs, &tmp.join("jobserver")),
        None => Jobserver::new(jobs),
    }
}

/// Puts a command, and the Cargos that it is or runs, inside the budget.
pub(super) fn govern(
    command: &mut Command,
    task: Task<'_>,
    settings: &Settings,
    environment: &Environment,
    shims: &Shims,
    scratch: &Scratch,
    (socket, jobserver): (&str, &Jobserver),
) {
    command
        .env("CARGO_BUILD_JOBS", task.jobs(settings).to_string())
        .env("CARGO_MAKEFLAGS", jobserver.cargo_makeflags())
        .env(private::SOCKET, socket);
    match (jobserver.fifo_makeflags(), task) {
        (Some(flags), _) => command.env("MAKEFLAGS", flags),
        (None, Task::Other(_)) => command.env("MAKEFLAGS", jobserver.cargo_makeflags()),
        // A make that called us offers its own, which nobody below us must mistake for ours.
        (None, Task::Cargo(_)) => command.env_remove("MAKEFLAGS"),
    };
    command.env_remove("MFLAGS");
    command.env_remove(private::SCOPED);
    let paths = [
        (private::TMP, scratch.tmp()),
        (private::LINK_DIR, scratch.link()),
        (private::PROBES, scratch.probes()),
    ];
    for (name, path) in paths {
        match path {
            Some(path) => command.env(name, path),
            None => command.env_remove(name),
        };
    }
    let chained = wrap_tools(command, settings, environment, shims);
    if let Task::Cargo(call) = task {
        govern_tests(command, call, settings, &shims.test);
    }
    if let Some(pipeline) = task.pipeline() {
        govern_tools(command, pipeline, scratch);
    }
    if !chained && scratch.probes().is_some() {
        // Cargo's cache of the compiler's answers names the wrapper: sharing it would make every
        // switch between `cargo build` and `cargo plimsoll build` ask again. The shim answers instead.
        command.env("CARGO_CACHE_RUSTC_INFO", "0");
    }
}

/// Puts the shims before rustc and rustdoc; true where something stands behind rustc's.
fn wrap_tools(
    command: &mut Command,
    settings: &Settings,
    environment: &Environment,
    shims: &Shims,
) -> bool {
    let former = Former::find(environment, settings.home.value.as_deref());
    let mut wrap = |tool: Tool, config: &Option<Given<PathBuf>>, former: Option<PathBuf>| {
        let behind = behind(&tool, environment, config.as_ref())
            .and_then(|given| if shims.include(&given) { former } else { Some(given) });
        wrap(command, environment, tool, shims, config.as_ref(), behind)
    };
    let chained = wrap(Tool::RUSTC, &settings.cargo.rustc_wrapper, former.wrapper);
    wrap(Tool::RUSTDOC, &settings.cargo.rustdoc, former.rustdoc);
    chained
}

/// The variables that put the shims before the compilers of a plain Cargo, and what is chained behind them: each
/// with its value, or to be unset.
pub(crate) fn shim_variables(
    settings: &Settings,
    environment: &Environment,
    shims: &Shims,
) -> Vec<(OsString, Option<OsString>)> {
    let mut command = Command::new("cargo");
    wrap_tools(&mut command, settings, environment, shims);
    let owned = |text: &OsStr| text.to_owned();
    command.get_envs().map(|(name, value)| (owned(name), value.map(owned))).collect()
}

/// Puts a shim before each test, as Cargo's runner for our own target; not where the user has any runner, and not
/// for what else Cargo would start through it.
fn govern_tests(command: &mut Command, call: &CargoCall, settings: &Settings, shim: &Path) {
    const RUN_TESTS: &[&str] = &["test", "bench", "nextest"];
    let runs_tests = call.resolved.to_str().is_some_and(|name| RUN_TESTS.contains(&name));
    // Cargo splits the variable at white space.
    let path = shim.to_str().filter(|path| !path.contains(char::is_whitespace));
    let (Some(path), true) = (path.filter(|_| shim.is_file()), runs_tests) else { return };
    if settings.cargo.has_runner {
        return;
    }
    let arch = std::env::consts::ARCH.to_uppercase();
    for libc in ["GNU", "MUSL"] {
        command.env(format!("CARGO_TARGET_{arch}_UNKNOWN_LINUX_{libc}_RUNNER"), path);
    }
    if settings.retry_tests.value {
        command.env(private::RETRY_TESTS, "1");
    }
}

/// Puts a script of ours before each tool of a pipeline. Whoever calls one may look up where it really is, and call it
/// under that name: so it is a file of that name, and no link. Where it cannot be written the tool is part of the command.
fn govern_tools(command: &mut Command, pipeline: &Pipeline, scratch: &Scratch) {
    let (Some(directory), Ok(own)) = (scratch.tools(), std::env::current_exe()) else { return };
    let (name, version) = &pipeline.package;
    command.env(private::PACKAGE, format!("{name} {version}"));
    for tool in &pipeline.tools {
        let script = directory.join(tool.name);
        if stand_in(&script, &own, tool.name).is_ok() {
            command.env(tool.variable, script).env(private::tool(tool.name), &tool.program);
        }
    }
}

/// Writes a script that hands its arguments to `own`. One that is there stays: somebody may be reading it.
fn stand_in(script: &Path, own: &Path, name: &str) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let own = shlex::bytes::try_quote(own.as_os_str().as_bytes()).map_err(std::io::Error::other)?;
    let mut text = b"#!/bin/sh\nexec ".to_vec();
    text.extend_from_slice(&own);
    text.extend(format!(" {} {name} \"$@\"\n", plimsoll_shim::tool::ARGUMENT).bytes());
    if std::fs::read(script).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let directory = script.parent().unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(directory)?;
    std::fs::write(file.path(), text)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(file.path(), mode)?;
    file.persist(script).map_err(|error| error.error)?;
    Ok(())
}

/// One tool of Cargo's that can be replaced.
struct Tool {
    /// The variable that wins over everything.
    variable: &'static str,
    /// The configuration key as a variable.
    config: &'static str,
    /// Where the shim finds what it stands before.
    chained: &'static str,
    /// The shim.
    shim: fn(&Shims) -> &Path,
}

impl Tool {
    const RUSTC: Self = Self {
        variable: RUSTC_WRAPPER,
        config: "CARGO_BUILD_RUSTC_WRAPPER",
        chained: private::WRAPPER,
        shim: |shims| &shims.rustc,
    };
    const RUSTDOC: Self = Self {
        variable: "RUSTDOC",
        config: "CARGO_BUILD_RUSTDOC",
        chained: private::RUSTDOC,
        shim: |shims| &shims.rustdoc,
    };
}

/// What a shim stands before that Cargo is configured with already: below another driver, and in a shell that is
/// inside the budget, what that says, else
/// what `cargo plimsoll enable` found.
#[derive(Default)]
struct Former {
    wrapper: Option<PathBuf>,
    rustdoc: Option<PathBuf>,
}

impl Former {
    fn find(environment: &Environment, home: Option<&Path>) -> Self {
        let in_shell = || environment.get(private::ENABLED).is_some();
        if environment.raw(private::SOCKET).is_some() || in_shell() {
            let told = |name| environment.get(name).map(PathBuf::from);
            return Self { wrapper: told(private::WRAPPER), rustdoc: told(private::RUSTDOC) };
        }
        let enabled = home.and_then(Account::enabled);
        enabled.map_or_else(Self::default, |enabled| Self {
            wrapper: enabled.wrapper,
            rustdoc: enabled.rustdoc,
        })
    }
}

/// The program that the user has in the tool's place.
fn behind(
    tool: &Tool,
    environment: &Environment,
    config: Option<&Given<PathBuf>>,
) -> Option<PathBuf> {
    match environment.raw(tool.variable) {
        // Set and empty means "no wrapper", whatever the configuration says.
        Some(set) => Some(PathBuf::from(set)).filter(|set| !set.as_os_str().is_empty()),
        None => config.map(|given| given.value.clone()),
    }
}

/// Puts a shim before a tool, and what is `behind` it behind the shim; true where there is something.
fn wrap(
    command: &mut Command,
    environment: &Environment,
    tool: Tool,
    shims: &Shims,
    config: Option<&Given<PathBuf>>,
    behind: Option<PathBuf>,
) -> bool {
    let given = environment.raw(tool.variable);
    let on_command_line = config.is_some_and(|given| given.origin == Origin::CommandLine);
    // The command line wins over the configuration's variable, the plain variable over both.
    let name = if given.is_some() || on_command_line { tool.variable } else { tool.config };
    command.env(name, (tool.shim)(shims));
    match &behind {
        Some(behind) => command.env(tool.chained, behind),
        None => command.env_remove(tool.chained),
    };
    behind.is_some()
}
