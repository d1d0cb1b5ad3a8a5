//! `top`, live: every running build of one user on one screen.
//!
//! ```text
//! plimsoll: 2 builds, 2.1 GiB of 4.0 GiB                                  heading
//! > build   1.2 GiB of 2.0 GiB  ██████████░░░░░░░  41.2 s  3 run, 5 wait  one row a build
//! ▁▂▃▄▅▆▇█▇▆▅▆▇█                                                          its memory; full height is its budget
//! memory  forecast  from  for  status  unit                               units, sorted and filtered
//! q quit  s sort: memory  / filter  Tab build  p pause  +/- priority       keys
//! ```
//!
//! A model and its picture: [`Live::see`] takes in what governors say, [`Live::press`] a key, and
//! [`Live::draw`] makes a frame of any size. Nothing here knows a terminal or a clock. There are no colours, only
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

use crate::cells::{fit, one_line};
use crate::snapshot::{Snapshot, UnitSnapshot};
use crate::wording::count;

/// Measurements that are kept of each build: what the widest of terminals shows.
const KEPT: usize = 512;

/// Rows of builds that are shown at most; what is selected is always among them.
const BUILDS_SHOWN: usize = 4;

/// Rows of the memory's curve, where there is room for it.
const CURVE: u16 = 4;

/// A screen lower than this shows no curve: units come first.
const ROOM_FOR_CURVE: u16 = 14;

/// A screen narrower than this does not say where forecasts came from.
const ROOM_FOR_SOURCES: u16 = 90;

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
}

impl Live {
    /// Takes in what all running builds say now; a build that says nothing any more is gone.
    pub fn see(&mut self, snapshot: Vec<Snapshot>) {
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
        match key {
            Key::Char('q') | Key::Escape => return Wish::Quit,
            Key::Char('s') => self.sort = self.sort.next(),
            Key::Char('/') => self.typing = true,
            Key::Tab => self.select_next(),
            Key::Up | Key::Char('k') => self.scrolled = self.scrolled.saturating_sub(1),
            Key::Down | Key::Char('j') => self.scroll(1),
            Key::PageUp => self.scrolled = self.scrolled.saturating_sub(10),
            Key::PageDown => self.scroll(10),
            Key::Char('p') => {
                if let Some(build) = self.chosen() {
                    let paused = !build.snapshot.paused;
                    return Wish::Pause { build: build.snapshot.build.clone(), paused };
                }
            }
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

    fn set_priority(&self, more: bool) -> Wish {
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
        let builds = u16::try_from(self.builds.len().min(BUILDS_SHOWN)).unwrap_or(0);
        let has_curve = area.height >= ROOM_FOR_CURVE && builds > 0;
        let rows = [1, builds, if has_curve { CURVE } else { 0 }];
        let [heading, overview, curve, units, keys] = Layout::vertical([
            Constraint::Length(rows[0]),
            Constraint::Length(rows[1]),
            Constraint::Length(rows[2]),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(area);
        frame.render_widget(self.heading(heading.width), heading);
        frame.render_widget(self.overview(overview.width), overview);
        if has_curve {
            self.draw_curve(frame, curve);
        }
        self.draw_units(frame, units);
        frame.render_widget(self.keys(keys.width), keys);
    }

    fn heading(&self, width: u16) -> Paragraph<'static> {
        let text = if self.builds.is_empty() {
            "plimsoll: no build is running; one that starts is shown here".to_owned()
        } else {
            let sum =
                |of: fn(&Snapshot) -> u64| Bytes(self.builds.iter().map(|b| of(&b.snapshot)).sum());
            let waiting: usize = self.builds.iter().map(|build| build.snapshot.waiting).sum();
            let budget = match self.machine_budget() {
                0 => String::new(),
                budget => format!(" of {}", Bytes(budget)),
            };
            format!(
                "plimsoll: {}, {}{budget} in use, {} waiting",
                count(self.builds.len(), "build"),
                sum(|snapshot| snapshot.used_bytes),
                count(waiting, "unit"),
            )
        };
        let style = Style::new().add_modifier(Modifier::BOLD);
        Paragraph::new(Line::styled(fit(&text, usize::from(width)), style))
    }

    fn overview(&self, width: u16) -> Paragraph<'static> {
        let first = self.first_build_shown();
        let lines = self.builds.iter().skip(first).take(BUILDS_SHOWN).map(|build| {
            let mark = if self.is_selected(build) && self.selected.is_some() { ">" } else { " " };
            let text = format!("{mark} {}", build.line(usize::from(width).saturating_sub(2)));
            Line::raw(fit(&text, usize::from(width)))
        });
        Paragraph::new(lines.collect::<Vec<_>>())
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
        // On a narrow screen the names of units come before where their forecasts came from.
        let from = if area.width < ROOM_FOR_SOURCES { 0 } else { 7 };
        let right = |text: String| Cell::from(Line::raw(text).right_aligned());
        let header = Row::new([
            right("memory".to_owned()),
            right("forecast".to_owned()),
            Cell::from("from"),
            right("for".to_owned()),
            Cell::from("status"),
            Cell::from("unit"),
        ])
        .style(Style::new().add_modifier(Modifier::REVERSED));
        let shown = units.iter().skip(first).take(room);
        let longest = shown.clone().map(|unit| unit.state().len()).max().unwrap_or(0);
        let rows = shown.map(|unit| {
            let bold = match unit.status.as_str() {
                "running" => Modifier::BOLD,
                _ => Modifier::empty(),
            };
            Row::new([
                right(amount(unit.memory_bytes)),
                right(amount(unit.forecast_bytes)),
                Cell::from(unit.forecast_from.clone()),
                right(Millis(unit.elapsed_ms).to_string()),
                Cell::from(unit.state()),
                Cell::from(one_line(&unit.title)),
            ])
            .style(Style::new().add_modifier(bold))
        });
        let widths = [
            Constraint::Length(9),
            Constraint::Length(9),
            Constraint::Length(from),
            Constraint::Length(8),
            Constraint::Length(u16::try_from(longest.clamp(7, 24)).unwrap_or(24)),
            Constraint::Min(10),
        ];
        frame.render_widget(Table::new(rows, widths).header(header), area);
    }

    fn keys(&self, width: u16) -> Paragraph<'static> {
        let text = if self.typing {
            format!("/{}_   Enter keep   Esc show all", one_line(&self.filter))
        } else {
            let filter = match self.filter.as_str() {
                "" => "/ filter".to_owned(),
                filter => format!("/ filter: {}", one_line(filter)),
            };
            let sort = self.sort.name();
            format!("q quit  s sort: {sort}  {filter}  Tab build  p pause  +/- priority  Up/Down")
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

    /// The units that are shown, sorted.
    fn units(&self) -> Vec<&UnitSnapshot> {
        let wanted = self.filter.to_lowercase();
        let mut units: Vec<&UnitSnapshot> = self
            .builds
            .iter()
            .filter(|build| self.is_selected(build))
            .flat_map(|build| &build.snapshot.units)
            .filter(|unit| unit.title.to_lowercase().contains(&wanted))
            .collect();
        match self.sort {
            Sort::Memory => units.sort_by_key(|unit| Reverse(unit.memory_bytes)),
            Sort::Forecast => units.sort_by_key(|unit| Reverse(unit.forecast_bytes)),
            Sort::Time => units.sort_by_key(|unit| Reverse(unit.elapsed_ms)),
            Sort::Name => units.sort_by(|a, b| a.title.cmp(&b.title)),
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

    fn first_build_shown(&self) -> usize {
        let selected = self.selected.as_ref().and_then(|id| self.place_of(id)).unwrap_or(0);
        selected.saturating_sub(BUILDS_SHOWN - 1)
    }
}

impl Build {
    /// One row: who, how much of the budget, for how long, how many units.
    fn line(&self, width: usize) -> String {
        let snapshot = &self.snapshot;
        let numbers = format!("{} of {}", Bytes(snapshot.used_bytes), Bytes(snapshot.budget_bytes));
        let standing = match (snapshot.paused, snapshot.priority.as_str(), snapshot.awaited) {
            (true, _, _) => "  PAUSED",
            (_, "high", _) => "  high",
            (_, "low", _) => "  low",
            (_, _, true) => "  first",
            _ => "",
        };
        let rest = format!(
            "{}  {} running, {} waiting, {} stopped{standing}",
            Millis(snapshot.elapsed_ms),
            snapshot.running,
            snapshot.waiting,
            snapshot.stopped
        );
        let name = fit(&one_line(&snapshot.command), 10);
        let texts = 10 + 2 + 20 + 2 + 2 + rest.chars().count();
        let bar = match width.saturating_sub(texts) {
            0..4 => String::new(),
            room => bar(snapshot.used_bytes, snapshot.budget_bytes, room.min(30)),
        };
        format!("{name:<10}  {numbers:<20}  {bar}  {rest}")
    }
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
        live.units().into_iter().map(|unit| unit.title.as_str()).collect()
    }

    fn press(live: &mut Live, keys: &str) {
        for key in keys.chars() {
            assert_eq!(live.press(Key::Char(key)), Wish::Stay, "{key}");
        }
    }

    #[test]
    fn all_builds_and_units_are_on_the_screen() {
        let mut live = Live::default();
        live.see(two());
        let rows = screen(&live, 80, 24);
        assert_eq!(rows[0], "plimsoll: 2 builds, 1.17 GiB in use, 1 unit waiting");
        assert!(rows[1].starts_with("  build       900 MiB of 2.00 GiB"), "{rows:#?}");
        assert!(rows[2].contains("1 running, 0 waiting, 0 stopped"), "{rows:#?}");
        let text = rows.join("\n");
        for said in ["cranelift-codegen v0.120.0", "wasmtime v33.0.0", "serde v1.0.228", "q quit"] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(rows[23].starts_with("q quit  s sort: memory"), "{rows:#?}");
        assert!(rows[23].ends_with("+/- priority  Up/Down"), "{rows:#?}");
    }

    #[test]
    fn units_are_sorted_filtered_and_chosen_by_build() {
        let mut live = Live::default();
        live.see(two());
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
        live.see(two().split_off(0).into_iter().take(1).collect());
        assert_eq!(titles(&live).len(), 2, "the chosen build has ended");
        assert_eq!(live.press(Key::Char('q')), Wish::Quit);
    }

    #[test]
    fn the_chosen_build_is_paused_and_favoured() {
        let mut live = Live::default();
        live.see(two());
        assert_eq!(live.press(Key::Char('p')), Wish::Stay, "which of two?");
        assert_eq!(live.press(Key::Char('+')), Wish::Stay);
        live.press(Key::Tab);
        let pause = |paused| Wish::Pause { build: "1-10".to_owned(), paused };
        assert_eq!(live.press(Key::Char('p')), pause(true));
        let mut snapshot = two();
        (snapshot[0].paused, snapshot[0].priority) = (true, "normal".to_owned());
        (snapshot[1].awaited, snapshot[1].machine_budget_bytes) = (true, 4 << 30);
        snapshot[0].machine_budget_bytes = 4 << 30;
        live.see(snapshot);
        let rows = screen(&live, 100, 24);
        assert!(rows[0].contains("1.17 GiB of 4.00 GiB in use"), "{rows:#?}");
        assert!(rows[1].ends_with("0 stopped  PAUSED"), "{rows:#?}");
        assert!(rows[2].ends_with("0 stopped  first"), "{rows:#?}");
        assert_eq!(live.press(Key::Char('p')), pause(false));
        let set_priority = |priority| Wish::SetPriority { build: "1-10".to_owned(), priority };
        assert_eq!(live.press(Key::Char('+')), set_priority(Priority::High));
        assert_eq!(live.press(Key::Char('-')), set_priority(Priority::Low));
        live.see(two().into_iter().take(1).collect());
        assert_eq!(live.press(Key::Char('p')), pause(true), "the only one");
    }

    #[test]
    fn the_curve_is_the_memory_as_it_went_and_the_budget_its_full_height() {
        let mut live = Live::default();
        for mib in [0, 1024, 2048] {
            live.see(vec![build("1-10", "build", vec![unit("a", "running", mib, 0)])]);
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
        let mut live = Live::default();
        for (width, height) in [(0, 0), (1, 1), (5, 3), (20, 5), (40, 10), (80, 24), (300, 90)] {
            for key in keys {
                live.see(builds.clone());
                live.press(key);
                let rows = screen(&live, width, height);
                assert!(rows.iter().all(|row| !row.contains('\u{1b}')));
            }
            live.see(Vec::new());
            screen(&live, width, height);
        }
    }
}
