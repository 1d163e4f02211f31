//! The log as the log writer sees it: on a disk of its own, or on the bucket.
//!
//! Both give what is acknowledged an order and a number, and the number of a cut is above all that its rows came in. A segment
//! is a file of many appends there, and the object of one append here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use model::TenantId;
use storage::Error as StorageError;
use storage::bucket_log::{BucketLog, LogEntry};
use storage::ids::SegmentSequence;
use storage::members::Standing;
use storage::wal::{self, Position, Recovery};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::command::LogCommand;

/// Most bytes that share a sync: bounds how long the first of them waits.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// Most bytes that share an object. At 100 ms for a put, twice as fast as requests can be decoded.
const MAX_OBJECT_BYTES: usize = 16 << 20;

/// A log that was opened, and what it holds.
pub struct OpenedLog(pub(crate) Opened);

pub(crate) enum Opened {
    Local(Box<wal::Log>, Recovery),
    Bucket(Box<BucketLog>),
}

impl From<(wal::Log, Recovery)> for OpenedLog {
    fn from((log, recovery): (wal::Log, Recovery)) -> Self {
        Self(Opened::Local(Box::new(log), recovery))
    }
}

impl From<BucketLog> for OpenedLog {
    fn from(log: BucketLog) -> Self {
        Self(Opened::Bucket(Box::new(log)))
    }
}

impl OpenedLog {
    /// Makes later appends go behind `sequence`. A log on the bucket is new, and has a writer of its own.
    pub(crate) fn start_after(&mut self, sequence: SegmentSequence) -> Result<(), StorageError> {
        match &mut self.0 {
            Opened::Local(log, _) => log.start_after(sequence),
            Opened::Bucket(_) => Ok(()),
        }
    }

    /// Of a log on the bucket.
    pub(crate) fn shared(&self) -> Option<SharedLog> {
        match &self.0 {
            Opened::Local(..) => None,
            Opened::Bucket(log) => {
                Some(SharedLog { standing: log.standing(), is_stuck: log.stuck(), covered: log.covered() })
            }
        }
    }

    /// For the thread that owns it; `cancel` ends an append whose outcome is not certain.
    pub(crate) fn split(self, cancel: CancellationToken) -> (Log, Option<Recovery>) {
        match self.0 {
            Opened::Local(log, recovery) => (Log::Local(log), Some(recovery)),
            Opened::Bucket(log) => {
                (Log::Bucket(Box::new(OnBucket { log: *log, runtime: Handle::current(), cancel })), None)
            }
        }
    }
}

/// What others than the log writer need of a log on the bucket.
#[derive(Clone)]
pub(crate) struct SharedLog {
    pub standing: Arc<Standing>,
    pub is_stuck: Arc<AtomicBool>,
    pub covered: Arc<AtomicU64>,
}

pub(crate) enum Log {
    Local(Box<wal::Log>),
    Bucket(Box<OnBucket>),
}

pub(crate) struct OnBucket {
    log: BucketLog,
    runtime: Handle,
    cancel: CancellationToken,
}

impl Log {
    pub fn max_batch_bytes(&self) -> usize {
        match self {
            Self::Local(_) => MAX_BATCH_BYTES,
            Self::Bucket(_) => MAX_OBJECT_BYTES,
        }
    }

    /// What comes next for a batch whose first request came at `since`. An append to a disk is cheap, and what comes meanwhile
    /// makes up the next batch; a put costs money, and its batch waits for others.
    pub fn next(&self, commands: &mut mpsc::Receiver<LogCommand>, since: Instant) -> Option<LogCommand> {
        match self {
            Self::Local(_) => commands.try_recv().ok(),
            Self::Bucket(bucket) => {
                let linger: Duration = bucket.log.settings().linger;
                let next = async { tokio::time::timeout_at(since + linger, commands.recv()).await };
                bucket.runtime.block_on(next).ok().flatten()
            }
        }
    }

    /// Makes all entries durable together.
    ///
    /// # Errors
    /// None of the entries may be acknowledged then.
    pub fn append(&mut self, entries: Vec<LogEntry>) -> Result<(), StorageError> {
        match self {
            Self::Local(log) => {
                let entries: Vec<(TenantId, _)> =
                    entries.into_iter().map(|entry| (entry.tenant, entry.payload)).collect();
                log.append_batch(&entries).map(drop)
            }
            Self::Bucket(bucket) => {
                let OnBucket { log, runtime, cancel } = bucket.as_mut();
                let appended = runtime.block_on(cancel.run_until_cancelled(log.append(&entries)));
                appended.unwrap_or(Err(StorageError::Stopping)).map(drop)
            }
        }
    }

    /// All entries so far lie in segments up to the one that is returned, later ones after it.
    pub fn rotate(&mut self) -> Result<SegmentSequence, StorageError> {
        match self {
            Self::Local(log) => log.rotate(),
            Self::Bucket(bucket) => Ok(bucket.log.newest()),
        }
    }

    /// See [`wal::Log::hold`].
    pub fn hold(&mut self, sequence: SegmentSequence) {
        match self {
            Self::Local(log) => log.hold(sequence),
            Self::Bucket(bucket) => bucket.log.hold(),
        }
    }

    /// See [`wal::Log::hold_through`].
    pub fn hold_through(&mut self, sequence: SegmentSequence) {
        match self {
            Self::Local(log) => log.hold_through(sequence),
            Self::Bucket(bucket) => bucket.log.hold(),
        }
    }

    /// Blocks have all that is in the segments up to this one.
    pub fn remove_through(&mut self, sequence: SegmentSequence) -> Result<(), StorageError> {
        match self {
            Self::Local(log) => log.remove_through(sequence),
            Self::Bucket(bucket) => {
                bucket.log.cover(sequence);
                Ok(())
            }
        }
    }

    /// Behind everything that was appended.
    pub fn position(&self) -> Position {
        match self {
            Self::Local(log) => log.position(),
            Self::Bucket(bucket) => Position { segment: SegmentSequence(bucket.log.newest().0 + 1), offset: 0 },
        }
    }

    /// Bytes and segments.
    pub fn size(&self) -> (u64, usize) {
        match self {
            Self::Local(log) => (log.bytes(), log.segments()),
            Self::Bucket(bucket) => bucket.log.size(),
        }
    }
}
