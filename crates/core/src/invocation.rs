//! What a compiler invocation is: rustc's (or rustdoc's) command line read into an [`Invocation`].
//!
//! Only the words that matter to memory, order and retrying are read; everything else is left alone,
//! so an option that is new tomorrow changes nothing. Paths stay [`OsString`]s: they need not be UTF-8.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What kind of thing a unit makes. Together with the crate's name this tells Cargo's targets apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitKind {
    /// A library that is not linked (`lib`, `rlib`).
    Lib,
    /// A procedural macro: compiled for the host and linked.
    ProcMacro,
    /// An executable, `cdylib`, `dylib` or `staticlib`.
    Bin,
    /// A test or benchmark harness (`--test`).
    Test,
    /// The compilation of a build script.
    BuildScript,
    /// The run of a build script: not a compiler, seen from outside, never killed.
    BuildScriptRun,
    /// rustdoc writing documentation.
    Doc,
    /// rustdoc compiling and running documentation tests: never killed.
    DocTest,
    /// The run of a test or benchmark: not a compiler, never stopped and never killed.
    TestRun,
    /// A command that is not Cargo, and all that it starts: never killed.
    Command,
    /// The run of a program that works on what was compiled (wasm-bindgen, wasm-opt, a bundler), with a shim above it.
    Tool,
}

impl UnitKind {
    /// The word used on the wire, in the log and in the history.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lib => "lib",
            Self::ProcMacro => "proc-macro",
            Self::Bin => "bin",
            Self::Test => "test",
            Self::BuildScript => "build-script",
            Self::BuildScriptRun => "build-script-run",
            Self::Doc => "doc",
            Self::DocTest => "doc-test",
            Self::TestRun => "test-run",
            Self::Command => "command",
            Self::Tool => "tool",
        }
    }

    /// The kind that `word` names, if any.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Lib,
            Self::ProcMacro,
            Self::Bin,
            Self::Test,
            Self::BuildScript,
            Self::BuildScriptRun,
            Self::Doc,
            Self::DocTest,
            Self::TestRun,
            Self::Command,
            Self::Tool,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == word)
    }
}

/// How far the compiler goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Emit {
    /// Metadata only, as under `cargo check`.
    Check,
    /// Code generation, and linking where [`Invocation::links`] says so.
    Build,
}

/// What the shim found itself asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A question to the compiler (`-vV`, `--print`, source on standard input): passed straight on.
    Probe,
    /// A compilation.
    Compile(Box<Invocation>),
}

/// The part of one compiler command line that Plimsoll reasons about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// `--crate-name`, underscores as rustc has them.
    pub crate_name: String,
    /// What is made.
    pub kind: UnitKind,
    /// How Cargo calls a target of this kind: `bin`, `cdylib`, `example`, `bench`, …
    pub target_kind: &'static str,
    /// How far the compiler goes.
    pub emit: Emit,
    /// Whether a linker will run.
    pub links: bool,
    /// The crate's root source file.
    pub source: PathBuf,
    /// `--out-dir`.
    pub out_dir: Option<PathBuf>,
    /// `-C metadata`: Cargo's hash over package, version, source, features, profile, target and compiler.
    pub metadata: String,
    /// `-C extra-filename`.
    pub extra_filename: String,
    /// `--target`, where not the host.
    pub target: Option<String>,
    /// `-C opt-level`, `0` where not given.
    pub opt_level: String,
    /// `-C debuginfo`: 0 to 2.
    pub debuginfo: u8,
    /// `-C codegen-units`, where given.
    pub codegen_units: Option<u32>,
    /// The threads of the front end, where they are named (`-Zthreads`, `--jobs-frontend`); 0 is one for each
    /// processor.
    pub threads: Option<u32>,
    /// `-C lto` is on (thin or fat).
    pub lto: bool,
    /// It is fat: the whole program is optimised at once.
    pub fat_lto: bool,
    /// The incremental directory, where one is used.
    pub incremental: Option<PathBuf>,
    /// Names of the enabled features, sorted.
    pub features: Vec<String>,
    /// Paths given by `--extern`.
    pub externs: Vec<PathBuf>,
    /// `-C linker`, where given.
    pub linker: Option<OsString>,
}

impl Invocation {
    /// The files in [`Self::out_dir`] that are this unit's own start with this.
    #[must_use]
    pub fn file_stem(&self) -> String {
        format!("{}{}", self.crate_name, self.extra_filename)
    }

    /// The unit's name in Cargo's build directory: [`unit_name`] of its files.
    #[must_use]
    pub fn unit_name(&self) -> String {
        unit_name(self.out_dir.as_deref().unwrap_or(Path::new("")), &self.file_stem())
    }
}

/// A unit's name in Cargo's build directory: the stem of its files' names, as `serde-0123456789abcdef`. Where only the
/// unit's own folder has the hash (programs and dynamic libraries since Cargo 1.100) it is taken from there.
#[must_use]
pub fn unit_name(dir: &Path, stem: &str) -> String {
    let hash = own_folder(dir).and_then(Path::file_name).and_then(OsStr::to_str);
    match hash.filter(|_| without_hash(stem) == stem) {
        Some(hash) => format!("{stem}-{hash}"),
        None => stem.to_owned(),
    }
}

/// The folder that a unit has for itself, `build/<package>/<hash>`, where `dir` is its `out` or `artifact/<kind>` there
/// (Cargo 1.100: `compiler/layout.rs`); nothing where units share `deps`, as they did before.
#[must_use]
pub fn own_folder(dir: &Path) -> Option<&Path> {
    let folder = match dir.file_name() {
        Some(name) if name == "out" => dir.parent(),
        _ => dir.parent().filter(|it| it.ends_with("artifact")).and_then(Path::parent),
    };
    folder.filter(|it| it.file_name().and_then(OsStr::to_str).is_some_and(is_hash))
}

/// A file's name without the hash that Cargo puts behind it: `integration-4f3a…`.
#[must_use]
pub fn without_hash(stem: &str) -> &str {
    match stem.rsplit_once('-') {
        Some((name, hash)) if !name.is_empty() && is_hash(hash) => name,
        _ => stem,
    }
}

/// Whether this is how Cargo writes a unit's hash.
fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads a compiler's arguments (without the program itself; `@argfile`s already opened).
///
/// `rustdoc` tells which of the two compilers it is.
#[must_use]
pub fn parse(args: &[OsString], rustdoc: bool) -> Request {
    let mut words = Words { args, at: 0 };
    let mut found = FoundOptions { kind_words: Vec::new(), ..FoundOptions::default() };
    while let Some(arg) = words.next() {
        found.take(arg, &mut words);
    }
    found.into_request(rustdoc)
}

struct Words<'a> {
    args: &'a [OsString],
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a OsStr> {
        let word = self.args.get(self.at)?;
        self.at += 1;
        Some(word)
    }
}

#[derive(Default)]
struct FoundOptions {
    probe: bool,
    test: bool,
    crate_name: Option<String>,
    kind_words: Vec<String>,
    emit: Vec<String>,
    source: Option<PathBuf>,
    out_dir: Option<PathBuf>,
    metadata: String,
    extra_filename: String,
    target: Option<String>,
    opt_level: Option<String>,
    debuginfo: u8,
    codegen_units: Option<u32>,
    threads: Option<u32>,
    lto: bool,
    fat_lto: bool,
    incremental: Option<PathBuf>,
    features: Vec<String>,
    externs: Vec<PathBuf>,
    linker: Option<OsString>,
}

/// Options of rustc and rustdoc whose value is the next word where it does not follow a `=`.
const WITH_VALUE: &[&str] = &[
    "--cfg",
    "--check-cfg",
    "--crate-name",
    "--crate-type",
    "--edition",
    "--emit",
    "--extern",
    "--out-dir",
    "--print",
    "--target",
    "--error-format",
    "--json",
    "--color",
    "--diagnostic-width",
    "--remap-path-prefix",
    "--cap-lints",
    "--sysroot",
    "--explain",
    "--env-set",
    "--crate-version",
    "--output-format",
    "--test-args",
    "--test-run-directory",
    "--test-runtool",
    "--test-runtool-arg",
    "--runtool",
    "--runtool-arg",
    "--test-builder",
    "--markdown-css",
    "--html-in-header",
    "--html-before-content",
    "--html-after-content",
    "--extern-html-root-url",
    "--resource-suffix",
    "--theme",
    "--default-theme",
    "--codegen",
    "--warn",
    "--allow",
    "--deny",
    "--forbid",
    "--force-warn",
    "--output",
    "--jobs",
    "--jobs-frontend",
    "--jobs-backend",
    "--jobs-linker",
];

impl FoundOptions {
    fn take(&mut self, arg: &OsStr, words: &mut Words<'_>) {
        let Some(text) = arg.to_str() else {
            return self.take_bytes(arg, words);
        };
        match text {
            "-" | "-vV" | "-V" | "--version" | "-h" | "--help" => self.probe = true,
            "--test" => self.test = true,
            "-g" => self.debuginfo = 2,
            "-O" => self.opt_level = Some("3".to_owned()),
            "-C" | "--codegen" => {
                if let Some(value) = words.next() {
                    self.codegen(value);
                }
            }
            "-Z" => {
                if let Some(value) = words.next() {
                    self.unstable(value);
                }
            }
            "-o" | "-L" | "-l" | "-A" | "-W" | "-D" | "-F" | "-j" => {
                words.next();
            }
            _ if text.starts_with("-Z") => self.unstable(OsStr::new(&text[2..])),
            _ if text.starts_with("-C") => self.codegen(OsStr::new(&text[2..])),
            _ if text.starts_with("--") => {
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name, Some(OsStr::new(value))),
                    None if WITH_VALUE.contains(&text) => (text, words.next()),
                    None => (text, None),
                };
                if let Some(value) = value {
                    self.long(name, value);
                }
            }
            _ if text.starts_with('-') => {}
            _ => self.input(arg),
        }
    }

    /// The compiler takes one file, and Cargo names it before what a person adds: a word after it is the value of an
    /// option that is not known here.
    fn input(&mut self, file: &OsStr) {
        self.source.get_or_insert_with(|| PathBuf::from(file));
    }

    /// A word that is not UTF-8: an option whose value is a path, or the source file itself.
    fn take_bytes(&mut self, arg: &OsStr, _words: &mut Words<'_>) {
        match split_path_option(arg) {
            Some((name, value)) if name.starts_with("-C") => {
                let mut joined = OsString::from(&name[2..]);
                joined.push("=");
                joined.push(value);
                self.codegen(&joined);
            }
            Some((name, value)) => self.long(&name, &value),
            None if arg.as_encoded_bytes().starts_with(b"-") => {}
            None => self.input(arg),
        }
    }

    fn long(&mut self, name: &str, value: &OsStr) {
        let text = value.to_string_lossy();
        match name {
            "--crate-name" => self.crate_name = Some(text.into_owned()),
            "--crate-type" => self.kind_words.extend(text.split(',').map(str::to_owned)),
            "--emit" => self.emit.extend(
                text.split(',').map(|word| word.split('=').next().unwrap_or(word).to_owned()),
            ),
            "--print" => self.probe = true,
            "--out-dir" => self.out_dir = Some(PathBuf::from(value)),
            "--target" => self.target = Some(text.into_owned()),
            "--codegen" => self.codegen(value),
            "--jobs-frontend" => self.threads = text.parse().ok(),
            "--cfg" => {
                if let Some(feature) =
                    text.strip_prefix("feature=\"").and_then(|rest| rest.strip_suffix('"'))
                {
                    self.features.push(feature.to_owned());
                }
            }
            "--extern" => {
                if let Some((_, path)) = split_once_bytes(value, b'=') {
                    self.externs.push(PathBuf::from(path));
                }
            }
            _ => {}
        }
    }

    fn unstable(&mut self, value: &OsStr) {
        if let Some(threads) = value.to_str().and_then(|text| text.strip_prefix("threads=")) {
            self.threads = threads.parse().ok();
        }
    }

    fn codegen(&mut self, value: &OsStr) {
        let (name, rest) = match split_once_bytes(value, b'=') {
            Some((name, rest)) => (name.to_string_lossy().into_owned(), rest),
            None => (value.to_string_lossy().into_owned(), OsString::new()),
        };
        let text = rest.to_string_lossy();
        match name.replace('_', "-").as_str() {
            "metadata" => self.metadata = text.into_owned(),
            "extra-filename" => self.extra_filename = text.into_owned(),
            "opt-level" => self.opt_level = Some(text.into_owned()),
            "debuginfo" => {
                self.debuginfo = match text.as_ref() {
                    "0" | "none" => 0,
                    "1" | "limited" | "line-tables-only" | "line-directives-only" => 1,
                    _ => 2,
                };
            }
            "codegen-units" => self.codegen_units = text.parse().ok(),
            "lto" => {
                self.lto = !matches!(text.as_ref(), "off" | "no" | "n" | "false");
                self.fat_lto = self.lto && text != "thin";
            }
            "incremental" => self.incremental = Some(PathBuf::from(&rest)),
            "linker" => self.linker = Some(rest.clone()),
            _ => {}
        }
    }

    fn into_request(mut self, rustdoc: bool) -> Request {
        let (Some(source), false) = (self.source, self.probe) else {
            return Request::Probe;
        };
        let crate_name = self.crate_name.unwrap_or_else(|| stem_as_crate_name(&source));
        let kind = kind_of(&self.kind_words, self.test, rustdoc, &crate_name);
        let emit = if rustdoc || !self.emit.is_empty() && !self.emit.iter().any(|e| e == "link") {
            Emit::Check
        } else {
            Emit::Build
        };
        self.features.sort_unstable();
        Request::Compile(Box::new(Invocation {
            links: emit == Emit::Build
                && matches!(
                    kind,
                    UnitKind::Bin | UnitKind::Test | UnitKind::ProcMacro | UnitKind::BuildScript
                ),
            target_kind: target_kind(kind, &self.kind_words, &source, self.out_dir.as_deref()),
            crate_name,
            kind,
            emit,
            source,
            out_dir: self.out_dir,
            metadata: self.metadata,
            extra_filename: self.extra_filename,
            target: self.target,
            opt_level: self.opt_level.unwrap_or_else(|| "0".to_owned()),
            debuginfo: self.debuginfo,
            codegen_units: self.codegen_units,
            threads: self.threads,
            lto: self.lto,
            fat_lto: self.fat_lto,
            incremental: self.incremental,
            features: self.features,
            externs: self.externs,
            linker: self.linker,
        }))
    }
}

fn kind_of(crate_types: &[String], test: bool, rustdoc: bool, crate_name: &str) -> UnitKind {
    let is = |word: &str| crate_types.iter().any(|t| t == word);
    if rustdoc {
        return if test { UnitKind::DocTest } else { UnitKind::Doc };
    }
    if test {
        UnitKind::Test
    } else if is("proc-macro") {
        UnitKind::ProcMacro
    } else if is("cdylib") || is("dylib") || is("staticlib") {
        UnitKind::Bin
    } else if is("lib") || is("rlib") {
        UnitKind::Lib
    } else if crate_name.starts_with("build_script_") {
        UnitKind::BuildScript
    } else {
        UnitKind::Bin
    }
}

/// Cargo's word for the target. What is an example or a benchmark says only where its source lies, or its output.
fn target_kind(
    kind: UnitKind,
    crate_types: &[String],
    source: &Path,
    out_dir: Option<&Path>,
) -> &'static str {
    let lies_in = |name: &str| {
        let file = source.file_name().is_some_and(|file| file == "main.rs");
        let above = source.parent().filter(|dir| dir.file_name().is_some_and(|dir| dir != "src"));
        let dir = if file { above.and_then(Path::parent) } else { above };
        let own = |dir: Option<&Path>| dir.and_then(Path::file_name).is_some_and(|it| it == name);
        own(dir) || own(above)
    };
    let is_example = lies_in("examples") || out_dir.is_some_and(|dir| dir.ends_with("examples"));
    match kind {
        UnitKind::Bin | UnitKind::Lib if is_example => "example",
        UnitKind::Bin => ["cdylib", "dylib", "staticlib"]
            .into_iter()
            .find(|word| crate_types.iter().any(|it| it == word))
            .unwrap_or("bin"),
        UnitKind::Test if is_example => "example test",
        UnitKind::Test if lies_in("benches") => "bench",
        kind => kind.as_str(),
    }
}

fn stem_as_crate_name(source: &Path) -> String {
    source.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_")
}

/// Splits `--name=value` (or `-Cname=value`) where the value is not UTF-8.
fn split_path_option(arg: &OsStr) -> Option<(String, OsString)> {
    let (name, value) = split_once_bytes(arg, b'=')?;
    let name = name.to_str()?;
    name.starts_with('-').then(|| (name.to_owned(), value))
}

/// Splits at the first ASCII byte `at`. An `OsStr` may be cut there: its encoding is a superset of
/// ASCII that never uses ASCII bytes inside another character.
fn split_once_bytes(text: &OsStr, at: u8) -> Option<(&OsStr, OsString)> {
    let bytes = text.as_encoded_bytes();
    let cut = bytes.iter().position(|b| *b == at)?;
    let (head, tail) = (&bytes[..cut], &bytes[cut + 1..]);
    Some((std::str::from_utf8(head).ok().map(OsStr::new)?, os_from_bytes(tail)))
}

#[cfg(unix)]
fn os_from_bytes(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn os_from_bytes(bytes: &[u8]) -> OsString {
    OsString::from(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn compile(line: &str) -> Invocation {
        match parse(&words(line), false) {
            Request::Compile(invocation) => *invocation,
            Request::Probe => panic!("taken for a probe: {line}"),
        }
    }

    #[test]
    fn probes_are_told_from_compilations() {
        for line in [
            "-vV",
            "--version",
            "- --crate-name ___ --print=file-names --crate-type bin",
            "--print cfg src/lib.rs",
            "--crate-name probe0 --emit=llvm-ir -",
        ] {
            assert_eq!(parse(&words(line), false), Request::Probe, "{line}");
        }
    }

    #[test]
    fn a_library_as_cargo_1_95_compiles_it() {
        let unit = compile(
            "--crate-name serde --edition=2021 /r/serde-1.0/src/lib.rs --error-format=json \
             --json=diagnostic-rendered-ansi --crate-type lib --emit=dep-info,metadata,link \
             -C embed-bitcode=no -C debuginfo=2 --cfg feature=\"std\" --cfg feature=\"derive\" \
             --check-cfg cfg(docsrs,test) -C metadata=be1 -C extra-filename=-a2f --out-dir /t/deps \
             -L dependency=/t/deps --extern serde_core=/t/deps/libserde_core-1.rmeta \
             --extern serde_derive=/t/deps/libserde_derive-2.so --cap-lints allow",
        );
        assert_eq!(unit.crate_name, "serde");
        assert_eq!((unit.kind, unit.emit, unit.links), (UnitKind::Lib, Emit::Build, false));
        assert_eq!(unit.features, ["derive", "std"]);
        assert_eq!(unit.externs.len(), 2);
        assert_eq!((unit.metadata.as_str(), unit.file_stem().as_str()), ("be1", "serde-a2f"));
        assert_eq!(unit.debuginfo, 2);
        assert_eq!(unit.source, Path::new("/r/serde-1.0/src/lib.rs"));
    }

    #[test]
    fn a_programs_hash_may_be_in_its_folders_name_alone() {
        let name = |line: &str| compile(&format!("--crate-name app a.rs {line}")).unit_name();
        let own = "--out-dir /t/build/app/0123456789abcdef";
        let hash = "-C extra-filename=-fedcba9876543210";
        assert_eq!(name(&format!("{own}/out")), "app-0123456789abcdef");
        assert_eq!(name(&format!("{own}/artifact/bin")), "app-0123456789abcdef");
        assert_eq!(name(&format!("{own}/out {hash}")), "app-fedcba9876543210");
        assert_eq!(name(&format!("--out-dir /t/deps {hash}")), "app-fedcba9876543210");
        assert_eq!(name("--out-dir /t/out"), "app");
        assert_eq!(name(""), "app");
    }

    #[test]
    fn check_does_not_link_and_binaries_do() {
        let check = compile("--crate-name a src/main.rs --crate-type bin --emit=dep-info,metadata");
        assert_eq!((check.emit, check.links), (Emit::Check, false));
        let test = compile("--crate-name a src/lib.rs --emit=dep-info,link --test -Clinker=clang");
        assert_eq!((test.kind, test.links), (UnitKind::Test, true));
        assert_eq!(test.linker.as_deref(), Some(OsStr::new("clang")));
        let target = |line: &str| compile(&format!("--crate-name a {line}")).target_kind;
        for (word, line) in [
            ("lib", "src/lib.rs --crate-type lib"),
            ("cdylib", "src/lib.rs --crate-type cdylib --crate-type rlib"),
            ("dylib", "src/lib.rs --crate-type dylib"),
            ("staticlib", "src/lib.rs --crate-type staticlib"),
            ("proc-macro", "src/lib.rs --crate-type proc-macro"),
            ("bin", "src/main.rs --crate-type bin"),
            ("bin", "src/bin/a.rs --crate-type bin --out-dir /t/debug/deps"),
            ("bin", "/ws/examples/app/src/main.rs --crate-type bin"),
            ("example", "examples/a.rs --crate-type bin"),
            ("example", "examples/a/main.rs --crate-type bin"),
            ("example", "examples/a.rs --crate-type cdylib"),
            ("example", "demo.rs --crate-type bin --out-dir /t/debug/examples"),
            ("example test", "examples/a.rs --test --out-dir /t/debug/examples"),
            ("test", "src/lib.rs --test"),
            ("test", "tests/a.rs --test"),
            ("bench", "benches/a.rs --test"),
            ("bench", "benches/a/main.rs --test"),
        ] {
            assert_eq!(target(line), word, "{line}");
        }
        let script = compile("--crate-name build_script_build build.rs --crate-type bin");
        assert_eq!((script.kind, script.links), (UnitKind::BuildScript, true));
    }

    #[test]
    fn values_that_look_like_files_are_not_the_source() {
        let unit = compile("-L dep -o out.o --cap-lints allow -A warnings src/lib.rs -C lto=fat");
        assert_eq!(unit.source, Path::new("src/lib.rs"));
        assert!(unit.lto);
        assert_eq!(unit.crate_name, "lib");
    }

    #[test]
    fn the_threads_of_the_front_end_are_read_in_every_spelling() {
        for (options, threads) in [
            ("", None),
            ("-Zthreads=4", Some(4)),
            ("-Z threads=4", Some(4)),
            ("-Zunstable-options --jobs-frontend=4", Some(4)),
            ("-Z unstable-options --jobs-frontend 4", Some(4)),
            ("-Zthreads=8 -Zthreads=0", Some(0)),
            // These limit what the compiler does by itself.
            ("--jobs 4", None),
            ("-j 4 --jobs-backend 4 --jobs-linker 4", None),
            ("-j4 --jobs=4", None),
        ] {
            let unit = compile(&format!("--crate-name a src/lib.rs --crate-type lib {options}"));
            assert_eq!(unit.threads, threads, "{options}");
            assert_eq!(unit.source, Path::new("src/lib.rs"), "{options}");
        }
    }

    #[test]
    fn the_value_of_an_unknown_option_is_not_the_source() {
        let unit = compile("--crate-name a src/lib.rs --crate-type lib --invented-tomorrow value");
        assert_eq!(unit.source, Path::new("src/lib.rs"));
    }

    #[cfg(unix)]
    #[test]
    fn paths_need_not_be_utf8() {
        use std::os::unix::ffi::OsStringExt as _;
        let odd = |head: &str| {
            let mut bytes = head.as_bytes().to_vec();
            bytes.extend(b"/caf\xe9/lib.rs");
            OsString::from_vec(bytes)
        };
        let args = vec![odd("/src"), odd("--out-dir="), odd("--extern=a="), odd("-Clinker=")];
        let Request::Compile(unit) = parse(&args, false) else { panic!("a compilation") };
        assert_eq!(unit.source.as_os_str(), odd("/src"));
        assert_eq!(unit.out_dir.as_deref().map(Path::as_os_str), Some(odd("").as_os_str()));
        assert_eq!(unit.externs[0].as_os_str(), odd(""));
        assert_eq!(unit.linker, Some(odd("")));
    }
}
