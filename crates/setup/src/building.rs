//! What Cargo's configuration, the toolchain and the workspace's own settings mean for builds. Reads nothing.

use plimsoll_cargo::{Given, Origin};
use plimsoll_init::plan::{Change, Verdict};

use super::facts::{Facts, Here};
use super::findings::{By, Finding, Fix};
use super::flags::Flags;
use super::machine::{LITTLE, MIDDLING, whole};
use super::profiles::{self, Profile};

/// `init` with what changes programs.
const LOWMEM: &str = "cargo plimsoll init --lowmem   # changes your programs";

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
            format!("there is no workspace here, so only the machine was checked ({why})"),
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
            format!("`cargo plimsoll enable` has no effect here: {}", obstacle.what),
            "builds here use memory outside the shared budget, and nothing limits them",
            Fix::you(obstacle.advice.clone()),
        );
    }
    if facts.enabled {
        return Finding::fine(TOPIC, "plain `cargo` keeps to the account's memory budget");
    }
    if let Some(obstacle) = facts.obstacles.first() {
        return Finding::problem(
            TOPIC,
            obstacle.what.clone(),
            "Cargo starts this program for each compiler, but it is missing or disabled",
            Fix::you(obstacle.advice.clone()),
        );
    }
    let editor = facts.machine.programs.iter().find(|(name, _)| name == "rust-analyzer");
    match editor {
        Some((name, held)) => Finding::note(
            TOPIC,
            format!("{name} is running and holds {held}, and plain `cargo` has no memory budget"),
            "its checks and your builds ignore each other, so together they can exhaust the memory",
            Fix::you(
                "cargo plimsoll enable   # one memory budget for all of them; `cargo plimsoll disable` undoes it",
            ),
        ),
        None => Finding::fine(
            TOPIC,
            "plain `cargo` has no memory budget (`cargo plimsoll enable` gives it one)",
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
        Origin::CommandLine => format!("omit `--config {key}`"),
        Origin::Variable(name) => format!("unset {name}"),
        Origin::File(file) => format!("remove `{key}` from {}", file.display()),
    }
}

fn wrapper(facts: &Facts) -> Option<Finding> {
    const TOPIC: &str = "wrapper";
    const KEY: &str = "build.rustc-wrapper";
    let Some(given) = facts.cargo.rustc_wrapper.as_ref() else {
        return Some(Finding::fine(
            TOPIC,
            "no wrapper runs in front of the compiler (RUSTC_WRAPPER)",
        ));
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
            "Plimsoll still runs it. If it compiles in another process, Plimsoll can measure and delay those compilers, but cannot restart them. A cache such as sccache also skips crates that are compiled incrementally",
            Fix::you(take_out(given, KEY)),
        )
    } else {
        Finding::problem(
            TOPIC,
            format!("{what}, which does not exist"),
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
        "Cargo treats it as another compiler: it builds your crates once with it and once without it, and keeps both copies",
        Fix::you("unset RUSTC_WORKSPACE_WRAPPER"),
    ))
}

fn jobs(facts: &Facts) -> Option<Finding> {
    const TOPIC: &str = "jobs";
    const KEY: &str = "build.jobs";
    let processors = facts.machine.processors;
    let (jobs, place, fix) = match (&facts.own_jobs, &facts.cargo.jobs) {
        (Some((place, jobs)), _) if place.contains("plimsoll.toml") => {
            (*jobs, format!("`jobs` in {place}"), format!("remove {place}"))
        }
        (Some((place, jobs)), _) => (*jobs, place.clone(), format!("unset {place}")),
        (None, Some(given)) => {
            (given.value.resolve(processors), place(given, KEY), take_out(given, KEY))
        }
        (None, None) => {
            let what = format!("Cargo runs one job per processor ({processors})");
            return Some(Finding::fine(TOPIC, what));
        }
    };
    let what = format!("{place} is {jobs}, and this machine has {processors} processors");
    let fix = Fix::you(fix);
    let why_few = "it also limits `cargo plimsoll`, which otherwise runs as many jobs as memory allows. Measured on two processors with 552 units: one job takes 575 s and 1,515 MiB, two take 282 s and 1,758 MiB";
    let why_many = "more jobs than processors need more memory and save no time: on two processors `-j8` took 1.24 times the processor time of `-j2` and 18% more memory";
    Some(if jobs < processors {
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
        return (named.to_owned(), "which your flags choose");
    }
    if own_lld && facts.linkers.has_rust_lld && driver == "cc" {
        return ("rust-lld".to_owned(), "this toolchain's default");
    }
    let own = facts.linkers.drivers_own.clone();
    (own.unwrap_or_else(|| driver.to_owned()), "the C compiler's default")
}

fn linker(facts: &Facts, here: &Here) -> Vec<Finding> {
    const TOPIC: &str = "linker";
    if let Some((driver, false)) = &facts.linkers.driver {
        let fix = if driver == "cc" {
            Fix::root("sudo apt install build-essential   # or install your system's C compiler")
        } else {
            Fix::you(format!("install `{driver}`, or remove it from Cargo's configuration"))
        };
        return vec![Finding::problem(
            TOPIC,
            format!("the linker `{driver}` is not installed"),
            "no program, build script or procedural macro can be built",
            fix,
        )];
    }
    let (with, why) = links_with(facts, here);
    let others = facts.linkers.found.join(", ");
    let others = if others.is_empty() { "none".to_owned() } else { others };
    let what = format!("the linker is {with}, {why}; installed: {others}");
    let is_gnu = with.contains("GNU ld") || matches!(with.as_str(), "bfd" | "ld.bfd");
    let figure = here.figures.heaviest_linker();
    if !is_gnu {
        return vec![Finding::fine(TOPIC, what).with(figure)];
    }
    let lean = facts.linkers.found.iter().any(|found| matches!(*found, "lld" | "mold" | "wild"));
    let fix = if lean {
        Fix::you("add `-Clink-arg=-fuse-ld=lld` to the compiler flags in ~/.cargo/config.toml")
    } else {
        Fix::root("sudo apt install lld   # then `cargo plimsoll doctor` again")
    };
    vec![
        Finding::note(TOPIC, what, "GNU ld often needs more memory than lld: 17 GB instead of 4.5 GB in one project, 3.8 GB instead of 3.5 GB in another", fix)
            .with(figure),
    ]
}

fn hidden_flags(facts: &Facts) -> Vec<Finding> {
    const TOPIC: &str = "rustflags";
    let Some((holds, hidden)) = facts.flags.split_first() else {
        return vec![Finding::fine(TOPIC, "no extra compiler flags are set (RUSTFLAGS)")];
    };
    if hidden.is_empty() {
        return vec![Finding::fine(
            TOPIC,
            format!("compiler flags come from one place: {}", holds.place),
        )];
    }
    let of = |hidden: &Flags| {
        let words = hidden.words.join(" ");
        let what = format!(
            "{} overrides {}: the compiler does not get `{words}`",
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
                "Cargo takes flags from one place only, so your choice of linker has no effect; each change of the flags also rebuilds everything",
                fix,
            )
        } else {
            Finding::note(
                TOPIC,
                what,
                "Cargo takes flags from one place only, and each change of them rebuilds everything",
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
        let why = "at the end, one compiler holds the whole program, and no memory budget can make that smaller. Thin LTO needs about half of it; 16 codegen units can halve the memory of large crates again (aws-sdk-ec2: 7,366 MiB instead of 17,470)";
        let figure = here
            .figures
            .compared(|word| word == "lto" || word.starts_with("cgu="), |word| word == "lto")
            .or_else(|| here.figures.heaviest_unit());
        let does_not_fit = here.figures.heaviest().is_some_and(|(_, peak)| peak > whole(facts));
        let finding = if is_one(profile) && (whole(facts) <= LITTLE || does_not_fit) {
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
    let (profiles, compile) =
        if names.len() == 1 { ("profile", "compiles") } else { ("profiles", "compile") };
    let what = format!("{profiles} {} {compile} each crate as one codegen unit", names.join(", "));
    let why = "large crates then need much more memory (aws-sdk-ec2: 17,470 MiB instead of 7,366 with 16 units; cranelift-codegen: 2,151 instead of 1,336), and each compiler uses one thread";
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
    if !release && !is_large && whole(facts) > MIDDLING {
        return Some(Finding::fine(
            TOPIC,
            format!("dependencies have debug info in `{names}`, and there is enough memory for it"),
        ));
    }
    let figure = here
        .figures
        .compared(|word| word.starts_with("-g"), |word| word.starts_with("-g"))
        .or_else(|| here.figures.heaviest_linker());
    Some(
        Finding::note(
            TOPIC,
            format!("dependencies have debug info in `{names}`"),
            "each link reads all of it: without it, linkers needed 65 to 70% less memory in two projects, and compilers 4% less; backtraces through dependencies then show no line numbers",
            Fix::you(LOWMEM),
        )
        .with(figure),
    )
}

fn incremental(facts: &Facts, here: &Here) -> Finding {
    const TOPIC: &str = "incremental";
    let Some(place) = profiles::incremental_off(facts, here) else {
        return Finding::fine(TOPIC, "your own crates are compiled incrementally, Cargo's default");
    };
    if facts.is_ci() {
        return Finding::fine(
            TOPIC,
            format!("incremental compilation is off ({place}), which is right in CI"),
        );
    }
    let fix = match place.as_str() {
        "CARGO_INCREMENTAL=0" => "unset CARGO_INCREMENTAL".to_owned(),
        place => format!("remove {place}"),
    };
    Finding::note(
        TOPIC,
        format!("incremental compilation is off: {place}"),
        "each edit recompiles the whole crate",
        Fix::you(fix),
    )
}

/// What `init` writes without an option: it changes no program and is taken back exactly.
fn proposals(here: &Here) -> Vec<Finding> {
    const TOPIC: &str = "init";
    let of = |it: &plimsoll_init::plan::Finding| {
        let Verdict::Write(Change { literal, .. }) = &it.verdict else { return None };
        let fix = Fix {
            by: By::Doctor,
            command: "cargo plimsoll doctor --fix   # or all at once with `cargo plimsoll init`"
                .to_owned(),
            setting: Some(it.setting.clone()),
        };
        let what = format!("`{} = {literal}` would save memory", it.setting);
        Some(Finding::note(TOPIC, what, it.why.clone(), Some(fix)).with(it.figure.clone()))
    };
    let found: Vec<Finding> = here.proposals.iter().filter_map(of).collect();
    if found.is_empty() {
        return vec![Finding::fine(TOPIC, "`cargo plimsoll init` has no safe setting left to add")];
    }
    found
}

#[cfg(test)]
#[path = "building_tests.rs"]
mod tests;
