//! One line for the whole account: the shims in Cargo's own configuration, put in and taken out.
//!
//! ```text
//! enable    keep the bytes  ->  write <home>/enabled  ->  write the configuration
//! disable   write the configuration  ->  remove <home>/enabled  ->  forget the bytes
//! ```
//!
//! Invariant: wherever either of them stops, plain Cargo works and both can be called again. The configuration
//! names shims that exist, a shim without `<home>/enabled` just runs the compiler, and an `enabled` beside a
//! configuration without shims is found by both.
//!
//! What it deliberately does not do: start or stop the governor, or look at what other files and the
//! environment say ([`crate::commands::status`] does).

pub(crate) mod config_text;
mod kept;
pub(crate) mod state;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use plimsoll_cargo::{CargoConfig, config_file};
use plimsoll_core::settings::Memory;
use plimsoll_proto::Enabled;
use rustix::fs::{FlockOperation, flock};

use crate::env::Environment;
use crate::shims::Shims;
use config_text::{BadText, Key, Written};
use kept::Kept;

/// What Cargo makes its own configuration's files with.
const CONFIG_MODE: u32 = 0o644;

/// An account's two places.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Plimsoll's home.
    pub(crate) home: PathBuf,
    /// The configuration file in Cargo's home that Cargo reads, or would.
    pub(crate) config: PathBuf,
    /// Another one beside it, which Cargo does not read.
    pub(crate) unread: Option<PathBuf>,
}

/// What `enable` has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Enabling {
    /// The configuration names the shims from now on.
    Done,
    /// It did already; what the shims and the governor are told has changed, such as the budget.
    Updated,
    /// Nothing was to do.
    Already,
}

/// What `disable` has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disabling {
    /// The configuration is what it was, byte for byte.
    Restored,
    /// It was edited since: what `enable` had put in was taken out.
    TakenOut,
    /// The shims stood there no more; Plimsoll's own record is removed.
    GoneAlready,
    /// There was nothing to do.
    NotEnabled,
}

impl Account {
    /// The account whose environment this is. Nothing where Cargo's home is unknown.
    pub(crate) fn find(home: &Path, environment: &Environment, cwd: &Path) -> Option<Self> {
        let cargo_home = environment.cargo_home(cwd)?;
        // Cargo prefers the name without an extension where both exist, and warns.
        let (old, new) = (cargo_home.join("config"), cargo_home.join("config.toml"));
        let (config, unread) = match (old.exists(), new.exists()) {
            (true, true) => (old, Some(new)),
            (true, false) => (old, None),
            (false, _) => (new, None),
        };
        Some(Self { home: home.to_owned(), config, unread })
    }

    /// What `enable` wrote; nothing where Plimsoll is not enabled or that cannot be read any more.
    pub(crate) fn enabled(home: &Path) -> Option<Enabled> {
        Enabled::decode(&fs::read(Enabled::file(home)).ok()?).ok()
    }

    /// Since when.
    pub(crate) fn since(home: &Path) -> Option<SystemTime> {
        kept::since(home)
    }

    /// Puts the shims into the configuration. `memory` is the budget; without it what was named before, else
    /// `auto`.
    ///
    /// # Errors
    /// Where a file cannot be read, understood or written; the configuration is as it was.
    pub(crate) fn enable(
        &self,
        memory: Option<Memory>,
        shims: &Shims,
    ) -> anyhow::Result<(Enabling, Enabled)> {
        config_file::make_private_directory(&self.home)?;
        let _lock = lock(&self.home)?;
        let before = Self::enabled(&self.home);
        if let Some(before) = &before {
            self.refuse_another(before, shims)?;
        }
        let bytes = config_file::read(&self.config)?;
        let text = self.text(bytes.as_deref())?;
        let kept = Kept::read(&self.home)?.filter(|_| before.is_some());
        let untouched = kept.as_ref().filter(|kept| bytes.as_ref() == Some(&kept.written));
        let (original, made_directory) = match untouched {
            Some(kept) => (kept.original.clone(), kept.made_directory),
            None => {
                let without = self.taken_out(text, kept.as_ref(), before.as_ref(), shims)?;
                let made = kept.as_ref().is_some_and(|kept| kept.made_directory);
                let none = bytes.is_none() || (without.is_empty() && was_none(kept.as_ref()));
                ((!none).then(|| without.into_bytes()), made)
            }
        };
        let written = self.put(text, shims)?;
        let changes = bytes.as_deref() != Some(written.as_bytes());
        let said = CargoConfig::of_file(&self.config, self.text(original.as_deref())?);
        let chained = |given: Option<plimsoll_cargo::Given<PathBuf>>| {
            let program = given?.value;
            (!program.as_os_str().is_empty() && !shims.include(&program)).then_some(program)
        };
        let enabled = Enabled {
            memory: memory.or(before.as_ref().map(|before| before.memory)).unwrap_or_default(),
            wrapper: chained(said.rustc_wrapper),
            rustdoc: chained(said.rustdoc),
            config: self.config.clone(),
        };

        let directory = self.config.parent().unwrap_or(Path::new("/"));
        let made_directory = made_directory || !directory.is_dir();
        if changes || untouched.is_none() {
            Kept { original, written: written.clone().into_bytes(), made_directory }
                .write(&self.home)?;
        }
        if before.as_ref() != Some(&enabled) {
            config_file::replace(
                &Enabled::file(&self.home),
                &enabled.encode(),
                config_file::PRIVATE,
            )?;
        }
        if changes && let Err(error) = self.write(&written) {
            if before.is_none() {
                // An account is not enabled by a record alone; where it stays, `disable` removes it.
                let _ = fs::remove_file(Enabled::file(&self.home));
                let _ = kept::forget(&self.home);
            }
            return Err(error);
        }
        let done = match before {
            Some(before) if !changes && before == enabled => Enabling::Already,
            Some(_) if !changes => Enabling::Updated,
            _ => Enabling::Done,
        };
        Ok((done, enabled))
    }

    /// Takes the shims out of the configuration.
    ///
    /// # Errors
    /// Where a file cannot be read, understood or written. What is still to be done can be done later.
    pub(crate) fn disable(&self, shims: &Shims) -> anyhow::Result<Disabling> {
        if !self.home.is_dir() && !self.names_shims(shims)? {
            return Ok(Disabling::NotEnabled);
        }
        config_file::make_private_directory(&self.home)?;
        let _lock = lock(&self.home)?;
        let file = Enabled::file(&self.home);
        let was_enabled = file.exists();
        let before = Self::enabled(&self.home);
        let mut account = self.clone();
        if let Some(before) = &before {
            account.config = before.config.clone();
        }
        let done = match account.restore(before.as_ref(), shims)? {
            Disabling::NotEnabled if was_enabled => Disabling::GoneAlready,
            done => done,
        };
        config_file::remove(&file)?;
        kept::forget(&self.home)?;
        Ok(done)
    }

    /// Whether the configuration names a shim.
    pub(crate) fn names_shims(&self, shims: &Shims) -> anyhow::Result<bool> {
        let bytes = config_file::read(&self.config)?;
        let text = self.text(bytes.as_deref())?;
        for key in Key::ALL {
            if self.ours(text, key, shims)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the configuration, in a directory that may be missing, too.
    fn write(&self, text: &str) -> anyhow::Result<()> {
        let directory = self.config.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make the directory `{}`", directory.display()))?;
        config_file::replace(&self.config, text.as_bytes(), CONFIG_MODE)
    }

    /// Gives the configuration back.
    fn restore(&self, before: Option<&Enabled>, shims: &Shims) -> anyhow::Result<Disabling> {
        let Some(bytes) = config_file::read(&self.config)? else {
            return Ok(Disabling::NotEnabled);
        };
        let kept = Kept::read(&self.home)?;
        let untouched = kept.as_ref().filter(|kept| kept.written == bytes);
        let original = match untouched {
            Some(kept) => kept.original.clone(),
            None if !self.names_shims(shims)? => return Ok(Disabling::NotEnabled),
            None => {
                let text = self.text(Some(&bytes))?;
                let without = self.taken_out(text, kept.as_ref(), before, shims)?;
                let none = without.is_empty() && was_none(kept.as_ref());
                (!none).then(|| without.into_bytes())
            }
        };
        match &original {
            Some(original) if *original == bytes => return Ok(Disabling::NotEnabled),
            Some(original) => config_file::replace(&self.config, original, CONFIG_MODE)?,
            None => {
                config_file::remove(&self.config)?;
                let directory = self.config.parent().filter(|_| made_directory(kept.as_ref()));
                // Where something else is in it by now, it stays.
                let _ = directory.map(fs::remove_dir);
            }
        }
        Ok(if untouched.is_some() { Disabling::Restored } else { Disabling::TakenOut })
    }

    /// An account is enabled in one configuration at a time: `disable` can give back only one.
    fn refuse_another(&self, before: &Enabled, shims: &Shims) -> anyhow::Result<()> {
        let other = Self { config: before.config.clone(), ..self.clone() };
        anyhow::ensure!(
            before.config == self.config || !other.names_shims(shims)?,
            "Plimsoll is enabled in `{}`, but CARGO_HOME now leads to `{}`; run `cargo plimsoll disable` first",
            before.config.display(),
            self.config.display()
        );
        Ok(())
    }

    /// The text with both shims.
    fn put(&self, text: &str, shims: &Shims) -> anyhow::Result<String> {
        // Keys of a table are added at its beginning.
        let pairs = [(Key::Rustdoc, &shims.rustdoc), (Key::RustcWrapper, &shims.rustc)];
        pairs.into_iter().try_fold(text.to_owned(), |text, (key, shim)| {
            let shim = shim.to_str().with_context(|| {
                format!(
                    "`{}` is not UTF-8, so Cargo's configuration cannot name it",
                    shim.display()
                )
            })?;
            let same = config_text::get(&text, key)
                .is_ok_and(|now| now.is_some_and(|now| now.value == shim));
            if same {
                return Ok(text);
            }
            config_text::set(&text, key, &Written::new(shim)).with_context(|| self.cannot_edit())
        })
    }

    /// The text without the shims: what stood there before is back in its place.
    fn taken_out(
        &self,
        text: &str,
        kept: Option<&Kept>,
        before: Option<&Enabled>,
        shims: &Shims,
    ) -> anyhow::Result<String> {
        let original = kept.and_then(|kept| kept.original.as_deref());
        let original = original.and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default();
        let mut new = text.to_owned();
        let mut removed = false;
        for key in Key::ALL {
            if !self.ours(&new, key, shims)? {
                continue;
            }
            let recorded = before.and_then(|before| match key {
                Key::RustcWrapper => before.wrapper.as_ref(),
                Key::Rustdoc => before.rustdoc.as_ref(),
            });
            let former = match kept {
                // As it was written, and not what it came to.
                Some(_) => config_text::get(original, key).unwrap_or_default(),
                None => recorded.and_then(|path| path.to_str()).map(Written::new),
            };
            let edited = match &former {
                Some(former) => config_text::set(&new, key, former),
                None => config_text::remove(&new, key),
            };
            new = edited.with_context(|| self.cannot_edit())?;
            removed |= former.is_none();
        }
        if removed && !config_text::has_header(original) {
            new = config_text::remove_empty_table(&new).with_context(|| self.cannot_edit())?;
        }
        Ok(new)
    }

    /// Whether the key's value is a shim.
    fn ours(&self, text: &str, key: Key, shims: &Shims) -> anyhow::Result<bool> {
        let found: Result<_, BadText> = config_text::get(text, key);
        let found = found.with_context(|| self.cannot_edit())?;
        Ok(found.is_some_and(|found| shims.include(Path::new(&found.value))))
    }

    fn text<'a>(&self, bytes: Option<&'a [u8]>) -> anyhow::Result<&'a str> {
        str::from_utf8(bytes.unwrap_or_default()).with_context(|| self.cannot_edit())
    }

    fn cannot_edit(&self) -> String {
        format!("cannot edit `{}`; it stays as it is", self.config.display())
    }
}

fn was_none(kept: Option<&Kept>) -> bool {
    kept.is_some_and(|kept| kept.original.is_none())
}

fn made_directory(kept: Option<&Kept>) -> bool {
    kept.is_some_and(|kept| kept.made_directory)
}

/// One of us at a time; the lock ends with the process.
fn lock(home: &Path) -> anyhow::Result<File> {
    let lock = || {
        let directory = File::open(home)?;
        flock(&directory, FlockOperation::LockExclusive)?;
        Ok::<_, std::io::Error>(directory)
    };
    lock().with_context(|| format!("cannot lock `{}`", home.display()))
}

#[cfg(test)]
mod tests;
