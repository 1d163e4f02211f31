//! Consecutive bytes of a Parquet file, which a decoder takes for the file.

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::compute::concat_batches;
use bytes::{Buf, Bytes};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// Consecutive bytes of a file.
#[derive(Clone)]
pub(super) struct Portion {
    pub start: u64,
    pub bytes: Bytes,
    pub file_bytes: u64,
}

impl Portion {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let skipped = start.checked_sub(self.start).and_then(|skipped| usize::try_from(skipped).ok());
        let skipped = skipped.filter(|&skipped| skipped <= self.bytes.len());
        skipped.map(|skipped| self.bytes.slice(skipped..)).ok_or_else(|| outside(start))
    }
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

fn outside(start: u64) -> ParquetError {
    ParquetError::General(format!("byte {start} is not in its row group"))
}

impl Length for Portion {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for Portion {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if length > bytes.len() { Err(outside(start + length as u64)) } else { Ok(bytes.slice(..length)) }
    }
}
