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

use hashbrown::HashSet;
use model::{TenantId, TraceId};
use spans::SpanTable;
use storage::block::BlockSource;
use storage::continued::continued;
use storage::garbage::Begun;
use storage::lock::WriterId;
use storage::manifest::{Change, Manifest, Watermark};
use storage::wal::SegmentSequence;
use storage::{Error as StorageError, block};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::error::Error;
use crate::live::{CutHead, Live};
use crate::log_writer::LogCommand;
use crate::push::Storage;
use crate::telemetry::Metrics;
use crate::unavailable::Unavailable;

/// Cuts that may be on their way into blocks. Each holds the rows of up to `max_block_bytes` in memory.
pub(crate) const MAX_CUTS: usize = 1;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The rows of one cut, and the log segments that end with it.
pub(crate) struct FlushJob {
    pub segment: SegmentSequence,
    pub heads: Vec<Arc<CutHead>>,
    pub done: Option<Done>,
    /// Given back when the blocks are published.
    pub _turn: OwnedSemaphorePermit,
}

/// Where cuts go, and who has to wait with the next one.
#[derive(Clone)]
pub(crate) struct FlushQueue {
    jobs: mpsc::Sender<FlushJob>,
    turns: Arc<Semaphore>,
}

impl FlushQueue {
    pub(crate) fn new() -> (Self, mpsc::Receiver<FlushJob>) {
        let (jobs, receiver) = mpsc::channel(MAX_CUTS);
        (Self { jobs, turns: Arc::new(Semaphore::new(MAX_CUTS)) }, receiver)
    }

    /// Blocks the thread while earlier cuts are on their way; only then takes the rows, so that no more are cut than are
    /// being written. False when nobody takes cuts any more.
    pub(crate) fn push_when_free(
        &self,
        segment: SegmentSequence,
        done: Option<Done>,
        take: impl FnOnce() -> Vec<Arc<CutHead>>,
    ) -> bool {
        let turn = futures::executor::block_on(self.turns.clone().acquire_owned());
        let job = turn.map(|turn| FlushJob { segment, heads: take(), done, _turn: turn });
        job.is_ok_and(|job| self.jobs.blocking_send(job).is_ok())
    }
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
    /// Which of its traces older blocks have, as of when the files were begun: another attempt writes the same bytes, for a
    /// put of the first may still arrive.
    continued: Option<KnownParts>,
}

/// The traces that published blocks have, too, and the manifest that names these.
#[derive(Clone)]
struct KnownParts {
    traces: Arc<HashSet<TraceId>>,
    manifest: Arc<Manifest>,
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
    ///
    /// # Errors
    /// [`StorageError::WriterElsewhere`]: no block is published any more, and nothing is deleted from the log.
    pub(crate) async fn run(self, mut jobs: mpsc::Receiver<FlushJob>) -> Result<(), StorageError> {
        let mut must_hold_through = None;
        while let Some(FlushJob { segment, heads, mut done, _turn }) = jobs.recv().await {
            let mut pending: Vec<Pending> =
                heads.into_iter().map(|head| Pending { head, begun: None, continued: None }).collect();
            let mut wait = FIRST_RETRY;
            loop {
                if self.flush_all(&mut pending, segment, &mut done).await? == Kept::InLog {
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
        Ok(())
    }

    /// Tries each head once; those that failed stay, but for those whose tenant has become unavailable.
    async fn flush_all(
        &self,
        pending: &mut Vec<Pending>,
        segment: SegmentSequence,
        done: &mut Option<Done>,
    ) -> Result<Kept, StorageError> {
        let mut kept = Kept::Nothing;
        for mut one in std::mem::take(pending) {
            match self.flush(&mut one, segment).await {
                Ok(()) => self.live.published(&one.head),
                Err(error @ StorageError::WriterElsewhere { .. }) => {
                    if let Some(done) = done.take() {
                        _ = done.send(Err(Error::NotReady { reason: error.to_string() }));
                    }
                    return Err(error);
                }
                Err(error) => {
                    let (tenant, block_id) = (&one.head.tenant, one.head.block.id());
                    self.metrics.flush_failed();
                    if let StorageError::ManifestDamaged { .. } | StorageError::ManifestVersion { .. } = error {
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
        Ok(kept)
    }

    async fn flush(&self, pending: &mut Pending, segment: SegmentSequence) -> Result<(), StorageError> {
        let started = Instant::now();
        if pending.begun.is_some_and(|begun| !begun.may_publish()) && self.give_up(pending, segment).await? {
            return Ok(());
        }
        let begun = *pending.begun.get_or_insert_with(Begun::now);
        let head = pending.head.clone();
        let tables = Arc::new(self.storage.cpu.run(move || tables(&head)).await??);
        let known = match pending.continued.take() {
            Some(known) => known,
            None => self.known_parts(&pending.head.tenant, &tables).await?,
        };
        pending.continued = Some(known.clone());
        let (tenant, block_id) = (&pending.head.tenant, pending.head.block.id());
        let (encoded_tenant, continued) = (tenant.clone(), known.traces.clone());
        let encode = move || block::encode_tables(block_id, &encoded_tenant, &tables, Some(continued));
        let block = self.storage.cpu.run(encode).await??;
        block.put(tenant, self.storage.objects.as_ref()).await?;
        let entry = block.entry().written_now();
        let (spans, bytes) = (entry.spans, entry.bytes());
        self.storage.record_incarnation().await?;
        let watermark = Some(Watermark { by: self.storage.lineage.clone(), segment });
        let change = Change { add: vec![entry], begun: Some(begun), watermark, ..Change::default() };
        let writer_id = self.storage.lineage.writer().id;
        let change_of = |now: &Manifest| {
            let mut change = change.clone();
            if !knows_all_writers(&known.manifest, now, &writer_id) {
                change.add.iter_mut().for_each(|entry| entry.continued_traces = None);
            }
            Some(change)
        };
        self.storage.manifests.commit(tenant, change_of).await?;
        tracing::info!(%tenant, %block_id, spans, bytes, took = ?started.elapsed(), "block published");
        self.metrics.flushed(bytes, started.elapsed());
        self.metrics.copies_dropped(tenant, pending.head.received_spans().saturating_sub(spans));
        Ok(())
    }

    /// The traces of some tables of which published blocks have a part, too.
    async fn known_parts(&self, tenant: &TenantId, tables: &[SpanTable]) -> Result<KnownParts, StorageError> {
        let Storage { objects, manifests, cpu, cache, trace_reach, .. } = &self.storage;
        let manifest = manifests.load(tenant).await?;
        let blocks = BlockSource::all(tenant, &manifest, objects, cpu, cache);
        let reach_nanos = u64::try_from(trace_reach.as_nanos()).unwrap_or(u64::MAX);
        let of_tables = tables.iter().map(SpanTable::traces).collect::<Result<Vec<_>, _>>()?;
        let traces = Arc::new(continued(&of_tables, &blocks, reach_nanos).await?);
        Ok(KnownParts { traces, manifest })
    }

    /// Gives up a block that was begun too long ago; its head becomes another one. True when it turns out to be published.
    async fn give_up(&self, pending: &mut Pending, segment: SegmentSequence) -> Result<bool, StorageError> {
        let head = &pending.head;
        // an earlier attempt without a clear outcome has published it before the fence, or never will
        let manifest = self.storage.manifests.fence(&head.tenant).await?;
        if manifest.published_by(&self.storage.lineage.writer()) >= segment {
            return Ok(true);
        }
        tracing::warn!(tenant = %head.tenant, block_id = %head.block.id(), "a block was not published in time and is written anew");
        head.block.renew();
        (pending.begun, pending.continued) = (None, None);
        Ok(false)
    }
}

/// Whether no other writer has published a block since: what it holds was not looked at. Compaction adds no traces.
fn knows_all_writers(then: &Manifest, now: &Manifest, own: &WriterId) -> bool {
    now.wal_watermarks.iter().all(|(writer, segment)| writer == own || *segment <= then.watermark(writer))
}

/// The rows of a cut, sorted chunk by chunk; no copies of what the chunks hold.
fn tables(head: &CutHead) -> Result<Vec<SpanTable>, StorageError> {
    head.chunks.iter().map(|chunk| Ok(chunk.source()?.table())).collect()
}

#[cfg(test)]
mod tests;
