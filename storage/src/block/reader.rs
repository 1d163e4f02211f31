//! A published block as a [`Source`].

mod open;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch};
use async_trait::async_trait;
use futures::FutureExt;
use model::{BlockId, Scope, TenantId, TimeRange, TraceId};
use object_store::ObjectStore;
use spans::Traces;
use spans::schema::column;
use traceql::{Conditions, Field};

use super::cache::BlockCache;
use super::columns::{ColumnRead, WantedRows, with_traces};
use super::fetch::StoredFile;
use super::open_block::Layout;
use super::trace_ids::read_trace_ids;
use crate::cpu::CpuPool;
use crate::damage::{Damage, DamagedPart};
use crate::error::Error;
use crate::index::{BlockIndex, ValueCount};
use crate::manifest::{BlockEntry, Manifest};
use crate::paths::{self, BlockFile};
use crate::rollup::Rollup;
use crate::source::{Dimensions, Fetched, Projection, Source, TraceAt, TracePart};
use crate::trace_ids::{LookUp, TraceHash, TraceIds};
use crate::trace_map::TraceMap;

/// To ask a trace map about one costs about as much as reading so many, where there are more than a few to ask about.
const MAP_COST: usize = 16;
const FEW_TRACES: usize = 64;

/// One published block. Cheap to make; the block is opened with the first question.
pub struct BlockSource {
    pub(super) tenant: TenantId,
    pub(super) entry: BlockEntry,
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) cpu: CpuPool,
    /// One for all blocks of a query.
    pub(super) cache: Arc<BlockCache>,
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
        let (mut in_maps, cache) = (HashMap::new(), Arc::new(cache.clone()));
        for entry in &manifest.trace_maps {
            let map = Arc::new(TraceMap::new(tenant, entry, objects.clone(), cache.trace_maps.clone()));
            let blocks = entry.blocks.iter().enumerate();
            in_maps.extend(blocks.map(|(number, block_id)| (*block_id, (map.clone(), number))));
        }
        let block = |entry: &BlockEntry| Self {
            tenant: tenant.clone(),
            entry: entry.clone(),
            objects: objects.clone(),
            cpu: cpu.clone(),
            cache: cache.clone(),
            trace_map: in_maps.get(&entry.id).cloned(),
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
        Self { tenant, entry, objects, cpu, cache: Arc::new(cache), trace_map: None }
    }

    pub(super) fn file(&self, file: BlockFile) -> StoredFile {
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
        self.guarded(DamagedPart::Tables, read_trace_ids(&file, &meta, self.entry.traces, &self.cpu)).await
    }

    pub(crate) fn trace_count(&self) -> usize {
        self.entry.traces as usize
    }

    /// Those of some traces that it has, or others of the same hash.
    pub(crate) async fn may_have(&self, ids: &[TraceId]) -> Result<Vec<TraceId>, Error> {
        let (left, hashes) = self.to_look_up(ids).await?;
        let mut found = Vec::new();
        for (id, rows) in left.iter().zip(self.rows_of(&left, hashes.as_deref()).await?) {
            if !rows.is_empty() {
                found.push(*id);
            }
        }
        Ok(found)
    }

    /// Those of some traces that a trace map does not rule out, and the hashes of all where that is the least to read.
    async fn to_look_up(&self, ids: &[TraceId]) -> Result<(Vec<TraceId>, Option<Arc<TraceIds>>), Error> {
        if let Some(hashes) = self.cache.trace_ids.peek(&self.entry.id) {
            return Ok((ids.to_vec(), Some(hashes)));
        }
        if ids.len() > FEW_TRACES && ids.len().saturating_mul(MAP_COST) > self.trace_count() {
            return Ok((ids.to_vec(), Some(self.traces_by_hash().await?)));
        }
        let mut left = Vec::new();
        for id in ids {
            let is_elsewhere = match &self.trace_map {
                Some((map, number)) => !map.may_hold(*number, id).await,
                None => false,
            };
            if !is_elsewhere {
                left.push(*id);
            }
        }
        let is_many = left.len().saturating_mul(LookUp::entries_read(self.trace_count())) > self.trace_count();
        let hashes = if is_many { Some(self.traces_by_hash().await?) } else { None };
        Ok((left, hashes))
    }

    /// Reads a part of the block, unless damage was met in it lately.
    pub(super) async fn guarded<T>(
        &self,
        part: DamagedPart,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.cache.quarantine.check(self.entry.id, part, Instant::now())?;
        self.damage_notes(part).noting(read.await)
    }

    fn damage_notes(&self, part: DamagedPart) -> DamageNotes {
        DamageNotes { tenant: self.tenant.clone(), block_id: self.entry.id, part, cache: self.cache.clone() }
    }
}

/// Notes the damage that is met in a part of a block.
struct DamageNotes {
    tenant: TenantId,
    block_id: BlockId,
    part: DamagedPart,
    cache: Arc<BlockCache>,
}

impl DamageNotes {
    /// Nothing of what was read before damage was met is kept: the next attempt sees what is stored then.
    fn noting<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.inspect_err(|error| {
            self.cache.quarantine.note(&self.tenant, self.block_id, self.part, error, Instant::now());
            if Damage::of(error).is_some() {
                self.cache.forget(&self.block_id);
            }
        })
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

    fn stored(&self) -> Option<(&TenantId, &BlockEntry)> {
        Some((&self.tenant, &self.entry))
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

    async fn find_traces(&self, ids: &[TraceId]) -> Result<Vec<TracePart>, Error> {
        let (left, hashes) = self.to_look_up(ids).await?;
        let mut rows: Vec<(usize, TraceId)> = Vec::new();
        for (id, of_hash) in left.iter().zip(self.rows_of(&left, hashes.as_deref()).await?) {
            rows.extend(of_hash.into_iter().map(|row| (row as usize, *id)));
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        // one row group after the other, so that no more are in memory
        rows.sort_unstable();
        let opened = self.opened().await?;
        let groups = &opened.dimensions.row_groups;
        let group_of = |row: usize| groups.partition_point(|group| group.traces.end <= row);
        let mut found = Vec::new();
        for of_group in rows.chunk_by(|(row, _), (next, _)| group_of(*row) == group_of(*next)) {
            let number = group_of(of_group[0].0);
            let Some(first) = groups.get(number).map(|group| group.traces.start) else { continue };
            let group = self.opened_group(number).await?;
            let traces = Traces::of(&group.traces)?;
            let is_it = |(row, id): &&(usize, TraceId)| traces.id(row - first) == *id;
            let at = |(row, _): &(usize, TraceId)| TraceAt { group: number, trace: row - first };
            found.extend(of_group.iter().filter(is_it).map(at).map(|at| TracePart::of(&traces, at)));
        }
        Ok(found)
    }

    async fn continued(&self) -> Result<Option<Arc<[TraceId]>>, Error> {
        if self.entry.continued_traces.is_none_or(|count| count == 0) {
            return Ok(self.entry.continued_traces.map(|_| Arc::default()));
        }
        let load = async || match &self.opened().await?.layout {
            Layout::Directory(directory) => {
                let mut ids = self.guarded(DamagedPart::Tables, directory.continued()).await?;
                ids.sort_unstable();
                Ok::<_, Error>(ids.into())
            }
            Layout::Whole(_) => Ok(Arc::default()),
        };
        Ok(Some(self.cache.continued.get_or_load(&self.entry.id, || load().boxed()).await?))
    }

    async fn rollup(&self) -> Result<Option<Rollup>, Error> {
        match &self.opened().await?.layout {
            Layout::Directory(directory) => {
                match self.guarded(DamagedPart::Rollup, directory.rollup(&self.cpu)).await {
                    Err(error) if Damage::of(&error).is_some() => Ok(None),
                    result => result,
                }
            }
            Layout::Whole(_) => Ok(None),
        }
    }

    async fn traces_by_hash(&self) -> Result<Arc<TraceIds>, Error> {
        let load = async || {
            let opened = self.opened().await?;
            match &opened.layout {
                Layout::Directory(directory) => {
                    Ok(Arc::new(self.guarded(DamagedPart::Tables, directory.ids(&self.cpu)).await?))
                }
                Layout::Whole(tables) => Ok(tables.ids.clone()),
            }
        };
        self.cache.trace_ids.get_or_load(&self.entry.id, || load().boxed()).await
    }

    async fn traces(&self, group: usize) -> Result<RecordBatch, Error> {
        Ok(self.opened_group(group).await?.traces.clone())
    }

    async fn services(&self, group: usize) -> Result<ArrayRef, Error> {
        self.services_of(group).await
    }

    async fn fetch(&self, group: usize, rows: &[Range<usize>], columns: &Projection) -> Result<Fetched, Error> {
        let (opened, opened_group) = (self.opened().await?, self.opened_group(group).await?);
        let all = opened.dimensions.row_groups[group].spans.len();
        let is_whole = rows == std::slice::from_ref(&(0..all));
        let wanted_rows = WantedRows { all, ranges: (!is_whole).then(|| rows.to_vec()) };
        let (file, part) = (self.file(BlockFile::Spans), DamagedPart::RowGroup(group));
        let fetch = async {
            let file_columns = self.columns(&opened).await?;
            let roots = opened.wanted_roots(&file_columns, columns);
            let read = ColumnRead::of(&file_columns, &opened_group.spans, &roots, wanted_rows, self.cpu.threads());
            let missing = || Error::block_damaged(file.path.as_ref(), "its directory does not know all columns");
            file.fetch_columns(read.ok_or_else(missing)?).await
        };
        let fetched = self.guarded(part, fetch).await?;
        let (with_trace, damage) = (columns.columns.contains(column::TRACE), self.damage_notes(part));
        let rows = rows.to_vec();
        Ok(Fetched::new(fetched.byte_count(), move |coding| {
            let (batch, coded) = damage.noting(file.decoding(|| fetched.decode_coded(coding)))?;
            match with_trace {
                true => Ok((with_traces(&batch, &Traces::of(&opened_group.traces)?, &rows)?, coded)),
                false => Ok((batch, coded)),
            }
        }))
    }
}

impl BlockSource {
    /// For each of these traces the rows of `traces`, counted through all row groups, of those whose ids have its hash.
    async fn rows_of(&self, ids: &[TraceId], hashes: Option<&TraceIds>) -> Result<Vec<Vec<u32>>, Error> {
        let wanted: Vec<TraceHash> = ids.iter().map(TraceHash::of).collect();
        let among = |all: &TraceIds| wanted.iter().map(|hash| all.find(*hash).collect()).collect();
        if let Some(all) = hashes {
            return Ok(among(all));
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        match &self.opened().await?.layout {
            Layout::Directory(directory) => self.guarded(DamagedPart::Tables, directory.find(&wanted)).await,
            Layout::Whole(tables) => Ok(among(&tables.ids)),
        }
    }
}

#[cfg(test)]
mod tests;
