//! What is compared: plain Cargo, the usual remedies, and Plimsoll.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

/// One way to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Cargo as it is.
    Plain,
    /// Cargo with `-j1`.
    Serial,
    /// What guides against running out of memory recommend: `-j1` and smaller settings.
    Recipe,
    /// `cargo plimsoll` with the recipe's peak as its budget, the first time without anything remembered.
    Plimsoll,
    /// The same once more, now that each unit is known.
    Again,
    /// The same budget, and the settings of `init --lowmem`.
    Lowmem,
}

impl Arm {
    /// Every arm, in the order in which they run: the recipe's peak is the budget of those after it.
    pub const ALL: [Self; 6] =
        [Self::Plain, Self::Serial, Self::Recipe, Self::Plimsoll, Self::Again, Self::Lowmem];

    /// Its name, on the command line and in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Serial => "serial",
            Self::Recipe => "recipe",
            Self::Plimsoll => "plimsoll",
            Self::Again => "again",
            Self::Lowmem => "lowmem",
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Plain => "plain cargo",
            Self::Serial => "plain cargo -j1",
            Self::Recipe => {
                "-j1, no debug info, more codegen units, thin LTO, incremental, no overflow checks"
            }
            Self::Plimsoll => {
                "cargo plimsoll with the recipe's peak as its budget, without history"
            }
            Self::Again => "the same again, with the history of the build before",
            Self::Lowmem => "cargo plimsoll with that budget and the settings of `init --lowmem`",
        }
    }

    /// Whether Plimsoll runs it.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Plimsoll | Self::Again | Self::Lowmem)
    }

    /// How many times plain Cargo's time it takes, for an estimate: `-j1` took 2 times as long on 2 processors and 3.6
    /// on 16 where we measured it.
    #[must_use]
    pub fn usual_share(self, processors: u32) -> f64 {
        match self {
            Self::Serial | Self::Recipe => 1.5 + f64::from(processors.max(1)).log2() / 2.0,
            Self::Plain => 1.0,
            Self::Plimsoll | Self::Again | Self::Lowmem => 1.15,
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Arm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|arm| arm.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no arm `{text}`; the arms are {names}")
        })
    }
}

/// What is built: `cargo build` with arguments of which none is about parallelism or places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct What {
    /// The arguments behind `build`.
    pub args: Vec<OsString>,
    /// The profile.
    pub profile: String,
}

/// Why arguments cannot be compared.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWhat {
    /// The arms differ in it.
    #[error("`bench` chooses `{0}` for each arm; leave it out")]
    Ours(String),
    /// It stands behind other arguments of Cargo's, where `bench` does not read it.
    #[error(
        "write `--jobs` before the arguments of `cargo build`, for example `cargo plimsoll bench --jobs 4`"
    )]
    Jobs,
    /// It belongs to another command.
    #[error(
        "`{0}` is not an argument of `cargo build`; Cargo's own benchmarks run with `cargo plimsoll cargo bench`"
    )]
    NotBuild(String),
}

impl What {
    /// Reads the arguments of `cargo build`.
    ///
    /// # Errors
    /// Where the arms differ in one of them, or another command takes it.
    pub fn read(args: &[OsString]) -> Result<Self, BadWhat> {
        let mut profile = "dev".to_owned();
        let mut next_is_profile = false;
        for arg in args {
            let text = arg.to_string_lossy();
            if std::mem::take(&mut next_is_profile) {
                profile = text.into_owned();
                continue;
            }
            let name = text.split_once('=').map_or(&*text, |(name, _)| name);
            match name {
                "--release" | "-r" => profile = "release".to_owned(),
                "--profile" => match text.split_once('=') {
                    Some((_, value)) => profile = value.to_owned(),
                    None => next_is_profile = true,
                },
                "--jobs" => return Err(BadWhat::Jobs),
                "--target-dir" | "--message-format" | "--build-dir" => {
                    return Err(BadWhat::Ours(name.to_owned()));
                }
                "--" | "--no-run" => return Err(BadWhat::NotBuild(name.to_owned())),
                _ if name.starts_with("-j") => return Err(BadWhat::Jobs),
                _ => {}
            }
        }
        Ok(Self { args: args.to_vec(), profile })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(line: &str) -> Result<What, BadWhat> {
        What::read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_profile_is_found_among_the_arguments() {
        for (line, profile) in [
            ("-p a", "dev"),
            ("--release -p a", "release"),
            ("-r", "release"),
            ("--profile small --features x", "small"),
            ("--profile=small", "small"),
        ] {
            assert_eq!(what(line).unwrap().profile, profile, "{line}");
        }
    }

    #[test]
    fn what_the_arms_differ_in_and_what_is_not_builds_is_refused() {
        for line in ["-j4", "-j 4", "--jobs=1"] {
            assert_eq!(what(line), Err(BadWhat::Jobs), "{line}");
        }
        for line in ["--target-dir x", "--message-format=json"] {
            assert!(matches!(what(line), Err(BadWhat::Ours(_))), "{line}");
        }
        for line in ["-- filter", "--no-run"] {
            assert!(matches!(what(line), Err(BadWhat::NotBuild(_))), "{line}");
        }
    }

    #[test]
    fn arms_have_names() {
        for arm in Arm::ALL {
            assert_eq!(arm.name().parse::<Arm>().unwrap(), arm);
        }
        assert!("mine".parse::<Arm>().unwrap_err().contains("recipe"));
    }
}
