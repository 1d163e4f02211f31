//! What one query may spend.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::objectives::Objectives;

/// Limits of the querier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Row groups (or small tables) that one query reads at the same time. Enough to hide the latency of an object store.
    pub max_concurrent_reads: usize,
    /// Row groups that all queries together read and evaluate at the same time; each may take some 8 MiB of memory.
    pub max_row_groups: usize,
    /// Spans after which a query is a scan: tens of milliseconds of one core. Look-ups, and the newest traces of what is
    /// frequent, stay far below.
    pub short_query_spans: u64,
    /// Scans run so many at a time; the others wait in line. One alone keeps all cores busy for most of its time.
    pub max_concurrent_scans: usize,
    /// How long a query may take before it is given up. One minute is longer than any client waits.
    pub max_query_time: Duration,
    /// Compressed bytes of blocks that one query may read. As many in the time of a query would be more than a gigabyte a
    /// second, so the time usually ends first; set it lower where reading from the object store costs money.
    pub max_bytes_per_query: u64,
    /// Bytes that all queries together may gather. A query waits while the others leave no room.
    pub max_memory_bytes: u64,
    /// Bytes that one query may gather: matches, whole traces that are put together, numbers of metrics, what it answers
    /// with. 512 bytes for each of half a million spans; only the largest limits that a client may ask for go beyond. The
    /// message that leaves is made beside it, and is not counted.
    pub max_memory_bytes_per_query: u64,
    /// Size of a trace, in bytes of OTLP, from which on only its first spans are given (Tempo's default).
    pub max_bytes_per_trace: usize,
    /// Bytes of tag names or values in one answer; what goes beyond is left out without notice (Tempo's default).
    pub max_bytes_per_tag_answer: usize,
    /// Numbers that one metrics query may hold: series times intervals, 8 bytes each in several places.
    pub max_metrics_samples: usize,
    /// What is kept in memory of what blocks gave to metrics queries, so that a dashboard that asks again is answered at
    /// once; 0 keeps nothing.
    pub metrics_cache_max_bytes: u64,
    /// How far, in seconds, from a known part of a trace its other parts are looked for. Larger values find parts of
    /// traces that last longer, and open more blocks.
    pub trace_reach_seconds: u64,
    /// How soon questions are to be answered; only counted.
    pub objectives: Objectives,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_concurrent_reads: 16,
            max_row_groups: 16,
            short_query_spans: 1 << 19,
            max_concurrent_scans: 2,
            max_query_time: Duration::from_secs(60),
            max_bytes_per_query: 64 << 30,
            max_memory_bytes: 512 << 20,
            max_memory_bytes_per_query: 256 << 20,
            max_bytes_per_trace: 5_000_000,
            max_bytes_per_tag_answer: 1_000_000,
            max_metrics_samples: 5_000_000,
            metrics_cache_max_bytes: 16 << 20,
            trace_reach_seconds: 3_600,
            objectives: Objectives::default(),
        }
    }
}

impl Config {
    pub(crate) fn trace_reach_nanos(&self) -> u64 {
        self.trace_reach_seconds.saturating_mul(1_000_000_000)
    }
}
