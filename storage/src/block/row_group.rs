//! One row group of a Parquet file, a column after the other.
//!
//! Only the writers of one field are there at a time: writing a batch to all hundred at once would hold the pages of all,
//! without compression.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::encoded_chunk::{EncodedChunk, Pages};
use crate::error::Error;

/// Columns that need no writer any more: their chunks, one of each leaf, by number of the field.
pub(crate) type EncodedColumns = BTreeMap<usize, Vec<EncodedChunk>>;

/// A Parquet file that is written in whole row groups, into memory.
pub(super) struct FileWriter {
    file: SerializedFileWriter<Vec<u8>>,
    /// Of each field.
    columns: Vec<FieldWriter>,
}

/// Makes the column chunks of one field.
struct FieldWriter {
    field: FieldRef,
    factory: ArrowRowGroupWriterFactory,
    /// Where the factory's writers put their pages.
    pages: Pages,
    /// Of each leaf.
    compression: Vec<Compression>,
}

impl FieldWriter {
    fn new(field: &FieldRef, properties: &WriterProperties) -> Result<Self, ParquetError> {
        let (field, schema) = (Arc::clone(field), Arc::new(Schema::new(vec![Arc::clone(field)])));
        let without_compression = properties.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build();
        let writer = ArrowWriter::try_new(Vec::new(), schema, Some(without_compression))?;
        let (file, factory) = writer.into_serialized_writer()?;
        let leaves = file.schema_descr().columns().iter();
        let compression = leaves.map(|leaf| properties.compression(leaf.path())).collect();
        let pages = Pages::default();
        let factory = factory.with_page_store_factory(Arc::new(pages.clone()));
        Ok(Self { field, factory, pages, compression })
    }

    /// The chunks of a row group, one after the other, from arrays with its rows.
    fn encode<'a>(
        &self,
        arrays: impl Iterator<Item = &'a ArrayRef>,
        row_group: usize,
    ) -> Result<Vec<EncodedChunk>, ParquetError> {
        let leaves = arrays.map(|array| compute_leaves(&self.field, array)).collect::<Result<Vec<_>, _>>()?;
        let writers = self.factory.create_column_writers(row_group)?.into_iter().zip(&self.compression).enumerate();
        let chunks = writers.map(|(leaf, (mut writer, compression))| {
            leaves.iter().try_for_each(|of_array| writer.write(&of_array[leaf]))?;
            EncodedChunk::compressed(&mut writer.close()?, &self.pages, *compression)
        });
        chunks.collect()
    }
}

impl FileWriter {
    pub(super) fn new(schema: &SchemaRef, properties: &WriterProperties) -> Result<Self, Error> {
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties.clone()))?;
        let (file, _) = writer.into_serialized_writer()?;
        let of_field = |field| FieldWriter::new(field, properties);
        let columns = schema.fields().iter().map(of_field).collect::<Result<_, ParquetError>>()?;
        Ok(Self { file, columns })
    }

    /// Writes a row group. Columns that `encoded` has, by number of the field, are taken from there; `batches` have the
    /// others, in their order.
    pub(super) fn write_row_group(
        &mut self,
        batches: &[RecordBatch],
        mut encoded: EncodedColumns,
    ) -> Result<(), Error> {
        let column_count = self.columns.len() - encoded.len();
        if batches.iter().any(|batch| batch.num_columns() != column_count) {
            return Err(ParquetError::General("the schema of a batch is not that of the file".to_owned()).into());
        }
        let number = self.file.flushed_row_groups().len();
        let (mut row_group, mut column) = (self.file.next_row_group()?, 0);
        for (at, writer) in self.columns.iter().enumerate() {
            let chunks = match encoded.remove(&at) {
                Some(chunks) => chunks,
                None => {
                    column += 1;
                    writer.encode(batches.iter().map(|batch| batch.column(column - 1)), number)?
                }
            };
            for EncodedChunk { content, close } in chunks {
                row_group.append_column(&content, close)?;
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
