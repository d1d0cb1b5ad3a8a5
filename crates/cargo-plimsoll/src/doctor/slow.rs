//! Why a recorded build took as long as it did: finding its log and the earlier ones, and printing.
//!
//! What they say is `plimsoll-slow`'s. Read are only the event logs, of which twenty are kept.

use anyhow::Context as _;
use plimsoll_slow::Past;

use crate::commands::report::log_of;
use crate::exit::{Failure, OUT};
use crate::settings::Settings;
use crate::shell::Shell;

/// Says where the time of the last build went, or of the one whose id begins so. The exit status: 1 where something
/// made it slow.
pub(crate) fn run(
    build: Option<&str>,
    json: bool,
    settings: &Settings,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let log = log_of(settings, build)?;
    let (header, records) = plimsoll_history::read(&log).map_err(anyhow::Error::from)?;
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
    let said = if json {
        plimsoll_slow::as_json(&past, &rebuilt, &causes).to_string()
    } else {
        plimsoll_slow::text(&past, &rebuilt, &causes)
    };
    shell.answer(said).context(OUT)?;
    Ok(i32::from(!causes.is_empty()))
}
