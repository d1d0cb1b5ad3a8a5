//! What is asked for: how many builds, drawn from what, and the words that ask for one of them again.

use std::time::Duration;

use crate::drawn::Extent;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Builds at most.
    pub(crate) builds: u32,
    /// What everything is drawn from.
    pub(crate) seed: u64,
    /// No build begins after so long.
    pub(crate) at_most: Option<Duration>,
    /// Only this one of them.
    pub(crate) only: Option<u32>,
    /// Of what it is drawn.
    pub(crate) extent: Extent,
}

impl Plan {
    /// The command that does one build of this campaign again.
    pub(crate) fn again(&self, number: u32) -> String {
        format!("cargo torture{} --only {number}", self.words())
    }

    /// What else than the number of builds says which they are.
    pub(crate) fn words(&self) -> String {
        let extent = match self.extent {
            Extent::All => "",
            Extent::Small => " --small",
            Extent::Smoke => " --smoke",
        };
        format!(" --seed {}{extent}", self.seed)
    }
}
