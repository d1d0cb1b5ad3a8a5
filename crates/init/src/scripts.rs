//! The guide's four scripts, for people and documents that call them by name.
//!
//! They are thin: each calls Plimsoll, and where that is not installed says how to install it and lets plain Cargo
//! build with the guide's recipe. What their users set at the top stays when they are written anew; a file of that
//! name that is somebody else's is never touched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::edit::{Edit, TakenBack};
use super::recipe::recipe;
use super::workspace::TextFile;

/// The line by which a script is known as ours. Settings are the lines `NAME="value"` that follow it.
const MARK: &str = "# Written by `cargo plimsoll init --scripts`. The next lines are yours to edit; the same command replaces the rest.";

/// The line before the rest.
const END: &str = "";

/// Their names and what they are made from.
const SCRIPTS: [(&str, &str); 4] = [
    ("build-low-memory.sh", include_str!("scripts/build-low-memory.sh")),
    ("build-incremental.sh", include_str!("scripts/build-incremental.sh")),
    ("build-env.sh", include_str!("scripts/build-env.sh")),
    ("build-cf-worker.sh", include_str!("scripts/build-cf-worker.sh")),
];

/// The scripts that are not in this directory, or not as they would be written now.
///
/// # Errors
/// Where a file of that name cannot be read or is not ours.
pub fn propose(root: &Path) -> anyhow::Result<Vec<Edit>> {
    let mut edits = Vec::new();
    for (name, template) in SCRIPTS {
        let file = TextFile::read(root.join(name))?;
        let settings = match &file.text {
            Some(text) => settings_of(text).with_context(|| {
                format!(
                    "`{}` exists and was not written by `init --scripts`; move or remove it first",
                    file.path.display()
                )
            })?,
            None => BTreeMap::new(),
        };
        let new = script(template, &settings);
        if file.text.as_ref() != Some(&new) {
            edits.push(Edit { file, new: Some(new) });
        }
    }
    Ok(edits)
}

/// Finds what is to be removed again. One that a person has edited, at its top or below, stays.
///
/// # Errors
/// Where a file cannot be read.
pub fn take_back(root: &Path, to: &mut TakenBack) -> anyhow::Result<()> {
    for (name, template) in SCRIPTS {
        let file = TextFile::read(root.join(name))?;
        let Some(text) = &file.text else { continue };
        if settings_of(text).is_none() {
            continue;
        }
        if *text == script(template, &BTreeMap::new()) {
            to.edits.push(Edit { file, new: None });
        } else {
            to.edited.push((None, file.path));
        }
    }
    Ok(())
}

/// Lets those that are called be called.
///
/// # Errors
/// Where a mode cannot be changed.
pub fn make_executable(edits: &[Edit]) -> anyhow::Result<()> {
    for edit in edits.iter().filter(|edit| edit.new.is_some()) {
        let path = &edit.file.path;
        let change = || -> std::io::Result<()> {
            let mut permissions = fs::metadata(path)?.permissions();
            // Whoever may read it may run it.
            let mode = permissions.mode();
            permissions.set_mode(mode | (mode & 0o444) >> 2);
            fs::set_permissions(path, permissions)
        };
        change().with_context(|| format!("cannot make `{}` executable", path.display()))?;
    }
    Ok(())
}

/// The settings at a script's top, each with what stands after its name; nothing where it is not ours.
fn settings_of(text: &str) -> Option<BTreeMap<String, String>> {
    let mut lines = text.lines().skip_while(|line| *line != MARK);
    lines.next()?;
    let settings = lines.take_while(|line| *line != END).filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    Some(settings.collect())
}

/// A script, with these settings in place of its own.
fn script(template: &str, settings: &BTreeMap<String, String>) -> String {
    let mut script = String::new();
    for line in template.lines() {
        match line {
            "@mark@" => script.push_str(MARK),
            "@fallback@" => script.push_str(&fallback(template)),
            _ => match line.split_once('=').and_then(|(name, _)| Some((name, settings.get(name)?)))
            {
                Some((name, value)) => script.push_str(&format!("{name}={value}")),
                None => script.push_str(line),
            },
        }
        script.push('\n');
    }
    script
}

/// What lets plain Cargo build with the guide's recipe.
fn fallback(template: &str) -> String {
    let is_sourced = !template.starts_with("#!");
    let mut lines = vec![
        "echo \"Plimsoll is not installed: this build runs one job with smaller settings and has no memory limit. To \
         install it, run 'cargo install --locked --path crates/cargo-plimsoll' in a clone of its repository.\" >&2"
            .to_owned(),
    ];
    let mut set = vec![("CARGO_BUILD_JOBS".to_owned(), "1".to_owned())];
    set.extend(["dev", "release"].into_iter().flat_map(recipe));
    lines.extend(set.into_iter().map(|(name, value)| format!("export {name}={value}")));
    let indent = if is_sourced { "    " } else { "" };
    lines.iter().map(|line| format!("{indent}{line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_has_set_stays_and_foreign_files_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let edits = propose(root.path()).unwrap();
        assert_eq!(edits.len(), 4);
        let path = root.path().join("build-low-memory.sh");
        for edit in &edits {
            let new = edit.new.clone().unwrap();
            assert!(!new.contains('@') || new.contains("\"$@\""), "{new}");
            fs::write(&edit.file.path, new).unwrap();
        }
        assert!(propose(root.path()).unwrap().is_empty(), "twice is once");

        let text = fs::read_to_string(&path).unwrap();
        let edited = text.replace("MEMORY_LIMIT=\"auto\"", "MEMORY_LIMIT=\"3G\"");
        assert_ne!(edited, text);
        fs::write(&path, &edited).unwrap();
        assert!(propose(root.path()).unwrap().is_empty(), "the limit is its user's");
        fs::write(&path, edited.replace("exec cargo build", "exec cargo check")).unwrap();
        let again = propose(root.path()).unwrap();
        assert_eq!(again[0].new.as_ref(), Some(&edited), "the rest is ours");
        let mut taken = TakenBack::default();
        take_back(root.path(), &mut taken).unwrap();
        assert_eq!((taken.edits.len(), taken.edited.len()), (3, 1));
        fs::write(&path, &edited).unwrap();
        let mut taken = TakenBack::default();
        take_back(root.path(), &mut taken).unwrap();
        assert_eq!(
            (taken.edits.len(), taken.edited),
            (3, vec![(None, path.clone())]),
            "the limit is its user's"
        );

        fs::write(&path, "#!/bin/sh\nmake\n").unwrap();
        let refused = propose(root.path()).unwrap_err().to_string();
        assert!(refused.contains("build-low-memory.sh"), "{refused}");
    }
}
