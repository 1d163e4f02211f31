//! The log as the log writer sees it: on a disk of its own, on the bucket, or on a disk and shipped to the bucket afterwards
//! ([`crate::ship`]).
//!
//! Both give what is acknowledged an order and a number, and the number of a cut is above all that its rows came in. A segment
//! is a file of many appends there, and the object of one append here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use model::TenantId;
use storage::Error as StorageError;
use storage::bucket_log::{BucketLog, LogEntry};
use storage::ids::SegmentSequence;
use storage::members::Standing;
use storage::wal::{self, Closed, Position, Recovery};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::command::LogCommand;
use crate::ship::{Progress, Shipper};

/// Most bytes that share a sync: bounds how long the first of them waits.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// Most bytes that share an object. At 100 ms for a put, twice as fast as requests can be decoded.
const MAX_OBJECT_BYTES: usize = 16 << 20;

/// A log that was opened, and what it holds.
pub struct OpenedLog(pub(crate) Opened);

pub(crate) enum Opened {
    Local(Box<wal::Log>, Recovery),
    Bucket(Box<BucketLog>),
    Shipped(Box<wal::Log>, Box<BucketLog>),
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
    /// A log in an empty folder that is shipped to one on the bucket: segment n becomes object n.
    pub fn shipped(local: wal::Log, bucket: BucketLog) -> Self {
        Self(Opened::Shipped(Box::new(local), Box::new(bucket)))
    }

    /// Makes later appends go behind `sequence`. A log on the bucket is new, and has a writer of its own.
    pub(crate) fn start_after(&mut self, sequence: SegmentSequence) -> Result<(), StorageError> {
        match &mut self.0 {
            Opened::Local(log, _) => log.start_after(sequence),
            Opened::Bucket(_) | Opened::Shipped(..) => Ok(()),
        }
    }

    /// Of a log on the bucket.
    pub(crate) fn shared(&self) -> Option<SharedLog> {
        match &self.0 {
            Opened::Local(..) => None,
            Opened::Bucket(log) => {
                Some(SharedLog { standing: log.standing(), is_stuck: log.stuck(), covered: log.covered() })
            }
            // nobody waits for a put
            Opened::Shipped(_, log) => {
                Some(SharedLog { standing: log.standing(), is_stuck: Arc::default(), covered: log.covered() })
            }
        }
    }

    /// For the thread that owns it, with what there is to read back, and who ships it; `cancel` ends an append whose outcome
    /// is not certain.
    pub(crate) fn split(self, cancel: CancellationToken) -> (Log, Option<Recovery>, Option<Shipper>) {
        match self.0 {
            Opened::Local(log, recovery) => (Log::Local(log), Some(recovery), None),
            Opened::Bucket(log) => {
                let runtime = Handle::current();
                (Log::Bucket(Box::new(OnBucket { log: *log, next_put: None, runtime, cancel })), None, None)
            }
            Opened::Shipped(local, log) => {
                let progress = Arc::new(Progress::default());
                let shipper = Shipper::new(*log, progress.clone());
                (Log::Shipped(Box::new(Shipped { local: *local, progress })), None, Some(shipper))
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
    Shipped(Box<Shipped>),
}

/// A log on a disk, and how far the bucket has it.
pub(crate) struct Shipped {
    local: wal::Log,
    progress: Arc<Progress>,
}

pub(crate) struct OnBucket {
    log: BucketLog,
    /// When a put may begin again; none has, before the first.
    next_put: Option<Instant>,
    runtime: Handle,
    cancel: CancellationToken,
}

impl Log {
    pub fn max_batch_bytes(&self) -> usize {
        match self {
            Self::Local(_) | Self::Shipped(_) => MAX_BATCH_BYTES,
            Self::Bucket(_) => MAX_OBJECT_BYTES,
        }
    }

    /// What comes next for a batch. An append to a disk is cheap, and what comes meanwhile makes up the next batch. A put
    /// costs money: one begins no sooner than the linger after the one before, and its batch waits for others until then.
    pub fn next(&self, commands: &mut mpsc::Receiver<LogCommand>) -> Option<LogCommand> {
        match self {
            Self::Local(_) | Self::Shipped(_) => commands.try_recv().ok(),
            Self::Bucket(bucket) => {
                let Some(at) = bucket.next_put else { return commands.try_recv().ok() };
                let next = async { tokio::time::timeout_at(at, commands.recv()).await };
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
            Self::Local(log) => log.append_batch(&without_time(entries)).map(drop),
            Self::Shipped(shipped) => {
                if shipped.local.position().offset >= MAX_OBJECT_BYTES as u64 {
                    shipped.local.rotate()?;
                }
                shipped.local.append_batch(&without_time(entries))?;
                shipped.progress.changed.notify_one();
                Ok(())
            }
            Self::Bucket(bucket) => {
                let OnBucket { log, next_put, runtime, cancel } = bucket.as_mut();
                *next_put = Some(Instant::now() + log.settings().linger);
                let appended = runtime.block_on(cancel.run_until_cancelled(log.append(&entries)));
                appended.unwrap_or(Err(StorageError::Stopping)).map(drop)
            }
        }
    }

    /// All entries so far lie in segments up to the one that is returned, later ones after it.
    pub fn rotate(&mut self) -> Result<SegmentSequence, StorageError> {
        match self {
            Self::Local(log) => log.rotate(),
            Self::Shipped(shipped) => shipped.local.rotate(),
            Self::Bucket(bucket) => Ok(bucket.log.newest()),
        }
    }

    /// What is to be shipped of all that was appended, above `sequence`.
    pub fn close_to_ship(&mut self, sequence: SegmentSequence) -> Option<Closed> {
        let Self::Shipped(shipped) = self else { return None };
        if let Err(error) = shipped.local.rotate() {
            // what was closed before can be shipped, and makes room
            tracing::warn!(%error, "a new log segment could not be started, the last spans are shipped later");
        }
        Some(shipped.local.closed_after(sequence))
    }

    /// See [`wal::Log::hold`].
    pub fn hold(&mut self, sequence: SegmentSequence) {
        match self {
            Self::Local(log) => log.hold(sequence),
            Self::Shipped(shipped) => {
                shipped.local.hold(sequence);
                shipped.progress.is_held.store(true, Ordering::Relaxed);
            }
            Self::Bucket(bucket) => bucket.log.hold(),
        }
    }

    /// See [`wal::Log::hold_through`].
    pub fn hold_through(&mut self, sequence: SegmentSequence) {
        match self {
            Self::Local(log) => log.hold_through(sequence),
            Self::Shipped(shipped) => {
                shipped.local.hold_through(sequence);
                shipped.progress.is_held.store(true, Ordering::Relaxed);
            }
            Self::Bucket(bucket) => bucket.log.hold(),
        }
    }

    /// Blocks have all that is in the segments up to this one.
    pub fn remove_through(&mut self, sequence: SegmentSequence) -> Result<(), StorageError> {
        match self {
            Self::Local(log) => log.remove_through(sequence),
            Self::Shipped(shipped) => {
                let progress = &shipped.progress;
                if progress.published.fetch_max(sequence.0, Ordering::Relaxed) < sequence.0 {
                    progress.changed.notify_one();
                }
                // what the bucket does not have is still to be read here
                let through = progress.shipped.load(Ordering::Relaxed).min(sequence.0);
                shipped.local.remove_through(SegmentSequence(through))
            }
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
            Self::Shipped(shipped) => shipped.local.position(),
            Self::Bucket(bucket) => Position { segment: SegmentSequence(bucket.log.newest().0 + 1), offset: 0 },
        }
    }

    /// Bytes and segments.
    pub fn size(&self) -> (u64, usize) {
        match self {
            Self::Local(log) => (log.bytes(), log.segments()),
            Self::Shipped(shipped) => (shipped.local.bytes(), shipped.local.segments()),
            Self::Bucket(bucket) => bucket.log.size(),
        }
    }
}

fn without_time(entries: Vec<LogEntry>) -> Vec<(TenantId, Bytes)> {
    entries.into_iter().map(|entry| (entry.tenant, entry.payload)).collect()
}
