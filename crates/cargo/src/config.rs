//! What Plimsoll needs of Cargo's own configuration, read as Cargo 1.95 reads it.
//!
//! Sources, highest first (`util/context/mod.rs`): `--config`, the environment
//! (`CARGO_BUILD_JOBS`), `.cargo/config` or `.cargo/config.toml` from the working directory upwards,
//! then `$CARGO_HOME`'s; each file after the files that it `include`s. `RUSTC_WRAPPER`, `RUSTC` and
//! `RUSTDOC` go before all of these, `CARGO_TARGET_DIR` before `build.target-dir`.
//!
//! What is malformed is skipped: Cargo itself will say so, better. Deliberately not a general reader
//! of Cargo's configuration: only the keys below.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::jobs::Jobs;

/// Where a value of Cargo's configuration was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By `--config`.
    CommandLine,
    /// By this environment variable.
    Variable(&'static str),
    /// In this file.
    File(PathBuf),
}

/// A value and where it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// Where it was given.
    pub origin: Origin,
}

/// The part of Cargo's configuration that concerns Plimsoll.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CargoConfig {
    /// `build.jobs`.
    pub jobs: Option<Given<Jobs>>,
    /// The program to wrap rustc with. An empty path says "none", and bypasses the configuration.
    pub rustc_wrapper: Option<Given<PathBuf>>,
    /// The compiler: a path, or a name to be searched in `PATH`.
    pub rustc: Option<Given<PathBuf>>,
    /// The documenter: a path, or a name to be searched in `PATH`.
    pub rustdoc: Option<Given<PathBuf>>,
    /// Where artifacts go (without regard to `--target-dir`).
    pub target_dir: Option<Given<PathBuf>>,
    /// `build.build-dir`: the template, and what it is relative to.
    pub build_dir: Option<Given<Template>>,
    /// A `target.*.runner` is set, for whatever target.
    pub has_runner: bool,
    /// `[alias]`: the words for which a subcommand stands.
    pub aliases: BTreeMap<String, Vec<String>>,
}

/// A path that may name `{workspace-root}`, `{cargo-cache-home}` and `{workspace-path-hash}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    base: PathBuf,
    cargo_home: PathBuf,
}

impl Template {
    /// The directory for the workspace at `workspace_root`; up to `{workspace-path-hash}`, which is
    /// Cargo's secret, where the template names that.
    #[must_use]
    pub fn resolve(&self, workspace_root: &Path) -> PathBuf {
        let known = self.text.split("{workspace-path-hash}").next().unwrap_or_default();
        let path = known
            .replace("{workspace-root}", &workspace_root.to_string_lossy())
            .replace("{cargo-cache-home}", &self.cargo_home.to_string_lossy());
        self.base.join(path)
    }
}

impl CargoConfig {
    /// Reads the configuration that holds in `cwd`.
    ///
    /// `found_from` is where the search for files begins: `cwd`, except for `cargo install`. `cli` are
    /// the values of `--config`.
    #[must_use]
    pub fn read(
        environment: &Environment,
        cwd: &Path,
        found_from: &Path,
        cli: &[OsString],
    ) -> Self {
        let cargo_home = environment.cargo_home(cwd);
        let layers = Layers {
            cli: command_line_layers(cwd, cli),
            files: file_layers(found_from, cargo_home.as_deref()),
            environment,
            cwd,
        };
        Self::resolve(&layers, cargo_home.as_deref())
    }

    /// What one configuration file with this text says by itself, and the files that it includes.
    #[must_use]
    pub fn of_file(file: &Path, text: &str) -> Self {
        let mut files = Vec::new();
        if let Ok(table) = text.parse() {
            let seen = &mut BTreeSet::from([file.to_owned()]);
            push_text(table, file, &Origin::File(file.to_owned()), seen, &mut files);
        }
        let layers =
            Layers { cli: Vec::new(), files, environment: &Environment::default(), cwd: file };
        Self::resolve(&layers, None)
    }

    fn resolve(layers: &Layers<'_>, cargo_home: Option<&Path>) -> Self {
        let (environment, cwd) = (layers.environment, layers.cwd);
        Self {
            jobs: layers.build("jobs", "CARGO_BUILD_JOBS").and_then(Scalar::jobs),
            rustc_wrapper: layers.program(
                "RUSTC_WRAPPER",
                "rustc-wrapper",
                "CARGO_BUILD_RUSTC_WRAPPER",
            ),
            rustc: layers.program("RUSTC", "rustc", "CARGO_BUILD_RUSTC"),
            rustdoc: layers.program("RUSTDOC", "rustdoc", "CARGO_BUILD_RUSTDOC"),
            target_dir: match environment.get("CARGO_TARGET_DIR") {
                Some(dir) => Some(Given {
                    value: cwd.join(dir),
                    origin: Origin::Variable("CARGO_TARGET_DIR"),
                }),
                None => layers
                    .build("target-dir", "CARGO_BUILD_TARGET_DIR")
                    .and_then(|scalar| scalar.text(|text, base| base.join(text))),
            },
            build_dir: layers.build("build-dir", "CARGO_BUILD_BUILD_DIR").and_then(|scalar| {
                scalar.text(|text, base| Template {
                    text,
                    base: base.to_owned(),
                    cargo_home: cargo_home.unwrap_or(Path::new("")).to_owned(),
                })
            }),
            has_runner: layers.have_runner(),
            aliases: layers.aliases(),
        }
    }
}

/// One file or `--config` argument.
struct Layer {
    table: toml::Table,
    /// What relative paths in it are relative to.
    base: PathBuf,
    origin: Origin,
}

/// Everything that is configured, each list from the highest to the lowest.
struct Layers<'a> {
    cli: Vec<Layer>,
    files: Vec<Layer>,
    environment: &'a Environment,
    cwd: &'a Path,
}

/// A single value, and what it would be relative to.
struct Scalar {
    value: toml::Value,
    base: PathBuf,
    origin: Origin,
}

impl Scalar {
    fn text<T>(self, make: impl FnOnce(String, &Path) -> T) -> Option<Given<T>> {
        match self.value {
            toml::Value::String(text) if !text.is_empty() => {
                Some(Given { value: make(text, &self.base), origin: self.origin })
            }
            _ => None,
        }
    }

    fn jobs(self) -> Option<Given<Jobs>> {
        let value = match self.value {
            toml::Value::Integer(number) => Jobs::from_integer(number)?,
            toml::Value::String(text) if text == "default" => Jobs::Default,
            _ => return None,
        };
        Some(Given { value, origin: self.origin })
    }

    /// A path where the value looks like one, else a name; an empty one stays empty.
    fn program(self) -> Option<Given<PathBuf>> {
        let toml::Value::String(text) = self.value else { return None };
        Some(Given { value: program_path(&text, &self.base), origin: self.origin })
    }
}

/// Cargo's `string_to_path`: with a separator relative to `base`, without one as it is.
fn program_path(text: &str, base: &Path) -> PathBuf {
    if text.contains(['/', '\\']) { base.join(text) } else { PathBuf::from(text) }
}

impl Layers<'_> {
    /// `build.<key>`, by the highest that gives it.
    fn build(&self, key: &str, variable: &'static str) -> Option<Scalar> {
        let in_layers = |layers: &[Layer]| {
            layers.iter().find_map(|layer| {
                let value = layer.table.get("build")?.get(key)?.clone();
                let (base, origin) = (layer.base.clone(), layer.origin.clone());
                Some(Scalar { value, base, origin })
            })
        };
        in_layers(&self.cli)
            .or_else(|| {
                let text = self.environment.raw(variable)?.to_str()?;
                let value = match text.parse() {
                    Ok(number) => toml::Value::Integer(number),
                    Err(_) => toml::Value::String(text.to_owned()),
                };
                let origin = Origin::Variable(variable);
                Some(Scalar { value, base: self.cwd.to_owned(), origin })
            })
            .or_else(|| in_layers(&self.files))
    }

    /// A program by its own variable (even an empty one), else `build.<key>`.
    fn program(
        &self,
        variable: &'static str,
        key: &str,
        config_variable: &'static str,
    ) -> Option<Given<PathBuf>> {
        match self.environment.raw(variable).and_then(|value| value.to_str()) {
            Some(text) => Some(Given {
                value: program_path(text, self.cwd),
                origin: Origin::Variable(variable),
            }),
            None => self.build(key, config_variable)?.program(),
        }
    }

    /// Whether any `target.*` has a runner: then tests are somebody else's to start.
    fn have_runner(&self) -> bool {
        let of = |layer: &Layer| {
            let targets = layer.table.get("target").and_then(toml::Value::as_table);
            targets.is_some_and(|all| all.values().any(|it| it.get("runner").is_some()))
        };
        let mut names = self.environment.names_after("CARGO_TARGET_");
        self.cli.iter().chain(&self.files).any(of) || names.any(|name| name.ends_with("_RUNNER"))
    }

    /// Every alias. Strings: the highest wins. Lists are joined, the lowest first.
    fn aliases(&self) -> BTreeMap<String, Vec<String>> {
        let by_variable = |name: &str| {
            let variable = format!("CARGO_ALIAS_{}", name.to_uppercase().replace('-', "_"));
            self.environment.raw(&variable)?.to_str().map(split_words)
        };
        let tables = self
            .cli
            .iter()
            .chain(&self.files)
            .filter_map(|layer| layer.table.get("alias")?.as_table());
        let mut names: BTreeSet<String> = tables.flat_map(toml::Table::keys).cloned().collect();
        for name in self.environment.names_after("CARGO_ALIAS_") {
            // A variable's name does not tell `-` from `_`.
            names.extend([name.to_lowercase(), name.to_lowercase().replace('_', "-")]);
        }
        let mut aliases = BTreeMap::new();
        for name in names {
            let values = |layers: &[Layer]| -> Vec<toml::Value> {
                let value = |layer: &Layer| layer.table.get("alias")?.get(&name).cloned();
                layers.iter().filter_map(value).collect()
            };
            let (cli, files) = (values(&self.cli), values(&self.files));
            let is_list = cli.iter().chain(&files).any(toml::Value::is_array);
            let words = if is_list {
                let lists = files.iter().rev().flat_map(list_words);
                lists
                    .chain(by_variable(&name).unwrap_or_default())
                    .chain(cli.iter().rev().flat_map(list_words))
                    .collect()
            } else {
                let text = |values: &[toml::Value]| values.first()?.as_str().map(split_words);
                text(&cli)
                    .or_else(|| by_variable(&name))
                    .or_else(|| text(&files))
                    .unwrap_or_default()
            };
            if !words.is_empty() {
                aliases.insert(name, words);
            }
        }
        aliases
    }
}

fn split_words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn list_words(value: &toml::Value) -> Vec<String> {
    let words = value.as_array().map(Vec::as_slice).unwrap_or_default();
    words.iter().filter_map(|word| Some(word.as_str()?.to_owned())).collect()
}

/// Every configuration file that holds in `found_from`, as it stands, highest first.
pub fn files(found_from: &Path, cargo_home: Option<&Path>) -> Vec<(PathBuf, toml::Table)> {
    let of_file = |layer: Layer| match layer.origin {
        Origin::File(path) => Some((path, layer.table)),
        _ => None,
    };
    file_layers(found_from, cargo_home).into_iter().filter_map(of_file).collect()
}

/// The configuration files from `found_from` upwards, then that of Cargo's home; highest first.
fn file_layers(found_from: &Path, cargo_home: Option<&Path>) -> Vec<Layer> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut layers = Vec::new();
    let mut seen = BTreeSet::new();
    for directory in found_from.ancestors() {
        let directory = directory.join(".cargo");
        push_directory(&directory, &mut layers);
        seen.insert(real(&directory));
    }
    if let Some(home) = cargo_home
        && !seen.contains(&real(home))
    {
        push_directory(home, &mut layers);
    }
    layers
}

/// Cargo prefers the name without an extension where both exist.
fn push_directory(directory: &Path, layers: &mut Vec<Layer>) {
    let file =
        ["config", "config.toml"].map(|name| directory.join(name)).into_iter().find(|f| f.exists());
    if let Some(file) = file {
        let origin = Origin::File(file.clone());
        push_file(&file, &origin, &mut BTreeSet::new(), layers);
    }
}

fn push_file(file: &Path, origin: &Origin, seen: &mut BTreeSet<PathBuf>, layers: &mut Vec<Layer>) {
    if !seen.insert(file.to_owned()) {
        return;
    }
    let Ok(text) = std::fs::read_to_string(file) else { return };
    let Ok(table) = text.parse::<toml::Table>() else { return };
    push_text(table, file, origin, seen, layers);
}

fn push_text(
    table: toml::Table,
    file: &Path,
    origin: &Origin,
    seen: &mut BTreeSet<PathBuf>,
    layers: &mut Vec<Layer>,
) {
    let parent = file.parent().unwrap_or(file);
    let base = parent.parent().unwrap_or(parent).to_owned();
    push_table(Layer { table, base, origin: origin.clone() }, parent, seen, layers);
}

/// Adds a table and below it the files that it includes, the last of them highest.
fn push_table(layer: Layer, beside: &Path, seen: &mut BTreeSet<PathBuf>, layers: &mut Vec<Layer>) {
    let included = includes(&layer.table);
    let on_command_line = layer.origin == Origin::CommandLine;
    layers.push(layer);
    for path in included.iter().rev() {
        let file = beside.join(path);
        let origin = if on_command_line { Origin::CommandLine } else { Origin::File(file.clone()) };
        push_file(&file, &origin, seen, layers);
    }
}

/// `include = ["a.toml", { path = "b.toml", optional = true }]`.
fn includes(table: &toml::Table) -> Vec<String> {
    let list = table.get("include").and_then(toml::Value::as_array);
    let path = |entry: &toml::Value| {
        entry.as_str().or_else(|| entry.get("path")?.as_str()).map(str::to_owned)
    };
    list.map(|entries| entries.iter().filter_map(path).collect()).unwrap_or_default()
}

/// `--config` arguments, a file's path or `KEY=VALUE`; the last is the highest.
fn command_line_layers(cwd: &Path, arguments: &[OsString]) -> Vec<Layer> {
    let mut layers = Vec::new();
    for argument in arguments.iter().rev() {
        let file = cwd.join(argument);
        if !argument.is_empty() && file.exists() {
            push_file(&file, &Origin::CommandLine, &mut BTreeSet::new(), &mut layers);
        } else if let Some(table) = argument.to_str().and_then(|text| text.parse().ok()) {
            let layer = Layer { table, base: cwd.to_owned(), origin: Origin::CommandLine };
            push_table(layer, cwd, &mut BTreeSet::new(), &mut layers);
        }
    }
    layers
}
