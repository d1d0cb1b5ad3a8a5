//! `cargo plimsoll worker build`: a Cloudflare Worker, from its sources to what wrangler deploys.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_cargo::CargoConfig;
use plimsoll_cargo::Jobs;
use plimsoll_core::Bytes;
use plimsoll_view::percent;
use plimsoll_worker::output::{self, Limits, Piece};
use plimsoll_worker::project::{Kind, Packing, Project};
use plimsoll_worker::steps::{self, Pack};
use plimsoll_worker::tools::{self, Found, Missing, Tool};
use plimsoll_worker::{TARGET, rustc};

use crate::cargo_args::CargoCall;
use crate::cli::WorkerOptions;
use crate::drive::{self, Foreign, Pipeline, PipelineTool};
use crate::env::Environment;
use crate::exit::Failure;
use crate::plain;
use crate::settings::Settings;
use crate::shell::Shell;

/// A Worker's build, of which all that it needs is there.
#[derive(Debug)]
pub struct WorkerBuild<'a> {
    options: &'a WorkerOptions,
    project: Project,
    packing: Packing,
    cargo: CargoCall,
    tools: Vec<Found>,
    /// The directory of the package's own JavaScript.
    glue: Option<PathBuf>,
    /// Where the output goes.
    directory: PathBuf,
}

impl<'a> WorkerBuild<'a> {
    /// Finds the package and its tools.
    ///
    /// # Errors
    /// Where no package is meant, or something that is needed is missing or does not fit: all of it, each with the command
    /// that puts it right.
    pub fn prepare(
        options: &'a WorkerOptions,
        environment: &Environment,
        cwd: &Path,
        globals: &[OsString],
    ) -> Result<Self, Failure> {
        let bad = |error: anyhow::Error| Failure::BadWorker(format!("{error:#}"));
        let project =
            Project::find(environment, cwd, globals, options.package.as_deref()).map_err(bad)?;
        let profile = options.profile();
        let packing = project.profiles.get(profile).cloned().unwrap_or_default();
        let cargo = cargo(&project, profile, options, globals)?;
        let glue = glue(&project, options)?;
        let wanted = wanted(&project, &packing, options);
        let (mut tools, mut missing) = (Vec::new(), Vec::new());
        let config = CargoConfig::read(environment, &project.directory, &project.directory, &[]);
        let mut compilers = vec![config.rustc.map_or_else(|| "rustc".into(), |given| given.value)];
        if matches!(project.kind, Kind::Worker(_)) {
            // It asks this one, whatever Cargo is told.
            compilers.push(PathBuf::from("rustc"));
        }
        compilers.dedup();
        missing.extend(
            compilers.iter().filter_map(|it| rustc::missing(it, environment, &project.directory)),
        );
        for tool in wanted {
            match tools::find(tool, environment, &project.directory) {
                Ok(found) => tools.push(found),
                Err(what) => missing.push(what),
            }
        }
        if !missing.is_empty() {
            return Err(Failure::BadWorker(complaint(&project, &missing)));
        }
        let usual = if project.kind == Kind::Pack { "pkg" } else { "build" };
        let directory = options.out_dir.clone().unwrap_or_else(|| usual.into());
        let directory = project.directory.join(directory);
        Ok(Self { options, project, packing, cargo, tools, glue, directory })
    }

    /// The `-j` among Cargo's arguments.
    #[must_use]
    pub fn jobs(&self) -> Option<Jobs> {
        self.cargo.jobs
    }

    /// Builds it; gives the exit status.
    ///
    /// # Errors
    /// Where something cannot be started, read or written.
    pub fn run(
        &self,
        settings: &Settings,
        environment: &Environment,
        shell: &mut Shell,
    ) -> Result<i32, Failure> {
        let target = self.cargo.target_dir.clone();
        let target =
            target.map_or(self.project.target.clone(), |dir| self.project.directory.join(dir));
        let module = steps::module(&target, self.options.profile(), &self.project.library);
        let pipeline = self.pipeline(settings, environment);
        match self.project.kind {
            Kind::Worker(_) => {
                let program = self.program(|tool| matches!(tool, Tool::WorkerBuild(_)))?;
                let command = Foreign::pipeline(program.into(), self.words(), pipeline);
                let exit = drive::run_pipeline(&command, settings, environment, shell)?;
                if exit != 0 {
                    return Ok(exit);
                }
            }
            Kind::Pack => {
                let stage = stage(&target, &self.project)?;
                let name = self.options.out_name.as_deref().unwrap_or(&self.project.library);
                let pack = Pack {
                    project: &self.project,
                    packing: &self.packing,
                    dev: self.options.profile() == "dev",
                    optimize: !self.options.no_opt,
                    name,
                    module: &module,
                    stage: &stage,
                };
                let own = std::env::current_exe().context("cannot tell where Plimsoll is")?;
                let words = pack.words(&plain::cargo(&self.cargo, environment));
                let command = Foreign::pipeline(own.into(), words, pipeline);
                let exit = drive::run_pipeline(&command, settings, environment, shell)?;
                if exit != 0 {
                    return Ok(exit);
                }
                let glue = self.glue.as_deref();
                let replaced = output::publish(&self.project, name, &stage, glue, &self.directory)?;
                for file in replaced {
                    shell.note(format_args!(
                        "  {} comes from your package and replaces the file of wasm-bindgen",
                        file.display()
                    ));
                }
                let _ = fs::remove_dir_all(&stage);
            }
        }
        self.report(&target, &module, shell)?;
        Ok(0)
    }

    /// worker-build's arguments. What follows the package's directory, a word that is no option, is Cargo's.
    fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = match self.options.profile() {
            "dev" => vec!["--dev".into()],
            "release" => vec!["--release".into()],
            name => vec!["--profile".into(), name.into()],
        };
        if let Some(directory) = &self.options.out_dir {
            words.extend(["--out-dir".into(), directory.into()]);
        }
        words.extend(self.options.no_opt.then(|| OsString::from("--no-opt")));
        words.push(".".into());
        words.extend(self.more());
        words
    }

    /// What Cargo is asked for besides.
    fn more(&self) -> impl Iterator<Item = OsString> {
        self.cargo.args.iter().skip(BEFORE_MORE).cloned()
    }

    fn pipeline(&self, settings: &Settings, environment: &Environment) -> Pipeline {
        let tools = self.tools.iter().filter_map(|found| {
            let variable = found.tool.variable()?;
            Some(PipelineTool { name: found.tool.name(), variable, program: found.program.clone() })
        });
        // Binaryen takes a thread for each processor, whatever the user has said of jobs.
        let threads = settings.jobs.value.min(settings.processors.value).max(1);
        let cores = ("BINARYEN_CORES", threads.to_string());
        let cores = Some(cores).filter(|(name, _)| environment.get(name).is_none());
        Pipeline {
            name: match self.project.kind {
                Kind::Worker(_) => "worker-build".to_owned(),
                Kind::Pack => "worker build".to_owned(),
            },
            directory: self.project.directory.clone(),
            cargo: self.cargo.clone(),
            package: (self.project.name.clone(), self.project.version.clone()),
            tools: tools.collect(),
            environment: cores
                .map(|(name, value)| (name.to_owned(), value.into()))
                .into_iter()
                .collect(),
        }
    }

    fn program(&self, is: impl Fn(&Tool) -> bool) -> anyhow::Result<PathBuf> {
        let found = self.tools.iter().find(|found| is(&found.tool));
        found.map(|found| found.program.clone()).context("a tool that was found is not there")
    }

    /// What was made, and what it weighs.
    fn report(&self, target: &Path, module: &Path, shell: &mut Shell) -> anyhow::Result<()> {
        let pieces = output::pieces(&self.directory)?;
        let compiled = fs::metadata(module).map(|it| Bytes(it.len())).unwrap_or_default();
        for line in table(&pieces, compiled) {
            shell.note(line);
        }
        for warning in above_limits(&pieces) {
            shell.warn(warning);
        }
        if let Some(named) = &self.options.zip {
            let usual = || target.join(format!("{}-worker.zip", self.project.name));
            let to = named.clone().unwrap_or_else(usual);
            let bytes = output::archive(&pieces, &self.directory, &self.project, &to)?;
            shell.note(format_args!("  {}: {}", to.display(), kib(bytes)));
        }
        Ok(())
    }
}

/// So many arguments stand before those of the user's own.
const BEFORE_MORE: usize = 7;

/// What Cargo is asked to do: the words that worker-build and our own steps use, too.
fn cargo(
    project: &Project,
    profile: &str,
    options: &WorkerOptions,
    globals: &[OsString],
) -> Result<CargoCall, Failure> {
    let mut words: Vec<OsString> = vec!["build".into(), "--manifest-path".into()];
    words.push(project.manifest.clone().into());
    words.extend(["--lib".into(), "--profile".into(), profile.into()]);
    words.extend(["--target".into(), TARGET.into()]);
    words.extend(options.args.iter().cloned());
    let (call, _) = CargoCall::read(globals.to_vec(), &words, &BTreeMap::new())?;
    Ok(call)
}

/// The directory of the package's own JavaScript.
fn glue(project: &Project, options: &WorkerOptions) -> Result<Option<PathBuf>, Failure> {
    let directory = project.directory.join(options.glue.as_deref().unwrap_or(Path::new("js")));
    match (directory.is_dir(), &options.glue) {
        (true, _) => Ok(Some(directory)),
        (false, None) => Ok(None),
        (false, Some(_)) => Err(Failure::BadWorker(format!(
            "`--glue`: `{}` is not a directory",
            directory.display()
        ))),
    }
}

/// The tools that the build needs.
fn wanted(project: &Project, packing: &Packing, options: &WorkerOptions) -> Vec<Tool> {
    let optimizes = packing.wasm_opt_words(options.profile() == "dev").is_some() && !options.no_opt;
    let mut wanted = Vec::new();
    if let Kind::Worker(library) = &project.kind {
        wanted.extend([Tool::WorkerBuild(library.clone()), Tool::Esbuild]);
    }
    wanted.push(Tool::WasmBindgen(project.bindgen.clone()));
    wanted.extend(optimizes.then_some(Tool::WasmOpt));
    wanted
}

fn complaint(project: &Project, missing: &[Missing]) -> String {
    let mut text = format!("`{}` cannot be built yet; nothing was started", project.name);
    for Missing { what, install } in missing {
        text.push_str(&format!("\n  {what}:\n    {install}"));
    }
    text
}

/// The directory in which a packed crate's output is put together, empty.
fn stage(target: &Path, project: &Project) -> anyhow::Result<PathBuf> {
    let stage = target.join("plimsoll-worker").join(&project.name);
    let cleared = match fs::remove_dir_all(&stage) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        cleared => cleared,
    };
    let made = cleared.and_then(|()| fs::create_dir_all(&stage));
    made.with_context(|| format!("cannot make the directory `{}`", stage.display()))?;
    Ok(stage)
}

fn kib(bytes: Bytes) -> String {
    format!("{:.0} KiB", bytes.0 as f64 / 1024.0)
}

/// The lines about the output. `compiled` is the module as Cargo wrote it.
fn table(pieces: &[Piece], compiled: Bytes) -> Vec<String> {
    let mut lines = Vec::new();
    let modules = pieces.iter().filter(|it| it.name.extension().is_some_and(|it| it == "wasm"));
    for piece in modules {
        let before = if compiled == Bytes::ZERO {
            String::new()
        } else {
            format!("{} compiled, ", kib(compiled))
        };
        lines.push(format!("  {}: {before}{} packed", piece.name.display(), kib(piece.bytes)));
    }
    let (whole, compressed) = weigh(pieces);
    let share = |limit: Bytes| percent(compressed.share_of(limit));
    lines.push(format!(
        "  Worker: {} in {} files, {} compressed ({} of the 3 MiB of a free plan, {} of the 10 MiB of a paid plan)",
        kib(whole),
        pieces.len(),
        kib(compressed),
        share(Limits::FREE),
        share(Limits::PAID),
    ));
    lines
}

/// Uncompressed, and compressed.
fn weigh(pieces: &[Piece]) -> (Bytes, Bytes) {
    (pieces.iter().map(|it| it.bytes).sum(), pieces.iter().map(|it| it.compressed).sum())
}

fn above_limits(pieces: &[Piece]) -> Vec<String> {
    let (whole, compressed) = weigh(pieces);
    let mut warnings = Vec::new();
    if whole > Limits::WHOLE {
        warnings.push(format!(
            "this Worker has {} uncompressed; Cloudflare accepts at most 64 MiB",
            kib(whole)
        ));
    }
    if compressed > Limits::PAID {
        let compressed = kib(compressed);
        warnings.push(format!(
            "this Worker has {compressed} compressed; Cloudflare accepts at most 10 MiB on a paid plan"
        ));
    } else if compressed > Limits::FREE {
        let compressed = kib(compressed);
        warnings.push(format!(
            "this Worker has {compressed} compressed, so it needs a paid plan; a free plan accepts at most 3 MiB"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(name: &str, bytes: u64, compressed: u64) -> Piece {
        Piece { name: name.into(), bytes: Bytes(bytes), compressed: Bytes(compressed) }
    }

    #[test]
    fn what_is_too_large_is_said_for_the_plan_that_it_is_too_large_for() {
        let warned =
            |bytes, compressed| above_limits(&[piece("a.wasm", bytes, compressed)]).join("; ");
        assert_eq!(warned(1 << 20, 1 << 19), "");
        assert!(warned(9 << 20, 4 << 20).contains("needs a paid plan"));
        assert!(warned(40 << 20, 11 << 20).contains("10 MiB on a paid plan"));
        assert!(warned(65 << 20, 2 << 20).contains("at most 64 MiB"));
    }

    #[test]
    fn the_table_has_each_module_before_and_after() {
        let lines =
            table(&[piece("index.js", 2048, 1024), piece("i_bg.wasm", 4096, 2048)], Bytes(1 << 20));
        assert_eq!(lines[0], "  i_bg.wasm: 1024 KiB compiled, 4 KiB packed");
        assert!(
            lines[1].starts_with("  Worker: 6 KiB in 2 files, 3 KiB compressed (0."),
            "{}",
            lines[1]
        );
    }
}
