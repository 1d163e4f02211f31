//! Live spans for whoever counts them: every table once, when it is full or old enough, in the order in which spans came.
//!
//! A table leaves the way in after its spans are acknowledged. The queue is bounded; while it is full, the applier waits,
//! and with it the log writer and the clients.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::live::LiveSpans;

/// Tables that may wait to be counted; each holds up to 24 MiB, most of it shared with live rows.
const MAX_QUEUED_TABLES: usize = 4;

/// Where live spans go to be counted.
pub struct Feed {
    /// Spans wait no longer than this for their table to be full.
    pub(crate) max_age: Duration,
    /// None once the last table has left.
    tables: Mutex<Option<mpsc::Sender<LiveSpans>>>,
}

impl Feed {
    /// A feed of tables that are no older than `max_age`, and its end: it gives all of them, and `None` after the last.
    pub fn new(max_age: Duration) -> (Self, mpsc::Receiver<LiveSpans>) {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED_TABLES);
        (Self { max_age, tables: Mutex::new(Some(sender)) }, receiver)
    }

    fn sender(&self) -> Option<mpsc::Sender<LiveSpans>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands tables on from a thread. Who counts them may be gone: the process is stopping then. No table is taken unless
    /// the feed is open until it has left.
    pub(crate) fn blocking_send(&self, take: impl FnOnce() -> Vec<LiveSpans>) {
        if let Some(sender) = self.sender() {
            take().into_iter().for_each(|table| _ = sender.blocking_send(table));
        }
    }

    /// Hands tables on from a task.
    pub(crate) async fn send(&self, take: impl FnOnce() -> Vec<LiveSpans>) {
        if let Some(sender) = self.sender() {
            for table in take() {
                _ = sender.send(table).await;
            }
        }
    }

    /// No table comes any more.
    pub(crate) fn end(&self) {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
