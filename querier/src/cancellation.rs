//! How work on the CPU learns that nobody waits for it any more.
//!
//! A task of the runtime ends where it waits when it is dropped; an evaluation waits for nothing. So it does its work in
//! bounded pieces, and between two of them it looks whether the query was given up: by [`check`], which knows for which query
//! the thread works, so that nothing has to be handed down through every expression; or by counting what it does.

use std::cell::RefCell;
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
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Does work for the query on this thread, so that [`check`] knows of it.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(Some(self.clone()));
        let _back = Restore(before);
        work()
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::Relaxed)
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

thread_local! {
    /// The query that this thread works for.
    static CURRENT: RefCell<Option<Cancellation>> = const { RefCell::new(None) };
}

/// Puts back what was current, after a panic too.
struct Restore(Option<Cancellation>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// To be called between two pieces of work that take milliseconds at most.
///
/// # Errors
/// [`Error::Cancelled`] when the query that this thread works for was given up.
pub(crate) fn check() -> Result<(), Error> {
    if is_waited_for() { Ok(()) } else { Err(Error::Cancelled) }
}

/// False when the query that this thread works for was given up.
pub(crate) fn is_waited_for() -> bool {
    CURRENT.with_borrow(|current| current.as_ref().is_none_or(|current| !current.is_cancelled()))
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

    #[test]
    fn a_thread_works_for_one_query_at_a_time() {
        let (given_up, other) = (Cancellation::default(), Cancellation::default());
        given_up.cancel();
        assert!(check().is_ok());
        given_up.during(|| {
            assert!(check().is_err());
            other.during(|| assert!(check().is_ok()));
            assert!(check().is_err());
        });
        assert!(check().is_ok());
    }
}
