//! `cargo plimsoll settings`: each setting and where it came from.

use anyhow::Context as _;
use plimsoll_core::Bytes;
use plimsoll_core::settings::Memory;

use super::table::{self, Align};
use crate::exit::{Failure, OUT};
use crate::settings::{Origin, Settings};
use crate::shell::Shell;

/// What the line that `memory` names comes to now, with nothing built: what the machine and every
/// cgroup above us leave. Nothing where that cannot be told.
#[cfg(target_os = "linux")]
#[must_use]
pub fn line_now(memory: Memory) -> Option<Bytes> {
    use plimsoll_core::Millis;
    use plimsoll_core::line::{Line, Own};

    let limits = plimsoll_host::Limits::discover(std::path::Path::new("/")).ok()?;
    Some(Line::new(memory).update(Millis::ZERO, &limits.read(), Own::default()))
}

/// What the line that `memory` names comes to now: elsewhere than on Linux nothing is governed.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn line_now(_: Memory) -> Option<Bytes> {
    None
}

/// Prints the table. `line` is what the line comes to now, where that is known.
///
/// # Errors
/// Where stdout cannot be written.
pub fn run(settings: &Settings, line: Option<Bytes>, shell: &mut Shell) -> Result<(), Failure> {
    Ok(shell.answer(text(settings, line)).context(OUT)?)
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
    let rows = [
        row("memory", memory, &settings.memory.origin),
        row("jobs", settings.jobs.value.to_string(), &settings.jobs.origin),
        row("processors", settings.processors.value.to_string(), &settings.processors.origin),
        row("priority", settings.priority.value.as_str().to_owned(), &settings.priority.origin),
        row("strict", yes_or_no(settings.strict.value), &settings.strict.origin),
        row("retry-tests", yes_or_no(settings.retry_tests.value), &settings.retry_tests.origin),
        row("quiet", yes_or_no(settings.quiet.value), &settings.quiet.origin),
        row("home", home, &settings.home.origin),
    ];
    let columns = [("setting", Align::Left), ("value", Align::Left), ("from", Align::Left)];
    table::render(columns, &rows)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cargo_config::CargoConfig;
    use crate::env::Environment;
    use crate::settings::Asked;

    #[test]
    fn every_setting_says_where_it_came_from() {
        let environment =
            Environment::from_iter([("PLIMSOLL_STRICT", "1"), ("PLIMSOLL_HOME", "/p")]);
        let asked = Asked { jobs: "3".parse().ok(), ..Asked::default() };
        let config = CargoConfig::default();
        let settings = Settings::resolve(&asked, &environment, config, Path::new("/w"), 8).unwrap();
        let expected = "\
setting     value              from
memory      auto (now 10 GiB)  default
jobs        3                  --jobs
processors  8                  default
priority    normal             default
strict      yes                PLIMSOLL_STRICT
retry-tests no                 default
quiet       no                 default
home        /p                 PLIMSOLL_HOME
";
        let shown = text(&settings, Some(Bytes::gib(10))).replace("10.00 GiB", "10 GiB");
        assert_eq!(shown.lines().count(), expected.lines().count());
        for (shown, expected) in shown.lines().zip(expected.lines()) {
            let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(squeeze(shown), squeeze(expected));
        }
    }
}
