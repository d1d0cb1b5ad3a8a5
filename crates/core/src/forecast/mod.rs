//! How much memory a unit will need, over its processor time.
//!
//! The axis is processor time of the unit's own tree, not wall time: a compiler that shares its core
//! reaches the same peak at the same amount of work, however long that takes.

mod cold;
mod curve;
mod estimate;
mod threads;

use serde::{Deserialize, Serialize};

pub use cold::{SourceSizes, cold_link};
pub use curve::{Curve, CurveBuilder};
pub use estimate::MEMORY_PER_TOKEN;

use crate::measure::{Bytes, Millis};

/// Where a forecast came from, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForecastSource {
    /// This very unit was seen before.
    History,
    /// The same crate was seen in another version, profile or with other features.
    #[serde(rename = "related", alias = "elder")]
    RelatedCrate,
    /// Nothing is known: the cold model.
    Cold,
}

/// What is expected of a unit before it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Tree memory of the compiler over its processor time, with one token, without its linker.
    pub curve: Curve,
    /// The standard deviation of the logarithm of the true peak around the expected one: 0.05 for a
    /// unit that was seen often, 0.6 for the cold model.
    pub log_sd: f64,
    /// Tree memory of the linker alone, zero for what is not linked.
    pub link_peak: Bytes,
    /// The expected time from the start of this unit to the end of the build along the longest chain of
    /// its dependents (its *bottom level*), where the graph is known.
    pub critical_path: Option<Millis>,
    /// Where all this came from.
    pub source: ForecastSource,
}

/// What one complete run of a unit showed. Runs that were killed, stopped for long or starved of
/// memory are lower bounds and are not recorded as observations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Tree memory of the compiler over its processor time.
    pub curve: Curve,
    /// Processor time of the whole run, linker included.
    pub cpu: Millis,
    /// Wall time of the run.
    pub wall: Millis,
    /// Peak tree memory of the linker alone, zero where nothing was linked.
    pub link_peak: Bytes,
    /// The most tokens that it held at once, the implicit one included.
    pub tokens: u32,
    /// Its bottom level in the build in which it was observed, where that build was complete.
    pub critical_path: Option<Millis>,
}
