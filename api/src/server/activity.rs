//! Whether a connection has requests under way: one that has none for long gives its place to others.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::timeout;

/// The requests of one connection.
#[derive(Default)]
pub(super) struct Activity {
    running: AtomicUsize,
    changed: Notify,
}

/// A request, until its answer is sent or dropped.
pub(super) struct Running(Arc<Activity>);

/// Why nothing happens any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    BeforeFirst,
    Since,
}

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
        Running(self.clone())
    }

    /// Waits until there was no request for a while: `first` before the first one, `later` after others.
    pub(super) async fn idle(&self, first: Duration, later: Duration) -> Idle {
        if timeout(first, self.changed.notified()).await.is_err() {
            return Idle::BeforeFirst;
        }
        loop {
            if self.running.load(Ordering::Acquire) > 0 {
                self.changed.notified().await;
            } else if timeout(later, self.changed.notified()).await.is_err() {
                return Idle::Since;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

/// The body of an answer, whose request runs until it is sent.
pub(super) struct RunningBody {
    body: Body,
    _running: Running,
}

impl RunningBody {
    pub(super) fn new(body: Body, running: Running) -> Self {
        Self { body, _running: running }
    }
}

impl hyper::body::Body for RunningBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_its_last_request_is_long_over() {
        let (first, later) = (Duration::from_secs(1), Duration::from_secs(10));
        let activity = Arc::new(Activity::default());
        assert_eq!(activity.idle(first, later).await, Idle::BeforeFirst);
        let (one, two) = (activity.begin(), activity.begin());
        let waiting = tokio::spawn({
            let activity = activity.clone();
            async move { activity.idle(first, later).await }
        });
        tokio::time::sleep(Duration::from_secs(3600)).await;
        drop(one);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(!waiting.is_finished(), "one request is still under way");
        drop(two);
        let begun = tokio::time::Instant::now();
        assert_eq!(waiting.await.unwrap(), Idle::Since);
        assert_eq!(begun.elapsed().as_secs(), 10);
    }
}
