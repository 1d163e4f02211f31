//! What single blocks have given to metrics queries. A dashboard asks the same again every few seconds, and a block never
//! changes: what lies in it whole is counted once.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{BlockId, TraceId};
use storage::cache::{ByteCache, Capacity};
use storage::source::Source;

use crate::intervals::Intervals;
use crate::metrics::partial_series::PartialSeries;

/// Few shards leave room for large tallies.
const EXPECTED_TALLIES: usize = 32;

/// Tallies of blocks within a byte budget.
pub(crate) type PartialCache = ByteCache<PartialKey, Arc<PartialSeries>>;

/// Which spans were measured, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PartialKey {
    /// One, or several that have parts of the traces.
    pub blocks: Arc<[BlockId]>,
    /// The whole query, as it is printed.
    pub query: Arc<str>,
    /// Those that the block's spans fall into.
    pub intervals: Intervals,
    pub max_exemplars: usize,
    pub traces: MeasuredTraces,
    /// Deleted ones that the blocks have and that were not measured.
    pub deleted: Arc<[TraceId]>,
}

/// Which traces of blocks were measured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum MeasuredTraces {
    /// All but these, which are measured elsewhere because other sources have parts of them.
    Without(Arc<[TraceId]>),
    Only(Arc<[TraceId]>),
}

/// The deleted traces of some sources, ascending.
pub(super) fn deleted_in<'s>(sources: impl Iterator<Item = &'s Arc<dyn Source>>) -> Arc<[TraceId]> {
    let deleted: BTreeSet<TraceId> =
        sources.filter_map(|source| source.deleted_traces()).flat_map(|ids| ids.iter().copied()).collect();
    deleted.into_iter().collect()
}

pub(crate) fn partial_cache(capacity_bytes: u64, telemetry: &storage::Telemetry) -> PartialCache {
    let bytes_of = |key: &PartialKey, partial: &Arc<PartialSeries>| {
        let (MeasuredTraces::Without(ids) | MeasuredTraces::Only(ids)) = &key.traces;
        let of_key = key.query.len() + size_of_val(&**ids) + size_of_val(&*key.blocks) + size_of_val(&*key.deleted);
        size_of::<PartialKey>() + of_key + partial.memory_bytes()
    };
    let capacity = Capacity { name: "metrics", bytes: capacity_bytes, entries: EXPECTED_TALLIES, bytes_of };
    ByteCache::new(&capacity, telemetry)
}
