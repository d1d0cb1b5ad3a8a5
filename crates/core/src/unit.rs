//! What the governor knows of a unit before it starts, and the names under which it is remembered.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::invocation::{Emit, Invocation, UnitKind, without_hash};
use crate::oversized::Slimmer;

/// A unit as it registers: what was read from its command line and Cargo's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFacts {
    /// Cargo's package name (`CARGO_PKG_NAME`); the crate's name where Cargo gave none.
    pub package: String,
    /// The package's version (`CARGO_PKG_VERSION`), empty where unknown.
    pub version: String,
    /// The crate's name.
    pub crate_name: String,
    /// What is made.
    pub kind: UnitKind,
    /// How Cargo calls a target of this kind ([`Invocation::target_kind`]); empty for what is not compiled.
    pub target_kind: String,
    /// How far the compiler goes.
    pub emit: Emit,
    /// Whether a linker will run.
    pub links: bool,
    /// Cargo's `-C metadata` hash, empty where there is none.
    pub metadata: String,
    /// Its name in Cargo's build directory: `serde-a2f…`. What dependents name in `--extern` has it, too.
    pub unit_name: String,
    /// `--target`, empty for the host.
    pub target: String,
    /// `-C opt-level`.
    pub opt_level: String,
    /// `-C debuginfo`, 0 to 2.
    pub debuginfo: u8,
    /// `-C codegen-units`, 0 where not given.
    pub codegen_units: u32,
    /// The threads of the compiler's front end, 1 where they are not named: what a compiler takes by itself it does
    /// not say.
    pub threads: u32,
    /// `-C lto` is on.
    pub lto: bool,
    /// An incremental directory is used.
    pub incremental: bool,
    /// The enabled features, joined by commas. Of a test's run: the one test that is run, empty for all.
    pub features: String,
    /// The crate's root source file, absolute where the shim could make it so.
    pub source: PathBuf,
    /// The output of the package's build script (`OUT_DIR`), empty where there is none.
    pub out_dir: PathBuf,
    /// The dependencies' metadata and library files.
    pub externs: Vec<PathBuf>,
    /// Plimsoll may kill the compiler and start it again: it is rustc itself, with no wrapper that
    /// works elsewhere (sccache's server) and no effect beside its output files (`cargo fix`, doctests).
    pub retryable: bool,
    /// The settings with which this compiler would need less and write something else, in words; empty where there
    /// are none ([`crate::oversized::Slimmer`]).
    pub slimmer: String,
}

impl UnitFacts {
    /// The facts of `invocation`, for the package that Cargo names in the environment.
    #[must_use]
    pub fn new(invocation: Invocation, package: String, version: String) -> Self {
        let slimmer = Slimmer::of(&invocation).words;
        Self {
            slimmer,
            package: if package.is_empty() { invocation.crate_name.clone() } else { package },
            version,
            kind: invocation.kind,
            target_kind: invocation.target_kind.to_owned(),
            unit_name: invocation.unit_name(),
            emit: invocation.emit,
            links: invocation.links,
            metadata: invocation.metadata,
            target: invocation.target.unwrap_or_default(),
            opt_level: invocation.opt_level,
            debuginfo: invocation.debuginfo,
            codegen_units: invocation.codegen_units.unwrap_or(0),
            threads: invocation.threads.unwrap_or(1).max(1),
            lto: invocation.lto,
            incremental: invocation.incremental.is_some(),
            features: invocation.features.join(","),
            source: invocation.source,
            out_dir: PathBuf::new(),
            externs: invocation.externs,
            retryable: false,
            crate_name: invocation.crate_name,
        }
    }

    /// The facts of a build script's run, which no shim announces: `package` and `version` come from
    /// its environment.
    #[must_use]
    pub fn build_script_run(package: String, version: String) -> Self {
        Self::run(UnitKind::BuildScriptRun, package.replace('-', "_"), package, version)
    }

    /// The facts of the run of a test program whose file name begins with `stem`: of all of it, or of the one
    /// test that `case` names.
    #[must_use]
    pub fn test_run(package: String, version: String, stem: &str, case: &str) -> Self {
        let name = without_hash(stem).to_owned();
        let package = if package.is_empty() { name.clone() } else { package };
        let mut facts = Self::run(UnitKind::TestRun, name, package, version);
        case.clone_into(&mut facts.features);
        facts
    }

    /// The facts of a command that is not Cargo, by the name of its program.
    #[must_use]
    pub fn command(program: String) -> Self {
        Self::run(UnitKind::Command, program.clone(), program, String::new())
    }

    /// The facts of the run of the tool `name` on a package, of which it reads `input`.
    #[must_use]
    pub fn tool(name: String, package: String, version: String, input: PathBuf) -> Self {
        Self { source: input, ..Self::run(UnitKind::Tool, name, package, version) }
    }

    /// What runs and compiles nothing.
    fn run(kind: UnitKind, crate_name: String, package: String, version: String) -> Self {
        Self {
            crate_name,
            package,
            version,
            kind,
            target_kind: String::new(),
            emit: Emit::Build,
            links: false,
            metadata: String::new(),
            unit_name: String::new(),
            target: String::new(),
            opt_level: "0".to_owned(),
            debuginfo: 0,
            codegen_units: 0,
            threads: 1,
            lto: false,
            incremental: false,
            features: String::new(),
            source: PathBuf::new(),
            out_dir: PathBuf::new(),
            externs: Vec::new(),
            retryable: false,
            slimmer: String::new(),
        }
    }

    /// Whether the optimiser works on this unit; `-C opt-level` of 1 and more.
    #[must_use]
    pub fn optimised(&self) -> bool {
        self.opt_level != "0"
    }

    /// Whether a second run of the compiler writes the same metadata, as far as is known: with several threads in the
    /// front end it does not (rustc 1.97: two or three of a dozen crates differ between two builds).
    #[must_use]
    pub fn repeats(&self) -> bool {
        self.threads <= 1
    }

    /// Under which name this very unit is remembered. Cargo's metadata hash stands for package,
    /// version, source, features, profile, target and compiler; what it leaves out is added.
    #[must_use]
    pub fn key(&self) -> UnitKey {
        let mut hash = Fnv::new();
        for part in [
            &self.package,
            &self.version,
            &self.crate_name,
            self.kind.as_str(),
            &self.metadata,
            &self.target,
            &self.opt_level,
            &self.features,
        ] {
            hash.word(part.as_bytes());
        }
        hash.word(&[
            u8::from(self.emit == Emit::Build),
            self.debuginfo,
            u8::from(self.lto),
            u8::from(self.incremental),
        ]);
        hash.word(&self.codegen_units.to_le_bytes());
        // What was recorded before threads were told apart had one, mostly, and is found as before.
        if self.threads > 1 {
            hash.word(&self.threads.to_le_bytes());
        }
        UnitKey(format!("{:016x}", hash.0))
    }

    /// How it is made, as an event log has it.
    #[must_use]
    pub fn made(&self) -> CompileConditions {
        let hash = |bytes: &[u8]| {
            let mut hash = Fnv::new();
            hash.word(bytes);
            format!("{:016x}", hash.0)
        };
        let source = self.source.as_os_str().as_encoded_bytes();
        CompileConditions {
            how: self.how(),
            name: hash(self.unit_name.as_bytes()),
            features: hash(self.features.as_bytes()),
            source: hash(source),
            local: !self.source.as_os_str().is_empty() && !is_fetched(&self.source),
        }
    }

    /// What was asked of the compiler, in rustc's own terms, as the history says it.
    fn how(&self) -> String {
        let mut words = Vec::new();
        if self.emit == Emit::Check {
            words.push("check".to_owned());
        }
        words.push(format!("-O{}", self.opt_level));
        if self.debuginfo > 0 {
            words.push(format!("-g{}", self.debuginfo));
        }
        if self.lto {
            words.push("lto".to_owned());
        }
        if self.codegen_units > 0 {
            words.push(format!("cgu={}", self.codegen_units));
        }
        if self.threads > 1 {
            words.push(format!("{THREADS}{}", self.threads));
        }
        if self.incremental {
            words.push(INCREMENTAL.to_owned());
        }
        if !self.target.is_empty() {
            words.push(format!("for {}", self.target));
        }
        words.join(" ")
    }

    /// Which units are likely to need about as much: the same crate, made the same way, in any version,
    /// with any features, for any target. What no Cargo has asked for (it gives every crate a `-C metadata`) is a
    /// build script's probe: it may have the crate's name, and is none of it.
    #[must_use]
    pub fn family(&self) -> UnitFamily {
        let compiles = matches!(self.kind, UnitKind::Lib | UnitKind::Bin | UnitKind::ProcMacro);
        UnitFamily(format!(
            "{}/{}/{}/{}/{}{}",
            self.package,
            self.crate_name,
            self.kind.as_str(),
            if self.emit == Emit::Check { "check" } else { "build" },
            if self.optimised() { "opt" } else { "dev" },
            if compiles && self.metadata.is_empty() { "/probe" } else { "" },
        ))
    }

    /// How people call it: `serde v1.0.228`, `app v0.1.0 (test)`.
    #[must_use]
    pub fn title(&self) -> String {
        let mut title = self.package.clone();
        if !self.version.is_empty() {
            title.push_str(" v");
            title.push_str(&self.version);
        }
        match self.kind {
            UnitKind::Lib if self.target_kind != "example" => {}
            UnitKind::Lib | UnitKind::Bin | UnitKind::Test => {
                // A shim of before it was told says nothing.
                let word = match self.target_kind.as_str() {
                    "" => self.kind.as_str(),
                    word => word,
                };
                match self.crate_name == self.package.replace('-', "_") {
                    true => title.push_str(&format!(" ({word})")),
                    false => title.push_str(&format!(" ({word} {})", self.crate_name)),
                }
            }
            UnitKind::BuildScript => title.push_str(" (build script)"),
            UnitKind::BuildScriptRun => title.push_str(" (build script run)"),
            UnitKind::TestRun if self.features.is_empty() => {
                title.push_str(&format!(" (run of test {})", self.crate_name));
            }
            UnitKind::TestRun => {
                title.push_str(&format!(" (run of test {}: {})", self.crate_name, self.features));
            }
            UnitKind::Tool => title.push_str(&format!(" ({})", self.crate_name)),
            kind => title.push_str(&format!(" ({})", kind.as_str())),
        }
        title
    }
}

/// The word of [`CompileConditions::how`] for a unit that is compiled incrementally.
pub const INCREMENTAL: &str = "incremental";

/// How its word for the threads of the front end begins, which no profile sets.
const THREADS: &str = "threads=";

/// How a unit was made, as far as one build is compared with another by it. Paths and lists are hashes: a log
/// holds no secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileConditions {
    /// What was asked of the compiler: `check -O0`, `-O0 -g2 incremental`, `-O3 lto cgu=1`.
    pub how: String,
    /// Of its name in the build directory. Cargo's hash in that stands for all that [`UnitKey`] stands for and for the
    /// compiler's flags by the user (`RUSTFLAGS`), which are in no metadata
    /// (cargo 1.95: `core/compiler/build_runner/compilation_files.rs`, `compute_metadata`).
    pub name: String,
    /// Of its features.
    pub features: String,
    /// Of its root source file: two workspaces have no own one in common.
    pub source: String,
    /// It is not from a registry or a git checkout of Cargo's.
    #[serde(default)]
    pub local: bool,
}

impl CompileConditions {
    /// The part of [`Self::how`] that a profile or a target says; the rest are flags.
    pub fn profile(&self) -> impl Iterator<Item = &str> {
        self.how.split(' ').filter(|word| !word.starts_with(THREADS))
    }
}

/// Whether a source lies where Cargo puts what it fetched: `registry/src/…`, `git/checkouts/…`.
fn is_fetched(source: &std::path::Path) -> bool {
    let parts: Vec<_> = source.components().map(|part| part.as_os_str()).collect();
    let has = |a: &str, b: &str| parts.windows(2).any(|pair| pair[0] == a && pair[1] == b);
    has("registry", "src") || has("git", "checkouts")
}

/// The name of one exact unit in the history: 16 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitKey(pub String);

/// The name of a group of related units in the history: `package/crate/kind/emit/opt`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitFamily(pub String);

/// FNV-1a, 64 bits: stable between versions and machines, which std's hasher does not promise.
/// <http://www.isthe.com/chongo/tech/comp/fnv/>
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn word(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain([&0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::Request;

    #[test]
    fn a_test_is_the_same_after_it_was_compiled_anew() {
        let run = |stem: &str, case: &str| {
            UnitFacts::test_run("app".to_owned(), "1.0.0".to_owned(), stem, case)
        };
        let first = run("integration-0123456789abcdef", "");
        assert_eq!(first.key(), run("integration-fedcba9876543210", "").key());
        assert_ne!(first.key(), run("integration-0123456789abcdef", "one").key());
        assert_eq!(first.title(), "app v1.0.0 (run of test integration)");
        assert_eq!(run("a-b", "x::y").title(), "app v1.0.0 (run of test a-b: x::y)");
        assert_eq!(UnitFacts::command("make".to_owned()).title(), "make (command)");
        let [tool, package, version] = ["wasm-opt", "site", "0.1.0"].map(str::to_owned);
        let tool = UnitFacts::tool(tool, package, version, PathBuf::from("a_bg.wasm"));
        assert_eq!(tool.title(), "site v0.1.0 (wasm-opt)");
    }

    #[test]
    fn a_unit_is_called_by_cargos_word_for_its_target() {
        let title = |line: &str| {
            let args: Vec<_> = line.split(' ').map(Into::into).collect();
            let Request::Compile(invocation) = crate::invocation::parse(&args, false) else {
                panic!("{line}");
            };
            UnitFacts::new(*invocation, "the-app".to_owned(), "1.0.0".to_owned()).title()
        };
        for (line, called) in [
            ("--crate-name the_app src/lib.rs --crate-type lib", ""),
            ("--crate-name the_app src/lib.rs --crate-type cdylib", " (cdylib)"),
            ("--crate-name ffi src/lib.rs --crate-type staticlib", " (staticlib ffi)"),
            ("--crate-name the_app src/main.rs --crate-type bin", " (bin)"),
            ("--crate-name tool src/bin/tool.rs --crate-type bin", " (bin tool)"),
            ("--crate-name the_app src/lib.rs --test", " (test)"),
            ("--crate-name it tests/it.rs --test", " (test it)"),
            ("--crate-name speed benches/speed.rs --test", " (bench speed)"),
            ("--crate-name show examples/show.rs --crate-type bin", " (example show)"),
            ("--crate-name show examples/show.rs --crate-type lib", " (example show)"),
            ("--crate-name the_app src/lib.rs --crate-type proc-macro", " (proc-macro)"),
            ("--crate-name build_script_build build.rs --crate-type bin", " (build script)"),
        ] {
            assert_eq!(title(line), format!("the-app v1.0.0{called}"), "{line}");
        }
    }

    #[test]
    fn how_a_unit_is_made_tells_no_paths_and_what_is_the_users_own() {
        let mut facts = UnitFacts::build_script_run("serde".to_owned(), "1.0.1".to_owned());
        facts.source = "/h/.cargo/registry/src/index-1/serde-1.0.1/src/lib.rs".into();
        (facts.debuginfo, facts.incremental, facts.codegen_units) = (2, true, 256);
        let made = facts.made();
        assert_eq!((made.how.as_str(), made.local), ("-O0 -g2 cgu=256 incremental", false));
        assert_eq!(made.source.len(), 16);
        facts.unit_name = "serde-1234".to_owned();
        assert_ne!(made.name, facts.made().name);
        facts.source = "/home/me/registry/mine/src/lib.rs".into();
        assert!(facts.made().local);
        assert_ne!(made.source, facts.made().source);
    }

    #[test]
    fn the_key_tells_profiles_apart_and_the_family_does_not() {
        let mut a = UnitFacts::build_script_run("serde".to_owned(), "1.0.1".to_owned());
        a.kind = UnitKind::Lib;
        let mut b = a.clone();
        b.version = "1.0.2".to_owned();
        b.debuginfo = 2;
        assert_ne!(a.key(), b.key());
        assert_eq!(a.family(), b.family());
        b.opt_level = "3".to_owned();
        assert_ne!(a.family(), b.family());
        let mut threaded = a.clone();
        threaded.threads = 4;
        assert_ne!(a.key(), threaded.key());
        assert_eq!(a.family(), threaded.family());
        assert_eq!((threaded.made().how.as_str(), threaded.repeats()), ("-O0 threads=4", false));
        assert_eq!(a.title(), "serde v1.0.1");
    }
}
