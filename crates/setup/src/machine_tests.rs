//! Machines, and what is found on them.

use std::path::PathBuf;

use plimsoll_host::CgroupLevel;
use plimsoll_init::figures::Figures;

use plimsoll_core::budget::Bound;

use super::*;
use crate::facts::tests::row;
use crate::facts::{Bounds, Here, Machine, Swap};
use crate::findings::{By, Severity};

/// A machine on which all is well.
fn well(memory: Bytes) -> Facts {
    let machine = Machine {
        processors: 4,
        total: memory,
        free: memory.scale(0.8),
        programs: vec![("browser".to_owned(), Bytes::mib(700)), ("sh".to_owned(), Bytes::mib(2))],
        swaps: vec![Swap { is_zram: true, size: Bytes::gib(4), used: Bytes::mib(10) }],
        huge_pages: Some("madvise".to_owned()),
        ..Machine::default()
    };
    let place = Place {
        name: "the target directory",
        path: "/ws/target".into(),
        in_memory: None,
        read_ahead: Some(("/sys/queue".to_owned(), Bytes::kib(128))),
    };
    let bounds = Bounds { files: Some((1024, 4096)), processes: Some(30_000), ..Bounds::default() };
    Facts { machine, bounds, places: vec![place], ..Facts::default() }
}

/// With a build recorded whose heaviest unit needed that much.
fn recorded(facts: &mut Facts, peak: Bytes) {
    let rows = vec![row("giant", "-O0 -g2", peak, Bytes::mib(30))];
    let figures = Figures::new(rows, &["giant".to_owned()]);
    facts.here = Some(Here { figures, ..Here::default() });
}

#[track_caller]
fn only(facts: &Facts, topic: &str) -> Finding {
    let mut found: Vec<Finding> =
        judge(facts).into_iter().filter(|it| it.severity != Severity::Fine).collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    let found = found.remove(0);
    assert_eq!(found.topic, topic, "{found:#?}");
    assert!(!found.why.is_empty());
    found
}

#[test]
fn a_machine_on_which_all_is_well_has_no_finding() {
    for memory in [Bytes::gib(4), Bytes::gib(64)] {
        let found = judge(&well(memory));
        assert!(found.iter().all(|it| it.severity == Severity::Fine), "{found:#?}");
        assert!(found.iter().all(|it| it.why.is_empty() && it.fix.is_none()));
    }
}

#[test]
fn memory_that_is_short_of_the_heaviest_recorded_unit_is_a_problem_and_names_who_holds_it() {
    let mut facts = well(Bytes::gib(8));
    facts.machine.free = Bytes::mib(1200);
    recorded(&mut facts, Bytes::mib(1454));
    let found = only(&facts, "memory");
    assert_eq!(found.severity, Severity::Problem);
    assert!(found.what.contains("browser 700 MiB") && !found.what.contains("sh "), "{found:?}");
    assert!(
        found.why.contains("giant needed 1.42 GiB") && found.why.contains("254 MiB more"),
        "{}",
        found.why
    );
    recorded(&mut facts, Bytes::mib(300));
    assert!(judge(&facts).iter().all(|it| it.severity == Severity::Fine));
}

#[test]
fn little_free_memory_is_worth_knowing_where_nothing_is_recorded() {
    let mut facts = well(Bytes::gib(4));
    facts.machine.free = Bytes::mib(900);
    assert_eq!(only(&facts, "memory").severity, Severity::Note);
}

fn level(max: Option<Bytes>, high: Option<Bytes>) -> CgroupLevel {
    CgroupLevel { version: 2, dir: PathBuf::from("/cg/a"), max, high, swap: Some(Bytes::ZERO) }
}

#[test]
fn a_container_is_worth_knowing_and_a_problem_where_what_is_recorded_cannot_fit() {
    let mut facts = well(Bytes::gib(64));
    facts.machine.levels = vec![level(Some(Bytes::gib(2)), None)];
    recorded(&mut facts, Bytes::mib(800));
    let found = only(&facts, "container");
    assert_eq!(found.severity, Severity::Note);
    assert!(found.what.contains("2.00 GiB and no swap"), "{}", found.what);
    recorded(&mut facts, Bytes::gib(3));
    let found = only(&facts, "container");
    assert_eq!(found.severity, Severity::Problem);
    assert!(found.why.contains("3.00 GiB"), "{}", found.why);
}

#[test]
fn a_small_container_is_the_problem_and_says_what_a_budget_there_comes_to() {
    let mut facts = well(Bytes::gib(8));
    facts.machine.levels = vec![level(Some(Bytes::mib(700)), None)];
    facts.machine.bound = Some(Bound {
        is_machine: false,
        limit: Bytes::mib(700),
        others: Bytes::mib(1),
        kept: Bytes::mib(192),
    });
    facts.places[0].read_ahead = Some(("/sys/queue".to_owned(), Bytes::mib(8)));
    let found = crate::judge(&facts);
    let severities: Vec<_> = found.iter().map(|it| (it.topic, it.severity)).collect();
    assert_eq!(severities[0], ("container", Severity::Problem));
    assert!(severities.contains(&("read-ahead", Severity::Note)), "{severities:?}");
    assert!(
        found[0].why.contains("gives a build 507 MiB: the container's limit is 700 MiB"),
        "{:?}",
        found[0]
    );
    // A larger one is a problem once the kernel has killed there.
    facts.machine.levels = vec![level(Some(Bytes::gib(2)), None)];
    let of = |facts: &Facts| judge(facts).into_iter().find(|it| it.topic == "container").unwrap();
    assert_eq!(of(&facts).severity, Severity::Note);
    facts.machine.killed = 3;
    let found = of(&facts);
    assert_eq!(found.severity, Severity::Problem);
    assert!(found.why.contains("already killed 3 processes"), "{}", found.why);
}

#[test]
fn a_soft_limit_of_a_container_is_told_with_what_lifts_it() {
    let mut facts = well(Bytes::gib(64));
    facts.machine.levels = vec![level(None, Some(Bytes::gib(9)))];
    let found = only(&facts, "container");
    assert_eq!(found.fix.unwrap().by, By::Root);
}

#[test]
fn no_swap_matters_on_a_small_machine_only_and_a_full_one_everywhere() {
    let mut facts = well(Bytes::gib(4));
    facts.machine.swaps.clear();
    assert!(only(&facts, "swap").fix.unwrap().command.contains("zram"));
    let mut facts = well(Bytes::gib(64));
    facts.machine.swaps.clear();
    assert!(judge(&facts).iter().all(|it| it.severity == Severity::Fine));
    facts.machine.swaps =
        vec![Swap { is_zram: false, size: Bytes::gib(2), used: Bytes::mib(1990) }];
    assert_eq!(only(&facts, "swap").severity, Severity::Problem);
}

#[test]
fn huge_pages_everywhere_are_worth_knowing_on_a_small_machine() {
    let mut facts = well(Bytes::gib(4));
    facts.machine.huge_pages = Some("always".to_owned());
    assert_eq!(only(&facts, "huge-pages").severity, Severity::Note);
    facts.machine.total = Bytes::gib(64);
    facts.machine.free = Bytes::gib(60);
    assert!(judge(&facts).iter().all(|it| it.severity == Severity::Fine));
}

#[test]
fn a_kernel_that_promises_no_more_than_it_has_is_a_problem() {
    let mut facts = well(Bytes::gib(64));
    facts.machine.strict_commit = Some((Bytes::gib(34), Bytes::gib(30)));
    let found = only(&facts, "overcommit");
    assert!(found.what.contains("reserve 34.00 GiB, and 30.00 GiB are"), "{}", found.what);
    assert_eq!(found.severity, Severity::Problem);
}

#[test]
fn limits_of_a_process_that_kill_healthy_compilers_are_problems() {
    let mut facts = well(Bytes::gib(64));
    facts.bounds.address_space = Some(Bytes::gib(4));
    let found = only(&facts, "ulimit");
    assert_eq!(found.severity, Severity::Problem);
    assert!(found.fix.unwrap().command.contains("--memory 4096MiB"));
    let mut facts = well(Bytes::gib(64));
    facts.bounds.data = Some(Bytes::gib(1));
    assert!(only(&facts, "ulimit").what.contains("RLIMIT_DATA"));
    let mut facts = well(Bytes::gib(64));
    facts.bounds.files = Some((256, 4096));
    assert!(only(&facts, "ulimit").fix.unwrap().command.contains("ulimit -n 4096"));
    facts.bounds.files = Some((256, 256));
    assert!(only(&facts, "ulimit").fix.unwrap().command.contains("hard limit"));
}

#[test]
fn few_processes_and_dumps_of_cores_are_worth_knowing() {
    let mut facts = well(Bytes::gib(64));
    facts.bounds.processes = Some(200);
    assert_eq!(only(&facts, "ulimit").severity, Severity::Note);
    let mut facts = well(Bytes::gib(64));
    facts.bounds.dumps_core = true;
    assert_eq!(only(&facts, "ulimit").severity, Severity::Note);
}

#[test]
fn a_daemon_that_kills_first_is_named() {
    for name in ["earlyoom", "systemd-oomd"] {
        let mut facts = well(Bytes::gib(64));
        facts.machine.programs.push((name.to_owned(), Bytes::mib(1)));
        assert!(only(&facts, "killers").what.contains(name));
        assert!(only(&facts, "killers").why.contains("when little memory is free"));
        let memory = Bytes::gib(6);
        facts.machine.killer = Some(OomDaemon { memory, swap: Bytes::ZERO });
        let why = only(&facts, "killers").why;
        assert!(why.contains("no more than 6.00 GiB is available"), "{why}");
        assert!(why.contains("stays clear of that"), "{why}");
        facts.machine.killer = Some(OomDaemon { memory, swap: Bytes::mib(400) });
        let why = only(&facts, "killers").why;
        assert!(
            why.contains("no more than 6.00 GiB of memory and 400 MiB of swap are left"),
            "{why}"
        );
    }
}

#[test]
fn a_target_directory_in_memory_is_a_problem_once_it_holds_much() {
    let mut facts = well(Bytes::gib(8));
    facts.places[0].read_ahead = None;
    facts.places[0].in_memory = Some((Bytes::mib(100), Bytes::gib(4)));
    assert_eq!(only(&facts, "tmpfs").severity, Severity::Note);
    facts.places[0].in_memory = Some((Bytes::gib(3), Bytes::gib(4)));
    let found = only(&facts, "tmpfs");
    assert_eq!(found.severity, Severity::Problem);
    assert!(found.why.contains(&percent(0.375)), "{}", found.why);
    facts.places[0].in_memory = Some((Bytes::mib(1), Bytes::mib(64)));
    facts.places[0].name = "the build directory";
    assert!(only(&facts, "tmpfs").fix.unwrap().command.contains("CARGO_BUILD_BUILD_DIR"));
    facts.places[0].name = "the temporary directory";
    let found = only(&facts, "tmpfs");
    assert!(found.why.contains("63 MiB more fits"), "{}", found.why);
    assert!(found.fix.unwrap().command.contains("TMPDIR"));
}

#[test]
fn a_disk_that_reads_far_ahead_slows_builds_down_and_kills_none() {
    let mut facts = well(Bytes::gib(4));
    facts.places[0].read_ahead = Some(("/sys/queue".to_owned(), Bytes::mib(8)));
    let found = only(&facts, "read-ahead");
    assert_eq!(found.severity, Severity::Note);
    let fix = found.fix.unwrap();
    assert_eq!((fix.by, fix.command.contains("tee /sys/queue")), (By::Root, true));
    facts.machine.total = Bytes::gib(64);
    facts.machine.free = Bytes::gib(60);
    assert_eq!(only(&facts, "read-ahead").severity, Severity::Note);
}
