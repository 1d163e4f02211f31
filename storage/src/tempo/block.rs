//! The rows of a block: a stream of record batches, from any row on.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::meta::TempoBlockMeta;
use crate::error::Error;

/// Traces that are decoded together: one of 50,000 spans is some 100 MB in memory.
const TRACES_AT_A_TIME: usize = 64;

/// A block of Tempo's.
#[derive(Clone)]
pub struct TempoBlock {
    pub meta: TempoBlockMeta,
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) data: Path,
}

impl TempoBlock {
    /// Its name in the store.
    pub fn key(&self) -> &str {
        self.data.as_ref()
    }

    /// Its traces from row `start` on, in the order of their ids. `is_wanted` says of a leaf of the schema, by its path
    /// (`rs.list.element.Resource.ServiceName`), whether it is read. Row groups before `start` are not fetched.
    ///
    /// # Errors
    /// [`Error::Objects`] when the store cannot be read, [`Error::BlockDamaged`] for a file that is no Parquet.
    pub async fn traces(
        &self,
        start: u64,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<BoxStream<'static, Result<RecordBatch, Error>>, Error> {
        let bytes = self.objects.head(&self.data).await.map_err(Error::objects("read", &self.data))?.size;
        let file = File { objects: self.objects.clone(), path: self.data.clone(), bytes };
        let damaged = error_of(self.data.clone());
        let builder = ParquetRecordBatchStreamBuilder::new(file).await.map_err(&damaged)?;
        let (groups, skipped) = groups_from(builder.metadata(), start);
        let schema = builder.parquet_schema();
        let leaves = (0..schema.num_columns()).filter(|&leaf| is_wanted(&schema.column(leaf).path().string()));
        let mask = ProjectionMask::leaves(schema, leaves);
        let rows = builder.with_projection(mask).with_row_groups(groups).with_offset(skipped);
        let batches = rows.with_batch_size(TRACES_AT_A_TIME).build().map_err(&damaged)?;
        Ok(batches.map(move |batch| batch.map_err(&damaged)).boxed())
    }
}

/// The row groups that hold rows from `start` on, and how many rows of the first of them lie before it.
fn groups_from(metadata: &ParquetMetaData, start: u64) -> (Vec<usize>, usize) {
    let (mut groups, mut before) = (Vec::new(), 0);
    let mut skipped = 0;
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let rows = u64::try_from(group.num_rows()).unwrap_or_default();
        if groups.is_empty() {
            skipped = start.saturating_sub(before).min(rows);
        }
        before += rows;
        if before > start {
            groups.push(number);
        }
    }
    (groups, usize::try_from(skipped).unwrap_or(usize::MAX))
}

/// What the store could not do is said apart from what the file is not.
fn error_of(path: Path) -> impl Fn(ParquetError) -> Error + Clone {
    move |error| match error {
        ParquetError::External(source) => match source.downcast::<object_store::Error>() {
            Ok(source) => Error::objects("read", &path)(*source),
            Err(source) => Error::block_damaged(path.as_ref(), source.to_string()),
        },
        error => Error::block_damaged(path.as_ref(), error.to_string()),
    }
}

/// A stored file of known size, as the decoder asks for it.
struct File {
    objects: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for File {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { self.objects.get_range(&self.path, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.objects.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let bytes = self.bytes;
        let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
        async move { Ok(Arc::new(reader.load_and_finish(self, bytes).await?)) }.boxed()
    }
}
