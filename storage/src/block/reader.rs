//! A published block as a [`Source`].

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use async_trait::async_trait;
use model::{BlockId, Scope, TenantId, TimeRange, TraceId};
use object_store::ObjectStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use spans::schema::{AttributeColumn, column};
use spans::{Traces, batch_memory_bytes};
use traceql::{Conditions, Field};

use super::fetch::{Selection, StoredFile};
use super::footer::{KEYS_METADATA, LIST_KEYS_METADATA, keys_from_json, row_groups};
use super::meta::BlockMeta;
use crate::cpu::CpuPool;
use crate::damage::{Damage, Part, Quarantine};
use crate::error::Error;
use crate::index::{BlockIndex, IndexCache, ValueCount};
use crate::manifest::BlockEntry;
use crate::paths::{self, BlockFile};
use crate::source::{Dimensions, Projection, Read, Source};
use crate::telemetry::Telemetry;

/// The cache makes a shard of its capacity for about 32 expected entries; few shards leave room for large blocks.
const EXPECTED_BLOCKS: usize = 64;

/// The share of the cache that is for indexes.
const INDEX_SHARE: u64 = 4;

/// Small tables, footers and indexes of blocks, kept between queries within a byte budget, and what is known to be
/// damaged. Cheap to clone.
#[derive(Clone)]
pub struct BlockCache {
    opened: Arc<Cache<BlockId, Arc<Opened>, ByBytes>>,
    indexes: IndexCache,
    quarantine: Quarantine,
}

impl BlockCache {
    /// Keeps at most `capacity_bytes` of decoded tables, footers and parts of indexes.
    pub fn new(capacity_bytes: u64, telemetry: Telemetry) -> Self {
        let index_bytes = capacity_bytes / INDEX_SHARE;
        let opened = Cache::with_weighter(EXPECTED_BLOCKS, capacity_bytes - index_bytes, ByBytes);
        Self {
            opened: Arc::new(opened),
            indexes: IndexCache::new(index_bytes, telemetry.clone()),
            quarantine: Quarantine::new(telemetry),
        }
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<BlockId, Arc<Opened>> for ByBytes {
    fn weight(&self, _: &BlockId, opened: &Arc<Opened>) -> u64 {
        opened.memory_bytes as u64
    }
}

/// What is known of a block once it has been opened.
struct Opened {
    spans: ArrowReaderMetadata,
    dimensions: Arc<Dimensions>,
    /// Keys of which a value stands in the list `attributes`.
    list_keys: BTreeSet<String>,
    memory_bytes: usize,
}

/// One published block. Cheap to make; the block is opened with the first question.
pub struct BlockSource {
    tenant: TenantId,
    entry: BlockEntry,
    objects: Arc<dyn ObjectStore>,
    cpu: CpuPool,
    cache: BlockCache,
}

impl BlockSource {
    pub fn new(
        tenant: TenantId,
        entry: BlockEntry,
        objects: Arc<dyn ObjectStore>,
        cpu: CpuPool,
        cache: BlockCache,
    ) -> Self {
        Self { tenant, entry, objects, cpu, cache }
    }

    fn file(&self, file: BlockFile) -> StoredFile {
        let bytes = self.entry.files.bytes_of(file).unwrap_or_default();
        StoredFile { objects: self.objects.clone(), path: paths::block_file(&self.tenant, &self.entry.id, file), bytes }
    }

    fn index(&self) -> BlockIndex<'_> {
        BlockIndex {
            block_id: self.entry.id,
            path: paths::block_file(&self.tenant, &self.entry.id, BlockFile::Index),
            object_bytes: self.entry.files.index_bytes,
            objects: self.objects.as_ref(),
            cpu: &self.cpu,
            cache: &self.cache.indexes,
        }
    }

    /// Reads a part of the block, unless damage was met in it lately.
    async fn guarded<T>(&self, part: Part, read: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let quarantine = &self.cache.quarantine;
        quarantine.check(self.entry.id, part, Instant::now())?;
        read.await.inspect_err(|error| quarantine.note(&self.tenant, self.entry.id, part, error, Instant::now()))
    }

    async fn opened(&self) -> Result<Arc<Opened>, Error> {
        if let Some(opened) = self.cache.opened.get(&self.entry.id) {
            return Ok(opened);
        }
        let open = async { Ok(Arc::new(self.open().await?)) };
        self.guarded(Part::Tables, self.cache.opened.get_or_insert_async(&self.entry.id, open)).await
    }

    /// The checksums of the small tables; `None` when they are damaged: the tables are then read as they are.
    async fn meta(&self) -> Result<Option<BlockMeta>, Error> {
        let read = BlockMeta::read(self.objects.as_ref(), &self.tenant, &self.entry);
        match self.guarded(Part::Meta, read).await {
            Err(error) if Damage::of(&error).is_some() => Ok(None),
            result => result.map(Some),
        }
    }

    async fn open(&self) -> Result<Opened, Error> {
        let spans_file = self.file(BlockFile::Spans);
        let fetch = async |name: BlockFile| self.file(name).fetch_all().await;
        let (meta, spans, traces, resources, scopes) = futures::try_join!(
            self.meta(),
            spans_file.load_metadata(self.entry.spans, &self.cpu),
            fetch(BlockFile::Traces),
            fetch(BlockFile::Resources),
            fetch(BlockFile::Scopes),
        )?;
        let decode = async |name: BlockFile, content| {
            let crc32 = meta.as_ref().and_then(|meta| meta.file(name)).map(|listed| listed.crc32);
            self.file(name).decode_all(content, crc32, &self.cpu).await
        };
        let (traces, resources, scopes) = futures::try_join!(
            decode(BlockFile::Traces, traces),
            decode(BlockFile::Resources, resources),
            decode(BlockFile::Scopes, scopes),
        )?;
        let keys_of = |name: &str| {
            let entry =
                spans.metadata().file_metadata().key_value_metadata()?.iter().find(|entry| entry.key == name)?;
            keys_from_json(entry.value.as_deref()?)
        };
        let damaged = || Error::block_damaged(spans_file.path.as_ref(), "the footer does not list its attribute keys");
        let keys = keys_of(KEYS_METADATA).ok_or_else(damaged)?;
        let list_keys = keys_of(LIST_KEYS_METADATA).ok_or_else(damaged)?;
        let list_keys = list_keys.into_iter().map(|(_, key)| key).collect();
        let row_groups = row_groups(spans.metadata());
        let memory_bytes = spans.metadata().memory_size() + batch_memory_bytes(&[&traces, &resources, &scopes]);
        let dimensions = Arc::new(Dimensions { traces, resources, scopes, row_groups, keys });
        Ok(Opened { spans, dimensions, list_keys, memory_bytes })
    }
}

#[async_trait]
impl Source for BlockSource {
    fn block_id(&self) -> BlockId {
        self.entry.id
    }

    fn is_live(&self) -> bool {
        false
    }

    fn time_range(&self) -> TimeRange {
        TimeRange::new(self.entry.start_nanos, self.entry.end_nanos)
    }

    fn span_count(&self) -> usize {
        self.entry.spans as usize
    }

    fn size_bytes(&self) -> u64 {
        self.entry.bytes()
    }

    async fn dimensions(&self) -> Result<Arc<Dimensions>, Error> {
        Ok(self.opened().await?.dimensions.clone())
    }

    async fn may_match(&self, filters: &[Conditions]) -> Result<Vec<Option<Vec<Range<usize>>>>, Error> {
        self.index().traces(filters).await
    }

    async fn keys(&self) -> Result<BTreeSet<(Scope, String)>, Error> {
        match self.index().keys().await? {
            Some(keys) => Ok(keys),
            None => Ok(self.dimensions().await?.keys.clone()),
        }
    }

    async fn values(&self, field: &Field) -> Result<Option<Vec<ValueCount>>, Error> {
        self.index().values(field).await
    }

    async fn find_trace(&self, id: &TraceId) -> Result<Option<usize>, Error> {
        Ok(Traces::of(&self.opened().await?.dimensions.traces)?.find(id))
    }

    async fn read(&self, group: usize, rows: &[Range<usize>], columns: &Projection) -> Result<Read, Error> {
        let opened = self.opened().await?;
        let group_rows = &opened.dimensions.row_groups[group];
        let within = || rows.iter().map(|range| range.start - group_rows.start..range.end - group_rows.start);
        let is_whole = rows == std::slice::from_ref(group_rows);
        let file = self.file(BlockFile::Spans);
        let parts = shares(&wanted_roots(&opened, columns), self.cpu.threads()).into_iter().map(|roots| {
            let selection = Selection {
                row_groups: Some(vec![group]),
                columns: ProjectionMask::roots(opened.spans.parquet_schema(), roots),
                rows: (!is_whole).then(|| RowSelection::from_consecutive_ranges(within(), group_rows.len())),
                batch_rows: rows.iter().map(ExactSizeIterator::len).sum(),
            };
            file.read(&opened.spans, selection, &self.cpu)
        });
        let parts = self.guarded(Part::RowGroup(group), futures::future::try_join_all(parts)).await?;
        let bytes = parts.iter().map(|(_, bytes)| bytes).sum();
        Ok(Read { batch: side_by_side(parts.into_iter().map(|(batch, _)| batch).collect())?, bytes })
    }
}

/// Fewest columns that are worth a thread of their own.
const LEAST_SHARE: usize = 16;

/// Divides columns among threads, in order.
fn shares(roots: &[usize], threads: usize) -> Vec<Vec<usize>> {
    let share = roots.len().div_ceil(threads.max(1)).max(LEAST_SHARE);
    match roots.chunks(share).map(<[usize]>::to_vec).collect::<Vec<_>>() {
        none if none.is_empty() => vec![Vec::new()],
        shares => shares,
    }
}

/// One batch with the columns of all; each has the same rows.
fn side_by_side(mut parts: Vec<RecordBatch>) -> Result<RecordBatch, Error> {
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    let fields: Vec<FieldRef> = parts.iter().flat_map(|part| part.schema_ref().fields().iter().cloned()).collect();
    let columns = parts.iter().flat_map(|part| part.columns().iter().cloned()).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The wanted columns by number; see [`Source::read`] for what is wanted.
fn wanted_roots(opened: &Opened, wanted: &Projection) -> Vec<usize> {
    let whole_attributes = wanted.columns.contains(column::ATTRIBUTES);
    let in_list = !wanted.attributes.is_disjoint(&opened.list_keys);
    let is_wanted = |field: &FieldRef| match AttributeColumn::of(field) {
        Some(of) => whole_attributes || wanted.attributes.contains(&of.key),
        None => wanted.columns.contains(field.name().as_str()) || in_list && field.name() == column::ATTRIBUTES,
    };
    let fields = opened.spans.schema().fields().iter().enumerate();
    fields.filter(|(_, field)| is_wanted(field)).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests;
