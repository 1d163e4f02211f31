//! What a fetch brought → records. Pure.
//!
//! ```text
//! batch: base offset i64 │ length i32 │ leader's epoch i32 │ magic i8 = 2 │ crc32c u32 │ attributes i16 │ last offset's
//!        delta i32 │ times 2 × i64 │ producer i64, i16, i32 │ count i32 │ records, compressed as the attributes say
//! record: length │ attributes i8 │ time's delta │ offset's delta │ key │ value │ headers; numbers and lengths are varints
//! ```

mod unpack;

use bytes::Bytes;

use self::unpack::unpack;
use crate::wire::{Malformed, Reader};

/// Bytes of a batch's records, unpacked. No broker takes so large a batch unless it is told to.
const MAX_BATCH_BYTES: usize = 64 << 20;
/// Offset and length, which stand before what the length is of.
const BATCH_HEAD_BYTES: usize = 12;
const MAGIC: i8 = 2;
const COMPRESSION_MASK: i16 = 0x07;
const CONTROL_BIT: i16 = 0x20;

/// Where a record stands in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub place: Place,
    /// Empty where the record has none.
    pub value: Bytes,
    pub headers: Vec<(Bytes, Bytes)>,
}

impl Record {
    /// The first header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.as_ref())
    }
}

/// Records that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Of the first of them.
    pub place: Place,
    pub reason: String,
}

/// What stands in a partition from an offset on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) records: Vec<Record>,
    pub(crate) damaged: Vec<Damaged>,
    /// The offset behind all of these; `None` where there is no whole batch.
    pub(crate) next_offset: Option<i64>,
}

/// Why the records of a batch cannot be read.
#[derive(Debug, thiserror::Error)]
enum BatchError {
    #[error("a batch of a form older than Kafka 0.11 (magic {0})")]
    Old(i8),
    #[error("a batch whose checksum is not that of its bytes")]
    Checksum,
    #[error("a batch: {0}")]
    Malformed(#[from] Malformed),
    #[error("unpack a batch: {0}")]
    Unpack(#[from] unpack::Error),
}

/// Reads whole batches; records before `from` belong to batches that were fetched for their end.
pub(crate) fn read(batches: Bytes, partition: i32, from: i64) -> Read {
    let mut read = Read::default();
    let mut reader = Reader::new(batches);
    while let Some((base_offset, batch)) = next_batch(&mut reader) {
        let next = read.next_offset.unwrap_or(from);
        match Batch::read(base_offset, batch) {
            Ok(batch) => {
                let last_offset = batch.last_offset;
                match batch.records(Place { partition, offset: next }) {
                    Ok(records) => read.records.extend(records),
                    Err(error) => read.damaged.push(damaged(partition, next.max(base_offset), &error)),
                }
                read.next_offset = Some(next.max(last_offset + 1));
            }
            // of a batch without a head nobody knows how many records it has
            Err(error) => {
                read.damaged.push(damaged(partition, next.max(base_offset), &error));
                read.next_offset = Some(next.max(base_offset + 1));
            }
        }
    }
    read
}

fn damaged(partition: i32, offset: i64, error: &BatchError) -> Damaged {
    Damaged { place: Place { partition, offset }, reason: error.to_string() }
}

/// The offset and the bytes of the next batch; `None` when the rest is no whole one.
fn next_batch(reader: &mut Reader) -> Option<(i64, Bytes)> {
    if reader.remaining() < BATCH_HEAD_BYTES {
        return None;
    }
    let (base_offset, length) = (reader.i64().ok()?, reader.i32().ok()?);
    Some((base_offset, reader.take(usize::try_from(length).ok()?).ok()?))
}

struct Batch {
    base_offset: i64,
    last_offset: i64,
    attributes: i16,
    count: i32,
    packed: Bytes,
}

impl Batch {
    fn read(base_offset: i64, batch: Bytes) -> Result<Self, BatchError> {
        let mut reader = Reader::new(batch);
        reader.i32()?; // the leader's epoch
        let magic = reader.i8()?;
        if magic != MAGIC {
            return Err(BatchError::Old(magic));
        }
        let checksum = reader.i32()?.cast_unsigned();
        let content = reader.rest();
        if crc32c(&content) != checksum {
            return Err(BatchError::Checksum);
        }
        let mut reader = Reader::new(content);
        let (attributes, last_delta) = (reader.i16()?, reader.i32()?);
        reader.take(2 * size_of::<i64>())?; // times
        reader.take(size_of::<i64>() + size_of::<i16>() + size_of::<i32>())?; // producer
        let count = reader.i32()?;
        let last_offset = base_offset.saturating_add(last_delta.into());
        Ok(Self { base_offset, last_offset, attributes, count, packed: reader.rest() })
    }

    /// The records from a place on. What brokers write about transactions is none.
    fn records(self, from: Place) -> Result<Vec<Record>, BatchError> {
        if self.attributes & CONTROL_BIT != 0 {
            return Ok(Vec::new());
        }
        let mut reader = Reader::new(unpack(self.packed, self.attributes & COMPRESSION_MASK, MAX_BATCH_BYTES)?);
        let mut records = Vec::new();
        for _ in 0..self.count {
            let length = usize::try_from(reader.varint()?).map_err(|_| Malformed::Length)?;
            let record = record(&mut Reader::new(reader.take(length)?), self.base_offset, from.partition)?;
            if record.place.offset >= from.offset {
                records.push(record);
            }
        }
        Ok(records)
    }
}

fn record(reader: &mut Reader, base_offset: i64, partition: i32) -> Result<Record, Malformed> {
    reader.i8()?; // attributes: none are defined
    reader.varint()?; // time
    let offset = base_offset.saturating_add(reader.varint()?);
    reader.varint_bytes()?; // key
    let value = reader.varint_bytes()?.unwrap_or_default();
    let count = reader.varint()?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let key = reader.varint_bytes()?.unwrap_or_default();
        headers.push((key, reader.varint_bytes()?.unwrap_or_default()));
    }
    Ok(Record { place: Place { partition, offset }, value, headers })
}

/// Castagnoli's polynomial, reflected, a byte at a time.
const CRC32C: [u32; 256] = {
    let mut table = [0_u32; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ CRC32C[usize::from((crc as u8) ^ byte)])
}

#[cfg(test)]
mod tests;
