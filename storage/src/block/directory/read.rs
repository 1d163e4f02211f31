//! A stored directory: opened by one read, then asked for row groups and traces.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytes::{Buf, Bytes};
use model::{Scope, TraceId};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use spans::schema::trace_column;

use super::{Head, MAGIC, RowGroupEntry, StoredPart, TAIL_BYTES, VERSION};
use crate::block::chunks::Chunks;
use crate::block::columns::{ColumnRead, FileColumns, WantedRows};
use crate::block::content::Content;
use crate::block::fetch::StoredFile;
use crate::block::footer::from_scopes;
use crate::block::pages::decompressed;
use crate::cpu::CpuPool;
use crate::error::Error;
use crate::rollup::{self, Rollup};
use crate::source::RowGroup;
use crate::trace_ids::{LookUp, TraceHash, TraceIds};

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
    ids: StoredPart,
    continued: StoredPart,
    rollup: Option<StoredPart>,
    /// The columns of `spans.parquet`, as they are stored.
    pub schema: Content,
}

/// A row group as it is stored: where its columns stand, and its traces.
pub(in crate::block) struct RowGroupBytes {
    chunks: Bytes,
    traces: Bytes,
    trace_count: usize,
}

/// A row group that was read.
pub(in crate::block) struct DecodedGroup {
    pub spans: Chunks,
    pub of_traces: Chunks,
    /// Without `services`.
    pub traces: RecordBatch,
}

impl Directory {
    /// # Errors
    /// [`Error::BlockDamaged`] when it is not what a writer of this version wrote.
    pub async fn open(file: StoredFile) -> Result<Self, Error> {
        let tail_start = file.bytes.saturating_sub(TAIL_GUESS_BYTES);
        let tail = file.fetch_one(tail_start..file.bytes).await?;
        let head_part = head_part(&tail).ok_or_else(|| file.broken("it does not end as a directory does"))?;
        let head = file.part(&head_part, tail_start, &tail).await?;
        let head: Head = serde_json::from_slice(&head).map_err(|error| file.broken(&error.to_string()))?;
        let schema = file.part(&head.schema, tail_start, &tail).await?;
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
            rollup: head.rollup,
            schema: Content::new(schema, head.schema.crc32).copied(),
            file,
        })
    }

    /// The columns of `spans.parquet`.
    ///
    /// # Errors
    /// [`Error::BlockDamaged`] when they are not what a writer of this version wrote.
    pub async fn columns(&self, cpu: &CpuPool) -> Result<FileColumns, Error> {
        let schema = self.schema.bytes().clone();
        self.file.decode(cpu, move || schema_of(&schema)).await?.map_err(|error| self.file.damaged(&error))
    }

    pub fn trace_count(&self) -> usize {
        self.row_groups.last().map_or(0, |last| last.traces.end)
    }

    /// Reads where the columns of a row group stand, and its traces from the other file, at once; `services` are left out.
    pub async fn row_group(&self, group: usize, traces_file: &StoredFile) -> Result<RowGroupBytes, Error> {
        let entry = self.entries.get(group).ok_or_else(|| self.file.broken("it has too few row groups"))?;
        let (chunks, traces) =
            futures::try_join!(self.file.checked(&entry.chunks), traces_file.checked(&entry.trace_rows))?;
        Ok(RowGroupBytes { chunks, traces, trace_count: entry.traces as usize })
    }

    /// Reads the column `services` of a row group's traces.
    pub async fn services(
        &self,
        group: usize,
        of_traces: &Chunks,
        traces_file: &StoredFile,
        cpu: &CpuPool,
    ) -> Result<ArrayRef, Error> {
        let entry = self.entries.get(group).ok_or_else(|| self.file.broken("it has too few row groups"))?;
        let bytes = traces_file.checked(&entry.services).await?;
        let (of_traces, trace_count) = (of_traces.clone(), entry.traces as usize);
        let decode = move || decode_traces(bytes, &of_traces, trace_count, |name| name == trace_column::SERVICES);
        let services = traces_file.decode(cpu, decode).await?.map_err(|error| traces_file.damaged(&error))?;
        Ok(spans::column(&services, trace_column::SERVICES)?.clone())
    }

    /// For each of these hashes the rows of traces whose ids have it. All are read together, in one round unless ids were made to
    /// have hashes that are not evenly spread.
    pub async fn find(&self, hashes: &[TraceHash]) -> Result<Vec<Vec<u32>>, Error> {
        let mut found = vec![Vec::new(); hashes.len()];
        let of_hash = |(number, &hash)| (number, LookUp::new(hash, self.trace_count()));
        let mut left: Vec<(usize, LookUp)> = hashes.iter().enumerate().map(of_hash).collect();
        left.retain(|(_, look_up)| !look_up.range(&self.ids.range()).is_empty());
        while !left.is_empty() {
            let ranges: Vec<Range<u64>> = left.iter().map(|(_, look_up)| look_up.range(&self.ids.range())).collect();
            let mut more = Vec::new();
            for ((number, mut look_up), pages) in left.into_iter().zip(self.file.fetch(&ranges).await?) {
                match look_up.rows(&pages).ok_or_else(|| self.file.broken("a checksum of its ids does not match"))? {
                    Some(rows) => found[number] = rows,
                    None => more.push((number, look_up)),
                }
            }
            left = more;
        }
        Ok(found)
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

    /// How many spans of each kind the row groups have; `None` where none is rolled up.
    pub async fn rollup(&self, cpu: &CpuPool) -> Result<Option<Rollup>, Error> {
        let Some(part) = &self.rollup else { return Ok(None) };
        let content = self.file.checked(part).await?;
        let rows = self.file.decode(cpu, move || decode_rollup(&content)).await?;
        let rows = rows.map_err(|error| self.file.damaged(&error))?;
        let rollup = Rollup::of(rows, &self.row_groups).map_err(|error| self.file.broken(&error.to_string()))?;
        Ok(Some(rollup))
    }

    pub fn memory_bytes(&self) -> usize {
        let names = |keys: &BTreeSet<(Scope, String)>| keys.iter().map(|(_, key)| key.len() + 64).sum::<usize>();
        let groups = self.entries.len() * (size_of::<RowGroupEntry>() + size_of::<RowGroup>());
        groups + names(&self.keys) + names(&self.list_keys) + self.schema.bytes().len()
    }
}

impl RowGroupBytes {
    pub fn decode(self) -> Result<DecodedGroup, ParquetError> {
        let mut chunks = Bytes::from(decompressed(&self.chunks, MAX_PART_BYTES)?);
        let spans = take_chunks(&mut chunks)?;
        let of_traces = Chunks::decode(chunks);
        let traces = decode_traces(self.traces, &of_traces, self.trace_count, |name| name != trace_column::SERVICES)?;
        Ok(DecodedGroup { spans, of_traces, traces })
    }
}

/// Where columns stand, with the length before.
fn take_chunks(part: &mut Bytes) -> Result<Chunks, ParquetError> {
    let length = take_u32(part)?;
    if length > part.len() {
        return Err(ends_early());
    }
    Ok(Chunks::decode(part.split_to(length)))
}

fn take_u32(part: &mut Bytes) -> Result<usize, ParquetError> {
    let number = u32::from_le_bytes(*part.first_chunk().ok_or_else(ends_early)?);
    part.advance(size_of::<u32>());
    Ok(number as usize)
}

fn ends_early() -> ParquetError {
    ParquetError::General("what says where columns stand ends early".to_owned())
}

fn decode_rollup(compressed: &[u8]) -> Result<RecordBatch, ParquetError> {
    let mut part = Bytes::from(decompressed(compressed, MAX_PART_BYTES)?);
    let rows = take_u32(&mut part)?;
    let chunks = take_chunks(&mut part)?;
    ROLLUP.decode_all(&chunks, rows, &part)
}

/// Some columns, by name, of a row group's traces; the bytes are just theirs.
fn decode_traces(
    bytes: Bytes,
    chunks: &Chunks,
    trace_count: usize,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<RecordBatch, ParquetError> {
    let fields = TRACES.arrow.fields().iter().enumerate();
    let roots: Vec<usize> = fields.filter(|(_, field)| is_wanted(field.name())).map(|(root, _)| root).collect();
    let read = ColumnRead::of(&TRACES, chunks, &roots, WantedRows { all: trace_count, ranges: None }, 1);
    let read = read.ok_or_else(|| ParquetError::General("it has other columns than a table of traces".to_owned()))?;
    read.decode(&[bytes])
}

/// The columns of `traces.parquet`.
static TRACES: LazyLock<FileColumns> = LazyLock::new(|| columns_of(spans::schema::traces()));
static ROLLUP: LazyLock<FileColumns> = LazyLock::new(|| columns_of(rollup::schema()));

fn columns_of(arrow: SchemaRef) -> FileColumns {
    let parquet = ArrowSchemaConverter::new().convert(&arrow).expect("a table of ours has types that Parquet knows");
    FileColumns { parquet: Arc::new(parquet), arrow }
}

impl StoredFile {
    async fn fetch_one(&self, range: Range<u64>) -> Result<Bytes, Error> {
        Ok(self.fetch(std::slice::from_ref(&range)).await?.pop().unwrap_or_default())
    }

    /// A part of the file, which must have its checksum.
    async fn checked(&self, part: &StoredPart) -> Result<Bytes, Error> {
        self.matching(part, self.fetch_one(part.range()).await?)
    }

    /// The same, out of the end of the file if it stands there.
    async fn part(&self, part: &StoredPart, tail_start: u64, tail: &Bytes) -> Result<Bytes, Error> {
        let Range { start, end } = part.range();
        if start < tail_start || end > self.bytes || start > end {
            return self.checked(part).await;
        }
        self.matching(part, tail.slice((start - tail_start) as usize..(end - tail_start) as usize))
    }

    fn matching(&self, part: &StoredPart, content: Bytes) -> Result<Bytes, Error> {
        if part.is_whole(&content) { Ok(content) } else { Err(self.broken("checksum does not match")) }
    }

    fn broken(&self, reason: &str) -> Error {
        Error::block_damaged(self.path.as_ref(), reason)
    }
}

/// Where the head stands, by the last bytes of the object; `None` when they are not the end of a directory of this version.
fn head_part(tail: &[u8]) -> Option<StoredPart> {
    let (_, end) = tail.split_last_chunk::<TAIL_BYTES>()?;
    let (start, end) = end.split_first_chunk::<8>()?;
    let (bytes, end) = end.split_first_chunk::<4>()?;
    let (crc32, end) = end.split_first_chunk::<4>()?;
    let (magic, version) = end.split_first_chunk::<8>()?;
    let is_known = *magic == MAGIC && version == VERSION.to_le_bytes();
    let (bytes, crc32) = (u64::from(u32::from_le_bytes(*bytes)), u32::from_le_bytes(*crc32));
    is_known.then_some(StoredPart { start: u64::from_le_bytes(*start), bytes, crc32 })
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
            last_start_nanos: entry.last_start_nanos.unwrap_or(entry.end_nanos),
            most_trace_spans: entry.most_trace_spans.unwrap_or(entry.spans) as usize,
        })
    };
    entries.iter().map(group).collect()
}

fn schema_of(compressed: &[u8]) -> Result<FileColumns, ParquetError> {
    let metadata =
        ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(decompressed(compressed, MAX_PART_BYTES)?))?;
    Ok(FileColumns::of(&ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())?))
}
