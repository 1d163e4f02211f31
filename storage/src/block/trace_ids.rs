//! The ids of a block's traces, for a trace map: read from a file whose checksum is right, or not at all.

use arrow::array::AsArray;
use bytes::Bytes;
use model::TraceId;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use spans::schema::trace_column;

use super::fetch::StoredFile;
use super::meta::BlockMeta;
use crate::cpu::CpuPool;
use crate::error::Error;
use crate::paths::BlockFile;

/// All of them, in the order of the table.
///
/// # Errors
/// [`Error::BlockDamaged`] when the table of traces is not what the meta says, or does not have so many traces.
pub(super) async fn read_trace_ids(
    file: &StoredFile,
    meta: &BlockMeta,
    traces: u64,
    cpu: &CpuPool,
) -> Result<Vec<TraceId>, Error> {
    let content = file.fetch_all().await?;
    file.check(&content, meta.listed(BlockFile::Traces, &file.path)?.crc32)?;
    let ids = file.decode(cpu, move || decode(content)).await?.map_err(|error| file.damaged(&error))?;
    match ids.len() as u64 == traces {
        true => Ok(ids),
        false => {
            let reason = format!("it has {} traces, the manifest says {traces}", ids.len());
            Err(Error::block_damaged(file.path.as_ref(), reason))
        }
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
