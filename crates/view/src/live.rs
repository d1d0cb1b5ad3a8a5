//! `top`, live: every running build of one user on one screen.
//!
//! ```text
//! Plimsoll: 2 builds, 2.10 of 4.00 GiB, 5 units waiting                   heading
//! > build   shop    1.20 of 2.00 GiB  ██████░░░░  41.20s  3 running, …    one row a build
//! ▁▂▃▄▅▆▇█▇▆▅▆▇█                                                          its memory; full height is its budget
//! memory  forecast  from  time  state  unit                               units, sorted and filtered
//! q quit  ? keys  s sort: memory  / filter  Tab build  p pause             keys
//! ```
//!
//! A model and its picture: [`Live::see`] takes in what governors say, [`Live::press`] a key, and
//! [`Live::draw`] makes a frame of any size. Nothing here knows a terminal or a clock. There are no colors, only
//! bold and reverse video, so that it reads the same everywhere.

use std::cmp::Reverse;
use std::collections::VecDeque;

use plimsoll_core::schedule::Priority;
use plimsoll_core::{Bytes, Millis};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, Table};
use unicode_width::UnicodeWidthStr as _;

use crate::cells::{fit, one_line};
use crate::snapshot::{Silent, Snapshot, UnitSnapshot};
use crate::wording::{amounts, count};

/// Measurements that are kept of each build: what the widest of terminals shows.
const KEPT: usize = 512;

/// Rows of builds that are always shown; on a high screen it is a third of it. What is selected is among them.
const BUILDS_SHOWN: u16 = 4;

/// Governors that do not answer, of which a person is told.
const SILENT_SHOWN: usize = 2;

/// Rows of the memory's curve, where there is room for it.
const CURVE: u16 = 4;

/// A screen lower than this shows no curve: units come first.
const ROOM_FOR_CURVE: u16 = 14;

/// A screen narrower than this does not say where forecasts came from, and draws no bar for a build.
const ROOM_FOR_SOURCES: u16 = 90;

/// A screen narrower than this shows neither forecasts nor the commands of builds: names come first.
const ROOM_FOR_FORECASTS: u16 = 70;

/// What each key does.
const KEYS: &[(&str, &str)] = &[
    ("q", "quit"),
    ("?", "show these keys, or hide them"),
    ("Tab", "choose the next build; after the last one all are shown again"),
    ("p", "pause the chosen build, or continue it"),
    ("+  -", "give the chosen build a higher or lower priority"),
    ("s", "sort units by memory, forecast, time or name"),
    ("/", "show only units whose name contains what you type"),
    ("Esc", "show all units again; quit where all are shown"),
    ("Up Down PgUp PgDn", "scroll through the units"),
];

/// By what units are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sort {
    #[default]
    Memory,
    Forecast,
    Time,
    Name,
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::Memory => Self::Forecast,
            Self::Forecast => Self::Time,
            Self::Time => Self::Name,
            Self::Name => Self::Memory,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Forecast => "forecast",
            Self::Time => "time",
            Self::Name => "name",
        }
    }
}

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// The one before.
    Up,
    /// The one after.
    Down,
    /// A screenful back.
    PageUp,
    /// A screenful on.
    PageDown,
    /// The next build.
    Tab,
    /// Done with typing.
    Enter,
    /// Away with it.
    Escape,
    /// The last character was wrong.
    Backspace,
}

/// What a key has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Stay.
    Stay,
    /// Leave.
    Quit,
    /// Nothing of this build is to run, or all of it again.
    Pause {
        /// The build's id.
        build: String,
        /// Nothing is to run.
        paused: bool,
    },
    /// This build's share is to be this.
    SetPriority {
        /// The build's id.
        build: String,
        /// Its share.
        priority: Priority,
    },
}

/// A build, and how its memory went since it was seen first.
#[derive(Debug)]
struct Build {
    snapshot: Snapshot,
    used: VecDeque<u64>,
}

/// What is on the screen.
#[derive(Debug, Default)]
pub struct Live {
    /// In the order of their start.
    builds: Vec<Build>,
    /// The build whose units are shown, by its id; all builds' where there is none.
    selected: Option<String>,
    sort: Sort,
    filter: String,
    typing: bool,
    /// Units above the first one that is shown.
    scrolled: usize,
    /// The keys are explained in place of the units.
    explains: bool,
    /// What the last key has to say, until the next one.
    hint: Option<&'static str>,
    /// Who does not answer.
    silent: Vec<Silent>,
}

impl Live {
    /// Takes in what all running builds say now, and which governors do not answer; a build that says nothing any more
    /// is gone.
    pub fn see(&mut self, snapshot: Vec<Snapshot>, silent: Vec<Silent>) {
        self.silent = silent;
        let mut before = std::mem::take(&mut self.builds);
        for snapshot in snapshot {
            let known = before.iter().position(|build| build.snapshot.build == snapshot.build);
            let mut used = known.map(|at| before.swap_remove(at).used).unwrap_or_default();
            used.push_back(snapshot.used_bytes);
            while used.len() > KEPT {
                used.pop_front();
            }
            self.builds.push(Build { snapshot, used });
        }
        self.builds.sort_by(|a, b| a.snapshot.build.cmp(&b.snapshot.build));
        if self.selected.as_ref().is_some_and(|id| self.place_of(id).is_none()) {
            self.selected = None;
        }
    }

    /// Does what a key means.
    pub fn press(&mut self, key: Key) -> Wish {
        if self.typing {
            match key {
                Key::Char(c) => self.filter.push(c),
                Key::Backspace => drop(self.filter.pop()),
                Key::Enter => self.typing = false,
                Key::Escape => {
                    self.typing = false;
                    self.filter.clear();
                }
                _ => {}
            }
            self.scrolled = 0;
            return Wish::Stay;
        }
        self.hint = None;
        if std::mem::take(&mut self.explains) && key != Key::Char('q') {
            return Wish::Stay;
        }
        match key {
            Key::Escape if !self.filter.is_empty() => {
                self.filter.clear();
                self.scrolled = 0;
            }
            Key::Char('q') | Key::Escape => return Wish::Quit,
            Key::Char('?') => self.explains = true,
            Key::Char('s') => self.sort = self.sort.next(),
            Key::Char('/') => self.typing = true,
            Key::Tab => self.select_next(),
            Key::Up | Key::Char('k') => self.scrolled = self.scrolled.saturating_sub(1),
            Key::Down | Key::Char('j') => self.scroll(1),
            Key::PageUp => self.scrolled = self.scrolled.saturating_sub(10),
            Key::PageDown => self.scroll(10),
            Key::Char('p') => match self.chosen() {
                Some(build) => {
                    let paused = !build.snapshot.paused;
                    return Wish::Pause { build: build.snapshot.build.clone(), paused };
                }
                None => self.ask_for_choice(),
            },
            Key::Char('+') => return self.set_priority(true),
            Key::Char('-') => return self.set_priority(false),
            _ => {}
        }
        Wish::Stay
    }

    /// The build that keys are about: the selected one, or the only one.
    fn chosen(&self) -> Option<&Build> {
        match (&self.selected, self.builds.as_slice()) {
            (Some(id), builds) => builds.iter().find(|build| build.snapshot.build == *id),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    fn ask_for_choice(&mut self) {
        if !self.builds.is_empty() {
            self.hint = Some("Which build? Choose one with Tab first");
        }
    }

    fn set_priority(&mut self, more: bool) -> Wish {
        if self.chosen().is_none() {
            self.ask_for_choice();
        }
        let Some(build) = self.chosen() else { return Wish::Stay };
        let priority = match (build.snapshot.priority.parse().unwrap_or_default(), more) {
            (Priority::Low, true) | (Priority::High, false) => Priority::Normal,
            (_, true) => Priority::High,
            (_, false) => Priority::Low,
        };
        Wish::SetPriority { build: build.snapshot.build.clone(), priority }
    }

    /// Paints it.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let most = BUILDS_SHOWN.max(area.height / 3);
        let builds = u16::try_from(self.builds.len()).unwrap_or(u16::MAX).min(most);
        let silent = u16::try_from(self.silent.len().min(SILENT_SHOWN)).unwrap_or(0);
        let has_curve = area.height >= ROOM_FOR_CURVE && builds > 0;
        let [heading, overview, alarms, curve, units, keys] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(builds),
            Constraint::Length(silent),
            Constraint::Length(if has_curve { CURVE } else { 0 }),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(area);
        frame.render_widget(self.heading(heading.width), heading);
        self.draw_builds(frame, overview);
        frame.render_widget(self.alarms(alarms.width), alarms);
        if has_curve {
            self.draw_curve(frame, curve);
        }
        if self.explains {
            Self::draw_keys(frame, units);
        } else {
            self.draw_units(frame, units);
        }
        frame.render_widget(self.keys(keys.width), keys);
    }

    fn heading(&self, width: u16) -> Paragraph<'static> {
        let text = if !self.builds.is_empty() {
            let sum =
                |of: fn(&Snapshot) -> u64| Bytes(self.builds.iter().map(|b| of(&b.snapshot)).sum());
            let waiting: usize = self.builds.iter().map(|build| build.snapshot.waiting).sum();
            let used = sum(|snapshot| snapshot.used_bytes);
            let used = match self.machine_budget() {
                0 => used.to_string(),
                budget => amounts(used, Bytes(budget)),
            };
            let (builds, waiting) = (count(self.builds.len(), "build"), count(waiting, "unit"));
            format!("Plimsoll: {builds}, {used}, {waiting} waiting")
        } else if self.silent.is_empty() {
            "Plimsoll: no build is running; one that starts is shown here".to_owned()
        } else {
            "Plimsoll: no build answers".to_owned()
        };
        let style = Style::new().add_modifier(Modifier::BOLD);
        Paragraph::new(Line::styled(fit(&text, usize::from(width)), style))
    }

    /// Who does not answer, and what to do about it.
    fn alarms(&self, width: u16) -> Paragraph<'static> {
        let mut lines: Vec<String> =
            self.silent.iter().take(SILENT_SHOWN).map(|it| format!("! {}", it.text())).collect();
        let more = self.silent.len().saturating_sub(SILENT_SHOWN);
        if let Some(last) = lines.last_mut().filter(|_| more > 0) {
            last.push_str(&format!(" (and {more} more)"));
        }
        let style = Style::new().add_modifier(Modifier::BOLD);
        let lines = lines.iter().map(|line| Line::styled(fit(line, usize::from(width)), style));
        Paragraph::new(lines.collect::<Vec<_>>())
    }

    /// One row a build: who, how much of its budget, for how long, what its units do. Where there are more builds than
    /// rows, the last row says how many.
    fn draw_builds(&self, frame: &mut Frame<'_>, area: Rect) {
        let room = usize::from(area.height);
        let shown = if self.builds.len() > room { room.saturating_sub(1) } else { room };
        let selected = self.selected.as_ref().and_then(|id| self.place_of(id)).unwrap_or(0);
        let first = (selected + 1).saturating_sub(shown);
        let builds = self.builds.iter().skip(first).take(shown);
        let wide = area.width >= ROOM_FOR_SOURCES;
        let command = if area.width < ROOM_FOR_FORECASTS { 0 } else { 9 };
        let names = builds.clone().map(|build| build.snapshot.workspace_name());
        let longest = names.map(|name| name.width()).max().unwrap_or(0);
        let name = longest.min(if wide { 20 } else { 12 });
        let bar_width = if wide { 12 } else { 0 };
        let rows = builds.map(|build| {
            let snapshot = &build.snapshot;
            let is_chosen = self.selected.is_some() && self.is_selected(build);
            Row::new([
                Cell::from(if is_chosen { ">" } else { "" }),
                Cell::from(fit(&one_line(&snapshot.command), command)),
                Cell::from(fit(&snapshot.workspace_name(), name)),
                right(snapshot.memory()),
                Cell::from(bar(snapshot.used_bytes, snapshot.budget_bytes, bar_width)),
                right(Millis(snapshot.elapsed_ms).to_string()),
                Cell::from(snapshot.doing()),
            ])
        });
        let widths = [1, command, name, 18, bar_width, 8].map(length);
        let widths = widths.into_iter().chain([Constraint::Min(0)]);
        frame.render_widget(Table::new(rows, widths), area);
        let more = self.builds.len() - shown.min(self.builds.len());
        if more > 0 && room > 0 {
            let text = format!("  … and {} (Tab shows the next)", count(more, "more build"));
            let last = Rect { y: area.y + area.height - 1, height: 1, ..area };
            frame.render_widget(Paragraph::new(fit(&text, usize::from(area.width))), last);
        }
    }

    fn draw_keys(frame: &mut Frame<'_>, area: Rect) {
        let rows = KEYS.iter().map(|(key, what)| {
            let bold = Style::new().add_modifier(Modifier::BOLD);
            Row::new([Cell::from(*key).style(bold), Cell::from(*what)])
        });
        let widths = [Constraint::Length(17), Constraint::Min(0)];
        frame.render_widget(Table::new(rows, widths), area);
    }

    /// The memory of the selected build, or of all, as it went; the budget is the full height.
    fn draw_curve(&self, frame: &mut Frame<'_>, area: Rect) {
        let chosen: Vec<&Build> = self.builds.iter().filter(|b| self.is_selected(b)).collect();
        let budget = match (self.machine_budget(), chosen.as_slice()) {
            (_, [only]) => only.snapshot.budget_bytes,
            (0, all) => all.iter().map(|build| build.snapshot.budget_bytes).sum(),
            (machine, _) => machine,
        };
        let longest = chosen.iter().map(|build| build.used.len()).max().unwrap_or(0);
        let shown = longest.min(usize::from(area.width));
        let sum_at = |back: usize| -> u64 {
            chosen.iter().filter_map(|b| b.used.iter().rev().nth(back)).sum()
        };
        let data: Vec<u64> = (0..shown).rev().map(sum_at).collect();
        frame.render_widget(Sparkline::default().data(&data).max(budget.max(1)), area);
    }

    fn draw_units(&self, frame: &mut Frame<'_>, area: Rect) {
        let units = self.units();
        let room = usize::from(area.height).saturating_sub(1);
        let first = self.scrolled.min(units.len().saturating_sub(room));
        // On a narrow screen the names of units come before what was expected of them.
        let from = if area.width < ROOM_FOR_SOURCES { 0 } else { 7 };
        let forecast = if area.width < ROOM_FOR_FORECASTS { 0 } else { 9 };
        let header = Row::new([
            right("memory".to_owned()),
            right("forecast".to_owned()),
            Cell::from("from"),
            right("time".to_owned()),
            Cell::from("state"),
            Cell::from("build"),
            Cell::from("unit"),
        ])
        .style(Style::new().add_modifier(Modifier::REVERSED));
        let shown = units.iter().skip(first).take(room);
        let states = shown.clone().map(|(_, unit)| unit.state().width());
        let longest = states.max().unwrap_or(0).clamp(7, 22);
        // Of several builds each unit says of which it is.
        let is_one = self.builds.len() < 2 || self.selected.is_some();
        let build = if is_one || area.width < ROOM_FOR_SOURCES { 0 } else { 12 };
        let before = 9 + forecast + from + 8 + longest + build + 6;
        let title = usize::from(area.width).saturating_sub(before);
        let rows = shown.map(|(snapshot, unit)| {
            let bold = match unit.status.as_str() {
                "running" => Modifier::BOLD,
                _ => Modifier::empty(),
            };
            Row::new([
                right(amount(unit.memory_bytes)),
                right(amount(unit.forecast_bytes)),
                Cell::from(unit.forecast_from.clone()),
                right(Millis(unit.elapsed_ms).to_string()),
                Cell::from(fit(&unit.state(), longest)),
                Cell::from(fit(&snapshot.workspace_name(), build)),
                Cell::from(fit(&one_line(&unit.title), title.max(1))),
            ])
            .style(Style::new().add_modifier(bold))
        });
        let widths = [9, forecast, from, 8, longest, build].map(length);
        let widths = widths.into_iter().chain([Constraint::Min(0)]);
        frame.render_widget(Table::new(rows, widths).header(header), area);
    }

    /// What can be pressed, as far as there is room; `?` shows the rest.
    fn keys(&self, width: u16) -> Paragraph<'static> {
        let text = if self.typing {
            format!("/{}_   Enter keep   Esc show all", one_line(&self.filter))
        } else if let Some(hint) = self.hint {
            hint.to_owned()
        } else if self.explains {
            "any key goes back  q quit".to_owned()
        } else {
            let filter = match self.filter.as_str() {
                "" => "/ filter".to_owned(),
                filter => format!("/ filter: {}  Esc show all", one_line(filter)),
            };
            let sort = format!("s sort: {}", self.sort.name());
            let keys = ["q quit", "? keys", &filter, "Tab build", "p pause", &sort, "+/- priority"];
            let mut text = String::new();
            for key in keys {
                let between = if text.is_empty() { "" } else { "  " };
                if text.width() + between.len() + key.width() > usize::from(width) {
                    break;
                }
                text.push_str(between);
                text.push_str(key);
            }
            text
        };
        let style = Style::new().add_modifier(Modifier::REVERSED);
        Paragraph::new(fit(&text, usize::from(width))).style(style)
    }

    /// The budget of all builds together, where one governor has them all; else 0.
    fn machine_budget(&self) -> u64 {
        let mut lines = self.builds.iter().map(|build| build.snapshot.machine_budget_bytes);
        let first = lines.next().unwrap_or(0);
        if lines.all(|budget| budget == first) { first } else { 0 }
    }

    /// The units that are shown, each with its build, sorted.
    fn units(&self) -> Vec<(&Snapshot, &UnitSnapshot)> {
        let wanted = self.filter.to_lowercase();
        let mut units: Vec<(&Snapshot, &UnitSnapshot)> = self
            .builds
            .iter()
            .filter(|build| self.is_selected(build))
            .flat_map(|build| build.snapshot.units.iter().map(|unit| (&build.snapshot, unit)))
            .filter(|(_, unit)| unit.title.to_lowercase().contains(&wanted))
            .collect();
        match self.sort {
            Sort::Memory => units.sort_by_key(|(_, unit)| Reverse(unit.memory_bytes)),
            Sort::Forecast => units.sort_by_key(|(_, unit)| Reverse(unit.forecast_bytes)),
            Sort::Time => units.sort_by_key(|(_, unit)| Reverse(unit.elapsed_ms)),
            Sort::Name => units.sort_by(|(_, a), (_, b)| a.title.cmp(&b.title)),
        }
        units
    }

    fn scroll(&mut self, rows: usize) {
        let last = self.units().len().saturating_sub(1);
        self.scrolled = (self.scrolled + rows).min(last);
    }

    /// After the last build come all again.
    fn select_next(&mut self) {
        let next = match &self.selected {
            None => 0,
            Some(id) => self.place_of(id).map_or(0, |at| at + 1),
        };
        self.selected = self.builds.get(next).map(|build| build.snapshot.build.clone());
        self.scrolled = 0;
    }

    fn place_of(&self, id: &str) -> Option<usize> {
        self.builds.iter().position(|build| build.snapshot.build == id)
    }

    fn is_selected(&self, build: &Build) -> bool {
        self.selected.as_ref().is_none_or(|id| build.snapshot.build == *id)
    }
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::raw(text).right_aligned())
}

fn length(cells: usize) -> Constraint {
    Constraint::Length(u16::try_from(cells).unwrap_or(u16::MAX))
}

/// A bar of `width` cells, filled by the share.
fn bar(used: u64, budget: u64, width: usize) -> String {
    let share = used as f64 / budget.max(1) as f64;
    let filled = ((share * width as f64).round() as usize).min(width);
    format!("{}{}", "█".repeat(filled), "░".repeat(width - filled))
}

/// Nothing for nothing: a unit that waits holds none.
fn amount(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { Bytes(bytes).to_string() }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn unit(title: &str, status: &str, mib: u64, forecast: u64) -> UnitSnapshot {
        UnitSnapshot {
            title: title.to_owned(),
            status: status.to_owned(),
            memory_bytes: mib << 20,
            forecast_bytes: forecast << 20,
            forecast_from: "history".to_owned(),
            elapsed_ms: mib * 10,
            ..UnitSnapshot::default()
        }
    }

    fn build(id: &str, command: &str, units: Vec<UnitSnapshot>) -> Snapshot {
        Snapshot {
            build: id.to_owned(),
            command: command.to_owned(),
            workspace: format!("/home/a/{command}-shop"),
            elapsed_ms: 41_200,
            budget_bytes: 2 << 30,
            used_bytes: units.iter().map(|unit| unit.memory_bytes).sum(),
            running: units.iter().filter(|unit| unit.status == "running").count(),
            waiting: units.iter().filter(|unit| unit.status == "waiting").count(),
            units,
            ..Snapshot::default()
        }
    }

    fn two() -> Vec<Snapshot> {
        let first = vec![
            unit("cranelift-codegen v0.120.0", "running", 900, 1_400),
            unit("serde v1.0.228", "waiting", 0, 90),
        ];
        vec![
            build("1-10", "build", first),
            build("2-11", "test", vec![unit("wasmtime v33.0.0", "running", 300, 950)]),
        ]
    }

    fn screen(live: &Live, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| live.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| row(y).trim_end().to_owned()).collect()
    }

    fn titles(live: &Live) -> Vec<&str> {
        live.units().into_iter().map(|(_, unit)| unit.title.as_str()).collect()
    }

    fn press(live: &mut Live, keys: &str) {
        for key in keys.chars() {
            assert_eq!(live.press(Key::Char(key)), Wish::Stay, "{key}");
        }
    }

    #[test]
    fn all_builds_and_units_are_on_the_screen() {
        let mut live = Live::default();
        live.see(two(), Vec::new());
        let rows = screen(&live, 80, 24);
        assert_eq!(rows[0], "Plimsoll: 2 builds, 1.17 GiB, 1 unit waiting");
        let row = "  build     build-shop   0.88 of 2.00 GiB    41.20s 1 running, 1 waiting";
        assert_eq!(rows[1], row, "{rows:#?}");
        assert!(rows[2].ends_with(" 1 running"), "{rows:#?}");
        let text = rows.join("\n");
        for said in ["cranelift-codegen v0.120.0", "wasmtime v33.0.0", "serde v1.0.228", "q quit"] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(rows[23].starts_with("q quit  ? keys  / filter"), "{rows:#?}");
        assert!(rows[23].ends_with("s sort: memory  +/- priority"), "{rows:#?}");
    }

    #[test]
    fn units_are_sorted_filtered_and_chosen_by_build() {
        let mut live = Live::default();
        live.see(two(), Vec::new());
        let by_memory = ["cranelift-codegen v0.120.0", "wasmtime v33.0.0", "serde v1.0.228"];
        assert_eq!(titles(&live), by_memory);
        press(&mut live, "sss");
        assert_eq!(titles(&live)[1], "serde v1.0.228", "by name");
        press(&mut live, "/WASMx");
        assert!(titles(&live).is_empty());
        live.press(Key::Backspace);
        live.press(Key::Enter);
        assert_eq!(titles(&live), ["wasmtime v33.0.0"]);
        press(&mut live, "/");
        live.press(Key::Escape);
        live.press(Key::Tab);
        live.press(Key::Tab);
        assert_eq!(titles(&live), ["wasmtime v33.0.0"], "the second build's");
        live.see(two().into_iter().take(1).collect(), Vec::new());
        assert_eq!(titles(&live).len(), 2, "the chosen build has ended");
        assert_eq!(live.press(Key::Char('q')), Wish::Quit);
    }

    #[test]
    fn the_chosen_build_is_paused_and_given_a_priority() {
        let mut live = Live::default();
        live.see(two(), Vec::new());
        assert_eq!(live.press(Key::Char('p')), Wish::Stay, "which of two?");
        assert_eq!(screen(&live, 80, 24)[23], "Which build? Choose one with Tab first");
        assert_eq!(live.press(Key::Char('+')), Wish::Stay);
        live.press(Key::Tab);
        let pause = |paused| Wish::Pause { build: "1-10".to_owned(), paused };
        assert_eq!(live.press(Key::Char('p')), pause(true));
        let mut snapshot = two();
        (snapshot[0].paused, snapshot[0].priority) = (true, "normal".to_owned());
        (snapshot[1].awaited, snapshot[1].machine_budget_bytes) = (true, 4 << 30);
        snapshot[0].machine_budget_bytes = 4 << 30;
        live.see(snapshot, Vec::new());
        let rows = screen(&live, 100, 24);
        assert!(rows[0].contains("1.17 of 4.00 GiB"), "{rows:#?}");
        assert!(rows[1].ends_with("paused (p continues)"), "{rows:#?}");
        assert!(rows[2].ends_with("1 running; goes first"), "{rows:#?}");
        assert_eq!(live.press(Key::Char('p')), pause(false));
        let set_priority = |priority| Wish::SetPriority { build: "1-10".to_owned(), priority };
        assert_eq!(live.press(Key::Char('+')), set_priority(Priority::High));
        assert_eq!(live.press(Key::Char('-')), set_priority(Priority::Low));
        live.see(two().into_iter().take(1).collect(), Vec::new());
        assert_eq!(live.press(Key::Char('p')), pause(true), "the only one");
    }

    /// Builds of all lengths of names and numbers.
    fn eight() -> Vec<Snapshot> {
        let times = [700, 9_000, 64_000, 3_864_000, 5_999_000, 41_200, 1, 2];
        let make = |(n, elapsed_ms): (usize, u64)| Snapshot {
            workspace: format!("/w/{}", "a-rather-long-workspace".get(..3 * n).unwrap_or("ws")),
            elapsed_ms,
            budget_bytes: if n % 2 == 0 { 3 << 30 } else { 700 << 20 },
            ..build(
                &format!("{n}-1"),
                "nextest",
                vec![unit("a v1.0.0", "running", 100 * n as u64, 9)],
            )
        };
        times.into_iter().enumerate().map(make).collect()
    }

    #[test]
    fn rows_of_builds_stand_in_columns_at_any_width_and_those_without_a_row_are_counted() {
        let mut live = Live::default();
        live.see(eight(), Vec::new());
        for width in [60, 80, 100, 200] {
            let rows = screen(&live, width, 21);
            let builds = &rows[1..7];
            let column = |row: &String, of: &str| {
                let at = row.find(of).unwrap_or_else(|| panic!("{width}: {rows:#?}"));
                row[..at].chars().count()
            };
            let first = column(&builds[0], "1 running");
            assert!(builds.iter().all(|row| column(row, "1 running") == first), "{rows:#?}");
            let bars = builds.iter().map(|row| row.matches(['█', '░']).count());
            assert!(
                bars.clone().all(|cells| cells == if width < 90 { 0 } else { 12 }),
                "{rows:#?}"
            );
            assert!(
                builds[3].contains(" 64m 24s ") && builds[4].contains(" 99m 59s "),
                "{rows:#?}"
            );
            assert!(
                builds[1].contains(" 100 of 700 MiB ") && builds[1].contains(" a-r "),
                "{rows:#?}"
            );
            assert_eq!(rows[7], "  … and 2 more builds (Tab shows the next)");
            assert!(rows.iter().all(|row| row.width() <= usize::from(width)), "{rows:#?}");
        }
        let rows = screen(&live, 60, 12);
        assert_eq!(rows[4], "  … and 5 more builds (Tab shows the next)", "{rows:#?}");
        for _ in 0..8 {
            live.press(Key::Tab);
        }
        let rows = screen(&live, 60, 12);
        assert!(rows[3].starts_with(">  a-rather-lo…") && rows[3].contains(" 0.00s "), "{rows:#?}");
    }

    #[test]
    fn nothing_is_cut_on_its_left() {
        let mut live = Live::default();
        let mut snapshot = two();
        snapshot[0].units[0].elapsed_ms = 764_000;
        snapshot[0].units[1].why = "budget full".to_owned();
        live.see(snapshot, Vec::new());
        for width in [60, 80, 100, 200] {
            let text = screen(&live, width, 24).join("\n");
            for said in [" 12m 44s ", "waiting: budget full", "serde v1.0.228"] {
                assert!(text.contains(said), "{width}: {text}");
            }
            assert_eq!(text.contains("forecast"), width >= 70, "{text}");
            let row = screen(&live, width, 24).into_iter().find(|row| row.contains("wasmtime"));
            assert_eq!(row.unwrap().contains(" test-shop "), width >= 90, "{text}");
        }
    }

    #[test]
    fn the_question_mark_shows_what_every_key_does() {
        let mut live = Live::default();
        live.see(two(), Vec::new());
        press(&mut live, "?");
        let text = screen(&live, 80, 24).join("\n");
        for (key, what) in KEYS {
            assert!(text.contains(key) && text.contains(what), "{key}: {text}");
        }
        assert_eq!(live.press(Key::Escape), Wish::Stay, "it hides them");
        assert!(!screen(&live, 80, 24).join("\n").contains(KEYS[2].1));
    }

    #[test]
    fn escape_takes_the_filter_away_before_it_quits() {
        let mut live = Live::default();
        live.see(two(), Vec::new());
        press(&mut live, "/wasm");
        live.press(Key::Enter);
        assert_eq!(titles(&live).len(), 1);
        assert_eq!(live.press(Key::Escape), Wish::Stay);
        assert_eq!(titles(&live).len(), 3);
        assert_eq!(live.press(Key::Escape), Wish::Quit);
    }

    #[test]
    fn a_build_that_is_stopped_and_a_governor_that_is_silent_are_told() {
        let mut live = Live::default();
        let mut snapshot = two();
        snapshot[0].stopped_by_signal = true;
        let silent = |directory: Option<&str>, stopped| Silent {
            pid: 4711,
            directory: directory.map(str::to_owned),
            stopped,
        };
        live.see(snapshot, vec![silent(Some("/home/a/shop"), true), silent(None, false)]);
        let rows = screen(&live, 120, 24);
        assert!(rows[1].ends_with("stopped (Ctrl-Z)"), "{rows:#?}");
        assert_eq!(
            rows[3],
            "! the build in shop (process 4711) is stopped: `fg` in its terminal continues it"
        );
        assert_eq!(
            rows[4],
            "! the account's governor (process 4711) does not answer. Its builds go on without a memory budget"
        );
        live.see(Vec::new(), vec![silent(None, true)]);
        assert_eq!(screen(&live, 80, 24)[0], "Plimsoll: no build answers");
    }

    #[test]
    fn the_curve_is_the_memory_as_it_went_and_the_budget_its_full_height() {
        let mut live = Live::default();
        for mib in [0, 1024, 2048] {
            live.see(vec![build("1-10", "build", vec![unit("a", "running", mib, 0)])], Vec::new());
        }
        let rows = screen(&live, 80, 24);
        let curve: Vec<Vec<char>> = rows[2..6].iter().map(|row| row.chars().collect()).collect();
        let at = |row: usize, column: usize| curve[row].get(column).copied().unwrap_or(' ');
        assert_eq!([at(3, 0), at(3, 1), at(3, 2)], [' ', '█', '█'], "{rows:#?}");
        assert_eq!([at(0, 1), at(0, 2)], [' ', '█'], "{rows:#?}");
    }

    #[test]
    fn no_size_and_no_key_brings_it_down() {
        let many = (0..200).map(|n| unit(&format!("u{n} \u{1b}[2J 船"), "running", n, 2)).collect();
        let mut builds = two();
        builds.push(build("3-12", "\u{1b}]0;title", many));
        builds.extend((4..9).map(|n| build(&format!("{n}-13"), "check", Vec::new())));
        let keys = [
            Key::Char('s'),
            Key::Char('?'),
            Key::Down,
            Key::PageDown,
            Key::Up,
            Key::PageUp,
            Key::Tab,
            Key::Char('/'),
            Key::Char('船'),
            Key::Enter,
            Key::Backspace,
        ];
        let silent: Vec<Silent> = [None, Some("/a\u{1b}[2J船".to_owned()), None]
            .map(|directory| Silent { pid: 7, directory, stopped: true })
            .to_vec();
        let mut live = Live::default();
        for (width, height) in [(0, 0), (1, 1), (5, 3), (20, 5), (40, 10), (80, 24), (300, 90)] {
            for key in keys {
                live.see(builds.clone(), silent.clone());
                live.press(key);
                let rows = screen(&live, width, height);
                assert!(rows.iter().all(|row| !row.contains('\u{1b}')));
            }
            live.see(Vec::new(), silent.clone());
            screen(&live, width, height);
        }
    }
}
