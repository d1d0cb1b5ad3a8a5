//! Short names for units that stand in one list: a crate's name, and only what tells it apart from its neighbors.
//!
//! One crate is often built more than once: in two versions, as a library and for its tests, for the host and for
//! another target, with two sets of features.

use std::collections::BTreeMap;

use plimsoll_core::invocation::UnitKind;
use plimsoll_core::unit::CompileConditions;

use crate::wording::{short, version};

/// What is known of a unit that gets a name.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its title: `serde v1.0.228`, `app v0.1.0 (test)`.
    pub title: &'a str,
    /// What it makes.
    pub kind: UnitKind,
    /// How it is made; nothing in older logs.
    pub made: Option<&'a CompileConditions>,
}

/// What may tell two units apart whose crates have one name, the plainest first. `None`: that says nothing of the unit.
type Difference = fn(&Named<'_>) -> Option<String>;

const DIFFERENCES: [Difference; 5] = [
    |unit| version(unit.title).map(|version| format!("v{version}")),
    |unit| (unit.kind == UnitKind::Test).then(|| "test build".to_owned()),
    |unit| Some(format!("for {}", target(unit)?.unwrap_or("the host"))),
    |unit| Some(if is_check(unit)? { "check" } else { "build" }.to_owned()),
    |unit| profile(unit).filter(|said| !said.is_empty()),
];

/// The name of each, in their order. Those of different units differ.
#[must_use]
pub fn labels(units: &[Named<'_>]) -> Vec<String> {
    let mut alike: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, unit) in units.iter().enumerate() {
        alike.entry(short(unit.title)).or_default().push(at);
    }
    let mut labels = vec![String::new(); units.len()];
    for (name, places) in alike {
        for (at, details) in places.iter().zip(details(units, &places)) {
            labels[*at] = match details.as_slice() {
                [] => name.clone(),
                details => format!("{name} ({})", details.join(", ")),
            };
        }
    }
    labels
}

/// For each of the units that have one name what tells it apart.
fn details(units: &[Named<'_>], places: &[usize]) -> Vec<Vec<String>> {
    let mut details: Vec<Vec<String>> = vec![Vec::new(); places.len()];
    let differ = |said: &[Option<String>]| said.iter().any(|it| *it != said[0]);
    for difference in DIFFERENCES {
        if all_differ(&details) {
            return details;
        }
        let said: Vec<_> = places.iter().map(|at| difference(&units[*at])).collect();
        if differ(&said) {
            details.iter_mut().zip(said).for_each(|(details, said)| details.extend(said));
        }
    }
    // A log has no features, only whether they are the same.
    let features = |at: &usize| units[*at].made.map(|made| made.features.as_str());
    let mut sets: Vec<_> = places.iter().map(features).collect();
    sets.dedup();
    if !all_differ(&details) && sets.len() > 1 {
        let mut seen = Vec::new();
        for (details, at) in details.iter_mut().zip(places) {
            let set = features(at);
            let number = seen.iter().position(|it| *it == set).unwrap_or_else(|| {
                seen.push(set);
                seen.len() - 1
            });
            details.push(format!("features {}", number + 1));
        }
    }
    // What is left is alike in all that a log knows: only its place in the list differs.
    let mut times: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for details in &mut details {
        let before = times.entry(details.clone()).or_default();
        *before += 1;
        if *before > 1 {
            details.push(format!("no. {before}"));
        }
    }
    details
}

fn all_differ(details: &[Vec<String>]) -> bool {
    let mut sorted: Vec<_> = details.iter().collect();
    sorted.sort();
    sorted.windows(2).all(|two| two[0] != two[1])
}

/// The platform that it is for: within, nothing is the host. `None` where the log does not say how it was made.
fn target<'a>(unit: &Named<'a>) -> Option<Option<&'a str>> {
    let how = unit.made?.how.as_str();
    Some(how.strip_prefix("for ").or_else(|| Some(how.split_once(" for ")?.1)))
}

fn is_check(unit: &Named<'_>) -> Option<bool> {
    Some(unit.made?.how.split(' ').any(|word| word == "check"))
}

/// The rest of how it was made, in the compiler's words: `-O3 lto`.
fn profile(unit: &Named<'_>) -> Option<String> {
    let how = &unit.made?.how;
    let how = how.split_once(" for ").map_or(how.as_str(), |(how, _)| how);
    let words: Vec<&str> = how.split(' ').filter(|word| *word != "check").collect();
    Some(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(units: &[(&str, UnitKind, &str, &str)]) -> Vec<String> {
        let made: Vec<CompileConditions> = units
            .iter()
            .map(|(_, _, how, features)| CompileConditions {
                how: (*how).to_owned(),
                features: (*features).to_owned(),
                ..CompileConditions::default()
            })
            .collect();
        let named: Vec<Named<'_>> = units
            .iter()
            .zip(&made)
            .map(|((title, kind, ..), made)| Named { title, kind: *kind, made: Some(made) })
            .collect();
        labels(&named)
    }

    #[test]
    fn what_appears_once_is_only_a_name() {
        let units = [
            ("serde v1.0.228", UnitKind::Lib, "-O0 for wasm32-unknown-unknown", "a"),
            ("app v0.1.0 (bin)", UnitKind::Bin, "-O0", ""),
            ("app v0.1.0 (build script)", UnitKind::BuildScript, "-O0", ""),
        ];
        assert_eq!(said(&units), ["serde", "app (bin)", "app (build.rs)"]);
    }

    #[test]
    fn what_appears_twice_says_what_differs_and_only_that() {
        let lib = UnitKind::Lib;
        for (a, b, labels) in [
            (
                ("syn v1.0.109", lib, "-O0", "a"),
                ("syn v2.0.1", lib, "-O3", "b"),
                ["syn (v1.0.109)", "syn (v2.0.1)"],
            ),
            (
                ("app v0.1.0 (lib)", UnitKind::Test, "-O0", ""),
                ("app v0.1.0 (lib)", lib, "-O0", ""),
                ["app (lib) (test build)", "app (lib)"],
            ),
            (
                ("serde v1.0.0", lib, "-O3 for wasm32-unknown-unknown", "a"),
                ("serde v1.0.0", lib, "-O0", "b"),
                ["serde (for wasm32-unknown-unknown)", "serde (for the host)"],
            ),
            (
                ("syn v2.0.1", lib, "check -O0", "a"),
                ("syn v2.0.1", lib, "-O0", "a"),
                ["syn (check)", "syn (build)"],
            ),
            (
                ("syn v2.0.1", lib, "-O3 lto", "a"),
                ("syn v2.0.1", lib, "-O0 -g2", "a"),
                ["syn (-O3 lto)", "syn (-O0 -g2)"],
            ),
            (
                ("syn v2.0.1", lib, "-O0", "a"),
                ("syn v2.0.1", lib, "-O0", "b"),
                ["syn (features 1)", "syn (features 2)"],
            ),
            (
                ("syn v2.0.1", lib, "-O0", "a"),
                ("syn v2.0.1", lib, "-O0", "a"),
                ["syn", "syn (no. 2)"],
            ),
        ] {
            assert_eq!(said(&[a, b]), labels);
        }
    }
}
