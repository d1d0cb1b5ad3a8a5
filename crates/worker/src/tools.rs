//! The tools of a Worker build: where each is, whether its version fits, and the command that installs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll_cargo::metadata::answer;
use semver::Version;

use plimsoll_cargo::Environment;

/// The first version in a text: of `wasm-bindgen 0.2.130`, `wasm-opt version 132 (version_132)`, `0.28.2`. Numbers that a
/// tool does not count in are 0.
pub(crate) fn version_in(text: &str) -> Option<Version> {
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let word = text.split_whitespace().find(is_version)?;
    let whole = |more: &str| Version::parse(&format!("{word}{more}")).ok();
    whole("").or_else(|| whole(".0")).or_else(|| whole(".0.0"))
}

/// As Cargo understands `^0.8`: the first number that is not zero is the same.
fn is_compatible(one: &Version, other: &Version) -> bool {
    one.major == other.major && (one.major > 0 || one.minor == other.minor)
}

/// A tool, and which of its versions fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The Workers' own build program, as old as this version of the library `worker`.
    WorkerBuild(Version),
    /// wasm-bindgen's command, whose version must be the library's: the two share a format that changes.
    WasmBindgen(Version),
    /// Binaryen's optimizer.
    WasmOpt,
    /// The bundler.
    Esbuild,
}

impl Tool {
    /// Under which it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::WorkerBuild(_) => "worker-build",
            Self::WasmBindgen(_) => "wasm-bindgen",
            Self::WasmOpt => "wasm-opt",
            Self::Esbuild => "esbuild",
        }
    }

    /// By which worker-build is told of another one than it would fetch.
    pub fn variable(&self) -> Option<&'static str> {
        match self {
            Self::WorkerBuild(_) => None,
            Self::WasmBindgen(_) => Some("WASM_BINDGEN_BIN"),
            Self::WasmOpt => Some("WASM_OPT_BIN"),
            Self::Esbuild => Some("ESBUILD_BIN"),
        }
    }

    /// What it must be, where `version` is not.
    fn misfit(&self, version: &Version) -> Option<String> {
        /// The first release that knows every feature which rustc's modules name.
        const BINARYEN: u64 = 119;
        /// The first release that knows `import source`, which wasm-bindgen writes.
        const ESBUILD: Version = Version::new(0, 25, 7);
        let (fits, wanted) = match self {
            Self::WorkerBuild(worker) => {
                let Version { major, minor, .. } = worker;
                let wanted = format!(
                    "the lock file has worker {worker}, which needs worker-build {major}.{minor}.x"
                );
                (is_compatible(worker, version), wanted)
            }
            Self::WasmBindgen(library) => {
                (library == version, format!("the lock file has wasm-bindgen {library}"))
            }
            Self::WasmOpt => (version.major >= BINARYEN, format!("{BINARYEN} or later is needed")),
            Self::Esbuild => (*version >= ESBUILD, format!("{ESBUILD} or later is needed")),
        };
        (!fits).then_some(wanted)
    }

    /// The one command that installs a version that fits.
    fn install(&self) -> String {
        match self {
            Self::WorkerBuild(worker) => {
                let Version { major, minor, .. } = worker;
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
    for program in places(&tool, environment, directory).into_iter().filter(|it| it.is_file()) {
        let said = answer(Command::new(&program).arg("--version").current_dir(directory));
        let version = said.ok().and_then(|said| version_in(&String::from_utf8_lossy(&said)));
        match version.map(|version| (tool.misfit(&version), version)) {
            Some((None, _)) => return Ok(Found { tool, program }),
            Some((Some(wanted), version)) => misfits.push(format!(
                "`{}` is {} {version}, but {wanted}",
                program.display(),
                tool.name()
            )),
            None => {
                misfits.push(format!("`{} --version` prints no version", program.display()));
            }
        }
    }
    let set = tool.variable().and_then(|name| Some((name, environment.get(name)?)));
    let what = match (misfits.first(), set) {
        (Some(misfit), _) => misfit.clone(),
        (None, Some((name, set))) => {
            format!("{name} names `{}`, which is not a program", set.display())
        }
        (None, None) => format!("{} is not installed", tool.name()),
    };
    Err(Missing { what, install: tool.install() })
}

fn places(tool: &Tool, environment: &Environment, directory: &Path) -> Vec<PathBuf> {
    let name = tool.name();
    if let Some(set) = tool.variable().and_then(|name| environment.get(name)) {
        return environment.programs(set, directory).collect();
    }
    let mut places: Vec<PathBuf> = environment.programs(name, directory).collect();
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
            ("wasm-bindgen 0.2.130\n", "0.2.130"),
            ("wasm-opt version 132 (version_132)", "132.0.0"),
            ("0.28.2\n", "0.28.2"),
            ("0.8.7", "0.8.7"),
            ("1.0.0-rc.1", "1.0.0-rc.1"),
        ] {
            assert_eq!(version_in(text), Some(Version::parse(version).unwrap()), "{text}");
        }
        assert_eq!(version_in("no version here"), None);
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_command_that_mends_it() {
        let bindgen = Tool::WasmBindgen(Version::new(0, 2, 130));
        assert_eq!(bindgen.misfit(&Version::new(0, 2, 130)), None);
        assert!(bindgen.misfit(&Version::new(0, 2, 129)).unwrap().contains("0.2.130"));
        assert_eq!(bindgen.install(), "cargo install wasm-bindgen-cli@0.2.130");
        let build = Tool::WorkerBuild(Version::new(0, 8, 3));
        assert_eq!(build.misfit(&Version::new(0, 8, 7)), None);
        assert!(build.misfit(&Version::new(0, 9, 0)).is_some());
        assert_eq!(build.install(), "cargo install 'worker-build@^0.8'");
        assert!(Tool::WasmOpt.misfit(&Version::new(108, 0, 0)).is_some());
        assert_eq!(Tool::WasmOpt.misfit(&Version::new(132, 0, 0)), None);
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
        let tool = Tool::WasmBindgen(Version::new(0, 2, 130));
        let found = |more: &[(&str, &str)]| find(tool.clone(), &environment(more), &at("w/site"));
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
