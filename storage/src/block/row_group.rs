//! One row group of a Parquet file, a column after the other.
//!
//! The writer of each column has a compressor of about a megabyte. Only one of them works at a time here: writing a batch
//! to all hundred at once would cost a hundred times that memory, all of it touched for the first time.

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::writer::SerializedFileWriter;

use crate::error::Error;

/// A Parquet file that is written in whole row groups, into memory.
pub(super) struct FileWriter {
    file: SerializedFileWriter<Vec<u8>>,
    columns: ArrowRowGroupWriterFactory,
}

impl FileWriter {
    pub(super) fn of(writer: ArrowWriter<Vec<u8>>) -> Result<Self, Error> {
        let (file, columns) = writer.into_serialized_writer()?;
        Ok(Self { file, columns })
    }

    /// Writes all rows of `batch`, which has the schema of the file, as one row group.
    pub(super) fn write_row_group(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let row_group = self.file.flushed_row_groups().len();
        let mut writers = self.columns.create_column_writers(row_group)?.into_iter();
        let mut row_group = self.file.next_row_group()?;
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            for leaf in compute_leaves(field, column)? {
                let missing = || ParquetError::General("the schema of the batch is not that of the file".to_owned());
                let mut writer = writers.next().ok_or_else(missing)?;
                writer.write(&leaf)?;
                writer.close()?.append_to_row_group(&mut row_group)?;
            }
        }
        row_group.close()?;
        Ok(())
    }

    /// Adds an entry to the footer.
    pub(super) fn add_entry(&mut self, entry: KeyValue) {
        self.file.append_key_value_metadata(entry);
    }

    /// The bytes that were written since they were last taken.
    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(self.file.inner_mut())
    }

    /// Writes the footer. Returns the last bytes, and what the footer says.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, ParquetMetaData), Error> {
        let metadata = self.file.finish()?;
        Ok((self.take_bytes(), metadata))
    }
}
