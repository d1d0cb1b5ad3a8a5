//! One file that is read, and replaced as a whole: no reader ever sees half of it.
//!
//! A symbolic link stays one, its target is replaced. Mode and owner stay; what the owner has made
//! read-only is not written. Deliberately knows nothing of what is in the file.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The kernel follows no more links either (`MAXSYMLINKS`, path_resolution(7)).
const MOST_LINKS: usize = 40;

/// What nobody but its owner may read.
pub const PRIVATE: u32 = 0o600;

/// The content; `None` where there is no such file.
pub fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

/// Replaces the file's content, or makes the file with `mode` (less the umask).
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let target = target(path).with_context(|| format!("cannot follow `{}`", path.display()))?;
    let cannot = || cannot(&target);
    let old = writable(&target).with_context(cannot)?;
    let temporary = target.with_extension(format!("plimsoll-{}", std::process::id()));
    let written =
        write(&temporary, bytes, mode, old.as_ref()).and_then(|()| fs::rename(&temporary, &target));
    if written.is_err() {
        // It may not have been made at all.
        let _ = fs::remove_file(&temporary);
    }
    written.with_context(cannot)
}

/// Refuses a file that [`replace`] could not write.
pub fn assert_writable(path: &Path) -> anyhow::Result<()> {
    let target = target(path).with_context(|| format!("cannot follow `{}`", path.display()))?;
    writable(&target).map(drop).with_context(|| cannot(&target))
}

/// Removes the file (the target of a link); one that is gone is no error.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    let target = target(path).with_context(|| format!("cannot follow `{}`", path.display()))?;
    match fs::remove_file(&target) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", target.display()))
        }
        _ => Ok(()),
    }
}

/// Makes a directory for its owner only, and those above it.
pub fn make_private_directory(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the directory `{}`", path.display()))
}

/// What the path comes to when every link at its end is followed, whether or not that exists.
fn target(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&target) {
            Ok(link) => target = target.parent().unwrap_or(Path::new("/")).join(link),
            // Not a link, or nothing at all.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {
                return Ok(target);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(rustix::io::Errno::LOOP))
}

fn cannot(target: &Path) -> String {
    format!(
        "cannot write `{}`; it is unchanged: make the file and its directory writable",
        target.display()
    )
}

/// The file's state where it may be written (root may write what is read-only, and is not to); `None` where
/// there is none yet.
fn writable(target: &Path) -> io::Result<Option<fs::Metadata>> {
    let file = match OpenOptions::new().write(true).open(target) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    if found.permissions().readonly() {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it is read-only"));
    }
    Ok(Some(found))
}

fn write(path: &Path, bytes: &[u8], mode: u32, old: Option<&fs::Metadata>) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    if let Some(old) = old {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn mode_and_link_stay_and_nothing_is_left_beside() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("dotfiles.toml"), dir.path().join("config.toml"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        symlink("dotfiles.toml", &link).unwrap();
        replace(&link, b"new", PRIVATE).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(mode(&file), 0o640);
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("dotfiles.toml"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);

        remove(&link).unwrap();
        assert!(!file.exists());
        replace(&link, b"again", PRIVATE).unwrap();
        assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"again".to_vec(), PRIVATE));
    }

    #[test]
    fn what_is_read_only_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o444)).unwrap();
        let error = format!("{:#}", replace(&file, b"new", PRIVATE).unwrap_err());
        assert!(error.contains("config.toml") && error.contains("writable"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), b"old");
    }

    #[test]
    fn links_in_a_circle_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(replace(&dir.path().join("a"), b"x", PRIVATE).is_err());
    }
}
