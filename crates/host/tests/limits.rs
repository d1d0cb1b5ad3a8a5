//! The limits above us, read from trees of files as the kernel shows them, and from this machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
extern crate plimsoll_testing;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use plimsoll_core::Bytes;
use plimsoll_core::budget::{CgroupMemory, MachineMemory, MemoryReading, OomDaemon};
use plimsoll_host::{CgroupDir, CgroupLevel, Killers, Limits};
use plimsoll_testing::cgroup::LimitedCgroup;
use plimsoll_testing::ignored;
use tempfile::TempDir;

const MEMINFO: &str = "MemTotal:       8388608 kB\nMemFree:         100000 kB\nMemAvailable:   4194304 kB\n\
    SwapTotal:      2097152 kB\nSwapFree:       1048576 kB\nSReclaimable:     90000 kB\n\
    SUnreclaim:       20000 kB\nKernelStack:       3000 kB\nPageTables:        7000 kB\nPercpu:              0 kB\n";

/// `memory.stat` of v2 with 300 MiB anonymous, 20 MiB shared, 210 MiB of files on the lists.
const STAT_V2: &str = "anon 314572800\nfile 241172480\nkernel 52428800\nshmem 20971520\nactive_file 115343360\n\
    inactive_file 104857600\nslab_reclaimable 31457280\nslab_unreclaimable 10485760\n\
    workingset_refault_anon 7\nworkingset_refault_file 1000\n";

/// `memory.stat` of v1 with 300 MiB anonymous and 20 MiB shared in all.
const STAT_V1: &str = "cache 1\nrss 2\nhierarchical_memory_limit 2147483648\ntotal_cache 241172480\n\
    total_rss 314572800\ntotal_shmem 20971520\ntotal_swap 0\ntotal_workingset_refault_file 500\n\
    total_inactive_file 104857600\ntotal_active_file 115343360\n";

const NO_LIMIT_V1: &str = "9223372036854771712\n";

struct Tree(TempDir);

impl Tree {
    fn new(cgroup: &str, mountinfo: &str) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.file("proc/meminfo", MEMINFO);
        tree.file("proc/self/cgroup", cgroup);
        tree.file("proc/self/mountinfo", mountinfo);
        tree
    }

    fn file(&self, path: &str, content: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn files(&self, dir: &str, files: &[(&str, &str)]) {
        for (name, content) in files {
            self.file(&format!("{dir}/{name}"), content);
        }
    }

    fn discover(&self) -> Limits {
        Limits::discover(self.0.path()).unwrap()
    }

    fn read(&self) -> MemoryReading {
        self.discover().read()
    }
}

const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

#[test]
fn without_cgroups_the_machine_is_the_only_limit() {
    let tree = Tree::new("", "");
    tree.file(
        "proc/vmstat",
        "nr_free_pages 1\nworkingset_refault_anon 3\nworkingset_refault_file 12\n",
    );
    tree.file("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=99\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=77\n");
    let reading = tree.read();
    assert_eq!(
        reading.machine,
        MachineMemory {
            total: Bytes::gib(8),
            available: Bytes::gib(4),
            swap_free: Bytes::gib(1),
            killer: None,
        }
    );
    assert_eq!(reading.cgroups, []);
    assert_eq!(reading.stall.full_us, 77);
    assert_eq!(reading.stall.refaulted, Bytes(12 * rustix::param::page_size() as u64));
}

#[test]
fn who_kills_first_is_told_once_it_is_heeded() {
    let tree = Tree::new("", "");
    tree.file("proc/70/comm", "earlyoom\n");
    tree.file("proc/70/cmdline", "earlyoom\0-m\x0025\0-s\x0025\0");
    let mut limits = tree.discover();
    assert_eq!(limits.read().machine.killer, None, "not before it is looked for");
    limits.heed(Killers::find(tree.0.path()));
    let [memory, swap] = [Bytes::gib(2), Bytes::mib(512)];
    assert_eq!(limits.read().machine.killer, Some(OomDaemon { memory, swap }));
}

#[test]
fn nested_v2_cgroups_count_what_cannot_be_dropped() {
    let tree = Tree::new("0::/outer/inner\n", UNIFIED);
    let usage = [("memory.stat", STAT_V2), ("memory.current", "629145600\n")];
    tree.files("sys/fs/cgroup/outer/inner", &usage);
    tree.files(
        "sys/fs/cgroup/outer/inner",
        &[
            ("memory.max", "max\n"),
            ("memory.high", "1073741824\n"),
            ("memory.swap.max", "0\n"),
            ("memory.swap.current", "0\n"),
        ],
    );
    tree.files("sys/fs/cgroup/outer", &usage);
    tree.files(
        "sys/fs/cgroup/outer",
        &[("memory.max", "2147483648\n"), ("memory.high", "max\n"), ("memory.swap.max", "max\n")],
    );
    tree.file(
        "sys/fs/cgroup/outer/inner/memory.pressure",
        "some total=9\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=12345\n",
    );
    tree.file("proc/pressure/memory", "some total=9\nfull avg10=1.00 total=99999\n");
    let reading = tree.read();
    // 600 MiB charged without 210 MiB of files and 30 MiB of slabs that can be dropped.
    let held = Bytes::mib(360);
    assert_eq!(
        reading.cgroups,
        [
            CgroupMemory { limit: Bytes::gib(1), held, swap_free: Bytes::ZERO },
            CgroupMemory { limit: Bytes::gib(2), held, swap_free: Bytes::MAX },
        ]
    );
    assert_eq!(reading.stall.full_us, 12_345, "our own cgroup's pressure, not the machine's");
    assert_eq!(reading.stall.refaulted, Bytes(1000 * rustix::param::page_size() as u64));
}

#[test]
fn anothers_cgroups_are_found_and_read_one_by_one() {
    let tree = Tree::new("0::/outer/inner\n", UNIFIED);
    tree.file("proc/77/cgroup", "0::/outer/walled/deep\n");
    let usage = [("memory.stat", STAT_V2), ("memory.current", "629145600\n")];
    for (dir, limit) in
        [("outer/inner", "max\n"), ("outer", "max\n"), ("outer/walled/deep", "max\n")]
    {
        tree.files(&format!("sys/fs/cgroup/{dir}"), &usage);
        tree.file(&format!("sys/fs/cgroup/{dir}/memory.max"), limit);
    }
    tree.files("sys/fs/cgroup/outer/walled", &usage);
    tree.file("sys/fs/cgroup/outer/walled/memory.max", "1073741824\n");
    let root = tree.0.path();
    let (own, others) = (CgroupDir::around(root, None), CgroupDir::around(root, Some(77)));
    let only: Vec<&CgroupDir> = others.iter().filter(|it| !own.contains(it)).collect();
    assert_eq!((own.len(), others.len(), only.len()), (3, 4, 2));
    let limits = |dir: &CgroupDir| {
        let reading = Limits::within(root, std::slice::from_ref(dir)).unwrap().read();
        reading.cgroups.iter().map(|it| it.limit).collect::<Vec<_>>()
    };
    assert_eq!(limits(only[0]), [], "the innermost has none");
    assert_eq!(limits(only[1]), [Bytes::gib(1)]);
    assert_eq!(Limits::discover(root).unwrap().read().cgroups, []);
    assert_eq!(CgroupDir::around(root, Some(78)), [], "no such process");
}

#[test]
fn v1_cgroups_are_read_with_the_limit_of_an_ancestor_that_cannot_be_seen() {
    let tree = Tree::new(
        "4:memory:/docker/abc\n",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
    );
    tree.files(
        "sys/fs/cgroup/memory",
        &[
            ("memory.stat", STAT_V1),
            ("memory.limit_in_bytes", NO_LIMIT_V1),
            ("memory.usage_in_bytes", "629145600\n"),
            ("memory.kmem.usage_in_bytes", "41943040\n"),
            ("memory.memsw.limit_in_bytes", "3221225472\n"),
            ("memory.memsw.usage_in_bytes", "1073741824\n"),
        ],
    );
    let reading = tree.read();
    // A quarter of this machine's kernel memory cannot be reclaimed, so 10 MiB of the 40.
    assert_eq!(
        reading.cgroups,
        [CgroupMemory { limit: Bytes::gib(2), held: Bytes::mib(330), swap_free: Bytes::gib(2) }]
    );
    assert_eq!(reading.stall.refaulted, Bytes(500 * rustix::param::page_size() as u64));
}

#[test]
fn a_hybrid_system_has_its_limits_in_v1_and_its_pressure_in_v2() {
    let tree = Tree::new(
        "4:memory:/build\n0::/session\n",
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
         41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
    );
    for (dir, limit) in [("build", "1073741824\n"), ("", NO_LIMIT_V1)] {
        let stat = STAT_V1.replace("2147483648", limit.trim());
        tree.files(
            &format!("sys/fs/cgroup/memory/{dir}"),
            &[("memory.stat", &stat), ("memory.limit_in_bytes", limit)],
        );
    }
    tree.file(
        "sys/fs/cgroup/unified/session/memory.pressure",
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
    );
    let reading = tree.read();
    assert_eq!(reading.cgroups.len(), 1, "only the inner one has a limit");
    assert_eq!(reading.cgroups[0].limit, Bytes::gib(1));
    assert_eq!(reading.cgroups[0].held, Bytes::mib(320));
    assert_eq!(reading.stall.full_us, 5);
}

#[test]
fn each_level_is_told_with_what_it_sets_itself() {
    let tree = Tree::new("0::/a/b\n", UNIFIED);
    tree.files("sys/fs/cgroup/a/b", &[("memory.max", "max\n"), ("memory.swap.max", "max\n")]);
    let a = [
        ("memory.max", "2147483648\n"),
        ("memory.high", "1073741824\n"),
        ("memory.swap.max", "0\n"),
    ];
    tree.files("sys/fs/cgroup/a", &a);
    let dir = tree.0.path().join("sys/fs/cgroup/a");
    let (max, high) = (Some(Bytes::gib(2)), Some(Bytes::gib(1)));
    let level = CgroupLevel { version: 2, dir, max, high, swap: Some(Bytes::ZERO) };
    assert_eq!(CgroupLevel::around(tree.0.path()), [level]);

    let tree = Tree::new("4:memory:/c\n", "35 31 0:32 / /cg rw - cgroup cgroup rw,memory\n");
    tree.files("cg", &[("memory.limit_in_bytes", NO_LIMIT_V1)]);
    let c = [
        ("memory.limit_in_bytes", "1073741824\n"),
        ("memory.memsw.limit_in_bytes", "1610612736\n"),
    ];
    tree.files("cg/c", &c);
    let levels = CgroupLevel::around(tree.0.path());
    assert_eq!(levels.len(), 1);
    assert_eq!((levels[0].version, levels[0].max), (1, Some(Bytes::gib(1))));
    assert_eq!(levels[0].swap, Some(Bytes::mib(512)));
}

#[test]
fn a_limit_that_is_set_later_is_seen() {
    let tree = Tree::new("0::/ci\n", UNIFIED);
    let dir = "sys/fs/cgroup/ci";
    tree.files(
        dir,
        &[("memory.stat", STAT_V2), ("memory.current", "629145600\n"), ("memory.max", "max\n")],
    );
    let limits = tree.discover();
    assert_eq!(limits.read().cgroups, []);
    tree.file(&format!("{dir}/memory.max"), "1073741824\n");
    assert_eq!(limits.read().cgroups[0].limit, Bytes::gib(1));
}

#[test]
fn a_system_without_proc_is_an_error_that_names_the_file() {
    let empty = tempfile::tempdir().unwrap();
    let error = Limits::discover(empty.path()).unwrap_err();
    assert!(error.to_string().contains("proc/meminfo"), "{error}");
}

#[test]
fn this_machine_is_read() {
    let reading = Limits::discover(Path::new("/")).unwrap().read();
    assert!(reading.machine.total >= reading.machine.available);
    assert!(reading.machine.available > Bytes::ZERO);
    for cgroup in &reading.cgroups {
        assert!(cgroup.held > Bytes::ZERO);
    }
}

/// The variable that makes this program look at the cgroup limit around it instead of running tests.
const INSIDE: &str = "PLIMSOLL_HOST_TEST_INSIDE";

fn main() -> ExitCode {
    match std::env::var(INSIDE).as_deref() {
        Ok("memory") => memory_inside(),
        Ok("files") => files_inside(),
        Ok(other) => panic!("no such look: {other}"),
        Err(_) => return plimsoll_testing::run(),
    }
    ExitCode::SUCCESS
}

/// This program in a real cgroup of 512 MiB, where it fails by panicking.
fn look_from_inside(what: &str) {
    let cgroup = LimitedCgroup::new(512 << 20);
    let mut inside = cgroup.entrance();
    let status = inside.arg(std::env::current_exe().unwrap()).env(INSIDE, what).status().unwrap();
    assert!(status.success(), "{status}");
}

fn hard_limit_around_us() -> CgroupMemory {
    let reading = Limits::discover(Path::new("/")).unwrap().read();
    let cgroup = reading.cgroups.iter().find(|cgroup| cgroup.limit == Bytes::mib(512));
    cgroup.copied().unwrap_or_else(|| panic!("no cgroup limit of 512 MiB in {reading:?}"))
}

#[test]
fn a_hard_limit_is_read_from_inside() {
    look_from_inside("memory");
}

fn memory_inside() {
    let before = hard_limit_around_us();
    let memory = vec![1u8; 200 << 20];
    let after = hard_limit_around_us();
    drop(memory);
    let grown = after.held - before.held;
    assert!(grown >= Bytes::mib(190) && grown <= Bytes::mib(215), "{before:?} {after:?}");
}

/// Not on a tmpfs, whose pages cannot be dropped.
#[test]
fn what_can_be_dropped_is_not_held() {
    const TMPFS: rustix::fs::FsWord = 0x0102_1994;
    let kind = rustix::fs::statfs(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap().f_type;
    if kind == TMPFS {
        ignored("the target directory is in memory");
    }
    look_from_inside("files");
}

fn files_inside() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let before = hard_limit_around_us();
    let file = dir.path().join("pages");
    fs::write(&file, vec![1u8; 100 << 20]).unwrap();
    fs::File::open(&file).unwrap().sync_all().unwrap();
    assert_eq!(fs::read(&file).unwrap().len(), 100 << 20);
    let after = hard_limit_around_us();
    assert!(after.held - before.held <= Bytes::mib(20), "{before:?} {after:?}");
}
