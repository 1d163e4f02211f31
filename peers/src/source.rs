//! Live rows of another process as a source: fetched as a table when the first column is asked for, and kept while there is
//! room. All evaluation is as for rows of this process.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use async_trait::async_trait;
use model::{BlockId, Scope, TenantId, TimeRange, TraceId};
use storage::cache::{ByteCache, Capacity};
use storage::incarnation::Incarnation;
use storage::members::Record;
use storage::memory::MemorySource;
use storage::source::{Dimensions, Fetched, Projection, Source, TraceAt};
use storage::view::TableId;
use storage::{CpuPool, Error, TraceIds};

use crate::Peers;
use crate::question::Listed;

/// About how many tables fill the cache: so few that all of it is one shard, in which a large table finds room.
const CACHED_TABLES: usize = 16;

/// A table of another process; a number is of one tenant of one start of one writer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TableKey {
    incarnation: Incarnation,
    tenant: TenantId,
    id: TableId,
}

/// Tables of other processes that were fetched. Clones share them.
#[derive(Clone)]
pub struct TableCache(ByteCache<TableKey, Arc<MemorySource>>);

impl TableCache {
    pub fn new(bytes: u64, telemetry: &storage::Telemetry) -> Self {
        let bytes_of = |_: &TableKey, source: &Arc<MemorySource>| memory_bytes(source);
        let capacity = Capacity { name: "peer_tables", bytes, entries: CACHED_TABLES, bytes_of };
        Self(ByteCache::new(&capacity, telemetry))
    }

    /// Forgets the tables of writers that are gone.
    pub(crate) fn keep_of(&self, is_kept: impl Fn(&Incarnation) -> bool) {
        self.0.retain(|key| is_kept(&key.incarnation));
    }
}

pub(crate) fn memory_bytes(source: &MemorySource) -> usize {
    let table = source.table();
    let batches = [&table.spans, &table.traces, &table.resources, &table.scopes];
    batches.into_iter().map(RecordBatch::get_array_memory_size).sum()
}

/// Rows of a writer that it lists and keeps.
pub(crate) struct PeerSource {
    pub listed: Listed,
    pub id: TableId,
    pub tenant: TenantId,
    pub writer: Arc<Record>,
    pub peers: Arc<dyn Peers>,
    pub tables: TableCache,
    pub cpu: CpuPool,
}

impl PeerSource {
    /// # Errors
    /// [`Error::ViewOutOfDate`] when the rows cannot be fetched: they are in a block by now, or their writer does not answer.
    pub async fn rows(&self) -> Result<Arc<MemorySource>, Error> {
        let key = TableKey { incarnation: self.writer.incarnation, tenant: self.tenant.clone(), id: self.id };
        self.tables.0.get_or_load(&key, self.fetch_rows()).await
    }

    async fn fetch_rows(&self) -> Result<Arc<MemorySource>, Error> {
        let out_of_date = |reason| Error::ViewOutOfDate { reason };
        let fetched = self.peers.table(&self.writer, &self.tenant, self.id).await;
        let table = fetched.map_err(|error| out_of_date(format!("of {}: {error}", self.writer.address)))?;
        let table = table.ok_or_else(|| out_of_date(format!("of {}: they are in blocks now", self.writer.address)))?;
        let block_id = self.listed.block_id;
        Ok(Arc::new(self.cpu.run(move || MemorySource::new(block_id, table)).await??))
    }
}

#[async_trait]
impl Source for PeerSource {
    fn block_id(&self) -> BlockId {
        self.listed.block_id
    }

    fn is_live(&self) -> bool {
        true
    }

    fn time_range(&self) -> TimeRange {
        self.listed.time_range
    }

    fn span_count(&self) -> usize {
        self.listed.span_count
    }

    fn size_bytes(&self) -> u64 {
        0
    }

    async fn dimensions(&self) -> Result<Arc<Dimensions>, Error> {
        self.rows().await?.dimensions().await
    }

    async fn keys(&self) -> Result<BTreeSet<(Scope, String)>, Error> {
        self.rows().await?.keys().await
    }

    async fn traces_by_hash(&self) -> Result<Arc<TraceIds>, Error> {
        self.rows().await?.traces_by_hash().await
    }

    async fn find_trace(&self, id: &TraceId) -> Result<Option<TraceAt>, Error> {
        self.rows().await?.find_trace(id).await
    }

    async fn traces(&self, group: usize) -> Result<RecordBatch, Error> {
        self.rows().await?.traces(group).await
    }

    async fn services(&self, group: usize) -> Result<ArrayRef, Error> {
        self.rows().await?.services(group).await
    }

    async fn fetch(&self, group: usize, rows: &[Range<usize>], columns: &Projection) -> Result<Fetched, Error> {
        self.rows().await?.fetch(group, rows, columns).await
    }
}
