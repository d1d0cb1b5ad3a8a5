//! The stages of a build: parts of the workspace in an order in which each needs only those before it.
//!
//! Packages that lie in one folder belong together, as far as dependencies allow: folders of which each needs the
//! other are one stage. A package from elsewhere belongs to the first stage that needs it. What a stage is to the
//! schedule is said there; here is only who belongs to which.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path};

use plimsoll_core::unit::UnitFacts;

use crate::graph_node::{GraphNode, UnitName};

/// One stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// Its folders, from what all packages have in common; a package's name where that is no folder.
    pub name: String,
    /// The names of its packages.
    pub packages: Vec<String>,
    /// How many units it has, with those from elsewhere that nobody needed before.
    pub units: usize,
}

/// All of them, in order.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    stages: Vec<Stage>,
    /// From 1.
    of: HashMap<UnitName, u32>,
}

impl Stages {
    /// In the order in which they are built.
    #[must_use]
    pub fn list(&self) -> &[Stage] {
        &self.stages
    }

    /// The number of a unit's stage, from 1; zero, which is before all, where the graph does not have it.
    pub(crate) fn of(&self, facts: &UnitFacts) -> u32 {
        self.of.get(&UnitName::of(facts)).copied().unwrap_or_default()
    }

    pub(crate) fn find(nodes: &[GraphNode]) -> Self {
        let members: BTreeMap<&Path, &str> = nodes
            .iter()
            .filter_map(|node| Some((node.directory.as_deref()?, node.facts.package.as_str())))
            .collect();
        let folders = folders(&members.keys().copied().collect::<Vec<_>>());
        let mut parts = in_order(&folders, nodes);
        if parts.len() < 2 {
            // Folders say nothing here.
            let mut bearers: HashMap<&str, u32> = HashMap::new();
            members.values().for_each(|name| *bearers.entry(name).or_default() += 1);
            let label = |dir: &Path, name: &str| match bearers[name] {
                1 => name.to_owned(),
                _ => format!("{name} ({})", dir.display()),
            };
            let each = members.iter().map(|(dir, name)| (*dir, vec![label(dir, name)])).collect();
            parts = in_order(&each, nodes);
        }
        let mut units_of: HashMap<&Path, Vec<usize>> = HashMap::new();
        for (at, node) in nodes.iter().enumerate() {
            if let Some(dir) = node.directory.as_deref() {
                units_of.entry(dir).or_default().push(at);
            }
        }
        let mut stages = Self::default();
        let mut stage_of = vec![0u32; nodes.len()];
        for part in parts {
            let number = u32::try_from(stages.stages.len() + 1).unwrap_or(u32::MAX);
            let own = part.members.iter().filter_map(|dir| units_of.get(dir));
            let mut pending: Vec<usize> = own.flatten().copied().collect();
            let mut units = 0;
            while let Some(at) = pending.pop() {
                if stage_of[at] == 0 {
                    stage_of[at] = number;
                    units += 1;
                    pending.extend(&nodes[at].needs);
                }
            }
            let mut packages: Vec<String> =
                part.members.iter().map(|dir| members[dir].to_owned()).collect();
            packages.sort_unstable();
            let name = match part.names.iter().map(String::as_str).collect::<Vec<_>>() {
                names if names == [""] => packages.join(", "),
                names => names.join(" + "),
            };
            stages.stages.push(Stage { name, packages, units });
        }
        for (node, stage) in nodes.iter().zip(stage_of) {
            let seen = stages.of.entry(UnitName::of(&node.facts)).or_insert(stage);
            *seen = (*seen).min(stage);
        }
        stages
    }
}

/// Folders that go together.
#[derive(Default)]
struct Part<'a> {
    names: BTreeSet<String>,
    members: BTreeSet<&'a Path>,
}

/// The folder of each package, as words from what all have in common. A folder that holds more than half of all
/// packages says nothing of them: its own folders are taken then.
fn folders<'a>(members: &[&'a Path]) -> BTreeMap<&'a Path, Vec<String>> {
    let words = |path: &Path| -> Vec<String> {
        let names = path.components().filter(|it| !matches!(it, Component::RootDir));
        names.map(|it| it.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let all: Vec<Vec<String>> = members.iter().map(|path| words(path)).collect();
    let shortest = all.iter().map(Vec::len).min().unwrap_or_default();
    let common =
        (0..shortest).take_while(|&at| all.iter().all(|words| words[at] == all[0][at])).count();
    let mut taken = vec![1; all.len()];
    let folder = |at: usize, taken: &[usize]| -> Vec<String> {
        all[at][common..].iter().take(taken[at]).cloned().collect()
    };
    loop {
        let mut held: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
        for at in 0..all.len() {
            held.entry(folder(at, &taken)).or_default().push(at);
        }
        let too_large = |(name, those): &(&Vec<String>, &Vec<usize>)| {
            let splits = those.iter().any(|&at| all[at].len() - common > name.len());
            those.len() > 1 && those.len() * 2 > all.len() && splits && !name.is_empty()
        };
        let Some((_, those)) = held.iter().find(too_large) else { break };
        those.iter().for_each(|&at| taken[at] += 1);
    }
    (0..all.len()).map(|at| (members[at], folder(at, &taken))).collect()
}

/// The folders as parts of which each needs only those before it; of several that could come next, the first by name.
fn in_order<'a>(folders: &BTreeMap<&'a Path, Vec<String>>, nodes: &[GraphNode]) -> Vec<Part<'a>> {
    let names: Vec<&Vec<String>> = folders.values().collect::<BTreeSet<_>>().into_iter().collect();
    let numbers: HashMap<&Vec<String>, usize> =
        names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
    let number = |directory: &Path| numbers.get(folders.get(directory)?).copied();
    let mut needs: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); names.len()];
    for node in nodes {
        let Some(at) = node.directory.as_deref().and_then(number) else { continue };
        let needed = node.needs.iter().filter_map(|need| nodes.get(*need)?.directory.as_deref());
        needs[at].extend(needed.filter_map(number));
    }
    let circle_of = circles(&needs);
    let count = circle_of.iter().max().map_or(0, |last| last + 1);
    let mut parts: Vec<Part<'a>> = (0..count).map(|_| Part::default()).collect();
    for (at, name) in names.iter().enumerate() {
        parts[circle_of[at]].names.insert(name.join("/"));
    }
    for (dir, name) in folders {
        parts[circle_of[numbers[name]]].members.insert(dir);
    }
    // Which circles need this one, and how many this one waits for.
    let mut needed_by: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
    let mut first: Vec<usize> = vec![usize::MAX; count];
    for (at, needs) in needs.iter().enumerate() {
        let own = circle_of[at];
        first[own] = first[own].min(at);
        for need in needs.iter().map(|need| circle_of[*need]).filter(|need| *need != own) {
            needed_by[need].insert(own);
        }
    }
    let mut waits_for = vec![0usize; count];
    needed_by.iter().flatten().for_each(|circle| waits_for[*circle] += 1);
    let mut ready: BTreeSet<(usize, usize)> =
        (0..count).filter(|at| waits_for[*at] == 0).map(|at| (first[at], at)).collect();
    let mut ordered = Vec::with_capacity(count);
    while let Some((_, next)) = ready.pop_first() {
        ordered.push(std::mem::take(&mut parts[next]));
        for waiting in &needed_by[next] {
            waits_for[*waiting] -= 1;
            if waits_for[*waiting] == 0 {
                ready.insert((first[*waiting], *waiting));
            }
        }
    }
    ordered
}

/// The number of the circle that each is in: those that need each other, over others or not, have the same. (The
/// strongly connected components, by Kosaraju's two searches.)
fn circles(needs: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut needed_by: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); needs.len()];
    for (at, needs) in needs.iter().enumerate() {
        needs.iter().for_each(|need| _ = needed_by[*need].insert(at));
    }
    // In the order in which a search along the needs leaves them.
    let mut left = Vec::with_capacity(needs.len());
    let mut seen = vec![false; needs.len()];
    for start in 0..needs.len() {
        let mut path = Vec::new();
        if !std::mem::replace(&mut seen[start], true) {
            path.push((start, needs[start].iter()));
        }
        while let Some((at, rest)) = path.last_mut() {
            match rest.find(|need| !seen[**need]) {
                Some(&next) => {
                    seen[next] = true;
                    path.push((next, needs[next].iter()));
                }
                None => {
                    left.push(*at);
                    path.pop();
                }
            }
        }
    }
    let mut circle_of = vec![usize::MAX; needs.len()];
    let mut count = 0;
    for start in left.into_iter().rev() {
        if circle_of[start] != usize::MAX {
            continue;
        }
        let mut pending = vec![start];
        while let Some(at) = pending.pop() {
            if circle_of[at] == usize::MAX {
                circle_of[at] = count;
                pending.extend(&needed_by[at]);
            }
        }
        count += 1;
    }
    circle_of
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    /// A package's unit; one without a directory is from elsewhere.
    fn node(directory: &str, needs: &[usize]) -> GraphNode {
        let name = directory.rsplit('/').next().unwrap();
        let facts = UnitFacts::build_script_run(name.to_owned(), "1.0.0".to_owned());
        let directory = directory.starts_with('/').then(|| PathBuf::from(directory));
        GraphNode { facts, cpu: Default::default(), needs: needs.to_vec(), directory }
    }

    fn names(nodes: &[GraphNode]) -> Vec<String> {
        Stages::find(nodes).stages.into_iter().map(|stage| stage.name).collect()
    }

    #[test]
    fn folders_are_stages_in_the_order_of_their_needs_and_bring_what_is_new() {
        let nodes = [
            node("/w/cli", &[1, 5]),
            node("/w/crates/sql/model", &[2, 4]),
            node("/w/crates/sql/base", &[3, 6]),
            node("/w/crates/core", &[4]),
            node("serde", &[]),
            node("clap", &[4]),
            node("postgres", &[]),
            node("/w/crates/http", &[3]),
        ];
        let stages = Stages::find(&nodes);
        let shown: Vec<(&str, usize)> =
            stages.list().iter().map(|stage| (stage.name.as_str(), stage.units)).collect();
        assert_eq!(shown, [("crates/core", 2), ("crates/http", 1), ("crates/sql", 3), ("cli", 2)]);
        let of = |at: usize| stages.of(&nodes[at].facts);
        assert_eq!([of(4), of(6), of(5), of(0)], [1, 3, 4, 4]);
        assert_eq!(stages.list()[2].packages, ["base", "model"]);
    }

    #[test]
    fn folders_that_need_each_other_are_one_and_one_package_is_one_stage() {
        let circle =
            [node("/w/a/x", &[1]), node("/w/b/y", &[2]), node("/w/a/z", &[]), node("/w/c", &[0])];
        assert_eq!(names(&circle), ["a + b", "c"]);
        let all_in_circles =
            [node("/w/a/x", &[1]), node("/w/b/y", &[2]), node("/w/a/z", &[3]), node("/w/b/w", &[])];
        let packages = names(&all_in_circles);
        assert_eq!(packages, ["w", "z", "y", "x"], "packages where folders say nothing");
        assert_eq!(names(&[node("/w", &[1]), node("serde", &[])]), ["w"]);
        let root = [node("/w", &[1]), node("/w/sub", &[])];
        assert_eq!(names(&root), ["sub", "w"]);
        assert!(names(&[]).is_empty());
    }

    /// So many are ordered while the build goes on beside it: the work grows with the edges, not with their square.
    #[test]
    fn thousands_of_packages_are_put_in_order() {
        let count = 6000;
        let nodes: Vec<GraphNode> = (0..count)
            .map(|at| {
                let needs: Vec<usize> = (1..8).map(|far| at + far * far).collect();
                let needs: Vec<usize> = needs.into_iter().filter(|need| *need < count).collect();
                node(&format!("/w/p{at:04}"), &needs)
            })
            .collect();
        let names = names(&nodes);
        let expected: Vec<String> = (0..count).rev().map(|at| format!("p{at:04}")).collect();
        assert_eq!(names, expected);
    }

    proptest! {
        /// Each unit's stage is no earlier than any that it needs.
        #[test]
        fn nothing_comes_before_what_it_needs(
            places in proptest::collection::vec((0usize..4, 0usize..4, any::<bool>()), 1..24),
            edges in proptest::collection::vec((0usize..24, 0usize..24), 0..60),
        ) {
            let count = places.len();
            let nodes: Vec<GraphNode> = places.iter().enumerate().map(|(at, (a, b, ours))| {
                let needs: Vec<usize> = edges
                    .iter()
                    // What is from elsewhere needs only what is, too.
                    .filter(|(from, to)| *from == at && *to > at && *to < count)
                    .filter(|(_, to)| *ours || !places[*to].2)
                    .map(|(_, to)| *to)
                    .collect();
                let name = if *ours { format!("/w/{a}/{b}/p{at}") } else { format!("e{at}") };
                node(&name, &needs)
            }).collect();
            let stages = Stages::find(&nodes);
            for node in &nodes {
                let own = stages.of(&node.facts);
                prop_assert!(own as usize <= stages.list().len());
                for need in &node.needs {
                    prop_assert!(own == 0 || (1..=own).contains(&stages.of(&nodes[*need].facts)));
                }
            }
            let units: usize = stages.list().iter().map(|stage| stage.units).sum();
            prop_assert_eq!(units, nodes.iter().filter(|it| stages.of(&it.facts) > 0).count());
        }
    }
}
