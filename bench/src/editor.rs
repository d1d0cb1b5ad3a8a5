//! `editor`: rust-analyzer is opened on a workload and files are saved in it, while a build runs beside it in the same
//! cgroup limit. How long after a save does the first compiler of its check run, and does everything end?
//!
//! The editor's checks go to a target directory of their own (`cargo.targetDir`), as one would set it: Cargo itself lets
//! nobody check where somebody builds.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use plimsoll_rig::account::Account;
use plimsoll_rig::cgroup::{CgroupLimit, Group};
use plimsoll_rig::launch::{Build, Interrupt, create, stderr_of};
use plimsoll_rig::programs::{self, Plimsoll};
use plimsoll_rig::report::{Report, commit, machine};
use plimsoll_rig::sampler::{INTERVAL, Sampler, Scope, Totals, reap_orphans};
use plimsoll_rig::tree;
use plimsoll_rig::workload::Workload;
use serde_json::{Value, json};

use crate::lsp::{Server, uri};
use crate::running::{Running, watch};

/// What is promised: so long after a save the check's first compiler runs, at most.
const PROMPT: Duration = Duration::from_secs(2);

/// Units at once of the plain Cargo beside it.
const JOBS: u32 = 2;

/// The build runs so long before the editor is opened.
const BEFORE: Duration = Duration::from_secs(3);

/// Between the end of a check and the next save.
const BETWEEN: Duration = Duration::from_secs(2);

/// Nothing here takes longer.
const AT_MOST: Duration = Duration::from_secs(1200);

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The language server's program.
    pub(crate) server: PathBuf,
    /// The workspace that it is opened on.
    pub(crate) workload: String,
    /// The workspace that is built beside it.
    pub(crate) build: String,
    /// The cgroup limit around both, in bytes.
    pub(crate) cgroup_limit: u64,
    /// How often a file is saved.
    pub(crate) saves: u32,
    /// Plain Cargo and Plimsoll, or Plimsoll alone.
    pub(crate) plain: bool,
}

/// From asking for a check until its first compiler runs, and until it ends.
#[derive(Clone, Copy, Debug)]
struct Check {
    begins: Option<Duration>,
    ends: Duration,
    /// The build beside it was still running.
    beside: bool,
}

struct Round {
    arm: &'static str,
    opened: Option<Check>,
    saves: Vec<Check>,
    /// What kept the editor from finishing.
    trouble: Option<String>,
    build: (Duration, bool),
    peak: u64,
    totals: Totals,
}

/// Runs it.
pub(crate) fn editor(
    state: &Path,
    sources: &Path,
    plimsoll: &Plimsoll,
    interrupt: &Interrupt,
    plan: &Plan,
) -> Result<Report> {
    let version = version(&plan.server)?;
    let mut opened = Workload::prepare(sources, state, &plan.workload, &[])?;
    opened.target = state.join("target/editor");
    let mut built = if plan.build == plan.workload {
        opened.clone()
    } else {
        Workload::prepare(sources, state, &plan.build, &[])?
    };
    built.target = state.join("target/editor-build");
    let account = Account::make(state, plimsoll)?;
    let mut rounds = Vec::new();
    let arms = [(plan.plain, "plain cargo", None), (true, "after `enable`", Some(&account))];
    for (_, arm, account) in arms.into_iter().filter(|(wanted, ..)| *wanted) {
        let scene = Scene { opened: &opened, built: &built, account, state, plan };
        let round = scene.round(arm, interrupt)?;
        println!(
            "  {arm}: build {:.1} s ({}), saves {:?}, {} OOM kills{}",
            round.build.0.as_secs_f64(),
            if round.build.1 { "ok" } else { "failed" },
            round.saves.iter().map(|save| seconds(save.begins)).collect::<Vec<_>>(),
            round.totals.oom_kills.unwrap_or(0),
            round.trouble.as_ref().map(|why| format!("; {why}")).unwrap_or_default(),
        );
        rounds.push(round);
    }
    Ok(report(plan, &version, &rounds))
}

/// What the program says it is. (rustup puts a program of that name everywhere, which only says that there is none.)
fn version(server: &Path) -> Result<String> {
    let output = Command::new(server)
        .arg("--version")
        .output()
        .with_context(|| format!("starting {}", server.display()))?;
    if !output.status.success() {
        bail!(
            "`{} --version` failed: {}Name another one with --rust-analyzer; `cargo install ra_ap_rust-analyzer` makes one",
            server.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

struct Scene<'a> {
    opened: &'a Workload,
    built: &'a Workload,
    account: Option<&'a Account>,
    state: &'a Path,
    plan: &'a Plan,
}

impl Scene<'_> {
    fn round(&self, arm: &'static str, interrupt: &Interrupt) -> Result<Round> {
        self.opened.clean()?;
        self.built.clean()?;
        let cgroup_limit = CgroupLimit { bytes: self.plan.cgroup_limit, swap: false };
        let scope = Scope::Group(
            Group::make(Some(cgroup_limit)).context("a cgroup limit needs a memory cgroup")?,
        );
        let Scope::Group(group) = &scope else { bail!("no group") };
        let entrances = group.entrances();
        let log = |name: &str| self.state.join("logs").join(format!("editor-{name}"));
        let mut sampler = Sampler::start(&scope);
        let mut build = programs::plain(self.built, JOBS);
        build.env.extend(self.environment());
        let mut running = [Running::start("build", &build, &entrances, &log("build"))?];
        let began = sampler.elapsed();
        let mut edited = Edited { opened: None, saves: Vec::new() };
        let done = watch(&mut running, &scope, &mut sampler, BEFORE, interrupt).and_then(|()| {
            let mut command = self.server().command(&entrances)?;
            command.stderr(create(&stderr_of(&log("server")))?);
            let mut turn = Turn {
                server: Server::start(command, &self.opened.dir, settings())?,
                scope: &scope,
                sampler: &mut sampler,
                sampled: Instant::now(),
                build: &mut running[0],
                interrupt,
                loaded: false,
                log: create(&log("server"))?,
            };
            self.edit(&mut turn, &mut edited)
        });
        // The editor's end is told; the build's is waited for.
        let trouble = done.err().map(|error| format!("{error:#}"));
        let watched = watch(&mut running, &scope, &mut sampler, AT_MOST, interrupt);
        let now = sampler.elapsed();
        let totals = sampler.totals(&scope, now);
        running[0].end();
        scope.end_all();
        reap_orphans();
        watched?;
        let took = running[0].took.unwrap_or(now).saturating_sub(began);
        let build = (took, running[0].ended == Some(true));
        let Edited { opened, saves } = edited;
        Ok(Round { arm, opened, saves, trouble, build, peak: sampler.peak, totals })
    }

    fn environment(&self) -> Vec<(String, std::ffi::OsString)> {
        self.account.map(Account::environment).into_iter().flatten().collect()
    }

    fn server(&self) -> Build {
        let mut env = self.environment();
        env.push(("CARGO_TARGET_DIR".to_owned(), self.opened.target.clone().into()));
        Build {
            program: self.plan.server.clone().into(),
            args: Vec::new(),
            env,
            dir: self.opened.dir.clone(),
            one_token: false,
            small_pages: false,
        }
    }

    /// Opens the workspace, waits for the check that this brings, then saves a file again and again.
    fn edit(&self, turn: &mut Turn<'_>, edited: &mut Edited) -> Result<()> {
        edited.opened = Some(turn.check()?);
        let file = ["src/main.rs", "src/lib.rs"].map(|name| self.opened.dir.join(name));
        let file =
            file.iter().find(|file| file.exists()).context("no src/main.rs or src/lib.rs")?;
        let text = fs::read_to_string(file).context("reading the file to save")?;
        let document = json!({"uri": uri(file), "languageId": "rust", "version": 0, "text": text});
        turn.server.notify("textDocument/didOpen", &json!({"textDocument": document}))?;
        for version in 1..=self.plan.saves {
            turn.rest(BETWEEN)?;
            let text = format!("{text}\n// {version}\n");
            fs::write(file, &text).context("saving")?;
            let change = json!({
                "textDocument": {"uri": uri(file), "version": version},
                "contentChanges": [{"text": text}],
            });
            turn.server.notify("textDocument/didChange", &change)?;
            let saved = json!({"textDocument": {"uri": uri(file)}});
            turn.server.notify("textDocument/didSave", &saved)?;
            edited.saves.push(turn.check()?);
        }
        Ok(())
    }
}

struct Edited {
    opened: Option<Check>,
    saves: Vec<Check>,
}

/// What rust-analyzer is told, beside what it does by itself.
fn settings() -> Value {
    json!({"cargo": {"targetDir": true}, "checkOnSave": true})
}

/// Everything that is looked at while the editor waits.
struct Turn<'a> {
    server: Server,
    scope: &'a Scope,
    sampler: &'a mut Sampler,
    sampled: Instant,
    build: &'a mut Running,
    interrupt: &'a Interrupt,
    /// The server has the workspace.
    loaded: bool,
    log: fs::File,
}

impl Turn<'_> {
    fn hear(&mut self) -> Result<Option<Value>> {
        self.interrupt.check()?;
        if self.sampled.elapsed() >= INTERVAL {
            self.sampled = Instant::now();
            self.sampler.sample(self.scope);
            self.build.look(self.sampler.elapsed())?;
        }
        self.server.hear(Duration::from_millis(5))
    }

    fn rest(&mut self, time: Duration) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < time {
            self.hear()?;
        }
        Ok(())
    }

    /// The compilers that run for the editor now.
    fn compilers(&self) -> HashSet<i32> {
        let parents = tree::parents();
        let root = self.server.id();
        let is_ours = |pid: i32| {
            std::iter::successors(Some(pid), |pid| parents.get(pid).copied())
                .take(64)
                .any(|above| above == root)
        };
        let candidates = parents.keys().copied().filter(|pid| is_ours(*pid));
        candidates.filter(|pid| tree::compiler_or_linker(*pid) == Some("rustc")).collect()
    }

    /// From now until the end of the check that was just asked for; where the server has the workspace still to load,
    /// of the first check after that. A check that ends before a compiler has run for it was only replaced by another.
    fn check(&mut self) -> Result<Check> {
        let asked = Instant::now();
        let before = self.compilers();
        let beside = self.build.ended.is_none();
        let (mut begins, mut checks) = (None, false);
        while asked.elapsed() < AT_MOST {
            if let Some(message) = self.hear()? {
                self.note(asked, &message);
                self.loaded |= is_quiescent(&message);
                match check_progress(&message) {
                    Some("begin") => checks = self.loaded,
                    Some("end") if checks && begins.is_some() => {
                        return Ok(Check { begins, ends: asked.elapsed(), beside });
                    }
                    _ => {}
                }
            }
            if begins.is_none() && !self.compilers().is_subset(&before) {
                begins = Some(asked.elapsed());
            }
        }
        bail!("no check ended in {} s", AT_MOST.as_secs())
    }

    /// Writes what the server said of its progress into the log.
    fn note(&mut self, asked: Instant, message: &Value) {
        let params = &message["params"];
        let line = match message["method"].as_str() {
            Some("$/progress") if params["value"]["kind"] != "report" => {
                format!("{} {}", params["token"], params["value"])
            }
            Some("experimental/serverStatus") => params.to_string(),
            _ => return,
        };
        // What is for people who look for a mistake here keeps nothing from being measured.
        let _ = writeln!(self.log, "{:.2} {line}", asked.elapsed().as_secs_f64());
    }
}

/// rust-analyzer tells the progress of its checks under tokens with this word.
fn check_progress(message: &Value) -> Option<&str> {
    let params = &message["params"];
    let token = params["token"].as_str().filter(|_| message["method"] == "$/progress")?;
    token.contains("flycheck").then(|| params["value"]["kind"].as_str())?
}

/// The workspace is loaded, its build scripts and procedural macros with it.
fn is_quiescent(message: &Value) -> bool {
    message["method"] == "experimental/serverStatus" && message["params"]["quiescent"] == true
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or("?".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
}

fn report(plan: &Plan, version: &str, rounds: &[Round]) -> Report {
    let mut command = format!(
        "editor --workload {} --build {} --cgroup-limit {}MiB --saves {}",
        plan.workload,
        plan.build,
        plan.cgroup_limit >> 20,
        plan.saves
    );
    if plan.plain {
        command.push_str(" --plain");
    }
    let row = |round: &Round| {
        let slowest = round.saves.iter().filter_map(|save| save.begins).max();
        let beside = round.saves.iter().filter(|save| save.beside).count();
        let psi = round.totals.psi_full_pct.map_or("?".to_owned(), |it| format!("{it:.1}%"));
        format!(
            "| {} | {} ({}) | {} | {} of {}, {beside} beside the build | {} | {} | {} | {} MiB | {psi} |\n",
            round.arm,
            seconds(round.opened.and_then(|it| it.begins)),
            seconds(round.opened.map(|it| it.ends)),
            seconds(slowest),
            round.saves.len(),
            plan.saves,
            seconds(round.saves.iter().map(|save| save.ends).max()),
            if round.build.1 { seconds(Some(round.build.0)) } else { "failed".to_owned() },
            round.totals.oom_kills.map_or("?".to_owned(), |kills| kills.to_string()),
            round.peak >> 20,
        )
    };
    let rows: String = rounds.iter().map(row).collect();
    let body = format!(
        "`plimsoll-bench {command}`\n\ncommit {} · {} · {version}\n\nrust-analyzer opened on `{}`, `cargo build` of `{}` beside it, one cgroup limit \
         around both (and rust-analyzer's own memory).\n\n| | opened: first compiler after (check ended after) | saved: first compiler after, slowest | checks | a save's check ended after, slowest | build | OOM kills | peak | PSI full |\n\
         |---|---|---|---|---|---|---|---|---|\n{rows}",
        commit(),
        machine(),
        plan.workload,
        plan.build,
    );
    let check = |check: &Check| {
        json!({
            "begins_s": check.begins.map(|it| it.as_secs_f64()), "ends_s": check.ends.as_secs_f64(),
            "beside_the_build": check.beside,
        })
    };
    let json = |round: &Round| {
        json!({
            "arm": round.arm, "opened": round.opened.as_ref().map(check),
            "saves": round.saves.iter().map(check).collect::<Vec<_>>(), "trouble": round.trouble,
            "build_wall_s": round.build.0.as_secs_f64(), "build_ok": round.build.1,
            "peak_bytes": round.peak, "oom_kills": round.totals.oom_kills,
            "psi_full_pct": round.totals.psi_full_pct,
        })
    };
    let well = |round: &Round| {
        let prompt = |save: &Check| save.begins.is_some_and(|begins| begins <= PROMPT);
        round.build.1
            && round.trouble.is_none()
            && round.saves.len() == plan.saves as usize
            && round.saves.iter().all(prompt)
            && round.totals.oom_kills.unwrap_or(0) == 0
    };
    Report {
        title: format!(
            "Editor: rust-analyzer on `{}` beside a build of `{}` in a cgroup limit of {} MiB",
            plan.workload,
            plan.build,
            plan.cgroup_limit >> 20
        ),
        body,
        json: json!({
            "command": command, "cgroup_limit_bytes": plan.cgroup_limit, "commit": commit(), "server": version,
            "rounds": rounds.iter().map(json).collect::<Vec<_>>(),
        }),
        // What plain Cargo does promises nothing.
        ok: rounds.last().is_some_and(well),
    }
}
