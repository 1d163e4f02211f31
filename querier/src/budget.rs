//! What one query has spent.
//!
//! Kept apart from the query, so that it can be told of one that failed or that nobody waits for any more.

use std::sync::Mutex;

use crate::answer::QueryMetrics;
use crate::querier::locked;

/// The account of one query, shared by all that work on it.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    spent: Mutex<QueryMetrics>,
}

impl Budget {
    /// Notes what the query is going to look at.
    pub fn plan(&self, planned: QueryMetrics) {
        *locked(&self.spent) = planned;
    }

    pub fn count_read(&self, bytes: u64, spans: usize) {
        let mut spent = locked(&self.spent);
        spent.inspected_bytes += bytes;
        spent.inspected_spans += spans as u64;
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
        *locked(&self.spent)
    }
}
