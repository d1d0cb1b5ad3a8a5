//! Paired comparisons with a confidence interval.

/// An estimate and its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Estimate {
    /// The mean.
    pub(crate) mean: f64,
    /// Lower end.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
}

/// Two-sided 95% quantiles of Student's t for 1 to 30 degrees of freedom.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// The mean of some differences, by Student's t. The interval is infinite for fewer than two.
#[expect(clippy::cast_precision_loss, reason = "a handful of pairs")]
pub(crate) fn mean(values: &[f64]) -> Estimate {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n.max(1.0);
    if values.len() < 2 {
        return Estimate { mean, low: f64::NEG_INFINITY, high: f64::INFINITY };
    }
    let variance = values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = T.get(values.len() - 2).copied().unwrap_or(1.96);
    let half = t * (variance / n).sqrt();
    Estimate { mean, low: mean - half, high: mean + half }
}

/// The mean ratio of pairs (b / a), geometric.
pub(crate) fn ratio(pairs: &[(f64, f64)]) -> Estimate {
    let logs: Vec<_> = pairs.iter().map(|(a, b)| (b / a).ln()).collect();
    let logs = mean(&logs);
    Estimate { mean: logs.mean.exp(), low: logs.low.exp(), high: logs.high.exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        let got = mean(&[1.0, 2.0, 3.0, 4.0]);
        assert!((got.mean - 2.5).abs() < 1e-9);
        assert!((got.high - 4.554).abs() < 1e-3, "{got:?}");
    }

    #[test]
    fn equal_pairs_have_ratio_one() {
        let got = ratio(&[(2.0, 2.0), (3.0, 3.0)]);
        assert!((got.low - 1.0).abs() < 1e-9 && (got.high - 1.0).abs() < 1e-9);
    }
}
