//! Bytes of a stored Parquet file → record batches. Fetching is async, decoding goes through [`crate::cpu`].

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder};

use super::portion::one_batch;
use crate::cpu::CpuPool;
use crate::error::Error;
use crate::exact::{self, Unread};

/// Bytes fetched at the end of a file in the hope that they hold the whole footer.
const FOOTER_GUESS_BYTES: u64 = 64 * 1024;

/// A stored file of known size.
#[derive(Clone)]
pub(super) struct StoredFile {
    pub objects: Arc<dyn ObjectStore>,
    pub path: Path,
    pub bytes: u64,
}

/// Which rows and columns to decode.
pub(super) struct Selection {
    pub row_groups: Option<Vec<usize>>,
    pub columns: ProjectionMask,
    /// Rows within the row groups; all when `None`.
    pub rows: Option<RowSelection>,
    /// Rows of one batch: at least as many as will be decoded gives one batch.
    pub batch_rows: usize,
}

impl StoredFile {
    /// Schema, row groups and page locations of a file that must have so many rows.
    pub(super) async fn load_metadata(&self, rows: u64, cpu: &CpuPool) -> Result<ArrowReaderMetadata, Error> {
        let mut decoder = ParquetMetaDataPushDecoder::try_new(self.bytes)
            .map_err(|error| self.damaged(&error))?
            .with_column_index_policy(PageIndexPolicy::Skip)
            .with_offset_index_policy(PageIndexPolicy::Optional);
        let tail = self.bytes.saturating_sub(FOOTER_GUESS_BYTES)..self.bytes;
        let guess = self.fetch(std::slice::from_ref(&tail)).await?;
        decoder.push_ranges(vec![tail], guess).map_err(|error| self.damaged(&error))?;
        loop {
            let (decoded, again) = self.decode(cpu, move || (decoder.try_decode(), decoder)).await?;
            decoder = again;
            match decoded.map_err(|error| self.damaged(&error))? {
                DecodeResult::NeedsData(ranges) => {
                    let data = self.fetch(&ranges).await?;
                    decoder.push_ranges(ranges, data).map_err(|error| self.damaged(&error))?;
                }
                DecodeResult::Data(metadata) => {
                    check_row_groups(&metadata, rows, self.bytes)
                        .map_err(|reason| Error::block_damaged(self.path.as_ref(), reason))?;
                    return ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
                        .map_err(|error| self.damaged(&error));
                }
                DecodeResult::Finished => {
                    return Err(Error::block_damaged(self.path.as_ref(), "the footer ends early"));
                }
            }
        }
    }

    /// The selected rows as one batch, and the compressed bytes that were fetched for it.
    pub(super) async fn read(
        &self,
        metadata: &ArrowReaderMetadata,
        selection: Selection,
        cpu: &CpuPool,
    ) -> Result<(RecordBatch, u64), Error> {
        let mut builder = ParquetPushDecoderBuilder::new_with_metadata(metadata.clone())
            .with_projection(selection.columns.clone())
            .with_batch_size(selection.batch_rows.max(1));
        if let Some(row_groups) = selection.row_groups {
            builder = builder.with_row_groups(row_groups);
        }
        if let Some(rows) = selection.rows {
            builder = builder.with_row_selection(rows);
        }
        let mut decoder = builder.build().map_err(|error| self.damaged(&error))?;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        loop {
            let (step, decoded, again) = self.decode(cpu, move || drain(decoder)).await?;
            decoder = again;
            batches.extend(decoded);
            match step.map_err(|error| self.damaged(&error))? {
                Some(ranges) => {
                    bytes += ranges.iter().map(|range| range.end - range.start).sum::<u64>();
                    let data = self.fetch(&ranges).await?;
                    decoder.push_ranges(ranges, data).map_err(|error| self.damaged(&error))?;
                }
                None => return Ok((self.one_batch(metadata, &selection.columns, batches)?, bytes)),
            }
        }
    }

    /// The whole file, by one request: for the small files of a block.
    pub(super) async fn fetch_all(&self) -> Result<Bytes, Error> {
        let whole = 0..self.bytes;
        Ok(self.fetch(std::slice::from_ref(&whole)).await?.pop().unwrap_or_default())
    }

    /// All rows and columns of a file that was fetched whole, and that must have this checksum if one is known.
    pub(super) async fn decode_all(
        &self,
        content: Bytes,
        crc32: Option<u32>,
        cpu: &CpuPool,
    ) -> Result<RecordBatch, Error> {
        if let Some(crc32) = crc32 {
            self.check(&content, crc32)?;
        }
        self.decode(cpu, move || decode_all(content)).await?.map_err(|error| self.damaged(&error))
    }

    /// Compares the checksum of a file that was fetched whole.
    pub(super) fn check(&self, content: &Bytes, crc32: u32) -> Result<(), Error> {
        match crc32fast::hash(content) == crc32 {
            true => Ok(()),
            false => Err(Error::block_damaged(self.path.as_ref(), "checksum does not match")),
        }
    }

    /// Decodes on the pool. Bytes that no writer wrote can make a decoder panic.
    pub(super) async fn decode<T: Send + 'static>(
        &self,
        cpu: &CpuPool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        match cpu.run(work).await {
            Err(Error::Panicked { message }) => Err(Error::block_damaged(self.path.as_ref(), message)),
            result => result,
        }
    }

    fn one_batch(
        &self,
        metadata: &ArrowReaderMetadata,
        columns: &ProjectionMask,
        batches: Vec<RecordBatch>,
    ) -> Result<RecordBatch, Error> {
        match batches.as_slice() {
            [batch] => Ok(batch.clone()),
            [] => {
                let descriptor = metadata.parquet_schema();
                let roots: Vec<usize> = (0..descriptor.num_columns())
                    .filter(|&leaf| columns.leaf_included(leaf))
                    .map(|leaf| descriptor.get_column_root_idx(leaf))
                    .collect();
                let mut fields: Vec<usize> = roots;
                fields.dedup();
                Ok(RecordBatch::new_empty(Arc::new(metadata.schema().project(&fields)?)))
            }
            [first, ..] => Ok(concat_batches(&first.schema(), &batches)?),
        }
    }

    /// Exactly these bytes.
    pub(super) async fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        if ranges.iter().any(|range| range.start >= range.end || range.end > self.bytes) {
            return Err(Error::block_damaged(self.path.as_ref(), "it refers to bytes that it does not have"));
        }
        exact::ranges(self.objects.as_ref(), &self.path, self.bytes, ranges).await.map_err(|unread| match unread {
            Unread::CutShort { found } => {
                let reason = format!("it has {found} bytes, the manifest says {}", self.bytes);
                Error::block_damaged(self.path.as_ref(), reason)
            }
            Unread::Store(error) => Error::objects("read", &self.path)(error),
        })
    }

    pub(super) fn damaged(&self, error: &parquet::errors::ParquetError) -> Error {
        Error::block_damaged(self.path.as_ref(), error.to_string())
    }
}

/// What a footer, which has no checksum, must say for readers to rely on it; else what is wrong.
fn check_row_groups(metadata: &ParquetMetaData, rows: u64, file_bytes: u64) -> Result<(), &'static str> {
    let mut row_count = 0u64;
    for group in metadata.row_groups() {
        let group_rows = u64::try_from(group.num_rows()).ok();
        row_count =
            group_rows.and_then(|rows| row_count.checked_add(rows)).ok_or("a row group has no number of rows")?;
        for chunk in group.columns() {
            let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
            let end = start.checked_add(chunk.compressed_size()).and_then(|end| u64::try_from(end).ok());
            if start < 0 || chunk.compressed_size() < 0 || end.is_none_or(|end| end > file_bytes) {
                return Err("a column does not lie in it");
            }
        }
    }
    if row_count == rows { Ok(()) } else { Err("it has another number of rows than the manifest says") }
}

fn decode_all(content: Bytes) -> Result<RecordBatch, parquet::errors::ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(content)?;
    let rows = builder.metadata().file_metadata().num_rows() as usize;
    one_batch(builder.with_batch_size(rows.max(1)))
}

type Drained = (Result<Option<Vec<Range<u64>>>, parquet::errors::ParquetError>, Vec<RecordBatch>, ParquetPushDecoder);

/// Decodes until more bytes are needed (`Some`) or all is read (`None`).
fn drain(mut decoder: ParquetPushDecoder) -> Drained {
    let mut batches = Vec::new();
    let step = loop {
        match decoder.try_decode() {
            Ok(DecodeResult::Data(batch)) => batches.push(batch),
            Ok(DecodeResult::NeedsData(ranges)) => break Ok(Some(ranges)),
            Ok(DecodeResult::Finished) => break Ok(None),
            Err(error) => break Err(error),
        }
    };
    (step, batches, decoder)
}
