//! The thread that turns logged requests into live rows, in the order of the log, and acknowledges them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use storage::wal::SegmentSequence;
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::flush::FlushJob;
use crate::log_writer::Push;
use crate::push::Inner;

/// Synced batches that may wait for the applier.
const MAX_QUEUED_BATCHES: usize = 8;

/// All that can happen to live rows while the process runs.
pub(crate) enum ApplyCommand {
    Apply(Vec<Push>),
    /// All requests before this lie in segments up to `segment`.
    Cut {
        segment: SegmentSequence,
        done: Option<oneshot::Sender<Result<(), Error>>>,
    },
    CutFailed,
}

/// Runs until the log writer is gone. A full queue of cuts makes it wait, and with it the log writer and the clients.
pub(crate) fn spawn(inner: Arc<Inner>, flush_jobs: mpsc::Sender<FlushJob>) -> SyncSender<ApplyCommand> {
    let (sender, receiver) = sync_channel(MAX_QUEUED_BATCHES);
    let guard = inner.guard("applier");
    let applier = Applier { inner, flush_jobs, cut_requested: false };
    std::thread::Builder::new()
        .name("applier".to_owned())
        .spawn(move || {
            let _guard = guard;
            applier.run(&receiver);
        })
        .expect("the system can start a thread at start-up");
    sender
}

struct Applier {
    inner: Arc<Inner>,
    flush_jobs: mpsc::Sender<FlushJob>,
    /// A cut is on its way through the log writer.
    cut_requested: bool,
}

impl Applier {
    fn run(mut self, commands: &Receiver<ApplyCommand>) {
        while let Ok(command) = commands.recv() {
            match command {
                ApplyCommand::Apply(batch) => self.apply(batch),
                ApplyCommand::Cut { segment, done } => self.cut(segment, done),
                ApplyCommand::CutFailed => self.cut_requested = false,
            }
        }
    }

    fn apply(&mut self, batch: Vec<Push>) {
        for push in batch {
            let applied = self.inner.live.apply(&push.tenant, &push.request);
            _ = push.acknowledge.send(applied.map(|_| ()));
        }
        if !self.cut_requested {
            self.cut_requested = self.inner.request_cut_if_due();
        }
    }

    fn cut(&mut self, segment: SegmentSequence, done: Option<oneshot::Sender<Result<(), Error>>>) {
        self.cut_requested = false;
        match self.inner.live.cut() {
            Ok(heads) => _ = self.flush_jobs.blocking_send(FlushJob { segment, heads, done }),
            Err(error) => {
                tracing::error!(%error, "live spans could not be cut, they stay in the log");
                if let Some(done) = done {
                    _ = done.send(Err(error));
                }
            }
        }
    }
}
