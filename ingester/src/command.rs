//! What the threads of the way in tell each other: requests and cuts travel the same way, so that a cut takes exactly what the
//! segments before it hold.

use bytes::Bytes;
use model::{TenantId, TimeRange};
use storage::ids::SegmentSequence;
use storage::wal::{Closed, Position};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::Error;

/// All that can happen to the log.
pub(crate) enum LogCommand {
    Push(Push),
    /// Close the segment and cut the live rows; `done` hears when their blocks are published.
    Cut {
        done: Option<oneshot::Sender<Result<(), Error>>>,
    },
    /// Keep this segment, whatever blocks hold.
    Hold(SegmentSequence),
    /// Keep all segments up to this one that are still there.
    HoldThrough(SegmentSequence),
    /// Blocks hold all that is in the segments up to this one.
    RemoveThrough(SegmentSequence),
    /// Close the segment, for all that was acknowledged is to be shipped; answers with the closed segments above this one.
    Ship {
        after: SegmentSequence,
        closed: oneshot::Sender<Closed>,
    },
    /// The bucket has more of the log than before.
    Shipped,
    /// Say how far the log is.
    Mark,
    /// Whoever counts spans has what lies before this place, for good.
    Counted(Position),
    /// Touch no file any more, and end.
    Close,
}

/// A checked request that waits to be stored.
pub(crate) struct Push {
    pub tenant: TenantId,
    pub request: Bytes,
    /// From the first start of a span to the last end.
    pub time_range: TimeRange,
    pub acknowledge: oneshot::Sender<Result<(), Error>>,
    /// Its share of the queue; given back when the request is done.
    pub _room: OwnedSemaphorePermit,
}

/// All that can happen to live rows while the process runs.
pub(crate) enum ApplyCommand {
    /// These requests are being appended to the log; `Synced` or `NotSynced` follows before anything else does.
    Stage(Vec<Push>),
    Synced,
    NotSynced {
        reason: String,
    },
    /// All requests before this lie in segments up to `segment`.
    Cut {
        segment: SegmentSequence,
        done: Option<oneshot::Sender<Result<(), Error>>>,
    },
    CutFailed,
    /// All requests before this lie before that place in the log.
    Mark(Position),
}
