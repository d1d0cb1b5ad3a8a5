//! What a person sees of a build while it runs and when it ends.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use plimsoll_core::event::{BuildLiveState, Event, Header, Record};
use plimsoll_core::{BuildNo, Bytes, Millis};
use plimsoll_governor::Observer;
use plimsoll_view::{BuildState, Unit, paused_line, status_line, summary, top_json, waiting_line};

use crate::color;
use crate::env::Environment;
use crate::shell::Shell;
use crate::status::{Screen as _, StatusLine, Terminal};

/// Without a terminal: when something was last seen to end, or a budget was written.
struct Silence(Millis);

impl Silence {
    /// A budget is written after so long a silence, so that no CI takes us for dead.
    const LONG: Millis = Millis::seconds(60);

    /// Whether a budget is due when this has happened.
    fn breaks(&mut self, record: &Record) -> bool {
        let due = match record.event {
            Event::Finished { .. } => false,
            Event::Sample { .. } if record.t - self.0 >= Self::LONG => true,
            _ => return false,
        };
        self.0 = record.t;
        due
    }
}

/// Clears the rest of the budget on which the cursor stands, and goes on below it (ECMA-48, EL).
const LINE_IS_LEFT: &str = "\x1b[K\n";

/// How wide stderr is, where it is a terminal.
fn columns() -> Option<usize> {
    Terminal::stderr()?.size().map(|(_, columns)| usize::from(columns))
}

/// The watcher of one build.
pub(super) struct Watch {
    header: Header,
    state: BuildState,
    line: Option<StatusLine<Terminal>>,
    /// Where there is no terminal.
    silence: Option<Silence>,
    /// Lines that wait to be printed.
    words: Shell,
    told: bool,
}

impl Watch {
    pub(super) fn new(header: &Header, environment: &Environment, shell: &Shell) -> Self {
        let quiet = shell.is_quiet();
        let terminal = Terminal::stderr().filter(|_| !quiet);
        let mut words = Shell::of_process();
        words.set_quiet(quiet);
        Self {
            header: header.clone(),
            state: BuildState::new(header),
            line: terminal
                .and_then(|terminal| StatusLine::new(terminal, environment, color::on_stderr())),
            silence: (!quiet && !std::io::stderr().is_terminal()).then_some(Silence(Millis::ZERO)),
            words,
            told: false,
        }
    }

    /// A row of the terminal is taken.
    pub(super) fn has_row(&self) -> bool {
        self.line.as_ref().is_some_and(StatusLine::is_reserved)
    }

    /// The budget, and whether a unit runs that by itself is above it.
    pub(super) fn budget(&self) -> (Bytes, bool) {
        let is_lone = |unit: &Unit| unit.above.is_some() && !unit.status.ended();
        (self.state.budget(), self.state.units().any(is_lone))
    }

    /// Before this process is stopped.
    pub(super) fn suspend(&mut self) {
        if let Some(line) = &mut self.line {
            line.suspend();
        }
    }

    /// After it was continued.
    pub(super) fn restore(&mut self) {
        if let Some(line) = &mut self.line {
            line.restore();
        }
    }

    /// The terminal has another size.
    pub(super) fn resize(&mut self) {
        if let Some(line) = &mut self.line {
            line.resize();
        }
    }

    /// The user's own program runs now: the terminal is its alone.
    pub(super) fn step_aside(&mut self) {
        if self.line.take().is_some() || self.silence.take().is_some() {
            self.tell();
        }
    }

    /// The end: gives the terminal back and says how it went.
    pub(super) fn close(mut self, shell: &mut Shell) {
        self.line = None;
        if !self.told {
            let lines = summary(&self.state, &self.header);
            if !lines.is_empty() && self.was_cut_short() {
                shell.note(LINE_IS_LEFT);
            }
            shell.entries(&lines, columns());
        }
    }

    /// A signal has ended Cargo, which left its progress bar on the terminal, and the terminal a `^C` before it.
    fn was_cut_short(&self) -> bool {
        self.state.done().is_some_and(|done| done.signal().is_some())
            && std::io::stderr().is_terminal()
    }

    fn tell(&mut self) {
        self.told = true;
        self.words.entries(&summary(&self.state, &self.header), columns());
    }
}

impl Observer for Watch {
    fn record(&mut self, _build: BuildNo, record: &Record) {
        let was_paused = self.state.is_paused();
        self.state.apply(record);
        if let Some(line) = &mut self.line
            && matches!(record.event, Event::Sample { .. } | Event::Suspended { .. })
        {
            let state = &self.state;
            line.draw(record.t, |columns| status_line(state, columns));
        }
        let is_paused = self.state.is_paused();
        if is_paused != was_paused && !self.has_row() {
            self.words.entries(&[paused_line(is_paused)], columns());
        }
        if self.silence.as_mut().is_some_and(|silence| silence.breaks(record)) {
            self.words.entries(&[waiting_line(&self.state)], None);
        }
    }

    fn opened(&mut self, _build: BuildNo, _header: &Header) {}

    fn closed(&mut self, _build: BuildNo) {}

    fn status(&self, builds: &BTreeMap<BuildNo, BuildLiveState>) -> String {
        let json = |now: &BuildLiveState| top_json(&self.state, &self.header, now) + "\n";
        builds.values().map(json).collect()
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_core::{Bytes, UnitId};

    use super::*;

    #[test]
    fn a_budget_a_minute_while_nothing_ends() {
        let sample = || Event::Sample {
            used: Bytes::ZERO,
            budget: Bytes::gib(1),
            admitted: Bytes::ZERO,
            running: 0,
            waiting: 1,
            stopped: 0,
            short: false,
            stalled: Millis::ZERO,
            units: Vec::new(),
        };
        let ended = Event::Finished {
            unit: UnitId(1),
            ok: true,
            peak: Bytes::ZERO,
            cpu: Millis::ZERO,
            wall: Millis::ZERO,
            waited: Millis::ZERO,
        };
        let mut silence = Silence(Millis::ZERO);
        let mut lines = Vec::new();
        for half_second in 0..400 {
            let t = Millis(half_second * 500);
            if t == Millis::seconds(90) {
                assert!(!silence.breaks(&Record { t, event: ended.clone() }));
            }
            if silence.breaks(&Record { t, event: sample() }) {
                lines.push(t.0 / 1000);
            }
        }
        assert_eq!(lines, [60, 150]);
    }
}
