//! A stored directory: opened by one read, then asked for row groups and traces.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use model::{Scope, TraceId};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader};
use parquet::schema::types::SchemaDescPtr;

use super::ids::LookUp;
use super::{Head, MAGIC, Part, RowGroupEntry, TAIL_BYTES, TraceIds, VERSION};
use crate::block::fetch::StoredFile;
use crate::block::footer::from_scopes;
use crate::block::portion::Portion;
use crate::cpu::CpuPool;
use crate::error::Error;
use crate::source::RowGroup;
use crate::trace_map::TraceHash;

/// Bytes fetched at the end, in the hope that they hold the head and the schema.
const TAIL_GUESS_BYTES: u64 = 64 * 1024;
/// Most bytes that a part may have once it is decompressed.
const MAX_PART_BYTES: usize = 64 << 20;

/// What is known of a block once it was opened.
pub(in crate::block) struct Directory {
    file: StoredFile,
    entries: Vec<RowGroupEntry>,
    /// The same, as readers know them.
    pub row_groups: Vec<RowGroup>,
    pub keys: BTreeSet<(Scope, String)>,
    pub list_keys: BTreeSet<(Scope, String)>,
    pub resources_crc32: u32,
    pub scopes_crc32: u32,
    ids: Part,
    continued: Part,
    schema: ArrowReaderMetadata,
}

/// A row group as it is stored: what describes it, and its traces.
pub(in crate::block) struct RowGroupBytes {
    metadata: Bytes,
    traces: Portion,
    schema: SchemaDescPtr,
    columns: SchemaRef,
}

impl Directory {
    /// # Errors
    /// [`Error::BlockDamaged`] when it is not what a writer of this version wrote.
    pub async fn open(file: StoredFile, cpu: &CpuPool) -> Result<Self, Error> {
        let tail_start = file.bytes.saturating_sub(TAIL_GUESS_BYTES);
        let tail = file.fetch_one(tail_start..file.bytes).await?;
        let head_part = head_part(&tail).ok_or_else(|| file.broken("it does not end as a directory does"))?;
        let head = file.part(&head_part, tail_start, &tail).await?;
        let head: Head = serde_json::from_slice(&head).map_err(|error| file.broken(&error.to_string()))?;
        let schema = file.part(&head.schema, tail_start, &tail).await?;
        let schema = file.decode(cpu, move || schema_of(&schema)).await?.map_err(|error| file.damaged(&error))?;
        let row_groups = row_groups(&head.row_groups).ok_or_else(|| file.broken("it counts too many rows"))?;
        let keys = |by_scope| from_scopes(by_scope).ok_or_else(|| file.broken("it knows an unknown scope"));
        Ok(Self {
            keys: keys(head.keys)?,
            list_keys: keys(head.list_keys)?,
            row_groups,
            entries: head.row_groups,
            resources_crc32: head.resources_crc32,
            scopes_crc32: head.scopes_crc32,
            ids: head.ids,
            continued: head.continued,
            schema,
            file,
        })
    }

    /// The columns of `spans.parquet`.
    pub fn columns(&self) -> &SchemaRef {
        self.schema.schema()
    }

    pub fn trace_count(&self) -> usize {
        self.row_groups.last().map_or(0, |last| last.traces.end)
    }

    /// Reads what describes a row group, and its traces from the other file, at once.
    pub async fn row_group(&self, group: usize, traces_file: &StoredFile) -> Result<RowGroupBytes, Error> {
        let entry = self.entries.get(group).ok_or_else(|| self.file.broken("it has too few row groups"))?;
        let metadata = self.file.checked(&entry.metadata);
        let traces = traces_file.checked(&entry.trace_rows);
        let (metadata, traces) = futures::try_join!(metadata, traces)?;
        let traces = Portion { start: entry.trace_rows.start, bytes: traces, file_bytes: traces_file.bytes };
        let schema = self.schema.metadata().file_metadata().schema_descr_ptr();
        Ok(RowGroupBytes { metadata, traces, schema, columns: self.schema.schema().clone() })
    }

    /// Rows of traces whose ids have this hash.
    pub async fn find(&self, hash: TraceHash) -> Result<Vec<u32>, Error> {
        let mut look_up = LookUp::new(hash, self.trace_count());
        loop {
            let range = look_up.range(&self.ids);
            let pages = if range.is_empty() { Bytes::new() } else { self.file.fetch_one(range).await? };
            let rows = look_up.rows(&pages).ok_or_else(|| self.file.broken("a checksum of its ids does not match"))?;
            if let Some(rows) = rows {
                return Ok(rows);
            }
        }
    }

    /// All traces by hash.
    pub async fn ids(&self, cpu: &CpuPool) -> Result<TraceIds, Error> {
        let range = self.ids.range();
        let pages = if range.is_empty() { Bytes::new() } else { self.file.fetch_one(range).await? };
        let ids = self.file.decode(cpu, move || TraceIds::decode(&pages)).await?;
        ids.filter(|ids| ids.len() == self.trace_count())
            .ok_or_else(|| self.file.broken("its ids are not those of its traces"))
    }

    /// The traces that older blocks have, too.
    pub async fn continued(&self) -> Result<Vec<TraceId>, Error> {
        let ids =
            if self.continued.range().is_empty() { Bytes::new() } else { self.file.checked(&self.continued).await? };
        Ok(ids.as_chunks().0.iter().copied().map(TraceId).collect())
    }

    pub fn memory_bytes(&self) -> usize {
        let names = |keys: &BTreeSet<(Scope, String)>| keys.iter().map(|(_, key)| key.len() + 64).sum::<usize>();
        let groups = self.entries.len() * (size_of::<RowGroupEntry>() + size_of::<RowGroup>());
        groups + names(&self.keys) + names(&self.list_keys) + self.schema.metadata().memory_size()
    }
}

impl RowGroupBytes {
    /// Parquet's metadata of the row group as the only one of its file, and its traces.
    pub fn decode(self) -> Result<(ArrowReaderMetadata, RecordBatch), ParquetError> {
        let metadata = decompressed(&self.metadata)?;
        let ends_early = || ParquetError::General("the metadata of a row group ends early".to_owned());
        let (spans_bytes, metadata) = metadata.split_first_chunk::<4>().ok_or_else(ends_early)?;
        let at = u32::from_le_bytes(*spans_bytes) as usize;
        let (of_spans, of_traces) = metadata.split_at_checked(at).ok_or_else(ends_early)?;
        let known_schema = ParquetMetaDataOptions::new().with_schema(self.schema);
        let of_spans = parse(Bytes::copy_from_slice(of_spans), Some(known_schema))?;
        let options = ArrowReaderOptions::new().with_schema(self.columns);
        let spans = ArrowReaderMetadata::try_new(Arc::new(of_spans), options)?;
        let of_traces = parse(Bytes::copy_from_slice(of_traces), None)?;
        let options = ArrowReaderOptions::new().with_schema(spans::schema::traces());
        let traces = ArrowReaderMetadata::try_new(Arc::new(of_traces), options)?;
        Ok((spans, self.traces.decode_all(traces)?))
    }
}

impl StoredFile {
    async fn fetch_one(&self, range: Range<u64>) -> Result<Bytes, Error> {
        Ok(self.fetch(std::slice::from_ref(&range)).await?.pop().unwrap_or_default())
    }

    /// A part of the file, which must have its checksum.
    async fn checked(&self, part: &Part) -> Result<Bytes, Error> {
        self.matching(part, self.fetch_one(part.range()).await?)
    }

    /// The same, out of the end of the file if it stands there.
    async fn part(&self, part: &Part, tail_start: u64, tail: &Bytes) -> Result<Bytes, Error> {
        let Range { start, end } = part.range();
        if start < tail_start || end > self.bytes || start > end {
            return self.checked(part).await;
        }
        self.matching(part, tail.slice((start - tail_start) as usize..(end - tail_start) as usize))
    }

    fn matching(&self, part: &Part, content: Bytes) -> Result<Bytes, Error> {
        if part.is_whole(&content) { Ok(content) } else { Err(self.broken("checksum does not match")) }
    }

    fn broken(&self, reason: &str) -> Error {
        Error::block_damaged(self.path.as_ref(), reason)
    }
}

/// Where the head stands, by the last bytes of the object; `None` when they are not the end of a directory of this version.
fn head_part(tail: &[u8]) -> Option<Part> {
    let (_, end) = tail.split_last_chunk::<TAIL_BYTES>()?;
    let (start, end) = end.split_first_chunk::<8>()?;
    let (bytes, end) = end.split_first_chunk::<4>()?;
    let (crc32, end) = end.split_first_chunk::<4>()?;
    let (magic, version) = end.split_first_chunk::<8>()?;
    let is_known = *magic == MAGIC && version == VERSION.to_le_bytes();
    let (bytes, crc32) = (u64::from(u32::from_le_bytes(*bytes)), u32::from_le_bytes(*crc32));
    is_known.then_some(Part { start: u64::from_le_bytes(*start), bytes, crc32 })
}

fn row_groups(entries: &[RowGroupEntry]) -> Option<Vec<RowGroup>> {
    let (mut row, mut trace) = (0_u32, 0_u32);
    let group = |entry: &RowGroupEntry| {
        let (spans, traces) = (row, trace);
        (row, trace) = (row.checked_add(entry.spans)?, trace.checked_add(entry.traces)?);
        Some(RowGroup {
            spans: spans as usize..row as usize,
            traces: traces as usize..trace as usize,
            time_range: entry.time_range(),
        })
    };
    entries.iter().map(group).collect()
}

fn schema_of(compressed: &[u8]) -> Result<ArrowReaderMetadata, ParquetError> {
    let metadata = parse(decompressed(compressed)?.into(), None)?;
    ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
}

fn parse(bytes: Bytes, options: Option<ParquetMetaDataOptions>) -> Result<ParquetMetaData, ParquetError> {
    ParquetMetaDataReader::new()
        .with_column_index_policy(PageIndexPolicy::Skip)
        .with_offset_index_policy(PageIndexPolicy::Optional)
        .with_metadata_options(options)
        .parse_and_finish(&bytes)
}

fn decompressed(content: &[u8]) -> Result<Vec<u8>, ParquetError> {
    let decompressed = zstd::bulk::Decompressor::new().and_then(|mut zstd| {
        let most = zstd::bulk::Decompressor::upper_bound(content).unwrap_or(MAX_PART_BYTES).min(MAX_PART_BYTES);
        zstd.decompress(content, most)
    });
    decompressed.map_err(|error| ParquetError::General(error.to_string()))
}
