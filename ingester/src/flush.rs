//! Cut rows → block → manifest → the log may shrink.
//!
//! The order is the commit protocol: the files of a block are stored, then one manifest commit makes the block exist and
//! raises the log's watermark, then its rows leave live data, and last the log segments go. A crash anywhere before the
//! commit leaves files that no manifest names, and the log replays; after it, replay skips what the watermark covers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use spans::SpanTable;
use storage::block::EncodedBlock;
use storage::manifest::Change;
use storage::wal::SegmentSequence;
use storage::{Error as StorageError, block};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::live::{CutHead, Live};
use crate::log_writer::LogCommand;
use crate::push::Storage;
use crate::telemetry::Metrics;

/// Cuts that may wait while another is written. Each holds up to `max_block_bytes` of memory.
pub(crate) const MAX_QUEUED_CUTS: usize = 1;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The rows of one cut, and the log segments that end with it.
pub(crate) struct FlushJob {
    pub segment: SegmentSequence,
    pub heads: Vec<Arc<CutHead>>,
    /// Hears of the first failure, or of success.
    pub done: Option<oneshot::Sender<Result<(), Error>>>,
}

pub(crate) struct Flusher {
    pub live: Arc<Live>,
    pub storage: Storage,
    pub log: mpsc::Sender<LogCommand>,
    pub metrics: Metrics,
    /// Whether segments hold what is not replayed; see [`crate::recover`].
    pub keep_log: bool,
}

impl Flusher {
    /// One job after another, each until all its blocks are published. A block that cannot be does not hold up the others
    /// of its job, but the jobs behind it.
    pub(crate) async fn run(self, mut jobs: mpsc::Receiver<FlushJob>) {
        while let Some(mut job) = jobs.recv().await {
            let mut wait = FIRST_RETRY;
            loop {
                self.flush_all(&mut job).await;
                if job.heads.is_empty() {
                    break;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_RETRY);
            }
            if !self.keep_log {
                // with a full queue the next job removes these segments too
                _ = self.log.try_send(LogCommand::RemoveThrough(job.segment));
            }
            if let Some(done) = job.done {
                _ = done.send(Ok(()));
            }
        }
    }

    /// Tries each head of the job once; those that failed stay.
    async fn flush_all(&self, job: &mut FlushJob) {
        for head in std::mem::take(&mut job.heads) {
            match self.flush(&head, job.segment).await {
                Ok(()) => self.live.published(&head.tenant, head.block_id),
                Err(error) => {
                    tracing::warn!(tenant = %head.tenant, block_id = %head.block_id, %error, "flush failed, will retry");
                    self.metrics.flush_failed();
                    if let Some(done) = job.done.take() {
                        _ = done.send(Err(Error::storage("publish a block")(error)));
                    }
                    job.heads.push(head);
                }
            }
        }
    }

    async fn flush(&self, head: &Arc<CutHead>, segment: SegmentSequence) -> Result<(), StorageError> {
        let started = Instant::now();
        let encoding = head.clone();
        let block = self.storage.cpu.run(move || encode(&encoding)).await??;
        block.put(&head.tenant, self.storage.objects.as_ref()).await?;
        let entry = block.entry();
        let (spans, bytes) = (entry.spans, entry.bytes());
        let change =
            Change { add: vec![entry], watermark: Some((self.storage.writer_id, segment)), ..Change::default() };
        self.storage.manifests.commit(&head.tenant, |_| Some(change.clone())).await?;
        tracing::info!(tenant = %head.tenant, block_id = %head.block_id, spans, bytes, took = ?started.elapsed(), "block published");
        self.metrics.flushed(bytes, started.elapsed());
        Ok(())
    }
}

fn encode(head: &CutHead) -> Result<EncodedBlock, StorageError> {
    let tables = head.chunks.iter().map(|chunk| Ok(chunk.source()?.table()));
    let tables = tables.collect::<Result<Vec<SpanTable>, StorageError>>()?;
    block::encode(head.block_id, &head.tenant, &spans::combine(&tables)?)
}
