//! The status line: the terminal's bottom row, kept out of the way of everything else that writes.
//!
//! The row is reserved by a scroll region (DECSTBM, as `apt` does it): Cargo's messages and progress
//! bar, compilers and tests go on above it and never touch it. Each change is one write, which saves
//! the cursor and puts it back, so that it can come between any two writes of others.
//!
//! ```text
//!            new, restore                draw
//!  released --------------> reserved ------------> reserved
//!           <--------------          <-- resize --
//!            suspend, Drop
//! ```
//!
//! Deliberately absent: what the budget says (plimsoll-view), signals and clocks (the driver's). It
//! never waits for a terminal: one that is stopped (Ctrl-S) or not ours now (a job in the
//! background) is left alone.

use std::io;

use plimsoll_core::Millis;
use plimsoll_view::{Entry, word_column};

use crate::env::Environment;
use crate::shell;

/// A terminal that shows the budget.
pub trait Screen {
    /// Rows and columns, where they are known.
    fn size(&self) -> Option<(u16, u16)>;
    /// It takes a few hundred bytes now, without waiting, and is ours to write to.
    fn ready(&self) -> bool;
    /// Writes all of it at once.
    ///
    /// # Errors
    /// Where the terminal is gone.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Rows below which a budget would take too much of what is there.
const LEAST_ROWS: u16 = 5;

/// Time between two redraws: five a second read as live, and cost nothing.
const REDRAW: Millis = Millis(200);

/// After this time the budget is drawn again though it says the same, in case something cleared it.
const REFRESH: Millis = Millis(2000);

/// The status line. Its row is given back when it is dropped.
#[derive(Debug)]
pub struct StatusLine<S: Screen> {
    screen: S,
    /// The status word has a colour.
    colored: bool,
    /// The size with which the row is reserved; nothing while it is not.
    reserved: Option<(u16, u16)>,
    /// What the row shows, and since when.
    shown: Option<(Entry, Millis)>,
}

/// Whether the environment wants a status line: a terminal that can place its cursor, no CI.
#[must_use]
pub fn wanted(environment: &Environment) -> bool {
    let dumb = environment.get("TERM").is_none_or(|term| term == "dumb");
    !dumb && environment.get("CI").is_none()
}

impl<S: Screen> StatusLine<S> {
    /// Reserves the row; nothing where the terminal is too small or not ours.
    pub fn new(screen: S, environment: &Environment, colored: bool) -> Option<Self> {
        if !wanted(environment) {
            return None;
        }
        let mut line = Self { screen, colored, reserved: None, shown: None };
        line.restore();
        line.reserved.is_some().then_some(line)
    }

    /// Shows what `entry` says for the width in columns, at most five times a second; `now` is any
    /// clock that does not go back.
    pub fn draw(&mut self, now: Millis, entry: impl FnOnce(usize) -> Entry) {
        let Some((rows, columns)) = self.reserved else { return };
        let age = self.shown.as_ref().map(|(_, since)| now - *since);
        if age.is_some_and(|age| age < REDRAW) || !self.screen.ready() {
            return;
        }
        let entry = entry(usize::from(columns));
        if let Some((old, _)) = &self.shown
            && *old == entry
            && age.is_some_and(|age| age < REFRESH)
        {
            return;
        }
        let row = self.row(&entry, usize::from(columns));
        // Reset attributes first: what others had switched on comes back with the cursor.
        self.send(&format!("\x1b7\x1b[0m\x1b[{rows};1H{row}\x1b[K\x1b8"));
        self.shown = Some((entry, now));
    }

    /// The row, at most `columns` wide.
    fn row(&self, entry: &Entry, columns: usize) -> String {
        let word = format!("{:>width$}", entry.word, width = word_column(columns));
        let word = fit(&word, columns);
        let text = fit(&format!(" {}", entry.text), columns - word.chars().count());
        if !self.colored {
            return word + &text;
        }
        let style = shell::style(entry.tone);
        format!("{style}{word}{style:#}{text}")
    }

    /// Gives the row back: before the process is stopped, or before somebody else draws.
    pub fn suspend(&mut self) {
        if let Some((rows, _)) = self.reserved.take() {
            self.send(&release(rows));
        }
        self.shown = None;
    }

    /// Whether the row is reserved now.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.reserved.is_some()
    }

    /// Reserves the row again: after the process was continued.
    pub fn restore(&mut self) {
        if self.reserved.is_some() || !self.screen.ready() {
            return;
        }
        if let Some((rows, columns)) = self.screen.size().filter(|(rows, _)| *rows >= LEAST_ROWS) {
            // One line down and up again, so that the cursor is not on the row that is taken.
            let above = rows - 1;
            self.send(&format!("\x1bD\x1b[A\x1b7\x1b[1;{above}r\x1b8"));
            self.reserved = Some((rows, columns));
        }
    }

    /// Follows a change of the terminal's size.
    pub fn resize(&mut self) {
        let Some(before) = self.reserved else { return self.restore() };
        match self.screen.size() {
            Some(now) if now == before => {}
            Some((rows, _)) if rows >= LEAST_ROWS => {
                // The old row may be anywhere now, or gone: it is not searched for.
                self.reserved = None;
                self.shown = None;
                self.send("\x1b7\x1b[r\x1b8");
                self.restore();
            }
            _ => self.suspend(),
        }
    }

    fn send(&mut self, sequence: &str) {
        // A terminal that is gone shows nothing.
        let _ = self.screen.write(sequence.as_bytes());
    }
}

impl<S: Screen> Drop for StatusLine<S> {
    fn drop(&mut self) {
        self.suspend();
    }
}

/// The whole screen scrolls again, and its last row is empty. Setting the margins moves the cursor: it is
/// saved before and restored after.
fn release(rows: u16) -> String {
    format!("\x1b7\x1b[r\x1b[0m\x1b[{rows};1H\x1b[2K\x1b8")
}

/// At most `columns` characters, none of which moves the cursor.
fn fit(text: &str, columns: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(columns).collect()
}

/// The terminal behind stderr.
#[derive(Debug)]
pub struct Terminal(());

impl Terminal {
    /// The terminal, where stderr is one.
    #[must_use]
    pub fn stderr() -> Option<Self> {
        rustix::termios::isatty(rustix::stdio::stderr()).then_some(Self(()))
    }

    /// Gives back the bottom row, which a process that is gone had reserved. The shell may have taken the
    /// terminal for itself by now; who writes to it all the same is stopped only where it is told so.
    pub fn give_back(&mut self) {
        use rustix::termios::{LocalModes, tcgetattr};
        let stops = tcgetattr(rustix::stdio::stderr())
            .is_ok_and(|modes| modes.local_modes.contains(LocalModes::TOSTOP));
        if let Some((rows, _)) = self.size()
            && Self::takes_writes()
            && (!stops || Self::is_ours())
        {
            let _ = self.write(release(rows).as_bytes());
        }
    }

    /// We are in its foreground, or no group that we know is.
    fn is_ours() -> bool {
        rustix::termios::tcgetpgrp(rustix::stdio::stderr()).map_or(true, |foreground| {
            plimsoll_host::process_group() == Some(foreground.as_raw_pid().cast_unsigned())
        })
    }

    /// A write would not wait (Ctrl-S).
    fn takes_writes() -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::from_borrowed_fd(rustix::stdio::stderr(), PollFlags::OUT)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().contains(PollFlags::OUT)
    }
}

impl Screen for Terminal {
    fn size(&self) -> Option<(u16, u16)> {
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).ok()?;
        (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
    }

    fn ready(&self) -> bool {
        Self::is_ours() && Self::takes_writes()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // One call: the terminal keeps it in one piece beside other writers.
        let written = rustix::io::write(rustix::stdio::stderr(), bytes)?;
        if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use plimsoll_view::Tone;

    use super::*;

    #[derive(Clone)]
    struct Glass {
        size: Rc<Cell<Option<(u16, u16)>>>,
        ready: Rc<Cell<bool>>,
        writes: Rc<RefCell<Vec<String>>>,
    }

    impl Glass {
        fn new(rows: u16, columns: u16) -> Self {
            Self {
                size: Rc::new(Cell::new(Some((rows, columns)))),
                ready: Rc::new(Cell::new(true)),
                writes: Rc::default(),
            }
        }

        fn taken(&self) -> Vec<String> {
            self.writes.take()
        }
    }

    impl Screen for Glass {
        fn size(&self) -> Option<(u16, u16)> {
            self.size.get()
        }
        fn ready(&self) -> bool {
            self.ready.get()
        }
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.writes.borrow_mut().push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(())
        }
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        [("TERM", "xterm")].iter().chain(variables).copied().collect()
    }

    fn line(glass: &Glass) -> StatusLine<Glass> {
        StatusLine::new(glass.clone(), &environment(&[]), false).unwrap()
    }

    fn says(text: &str) -> Entry {
        Entry { tone: Tone::Info, word: "Plimsoll", text: text.to_owned() }
    }

    #[test]
    fn the_bottom_row_is_reserved_drawn_and_given_back() {
        let glass = Glass::new(24, 20);
        let mut status = line(&glass);
        assert_eq!(glass.taken(), ["\x1bD\x1b[A\x1b7\x1b[1;23r\x1b8"]);
        status.draw(Millis(0), |_| says("1.21 of 1.56 GiB"));
        assert_eq!(glass.taken(), ["\x1b7\x1b[0m\x1b[24;1HPlimsoll 1.21 of 1.5\x1b[K\x1b8"]);
        drop(status);
        assert_eq!(glass.taken(), ["\x1b7\x1b[r\x1b[0m\x1b[24;1H\x1b[2K\x1b8"]);
    }

    #[test]
    fn no_text_leaves_the_row() {
        assert_eq!(fit("a\tb\nc\x1b[1md", 7), "a b c [");
    }

    #[test]
    fn it_is_drawn_five_times_a_second_at_most_and_only_when_it_changes() {
        let glass = Glass::new(24, 80);
        let mut status = line(&glass);
        glass.taken();
        let mut drawn_at = |ms: u64, text: &str| {
            status.draw(Millis(ms), |_| says(text));
            glass.taken().len()
        };
        assert_eq!(drawn_at(0, "a"), 1);
        assert_eq!(drawn_at(199, "b"), 0);
        assert_eq!(drawn_at(200, "b"), 1);
        assert_eq!(drawn_at(400, "b"), 0);
        assert_eq!(drawn_at(450, "c"), 1);
        assert_eq!(drawn_at(2449, "c"), 0);
        assert_eq!(drawn_at(2450, "c"), 1);
    }

    #[test]
    fn a_stopped_terminal_is_not_waited_for() {
        let glass = Glass::new(24, 80);
        let mut status = line(&glass);
        glass.taken();
        glass.ready.set(false);
        status.draw(Millis(0), |_| unreachable!("nothing is rendered for nobody"));
        glass.ready.set(true);
        status.draw(Millis(1), |_| says("a"));
        assert_eq!(glass.taken().len(), 1);
    }

    #[test]
    fn while_suspended_nothing_is_drawn() {
        let glass = Glass::new(24, 80);
        let mut status = line(&glass);
        status.suspend();
        glass.taken();
        status.suspend();
        status.draw(Millis(0), |_| says("a"));
        assert_eq!(glass.taken(), [""; 0]);
        glass.size.set(Some((30, 80)));
        status.restore();
        assert_eq!(glass.taken(), ["\x1bD\x1b[A\x1b7\x1b[1;29r\x1b8"]);
        status.suspend();
        glass.taken();
        drop(status);
        assert_eq!(glass.taken(), [""; 0], "given back once");
    }

    #[test]
    fn it_follows_the_size_of_the_terminal() {
        let glass = Glass::new(24, 80);
        let mut status = line(&glass);
        status.draw(Millis(0), |_| says("a"));
        glass.taken();
        status.resize();
        assert_eq!(glass.taken(), [""; 0], "the same size");
        glass.size.set(Some((10, 40)));
        status.resize();
        assert_eq!(glass.taken(), ["\x1b7\x1b[r\x1b8", "\x1bD\x1b[A\x1b7\x1b[1;9r\x1b8"]);
        status.draw(Millis(1), |columns| says(&columns.to_string()));
        assert_eq!(glass.taken(), ["\x1b7\x1b[0m\x1b[10;1HPlimsoll 40\x1b[K\x1b8"]);
        glass.size.set(Some((4, 40)));
        status.resize();
        assert_eq!(glass.taken(), ["\x1b7\x1b[r\x1b[0m\x1b[10;1H\x1b[2K\x1b8"], "too small");
        glass.size.set(Some((24, 80)));
        status.resize();
        assert_eq!(glass.taken(), ["\x1bD\x1b[A\x1b7\x1b[1;23r\x1b8"], "large enough again");
    }

    #[test]
    fn there_is_no_budget_where_it_would_not_be_seen() {
        let none = |rows, variables: &[(&str, &str)]| {
            let glass = Glass::new(rows, 80);
            let line = StatusLine::new(glass.clone(), &environment(variables), false);
            line.is_none() && glass.taken().is_empty()
        };
        assert!(!none(5, &[]));
        assert!(!none(5, &[("CI", "")]));
        assert!(none(4, &[]));
        assert!(none(24, &[("TERM", "dumb")]));
        assert!(none(24, &[("TERM", "")]));
        assert!(none(24, &[("CI", "true")]));
    }

    #[test]
    fn the_status_word_stands_in_cargos_column_and_colour() {
        for (colored, word) in
            [(false, "    Plimsoll"), (true, "\x1b[1m\x1b[96m    Plimsoll\x1b[0m")]
        {
            let glass = Glass::new(24, 80);
            let mut status = StatusLine::new(glass.clone(), &environment(&[]), colored).unwrap();
            glass.taken();
            status.draw(Millis(0), |_| says("a"));
            assert_eq!(glass.taken(), [format!("\x1b7\x1b[0m\x1b[24;1H{word} a\x1b[K\x1b8")]);
        }
    }
}
