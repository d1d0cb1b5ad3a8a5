//! Every limit above us, and how much time and how many pages are lost to them.
//!
//! Files are opened once; a reading is a dozen `pread`s. A cgroup that gets a limit later is seen, one
//! that a process is moved into later is not.

use std::path::{Path, PathBuf};

use plimsoll_core::Bytes;
use plimsoll_core::budget::{MachineMemory, MemoryReading, MemoryStall};

use super::cgroup::CgroupFiles;
use super::hard_limit_name::is_drivers;
use super::kept::{KeptFile, field};
use super::killers::Killers;
use super::mounts::{self, Version};
use super::procfs::kilobytes;
use crate::HostError;

/// A cgroup in a hierarchy that may limit memory, as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CgroupDir {
    version: Version,
    dir: PathBuf,
}

impl CgroupDir {
    pub(super) fn version(&self) -> Version {
        self.version
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Those that contain the process `pid` (this one, where none is named), each hierarchy's from its own up, in the
    /// file system below `root` (`/`, but for tests). What cannot be seen is not there, and neither is the leaf into
    /// which a driver has gone to make room for a cgroup limit: what it looks for is around its build.
    #[must_use]
    pub fn around(root: &Path, pid: Option<u32>) -> Vec<Self> {
        let read = |name: &str| std::fs::read(root.join(name)).unwrap_or_default();
        let below = |path: &Path| -> PathBuf { root.join(path.strip_prefix("/").unwrap_or(path)) };
        let who = pid.map_or("self".to_owned(), |pid| pid.to_string());
        let memberships = read(&format!("proc/{who}/cgroup"));
        let exists = |path: &Path| below(path).is_dir();
        let found = mounts::hierarchies(&memberships, &read("proc/self/mountinfo"), exists);
        let of = |it: mounts::Hierarchy| {
            let dir = move |path: PathBuf| Self { version: it.version, dir: below(&path) };
            let cgroups = it.cgroups.into_iter().filter(|path| !is_drivers(path));
            cgroups.map(dir).collect::<Vec<_>>()
        };
        found.into_iter().flat_map(of).collect()
    }
}

/// The limits that one cgroup above a process sets, by itself: what stands in its files, not what follows from
/// those above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupLevel {
    /// 1 or 2.
    pub version: u8,
    /// Where it is mounted.
    pub dir: PathBuf,
    /// Above it somebody in the cgroup is killed (v2 `memory.max`, v1 `memory.limit_in_bytes`).
    pub max: Option<Bytes>,
    /// Above it everybody in the cgroup is slowed down (v2 `memory.high`).
    pub high: Option<Bytes>,
    /// The swap that may be used beside that; zero forbids it (v2 `memory.swap.max`, v1 from
    /// `memory.memsw.limit_in_bytes`).
    pub swap: Option<Bytes>,
}

impl CgroupLevel {
    /// The cgroups around this process that limit anything, in the file system below `root`, each hierarchy's from
    /// its own up.
    #[must_use]
    pub fn around(root: &Path) -> Vec<Self> {
        let all = CgroupDir::around(root, None).into_iter().map(Self::of);
        all.filter(|it| (it.max, it.high, it.swap) != (None, None, None)).collect()
    }

    fn of(CgroupDir { version, dir }: CgroupDir) -> Self {
        let limit = |name: &str| {
            let number = KeptFile::open(&dir.join(name)).and_then(|file| file.number());
            number.filter(|number| *number < super::cgroup::UNLIMITED).map(Bytes)
        };
        match version {
            Version::V1 => {
                let max = limit("memory.limit_in_bytes");
                let both = limit("memory.memsw.limit_in_bytes");
                let swap = both.map(|both| both - max.unwrap_or_default());
                Self { version: 1, max, high: None, swap, dir }
            }
            Version::V2 => Self {
                version: 2,
                max: limit("memory.max"),
                high: limit("memory.high"),
                swap: limit("memory.swap.max"),
                dir,
            },
        }
    }
}

/// The machine and some cgroups, their files kept open.
#[derive(Debug)]
pub struct Limits {
    meminfo: KeptFile,
    /// From the innermost up, in each hierarchy.
    cgroups: Vec<CgroupFiles>,
    /// The innermost cgroup's memory pressure, else the machine's.
    pressure: Option<KeptFile>,
    /// The machine's refaults, where no cgroup of ours counts them.
    vmstat: Option<KeptFile>,
    killers: Killers,
}

/// How many processes the kernel has killed for memory since it booted, in any cgroup (`oom_kill` in
/// `/proc/vmstat`, Linux 4.13); 0 where it does not say.
#[must_use]
pub fn oom_kills() -> u64 {
    let text = std::fs::read("/proc/vmstat").unwrap_or_default();
    field(&text, "oom_kill").unwrap_or(0)
}

impl Limits {
    /// Finds the limits above this process, in the file system below `root` (`/`, but for tests).
    ///
    /// # Errors
    /// Where there is no `proc/meminfo`. Cgroups that cannot be seen are no error: they are not there.
    pub fn discover(root: &Path) -> Result<Self, HostError> {
        Self::within(root, &CgroupDir::around(root, None))
    }

    /// The limits of the machine and of these cgroups.
    ///
    /// # Errors
    /// Where there is no `proc/meminfo`.
    pub fn within(root: &Path, cgroups: &[CgroupDir]) -> Result<Self, HostError> {
        let meminfo = root.join("proc/meminfo");
        let meminfo = KeptFile::open(&meminfo).ok_or_else(|| {
            HostError::new("open", meminfo, std::io::Error::from(std::io::ErrorKind::NotFound))
        })?;
        let innermost = cgroups.iter().find(|it| it.version == Version::V2);
        let pressure = innermost.and_then(|it| KeptFile::open(&it.dir.join("memory.pressure")));
        let files = cgroups.iter().filter_map(|it| CgroupFiles::open(it.version, &it.dir));
        let cgroups: Vec<CgroupFiles> = files.collect();
        // Without CONFIG_PSI, or with psi=0, the files are missing or cannot be read.
        let says = |file: &KeptFile| stalled(file).is_some();
        let pressure = pressure
            .filter(says)
            .or_else(|| KeptFile::open(&root.join("proc/pressure/memory")).filter(says));
        let vmstat = KeptFile::open(&root.join("proc/vmstat")).filter(|_| cgroups.is_empty());
        Ok(Self { meminfo, cgroups, pressure, vmstat, killers: Killers::default() })
    }

    /// Says from now on when these would act; nobody is looked for before, because that is a look at every process.
    pub fn heed(&mut self, killers: Killers) {
        self.killers = killers;
    }

    /// Those that are heeded.
    #[must_use]
    pub fn killers(&self) -> &Killers {
        &self.killers
    }

    /// What they say now.
    #[must_use]
    pub fn read(&self) -> MemoryReading {
        let mut buffer = [0; 4 << 10];
        let meminfo = self.meminfo.read(&mut buffer);
        let of = |key: &str| -> Bytes {
            let mut lines = meminfo.split(|b| *b == b'\n');
            let value =
                lines.find_map(|line| line.strip_prefix(key.as_bytes())?.strip_prefix(b":"));
            value.map(kilobytes).unwrap_or_default()
        };
        let (total, available) = (of("MemTotal"), of("MemAvailable"));
        let of_programs = available + of("AnonPages");
        let machine = MachineMemory {
            total,
            available,
            swap_free: of("SwapFree"),
            killer: self.killers.on(total, of_programs, of("SwapTotal")),
        };
        let pinned = of("SUnreclaim") + of("KernelStack") + of("PageTables") + of("Percpu");
        let pinned_share = pinned.share_of(pinned + of("SReclaimable"));
        let mut refaulted = None;
        let mut limited = Vec::with_capacity(self.cgroups.len());
        for cgroup in &self.cgroups {
            let reading = cgroup.read(pinned_share);
            refaulted.get_or_insert(reading.refaulted);
            limited.extend(reading.limited);
        }
        let refaulted = refaulted.unwrap_or_else(|| self.machine_refaults());
        MemoryReading {
            machine,
            cgroups: limited,
            stall: MemoryStall {
                full_us: self.pressure.as_ref().and_then(stalled).unwrap_or(0),
                refaulted: Bytes(refaulted.saturating_mul(rustix::param::page_size() as u64)),
            },
        }
    }

    fn machine_refaults(&self) -> u64 {
        let mut buffer = [0; 16 << 10];
        let Some(vmstat) = &self.vmstat else { return 0 };
        let vmstat = vmstat.read(&mut buffer);
        field(vmstat, "workingset_refault_file")
            .or_else(|| field(vmstat, "workingset_refault"))
            .unwrap_or(0)
    }
}

/// Microseconds in which everybody stalled: `full avg10=0.00 avg60=0.00 avg300=0.00 total=123`.
pub(super) fn stalled(pressure: &KeptFile) -> Option<u64> {
    let mut buffer = [0; 256];
    let full =
        pressure.read(&mut buffer).split(|b| *b == b'\n').find(|l| l.starts_with(b"full "))?;
    let (_, total) = std::str::from_utf8(full).ok()?.rsplit_once("total=")?;
    total.trim().parse().ok()
}
