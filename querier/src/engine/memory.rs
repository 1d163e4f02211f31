//! The memory that all queries hold together: an account of each within one of the process.
//!
//! What a query holds is counted when it is there, and nobody waits in the middle of its work. A query waits before it reads
//! the next row group: while the others, and what is kept free for the query that began first, leave no room. So the
//! account is exceeded at most by what the row groups under way turn out to give, and nobody waits in a circle: the query
//! that began first always goes on, within its own share, and when it ends the next one is the first.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::config::Config;
use crate::error::Error;
use crate::lock::locked;

/// The account of the process. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    max_bytes: u64,
    max_bytes_per_query: u64,
    /// What the query that began first finds free, less what it holds.
    kept_for_first: u64,
    held_bytes: AtomicU64,
    /// What each running query holds, the one that began first first.
    queries: Mutex<Queries>,
    waiting: AtomicUsize,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Queries {
    begun: u64,
    held_bytes: BTreeMap<u64, Arc<AtomicU64>>,
}

/// The account of one query, until it is dropped.
#[derive(Debug)]
pub(crate) struct Account {
    shared: Arc<Shared>,
    number: u64,
    held_bytes: Arc<AtomicU64>,
    waits: Mutex<Waits>,
}

/// Whether a query waits for room.
#[derive(Debug, Default, Clone, Copy)]
struct Waits {
    /// Waits that have not come to their end; one that was given up counts.
    count: usize,
    /// What the query and all together held when it began to wait.
    own_bytes: u64,
    all_bytes: u64,
}

impl Memory {
    pub fn new(config: &Config) -> Self {
        // one query alone may always take its share
        let max_bytes = config.max_memory_bytes.max(config.max_memory_bytes_per_query);
        let shared = Shared {
            max_bytes,
            max_bytes_per_query: config.max_memory_bytes_per_query,
            // where one may take all, the others still have something
            kept_for_first: config.max_memory_bytes_per_query.min(max_bytes / 2),
            held_bytes: AtomicU64::new(0),
            queries: Mutex::default(),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// For a query that begins now.
    pub fn open(&self) -> Account {
        let held_bytes = Arc::new(AtomicU64::new(0));
        let mut queries = locked(&self.shared.queries);
        queries.begun += 1;
        let number = queries.begun;
        queries.held_bytes.insert(number, held_bytes.clone());
        Account { shared: self.shared.clone(), number, held_bytes, waits: Mutex::default() }
    }
}

impl Account {
    /// Counts memory that the query has taken.
    ///
    /// # Errors
    /// [`Error::TooMuchMemory`] when that is more than its share. It is counted all the same.
    pub fn grow(&self, bytes: u64) -> Result<(), Error> {
        self.shared.held_bytes.fetch_add(bytes, Ordering::SeqCst);
        let needed = self.held_bytes.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes);
        let max = self.shared.max_bytes_per_query;
        if needed > max { Err(Error::TooMuchMemory { needed, max }) } else { Ok(()) }
    }

    /// Counts memory that the query has given back.
    pub fn shrink(&self, bytes: u64) {
        self.held_bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.shared.held_bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.shared.wake();
    }

    /// Waits until the query may gather more. To be called before something is read, by nobody who has what others need to
    /// go on.
    pub async fn room(&self) {
        if self.has_room() {
            return;
        }
        let _woken = Woken::when_freed(&self.shared);
        self.begin_to_wait();
        loop {
            let mut freed = pin!(self.shared.freed.notified());
            freed.as_mut().enable();
            if self.has_room() {
                break;
            }
            freed.await;
        }
        locked(&self.waits).count -= 1;
    }

    fn has_room(&self) -> bool {
        let queries = locked(&self.shared.queries);
        let Some((first, held_by_first)) = queries.held_bytes.first_key_value() else { return true };
        let kept_free = self.shared.kept_for_first.saturating_sub(held_by_first.load(Ordering::SeqCst));
        let taken = self.shared.held_bytes.load(Ordering::SeqCst).saturating_add(kept_free);
        *first == self.number || taken < self.shared.max_bytes
    }

    fn begin_to_wait(&self) {
        let mut waits = locked(&self.waits);
        waits.count += 1;
        waits.own_bytes = self.held_bytes.load(Ordering::SeqCst);
        waits.all_bytes = self.shared.held_bytes.load(Ordering::SeqCst);
    }

    /// Why the query has no answer at its deadline.
    pub fn out_of_time(&self, deadline: Duration) -> Error {
        let Waits { count, own_bytes, all_bytes } = *locked(&self.waits);
        if count == 0 {
            return Error::TooMuchTime { max: deadline };
        }
        Error::NoMemoryFree { deadline, own: own_bytes, held: all_bytes, max: self.shared.max_bytes }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        locked(&self.shared.queries).held_bytes.remove(&self.number);
        self.shared.wake();
    }
}

impl Shared {
    fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }
}

/// As long as there is one, those who give memory back tell it.
struct Woken<'a>(&'a Shared);

impl<'a> Woken<'a> {
    fn when_freed(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Woken<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Ten bytes for all, five for each.
    fn memory() -> Memory {
        Memory::new(&Config { max_memory_bytes: 10, max_memory_bytes_per_query: 5, ..Config::default() })
    }

    #[test]
    fn a_query_waits_while_others_hold_the_memory_and_goes_on_when_they_give_it_back() {
        let memory = memory();
        let [first, second, third] = [(); 3].map(|()| memory.open());
        second.grow(4).unwrap();
        assert!(third.room().now_or_never().is_some(), "5 are kept for the first, 4 are taken");
        third.grow(1).unwrap();
        let mut waiting = third.room().boxed();
        assert!((&mut waiting).now_or_never().is_none());
        first.grow(5).unwrap();
        assert!(first.room().now_or_never().is_some(), "the first goes on");
        second.shrink(1);
        assert!(waiting.now_or_never().is_some());
    }

    #[test]
    fn when_the_first_ends_the_next_is_the_first() {
        let memory = memory();
        let [first, second, third] = [(); 3].map(|()| memory.open());
        second.grow(5).unwrap();
        let (mut of_second, mut of_third) = (second.room().boxed(), third.room().boxed());
        assert!((&mut of_second).now_or_never().is_none() && (&mut of_third).now_or_never().is_none());
        drop(first);
        assert!(of_second.now_or_never().is_some() && of_third.now_or_never().is_some());
    }

    #[test]
    fn a_share_that_is_spent_is_an_error_and_never_a_wait() {
        let memory = memory();
        let (_first, second) = (memory.open(), memory.open());
        second.grow(5).unwrap();
        let error = second.grow(1).unwrap_err();
        assert!(matches!(error, Error::TooMuchMemory { needed: 6, max: 5 }), "{error}");
        let large = Memory::new(&Config { max_memory_bytes: 1, max_memory_bytes_per_query: 5, ..Config::default() });
        let [first, second] = [(); 2].map(|()| large.open());
        assert!(second.room().now_or_never().is_some());
        assert!(first.grow(5).is_ok(), "one query alone may take its share");
        assert!(second.room().now_or_never().is_none());
    }

    #[test]
    fn who_waits_until_its_deadline_hears_what_it_waited_for() {
        let memory = memory();
        let [_first, second, third] = [(); 3].map(|()| memory.open());
        second.grow(4).unwrap();
        third.grow(3).unwrap();
        let deadline = Duration::from_secs(7);
        assert!(matches!(third.out_of_time(deadline), Error::TooMuchTime { .. }));
        assert!(third.room().now_or_never().is_none());
        let error = third.out_of_time(deadline);
        assert_eq!(error.kind(), model::ErrorKind::LimitExceeded);
        let text = error.to_string();
        for part in ["7s", "holds 3 bytes", "hold 7 of the 10 bytes", "(memory.budget_bytes)"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        drop((second, third));
        assert_eq!(locked(&memory.shared.queries).held_bytes.len(), 1);
    }
}
