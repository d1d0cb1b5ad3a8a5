//! Which related units tell most about one that was never seen.
//!
//! All candidates are of the same family (core's `UnitFacts::family`): the same crate, made the same way,
//! in another version, with other features or by another profile. What moves memory most is compared
//! first: features switch whole modules on, threads of the front end cost half of a small crate (and are reckoned in),
//! debug info adds 4 to 30 %, the rest less.

use std::cmp::{Ordering, Reverse};

use plimsoll_core::forecast::Observation;
use plimsoll_core::unit::{UnitFacts, UnitKey};

use crate::record::Made;

/// The newest observation of a related unit, and how that unit was made.
pub(crate) struct RelatedCrate {
    pub(crate) key: UnitKey,
    pub(crate) version: String,
    pub(crate) features: String,
    pub(crate) debuginfo: u8,
    pub(crate) codegen_units: u32,
    pub(crate) threads: u32,
    pub(crate) lto: bool,
    pub(crate) incremental: bool,
    /// Unix seconds.
    pub(crate) last_seen: i64,
    pub(crate) observation: Observation,
}

impl RelatedCrate {
    pub(crate) fn new(made: &Made, observation: Observation, last_seen: i64) -> Self {
        Self {
            key: made.key.clone(),
            version: made.version.clone(),
            features: made.features.clone(),
            debuginfo: made.debuginfo,
            codegen_units: made.codegen_units,
            threads: made.threads,
            lto: made.lto,
            incremental: made.incremental,
            last_seen,
            observation,
        }
    }
}

/// Sorts the most alike first; of two equally alike the newer.
pub(crate) fn most_alike_first(related_crates: &mut [RelatedCrate], facts: &UnitFacts) {
    let version = numbers(&facts.version);
    related_crates.sort_by_cached_key(|related| {
        let settings = u8::from(related.codegen_units != facts.codegen_units)
            + u8::from(related.lto != facts.lto)
            + u8::from(related.incremental != facts.incremental);
        (
            related.features != facts.features,
            related.threads.abs_diff(facts.threads),
            related.debuginfo.abs_diff(facts.debuginfo),
            settings,
            distance(version, numbers(&related.version)),
            Reverse(related.last_seen),
        )
    });
}

/// The three numbers of a version; what cannot be read counts as 0.
fn numbers(version: &str) -> [u64; 3] {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = [0; 3];
    for (number, text) in numbers.iter_mut().zip(core.split('.')) {
        *number = text.parse().unwrap_or(0);
    }
    numbers
}

/// How far two versions are apart: by the first number that differs, then the next ones.
fn distance(a: [u64; 3], b: [u64; 3]) -> [u64; 3] {
    let mut apart = [0; 3];
    for (apart, (a, b)) in apart.iter_mut().zip(a.iter().zip(b.iter())) {
        *apart = a.abs_diff(*b);
        if a.cmp(b) != Ordering::Equal {
            break;
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use plimsoll_core::forecast::Curve;
    use plimsoll_core::{Bytes, Millis};

    use super::*;

    fn related(version: &str, features: &str, debuginfo: u8, last_seen: i64) -> RelatedCrate {
        RelatedCrate {
            key: UnitKey(String::new()),
            version: version.to_owned(),
            features: features.to_owned(),
            debuginfo,
            codegen_units: 0,
            threads: 1,
            lto: false,
            incremental: false,
            last_seen,
            observation: Observation {
                curve: Curve::ramp(Bytes::mib(1), Millis(1)),
                cpu: Millis(1),
                wall: Millis(1),
                link_peak: Bytes::ZERO,
                tokens: 1,
                critical_path: None,
            },
        }
    }

    #[test]
    fn features_weigh_more_than_debug_info_than_versions_than_age() {
        let mut facts = UnitFacts::build_script_run("serde".to_owned(), "1.4.2".to_owned());
        facts.features = "std".to_owned();
        let mut related_crates = [
            related("1.4.2", "", 0, 9),
            related("1.4.1", "std", 2, 9),
            related("2.4.2", "std", 0, 9),
            related("1.3.9", "std", 0, 9),
            related("1.4.0", "std", 0, 1),
            related("1.4.4", "std", 0, 8),
        ];
        most_alike_first(&mut related_crates, &facts);
        let order: Vec<_> = related_crates.iter().map(|related| related.version.as_str()).collect();
        assert_eq!(order, ["1.4.4", "1.4.0", "1.3.9", "2.4.2", "1.4.1", "1.4.2"]);
    }

    #[test]
    fn odd_versions_are_compared_without_a_fuss() {
        assert_eq!(numbers("1.2.3-beta.4+deb.5"), [1, 2, 3]);
        assert_eq!(numbers(""), [0, 0, 0]);
        assert_eq!(numbers("99999999999999999999.x"), [0, 0, 0]);
        assert_eq!(distance([1, 9, 0], [2, 0, 5]), [1, 0, 0]);
        assert_eq!(distance([1, 2, 3], [1, 2, 3]), [0, 0, 0]);
    }
}
