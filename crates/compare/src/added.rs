//! The settings with which each arm builds.

use plimsoll_cargo::toml_text::Key;
use plimsoll_core::Bytes;
use plimsoll_init::figures::Figures;
use plimsoll_init::plan::{self, Lowmem, Verdict};
use plimsoll_init::workspace::Workspace;

use crate::arm::{Arm, What};

/// What an arm adds to `cargo build` and its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Further arguments of Cargo's.
    pub args: Vec<String>,
    /// Variables.
    pub(crate) variables: Vec<(String, String)>,
    /// The budget, where Plimsoll runs it.
    pub memory: Option<Bytes>,
}

/// What this arm adds.
pub(crate) fn settings(
    arm: Arm,
    what: &What,
    workspace: &Workspace,
    budget: Option<Bytes>,
) -> Settings {
    let memory = budget.filter(|_| arm.is_ours());
    match arm {
        Arm::Plain | Arm::Plimsoll | Arm::Again => Settings { memory, ..Settings::default() },
        Arm::Serial => Settings { args: vec!["-j1".to_owned()], ..Settings::default() },
        Arm::Recipe => Settings {
            args: vec!["-j1".to_owned()],
            variables: plimsoll_init::recipe(&what.profile),
            memory: None,
        },
        Arm::Lowmem => {
            Settings { args: lowmem(workspace, &what.profile), variables: Vec::new(), memory }
        }
    }
}

/// What `init --lowmem` would write into this profile, as `--config` arguments.
fn lowmem(workspace: &Workspace, profile: &str) -> Vec<String> {
    let lowmem = match profile {
        "dev" | "release" => Lowmem::InPlace,
        other => Lowmem::Profile { name: other.to_owned(), inherits: "release".to_owned() },
    };
    let ours = |table: &[String]| table.get(1).is_some_and(|name| name == profile);
    let findings = plan::plan(workspace, &lowmem, &Figures::default());
    let changes = findings.iter().filter_map(|finding| match &finding.verdict {
        Verdict::Write(change) if ours(&change.table) && change.name != "inherits" => Some(change),
        _ => None,
    });
    let config = |change: &plan::Change| {
        let table: Vec<&str> = change.table.iter().map(String::as_str).collect();
        format!("{}={}", Key { table: &table, name: change.name }, change.literal)
    };
    changes.map(config).flat_map(|value| ["--config".to_owned(), value]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_arms_have_a_budget_and_lowmem_has_inits_settings() {
        let manifest = "[profile.release]\nlto = true\n";
        let mut workspace = Workspace::default();
        workspace.manifest.text = Some(manifest.to_owned());
        let what = What::read(&["--release".into()]).unwrap();
        let of = |arm| settings(arm, &what, &workspace, Some(Bytes::gib(1)));
        for arm in Arm::ALL {
            assert_eq!(of(arm).memory.is_some(), arm.is_ours(), "{arm}");
        }
        assert_eq!(of(Arm::Lowmem).args, ["--config", "profile.release.lto=\"thin\""]);
        assert!(
            of(Arm::Recipe)
                .variables
                .contains(&("CARGO_PROFILE_RELEASE_LTO".to_owned(), "thin".to_owned()))
        );
    }
}
