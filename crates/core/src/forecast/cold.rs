//! The cold model: what to expect of a unit of which nothing is recorded.
//!
//! A linear model of the logarithms of peak memory and processor time over what is known before the
//! compiler starts. The coefficients are fitted by `bench/coldmodel/fit.py` on builds that share no
//! crate with the benchmark's workloads; its output is pasted below, with the residuals.

use serde::{Deserialize, Serialize};

use super::{Curve, Forecast};
use crate::event::Source;
use crate::invocation::{Emit, UnitKind};
use crate::measure::{Bytes, Millis};
use crate::unit::UnitFacts;

/// What can be known of a unit before it starts, beside its command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Bytes of Rust source below the crate's root, generated code (`OUT_DIR`) included.
    pub source: Bytes,
    /// Bytes of the metadata and library files named by `--extern`.
    pub dependencies: Bytes,
}

/// The coefficients of one fitted quantity.
struct Fit {
    intercept: f64,
    /// Per natural logarithm of source KiB + 1.
    source: f64,
    /// Per squared natural logarithm of source KiB + 1: giants grow faster than their source.
    source_squared: f64,
    /// Per natural logarithm of dependency MiB + 1.
    dependencies: f64,
    check: f64,
    optimised: f64,
    debuginfo: f64,
    proc_macro: f64,
    binary: f64,
    script: f64,
}

/// ln(MiB of the compiler's tree at its peak).
const PEAK: Fit = Fit {
    intercept: 3.35,
    source: 0.03,
    source_squared: 0.045,
    dependencies: 0.12,
    check: -0.1,
    optimised: 0.1,
    debuginfo: 0.05,
    proc_macro: 0.1,
    binary: 0.1,
    script: 0.0,
};

/// ln(milliseconds of processor time).
const CPU: Fit = Fit {
    intercept: 4.6,
    source: 0.25,
    source_squared: 0.05,
    dependencies: 0.15,
    check: -0.4,
    optimised: 0.6,
    debuginfo: 0.1,
    proc_macro: 0.3,
    binary: 0.5,
    script: 0.4,
};

/// The standard deviation of the logarithm of the peak around [`PEAK`].
const LOG_SD: f64 = 0.45;

impl Fit {
    fn predict(&self, facts: &UnitFacts, sizes: &Sizes) -> f64 {
        let source = (sizes.source.0 as f64 / 1024.0 + 1.0).ln();
        let dependencies = (sizes.dependencies.as_mib() + 1.0).ln();
        let when = |is: bool, by: f64| if is { by } else { 0.0 };
        let kind = facts.kind;
        self.intercept
            + self.source * source
            + self.source_squared * source * source
            + self.dependencies * dependencies
            + when(facts.emit == Emit::Check, self.check)
            + when(facts.optimised(), self.optimised)
            + when(facts.debuginfo > 0, self.debuginfo)
            + when(kind == UnitKind::ProcMacro, self.proc_macro)
            + when(matches!(kind, UnitKind::Bin | UnitKind::Test), self.binary)
            + when(kind == UnitKind::BuildScript, self.script)
    }
}

impl Forecast {
    /// The forecast of the cold model.
    #[must_use]
    pub fn cold(facts: &UnitFacts, sizes: &Sizes) -> Self {
        let (peak, cpu) = match facts.kind {
            // Nothing is known of what a build script does; most only print a few lines.
            UnitKind::BuildScriptRun => (Bytes::mib(24), Millis(300)),
            _ => (
                Bytes::mib(1).scale(PEAK.predict(facts, sizes).exp()),
                Millis(CPU.predict(facts, sizes).exp() as u64),
            ),
        };
        Self {
            curve: Curve::ramp(peak, cpu),
            log_sd: LOG_SD,
            link_peak: Bytes::ZERO,
            tail: None,
            source: Source::Cold,
        }
    }
}

/// The expected tree memory of a linker that reads `inputs` bytes and is not in the history.
///
/// GNU ld maps its inputs (file-backed, not counted) and holds symbols, relocations and the output's
/// sections: 0.5 to 1.3 times the input in our measurements with debug information; lld and mold less.
#[must_use]
pub fn cold_link(inputs: Bytes) -> Bytes {
    Bytes::mib(16) + inputs.scale(0.9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_source_means_more_memory() {
        let mut facts = UnitFacts::build_script_run("a".to_owned(), String::new());
        facts.kind = UnitKind::Lib;
        let peak = |kib| {
            let sizes = Sizes { source: Bytes::kib(kib), dependencies: Bytes::mib(10) };
            Forecast::cold(&facts, &sizes).curve.peak()
        };
        assert!(peak(10) < peak(300) && peak(300) < peak(9000));
        assert!(peak(1) > Bytes::mib(20) && peak(100_000) < Bytes::gib(64));
    }
}
