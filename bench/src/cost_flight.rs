//! What the governor costs with many units in flight: a build of tiny crates whose compilers hold a little memory, grow
//! slowly and end when they are told to. The driver hosts the governor, so the driver is what is measured.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use plimsoll_rig::folders::empty;
use plimsoll_rig::launch::{Build, Interrupt};
use plimsoll_rig::sampler::{Scope, reap_orphans};
use plimsoll_rig::tree;

use crate::cost_rustc::RELEASE;
use crate::cost_scene::CostScene;
use crate::cost_shim::{Held, held, memory};

/// More crates than may run at once.
pub(crate) const CRATES: u32 = 80;
/// Until all units are where they should be.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between the last unit's start and the beginning of the measurement.
const SETTLE: Duration = Duration::from_secs(3);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// One measurement.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Flight {
    /// The budget, in bytes.
    pub(crate) budget: u64,
    /// Compilers that held their memory.
    pub(crate) compilers: usize,
    /// Seconds.
    pub(crate) took: f64,
    /// The driver's processor time, per cent of one core.
    pub(crate) cpu_pct: f64,
    /// The driver's memory.
    pub(crate) driver: Held,
    /// What the whole build held at most, in bytes.
    pub(crate) build: u64,
    /// Shims that waited.
    pub(crate) waiting: Held,
    /// Shims with a compiler.
    pub(crate) running: Held,
}

/// Writes the workspace.
pub(crate) fn workspace(dir: &Path) -> Result<()> {
    empty(dir)?;
    let write = |path: &Path, text: &str| {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    };
    write(&dir.join("Cargo.toml"), "[workspace]\nresolver = \"2\"\nmembers = [\"u*\"]\n")?;
    for number in 0..CRATES {
        let name = format!("u{number:02}");
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
        write(&dir.join(&name).join("Cargo.toml"), &manifest)?;
        write(&dir.join(&name).join("src/lib.rs"), "")?;
    }
    Ok(())
}

/// Builds with `jobs` at once inside `budget`, and watches the driver for `seconds`.
pub(crate) fn measure(
    scene: &CostScene<'_>,
    budget: u64,
    jobs: u32,
    seconds: u64,
) -> Result<Flight> {
    empty(&scene.hold())?;
    empty(&scene.target())?;
    let args: [OsString; 7] = [
        "plimsoll".into(),
        "--memory".into(),
        format!("{budget}B").into(),
        "--jobs".into(),
        jobs.to_string().into(),
        "build".into(),
        "--offline".into(),
    ];
    let mut session = Session::start(&scene.build(args.into(), Vec::new()), scene)?;
    wait_for_units(&mut session, scene, jobs)?;
    session.pause(SETTLE)?;
    let pid = session.pid()?;
    let before = cpu(pid)?;
    let start = Instant::now();
    let mut flight = Flight {
        budget,
        compilers: 0,
        took: 0.0,
        cpu_pct: 0.0,
        driver: Held::default(),
        build: 0,
        waiting: Held::default(),
        running: Held::default(),
    };
    while start.elapsed() < Duration::from_secs(seconds) {
        session.pause(LOOK)?;
        flight.driver.take(memory(pid).context("reading the driver's memory")?);
        flight.build = flight.build.max(tree::memory(&tree::descendants()));
    }
    flight.took = start.elapsed().as_secs_f64();
    flight.cpu_pct = 100.0 * (cpu(pid)? - before) / flight.took;
    flight.compilers = compilers(scene);
    let shims: Vec<i32> = tree::descendants()
        .into_iter()
        .filter(|pid| tree::name(*pid).is_some_and(|name| name == "plimsoll-rustc"))
        .collect();
    (flight.waiting, flight.running) = held(&shims);
    let release = scene.hold().join(RELEASE);
    fs::write(&release, "").with_context(|| format!("writing {}", release.display()))?;
    session.finish()?;
    Ok(flight)
}

fn wait_for_units(session: &mut Session<'_>, scene: &CostScene<'_>, jobs: u32) -> Result<()> {
    let start = Instant::now();
    while compilers(scene) < jobs as usize {
        if start.elapsed() > PATIENCE {
            bail!("of {jobs} units only {} were ever in flight", compilers(scene));
        }
        session.pause(Duration::from_millis(100))?;
    }
    Ok(())
}

/// How many compilers have said that they hold their memory.
fn compilers(scene: &CostScene<'_>) -> usize {
    fs::read_dir(scene.hold()).map_or(0, Iterator::count)
}

/// A build of `cost`. Nothing of it outlives this value.
pub(crate) struct Session<'a> {
    child: Child,
    interrupt: &'a Interrupt,
    log: std::path::PathBuf,
}

impl<'a> Session<'a> {
    /// Starts it.
    pub(crate) fn start(build: &Build, scene: &CostScene<'a>) -> Result<Self> {
        let log = scene.dir.join("log");
        let file = fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let child = build
            .command(&[])?
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {}", build.display()))?;
        Ok(Self { child, interrupt: scene.interrupt, log })
    }

    fn pid(&self) -> Result<i32> {
        i32::try_from(self.child.id()).context("reading the driver's process id")
    }

    /// Lets it run on for a while.
    fn pause(&mut self, time: Duration) -> Result<()> {
        std::thread::sleep(time);
        self.interrupt.check()?;
        if let Some(status) = self.child.try_wait().context("watching the build")? {
            bail!("the build ended ({status}) before it was measured:\n{}", self.said());
        }
        Ok(())
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn finish(mut self) -> Result<()> {
        let status = loop {
            if let Some(status) = self.child.try_wait().context("waiting for the build")? {
                break status;
            }
            self.interrupt.check()?;
            std::thread::sleep(Duration::from_millis(200));
        };
        if !status.success() {
            bail!("the build failed ({status}):\n{}", self.said());
        }
        Ok(())
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        Scope::Tree.end_all();
        reap_orphans();
    }
}

/// A process's own processor time in seconds, all threads.
fn cpu(pid: i32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let fields: Vec<f64> = text
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split(' ').skip(11).take(2).flat_map(str::parse).collect())
        .unwrap_or_default();
    match fields[..] {
        #[expect(clippy::cast_precision_loss, reason = "a hundred ticks a second")]
        [user, system] => {
            Ok((user + system) / rustix::param::clock_ticks_per_second().max(1) as f64)
        }
        _ => bail!("{path} is not as proc(5) says"),
    }
}
