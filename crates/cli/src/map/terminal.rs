//! The picture on a terminal: reads keys, looks again when asked, puts the terminal back at the
//! end.

use super::draw::{Colours, draw};
use super::verb::Shown;
use super::view::{Key, Mode, Step, View};
use crate::status::Failure;
use gup_mirror::explain::NoVerdict;
use gup_mirror::picture::Picture;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// How a showing ended.
enum End {
    Quit,
    Again,
}

/// Shows the picture until `q` is pressed.
///
/// `look` looks at the process again.
pub(crate) fn run(
    look: impl Fn() -> Result<Picture, NoVerdict>,
    shown: &Shown<'_>,
) -> Result<(), Failure> {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = if no_colour { Colours::No } else { Colours::Yes };
    let mut terminal = ratatui::try_init()?;
    let ended = looks(look, shown, colours, &mut terminal);
    ratatui::try_restore()?;
    ended
}

fn looks(
    look: impl Fn() -> Result<Picture, NoVerdict>,
    shown: &Shown<'_>,
    colours: Colours,
    terminal: &mut DefaultTerminal,
) -> Result<(), Failure> {
    let mut by = shown.by;
    let mut newer: Option<Picture> = None;
    loop {
        let picture = newer.as_ref().unwrap_or(shown.picture);
        let shown = Shown { picture, by, ..*shown };
        let mut view = View::new(picture, by);
        let end = show(&mut view, &shown, colours, terminal)?;
        by = view.by;
        match end {
            End::Quit => return Ok(()),
            End::Again => newer = Some(look()?),
        }
    }
}

fn show(
    view: &mut View<'_>,
    shown: &Shown<'_>,
    colours: Colours,
    terminal: &mut DefaultTerminal,
) -> Result<End, Failure> {
    loop {
        terminal.draw(|frame| draw(view, shown, colours, frame))?;
        let Event::Key(pressed) = event::read()? else { continue };
        if pressed.kind == KeyEventKind::Release {
            continue;
        }
        let typing = matches!(view.mode, Mode::Typing(_));
        let control = pressed.modifiers.contains(KeyModifiers::CONTROL);
        match pressed.code {
            KeyCode::Char('c' | 'd') if control => return Ok(End::Quit),
            KeyCode::Char('q') if !typing => return Ok(End::Quit),
            KeyCode::Char('u') if !typing => return Ok(End::Again),
            KeyCode::Char(c) if typing && !control => view.key(Key::Type(c)),
            _ => {
                if let Some(key) = key_of(pressed) {
                    view.key(key);
                }
            }
        }
    }
}

/// What a key asks for; `None` if nothing.
fn key_of(pressed: KeyEvent) -> Option<Key> {
    Some(match pressed.code {
        KeyCode::Left | KeyCode::Char('h') => Key::Cells(-1),
        KeyCode::Right | KeyCode::Char('l') => Key::Cells(1),
        KeyCode::Up | KeyCode::Char('k') => Key::Lines(-1),
        KeyCode::Down | KeyCode::Char('j') => Key::Lines(1),
        KeyCode::PageUp => Key::Screens(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => Key::Screens(1),
        KeyCode::Home | KeyCode::Char('g') => Key::First,
        KeyCode::End | KeyCode::Char('G') => Key::Last,
        KeyCode::Char('+' | '=') => Key::In,
        KeyCode::Char('-') => Key::Out,
        KeyCode::Char('r') => Key::Refused(Step::On),
        KeyCode::Char('R') => Key::Refused(Step::Back),
        KeyCode::Char('/') => Key::Search,
        KeyCode::Char('n') => Key::Next(Step::On),
        KeyCode::Char('N') => Key::Next(Step::Back),
        KeyCode::Char('c') => Key::Colour,
        KeyCode::Char('?') => Key::Help,
        KeyCode::Backspace => Key::Rub,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Leave,
        _ => return None,
    })
}
