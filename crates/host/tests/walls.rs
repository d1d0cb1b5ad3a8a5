//! Cgroup limits of our own, in trees of files as the kernel shows them. (Real ones: `hard.rs` of `cargo-plimsoll`'s end-to-end
//! tests for v1, and its `tests/guest/run.sh` for v2.)
//!
//! A tree of files is no kernel: it makes no files in a new directory. So the cgroup limit's directory is there before, as an
//! earlier attempt of the same driver would have left it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::PathBuf;

use plimsoll_core::Bytes;
use plimsoll_core::hard_limit::HardLimitLevels;
use plimsoll_host::{CgroupDir, HardLimitCgroup, Limits, NoHardLimit};
use tempfile::TempDir;

const MEMINFO: &str = "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\nSwapFree: 0 kB\n";
const STAT: &str = "anon 104857600\nshmem 0\nactive_file 52428800\ninactive_file 0\nslab_reclaimable 0\n\
    workingset_refault_file 3\n";
const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const HYBRID: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
    41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

struct Tree(TempDir);

impl Tree {
    fn new(cgroup: &str, mountinfo: &str) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.file("proc/meminfo", MEMINFO);
        let own = std::process::id();
        tree.file(&format!("proc/{own}/cgroup"), cgroup);
        tree.file(&format!("proc/{own}/mountinfo"), mountinfo);
        tree.file(&format!("proc/{own}/stat"), &stat_of(own, 77));
        std::os::unix::fs::symlink(own.to_string(), tree.at("proc/self")).unwrap();
        tree
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn file(&self, path: &str, content: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap().trim().to_owned()
    }

    /// What the kernel would show in a new v2 cgroup: 100 MiB that cannot be dropped and 50 of files.
    fn v2(&self, dir: &str) {
        self.file(&format!("{dir}/memory.stat"), STAT);
        self.file(&format!("{dir}/memory.current"), "157286400\n");
        self.file(&format!("{dir}/memory.events"), "low 0\nhigh 4\nmax 2\noom 1\noom_kill 3\n");
        self.file(&format!("{dir}/memory.pressure"), "some total=9\nfull avg10=0.00 total=55\n");
    }

    fn raise(&self) -> Result<HardLimitCgroup, NoHardLimit> {
        HardLimitCgroup::raise(self.0.path(), std::process::id())
    }
}

/// A process's `stat`, with its start in field 22.
fn stat_of(pid: u32, start: u64) -> String {
    format!("{pid} (a b) S 1 1 1 0 -1 4194304 1 1 1 1 1 1 1 1 20 0 1 0 {start} 1 1 1\n")
}

/// The cgroup limit's own name.
fn name() -> String {
    format!("plimsoll-{}-77", std::process::id())
}

const HEIGHT: HardLimitLevels =
    HardLimitLevels { limit: Bytes::mib(800), throttle: Bytes::mib(775) };

#[test]
fn where_the_driver_sits_alone_it_makes_room_for_a_hard_limit_beside_itself() {
    let tree = Tree::new("0::/box\n", UNIFIED);
    let (home, name) = ("sys/fs/cgroup/box", name());
    tree.file(&format!("{home}/cgroup.controllers"), "cpu memory pids\n");
    tree.file(&format!("{home}/cgroup.subtree_control"), "\n");
    tree.file(&format!("{home}/cgroup.procs"), &format!("{}\n", std::process::id()));
    tree.v2(&format!("{home}/{name}"));
    let cgroup = tree.raise().unwrap();
    assert_eq!(tree.read(&format!("{home}/{name}-driver/cgroup.procs")), "0");
    assert_eq!(tree.read(&format!("{home}/cgroup.subtree_control")), "+memory");
    assert_eq!(tree.read(&format!("{home}/{name}/memory.max")), "max");

    cgroup.set(HEIGHT).unwrap();
    assert_eq!(tree.read(&format!("{home}/{name}/memory.max")), (800 << 20).to_string());
    assert_eq!(tree.read(&format!("{home}/{name}/memory.high")), (775 << 20).to_string());
    assert!(!tree.at(&format!("{home}/{name}/memory.swap.max")).exists(), "swap is untouched");

    let look = cgroup.look();
    assert_eq!((look.held, look.charged), (Bytes::mib(100), Bytes::mib(150)));
    assert_eq!((look.stall.full_us, cgroup.kills()), (55, 3));

    cgroup.place().enter().unwrap();
    assert_eq!(tree.read(&format!("{home}/{name}/cgroup.procs")), "0");
    assert_eq!(look.above.cgroups, [], "the cgroup limit is no limit above itself");
    // From the leaf, the driver sees what is around its build.
    let own = std::process::id();
    tree.file(&format!("proc/{own}/cgroup"), &format!("0::/box/{name}-driver\n"));
    tree.v2(&format!("{home}/{name}-driver"));
    tree.v2(home);
    tree.file(&format!("{home}/memory.max"), "1073741824\n");
    tree.file(&format!("{home}/memory.pressure"), "full avg10=0.00 total=66\n");
    let reading = Limits::discover(tree.0.path()).unwrap().read();
    assert_eq!((reading.cgroups.len(), reading.stall.full_us), (1, 66));
    assert_eq!(reading.cgroups[0].limit, Bytes::gib(1));
}

#[test]
fn inside_a_hard_limit_of_somebodys_its_limit_counts() {
    let name = name();
    let tree = Tree::new(&format!("0::/box/{name}\n"), UNIFIED);
    tree.v2(&format!("sys/fs/cgroup/box/{name}"));
    tree.file(&format!("sys/fs/cgroup/box/{name}/memory.max"), "536870912\n");
    let around = CgroupDir::around(tree.0.path(), None);
    let limits = Limits::within(tree.0.path(), &around).unwrap().read().cgroups;
    assert_eq!(limits.len(), 1);
    assert_eq!(limits[0].limit, Bytes::mib(512));
    assert!(
        matches!(tree.raise().unwrap_err(), NoHardLimit::Behind),
        "and a second one is not needed"
    );
}

#[test]
fn where_memory_is_handed_on_already_the_driver_stays_where_it_is() {
    let tree = Tree::new("0::/\n", UNIFIED);
    let (home, name) = ("sys/fs/cgroup", name());
    tree.file(&format!("{home}/cgroup.subtree_control"), "cpu memory\n");
    tree.file(&format!("{home}/cgroup.procs"), "1\n2\n");
    tree.v2(&format!("{home}/{name}"));
    let cgroup = tree.raise().unwrap();
    assert!(!tree.at(&format!("{home}/{name}-driver")).exists());
    assert_eq!(tree.read(&format!("{home}/cgroup.subtree_control")), "cpu memory");
    assert_eq!(cgroup.place().words().len(), 2);
}

#[test]
fn a_cgroup_without_the_controller_says_what_is_missing() {
    let tree = Tree::new("0::/user.slice\n", UNIFIED);
    tree.file("sys/fs/cgroup/user.slice/cgroup.controllers", "cpu pids\n");
    let why = tree.raise().unwrap_err();
    assert!(matches!(why, NoHardLimit::NoController), "{why:?}");
    assert!(why.to_string().contains("the controller `memory`"), "{why}");
    let nothing = Tree::new("", "");
    assert!(matches!(nothing.raise().unwrap_err(), NoHardLimit::NoController));
}

#[test]
fn a_cgroup_of_somebody_elses_says_what_would_help() {
    let home = "sys/fs/cgroup/user.slice";
    let tree = Tree::new("0::/user.slice\n", UNIFIED);
    tree.file(&format!("{home}/cgroup.controllers"), "memory\n");
    tree.file(&format!("{home}/cgroup.procs"), "1\n2\n");
    // What may not be written.
    fs::create_dir(tree.at(&format!("{home}/cgroup.subtree_control"))).unwrap();
    let why = tree.raise().unwrap_err();
    assert!(matches!(why, NoHardLimit::NotOurs { .. }), "{why:?}");
    assert!(why.to_string().contains("systemd-run --user --scope"), "{why}");
}

#[test]
fn on_a_hybrid_system_the_hard_limit_is_where_memory_is_limited() {
    let tree = Tree::new("4:memory:/build\n0::/\n", HYBRID);
    let (home, name) = ("sys/fs/cgroup/memory/build", name());
    tree.file(&format!("{home}/memory.limit_in_bytes"), "9223372036854771712\n");
    tree.file("sys/fs/cgroup/unified/cgroup.controllers", "\n");
    let stat = "total_rss 104857600\ntotal_shmem 0\ntotal_workingset_refault_file 0\n";
    tree.file(&format!("{home}/{name}/memory.stat"), stat);
    tree.file(&format!("{home}/{name}/memory.usage_in_bytes"), "157286400\n");
    tree.file(&format!("{home}/{name}/memory.oom_control"), "under_oom 0\noom_kill 1\n");
    let cgroup = tree.raise().unwrap();
    cgroup.set(HEIGHT).unwrap();
    assert_eq!(tree.read(&format!("{home}/{name}/memory.limit_in_bytes")), (800 << 20).to_string());
    assert_eq!((cgroup.look().held, cgroup.look().charged), (Bytes::mib(100), Bytes::mib(150)));
    assert_eq!(cgroup.kills(), 1);
}

#[test]
fn what_dead_drivers_left_is_swept_where_it_is_empty() {
    let tree = Tree::new("0::/\n", UNIFIED);
    let home = "sys/fs/cgroup";
    let own = std::process::id();
    tree.file(&format!("{home}/cgroup.subtree_control"), "memory\n");
    tree.v2(&format!("{home}/{}", name()));
    let dirs = [
        (format!("plimsoll-{}-7", u32::MAX), false),
        (format!("plimsoll-{}-7-driver", u32::MAX), false),
        (format!("plimsoll-{own}-7"), false),
        ("plimsoll-e2e-1-1".to_owned(), true),
        ("user.slice".to_owned(), true),
    ];
    for (dir, _) in &dirs {
        fs::create_dir_all(tree.at(&format!("{home}/{dir}"))).unwrap();
    }
    // Somebody is in it.
    let full = format!("{home}/plimsoll-{}-8", u32::MAX);
    tree.file(&format!("{full}/cgroup.procs"), "12\n");
    tree.raise().unwrap();
    for (dir, stays) in &dirs {
        assert_eq!(tree.at(&format!("{home}/{dir}")).exists(), *stays, "{dir}");
    }
    assert!(tree.at(&full).exists(), "nobody's processes are touched");
}
