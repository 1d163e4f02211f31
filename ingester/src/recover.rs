//! At start: what the log holds and no block does becomes live rows again. Memory stays bounded: rows are cut as usual.
//!
//! A manifest says what is in blocks. Where one cannot be read, its tenant's entries are passed over, and the segments
//! that hold them stay for a start at which it can be.

mod recount;
mod watermarks;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use storage::ids::SegmentSequence;
use storage::wal::{Recovery, ReplayEvent};
use tokio::runtime::Handle;

use crate::command::LogCommand;
use crate::error::Error;
use crate::flush::FlushQueue;
use crate::state::{Readiness, State};
use crate::{cut, sort};

use recount::Recount;
pub(crate) use watermarks::Watermarks;

/// Replays on a thread of its own, then opens the way for pushes.
pub(crate) fn spawn(
    state: &Arc<State>,
    recovery: Option<Recovery>,
    watermarks: Watermarks,
    flush_queue: FlushQueue,
    telemetry: storage::Telemetry,
) {
    let (guard, runtime) = (state.guard("replay"), Handle::current());
    let replay = move || match replay_if_any(&guard.state, recovery, watermarks, &flush_queue, &telemetry) {
        _ if guard.state.is_stopping() => {}
        Ok(counts) => {
            tracing::info!(requests = counts.applied, skipped = counts.skipped, held = counts.held, damaged = counts.damaged, took = ?counts.started.elapsed(), "write-ahead log replayed");
            guard.state.is_replayed.store(true, Ordering::Release);
            if runtime.block_on(guard.state.joining()) {
                guard.state.set_readiness(Readiness::Ready);
            }
        }
        Err(Error::Storage { source, .. }) if matches!(*source, storage::Error::WriterElsewhere { .. }) => {
            guard.state.fail(source.to_string());
        }
        Err(error) => {
            tracing::error!(%error, "the write-ahead log could not be replayed, no spans are taken until it can be");
            guard.state.set_readiness(Readiness::Replaying {
                detail: format!("the write-ahead log could not be replayed: {error}"),
            });
        }
    };
    std::thread::Builder::new()
        .name("replay".to_owned())
        .spawn(replay)
        .expect("the system can start a thread at start-up");
}

/// A log on the bucket begins with its process, and has nothing to read.
fn replay_if_any(
    state: &State,
    recovery: Option<Recovery>,
    watermarks: Watermarks,
    flush_queue: &FlushQueue,
    telemetry: &storage::Telemetry,
) -> Result<Counts, Error> {
    match recovery {
        Some(recovery) => replay(state, recovery, watermarks, flush_queue, telemetry),
        None => Ok(Counts::new()),
    }
}

struct Counts {
    started: Instant,
    applied: usize,
    skipped: usize,
    /// Of tenants that are unavailable.
    held: usize,
    damaged: usize,
}

impl Counts {
    fn new() -> Self {
        Self { started: Instant::now(), applied: 0, skipped: 0, held: 0, damaged: 0 }
    }
}

fn replay(
    state: &State,
    recovery: Recovery,
    mut watermarks: Watermarks,
    flush_queue: &FlushQueue,
    telemetry: &storage::Telemetry,
) -> Result<Counts, Error> {
    let mut counts = Counts::new();
    let mut held_segment = None;
    let (mut replay, mut recount) = (recovery.replay(), Recount::new(state.feed.as_ref()));
    while let Some(event) = replay.next() {
        if state.is_stopping() {
            return Ok(counts);
        }
        let event = event.map_err(Error::storage("replay the write-ahead log"))?;
        if let ReplayEvent::Entry { tenant, payload, .. } = &event {
            recount.add(replay.position(), tenant, payload);
        }
        match event {
            ReplayEvent::Entry { segment, tenant, .. } if state.unavailable.check(&tenant).is_err() => {
                // before any flush that could remove the segment
                if held_segment.replace(segment) != Some(segment) {
                    state.log.blocking_send(LogCommand::Hold(segment)).map_err(|_| Error::Stopped)?;
                }
                counts.held += 1;
            }
            ReplayEvent::Entry { segment, tenant, .. } if watermarks.fence_and_check(&tenant, segment)? => {
                counts.skipped += 1
            }
            ReplayEvent::Entry { segment, tenant, payload } => match spans::check(&payload) {
                Ok(_) => {
                    state.live.stage(&tenant, &payload)?;
                    state.live.show(&tenant).iter().for_each(|chunk| sort::sort(chunk));
                    counts.applied += 1;
                }
                Err(error) => {
                    tracing::error!(%tenant, %segment, %error, "a logged request cannot be read, its spans are lost");
                    counts.damaged += 1;
                    state.metrics.replay_failed();
                }
            },
            ReplayEvent::Corrupt { segment, offset, reason } => {
                tracing::error!(%segment, offset, reason, "the write-ahead log is damaged at this offset, the entries behind it are read");
                counts.damaged += 1;
                state.metrics.replay_failed();
                telemetry.damaged_log();
            }
            ReplayEvent::TornTail { segment, offset } => {
                tracing::warn!(%segment, offset, "cut off an append that was never acknowledged")
            }
            ReplayEvent::SegmentEnd { segment } => {
                state.set_readiness(Readiness::Replaying {
                    detail: format!("the write-ahead log is being read, {} requests so far", counts.applied),
                });
                cut_if_due(state, segment, flush_queue)?;
                state.live.take_closed();
            }
        }
    }
    // who counts these has got them from the log, or counted them before
    state.live.close_shown();
    state.live.take_closed();
    recount.finish();
    Ok(counts)
}

/// Only between segments, because the watermark counts whole segments.
fn cut_if_due(state: &State, segment: SegmentSequence, flush_queue: &FlushQueue) -> Result<(), Error> {
    let is_due = cut::due(&state.live.size(), &state.config, Instant::now()) == Some(cut::Due::Size);
    if is_due && !flush_queue.push_when_free(segment, None, || state.live.cut(segment)) {
        return Err(Error::Stopped);
    }
    Ok(())
}
