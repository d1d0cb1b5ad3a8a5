//! What a person sees of a build while it runs and when it ends.

use std::io::IsTerminal as _;

use plimsoll_core::Millis;
use plimsoll_core::event::{Event, Header, Record};
use plimsoll_governor::Observer;
use plimsoll_view::{BuildState, status_line, summary, top_json, waiting_line};

use crate::env::Environment;
use crate::shell::Shell;
use crate::status::{StatusLine, Terminal};

/// Without a terminal, a line is written after so long a silence, so that no CI takes us for dead.
const SILENCE: Millis = Millis::seconds(60);

/// The watcher of one build.
pub(super) struct Watch {
    header: Header,
    state: BuildState,
    line: Option<StatusLine<Terminal>>,
    /// Without a terminal: when something was last seen to end, or a line was written.
    spoke: Option<Millis>,
    /// Lines that wait to be printed.
    words: Shell,
    told: bool,
    stopped: bool,
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
            line: terminal.and_then(|terminal| StatusLine::new(terminal, environment)),
            spoke: (!quiet && !std::io::stderr().is_terminal()).then_some(Millis::ZERO),
            words,
            told: false,
            stopped: false,
        }
    }

    /// Whether a unit was ever stopped in this build.
    pub(super) fn has_seen_a_stop(&self) -> bool {
        self.stopped
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
        if self.line.take().is_some() || self.spoke.take().is_some() {
            self.tell();
        }
    }

    /// The end: gives the terminal back and says how it went.
    pub(super) fn close(mut self, shell: &mut Shell) {
        self.line = None;
        if !self.told {
            let text = summary(&self.state, &self.header);
            if !text.is_empty() {
                shell.note(text);
            }
        }
    }

    fn tell(&mut self) {
        self.told = true;
        let text = summary(&self.state, &self.header);
        if !text.is_empty() {
            self.words.note(text);
        }
    }
}

impl Observer for Watch {
    fn record(&mut self, record: &Record) {
        self.state.apply(record);
        self.stopped |= matches!(record.event, Event::Suspended { .. });
        if let Some(line) = &mut self.line
            && matches!(record.event, Event::Sample { .. } | Event::Suspended { .. })
        {
            let state = &self.state;
            line.draw(record.t, |columns| status_line(state, columns));
        }
        let Some(spoke) = &mut self.spoke else { return };
        match record.event {
            Event::Finished { .. } => *spoke = record.t,
            Event::Sample { .. } if record.t - *spoke >= SILENCE => {
                *spoke = record.t;
                self.words.note(waiting_line(&self.state));
            }
            _ => {}
        }
    }

    fn status(&self, header: &Header, now: Millis) -> String {
        top_json(&self.state, header, now)
    }
}
