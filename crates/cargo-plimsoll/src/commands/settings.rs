//! `cargo plimsoll settings`: each setting and where it came from.

use std::iter;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_core::budget::{self, FileReserve, HeldMemory, MemoryBudget};
use plimsoll_core::settings::Memory;
use plimsoll_core::{Bytes, Millis};
use plimsoll_host::{Killers, Limits};
use plimsoll_view::{Align, table};
use serde_json::json;

use crate::account::Account;
use crate::exit::{Failure, OUT};
use crate::settings::{Origin, Settings, Sourced};
use crate::shell::Shell;

/// What the budget comes to now, with nothing built: what the machine and every
/// cgroup above us leave. Nothing where that cannot be told.
#[must_use]
pub fn budget_now(memory: Memory, reserve: Memory) -> Option<Bytes> {
    let root = Path::new("/");
    let mut limits = Limits::discover(root).ok()?;
    limits.heed(Killers::find(root));
    let mut budget = MemoryBudget::new(memory).keeping(reserve);
    Some(budget.update(Millis::ZERO, &limits.read(), HeldMemory::default()))
}

/// How an automatic budget follows from what is here now; nothing where that cannot be told.
fn explained_now(reserve: Memory) -> Option<String> {
    let root = Path::new("/");
    let mut limits = Limits::discover(root).ok()?;
    limits.heed(Killers::find(root));
    let reserve = FileReserve::asking(reserve);
    Some(budget::tightest(&limits.read(), HeldMemory::default(), &reserve).to_string())
}

/// The memory of the tightest cgroup above us, or of the machine: what a share is a share of.
#[must_use]
pub fn whole_memory() -> Option<Bytes> {
    let limits = Limits::discover(Path::new("/")).ok()?;
    Some(budget::whole(&limits.read()))
}

/// Prints every setting: a table, or one line of JSON.
///
/// # Errors
/// Where stdout cannot be written.
pub fn run(json: bool, settings: Settings, shell: &mut Shell) -> Result<(), Failure> {
    let enabled = settings.home.value.as_deref().and_then(Account::enabled);
    let account = enabled.map(|enabled| enabled.memory).filter(|it| *it != Memory::Auto);
    let reserve = settings.reserve.value;
    let lines = iter::once(settings.memory.value).chain(account);
    let budget = lines.filter_map(|memory| budget_now(memory, reserve)).min();
    let rows = rows(&settings, account);
    if json {
        return Ok(shell.answer(self::json(&rows, budget)).context(OUT)?);
    }
    let mut said = text(&rows, budget);
    if settings.memory.value == Memory::Auto
        && account.is_none()
        && let Some(why) = explained_now(reserve)
    {
        said.push_str(&format!("\nmemory auto: {why}\n"));
    }
    Ok(shell.answer(said).context(OUT)?)
}

/// One setting.
struct Row {
    name: String,
    value: Value,
    origin: Origin,
}

/// A value, as people and programs read it.
enum Value {
    Memory(Memory),
    Number(u32),
    Switch(bool),
    Word(String),
    Nothing,
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Memory(memory) => memory.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Switch(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            Self::Word(word) => word.clone(),
            Self::Nothing => "none".to_owned(),
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Memory(Memory::Size(bytes)) => bytes.0.into(),
            Self::Memory(memory) => memory.to_string().into(),
            Self::Number(number) => (*number).into(),
            Self::Switch(yes) => (*yes).into(),
            Self::Word(word) => word.clone().into(),
            Self::Nothing => serde_json::Value::Null,
        }
    }
}

/// `account` is the budget that `enable --memory` has set for the account. A build stays inside it whatever it asks
/// for; where it asks for nothing, that is its budget.
fn rows(settings: &Settings, account: Option<Memory>) -> Vec<Row> {
    fn row<T>(name: &str, setting: &Sourced<T>, value: impl FnOnce(&T) -> Value) -> Row {
        let (value, origin) = (value(&setting.value), setting.origin.clone());
        Row { name: name.to_owned(), value, origin }
    }
    let memory = |it: &Memory| Value::Memory(*it);
    let word = |it: &str| Value::Word(it.to_owned());
    let of_account =
        |name: &str, it| row(name, &Sourced { value: it, origin: Origin::Account }, memory);
    let mut rows = match account {
        Some(account) if settings.memory.value == Memory::Auto => {
            vec![of_account("memory", account)]
        }
        account => iter::once(row("memory", &settings.memory, memory))
            .chain(account.map(|account| of_account("account-memory", account)))
            .collect(),
    };
    let home = |it: &Option<PathBuf>| {
        it.as_ref().map_or(Value::Nothing, |home| Value::Word(home.display().to_string()))
    };
    rows.extend([
        row("jobs", &settings.jobs, |it| Value::Number(*it)),
        row("reserve", &settings.reserve, memory),
        row("oversized", &settings.oversized, |it| word(it.as_str())),
        row("processors", &settings.processors, |it| Value::Number(*it)),
        row("priority", &settings.priority, |it| word(it.as_str())),
        row("hard", &settings.hard, |it| Value::Switch(*it)),
        row("retry-tests", &settings.retry_tests, |it| Value::Switch(*it)),
        row("quiet", &settings.quiet, |it| Value::Switch(*it)),
        row("home", &settings.home, home),
    ]);
    rows.extend(settings.crates.iter().map(|(name, known)| {
        let memory = known.memory.map(|memory| memory.to_string());
        let said: Vec<String> = memory.into_iter().chain(known.note.clone()).collect();
        let origin = Origin::File(known.place.clone());
        Row { name: format!("crates.{name}"), value: Value::Word(said.join(", ")), origin }
    }));
    rows
}

fn text(rows: &[Row], budget: Option<Bytes>) -> String {
    let cells = |row: &Row| {
        let now = budget.filter(|budget| match row.value {
            Value::Memory(memory) => row.name == "memory" && memory != Memory::Size(*budget),
            _ => false,
        });
        let now = now.map(|now| format!(" (now {now})")).unwrap_or_default();
        [row.name.clone(), format!("{}{now}", row.value.text()), row.origin.to_string()]
    };
    let cells: Vec<[String; 3]> = rows.iter().map(cells).collect();
    let columns = [("setting", Align::Left), ("value", Align::Left), ("from", Align::Left)];
    table(columns, &cells)
}

fn json(rows: &[Row], budget: Option<Bytes>) -> serde_json::Value {
    let entry = |row: &Row| {
        json!({
            "name": row.name,
            "value": row.value.json(),
            "origin": row.origin.kind(),
            "from": row.origin.to_string(),
        })
    };
    let settings: Vec<_> = rows.iter().map(entry).collect();
    json!({ "budget_bytes": budget.map(|it| it.0), "settings": settings })
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
            Environment::from_iter([("PLIMSOLL_OVERSIZED", "refuse"), ("PLIMSOLL_HOME", "/p")]);
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
oversized   refuse             PLIMSOLL_OVERSIZED
processors  8                  default
priority    normal             default
hard        no                 default
retry-tests no                 default
quiet       no                 default
home        /p                 PLIMSOLL_HOME
crates.big  900 MiB, generated ws/plimsoll.toml:1
";
        let rows_of = |account| rows(&settings, account);
        let shown = text(&rows_of(None), Some(Bytes::gib(10))).replace("10.00 GiB", "10 GiB");
        assert_eq!(shown.lines().count(), expected.lines().count());
        for (shown, expected) in shown.lines().zip(expected.lines()) {
            let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(squeeze(shown), squeeze(expected));
        }
        let six = Bytes::gib(6);
        let of_account = rows_of(Some(Memory::Size(six)));
        let first = text(&of_account, Some(six)).lines().nth(1).map(str::to_owned);
        assert!(first.is_some_and(|it| it.ends_with("cargo plimsoll enable --memory")));
        let json = json(&of_account, Some(six));
        assert_eq!(json["settings"][0]["value"], six.0);
        assert_eq!(json["settings"][0]["origin"], "account");
        assert_eq!(json["settings"][1]["from"], "--jobs");
    }
}
