//! What the pool works on next: of what waits, the work of whom it has worked for least.
//!
//! A look-up takes milliseconds, a scan seconds, in pieces of some milliseconds each, of which a dozen may wait. In the order
//! of arrival each piece of a look-up would wait for a dozen of the scans'; now it waits for those that run. One piece in
//! [`OLDEST_EVERY`] is the one that has waited longest, so that scans go on whatever comes meanwhile.
//!
//! The work itself waits here, not whoever wants it done: a thread that is free takes the next piece and goes on. Were
//! it to wake somebody who then gives it work, it would stand still for as long as that takes, which is longer than most
//! pieces of work where the cores are busy.
//!
//! No more pieces are begun than there are threads. A thread that has to wait in the middle of a piece, for columns that
//! another decodes for it, does what it finds meanwhile: all that waits here, one piece within the other, if it could.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the pool has worked for somebody, for example for a query.
#[derive(Debug, Default)]
pub struct CpuTime(AtomicU64);

impl CpuTime {
    pub(super) fn add(&self, worked: Duration) {
        self.0.fetch_add(u64::try_from(worked.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn nanos(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

const OLDEST_EVERY: u64 = 4;

pub(super) type Work = Box<dyn FnOnce() + Send>;

/// Work that waits for a thread. Clones share it.
#[derive(Clone)]
pub(super) struct Queue(Arc<Mutex<State>>);

struct State {
    /// In the order of arrival.
    waiting: Vec<Waiting>,
    /// Threads that may still begin a piece.
    free: usize,
    /// Pieces of work that were taken.
    taken: u64,
}

struct Waiting {
    /// How long the pool had worked for whom it is when it came.
    worked_nanos: u64,
    work: Work,
}

impl Queue {
    /// Of a pool of so many threads.
    pub fn new(threads: usize) -> Self {
        Self(Arc::new(Mutex::new(State { waiting: Vec::new(), free: threads, taken: 0 })))
    }

    /// Adds work for somebody for whom the pool has worked so long. True when a thread is to be told of it, which then does
    /// what [`pop`](Self::pop) gives it until that gives nothing.
    #[must_use]
    pub fn push(&self, worked_nanos: u64, work: Work) -> bool {
        let mut state = self.lock();
        state.waiting.push(Waiting { worked_nanos, work });
        let is_any_free = state.free > 0;
        state.free -= usize::from(is_any_free);
        is_any_free
    }

    /// Takes what is next; a thread for which there is nothing is free.
    pub fn pop(&self) -> Option<Work> {
        let mut state = self.lock();
        let Some((least, _)) = state.waiting.iter().enumerate().min_by_key(|(_, waiting)| waiting.worked_nanos) else {
            state.free += 1;
            return None;
        };
        state.taken += 1;
        let next = if state.taken.is_multiple_of(OLDEST_EVERY) { 0 } else { least };
        Some(state.waiting.remove(next).work)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // no work is done while it is locked, so nothing is left half done
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_had_least_comes_first_and_nobody_waits_for_ever() {
        let (queue, done) = (Queue::new(1), Arc::new(Mutex::new(Vec::new())));
        let push = |number: usize, worked| {
            let done = done.clone();
            queue.push(worked, Box::new(move || done.lock().unwrap().push(number)))
        };
        let told: Vec<bool> =
            [900, 50, 0, 0, 0, 7].into_iter().enumerate().map(|(number, worked)| push(number, worked)).collect();
        assert_eq!(told, [true, false, false, false, false, false], "the only thread knows already");
        while let Some(work) = queue.pop() {
            work();
        }
        // the fourth is the one that came first
        assert_eq!(*done.lock().unwrap(), [2, 3, 4, 0, 5, 1]);
        assert!(push(6, 0), "the thread has nothing to do any more");
    }
}
