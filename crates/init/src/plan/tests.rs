//! Workspaces by their texts, and what is proposed for them.
use std::path::PathBuf;

use super::*;
use crate::workspace::Compiler;

fn workspace(manifest: &str, config: &str) -> Workspace {
    let path = PathBuf::from("/ws/.cargo/config.toml");
    Workspace {
        manifest: TextFile { path: "/ws/Cargo.toml".into(), text: Some(manifest.to_owned()) },
        layers: vec![(path.clone(), config.parse().unwrap())],
        config: TextFile { path, text: Some(config.to_owned()) },
        compiler: Compiler { host: "x86_64-unknown-linux-gnu".to_owned(), version: (1, 95) },
        memory: Bytes::gib(8),
        processors: 16,
        ..Workspace::default()
    }
}

fn written(findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| match &finding.verdict {
        Verdict::Write(change) => Some(format!("{} = {}", finding.setting, change.literal)),
        _ => None,
    };
    findings.iter().filter_map(line).collect()
}

fn verdict<'a>(findings: &'a [Finding], setting: &str) -> &'a Finding {
    findings
        .iter()
        .find(|it| it.setting == setting)
        .unwrap_or_else(|| panic!("{setting}: {findings:#?}"))
}

const HEAVY: &str = "[profile.release]\nlto = true\ncodegen-units = 1\ndebug = 1\n[profile.dev.build-override]\nopt-level = 3\n";

#[test]
fn tiers_count_what_the_kernel_keeps_in() {
    for (mib, jobs) in [(4_000, 1), (7_100, 1), (7_700, 2), (15_800, 2), (16_384, 2), (31_000, 4)] {
        assert_eq!(jobs_for(Bytes::mib(mib)), jobs, "{mib} MiB");
    }
}

#[test]
fn without_asking_outputs_stay_as_they_are() {
    let plain = plan(&workspace("", ""), &Lowmem::Offered, &Figures::default());
    assert_eq!(written(&plain), ["profile.dev.split-debuginfo = \"unpacked\""]);
    let heavy = plan(&workspace(HEAVY, ""), &Lowmem::Offered, &Figures::default());
    let preserving = |it: &&Finding| matches!(it.verdict, Verdict::Write(_));
    assert!(heavy.iter().filter(preserving).all(|it| it.group == Group::Preserving));
    assert!(matches!(verdict(&heavy, "profile.release.lto").verdict, Verdict::Offer(_)));
}

#[test]
fn what_is_written_is_the_same_on_every_machine() {
    for lowmem in [
        Lowmem::Offered,
        Lowmem::InPlace,
        Lowmem::Profile { name: "small".to_owned(), inherits: "release".to_owned() },
    ] {
        for manifest in ["", HEAVY] {
            let mut other = workspace(manifest, "");
            other.memory = Bytes::gib(64);
            other.processors = 2;
            other.lean_linker = Some("mold");
            other.flags_by_variable = true;
            other.compiler = Compiler { host: "aarch64-apple-darwin".to_owned(), version: (1, 88) };
            let [one, other] = [workspace(manifest, ""), other]
                .map(|it| written(&plan(&it, &lowmem, &Figures::default())));
            assert_eq!(one, other);
        }
    }
    let advised = plan(&workspace("", ""), &Lowmem::Offered, &Figures::default());
    let jobs = verdict(&advised, "build.jobs");
    assert_eq!((&jobs.verdict, jobs.group), (&Verdict::Advise, Group::Machine));
    assert!(jobs.why.contains("CARGO_BUILD_JOBS=2"), "{}", jobs.why);
}

#[test]
fn lowmem_writes_into_the_profiles_what_is_heavy_there() {
    let heavy = plan(&workspace(HEAVY, ""), &Lowmem::InPlace, &Figures::default());
    let changing: Vec<_> = heavy.iter().filter(|it| it.group == Group::Changing).cloned().collect();
    assert_eq!(
        written(&changing),
        [
            "profile.dev.package.\"*\".debug = false",
            "profile.dev.package.\"*\".overflow-checks = false",
            "profile.dev.build-override.opt-level = 0",
            "profile.release.package.\"*\".debug = false",
            "profile.release.codegen-units = 16",
            "profile.release.lto = \"thin\"",
        ]
    );
}

#[test]
fn a_profile_of_its_own_inherits_and_leaves_the_others() {
    let own = Lowmem::Profile { name: "small".to_owned(), inherits: "release".to_owned() };
    let findings = plan(&workspace(HEAVY, ""), &own, &Figures::default());
    let changing: Vec<_> =
        findings.iter().filter(|it| it.group == Group::Changing).cloned().collect();
    assert_eq!(
        written(&changing),
        [
            "profile.small.inherits = \"release\"",
            "profile.small.package.\"*\".debug = false",
            "profile.small.codegen-units = 16",
            "profile.small.lto = \"thin\"",
        ]
    );
}

#[test]
fn what_the_user_has_set_stays() {
    let config = "[build]\njobs = 3\nincremental = false\nrustflags = ['-Copt-level=1']\n[profile.release]\nlto = true\n";
    let manifest =
        "[profile.dev]\nsplit-debuginfo = 'packed'\n[profile.dev.package.'*']\ndebug = 0\n";
    let findings = plan(&workspace(manifest, config), &Lowmem::InPlace, &Figures::default());
    for setting in [
        "build.jobs",
        "target.x86_64-unknown-linux-gnu.rustflags",
        "profile.dev.incremental",
        "profile.dev.split-debuginfo",
        "profile.release.lto",
    ] {
        assert_eq!(verdict(&findings, setting).verdict, Verdict::Kept, "{setting}");
    }
    assert_eq!(verdict(&findings, "profile.dev.package.\"*\".debug").verdict, Verdict::Stands);
    assert_eq!(written(&findings), ["profile.dev.package.\"*\".overflow-checks = false"]);
}

#[test]
fn another_linker_is_advised_only_where_gnu_ld_links() {
    let setting = "target.aarch64-unknown-linux-gnu.rustflags";
    for (linker, said) in [
        (Some("lld"), "[\"-Clink-arg=-fuse-ld=lld\"]"),
        (Some("mold"), "[\"-Clink-arg=-fuse-ld=mold\"]"),
        (None, "[\"-Clink-arg=-Wl,--no-keep-memory\"]"),
    ] {
        let mut older = workspace("", "");
        older.compiler.host = "aarch64-unknown-linux-gnu".to_owned();
        older.lean_linker = linker;
        let findings = plan(&older, &Lowmem::Offered, &Figures::default());
        let found = verdict(&findings, setting);
        assert_eq!(found.verdict, Verdict::Advise);
        assert!(found.why.contains(said), "{}", found.why);
        older.flags_by_variable = true;
        let findings = plan(&older, &Lowmem::Offered, &Figures::default());
        assert_eq!(verdict(&findings, setting).verdict, Verdict::Kept);
    }
    let findings = plan(&workspace("", ""), &Lowmem::Offered, &Figures::default());
    assert_eq!(
        verdict(&findings, "target.x86_64-unknown-linux-gnu.rustflags").verdict,
        Verdict::Stands
    );
}

#[test]
fn a_recorded_figure_is_told() {
    let rows = vec![
        crate::figures::tests::row("giant", "-O3 cgu=1", Bytes::gib(2), Bytes::ZERO),
        crate::figures::tests::row("giant", "-O3 cgu=16", Bytes::gib(1), Bytes::mib(300)),
    ];
    let figures = Figures::new(rows, &["giant".to_owned()]);
    let findings = plan(&workspace(HEAVY, ""), &Lowmem::Offered, &figures);
    let figure = verdict(&findings, "profile.release.codegen-units").figure.clone().unwrap();
    assert!(figure.contains("giant") && figure.contains("the proposed one"), "{figure}");
    assert!(verdict(&findings, "profile.release.lto").figure.is_some());
}
