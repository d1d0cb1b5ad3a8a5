//! What Cargo's own words say of a build: how much of it was fresh.

/// What a verbose build found.
#[derive(Debug, Default, serde::Serialize)]
pub struct Freshness {
    /// Packages that were found fresh.
    pub fresh: u64,
    /// Packages that were not.
    pub rebuilt: u64,
    /// Cargo's reasons.
    pub reasons: Vec<String>,
}

impl Freshness {
    /// Everything was fresh, and there was something.
    pub fn is_fresh(&self) -> bool {
        self.rebuilt == 0 && self.fresh > 0
    }
}

/// What cargo's verbose words say.
pub fn count_fresh(stderr: &str) -> Freshness {
    let reasons = stderr
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("Dirty "))
        .map(str::to_owned);
    Freshness {
        fresh: count(stderr, "Fresh"),
        rebuilt: count(stderr, "Compiling") + count(stderr, "Running"),
        reasons: reasons.take(3).collect(),
    }
}

/// How often one of cargo's status words stands at the beginning of a line.
pub fn count(stderr: &str, word: &str) -> u64 {
    stderr
        .lines()
        .filter(|line| line.trim_start().split(' ').next() == Some(word))
        .count()
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebuild_is_seen_with_its_reason() {
        let stderr = "       Fresh serde v1.0.0\n       Dirty app v0.1.0: stale\n   Compiling app v0.1.0\n     Running `rustc`\n";
        let got = count_fresh(stderr);
        assert_eq!((got.fresh, got.rebuilt, got.reasons.len()), (1, 2, 1));
        assert!(!got.is_fresh());
    }
}
