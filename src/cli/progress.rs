//! A bar on the terminal while something long is read. Nothing where standard error is no terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::report::size;

const BAR_CELLS: u64 = 30;
/// Often enough to look alive.
const REDRAW: Duration = Duration::from_millis(100);
/// Back to the start of the line, and erase it.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// How much of something is read. The bar goes when it is dropped.
pub(super) struct Progress {
    total_bytes: u64,
    is_shown: bool,
    state: Mutex<State>,
}

struct State {
    bytes: u64,
    drawn: Option<Instant>,
}

impl Progress {
    pub(super) fn new(total_bytes: u64) -> Self {
        let state = Mutex::new(State { bytes: 0, drawn: None });
        Self { total_bytes, is_shown: io::stderr().is_terminal(), state }
    }

    /// Tells of bytes that were read.
    pub(super) fn add(&self, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += bytes;
        if self.is_shown && state.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW) {
            state.drawn = Some(Instant::now());
            // a terminal that takes no text misses a bar and nothing else
            _ = write!(io::stderr(), "{CLEAR_LINE}{}", bar(state.bytes, self.total_bytes));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            _ = write!(io::stderr(), "{CLEAR_LINE}");
        }
    }
}

fn bar(bytes: u64, total_bytes: u64) -> String {
    let of =
        |whole: u64| (u128::from(bytes.min(total_bytes)) * u128::from(whole) / u128::from(total_bytes.max(1))) as usize;
    let (full, percent) = (of(BAR_CELLS), of(100));
    let empty = BAR_CELLS as usize - full;
    format!("[{}{}] {percent:>3} %  {} of {}", "#".repeat(full), " ".repeat(empty), size(bytes), size(total_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_up_and_not_over() {
        assert_eq!(bar(0, 2048), format!("[{}]   0 %  0 B of 2.0 KiB", " ".repeat(30)));
        assert_eq!(bar(1024, 2048), format!("[{}{}]  50 %  1.0 KiB of 2.0 KiB", "#".repeat(15), " ".repeat(15)));
        assert_eq!(bar(4096, 2048), format!("[{}] 100 %  4.0 KiB of 2.0 KiB", "#".repeat(30)));
        assert_eq!(bar(0, 0), format!("[{}]   0 %  0 B of 0 B", " ".repeat(30)));
    }
}
