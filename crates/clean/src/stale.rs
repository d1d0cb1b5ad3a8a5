//! Which units no build of the workspace as it is now can use again, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::place::{Kept, Locked};
use super::source::Source;
use super::units::Unit;

/// Why a unit is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A compiler built it whose work is not kept.
    Toolchain,
    /// Its source is gone: another version is locked, or the package is not there any more.
    Gone,
    /// It was built from something that is of no use.
    Outdated,
    /// Nothing but that needed it.
    Unneeded,
}

/// What is true of the workspace now.
#[derive(Clone, Debug)]
pub struct Now<'a> {
    /// The workspace's root.
    pub root: &'a Path,
    /// What is locked; nothing where that says nothing of this directory.
    pub locked: Option<&'a Locked>,
    /// The compilers whose work stays.
    pub compilers: &'a Kept,
    /// Whatever was built since then stays.
    pub kept_since: Option<SystemTime>,
}

impl Now<'_> {
    /// Whatever was built in the last `days` stays.
    pub fn keep_days(days: u32) -> Option<SystemTime> {
        SystemTime::now().checked_sub(Duration::from_secs(u64::from(days) * 24 * 3600))
    }

    fn is_young(&self, unit: &Unit) -> bool {
        match (self.kept_since, unit.built) {
            (Some(since), Some(built)) => built >= since,
            (since, _) => since.is_some(),
        }
    }

    /// Whether a unit is of no use by itself.
    fn condemns(&self, unit: &Unit) -> Option<Why> {
        if unit.rustc.is_some_and(|rustc| !self.compilers.includes(rustc)) {
            return Some(Why::Toolchain);
        }
        let locked = self.locked.filter(|locked| !locked.is_empty())?;
        let gone = match Source::of(unit.source.as_deref()?) {
            Source::Registry(name, version) => !locked.foreign.contains(&(name, version)),
            Source::Git(commit) => !locked.commits.iter().any(|it| it.starts_with(&commit)),
            Source::Here(path) => !self.root.join(path).exists(),
        };
        gone.then_some(Why::Gone)
    }
}

/// The units (by their place in `units`) that are of no use.
pub fn find(units: &[Unit], now: &Now<'_>) -> BTreeMap<usize, Why> {
    let mut numbered: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, unit) in units.iter().enumerate() {
        if let Some(number) = unit.number {
            numbered.entry(number).or_default().push(at);
        }
    }
    let mut stale: BTreeMap<usize, Why> = (0..units.len())
        .filter_map(|at| Some((at, now.condemns(&units[at])?)))
        .filter(|(at, _)| !now.is_young(&units[*at]))
        .collect();
    // From what is condemned to what was built from it. A number that nobody has, or that one in use has too, says
    // nothing.
    loop {
        let is_stale = |at: &usize| stale.contains_key(at);
        let needs_stale = |unit: &Unit| {
            let named = unit.needs.iter().filter_map(|number| numbered.get(number));
            named.into_iter().any(|those| those.iter().all(is_stale))
        };
        let more: Vec<usize> = (0..units.len())
            .filter(|at| !stale.contains_key(at))
            .filter(|at| needs_stale(&units[*at]) && !now.is_young(&units[*at]))
            .collect();
        if more.is_empty() {
            break;
        }
        stale.extend(more.into_iter().map(|at| (at, Why::Outdated)));
    }
    // And to what only they needed.
    let mut needed_by_stale: BTreeSet<usize> = BTreeSet::new();
    loop {
        let of = |wanted: bool| -> BTreeSet<usize> {
            let those = (0..units.len()).filter(|at| stale.contains_key(at) == wanted);
            let numbers = those.flat_map(|at| &units[at].needs);
            numbers.filter_map(|number| numbered.get(number)).flatten().copied().collect()
        };
        let (by_live, by_stale) = (of(false), of(true));
        needed_by_stale.extend(by_stale);
        let more: Vec<usize> = needed_by_stale
            .iter()
            .copied()
            .filter(|at| !stale.contains_key(at) && !by_live.contains(at))
            .filter(|at| is_from_elsewhere(&units[*at]) && !now.is_young(&units[*at]))
            .collect();
        if more.is_empty() {
            return stale;
        }
        stale.extend(more.into_iter().map(|at| (at, Why::Unneeded)));
    }
}

/// What is here may be asked for by name; what is from elsewhere is built because something needs it. Build scripts'
/// runs have no source, and are taken for what their package is.
fn is_from_elsewhere(unit: &Unit) -> bool {
    match &unit.source {
        Some(source) => !matches!(Source::of(source), Source::Here(_)),
        None => unit.target.starts_with("run-build-script-"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::layout::Home;
    use super::super::place::Untold;
    use super::*;

    const REGISTRY: &str = "/h/.cargo/registry/src/index-1/";

    fn unit(name: &str, source: &str, number: u64, needs: &[u64]) -> Unit {
        Unit {
            package: name.to_owned(),
            home: Home::Shared(format!("{number:016x}")),
            target: format!("lib-{name}"),
            rustc: Some(7),
            number: Some(number),
            needs: needs.to_vec(),
            source: Some(PathBuf::from(source)),
            built: Some(SystemTime::UNIX_EPOCH),
        }
    }

    fn locked() -> Locked {
        let mut locked = Locked::default();
        locked.own.insert("app".to_owned());
        for package in [("dep", "1.0.1"), ("base", "2.0.0")] {
            locked.foreign.insert((package.0.to_owned(), package.1.to_owned()));
        }
        locked.commits.push("abcdef012345".to_owned());
        locked
    }

    fn now<'a>(locked: &'a Locked, compilers: &'a Kept) -> Now<'a> {
        Now { root: Path::new("/"), locked: Some(locked), compilers, kept_since: None }
    }

    fn these(compilers: &[u64]) -> Kept {
        Kept::These(compilers.iter().copied().collect())
    }

    fn of(version: &str) -> String {
        format!("{REGISTRY}{version}/src/lib.rs")
    }

    #[test]
    fn an_old_version_goes_with_what_was_built_from_it_and_what_only_that_needed() {
        let units = [
            unit("app", "/", 1, &[11, 21]),
            unit("app", "/", 2, &[12]),
            unit("dep", &of("dep-1.0.0"), 11, &[31]),
            unit("dep", &of("dep-1.0.1"), 12, &[32]),
            unit("base", &of("base-2.0.0"), 31, &[]),
            unit("base", &of("base-2.0.0"), 32, &[]),
            unit("base", &of("base-2.0.0"), 33, &[]),
            unit("git", "/h/.cargo/git/checkouts/x-1/abcdef0/src/lib.rs", 21, &[]),
            unit("git", "/h/.cargo/git/checkouts/x-1/0000000/src/lib.rs", 22, &[]),
        ];
        let locked = locked();
        let seven = these(&[7]);
        let stale = find(&units, &now(&locked, &seven));
        let expected = [
            (0, Why::Outdated),
            (2, Why::Gone),
            (4, Why::Unneeded),
            (7, Why::Unneeded),
            (8, Why::Gone),
        ];
        assert_eq!(stale, BTreeMap::from(expected), "what nobody ever needed stays: 6");
        let none = Locked::default();
        assert!(
            find(&units, &now(&none, &seven)).is_empty(),
            "without a lock file nothing is told"
        );
        let since = Some(SystemTime::UNIX_EPOCH);
        assert!(find(&units, &Now { kept_since: since, ..now(&locked, &seven) }).is_empty());
    }

    #[test]
    fn another_compilers_work_goes_and_what_is_not_known_stays() {
        let mut old = unit("app", "/", 1, &[2]);
        old.rustc = Some(6);
        let mut unknown = unit("app", "/", 3, &[99]);
        (unknown.rustc, unknown.source) = (None, None);
        let locked = locked();
        let units = [old, unit("dep", &of("dep-1.0.1"), 2, &[]), unknown];
        let stale = find(&units, &now(&locked, &these(&[7])));
        assert_eq!(stale, BTreeMap::from([(0, Why::Toolchain), (1, Why::Unneeded)]));
        for kept in [these(&[6, 7]), Kept::All(Untold::NoRustup)] {
            assert!(find(&units, &now(&locked, &kept)).is_empty(), "{kept:?}");
        }
    }
}
