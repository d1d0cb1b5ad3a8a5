//! What recorded builds know of a setting: the heaviest unit, the heaviest linker, the same crate with and without.

use plimsoll_core::Bytes;
use plimsoll_history::Row;

/// The recorded units of a workspace.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    rows: Vec<Row>,
}

impl Figures {
    /// Those of the rows that belong to these packages.
    pub fn new(rows: Vec<Row>, packages: &[String]) -> Self {
        let ours = |row: &Row| packages.contains(&row.package);
        Self { rows: rows.into_iter().filter(ours).collect() }
    }

    /// The package of the unit with the highest peak, and that.
    pub fn heaviest(&self) -> Option<(&str, Bytes)> {
        self.highest(|row| row.peak_last)
    }

    /// The package of the linker with the highest peak, and that.
    pub fn heaviest_link(&self) -> Option<(&str, Bytes)> {
        self.highest(|row| row.link_peak)
    }

    fn highest(&self, peak: impl Fn(&Row) -> Bytes) -> Option<(&str, Bytes)> {
        let row = self.rows.iter().max_by_key(|row| peak(row))?;
        Some((row.package.as_str(), peak(row))).filter(|(_, peak)| *peak > Bytes::ZERO)
    }

    /// The unit with the highest peak.
    pub fn heaviest_unit(&self) -> Option<String> {
        let (package, peak) = self.heaviest()?;
        Some(format!("largest compiler in your recorded builds: {package} with {peak}"))
    }

    /// The linker with the highest peak.
    pub fn heaviest_linker(&self) -> Option<String> {
        let (package, peak) = self.heaviest_link()?;
        Some(format!("largest link in your recorded builds: {package} with {peak}"))
    }

    /// The crate that was recorded both ways, but for this word of its profile otherwise alike, with the highest
    /// peak: what it needs now and as proposed.
    pub fn compared(
        &self,
        is_word: impl Fn(&str) -> bool,
        now: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let parts = |row: &Row| {
            let words = row.profile.split(' ').map(str::to_owned);
            words.partition::<Vec<_>, _>(|word| is_word(word))
        };
        let is_now = |row: &Row| parts(row).0.iter().any(|word| now(word));
        let same = |a: &Row, b: &Row| {
            (&a.package, &a.version, &a.crate_name, &a.kind)
                == (&b.package, &b.version, &b.crate_name, &b.kind)
                && parts(a).1 == parts(b).1
        };
        let complete = || self.rows.iter().filter(|row| row.peak_last > Bytes::ZERO);
        let pair = |row| Some((row, complete().find(|other| same(row, other) && !is_now(other))?));
        let pairs = complete().filter(|row| is_now(row)).filter_map(pair);
        let (now, then) = pairs.max_by_key(|(row, _)| row.peak_last)?;
        Some(format!(
            "in your recorded builds {} needed {} with the current setting and {} with the proposed one",
            now.package, now.peak_last, then.peak_last
        ))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use plimsoll_core::Millis;

    use super::*;

    pub(crate) fn row(package: &str, profile: &str, peak: Bytes, link_peak: Bytes) -> Row {
        Row {
            package: package.to_owned(),
            version: "1.0.0".to_owned(),
            crate_name: package.to_owned(),
            kind: "lib".to_owned(),
            profile: profile.to_owned(),
            runs: 1,
            peak_last: peak,
            peak_max: peak,
            at_least: Bytes::ZERO,
            cpu: Millis(1),
            wall: Millis(1),
            link_peak,
            last_seen_unix: 0,
        }
    }

    #[test]
    fn the_same_crate_both_ways_gives_a_figure() {
        let (one, other) = (Bytes::mib(2151), Bytes::mib(1340));
        let rows = vec![
            row("giant", "-O3 cgu=1", one, Bytes::ZERO),
            row("giant", "-O3 cgu=16", other, Bytes::ZERO),
            row("giant", "-O0 -g2", Bytes::mib(3), Bytes::mib(7)),
            row("stranger", "-O3 cgu=1", Bytes::gib(9), Bytes::ZERO),
        ];
        let figures = Figures::new(rows, &["giant".to_owned()]);
        let said =
            figures.compared(|word| word.starts_with("cgu="), |word| word == "cgu=1").unwrap();
        assert_eq!(
            said,
            format!(
                "in your recorded builds giant needed {one} with the current setting and {other} with the proposed one"
            )
        );
        assert_eq!(figures.compared(|word| word.starts_with("-g"), |_| true), None);
        assert!(figures.heaviest_unit().unwrap().ends_with(&one.to_string()));
        assert!(figures.heaviest_linker().unwrap().ends_with(&Bytes::mib(7).to_string()));
        assert_eq!(Figures::default().heaviest_unit(), None);
    }
}
