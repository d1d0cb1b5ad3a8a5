//! `cargo plimsoll settings`: each setting and where it came from.

use std::path::Path;

use anyhow::Context as _;
use plimsoll_core::line::{self, Line, Own, Reserve};
use plimsoll_core::settings::Memory;
use plimsoll_core::{Bytes, Millis};
use plimsoll_host::{Killers, Limits};

use super::table::{self, Align};
use crate::exit::{Failure, OUT};
use crate::settings::{Origin, Settings};
use crate::shell::Shell;

/// What the line comes to now, with nothing built: what the machine and every
/// cgroup above us leave. Nothing where that cannot be told.
#[must_use]
pub fn line_now(memory: Memory, reserve: Memory) -> Option<Bytes> {
    let root = Path::new("/");
    let mut limits = Limits::discover(root).ok()?;
    limits.heed(Killers::find(root));
    let mut line = Line::new(memory).keeping(reserve);
    Some(line.update(Millis::ZERO, &limits.read(), Own::default()))
}

/// How an automatic budget follows from the limits now; nothing where that cannot be told.
fn explained_now(reserve: Memory) -> Option<String> {
    let root = Path::new("/");
    let mut limits = Limits::discover(root).ok()?;
    limits.heed(Killers::find(root));
    let reserve = Reserve::asking(reserve);
    Some(line::tightest(&limits.read(), Own::default(), &reserve).explained())
}

/// The memory of the tightest cgroup above us, or of the machine: what a share is a share of.
#[must_use]
pub fn whole_memory() -> Option<Bytes> {
    let limits = Limits::discover(Path::new("/")).ok()?;
    Some(line::whole(&limits.read()))
}

/// Prints the table. `line` is what the line comes to now, where that is known.
///
/// # Errors
/// Where stdout cannot be written.
pub fn run(settings: &Settings, line: Option<Bytes>, shell: &mut Shell) -> Result<(), Failure> {
    let mut said = text(settings, line);
    if settings.memory.value == Memory::Auto
        && let Some(why) = explained_now(settings.reserve.value)
    {
        said.push_str(&format!("\nmemory auto: {why}\n"));
    }
    Ok(shell.answer(said).context(OUT)?)
}

fn text(settings: &Settings, line: Option<Bytes>) -> String {
    let memory = settings.memory.value;
    let memory = match line {
        Some(line) if memory != Memory::Size(line) => format!("{memory} (now {line})"),
        _ => memory.to_string(),
    };
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let home = match &settings.home.value {
        Some(home) => home.display().to_string(),
        None => "none".to_owned(),
    };
    let row =
        |name: &str, value: String, origin: &Origin| [name.to_owned(), value, origin.to_string()];
    let mut rows = vec![
        row("memory", memory, &settings.memory.origin),
        row("jobs", settings.jobs.value.to_string(), &settings.jobs.origin),
        row("reserve", settings.reserve.value.to_string(), &settings.reserve.origin),
        row("diet", settings.diet.value.to_string(), &settings.diet.origin),
        row("processors", settings.processors.value.to_string(), &settings.processors.origin),
        row("priority", settings.priority.value.as_str().to_owned(), &settings.priority.origin),
        row("strict", yes_or_no(settings.strict.value), &settings.strict.origin),
        row("hard", yes_or_no(settings.hard.value), &settings.hard.origin),
        row("retry-tests", yes_or_no(settings.retry_tests.value), &settings.retry_tests.origin),
        row("quiet", yes_or_no(settings.quiet.value), &settings.quiet.origin),
        row("home", home, &settings.home.origin),
    ];
    rows.extend(settings.crates.iter().map(|(name, known)| {
        let memory = known.memory.map(|memory| memory.to_string());
        let said: Vec<String> = memory.into_iter().chain(known.note.clone()).collect();
        row(&format!("crates.{name}"), said.join(", "), &Origin::File(known.place.clone()))
    }));
    let columns = [("setting", Align::Left), ("value", Align::Left), ("from", Align::Left)];
    table::render(columns, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Environment;
    use crate::plimsoll_toml::{self, Files};
    use crate::settings::{Asked, Sources};
    use plimsoll_cargo::CargoConfig;

    #[test]
    fn every_setting_says_where_it_came_from() {
        let environment =
            Environment::from_iter([("PLIMSOLL_STRICT", "1"), ("PLIMSOLL_HOME", "/p")]);
        let asked = Asked { jobs: "3".parse().ok(), ..Asked::default() };
        let config = CargoConfig::default();
        let says = "[crates.big]\nmemory = '900M'\nnote = 'generated'\n";
        let repo = plimsoll_toml::parse(Path::new("ws/plimsoll.toml"), says).unwrap();
        let files = Files { repo, ..Files::default() };
        let sources =
            Sources { environment: &environment, files: &files, processors: 8, whole: || None };
        let settings = Settings::resolve(&asked, &sources, config, Path::new("/w")).unwrap();
        let expected = "\
setting     value              from
memory      auto (now 10 GiB)  default
jobs        3                  --jobs
reserve     auto               default
diet        preserving         default
processors  8                  default
priority    normal             default
strict      yes                PLIMSOLL_STRICT
hard        no                 default
retry-tests no                 default
quiet       no                 default
home        /p                 PLIMSOLL_HOME
crates.big  900 MiB, generated ws/plimsoll.toml:1
";
        let shown = text(&settings, Some(Bytes::gib(10))).replace("10.00 GiB", "10 GiB");
        assert_eq!(shown.lines().count(), expected.lines().count());
        for (shown, expected) in shown.lines().zip(expected.lines()) {
            let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(squeeze(shown), squeeze(expected));
        }
    }
}
