//! How work on the CPU learns that nobody waits for it any more.
//!
//! A task of the runtime ends where it waits when it is dropped; an evaluation waits for nothing. So it counts what it does
//! in bounded pieces, and between two of them it looks whether the query was given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::Error;

/// Says whether a query was given up. All clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancellation(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_cancelled: AtomicBool,
    /// Values that were looked at so far.
    work: AtomicU64,
}

impl Cancellation {
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Counts a piece of work: so many values were looked at, or are next.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the query was given up.
    pub fn count_work(&self, values: usize) -> Result<(), Error> {
        self.0.work.fetch_add(values as u64, Ordering::Relaxed);
        if self.0.is_cancelled.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Values that were looked at so far.
    #[cfg(test)]
    pub fn work(&self) -> u64 {
        self.0.work.load(Ordering::Relaxed)
    }

    /// Cancels when it is dropped, as when a query's task is.
    pub fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }
}

/// See [`Cancellation::on_drop`].
#[derive(Debug)]
pub(crate) struct CancelOnDrop(Cancellation);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_when_the_query_is_dropped() {
        let cancellation = Cancellation::default();
        let query = cancellation.on_drop();
        cancellation.count_work(7).unwrap();
        drop(query);
        assert!(matches!(cancellation.count_work(1), Err(Error::Cancelled)));
        assert_eq!(cancellation.work(), 8);
    }
}
