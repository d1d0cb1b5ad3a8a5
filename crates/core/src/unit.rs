//! What the governor knows of a unit before it starts, and the names under which it is remembered.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::invocation::{Emit, Invocation, UnitKind};

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
    /// How far the compiler goes.
    pub emit: Emit,
    /// Whether a linker will run.
    pub links: bool,
    /// Cargo's `-C metadata` hash, empty where there is none.
    pub metadata: String,
    /// The start of its output files' names: `serde-a2f…`. Dependents name it so in `--extern`.
    pub file_stem: String,
    /// `--target`, empty for the host.
    pub target: String,
    /// `-C opt-level`.
    pub opt_level: String,
    /// `-C debuginfo`, 0 to 2.
    pub debuginfo: u8,
    /// `-C codegen-units`, 0 where not given.
    pub codegen_units: u32,
    /// `-C lto` is on.
    pub lto: bool,
    /// An incremental directory is used.
    pub incremental: bool,
    /// The enabled features, joined by commas.
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
}

impl UnitFacts {
    /// The facts of `invocation`, for the package that Cargo names in the environment.
    #[must_use]
    pub fn new(invocation: Invocation, package: String, version: String) -> Self {
        Self {
            package: if package.is_empty() { invocation.crate_name.clone() } else { package },
            version,
            kind: invocation.kind,
            file_stem: invocation.file_stem(),
            emit: invocation.emit,
            links: invocation.links,
            metadata: invocation.metadata,
            target: invocation.target.unwrap_or_default(),
            opt_level: invocation.opt_level,
            debuginfo: invocation.debuginfo,
            codegen_units: invocation.codegen_units.unwrap_or(0),
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
        Self {
            crate_name: package.replace('-', "_"),
            package,
            version,
            kind: UnitKind::BuildScriptRun,
            emit: Emit::Build,
            links: false,
            metadata: String::new(),
            file_stem: String::new(),
            target: String::new(),
            opt_level: "0".to_owned(),
            debuginfo: 0,
            codegen_units: 0,
            lto: false,
            incremental: false,
            features: String::new(),
            source: PathBuf::new(),
            out_dir: PathBuf::new(),
            externs: Vec::new(),
            retryable: false,
        }
    }

    /// Whether the optimiser works on this unit; `-C opt-level` of 1 and more.
    #[must_use]
    pub fn optimised(&self) -> bool {
        self.opt_level != "0"
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
        UnitKey(format!("{:016x}", hash.0))
    }

    /// Which units are likely to need about as much: the same crate, made the same way, in any version,
    /// with any features, for any target.
    #[must_use]
    pub fn family(&self) -> Family {
        Family(format!(
            "{}/{}/{}/{}/{}",
            self.package,
            self.crate_name,
            self.kind.as_str(),
            if self.emit == Emit::Check { "check" } else { "build" },
            if self.optimised() { "opt" } else { "dev" },
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
            UnitKind::Lib => {}
            UnitKind::Bin if self.crate_name == self.package.replace('-', "_") => {
                title.push_str(" (bin)");
            }
            UnitKind::Bin => title.push_str(&format!(" (bin {})", self.crate_name)),
            UnitKind::BuildScript => title.push_str(" (build script)"),
            UnitKind::BuildScriptRun => title.push_str(" (build script run)"),
            kind => title.push_str(&format!(" ({})", kind.as_str())),
        }
        title
    }
}

/// The name of one exact unit in the history: 16 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitKey(pub String);

/// The name of a group of related units in the history: `package/crate/kind/emit/opt`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Family(pub String);

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
        assert_eq!(a.title(), "serde v1.0.1");
    }
}
