//! One row group of a Parquet file, a column after the other.
//!
//! The writer of each column has a compressor of about a megabyte. Only those of one field are there at a time: writing a
//! batch to all hundred at once would cost a hundred times that memory, all of it touched for the first time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use crate::error::Error;

/// A Parquet file that is written in whole row groups, into memory.
pub(super) struct FileWriter {
    file: SerializedFileWriter<Vec<u8>>,
    /// Of each field.
    columns: Vec<ArrowRowGroupWriterFactory>,
}

impl FileWriter {
    pub(super) fn new(schema: &SchemaRef, properties: &WriterProperties) -> Result<Self, Error> {
        let parts = |schema: SchemaRef| {
            ArrowWriter::try_new(Vec::new(), schema, Some(properties.clone()))?.into_serialized_writer()
        };
        let (file, _) = parts(schema.clone())?;
        let of_field = |field| Ok(parts(Arc::new(Schema::new(vec![Arc::clone(field)])))?.1);
        let columns = schema.fields().iter().map(of_field).collect::<Result<_, ParquetError>>()?;
        Ok(Self { file, columns })
    }

    /// Writes all rows of `batch`, which has the schema of the file, as one row group.
    pub(super) fn write_row_group(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        if batch.num_columns() != self.columns.len() {
            return Err(ParquetError::General("the schema of the batch is not that of the file".to_owned()).into());
        }
        let number = self.file.flushed_row_groups().len();
        let mut row_group = self.file.next_row_group()?;
        let fields = batch.schema_ref().fields().iter().zip(batch.columns());
        for ((field, column), writers) in fields.zip(&self.columns) {
            let writers = writers.create_column_writers(number)?;
            for (leaf, mut writer) in compute_leaves(field, column)?.iter().zip(writers) {
                writer.write(leaf)?;
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
