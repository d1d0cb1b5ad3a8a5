//! Results: where builds happen, and the tables in `RESULTS.md` with their JSON beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::workload::sources;

const HEAD: &str = "# Results\n\nWritten by `plimsoll-bench` (see README.md). Each section is replaced when its command is run again.\n";

/// Where workloads, builds and results are, for every command.
#[derive(Args, Debug)]
pub struct Folders {
    /// The folder of the workloads [default: bench/workloads].
    #[arg(long, value_name = "DIR")]
    pub workloads: Option<PathBuf>,
    /// The folder for builds; finished arms stay in it.
    #[arg(long, value_name = "DIR", default_value = "/tmp/plimsoll-bench")]
    pub state: PathBuf,
    /// The `cargo-plimsoll` to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub plimsoll: Option<PathBuf>,
    /// Only print: write neither RESULTS.md nor its JSON.
    #[arg(long)]
    pub no_results: bool,
    /// The folder for RESULTS.md and its JSON [default: the parent of the workloads].
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
}

/// A table of results.
#[derive(Debug)]
pub struct Report {
    /// The section's title, the same whenever the same thing is measured.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// The same for programs.
    pub json: serde_json::Value,
    /// Whether the arms that must not fail did not.
    pub ok: bool,
}

impl Report {
    /// A file name for the JSON.
    pub fn slug(&self) -> String {
        slug(&[&self.title])
    }
}

/// The state folder, made and resolved.
pub fn state(folders: &Folders) -> Result<PathBuf> {
    fs::create_dir_all(&folders.state)
        .with_context(|| format!("making {}", folders.state.display()))?;
    fs::canonicalize(&folders.state)
        .with_context(|| format!("resolving {}", folders.state.display()))
}

/// Prints reports, and puts them into RESULTS.md and JSON files. Fails (by exit code) if one is not as promised.
pub fn publish(folders: &Folders, reports: &[Report]) -> Result<ExitCode> {
    for report in reports {
        println!("\n## {}\n\n{}", report.title, report.body);
    }
    if !folders.no_results {
        let results = match &folders.results {
            Some(dir) => dir.clone(),
            None => {
                sources(folders.workloads.clone())?.parent().map(Path::to_owned).unwrap_or_default()
            }
        };
        for report in reports {
            write(&results, report)?;
        }
    }
    let ok = reports.iter().all(|report| report.ok);
    if !ok {
        println!("NOT as promised; see the rows above");
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(results: &Path, report: &Report) -> Result<()> {
    insert(&results.join("RESULTS.md"), &report.title, &report.body)?;
    let dir = results.join("results");
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let file = dir.join(report.slug() + ".json");
    let json = serde_json::to_string_pretty(&report.json)? + "\n";
    fs::write(&file, json).with_context(|| format!("writing {}", file.display()))
}

/// A file name from parts: letters, digits, dots, dashes.
pub fn slug(parts: &[&str]) -> String {
    let joined = parts.join("_");
    joined
        .chars()
        .map(|it| if it.is_ascii_alphanumeric() || "._-+".contains(it) { it } else { '-' })
        .collect()
}

/// The project's commit, marked if there are changes beyond it.
pub fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "no repository".to_owned();
    };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|it| !it.is_empty());
    commit + if changed { "+changes" } else { "" }
}

/// Cores, memory, kernel and compiler: what a reader needs to compare, and nothing that names the machine.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim().split('-').next().unwrap_or_default().to_owned();
    let rustc = Command::new("rustc")
        .arg("-V")
        .output()
        .map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
    let rustc = rustc.unwrap_or_default();
    format!(
        "{cores} cores, {:.1} GiB, Linux {kernel} {}, {rustc}",
        ram() as f64 / f64::from(1 << 30),
        std::env::consts::ARCH
    )
}

/// Puts a section into `RESULTS.md`, in the place of the one with the same title, or at the end.
fn insert(file: &Path, title: &str, body: &str) -> Result<()> {
    let old = fs::read_to_string(file).unwrap_or_else(|_| HEAD.to_owned());
    fs::write(file, replaced(&old, title, body))
        .with_context(|| format!("writing {}", file.display()))
}

fn replaced(old: &str, title: &str, body: &str) -> String {
    let section = format!("## {title}\n\n{}\n", body.trim_end());
    let mut parts: Vec<String> = old.split("\n## ").map(str::to_owned).collect();
    let head = parts.remove(0);
    let mut sections: Vec<String> =
        parts.into_iter().map(|part| format!("## {}\n", part.trim_end())).collect();
    let first_line = format!("## {title}");
    match sections.iter_mut().find(|it| it.lines().next() == Some(&first_line)) {
        Some(it) => *it = section,
        None => sections.push(section),
    }
    format!("{}\n\n{}", head.trim_end(), sections.join("\n"))
}

/// The machine's memory, in bytes.
pub fn ram() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_replaces_its_former_self_and_leaves_the_others() {
        let text = replaced(HEAD, "run engine", "one");
        let text = replaced(&text, "run giant", "two");
        let text = replaced(&text, "run engine", "three");
        let tail = "## run engine\n\nthree\n\n## run giant\n\ntwo\n";
        assert_eq!(text, format!("{HEAD}\n{tail}"));
        assert_eq!(replaced(&text, "run giant", "two"), text);
    }
}
