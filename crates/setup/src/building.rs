//! What Cargo's configuration, the toolchain and the workspace's own settings mean for builds. Reads nothing.

use plimsoll_cargo::{Given, Origin};
use plimsoll_init::plan::{Change, Verdict, tier};

use super::facts::{Facts, Here};
use super::findings::{By, Finding, Fix};
use super::flags::Flags;
use super::machine::whole;
use super::profiles::{self, Profile};

/// `init` with what changes programs.
const LOWMEM: &str = "cargo plimsoll init --lowmem   # changes the programs that are built";

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![account(facts)];
    found.extend(wrapper(facts));
    found.extend(workspace_wrapper(facts));
    found.extend(jobs(facts));
    let Some(here) = &facts.here else {
        let why = facts.no_workspace.as_deref().unwrap_or_default();
        let why = why.lines().next().unwrap_or_default();
        found.push(Finding::fine(
            "workspace",
            format!("there is none here, so only the machine was looked at ({why})"),
        ));
        return found;
    };
    found.extend(linker(facts, here));
    found.extend(hidden_flags(facts));
    found.extend(whole_programs(facts, here));
    found.extend(whole_crates(facts, here));
    found.extend(debug_info(facts, here));
    found.push(incremental(facts, here));
    found.extend(proposals(here));
    found
}

fn account(facts: &Facts) -> Finding {
    const TOPIC: &str = "account";
    if let Some(obstacle) = facts.obstacles.first().filter(|_| facts.enabled) {
        return Finding::problem(
            TOPIC,
            format!("plain `cargo` is enabled, but not inside the line here: {}", obstacle.what),
            "builds that go past the line are what it must make room for, and nobody holds them",
            Fix::you(obstacle.advice.clone()),
        );
    }
    if facts.enabled {
        return Finding::fine(TOPIC, "plain `cargo` is inside the account's line");
    }
    if let Some(obstacle) = facts.obstacles.first() {
        return Finding::problem(
            TOPIC,
            obstacle.what.clone(),
            "Cargo calls a program for each compiler that is not there or not meant",
            Fix::you(obstacle.advice.clone()),
        );
    }
    let editor = facts.machine.programs.iter().find(|(name, _)| name == "rust-analyzer");
    match editor {
        Some((name, held)) => Finding::note(
            TOPIC,
            format!("{name} runs here and holds {held}, and plain `cargo` runs without a line"),
            "its checks and your builds each take the machine for their own",
            Fix::you(
                "cargo plimsoll enable   # one line for the whole account; `cargo plimsoll disable` undoes it",
            ),
        ),
        None => Finding::fine(
            TOPIC,
            "plain `cargo` runs without a line (`cargo plimsoll enable` changes that)",
        ),
    }
}

fn place<T>(given: &Given<T>, key: &str) -> String {
    match &given.origin {
        Origin::CommandLine => format!("`--config {key}`"),
        Origin::Variable(name) => (*name).to_owned(),
        Origin::File(file) => format!("`{key}` in {}", file.display()),
    }
}

/// What takes a value out.
fn take_out<T>(given: &Given<T>, key: &str) -> String {
    match &given.origin {
        Origin::CommandLine => format!("leave `--config {key}` out"),
        Origin::Variable(name) => format!("unset {name}"),
        Origin::File(file) => format!("take `{key}` out of {}", file.display()),
    }
}

fn wrapper(facts: &Facts) -> Option<Finding> {
    const TOPIC: &str = "wrapper";
    const KEY: &str = "build.rustc-wrapper";
    let Some(given) = facts.cargo.rustc_wrapper.as_ref() else {
        return Some(Finding::fine(TOPIC, "nothing stands before the compiler (RUSTC_WRAPPER)"));
    };
    if facts.wrapper_is_ours || given.value.as_os_str().is_empty() {
        return None;
    }
    let program = given.value.display();
    let what = format!("{} is `{program}`", place(given, KEY));
    Some(if facts.wrapper_is_there {
        Finding::note(
            TOPIC,
            what,
            "Plimsoll calls it, too, but its compilers may run in another process: they are counted and delayed, never killed and run again (and a cache such as sccache takes nothing that is compiled incrementally)",
            Fix::you(take_out(given, KEY)),
        )
    } else {
        Finding::problem(
            TOPIC,
            format!("{what}, which is not there"),
            "Cargo cannot compile anything",
            Fix::you(take_out(given, KEY)),
        )
    })
}

fn workspace_wrapper(facts: &Facts) -> Option<Finding> {
    let program = facts.variables.get("RUSTC_WORKSPACE_WRAPPER")?;
    Some(Finding::note(
        "wrapper",
        format!("RUSTC_WORKSPACE_WRAPPER is `{program}`"),
        "Cargo counts it as another compiler: each switch between with and without builds your own crates into other files, and both stay",
        Fix::you("unset RUSTC_WORKSPACE_WRAPPER"),
    ))
}

fn jobs(facts: &Facts) -> Option<Finding> {
    const TOPIC: &str = "jobs";
    const KEY: &str = "build.jobs";
    let processors = facts.machine.processors;
    let (jobs, place, fix) = match (&facts.own_jobs, &facts.cargo.jobs) {
        (Some((place, jobs)), _) => (*jobs, place.clone(), format!("leave {place} out")),
        (None, Some(given)) => {
            (given.value.resolve(processors), place(given, KEY), take_out(given, KEY))
        }
        (None, None) => {
            let what = format!("jobs are Cargo's own: as many as processors, {processors}");
            return Some(Finding::fine(TOPIC, what));
        }
    };
    let what = format!("{place} is {jobs}, on {processors} processors");
    let fix = Fix::you(fix);
    let why_few = "it is a ceiling for `cargo plimsoll`, too, which by itself runs as many units as fit; one job takes twice the time for 14 % less memory on two processors (575 s and 1,515 MiB, 282 s and 1,758 MiB; 552 units)";
    let why_many = "more compilers than processors take caches and memory and give no time: `-j8` on two processors took 1.24 times the processor time of `-j2` and held 18 % more";
    Some(if jobs * 2 <= processors {
        Finding::problem(TOPIC, what, why_few, fix)
    } else if jobs < processors {
        Finding::note(TOPIC, what, why_few, fix)
    } else if jobs > processors {
        Finding::note(TOPIC, what, why_many, fix)
    } else {
        Finding::fine(TOPIC, what)
    })
}

/// What links here, and by whose word.
fn links_with(facts: &Facts, here: &Here) -> (String, &'static str) {
    let compiler = &here.workspace.compiler;
    // https://blog.rust-lang.org/2025/09/01/rust-lld-on-1.90.0-stable/
    let own_lld = compiler.host == "x86_64-unknown-linux-gnu" && compiler.version >= (1, 90);
    let driver = facts.linkers.driver.as_ref().map_or("cc", |(driver, _)| driver.as_str());
    let by_flags = facts.flags.first().and_then(Flags::linker);
    if let Some(named) = by_flags.filter(|named| *named != driver) {
        return (named.to_owned(), "as your flags say");
    }
    if own_lld && facts.linkers.has_rust_lld && driver == "cc" {
        return ("rust-lld".to_owned(), "as this toolchain does by itself");
    }
    let own = facts.linkers.drivers_own.clone();
    (own.unwrap_or_else(|| driver.to_owned()), "as the C compiler does by itself")
}

fn linker(facts: &Facts, here: &Here) -> Vec<Finding> {
    const TOPIC: &str = "linker";
    if let Some((driver, false)) = &facts.linkers.driver {
        let fix = if driver == "cc" {
            Fix::root("sudo apt install build-essential   # or your system's C compiler")
        } else {
            Fix::you(format!("install `{driver}`, or take it out of the configuration"))
        };
        return vec![Finding::problem(
            TOPIC,
            format!("`{driver}`, which rustc calls to link, is not there"),
            "nothing that links can be built: no program, build script or procedural macro",
            fix,
        )];
    }
    let (with, why) = links_with(facts, here);
    let others = facts.linkers.found.join(", ");
    let others = if others.is_empty() { "none other".to_owned() } else { others };
    let what = format!("links with {with}, {why}; found: {others}");
    let is_gnu = with.contains("GNU ld") || matches!(with.as_str(), "bfd" | "ld.bfd");
    let figure = here.figures.heaviest_linker();
    if !is_gnu {
        return vec![Finding::fine(TOPIC, what).with(figure)];
    }
    let by_init = here
        .proposals
        .iter()
        .any(|it| it.setting.ends_with(".rustflags") && matches!(it.verdict, Verdict::Write(_)));
    let lean = facts.linkers.found.iter().any(|found| matches!(*found, "lld" | "mold" | "wild"));
    let fix = match (by_init, lean) {
        // That finding has it.
        (true, true) => None,
        (false, true) => Fix::you("take `-fuse-ld=lld` into the flags that hold here"),
        (_, false) => Fix::root("sudo apt install lld   # then `cargo plimsoll doctor` again"),
    };
    vec![
        Finding::note(TOPIC, what, "GNU ld keeps all symbols of all inputs: in one project lld needed 4.5 GB where it needed 17, in another 3.5 where it needed 3.8; what it is here only a link tells", fix)
            .with(figure),
    ]
}

fn hidden_flags(facts: &Facts) -> Vec<Finding> {
    const TOPIC: &str = "rustflags";
    let Some((holds, hidden)) = facts.flags.split_first() else {
        return vec![Finding::fine(TOPIC, "nobody gives the compiler other flags (RUSTFLAGS)")];
    };
    if hidden.is_empty() {
        return vec![Finding::fine(
            TOPIC,
            format!("flags for the compiler come from one place: {}", holds.place),
        )];
    }
    let of = |hidden: &Flags| {
        let words = hidden.words.join(" ");
        let what = format!(
            "{} hides {}: `{words}` does not reach the compiler",
            holds.place, hidden.place
        );
        let fix = Fix::you(match holds.variable {
            Some(name) => format!("unset {name}, or add `{words}` to it"),
            None => format!("put all flags into {}", holds.place),
        });
        if hidden.concern_linking() {
            Finding::problem(
                TOPIC,
                what,
                "Cargo takes flags from one place only, so another linker links than was chosen; and with each change of the flags everything is built again",
                fix,
            )
        } else {
            Finding::note(
                TOPIC,
                what,
                "Cargo takes flags from one place only; with each change of them everything is built again",
                fix,
            )
        }
    };
    hidden.iter().map(of).collect()
}

fn whole_programs(facts: &Facts, here: &Here) -> Vec<Finding> {
    const TOPIC: &str = "lto";
    let is_one = |it: &Profile| it.fat && it.codegen_units.is_some_and(|units| units == 1);
    let all = profiles::all(facts);
    let mut found = Vec::new();
    for profile in all.iter().filter(|it| it.fat) {
        let name = &profile.name;
        let what = if is_one(profile) {
            format!("profile `{name}` has fat LTO and one codegen unit")
        } else {
            format!("profile `{name}` has fat LTO")
        };
        let why = "one compiler holds the whole program at its end, with one thread: no line is below what it needs, and nothing runs beside it. Thin LTO needs about half; one codegen unit takes more than 16, of giants twice as much (aws-sdk-ec2: 17,470 and 7,366 MiB)";
        let figure = here
            .figures
            .compared(|word| word == "lto" || word.starts_with("cgu="), |word| word == "lto")
            .or_else(|| here.figures.heaviest_unit());
        let does_not_fit = here.figures.heaviest().is_some_and(|(_, peak)| peak > whole(facts));
        let finding = if is_one(profile) && (tier(whole(facts)).0 < 2 || does_not_fit) {
            Finding::problem(TOPIC, what, why, Fix::you(LOWMEM))
        } else {
            Finding::note(TOPIC, what, why, Fix::you(LOWMEM))
        };
        found.push(finding.with(figure));
    }
    if found.is_empty() {
        found.push(Finding::fine(TOPIC, "no profile has fat LTO"));
    }
    found
}

/// Profiles with one codegen unit, as the advice for small programs goes; with fat LTO that is said already.
fn whole_crates(facts: &Facts, here: &Here) -> Option<Finding> {
    const TOPIC: &str = "codegen-units";
    let all = profiles::all(facts);
    let is_one = |it: &&Profile| !it.fat && it.codegen_units == Some(1);
    let names: Vec<String> = all.iter().filter(is_one).map(|it| format!("`{}`", it.name)).collect();
    if names.is_empty() {
        return None;
    }
    let profiles = if names.len() == 1 { "profile" } else { "profiles" };
    let what = format!("one codegen unit for each crate in {profiles} {}", names.join(", "));
    let why = "each crate is compiled in one piece, which giants pay for: aws-sdk-ec2 took 17,470 MiB, and 7,366 in 16 pieces, cranelift-codegen 2,151 and 1,336; and no crate is compiled by two threads";
    let figure = here.figures.compared(|word| word.starts_with("cgu="), |word| word == "cgu=1");
    Some(Finding::note(TOPIC, what, why, Fix::you(LOWMEM)).with(figure))
}

fn debug_info(facts: &Facts, here: &Here) -> Option<Finding> {
    const TOPIC: &str = "debug-info";
    /// A linker that needs more than this part of the memory is worth a setting.
    const MUCH: f64 = 0.25;
    let all = profiles::all(facts);
    let with: Vec<&str> = all
        .iter()
        .filter(|it| it.dependencies_debug && it.name != "test" && it.name != "bench")
        .map(|it| it.name.as_str())
        .collect();
    let link = here.figures.heaviest_link();
    let is_large = link.is_some_and(|(_, peak)| peak.share_of(whole(facts)) > MUCH);
    if with.is_empty() {
        return Some(Finding::fine(TOPIC, "dependencies are built without debug info"));
    }
    let release = with.contains(&"release");
    let names = with.join("`, `");
    if !release && !is_large && tier(whole(facts)).0 >= 4 {
        return Some(Finding::fine(
            TOPIC,
            format!("dependencies have debug info in `{names}`, and memory for it is there"),
        ));
    }
    let figure = here
        .figures
        .compared(|word| word.starts_with("-g"), |word| word.starts_with("-g"))
        .or_else(|| here.figures.heaviest_linker());
    Some(
        Finding::note(
            TOPIC,
            format!("dependencies are built with debug info in `{names}`"),
            "every linker reads all of it: without, linkers needed 65 to 70 % less in two projects, compilers 4 % less here; backtraces through dependencies then have no lines",
            Fix::you(LOWMEM),
        )
        .with(figure),
    )
}

fn incremental(facts: &Facts, here: &Here) -> Finding {
    const TOPIC: &str = "incremental";
    let Some(place) = profiles::incremental_off(facts, here) else {
        return Finding::fine(TOPIC, "own crates are compiled incrementally, as Cargo has it");
    };
    if facts.is_ci() {
        return Finding::fine(
            TOPIC,
            format!("incremental compilation is off ({place}), as is right in a CI"),
        );
    }
    let fix = match place.as_str() {
        "CARGO_INCREMENTAL=0" => "unset CARGO_INCREMENTAL".to_owned(),
        place => format!("take {place} out"),
    };
    Finding::note(
        TOPIC,
        format!("incremental compilation is off: {place}"),
        "each change of a line compiles the whole crate again",
        Fix::you(fix),
    )
}

/// What `init` would write by itself: it changes no program and is taken back exactly.
fn proposals(here: &Here) -> Vec<Finding> {
    const TOPIC: &str = "init";
    let of = |it: &plimsoll_init::plan::Finding| {
        let Verdict::Write(Change { literal, .. }) = &it.verdict else { return None };
        let fix = Fix {
            by: By::Doctor,
            command: "cargo plimsoll doctor --fix   # or all at once: cargo plimsoll init"
                .to_owned(),
            setting: Some(it.setting.clone()),
        };
        let what = format!("{} could be {literal}", it.setting);
        Some(Finding::note(TOPIC, what, it.why.clone(), Some(fix)).with(it.figure.clone()))
    };
    let found: Vec<Finding> = here.proposals.iter().filter_map(of).collect();
    if found.is_empty() {
        return vec![Finding::fine(
            TOPIC,
            "`cargo plimsoll init` has nothing to add that changes no program",
        )];
    }
    found
}

#[cfg(test)]
#[path = "building_tests.rs"]
mod tests;
