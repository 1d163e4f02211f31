//! Bytes of a stored Parquet file → record batches. Fetching is async, decoding goes through [`crate::cpu`].

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder, RowGroupMetaData};

use super::chunks::Chunks;
use super::columns::{ColumnRead, FetchedColumns, FileColumns, one_batch};
use crate::cpu::{CpuPool, panic_message};
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

    /// The bytes of some columns, in one round.
    pub(super) async fn fetch_columns(&self, read: ColumnRead) -> Result<FetchedColumns, Error> {
        let ranges = read.ranges();
        let bytes = if ranges.is_empty() { Vec::new() } else { self.fetch(&ranges).await? };
        Ok(FetchedColumns { read, bytes })
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

    /// The same, where the caller is on the pool.
    pub(super) fn decoding<T>(&self, work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, Error> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(decoded) => decoded.map_err(|error| self.damaged(&error)),
            Err(panic) => Err(Error::block_damaged(self.path.as_ref(), panic_message(panic.as_ref()))),
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

    pub(super) fn damaged(&self, error: &ParquetError) -> Error {
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

/// Columns lose their compression before Parquet's reader sees them, where the file says where its pages are; see `pages.rs`.
fn decode_all(content: Bytes) -> Result<RecordBatch, ParquetError> {
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
    let metadata = ArrowReaderMetadata::load(&content, options)?;
    let file = metadata.metadata();
    let Ok(chunks) = (0..file.num_row_groups()).map(|group| Chunks::of(file, group)).collect::<Result<Vec<_>, _>>()
    else {
        let rows = file.file_metadata().num_rows() as usize;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(content, metadata);
        return one_batch(builder.with_batch_size(rows.max(1)));
    };
    let columns = FileColumns::of(&metadata);
    let decode =
        |(chunks, group): (&Chunks, &RowGroupMetaData)| columns.decode_all(chunks, group.num_rows() as usize, &content);
    let batches = chunks.iter().zip(file.row_groups()).map(decode).collect::<Result<Vec<_>, ParquetError>>()?;
    Ok(concat_batches(metadata.schema(), &batches)?)
}
