//! The ids of a block's traces, for a trace map: read from a file whose checksum is right, or not at all.

use std::sync::Arc;

use arrow::array::AsArray;
use bytes::Bytes;
use model::{TenantId, TraceId};
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use spans::schema::trace_column;

use super::meta::FileMeta;
use super::whole::{file_meta, read_meta};
use crate::cpu::CpuPool;
use crate::error::Error;
use crate::manifest::BlockEntry;
use crate::paths::{self, BlockFile};

/// All of them, ascending.
///
/// # Errors
/// [`Error::BlockDamaged`] when the table of traces is not what `meta.json` and the manifest say.
pub(crate) async fn read_trace_ids(
    tenant: &TenantId,
    entry: &BlockEntry,
    objects: &Arc<dyn ObjectStore>,
    cpu: &CpuPool,
) -> Result<Vec<TraceId>, Error> {
    let (meta_path, path) = (
        paths::block_file(tenant, &entry.id, BlockFile::Meta),
        paths::block_file(tenant, &entry.id, BlockFile::Traces),
    );
    let meta = read_meta(objects.as_ref(), &meta_path, entry).await?;
    let FileMeta { bytes, crc32, .. } = file_meta(&meta, BlockFile::Traces, &meta_path)?;
    let content = objects.get_range(&path, 0..bytes).await.map_err(Error::objects("read", &path))?;
    let damaged = |reason: String| Error::block_damaged(path.as_ref(), reason);
    if content.len() as u64 != bytes || crc32fast::hash(&content) != crc32 {
        return Err(damaged("checksum does not match".to_owned()));
    }
    let ids = cpu.run(move || decode(content)).await?.map_err(|error| damaged(error.to_string()))?;
    match ids.len() as u64 == entry.traces {
        true => Ok(ids),
        false => Err(damaged(format!("it has {} traces, the manifest says {}", ids.len(), entry.traces))),
    }
}

/// One column of the table; the others are not decoded.
fn decode(content: Bytes) -> Result<Vec<TraceId>, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(content)?;
    let column = ProjectionMask::columns(builder.parquet_schema(), [trace_column::TRACE_ID]);
    let mut ids = Vec::new();
    for batch in builder.with_projection(column).build()? {
        let batch = batch?;
        let of_batch = batch.column_by_name(trace_column::TRACE_ID).and_then(|ids| ids.as_fixed_size_binary_opt());
        let of_batch = of_batch.ok_or_else(|| ParquetError::General("it has no trace ids".to_owned()))?;
        ids.extend(of_batch.iter().filter_map(|id| Some(TraceId(id?.try_into().ok()?))));
    }
    Ok(ids)
}
