//! Why a recorded build took as long as it did: finding its log and the earlier ones, and printing.
//!
//! What they say is `plimsoll-slow`'s. Read are only the event logs, of which twenty are kept.

use std::path::Path;

use anyhow::Context as _;
use plimsoll_slow::Past;
use plimsoll_view::Outline;

use crate::cli::DoctorOptions;
use crate::commands::recorded::{self, Recorded};
use crate::exit::{Failure, OUT};
use crate::settings::Settings;
use crate::shell::Shell;

/// Says where the time of the last build went, or of the one whose id begins so. The exit status: 1 where something
/// made it slow.
pub(crate) fn run(
    build: Option<&str>,
    options: &DoctorOptions,
    settings: &Settings,
    cwd: &Path,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let Recorded { path: log, header, records } =
        recorded::find(build, &options.which(), settings, cwd)?;
    let outline = Outline::new(&header, &records, false);
    let past = Past::new(header, &records);
    let logs = plimsoll_history::recorded(log.parent().unwrap_or(&log));
    // What cannot be read, of a newer version or torn, is nothing to compare with.
    let earlier: Vec<Past> = logs
        .iter()
        .rev()
        .skip_while(|other| **other != log)
        .skip(1)
        .filter_map(|other| plimsoll_history::read(other).ok())
        .map(|(header, records)| Past::new(header, &records))
        .collect();
    let rebuilt = plimsoll_slow::compare(&past, &earlier);
    let causes = plimsoll_slow::find(&past, &rebuilt);
    if options.json {
        shell.answer(plimsoll_slow::as_json(&past, &rebuilt, &causes)).context(OUT)?;
    } else {
        let blocks = plimsoll_slow::blocks(&past, &outline, &rebuilt, &causes, recorded::now());
        shell.blocks(&blocks, recorded::columns()).context(OUT)?;
    }
    Ok(i32::from(!causes.is_empty()))
}
