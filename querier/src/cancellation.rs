//! How work on the CPU learns that nobody waits for it any more.
//!
//! A task of the runtime ends where it waits when it is dropped; an evaluation waits for nothing. So it does its work in
//! bounded pieces, and between two of them it looks whether the query was given up: by [`check`], which knows for which query
//! the thread works, so that nothing has to be handed down through every expression; or by counting what it does.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
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

/// How many items are sorted or put in order between two looks.
const SORTED_AT_ONCE: usize = 4_096;

/// Sorts as `sort_by_cached_key` does, however many items there are; gives nothing once the query is given up.
pub(crate) fn sorted_by_key<T, K: Ord>(items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut sorted = Vec::with_capacity(items.len());
    let mut runs = Vec::with_capacity(items.len().div_ceil(SORTED_AT_ONCE));
    let mut items = items.into_iter();
    while items.len() > 0 && is_waited_for() {
        let mut run: Vec<(K, T)> = items.by_ref().take(SORTED_AT_ONCE).map(|item| (key(&item), item)).collect();
        run.sort_by(|(left, _), (right, _)| left.cmp(right));
        runs.push(run.into_iter());
    }
    // the first of each run; of equal keys that of the earliest run
    let mut firsts = BinaryHeap::with_capacity(runs.len());
    let mut values = Vec::with_capacity(runs.len());
    for (number, run) in runs.iter_mut().enumerate() {
        let first = run.next();
        values.push(first.map(|(key, item)| {
            firsts.push(Reverse((key, number)));
            item
        }));
    }
    while let Some(Reverse((_, number))) = firsts.pop() {
        if sorted.len() % SORTED_AT_ONCE == 0 && !is_waited_for() {
            return Vec::new();
        }
        sorted.extend(values[number].take());
        if let Some((key, item)) = runs[number].next() {
            firsts.push(Reverse((key, number)));
            values[number] = Some(item);
        }
    }
    if is_waited_for() { sorted } else { Vec::new() }
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
    fn sorting_is_stable_over_all_pieces() {
        let items: Vec<(usize, usize)> =
            (0..3 * SORTED_AT_ONCE + 7).map(|number| (number * 7 % 1_000, number)).collect();
        let mut expected = items.clone();
        expected.sort_by_key(|(key, _)| *key);
        assert_eq!(sorted_by_key(items, |(key, _)| *key), expected);
        assert_eq!(sorted_by_key(Vec::<u8>::new(), |item| *item), [0; 0]);
    }

    #[test]
    fn sorting_ends_soon_after_the_query_was_given_up() {
        let cancellation = Cancellation::default();
        let keys_made = std::cell::Cell::new(0);
        let sorted = cancellation.during(|| {
            sorted_by_key((0..100 * SORTED_AT_ONCE).collect(), |number| {
                keys_made.set(keys_made.get() + 1);
                if *number == SORTED_AT_ONCE {
                    cancellation.cancel();
                }
                number.to_string()
            })
        });
        assert_eq!((sorted.len(), keys_made.get()), (0, 2 * SORTED_AT_ONCE));
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
