//! Live rows of another process as a source: fetched as a table when the first column is asked for, and kept while there is
//! room. All evaluation is as for rows of this process.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Range, RangeInclusive};
use std::ptr::NonNull;
use std::sync::Arc;

use arrow::array::{ArrayData, ArrayRef, RecordBatch};
use arrow::buffer::NullBuffer;
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{BlockId, Scope, TenantId, TimeRange, TraceId};
use storage::cache::{ByteCache, Capacity};
use storage::incarnation::Incarnation;
use storage::members::Record;
use storage::memory::MemorySource;
use storage::source::{Dimensions, Fetched, Projection, Source, TracePart};
use storage::view::TableId;
use storage::{CpuPool, Error, TraceIds};

use crate::Peers;
use crate::question::Listed;

/// About how many tables fill the cache: so few that all of it is one shard, in which a large table finds room.
const CACHED_TABLES: usize = 16;

/// Tables of another process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TableKey {
    incarnation: Incarnation,
    tenant: TenantId,
    which: Which,
}

/// A number is of one tenant of one start of one writer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Which {
    Live(TableId),
    /// Those of its log, from one object through another.
    Logged {
        from: u64,
        through: u64,
    },
}

impl TableKey {
    pub fn logged(incarnation: Incarnation, tenant: TenantId, run: &RangeInclusive<u64>) -> Self {
        Self { incarnation, tenant, which: Which::Logged { from: *run.start(), through: *run.end() } }
    }
}

/// Tables of other processes that were fetched. Clones share them.
#[derive(Clone)]
pub struct TableCache(ByteCache<TableKey, Arc<[Arc<MemorySource>]>>);

impl TableCache {
    pub fn new(bytes: u64, telemetry: &storage::Telemetry) -> Self {
        let bytes_of =
            |_: &TableKey, sources: &Arc<[Arc<MemorySource>]>| sources.iter().map(|one| memory_bytes(one)).sum();
        let capacity = Capacity { name: "peer_tables", bytes, entries: CACHED_TABLES, bytes_of };
        Self(ByteCache::new(&capacity, telemetry))
    }

    /// Tables that are kept, or what `load` gives.
    pub(crate) async fn get_or_load_all<'a, E>(
        &self,
        key: &TableKey,
        load: impl FnOnce() -> BoxFuture<'a, Result<Arc<[Arc<MemorySource>]>, E>>,
    ) -> Result<Arc<[Arc<MemorySource>]>, E> {
        self.0.get_or_load(key, load).await
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// Forgets the tables of writers that are gone.
    pub(crate) fn keep_of(&self, is_kept: impl Fn(&Incarnation) -> bool) {
        self.0.retain(|key| is_kept(&key.incarnation));
    }
}

/// What the columns of a table take. Those that came from another process lie in the one buffer of its answer: that is counted
/// once, where Arrow's own functions count it for each column.
pub(crate) fn memory_bytes(source: &MemorySource) -> usize {
    let table = source.table();
    let batches = [&table.spans, &table.traces, &table.resources, &table.scopes];
    let mut allocations = HashMap::new();
    for column in batches.into_iter().flat_map(RecordBatch::columns) {
        add_allocations(&column.to_data(), &mut allocations);
    }
    allocations.values().sum()
}

/// Adds where the buffers of an array were allocated, and with how many bytes.
fn add_allocations(array: &ArrayData, allocations: &mut HashMap<NonNull<u8>, usize>) {
    for buffer in array.buffers().iter().chain(array.nulls().map(NullBuffer::buffer)) {
        allocations.insert(buffer.data_ptr(), buffer.capacity());
    }
    array.child_data().iter().for_each(|child| add_allocations(child, allocations));
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
        let which = Which::Live(self.id);
        let key = TableKey { incarnation: self.writer.incarnation, tenant: self.tenant.clone(), which };
        let load = || async { Ok::<_, Error>(Arc::from([self.fetch_rows().await?])) }.boxed();
        let rows = self.tables.get_or_load_all(&key, load).await?;
        Ok(rows.first().expect("one table was fetched").clone())
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

    async fn find_traces(&self, ids: &[TraceId]) -> Result<Vec<TracePart>, Error> {
        self.rows().await?.find_traces(ids).await
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
