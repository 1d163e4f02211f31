//! One row group of a Parquet file, a column after the other.
//!
//! The writer of each column has a compressor of about a megabyte. Only one of them works at a time here: writing a batch
//! to all hundred at once would cost a hundred times that memory, all of it touched for the first time.

use std::io::Write;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;

use crate::error::Error;

/// A Parquet file that is written in whole row groups.
pub(super) struct FileWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: ArrowRowGroupWriterFactory,
}

impl<W: Write + Send> FileWriter<W> {
    pub(super) fn of(writer: ArrowWriter<W>) -> Result<Self, Error> {
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

    pub(super) fn file(&mut self) -> &mut SerializedFileWriter<W> {
        &mut self.file
    }

    /// Writes the footer.
    pub(super) fn finish(self) -> Result<W, Error> {
        Ok(self.file.into_inner()?)
    }
}
