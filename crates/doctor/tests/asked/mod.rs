//! What several tests ask of a log.

use plimsoll_doctor::{LogReader, Verdict};

pub(crate) fn judge(log: &str) -> Verdict {
    let mut reader = LogReader::default();
    reader.feed(log.as_bytes());
    reader.verdict()
}

/// All that is suggested, in one text.
pub(crate) fn suggested(log: &str) -> String {
    let said = judge(log).remedies.into_iter();
    said.map(|remedy| format!("{} | {}\n", remedy.command.unwrap_or_default(), remedy.why))
        .collect()
}
