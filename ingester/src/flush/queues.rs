//! What waits to be flushed, tenant by tenant: whose turn it is, and who is put off. Pure.
//!
//! A tenant's heads are flushed in the order in which they were cut, because its watermark says that everything up to a
//! segment is in blocks. Tenants do not wait for each other, but for one case: while nobody gets through, the store is what
//! is in trouble, and no more is taken on than one more job, which tells whether it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::TenantId;
use storage::ids::SegmentSequence;
use tokio::time::Instant;

use super::{Done, FlushJob, Pending};
use crate::error::Error;

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// After so many failures in a row a tenant is put off, if others get through meanwhile.
const PATIENCE: u32 = 3;

/// A job, of which some heads may be done.
#[derive(Debug)]
pub(super) struct Job {
    pub segment: SegmentSequence,
    done: Mutex<Option<Done>>,
}

impl Job {
    /// Tells who waits; only the first time.
    pub fn tell(&self, outcome: Result<(), Error>) {
        if let Some(done) = self.done.lock().unwrap_or_else(PoisonError::into_inner).take() {
            _ = done.send(outcome);
        }
    }

    fn is_waited_for(&self) -> bool {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// What waits of one tenant, oldest first.
#[derive(Default)]
pub(super) struct Queue {
    pub waiting: VecDeque<(Pending, Arc<Job>)>,
    failures: u32,
    pub is_put_off: bool,
    /// When the next attempt is due; at once if there is no time.
    due: Option<Instant>,
}

impl Queue {
    fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    /// After an attempt that failed.
    pub fn failed(&mut self, now: Instant) {
        let doublings = self.failures.min(10);
        self.due = Some(now + (FIRST_RETRY * 2_u32.pow(doublings)).min(LONGEST_RETRY));
        self.failures = self.failures.saturating_add(1);
    }

    /// The first head got through, and with it perhaps its job.
    pub fn went_on(&mut self) {
        (self.failures, self.due) = (0, None);
        if let Some(job) = self.waiting.pop_front().and_then(|(_, job)| Arc::into_inner(job)) {
            job.tell(Ok(()));
        }
    }
}

/// What waits, by tenant.
#[derive(Default)]
pub(super) struct Queues {
    by_tenant: BTreeMap<TenantId, Queue>,
    /// Where cuts ended, of those that may not be done.
    cuts: BTreeSet<SegmentSequence>,
}

impl Queues {
    pub fn add(&mut self, FlushJob { segment, heads, done }: FlushJob) {
        let job = Arc::new(Job { segment, done: Mutex::new(done) });
        self.cuts.insert(segment);
        for head in heads {
            let queue = self.by_tenant.entry(head.tenant.clone()).or_default();
            queue.waiting.push_back((Pending::of(head), job.clone()));
            if job.is_waited_for() {
                queue.due = None; // who waits hears soon how it stands
            }
        }
        if let Some(of_nothing) = Arc::into_inner(job) {
            of_nothing.tell(Ok(()));
        }
    }

    /// Whether another job may be taken on.
    pub fn has_room(&self) -> bool {
        let open = || self.by_tenant.values().filter(|queue| !queue.is_put_off);
        let mut segments: Vec<SegmentSequence> =
            open().flat_map(|queue| queue.waiting.iter().map(|(_, job)| job.segment)).collect();
        segments.sort_unstable();
        segments.dedup();
        segments.is_empty() || segments.len() == 1 && open().all(|queue| queue.failures >= PATIENCE)
    }

    /// Whether only tenants wait that are put off.
    pub fn is_idle(&self) -> bool {
        self.by_tenant.values().all(|queue| queue.is_put_off)
    }

    /// When something is due; `None` when nothing waits.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        self.by_tenant.values().map(|queue| queue.due.unwrap_or(now)).min()
    }

    /// The queues whose turn it is; to be given back.
    pub fn take_due(&mut self, now: Instant) -> Vec<(TenantId, Queue)> {
        let due = self.by_tenant.iter().filter(|(_, queue)| queue.is_due(now));
        let due: Vec<TenantId> = due.map(|(tenant, _)| tenant.clone()).collect();
        due.into_iter().filter_map(|tenant| self.by_tenant.remove_entry(&tenant)).collect()
    }

    /// Takes a queue back after its turn, unless it is empty.
    pub fn give_back(&mut self, tenant: TenantId, queue: Queue) {
        if !queue.waiting.is_empty() {
            self.by_tenant.insert(tenant, queue);
        }
    }

    /// Notes that somebody got through. Returns the tenants that are put off from now on.
    pub fn somebody_got_through(&mut self) -> Vec<TenantId> {
        let mut put_off = Vec::new();
        for (tenant, queue) in self.by_tenant.iter_mut().filter(|(_, queue)| queue.failures > 0) {
            if queue.failures >= PATIENCE && !queue.is_put_off {
                queue.is_put_off = true;
                put_off.push(tenant.clone());
            }
        }
        put_off
    }

    /// Up to where everything in the log is dealt with: the end of the last cut before the oldest that waits. Segments
    /// between the two are rows of the one that waits.
    pub fn done_through(&self) -> Option<SegmentSequence> {
        let waiting = self.by_tenant.values().flat_map(|queue| queue.waiting.iter().map(|(_, job)| job.segment));
        let oldest = waiting.min();
        self.cuts.iter().rev().find(|&&cut| oldest.is_none_or(|oldest| cut < oldest)).copied()
    }

    /// The log was told.
    pub fn forget_through(&mut self, segment: SegmentSequence) {
        self.cuts.retain(|cut| *cut > segment);
    }
}
