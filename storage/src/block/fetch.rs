//! Bytes of a stored Parquet file → record batches. Fetching is async, decoding goes through [`crate::cpu`].

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataPushDecoder};

use crate::cpu::CpuPool;
use crate::error::Error;

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
    /// Schema, row groups and page locations.
    pub(super) async fn load_metadata(&self, cpu: &CpuPool) -> Result<ArrowReaderMetadata, Error> {
        let mut decoder = ParquetMetaDataPushDecoder::try_new(self.bytes)
            .map_err(|error| self.damaged(&error))?
            .with_column_index_policy(PageIndexPolicy::Skip)
            .with_offset_index_policy(PageIndexPolicy::Optional);
        let tail = self.bytes.saturating_sub(FOOTER_GUESS_BYTES)..self.bytes;
        let guess = self.fetch(std::slice::from_ref(&tail)).await?;
        decoder.push_ranges(vec![tail], guess).map_err(|error| self.damaged(&error))?;
        let this = self.clone();
        loop {
            let (decoded, again) = cpu.run(move || (decoder.try_decode(), decoder)).await?;
            decoder = again;
            match decoded.map_err(|error| this.damaged(&error))? {
                DecodeResult::NeedsData(ranges) => {
                    let data = self.fetch(&ranges).await?;
                    decoder.push_ranges(ranges, data).map_err(|error| this.damaged(&error))?;
                }
                DecodeResult::Data(metadata) => {
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
            let (step, decoded, again) = cpu.run(move || drain(decoder)).await?;
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

    /// All rows and columns, by one request: for the small files of a block.
    pub(super) async fn read_all(&self, cpu: &CpuPool) -> Result<RecordBatch, Error> {
        self.decode_all(self.fetch_all().await?, cpu).await
    }

    /// As [`read_all`](Self::read_all), of a file that must have this checksum.
    pub(super) async fn read_checked(&self, crc32: u32, cpu: &CpuPool) -> Result<RecordBatch, Error> {
        let content = self.fetch_all().await?;
        match content.len() as u64 == self.bytes && crc32fast::hash(&content) == crc32 {
            true => self.decode_all(content, cpu).await,
            false => Err(Error::block_damaged(self.path.as_ref(), "checksum does not match")),
        }
    }

    async fn fetch_all(&self) -> Result<Bytes, Error> {
        self.objects.get_range(&self.path, 0..self.bytes).await.map_err(Error::objects("read", &self.path))
    }

    async fn decode_all(&self, content: Bytes, cpu: &CpuPool) -> Result<RecordBatch, Error> {
        cpu.run(move || decode_all(content)).await?.map_err(|error| self.damaged(&error))
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

    pub(super) async fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        self.objects.get_ranges(&self.path, ranges).await.map_err(Error::objects("read", &self.path))
    }

    pub(super) fn damaged(&self, error: &parquet::errors::ParquetError) -> Error {
        Error::block_damaged(self.path.as_ref(), error.to_string())
    }
}

fn decode_all(content: Bytes) -> Result<RecordBatch, parquet::errors::ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(content)?;
    let (schema, rows) = (builder.schema().clone(), builder.metadata().file_metadata().num_rows() as usize);
    let batches: Result<Vec<RecordBatch>, _> = builder.with_batch_size(rows.max(1)).build()?.collect();
    Ok(concat_batches(&schema, &batches?)?)
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
