//! Which settings are proposed for a workspace, which are not, and why. Reads nothing and writes nothing.

use std::fmt;
use std::path::PathBuf;

use plimsoll_cargo::toml_text::Key;
use plimsoll_core::Bytes;
use toml::Value;

use super::figures::Figures;
use super::workspace::{TextFile, Workspace};

/// What may be written beside what keeps the outputs as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Lowmem {
    /// Nothing.
    #[default]
    Offered,
    /// Into the profiles `dev` and `release`: outputs stay where scripts expect them.
    InPlace,
    /// Into a profile of its own.
    Profile {
        /// Its name.
        name: String,
        /// The profile that it inherits.
        inherits: String,
    },
}

/// What a setting depends on and changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// It is right on every machine, and programs come out the same.
    Preserving,
    /// It is right on every machine; programs may be larger, slower, or say less in a backtrace.
    Changing,
    /// It depends on the machine, so a repository is no place for it.
    Machine,
}

/// One key to be written into the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The table's path.
    pub table: Vec<String>,
    /// The key.
    pub name: &'static str,
    /// The value as TOML.
    pub literal: String,
}

/// What becomes of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is written.
    Write(Change),
    /// It would be written with `--lowmem` or `--profile`.
    Offer(Change),
    /// It is advice for the user's own configuration; `init` does not write it.
    Advise,
    /// It is set already.
    Stands,
    /// The user's own value stays.
    Kept,
    /// It is not proposed.
    No,
}

/// A setting of the guide's kind, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it depends on and changes.
    pub group: Group,
    /// The key with its table.
    pub setting: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What it does and costs, or why nothing is done.
    pub why: String,
    /// What recorded builds know of it.
    pub figure: Option<String>,
}

/// How many jobs plain Cargo is let run on a machine with that much memory: the guide's tiers. What the
/// kernel keeps for itself is counted in: a machine of 8 GiB tells of 7.6.
#[must_use]
pub fn jobs_for(memory: Bytes) -> u32 {
    match memory.0.div_ceil(1 << 30) {
        0..8 => 1,
        8..=16 => 2,
        _ => 4,
    }
}

/// All settings, in the order in which they are shown.
pub fn plan(workspace: &Workspace, lowmem: &Lowmem, figures: &Figures) -> Vec<Finding> {
    let mut planner = Planner { workspace, figures, lowmem, findings: Vec::new() };
    planner.incremental();
    planner.split_debuginfo();
    match lowmem {
        Lowmem::Profile { name, inherits } => {
            planner.inherit(name, inherits);
            planner.changing(name);
        }
        _ => ["dev", "release"].into_iter().for_each(|profile| planner.changing(profile)),
    }
    planner.jobs();
    planner.linker();
    planner.findings
}

struct Planner<'a> {
    workspace: &'a Workspace,
    figures: &'a Figures,
    lowmem: &'a Lowmem,
    findings: Vec<Finding>,
}

/// A value that holds, and the file that gives it.
struct Current {
    value: Value,
    file: PathBuf,
}

impl fmt::Display for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::String(text) => write!(f, "{text:?}")?,
            Value::Integer(number) => write!(f, "{number}")?,
            Value::Boolean(yes) => write!(f, "{yes}")?,
            _ => f.write_str("a value")?,
        }
        write!(f, " in {}", self.file.display())
    }
}

impl Planner<'_> {
    fn say(
        &mut self,
        group: Group,
        setting: impl Into<String>,
        verdict: Verdict,
        why: &str,
        figure: Option<String>,
    ) {
        let (setting, why) = (setting.into(), why.to_owned());
        self.findings.push(Finding { group, setting, verdict, why, figure });
    }

    fn jobs(&mut self) {
        let Workspace { memory, processors, .. } = *self.workspace;
        let jobs = jobs_for(memory).min(processors).max(1);
        let (verdict, why) = if let Some(given) = self.current(&["build"], "jobs") {
            (Verdict::Kept, format!("you set {given}; it limits `cargo plimsoll`, too"))
        } else if jobs < processors {
            (
                Verdict::Advise,
                format!(
                    "this machine has {memory} and {processors} processors: plain `cargo` is safer with \
                     CARGO_BUILD_JOBS={jobs}, which costs time; `cargo plimsoll` needs no such limit"
                ),
            )
        } else {
            (
                Verdict::No,
                "plain `cargo` starts no more jobs here than memory usually holds".to_owned(),
            )
        };
        self.say(Group::Machine, "build.jobs", verdict, &why, self.figures.heaviest_unit());
    }

    fn linker(&mut self) {
        let compiler = &self.workspace.compiler;
        let host = compiler.host.as_str();
        let setting = format!("target.{host}.rustflags");
        // https://blog.rust-lang.org/2025/09/01/rust-lld-on-1.90.0-stable/
        let own = host == "x86_64-unknown-linux-gnu" && compiler.version >= (1, 90);
        let (verdict, why) = if let Some(linker) = self.current(&["target", host], "linker") {
            (Verdict::Kept, format!("you set the linker {linker}"))
        } else if let Some(place) = self.has_flags() {
            (
                Verdict::Kept,
                format!(
                    "{place} sets compiler flags, and Cargo takes them from one place only; if GNU ld links here, \
                     add `-Clink-arg=-fuse-ld=lld` there"
                ),
            )
        } else if own {
            let (major, minor) = compiler.version;
            (
                Verdict::Stands,
                format!(
                    "rustc {major}.{minor} links with its own lld, which needs less memory than GNU ld"
                ),
            )
        } else if !host.contains("-linux-") {
            (Verdict::No, "this system uses its own linker".to_owned())
        } else {
            let (flag, why) = match self.workspace.lean_linker {
                Some(name) => (
                    format!("-fuse-ld={name}"),
                    format!("{name} is installed here; it is faster than GNU ld and needs less memory"),
                ),
                None => (
                    "-Wl,--no-keep-memory".to_owned(),
                    "GNU ld then needs less memory and a little more time; installing lld helps more".to_owned(),
                ),
            };
            (
                Verdict::Advise,
                format!(
                    "{why}. Add to ~/.cargo/config.toml: [target.{host}] rustflags = [\"-Clink-arg={flag}\"] (the \
                     next build compiles everything again)"
                ),
            )
        };
        self.say(Group::Machine, setting, verdict, &why, self.figures.heaviest_linker());
    }

    /// Where flags for the compiler are set.
    fn has_flags(&self) -> Option<String> {
        if self.workspace.flags_by_variable {
            return Some("the environment".to_owned());
        }
        let has = |table: &toml::Table| {
            let of = |value: &Value| value.get("rustflags").is_some();
            let targets = table.get("target").and_then(Value::as_table);
            table.get("build").is_some_and(of) || targets.is_some_and(|all| all.values().any(of))
        };
        let (path, _) = self.workspace.layers.iter().find(|(_, table)| has(table))?;
        Some(path.display().to_string())
    }

    fn incremental(&mut self) {
        let off = Value::Boolean(false);
        let here = self
            .current(&["build"], "incremental")
            .or_else(|| self.current(&["profile", "dev"], "incremental"));
        let (verdict, why) = match here {
            Some(given) if given.value == off => {
                (Verdict::Kept, format!("you switched it off in {}; each rebuild then compiles whole crates", given.file.display()))
            }
            _ => (Verdict::Stands, "Cargo's default: a rebuild compiles only what changed; your own crates need some more memory for it".to_owned()),
        };
        self.say(Group::Preserving, "profile.dev.incremental", verdict, &why, None);
        let why = "it would make release programs larger and slower (256 codegen units per crate) and save no memory";
        self.say(Group::Changing, "profile.release.incremental", Verdict::No, why, None);
    }

    fn split_debuginfo(&mut self) {
        let profiles = match self.lowmem {
            Lowmem::Profile { name, .. } => vec!["dev", "release", name.as_str()],
            _ => vec!["dev", "release"],
        };
        for profile in profiles {
            let given = self.of_profile(profile, &[], "split-debuginfo");
            let debug = self.has_debug(profile);
            let (verdict, why) = if let Some(given) = given {
                let verdict = if given.value.as_str() == Some("unpacked") {
                    Verdict::Stands
                } else {
                    Verdict::Kept
                };
                (verdict, format!("you set {given}"))
            } else if !debug {
                (Verdict::No, "this profile has no debug info to split".to_owned())
            } else {
                let change = self.change(&["profile", profile], "split-debuginfo", "\"unpacked\"");
                (Verdict::Write(change), "the linker no longer reads debug info, which stays in .dwo files; a program that you copy elsewhere leaves it behind".to_owned())
            };
            let figure = self.figures.heaviest_linker();
            self.say(
                Group::Preserving,
                format!("profile.{profile}.split-debuginfo"),
                verdict,
                &why,
                figure,
            );
        }
    }

    fn inherit(&mut self, name: &str, inherits: &str) {
        let change = self.change(&["profile", name], "inherits", &format!("{inherits:?}"));
        let verdict = if self.current(&["profile", name], "inherits").is_some() {
            Verdict::Stands
        } else {
            Verdict::Write(change)
        };
        let why = format!(
            "`cargo build --profile {name}` builds like {inherits} with less memory, into its own directory target/{name}"
        );
        self.say(Group::Changing, format!("profile.{name}.inherits"), verdict, &why, None);
    }

    /// What changes outputs, in one profile.
    fn changing(&mut self, profile: &str) {
        let optimized = self.is_optimized(profile);
        let debug = self.has_debug(profile);
        let all = ["package", "*"];
        let figure =
            self.figures.compared(|word| word.starts_with("-g"), |word| word.starts_with("-g"));
        let small =
            |value: &Value| is_no_debug(value) || value.as_str() == Some("line-tables-only");
        match self.of_profile(profile, &all, "debug") {
            Some(given) if small(&given.value) => self.stands(profile, &all, "debug", &given),
            None if !debug => self.no(profile, &all, "debug", "dependencies have no debug info by default"),
            _ => self.propose(profile, &all, "debug", "false", "dependencies carry no debug info: compilers, linkers and files get smaller; backtraces through dependencies show no line numbers", figure),
        }
        if debug {
            self.no(profile, &[], "debug", "your own crates keep their debug info, because most of the memory goes to that of dependencies; you can set \"line-tables-only\" yourself for smaller links");
        }

        let figure = self.figures.compared(|word| word.starts_with("cgu="), |word| word == "cgu=1");
        match self.of_profile(profile, &[], "codegen-units") {
            Some(given) if given.value.as_integer().is_some_and(|n| n < 16) => {
                self.propose(profile, &[], "codegen-units", "16", "each crate is compiled in 16 parts, which halves the memory of large ones (aws-sdk-ec2: 7,366 MiB instead of 17,470); the program runs a little slower", figure);
            }
            Some(given) => self.stands(profile, &[], "codegen-units", &given),
            None => self.no(profile, &[], "codegen-units", "Cargo's default (16, or 256 without optimization) is good; more parts save nothing (cranelift-codegen: 1,336 MiB with 16, 1,340 MiB with 256)"),
        }

        let figure = self.figures.heaviest_linker();
        match self.of_profile(profile, &[], "lto") {
            Some(given)
                if given.value == Value::Boolean(true) || given.value.as_str() == Some("fat") =>
            {
                self.propose(profile, &[], "lto", "\"thin\"", "thin LTO instead of fat: no compiler holds the whole program at once; the program gets a little larger and slower", figure);
            }
            Some(given) => self.stands(profile, &[], "lto", &given),
            None if optimized => {
                self.no(profile, &[], "lto", "Cargo's default has no LTO across crates")
            }
            None => self.no(profile, &[], "lto", "no LTO runs without optimization"),
        }

        let checks = self
            .of_profile(profile, &all, "overflow-checks")
            .or_else(|| self.of_profile(profile, &[], "overflow-checks"));
        match checks {
            Some(given) if given.value == Value::Boolean(false) => self.stands(profile, &all, "overflow-checks", &given),
            None if optimized => self.no(profile, &all, "overflow-checks", "Cargo's default for optimized profiles has no overflow checks"),
            _ => self.propose(profile, &all, "overflow-checks", "false", "dependencies have no overflow checks, which makes a little less code; an overflow in a dependency goes unnoticed. Your own crates keep the checks", None),
        }

        let level = self.of_profile(profile, &["build-override"], "opt-level");
        let is_zero = |value: &Value| value.as_integer() == Some(0) || value.as_str() == Some("0");
        match level {
            Some(given) if !is_zero(&given.value) => {
                self.propose(profile, &["build-override"], "opt-level", "0", "build scripts and procedural macros are built without optimization, which takes less memory and time; a heavy one runs longer", None);
            }
            Some(given) => self.stands(profile, &["build-override"], "opt-level", &given),
            None => {
                self.no(profile, &["build-override"], "opt-level", "Cargo's default is already 0")
            }
        }
    }

    fn propose(
        &mut self,
        profile: &str,
        below: &[&str],
        name: &'static str,
        literal: &str,
        why: &str,
        figure: Option<String>,
    ) {
        let path = path(profile, below);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let config = |current: &Current| current.file != self.workspace.manifest.path;
        if let Some(given) = self.current(&path, name).filter(config) {
            let why = format!("you set {given}, which overrides Cargo.toml; change it there");
            self.say(Group::Changing, key(profile, below, name), Verdict::Kept, &why, figure);
            return;
        }
        let change = self.change(&path, name, literal);
        let verdict = if *self.lowmem == Lowmem::Offered {
            Verdict::Offer(change)
        } else {
            Verdict::Write(change)
        };
        self.say(Group::Changing, key(profile, below, name), verdict, why, figure);
    }

    fn stands(&mut self, profile: &str, below: &[&str], name: &str, given: &Current) {
        let why = format!("you set {given}");
        self.say(Group::Changing, key(profile, below, name), Verdict::Stands, &why, None);
    }

    fn no(&mut self, profile: &str, below: &[&str], name: &str, why: &str) {
        self.say(Group::Changing, key(profile, below, name), Verdict::No, why, None);
    }

    fn change(&self, table: &[&str], name: &'static str, literal: &str) -> Change {
        let table = table.iter().map(|&part| part.to_owned()).collect();
        Change { table, name, literal: literal.to_owned() }
    }

    fn is_optimized(&self, profile: &str) -> bool {
        let zero = |value: &Value| value.as_integer() == Some(0) || value.as_str() == Some("0");
        match self.of_profile(profile, &[], "opt-level") {
            Some(given) => !zero(&given.value),
            None => self.ancestors(profile).iter().any(|it| it == "release" || it == "bench"),
        }
    }

    fn has_debug(&self, profile: &str) -> bool {
        match self.of_profile(profile, &[], "debug") {
            Some(given) => !is_no_debug(&given.value),
            None => !self.ancestors(profile).iter().any(|it| it == "release" || it == "bench"),
        }
    }

    /// A profile's own value, or that of the nearest profile which it inherits.
    fn of_profile(&self, profile: &str, below: &[&str], name: &str) -> Option<Current> {
        self.ancestors(profile).iter().find_map(|profile| {
            let path = path(profile, below);
            self.current(&path.iter().map(String::as_str).collect::<Vec<_>>(), name)
        })
    }

    /// The profile and those that it inherits, from the nearest.
    fn ancestors(&self, profile: &str) -> Vec<String> {
        let mut all = vec![profile.to_owned()];
        while let Some(last) = all.last() {
            let asked = match self.lowmem {
                Lowmem::Profile { name, inherits } if name == last => Some(inherits.clone()),
                _ => None,
            };
            let given = self.current(&["profile", last.as_str()], "inherits");
            let given = given.and_then(|it| Some(it.value.as_str()?.to_owned())).or(asked);
            match given {
                Some(next) if !all.contains(&next) => all.push(next),
                _ => break,
            }
        }
        all
    }

    /// A value by the highest file that gives it: Cargo's configuration stands above the manifest.
    fn current(&self, path: &[&str], name: &str) -> Option<Current> {
        let at = |table: &toml::Table| -> Option<Value> {
            let mut value = table.get(*path.first()?)?;
            for part in &path[1..] {
                value = value.get(part)?;
            }
            value.get(name).cloned()
        };
        let by_config = self
            .workspace
            .layers
            .iter()
            .find_map(|(file, table)| Some(Current { value: at(table)?, file: file.clone() }));
        by_config.or_else(|| {
            let TextFile { path, .. } = &self.workspace.manifest;
            let table = self.workspace.manifest.text().parse().ok()?;
            Some(Current { value: at(&table)?, file: path.clone() })
        })
    }
}

fn path(profile: &str, below: &[&str]) -> Vec<String> {
    ["profile", profile].iter().chain(below).map(|&part| part.to_owned()).collect()
}

fn key(profile: &str, below: &[&str], name: &str) -> String {
    let path = path(profile, below);
    Key { table: &path.iter().map(String::as_str).collect::<Vec<_>>(), name }.to_string()
}

fn is_no_debug(value: &Value) -> bool {
    match value {
        Value::Boolean(on) => !on,
        Value::Integer(level) => *level == 0,
        Value::String(level) => level == "none" || level == "0",
        _ => false,
    }
}

#[cfg(test)]
mod tests;
