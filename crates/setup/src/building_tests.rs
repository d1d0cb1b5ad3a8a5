//! Configurations and workspaces, and what is found in them.

use plimsoll_cargo::Jobs;
use plimsoll_core::Bytes;
use plimsoll_init::figures::Figures;
use plimsoll_init::plan::{Group, Lowmem, plan};
use plimsoll_init::workspace::{Compiler, TextFile, Workspace};

use super::*;
use crate::facts::Obstacle;
use crate::facts::tests::row;
use crate::facts::{Linkers, Machine};
use crate::findings::Severity;
use crate::flags;

const HOST: &str = "x86_64-unknown-linux-gnu";

/// A workspace with nothing of its own on a machine of that much memory, with `init` done.
fn facts(memory: Bytes, manifest: &str, config: &str, rows: &[(&str, Bytes)]) -> Facts {
    let path = std::path::PathBuf::from("/ws/.cargo/config.toml");
    let workspace = Workspace {
        manifest: TextFile { path: "/ws/Cargo.toml".into(), text: Some(manifest.to_owned()) },
        layers: vec![(path.clone(), config.parse().unwrap())],
        config: TextFile { path, text: Some(config.to_owned()) },
        compiler: Compiler { host: HOST.to_owned(), version: (1, 95) },
        memory,
        processors: 4,
        ..Workspace::default()
    };
    let rows = rows.iter().map(|(profile, peak)| row("giant", profile, *peak, *peak));
    let figures = Figures::new(rows.collect(), &["giant".to_owned()]);
    let flags = flags::find(&[("", "")].into_iter().collect(), &workspace.layers, HOST);
    let here = Here { workspace, figures, proposals: Vec::new() };
    let machine = Machine { processors: 4, total: memory, ..Machine::default() };
    let linkers = Linkers {
        found: vec!["ld.bfd", "lld"],
        has_rust_lld: true,
        driver: Some(("cc".to_owned(), true)),
        drivers_own: Some("GNU ld (GNU Binutils) 2.40".to_owned()),
    };
    let here = Some(here);
    Facts { machine, linkers, flags, here, wrapper_is_there: true, ..Facts::default() }
}

fn large(manifest: &str, config: &str) -> Facts {
    facts(Bytes::gib(64), manifest, config, &[])
}

#[track_caller]
fn only(facts: &Facts, topic: &str) -> Finding {
    let mut found: Vec<Finding> =
        judge(facts).into_iter().filter(|it| it.severity != Severity::Fine).collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    let found = found.remove(0);
    assert_eq!(found.topic, topic, "{found:#?}");
    found
}

#[track_caller]
fn none(facts: &Facts) {
    let found = judge(facts);
    assert!(found.iter().all(|it| it.severity == Severity::Fine), "{found:#?}");
}

fn given<T>(value: T, origin: Origin) -> Option<Given<T>> {
    Some(Given { value, origin })
}

#[test]
fn a_workspace_with_nothing_of_its_own_is_fine_and_where_there_is_none_that_is_said() {
    none(&large("", ""));
    let nowhere =
        Facts { no_workspace: Some("no Cargo.toml\nmore".to_owned()), ..Facts::default() };
    let found = judge(&nowhere);
    assert!(found.iter().any(|it| it.what.contains("no Cargo.toml")), "{found:#?}");
}

#[test]
fn an_account_that_is_enabled_and_gone_past_is_a_problem() {
    let mut facts = large("", "");
    facts.enabled = true;
    none(&facts);
    let advice = "`unset RUSTC_WRAPPER`".to_owned();
    facts.obstacles =
        vec![Obstacle { tool: "rustc", what: "RUSTC_WRAPPER is set".to_owned(), advice }];
    let found = only(&facts, "account");
    assert_eq!(found.severity, Severity::Problem);
    assert!(found.fix.unwrap().command.contains("unset"));
}

#[test]
fn an_editor_beside_a_plain_cargo_is_told_of_the_accounts_budget() {
    let mut facts = large("", "");
    facts.machine.programs = vec![("rust-analyzer".to_owned(), Bytes::gib(2))];
    let found = only(&facts, "account");
    let fix = found.fix.unwrap();
    assert!(found.what.contains("2.00 GiB") && fix.command.contains("enable"));
    assert_eq!(fix.by, By::You, "never applied unasked");
}

#[test]
fn a_wrapper_is_worth_knowing_and_one_that_is_gone_a_problem() {
    let mut facts = large("", "");
    facts.cargo.rustc_wrapper = given("sccache".into(), Origin::Variable("RUSTC_WRAPPER"));
    let found = only(&facts, "wrapper");
    assert_eq!(found.severity, Severity::Note);
    assert_eq!(found.fix.unwrap().command, "unset RUSTC_WRAPPER");
    facts.wrapper_is_there = false;
    assert_eq!(only(&facts, "wrapper").severity, Severity::Problem);
    facts.wrapper_is_ours = true;
    none(&facts);
    facts.variables.insert("RUSTC_WORKSPACE_WRAPPER".to_owned(), "w".to_owned());
    assert!(only(&facts, "wrapper").what.contains("RUSTC_WORKSPACE_WRAPPER"));
}

#[test]
fn jobs_that_leave_processors_idle_or_crowd_them_are_told_with_the_number() {
    for (jobs, severity) in [
        (1, Some(Severity::Note)),
        (2, Some(Severity::Note)),
        (3, Some(Severity::Note)),
        (4, None),
        (8, Some(Severity::Note)),
        (-1, Some(Severity::Note)),
    ] {
        let mut facts = large("", "");
        let number = Jobs::from_integer(jobs).unwrap();
        facts.cargo.jobs = given(number, Origin::File("/ws/.cargo/config.toml".into()));
        match severity {
            None => none(&facts),
            Some(severity) => {
                let found = only(&facts, "jobs");
                assert_eq!(found.severity, severity, "{jobs}");
                assert!(found.fix.unwrap().command.contains("remove `build.jobs` from /ws"));
            }
        }
    }
}

#[test]
fn jobs_that_plimsoll_itself_is_told_count_before_cargos() {
    let mut facts = large("", "");
    facts.own_jobs = Some(("PLIMSOLL_JOBS".to_owned(), 1));
    let found = only(&facts, "jobs");
    assert_eq!(found.severity, Severity::Note);
    assert!(found.what.starts_with("PLIMSOLL_JOBS is 1, and this machine has 4"), "{}", found.what);
}

#[test]
fn the_linker_that_links_is_named_and_gnus_is_worth_knowing() {
    let said = |facts: &Facts| {
        let found = judge(facts).into_iter().find(|it| it.topic == "linker").unwrap();
        (found.severity, found.what)
    };
    let mut facts = large("", "");
    let (severity, what) = said(&facts);
    assert!(severity == Severity::Fine && what.contains("rust-lld, this toolchain"), "{what}");
    facts.here.as_mut().unwrap().workspace.compiler.version = (1, 80);
    let found = only(&facts, "linker");
    assert!(found.what.contains("GNU ld (GNU Binutils) 2.40"), "{}", found.what);
    assert!(found.fix.unwrap().command.contains("-fuse-ld=lld"));
    facts.linkers.found = vec!["ld.bfd"];
    assert_eq!(only(&facts, "linker").fix.unwrap().by, By::Root);
    let config = format!("[target.{HOST}]\nrustflags = [\"-Clink-arg=-fuse-ld=mold\"]\n");
    assert!(said(&large("", &config)).1.contains("the linker is mold, which your flags choose"));
}

#[test]
fn a_linker_that_is_not_there_is_a_problem() {
    let mut facts = large("", "");
    facts.linkers.driver = Some(("cc".to_owned(), false));
    assert_eq!(only(&facts, "linker").fix.unwrap().by, By::Root);
    facts.linkers.driver = Some(("clang".to_owned(), false));
    assert!(only(&facts, "linker").what.contains("`clang`"));
}

#[test]
fn flags_that_hide_a_linker_are_a_problem_and_others_worth_knowing() {
    let config = format!("[target.{HOST}]\nrustflags = [\"-Clink-arg=-fuse-ld=lld\"]\n");
    let mut facts = large("", &config);
    none(&facts);
    let variables = [("RUSTFLAGS", "-Cdebug-assertions")].into_iter().collect();
    let layers = facts.here.as_ref().unwrap().workspace.layers.clone();
    facts.flags = flags::find(&variables, &layers, HOST);
    let found = only(&facts, "rustflags");
    assert_eq!(found.severity, Severity::Problem);
    assert!(found.what.contains("RUSTFLAGS overrides") && found.what.contains("-fuse-ld=lld"));
    assert!(found.fix.unwrap().command.starts_with("unset RUSTFLAGS, or add"));
    let config =
        format!("[target.{HOST}]\nrustflags = [\"-Da\"]\n[build]\nrustflags = [\"-Db\"]\n");
    let found = only(&large("", &config), "rustflags");
    assert_eq!(found.severity, Severity::Note);
    assert!(found.what.contains("does not get `-Db`"), "{}", found.what);
}

const FAT: &str = "[profile.release]\nlto = true\ncodegen-units = 1\n";

#[test]
fn fat_lto_with_one_codegen_unit_is_a_problem_where_memory_is_small() {
    let found = only(&large(FAT, ""), "lto");
    assert_eq!(found.severity, Severity::Note);
    assert_eq!(found.fix.unwrap().command, LOWMEM, "said, and never applied");
    let rows = [("-O3 lto cgu=1", Bytes::mib(2151)), ("-O3 cgu=16", Bytes::mib(1340))];
    let small = facts(Bytes::gib(4), FAT, "", &rows);
    let found = judge(&small).into_iter().find(|it| it.topic == "lto").unwrap();
    assert_eq!(found.severity, Severity::Problem);
    let figure = found.figure.unwrap();
    assert!(figure.contains("2.10 GiB with the current setting and 1.31 GiB with"), "{figure}");
    // A large machine, and a unit that is larger yet.
    let rows = [("-O3 lto cgu=1", Bytes::gib(70))];
    let found = judge(&facts(Bytes::gib(64), FAT, "", &rows));
    let found = found.into_iter().find(|it| it.topic == "lto").unwrap();
    assert_eq!(found.severity, Severity::Problem);
}

#[test]
fn one_codegen_unit_is_worth_knowing() {
    const ONE: &str = "[profile.release]\ncodegen-units = 1\nlto = \"thin\"\n";
    let found = only(&large(ONE, ""), "codegen-units");
    assert_eq!(found.severity, Severity::Note);
    assert!(found.what.contains("profile `release`"), "{}", found.what);
    assert_eq!(found.fix.unwrap().command, LOWMEM, "said, and never applied");
    let rows = [("-O3 cgu=1", Bytes::gib(4)), ("-O3 cgu=16", Bytes::gib(2))];
    let figure = only(&facts(Bytes::gib(64), ONE, "", &rows), "codegen-units").figure.unwrap();
    assert!(figure.contains("4.00 GiB with the current setting and 2.00 GiB with"), "{figure}");
    none(&large("[profile.release]\ncodegen-units = 16\n", ""));
    let both = judge(&large(FAT, ""));
    assert!(both.iter().all(|it| it.topic != "codegen-units"), "it is said of fat LTO");
}

#[test]
fn debug_info_of_dependencies_is_worth_knowing_where_memory_is_small_or_links_are_large() {
    assert!(only(&facts(Bytes::gib(8), "", "", &[]), "debug-info").what.contains("`dev`"));
    let without = "[profile.dev.package.\"*\"]\ndebug = false\n";
    none(&facts(Bytes::gib(8), without, "", &[]));
    let links = [("-O0 -g2", Bytes::gib(20))];
    assert_eq!(only(&facts(Bytes::gib(64), "", "", &links), "debug-info").severity, Severity::Note);
    let release = "[profile.release]\ndebug = 2\n";
    assert!(only(&large(release, ""), "debug-info").what.contains("`dev`, `release`"));
}

#[test]
fn incremental_compilation_that_is_off_is_told_but_in_a_ci() {
    let mut facts = large("", "");
    facts.variables.insert("CARGO_INCREMENTAL".to_owned(), "0".to_owned());
    assert_eq!(only(&facts, "incremental").fix.unwrap().command, "unset CARGO_INCREMENTAL");
    facts.variables.insert("CI".to_owned(), "true".to_owned());
    none(&facts);
    facts.variables.remove("CARGO_INCREMENTAL");
    let said = |facts: &Facts| -> String {
        let found = judge(facts).into_iter().find(|it| it.topic == "incremental");
        found.unwrap().what
    };
    assert!(said(&facts).contains("Cargo's default"), "{}", said(&facts));
    facts.here.as_mut().unwrap().workspace.compiler.version = (1, 99);
    assert!(said(&facts).contains("Cargo's default in a CI"), "{}", said(&facts));
    let mut asked = large("[profile.dev]\nincremental = false\n", "[build]\nincremental = true\n");
    asked.variables.insert("TF_BUILD".to_owned(), "1".to_owned());
    assert!(said(&asked).contains("compiled incrementally"), "{}", said(&asked));
    let found = only(&large("", "[build]\nincremental = false\n"), "incremental");
    assert!(found.what.contains("`build.incremental` in /ws"), "{}", found.what);
    let found = only(&large("[profile.dev]\nincremental = false\n", ""), "incremental");
    assert!(found.what.contains("profile.dev.incremental"), "{}", found.what);
}

#[test]
fn what_init_would_write_by_itself_is_what_is_applied() {
    let mut facts = large(FAT, "");
    let here = facts.here.as_mut().unwrap();
    here.proposals = plan(&here.workspace, &Lowmem::Offered, &here.figures);
    let safe: Vec<Finding> = judge(&facts)
        .into_iter()
        .filter(|it| it.fix.as_ref().is_some_and(|fix| fix.by == By::Doctor))
        .collect();
    let settings: Vec<String> = safe.iter().filter_map(|it| it.fix.clone()?.setting).collect();
    assert_eq!(settings, ["profile.dev.split-debuginfo"]);
    let proposals = &facts.here.as_ref().unwrap().proposals;
    let changing = |setting: &String| {
        proposals.iter().any(|it| it.setting == *setting && it.group == Group::Changing)
    };
    assert!(!settings.iter().any(changing));
}
