//! What machine, containers and limits mean for builds. Reads nothing.

use plimsoll_core::Bytes;
use plimsoll_core::line::OomDaemon;

use super::facts::{Facts, Place};
use super::findings::{Finding, Fix};
use crate::init::plan::tier;

/// What the front end of the heaviest crate that we met needs (cranelift-codegen, `cargo check`).
const GIANT: Bytes = Bytes::mib(1069);

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
    let link = figures.heaviest_link().map(|(name, peak)| (format!("the linker of {name}"), peak));
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
        [] => "nobody else holds much".to_owned(),
        named => format!("most is held by {}", named.join(", ")),
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
        "{processors}, {} of memory, {} of it free for a build; {}",
        machine.total,
        machine.free,
        holders(facts)
    );
    let close = Fix::you("end what holds most, or build where more is free");
    match heaviest(facts) {
        Some((name, peak)) if peak > machine.free => Finding::problem(
            TOPIC,
            what,
            format!(
                "{name} needed {peak} when it was last built, {} more than is free: under plain cargo something is killed, under Plimsoll it runs alone and pages",
                peak - machine.free
            ),
            close,
        ),
        None if machine.free < GIANT => Finding::note(
            TOPIC,
            what,
            format!(
                "no build is recorded here yet; the heaviest crate that we met needs {GIANT} for its front end alone"
            ),
            close,
        ),
        Some((name, peak)) => Finding::fine(
            TOPIC,
            format!("{what}; the heaviest recorded here is {name} with {peak}"),
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
            Some(Bytes::ZERO) => ", and no swap",
            _ => "",
        };
        if let Some(max) = level.max.filter(|max| *max < machine.total) {
            let what = format!(
                "the cgroup v{} `{dir}` may hold {max}{hint}, of the machine's {}",
                level.version, machine.total
            );
            let why = match heaviest(facts) {
                Some((name, peak)) if peak > max => format!(
                    "{name} needed {peak} when it was last built: it cannot fit there, and the kernel kills it"
                ),
                _ => format!(
                    "plain cargo does not know of it and starts {} units at once; `cargo plimsoll` keeps below it (--memory auto)",
                    machine.processors
                ),
            };
            let too_small = heaviest(facts).is_some_and(|(_, peak)| peak > max);
            let fix = Fix::you("cargo plimsoll build, in place of cargo build");
            found.push(if too_small {
                Finding::problem(
                    TOPIC,
                    what,
                    why,
                    Fix::you("give the container more memory (docker run --memory=…, MemoryMax=…)"),
                )
            } else {
                Finding::note(TOPIC, what, why, fix)
            });
        }
        if let Some(high) = level.high {
            found.push(Finding::note(
                TOPIC,
                format!("the cgroup `{dir}` is slowed down above {high} (memory.high)"),
                "above it the kernel kills nothing, but whatever asks for memory crawls; `cargo plimsoll` takes it for the limit",
                Fix::root(format!("echo max | sudo tee {dir}/memory.high")),
            ));
        }
    }
    if found.is_empty() {
        found.push(Finding::fine(TOPIC, "no container limits memory"));
    }
    found
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
        return if tier(whole(facts)).0 < 4 {
            Finding::note(
                TOPIC,
                what,
                format!(
                    "with {} of memory a unit that does not fit alone is killed; with swap or zram it pages and ends",
                    whole(facts)
                ),
                Fix::root(zram_up),
            )
        } else {
            Finding::fine(TOPIC, format!("{what}, and with {} it is hardly needed", whole(facts)))
        };
    }
    // What is used of it is idle pages, most often; nearly all of it is a machine that is short.
    let free = size - used;
    if free.share_of(size) < 0.1 {
        let what = format!("swap{zram} is nearly full: {used} of {size}");
        let why =
            "there is no room left for what does not fit: the next to ask for memory is killed";
        return Finding::problem(TOPIC, what, why, Fix::you("end what holds most, or add swap"));
    }
    Finding::fine(TOPIC, format!("{size} of swap{zram}, {used} used"))
}

fn huge_pages(facts: &Facts) -> Option<Finding> {
    const TOPIC: &str = "huge-pages";
    let mode = facts.machine.huge_pages.as_deref()?;
    Some(if mode == "always" && tier(whole(facts)).0 < 4 {
        Finding::note(
            TOPIC,
            "transparent huge pages are `always`",
            "memory comes in pieces of 2 MiB, also where a compiler's allocator touches a few KiB of each: units may be larger, and give less back",
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
            format!("vm.overcommit_memory is 2: {promised} of {limit} are promised"),
            "compilers and linkers ask for much more address space than they touch, and are refused (`memory allocation of N bytes failed`) while memory is free; Plimsoll measures what is touched and cannot see it coming",
            Fix::root("sudo sysctl vm.overcommit_memory=0"),
        ),
        None => Finding::fine(TOPIC, "memory may be asked for beyond what is there (overcommit)"),
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
            format!("each process may have {limit} of {name} (`ulimit {option}`, {constant})"),
            "address space is not memory: healthy compilers reserve several times what they touch and are refused at that limit",
            Fix::you(format!("ulimit {option} unlimited, and a line instead: cargo plimsoll --memory {} build", size(limit))),
        ));
    }
    if let Some((soft, hard)) = bounds.files.filter(|(soft, _)| *soft < FILES) {
        let most = hard.min(65_536);
        found.push(Finding::problem(
            TOPIC,
            format!("a process may have {soft} files open (`ulimit -n`)"),
            format!("a link of a large workspace opens an object file for each codegen unit: `Too many open files`; {FILES} is what systems give by themselves"),
            Fix::you(if hard > soft { format!("ulimit -n {most}") } else { "have the hard limit raised (limits.conf, LimitNOFILE=)".to_owned() }),
        ));
    }
    if let Some(most) = bounds.processes.filter(|most| *most < PROCESSES) {
        found.push(Finding::note(
            TOPIC,
            format!("this account may have {most} processes and threads (`ulimit -u`)"),
            format!("{} compilers with their threads, linkers and tests beside an editor come near it, and fail with `Resource temporarily unavailable`", facts.machine.processors),
            Fix::you("ulimit -u 4096, or have the hard limit raised"),
        ));
    }
    if bounds.dumps_core {
        found.push(Finding::note(
            TOPIC,
            "a process that dies of a signal writes its memory into a file (`ulimit -c`)",
            "a compiler of a GiB that is aborted writes that GiB to the disk while everything else waits for it",
            Fix::you("ulimit -c 0"),
        ));
    }
    if found.is_empty() {
        found.push(Finding::fine(TOPIC, "no limit of a process is in the way (ulimit)"));
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
            format!("{name} runs here"),
            format!(
                "it kills before the kernel does{}, and large compilers and linkers first (signal 9 or 15, exit 143, and nothing in the kernel's log); Plimsoll {}runs what it lost again, plain cargo fails",
                facts.machine.killer.map_or(", as soon as little is free".to_owned(), acts_at),
                if facts.machine.killer.is_some() { "stays above that and " } else { "" },
            ),
            Fix::you(if name.starts_with("earlyoom") {
                "have it spare compilers: earlyoom --avoid '^(rustc|cargo|ld|lld|cc)$'"
            } else {
                "have it spare this session's slice: ManagedOOMPreference=avoid"
            }),
        ),
        None => Finding::fine(TOPIC, "no daemon kills before the kernel does"),
    }
}

fn acts_at(killer: OomDaemon) -> String {
    let memory = killer.memory;
    match killer.swap {
        Bytes::ZERO => format!(", as soon as no more than {memory} is available"),
        swap => {
            format!(", as soon as no more than {memory} of memory and {swap} of swap are left")
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
    let what =
        format!("{name} `{path}` is in memory (tmpfs): its file system holds {held} of {most}");
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
                "all that is built stays in memory: {} % of what there is are gone before a compiler starts",
                percent(held, whole(facts))
            ),
            fix,
        )
    } else if most - held < ROOM {
        Finding::note(
            TOPIC,
            what,
            format!(
                "only {} more fit: compilers and linkers then fail with `No space left on device` or signal 7",
                most - held
            ),
            fix,
        )
    } else {
        Finding::note(
            TOPIC,
            what,
            "each file there is memory that compilers do not get, and nothing drops it; Plimsoll counts the growth of the directory in which units are built under the line",
            fix,
        )
    })
}

fn percent(part: Bytes, whole: Bytes) -> u64 {
    (part.share_of(whole) * 100.0).round() as u64
}

fn read_ahead(facts: &Facts) -> Option<Finding> {
    const TOPIC: &str = "read-ahead";
    let place = facts.places.iter().find(|place| place.read_ahead.is_some())?;
    let (file, ahead) = place.read_ahead.as_ref()?;
    if *ahead <= READ_AHEAD {
        return Some(Finding::fine(TOPIC, format!("the disk reads {ahead} ahead")));
    }
    let what =
        format!("the disk of {} reads {ahead} ahead; the kernel's default is 128 KiB", place.name);
    let why = "a link that touches a part of its inputs reads them whole: six programs relinked within 1,323 MiB took 18 s by `-j2` and 192 s by `-j3`, with 128 KiB 10 s (1.1 GiB read for each link, 370 MiB touched)";
    let fix = Fix::root(format!("echo 128 | sudo tee {file}   # until the next boot"));
    Some(if tier(whole(facts)).0 < 4 {
        Finding::problem(TOPIC, what, why, fix)
    } else {
        let why = format!(
            "{why}; with {} of memory it rarely shows, inside a container it does",
            whole(facts)
        );
        Finding::note(TOPIC, what, why, fix)
    })
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
