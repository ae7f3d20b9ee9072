//! Where `watch` draws: over and over on a terminal, which is left as it was found, or page after page
//! into a file or pipe.

use std::io::{IsTerminal, Write, stdout};

use console::Term;
use darwinlm_task::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use super::picture::{Picture, Room};

/// The terminal's other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Back to the screen before, with the cursor.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the first line; nothing is cleared, so that nothing flickers.
const HOME: &str = "\x1b[H";
/// What an earlier page had right of this one's line.
const REST_OF_LINE: &str = "\x1b[K";
/// What an earlier page had below this one.
const REST_OF_SCREEN: &str = "\x1b[J";
/// Columns where nobody says how many there are.
const WIDTH: usize = 100;

/// Standard output, and the signals that concern it.
pub(super) struct Frames {
    is_terminal: bool,
    last: Option<Picture>,
    interrupt: Signal,
    terminate: Signal,
    resized: Signal,
}

impl Frames {
    /// Takes the terminal, if there is one.
    pub(super) fn open() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(
                    ExitCode::Bug,
                    format!("failed to listen for signals: {error}"),
                )
            })
        };
        let frames = Self {
            is_terminal: stdout().is_terminal(),
            last: None,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            resized: listen(SignalKind::window_change())?,
        };
        if frames.is_terminal {
            say(ENTER);
        }
        Ok(frames)
    }

    pub(super) const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Draws a picture; into a file or pipe only one that tells something new. False once nobody reads.
    pub(super) fn show(&mut self, picture: Picture, is_new: bool) -> bool {
        let goes_on = match self.is_terminal {
            true => say(&frame(&picture.lines(room(true)))),
            false if is_new => say(&page(&picture)),
            false => true,
        };
        self.last = Some(picture);
        goes_on
    }

    /// Waits for a signal that ends the command, and draws anew whenever the terminal has another size;
    /// the signal's number.
    pub(super) async fn stopped(&mut self) -> u8 {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return 2,
                _ = self.terminate.recv() => return 15,
                _ = self.resized.recv() => {
                    if let Some(last) = self.last.as_ref().filter(|_| self.is_terminal) {
                        say(&frame(&last.lines(room(true))));
                    }
                }
            }
        }
    }
}

/// However the command ends: the terminal gets its screen and its cursor back, and keeps the last page.
impl Drop for Frames {
    fn drop(&mut self) {
        if self.is_terminal {
            say(LEAVE);
            if let Some(last) = &self.last {
                say(&page(last));
            }
        }
    }
}

/// The end by a signal: the command did what it was asked for.
pub(super) const fn ended_by(signal: u8) -> Failure {
    Failure {
        code: 128 + signal,
        message: String::new(),
    }
}

/// What there is room for. `NO_COLOR` and terminals that know no colours are heeded.
fn room(is_bounded: bool) -> Room {
    let terminal = Term::stdout();
    let size = terminal.size_checked();
    Room {
        width: size.map_or(WIDTH, |(_, columns)| usize::from(columns).max(1)),
        height: is_bounded.then(|| size.map_or(24, |(lines, _)| usize::from(lines).max(1))),
        colours: console::colors_enabled(),
    }
}

fn frame(lines: &[String]) -> String {
    let lines = lines.join(&format!("{REST_OF_LINE}\r\n"));
    format!("{HOME}{lines}{REST_OF_LINE}{REST_OF_SCREEN}")
}

/// A page that stays, as long as it is.
fn page(picture: &Picture) -> String {
    let lines = picture.lines(room(false));
    format!("{}\n\n", lines.join("\n"))
}

/// Writes at once. False when nobody reads any more.
fn say(text: &str) -> bool {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_overwrites_the_one_before_and_clears_what_is_left_of_it() {
        let frame = frame(&["one".to_owned(), "two".to_owned()]);
        assert_eq!(frame, "\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J");
        assert!(!frame.contains("\x1b[2J"), "a cleared screen flickers");
    }
}
