//! At start: what the log holds and no block does becomes live rows again. Memory stays bounded: rows are cut as usual.
//!
//! A manifest says what is in blocks. Where one cannot be read, its tenant's entries are passed over, and the segments
//! that hold them stay for a start at which it can be.

mod watermarks;

use std::sync::Arc;
use std::time::Instant;

use storage::ids::SegmentSequence;
use storage::wal::{Recovery, ReplayEvent};

use crate::cut;
use crate::error::Error;
use crate::flush::FlushQueue;
use crate::log_writer::LogCommand;
use crate::push::{Inner, Readiness};
use crate::sort;

pub(crate) use watermarks::Watermarks;

/// Replays on a thread of its own, then opens the way for pushes.
pub(crate) fn spawn(
    inner: &Arc<Inner>,
    recovery: Recovery,
    watermarks: Watermarks,
    flush_queue: FlushQueue,
    telemetry: storage::Telemetry,
) {
    let guard = inner.guard("replay");
    let replay = move || match replay(&guard.inner, recovery, watermarks, &flush_queue, &telemetry) {
        _ if guard.inner.is_stopping() => {}
        Ok(counts) => {
            tracing::info!(requests = counts.applied, skipped = counts.skipped, held = counts.held, damaged = counts.damaged, took = ?counts.started.elapsed(), "write-ahead log replayed");
            // the process before has counted these
            guard.inner.live.close_due(true);
            guard.inner.live.take_closed();
            guard.inner.set_readiness(Readiness::Ready);
        }
        Err(Error::Storage { source, .. }) if matches!(*source, storage::Error::WriterElsewhere { .. }) => {
            guard.inner.fail(source.to_string());
        }
        Err(error) => {
            tracing::error!(%error, "the write-ahead log could not be replayed, no spans are taken until it can be");
            guard.inner.set_readiness(Readiness::Replaying {
                detail: format!("the write-ahead log could not be replayed: {error}"),
            });
        }
    };
    std::thread::Builder::new()
        .name("replay".to_owned())
        .spawn(replay)
        .expect("the system can start a thread at start-up");
}

struct Counts {
    started: Instant,
    applied: usize,
    skipped: usize,
    /// Of tenants that are unavailable.
    held: usize,
    damaged: usize,
}

fn replay(
    inner: &Inner,
    recovery: Recovery,
    mut watermarks: Watermarks,
    flush_queue: &FlushQueue,
    telemetry: &storage::Telemetry,
) -> Result<Counts, Error> {
    let mut counts = Counts { started: Instant::now(), applied: 0, skipped: 0, held: 0, damaged: 0 };
    let mut held_segment = None;
    for event in recovery.replay() {
        if inner.is_stopping() {
            break;
        }
        match event.map_err(Error::storage("replay the write-ahead log"))? {
            ReplayEvent::Entry { segment, tenant, .. } if inner.unavailable.check(&tenant).is_err() => {
                // before any flush that could remove the segment
                if held_segment.replace(segment) != Some(segment) {
                    inner.log.blocking_send(LogCommand::Hold(segment)).map_err(|_| Error::Stopped)?;
                }
                counts.held += 1;
            }
            ReplayEvent::Entry { segment, tenant, .. } if watermarks.cover(&tenant, segment)? => counts.skipped += 1,
            ReplayEvent::Entry { segment, tenant, payload } => match spans::check(&payload) {
                Ok(_) => {
                    inner.live.stage(&tenant, &payload)?;
                    inner.live.show(&tenant).iter().for_each(|chunk| sort::sort(chunk));
                    counts.applied += 1;
                }
                Err(error) => {
                    tracing::error!(%tenant, %segment, %error, "a logged request cannot be read, its spans are lost");
                    counts.damaged += 1;
                    inner.metrics.replay_failed();
                }
            },
            ReplayEvent::Corrupt { segment, offset, reason } => {
                tracing::error!(%segment, offset, reason, "the write-ahead log is damaged here, what follows is read");
                counts.damaged += 1;
                inner.metrics.replay_failed();
                telemetry.damaged_log();
            }
            ReplayEvent::TornTail { segment, offset } => {
                tracing::warn!(%segment, offset, "cut off an append that was never acknowledged")
            }
            ReplayEvent::SegmentEnd { segment } => {
                inner.set_readiness(Readiness::Replaying {
                    detail: format!("the write-ahead log is being read, {} requests so far", counts.applied),
                });
                cut_if_due(inner, segment, flush_queue)?;
                inner.live.take_closed();
            }
        }
    }
    Ok(counts)
}

/// Only between segments, because the watermark counts whole segments.
fn cut_if_due(inner: &Inner, segment: SegmentSequence, flush_queue: &FlushQueue) -> Result<(), Error> {
    let is_due = cut::due(&inner.live.size(), &inner.config, Instant::now()) == Some(cut::Due::Size);
    if is_due && !flush_queue.push_when_free(segment, None, || inner.live.cut(segment)) {
        return Err(Error::Stopped);
    }
    Ok(())
}
