//! The thread that turns requests into live rows, in the order of the log, and acknowledges them.
//!
//! A batch is decoded while the log writer syncs it. Its rows are shown to queries, and its requests acknowledged, when
//! both are done; a batch that could not be synced is taken back.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use storage::ids::SegmentSequence;
use storage::wal::Position;
use tokio::sync::{mpsc, oneshot};

use crate::command::{ApplyCommand, Push};
use crate::error::Error;
use crate::flush::FlushQueue;
use crate::live::Chunk;
use crate::sort::hand_to_sorter;
use crate::state::State;

/// Commands that may wait for the applier: the log writer is ahead of it by half as many batches at the most.
const MAX_QUEUED_COMMANDS: usize = 8;

/// Runs until the log writer is gone. A cut on its way makes it wait with the next one, and with it the log writer and the clients.
pub(crate) fn spawn(
    state: Arc<State>,
    flush_queue: FlushQueue,
    full_chunks: mpsc::Sender<Arc<Chunk>>,
) -> SyncSender<ApplyCommand> {
    let (sender, receiver) = sync_channel(MAX_QUEUED_COMMANDS);
    let guard = state.guard("applier");
    let applier = Applier { state, flush_queue, full_chunks, staged: Vec::new(), cut_requested: false };
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
    state: Arc<State>,
    flush_queue: FlushQueue,
    full_chunks: mpsc::Sender<Arc<Chunk>>,
    /// The batch that is not known to be synced, and what became of its rows.
    staged: Vec<(Push, Result<(), Error>)>,
    /// A cut is on its way through the log writer.
    cut_requested: bool,
}

impl Applier {
    fn run(mut self, commands: &Receiver<ApplyCommand>) {
        while let Ok(command) = commands.recv() {
            match command {
                ApplyCommand::Stage(batch) => self.stage(batch),
                ApplyCommand::Synced => self.acknowledge(),
                ApplyCommand::NotSynced { reason } => self.refuse(&reason),
                ApplyCommand::Cut { segment, done } => self.cut(segment, done),
                ApplyCommand::CutFailed => self.cut_requested = false,
                ApplyCommand::Mark(position) => self.mark(position),
            }
        }
        if let Some(feed) = &self.state.feed {
            feed.end();
        }
    }

    fn stage(&mut self, batch: Vec<Push>) {
        debug_assert!(self.staged.is_empty(), "a batch is synced or refused before the next one comes");
        let live = &self.state.live;
        self.staged.extend(batch.into_iter().map(|push| {
            let applied = live.stage(&push.tenant, &push.request).map(|_| ());
            (push, applied)
        }));
    }

    fn acknowledge(&mut self) {
        for (push, applied) in self.staged.drain(..) {
            let full_chunk = self.state.live.show(&push.tenant);
            _ = push.acknowledge.send(applied);
            full_chunk.into_iter().for_each(|chunk| hand_to_sorter(&self.full_chunks, chunk));
        }
        self.state.feed();
        if !self.cut_requested {
            self.cut_requested = self.state.request_cut_if_due();
        }
    }

    fn refuse(&mut self, reason: &str) {
        for (push, _) in self.staged.drain(..) {
            self.state.live.discard(&push.tenant);
            _ = push.acknowledge.send(Err(Error::Log { reason: reason.to_owned() }));
        }
    }

    fn cut(&mut self, segment: SegmentSequence, done: Option<oneshot::Sender<Result<(), Error>>>) {
        self.cut_requested = false;
        let live = &self.state.live;
        self.flush_queue.push_when_free(segment, done, || live.cut(segment));
        self.state.feed();
    }

    fn mark(&mut self, position: Position) {
        // while the log is being read back, live rows are those of an earlier process, and the position says nothing
        if let Some(feed) = self.state.feed.as_ref().filter(|feed| feed.has_caught_up()) {
            self.state.live.close_shown();
            self.state.feed();
            feed.barrier(position, self.state.log.clone());
        }
    }
}
