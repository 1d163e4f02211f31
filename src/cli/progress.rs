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

/// How much of something is done. The bar goes when it is dropped.
pub(super) struct Progress {
    total: u64,
    shown: fn(u64) -> String,
    is_shown: bool,
    state: Mutex<State>,
}

struct State {
    done: u64,
    drawn: Option<Instant>,
}

impl Progress {
    /// Of so many bytes.
    pub(super) fn new(total_bytes: u64) -> Self {
        Self::of(total_bytes, size)
    }

    /// Of anything, shown in its own units.
    pub(super) fn of(total: u64, shown: fn(u64) -> String) -> Self {
        let state = Mutex::new(State { done: 0, drawn: None });
        Self { total, shown, is_shown: io::stderr().is_terminal(), state }
    }

    /// Tells of more that is done.
    pub(super) fn add(&self, more: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done += more;
        if self.is_shown && state.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW) {
            state.drawn = Some(Instant::now());
            // a terminal that takes no text misses a bar and nothing else
            _ = write!(io::stderr(), "{CLEAR_LINE}{}", bar(state.done, self.total, self.shown));
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

fn bar(done: u64, total: u64, shown: fn(u64) -> String) -> String {
    let of = |whole: u64| (u128::from(done.min(total)) * u128::from(whole) / u128::from(total.max(1))) as usize;
    let (full, percent) = (of(BAR_CELLS), of(100));
    let empty = BAR_CELLS as usize - full;
    format!("[{}{}] {percent:>3} %  {} of {}", "#".repeat(full), " ".repeat(empty), shown(done), shown(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_up_and_not_over() {
        assert_eq!(bar(0, 2048, size), format!("[{}]   0 %  0 B of 2.0 KiB", " ".repeat(30)));
        assert_eq!(bar(1024, 2048, size), format!("[{}{}]  50 %  1.0 KiB of 2.0 KiB", "#".repeat(15), " ".repeat(15)));
        assert_eq!(bar(4096, 2048, size), format!("[{}] 100 %  4.0 KiB of 2.0 KiB", "#".repeat(30)));
        assert_eq!(bar(0, 0, size), format!("[{}]   0 %  0 B of 0 B", " ".repeat(30)));
    }
}
