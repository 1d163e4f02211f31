//! Requests and their answers: what is said to any broker. `group.rs` has what is said to the one that coordinates a group,
//! `fetch.rs` what is said to those that lead partitions.

pub(crate) mod fetch;
pub(crate) mod group;

use bytes::Bytes;

use crate::error::ErrorCode;
use crate::wire::{Malformed, Reader, Writer};

type Result<T> = std::result::Result<T, Malformed>;

/// A request in the one version that is spoken here.
pub(crate) trait Request {
    const NAME: &'static str;
    const KEY: i16;
    const VERSION: i16;
    type Response;

    fn write(&self, writer: &mut Writer);
    fn read(reader: &mut Reader) -> Result<Self::Response>;
}

/// All that is spoken: name, key, version.
pub(crate) const SPOKEN: [(&str, i16, i16); 10] = [
    spoken::<Metadata<'_>>(),
    spoken::<fetch::ListOffsets<'_>>(),
    spoken::<fetch::Fetch<'_>>(),
    spoken::<group::FindCoordinator<'_>>(),
    spoken::<group::JoinGroup<'_>>(),
    spoken::<group::SyncGroup<'_>>(),
    spoken::<group::Heartbeat<'_>>(),
    spoken::<group::LeaveGroup<'_>>(),
    spoken::<group::OffsetFetch<'_>>(),
    spoken::<group::OffsetCommit<'_>>(),
];

const fn spoken<R: Request>() -> (&'static str, i16, i16) {
    (R::NAME, R::KEY, R::VERSION)
}

/// Which versions a broker has.
pub(crate) struct ApiVersions;

pub(crate) struct VersionRange {
    pub(crate) key: i16,
    pub(crate) least: i16,
    pub(crate) greatest: i16,
}

impl Request for ApiVersions {
    const NAME: &'static str = "ApiVersions";
    const KEY: i16 = 18;
    const VERSION: i16 = 0;
    type Response = (ErrorCode, Vec<VersionRange>);

    fn write(&self, _writer: &mut Writer) {}

    fn read(reader: &mut Reader) -> Result<Self::Response> {
        let error = ErrorCode(reader.i16()?);
        let range = |reader: &mut Reader| {
            Ok(VersionRange { key: reader.i16()?, least: reader.i16()?, greatest: reader.i16()? })
        };
        Ok((error, reader.list(range)?))
    }
}

/// Which brokers there are, and which leads each partition of some topics.
pub(crate) struct Metadata<'a> {
    pub(crate) topics: &'a [String],
}

pub(crate) struct MetadataResponse {
    pub(crate) brokers: Vec<Broker>,
    pub(crate) topics: Vec<TopicMetadata>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: i32,
}

pub(crate) struct TopicMetadata {
    pub(crate) error: ErrorCode,
    pub(crate) name: String,
    pub(crate) partitions: Vec<PartitionMetadata>,
}

pub(crate) struct PartitionMetadata {
    pub(crate) index: i32,
    /// -1 while there is none.
    pub(crate) leader: i32,
}

impl Request for Metadata<'_> {
    const NAME: &'static str = "Metadata";
    const KEY: i16 = 3;
    const VERSION: i16 = 4;
    type Response = MetadataResponse;

    fn write(&self, writer: &mut Writer) {
        writer.list(self.topics, |writer, topic| writer.string(topic));
        writer.i8(0); // no topic is made by asking for it
    }

    fn read(reader: &mut Reader) -> Result<MetadataResponse> {
        reader.i32()?; // throttled for
        let brokers = reader.list(|reader| {
            let broker = Broker { id: reader.i32()?, host: reader.string()?, port: reader.i32()? };
            reader.nullable_string()?; // rack
            Ok(broker)
        })?;
        reader.nullable_string()?; // cluster
        reader.i32()?; // controller
        Ok(MetadataResponse { brokers, topics: reader.list(topic)? })
    }
}

fn topic(reader: &mut Reader) -> Result<TopicMetadata> {
    let (error, name) = (ErrorCode(reader.i16()?), reader.string()?);
    reader.i8()?; // internal
    let partitions = reader.list(|reader| {
        reader.i16()?; // said again where it is read from
        let partition = PartitionMetadata { index: reader.i32()?, leader: reader.i32()? };
        reader.list(Reader::i32)?; // replicas
        reader.list(Reader::i32)?; // those in sync
        Ok(partition)
    })?;
    Ok(TopicMetadata { error, name, partitions })
}

/// By which mechanism the client says who it is.
pub(crate) struct SaslHandshake(pub(crate) &'static str);

impl Request for SaslHandshake {
    const NAME: &'static str = "SaslHandshake";
    const KEY: i16 = 17;
    const VERSION: i16 = 1;
    /// With the mechanisms that the broker has.
    type Response = (ErrorCode, Vec<String>);

    fn write(&self, writer: &mut Writer) {
        writer.string(self.0);
    }

    fn read(reader: &mut Reader) -> Result<Self::Response> {
        Ok((ErrorCode(reader.i16()?), reader.list(Reader::string)?))
    }
}

/// A message of the mechanism.
pub(crate) struct SaslAuthenticate(pub(crate) Vec<u8>);

pub(crate) struct SaslAuthenticateResponse {
    pub(crate) error: ErrorCode,
    pub(crate) message: String,
    pub(crate) bytes: Bytes,
}

impl Request for SaslAuthenticate {
    const NAME: &'static str = "SaslAuthenticate";
    const KEY: i16 = 36;
    const VERSION: i16 = 0;
    type Response = SaslAuthenticateResponse;

    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.0);
    }

    fn read(reader: &mut Reader) -> Result<SaslAuthenticateResponse> {
        let (error, message) = (ErrorCode(reader.i16()?), reader.nullable_string()?.unwrap_or_default());
        Ok(SaslAuthenticateResponse { error, message, bytes: reader.bytes()? })
    }
}
