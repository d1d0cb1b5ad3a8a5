//! A packed crate, step by step: what wasm-pack would run, as one command inside the budget.
//!
//! ```text
//! cargo build --lib ──▶ <target>/…/name.wasm ── wasm-bindgen ──▶ <stage>/ ── wasm-opt ──▶ <stage>/optimized.wasm
//! ```
//!
//! The driver starts [`main`] as the build's command; it starts Cargo and the tools, one after the other, and ends as the
//! first that fails. What is in the stage becomes the output when all is well.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

use super::TARGET;
use super::project::{Packing, Project};
use super::tools::Tool;

/// The first argument of a program that is to do this.
const ARGUMENT: &str = "__pack";

/// What wasm-opt writes.
pub(crate) const OPTIMIZED: &str = "optimized.wasm";

/// The section of a module that tells wasm-opt which features it may use.
const TELLS_FEATURES: &[u8] = b"target_features";

/// Those features, where the section is gone (`strip = true`), without which wasm-opt refuses the module: what rustc's
/// modules have by default, and what wasm-bindgen adds.
const FEATURES: [&str; 7] = [
    "mutable-globals",
    "sign-ext",
    "nontrapping-float-to-int",
    "bulk-memory",
    "multivalue",
    "reference-types",
    "exception-handling",
];

/// A program and its arguments.
#[derive(Debug, Serialize, Deserialize)]
struct Step {
    /// For people.
    name: String,
    /// The variable that names the program, or else `name` itself does.
    variable: Option<String>,
    words: Vec<OsString>,
}

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Pack<'a> {
    /// Of this package.
    pub project: &'a Project,
    /// What it says to wasm-pack of the profile.
    pub packing: &'a Packing,
    /// For development.
    pub dev: bool,
    /// Whether wasm-opt may run.
    pub optimize: bool,
    /// The files' name.
    pub name: &'a str,
    /// The module that Cargo writes.
    pub module: &'a Path,
    /// The directory that the tools write to, which is there.
    pub stage: &'a Path,
}

impl Pack<'_> {
    /// wasm-opt's arguments, where it runs.
    pub fn wasm_opt_words(&self) -> Option<Vec<String>> {
        self.packing.wasm_opt_words(self.dev).filter(|_| self.optimize)
    }

    /// The words after our own program's name, with Cargo's command among them.
    pub fn words(&self, cargo: &Command) -> Vec<OsString> {
        let mut steps = vec![Step {
            name: cargo.get_program().to_string_lossy().into_owned(),
            variable: None,
            words: cargo.get_args().map(OsString::from).collect(),
        }];
        steps.push(self.bind());
        steps.extend(self.wasm_opt_words().map(|words| self.optimize(words)));
        let steps = serde_json::to_string(&steps).unwrap_or_default();
        vec![ARGUMENT.into(), steps.into()]
    }

    fn bind(&self) -> Step {
        let bindgen = &self.packing.wasm_bindgen;
        let flags = [
            ("--debug", bindgen.debug_js_glue.unwrap_or(self.dev)),
            ("--no-demangle", !bindgen.demangle_name_section.unwrap_or(true)),
            ("--keep-debug", bindgen.dwarf_debug_info.unwrap_or(false)),
        ];
        let mut words: Vec<OsString> = vec![self.module.into(), "--out-dir".into()];
        words.extend([self.stage.into(), "--target".into(), "bundler".into()]);
        words.extend(["--out-name".into(), OsString::from(self.name), "--typescript".into()]);
        words.extend(flags.iter().filter(|(_, on)| *on).map(|(flag, _)| OsString::from(flag)));
        Step::of(&Tool::WasmBindgen(self.project.bindgen.clone()), words)
    }

    fn optimize(&self, asked: Vec<String>) -> Step {
        let mut words: Vec<OsString> = vec![self.bound().into(), "-o".into()];
        words.push(self.stage.join(OPTIMIZED).into());
        words.extend(asked.into_iter().map(OsString::from));
        Step::of(&Tool::WasmOpt, words)
    }

    /// The module that wasm-bindgen writes.
    pub(crate) fn bound(&self) -> PathBuf {
        self.stage.join(format!("{}_bg.wasm", self.name))
    }
}

impl Step {
    fn of(tool: &Tool, words: Vec<OsString>) -> Self {
        let variable = tool.variable().map(str::to_owned);
        Self { name: tool.name().to_owned(), variable, words }
    }
}

/// Where Cargo writes a crate's module.
pub fn module(target: &Path, profile: &str, library: &str) -> PathBuf {
    let directory = if profile == "dev" { "debug" } else { profile };
    target.join(TARGET).join(directory).join(library).with_extension("wasm")
}

/// Where this process is to run the steps: runs them, and gives its exit code, with what a person must be told.
#[must_use]
pub fn main() -> Option<(ExitCode, Option<String>)> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != ARGUMENT {
        return None;
    }
    let steps = args.next().and_then(|steps| serde_json::from_slice(steps.as_encoded_bytes()).ok());
    let steps: Vec<Step> = steps.unwrap_or_default();
    for mut step in steps {
        if step.name == Tool::WasmOpt.name() {
            step.words.extend(untold_features(step.words.first().map(Path::new)));
        }
        let is_cargo = step.variable.is_none();
        let named = step.variable.and_then(std::env::var_os);
        let program = named.unwrap_or_else(|| OsString::from(&step.name));
        let (code, why) = match Command::new(&program).args(&step.words).status() {
            Ok(status) if status.success() => continue,
            Ok(status) => {
                let code = status.code().or_else(|| Some(128 + status.signal()?));
                // Cargo has said why.
                (code, (!is_cargo).then(|| format!("{} failed: {status}", step.name)))
            }
            Err(error) => (None, Some(format!("cannot start `{}`: {error}", step.name))),
        };
        let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(101);
        return Some((ExitCode::from(code), why));
    }
    Some((ExitCode::SUCCESS, None))
}

/// wasm-opt's arguments for a module that does not tell its features itself.
fn untold_features(module: Option<&Path>) -> Vec<OsString> {
    let bytes = module.and_then(|module| std::fs::read(module).ok()).unwrap_or_default();
    if bytes.windows(TELLS_FEATURES.len()).any(|part| part == TELLS_FEATURES) {
        return Vec::new();
    }
    FEATURES.iter().map(|name| OsString::from(format!("--enable-{name}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::WasmOpt;

    fn words(packing: &Packing, dev: bool) -> Vec<String> {
        let project = Project::example(Path::new("/w"));
        let profile = if dev { "dev" } else { "release" };
        let module = module(Path::new("/w/t t"), profile, "my_pack");
        let (stage, name) = (Path::new("/s"), "out");
        let pack =
            Pack { project: &project, packing, dev, optimize: true, name, module: &module, stage };
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--lib"]);
        let said = pack.words(&cargo);
        assert_eq!(said[0], ARGUMENT);
        let steps: Vec<Step> = serde_json::from_slice(said[1].as_encoded_bytes()).unwrap();
        let line = |step: Step| {
            let words = step.words.into_iter().map(|word| word.into_string().unwrap());
            std::iter::once(step.name).chain(words).collect::<Vec<_>>().join(" ")
        };
        steps.into_iter().map(line).collect()
    }

    #[test]
    fn the_steps_are_wasm_packs() {
        let release = words(&Packing::default(), false);
        assert_eq!(release[0], "cargo build --lib");
        assert_eq!(
            release[1],
            "wasm-bindgen /w/t t/wasm32-unknown-unknown/release/my_pack.wasm --out-dir /s --target bundler \
             --out-name out --typescript"
        );
        assert_eq!(release[2], "wasm-opt /s/out_bg.wasm -o /s/optimized.wasm -O");
        let dev = words(&Packing::default(), true);
        assert!(dev[1].contains("/debug/my_pack.wasm") && dev[1].ends_with("--debug"));
        assert_eq!(dev.len(), 2, "not optimized");
    }

    #[test]
    fn what_the_package_asks_for_is_done() {
        let off = Packing { wasm_opt: Some(WasmOpt::Runs(false)), ..Packing::default() };
        assert_eq!(words(&off, false).len(), 2);
        let mut asked =
            Packing { wasm_opt: Some(WasmOpt::With(vec!["-Oz".to_owned()])), ..Packing::default() };
        asked.wasm_bindgen.demangle_name_section = Some(false);
        let words = words(&asked, true);
        assert!(words[1].contains("--no-demangle") && words[2].ends_with(" -Oz"));
    }

    #[test]
    fn features_are_named_where_the_module_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("a.wasm");
        std::fs::write(&module, b"\0asm\x01\0\0\0 \x0ftarget_features\x08+").unwrap();
        assert!(untold_features(Some(&module)).is_empty());
        std::fs::write(&module, b"\0asm\x01\0\0\0").unwrap();
        assert!(untold_features(Some(&module)).contains(&"--enable-reference-types".into()));
    }
}
