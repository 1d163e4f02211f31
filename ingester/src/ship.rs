//! A log that is acknowledged on the disk of its writer, and shipped to the bucket afterwards.
//!
//! ```text
//! push ─▶ local segment, synced ─▶ acknowledged          each linger: close the segment ─▶ object of the same number
//!              │                                                                               │
//!              └── deleted when blocks have it, and the bucket ◀───────────────────────────────┘
//! ```
//!
//! Segment n is object n, so a watermark says the same of both, and whoever goes on after the writer is exact: another process
//! publishes what the bucket has ([`crate::adopt`]), the next start on the disk what the disk has beyond that. What is on the
//! disk alone only its writer can answer for; without it answers are partial, and name it. While the bucket is away segments are
//! closed by size alone, and the disk is what bounds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use model::TimeRange;
use storage::bucket_log::{BucketLog, LogEntry};
use storage::cpu::CpuPool;
use storage::ids::SegmentSequence;
use storage::wal::{Closed, WholeSegment};
use storage::{Error as StorageError, wal};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::command::LogCommand;
use crate::state::State;

/// How often it is looked whether others have sealed a log that has nothing to ship: its writer must not answer for rows that others
/// have published in its name.
const LOOK_FOR_SEAL: Duration = Duration::from_secs(5);

/// How far a log is, as the log writer and the shipper tell each other.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The bucket has the segments up to this one …
    pub shipped: AtomicU64,
    /// … and blocks those up to this one.
    pub published: AtomicU64,
    /// Some rows will be in no block.
    pub is_held: AtomicBool,
    /// Something was appended, or published.
    pub changed: Notify,
}

/// Ships a log.
pub(crate) struct Shipper {
    log: BucketLog,
    progress: Arc<Progress>,
}

impl Shipper {
    pub(crate) fn new(log: BucketLog, progress: Arc<Progress>) -> Self {
        Self { log, progress }
    }

    /// Ends when the log can be shipped no more, and says so to the ingester.
    pub(crate) async fn run(mut self, state: Arc<State>, cpu: CpuPool) {
        if let Err(error) = self.ship_all(&state, &cpu).await {
            state.fail_if_final(&error);
            state.fail(error.to_string());
        }
    }

    async fn ship_all(&mut self, state: &State, cpu: &CpuPool) -> Result<(), StorageError> {
        let mut next_put = Instant::now();
        loop {
            while tokio::time::timeout(LOOK_FOR_SEAL, self.progress.changed.notified()).await.is_err() {
                self.look_for_seal().await?;
            }
            loop {
                self.let_go();
                tokio::time::sleep_until(next_put).await;
                let Some(closed) = self.closed(state).await else { return Ok(()) };
                if closed.is_empty() {
                    break;
                }
                let mut segments = cpu.run(move || closed.read()).await??;
                while let (read, Some(segment)) = cpu.run(move || next(segments)).await?? {
                    segments = read;
                    next_put = Instant::now() + self.log.settings().linger;
                    self.ship(segment, cpu).await?;
                    // with a full queue the next one tells
                    _ = state.log.try_send(LogCommand::Shipped);
                }
            }
        }
    }

    /// Has the log writer close its segment; `None` when that is gone.
    async fn closed(&self, state: &State) -> Option<Closed> {
        let (closed, answer) = oneshot::channel();
        let after = self.log.newest();
        state.log.send(LogCommand::Ship { after, closed }).await.ok()?;
        answer.await.ok()
    }

    async fn ship(&mut self, segment: WholeSegment, cpu: &CpuPool) -> Result<(), StorageError> {
        let sequence = segment.sequence;
        for (offset, reason) in &segment.damage {
            tracing::error!(segment = %sequence, offset, reason, "the log on the disk is damaged at this offset, the bucket lacks what was there");
        }
        // a number whose file could not be begun
        while self.log.newest().0 + 1 < sequence.0 {
            self.log.append(&[]).await?;
        }
        self.log.append_on(cpu, move || segment.entries.into_iter().map(entry).collect()).await?;
        self.progress.shipped.store(sequence.0, Ordering::Relaxed);
        self.let_go();
        Ok(())
    }

    /// # Errors
    /// When there is one.
    async fn look_for_seal(&self) -> Result<(), StorageError> {
        match self.log.check_open().await {
            Err(error) if error.is_store_away() => Ok(()),
            looked => looked,
        }
    }

    /// Lets objects go that blocks have.
    fn let_go(&mut self) {
        if self.progress.is_held.load(Ordering::Relaxed) {
            self.log.hold();
        }
        self.log.cover(SegmentSequence(self.progress.published.load(Ordering::Relaxed)));
    }
}

fn next(mut segments: wal::Replay) -> Result<(wal::Replay, Option<WholeSegment>), StorageError> {
    let segment = segments.next_whole()?;
    Ok((segments, segment))
}

fn entry((tenant, payload): (model::TenantId, bytes::Bytes)) -> LogEntry {
    let time_range = spans::check(&payload).ok().and_then(|summary| summary.time_range);
    LogEntry { tenant, payload, time_range: time_range.unwrap_or(TimeRange::ALL) }
}

#[cfg(test)]
mod tests;
