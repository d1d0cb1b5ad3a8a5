//! Where Plimsoll keeps its state: one rule for the driver, the governor and the shims.
//!
//! Deliberately does not read the environment (this crate is pure) and does not make a relative path
//! absolute: only who was called by a person knows what it is relative to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variable by which a person names Plimsoll's home.
pub const HOME_VARIABLE: &str = "PLIMSOLL_HOME";

/// Where state is kept, and which variable said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHome {
    /// The directory. Relative only where [`HOME_VARIABLE`] is.
    pub path: PathBuf,
    /// `PLIMSOLL_HOME`, `XDG_STATE_HOME` or `HOME`.
    pub variable: &'static str,
}

impl StateHome {
    /// `$PLIMSOLL_HOME`, else `plimsoll` in `$XDG_STATE_HOME`, else `~/.local/state/plimsoll` (a relative
    /// `XDG_STATE_HOME` is invalid and ignored: XDG Base Directory Specification 0.8). An empty variable
    /// counts as unset. `None` where no home directory is known.
    pub fn find(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        const XDG: &str = "XDG_STATE_HOME";
        const USER: &str = "HOME";
        let path = |name: &str| Some(PathBuf::from(variable(name).filter(|set| !set.is_empty())?));
        if let Some(path) = path(HOME_VARIABLE) {
            return Some(Self { path, variable: HOME_VARIABLE });
        }
        if let Some(state) = path(XDG).filter(|state| state.is_absolute()) {
            return Some(Self { path: state.join("plimsoll"), variable: XDG });
        }
        let below = |home: PathBuf| home.join(Path::new(".local/state/plimsoll"));
        Some(Self { path: below(path(USER)?), variable: USER })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_variable_decides() {
        let find = |variables: &[(&str, &str)]| {
            let value = |name: &str| {
                variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into())
            };
            StateHome::find(value).map(|home| (home.path, home.variable))
        };
        let is = |path: &str, variable| Some((PathBuf::from(path), variable));
        let (user, xdg) = (("HOME", "/h"), ("XDG_STATE_HOME", "/s"));
        assert_eq!(find(&[user, xdg, ("PLIMSOLL_HOME", "/p")]), is("/p", "PLIMSOLL_HOME"));
        assert_eq!(find(&[user, xdg, ("PLIMSOLL_HOME", "")]), is("/s/plimsoll", "XDG_STATE_HOME"));
        let below_home = is("/h/.local/state/plimsoll", "HOME");
        assert_eq!(find(&[user, ("XDG_STATE_HOME", "s")]), below_home);
        assert_eq!(find(&[]), None);
    }
}
