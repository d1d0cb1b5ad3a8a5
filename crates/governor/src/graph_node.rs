//! One unit of Cargo's unit graph, as far as it matters here.

use std::path::{Path, PathBuf};

use plimsoll_core::Millis;
use plimsoll_core::forecast::Forecast;
use plimsoll_core::invocation::{Emit, UnitKind};
use plimsoll_core::unit::UnitFacts;
use serde_json::Value;

use crate::sizes;

/// What a unit is known by in a graph: package, version, crate and kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UnitName {
    pub(crate) package: String,
    version: String,
    crate_name: String,
    kind: UnitKind,
}

impl UnitName {
    pub(crate) fn of(facts: &UnitFacts) -> Self {
        Self {
            package: facts.package.clone(),
            version: facts.version.clone(),
            crate_name: facts.crate_name.clone(),
            kind: facts.kind,
        }
    }
}

/// One unit of Cargo's graph, as far as it matters here.
#[derive(Debug)]
pub(crate) struct GraphNode {
    pub(crate) facts: UnitFacts,
    pub(crate) cpu: Millis,
    pub(crate) needs: Vec<usize>,
    /// Its package's directory, where that is not from elsewhere.
    pub(crate) directory: Option<PathBuf>,
}

impl GraphNode {
    /// One entry of `units` in the JSON that Cargo writes.
    pub(crate) fn read(unit: &Value) -> Option<Self> {
        let target = &unit["target"];
        let id = unit["pkg_id"].as_str()?;
        let (package, version) = package(id)?;
        let mode = unit["mode"].as_str()?;
        let kinds: Vec<&str> =
            target["kind"].as_array()?.iter().filter_map(Value::as_str).collect();
        let kind = match mode {
            "run-custom-build" => UnitKind::BuildScriptRun,
            "test" => UnitKind::Test,
            "doc" => UnitKind::Doc,
            "doctest" => UnitKind::DocTest,
            _ if kinds.contains(&"custom-build") => UnitKind::BuildScript,
            _ if kinds.contains(&"proc-macro") => UnitKind::ProcMacro,
            // As the compiler is told: what is linked, too, is what its unit is.
            _ if kinds.iter().any(|kind| matches!(*kind, "cdylib" | "dylib" | "staticlib")) => {
                UnitKind::Bin
            }
            _ if kinds.iter().any(|kind| matches!(*kind, "lib" | "rlib")) => UnitKind::Lib,
            _ => UnitKind::Bin,
        };
        let mut facts = UnitFacts::build_script_run(package, version);
        facts.kind = kind;
        facts.crate_name = match kind {
            UnitKind::BuildScriptRun => facts.crate_name,
            _ => target["name"].as_str()?.replace('-', "_"),
        };
        facts.emit = if mode == "check" { Emit::Check } else { Emit::Build };
        facts.opt_level = unit["profile"]["opt_level"].as_str().unwrap_or("0").to_owned();
        facts.source = PathBuf::from(target["src_path"].as_str().unwrap_or_default());
        let sizes = sizes::of(&facts);
        let needs = unit["dependencies"].as_array()?;
        Some(Self {
            cpu: Forecast::cold(&facts, &sizes).curve.cpu(),
            needs: needs.iter().filter_map(|d| d["index"].as_u64()).map(|at| at as usize).collect(),
            directory: directory(id),
            facts,
        })
    }
}

/// Name and version of a package id: `registry+…#serde@1.0.1`, `path+file:///a/app#0.1.0`, and where the
/// directory has another name `path+file:///a/dir#app@0.1.0`.
fn package(id: &str) -> Option<(String, String)> {
    let (place, name) = id.rsplit_once('#')?;
    match name.split_once('@') {
        Some((name, version)) => Some((name.to_owned(), version.to_owned())),
        None => {
            let directory = Path::new(place.split('?').next()?).file_name()?.to_str()?;
            Some((directory.to_owned(), name.to_owned()))
        }
    }
}

/// The directory of a package that lies on this machine: of `path+file:///w/a%20b#0.1.0`.
fn directory(id: &str) -> Option<PathBuf> {
    let (place, _) = id.rsplit_once('#')?;
    let path = place.strip_prefix("path+file://")?.split('?').next()?;
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let code =
            code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    use std::os::unix::ffi::OsStringExt as _;
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_from_a_package_id() {
        let read = |id: &str| directory(id).map(|path| path.display().to_string());
        assert_eq!(read("path+file:///w/in%C3%ADcio%20a#b@0.1.0").unwrap(), "/w/início a");
        assert_eq!(read("path+file:///w/100%#0.1.0").unwrap(), "/w/100%");
        assert_eq!(read("registry+https://index#serde@1.0.0"), None);
    }
}
