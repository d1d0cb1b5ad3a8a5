//! The package that is to become a Worker, with Cargo's own eyes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_cargo::Environment;
use plimsoll_cargo::metadata;
use semver::Version;
use serde::Deserialize;

use super::TARGET;

/// How it is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By `worker-build`, because it depends on this version of the library `worker`.
    Worker(Version),
    /// As wasm-pack does it, because it depends on `wasm-bindgen` only.
    Pack,
}

/// A package that can become a Worker.
#[derive(Clone, Debug)]
pub struct Project {
    /// How it is built.
    pub kind: Kind,
    /// The package's name.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// Its directory.
    pub directory: PathBuf,
    /// Its manifest.
    pub manifest: PathBuf,
    /// The crate's name: that of the module which Cargo writes.
    pub library: String,
    /// The version of `wasm-bindgen` that the lock file has for it.
    pub bindgen: Version,
    /// Cargo's target directory.
    pub target: PathBuf,
    /// The workspace's root.
    pub(crate) root: PathBuf,
    /// `[package.metadata.wasm-pack.profile]`.
    pub profiles: BTreeMap<String, Packing>,
}

/// What a package says to wasm-pack (and to worker-build) about one profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Packing {
    /// `true`, `false`, or wasm-opt's arguments.
    pub(crate) wasm_opt: Option<WasmOpt>,
    /// For wasm-bindgen.
    pub(crate) wasm_bindgen: Bindgen,
}

/// See [`Packing`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum WasmOpt {
    /// Whether it runs.
    Runs(bool),
    /// With these arguments.
    With(Vec<String>),
}

/// See [`Packing`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Bindgen {
    /// Checks in the JavaScript.
    pub(crate) debug_js_glue: Option<bool>,
    /// Names as people write them.
    pub(crate) demangle_name_section: Option<bool>,
    /// DWARF stays.
    pub(crate) dwarf_debug_info: Option<bool>,
}

impl Packing {
    /// wasm-opt's arguments; nothing where it does not run. A development build goes without unless it is asked for, as
    /// under wasm-pack.
    pub fn wasm_opt_words(&self, dev: bool) -> Option<Vec<String>> {
        match &self.wasm_opt {
            Some(WasmOpt::Runs(false)) => None,
            Some(WasmOpt::With(words)) => Some(words.clone()),
            Some(WasmOpt::Runs(true)) => Some(vec!["-O".to_owned()]),
            None => (!dev).then(|| vec!["-O".to_owned()]),
        }
    }
}

/// The part of `cargo metadata` that is of use.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    metadata: Option<PackageMetadata>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct PackageMetadata {
    wasm_pack: WasmPack,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WasmPack {
    profile: BTreeMap<String, Packing>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

impl Package {
    /// The library that Cargo links into a module.
    fn module(&self) -> Option<&Target> {
        self.targets.iter().find(|it| it.crate_types.iter().any(|kind| kind == "cdylib"))
    }

    fn directory(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }
}

impl Project {
    /// The package that is meant in `cwd`: the one named, the one around `cwd`, the only one that can become a Worker, or
    /// of those the only one with a file of wrangler's.
    ///
    /// # Errors
    /// What is wrong, in words for people: no workspace, no such package, none that can, or several.
    pub fn find(
        environment: &Environment,
        cwd: &Path,
        globals: &[OsString],
        named: Option<&str>,
    ) -> anyhow::Result<Self> {
        let words = ["--filter-platform", TARGET];
        let metadata: Metadata = metadata::read(environment, cwd, globals, &words)
            .context("cannot read this workspace and its dependencies")?;
        let cwd = cwd.canonicalize().unwrap_or_else(|_| cwd.to_owned());
        let has_wrangler = |package: &Package| {
            let files = ["wrangler.toml", "wrangler.json", "wrangler.jsonc"];
            files.iter().any(|file| package.directory().join(file).is_file())
        };
        choose(&metadata, &cwd, named, has_wrangler).map_err(anyhow::Error::msg)
    }
}

fn choose(
    metadata: &Metadata,
    cwd: &Path,
    named: Option<&str>,
    has_wrangler: impl Fn(&Package) -> bool,
) -> Result<Project, String> {
    let members: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|package| metadata.workspace_members.contains(&package.id))
        .collect();
    let around = || {
        let around = members.iter().filter(|package| cwd.starts_with(package.directory()));
        around.max_by_key(|package| package.directory().components().count())
    };
    let can: Vec<&Package> =
        members.iter().copied().filter(|package| project(metadata, package).is_ok()).collect();
    let package = match named {
        Some(name) => {
            members.iter().copied().find(|package| package.name == name).ok_or_else(|| {
                format!("no package of this workspace is called `{name}`{}", those(&can))
            })?
        }
        None => match (around(), can.as_slice()) {
            (Some(package), []) => package,
            (Some(package), _) if can.iter().any(|it| it.id == package.id) => package,
            (_, [only]) => only,
            (_, several) if several.iter().filter(|it| has_wrangler(it)).count() == 1 => {
                several.iter().copied().find(|it| has_wrangler(it)).unwrap_or(several[0])
            }
            (None, []) => {
                return Err("no package of this workspace can become a Worker: a Worker is a library of the crate \
                            type `cdylib` that depends on `worker` or `wasm-bindgen`"
                    .to_owned());
            }
            (_, several) => {
                return Err(format!("more than one package can become a Worker{}", those(several)));
            }
        },
    };
    project(metadata, package)
}

fn those(packages: &[&Package]) -> String {
    let names: Vec<_> = packages.iter().map(|package| format!("-p {}", package.name)).collect();
    if names.is_empty() { String::new() } else { format!("; write {}", names.join(" or ")) }
}

/// What is to be known of a package, or why it cannot become a Worker.
fn project(metadata: &Metadata, package: &Package) -> Result<Project, String> {
    let name = &package.name;
    let cannot = |why: &str| Err(format!("`{name}` cannot become a Worker: {why}"));
    let direct = dependencies(metadata, &package.id);
    let version = |name: &str, among: &BTreeSet<&str>| {
        let found = metadata.packages.iter().filter(|it| it.name == name);
        let mut found = found.filter(|it| among.contains(it.id.as_str()));
        found.next().and_then(|it| Version::parse(&it.version).ok())
    };
    let kind = match (version("worker", &direct), version("wasm-bindgen", &direct)) {
        (Some(worker), _) => Kind::Worker(worker),
        (None, Some(_)) => Kind::Pack,
        (None, None) => {
            return cannot("it depends neither on `worker` nor on `wasm-bindgen`");
        }
    };
    let Some(module) = package.module() else {
        return cannot(
            "its library is no `cdylib`; add `crate-type = [\"cdylib\"]` to [lib] in its Cargo.toml",
        );
    };
    let Some(bindgen) = version("wasm-bindgen", &everything_below(metadata, &package.id)) else {
        return cannot("none of its dependencies for wasm32 is `wasm-bindgen`");
    };
    let profiles = package.metadata.as_ref().map(|it| it.wasm_pack.profile.clone());
    Ok(Project {
        kind,
        name: name.clone(),
        version: package.version.clone(),
        directory: package.directory().to_owned(),
        manifest: package.manifest_path.clone(),
        library: module.name.replace('-', "_"),
        bindgen,
        target: metadata.target_directory.clone(),
        root: metadata.workspace_root.clone(),
        profiles: profiles.unwrap_or_default(),
    })
}

fn dependencies<'a>(metadata: &'a Metadata, id: &str) -> BTreeSet<&'a str> {
    let nodes = metadata.resolve.nodes.iter().filter(|node| node.id == id);
    nodes.flat_map(|node| &node.dependencies).map(String::as_str).collect()
}

fn everything_below<'a>(metadata: &'a Metadata, id: &str) -> BTreeSet<&'a str> {
    let mut found = dependencies(metadata, id);
    let mut open: Vec<&str> = found.iter().copied().collect();
    while let Some(next) = open.pop() {
        open.extend(dependencies(metadata, next).into_iter().filter(|id| found.insert(id)));
    }
    found
}

#[cfg(test)]
impl Project {
    /// A packed crate in `directory`.
    pub(crate) fn example(directory: &Path) -> Self {
        Self {
            kind: Kind::Pack,
            name: "my-pack".to_owned(),
            version: "1.2.3".to_owned(),
            directory: directory.to_owned(),
            manifest: directory.join("Cargo.toml"),
            library: "my_pack".to_owned(),
            bindgen: Version::new(0, 2, 130),
            target: directory.join("target"),
            root: directory.to_owned(),
            profiles: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace: a Worker, a packed crate, a library without a module, and one that is neither.
    fn workspace() -> Metadata {
        let package = |name: &str, kind: &str, metadata: &str| {
            format!(
                r#"{{"id":"{name}","name":"{name}","version":"0.8.7","manifest_path":"/w/{name}/Cargo.toml",
                "targets":[{{"name":"{name}","crate_types":["{kind}"]}}],"metadata":{metadata}}}"#
            )
        };
        let packing = r#"{"wasm-pack":{"profile":{"release":{"wasm-opt":["-Os"],"wasm-bindgen":{"dwarf-debug-info":true}},
            "dev":{"wasm-opt":false}}},"other":[1]}"#;
        let packages = [
            package("my-site", "cdylib", "null"),
            package("pack", "cdylib", packing),
            package("plain", "lib", "null"),
            package("shared", "lib", "null"),
            package("worker", "lib", "null"),
            package("wasm-bindgen", "lib", "null"),
        ];
        let text = format!(
            r#"{{"packages":[{}],"workspace_members":["my-site","pack","plain","shared"],"workspace_root":"/w",
            "target_directory":"/w/target","resolve":{{"nodes":[
            {{"id":"my-site","dependencies":["worker"]}},{{"id":"worker","dependencies":["wasm-bindgen"]}},
            {{"id":"pack","dependencies":["wasm-bindgen"]}},{{"id":"plain","dependencies":["wasm-bindgen"]}},
            {{"id":"shared","dependencies":[]}},{{"id":"wasm-bindgen","dependencies":[]}}]}}}}"#,
            packages.join(",")
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_package_that_is_meant_is_found() {
        let found = |cwd: &str, named| choose(&workspace(), Path::new(cwd), named, |_| false);
        let site = found("/w/my-site/src", None).unwrap();
        assert_eq!(site.kind, Kind::Worker(Version::new(0, 8, 7)));
        assert_eq!((site.library.as_str(), site.bindgen), ("my_site", Version::new(0, 8, 7)));
        assert_eq!(found("/w", Some("pack")).unwrap().kind, Kind::Pack);
        for (cwd, named, why) in [
            ("/w", None, "write -p my-site or -p pack"),
            ("/w/shared", None, "write -p my-site or -p pack"),
            ("/w", Some("nobody"), "is called `nobody`"),
            ("/w", Some("plain"), "crate-type = [\"cdylib\"]"),
            ("/w", Some("shared"), "depends neither on"),
        ] {
            let said = found(cwd, named).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn of_several_the_one_with_wranglers_file_is_meant() {
        let with = |names: &'static [&str]| {
            choose(&workspace(), Path::new("/w"), None, move |it| names.contains(&it.name.as_str()))
        };
        assert_eq!(with(&["pack", "shared"]).unwrap().name, "pack");
        assert!(with(&["pack", "my-site"]).is_err());
    }

    #[test]
    fn the_only_one_that_can_is_meant_from_everywhere() {
        let mut metadata = workspace();
        metadata.workspace_members.retain(|id| id != "pack");
        assert_eq!(
            choose(&metadata, Path::new("/w/shared"), None, |_| false).unwrap().name,
            "my-site"
        );
        metadata.workspace_members.retain(|id| id == "plain");
        let said = choose(&metadata, Path::new("/w/plain"), None, |_| false).unwrap_err();
        assert!(said.contains("cdylib"), "{said}");
    }

    #[test]
    fn what_a_package_says_to_wasm_pack_is_heard() {
        let pack = choose(&workspace(), Path::new("/w"), Some("pack"), |_| false).unwrap();
        let release = &pack.profiles["release"];
        assert_eq!(release.wasm_opt_words(false).unwrap(), ["-Os"]);
        assert_eq!(release.wasm_bindgen.dwarf_debug_info, Some(true));
        assert_eq!(pack.profiles["dev"].wasm_opt_words(true), None);
        assert_eq!(Packing::default().wasm_opt_words(false).unwrap(), ["-O"]);
        assert_eq!(Packing::default().wasm_opt_words(true), None);
    }
}
