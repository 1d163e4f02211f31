//! What is remembered of split traces: of those at rest, and which of what is live blocks have.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use model::{BlockId, TimeRange, TraceId};
use storage::cache::{ByteCache, Capacity};
use storage::source::TracePart;
use storage::{Telemetry, TraceHash, TraceIds};

use crate::engine::parts;

/// What was found, by the blocks near a range.
pub(crate) type SplitCache = ByteCache<Arc<[BlockId]>, Arc<SplitAtRest>>;

/// Split traces by id.
pub(crate) type SplitAtRest = HashMap<TraceId, SplitTrace>;

/// A trace of which several blocks have a part.
#[derive(Debug, Clone, Default)]
pub(crate) struct SplitTrace {
    pub parts: Vec<(BlockId, TracePart)>,
}

impl SplitTrace {
    pub fn time_range(&self) -> TimeRange {
        parts::time_range(self.parts.iter().map(|(_, part)| part.time_range))
    }
}

pub(crate) fn memory_bytes(traces: &SplitAtRest) -> usize {
    let of_trace = |trace: &SplitTrace| size_of::<(TraceId, SplitTrace)>() + size_of_val(trace.parts.as_slice());
    traces.values().map(of_trace).sum()
}

/// Ranges that are asked about at a time.
const EXPECTED_RANGES: usize = 8;

pub(crate) fn split_cache(capacity_bytes: u64, telemetry: &Telemetry) -> SplitCache {
    let bytes_of = |blocks: &Arc<[BlockId]>, traces: &Arc<SplitAtRest>| size_of_val(&**blocks) + memory_bytes(traces);
    ByteCache::new(&Capacity { name: "split", bytes: capacity_bytes, entries: EXPECTED_RANGES, bytes_of }, telemetry)
}

/// The traces of some live rows that a block has, too, by hash: neither the rows of a closed chunk nor a block change.
pub(crate) type SharedCache = ByteCache<SharedKey, Arc<[TraceHash]>>;

/// The traces of live rows, and a block.
#[derive(Debug, Clone)]
pub(crate) struct SharedKey {
    /// Known by its address, which is nobody else's as long as this is kept.
    live: Weak<TraceIds>,
    block: BlockId,
}

impl SharedKey {
    pub fn of(live: &Arc<TraceIds>, block: BlockId) -> Self {
        Self { live: Arc::downgrade(live), block }
    }
}

impl PartialEq for SharedKey {
    fn eq(&self, other: &Self) -> bool {
        self.live.ptr_eq(&other.live) && self.block == other.block
    }
}

impl Eq for SharedKey {}

impl Hash for SharedKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.live.as_ptr().hash(state);
        self.block.hash(state);
    }
}

/// Chunks of live rows and blocks that are compared: some dozens of each.
const EXPECTED_SHARED: usize = 4_096;

pub(crate) fn shared_cache(capacity_bytes: u64, telemetry: &Telemetry) -> SharedCache {
    let bytes_of = |_: &SharedKey, hashes: &Arc<[TraceHash]>| size_of::<TraceIds>() + size_of_val(&**hashes);
    let capacity = Capacity { name: "shared_traces", bytes: capacity_bytes, entries: EXPECTED_SHARED, bytes_of };
    ByteCache::new(&capacity, telemetry)
}
