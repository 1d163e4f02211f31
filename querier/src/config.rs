//! What one query may spend.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits of the querier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Row groups (or small tables) that one query reads at the same time. Enough to hide the latency of an object store;
    /// each may hold a row group in memory.
    pub max_concurrent_reads: usize,
    /// Seconds after which a query is given up (Tempo's default for a search).
    pub max_query_seconds: u64,
    /// Bytes of tag names or values in one answer; what goes beyond is left out without notice (Tempo's default).
    pub max_bytes_per_tag_answer: usize,
    /// Numbers that one metrics query may hold: series times intervals, 8 bytes each in several places.
    pub max_metrics_samples: usize,
    /// How far, in seconds, from a known part of a trace its other parts are looked for. Larger values find parts of
    /// traces that last longer, and open more blocks.
    pub trace_reach_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_concurrent_reads: 16,
            max_query_seconds: 300,
            max_bytes_per_tag_answer: 1_000_000,
            max_metrics_samples: 5_000_000,
            trace_reach_seconds: 3_600,
        }
    }
}

impl Config {
    pub(crate) fn max_query_time(&self) -> Duration {
        Duration::from_secs(self.max_query_seconds)
    }

    pub(crate) fn trace_reach_nanos(&self) -> u64 {
        self.trace_reach_seconds.saturating_mul(1_000_000_000)
    }
}
