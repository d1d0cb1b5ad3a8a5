//! `artifacts`: the same bytes as plain cargo's. Builds plain, plain again (the control: what differs there is not
//! deterministic by itself) and with Plimsoll, in the same target path, and compares.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::arms::{self, fnv1a};
use crate::bench::{Bench, commit, empty};
use crate::budget::Budget;
use crate::chaos::Killer;
use crate::launch::{Build, stderr_of};
use crate::run::Report;
use crate::{log, table};

/// Relative path to length and digest.
pub(crate) type Manifest = BTreeMap<String, (u64, u64)>;

/// The three builds and the comparison.
pub(crate) fn artifacts(bench: &Bench, budget: &Budget, kill_every: Option<f64>) -> Result<Report> {
    let (floor, one, all) = budget.needs();
    let bytes = budget.resolve(bench.peaks(floor, one, all)?)?;
    let home = bench.state.join("homes").join("artifacts");
    empty(&home)?;
    let plain = arms::plain(&bench.workload, bench.jobs);
    let plimsoll = bench.plimsoll()?.build(&bench.workload, &home, Some(bytes), bench.jobs);
    let first = built(bench, &plain, None)?;
    let control = built(bench, &plain, None)?;
    let since = SystemTime::now();
    let mut killer = kill_every.map(|every| Killer::new(every, 1, None));
    let ours = built(bench, &plimsoll, killer.as_mut())?;
    let own = log::newest(&home, since);
    let unstable = differing(&first, &control);
    let different = differing(&first, &ours);
    let only_ours: Vec<_> = different.iter().filter(|it| !unstable.contains(it)).cloned().collect();
    let retried = own.as_ref().map_or(0, |own| own.killed + own.lost);
    let kill_arg = kill_every.map_or(String::new(), |every| format!(" --kill-every {every}"));
    let command = format!(
        "artifacts --workload {} {} --budget {budget}{kill_arg}",
        bench.workload.name,
        bench.sizes()
    );
    let mut body = format!(
        "`plimsoll-bench {command}`\n\ncommit {} · {}\n\n\
         | artifacts | differ plain against plain (control) | differ plain against plimsoll | of these, not in the control | units retried |\n\
         |---|---|---|---|---|\n| {} | {} | {} | {} | {retried} |\n",
        commit(),
        table::machine(),
        first.len(),
        unstable.len(),
        different.len(),
        only_ours.len(),
    );
    for path in only_ours.iter().take(20) {
        body += &format!("\n- {path}");
    }
    let json = json!({
        "command": command, "commit": commit(), "machine": table::machine(), "artifacts": first.len(),
        "control_differs": unstable, "plimsoll_differs": different, "only_plimsoll_differs": only_ours, "plimsoll": own,
    });
    Ok(Report {
        title: format!("Artifacts of {}", bench.workload.name),
        body,
        json,
        ok: only_ours.is_empty(),
    })
}

fn built(bench: &Bench, build: &Build, killer: Option<&mut Killer>) -> Result<Manifest> {
    bench.workload.clean()?;
    let (measured, log) = match killer {
        Some(killer) => {
            bench.once(build, "artifacts", Some(&mut |scope, now| killer.tick(scope, now)))?
        }
        None => bench.once(build, "artifacts", None)?,
    };
    if measured.exit != Some(0) {
        bail!("`{}` failed; its output is in {}", build.display(), stderr_of(&log).display());
    }
    let manifest = manifest(&bench.workload.target)?;
    println!("  {}: {} artifacts", build.display(), manifest.len());
    Ok(manifest)
}

/// The artifacts in a target folder.
pub(crate) fn manifest(target: &Path) -> Result<Manifest> {
    let mut manifest = Manifest::new();
    collect(target, target, &mut manifest)?;
    Ok(manifest)
}

/// Libraries, metadata, shared objects and executables. Incremental state is no artifact.
fn collect(root: &Path, dir: &Path, manifest: &mut Manifest) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry.with_context(|| format!("reading {}", dir.display()))?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "incremental") {
                collect(root, &path, manifest)?;
            }
            continue;
        }
        let mut bytes = Vec::new();
        let mut file =
            fs::File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let kind = path.extension().and_then(|it| it.to_str());
        let wanted = matches!(kind, Some("rlib" | "rmeta" | "so" | "a"));
        if !wanted {
            let mut magic = [0; 4];
            if file.read_exact(&mut magic).is_err() || magic != *b"\x7fELF" || kind == Some("o") {
                continue;
            }
            bytes.extend(magic);
        }
        file.read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        manifest.insert(
            name,
            (u64::try_from(bytes.len()).unwrap_or(0), fnv1a(0xcbf2_9ce4_8422_2325, &bytes)),
        );
    }
    Ok(())
}

/// Paths whose bytes differ, or that are on one side only.
pub(crate) fn differing(one: &Manifest, other: &Manifest) -> Vec<String> {
    let mut paths: Vec<_> = one
        .iter()
        .filter(|(path, it)| other.get(*path) != Some(it))
        .map(|(path, _)| path.clone())
        .collect();
    paths.extend(other.keys().filter(|path| !one.contains_key(*path)).cloned());
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_a_difference() {
        let one = Manifest::from([("a".to_owned(), (1, 1)), ("b".to_owned(), (1, 2))]);
        let other = Manifest::from([("b".to_owned(), (1, 3)), ("c".to_owned(), (1, 1))]);
        assert_eq!(differing(&one, &other), ["a", "b", "c"]);
        assert!(differing(&one, &one).is_empty());
    }
}
