//! The memory cgroup that one build runs in: made fresh, limited if asked, read by the sampler, always removed.
//!
//! Knows both worlds. Where the memory controller is v1, the group lives in that hierarchy and, if a cgroup2 mount exists
//! too, a twin of the same name there gives pressure (PSI) and CPU time, which v2 accounts without any controller. Where
//! the memory controller is v2, one group gives everything.
//!
//! Groups are made *below our own*, so that limits above us stay in force, and are only ever named `plimsoll-bench-*`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Every group that the benchmark makes begins with this.
const PREFIX: &str = "plimsoll-bench-";

/// Which interface the memory controller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `memory.limit_in_bytes`, `total_rss`, …
    V1,
    /// `memory.max`, `anon`, …
    V2,
}

/// A cgroup limit around a build.
#[derive(Clone, Copy, Debug)]
pub struct CgroupLimit {
    /// The limit.
    pub bytes: u64,
    /// Whether the build may swap beyond it. Without swap the cgroup limit is what an OOM killer guards.
    pub swap: bool,
}

/// A fresh group. Dropping it removes it.
#[derive(Debug)]
pub struct Group {
    version: Version,
    memory: PathBuf,
    /// The v2 group: the same as `memory` on v2, a twin for PSI and CPU time on v1, if there is a cgroup2 mount.
    unified: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    /// Undone on drop: the leaf that we moved ourselves to, because a v2 group with processes has no children with controllers.
    harness: Option<Harness>,
}

#[derive(Debug)]
struct Harness {
    parent: PathBuf,
    leaf: PathBuf,
}

impl Group {
    /// Makes a group, and its cgroup limit. Fails with what to do where there is no permission.
    pub fn make(cgroup_limit: Option<CgroupLimit>) -> Result<Self> {
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup").context("reading /proc/self/cgroup")?;
        let name = format!("{PREFIX}{}", std::process::id());
        let unified = own_dir(&mounts, &own, None);
        let group = if let Some(parent) = own_dir(&mounts, &own, Some("memory")) {
            sweep(&parent);
            let memory = parent.join(&name);
            create(&memory)?;
            let twin = |parent: PathBuf| {
                sweep(&parent);
                let twin = parent.join(&name);
                create(&twin).is_ok().then_some(twin)
            };
            Self {
                version: Version::V1,
                memory,
                unified: unified.and_then(twin),
                cpuacct: own_dir(&mounts, &own, Some("cpuacct")).and_then(twin),
                harness: None,
            }
        } else if let Some(parent) = unified {
            sweep(&parent);
            let harness = delegate_memory(&parent)?;
            let memory = parent.join(&name);
            create(&memory)?;
            Self {
                version: Version::V2,
                unified: Some(memory.clone()),
                memory,
                cpuacct: None,
                harness,
            }
        } else {
            bail!(
                "no cgroup mount was found in /proc/self/mountinfo; mount one, or run on a Linux that has it"
            );
        };
        if let Some(cgroup_limit) = cgroup_limit {
            group.cgroup_limit(cgroup_limit)?;
        }
        Ok(group)
    }

    /// The interface of the memory controller.
    pub fn version(&self) -> Version {
        self.version
    }

    fn cgroup_limit(&self, cgroup_limit: CgroupLimit) -> Result<()> {
        let bytes = cgroup_limit.bytes.to_string();
        match self.version {
            Version::V1 => {
                put(&self.memory.join("memory.limit_in_bytes"), &bytes)?;
                let memsw = self.memory.join("memory.memsw.limit_in_bytes");
                if !cgroup_limit.swap && memsw.exists() {
                    put(&memsw, &bytes)?;
                }
            }
            Version::V2 => {
                put(&self.memory.join("memory.max"), &bytes)?;
                let swap = self.memory.join("memory.swap.max");
                if !cgroup_limit.swap && swap.exists() {
                    put(&swap, "0")?;
                }
            }
        }
        Ok(())
    }

    /// The files into which a process writes `0` to enter the group.
    pub fn entrances(&self) -> Vec<PathBuf> {
        self.folders().into_iter().map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// Its folder in each hierarchy.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut dirs = vec![self.memory.clone()];
        dirs.extend(self.unified.clone().filter(|unified| *unified != self.memory));
        dirs.extend(self.cpuacct.clone());
        dirs
    }

    /// All processes in the group and the groups below it.
    pub fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        let mut dirs = vec![self.memory.clone()];
        while let Some(dir) = dirs.pop() {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.trim().parse::<i32>().ok()));
            dirs.extend(child_dirs(&dir));
        }
        found
    }

    /// Anonymous + shared + swapped bytes, by the group's own accounting.
    pub fn memory(&self) -> Result<u64> {
        let text = get(&self.memory.join("memory.stat"))?;
        match self.version {
            Version::V1 => Ok(memory_v1(&text)),
            Version::V2 => {
                let swap =
                    fs::read_to_string(self.memory.join("memory.swap.current")).unwrap_or_default();
                Ok(memory_v2(&text) + swap.trim().parse::<u64>().unwrap_or(0))
            }
        }
    }

    /// How many processes of the group the kernel's OOM killer took.
    pub fn oom_kills(&self) -> u64 {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = fs::read_to_string(self.memory.join(file)).unwrap_or_default();
        field(&text, "oom_kill").unwrap_or(0)
    }

    /// Microseconds for which every task of the group stalled on memory (PSI `full`), where the kernel tells.
    pub(crate) fn pressure_full_us(&self) -> Option<u64> {
        let text = fs::read_to_string(self.unified.as_ref()?.join("memory.pressure")).ok()?;
        psi_full_total(&text)
    }

    /// Microseconds of processor time that the group used, where the kernel tells.
    pub(crate) fn cpu_us(&self) -> Option<u64> {
        let unified = self.unified.as_ref().and_then(|dir| {
            let text = fs::read_to_string(dir.join("cpu.stat")).ok()?;
            field(&text, "usage_usec")
        });
        unified.or_else(|| {
            let text = fs::read_to_string(self.cpuacct.as_ref()?.join("cpuacct.usage")).ok()?;
            Some(text.trim().parse::<u64>().ok()? / 1000)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for dir in self.folders() {
            remove(&dir);
        }
        if let Some(harness) = &self.harness {
            // Each step is best effort: what fails here leaves an empty group, which the next run sweeps away.
            let _ = put(&harness.parent.join("cgroup.subtree_control"), "-memory");
            let _ = put(&harness.parent.join("cgroup.procs"), "0");
            remove(&harness.leaf);
        }
    }
}

/// Our own group's folder in the hierarchy of a v1 controller, or (`None`) in the cgroup2 hierarchy.
fn own_dir(mounts: &str, own: &str, controller: Option<&str>) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        match controller {
            Some(name) => controllers.split(',').any(|it| it == name),
            None => id == "0" && controllers.is_empty(),
        }
        .then(|| path.to_owned())
    })?;
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        let fits = match controller {
            Some(name) => kind == "cgroup" && options.split(',').any(|it| it == name),
            None => kind == "cgroup2",
        };
        let inside = if root == "/" { path.as_str() } else { path.strip_prefix(root)? };
        fits.then(|| Path::new(point).join(inside.trim_start_matches('/')))
    })
}

/// Makes the memory controller available to children of `parent` (v2), moving ourselves to a leaf if that is in the way.
fn delegate_memory(parent: &Path) -> Result<Option<Harness>> {
    let control = parent.join("cgroup.subtree_control");
    if get(&control)?.split_whitespace().any(|it| it == "memory") {
        return Ok(None);
    }
    if put(&control, "+memory").is_ok() {
        return Ok(None);
    }
    let leaf = parent.join(format!("{PREFIX}{}-harness", std::process::id()));
    create(&leaf)?;
    let harness = Harness { parent: parent.to_owned(), leaf: leaf.clone() };
    let moved = put(&leaf.join("cgroup.procs"), "0").and_then(|()| put(&control, "+memory"));
    if let Err(error) = moved {
        let _ = put(&parent.join("cgroup.procs"), "0");
        remove(&leaf);
        return Err(error.context(
            "this cgroup does not hand its memory controller down; run as root, or under \
             `systemd-run --user --scope -p Delegate=yes`",
        ));
    }
    Ok(Some(harness))
}

/// Removes empty groups that an earlier run, itself gone, left behind.
fn sweep(parent: &Path) {
    for dir in child_dirs(parent) {
        let Some(name) = dir.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(owner) = name.strip_prefix(PREFIX) else { continue };
        let pid = owner.split('-').next().unwrap_or(owner);
        if !Path::new("/proc").join(pid).exists() {
            remove(&dir);
        }
    }
}

fn child_dirs(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn create(dir: &Path) -> Result<()> {
    fs::create_dir(dir).with_context(|| {
        format!("making the cgroup {} (making one takes root or a delegated cgroup)", dir.display())
    })
}

/// Removes a group and those below it. The kernel may need a moment after the last process left, so it is tried again.
fn remove(dir: &Path) {
    for child in child_dirs(dir) {
        remove(&child);
    }
    for _ in 0..100 {
        match fs::remove_dir(dir) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    }
}

fn get(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn put(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).with_context(|| format!("writing {value} to {}", path.display()))
}

/// The number behind a name in `name number` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse::<u64>().ok())?
    })
}

/// v1: `rss` is mapped anonymous memory, huge pages included (`rss_huge` is a part of it); `total_*` covers the groups below.
fn memory_v1(text: &str) -> u64 {
    ["total_rss", "total_shmem", "total_swap"].iter().filter_map(|name| field(text, name)).sum()
}

/// v2: huge pages (`anon_thp`) are a part of `anon`. Swap has a file of its own.
fn memory_v2(text: &str) -> u64 {
    ["anon", "shmem"].iter().filter_map(|name| field(text, name)).sum()
}

fn psi_full_total(text: &str) -> Option<u64> {
    let full = text.lines().find(|line| line.starts_with("full "))?;
    full.split(' ').find_map(|part| part.strip_prefix("total="))?.parse::<u64>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_counts_anonymous_shared_and_swapped_of_the_whole_subtree() {
        let text = "rss 1\ntotal_rss 100\ntotal_rss_huge 90\ntotal_shmem 20\ntotal_swap 3\ntotal_cache 5000\n";
        assert_eq!(memory_v1(text), 123);
    }

    #[test]
    fn v2_counts_huge_pages_once() {
        assert_eq!(memory_v2("anon 100\nfile 4000\nanon_thp 60\nshmem 20\n"), 120);
    }

    #[test]
    fn pressure_is_the_full_budget() {
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(psi_full_total(text), Some(7));
    }

    #[test]
    fn own_group_is_found_in_both_worlds() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let own = "4:memory:/a/b\n0::/c\n";
        assert_eq!(
            own_dir(mounts, own, Some("memory")),
            Some(PathBuf::from("/sys/fs/cgroup/memory/a/b"))
        );
        assert_eq!(own_dir(mounts, own, None), Some(PathBuf::from("/sys/fs/cgroup/unified/c")));
        assert_eq!(own_dir(mounts, own, Some("cpuacct")), None);
    }

    #[test]
    fn own_group_under_a_bind_mounted_root() {
        let mounts = "31 25 0:27 /box /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            own_dir(mounts, "0::/box/inner\n", None),
            Some(PathBuf::from("/sys/fs/cgroup/inner"))
        );
    }
}
