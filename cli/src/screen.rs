//! The live table on a terminal: drawn over itself, in one write, so that nothing flickers.

use std::io::{self, Write};

use rustix::termios::{Winsize, tcgetwinsize};

/// Terminals that know it show what follows at once; and a line that is too long is cut, not continued.
const BEGIN_FRAME: &str = "\x1b[?2026h\x1b[?7l";
const END_FRAME: &str = "\x1b[?7h\x1b[?2026l";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const CLEAR_SCREEN: &str = "\x1b[2J\x1b[H";
const CLEAR_LINE_END: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// The terminal below the lines that were printed before. Shows the cursor again when dropped.
#[derive(Debug)]
pub(crate) struct Screen {
    /// How many lines the last frame took.
    drawn: usize,
    size: (usize, usize),
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) fn open() -> io::Result<Self> {
        put(HIDE_CURSOR)?;
        Ok(Self { drawn: 0, size: size() })
    }

    /// Draws `frame` in place of the last one. `above` is what stood over the first one: it is printed again
    /// after a change of the window's size, which leaves no line where it was.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) fn draw(&mut self, above: &str, frame: &str) -> io::Result<()> {
        let size = size();
        let resized = size != self.size;
        self.size = size;
        let text = compose(above, frame, if resized { None } else { Some(self.drawn) }, size.1);
        self.drawn = fitting(frame, size.1).len();
        put(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = put(SHOW_CURSOR);
    }
}

/// The lines of `frame` that fit below each other on `rows`, with room for the cursor.
fn fitting(frame: &str, rows: usize) -> Vec<&str> {
    frame.lines().take(rows.saturating_sub(1).max(1)).collect()
}

/// The bytes that turn the last frame, of `drawn` lines, into the new one; `None` starts from an empty screen.
fn compose(above: &str, frame: &str, drawn: Option<usize>, rows: usize) -> String {
    let mut text = String::from(BEGIN_FRAME);
    match drawn {
        Some(0) => {}
        Some(lines) => text.push_str(&format!("\r\x1b[{lines}A")),
        None => {
            text.push_str(CLEAR_SCREEN);
            text.push_str(above);
            text.push('\n');
        }
    }
    for line in fitting(frame, rows) {
        text.push_str(line);
        text.push_str(CLEAR_LINE_END);
        text.push('\n');
    }
    text.push_str(CLEAR_BELOW);
    text.push_str(END_FRAME);
    text
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(Winsize { ws_col, ws_row, .. }) if ws_col > 0 && ws_row > 0 => {
            (ws_col.into(), ws_row.into())
        }
        _ => (80, 24),
    }
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_over_the_last_one() {
        let text = compose("intro", "a\nb", Some(3), 24);
        assert!(text.contains("\x1b[3Aa\x1b[K\nb\x1b[K\n\x1b[J"), "{text:?}");
        assert!(!text.contains("intro"));
    }

    #[test]
    fn after_a_change_of_size_everything_is_drawn_again() {
        let text = compose("intro", "a", None, 24);
        assert!(text.contains("\x1b[2J\x1b[Hintro\na"), "{text:?}");
    }

    #[test]
    fn a_frame_longer_than_the_window_is_cut() {
        assert_eq!(fitting("1\n2\n3\n4", 3), ["1", "2"]);
        assert_eq!(fitting("1\n2", 0), ["1"]);
    }
}
