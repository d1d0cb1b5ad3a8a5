//! `cargo plimsoll clean`: what of the target directory is of no use any more, and removing it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;
use plimsoll_clean::files::{self, Found};
use plimsoll_clean::layout::{self, Home};
use plimsoll_clean::place::{Builder, Keep, Kept, Place, Untold};
use plimsoll_clean::stale::{self, Now, Why};
use plimsoll_clean::units::{self, Unit};
use plimsoll_core::Bytes;
use plimsoll_view::{Align, table};

use crate::cli::CleanOptions;
use crate::env::Environment;
use crate::exit::{Failure, OUT};
use crate::shell::Shell;

/// What of one profile goes, for one reason.
struct Row {
    what: &'static str,
    profile: String,
    found: Vec<Found>,
}

/// Shows what is of no use, and removes it when you confirm. The exit status: 1 if something could go, but there is no
/// terminal to ask on.
///
/// # Errors
/// Where there is no workspace, or something cannot be removed.
pub fn run(
    options: &CleanOptions,
    environment: &Environment,
    cwd: &Path,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let place = Place::find(environment, cwd)?;
    let profiles = place.profiles();
    // Until the end: what was found must be what is removed.
    let _locks = match options.dry_run {
        true => Vec::new(),
        false => place.lock(&profiles, &mut |profile| {
            let where_to = profile.display();
            shell.note(format_args!("waiting for the build in `{where_to}` to end"));
        })?,
    };
    let mut left = false;
    // Of all profiles together: a build for another platform needs the host's, too.
    let mut units = Vec::new();
    let mut known = Vec::new();
    for profile in profiles {
        let contents = layout::read(&profile);
        if let Some(unknown) = contents.unknown {
            left = true;
            shell.note(format_args!(
                "this version of Plimsoll does not know what `{}` is, so everything in `{}` stays",
                unknown.display(),
                profile.display()
            ));
            continue;
        }
        let first = units.len();
        units.extend(units::read(&profile, &contents.units));
        known.push((profile, first..units.len()));
    }
    let mut rows = Vec::new();
    if !place.others_build_here(&units) {
        let kept_since = options.keep_days.and_then(Now::keep_days);
        let compilers = place.kept(&keep(options), &units, environment)?;
        if let Kept::All(why) = &compilers {
            left = true;
            shell.note(all_stays(why));
        }
        let now = Now {
            root: &place.root,
            locked: Some(&place.locked),
            compilers: &compilers,
            kept_since,
        };
        let stale = stale::find(&units, &now);
        for (profile, own) in known {
            let (of_it, live) = of_profile(&place, &profile, &units, own, &stale, kept_since);
            rows.extend(of_it);
            let said = place.now.as_ref().and_then(|now| otherwise_set(&profile, &live, now));
            if let Some(said) = said {
                shell.note(said);
            }
        }
    } else {
        left = true;
        shell.note(format_args!(
            "other workspaces build in `{}`, too, so everything there stays",
            place.build.display()
        ));
    }
    let total: Bytes = rows.iter().flat_map(|row| &row.found).map(|found| found.size).sum();
    if rows.is_empty() {
        let rest = if left { "nothing else" } else { "nothing" };
        let nothing = format!("{rest} to remove in {}\n", place.build.display());
        shell.answer(nothing).context(OUT)?;
        return Ok(0);
    }
    shell.answer(text(&place, &rows, total)).context(OUT)?;
    if options.dry_run {
        return Ok(0);
    }
    if !options.yes {
        if !std::io::stdin().is_terminal() {
            shell.note("nothing was removed, because there is no terminal to ask on; --yes removes without asking");
            return Ok(1);
        }
        shell.answer("Remove it? [y/N] ").context(OUT)?;
        std::io::stdout().flush().context(OUT)?;
        let mut said = String::new();
        std::io::stdin().lock().read_line(&mut said).context("cannot read the answer")?;
        if !matches!(said.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            shell.answer("nothing was removed\n").context(OUT)?;
            return Ok(0);
        }
    }
    rows.iter().flat_map(|row| &row.found).try_for_each(files::remove)?;
    shell.answer(format_args!("removed {total}\n")).context(OUT)?;
    Ok(0)
}

/// What goes from a profile's directory, and the units that stay.
fn of_profile<'a>(
    place: &Place,
    profile: &Path,
    units: &'a [Unit],
    own: Range<usize>,
    stale: &BTreeMap<usize, Why>,
    kept_since: Option<SystemTime>,
) -> (Vec<Row>, Vec<&'a Unit>) {
    let of_live = |at: &usize| !stale.contains_key(at);
    let live: Vec<&Unit> = own.clone().filter(of_live).map(|at| &units[at]).collect();
    let in_use: BTreeSet<&Home> = live.iter().map(|unit| &unit.home).collect();
    let mut why: BTreeMap<&Home, Why> = BTreeMap::new();
    for (at, reason) in stale.range(own) {
        let home = &units[*at].home;
        if !in_use.contains(home) {
            why.entry(home).or_insert(*reason);
        }
    }
    let name = profile.strip_prefix(&place.build).unwrap_or(profile).display().to_string();
    let mut rows: BTreeMap<Why, Row> = BTreeMap::new();
    for (home, found) in files::of_units(profile, &why.keys().copied().collect()) {
        let reason = why[&home];
        let row = || Row { what: said(reason), profile: name.clone(), found: Vec::new() };
        rows.entry(reason).or_insert_with(row).found.extend(found);
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    let sessions = files::spare_sessions(profile, &live, kept_since);
    if !sessions.is_empty() {
        rows.push(Row { what: "unused incremental data", profile: name, found: sessions });
    }
    (rows, live)
}

/// What this very compiler has built in the layout that this Cargo does not use as it is set here: one that is set
/// otherwise does, so it stays, and a note says so.
fn otherwise_set(profile: &Path, live: &[&Unit], now: &Builder) -> Option<String> {
    let is_other = |unit: &&&Unit| {
        unit.rustc == Some(now.rustc) && matches!(unit.home, Home::Own(_)) != now.is_newer
    };
    let count = live.iter().filter(is_other).count();
    let layout = if now.is_newer { "older" } else { "newer" };
    (count > 0).then(|| {
        format!(
            "{count} units in `{}` stay: this compiler built them in Cargo's {layout} directory layout, which other settings of \
             Cargo use",
            profile.display()
        )
    })
}

/// Whose work stays.
fn keep(options: &CleanOptions) -> Keep {
    match options.keep_toolchains.as_slice() {
        [] => Keep::Installed,
        [one] if one == "installed" => Keep::Installed,
        [one] if one == "current" => Keep::Current,
        names => Keep::Named(names.to_vec()),
    }
}

/// Why what other compilers built stays, and what removes it.
fn all_stays(why: &Untold) -> String {
    let current = "`--keep-toolchains current` removes it";
    match why {
        Untold::Current => {
            "Cargo cannot compile here, so what other toolchains built stays".to_owned()
        }
        Untold::NoRustup => format!(
            "without rustup, Plimsoll cannot list the installed toolchains, so what other toolchains built stays; {current}"
        ),
        Untold::Broken(name) => format!(
            "the installed toolchain `{name}` does not work, so what other toolchains built stays; {current}"
        ),
    }
}

fn said(why: Why) -> &'static str {
    match why {
        Why::Toolchain => "built by other toolchains",
        Why::Gone => "removed packages and old versions",
        Why::Outdated => "built from removed or old packages",
        Why::Unneeded => "needed only by what is removed",
    }
}

fn text(place: &Place, rows: &[Row], total: Bytes) -> String {
    let cells: Vec<[String; 5]> = rows
        .iter()
        .map(|row| {
            let size: Bytes = row.found.iter().map(|found| found.size).sum();
            let files: usize = row.found.iter().map(|found| found.files).sum();
            let newest = row.found.iter().filter_map(|found| found.newest).max();
            [
                row.what.to_owned(),
                row.profile.clone(),
                size.to_string(),
                files.to_string(),
                newest.map(age).unwrap_or_default(),
            ]
        })
        .collect();
    let columns = [
        ("to remove", Align::Left),
        ("profile", Align::Left),
        ("size", Align::Right),
        ("files", Align::Right),
        ("newest", Align::Left),
    ];
    format!("{}\n{}{total} in all\n", place.build.display(), table(columns, &cells))
}

/// In whole days, as `--keep-days` counts.
fn age(moment: SystemTime) -> String {
    const DAY: u64 = 24 * 3600;
    let seconds = SystemTime::now().duration_since(moment).unwrap_or_default().as_secs();
    match seconds / DAY {
        0 => "today".to_owned(),
        1 => "1 day ago".to_owned(),
        days => format!("{days} days ago"),
    }
}
