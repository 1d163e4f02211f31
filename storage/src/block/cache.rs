//! What is kept of stored blocks between queries, within a budget of bytes, however many blocks there are.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use bytes::Bytes;
use model::{BlockId, TraceId};
use spans::batch_memory_bytes;

use super::columns::FileColumns;
use super::content::Content;
use super::open_block::{OpenBlock, OpenRowGroup};
use crate::cache::{ByteCache, Capacity};
use crate::config::TraceConfig;
use crate::damage::Quarantine;
use crate::index::IndexCache;
use crate::paths::BlockFile;
use crate::telemetry::Telemetry;
use crate::trace_ids::TraceIds;
use crate::trace_map::TraceMapCache;

/// One share in so many of the budget is for indexes, and so on; the rest is for row groups.
const INDEX_SHARE: u64 = 4;
const TRACE_MAP_SHARE: u64 = 8;
const OPENED_SHARE: u64 = 16;
const SERVICES_SHARE: u64 = 16;
const TRACE_IDS_SHARE: u64 = 8;
const CONTINUED_SHARE: u64 = 16;
const COLUMNS_SHARE: u64 = 32;
const SMALL_TABLES_SHARE: u64 = 32;
const SHARES: [u64; 8] = [
    INDEX_SHARE,
    TRACE_MAP_SHARE,
    OPENED_SHARE,
    SERVICES_SHARE,
    TRACE_IDS_SHARE,
    CONTINUED_SHARE,
    COLUMNS_SHARE,
    SMALL_TABLES_SHARE,
];
/// About how many times the bytes of a stored schema it takes in memory: it has a name and a type for each column.
const SCHEMA_EXPANSION: usize = 30;
/// Few shards leave room for large entries.
const EXPECTED_BLOCKS: usize = 64;
const EXPECTED_PAGES: usize = 1_024;
/// Where the settings say nothing.
const DEFAULT_BYTES: u64 = 96 << 20;
const DEFAULT_PAGE_BYTES: u64 = 64 << 20;

/// OpenBlock blocks and row groups, indexes, trace maps and pages of columns, and what is known to be damaged. Cheap to clone.
#[derive(Clone)]
pub struct BlockCache {
    pub(super) opened: ByteCache<BlockId, Arc<OpenBlock>>,
    pub(super) groups: ByteCache<(BlockId, usize), Arc<OpenRowGroup>>,
    /// Of `spans.parquet`.
    pub(super) columns: ByteCache<Content, FileColumns>,
    /// Resources and scopes.
    pub(super) small_tables: ByteCache<Content, RecordBatch>,
    /// Of row groups: what the services contributed to their traces.
    pub(super) services: ByteCache<(BlockId, usize), ArrayRef>,
    pub(super) trace_ids: ByteCache<BlockId, Arc<TraceIds>>,
    pub(super) continued: ByteCache<BlockId, Arc<[TraceId]>>,
    pub(super) indexes: IndexCache,
    pub(super) trace_maps: TraceMapCache,
    pub(super) quarantine: Quarantine,
    pages: Option<PageCache>,
}

/// Ranges of files, as they are stored.
pub(crate) type PageCache = ByteCache<((BlockId, BlockFile), Range<u64>), Bytes>;

impl BlockCache {
    /// As the settings say: with pages, where reading them again takes a network.
    pub fn of(config: &TraceConfig, telemetry: &Telemetry) -> Self {
        let cache = Self::new(config.block_cache.max_bytes.unwrap_or(DEFAULT_BYTES), telemetry.clone());
        match config.backend.is_remote() {
            true => cache.with_pages(config.block_cache.max_page_bytes.unwrap_or(DEFAULT_PAGE_BYTES), telemetry),
            false => cache,
        }
    }

    /// Keeps at most `capacity_bytes` of decoded tables, footers, parts of indexes and of trace maps.
    pub fn new(capacity_bytes: u64, telemetry: Telemetry) -> Self {
        let share = |of: u64| capacity_bytes / of;
        let opened = Capacity {
            name: "block",
            bytes: share(OPENED_SHARE),
            entries: EXPECTED_BLOCKS,
            bytes_of: |_: &BlockId, opened: &Arc<OpenBlock>| opened.memory_bytes,
        };
        let groups = Capacity {
            name: "row_group",
            bytes: capacity_bytes - SHARES.map(share).iter().sum::<u64>(),
            entries: EXPECTED_BLOCKS,
            bytes_of: |_: &(BlockId, usize), group: &Arc<OpenRowGroup>| group.memory_bytes,
        };
        let services = Capacity {
            name: "services",
            bytes: share(SERVICES_SHARE),
            entries: 1,
            bytes_of: |_: &(BlockId, usize), services: &ArrayRef| services.get_buffer_memory_size(),
        };
        let columns = Capacity {
            name: "columns",
            bytes: share(COLUMNS_SHARE),
            entries: 1,
            bytes_of: |content: &Content, _: &FileColumns| content.bytes().len() * (1 + SCHEMA_EXPANSION),
        };
        let small_tables = Capacity {
            name: "small_table",
            bytes: share(SMALL_TABLES_SHARE),
            entries: 1,
            bytes_of: |content: &Content, table: &RecordBatch| content.bytes().len() + batch_memory_bytes(&[table]),
        };
        let trace_ids = Capacity {
            name: "trace_ids",
            bytes: share(TRACE_IDS_SHARE),
            entries: 1, // as large as the block has traces
            bytes_of: |_: &BlockId, ids: &Arc<TraceIds>| ids.memory_bytes(),
        };
        let continued = Capacity {
            name: "continued",
            bytes: share(CONTINUED_SHARE),
            entries: 1,
            bytes_of: |_: &BlockId, ids: &Arc<[TraceId]>| size_of_val(&**ids),
        };
        Self {
            opened: ByteCache::new(&opened, &telemetry),
            groups: ByteCache::new(&groups, &telemetry),
            services: ByteCache::new(&services, &telemetry),
            columns: ByteCache::new(&columns, &telemetry),
            small_tables: ByteCache::new(&small_tables, &telemetry),
            trace_ids: ByteCache::new(&trace_ids, &telemetry),
            continued: ByteCache::new(&continued, &telemetry),
            trace_maps: TraceMapCache::new(share(TRACE_MAP_SHARE), telemetry.clone()),
            indexes: IndexCache::new(share(INDEX_SHARE), telemetry.clone()),
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
        self.groups.retain(|(kept, _)| kept != block_id);
        self.services.retain(|(kept, _)| kept != block_id);
        self.trace_ids.retain(|kept| kept != block_id);
        self.continued.retain(|kept| kept != block_id);
        self.indexes.forget(block_id);
        if let Some(pages) = &self.pages {
            pages.retain(|((kept, _), _)| kept != block_id);
        }
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache").field("opened_bytes", &self.opened.bytes()).finish_non_exhaustive()
    }
}
