//! The terminal of `top`: keys in, frames out. What is on it is plimsoll-view's ([`plimsoll_view::Live`]).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use plimsoll_proto::ToGovernor;
use plimsoll_view::{Key, Live, Snapshot, Wish};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::{Governor, Look};

/// Twice a second reads as live, and a sample of the governor's is no younger than that.
const EVERY: Duration = Duration::from_millis(500);

/// A governor that does not answer within this is asked again with the next look: a stopped build (Ctrl-Z)
/// must not hold up what the others show.
const PATIENCE: Duration = Duration::from_millis(150);

/// Signals that end us; the terminal is given back before.
const ENDS: [i32; 3] =
    [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT];

/// Shows running builds until the user leaves.
///
/// # Errors
/// Where the terminal cannot be used.
pub(super) fn run(home: Option<&Path>) -> anyhow::Result<()> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in ENDS {
        signal_hook::flag::register(signal, ended.clone()).context("cannot catch signals")?;
    }
    let mut terminal = ratatui::try_init()
        .context("cannot draw on this terminal; `--once` prints without drawing")?;
    let shown = show(&mut terminal, home, &ended);
    let restored = ratatui::try_restore().context("cannot restore the terminal");
    shown.and(restored)
}

fn show(
    terminal: &mut DefaultTerminal,
    home: Option<&Path>,
    ended: &AtomicBool,
) -> anyhow::Result<()> {
    let mut live = Live::default();
    loop {
        let Look { answers, silent } = super::look(home, PATIENCE).unwrap_or_default();
        let read = |(json, from): (String, Governor)| -> Option<(Snapshot, Governor)> {
            Some((serde_json::from_str(&json).ok()?, from))
        };
        let (snapshot, governors): (Vec<Snapshot>, Vec<Governor>) =
            answers.into_iter().filter_map(read).unzip();
        let ids: Vec<String> = snapshot.iter().map(|snapshot| snapshot.build.clone()).collect();
        live.see(snapshot, silent);
        let governor_of = |build: &str| {
            let at = ids.iter().position(|id| id == build)?;
            governors.get(at)
        };
        let next = Instant::now() + EVERY;
        loop {
            if ended.load(Ordering::Relaxed) {
                return Ok(());
            }
            terminal.draw(|frame| live.draw(frame)).context("cannot write to the terminal")?;
            let left = next.saturating_duration_since(Instant::now());
            match wait_for_key(left).context("cannot read from the terminal")? {
                Waited::Key(key) => match live.press(key) {
                    Wish::Stay => {}
                    Wish::Quit => return Ok(()),
                    Wish::Pause { build, paused } => {
                        let governor = governor_of(&build).cloned();
                        tell(governor, &ToGovernor::Pause { build, paused });
                        break;
                    }
                    Wish::SetPriority { build, priority } => {
                        let governor = governor_of(&build).cloned();
                        tell(governor, &ToGovernor::SetPriority { build, priority });
                        break;
                    }
                },
                Waited::Interrupt => return Ok(()),
                Waited::Something => {}
                Waited::Nothing => break,
            }
        }
    }
}

/// Tells a governor what is wanted of a build; what came of it is seen with the next look. One that is gone by now
/// has no build any more.
fn tell(governor: Option<Governor>, what: &ToGovernor) {
    if let Some(governor) = governor {
        let _ = governor.ask(what, PATIENCE);
    }
}

/// What came from the terminal.
enum Waited {
    Key(Key),
    /// Ctrl-C: in raw mode a key like any other.
    Interrupt,
    /// Another size, or a key that means nothing: the frame is drawn anew.
    Something,
    /// The time is over.
    Nothing,
}

fn wait_for_key(at_most: Duration) -> io::Result<Waited> {
    match event::poll(at_most) {
        Ok(true) => {}
        Ok(false) => return Ok(Waited::Nothing),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Waited::Something),
        Err(error) => return Err(error),
    }
    let Event::Key(pressed) = event::read()? else { return Ok(Waited::Something) };
    if pressed.kind == KeyEventKind::Release {
        return Ok(Waited::Something);
    }
    let key = match pressed.code {
        KeyCode::Char('c') if pressed.modifiers.contains(KeyModifiers::CONTROL) => {
            return Ok(Waited::Interrupt);
        }
        KeyCode::Char(character) => Key::Char(character),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Tab => Key::Tab,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return Ok(Waited::Something),
    };
    Ok(Waited::Key(key))
}
