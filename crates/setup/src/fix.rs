//! Applying what is safe: the settings that `init` writes without an option, one at a time.
//!
//! Deliberately not here: whatever needs root, changes programs or the account. Those commands are said, not run.

use std::collections::BTreeSet;

use plimsoll_init::edit;
use plimsoll_init::plan::Verdict;

use super::facts::Here;
use super::findings::{By, Finding};

/// A setting that can be applied, and how it is asked for.
pub struct Candidate {
    /// The key with its table, as `init` knows it.
    pub setting: String,
    /// What was found and why it should change, for the question.
    pub question: String,
}

/// What can be applied.
pub fn candidates(findings: &[Finding]) -> Vec<Candidate> {
    let candidate = |finding: &Finding| {
        let fix = finding.fix.as_ref().filter(|fix| fix.by == By::Doctor)?;
        let setting = fix.setting.clone()?;
        Some(Candidate { setting, question: format!("{}: {}", finding.what, finding.why) })
    };
    findings.iter().filter_map(candidate).collect()
}

/// Writes these settings of `init`'s, all or none; gives the files. `check` is Cargo's last word.
pub fn apply(
    here: &Here,
    accepted: &BTreeSet<String>,
    check: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<String>> {
    let mut proposals = here.proposals.clone();
    for proposal in &mut proposals {
        if !accepted.contains(&proposal.setting) {
            proposal.verdict = Verdict::No;
        }
    }
    let edits = edit::propose(&here.workspace, &mut proposals)?;
    edit::apply(&edits, check)?;
    let name = |edit: &edit::Edit| {
        let path = &edit.file.path;
        path.strip_prefix(&here.workspace.root).unwrap_or(path).display().to_string()
    };
    Ok(edits.iter().map(name).collect())
}
