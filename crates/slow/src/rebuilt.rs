//! Why units were compiled that had been compiled before: a build beside earlier ones of the same workspace. Reads
//! nothing.
//!
//! Cargo's own hashes tell. A unit's key stands for package, features, profile, target and compiler; its name in the
//! build directory also for the user's flags, which are in no metadata. What both have in common was there and is not
//! any more, or its source was edited.

use std::collections::BTreeMap;

use plimsoll_core::Millis;
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::unit::CompileConditions;

use super::past::{Past, Unit};

/// Why a unit was compiled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// The same unit with other flags by the user.
    Flags,
    /// The same package and profile by another compiler, or with a setting that its words do not show.
    Compiler,
    /// With other features, or below something that has.
    Features,
    /// By another profile or command.
    Profile,
    /// Another version of its package.
    Version,
    /// The very same unit, of a package that nobody edits.
    Lost,
    /// The very same unit, of a package of the workspace.
    Edited,
    /// Nothing like it is recorded.
    New,
}

/// Units that were compiled for one reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// How people call them, the dearest first.
    pub(crate) titles: Vec<String>,
    /// Their processor time.
    pub(crate) cpu: Millis,
    /// What the compiler was asked then and now, of the dearest.
    pub(crate) asked: Option<(String, String)>,
}

/// The comparison.
#[derive(Clone, Debug, Default)]
pub struct Rebuilt {
    /// Units by reason.
    pub(crate) groups: BTreeMap<Why, Group>,
    /// Units that were compiled.
    pub(crate) units: usize,
    /// The build before, where one is recorded: its id and when it began.
    pub(crate) before: Option<(String, u64)>,
}

/// Compares with earlier builds, the newest first.
pub fn compare(past: &Past, earlier: &[Past]) -> Rebuilt {
    let same: Vec<&Past> = earlier.iter().filter(|it| it.is_of_workspace(past)).collect();
    let mut known: BTreeMap<(String, UnitKind), Vec<&Unit>> = BTreeMap::new();
    for unit in same.iter().flat_map(|it| it.own()).filter(|unit| unit.has_finished) {
        known.entry(name(unit)).or_default().push(unit);
    }
    let was_empty = past.header.target_was_empty == Some(true);
    let mut reasons: Vec<(&Unit, Why, Option<&Unit>)> = Vec::new();
    for unit in past.own().filter(|unit| unit.has_finished && is_compiled(unit.kind)) {
        let before = known.get(&name(unit)).map(Vec::as_slice).unwrap_or_default();
        let (why, then) = why(unit, before, was_empty);
        reasons.push((unit, why, then));
    }
    // Features change what depends on them, too: its hash is another, and its own features are not.
    if reasons.iter().any(|(_, why, _)| *why == Why::Features) {
        for (_, why, _) in &mut reasons {
            if *why == Why::Compiler {
                *why = Why::Features;
            }
        }
    }
    reasons.sort_by_key(|(unit, ..)| std::cmp::Reverse(unit.cpu));
    let mut rebuilt = Rebuilt { units: reasons.len(), ..Rebuilt::default() };
    rebuilt.before = same.first().map(|it| (it.header.build.0.clone(), it.header.started_unix_ms));
    for (unit, why, then) in reasons {
        let group = rebuilt.groups.entry(why).or_default();
        let how = |unit: &Unit| Some(unit.made.as_ref()?.how.clone());
        let asked = || Some((how(then?)?, how(unit)?));
        group.asked = group.asked.take().or_else(asked);
        group.titles.push(unit.title.clone());
        group.cpu += unit.cpu;
    }
    rebuilt
}

/// The reason, and the unit that it was told by.
fn why<'a>(unit: &Unit, before: &[&'a Unit], target_was_empty: bool) -> (Why, Option<&'a Unit>) {
    let Some(made) = &unit.made else {
        // An older log: only the key tells.
        let again = before.iter().any(|it| it.key == unit.key);
        return (if again { Why::Lost } else { Why::New }, None);
    };
    let of = |it: &'a Unit| it.made.as_ref();
    let is_same =
        |it: &'a Unit| it.key == unit.key && of(it).is_some_and(|it| it.name == made.name);
    if before.iter().any(|it| is_same(it)) {
        return (if made.local && !target_was_empty { Why::Edited } else { Why::Lost }, None);
    }
    let like = before.iter().find(|it| of(it).is_some_and(|it| it.how == made.how));
    let Some(then) = like.or(before.first()).copied() else { return (Why::New, None) };
    let Some(made_then) = of(then) else { return (Why::New, None) };
    let why = if !made_then.profile().eq(made.profile()) {
        Why::Profile
    } else if then.title != unit.title {
        Why::Version
    } else if then.key == unit.key || made_then.how != made.how {
        Why::Flags
    } else if differs(made_then, made, |it| &it.features) {
        Why::Features
    } else {
        Why::Compiler
    };
    (why, Some(then))
}

fn differs(
    a: &CompileConditions,
    b: &CompileConditions,
    of: impl Fn(&CompileConditions) -> &String,
) -> bool {
    of(a) != of(b)
}

/// A unit's name without the version of its package.
fn name(unit: &Unit) -> (String, UnitKind) {
    let is_version = |word: &str| {
        word.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let words = unit.title.split(' ').enumerate();
    let words = words.filter(|(at, word)| *at != 1 || !is_version(word)).map(|(_, word)| word);
    (words.collect::<Vec<_>>().join(" "), unit.kind)
}

/// A compiler made it.
fn is_compiled(kind: UnitKind) -> bool {
    !matches!(
        kind,
        UnitKind::BuildScriptRun
            | UnitKind::TestRun
            | UnitKind::Command
            | UnitKind::DocTest
            | UnitKind::Tool
    )
}
