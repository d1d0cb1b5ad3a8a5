//! The compiler that `cost` builds with: this program under the name `rustc`. It exits at once, or holds some memory
//! until a file appears. Cargo's questions it passes to the real compiler; it compiles nothing.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Names the real compiler, for Cargo's questions.
pub(crate) const REAL: &str = "PLIMSOLL_BENCH_RUSTC";
/// Names the folder in which a compiler says that it holds its memory, and where it looks for [`RELEASE`]. Not set: it
/// exits at once and writes nothing.
pub(crate) const HOLD: &str = "PLIMSOLL_BENCH_HOLD";
/// The file on which all of them end.
pub(crate) const RELEASE: &str = "release";

/// Held from the beginning.
const FIRST: usize = 4 << 20;
/// Held at most.
const MOST: usize = 64 << 20;
/// How much comes with each [`STEP`]: slow enough for minutes, so that each sample sees something new.
const GROWTH: usize = 16 << 10;
/// How often it grows and looks whether it may end.
const STEP: Duration = Duration::from_millis(100);
/// Nothing waits longer than this for a benchmark that was killed.
const LONGEST: Duration = Duration::from_secs(600);
/// A page, or a part of one.
const PAGE: usize = 4096;

/// Under the name `rustc`.
pub(crate) fn main() -> Result<ExitCode> {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    if args.iter().any(|arg| arg == "-vV" || arg == "___") {
        let real = std::env::var_os(REAL).context("no real compiler is named")?;
        return Err(Command::new(real).args(&args).exec()).context("starting the real compiler");
    }
    let (Some(unit), Some(hold)) = (Unit::of(&args), std::env::var_os(HOLD)) else {
        return Ok(ExitCode::SUCCESS);
    };
    unit.hold(Path::new(&hold))?;
    unit.write()?;
    Ok(ExitCode::SUCCESS)
}

/// What is to be compiled.
struct Unit {
    name: String,
    /// `-C extra-filename`.
    extra: String,
    out_dir: PathBuf,
}

impl Unit {
    fn of(args: &[String]) -> Option<Self> {
        let after = |name: &str| {
            let at = args.iter().position(|arg| arg == name)?;
            args.get(at + 1).cloned()
        };
        let extra = args.iter().find_map(|arg| arg.strip_prefix("extra-filename="));
        Some(Self {
            name: after("--crate-name")?,
            extra: extra.unwrap_or_default().to_owned(),
            out_dir: after("--out-dir")?.into(),
        })
    }

    fn hold(&self, dir: &Path) -> Result<()> {
        let mut memory = vec![0_u8; MOST];
        let mut held = 0;
        let start = Instant::now();
        while start.elapsed() < LONGEST {
            let aim = if held == 0 { FIRST } else { (held + GROWTH).min(MOST) };
            memory[held..aim].iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
            std::hint::black_box(&mut memory);
            if held == 0 {
                let said = dir.join(&self.name);
                fs::write(&said, "").with_context(|| format!("writing {}", said.display()))?;
            }
            held = aim;
            if dir.join(RELEASE).exists() {
                break;
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    /// Files for Cargo's eyes, and the announcement of the metadata.
    #[expect(clippy::print_stderr, reason = "Cargo reads a compiler's standard error")]
    fn write(&self) -> Result<()> {
        let of = |name: String| self.out_dir.join(name);
        let library = of(format!("lib{}{}.rlib", self.name, self.extra));
        let metadata = library.with_extension("rmeta");
        let dep_info = of(format!("{}{}.d", self.name, self.extra));
        let rule = format!("{}:\n", library.display());
        for (path, text) in [(&metadata, ""), (&library, ""), (&dep_info, rule.as_str())] {
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        for (path, emit) in [(&dep_info, "dep-info"), (&metadata, "metadata"), (&library, "link")] {
            let said = serde_json::json!(
                { "$message_type": "artifact", "artifact": path.to_string_lossy(), "emit": emit }
            );
            eprintln!("{said}");
        }
        Ok(())
    }
}
