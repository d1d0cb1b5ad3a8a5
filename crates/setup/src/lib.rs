//! Whether a machine and a workspace are set up well: what `cargo plimsoll doctor` answers without a log.
//!
//! [`look`] reads machine, process, configuration and workspace into [`Facts`]; [`judge`] says what they mean without
//! reading anything (what is the machine's in `machine`, what is Cargo's and the workspace's in `building`); [`text`] and
//! [`as_json`] word it, and [`candidates`] and [`apply`] are what `init` would write by itself, one setting at a time.
//!
//! What it deliberately does not do: print, ask, or know where Plimsoll's own settings come from ([`Own`] has what
//! matters of them).

mod building;
mod facts;
mod findings;
mod fix;
mod flags;
mod machine;
mod profiles;
mod read;
mod text;

pub use facts::{Facts, Obstacle};
pub use findings::{Finding, Severity};
pub use fix::{Candidate, apply, candidates};
pub use read::{Own, look};
pub use text::{as_json, text};

/// Everything that these facts say: problems first, and what is fine last; in each the machine before the workspace.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = machine::judge(facts);
    findings.extend(building::judge(facts));
    findings.sort_by_key(|finding| finding.severity);
    findings
}
