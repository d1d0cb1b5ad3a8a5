//! How far each unit of a finished build was from its end: what the next build of it is planned by.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use plimsoll_core::invocation::{UnitKind, unit_name};
use plimsoll_core::unit::UnitKey;
use plimsoll_core::{BuildNo, Millis, UnitId};

use crate::unit_record::UnitRecord;
use crate::unit_records::UnitRecords;

/// How much of a library's time goes by before its metadata lets dependents start: the front end is
/// about half of cranelift-codegen's time in a dev build, and most of small crates'.
const METADATA_AT: f64 = 0.55;

/// The bottom level of every unit of a finished build: the longest chain of processor time from its
/// start to the end of the build, along the edges that its `--extern`s showed; of what is inside another one, to the end
/// of whatever asked for it there. (Where the same unit is in the build itself, too, that one counts.)
pub(crate) fn critical_paths(units: &UnitRecords, build: BuildNo) -> Vec<(UnitKey, Millis)> {
    let of_it = || units.of_build(build);
    // Two Cargos may build the same unit: each needs its own.
    let mut makers: HashMap<(Option<UnitId>, String), UnitId> = HashMap::new();
    let mut scripts: HashMap<(&str, &str), Vec<UnitId>> = HashMap::new();
    for (id, entry) in of_it().filter(|(_, entry)| entry.is_finished()) {
        let facts = entry.facts();
        if !facts.unit_name.is_empty() {
            makers.insert((entry.inside(), facts.unit_name.clone()), id);
        }
        if matches!(facts.kind, UnitKind::BuildScript | UnitKind::BuildScriptRun) {
            scripts.entry((&facts.package, &facts.version)).or_default().push(id);
        }
    }
    let mut after: HashMap<UnitId, Vec<(UnitId, bool)>> = HashMap::new();
    for (id, entry) in of_it() {
        for path in &entry.facts().externs {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let early = path.extension().is_some_and(|extension| extension == "rmeta");
            let stem = stem.strip_prefix("lib").unwrap_or(stem);
            let name = unit_name(path.parent().unwrap_or(Path::new("")), stem);
            if let Some(maker) = makers.get(&(entry.inside(), name)) {
                after.entry(*maker).or_default().push((id, early));
            }
        }
        let own = (entry.facts().package.as_str(), entry.facts().version.as_str());
        for script in scripts.get(&own).into_iter().flatten() {
            let order = |kind| match kind {
                UnitKind::BuildScript => 0,
                UnitKind::BuildScriptRun => 1,
                _ => 2,
            };
            let Some(first) = units.get(*script) else { continue };
            if order(first.kind()) < order(entry.kind()) {
                after.entry(*script).or_default().push((id, false));
            }
        }
    }
    // Whoever registered later cannot be a dependency of whoever registered before.
    let mut critical_paths: HashMap<UnitId, Millis> = HashMap::new();
    for (id, entry) in of_it().rev() {
        let longest = after.get(&id).into_iter().flatten().map(|(dependent, early)| {
            let lead = if *early { entry.cpu().scale(METADATA_AT) } else { entry.cpu() };
            lead + critical_paths.get(dependent).copied().unwrap_or_default()
        });
        critical_paths.insert(id, longest.max().unwrap_or_default().max(entry.cpu()));
    }
    let own: HashSet<&UnitKey> =
        of_it().filter(|(_, it)| it.inside().is_none()).map(|(_, it)| it.key()).collect();
    let counts =
        |it: &UnitRecord| it.is_finished() && (it.inside().is_none() || !own.contains(it.key()));
    of_it()
        .filter(|(_, entry)| counts(entry))
        .map(|(id, entry)| (entry.key().clone(), critical_paths[&id]))
        .collect()
}

#[cfg(test)]
mod tests {
    use plimsoll_core::unit::UnitFacts;

    use super::*;

    fn record(name: &str, cpu: u64, needs: &[&str], inside: Option<UnitId>) -> UnitRecord {
        let mut facts = UnitFacts::build_script_run(name.to_owned(), "1.0.0".to_owned());
        facts.kind = UnitKind::Lib;
        facts.unit_name = format!("{name}-1f");
        facts.externs = needs.iter().map(|n| format!("/t/lib{n}-1f.rmeta").into()).collect();
        UnitRecord::ended(facts, inside, Millis(cpu))
    }

    /// Numbered from 1.
    fn numbered(records: Vec<UnitRecord>) -> UnitRecords {
        let mut units = UnitRecords::new(false);
        for record in records {
            let unit = units.number();
            units.insert(unit, record);
        }
        units
    }

    fn tails_by_number(units: &UnitRecords) -> impl Fn(u32) -> u64 {
        let critical_paths: HashMap<UnitKey, Millis> =
            critical_paths(units, BuildNo(1)).into_iter().collect();
        let keys: HashMap<u32, UnitKey> =
            units.of_build(BuildNo(1)).map(|(id, it)| (id.0, it.key().clone())).collect();
        move |id| critical_paths[&keys[&id]].0
    }

    #[test]
    fn a_tail_is_the_longest_chain_of_dependents() {
        let units = numbered(vec![
            record("base", 1000, &[], None),
            record("side", 200, &[], None),
            record("mid", 2000, &["base"], None),
            record("top", 500, &["mid", "side"], None),
        ]);
        let of = tails_by_number(&units);
        assert_eq!((of(4), of(3)), (500, 2000));
        assert_eq!(of(2), 110 + 500);
        assert_eq!(of(1), 550 + 2000);
    }

    #[test]
    fn what_a_nested_cargo_builds_has_its_own_chain_and_what_the_build_has_too_that_ones() {
        let nested = Some(UnitId(9));
        let units = numbered(vec![
            record("base", 1000, &[], None),
            record("base", 1000, &[], nested),
            record("inner", 5000, &["base"], nested),
            record("top", 500, &["base"], None),
        ]);
        let of = tails_by_number(&units);
        assert_eq!((of(1), of(3)), (550 + 500, 5000));
    }
}
