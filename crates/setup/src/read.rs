//! The one place where the doctor looks at machine and workspace. Nothing here judges; what cannot be read is not
//! there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plimsoll_cargo::{CargoConfig, Environment};
use plimsoll_core::Bytes;
use plimsoll_core::budget::{self, FileReserve};
use plimsoll_host::{CgroupLevel, Killers, Limits};
use plimsoll_init::figures::Figures;
use plimsoll_init::plan::{self, Lowmem};
use plimsoll_init::workspace::Workspace;

use super::facts::{Bounds, Facts, Here, Linkers, Machine, Obstacle, Place, Swap};
use super::flags::{self, Flags};

/// What is known of Plimsoll itself.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Cargo's configuration that holds here.
    pub cargo: CargoConfig,
    /// Processors that are planned for.
    pub processors: u32,
    /// The jobs that it is told, and where, but by an option.
    pub jobs: Option<(String, u32)>,
    /// `cargo plimsoll enable` is in force.
    pub enabled: bool,
    /// What keeps plain `cargo` from the account's budget here.
    pub obstacles: Vec<Obstacle>,
    /// The wrapper that is configured is one of Plimsoll's shims.
    pub wrapper_is_ours: bool,
}

/// Looks. `figures` is what recorded builds know of a workspace.
///
/// # Errors
/// Where the kernel's own files cannot be read.
pub fn look(
    own: Own,
    environment: &Environment,
    cwd: &Path,
    figures: &mut dyn FnMut(&Workspace) -> Figures,
) -> anyhow::Result<Facts> {
    let (here, no_workspace) = match here(&own, environment, cwd, figures) {
        Ok(here) => (Some(here), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let wrapper = own.cargo.rustc_wrapper.as_ref().map(|given| given.value.as_path());
    let host = here.as_ref().map_or("", |it| it.workspace.compiler.host.as_str());
    let flags = here
        .as_ref()
        .map_or_else(Vec::new, |it| flags::find(environment, &it.workspace.layers, host));
    Ok(Facts {
        machine: machine(own.processors)?,
        bounds: bounds(),
        places: places(&own.cargo, environment, here.as_ref()),
        linkers: linkers(&own.cargo, environment, here.as_ref(), flags.first()),
        obstacles: own.obstacles,
        wrapper_is_ours: own.wrapper_is_ours,
        wrapper_is_there: wrapper.is_none_or(|it| is_there(environment, it)),
        own_jobs: own.jobs,
        enabled: own.enabled,
        cargo: own.cargo,
        variables: variables(environment),
        flags,
        here,
        no_workspace,
        bad_files: Vec::new(),
    })
}

fn here(
    own: &Own,
    environment: &Environment,
    cwd: &Path,
    figures: &mut dyn FnMut(&Workspace) -> Figures,
) -> anyhow::Result<Here> {
    let workspace = Workspace::find(environment, cwd, own.processors)?;
    let figures = figures(&workspace);
    let proposals = plan::plan(&workspace, &Lowmem::Offered, &figures);
    Ok(Here { workspace, proposals, figures })
}

fn variables(environment: &Environment) -> BTreeMap<String, String> {
    let names = environment.names_after("CARGO_").map(|rest| format!("CARGO_{rest}"));
    let more = ["RUSTC_WORKSPACE_WRAPPER", "CI", "TF_BUILD"].map(str::to_owned);
    let given = |name: String| {
        let value = environment.text(&name)?.to_owned();
        Some((name, value))
    };
    names.chain(more).filter_map(given).collect()
}

/// A file of the kernel's as text.
fn text(path: impl AsRef<Path>) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn machine(processors: u32) -> anyhow::Result<Machine> {
    let root = Path::new("/");
    let mut limits = Limits::discover(root)?;
    limits.heed(Killers::find(root));
    let reading = limits.read();
    let limited = reading.cgroups.iter().map(|it| it.limit - it.held);
    let meminfo = text("/proc/meminfo");
    let of = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        Bytes::kib(line.map_or(0, first_number))
    };
    let is_strict = text("/proc/sys/vm/overcommit_memory").trim() == "2";
    let swaps = text("/proc/swaps");
    let levels = CgroupLevel::around(root);
    Ok(Machine {
        bound: Some(budget::tightest(
            &reading,
            budget::HeldMemory::default(),
            &FileReserve::default(),
        )),
        killed: levels.iter().map(|level| killed(&level.dir)).max().unwrap_or_default(),
        processors,
        total: reading.machine.total,
        free: limited.chain([reading.machine.available]).min().unwrap_or_default(),
        programs: programs(),
        killer: reading.machine.killer,
        levels,
        swaps: swaps.lines().skip(1).filter_map(swap).collect(),
        huge_pages: chosen(&text("/sys/kernel/mm/transparent_hugepage/enabled")),
        strict_commit: is_strict.then(|| (of("CommitLimit"), of("Committed_AS"))),
    })
}

/// How many processes the kernel has killed in this cgroup: v2 counts below it, too, v1 does since Linux 4.13.
fn killed(cgroup: &Path) -> u64 {
    let said = ["memory.events", "memory.oom_control"].map(|file| text(cgroup.join(file)));
    let mut lines = said.iter().flat_map(|said| said.lines());
    lines.find_map(|line| line.strip_prefix("oom_kill ")).map_or(0, first_number)
}

/// The number that a text begins with, after blanks; 0 where there is none.
fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// A line of `/proc/swaps`.
fn swap(line: &str) -> Option<Swap> {
    let mut fields = line.split_whitespace();
    let name = fields.next()?;
    let mut sizes = fields.skip(1).map_while(|field| field.parse().ok()).map(Bytes::kib);
    Some(Swap { is_zram: name.contains("zram"), size: sizes.next()?, used: sizes.next()? })
}

/// What is chosen in a file like `always [madvise] never`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// What each program of others holds, the most first. Names only: command lines hold secrets.
fn programs() -> Vec<(String, Bytes)> {
    let own = std::process::id();
    let page = rustix::param::page_size() as u64;
    let mut held: BTreeMap<String, Bytes> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if pid.is_none_or(|pid| pid == own) {
            continue;
        }
        let statm = text(entry.path().join("statm"));
        let mut pages = statm.split(' ').map(first_number);
        let (resident, shared) = (pages.nth(1).unwrap_or(0), pages.next().unwrap_or(0));
        let name = text(entry.path().join("comm"));
        let name: String =
            name.trim_end().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        // Kernel threads have no memory of their own.
        if resident > 0 && !name.is_empty() {
            *held.entry(name).or_default() += Bytes(resident.saturating_sub(shared) * page);
        }
    }
    let mut programs: Vec<(String, Bytes)> = held.into_iter().collect();
    programs.sort_by_key(|(_, held)| std::cmp::Reverse(*held));
    programs
}

fn bounds() -> Bounds {
    let limits = text("/proc/self/limits");
    let pipes_cores = text("/proc/sys/kernel/core_pattern").starts_with('|');
    let mut bounds = read_limits(&limits);
    bounds.dumps_core &= !pipes_cores;
    bounds
}

/// `Max open files            1024                 4096                 files`.
fn read_limits(limits: &str) -> Bounds {
    let of = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        let mut fields = line.split_whitespace();
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    let soft = |name: &str| of(name)?.0.parse::<u64>().ok();
    let files = of("Max open files");
    Bounds {
        address_space: soft("Max address space").map(Bytes),
        data: soft("Max data size").map(Bytes),
        files: files
            .and_then(|(soft, hard)| Some((soft.parse().ok()?, hard.parse().unwrap_or(u64::MAX)))),
        processes: soft("Max processes"),
        dumps_core: of("Max core file size").is_some_and(|(soft, _)| soft != "0"),
    }
}

fn places(cargo: &CargoConfig, environment: &Environment, here: Option<&Here>) -> Vec<Place> {
    let given = cargo.target_dir.as_ref().map(|given| given.value.clone());
    let target = here.map(|it| given.unwrap_or_else(|| it.workspace.root.join("target")));
    let build = cargo.build_dir.as_ref().zip(here);
    let build = build.map(|(given, it)| given.value.resolve(&it.workspace.root));
    let temporary = environment.get("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let named = [("the build directory", build), ("the target directory", target)];
    let named = named.into_iter().filter_map(|(name, path)| Some((name, path?)));
    let all = named.chain([("the temporary directory", temporary)]);
    all.map(|(name, path)| place(name, path)).collect()
}

fn place(name: &'static str, path: PathBuf) -> Place {
    let there = path.ancestors().find(|part| part.exists()).unwrap_or(Path::new("/"));
    let in_memory = plimsoll_host::Tmpfs::holding(there).ok().flatten().map(|it| it.room());
    let read_ahead = fs::metadata(there).ok().and_then(|it| read_ahead(it.dev()));
    Place { name, in_memory, read_ahead, path }
}

/// The kernel's file that says how much of a file the disk reads at a page fault, and what it says.
fn read_ahead(device: u64) -> Option<(String, Bytes)> {
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    // A partition has no queue of its own: its disk does.
    let files = [
        format!("/sys/dev/block/{number}/queue/read_ahead_kb"),
        format!("/sys/dev/block/{number}/../queue/read_ahead_kb"),
        format!("/sys/class/bdi/{number}/read_ahead_kb"),
    ];
    files.into_iter().find_map(|file| {
        let kib = fs::read_to_string(&file).ok()?.trim().parse().ok()?;
        Some((file, Bytes::kib(kib)))
    })
}

fn linkers(
    cargo: &CargoConfig,
    environment: &Environment,
    here: Option<&Here>,
    flags: Option<&Flags>,
) -> Linkers {
    const KNOWN: &[(&str, &str)] = &[
        ("ld.bfd", "ld.bfd"),
        ("gold", "ld.gold"),
        ("lld", "ld.lld"),
        ("mold", "mold"),
        ("wild", "wild"),
    ];
    let is_here = |program: &str| is_there(environment, Path::new(program));
    let found = KNOWN.iter().filter(|(_, program)| is_here(program)).map(|(name, _)| *name);
    let mut linkers = Linkers { found: found.collect(), ..Linkers::default() };
    let Some(workspace) = here.map(|it| &it.workspace) else { return linkers };
    let root = &workspace.root;
    let rustc = cargo.rustc.as_ref().map_or(Path::new("rustc"), |given| &given.value);
    let sysroot = answer(Command::new(rustc).args(["--print", "sysroot"]).current_dir(root));
    linkers.has_rust_lld = sysroot.is_some_and(|sysroot| {
        let lld = format!("lib/rustlib/{}/bin/rust-lld", workspace.compiler.host);
        Path::new(sysroot.trim()).join(lld).is_file()
    });
    let driver = driver(environment, workspace, flags);
    // rustc knows where its own is.
    let is_there = is_here(&driver) || (driver == "rust-lld" && linkers.has_rust_lld);
    if is_there && !driver.ends_with("lld") {
        let asked = answer(Command::new(&driver).arg("-print-prog-name=ld").current_dir(root));
        let own = asked.and_then(|ld| answer(Command::new(ld.trim()).arg("-v").current_dir(root)));
        linkers.drivers_own = own.and_then(|said| Some(said.lines().next()?.trim().to_owned()));
    }
    linkers.driver = Some((driver, is_there));
    linkers
}

/// What rustc calls to link: by a flag, a variable, Cargo's configuration, or its default.
fn driver(environment: &Environment, workspace: &Workspace, flags: Option<&Flags>) -> String {
    let host = workspace.compiler.host.as_str();
    let variable = format!("CARGO_TARGET_{}_LINKER", host.to_uppercase().replace('-', "_"));
    let of = |(file, table): &(PathBuf, toml::Table)| {
        let linker = table.get("target")?.get(host)?.get("linker")?.as_str()?;
        // As Cargo reads it: with a separator it is relative to the directory that holds `.cargo`.
        let base = file.parent().and_then(Path::parent).filter(|_| linker.contains('/'));
        Some(base.map_or_else(|| linker.to_owned(), |it| it.join(linker).display().to_string()))
    };
    let by_flag = flags.and_then(|flags| {
        let word = flags.words.iter().rev().find_map(|it| it.split_once("linker="))?;
        Some(word.1.to_owned())
    });
    by_flag
        .or_else(|| environment.text(&variable).map(str::to_owned))
        .or_else(|| workspace.layers.iter().find_map(of))
        .unwrap_or_else(|| "cc".to_owned())
}

/// What a command that succeeds prints.
fn answer(command: &mut Command) -> Option<String> {
    let done = command.stdin(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

fn is_there(environment: &Environment, program: &Path) -> bool {
    program.as_os_str().is_empty() || environment.program(program, Path::new("/")).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let swaps = swap("/dev/zram0   partition\t4194300\t1024\t100");
        let expected = Swap { is_zram: true, size: Bytes::kib(4_194_300), used: Bytes::kib(1024) };
        assert_eq!(swaps, Some(expected));
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(chosen(""), None);
        let limits = "Limit   Soft Limit  Hard Limit  Units\n\
            Max data size             unlimited            unlimited            bytes\n\
            Max core file size        0                    unlimited            bytes\n\
            Max processes             96365                96365                processes\n\
            Max open files            1024                 unlimited            files\n\
            Max address space         4294967296           unlimited            bytes\n";
        let read = read_limits(limits);
        assert_eq!(read.address_space, Some(Bytes::gib(4)));
        assert_eq!((read.data, read.files), (None, Some((1024, u64::MAX))));
        assert_eq!((read.processes, read.dumps_core), (Some(96_365), false));
    }

    #[test]
    fn this_machine_is_read() {
        let machine = machine(2).unwrap();
        assert!(machine.total > machine.free && machine.free > Bytes::ZERO, "{machine:?}");
        let place = place("here", std::env::temp_dir().join("no/such"));
        assert!(place.in_memory.is_some() || place.read_ahead.is_some(), "{place:?}");
    }
}
