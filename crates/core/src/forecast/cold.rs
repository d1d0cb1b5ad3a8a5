//! The cold model: what to expect of a unit of which nothing is recorded.
//!
//! Peak memory and processor time from what is known before the compiler starts: the sizes of sources and
//! dependencies, and the kind of unit. The coefficients are fitted by `bench/coldmodel/fit.py` on builds of
//! real crates, without any crate of the benchmark's workloads; its output is pasted below, and
//! `bench/coldmodel/README.md` holds the residuals. It does not look into the sources: how many generics,
//! macros and features are behind a byte is what it cannot know, and why [`LOG_SD`] is as large as it is.

use serde::{Deserialize, Serialize};

use super::{Curve, Forecast, ForecastSource};
use crate::invocation::{Emit, UnitKind};
use crate::measure::{Bytes, Millis};
use crate::unit::UnitFacts;

/// What can be known of a unit before it starts, beside its command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSizes {
    /// Bytes of Rust source below the crate's root, generated code (`OUT_DIR`) included; of a tool's run, of the file
    /// that it reads.
    pub source: Bytes,
    /// Bytes of the metadata and library files named by `--extern`.
    pub dependencies: Bytes,
    /// Of a build script's run: bytes of the largest C or C++ source of its package.
    #[serde(default)]
    pub native: Bytes,
}

/// MiB that a C compiler takes for each MiB of the source that it reads at a time. Only generated sources, which are mostly
/// tables, are so large that it matters: gcc 12 takes 7.5 to 14 times that for the parsers of nine tree-sitter grammars, of
/// 15 to 52 MiB. For SQLite, whose 9 MiB are code, it takes 31 times that without optimising and 41 with: that is forecast
/// too low.
const OF_NATIVE: f64 = 11.0;
/// Milliseconds of processor time for each of them.
const NATIVE_CPU: f64 = 150.0;

/// The coefficients of one fitted quantity: `floor + exp(a sum of the terms below)`.
///
/// The floor is what rustc takes for an empty crate. Above it, a power of the source's size and one of the
/// dependencies' keep the forecast sane for crates far larger than any in the fit.
struct Fit {
    floor: f64,
    intercept: f64,
    /// Per natural logarithm of source KiB + 1.
    source: f64,
    /// Per natural logarithm of dependency MiB + 1.
    dependencies: f64,
    /// Metadata only: the front end without code generation.
    check: f64,
    optimised: f64,
    debuginfo: f64,
    proc_macro: f64,
    script: f64,
    /// KiB of source that a MiB of dependencies is worth to an executable: it instantiates what they
    /// left generic.
    instantiated: f64,
}

/// MiB of the compiler's tree at its peak, with one token and without its linker.
const PEAK: Fit = Fit {
    floor: 20.0,
    intercept: -1.16,
    source: 0.80,
    dependencies: 0.24,
    check: -0.26,
    optimised: 0.10,
    debuginfo: 0.00,
    proc_macro: 0.65,
    script: 0.11,
    instantiated: 2.0,
};

/// Milliseconds of processor time.
const CPU: Fit = Fit {
    floor: 30.0,
    intercept: 1.59,
    source: 0.78,
    dependencies: 0.39,
    check: -0.50,
    optimised: 0.70,
    debuginfo: 0.00,
    proc_macro: 0.79,
    script: 2.68,
    instantiated: 3.0,
};

/// The standard deviations of the logarithm of the peak around [`PEAK`], below and above [`LARGE`]: what is
/// small is certain to stay small, one in ten of the large ones needs two to three times its forecast.
const LOG_SD: (f64, f64) = (0.4, 0.65);

/// Where forecasts begin to be uncertain; MiB.
const LARGE: f64 = 80.0;

impl Fit {
    fn predict(&self, facts: &UnitFacts, sizes: &SourceSizes) -> f64 {
        let kind = facts.kind;
        let dependencies = sizes.dependencies.as_mib();
        let source = sizes.source.0 as f64 / 1024.0;
        let source = match kind {
            // Its root's directory is the whole package's.
            UnitKind::BuildScript => 0.0,
            UnitKind::Bin | UnitKind::Test => source + self.instantiated * dependencies,
            _ => source,
        };
        let when = |is: bool, by: f64| if is { by } else { 0.0 };
        let sum = self.intercept
            + self.source * source.ln_1p()
            + self.dependencies * dependencies.ln_1p()
            + when(facts.emit == Emit::Check, self.check)
            + when(facts.optimised(), self.optimised)
            + when(facts.debuginfo > 0, self.debuginfo)
            + when(kind == UnitKind::ProcMacro, self.proc_macro)
            + when(kind == UnitKind::BuildScript, self.script);
        self.floor + sum.exp()
    }
}

impl Forecast {
    /// The forecast of the cold model.
    #[must_use]
    pub fn cold(facts: &UnitFacts, sizes: &SourceSizes) -> Self {
        let (mib, cpu) = match facts.kind {
            // Most only print a few lines; what is known of the others is how large a source they may compile.
            UnitKind::BuildScriptRun => {
                let native = sizes.native.as_mib();
                (24.0 + OF_NATIVE * native, Millis(300 + (NATIVE_CPU * native) as u64))
            }
            // Nor of what a test or a command does: as much as a small compiler, until it was seen.
            UnitKind::TestRun => (48.0, Millis(1000)),
            UnitKind::Command => (64.0, Millis(10_000)),
            UnitKind::Tool => of_tool(&facts.crate_name, sizes.source.as_mib()),
            _ => (PEAK.predict(facts, sizes), Millis(CPU.predict(facts, sizes) as u64)),
        };
        Self {
            curve: Curve::ramp(Bytes::mib(1).scale(mib), cpu),
            log_sd: if mib < LARGE { LOG_SD.0 } else { LOG_SD.1 },
            link_peak: Bytes::ZERO,
            critical_path: None,
            source: ForecastSource::Cold,
        }
        .with_threads(facts.threads)
    }
}

/// MiB and processor time of a tool of WebAssembly builds, by the MiB of the module that it reads: measured on modules of
/// 0.2, 2.4, 4.0 and 15.1 MiB with wasm-opt 132 of npm at `-O` (173, 210, 271 and 528 MiB without its files; one that is
/// compiled for the machine takes less), and on one of 0.9 MiB with wasm-bindgen 0.2.130.
fn of_tool(name: &str, module: f64) -> (f64, Millis) {
    let (floor, per_mib, cpu) = match name {
        "wasm-opt" => (168.0, 24.0, 15_000.0),
        "wasm-bindgen" => (12.0, 13.0, 100.0),
        _ => (48.0, 0.0, 0.0),
    };
    (floor + per_mib * module, Millis(300 + (cpu * module) as u64))
}

/// The expected tree memory of a linker that reads `inputs` bytes and is not in the history.
///
/// Linkers map their inputs (file-backed, not counted) and hold symbols, relocations and what they write:
/// 0.22 to 0.34 times inputs of 120 to 350 MiB and 0.28 times 1.5 GiB with rust-lld, which rustc brings
/// along for x86_64 Linux, on executables with debug information; GNU ld takes more.
#[must_use]
pub fn cold_link(inputs: Bytes) -> Bytes {
    Bytes::mib(16) + inputs.scale(0.33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(kind: UnitKind) -> UnitFacts {
        let mut facts = UnitFacts::build_script_run("a".to_owned(), String::new());
        facts.kind = kind;
        facts.debuginfo = 1;
        facts
    }

    fn peak(facts: &UnitFacts, source_kib: u64, dependencies_mib: u64) -> f64 {
        let sizes = SourceSizes {
            source: Bytes::kib(source_kib),
            dependencies: Bytes::mib(dependencies_mib),
            ..SourceSizes::default()
        };
        Forecast::cold(facts, &sizes).curve.peak().as_mib()
    }

    #[test]
    fn more_source_means_more_memory() {
        let facts = unit(UnitKind::Lib);
        let of = |kib| peak(&facts, kib, 10);
        assert!(of(10) < of(300) && of(300) < of(9000));
        assert!(of(0) >= PEAK.floor, "{}", of(0));
    }

    /// Measured, and in no fit: the forecast is within a factor of 2.5 of each.
    #[test]
    fn crates_of_the_benchmark_are_forecast_within_bounds() {
        let measured = [
            ("cranelift-codegen", 16_080, 56, 1387.0),
            ("wasmtime", 4_332, 137, 891.0),
            ("wasmtime-environ", 1_380, 43, 570.0),
            ("rustix", 2_187, 6, 324.0),
            ("tokio", 3_538, 14, 295.0),
            ("aws-sdk-ec2", 58_600, 24, 7475.0),
        ];
        for (name, source, dependencies, mib) in measured {
            let forecast = peak(&unit(UnitKind::Lib), source, dependencies);
            assert!((mib / 2.5..mib * 2.5).contains(&forecast), "{name}: {forecast:.0} MiB");
        }
    }

    /// Measured, and in no benchmark: the forecast is within a factor of 1.8 of each.
    #[test]
    fn a_build_script_that_compiles_a_large_source_is_forecast_within_bounds() {
        let script = UnitFacts::build_script_run("a".to_owned(), String::new());
        for (name, native, mib) in [
            ("ruby", 15, 110.0),
            ("swift", 22, 305.0),
            ("c-sharp", 28, 230.0),
            ("verilog", 44, 379.0),
            ("julia", 52, 633.0),
        ] {
            let sizes = SourceSizes { native: Bytes::mib(native), ..SourceSizes::default() };
            let forecast = Forecast::cold(&script, &sizes).curve.peak().as_mib();
            assert!((mib / 1.8..mib * 1.8).contains(&forecast), "{name}: {forecast:.0} MiB");
        }
    }

    #[test]
    fn wasm_opt_is_forecast_by_its_module() {
        let tool = UnitFacts::tool("wasm-opt".to_owned(), "a".to_owned(), String::new(), "".into());
        for (kib, mib) in [(185, 173.0), (2_420, 210.0), (4_076, 271.0), (15_473, 528.0)] {
            let sizes = SourceSizes { source: Bytes::kib(kib), ..SourceSizes::default() };
            let forecast = Forecast::cold(&tool, &sizes).curve.peak().as_mib();
            assert!((mib / 1.1..mib * 1.1).contains(&forecast), "{kib} KiB: {forecast:.0} MiB");
        }
    }

    #[test]
    fn an_executable_grows_with_its_dependencies_and_a_build_script_not_with_its_package() {
        let bin = unit(UnitKind::Bin);
        assert!(peak(&bin, 4, 381) > 3.0 * peak(&bin, 4, 20));
        let script = unit(UnitKind::BuildScript);
        assert_eq!(peak(&script, 10_000, 2), peak(&script, 1, 2));
    }

    #[test]
    fn checking_needs_less_and_large_units_are_less_certain() {
        let built = unit(UnitKind::Lib);
        let mut checked = built.clone();
        checked.emit = Emit::Check;
        assert!(peak(&checked, 2000, 10) < peak(&built, 2000, 10));
        let sd = |kib| {
            let sizes = SourceSizes { source: Bytes::kib(kib), ..SourceSizes::default() };
            Forecast::cold(&built, &sizes).log_sd
        };
        assert!(sd(20) < sd(20_000));
    }
}
