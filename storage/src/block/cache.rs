//! What is kept of stored blocks between queries, within a budget of bytes, however many blocks there are.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use model::BlockId;

use super::reader::Opened;
use crate::cache::{ByteCache, Capacity};
use crate::config::TraceConfig;
use crate::damage::Quarantine;
use crate::index::IndexCache;
use crate::telemetry::Telemetry;
use crate::trace_map::TraceMapCache;

/// The share of the budget that is for indexes, and that for trace maps; the rest is for tables and footers.
const INDEX_SHARE: u64 = 4;
const TRACE_MAP_SHARE: u64 = 8;
/// Few shards leave room for large blocks.
const EXPECTED_BLOCKS: usize = 64;
const EXPECTED_PAGES: usize = 1_024;

/// Small tables, footers, indexes, trace maps and pages of columns, and what is known to be damaged. Cheap to clone.
#[derive(Clone)]
pub struct BlockCache {
    pub(super) opened: ByteCache<BlockId, Arc<Opened>>,
    pub(super) indexes: IndexCache,
    pub(super) trace_maps: TraceMapCache,
    pub(super) quarantine: Quarantine,
    pages: Option<PageCache>,
}

/// Ranges of `spans.parquet`, as they are stored.
pub(crate) type PageCache = ByteCache<(BlockId, Range<u64>), Bytes>;

impl BlockCache {
    /// As the settings say: with pages, where reading them again takes a network.
    pub fn of(config: &TraceConfig, telemetry: &Telemetry) -> Self {
        let cache = Self::new(config.block_cache.max_bytes, telemetry.clone());
        match config.backend.is_remote() {
            true => cache.with_pages(config.block_cache.max_page_bytes, telemetry),
            false => cache,
        }
    }

    /// Keeps at most `capacity_bytes` of decoded tables, footers, parts of indexes and of trace maps.
    pub fn new(capacity_bytes: u64, telemetry: Telemetry) -> Self {
        let (index_bytes, map_bytes) = (capacity_bytes / INDEX_SHARE, capacity_bytes / TRACE_MAP_SHARE);
        let capacity = Capacity {
            name: "block",
            bytes: capacity_bytes - index_bytes - map_bytes,
            entries: EXPECTED_BLOCKS,
            bytes_of: |_, opened: &Arc<Opened>| opened.memory_bytes,
        };
        Self {
            opened: ByteCache::new(&capacity, &telemetry),
            trace_maps: TraceMapCache::new(map_bytes, telemetry.clone()),
            indexes: IndexCache::new(index_bytes, telemetry.clone()),
            quarantine: Quarantine::new(telemetry),
            pages: None,
        }
    }

    /// Keeps besides at most `capacity_bytes` of what [`objects::cached`](crate::objects::cached) reads of columns.
    pub(crate) fn with_pages(self, capacity_bytes: u64, telemetry: &Telemetry) -> Self {
        let bytes_of = |_: &_, page: &Bytes| page.len();
        let capacity = Capacity { name: "page", bytes: capacity_bytes, entries: EXPECTED_PAGES, bytes_of };
        Self { pages: Some(ByteCache::new(&capacity, telemetry)), ..self }
    }

    pub(crate) fn pages(&self) -> Option<&PageCache> {
        self.pages.as_ref()
    }

    /// Drops what was read of a block: it is gone, or what was read cannot be right.
    pub(crate) fn forget(&self, block_id: &BlockId) {
        self.opened.retain(|kept| kept != block_id);
        self.indexes.forget(block_id);
        if let Some(pages) = &self.pages {
            pages.retain(|(kept, _)| kept != block_id);
        }
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache").field("opened_bytes", &self.opened.bytes()).finish_non_exhaustive()
    }
}
