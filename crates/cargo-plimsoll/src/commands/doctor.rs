//! `cargo plimsoll doctor`: which of its three questions is asked.

use std::path::Path;

use crate::cli::DoctorOptions;
use crate::commands::recorded;
use crate::doctor;
use crate::env::Environment;
use crate::exit::Failure;
use crate::plimsoll_toml::BadFile;
use crate::settings::Settings;
use crate::shell::Shell;

/// Answers. The exit status: 1 where something was found.
///
/// # Errors
/// Where what is asked about is not there or cannot be read.
pub fn run(
    options: &DoctorOptions,
    settings: &Settings,
    bad_files: &[BadFile],
    (environment, cwd): (&Environment, &Path),
    shell: &mut Shell,
) -> Result<i32, Failure> {
    if let Some(build) = &options.slow {
        doctor::slow::run(build.as_deref(), options, settings, cwd, shell)
    } else if let Some(build) = &options.last {
        doctor::killed::of_build(build.as_deref(), options, settings, cwd, shell)
    } else if options.fix {
        // What comes on standard input answers its questions.
        doctor::setup::run(options, settings, bad_files, (environment, cwd), shell)
    } else if let Some(log) = doctor::killed::log(options.log.as_deref(), shell) {
        doctor::log::of_log(&log, options.json, recorded::columns(), shell)
    } else {
        doctor::setup::run(options, settings, bad_files, (environment, cwd), shell)
    }
}
