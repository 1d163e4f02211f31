//! A line on standard error that is written over while something long runs. Nothing where that is no terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Often enough to look alive.
const REDRAW: Duration = Duration::from_millis(100);
/// Back to the start of the line, and erase it.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// The line goes when it is dropped.
pub(crate) struct Progress {
    is_shown: bool,
    drawn: Option<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), drawn: None }
    }

    /// Shows what `line` says, unless it was drawn a moment ago.
    pub(crate) fn draw(&mut self, line: impl FnOnce() -> String) {
        if self.is_shown && self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW) {
            self.drawn = Some(Instant::now());
            // a terminal that takes no text misses a line and nothing else
            _ = write!(io::stderr(), "{CLEAR_LINE}{}", line());
        }
    }

    /// Says something that stays, above the line.
    pub(crate) fn say(&mut self, text: &str) {
        let clear = if self.is_shown { CLEAR_LINE } else { "" };
        _ = writeln!(io::stderr(), "{clear}{text}");
        self.drawn = None;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown && self.drawn.is_some() {
            _ = write!(io::stderr(), "{CLEAR_LINE}");
        }
    }
}
