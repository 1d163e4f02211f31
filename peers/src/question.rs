//! What one process asks another about its live rows.

use std::time::Duration;

use model::{BlockId, TenantId, TimeRange};
use spans::SpanTable;
use storage::ids::SegmentSequence;
use storage::incarnation::Incarnation;
use storage::view::{Reach, TableId};

/// A tenant that is asked for to hear whether a writer answers.
const NOBODY: &str = "mosso-nobody";

/// Which rows of a tenant has the writer that the asker's manifest does not have?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub tenant: TenantId,
    /// The start of the writer that the asker believes to speak to.
    pub incarnation: Incarnation,
    /// The number of the asker's manifest.
    pub manifest: u64,
    /// What it says of the writer: rows that were cut at or below are in its blocks.
    pub watermark: SegmentSequence,
    pub reach: Reach,
}

impl Question {
    /// One that costs a writer nothing: about a tenant of which nobody has anything.
    pub(crate) fn of_nothing(incarnation: Incarnation) -> Self {
        let tenant = TenantId::parse(NOBODY).expect("the name is one that tenants may have");
        let (manifest, watermark) = (u64::MAX, SegmentSequence::NONE);
        Self { tenant, incarnation, manifest, watermark, reach: Reach::Everything }
    }
}

#[derive(Debug, Clone)]
pub enum Answer {
    /// All of them, oldest first.
    Rows(Vec<Listed>),
    /// Some may have left for blocks that the asker's manifest does not have: it needs this one or a newer.
    Gone { manifest: u64 },
}

/// A table of live rows.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The block that the rows are to become.
    pub block_id: BlockId,
    pub time_range: TimeRange,
    pub span_count: usize,
    pub rows: Rows,
}

#[derive(Debug, Clone)]
pub enum Rows {
    /// Here they are: rows to which more may be added, or few.
    Given(SpanTable),
    /// To be fetched by number, as long as the writer has them.
    Kept(TableId),
}

/// Why a writer gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    #[error("another start of it answers at this address")]
    Elsewhere,
    #[error("it is still reading its log")]
    NotWhole,
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("it did not answer a moment ago: {0}")]
    Lately(Box<PeerError>),
    #[error("it cannot be asked: {0}")]
    Unreachable(String),
    #[error("it refused: {0}")]
    Refused(String),
    /// As any other process would, but for the one that asks, which can say more about it.
    #[error("the query cannot be answered: {0}")]
    OfQuery(String),
    #[error("its answer cannot be read: {0}")]
    Damaged(String),
}
