//! The two files of a workspace, with what is proposed written into them or taken out.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_cargo::toml_text::{BadText, Key};
use plimsoll_cargo::{config_file, mark};
use similar::TextDiff;

use super::plan::{Change, Finding, Verdict};
use super::workspace::{TextFile, Workspace};

/// Who may read a file that is made, less the umask: as any editor makes it.
const MODE: u32 = 0o644;

/// A file that is to change.
#[derive(Clone, Debug)]
pub struct Edit {
    /// The file as it is.
    pub file: TextFile,
    /// Its text then; nothing where it is to be removed.
    pub new: Option<String>,
}

impl Edit {
    /// The difference, as `diff -u` shows it, with paths from `root`.
    pub fn diff(&self, root: &Path) -> String {
        let name =
            self.file.path.strip_prefix(root).unwrap_or(&self.file.path).display().to_string();
        let side = |there: bool| if there { name.clone() } else { "/dev/null".to_owned() };
        let (old, new) = (self.file.text(), self.new.as_deref().unwrap_or_default());
        TextDiff::from_lines(old, new)
            .unified_diff()
            .header(&side(self.file.text.is_some()), &side(self.new.is_some()))
            .to_string()
    }

    fn apply(&self) -> anyhow::Result<()> {
        write(&self.file.path, self.new.as_deref())
    }

    fn revert(&self) -> anyhow::Result<()> {
        write(&self.file.path, self.file.text.as_deref())
    }
}

/// What the findings come to. One that cannot be written where it belongs is kept as it is, and says why. What an
/// earlier `init` wrote into Cargo's configuration is taken out: it was of one machine.
///
/// # Errors
/// Where a file is not TOML.
pub fn propose(workspace: &Workspace, findings: &mut [Finding]) -> anyhow::Result<Vec<Edit>> {
    let mut edits = Vec::new();
    if let Some(text) = &workspace.config.text {
        let file = workspace.config.clone();
        let undone = mark::undo(text).with_context(|| self::unread(&file.path))?;
        if undone.text.as_ref() != Some(text) {
            edits.push(Edit { file, new: undone.text });
        }
    }
    let file = &workspace.manifest;
    let mut text = file.text.clone().unwrap_or_default();
    for at in order(findings) {
        let Verdict::Write(change) = &findings[at].verdict else { continue };
        let table: Vec<&str> = change.table.iter().map(String::as_str).collect();
        let key = Key { table: &table, name: change.name };
        match mark::put(&text, key, &change.literal, &findings[at].why) {
            Ok(new) => text = new,
            Err(error @ BadText::Shape(_)) => {
                findings[at].why = format!("{error} in {}", file.path.display());
                findings[at].verdict = Verdict::Kept;
            }
            Err(error) => return Err(error).with_context(|| unread(&file.path)),
        }
    }
    if text != file.text() {
        edits.push(Edit { file: file.clone(), new: Some(text) });
    }
    Ok(edits)
}

/// What is to be written: table by table, and in each from the last to the first, because a new line goes before those
/// that are there.
fn order(findings: &[Finding]) -> Vec<usize> {
    let change = |at: usize| -> Option<&Change> {
        match &findings[at].verdict {
            Verdict::Write(change) => Some(change),
            _ => None,
        }
    };
    let all: Vec<usize> = (0..findings.len()).filter(|&at| change(at).is_some()).collect();
    let table = |at: usize| change(at).map(|it| &it.table);
    let first = |at: usize| all.iter().position(|&other| table(other) == table(at));
    let mut order = all.clone();
    order.sort_by_key(|&at| (first(at), std::cmp::Reverse(at)));
    order
}

/// What taking back comes to.
#[derive(Clone, Debug, Default)]
pub struct TakenBack {
    /// The files.
    pub edits: Vec<Edit>,
    /// The keys that stay because they were edited, with their file; without a key, a whole file.
    pub edited: Vec<(Option<String>, PathBuf)>,
}

/// Finds what `init` wrote.
///
/// # Errors
/// Where a file is not TOML.
pub fn take_back(workspace: &Workspace) -> anyhow::Result<TakenBack> {
    let mut taken = TakenBack::default();
    let unread = workspace.unread.iter().map(|path| -> anyhow::Result<TextFile> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(TextFile { path: path.clone(), text: Some(text) })
    });
    let files = [Ok(workspace.config.clone()), Ok(workspace.manifest.clone())];
    for file in files.into_iter().chain(unread) {
        let file = file?;
        let Some(text) = &file.text else { continue };
        let undone = mark::undo(text).with_context(|| self::unread(&file.path))?;
        taken.edited.extend(undone.edited.into_iter().map(|key| (Some(key), file.path.clone())));
        if undone.text.as_ref() != Some(text) {
            taken.edits.push(Edit { new: undone.text, file });
        }
    }
    Ok(taken)
}

/// Writes all files or none, and lets `check` look before it is done.
///
/// # Errors
/// Where a file cannot be written, or `check` refuses: everything is then as it was.
pub fn apply(edits: &[Edit], check: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    for edit in edits {
        config_file::assert_writable(&edit.file.path)?;
    }
    let done = edits.iter().try_for_each(Edit::apply).and_then(|()| check());
    if let Err(error) = done {
        for edit in edits {
            edit.revert().with_context(|| format!("{error:#}; and then"))?;
        }
        return Err(error);
    }
    Ok(())
}

fn write(path: &Path, text: Option<&str>) -> anyhow::Result<()> {
    let directory = path.parent().unwrap_or(path);
    match text {
        Some(text) => {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make the directory `{}`", directory.display()))?;
            config_file::replace(path, text.as_bytes(), MODE)
        }
        None => {
            config_file::remove(path)?;
            match fs::remove_dir(directory) {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                other => other.with_context(|| format!("cannot remove `{}`", directory.display())),
            }
        }
    }
}

fn unread(path: &Path) -> String {
    format!("cannot edit `{}`; nothing changed", path.display())
}
