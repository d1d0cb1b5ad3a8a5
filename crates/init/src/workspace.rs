//! What `init` looks at: the workspace as Cargo sees it, its two files, the compiler and the machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use plimsoll_cargo::metadata::{self, answer};
use plimsoll_cargo::{CargoConfig, Environment, config_file};
use plimsoll_core::Bytes;
use plimsoll_host::Limits;
use serde::Deserialize;

/// A text file and what is in it.
#[derive(Clone, Debug, Default)]
pub struct TextFile {
    /// Where it is, or would be.
    pub path: PathBuf,
    /// Its text; nothing where there is no such file.
    pub text: Option<String>,
}

impl TextFile {
    /// Reads it.
    ///
    /// # Errors
    /// Where it is there and cannot be read, or is not UTF-8.
    pub fn read(path: PathBuf) -> anyhow::Result<Self> {
        let text = config_file::read(&path)?.map(String::from_utf8).transpose();
        let text = text.with_context(|| format!("`{}` is not UTF-8", path.display()))?;
        Ok(Self { path, text })
    }

    /// The text, empty where there is none.
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }
}

/// The compiler that the workspace uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiler {
    /// The target that it builds for without `--target`.
    pub host: String,
    /// Major and minor version.
    pub version: (u64, u64),
}

/// Everything that the proposals depend on.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// The directory of the manifest that has the profiles.
    pub root: PathBuf,
    /// The names of its packages.
    pub members: Vec<String>,
    /// How many programs its packages make, without tests and examples.
    pub programs: usize,
    /// The first source file of a package that no other one of the workspace needs, one with a program before others.
    pub leaf: Option<PathBuf>,
    /// The names of all packages in its lock file.
    pub packages: Vec<String>,
    /// The manifest.
    pub manifest: TextFile,
    /// Cargo's configuration beside it.
    pub config: TextFile,
    /// A configuration file that Cargo does not read, because [`Self::config`] is there.
    pub unread: Option<PathBuf>,
    /// Every configuration file that holds here, the highest first, with those that they include.
    pub layers: Vec<(PathBuf, toml::Table)>,
    /// `RUSTFLAGS` or one of its relatives is set.
    pub flags_by_variable: bool,
    /// The compiler.
    pub compiler: Compiler,
    /// A linker that needs less memory than GNU's and is installed, by its name for `-fuse-ld`.
    pub lean_linker: Option<&'static str>,
    /// The machine's memory, or what its containers leave of it.
    pub memory: Bytes,
    /// The processors.
    pub processors: u32,
}

/// The part of `cargo metadata` that is of use.
#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

impl Target {
    fn is_program(&self) -> bool {
        self.kind.iter().any(|kind| kind == "bin")
    }

    /// Whether a plain build makes it.
    fn is_built(&self) -> bool {
        self.is_program()
            || self.kind.iter().any(|kind| kind.ends_with("lib") || kind == "proc-macro")
    }
}

#[derive(Default, Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
}

impl Workspace {
    /// Finds the workspace around `cwd`, with Cargo's own eyes.
    ///
    /// # Errors
    /// Where Cargo finds none or cannot read it (its words are in the error), or a file cannot be read.
    pub fn find(environment: &Environment, cwd: &Path, processors: u32) -> anyhow::Result<Self> {
        let metadata: Metadata = metadata::of_workspace(environment, cwd)?;
        let root = metadata.workspace_root;
        let cargo_home = environment.cargo_home(cwd);
        let directory = root.join(".cargo");
        let [older, newer] = ["config", "config.toml"].map(|name| directory.join(name));
        let config = if older.exists() { &older } else { &newer };
        let config_here = CargoConfig::read(environment, &root, &root, &[]);
        let rustc = config_here.rustc.map_or_else(|| PathBuf::from("rustc"), |given| given.value);
        let says = answer(Command::new(rustc).arg("-vV").current_dir(&root));
        let says = says.context("`rustc -vV` failed")?;
        let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
        let lock: Lock = toml::from_str(&lock).unwrap_or_default();
        let variables = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"];
        Ok(Self {
            programs: targets(&metadata.packages).filter(|it| it.is_program()).count(),
            leaf: leaf(&metadata.packages),
            members: metadata.packages.into_iter().map(|it| it.name).collect(),
            packages: lock.package.into_iter().map(|it| it.name).collect(),
            manifest: TextFile::read(root.join("Cargo.toml"))?,
            config: TextFile::read(config.clone())?,
            unread: (older.exists() && newer.exists()).then_some(newer),
            layers: plimsoll_cargo::files(&root, cargo_home.as_deref()),
            flags_by_variable: variables.iter().any(|name| environment.get(name).is_some()),
            compiler: compiler(&String::from_utf8_lossy(&says)),
            lean_linker: lean_linker(environment, &root),
            memory: memory()?,
            processors,
            root,
        })
    }
}

fn targets(packages: &[Package]) -> impl Iterator<Item = &Target> {
    packages.iter().flat_map(|package| &package.targets)
}

fn leaf(packages: &[Package]) -> Option<PathBuf> {
    let needs = |package: &Package, name: &str| {
        package.dependencies.iter().any(|it| it.path.is_some() && it.name == name)
    };
    let is_leaf = |package: &&Package| !packages.iter().any(|other| needs(other, &package.name));
    let leaves: Vec<&Package> = packages.iter().filter(is_leaf).collect();
    let built = || leaves.iter().flat_map(|it| &it.targets).filter(|target| target.is_built());
    built().find(|it| it.is_program()).or_else(|| built().next()).map(|it| it.src_path.clone())
}

/// What `rustc -vV` says.
fn compiler(says: &str) -> Compiler {
    let field = |name: &str| says.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let release = field("release:").and_then(|text| semver::Version::parse(text).ok());
    let version = release.map_or((0, 0), |release| (release.major, release.minor));
    Compiler { host: field("host:").unwrap_or_default().to_owned(), version }
}

fn lean_linker(environment: &Environment, root: &Path) -> Option<&'static str> {
    [("lld", "ld.lld"), ("mold", "ld.mold")]
        .into_iter()
        .find_map(|(name, program)| environment.program(program, root).map(|_| name))
}

/// The machine's memory, or the smallest limit around us.
fn memory() -> anyhow::Result<Bytes> {
    let reading = Limits::discover(Path::new("/"))?.read();
    let limits = reading.cgroups.iter().map(|it| it.limit);
    Ok(limits.chain([reading.machine.total]).min().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_answer_is_read() {
        let says = "rustc 1.95.0-nightly (x 2026-01-01)\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0-nightly\n";
        let expected = Compiler { host: "x86_64-unknown-linux-gnu".to_owned(), version: (1, 95) };
        assert_eq!(compiler(says), expected);
    }
}
