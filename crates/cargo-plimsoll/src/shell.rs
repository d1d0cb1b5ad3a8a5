//! The one printer: everything that Plimsoll says to a person goes through here.
//!
//! Answers of our own commands go to stdout; all that is said beside a Cargo command goes to stderr,
//! because its stdout belongs to Cargo. Nobody listening is no error.

use std::fmt::Display;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use plimsoll_view::{Block, Entry, Tone, WORD, broken};

const ERROR: Style = AnsiColor::BrightRed.on_default().bold();
const WARNING: Style = AnsiColor::BrightYellow.on_default().bold();
const TITLE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::BrightGreen.on_default().bold();
const INFO: Style = AnsiColor::BrightCyan.on_default().bold();

/// The color of a status word: Cargo's.
pub(crate) fn style(tone: Tone) -> Style {
    match tone {
        Tone::Good => GOOD,
        Tone::Info => INFO,
        Tone::Caution => WARNING,
        Tone::Bad => ERROR,
    }
}

/// A line with its status word in color, broken where it is wider than so many columns.
fn lines_of(entry: &Entry, columns: usize) -> String {
    let style = style(entry.tone);
    let mut before = format!("{style}{:>WORD$}{style:#}", entry.word);
    let mut text = String::new();
    for line in entry.wrapped(columns) {
        text.push_str(&format!("{before} {line}\n"));
        before = " ".repeat(WORD);
    }
    text
}

/// Where words go.
pub struct Shell {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    quiet: bool,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("quiet", &self.quiet).finish_non_exhaustive()
    }
}

impl Shell {
    /// The process's own stdout and stderr, in colors where they are terminals that want them
    /// (`NO_COLOR`, `CLICOLOR_FORCE` and `TERM` are honoured).
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(anstream::stdout(), anstream::stderr())
    }

    /// A shell that writes to these.
    #[must_use]
    pub fn new(out: impl Write + 'static, err: impl Write + 'static) -> Self {
        Self { out: Box::new(out), err: Box::new(err), quiet: false }
    }

    /// From now on nothing but errors is said on stderr.
    pub fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Nothing but errors is said on stderr.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints an answer to stdout, with a line end where it has none.
    ///
    /// # Errors
    /// Where stdout cannot be written; a reader that has gone (`| head`) is none.
    pub fn answer(&mut self, text: impl Display) -> io::Result<()> {
        let mut text = text.to_string();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    /// Prints a longer answer to stdout, its lines broken where the terminal has so many columns.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub fn blocks(&mut self, blocks: &[Block], columns: Option<usize>) -> io::Result<()> {
        let columns = columns.unwrap_or(usize::MAX);
        let mut text = String::new();
        for block in blocks {
            match block {
                Block::Entry(entry) => text.push_str(&lines_of(entry, columns)),
                Block::Title(title) => text.push_str(&format!("\n{TITLE}{title}{TITLE:#}\n")),
                Block::Text(part) => text.push_str(&broken(part, columns)),
                Block::Fixed(part) => text.push_str(part),
            }
        }
        self.answer(text)
    }

    /// Says something on stderr as it is, unless quiet: the summary, a notice.
    pub fn note(&mut self, text: impl Display) {
        if !self.quiet {
            self.say(format_args!("{text}"));
        }
    }

    /// Says lines with status words on stderr, as Cargo does, unless quiet; broken where the terminal has so many columns.
    pub fn entries(&mut self, entries: &[Entry], columns: Option<usize>) {
        let mut text = String::new();
        for entry in entries {
            text.push_str(&lines_of(entry, columns.unwrap_or(usize::MAX)));
        }
        if !text.is_empty() {
            self.note(text);
        }
    }

    /// Warns on stderr, unless quiet.
    pub fn warn(&mut self, text: impl Display) {
        if !self.quiet {
            self.say(format_args!("{WARNING}warning{WARNING:#}: plimsoll: {text}"));
        }
    }

    /// Says on stderr, even when quiet, what is wrong with the command line: text that already says
    /// that it is an error.
    pub fn refuse(&mut self, text: impl Display) {
        self.say(format_args!("{text}"));
    }

    /// Says on stderr why the command failed, with the chain of causes.
    pub fn error(&mut self, error: &(dyn std::error::Error + 'static)) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let said = error.to_string();
            // Some errors have their cause in their own words.
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        self.say(format_args!("{ERROR}error{ERROR:#}: {text}"));
    }

    /// One write for all, so that lines of other processes do not come between.
    fn say(&mut self, text: std::fmt::Arguments<'_>) {
        let mut text = text.to_string();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        // Where stderr is gone there is nowhere to print.
        let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Rc<RefCell<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn quiet_leaves_errors_and_answers() {
        let (out, err) = (Captured::default(), Captured::default());
        let err_plain: Box<dyn Write> = Box::new(err.clone());
        let mut shell = Shell::new(out.clone(), anstream::StripStream::new(err_plain));
        shell.warn("one");
        shell.set_quiet(true);
        shell.warn("two");
        shell.note("three");
        shell.answer("four").unwrap();
        shell.error(&io::Error::other("five"));
        assert_eq!(out.0.borrow().as_slice(), b"four\n");
        let said = String::from_utf8(err.0.borrow().clone()).unwrap();
        assert_eq!(said, "warning: plimsoll: one\nerror: five\n");
    }

    #[test]
    fn status_words_are_colored_and_lines_stay_within_the_terminal() {
        let text = "aws-lc-sys 262 MiB, zstd-sys 177 MiB".to_owned();
        let entry = Entry { tone: Tone::Info, word: "Heaviest", text: text.clone() };
        let said = |columns| {
            let err = Captured::default();
            let mut shell = Shell::new(io::sink(), err.clone());
            shell.entries(std::slice::from_ref(&entry), columns);
            String::from_utf8(err.0.take()).unwrap()
        };
        let word = "\u{1b}[1m\u{1b}[96m    Heaviest\u{1b}[0m";
        assert_eq!(said(None), format!("{word} {text}\n"));
        let indent = " ".repeat(13);
        let broken = format!("{word} aws-lc-sys 262 MiB,\n{indent}zstd-sys 177 MiB\n");
        assert_eq!(said(Some(36)), broken);
    }

    #[test]
    fn a_cause_is_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read `x`: {source}; make it readable")]
        struct Says {
            source: io::Error,
        }
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read `x`")]
        struct Hides {
            source: io::Error,
        }
        let err = Captured::default();
        let plain: Box<dyn Write> = Box::new(err.clone());
        let mut shell = Shell::new(io::sink(), anstream::StripStream::new(plain));
        shell.error(&Says { source: io::Error::other("denied") });
        shell.error(&Hides { source: io::Error::other("denied") });
        let said = String::from_utf8(err.0.borrow().clone()).unwrap();
        let expected =
            "error: cannot read `x`: denied; make it readable\nerror: cannot read `x`: denied\n";
        assert_eq!(said, expected);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let mut shell = Shell::new(Gone, Gone);
        shell.note("one");
        assert!(shell.answer("two").is_ok());
    }
}
