//! What is remembered of split traces at rest.

use std::sync::Arc;

use hashbrown::HashMap;
use model::{BlockId, TimeRange, TraceId};
use storage::Telemetry;
use storage::cache::{ByteCache, Capacity};

/// What was found, by the blocks near a range.
pub(crate) type SplitCache = ByteCache<Arc<[BlockId]>, Arc<SplitAtRest>>;

/// Split traces by id.
pub(crate) type SplitAtRest = HashMap<TraceId, SplitTrace>;

/// A trace of which several blocks have a part.
#[derive(Debug, Clone)]
pub(crate) struct SplitTrace {
    /// From the start of the earliest part to the end of the latest.
    pub time_range: TimeRange,
    pub blocks: Vec<BlockId>,
}

/// Ranges that are asked about at a time.
const EXPECTED_RANGES: usize = 8;

pub(crate) fn split_cache(capacity_bytes: u64, telemetry: &Telemetry) -> SplitCache {
    let bytes_of = |blocks: &Arc<[BlockId]>, traces: &Arc<SplitAtRest>| {
        let of_trace = |trace: &SplitTrace| size_of::<(TraceId, SplitTrace)>() + size_of_val(trace.blocks.as_slice());
        size_of_val(&**blocks) + traces.values().map(of_trace).sum::<usize>()
    };
    ByteCache::new(&Capacity { name: "split", bytes: capacity_bytes, entries: EXPECTED_RANGES, bytes_of }, telemetry)
}
