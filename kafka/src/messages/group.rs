//! What is said to the broker that coordinates a group.

use bytes::Bytes;

use super::{Broker, Request, Result};
use crate::error::ErrorCode;
use crate::wire::{Reader, Writer};

/// A member, in one of the group's generations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Membership<'a> {
    pub(crate) group: &'a str,
    pub(crate) generation: i32,
    pub(crate) member: &'a str,
}

pub(crate) struct FindCoordinator<'a>(pub(crate) &'a str);

impl Request for FindCoordinator<'_> {
    const NAME: &'static str = "FindCoordinator";
    const KEY: i16 = 10;
    const VERSION: i16 = 0;
    type Response = (ErrorCode, Broker);

    fn write(&self, writer: &mut Writer) {
        writer.string(self.0);
    }

    fn read(reader: &mut Reader) -> Result<Self::Response> {
        let error = ErrorCode(reader.i16()?);
        Ok((error, Broker { id: reader.i32()?, host: reader.string()?, port: reader.i32()? }))
    }
}

pub(crate) struct JoinGroup<'a> {
    pub(crate) group: &'a str,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    /// Empty for a new member.
    pub(crate) member: &'a str,
    /// How partitions are shared, and what this member brings to it.
    pub(crate) protocol: (&'a str, &'a [u8]),
}

pub(crate) struct JoinGroupResponse {
    pub(crate) error: ErrorCode,
    pub(crate) generation: i32,
    pub(crate) leader: String,
    pub(crate) member: String,
    /// All members with what they bring, for the leader alone.
    pub(crate) members: Vec<(String, Bytes)>,
}

impl Request for JoinGroup<'_> {
    const NAME: &'static str = "JoinGroup";
    const KEY: i16 = 11;
    const VERSION: i16 = 2;
    type Response = JoinGroupResponse;

    fn write(&self, writer: &mut Writer) {
        writer.string(self.group);
        writer.i32(self.session_timeout_ms);
        writer.i32(self.rebalance_timeout_ms);
        writer.string(self.member);
        writer.string("consumer");
        writer.list(&[self.protocol], |writer, (name, metadata)| {
            writer.string(name);
            writer.bytes(metadata);
        });
    }

    fn read(reader: &mut Reader) -> Result<JoinGroupResponse> {
        reader.i32()?; // throttled for
        let (error, generation) = (ErrorCode(reader.i16()?), reader.i32()?);
        reader.string()?; // the protocol: there is but one
        let (leader, member) = (reader.string()?, reader.string()?);
        let members = reader.list(|reader| Ok((reader.string()?, reader.bytes()?)))?;
        Ok(JoinGroupResponse { error, generation, leader, member, members })
    }
}

pub(crate) struct SyncGroup<'a> {
    pub(crate) of: Membership<'a>,
    /// From the leader: what each member reads.
    pub(crate) assignments: &'a [(String, Bytes)],
}

impl Request for SyncGroup<'_> {
    const NAME: &'static str = "SyncGroup";
    const KEY: i16 = 14;
    const VERSION: i16 = 0;
    /// What this member reads.
    type Response = (ErrorCode, Bytes);

    fn write(&self, writer: &mut Writer) {
        self.of.write(writer);
        writer.list(self.assignments, |writer, (member, assignment)| {
            writer.string(member);
            writer.bytes(assignment);
        });
    }

    fn read(reader: &mut Reader) -> Result<Self::Response> {
        Ok((ErrorCode(reader.i16()?), reader.bytes()?))
    }
}

pub(crate) struct Heartbeat<'a>(pub(crate) Membership<'a>);

impl Request for Heartbeat<'_> {
    const NAME: &'static str = "Heartbeat";
    const KEY: i16 = 12;
    const VERSION: i16 = 0;
    type Response = ErrorCode;

    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<ErrorCode> {
        Ok(ErrorCode(reader.i16()?))
    }
}

pub(crate) struct LeaveGroup<'a> {
    pub(crate) group: &'a str,
    pub(crate) member: &'a str,
}

impl Request for LeaveGroup<'_> {
    const NAME: &'static str = "LeaveGroup";
    const KEY: i16 = 13;
    const VERSION: i16 = 0;
    type Response = ErrorCode;

    fn write(&self, writer: &mut Writer) {
        writer.string(self.group);
        writer.string(self.member);
    }

    fn read(reader: &mut Reader) -> Result<ErrorCode> {
        Ok(ErrorCode(reader.i16()?))
    }
}

pub(crate) struct OffsetFetch<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partitions: &'a [i32],
}

pub(crate) struct CommittedOffset {
    pub(crate) partition: i32,
    /// -1 where the group has read nothing.
    pub(crate) offset: i64,
    pub(crate) error: ErrorCode,
}

impl Request for OffsetFetch<'_> {
    const NAME: &'static str = "OffsetFetch";
    const KEY: i16 = 9;
    const VERSION: i16 = 1;
    type Response = Vec<CommittedOffset>;

    fn write(&self, writer: &mut Writer) {
        writer.string(self.group);
        writer.list(&[self.topic], |writer, topic| {
            writer.string(topic);
            writer.list(self.partitions, |writer, partition| writer.i32(*partition));
        });
    }

    fn read(reader: &mut Reader) -> Result<Self::Response> {
        let topics = reader.list(|reader| {
            reader.string()?;
            reader.list(|reader| {
                let (partition, offset) = (reader.i32()?, reader.i64()?);
                reader.nullable_string()?; // what whoever committed wrote beside it
                Ok(CommittedOffset { partition, offset, error: ErrorCode(reader.i16()?) })
            })
        })?;
        Ok(topics.into_iter().flatten().collect())
    }
}

pub(crate) struct OffsetCommit<'a> {
    pub(crate) of: Membership<'a>,
    pub(crate) topic: &'a str,
    /// By partition, the offset of the next record.
    pub(crate) offsets: &'a [(i32, i64)],
}

impl Request for OffsetCommit<'_> {
    const NAME: &'static str = "OffsetCommit";
    const KEY: i16 = 8;
    const VERSION: i16 = 2;
    /// By partition.
    type Response = Vec<(i32, ErrorCode)>;

    fn write(&self, writer: &mut Writer) {
        self.of.write(writer);
        writer.i64(-1); // kept for as long as the broker keeps offsets
        writer.list(&[self.topic], |writer, topic| {
            writer.string(topic);
            writer.list(self.offsets, |writer, (partition, offset)| {
                writer.i32(*partition);
                writer.i64(*offset);
                writer.null_string();
            });
        });
    }

    fn read(reader: &mut Reader) -> Result<Self::Response> {
        let topics = reader.list(|reader| {
            reader.string()?;
            reader.list(|reader| Ok((reader.i32()?, ErrorCode(reader.i16()?))))
        })?;
        Ok(topics.into_iter().flatten().collect())
    }
}

impl Membership<'_> {
    fn write(&self, writer: &mut Writer) {
        writer.string(self.group);
        writer.i32(self.generation);
        writer.string(self.member);
    }
}
