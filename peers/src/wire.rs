//! The messages between processes: gRPC, service `mosso.peers.v1.Peers`.
//!
//! ```text
//! Live   LiveRequest  ─▶ stream of Piece: the bytes of a LiveAnswer
//! Table  TableRequest ─▶ stream of Piece: the bytes of a TableAnswer
//! Halves HalvesRequest ─▶ stream of Piece: bytes that the metrics generator reads
//! Job    querier::jobs::message::Job ─▶ stream of Piece: the bytes of a JobAnswer
//! Hello  HelloRequest ─▶ stream of Piece: the bytes of a HelloAnswer
//! ```
//!
//! An answer may be as large as a table of live rows, a message is not: it has at most [`PIECE_BYTES`]. Rows travel as Arrow
//! IPC (`ipc`). Fields may be added; what is asked in another way gets another service.

mod ipc;

use model::{BlockId, TenantId, TimeRange, TraceId};
use prost::Message;
use storage::ids::SegmentSequence;
use storage::incarnation::Incarnation;
use storage::view::{Reach, TableId};
use uuid::Uuid;

use crate::question::{Answer, Listed, PeerError, Question, Rows};

pub(crate) use ipc::{decode, encode};

pub(crate) const SERVICE: &str = "mosso.peers.v1.Peers";
pub(crate) const LIVE: &str = "/mosso.peers.v1.Peers/Live";
pub(crate) const TABLE: &str = "/mosso.peers.v1.Peers/Table";
pub(crate) const HALVES: &str = "/mosso.peers.v1.Peers/Halves";
pub(crate) const JOB: &str = "/mosso.peers.v1.Peers/Job";
pub(crate) const HELLO: &str = "/mosso.peers.v1.Peers/Hello";

/// What a writer says that is still reading its log.
pub(crate) const NOT_WHOLE: &str = "the log is being read";

/// The most that one message has of an answer.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
/// The most that a message may take: a piece and its frame, or a request.
pub(crate) const MESSAGE_BYTES: usize = PIECE_BYTES + 1024;
/// The most that a job may take: it names blocks and traces.
pub(crate) const JOB_BYTES: usize = 4 << 20;
/// The most that an answer may have. A table of live rows has some MiB; one that a single large request filled has more.
pub(crate) const ANSWER_BYTES: usize = 256 << 20;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LiveRequest {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    pub incarnation: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub manifest: u64,
    #[prost(uint64, tag = "4")]
    pub watermark: u64,
    /// Empty for all traces.
    #[prost(bytes = "vec", tag = "5")]
    pub trace_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HalvesRequest {
    /// Bytes that the metrics generator reads.
    #[prost(bytes = "vec", tag = "1")]
    pub question: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LiveAnswer {
    #[prost(message, repeated, tag = "1")]
    pub tables: Vec<Table>,
    /// Not 0 when rows are gone to the blocks of this manifest; there are no tables then.
    #[prost(uint64, tag = "2")]
    pub gone_to_manifest: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Table {
    #[prost(bytes = "vec", tag = "1")]
    pub block_id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub start_nanos: u64,
    #[prost(uint64, tag = "3")]
    pub end_nanos: u64,
    #[prost(uint64, tag = "4")]
    pub spans: u64,
    /// 0 when the rows are here.
    #[prost(uint64, tag = "5")]
    pub id: u64,
    /// See `ipc`.
    #[prost(bytes = "vec", tag = "6")]
    pub rows: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TableRequest {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    pub incarnation: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TableAnswer {
    /// Empty when the writer has the rows no more.
    #[prost(bytes = "vec", tag = "1")]
    pub rows: Vec<u8>,
}

/// Who is there?
#[derive(Clone, PartialEq, Message)]
pub(crate) struct HelloRequest {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HelloAnswer {
    #[prost(bytes = "vec", tag = "1")]
    pub node: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Piece {
    #[prost(bytes = "bytes", tag = "1")]
    pub bytes: bytes::Bytes,
}

impl From<&Question> for LiveRequest {
    fn from(question: &Question) -> Self {
        let trace_id = match question.reach {
            Reach::Everything | Reach::Held => Vec::new(),
            Reach::Trace(id) => id.0.to_vec(),
        };
        Self {
            tenant: question.tenant.to_string(),
            incarnation: question.incarnation.0.as_bytes().to_vec(),
            manifest: question.manifest,
            watermark: question.watermark.0,
            trace_id,
        }
    }
}

impl LiveRequest {
    pub fn question(&self) -> Result<Question, PeerError> {
        let reach = match self.trace_id.as_slice() {
            [] => Reach::Everything,
            id => Reach::Trace(TraceId(id.try_into().map_err(damaged)?)),
        };
        Ok(Question {
            tenant: tenant(&self.tenant)?,
            incarnation: incarnation(&self.incarnation)?,
            manifest: self.manifest,
            watermark: SegmentSequence(self.watermark),
            reach,
        })
    }
}

impl LiveAnswer {
    pub fn of(answer: &Answer) -> Result<Self, PeerError> {
        Ok(match answer {
            Answer::Gone { manifest } => Self { tables: Vec::new(), gone_to_manifest: *manifest },
            Answer::Rows(listed) => {
                Self { tables: listed.iter().map(Table::of).collect::<Result<_, _>>()?, gone_to_manifest: 0 }
            }
        })
    }

    pub fn answer(self) -> Result<Answer, PeerError> {
        match self.gone_to_manifest {
            0 => Ok(Answer::Rows(self.tables.into_iter().map(Table::listed).collect::<Result<_, _>>()?)),
            manifest => Ok(Answer::Gone { manifest }),
        }
    }
}

impl Table {
    fn of(listed: &Listed) -> Result<Self, PeerError> {
        let (id, rows) = match &listed.rows {
            Rows::Kept(TableId(id)) => (*id, Vec::new()),
            Rows::Given(table) => (0, encode(table)?),
        };
        Ok(Self {
            block_id: listed.block_id.0.as_bytes().to_vec(),
            start_nanos: listed.time_range.start_nanos,
            end_nanos: listed.time_range.end_nanos,
            spans: listed.span_count as u64,
            id,
            rows,
        })
    }

    fn listed(self) -> Result<Listed, PeerError> {
        Ok(Listed {
            block_id: BlockId(Uuid::from_slice(&self.block_id).map_err(damaged)?),
            time_range: TimeRange::new(self.start_nanos, self.end_nanos),
            span_count: usize::try_from(self.spans).map_err(damaged)?,
            rows: if self.id == 0 { Rows::Given(decode(&self.rows)?) } else { Rows::Kept(TableId(self.id)) },
        })
    }
}

pub(crate) fn tenant(text: &str) -> Result<TenantId, PeerError> {
    TenantId::parse(text).map_err(damaged)
}

pub(crate) fn incarnation(bytes: &[u8]) -> Result<Incarnation, PeerError> {
    Uuid::from_slice(bytes).map(Incarnation).map_err(damaged)
}

pub(crate) fn damaged(reason: impl ToString) -> PeerError {
    PeerError::Damaged(reason.to_string())
}

#[cfg(test)]
mod tests;
