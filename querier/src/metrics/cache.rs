//! What single blocks have given to metrics queries. A dashboard asks the same again every few seconds, and a block never
//! changes: what lies in it whole is counted once.

use std::sync::Arc;

use model::BlockId;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::intervals::Intervals;
use super::meter::SeriesTally;

/// The cache makes a shard of its capacity for about 32 expected entries; few shards leave room for large ones.
const EXPECTED_TALLIES: usize = 256;

/// Tallies of blocks within a byte budget.
pub(crate) struct TallyCache(Cache<TallyKey, Arc<SeriesTally>, ByBytes>);

/// Which spans were measured, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TallyKey {
    pub block_id: BlockId,
    /// The whole query, as it is printed.
    pub query: Arc<str>,
    /// Those that the block's spans fall into.
    pub intervals: Intervals,
    pub max_exemplars: usize,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<TallyKey, Arc<SeriesTally>> for ByBytes {
    fn weight(&self, key: &TallyKey, tally: &Arc<SeriesTally>) -> u64 {
        (size_of::<TallyKey>() + key.query.len() + tally.memory_bytes()) as u64
    }
}

impl TallyCache {
    pub fn new(capacity_bytes: u64) -> Self {
        Self(Cache::with_weighter(EXPECTED_TALLIES, capacity_bytes, ByBytes))
    }

    pub fn get(&self, key: &TallyKey) -> Option<Arc<SeriesTally>> {
        self.0.get(key)
    }

    pub fn insert(&self, key: TallyKey, tally: Arc<SeriesTally>) {
        self.0.insert(key, tally);
    }
}
