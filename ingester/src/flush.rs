//! Cut rows → block → manifest → the log may shrink.
//!
//! The order is the commit protocol: the files of a block are stored, then one manifest commit makes the block exist and
//! raises the log's watermark, then its rows leave live data, and last the log segments go. A crash anywhere before the
//! commit leaves files that no manifest names, and the log replays; after it, replay skips what the watermark covers.
//!
//! Files that have had no name for long are deleted ([`storage::garbage`]). So a block that was begun too long ago, because
//! the store was away for example, is not published any more: it is written anew under another id.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::BlockId;
use spans::{Copies, SpanTable};
use storage::block::EncodedBlock;
use storage::garbage::Begun;
use storage::manifest::Change;
use storage::wal::SegmentSequence;
use storage::{Error as StorageError, block};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::live::{CutHead, Live};
use crate::log_writer::LogCommand;
use crate::push::Storage;
use crate::telemetry::Metrics;
use crate::unavailable::Unavailable;

/// Cuts that may wait while another is written. Each holds up to `max_block_bytes` of memory.
pub(crate) const MAX_QUEUED_CUTS: usize = 1;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The rows of one cut, and the log segments that end with it.
pub(crate) struct FlushJob {
    pub segment: SegmentSequence,
    pub heads: Vec<Arc<CutHead>>,
    pub done: Option<Done>,
}

/// Hears of the first failure, or of success.
pub(crate) type Done = oneshot::Sender<Result<(), Error>>;

/// What of a job is in no block, and will not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    /// Rows of unavailable tenants.
    InLog,
}

/// A head on its way into a block.
struct Pending {
    head: Arc<CutHead>,
    /// When the files of its block were begun, if they were.
    begun: Option<Begun>,
}

pub(crate) struct Flusher {
    pub live: Arc<Live>,
    pub storage: Storage,
    pub log: mpsc::Sender<LogCommand>,
    pub metrics: Metrics,
    pub unavailable: Arc<Unavailable>,
}

impl Flusher {
    /// One job after another, each until all its blocks are published. A block that cannot be does not hold up the others
    /// of its job, but the jobs behind it; unless its tenant's manifest is damaged, which no attempt mends: the tenant is
    /// then unavailable, its rows stay as they are, and the log is kept for the next start.
    pub(crate) async fn run(self, mut jobs: mpsc::Receiver<FlushJob>) {
        let mut must_hold_through = None;
        while let Some(FlushJob { segment, heads, mut done }) = jobs.recv().await {
            let mut pending: Vec<Pending> = heads.into_iter().map(|head| Pending { head, begun: None }).collect();
            let mut wait = FIRST_RETRY;
            loop {
                if self.flush_all(&mut pending, segment, &mut done).await == Kept::InLog {
                    must_hold_through = Some(segment);
                }
                if pending.is_empty() {
                    break;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_RETRY);
            }
            // never waits: the log writer may be waiting for this task
            let hold = |segment: &mut SegmentSequence| self.log.try_send(LogCommand::HoldThrough(*segment)).is_ok();
            if must_hold_through.take_if(hold).is_some() || must_hold_through.is_none() {
                // with a full queue the next job removes these segments too
                _ = self.log.try_send(LogCommand::RemoveThrough(segment));
            }
            if let Some(done) = done {
                _ = done.send(Ok(()));
            }
        }
    }

    /// Tries each head once; those that failed stay, but for those whose tenant has become unavailable.
    async fn flush_all(&self, pending: &mut Vec<Pending>, segment: SegmentSequence, done: &mut Option<Done>) -> Kept {
        let mut kept = Kept::Nothing;
        for mut one in std::mem::take(pending) {
            match self.flush(&mut one, segment).await {
                Ok(()) => self.live.published(&one.head),
                Err(error) => {
                    let (tenant, block_id) = (&one.head.tenant, one.head.block.id());
                    self.metrics.flush_failed();
                    if let StorageError::ManifestDamaged { .. } = error {
                        tracing::error!(%tenant, %block_id, %error, "spans of this tenant are refused, what the log has of it is kept");
                        self.unavailable.add(tenant.clone(), error.to_string());
                        kept = Kept::InLog;
                    } else {
                        tracing::warn!(%tenant, %block_id, %error, "flush failed, will retry");
                        pending.push(one);
                    }
                    if let Some(done) = done.take() {
                        _ = done.send(Err(Error::storage("publish a block")(error)));
                    }
                }
            }
        }
        kept
    }

    async fn flush(&self, pending: &mut Pending, segment: SegmentSequence) -> Result<(), StorageError> {
        let started = Instant::now();
        if pending.begun.is_some_and(|begun| !begun.may_publish()) && self.give_up(pending, segment).await? {
            return Ok(());
        }
        let begun = *pending.begun.get_or_insert_with(Begun::now);
        let (tenant, block_id) = (&pending.head.tenant, pending.head.block.id());
        let encoding = pending.head.clone();
        let block = self.storage.cpu.run(move || encode(&encoding, block_id)).await??;
        block.put(tenant, self.storage.objects.as_ref()).await?;
        let entry = block.entry().written_now();
        let (spans, bytes) = (entry.spans, entry.bytes());
        let watermark = Some((self.storage.writer_id, segment));
        let change = Change { add: vec![entry], begun: Some(begun), watermark, ..Change::default() };
        self.storage.manifests.commit(tenant, |_| Some(change.clone())).await?;
        tracing::info!(%tenant, %block_id, spans, bytes, took = ?started.elapsed(), "block published");
        self.metrics.flushed(bytes, started.elapsed());
        self.metrics.copies_dropped(tenant, pending.head.received_spans().saturating_sub(spans));
        Ok(())
    }

    /// Gives up a block that was begun too long ago; its head becomes another one. True when it turns out to be published.
    async fn give_up(&self, pending: &mut Pending, segment: SegmentSequence) -> Result<bool, StorageError> {
        let head = &pending.head;
        // an earlier attempt without a clear outcome has published it before the fence, or never will
        let manifest = self.storage.manifests.fence(&head.tenant).await?;
        if manifest.watermark(&self.storage.writer_id) >= segment {
            return Ok(true);
        }
        tracing::warn!(tenant = %head.tenant, block_id = %head.block.id(), "a block was not published in time and is written anew");
        head.block.renew();
        pending.begun = None;
        Ok(false)
    }
}

fn encode(head: &CutHead, block_id: BlockId) -> Result<EncodedBlock, StorageError> {
    let tables = head.chunks.iter().map(|chunk| Ok(chunk.source()?.table()));
    let tables = tables.collect::<Result<Vec<SpanTable>, StorageError>>()?;
    block::encode(block_id, &head.tenant, &spans::join(&tables, Copies::DropAll)?.table)
}

#[cfg(test)]
mod tests;
