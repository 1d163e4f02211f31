//! What one query may spend, what it has spent (bytes read and memory), and what it could not read. Its time is kept in
//! `querier.rs`, the memory of all queries in `memory.rs`.
//!
//! Kept apart from the query, so that it can be told of one that failed or that nobody waits for any more.
//!
//! Memory is counted where a query could gather without end: matches, whole traces that are put together, numbers of
//! metrics, what is shown. Row groups under way are not counted; they take turns (`turns.rs`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hashbrown::HashSet;
use model::limits::Limits;
use model::{BlockId, TenantId};
use spans::SpanTable;
use storage::cpu::CpuTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use crate::answer::QueryMetrics;
use crate::cancellation::Cancellation;
use crate::config::Config;
use crate::engine::memory::{Account, Memory};
use crate::engine::scans::{ScanPlace, Scans};
use crate::engine::table_bytes;
use crate::engine::turns::{QueryTurns, Turn, Turns};
use crate::error::Error;
use crate::lock::locked;

/// What all queries of the process share.
#[derive(Debug)]
pub(crate) struct Shares {
    pub memory: Memory,
    turns: Turns,
    scans: Scans,
}

impl Shares {
    pub fn new(config: &Config) -> Self {
        Self {
            memory: Memory::new(config),
            turns: Turns::new(config.max_row_groups),
            scans: Scans::new(config.max_concurrent_scans),
        }
    }

    #[cfg(test)]
    pub fn scan_place(&self, tenant: &TenantId) -> ScanPlace {
        self.scans.join(tenant)
    }
}

/// Rollups that a query looks at at the same time: some MiB each, and enough to hide the latency of an object store.
const MOST_ROLLUPS: usize = 8;

/// The account of one query, shared by all that work on it.
#[derive(Debug)]
pub(crate) struct Budget {
    max_bytes: u64,
    limits: Limits,
    /// Of blocks, as they lie in the store.
    read_bytes: AtomicU64,
    /// Says whether somebody still waits for the query.
    pub cancellation: Cancellation,
    /// How long the pool has worked for the query, which comes the sooner the less that is.
    pub cpu_time: Arc<CpuTime>,
    memory: Account,
    turns: QueryTurns,
    short_query_spans: u64,
    scan_place: ScanPlace,
    /// Waits for the place of a scan.
    is_in_line: AtomicBool,
    spent: Mutex<QueryMetrics>,
    /// What other processes have spent for it.
    elsewhere: Mutex<QueryMetrics>,
    left_out: Mutex<HashSet<BlockId>>,
    /// Whose live rows are not among the sources, and why.
    missing: Mutex<Vec<String>>,
    /// Live rows of others were gone before they were read.
    must_hold: AtomicBool,
    /// Memory of sources that are the query's own.
    view_bytes: AtomicU64,
    rollups: Arc<Semaphore>,
}

impl Budget {
    /// For a query of this tenant that begins now.
    pub fn new(config: &Config, shares: &Shares, tenant: &TenantId, limits: Limits) -> Arc<Self> {
        let own = |own: u64, of_all: u64| if own > 0 { own } else { of_all };
        Arc::new(Self {
            max_bytes: own(limits.max_bytes_per_query, config.max_bytes_per_query),
            limits: Limits {
                max_bytes_per_tag_answer: own(limits.max_bytes_per_tag_answer, config.max_bytes_per_tag_answer as u64),
                ..limits
            },
            read_bytes: AtomicU64::new(0),
            cancellation: Cancellation::default(),
            cpu_time: Arc::default(),
            memory: shares.memory.open(),
            turns: shares.turns.join(config.max_concurrent_reads),
            short_query_spans: config.short_query_spans,
            scan_place: shares.scans.join(tenant),
            is_in_line: AtomicBool::new(false),
            spent: Mutex::default(),
            elsewhere: Mutex::default(),
            left_out: Mutex::default(),
            missing: Mutex::default(),
            must_hold: AtomicBool::new(false),
            view_bytes: AtomicU64::new(0),
            rollups: Arc::new(Semaphore::new(MOST_ROLLUPS)),
        })
    }

    /// What its tenants may; bytes of tags are never without a limit.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Notes what the query is going to look at.
    pub fn plan(&self, planned: QueryMetrics) {
        *locked(&self.spent) = planned;
        *locked(&self.elsewhere) = QueryMetrics::default();
    }

    /// Counts what another process has spent for the query. It does not make the query a scan here.
    ///
    /// # Errors
    /// As [`count_read`](Self::count_read).
    pub fn count_elsewhere(&self, spent: &QueryMetrics) -> Result<(), Error> {
        let mut elsewhere = locked(&self.elsewhere);
        *elsewhere = elsewhere.and(spent);
        drop(elsewhere);
        self.check_read(spent.backend_bytes)
    }

    /// Counts spans that were read, and how many bytes of a block that took: none of what is live or in memory.
    ///
    /// # Errors
    /// [`Error::TooManyBytes`] when the query has read more than it may.
    pub fn count_read(&self, bytes: u64, table: &SpanTable) -> Result<(), Error> {
        locked(&self.spent).inspected_spans += table.span_count() as u64;
        self.count_read_again(bytes, table)
    }

    /// Counts more columns of spans that were counted before.
    ///
    /// # Errors
    /// As [`count_read`](Self::count_read).
    pub fn count_read_again(&self, bytes: u64, table: &SpanTable) -> Result<(), Error> {
        self.count_inspected(table_bytes::memory_bytes(table));
        self.count_backend(bytes);
        self.check_read(bytes)
    }

    fn check_read(&self, bytes: u64) -> Result<(), Error> {
        let read = self.read_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if read > self.max_bytes { Err(Error::TooManyBytes { read, max: self.max_bytes }) } else { Ok(()) }
    }

    fn count_backend(&self, bytes: u64) {
        let mut spent = locked(&self.spent);
        spent.backend_reads += u64::from(bytes > 0);
        spent.backend_bytes += bytes;
    }

    /// Counts bytes that were looked at as they are once they are decoded.
    pub fn count_inspected(&self, decoded_bytes: usize) {
        locked(&self.spent).inspected_bytes += decoded_bytes as u64;
    }

    pub fn count_traces(&self, traces: usize) {
        locked(&self.spent).inspected_traces += traces as u64;
    }

    pub fn count_source(&self) {
        locked(&self.spent).completed_jobs += 1;
    }

    /// Forgets which sources were dealt with, because all are looked at again.
    pub fn begin_again(&self) {
        locked(&self.spent).completed_jobs = 0;
    }

    pub fn spent(&self) -> QueryMetrics {
        let spent = locked(&self.spent).and(&locked(&self.elsewhere));
        let readable = spent.total_jobs.saturating_sub(self.left_out() as u64);
        let total_jobs = spent.total_jobs + locked(&self.missing).len() as u64;
        QueryMetrics { completed_jobs: spent.completed_jobs.min(readable), total_jobs, ..spent }
    }

    /// Notes whose live rows are not among the sources: all of them, whatever was noted before.
    pub fn lacks(&self, missing: Vec<String>) {
        *locked(&self.missing) = missing;
    }

    /// From now on live rows of others are held from the beginning.
    pub fn set_must_hold(&self) {
        self.must_hold.store(true, Ordering::Relaxed);
    }

    pub fn must_hold(&self) -> bool {
        self.must_hold.load(Ordering::Relaxed)
    }

    /// Holds so much memory of sources until the query ends, in place of those before.
    ///
    /// # Errors
    /// [`Error::TooMuchMemory`], as [`hold`](Self::hold).
    pub fn hold_view(&self, bytes: usize) -> Result<(), Error> {
        let bytes = bytes as u64;
        self.memory.shrink(self.view_bytes.swap(bytes, Ordering::Relaxed));
        self.memory.grow(bytes)
    }

    /// Why the answer may lack spans that others have, for people.
    pub fn lack(&self) -> Option<String> {
        let missing = locked(&self.missing);
        (!missing.is_empty())
            .then(|| format!("spans that are not yet in blocks may be missing: {}", missing.join("; ")))
    }

    /// Reads from a source; `None` when the source is at fault, and is left out from there on: the others answer, and the
    /// answer says so.
    pub async fn if_readable<T>(
        &self,
        block_id: BlockId,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        match read.await {
            Err(error) if error.is_of_one_source() => {
                self.leave_out(block_id, &error);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Notes that something of a source could not be read.
    pub fn leave_out(&self, block_id: BlockId, error: &Error) {
        if !locked(&self.left_out).insert(block_id) {
            return;
        }
        match error {
            // storage names a damaged file itself, once for many queries
            Error::Storage(_) => debug!(%block_id, %error, "a source could not be read and is left out of an answer"),
            _ => warn!(%block_id, %error, "a source could not be read and is left out of an answer"),
        }
    }

    /// Whether something of a source could not be read.
    pub fn is_left_out(&self, block_id: BlockId) -> bool {
        locked(&self.left_out).contains(&block_id)
    }

    /// Sources of which something could not be read.
    pub fn left_out(&self) -> usize {
        locked(&self.left_out).len()
    }

    /// Waits for a place among the rollups of whole blocks that the query looks at.
    pub async fn place_of_rollup(&self) -> OwnedSemaphorePermit {
        self.rollups.clone().acquire_owned().await.expect("nobody closes it")
    }

    /// Waits for the turn to read and evaluate a row group, and for room for what it may give. Whoever has a turn must not
    /// wait for another.
    ///
    /// # Errors
    /// [`Error::MustWaitInLine`] when the query has become a scan and no place for it is free.
    pub async fn turn(&self) -> Result<Turn, Error> {
        self.check_line()?;
        self.memory.room().await;
        Ok(self.turns.turn().await)
    }

    /// The same without waiting for room, for what holds next to nothing. Whoever looks for what other queries wait for takes this one:
    /// they may be those that hold the memory.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub async fn turn_to_look(&self) -> Result<Turn, Error> {
        self.check_line()?;
        Ok(self.turns.turn().await)
    }

    fn check_line(&self) -> Result<(), Error> {
        let is_short = locked(&self.spent).inspected_spans <= self.short_query_spans;
        if is_short || self.is_scan() { Ok(()) } else { Err(Error::MustWaitInLine) }
    }

    /// Waits for the place of a scan. To be called when the query has nothing of the store any more.
    pub async fn wait_in_line(&self) {
        self.is_in_line.store(true, Ordering::Relaxed);
        self.memory.shrink(self.view_bytes.swap(0, Ordering::Relaxed));
        self.scan_place.wait().await;
        self.is_in_line.store(false, Ordering::Relaxed);
    }

    /// Whether the query has the place of a scan, if need be one that is free: it will not begin again.
    pub fn is_scan(&self) -> bool {
        self.scan_place.take_free()
    }

    /// Why the query has no answer at its deadline.
    pub fn out_of_time(&self, deadline: Duration) -> Error {
        match self.is_in_line.load(Ordering::Relaxed) {
            true => Error::NoPlaceFree { deadline },
            false => self.memory.out_of_time(deadline),
        }
    }

    /// Holds so much memory until the result is dropped.
    ///
    /// # Errors
    /// [`Error::TooMuchMemory`] when the query would then hold more than it may.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Result<Held, Error> {
        let mut held = Held { budget: self.clone(), bytes: 0 };
        held.grow(bytes)?;
        Ok(held)
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.memory.shrink(self.view_bytes.load(Ordering::Relaxed));
    }
}

/// Memory that a query holds.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Held {
    /// Holds more.
    ///
    /// # Errors
    /// [`Error::TooMuchMemory`], as [`Budget::hold`].
    pub fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let bytes = bytes as u64;
        self.bytes += bytes;
        self.budget.memory.grow(bytes)
    }

    pub fn shrink(&mut self, bytes: usize) {
        let bytes = (bytes as u64).min(self.bytes);
        self.bytes -= bytes;
        self.budget.memory.shrink(bytes);
    }

    /// Holds so much, whatever it was before.
    ///
    /// # Errors
    /// [`Error::TooMuchMemory`], as [`Budget::hold`].
    pub fn resize(&mut self, bytes: usize) -> Result<(), Error> {
        let held = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        self.shrink(held.saturating_sub(bytes));
        self.grow(bytes.saturating_sub(held))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.memory.shrink(self.bytes);
    }
}

#[cfg(test)]
impl Budget {
    /// One that is never spent.
    pub fn unlimited() -> Arc<Self> {
        Self::alone(&Config {
            max_bytes_per_query: u64::MAX,
            max_memory_bytes_per_query: u64::MAX,
            ..Config::default()
        })
    }

    /// The one of the only query.
    pub fn alone(config: &Config) -> Arc<Self> {
        Self::new(config, &Shares::new(config), &TenantId::single(), Limits::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{service, span, table};

    #[test]
    fn memory_that_is_given_back_can_be_held_again() {
        let budget = Budget::alone(&Config { max_memory_bytes_per_query: 10, ..Config::default() });
        let mut held = budget.hold(6).unwrap();
        let error = budget.hold(5).unwrap_err();
        assert!(error.to_string().contains("11 bytes of memory, more than the 10 "), "{error}");
        held.shrink(2);
        drop(budget.hold(6).unwrap());
        held.grow(6).unwrap();
        drop(held);
        let mut held = budget.hold(10).unwrap();
        held.resize(3).unwrap();
        assert!(held.resize(11).is_err() && held.resize(10).is_ok());
    }

    #[test]
    fn reading_ends_when_the_bytes_are_spent() {
        let budget = Budget::alone(&Config { max_bytes_per_query: 10, ..Config::default() });
        let table = table(vec![service("s", vec![span(1, 1, 0, "op", 0, 1)])]);
        budget.count_read(10, &table).unwrap();
        let error = budget.count_read(1, &table).unwrap_err();
        assert!(error.to_string().contains("read 11 bytes of blocks, more than the 10 "), "{error}");
        let spent = budget.spent();
        assert_eq!((spent.inspected_spans, spent.inspected_bytes), (2, 2 * table_bytes::memory_bytes(&table) as u64));
    }
}
