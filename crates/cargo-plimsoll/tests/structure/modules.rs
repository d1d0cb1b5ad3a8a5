//! The modules of one crate and what each of them imports, read from the source with `syn`.
//!
//! What it deliberately does not do: resolve what a macro writes, or methods. An `impl` block far from its type
//! is not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A module's path from the root of its crate; empty for the root.
type ModulePath = Vec<String>;

/// One import, or one path in an expression or a type.
struct Mention {
    from: ModulePath,
    /// `crate`, `super` or `self`, and what follows.
    path: Vec<String>,
    file: PathBuf,
}

/// All modules of one crate, without its tests.
#[derive(Default)]
pub(crate) struct Modules {
    known: BTreeSet<ModulePath>,
    /// What each module imports, by the name under which it is known there.
    imports: BTreeMap<ModulePath, BTreeMap<String, Vec<String>>>,
    mentions: Vec<Mention>,
}

/// Two modules side by side, of which the first uses the second and the second, directly or not, the first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Circle {
    from: String,
    to: String,
    because: String,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} uses {}: {}", self.from, self.to, self.because)
    }
}

impl Modules {
    /// Reads the crate whose root is `file` (`src/lib.rs`).
    pub(crate) fn read(file: &Path) -> Self {
        let mut modules = Self::default();
        modules.read_file(file, file.parent().unwrap(), Vec::new());
        modules
    }

    /// `directory` is where the files of the module's children are.
    fn read_file(&mut self, file: &Path, directory: &Path, module: ModulePath) {
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.read_items(&parsed.items, file, directory, module);
    }

    fn read_items(
        &mut self,
        items: &[syn::Item],
        file: &Path,
        directory: &Path,
        module: ModulePath,
    ) {
        self.known.insert(module.clone());
        for item in items {
            if let syn::Item::Mod(child) = item {
                if !is_test(&child.attrs) {
                    self.read_child(child, file, directory, &module);
                }
                continue;
            }
            let mut paths = Paths::default();
            paths.visit_item(item);
            if let syn::Item::Use(import) = item {
                let named = self.imports.entry(module.clone()).or_default();
                named.extend(
                    flatten(&import.tree)
                        .into_iter()
                        .filter_map(|(name, path)| Some((name?, path))),
                );
            }
            self.mentions.extend(paths.found.into_iter().map(|path| Mention {
                from: module.clone(),
                path,
                file: file.to_owned(),
            }));
        }
    }

    fn read_child(
        &mut self,
        child: &syn::ItemMod,
        file: &Path,
        directory: &Path,
        parent: &[String],
    ) {
        let name = child.ident.to_string();
        let mut module = parent.to_vec();
        module.push(name.clone());
        let below = directory.join(&name);
        if let Some((_, items)) = &child.content {
            return self.read_items(items, file, &below, module);
        }
        let flat = directory.join(format!("{name}.rs"));
        let nested = below.join("mod.rs");
        self.read_file(if flat.is_file() { &flat } else { &nested }, &below, module);
    }

    /// The module in which what `path` names is defined, seen from the module `from`.
    fn resolve(&self, from: &[String], path: &[String]) -> Option<ModulePath> {
        self.resolve_within(from, path, 16)
    }

    fn resolve_within(&self, from: &[String], path: &[String], depth: u32) -> Option<ModulePath> {
        let depth = depth.checked_sub(1)?;
        let mut rest = path;
        let mut module: ModulePath = match rest.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => from.to_vec(),
            _ => from.to_vec(),
        };
        if matches!(rest[0].as_str(), "crate" | "self") {
            rest = &rest[1..];
        }
        while rest.first().is_some_and(|word| word == "super") {
            module.pop()?;
            rest = &rest[1..];
        }
        while let Some((name, after)) = rest.split_first() {
            let mut child = module.clone();
            child.push(name.clone());
            if self.known.contains(&child) {
                (module, rest) = (child, after);
                continue;
            }
            let imported = self.imports.get(&module).and_then(|names| names.get(name));
            if let Some(target) = imported {
                let mut target = target.clone();
                target.extend(after.iter().cloned());
                return self.resolve_within(&module, &target, depth);
            }
            // It is defined here, unless that is the name of another crate.
            return (rest.len() < path.len()).then_some(module);
        }
        Some(module)
    }

    /// What stands side by side in one module and uses each other in a circle. What a module has to do with its
    /// own children is no circle.
    pub(crate) fn circles(&self) -> BTreeSet<Circle> {
        let mut graphs: BTreeMap<ModulePath, BTreeMap<(String, String), String>> = BTreeMap::new();
        for Mention { from, path, file } in &self.mentions {
            let Some(to) = self.resolve(from, path) else { continue };
            let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
            if let (Some(one), Some(other)) = (from.get(common), to.get(common)) {
                let because = format!("`{}` in {}", path.join("::"), file.display());
                let graph = graphs.entry(from[..common].to_vec()).or_default();
                graph.entry((one.clone(), other.clone())).or_insert(because);
            }
        }
        let mut circles = BTreeSet::new();
        for (parent, graph) in graphs {
            let full = |name: &String| {
                let words: Vec<&str> = parent.iter().chain([name]).map(String::as_str).collect();
                words.join("::")
            };
            for ((from, to), because) in &graph {
                if reaches(&graph, to, from) {
                    let because = because.clone();
                    circles.insert(Circle { from: full(from), to: full(to), because });
                }
            }
        }
        circles
    }
}

fn reaches(graph: &BTreeMap<(String, String), String>, from: &str, to: &str) -> bool {
    let (mut seen, mut open) = (BTreeSet::from([from]), vec![from]);
    while let Some(here) = open.pop() {
        let next = graph.keys().filter(|(one, _)| one == here).map(|(_, other)| other.as_str());
        open.extend(next.filter(|other| seen.insert(other)));
    }
    seen.contains(to)
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    let tests = |attribute: &syn::Attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
    };
    attributes.iter().any(tests)
}

/// Every path of a `use`, and the name that it has from then on; none for `*` and `_`.
fn flatten(tree: &syn::UseTree) -> Vec<(Option<String>, Vec<String>)> {
    let under = |name: &syn::Ident, path: Vec<String>| {
        [name.to_string()].into_iter().chain(path).collect::<Vec<_>>()
    };
    match tree {
        syn::UseTree::Path(it) => {
            let below = flatten(&it.tree).into_iter();
            below
                .map(|(name, path)| match (name.as_deref(), path.as_slice()) {
                    (Some("self"), [last]) if last == "self" => {
                        (Some(it.ident.to_string()), vec![it.ident.to_string()])
                    }
                    _ => (name, under(&it.ident, path)),
                })
                .collect()
        }
        syn::UseTree::Name(it) => vec![(Some(it.ident.to_string()), vec![it.ident.to_string()])],
        syn::UseTree::Rename(it) => vec![(Some(it.rename.to_string()), vec![it.ident.to_string()])],
        syn::UseTree::Glob(_) => vec![(None, Vec::new())],
        syn::UseTree::Group(it) => it.items.iter().flat_map(flatten).collect(),
    }
}

/// Collects the paths of one item that begin at a module of this crate.
#[derive(Default)]
struct Paths {
    found: Vec<Vec<String>>,
}

impl Paths {
    fn take(&mut self, path: Vec<String>) {
        if path.first().is_some_and(|word| matches!(word.as_str(), "crate" | "super" | "self")) {
            self.found.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Use(it) => &it.attrs,
            syn::Item::Fn(it) => &it.attrs,
            syn::Item::Impl(it) => &it.attrs,
            syn::Item::Struct(it) => &it.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        flatten(&import.tree).into_iter().for_each(|(_, path)| self.take(path));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.take(path.segments.iter().map(|it| it.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}
