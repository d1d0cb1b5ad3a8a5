//! What is kept about each unit while the build runs, beside its schedule: who it is, what it was seen
//! to do, and on whom it depends.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use plimsoll_core::forecast::{CurveBuilder, Observation};
use plimsoll_core::invocation::{UnitKind, unit_name};
use plimsoll_core::oversized::Shrink;
use plimsoll_core::schedule::Measured;
use plimsoll_core::unit::{UnitFacts, UnitKey};
use plimsoll_core::{BuildNo, Bytes, Millis, UnitId};
use plimsoll_host::{Exit, Owner, TokenPipe};

/// One unit.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) build: BuildNo,
    pub(crate) facts: UnitFacts,
    pub(crate) key: UnitKey,
    /// How people call it.
    pub(crate) title: String,
    /// The build script or compiler of whose work it is a part.
    pub(crate) inside: Option<UnitId>,
    pub(crate) registered: Millis,
    pub(crate) admitted: Option<Millis>,
    pub(crate) attempt: u32,
    /// Its own token pipe, made anew for each attempt: the tokens of a killed compiler end with it.
    pub(crate) tokens: Option<TokenPipe>,
    pub(crate) issued: u32,
    most_tokens: u32,
    curve: CurveBuilder,
    /// The tree's processor time when this attempt began.
    pub(crate) cpu_before: Millis,
    pub(crate) cpu: Millis,
    pub(crate) memory: Bytes,
    pub(crate) peak: Bytes,
    pub(crate) link_peak: Bytes,
    pub(crate) link_since: Millis,
    pub(crate) finished: bool,
    /// Tells how it ended, where it is a build script.
    pub(crate) exit: Option<Exit>,
    /// How often somebody else has killed it.
    pub(crate) losses: u32,
    /// How far it goes to need less, in its present or last run.
    pub(crate) shrink: Shrink,
    /// It is compiled by settings that let it need less: no example of what it needs by its own.
    pub(crate) slimmed: bool,
    /// Once more would be of no use.
    pub(crate) last_chance: bool,
    /// It was told to end without having run.
    pub(crate) dismissed: bool,
}

impl Entry {
    pub(crate) fn new(
        build: BuildNo,
        facts: UnitFacts,
        inside: Option<UnitId>,
        now: Millis,
    ) -> Self {
        Self {
            build,
            key: facts.key(),
            title: facts.title(),
            facts,
            inside,
            registered: now,
            admitted: None,
            attempt: 0,
            tokens: None,
            issued: 0,
            most_tokens: 1,
            curve: CurveBuilder::default(),
            cpu_before: Millis::ZERO,
            cpu: Millis::ZERO,
            memory: Bytes::ZERO,
            peak: Bytes::ZERO,
            link_peak: Bytes::ZERO,
            link_since: Millis::ZERO,
            finished: false,
            exit: None,
            losses: 0,
            shrink: Shrink::No,
            slimmed: false,
            last_chance: false,
            dismissed: false,
        }
    }

    pub(crate) fn start(&mut self, now: Millis, cpu: Millis, tokens: Option<TokenPipe>) {
        self.admitted.get_or_insert(now);
        self.attempt += 1;
        self.cpu_before = cpu;
        self.cpu = Millis::ZERO;
        self.curve = CurveBuilder::default();
        self.tokens = tokens;
        self.issued = 0;
        self.most_tokens = 1;
    }

    /// Takes a measurement: the compiler's and the linker's memory, and the tree's processor time.
    pub(crate) fn measure(
        &mut self,
        id: UnitId,
        whole: Bytes,
        link: Bytes,
        swapped: Bytes,
        cpu: Millis,
    ) -> Measured {
        self.cpu = cpu - self.cpu_before;
        self.memory = whole;
        self.peak = self.peak.max(whole);
        self.link_peak = self.link_peak.max(link);
        self.curve.push(self.cpu, whole - link);
        // Most units were never issued one: asking their pipes would be a call for each unit and sample.
        let pipe = self.tokens.as_ref().filter(|_| self.issued > 0);
        let unread = pipe.map_or(0, TokenPipe::unread).min(self.issued);
        self.most_tokens = self.most_tokens.max(1 + self.issued - unread);
        Measured {
            unit: id,
            memory: whole,
            link_memory: link,
            swapped,
            cpu: self.cpu,
            issued: self.issued,
            unread,
        }
    }

    /// What the run that just ended showed.
    pub(crate) fn observation(&self, now: Millis) -> Observation {
        Observation {
            curve: self.curve.finish(),
            cpu: self.cpu,
            wall: now - self.admitted.unwrap_or(now),
            link_peak: self.link_peak,
            tokens: self.most_tokens,
            tail: None,
        }
    }
}

/// The process owner that stands for a unit's compiler.
pub(crate) fn compiler(unit: UnitId) -> Owner {
    Owner(unit.0.wrapping_mul(2))
}

/// The process owner that stands for a unit's linker.
pub(crate) fn linker(unit: UnitId) -> Owner {
    Owner(unit.0.wrapping_mul(2).wrapping_add(1))
}

/// The unit that an owner stands for.
pub(crate) fn unit_of(owner: Owner) -> UnitId {
    UnitId(owner.0 / 2)
}

/// How much of a library's time goes by before its metadata lets dependents start: the front end is
/// about half of cranelift-codegen's time in a dev build, and most of small crates'.
const METADATA_AT: f64 = 0.55;

/// The bottom level of every unit of a finished build: the longest chain of processor time from its
/// start to the end of the build, along the edges that its `--extern`s showed; of what is inside another one, to the end
/// of whatever asked for it there. (Where the same unit is in the build itself, too, that one counts.)
pub(crate) fn tails(entries: &BTreeMap<UnitId, Entry>, build: BuildNo) -> Vec<(UnitKey, Millis)> {
    let of_it = || entries.iter().filter(|(_, entry)| entry.build == build);
    // Two Cargos may build the same unit: each needs its own.
    let mut makers: HashMap<(Option<UnitId>, String), UnitId> = HashMap::new();
    let mut scripts: HashMap<(&str, &str), Vec<UnitId>> = HashMap::new();
    for (id, entry) in of_it().filter(|(_, entry)| entry.finished) {
        let facts = &entry.facts;
        if !facts.unit_name.is_empty() {
            makers.insert((entry.inside, facts.unit_name.clone()), *id);
        }
        if matches!(facts.kind, UnitKind::BuildScript | UnitKind::BuildScriptRun) {
            scripts.entry((&facts.package, &facts.version)).or_default().push(*id);
        }
    }
    let mut after: HashMap<UnitId, Vec<(UnitId, bool)>> = HashMap::new();
    for (id, entry) in of_it() {
        for path in &entry.facts.externs {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let early = path.extension().is_some_and(|extension| extension == "rmeta");
            let stem = stem.strip_prefix("lib").unwrap_or(stem);
            let name = unit_name(path.parent().unwrap_or(Path::new("")), stem);
            if let Some(maker) = makers.get(&(entry.inside, name)) {
                after.entry(*maker).or_default().push((*id, early));
            }
        }
        let own = (entry.facts.package.as_str(), entry.facts.version.as_str());
        for script in scripts.get(&own).into_iter().flatten() {
            let order = |kind| match kind {
                UnitKind::BuildScript => 0,
                UnitKind::BuildScriptRun => 1,
                _ => 2,
            };
            if order(entries[script].facts.kind) < order(entry.facts.kind) {
                after.entry(*script).or_default().push((*id, false));
            }
        }
    }
    // Whoever registered later cannot be a dependency of whoever registered before.
    let mut tails: HashMap<UnitId, Millis> = HashMap::new();
    for (id, entry) in of_it().rev() {
        let longest = after.get(id).into_iter().flatten().map(|(dependent, early)| {
            let lead = if *early { entry.cpu.scale(METADATA_AT) } else { entry.cpu };
            lead + tails.get(dependent).copied().unwrap_or_default()
        });
        tails.insert(*id, longest.max().unwrap_or_default().max(entry.cpu));
    }
    let own: HashSet<&UnitKey> =
        of_it().filter(|(_, it)| it.inside.is_none()).map(|(_, it)| &it.key).collect();
    let counts = |it: &Entry| it.finished && (it.inside.is_none() || !own.contains(&it.key));
    of_it()
        .filter(|(_, entry)| counts(entry))
        .map(|(id, entry)| (entry.key.clone(), tails[id]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, cpu: u64, needs: &[&str]) -> Entry {
        let mut facts = UnitFacts::build_script_run(name.to_owned(), "1.0.0".to_owned());
        facts.kind = UnitKind::Lib;
        facts.unit_name = format!("{name}-1f");
        facts.externs = needs.iter().map(|n| format!("/t/lib{n}-1f.rmeta").into()).collect();
        let mut entry = Entry::new(BuildNo(1), facts, None, Millis::ZERO);
        entry.cpu = Millis(cpu);
        entry.finished = true;
        entry
    }

    #[test]
    fn a_tail_is_the_longest_chain_of_dependents() {
        let entries = BTreeMap::from([
            (UnitId(1), entry("base", 1000, &[])),
            (UnitId(2), entry("side", 200, &[])),
            (UnitId(3), entry("mid", 2000, &["base"])),
            (UnitId(4), entry("top", 500, &["mid", "side"])),
        ]);
        let tails: HashMap<UnitKey, Millis> = tails(&entries, BuildNo(1)).into_iter().collect();
        let of = |id| tails[&entries[&UnitId(id)].key].0;
        assert_eq!((of(4), of(3)), (500, 2000));
        assert_eq!(of(2), 110 + 500);
        assert_eq!(of(1), 550 + 2000);
    }

    #[test]
    fn what_a_nested_cargo_builds_has_its_own_chain_and_what_the_build_has_too_that_ones() {
        let nested = |name, cpu, needs: &[&str]| {
            let mut entry = entry(name, cpu, needs);
            entry.inside = Some(UnitId(9));
            entry
        };
        let entries = BTreeMap::from([
            (UnitId(1), entry("base", 1000, &[])),
            (UnitId(2), nested("base", 1000, &[])),
            (UnitId(3), nested("inner", 5000, &["base"])),
            (UnitId(4), entry("top", 500, &["base"])),
        ]);
        let tails: HashMap<UnitKey, Millis> = tails(&entries, BuildNo(1)).into_iter().collect();
        let of = |id| tails[&entries[&UnitId(id)].key].0;
        assert_eq!((of(1), of(3)), (550 + 500, 5000));
    }
}
