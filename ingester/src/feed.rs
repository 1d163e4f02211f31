//! Spans for whoever counts them: every table once, in the order in which spans came, with marks that say up to where in
//! the log everything has come.
//!
//! ```text
//! replay:  what the log holds behind the counter's position ─▶ tables ─▶ CaughtUp
//! after:   a chunk is full or cut ─▶ table      mark (log writer ─▶ applier): all open chunks ─▶ tables ─▶ Barrier
//! ```
//!
//! A table leaves the way in after its spans are acknowledged. The queue is bounded; while it is full, the applier waits,
//! and with it the log writer and the clients.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use storage::wal::Position;
use tokio::sync::mpsc;

use crate::command::LogCommand;
use crate::live::LiveSpans;

/// Tables that may wait to be counted; each holds up to 24 MiB, most of it shared with live rows.
const MAX_QUEUED_TABLES: usize = 4;

/// What a counter gets.
pub enum Fed {
    Spans(LiveSpans),
    /// All that the log held for the counter at the start has come.
    CaughtUp,
    Barrier(Barrier),
}

/// What lies before `position` in the log has come, and nothing of what lies behind it.
pub struct Barrier {
    pub position: Position,
    log: mpsc::Sender<LogCommand>,
}

impl Barrier {
    /// What has come is counted, and the count will survive a crash: the log need not keep it for the counter.
    pub fn counted(&self) {
        // with a full queue the next barrier says it
        _ = self.log.try_send(LogCommand::Counted(self.position));
    }
}

/// Where spans go to be counted.
pub struct Feed {
    /// How often there is a barrier: spans wait no longer than this for their table to be full.
    pub(crate) period: Duration,
    /// What lies before it in the log was counted by an earlier process.
    pub(crate) counted: Position,
    caught_up: AtomicBool,
    /// None once the last table has left.
    tables: Mutex<Option<mpsc::Sender<Fed>>>,
}

impl Feed {
    /// A feed of what lies behind `counted` in the log, and its end: it gives all of it, and `None` after the last.
    pub fn new(period: Duration, counted: Position) -> (Self, mpsc::Receiver<Fed>) {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED_TABLES);
        (Self { period, counted, caught_up: AtomicBool::new(false), tables: Mutex::new(Some(sender)) }, receiver)
    }

    /// Hands tables on from a thread. Who counts them may be gone: the process is stopping then.
    pub(crate) fn send(&self, tables: Vec<LiveSpans>) {
        tables.into_iter().for_each(|spans| self.send_one(Fed::Spans(spans)));
    }

    /// What the log held has been sent.
    pub(crate) fn caught_up(&self) {
        self.send_one(Fed::CaughtUp);
        self.caught_up.store(true, Ordering::Release);
    }

    pub(crate) fn has_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    /// What lies before `position` has been sent.
    pub(crate) fn barrier(&self, position: Position, log: mpsc::Sender<LogCommand>) {
        self.send_one(Fed::Barrier(Barrier { position, log }));
    }

    fn send_one(&self, fed: Fed) {
        let sender = self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sender) = sender {
            _ = sender.blocking_send(fed);
        }
    }

    /// No table comes any more.
    pub(crate) fn end(&self) {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
