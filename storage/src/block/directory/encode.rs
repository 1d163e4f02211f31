//! A block that was written → its directory.

use std::collections::BTreeSet;

use bytes::Bytes;
use hashbrown::HashSet;
use model::{Scope, TimeRange, TraceId};
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use spans::Traces;
use spans::schema::trace_column;

use super::{Head, MAGIC, RowGroupEntry, StoredPart, VERSION};
use crate::block::chunks::Chunks;
use crate::block::footer::by_scope;
use crate::error::Error;
use crate::trace_ids::{TraceHash, TraceIds};

const ZSTD_LEVEL: i32 = 3;

/// Gathers what a directory says, while row groups are written.
#[derive(Default)]
pub(in crate::block) struct DirectoryBuilder {
    row_groups: Vec<AddedGroup>,
    ids: Vec<(TraceHash, u32)>,
    continued: Vec<u8>,
}

/// What is known of a row group before it is known where it stands.
struct AddedGroup {
    spans: u32,
    traces: u32,
    time_range: TimeRange,
    last_start_nanos: u64,
    most_trace_spans: u32,
}

/// The other files of a block.
pub(in crate::block) struct WrittenFiles<'a> {
    pub spans: &'a ParquetMetaData,
    pub traces: &'a ParquetMetaData,
    pub traces_content: &'a [u8],
    pub resources_content: &'a [u8],
    pub scopes_content: &'a [u8],
    pub keys: &'a BTreeSet<(Scope, String)>,
    pub list_keys: &'a BTreeSet<(Scope, String)>,
    pub rollup: Option<&'a EncodedRollup>,
}

/// A rollup as a Parquet file of one row group.
pub(in crate::block) struct EncodedRollup {
    pub rows: usize,
    pub content: Vec<u8>,
    pub metadata: ParquetMetaData,
}

impl EncodedRollup {
    /// Without the footer, in whose place stands where the columns are.
    fn part(&self) -> Result<Vec<u8>, Error> {
        let chunks = Chunks::of(&self.metadata, 0)?;
        let ranges = self.metadata.row_group(0).columns().iter().map(ColumnChunkMetaData::byte_range);
        let end = ranges.map(|(start, bytes)| start + bytes).max().unwrap_or_default();
        let mut part = Vec::with_capacity(self.content.len());
        part.extend((self.rows as u32).to_le_bytes());
        part.extend((chunks.encoded().len() as u32).to_le_bytes());
        part.extend(chunks.encoded());
        part.extend(&self.content[..end as usize]);
        compressed(&part)
    }
}

impl DirectoryBuilder {
    /// Adds a row group that has these traces and no others, and so many spans, of which the last starts then; `continued` are
    /// those that older blocks have, too.
    pub fn add(&mut self, traces: &Traces<'_>, span_count: usize, last_start_nanos: u64, continued: &HashSet<TraceId>) {
        let first_row = self.ids.len();
        let rows = 0..traces.len();
        self.ids.extend(rows.clone().map(|row| (TraceHash::of(&traces.id(row)), (first_row + row) as u32)));
        if !continued.is_empty() {
            let ids = rows.clone().map(|row| traces.id(row)).filter(|id| continued.contains(id));
            ids.for_each(|id| self.continued.extend(id.0));
        }
        let range = rows.clone().map(|row| traces.time_range(row)).reduce(|all, one| all.union(&one));
        self.row_groups.push(AddedGroup {
            spans: span_count as u32,
            traces: traces.len() as u32,
            time_range: range.unwrap_or(TimeRange::new(0, 0)),
            last_start_nanos,
            most_trace_spans: rows.map(|row| traces.span_rows(row).len()).max().unwrap_or(0) as u32,
        });
    }

    /// How many traces older blocks have, too.
    pub fn continued_count(&self) -> usize {
        self.continued.len() / size_of::<TraceId>()
    }

    /// The object.
    ///
    /// # Errors
    /// [`Error::Parquet`] when the files have other row groups than were added.
    pub fn finish(self, files: &WrittenFiles<'_>) -> Result<Bytes, Error> {
        let mut object = Object::default();
        let mut entries = Vec::with_capacity(self.row_groups.len());
        for (group, added) in self.row_groups.into_iter().enumerate() {
            let (of_spans, of_traces) = (Chunks::of(files.spans, group)?, Chunks::of(files.traces, group)?);
            let mut chunks = (of_spans.encoded().len() as u32).to_le_bytes().to_vec();
            chunks.extend(of_spans.encoded());
            chunks.extend(of_traces.encoded());
            let (trace_rows, services) = trace_parts(files.traces.row_group(group), files.traces_content)?;
            entries.push(RowGroupEntry {
                spans: added.spans,
                traces: added.traces,
                start_nanos: added.time_range.start_nanos,
                end_nanos: added.time_range.end_nanos,
                last_start_nanos: Some(added.last_start_nanos),
                most_trace_spans: Some(added.most_trace_spans),
                chunks: object.add(&compressed(&chunks)?),
                trace_rows,
                services,
            });
        }
        let rollup = files.rollup.map(|rollup| Ok::<_, Error>(object.add(&rollup.part()?))).transpose()?;
        let ids = StoredPart { crc32: 0, ..object.add(&TraceIds::new(self.ids).encode()) };
        let continued = object.add(&self.continued);
        let schema = object.add(&compressed(&of_schema(files.spans)?)?);
        let head = Head {
            row_groups: entries,
            ids,
            continued,
            schema,
            rollup,
            keys: by_scope(files.keys),
            list_keys: by_scope(files.list_keys),
            resources_crc32: crc32fast::hash(files.resources_content),
            scopes_crc32: crc32fast::hash(files.scopes_content),
        };
        let head = object.add(&serde_json::to_vec(&head).expect("a head has string keys and no floats"));
        Ok(object.closed(head))
    }
}

/// The parts that were added, one after another.
#[derive(Default)]
struct Object(Vec<u8>);

impl Object {
    fn add(&mut self, content: &[u8]) -> StoredPart {
        let part = StoredPart::of(self.0.len() as u64, content);
        self.0.extend_from_slice(content);
        part
    }

    fn closed(mut self, head: StoredPart) -> Bytes {
        self.0.extend(head.start.to_le_bytes());
        self.0.extend((head.bytes as u32).to_le_bytes());
        self.0.extend(head.crc32.to_le_bytes());
        self.0.extend(MAGIC);
        self.0.extend(VERSION.to_le_bytes());
        self.0.into()
    }
}

/// Parquet's metadata of a file with these columns and the entries of the footer, which has no row groups.
fn of_schema(file: &ParquetMetaData) -> Result<Vec<u8>, Error> {
    let file = file.file_metadata();
    let (entries, orders) = (file.key_value_metadata().cloned(), file.column_orders().cloned());
    let without_rows = FileMetaData::new(file.version(), 0, None, entries, file.schema_descr_ptr(), orders);
    let mut bytes = Vec::new();
    ParquetMetaDataWriter::new(&mut bytes, &ParquetMetaData::new(without_rows, Vec::new())).finish()?;
    Ok(bytes)
}

fn compressed(content: &[u8]) -> Result<Vec<u8>, Error> {
    zstd::bulk::compress(content, ZSTD_LEVEL).map_err(|error| Error::Parquet(error.into()))
}

/// Where a row group stands in `traces.parquet`: all columns but `services`, and `services`.
fn trace_parts(row_group: &RowGroupMetaData, content: &[u8]) -> Result<(StoredPart, StoredPart), Error> {
    let (services, others): (Vec<_>, Vec<_>) =
        row_group.columns().iter().partition(|column| column.column_path().parts()[0] == trace_column::SERVICES);
    Ok((part_of(&others, content)?, part_of(&services, content)?))
}

/// From the first byte of some columns, which stand one after another, to the last.
fn part_of(columns: &[&ColumnChunkMetaData], content: &[u8]) -> Result<StoredPart, Error> {
    let ranges = || columns.iter().map(|column| column.byte_range());
    let start = ranges().map(|(start, _)| start).min().unwrap_or_default();
    let end = ranges().map(|(start, bytes)| start + bytes).max().unwrap_or_default();
    let bytes = content.get(start as usize..end as usize).ok_or_else(|| missing(0))?;
    Ok(StoredPart::of(start, bytes))
}

fn missing(group: usize) -> Error {
    Error::Parquet(parquet::errors::ParquetError::General(format!("row group {group} was not written")))
}
