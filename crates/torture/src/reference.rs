//! What plain cargo makes of a workload, and what it takes: the measure of everything that is drawn and compared.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use plimsoll_rig::account::Account;
use plimsoll_rig::artifacts::{Manifest, differing, manifest};
use plimsoll_rig::folders::empty;
use plimsoll_rig::launch::{self, Build, Limits, Measured, stderr_of};
use plimsoll_rig::programs;
use plimsoll_rig::workload::Workload;

use crate::campaign::{Campaign, Reference};
use crate::verdict::{is_half, size};

/// Units at once of the builds that the others are compared with.
const JOBS: u32 = 2;

/// An undisturbed build that takes longer has no end.
const PATIENCE: Duration = Duration::from_secs(900);

impl Campaign<'_> {
    /// Known from before, or built now: twice by plain cargo and once by Plimsoll, all alike.
    pub(crate) fn reference(&mut self, name: &str, command: &[&str]) -> Result<Reference> {
        let key = format!("{name}-{}", command.join("-"));
        if let Some(known) = self.references.get(&key) {
            return Ok(known.clone());
        }
        println!("  ({key}: plain cargo twice, and Plimsoll undisturbed)");
        let mut workload = Workload::prepare(self.sources, self.state, name, &[])?;
        workload.args = command.iter().copied().chain(["--locked"]).map(Into::into).collect();
        let account = Account::prepare(self.state, self.plimsoll)?;
        let home = self.state.join("homes").join("torture").join(&key);
        empty(&home)?;
        let plain = on(&account, programs::plain(&workload, JOBS));
        let ours = on(&account, self.plimsoll.build(&workload, &home, None, JOBS));
        let built = |build: &Build| self.undisturbed(&workload, build, &key);
        let (measured, artifacts) = built(&plain)?;
        let bytes = size(&workload.target);
        let (_, control) = built(&plain)?;
        let (_, by_us) = built(&ours)?;
        let unstable = differing(&artifacts, &control);
        let only_ours: Vec<_> = differing(&artifacts, &by_us)
            .into_iter()
            .filter(|path| !unstable.contains(path))
            .collect();
        if !only_ours.is_empty() {
            bail!("without any fault Plimsoll's artifacts differ: {}", only_ours.join(", "));
        }
        let (wall, peak) = (measured.wall, measured.samples.peak);
        let reference = Reference { workload, artifacts, unstable, wall, peak, bytes, home };
        self.references.insert(key, reference.clone());
        Ok(reference)
    }

    fn undisturbed(
        &self,
        workload: &Workload,
        build: &Build,
        key: &str,
    ) -> Result<(Measured, Manifest)> {
        workload.clean()?;
        let log = self.state.join("logs").join(format!("torture-{key}"));
        let limits = self.limits(PATIENCE);
        let measured = launch::run(build, limits, &log, self.interrupt, None)?;
        if measured.exit != Some(0) {
            bail!("`{}` failed; its output is in {}", build.display(), stderr_of(&log).display());
        }
        let artifacts = manifest(&workload.target).context("reading the artifacts")?;
        Ok((measured, artifacts))
    }

    /// Without a cgroup limit.
    pub(crate) fn limits(&self, stop_after: Duration) -> Limits {
        Limits { cgroup_limit: None, stop_after, without_cgroup: !self.means.cgroups }
    }
}

/// The build in the campaign's own Cargo home: the sources' paths, which artifacts hold, are the same for all. Without
/// debug information, which takes time and changes nothing here.
pub(crate) fn on(account: &Account, mut build: Build) -> Build {
    let [cargo_home, _] = account.environment();
    build.env.extend([cargo_home, ("CARGO_PROFILE_DEV_DEBUG".to_owned(), "0".into())]);
    build
}

/// The artifacts that are not as they should be.
pub(crate) fn wrong(reference: &Reference, found: &Manifest) -> Vec<String> {
    differing(&reference.artifacts, found)
        .into_iter()
        .filter(|path| !reference.unstable.contains(path))
        .filter(|path| !is_half(Path::new(path)))
        .collect()
}
