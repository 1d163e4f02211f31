//! Some columns of a row group: which bytes a read of them needs, and what they say.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, RecordBatchReader, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::basic::Compression;
use parquet::column::page::PageReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::page_index::PageIndexBuilder;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, OffsetIndexBuilder, ParquetMetaData, ParquetMetaDataBuilder, RowGroupMetaData,
};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};
use rayon::prelude::*;
use spans::Traces;
use spans::schema::{AttributeColumn, column};

use super::chunks::{Chunk, Chunks};
use super::pages::append_plain;
use crate::coded::{CodedColumn, CodedReader, Coding, Codings};
use crate::error::Error;

/// Where runs of wanted rows are shorter on average, Parquet's reader goes through all rows and picks out the wanted ones,
/// so that every page is needed (`RowSelectionPolicy::Auto`).
const ROWS_OF_A_RUN: usize = 32;
/// Fewest columns that are worth a thread of their own.
const LEAST_SHARE: usize = 16;

/// The columns of a Parquet file, in Parquet's words and in Arrow's.
#[derive(Clone)]
pub(super) struct FileColumns {
    pub parquet: SchemaDescPtr,
    pub arrow: SchemaRef,
}

impl FileColumns {
    pub fn of(metadata: &ArrowReaderMetadata) -> Self {
        let parquet = metadata.metadata().file_metadata().schema_descr_ptr();
        Self { parquet, arrow: metadata.schema().clone() }
    }

    /// All columns of a row group of so many rows, out of its file or as much of its start as has them.
    ///
    /// # Errors
    /// When the bytes are not such columns.
    pub fn decode_all(&self, chunks: &Chunks, rows: usize, file: &Bytes) -> Result<RecordBatch, ParquetError> {
        let roots: Vec<usize> = (0..self.arrow.fields().len()).collect();
        let rows = WantedRows { all: rows, ranges: None };
        let read = ColumnRead::of(self, chunks, &roots, rows, 1).ok_or_else(misplaced)?;
        let slice = |Range { start, end }: Range<u64>| {
            let is_inside = start <= end && end <= file.len() as u64;
            is_inside.then(|| file.slice(start as usize..end as usize)).ok_or_else(misplaced)
        };
        let bytes = read.ranges().into_iter().map(slice).collect::<Result<Vec<_>, _>>()?;
        read.decode(&bytes)
    }

    /// Some of them, by number.
    fn project(&self, roots: &[usize]) -> Result<Self, ParquetError> {
        let all = self.parquet.root_schema();
        let fields = roots.iter().map(|&root| all.get_fields()[root].clone()).collect();
        let group = Type::group_type_builder(all.name()).with_fields(fields).build()?;
        let parquet = Arc::new(SchemaDescriptor::new(Arc::new(group)));
        Ok(Self { parquet, arrow: Arc::new(self.arrow.project(roots)?) })
    }
}

/// Which rows of a row group are read.
#[derive(Clone)]
pub(super) struct WantedRows {
    /// Of the row group.
    pub all: usize,
    /// Ascending, not overlapping; all rows when `None`.
    pub ranges: Option<Vec<Range<usize>>>,
}

/// A read of some columns, before it has its bytes.
pub(super) struct ColumnRead {
    rows: WantedRows,
    /// At least one; each is decoded by itself.
    shares: Vec<Share>,
}

/// Some of the columns of a read.
struct Share {
    columns: FileColumns,
    chunks: Vec<WantedChunk>,
}

/// A read of some columns that has its bytes.
pub(super) struct FetchedColumns {
    pub read: ColumnRead,
    pub bytes: Vec<Bytes>,
}

impl FetchedColumns {
    pub fn byte_count(&self) -> u64 {
        self.bytes.iter().map(|bytes| bytes.len() as u64).sum()
    }

    /// The batch, and the columns that are wanted by code.
    pub fn decode_coded(self, coding: &Codings<'_>) -> Result<(RecordBatch, Vec<CodedColumn>), ParquetError> {
        self.read.decode_coded(&self.bytes, coding)
    }
}

/// A column chunk of which some pages are read, its dictionary always.
struct WantedChunk {
    chunk: Chunk,
    /// For each page.
    is_wanted: Vec<bool>,
}

impl WantedRows {
    pub fn count(&self) -> usize {
        self.ranges.as_ref().map_or(self.all, |ranges| ranges.iter().map(ExactSizeIterator::len).sum())
    }

    /// Whether pages without a wanted row are left out.
    fn skips_pages(&self) -> bool {
        let runs = |ranges: &Vec<Range<usize>>| 2 * ranges.len() + 1;
        self.ranges.as_ref().is_some_and(|ranges| runs(ranges) * ROWS_OF_A_RUN <= self.all)
    }

    fn pages_of(&self, chunk: &Chunk) -> Vec<bool> {
        let Some(ranges) = self.ranges.as_ref().filter(|_| self.skips_pages()) else {
            return vec![true; chunk.pages.len()];
        };
        let (mut row, mut next) = (0, 0);
        let is_wanted = |page: &super::chunks::Page| {
            let start = row;
            row += page.rows;
            while ranges.get(next).is_some_and(|range| range.end <= start) {
                next += 1;
            }
            ranges.get(next).is_some_and(|range| range.start < row)
        };
        chunk.pages.iter().map(is_wanted).collect()
    }
}

impl ColumnRead {
    /// Of the columns `roots`, by number, ascending, for so many threads; `None` when the row group does not have them.
    pub fn of(file: &FileColumns, chunks: &Chunks, roots: &[usize], rows: WantedRows, threads: usize) -> Option<Self> {
        let share = roots.len().div_ceil(threads.max(1)).max(LEAST_SHARE);
        let mut shares =
            roots.chunks(share).map(|roots| Share::of(file, chunks, roots, &rows)).collect::<Option<Vec<_>>>()?;
        if shares.is_empty() {
            shares.push(Share::of(file, chunks, &[], &rows)?);
        }
        Some(Self { rows, shares })
    }

    /// The bytes that it needs, in the order in which [`decode`](Self::decode) takes them.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        self.shares.iter().flat_map(Share::ranges).collect()
    }

    /// The wanted rows as one batch.
    ///
    /// # Errors
    /// When the bytes are not such columns.
    pub fn decode(self, bytes: &[Bytes]) -> Result<RecordBatch, ParquetError> {
        Ok(self.decode_coded(bytes, &|_| Coding::InBatch)?.0)
    }

    /// The wanted rows as one batch, and beside it what is wanted by code.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_coded(
        self,
        mut bytes: &[Bytes],
        coding: &Codings<'_>,
    ) -> Result<(RecordBatch, Vec<CodedColumn>), ParquetError> {
        if let [share] = self.shares.as_slice() {
            return share.decode(bytes, &self.rows, coding);
        }
        let mut with_bytes = Vec::new();
        for share in &self.shares {
            let (of_share, others) = bytes.split_at_checked(share.ranges().len()).ok_or_else(misplaced)?;
            with_bytes.push((share, of_share));
            bytes = others;
        }
        let decoded = with_bytes.into_par_iter().map(|(share, bytes)| share.decode(bytes, &self.rows, coding));
        let decoded = decoded.collect::<Result<Vec<_>, _>>()?;
        let (batches, coded): (Vec<RecordBatch>, Vec<Vec<CodedColumn>>) = decoded.into_iter().unzip();
        Ok((side_by_side(batches, self.rows.count())?, coded.concat()))
    }
}

impl Share {
    fn of(file: &FileColumns, chunks: &Chunks, roots: &[usize], rows: &WantedRows) -> Option<Self> {
        let is_wanted = |&leaf: &usize| roots.binary_search(&file.parquet.get_column_root_idx(leaf)).is_ok();
        let chunk = |leaf: usize| {
            let chunk = chunks.get(leaf)?;
            Some(WantedChunk { is_wanted: rows.pages_of(&chunk), chunk })
        };
        let chunks = (0..file.parquet.num_columns()).filter(is_wanted).map(chunk).collect::<Option<_>>()?;
        Some(Self { columns: file.project(roots).ok()?, chunks })
    }

    fn ranges(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for range in self.chunks.iter().flat_map(WantedChunk::ranges).filter(|range| !range.is_empty()) {
            match ranges.last_mut().filter(|last| last.end == range.start) {
                Some(last) => last.end = range.end,
                None => ranges.push(range),
            }
        }
        ranges
    }

    fn decode(
        &self,
        bytes: &[Bytes],
        rows: &WantedRows,
        coding: &Codings<'_>,
    ) -> Result<(RecordBatch, Vec<CodedColumn>), ParquetError> {
        let (mut in_batch, mut by_code) = (Vec::new(), Vec::new());
        for (column, field) in self.columns.arrow.fields().iter().enumerate() {
            match AttributeColumn::of(field).filter(|attribute| coding(attribute) == Coding::ByCode) {
                Some(attribute) => by_code.push((column, attribute)),
                None => in_batch.push(column),
            }
        }
        let (content, metadata) = self.plain_file(bytes, rows)?;
        let content = Bytes::from(content);
        let read = |(column, attribute)| self.read_coded(column, attribute, &content, &metadata, rows);
        let coded = by_code.into_iter().map(read).collect::<Result<_, _>>()?;
        if in_batch.is_empty() {
            return Ok((without_columns(rows.count())?, coded));
        }
        let options = ArrowReaderOptions::new().with_schema(self.columns.arrow.clone());
        let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), options)?;
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(content, metadata)
            .with_projection(ProjectionMask::roots(&self.columns.parquet, in_batch))
            .with_batch_size(rows.count().max(1));
        if let Some(ranges) = &rows.ranges {
            let selection = RowSelection::from_consecutive_ranges(ranges.iter().cloned(), rows.all);
            builder = builder.with_row_selection(selection);
        }
        Ok((one_batch(builder)?, coded))
    }

    fn read_coded(
        &self,
        column: usize,
        attribute: AttributeColumn,
        content: &Bytes,
        metadata: &ParquetMetaData,
        rows: &WantedRows,
    ) -> Result<CodedColumn, ParquetError> {
        let is_of_column = |leaf: &usize| self.columns.parquet.get_column_root_idx(*leaf) == column;
        let leaf = (0..self.chunks.len()).find(is_of_column).ok_or_else(misplaced)?;
        let is_nullable = self.columns.parquet.column(leaf).max_def_level() > 0;
        let mut reader = CodedReader::new(attribute, is_nullable);
        let chunk = metadata.row_group(0).column(leaf);
        let mut pages = SerializedPageReader::new(Arc::new(content.clone()), chunk, rows.all, None)?;
        let WantedChunk { chunk, is_wanted } = &self.chunks[leaf];
        if chunk.dictionary_bytes > 0 {
            reader.take(pages.get_next_page()?.ok_or_else(misplaced)?)?;
        }
        for (page, &is_wanted) in chunk.pages.iter().zip(is_wanted) {
            match is_wanted {
                true => reader.take(pages.get_next_page()?.ok_or_else(misplaced)?)?,
                false => reader.skip(page.rows),
            }
        }
        reader.finish(rows.all, rows.ranges.as_deref())
    }

    /// A Parquet file with just these columns and pages, without compression, as far as Parquet's reader looks at it.
    fn plain_file(&self, bytes: &[Bytes], rows: &WantedRows) -> Result<(Vec<u8>, ParquetMetaData), ParquetError> {
        let (mut pages, mut content) = (PageBytes { bytes, used: 0 }, Vec::new());
        let (mut columns, mut offset_indexes) = (Vec::new(), PageIndexBuilder::default());
        offset_indexes.allocate_offset_indexes(1, self.chunks.len());
        for (leaf, wanted) in self.chunks.iter().enumerate() {
            let start = content.len();
            pages.append(wanted.chunk.dictionary_bytes, wanted.chunk.is_zstd, &mut content)?;
            let first_page = content.len();
            let offset_index = wanted.append_pages(&mut pages, &mut content)?;
            if rows.skips_pages() {
                offset_indexes.put_offset_index(offset_index, 0, leaf);
            }
            let column = ColumnChunkMetaData::builder(self.columns.parquet.column(leaf))
                .set_compression(Compression::UNCOMPRESSED)
                .set_num_values(rows.all as i64)
                .set_total_compressed_size((content.len() - start) as i64)
                .set_dictionary_page_offset((first_page > start).then_some(start as i64))
                .set_data_page_offset(first_page as i64);
            columns.push(column.build()?);
        }
        let group = RowGroupMetaData::builder(self.columns.parquet.clone())
            .set_num_rows(rows.all as i64)
            .set_total_byte_size(content.len() as i64)
            .set_column_metadata(columns)
            .build()?;
        let file = FileMetaData::new(1, rows.all as i64, None, None, self.columns.parquet.clone(), None);
        let metadata = ParquetMetaDataBuilder::new(file)
            .add_row_group(group)
            .set_page_index(Some(Arc::new(offset_indexes.build())))
            .build();
        Ok((content, metadata))
    }
}

impl WantedChunk {
    fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        let dictionary = self.chunk.dictionary_range();
        let mut end = dictionary.end;
        let pages = self.chunk.pages.iter().zip(&self.is_wanted).filter_map(move |(page, is_wanted)| {
            let start = end;
            end = start.saturating_add(page.bytes as u64);
            is_wanted.then_some(start..end)
        });
        [dictionary].into_iter().chain(pages)
    }

    /// Appends the wanted pages; the others take no place.
    fn append_pages(
        &self,
        pages: &mut PageBytes<'_>,
        content: &mut Vec<u8>,
    ) -> Result<OffsetIndexMetaData, ParquetError> {
        let mut offset_index = OffsetIndexBuilder::new();
        for (page, &is_wanted) in self.chunk.pages.iter().zip(&self.is_wanted) {
            let start = content.len();
            if is_wanted {
                pages.append(page.bytes, self.chunk.is_zstd, content)?;
            }
            offset_index.append_row_count(page.rows as i64);
            offset_index.append_offset_and_size(start as i64, (content.len() - start) as i32);
        }
        Ok(offset_index.build())
    }
}

/// The bytes of pages, which stand one after another in several pieces, none in two.
struct PageBytes<'a> {
    bytes: &'a [Bytes],
    /// Of the first piece.
    used: usize,
}

impl PageBytes<'_> {
    /// Appends the next page of so many bytes, if it has any, without its compression.
    fn append(&mut self, page_bytes: usize, is_zstd: bool, out: &mut Vec<u8>) -> Result<(), ParquetError> {
        if page_bytes == 0 {
            return Ok(());
        }
        while let Some((first, others)) = self.bytes.split_first()
            && first.len() == self.used
        {
            (self.bytes, self.used) = (others, 0);
        }
        let page = self.bytes.first().and_then(|first| first.get(self.used..self.used.checked_add(page_bytes)?));
        let page = page.ok_or_else(misplaced)?;
        self.used += page_bytes;
        match is_zstd {
            true => append_plain(page, out),
            false => {
                out.extend_from_slice(page);
                Ok(())
            }
        }
    }
}

pub(super) fn misplaced() -> ParquetError {
    ParquetError::General("a page is not where it should be".to_owned())
}

/// The batch with the column `trace` in front, which need not be read: traces are runs of rows.
pub(super) fn with_traces(
    batch: &RecordBatch,
    traces: &Traces<'_>,
    rows: &[Range<usize>],
) -> Result<RecordBatch, Error> {
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

/// The rows that a reader gives, as one batch.
pub(super) fn one_batch<T: ChunkReader + 'static>(
    builder: ParquetRecordBatchReaderBuilder<T>,
) -> Result<RecordBatch, ParquetError> {
    let reader = builder.build()?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    match batches.as_slice() {
        [batch] => Ok(batch.clone()),
        batches => Ok(concat_batches(&schema, batches)?),
    }
}

/// One batch with the columns of all; each has the same rows.
fn side_by_side(parts: Vec<RecordBatch>, rows: usize) -> Result<RecordBatch, ParquetError> {
    let fields: Vec<FieldRef> = parts.iter().flat_map(|part| part.schema_ref().fields().iter().cloned()).collect();
    let columns = parts.iter().flat_map(|part| part.columns().iter().cloned()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

fn without_columns(rows: usize) -> Result<RecordBatch, ParquetError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?)
}
