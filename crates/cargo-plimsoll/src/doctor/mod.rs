//! The doctor's three questions: `setup` (is this machine and workspace set up well?), `killed` and `log` (what killed a build?),
//! `slow` (why was it slow?). Each looks at facts, and decides by a part that reads nothing.

pub(crate) mod killed;
pub(crate) mod log;
pub(crate) mod setup;
pub(crate) mod slow;

use std::path::Path;

use crate::cli::DoctorOptions;
use crate::commands::recorded;
use crate::env::Environment;
use crate::exit::Failure;
use crate::plimsoll_toml::BadFile;
use crate::settings::Settings;
use crate::shell::Shell;

/// Answers. The exit status: 1 where something was found.
///
/// # Errors
/// Where what is asked about is not there or cannot be read.
pub(crate) fn run(
    options: &DoctorOptions,
    settings: &Settings,
    bad_files: &[BadFile],
    (environment, cwd): (&Environment, &Path),
    shell: &mut Shell,
) -> Result<i32, Failure> {
    if let Some(build) = &options.slow {
        slow::run(build.as_deref(), options, settings, cwd, shell)
    } else if let Some(build) = &options.last {
        killed::of_build(build.as_deref(), options, settings, cwd, shell)
    } else if options.fix {
        // What comes on standard input answers its questions.
        setup::run(options, settings, bad_files, (environment, cwd), shell)
    } else if let Some(log) = killed::log(options.log.as_deref(), shell) {
        log::of_log(&log, options.json, recorded::columns(), shell)
    } else {
        setup::run(options, settings, bad_files, (environment, cwd), shell)
    }
}
