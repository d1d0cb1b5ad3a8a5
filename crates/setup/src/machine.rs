//! What machine, containers and limits mean for builds. Reads nothing.

use plimsoll_core::Bytes;
use plimsoll_core::budget::OomDaemon;
use plimsoll_view::percent;

use super::facts::{Facts, Place};
use super::findings::{Finding, Fix};

/// What the front end of the heaviest crate that we met needs (cranelift-codegen, `cargo check`).
const LARGE_CRATE: Bytes = Bytes::mib(1069);

/// The guide's tiers: machines that are sold with less than 8 GB, and with up to 16.
pub(super) const LITTLE: Bytes = Bytes::gib(7);
pub(super) const MIDDLING: Bytes = Bytes::gib(16);

/// Programs that are named, the largest of those that hold memory.
const NAMED: usize = 4;

/// A program that holds less is not named: it would not make room for a unit (half of them need 35 MiB).
const LARGE: Bytes = Bytes::mib(64);

/// A disk that reads more than this of a file at a page fault. Because the kernel's default is 128 KiB, and eight times
/// that already reads most of what a link only touches.
const READ_AHEAD: Bytes = Bytes::kib(1024);

/// Open files below which Cargo, linkers and the governor run short: its usual number is 1,024.
const FILES: u64 = 1024;

/// Processes and threads below which a build with its compilers' threads may not start another.
const PROCESSES: u64 = 1024;

/// A file system in memory with less room than this fills up: `No space left on device`, or signal 7.
const ROOM: Bytes = Bytes::gib(1);

/// Daemons that kill before the kernel does, by their names' beginnings.
const KILLERS: &[&str] = &["earlyoom", "systemd-oomd", "nohang", "oomd"];

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![memory(facts)];
    found.extend(containers(facts));
    found.push(swap(facts));
    found.extend(huge_pages(facts));
    found.push(overcommit(facts));
    found.extend(bounds(facts));
    found.push(killers(facts));
    found.extend(facts.places.iter().filter_map(|place| in_memory(facts, place)));
    found.extend(read_ahead(facts));
    found
}

/// The heaviest that was recorded of this workspace: unit or linker.
fn heaviest(facts: &Facts) -> Option<(String, Bytes)> {
    let figures = &facts.here.as_ref()?.figures;
    let unit = figures.heaviest().map(|(name, peak)| (name.to_owned(), peak));
    let link = figures.heaviest_link().map(|(name, peak)| (format!("the link of {name}"), peak));
    unit.into_iter().chain(link).max_by_key(|(_, peak)| *peak)
}

/// The memory that a build could have at most: the machine's or the tightest container's.
pub(super) fn whole(facts: &Facts) -> Bytes {
    let limits = facts.machine.levels.iter().flat_map(|level| [level.max, level.high]).flatten();
    limits.chain([facts.machine.total]).min().unwrap_or_default()
}

/// What is in use of all the machine's memory, by programs' names.
fn holders(facts: &Facts) -> String {
    let large = facts.machine.programs.iter().filter(|(_, held)| *held >= LARGE);
    let named: Vec<String> =
        large.take(NAMED).map(|(name, held)| format!("{name} {held}")).collect();
    match named.as_slice() {
        [] => "no other program holds much".to_owned(),
        named => format!("the largest programs are {}", named.join(", ")),
    }
}

fn memory(facts: &Facts) -> Finding {
    const TOPIC: &str = "memory";
    let machine = &facts.machine;
    let processors = match machine.processors {
        1 => "1 processor".to_owned(),
        n => format!("{n} processors"),
    };
    let what = format!(
        "{processors}, {} of memory, {} of it available for a build; {}",
        machine.total,
        machine.free,
        holders(facts)
    );
    let close = Fix::you("close the largest programs, or build on a machine with more memory");
    match heaviest(facts) {
        Some((name, peak)) if peak > machine.free => Finding::problem(
            TOPIC,
            what,
            format!(
                "{name} needed {peak} in your last build, {} more than is available: with plain `cargo`, the kernel kills a process; `cargo plimsoll` runs {name} alone and lets it swap",
                peak - machine.free
            ),
            close,
        ),
        None if machine.free < LARGE_CRATE => Finding::note(
            TOPIC,
            what,
            format!(
                "no build is recorded here yet; a large crate such as cranelift-codegen needs {LARGE_CRATE} for `cargo check` alone"
            ),
            close,
        ),
        Some((name, peak)) => Finding::fine(
            TOPIC,
            format!("{what}; the largest in your recorded builds is {name} with {peak}"),
        ),
        None => Finding::fine(TOPIC, what),
    }
}

fn containers(facts: &Facts) -> Vec<Finding> {
    const TOPIC: &str = "container";
    let machine = &facts.machine;
    let mut found = Vec::new();
    for level in &machine.levels {
        let dir = level.dir.display();
        let hint = match &level.swap {
            Some(Bytes::ZERO) => " and no swap",
            _ => "",
        };
        if let Some(max) = level.max.filter(|max| *max < machine.total) {
            let what = format!(
                "this container may use {max}{hint}; the machine has {} (cgroup v{} `{dir}`)",
                machine.total, level.version
            );
            let heaviest = heaviest(facts).filter(|(_, peak)| *peak > max);
            let budget = budget(facts, max).map(|said| format!(". {said}")).unwrap_or_default();
            let fix = Fix::you("cargo plimsoll build   # instead of `cargo build`");
            found.push(match (heaviest, machine.killed) {
                (Some((name, peak)), _) => Finding::problem(
                    TOPIC,
                    what,
                    format!(
                        "{name} needed {peak} in your last build, which does not fit, so the kernel kills it{budget}"
                    ),
                    Fix::you("give the container more memory (docker run --memory=…, MemoryMax=…)"),
                ),
                (None, killed @ 1..) => Finding::problem(
                    TOPIC,
                    what,
                    format!(
                        "the kernel has already killed {} here for lack of memory. Plain `cargo` does not know the \
                         limit and starts {} jobs{budget}",
                        if killed == 1 { "1 process".to_owned() } else { format!("{killed} processes") },
                        machine.processors
                    ),
                    fix,
                ),
                (None, 0) => {
                    let why = format!(
                        "plain `cargo` does not know the limit and starts {} jobs{}{budget}",
                        machine.processors,
                        if max < LARGE_CRATE { "; a single large crate can exceed it" } else { "" }
                    );
                    if max < LARGE_CRATE {
                        Finding::problem(TOPIC, what, why, fix)
                    } else {
                        Finding::note(TOPIC, what, why, fix)
                    }
                }
            });
        }
        if let Some(high) = level.high {
            found.push(Finding::note(
                TOPIC,
                format!("this container gets slow above {high} (memory.high of the cgroup `{dir}`)"),
                "above it the kernel kills nothing but slows down everything that asks for memory; `cargo plimsoll` stays below it",
                Fix::root(format!("echo max | sudo tee {dir}/memory.high")),
            ));
        }
    }
    if found.is_empty() {
        found.push(Finding::fine(TOPIC, "no container limits the memory"));
    }
    found
}

/// Why an automatic budget is less than this limit, where it follows from it.
fn budget(facts: &Facts, limit: Bytes) -> Option<String> {
    let bound = facts.machine.bound.filter(|bound| !bound.is_machine && bound.limit == limit)?;
    Some(format!("`cargo plimsoll` gives a build {}: {}", bound.left(), bound))
}

fn swap(facts: &Facts) -> Finding {
    const TOPIC: &str = "swap";
    let swaps = &facts.machine.swaps;
    let size: Bytes = swaps.iter().map(|swap| swap.size).sum();
    let used: Bytes = swaps.iter().map(|swap| swap.used).sum();
    let zram = if swaps.iter().any(|swap| swap.is_zram) { " (zram)" } else { "" };
    let zram_up = "sudo modprobe zram && sudo zramctl --find --size 2G --algorithm zstd && sudo mkswap /dev/zram0 && sudo swapon -p 100 /dev/zram0";
    if size == Bytes::ZERO {
        let what = "there is no swap";
        return if whole(facts) <= MIDDLING {
            Finding::note(
                TOPIC,
                what,
                format!(
                    "with {} of memory, a compiler that does not fit is killed; with swap or zram it finishes, slowly",
                    whole(facts)
                ),
                Fix::root(zram_up),
            )
        } else {
            Finding::fine(TOPIC, format!("{what}, and {} of memory rarely needs any", whole(facts)))
        };
    }
    // What is used of it is idle pages, most often; nearly all of it is a machine that is short.
    let free = size - used;
    if free.share_of(size) < 0.1 {
        let what = format!("swap{zram} is nearly full: {used} of {size}");
        let why = "nothing more can be swapped out, so the kernel kills the next process that needs memory";
        return Finding::problem(
            TOPIC,
            what,
            why,
            Fix::you("close the largest programs, or add swap"),
        );
    }
    Finding::fine(TOPIC, format!("{size} of swap{zram}, {used} used"))
}

fn huge_pages(facts: &Facts) -> Option<Finding> {
    const TOPIC: &str = "huge-pages";
    let mode = facts.machine.huge_pages.as_deref()?;
    Some(if mode == "always" && whole(facts) <= MIDDLING {
        Finding::note(
            TOPIC,
            "transparent huge pages are `always`",
            "the kernel hands out memory in pieces of 2 MiB even if a compiler touches only a few KiB of each, so compilers may need more",
            Fix::root("echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"),
        )
    } else {
        Finding::fine(TOPIC, format!("transparent huge pages are `{mode}`"))
    })
}

fn overcommit(facts: &Facts) -> Finding {
    const TOPIC: &str = "overcommit";
    match facts.machine.strict_commit {
        Some((limit, promised)) => Finding::problem(
            TOPIC,
            format!(
                "vm.overcommit_memory is 2: processes may reserve {limit}, and {promised} are reserved"
            ),
            "compilers and linkers reserve much more than they use, so they fail (`memory allocation of N bytes failed`) while memory is free; Plimsoll measures what they use and cannot foresee this",
            Fix::root("sudo sysctl vm.overcommit_memory=0"),
        ),
        None => {
            Finding::fine(TOPIC, "processes may reserve more memory than there is (overcommit)")
        }
    }
}

fn bounds(facts: &Facts) -> Vec<Finding> {
    const TOPIC: &str = "ulimit";
    let bounds = &facts.bounds;
    let mut found = Vec::new();
    let spaces = [
        (bounds.address_space, "address space", "RLIMIT_AS", "-v"),
        (bounds.data, "data", "RLIMIT_DATA", "-d"),
    ];
    for (limit, name, constant, option) in spaces {
        let Some(limit) = limit else { continue };
        found.push(Finding::problem(
            TOPIC,
            format!("each process is limited to {limit} of {name} (`ulimit {option}`, {constant})"),
            "this counts what a process reserves, and healthy compilers reserve several times what they use, so they fail at this limit",
            Fix::you(format!("ulimit {option} unlimited   # and use a memory budget instead: cargo plimsoll --memory {} build", size(limit))),
        ));
    }
    if let Some((soft, hard)) = bounds.files.filter(|(soft, _)| *soft < FILES) {
        let most = hard.min(65_536);
        found.push(Finding::problem(
            TOPIC,
            format!("each process may open {soft} files (`ulimit -n`)"),
            format!("linking a large workspace opens one file per codegen unit and fails with `Too many open files`; most systems allow {FILES}"),
            Fix::you(if hard > soft { format!("ulimit -n {most}") } else { "ask your administrator to raise the hard limit (limits.conf, LimitNOFILE=)".to_owned() }),
        ));
    }
    if let Some(most) = bounds.processes.filter(|most| *most < PROCESSES) {
        found.push(Finding::note(
            TOPIC,
            format!("this account may have {most} processes and threads (`ulimit -u`)"),
            format!("{} compilers with their threads, linkers and tests beside an editor can reach this and fail with `Resource temporarily unavailable`", facts.machine.processors),
            Fix::you("ulimit -u 4096   # or ask your administrator to raise the hard limit"),
        ));
    }
    if bounds.dumps_core {
        found.push(Finding::note(
            TOPIC,
            "a crashing process writes its memory to a file (`ulimit -c`)",
            "a compiler that crashes with 1 GiB of memory writes 1 GiB to the disk while the build waits",
            Fix::you("ulimit -c 0"),
        ));
    }
    if found.is_empty() {
        found.push(Finding::fine(TOPIC, "no process limit is too low (ulimit)"));
    }
    found
}

/// A size as `--memory` takes it.
fn size(bytes: Bytes) -> String {
    format!("{}MiB", bytes.0 >> 20)
}

fn killers(facts: &Facts) -> Finding {
    const TOPIC: &str = "killers";
    let is_one = |name: &&String| KILLERS.iter().any(|killer| name.starts_with(killer));
    let running: Vec<&String> =
        facts.machine.programs.iter().map(|(name, _)| name).filter(is_one).collect();
    match running.first() {
        Some(name) => Finding::note(
            TOPIC,
            format!("{name} is running"),
            format!(
                "it kills processes before the kernel does{}, large compilers and linkers first (signal 9 or 15, exit code 143, nothing in the kernel's log). Plain `cargo` then fails; `cargo plimsoll` {}runs the killed compiler again",
                facts.machine.killer.map_or(", when little memory is free".to_owned(), acts_at),
                if facts.machine.killer.is_some() { "stays clear of that and " } else { "" },
            ),
            Fix::you(if name.starts_with("earlyoom") {
                "exclude compilers: earlyoom --avoid '^(rustc|cargo|ld|lld|cc)$'"
            } else {
                "set ManagedOOMPreference=avoid for your session's slice"
            }),
        ),
        None => Finding::fine(TOPIC, "no daemon kills processes before the kernel does"),
    }
}

fn acts_at(killer: OomDaemon) -> String {
    let memory = killer.memory;
    match killer.swap {
        Bytes::ZERO => format!(", when no more than {memory} is available"),
        swap => {
            format!(", when no more than {memory} of memory and {swap} of swap are left")
        }
    }
}

fn in_memory(facts: &Facts, place: &Place) -> Option<Finding> {
    const TOPIC: &str = "tmpfs";
    let name = place.name;
    let Some((held, most)) = place.in_memory else {
        return Some(Finding::fine(TOPIC, format!("{name} is on a disk")));
    };
    let path = place.path.display();
    let what = format!("{name} `{path}` is in memory (tmpfs) and holds {held} of at most {most}");
    let variable = match name {
        "the build directory" => "CARGO_BUILD_BUILD_DIR",
        "the target directory" => "CARGO_TARGET_DIR",
        _ => "TMPDIR",
    };
    let is_target = variable != "TMPDIR";
    let fix = Fix::you(format!("export {variable}=<a directory on a disk>"));
    // A quarter: as much as all that Plimsoll would keep free for files.
    let takes_much = held.share_of(whole(facts)) > 0.25;
    Some(if is_target && takes_much {
        Finding::problem(
            TOPIC,
            what,
            format!(
                "everything you build stays in memory: {} of it is used before a compiler starts",
                percent(held.share_of(whole(facts)))
            ),
            fix,
        )
    } else if most - held < ROOM {
        Finding::note(
            TOPIC,
            what,
            format!(
                "only {} more fits; when it is full, compilers and linkers fail with `No space left on device` or signal 7",
                most - held
            ),
            fix,
        )
    } else {
        Finding::note(
            TOPIC,
            what,
            "each file there takes memory from compilers; Plimsoll counts what a build adds to it",
            fix,
        )
    })
}

fn read_ahead(facts: &Facts) -> Option<Finding> {
    const TOPIC: &str = "read-ahead";
    let place = facts.places.iter().find(|place| place.read_ahead.is_some())?;
    let (file, ahead) = place.read_ahead.as_ref()?;
    if *ahead <= READ_AHEAD {
        return Some(Finding::fine(TOPIC, format!("the disk reads {ahead} ahead (read-ahead)")));
    }
    let what =
        format!("the disk of {} reads {ahead} ahead; the kernel's default is 128 KiB", place.name);
    let why = "linking slows down when memory is short, because each access reads that much: six programs linked within 1,323 MiB took 18 s with `-j2`, 192 s with `-j3`, and 10 s after a change to 128 KiB";
    let fix = Fix::root(format!("echo 128 | sudo tee {file}   # until the next boot"));
    let rarely = if whole(facts) <= MIDDLING {
        String::new()
    } else {
        format!(". With {} of memory you rarely notice; in a container you do", whole(facts))
    };
    Some(Finding::note(TOPIC, what, format!("{why}{rarely}"), fix))
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
