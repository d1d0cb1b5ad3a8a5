//! The tools of a Worker build: where each is, whether its version fits, and the command that installs it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll_cargo::metadata::answer;

use plimsoll_cargo::Environment;

/// Major, minor and patch number of a release; tools that count in one number have that as the major one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub(crate) [u32; 3]);

impl Version {
    /// The first version in a text: of `wasm-bindgen 0.2.130`, `wasm-opt version 132 (version_132)`, `0.28.2`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
        let word = text.split_whitespace().find(is_version)?;
        let mut numbers = word.split(['.', '-', '+']).map(|part| part.parse().ok());
        let first = numbers.next()??;
        let mut next = || numbers.next().flatten().unwrap_or(0);
        Some(Self([first, next(), next()]))
    }

    /// As Cargo understands `^0.8`: the first number that is not zero is the same.
    fn is_compatible(self, other: Self) -> bool {
        match (self.0, other.0) {
            ([0, minor, _], [0, other, _]) => minor == other,
            ([major, ..], [other, ..]) => major == other,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// A tool, and which of its versions fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The Workers' own build program, as old as this version of the library `worker`.
    WorkerBuild(Version),
    /// wasm-bindgen's command, whose version must be the library's: the two share a format that changes.
    WasmBindgen(Version),
    /// Binaryen's optimiser.
    WasmOpt,
    /// The bundler.
    Esbuild,
}

impl Tool {
    /// Under which it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::WorkerBuild(_) => "worker-build",
            Self::WasmBindgen(_) => "wasm-bindgen",
            Self::WasmOpt => "wasm-opt",
            Self::Esbuild => "esbuild",
        }
    }

    /// By which worker-build is told of another one than it would fetch.
    pub fn variable(self) -> Option<&'static str> {
        match self {
            Self::WorkerBuild(_) => None,
            Self::WasmBindgen(_) => Some("WASM_BINDGEN_BIN"),
            Self::WasmOpt => Some("WASM_OPT_BIN"),
            Self::Esbuild => Some("ESBUILD_BIN"),
        }
    }

    /// What it must be, where `version` is not.
    fn misfit(self, version: Version) -> Option<String> {
        /// The first release that knows every feature which rustc's modules name.
        const BINARYEN: u32 = 119;
        /// The first release that knows `import source`, which wasm-bindgen writes.
        const ESBUILD: Version = Version([0, 25, 7]);
        let (fits, wanted) = match self {
            Self::WorkerBuild(worker) => {
                let [major, minor, _] = worker.0;
                let (it, own) = (format!("{major}.{minor}"), worker.is_compatible(version));
                (own, format!("the lock file has worker {worker}, which {it}.x builds"))
            }
            Self::WasmBindgen(library) => {
                (library == version, format!("the lock file has wasm-bindgen {library}"))
            }
            Self::WasmOpt => (version.0[0] >= BINARYEN, format!("{BINARYEN} or later is needed")),
            Self::Esbuild => (version >= ESBUILD, format!("{ESBUILD} or later is needed")),
        };
        (!fits).then_some(wanted)
    }

    /// The one command that installs a version that fits.
    fn install(self) -> String {
        match self {
            Self::WorkerBuild(worker) => {
                let [major, minor, _] = worker.0;
                format!("cargo install 'worker-build@^{major}.{minor}'")
            }
            Self::WasmBindgen(library) => format!("cargo install wasm-bindgen-cli@{library}"),
            Self::WasmOpt => "npm install --save-dev binaryen".to_owned(),
            Self::Esbuild => "npm install --save-dev esbuild".to_owned(),
        }
    }
}

/// A tool that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub tool: Tool,
    /// Its program.
    pub program: PathBuf,
}

/// What is missing, and the command that puts it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What, and why it is needed as it is.
    pub what: String,
    /// The command.
    pub install: String,
}

/// Looks for a tool of a package in `directory`: where its variable says, else in `PATH`, in the `node_modules` of the
/// directory and those above it, and where worker-build keeps what it has fetched. The first that fits is taken.
pub fn find(tool: Tool, environment: &Environment, directory: &Path) -> Result<Found, Missing> {
    let mut misfits = Vec::new();
    for program in places(tool, environment, directory).into_iter().filter(|it| it.is_file()) {
        let said = answer(Command::new(&program).arg("--version").current_dir(directory));
        let version = said.ok().and_then(|said| Version::read(&String::from_utf8_lossy(&said)));
        match version.map(|version| (version, tool.misfit(version))) {
            Some((_, None)) => return Ok(Found { tool, program }),
            Some((version, Some(wanted))) => misfits.push(format!(
                "`{}` is {} {version}, but {wanted}",
                program.display(),
                tool.name()
            )),
            None => {
                misfits.push(format!("`{} --version` does not tell a version", program.display()));
            }
        }
    }
    let set = tool.variable().and_then(|name| Some((name, environment.get(name)?)));
    let what = match (misfits.first(), set) {
        (Some(misfit), _) => misfit.clone(),
        (None, Some((name, set))) => {
            format!("{name} names `{}`, which is no program", set.display())
        }
        (None, None) => format!("{} is not installed", tool.name()),
    };
    Err(Missing { what, install: tool.install() })
}

fn places(tool: Tool, environment: &Environment, directory: &Path) -> Vec<PathBuf> {
    let name = tool.name();
    let path = environment.get("PATH").unwrap_or_default();
    let in_path = |name: &Path| -> Vec<PathBuf> {
        std::env::split_paths(path).map(|dir| directory.join(dir).join(name)).collect()
    };
    if let Some(set) = tool.variable().and_then(|name| environment.get(name)) {
        let set = Path::new(set);
        let is_name = set.components().count() == 1;
        return if is_name { in_path(set) } else { vec![directory.join(set)] };
    }
    let mut places = in_path(Path::new(name));
    let modules = directory.ancestors().map(|dir| dir.join("node_modules/.bin").join(name));
    places.extend(modules);
    places.extend(fetched(name, environment));
    places
}

/// What worker-build has fetched: `<cache>/worker-build/<name>-<platform>-<version>/`, the latest first.
fn fetched(name: &str, environment: &Environment) -> Vec<PathBuf> {
    let cache = environment.get("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(environment.home()?.join(".cache")));
    let entries = cache.and_then(|cache| std::fs::read_dir(cache.join("worker-build")).ok());
    let prefix = format!("{name}-");
    let mut folders: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders.iter().rev().flat_map(|dir| [dir.join(name), dir.join("bin").join(name)]).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn versions_are_read_as_the_tools_print_them() {
        for (text, version) in [
            ("wasm-bindgen 0.2.130\n", [0, 2, 130]),
            ("wasm-opt version 132 (version_132)", [132, 0, 0]),
            ("0.28.2\n", [0, 28, 2]),
            ("0.8.7", [0, 8, 7]),
            ("1.0.0-rc.1", [1, 0, 0]),
        ] {
            assert_eq!(Version::read(text), Some(Version(version)), "{text}");
        }
        assert_eq!(Version::read("no version here"), None);
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_command_that_mends_it() {
        let bindgen = Tool::WasmBindgen(Version([0, 2, 130]));
        assert_eq!(bindgen.misfit(Version([0, 2, 130])), None);
        assert!(bindgen.misfit(Version([0, 2, 129])).unwrap().contains("0.2.130"));
        assert_eq!(bindgen.install(), "cargo install wasm-bindgen-cli@0.2.130");
        let build = Tool::WorkerBuild(Version([0, 8, 3]));
        assert_eq!(build.misfit(Version([0, 8, 7])), None);
        assert!(build.misfit(Version([0, 9, 0])).is_some());
        assert_eq!(build.install(), "cargo install 'worker-build@^0.8'");
        assert!(Tool::WasmOpt.misfit(Version([108, 0, 0])).is_some());
        assert_eq!(Tool::WasmOpt.misfit(Version([132, 0, 0])), None);
    }

    /// A program that prints this version.
    fn program(path: &Path, version: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\necho {version}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_first_that_fits_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("w/site")).unwrap();
        let environment = |more: &[(&str, &str)]| {
            let path = at("bin").display().to_string();
            let home = at("home").display().to_string();
            let all = [("PATH", path.as_str()), ("HOME", home.as_str())];
            Environment::from_iter(all.iter().chain(more).copied())
        };
        let tool = Tool::WasmBindgen(Version([0, 2, 130]));
        let found = |more: &[(&str, &str)]| find(tool, &environment(more), &at("w/site"));
        assert_eq!(found(&[]).unwrap_err().what, "wasm-bindgen is not installed");

        program(&at("bin/wasm-bindgen"), "wasm-bindgen 0.2.99");
        let missing = found(&[]).unwrap_err();
        assert!(
            missing
                .what
                .ends_with("is wasm-bindgen 0.2.99, but the lock file has wasm-bindgen 0.2.130")
        );

        program(&at("home/.cache/worker-build/wasm-bindgen-x-0.2.130/wasm-bindgen"), "w 0.2.130");
        assert!(found(&[]).unwrap().program.starts_with(at("home")));
        program(&at("w/node_modules/.bin/wasm-bindgen"), "w 0.2.130");
        assert!(found(&[]).unwrap().program.starts_with(at("w/node_modules")));

        let asked = [("WASM_BINDGEN_BIN", "nowhere")];
        assert!(found(&asked).unwrap_err().what.contains("WASM_BINDGEN_BIN names `nowhere`"));
    }
}
