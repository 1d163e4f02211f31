//! What is said to the broker that leads a partition.

use std::time::Duration;

use bytes::Bytes;

use super::{Request, Result};
use crate::config::Start;
use crate::error::ErrorCode;
use crate::wire::{Reader, Writer};

/// The client is no replica.
const NO_REPLICA: i32 = -1;

/// Where some partitions begin or end.
pub(crate) struct ListOffsets<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partitions: &'a [i32],
    pub(crate) start: Start,
}

pub(crate) struct ListedOffset {
    pub(crate) partition: i32,
    pub(crate) error: ErrorCode,
    pub(crate) offset: i64,
}

impl Request for ListOffsets<'_> {
    const NAME: &'static str = "ListOffsets";
    const KEY: i16 = 2;
    const VERSION: i16 = 1;
    type Response = Vec<ListedOffset>;

    fn write(&self, writer: &mut Writer) {
        writer.i32(NO_REPLICA);
        writer.list(&[self.topic], |writer, topic| {
            writer.string(topic);
            writer.list(self.partitions, |writer, partition| {
                writer.i32(*partition);
                writer.i64(match self.start {
                    Start::Latest => -1,
                    Start::Earliest => -2,
                });
            });
        });
    }

    fn read(reader: &mut Reader) -> Result<Self::Response> {
        let topics = reader.list(|reader| {
            reader.string()?;
            reader.list(|reader| {
                let (partition, error) = (reader.i32()?, ErrorCode(reader.i16()?));
                reader.i64()?; // time
                Ok(ListedOffset { partition, error, offset: reader.i64()? })
            })
        })?;
        Ok(topics.into_iter().flatten().collect())
    }
}

/// Records of some partitions of a topic.
pub(crate) struct Fetch<'a> {
    pub(crate) max_wait: Duration,
    pub(crate) max_bytes: i32,
    pub(crate) max_partition_bytes: i32,
    pub(crate) topic: &'a str,
    /// By partition, the offset of the next record.
    pub(crate) offsets: &'a [(i32, i64)],
}

pub(crate) struct FetchedPartition {
    pub(crate) partition: i32,
    pub(crate) error: ErrorCode,
    /// Batches of records, the last perhaps not whole.
    pub(crate) batches: Bytes,
}

impl Request for Fetch<'_> {
    const NAME: &'static str = "Fetch";
    const KEY: i16 = 1;
    const VERSION: i16 = 10;
    type Response = (ErrorCode, Vec<FetchedPartition>);

    fn write(&self, writer: &mut Writer) {
        writer.i32(NO_REPLICA);
        writer.i32(i32::try_from(self.max_wait.as_millis()).unwrap_or(i32::MAX));
        writer.i32(1); // least bytes
        writer.i32(self.max_bytes);
        writer.i8(0); // what transactions wrote that have not ended, too
        writer.i32(0); // no session …
        writer.i32(-1); // … is begun
        writer.list(&[self.topic], |writer, topic| {
            writer.string(topic);
            writer.list(self.offsets, |writer, (partition, offset)| {
                writer.i32(*partition);
                writer.i32(-1); // whichever epoch the leader is of
                writer.i64(*offset);
                writer.i64(-1); // of replicas
                writer.i32(self.max_partition_bytes);
            });
        });
        writer.i32(0); // partitions that a session forgets
    }

    fn read(reader: &mut Reader) -> Result<Self::Response> {
        reader.i32()?; // throttled for
        let error = ErrorCode(reader.i16()?);
        reader.i32()?; // session
        let topics = reader.list(|reader| {
            reader.string()?;
            reader.list(fetched_partition)
        })?;
        Ok((error, topics.into_iter().flatten().collect()))
    }
}

fn fetched_partition(reader: &mut Reader) -> Result<FetchedPartition> {
    let (partition, error) = (reader.i32()?, ErrorCode(reader.i16()?));
    reader.i64()?; // high watermark
    reader.i64()?; // last stable offset
    reader.i64()?; // first offset
    reader.list(|reader| Ok((reader.i64()?, reader.i64()?)))?; // aborted transactions
    Ok(FetchedPartition { partition, error, batches: reader.bytes()? })
}
