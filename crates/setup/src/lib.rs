//! Whether a machine and a workspace are set up well: what `cargo plimsoll doctor` answers without a log.
//!
//! [`look`] reads machine, process, configuration and workspace into [`Facts`]; [`judge`] says what they mean without
//! reading anything (what is the machine's in `machine`, what is Cargo's and the workspace's in `building`); [`text`] and
//! [`as_json`] word it, and [`candidates`] and [`apply`] are the safe settings that `init` writes, one at a time.
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
use findings::Fix;
pub use findings::{Finding, Severity};
pub use fix::{Candidate, apply, candidates};
pub use read::{Own, look};
pub use text::{as_json, text};

/// What hurts most, first: what stops every build, then what kills them, then what slows them down.
const WORST: [&str; 10] = [
    "plimsoll.toml",
    "wrapper",
    "linker",
    "container",
    "memory",
    "overcommit",
    "ulimit",
    "swap",
    "account",
    "killers",
];

/// Everything that these facts say: problems first, and what is fine last; in each the worst first.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let bad = |what: &String| {
        Finding::problem(
            "plimsoll.toml",
            what.clone(),
            "`cargo plimsoll build` stops with this error; other commands ignore the file",
            Fix::you("edit that line, or remove the file"),
        )
    };
    let mut findings: Vec<Finding> = facts.bad_files.iter().map(bad).collect();
    findings.extend(machine::judge(facts));
    findings.extend(building::judge(facts));
    let rank = |topic| WORST.iter().position(|it| *it == topic).unwrap_or(WORST.len());
    findings.sort_by_key(|finding| (finding.severity, rank(finding.topic)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_comes_first() {
        let mut facts =
            Facts { bad_files: vec!["/ws/plimsoll.toml:1: x".to_owned()], ..Facts::default() };
        facts.bounds.dumps_core = true;
        let found = judge(&facts);
        assert_eq!((found[0].topic, found[0].severity), ("plimsoll.toml", Severity::Problem));
        assert!(found[0].why.contains("stops with this error"), "{:?}", found[0]);
    }
}
