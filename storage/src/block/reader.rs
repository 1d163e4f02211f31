//! A published block as a [`Source`].

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use model::{BlockId, Scope, TenantId, TimeRange, TraceId};
use object_store::ObjectStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::file::metadata::ParquetMetaData;
use spans::schema::{AttributeColumn, column, trace_column};
use spans::{Traces, batch_memory_bytes};
use traceql::{Conditions, Field};

use super::cache::BlockCache;
use super::directory::{Directory, TraceIds};
use super::fetch::{Selection, StoredFile};
use super::footer::{KEYS_METADATA, LIST_KEYS_METADATA, keys_from_json};
use super::meta::BlockMeta;
use super::trace_ids::read_trace_ids;
use super::version1;
use crate::cpu::CpuPool;
use crate::damage::{Damage, Part};
use crate::error::Error;
use crate::index::{BlockIndex, ValueCount};
use crate::manifest::{BlockEntry, Manifest};
use crate::paths::{self, BlockFile};
use crate::source::{Dimensions, Projection, Read, RowGroup, Source, TraceAt};
use crate::trace_map::{TraceHash, TraceMap};

/// What is known of a block once it has been opened.
pub(super) struct Opened {
    dimensions: Arc<Dimensions>,
    /// Keys of which a value stands in the list `attributes`.
    list_keys: BTreeSet<String>,
    /// Columns of `spans.parquet`.
    columns: SchemaRef,
    layout: Layout,
    pub(super) memory_bytes: usize,
}

/// How its row groups are found.
enum Layout {
    Directory(Directory),
    /// A block of version 1 has no directory: it is kept whole.
    Whole(version1::Tables),
}

/// What is known of a row group once it has been opened.
pub(super) struct OpenedGroup {
    spans: ArrowReaderMetadata,
    /// Number of the row group in `spans`.
    number: usize,
    /// Rows are numbered within the group.
    traces: RecordBatch,
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

    /// The ids of its traces, read from the table that has them.
    ///
    /// # Errors
    /// [`Error::BlockDamaged`] also when `meta.json` is damaged, without which a query reads the traces unchecked.
    pub(crate) async fn trace_ids(&self) -> Result<Vec<TraceId>, Error> {
        let meta = self.meta().await?;
        let file = self.file(BlockFile::Traces);
        self.guarded(Part::Tables, read_trace_ids(&file, &meta, self.entry.traces, &self.cpu)).await
    }

    pub(crate) fn trace_count(&self) -> usize {
        self.entry.traces as usize
    }

    /// Whether it has a trace, or one of the same hash.
    pub(crate) async fn may_have(&self, id: &TraceId) -> Result<bool, Error> {
        if let Some((map, number)) = &self.trace_map
            && !map.may_hold(*number, id).await
        {
            return Ok(false);
        }
        let opened = self.opened().await?;
        Ok(!self.rows_of(&opened, TraceHash::of(id)).await?.is_empty())
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
        match self.entry.files.directory_bytes {
            0 => self.open_whole().await,
            _ => self.open_directory().await,
        }
    }

    async fn open_directory(&self) -> Result<Opened, Error> {
        let fetch = async |name: BlockFile| self.file(name).fetch_all().await;
        let (directory, resources, scopes) = futures::try_join!(
            Directory::open(self.file(BlockFile::Directory), &self.cpu),
            fetch(BlockFile::Resources),
            fetch(BlockFile::Scopes),
        )?;
        let (resources, scopes) = futures::try_join!(
            self.decode(BlockFile::Resources, resources, Some(directory.resources_crc32)),
            self.decode(BlockFile::Scopes, scopes, Some(directory.scopes_crc32)),
        )?;
        let (spans, traces) = directory.row_groups.last().map_or((0, 0), |last| (last.spans.end, last.traces.end));
        if (spans as u64, traces as u64) != (self.entry.spans, self.entry.traces) {
            let path = paths::block_file(&self.tenant, &self.entry.id, BlockFile::Directory);
            return Err(Error::block_damaged(path.as_ref(), "it has other counts than the manifest"));
        }
        let memory_bytes = directory.memory_bytes() + batch_memory_bytes(&[&resources, &scopes]);
        let (row_groups, keys) = (directory.row_groups.clone(), directory.keys.clone());
        Ok(Opened {
            dimensions: Arc::new(Dimensions { resources, scopes, row_groups, keys }),
            list_keys: directory.list_keys.iter().map(|(_, key)| key.clone()).collect(),
            columns: directory.columns().clone(),
            layout: Layout::Directory(directory),
            memory_bytes,
        })
    }

    async fn open_whole(&self) -> Result<Opened, Error> {
        let spans_file = self.file(BlockFile::Spans);
        let fetch = async |name: BlockFile| self.file(name).fetch_all().await;
        let (meta, spans, traces, resources, scopes) = futures::try_join!(
            self.meta_if_whole(),
            spans_file.load_metadata(self.entry.spans, &self.cpu),
            fetch(BlockFile::Traces),
            fetch(BlockFile::Resources),
            fetch(BlockFile::Scopes),
        )?;
        let crc32 = |name| meta.as_ref().and_then(|meta| meta.file(name)).map(|listed| listed.crc32);
        let (traces, resources, scopes) = futures::try_join!(
            self.decode(BlockFile::Traces, traces, crc32(BlockFile::Traces)),
            self.decode(BlockFile::Resources, resources, crc32(BlockFile::Resources)),
            self.decode(BlockFile::Scopes, scopes, crc32(BlockFile::Scopes)),
        )?;
        let damaged = || Error::block_damaged(spans_file.path.as_ref(), "the footer does not list its attribute keys");
        let (keys, list_keys) = footer_keys(spans.metadata()).ok_or_else(damaged)?;
        let columns = spans.schema().clone();
        let tables = self.cpu.run(move || version1::Tables::of(spans, &traces)).await??;
        let memory_bytes = tables.memory_bytes() + batch_memory_bytes(&[&resources, &scopes]);
        let row_groups = tables.row_groups.clone();
        Ok(Opened {
            dimensions: Arc::new(Dimensions { resources, scopes, row_groups, keys }),
            list_keys: list_keys.into_iter().map(|(_, key)| key).collect(),
            columns,
            layout: Layout::Whole(tables),
            memory_bytes,
        })
    }

    async fn decode(&self, name: BlockFile, content: Bytes, crc32: Option<u32>) -> Result<RecordBatch, Error> {
        self.file(name).decode_all(content, crc32, &self.cpu).await
    }

    async fn opened_group(&self, group: usize) -> Result<Arc<OpenedGroup>, Error> {
        let opened = self.opened().await?;
        let open = self.guarded(Part::RowGroup(group), async { Ok(Arc::new(self.open_group(&opened, group).await?)) });
        self.cache.groups.get_or_load(&(self.entry.id, group), open).await
    }

    async fn open_group(&self, opened: &Opened, group: usize) -> Result<OpenedGroup, Error> {
        let rows = opened.dimensions.row_groups[group].clone();
        let file = self.file(BlockFile::Traces);
        let (number, spans, traces) = match &opened.layout {
            Layout::Directory(directory) => {
                let stored = directory.row_group(group, &file).await?;
                let decoded = file.decode(&self.cpu, move || stored.decode()).await?;
                let (spans, traces) = decoded.map_err(|error| file.damaged(&error))?;
                (0, spans, in_group(&traces, &rows).map_err(|reason| Error::block_damaged(file.path.as_ref(), reason))?)
            }
            Layout::Whole(tables) => (group, tables.spans.clone(), tables.traces[group].clone()),
        };
        let of_layout = matches!(opened.layout, Layout::Whole(_)); // counted there
        let memory_bytes = if of_layout { 0 } else { spans.metadata().memory_size() + batch_memory_bytes(&[&traces]) };
        Ok(OpenedGroup { spans, number, traces, memory_bytes })
    }
}

/// The attribute keys that the footer of `spans.parquet` lists: all, and those of the list `attributes`.
fn footer_keys(metadata: &ParquetMetaData) -> Option<(Keys, Keys)> {
    let keys_of = |name: &str| {
        let entry = metadata.file_metadata().key_value_metadata()?.iter().find(|entry| entry.key == name)?;
        keys_from_json(entry.value.as_deref()?)
    };
    Some((keys_of(KEYS_METADATA)?, keys_of(LIST_KEYS_METADATA)?))
}

type Keys = BTreeSet<(Scope, String)>;

/// The traces of a row group, whose spans are numbered within it; says what is wrong with them.
pub(super) fn in_group(traces: &RecordBatch, group: &RowGroup) -> Result<RecordBatch, String> {
    let view = Traces::of(traces).map_err(|error| error.to_string())?;
    if view.len() != group.traces.len() {
        return Err("a row group has another number of traces".to_owned());
    }
    let mut first_rows = Vec::with_capacity(view.len());
    for trace in 0..view.len() {
        let rows = view.span_rows(trace);
        if rows.start < group.spans.start || rows.end > group.spans.end {
            return Err("a trace's spans are not in its row group".to_owned());
        }
        first_rows.push((rows.start - group.spans.start) as u32);
    }
    spans::replace(traces, trace_column::FIRST_ROW, first_rows).map_err(|error| error.to_string())
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

    async fn find_trace(&self, id: &TraceId) -> Result<Option<TraceAt>, Error> {
        if let Some((map, number)) = &self.trace_map
            && !map.may_hold(*number, id).await
        {
            return Ok(None);
        }
        let opened = self.opened().await?;
        for row in self.rows_of(&opened, TraceHash::of(id)).await? {
            let groups = &opened.dimensions.row_groups;
            let group = groups.partition_point(|group| group.traces.end <= row as usize);
            let Some(traces) = groups.get(group).map(|group| group.traces.clone()) else { continue };
            let trace = row as usize - traces.start;
            if Traces::of(&self.opened_group(group).await?.traces)?.id(trace) == *id {
                return Ok(Some(TraceAt { group, trace }));
            }
        }
        Ok(None)
    }

    async fn continued(&self) -> Result<Option<Arc<[TraceId]>>, Error> {
        if self.entry.continued_traces.is_none_or(|count| count == 0) {
            return Ok(self.entry.continued_traces.map(|_| Arc::default()));
        }
        let load = async {
            match &self.opened().await?.layout {
                Layout::Directory(directory) => {
                    Ok::<_, Error>(self.guarded(Part::Tables, directory.continued()).await?.into())
                }
                Layout::Whole(_) => Ok(Arc::default()),
            }
        };
        Ok(Some(self.cache.continued.get_or_load(&self.entry.id, load).await?))
    }

    async fn traces_by_hash(&self) -> Result<Arc<TraceIds>, Error> {
        let load = async {
            let opened = self.opened().await?;
            match &opened.layout {
                Layout::Directory(directory) => {
                    Ok(Arc::new(self.guarded(Part::Tables, directory.ids(&self.cpu)).await?))
                }
                Layout::Whole(tables) => Ok(tables.ids.clone()),
            }
        };
        self.cache.trace_ids.get_or_load(&self.entry.id, load).await
    }

    async fn traces(&self, group: usize) -> Result<RecordBatch, Error> {
        Ok(self.opened_group(group).await?.traces.clone())
    }

    async fn read(&self, group: usize, rows: &[Range<usize>], columns: &Projection) -> Result<Read, Error> {
        let (opened, opened_group) = (self.opened().await?, self.opened_group(group).await?);
        let group_rows = 0..opened.dimensions.row_groups[group].spans.len();
        let is_whole = rows == std::slice::from_ref(&group_rows);
        let row_count = rows.iter().map(ExactSizeIterator::len).sum();
        let file = self.file(BlockFile::Spans);
        let mut roots = wanted_roots(&opened, columns);
        let trace_at = opened.columns.index_of(column::TRACE).ok();
        roots.retain(|root| Some(*root) != trace_at);
        let parts = shares(&roots, self.cpu.threads()).into_iter().map(|roots| {
            let selection = Selection {
                row_groups: Some(vec![opened_group.number]),
                columns: ProjectionMask::roots(opened_group.spans.parquet_schema(), roots),
                rows: (!is_whole)
                    .then(|| RowSelection::from_consecutive_ranges(rows.iter().cloned(), group_rows.len())),
                batch_rows: row_count,
            };
            file.read(&opened_group.spans, selection, &self.cpu)
        });
        let parts = self.guarded(Part::RowGroup(group), futures::future::try_join_all(parts)).await?;
        let bytes = parts.iter().map(|(_, bytes)| bytes).sum();
        let mut batch = side_by_side(parts.into_iter().map(|(batch, _)| batch).collect())?;
        if columns.columns.contains(column::TRACE) {
            batch = with_traces(&batch, &Traces::of(&opened_group.traces)?, rows)?;
        }
        Ok(Read { batch, bytes })
    }
}

/// The batch with the column `trace` in front, which need not be read: traces are runs of rows.
fn with_traces(batch: &RecordBatch, traces: &Traces<'_>, rows: &[Range<usize>]) -> Result<RecordBatch, Error> {
    let row_count = rows.iter().map(ExactSizeIterator::len).sum();
    let mut of_rows: Vec<u32> = Vec::with_capacity(row_count);
    let mut trace = 0;
    for range in rows {
        let mut row = range.start;
        while row < range.end {
            while trace < traces.len() && traces.span_rows(trace).end <= row {
                trace += 1;
            }
            let end = if trace < traces.len() { traces.span_rows(trace).end.min(range.end) } else { range.end };
            of_rows.extend(std::iter::repeat_n(trace as u32, end - row));
            row = end;
        }
    }
    let field = Arc::new(arrow::datatypes::Field::new(column::TRACE, DataType::UInt32, false));
    let fields = std::iter::once(field).chain(batch.schema_ref().fields().iter().cloned()).collect::<Vec<_>>();
    let column: ArrayRef = Arc::new(UInt32Array::from(of_rows));
    let columns = std::iter::once(column).chain(batch.columns().iter().cloned()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(row_count));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

impl BlockSource {
    /// Rows of `traces`, counted through all row groups, of traces whose ids may have this hash.
    async fn rows_of(&self, opened: &Opened, hash: TraceHash) -> Result<Vec<u32>, Error> {
        if let Some(ids) = self.cache.trace_ids.peek(&self.entry.id) {
            return Ok(ids.find(hash).collect());
        }
        match &opened.layout {
            Layout::Directory(directory) => self.guarded(Part::Tables, directory.find(hash)).await,
            Layout::Whole(tables) => Ok(tables.ids.find(hash).collect()),
        }
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
    let fields = opened.columns.fields().iter().enumerate();
    fields.filter(|(_, field)| is_wanted(field)).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests;
