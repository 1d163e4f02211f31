//! The thread that owns the log: gathers requests, appends them with one sync, hands them on in order.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use storage::bucket_log::LogEntry;
use storage::ids::SegmentSequence;
use storage::wal::Position;
use tokio::sync::{mpsc, oneshot};

use crate::command::{ApplyCommand, LogCommand, Push};
use crate::error::Error;
use crate::log::Log;
use crate::state::{Guard, State};
use crate::telemetry::Metrics;

/// Runs until it is told to close, or every sender of commands is gone; the applier ends with it.
pub(crate) fn spawn(
    log: Log,
    commands: mpsc::Receiver<LogCommand>,
    applier: SyncSender<ApplyCommand>,
    counted: Option<Position>,
    metrics: Metrics,
    guard: Guard,
) {
    let (state, published) = (guard.state.clone(), SegmentSequence::NONE);
    let writer = LogWriter { state, log, commands, applier, published, counted, metrics, is_refusing: false };
    std::thread::Builder::new()
        .name("log-writer".to_owned())
        .spawn(move || {
            let _guard = guard;
            writer.run();
        })
        .expect("the system can start a thread at start-up");
}

struct LogWriter {
    state: Arc<State>,
    log: Log,
    commands: mpsc::Receiver<LogCommand>,
    applier: SyncSender<ApplyCommand>,
    /// Blocks hold all that is in the segments up to this one.
    published: SegmentSequence,
    /// What lies before it has been counted; `None` where nobody counts.
    counted: Option<Position>,
    metrics: Metrics,
    /// The last append failed.
    is_refusing: bool,
}

impl LogWriter {
    fn run(mut self) {
        let mut held_back = None;
        while let Some(command) = held_back.take().or_else(|| self.commands.blocking_recv()) {
            match command {
                LogCommand::Push(push) => held_back = self.append(push),
                LogCommand::Cut { done } => self.cut(done),
                LogCommand::Hold(sequence) => self.log.hold(sequence),
                LogCommand::HoldThrough(sequence) => self.log.hold_through(sequence),
                LogCommand::RemoveThrough(sequence) => {
                    self.published = self.published.max(sequence);
                    self.remove();
                }
                LogCommand::Ship { after, closed } => {
                    if let Some(found) = self.log.close_to_ship(after) {
                        _ = closed.send(found); // whoever asked may be gone
                    }
                }
                LogCommand::Shipped => self.remove(),
                LogCommand::Mark => self.mark(),
                LogCommand::Counted(position) => {
                    self.counted = self.counted.max(Some(position));
                    self.remove();
                }
                LogCommand::Close => return self.mark(),
            }
            let (bytes, segments) = self.log.size();
            self.metrics.log_size(bytes, segments);
        }
    }

    /// Appends `first` and the pushes that wait behind it; returns the command that ended the batch, if one did.
    fn append(&mut self, first: Push) -> Option<LogCommand> {
        let mut bytes = first.request.len();
        let (mut batch, mut held_back) = (vec![first], None);
        while bytes < self.log.max_batch_bytes() && held_back.is_none() {
            match self.log.next(&mut self.commands) {
                Some(LogCommand::Push(push)) => {
                    bytes += push.request.len();
                    batch.push(push);
                }
                Some(other) => held_back = Some(other),
                None => break,
            }
        }
        // who has given up waiting is told nothing, and need not be stored
        batch.retain(|push| !push.acknowledge.is_closed());
        if batch.is_empty() {
            return held_back;
        }
        let entry = |Push { tenant, request, time_range, .. }: &Push| LogEntry {
            tenant: tenant.clone(),
            payload: request.clone(),
            time_range: *time_range,
        };
        let entries = batch.iter().map(entry).collect();
        // decoded while it is synced here
        _ = self.applier.send(ApplyCommand::Stage(batch));
        let outcome = match self.log.append(entries) {
            Ok(()) => {
                if std::mem::take(&mut self.is_refusing) {
                    tracing::info!("the write-ahead log can be written again, requests are taken");
                }
                ApplyCommand::Synced
            }
            Err(error) => {
                // said once: as long as a disk is full, every request that comes fails
                if !std::mem::replace(&mut self.is_refusing, true) {
                    tracing::error!(%error, "the write-ahead log could not be written, requests are refused until it can be");
                }
                self.metrics.log_failed();
                self.state.fail_if_final(&error);
                ApplyCommand::NotSynced { reason: error.to_string() }
            }
        };
        _ = self.applier.send(outcome);
        held_back
    }

    fn cut(&mut self, done: Option<oneshot::Sender<Result<(), Error>>>) {
        match self.log.rotate() {
            Ok(segment) => _ = self.applier.send(ApplyCommand::Cut { segment, done }),
            Err(error) => {
                tracing::error!(%error, "a new log segment could not be started, live spans are cut later");
                _ = self.applier.send(ApplyCommand::CutFailed);
                if let Some(done) = done {
                    _ = done.send(Err(Error::storage("start a log segment")(error)));
                }
            }
        }
    }

    fn mark(&mut self) {
        _ = self.applier.send(ApplyCommand::Mark(self.log.position()));
    }

    /// Deletes the segments that neither blocks nor whoever counts spans need.
    fn remove(&mut self) {
        let counted = self.counted.map(Position::whole_segments);
        let sequence = counted.map_or(self.published, |counted| counted.min(self.published));
        if let Err(error) = self.log.remove_through(sequence) {
            tracing::warn!(%error, segment = %sequence, "a log segment that is in blocks could not be deleted, the next flush tries again");
        }
    }
}
