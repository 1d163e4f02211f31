//! Whose turn it is to read and evaluate a row group: a few at a time over all queries, shared out fairly.
//!
//! A turn that becomes free goes to the query that has the fewest, and among those to the one that was served longest ago;
//! within a query, to who has waited longest. So with `n` turns each of `q` running queries has about `n / q` of them,
//! whatever each asks for and however queries come and go, and no turn is idle while anybody waits. A query that needs one
//! turn waits for at most one row group of each other query.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::lock::locked;

/// The turns of the process. Clones share them.
#[derive(Clone)]
pub(crate) struct Turns {
    state: Arc<Mutex<State>>,
}

struct State {
    free: usize,
    queries: HashMap<u64, Entry>,
    /// Counts queries that came and turns that were given.
    clock: u64,
}

/// One query.
struct Entry {
    /// Most turns that it may have at a time.
    most: usize,
    taken: usize,
    /// The time on the clock when it came, or was served last.
    served: u64,
    waiting: VecDeque<oneshot::Sender<Turn>>,
    /// No more turns are asked for; the entry stays for those that are taken.
    is_over: bool,
}

/// The turns of one query, until it is dropped.
#[derive(Debug)]
pub(crate) struct QueryTurns {
    turns: Turns,
    query: u64,
}

/// One row group may be read and evaluated. To drop it ends the turn.
pub(crate) struct Turn {
    /// `None` when it was never used.
    turns: Option<Turns>,
    query: u64,
}

impl Turns {
    /// At least one at a time.
    pub fn new(count: usize) -> Self {
        let state = State { free: count.max(1), queries: HashMap::new(), clock: 0 };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// For a query that has at most so many at a time, and at least one.
    pub fn join(&self, most: usize) -> QueryTurns {
        let mut state = locked(&self.state);
        state.clock += 1;
        let (query, served) = (state.clock, state.clock);
        let entry = Entry { most: most.max(1), taken: 0, served, waiting: VecDeque::new(), is_over: false };
        state.queries.insert(query, entry);
        QueryTurns { turns: self.clone(), query }
    }

    /// Gives what is free to those that wait.
    fn give(&self, state: &mut State) {
        while state.free > 0 {
            let may_take = |entry: &&mut Entry| entry.taken < entry.most && !entry.waiting.is_empty();
            let entries = state.queries.iter_mut().filter(|(_, entry)| may_take(entry));
            let Some((query, entry)) = entries.min_by_key(|(_, entry)| (entry.taken, entry.served)) else { return };
            let Some(waiter) = entry.waiting.pop_front() else { return };
            match waiter.send(Turn { turns: Some(self.clone()), query: *query }) {
                Ok(()) => {
                    state.clock += 1;
                    (entry.taken, entry.served) = (entry.taken + 1, state.clock);
                    state.free -= 1;
                }
                // nobody waits for it any more
                Err(mut unused) => unused.turns = None,
            }
        }
    }
}

impl QueryTurns {
    /// Waits for a turn. Whoever has one must not wait for another: all turns could be with those that wait.
    pub async fn turn(&self) -> Turn {
        let (sender, turn) = oneshot::channel();
        {
            let mut state = locked(&self.turns.state);
            if let Some(entry) = state.queries.get_mut(&self.query) {
                entry.waiting.push_back(sender);
            }
            self.turns.give(&mut state);
        }
        turn.await.expect("the entry of a query is there until the query is dropped")
    }
}

impl Drop for QueryTurns {
    fn drop(&mut self) {
        let mut state = locked(&self.turns.state);
        if let Some(entry) = state.queries.get_mut(&self.query) {
            entry.is_over = true;
            entry.waiting.clear();
            if entry.taken == 0 {
                state.queries.remove(&self.query);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.turns.take() else { return };
        let mut state = locked(&turns.state);
        state.free += 1;
        if let Some(entry) = state.queries.get_mut(&self.query) {
            entry.taken -= 1;
            if entry.is_over && entry.taken == 0 {
                state.queries.remove(&self.query);
            }
        }
        turns.give(&mut state);
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("query", &self.query).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;

    /// A query that asks for many turns at once.
    struct Scan<'a> {
        waiting: VecDeque<BoxFuture<'a, Turn>>,
        taken: VecDeque<Turn>,
    }

    impl<'a> Scan<'a> {
        fn of(query: &'a QueryTurns, row_groups: usize) -> Self {
            let mut scan =
                Self { waiting: (0..row_groups).map(|_| query.turn().boxed()).collect(), taken: VecDeque::new() };
            scan.poll();
            scan
        }

        /// Takes the turns that it was given; how many those are.
        fn poll(&mut self) -> usize {
            let before = self.taken.len();
            let taken = &mut self.taken;
            self.waiting.retain_mut(|waiting| waiting.now_or_never().map(|turn| taken.push_back(turn)).is_none());
            self.taken.len() - before
        }
    }

    #[test]
    fn a_short_query_waits_for_at_most_one_row_group_of_each_of_sixteen_long_ones() {
        let turns = Turns::new(16);
        let queries: Vec<QueryTurns> = (0..16).map(|_| turns.join(16)).collect();
        let mut scans: Vec<Scan<'_>> = queries.iter().map(|query| Scan::of(query, 100)).collect();
        let all_taken = |scans: &[Scan<'_>]| scans.iter().map(|scan| scan.taken.len()).sum::<usize>();
        assert_eq!(all_taken(&scans), 16);

        let short = turns.join(16);
        let mut short_turn = short.turn().boxed();
        let mut ended = [0; 16];
        'ending: loop {
            for (number, ended) in ended.iter_mut().enumerate() {
                if let Some(turn) = scans[number].taken.pop_front() {
                    drop(turn);
                    *ended += 1;
                }
                if (&mut short_turn).now_or_never().is_some() {
                    break 'ending;
                }
                scans.iter_mut().for_each(|scan| _ = scan.poll());
                assert!(*ended <= 1, "the short query waits for a second row group of one scan");
            }
        }
        assert!(ended.iter().all(|ended| *ended <= 1), "{ended:?}");
    }

    #[test]
    fn turns_are_shared_out_anew_as_queries_come_and_go() {
        let turns = Turns::new(6);
        let (first, second) = (turns.join(16), turns.join(16));
        let mut of_first = Scan::of(&first, 100);
        assert_eq!(of_first.taken.len(), 6, "a query alone has all");
        let mut of_second = Scan::of(&second, 3);
        assert_eq!(of_second.taken.len(), 0);
        of_first.taken.truncate(3);
        assert_eq!((of_first.poll(), of_second.poll()), (0, 3), "until both have as many");
        of_second.taken.clear();
        assert_eq!(of_first.poll(), 3, "nothing is idle while anybody waits");
    }

    #[test]
    fn a_query_has_no_more_than_it_may() {
        let turns = Turns::new(6);
        let (few, none) = (turns.join(2), turns.join(0));
        assert_eq!((Scan::of(&few, 10).taken.len(), Scan::of(&none, 10).taken.len()), (2, 1));
    }

    fn queries_and_free(turns: &Turns) -> (usize, usize) {
        let state = locked(&turns.state);
        (state.queries.len(), state.free)
    }

    #[test]
    fn who_gives_up_waiting_costs_no_turn() {
        let turns = Turns::new(1);
        let (query, other) = (turns.join(16), turns.join(16));
        let taken = query.turn().now_or_never().unwrap();
        let mut given_up = query.turn().boxed();
        assert!((&mut given_up).now_or_never().is_none());
        drop(given_up);
        // one that is given and never taken over goes on, too
        let mut not_polled = other.turn().boxed();
        assert!((&mut not_polled).now_or_never().is_none());
        drop(taken);
        drop(not_polled);
        let taken = other.turn().now_or_never().unwrap();
        drop((query, other));
        assert_eq!(queries_and_free(&turns), (1, 0), "the turn that is still taken");
        drop(taken);
        assert_eq!(queries_and_free(&turns), (0, 1));
    }
}
