//! `querier`: what a query may take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::config::GoDuration;

/// `querier`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuerierSection {
    pub search: QuerierSearch,
    /// Row groups that one query reads at the same time. Not set: as many as all queries together may.
    pub max_concurrent_reads: Option<usize>,
    /// Queries that scan and run at a time; the others wait in line. One alone keeps all cores busy for most of its time.
    pub max_concurrent_scans: usize,
    /// Compressed bytes of blocks that one query may read; more end it. Set it lower where reading costs money.
    pub max_bytes_per_query: u64,
    /// Bytes that one query may gather. Not set: from the memory of the process.
    pub max_memory_bytes_per_query: Option<u64>,
    /// Numbers that one metrics query may hold: series times intervals.
    pub max_metrics_samples: usize,
    /// Bytes of what blocks gave to metrics queries, kept for those that ask again; 0 keeps nothing. Not set: from the
    /// memory of the process.
    pub metrics_cache_max_bytes: Option<u64>,
    /// Bytes of a trace from which on only its first spans are given.
    pub max_bytes_per_trace: usize,
    /// Bytes of tag names or values in one answer; what goes beyond is left out.
    pub max_bytes_per_tag_answer: usize,
    /// Seconds from a known part of a trace within which its other parts are looked for.
    pub trace_reach_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuerierSearch {
    /// How long any query may take, not a search only.
    pub query_timeout: GoDuration,
}

impl Default for QuerierSection {
    fn default() -> Self {
        let defaults = querier::Config::default();
        Self {
            search: QuerierSearch::default(),
            max_concurrent_reads: None,
            max_concurrent_scans: defaults.max_concurrent_scans,
            max_bytes_per_query: defaults.max_bytes_per_query,
            max_memory_bytes_per_query: None,
            max_metrics_samples: defaults.max_metrics_samples,
            metrics_cache_max_bytes: None,
            max_bytes_per_trace: defaults.max_bytes_per_trace,
            max_bytes_per_tag_answer: defaults.max_bytes_per_tag_answer,
            trace_reach_seconds: defaults.trace_reach_seconds,
        }
    }
}

impl Default for QuerierSearch {
    fn default() -> Self {
        Self { query_timeout: GoDuration::from_secs(querier::Config::default().max_query_time.as_secs()) }
    }
}
