//! A span table as bytes: the Arrow IPC streams of `spans`, `traces`, `resources` and `scopes`, each behind its length in
//! eight bytes, little-endian. Before them stands the CRC-32 of all of it: Arrow's reader panics on bytes that are damaged.

use arrow::array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use spans::SpanTable;

use super::damaged;
use crate::question::PeerError;

const CRC_BYTES: usize = 4;
const LENGTH_BYTES: usize = 8;

pub(crate) fn encode(table: &SpanTable) -> Result<Vec<u8>, PeerError> {
    let mut bytes = vec![0; CRC_BYTES];
    for batch in [&table.spans, &table.traces, &table.resources, &table.scopes] {
        let begin = bytes.len();
        bytes.extend([0; LENGTH_BYTES]);
        write(batch, &mut bytes).map_err(|error| PeerError::Refused(error.to_string()))?;
        let length = (bytes.len() - begin - LENGTH_BYTES) as u64;
        bytes[begin..begin + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    }
    let crc = crc32fast::hash(&bytes[CRC_BYTES..]);
    bytes[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

fn write(batch: &RecordBatch, bytes: &mut Vec<u8>) -> Result<(), arrow::error::ArrowError> {
    let mut writer = StreamWriter::try_new(bytes, batch.schema_ref())?;
    writer.write(batch)?;
    writer.finish()
}

/// The table again. That each trace has the spans that it says is looked at here, so that nobody reads past the end.
pub(crate) fn decode(bytes: &[u8]) -> Result<SpanTable, PeerError> {
    let (crc, mut bytes) = bytes.split_first_chunk::<CRC_BYTES>().ok_or_else(|| damaged("it ends early"))?;
    if crc32fast::hash(bytes) != u32::from_le_bytes(*crc) {
        return Err(damaged("it was changed on its way"));
    }
    let mut next = || {
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| damaged("it ends early"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(damaged)?;
        let (stream, rest) = rest.split_at_checked(length).ok_or_else(|| damaged("it ends early"))?;
        bytes = rest;
        read(stream)
    };
    let (spans, traces, resources, scopes) = (next()?, next()?, next()?, next()?);
    SpanTable { spans, traces, resources, scopes }.renumbered().map_err(damaged)
}

fn read(stream: &[u8]) -> Result<RecordBatch, PeerError> {
    let mut reader = StreamReader::try_new(stream, None).map_err(damaged)?;
    let batch = reader.next().ok_or_else(|| damaged("it has no rows"))?.map_err(damaged)?;
    match reader.next() {
        None => Ok(batch),
        Some(_) => Err(damaged("it has more rows than one table")),
    }
}
