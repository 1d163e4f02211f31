//! When the next rows may be cut: not before those of earlier cuts are in blocks. Each cut holds up to `max_block_bytes`.

use std::sync::Arc;

use storage::ids::SegmentSequence;
use tokio::sync::{Semaphore, mpsc};

use super::{Done, FlushJob};
use crate::live::CutHead;

/// Where cuts go, and who has to wait with the next one.
#[derive(Clone)]
pub(crate) struct FlushQueue {
    jobs: mpsc::Sender<FlushJob>,
    turn: Arc<Semaphore>,
}

/// Cuts as they come, and the turn of the next one, which the flusher gives.
pub(crate) struct FlushJobs {
    jobs: mpsc::Receiver<FlushJob>,
    turn: Arc<Semaphore>,
    is_given: bool,
}

/// The first turn is given.
pub(crate) fn flush_queue() -> (FlushQueue, FlushJobs) {
    let ((jobs, receiver), turn) = (mpsc::channel(1), Arc::new(Semaphore::new(1)));
    (FlushQueue { jobs, turn: turn.clone() }, FlushJobs { jobs: receiver, turn, is_given: true })
}

impl FlushQueue {
    /// Blocks the thread until it is the turn of the next cut; only then takes the rows, so that no more are cut than are
    /// being written. False when nobody takes cuts any more.
    pub(crate) fn push_when_free(
        &self,
        segment: SegmentSequence,
        done: Option<Done>,
        take: impl FnOnce() -> Vec<Arc<CutHead>>,
    ) -> bool {
        let turn = futures::executor::block_on(self.turn.acquire());
        turn.map(|turn| turn.forget()).is_ok()
            && self.jobs.blocking_send(FlushJob { segment, heads: take(), done }).is_ok()
    }
}

impl FlushJobs {
    /// The next cut; `None` when there will be none.
    pub(super) async fn next(&mut self) -> Option<FlushJob> {
        let job = self.jobs.recv().await;
        self.is_given &= job.is_none();
        job
    }

    /// Lets the next rows be cut.
    pub(super) fn give_turn(&mut self) {
        if !self.is_given {
            self.is_given = true;
            self.turn.add_permits(1);
        }
    }
}

impl Drop for FlushJobs {
    fn drop(&mut self) {
        self.turn.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const SEGMENT: SegmentSequence = SegmentSequence(1);

    #[test]
    fn rows_are_cut_only_when_the_cut_before_is_published() {
        let (queue, mut jobs) = flush_queue();
        assert!(queue.push_when_free(SEGMENT, None, Vec::new));
        futures::executor::block_on(jobs.next()).unwrap();
        let (is_published, started) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
        let next = std::thread::spawn({
            let (is_published, started, queue) = (is_published.clone(), started.clone(), queue.clone());
            move || {
                started.wait();
                let take = || {
                    assert!(is_published.load(Ordering::SeqCst), "live rows, and two cuts beside them");
                    Vec::new()
                };
                queue.push_when_free(SEGMENT, None, take)
            }
        });
        started.wait();
        (0..100).for_each(|_| std::thread::yield_now());
        is_published.store(true, Ordering::SeqCst);
        jobs.give_turn();
        jobs.give_turn();
        assert!(next.join().unwrap());
        let waits = std::thread::spawn({
            let queue = queue.clone();
            move || queue.push_when_free(SEGMENT, None, || unreachable!("two turns were one"))
        });
        drop(jobs);
        assert!(!waits.join().unwrap(), "nobody takes it, and nobody waits for ever");
        assert!(!queue.push_when_free(SEGMENT, None, Vec::new));
    }
}
