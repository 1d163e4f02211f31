//! A published block as a [`Source`].

use std::collections::{BTreeSet, HashMap};
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
use spans::schema::{AttributeColumn, column};
use spans::{ById, Traces, batch_memory_bytes};
use traceql::{Conditions, Field};

use super::cache::BlockCache;
use super::fetch::{Selection, StoredFile};
use super::footer::{KEYS_METADATA, LIST_KEYS_METADATA, keys_from_json, row_groups};
use super::meta::BlockMeta;
use super::trace_ids::read_trace_ids;
use crate::cpu::CpuPool;
use crate::damage::{Damage, Part};
use crate::error::Error;
use crate::index::{BlockIndex, ValueCount};
use crate::manifest::{BlockEntry, Manifest};
use crate::paths::{self, BlockFile};
use crate::source::{Dimensions, Projection, Read, Source};
use crate::trace_map::TraceMap;

/// What is known of a block once it has been opened.
pub(super) struct Opened {
    spans: ArrowReaderMetadata,
    dimensions: Arc<Dimensions>,
    /// Keys of which a value stands in the list `attributes`.
    list_keys: BTreeSet<String>,
    pub(super) memory_bytes: usize,
}

/// One published block. Cheap to make; the block is opened with the first question.
pub struct BlockSource {
    tenant: TenantId,
    entry: BlockEntry,
    objects: Arc<dyn ObjectStore>,
    cpu: CpuPool,
    cache: BlockCache,
    /// The trace map that has this block, and its number there.
    trace_map: Option<(Arc<TraceMap>, usize)>,
}

impl BlockSource {
    /// All blocks of a manifest. Those of a trace map are not opened for traces that they do not have.
    pub fn all(
        tenant: &TenantId,
        manifest: &Manifest,
        objects: &Arc<dyn ObjectStore>,
        cpu: &CpuPool,
        cache: &BlockCache,
    ) -> Vec<Self> {
        let mut in_maps = HashMap::new();
        for entry in &manifest.trace_maps {
            let map = Arc::new(TraceMap::new(tenant, entry, objects.clone(), cache.trace_maps.clone()));
            let blocks = entry.blocks.iter().enumerate();
            in_maps.extend(blocks.map(|(number, block_id)| (*block_id, (map.clone(), number))));
        }
        let block = |entry: &BlockEntry| {
            let block = Self::new(tenant.clone(), entry.clone(), objects.clone(), cpu.clone(), cache.clone());
            Self { trace_map: in_maps.get(&entry.id).cloned(), ..block }
        };
        manifest.blocks.iter().map(block).collect()
    }

    /// A block that is asked itself for every trace.
    pub fn new(
        tenant: TenantId,
        entry: BlockEntry,
        objects: Arc<dyn ObjectStore>,
        cpu: CpuPool,
        cache: BlockCache,
    ) -> Self {
        Self { tenant, entry, objects, cpu, cache, trace_map: None }
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

    /// The ids of its traces.
    ///
    /// # Errors
    /// [`Error::BlockDamaged`] also when `meta.json` is damaged, without which a query reads the traces unchecked.
    pub(crate) async fn trace_ids(&self) -> Result<Vec<TraceId>, Error> {
        let meta = self.meta().await?;
        let file = self.file(BlockFile::Traces);
        self.guarded(Part::Tables, read_trace_ids(&file, &meta, self.entry.traces, &self.cpu)).await
    }

    /// Reads a part of the block, unless damage was met in it lately. Nothing of what was read before damage was met is
    /// kept: the next attempt sees what is stored then.
    async fn guarded<T>(&self, part: Part, read: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let quarantine = &self.cache.quarantine;
        quarantine.check(self.entry.id, part, Instant::now())?;
        read.await.inspect_err(|error| {
            quarantine.note(&self.tenant, self.entry.id, part, error, Instant::now());
            if Damage::of(error).is_some() {
                self.cache.forget(&self.entry.id);
            }
        })
    }

    async fn opened(&self) -> Result<Arc<Opened>, Error> {
        let open = self.guarded(Part::Tables, async { Ok(Arc::new(self.open().await?)) });
        self.cache.opened.get_or_load(&self.entry.id, open).await
    }

    /// Sizes and checksums of the files.
    async fn meta(&self) -> Result<BlockMeta, Error> {
        self.guarded(Part::Meta, BlockMeta::read(self.objects.as_ref(), &self.tenant, &self.entry)).await
    }

    /// The same; `None` when it is damaged: the small tables are then read as they are.
    async fn meta_if_whole(&self) -> Result<Option<BlockMeta>, Error> {
        match self.meta().await {
            Err(error) if Damage::of(&error).is_some() => Ok(None),
            result => result.map(Some),
        }
    }

    async fn open(&self) -> Result<Opened, Error> {
        let spans_file = self.file(BlockFile::Spans);
        let fetch = async |name: BlockFile| self.file(name).fetch_all().await;
        let (meta, spans, traces, resources, scopes) = futures::try_join!(
            self.meta_if_whole(),
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
        let table = traces.clone();
        let by_id = self.cpu.run(move || Ok::<_, Error>(ById::of(&Traces::of(&table)?))).await??;
        let memory_bytes =
            spans.metadata().memory_size() + batch_memory_bytes(&[&traces, &resources, &scopes]) + by_id.memory_bytes();
        let dimensions = Arc::new(Dimensions { traces, resources, scopes, by_id, row_groups, keys });
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
        if let Some((map, number)) = &self.trace_map
            && !self.cache.opened.contains(&self.entry.id)
            && !map.may_hold(*number, id).await
        {
            return Ok(None);
        }
        self.opened().await?.dimensions.find_trace(id)
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
