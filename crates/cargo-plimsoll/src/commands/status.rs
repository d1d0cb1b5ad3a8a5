//! `cargo plimsoll status [--json]`: whether plain `cargo` is inside the account's budget, and whether it is here.
//!
//! "Here" is the working directory with this environment: Cargo prefers variables and a workspace's own
//! configuration to the account's. Each such obstacle is named with what to do about it. The exit status is 0
//! whatever the answer is: a script reads `--json`.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use plimsoll_cargo::{CargoConfig, Given, Origin};
use plimsoll_core::Bytes;
use plimsoll_core::settings::Memory;
use plimsoll_proto::Enabled;
use plimsoll_setup::Obstacle;
use plimsoll_shim::discovery;
use plimsoll_view::Snapshot;
use serde_json::{Value, json};

use crate::account::Account;
use crate::commands::settings::budget_now;
use crate::commands::top::account_builds;
use crate::env::Environment;
use crate::exit::{Failure, OUT};
use crate::plimsoll_toml;
use crate::settings::Settings;
use crate::shell::Shell;
use crate::shims::Shims;

/// The form of the JSON; the number changes where a reader would misunderstand it.
const FORMAT: u32 = 1;

/// Answers.
///
/// # Errors
/// Where a home is not known or stdout cannot be written.
pub fn run(
    json: bool,
    settings: &Settings,
    environment: &Environment,
    cwd: &Path,
    shell: &mut Shell,
) -> Result<(), Failure> {
    let status = Status::find(settings, environment, cwd)?;
    let text = if json { status.json().to_string() } else { status.text() };
    Ok(shell.answer(text).context(OUT)?)
}

/// All that is said.
struct Status {
    enabled: Option<Enabled>,
    /// The account's budget, and what is kept free beside it.
    budget: (Memory, Memory),
    since_unix_ms: Option<u64>,
    obstacles: Vec<Obstacle>,
    governor: Value,
}

impl Status {
    fn find(settings: &Settings, environment: &Environment, cwd: &Path) -> Result<Self, Failure> {
        let home = settings.home.value.as_ref().ok_or(Failure::NoHome)?;
        Account::find(home, environment, cwd).ok_or(Failure::NoCargoHome)?;
        let enabled = Account::enabled(home);
        let since = enabled.as_ref().and_then(|_| Account::since(home));
        let since = since.and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
        Ok(Self {
            obstacles: obstacles(&settings.cargo, enabled.as_ref(), &Shims::named()?),
            since_unix_ms: since.and_then(|since| u64::try_from(since.as_millis()).ok()),
            governor: governor(home),
            // A file that cannot be used was warned of before.
            budget: plimsoll_toml::user(environment)
                .unwrap_or_default()
                .of_account(enabled.as_ref().map(|enabled| enabled.memory).unwrap_or_default()),
            enabled,
        })
    }

    /// Plain `cargo` compiles inside the budget here.
    fn effective(&self) -> bool {
        self.enabled.is_some() && !self.obstacles.iter().any(|found| found.tool == "rustc")
    }

    fn json(&self) -> Value {
        let enabled = self.enabled.as_ref();
        let text = |path: Option<&PathBuf>| Some(path?.to_string_lossy().into_owned());
        let obstacles: Vec<Value> = self
            .obstacles
            .iter()
            .map(|found| json!({"tool": found.tool, "what": found.what, "do": found.advice}))
            .collect();
        json!({
            "plimsoll_status": FORMAT,
            "enabled": enabled.is_some(),
            "effective": self.effective(),
            "since_unix_ms": self.since_unix_ms,
            "memory": enabled.map(|_| self.budget.0.to_string()),
            "config": text(enabled.map(|enabled| &enabled.config)),
            "wrapper": text(enabled.and_then(|enabled| enabled.wrapper.as_ref())),
            "rustdoc": text(enabled.and_then(|enabled| enabled.rustdoc.as_ref())),
            "obstacles": obstacles,
            "governor": self.governor,
        })
    }

    fn text(&self) -> String {
        let mut rows: Vec<(&str, String)> = Vec::new();
        match &self.enabled {
            None => rows.push((
                "enabled",
                "no: plain `cargo` has no memory budget (`cargo plimsoll enable` gives it one)"
                    .to_owned(),
            )),
            Some(enabled) => {
                let since = self.since_unix_ms.map(plimsoll_view::utc);
                let since = since.map(|since| format!(", since {since}")).unwrap_or_default();
                rows.push(("enabled", format!("yes{since}")));
                let (budget, reserve) = self.budget;
                let now = budget_now(budget, reserve).filter(|now| budget != Memory::Size(*now));
                let now = now.map(|now| format!(" (now {now})")).unwrap_or_default();
                rows.push(("budget", format!("{budget}{now}")));
                rows.push(("file", enabled.config.display().to_string()));
                for (tool, program) in [("rustc", &enabled.wrapper), ("rustdoc", &enabled.rustdoc)]
                {
                    if let Some(program) = program {
                        rows.push(("runs", format!("{} for {tool}, as before", program.display())));
                    }
                }
                rows.push(("governor", governor_text(&self.governor)));
                if self.effective() {
                    rows.push(("here", "plain `cargo` keeps to the budget".to_owned()));
                } else {
                    rows.push(("here", "plain `cargo` does NOT keep to the budget:".to_owned()));
                }
            }
        }
        for found in &self.obstacles {
            rows.push(("", format!("{}: {}", found.tool, found.what)));
            rows.push(("", format!("  -> {}", found.advice)));
        }
        rows.iter().map(|(name, value)| format!("{name:<10}{value}\n")).collect()
    }
}

/// What is known of the account's running governor, for `governor` in the JSON; null where none runs.
fn governor(home: &Path) -> Value {
    let Some(governing) = discovery::governing(home) else { return Value::Null };
    let builds = match account_builds(home) {
        Ok(builds) => builds,
        // Somebody listens there, and says nothing: it was stopped, or hangs.
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            return json!({ "pid": governing.pid, "answers": false });
        }
        // The file is of one that was killed.
        Err(_) => return Value::Null,
    };
    let sum = |of: fn(&Snapshot) -> u64| builds.iter().map(of).sum::<u64>();
    json!({
        "pid": governing.pid,
        "answers": true,
        "version": governing.version,
        "protocol": governing.protocol,
        "program": governing.program.to_string_lossy(),
        "builds": builds.len(),
        "running": sum(|build| build.running as u64),
        "waiting": sum(|build| build.waiting as u64),
        "used_bytes": sum(|build| build.used_bytes),
        "budget_bytes": builds.first().map(|build| build.machine_budget_bytes),
    })
}

/// The governor's own in words.
fn governor_text(governor: &Value) -> String {
    let number = |key: &str| governor[key].as_u64().unwrap_or_default();
    if governor.is_null() {
        return "not running; it starts with the next build".to_owned();
    }
    if governor["answers"] == false {
        let pid = number("pid");
        return format!(
            "process {pid} does not answer, so builds run without a memory budget; if somebody stopped it, `kill -CONT \
             {pid}` continues it"
        );
    }
    let (pid, version) = (number("pid"), governor["version"].as_str().unwrap_or_default());
    let budget = match governor["budget_bytes"].as_u64() {
        Some(budget) => format!(" of {}", Bytes(budget)),
        None => String::new(),
    };
    let builds = match number("builds") {
        0 => return format!("process {pid}, version {version}: no build runs"),
        1 => "1 build uses".to_owned(),
        builds => format!("{builds} builds use"),
    };
    format!(
        "process {pid}, version {version}: {builds} {}{budget}; {} units running, {} waiting",
        Bytes(number("used_bytes")),
        number("running"),
        number("waiting"),
    )
}

/// What keeps plain `cargo` from the shims, where `cargo` is the configuration that holds.
pub(crate) fn obstacles(
    cargo: &CargoConfig,
    enabled: Option<&Enabled>,
    shims: &Shims,
) -> Vec<Obstacle> {
    let rustc = Tool {
        name: "rustc",
        key: "build.rustc-wrapper",
        lost: "plain `cargo` has no memory budget",
    };
    let rustdoc =
        Tool { name: "rustdoc", key: "build.rustdoc", lost: "rustdoc runs outside the budget" };
    let wrapper = rustc.obstacle(cargo.rustc_wrapper.as_ref(), enabled, shims);
    wrapper.into_iter().chain(rustdoc.obstacle(cargo.rustdoc.as_ref(), enabled, shims)).collect()
}

/// One of the two programs that Cargo can be told of.
struct Tool {
    name: &'static str,
    key: &'static str,
    /// What an obstacle leads to.
    lost: &'static str,
}

impl Tool {
    fn obstacle(
        &self,
        given: Option<&Given<PathBuf>>,
        enabled: Option<&Enabled>,
        shims: &Shims,
    ) -> Option<Obstacle> {
        let (what, advice) = match (given, enabled) {
            (Some(given), _) if shims.include(&given.value) => self.our_own(given, enabled)?,
            (_, None) => return None,
            (None, Some(enabled)) => (
                format!("`{}` no longer names Plimsoll", enabled.config.display()),
                "run `cargo plimsoll enable` again, or `cargo plimsoll disable`".to_owned(),
            ),
            (Some(given), Some(enabled)) => self.anothers(given, enabled),
        };
        let what = if enabled.is_some() { format!("{what}; {}", self.lost) } else { what };
        Some(Obstacle { tool: self.name, what, advice })
    }

    /// A shim is configured: it must exist, and somebody must have enabled it.
    fn our_own(
        &self,
        given: &Given<PathBuf>,
        enabled: Option<&Enabled>,
    ) -> Option<(String, String)> {
        let program = given.value.display();
        if given.value.is_absolute() && !given.value.exists() {
            let what = format!(
                "{} names `{program}`, which does not exist, so Cargo cannot compile",
                place(given, self.key)
            );
            let advice = "run `cargo plimsoll enable`, which writes the current path, or `cargo plimsoll disable`";
            return Some((what, advice.to_owned()));
        }
        let Origin::File(file) = &given.origin else { return None };
        enabled.is_none().then(|| {
            (
                format!("`{}` names `{program}`, but Plimsoll is not enabled here", file.display()),
                "run `cargo plimsoll enable`, or `cargo plimsoll disable` with the same PLIMSOLL_HOME as \
                 when you enabled it"
                    .to_owned(),
            )
        })
    }

    /// Another program is configured, or none.
    fn anothers(&self, given: &Given<PathBuf>, enabled: &Enabled) -> (String, String) {
        let place = place(given, self.key);
        let what = if given.value.as_os_str().is_empty() {
            format!("{place} is empty, which switches the wrapper off")
        } else {
            format!("{place} is `{}`", given.value.display())
        };
        let keep = "or use `cargo plimsoll build`, which keeps to the budget anyway";
        let advice = match &given.origin {
            Origin::File(file) if *file == enabled.config => {
                "run `cargo plimsoll enable` again, which keeps it and runs it behind Plimsoll, or `cargo plimsoll disable`"
                    .to_owned()
            }
            Origin::File(_) => format!("remove it there, {keep}"),
            Origin::CommandLine => format!("omit that option, {keep}"),
            Origin::Variable(name) => format!("`unset {name}`, {keep}"),
        };
        (what, advice)
    }
}

/// Where a value is given.
fn place(given: &Given<PathBuf>, key: &str) -> String {
    match &given.origin {
        Origin::CommandLine => format!("`--config {key}`"),
        Origin::Variable(name) => format!("the environment variable {name}"),
        Origin::File(file) => format!("`{key}` in `{}`", file.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shims(dir: &Path) -> Shims {
        let shims = Shims {
            rustc: dir.join("plimsoll-rustc"),
            rustdoc: dir.join("plimsoll-rustdoc"),
            test: dir.join("plimsoll-test"),
        };
        std::fs::write(&shims.rustc, "").unwrap();
        std::fs::write(&shims.rustdoc, "").unwrap();
        shims
    }

    fn found(wrapper: Option<(&str, Origin)>, enabled: bool) -> Option<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let shims = shims(dir.path());
        let given = |(program, origin): (&str, Origin)| Given {
            value: PathBuf::from(program.replace("HERE", dir.path().to_str().unwrap())),
            origin,
        };
        let rustdoc = Given { value: shims.rustdoc.clone(), origin: config() };
        let cargo = CargoConfig {
            rustc_wrapper: wrapper.map(given),
            rustdoc: enabled.then_some(rustdoc),
            ..CargoConfig::default()
        };
        let enabled = enabled.then(|| Enabled {
            memory: Memory::Auto,
            wrapper: None,
            rustdoc: None,
            config: "/h/.cargo/config.toml".into(),
        });
        let mut found = obstacles(&cargo, enabled.as_ref(), &shims);
        assert!(found.len() <= 1, "{found:#?}");
        found.pop().map(|found| (found.what, found.advice))
    }

    fn config() -> Origin {
        Origin::File("/h/.cargo/config.toml".into())
    }

    #[test]
    fn the_governors_row_has_what_its_builds_hold_and_the_budget() {
        let said = governor_text(&json!({
            "pid": 7, "answers": true, "version": "0.1.0", "builds": 1, "running": 2,
            "waiting": 1, "used_bytes": 1u64 << 30, "budget_bytes": 2u64 << 30,
        }));
        assert_eq!(
            said,
            "process 7, version 0.1.0: 1 build uses 1.00 GiB of 2.00 GiB; 2 units running, 1 waiting"
        );
    }

    #[test]
    fn nothing_is_in_the_way_of_a_shim_that_is_there() {
        assert_eq!(found(Some(("HERE/plimsoll-rustc", config())), true), None);
        assert_eq!(found(None, false), None);
        assert_eq!(found(Some(("sccache", config())), false), None);
    }

    #[test]
    fn each_obstacle_says_what_and_what_to_do() {
        let variable = Origin::Variable;
        let workspace = Origin::File("/w/.cargo/config.toml".into());
        for (wrapper, enabled, what, advice) in [
            (
                Some(("", variable("RUSTC_WRAPPER"))),
                true,
                "RUSTC_WRAPPER is empty",
                "unset RUSTC_WRAPPER",
            ),
            (Some(("kache", variable("RUSTC_WRAPPER"))), true, "RUSTC_WRAPPER is `kache`", "unset"),
            (
                Some(("kache", variable("CARGO_BUILD_RUSTC_WRAPPER"))),
                true,
                "CARGO_BUILD_RUSTC_WRAPPER is `kache`",
                "unset CARGO_BUILD_RUSTC_WRAPPER",
            ),
            (
                Some(("kache", workspace)),
                true,
                "in `/w/.cargo/config.toml` is `kache`",
                "remove it there",
            ),
            (
                Some(("kache", config())),
                true,
                "in `/h/.cargo/config.toml` is `kache`",
                "enable` again",
            ),
            (None, true, "no longer names Plimsoll", "enable` again"),
            (Some(("/gone/plimsoll-rustc", config())), true, "does not exist", "enable"),
            (Some(("HERE/plimsoll-rustc", config())), false, "not enabled", "disable"),
        ] {
            let (said, told) = found(wrapper, enabled).unwrap();
            assert!(said.contains(what), "{said}");
            assert!(told.contains(advice), "{told}");
        }
    }
}
