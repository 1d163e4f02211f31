//! Who runs next on the pool: of those that wait the one for which it has worked least.
//!
//! A look-up takes milliseconds, a scan seconds, in pieces of some milliseconds each, of which a dozen may wait. In the order
//! of arrival each piece of a look-up would wait for a dozen of the scans'; now it waits for those that run. One place in
//! [`OLDEST_EVERY`] goes to who has waited longest, so that scans go on whatever comes meanwhile.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

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

/// Places of a pool. Clones share them.
#[derive(Clone)]
pub(super) struct Places(Arc<Mutex<State>>);

struct State {
    free: usize,
    /// In the order of arrival.
    waiting: Vec<Waiting>,
    /// Places that somebody waited for.
    given: u64,
}

struct Waiting {
    /// How long the pool had worked for it when it came.
    worked_nanos: u64,
    place: oneshot::Sender<Place>,
}

/// One piece of work may run. To drop it frees the place.
pub(super) struct Place(Option<Places>);

impl Places {
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: count, waiting: Vec::new(), given: 0 })))
    }

    /// Waits for a place for somebody for whom the pool has worked so long.
    pub async fn take(&self, worked_nanos: u64) -> Option<Place> {
        let (sender, place) = oneshot::channel();
        {
            let mut state = self.lock();
            state.waiting.push(Waiting { worked_nanos, place: sender });
            self.give(&mut state);
        }
        place.await.ok()
    }

    fn give(&self, state: &mut State) {
        while state.free > 0 && !state.waiting.is_empty() {
            let least = state.waiting.iter().enumerate().min_by_key(|(_, waiting)| waiting.worked_nanos);
            let next = match least {
                Some((next, _)) if !(state.given + 1).is_multiple_of(OLDEST_EVERY) => next,
                _ => 0,
            };
            match state.waiting.remove(next).place.send(Place(Some(self.clone()))) {
                Ok(()) => {
                    state.free -= 1;
                    state.given += 1;
                }
                // nobody waits for it any more
                Err(mut unused) => unused.0 = None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // no work is done while it is locked, so nothing is left half done
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(places) = self.0.take() else { return };
        let mut state = places.lock();
        state.free += 1;
        places.give(&mut state);
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    /// Asks for places, and polls as a runtime would.
    fn ask(places: &Places, worked: &[u64]) -> Vec<Option<BoxFuture<'static, Option<Place>>>> {
        let asked = worked.iter().map(|&worked| {
            let places = places.clone();
            let mut waiting = async move { places.take(worked).await }.boxed();
            assert!((&mut waiting).now_or_never().is_none());
            Some(waiting)
        });
        asked.collect()
    }

    /// Which of those that wait has a place now.
    fn next(waiting: &mut [Option<BoxFuture<'static, Option<Place>>>]) -> (usize, Place) {
        let mut numbers = 0..waiting.len();
        let place = |at: usize| Some((at, waiting[at].as_mut()?.now_or_never()??));
        let (at, place) = numbers.find_map(place).expect("a place is free");
        waiting[at] = None;
        (at, place)
    }

    #[test]
    fn who_has_had_least_comes_first_and_nobody_waits_for_ever() {
        let places = Places::new(1);
        let mut place = places.take(9).now_or_never().unwrap();
        let mut waiting = ask(&places, &[900, 50, 0, 0, 0, 7]);
        let mut order = Vec::new();
        for _ in 0..waiting.len() {
            drop(place);
            let (at, next) = next(&mut waiting);
            order.push(at);
            place = Some(next);
        }
        // the third is the fourth place that was given
        assert_eq!(order, [2, 3, 0, 4, 5, 1]);
    }

    #[test]
    fn who_goes_away_takes_no_place_with_it() {
        let places = Places::new(1);
        let place = places.take(0).now_or_never();
        let mut waiting = ask(&places, &[1, 2]);
        waiting[0] = None;
        drop(place);
        // it was given its place and goes away without having seen it
        waiting[1] = None;
        assert!(places.take(0).now_or_never().flatten().is_some());
    }
}
