//! The names of the cgroups that a driver makes for its hard limit, and whose they are.

use std::ffi::OsStr;
use std::path::Path;

/// What every cgroup of ours begins with.
pub(super) const PREFIX: &str = "plimsoll-";
/// What the driver's own ends with.
pub(super) const DRIVER: &str = "-driver";

/// The driver that a cgroup of ours is named after: its process id and start.
pub(super) fn owner(name: &OsStr) -> Option<(u32, u64)> {
    let name = name.to_str()?.strip_prefix(PREFIX)?;
    let (pid, start) = name.strip_suffix(DRIVER).unwrap_or(name).split_once('-')?;
    Some((pid.parse().ok()?, start.parse().ok()?))
}

/// Whether a cgroup is where a driver has made room for its hard limit.
pub(super) fn is_drivers(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default();
    owner(name).is_some() && name.as_encoded_bytes().ends_with(DRIVER.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_drivers_are_ours() {
        let owner = |name: &str| owner(name.as_ref());
        assert_eq!(owner("plimsoll-12-345"), Some((12, 345)));
        assert_eq!(owner("plimsoll-12-345-driver"), Some((12, 345)));
        for other in ["plimsoll-e2e-12-1", "plimsoll-12", "plimsoll-12-345-x", "other-12-345"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
