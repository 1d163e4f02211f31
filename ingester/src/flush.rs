//! Cut rows → block → manifest → the log may shrink.
//!
//! The order is the commit protocol: the files of a block are stored, then one manifest commit makes the block exist and
//! raises the log's watermark, then its rows leave live data, and last the log segments go. A crash anywhere before the
//! commit leaves files that no manifest names, and the log replays; after it, replay skips what the watermark covers.
//!
//! Files that have had no name for long are deleted ([`storage::garbage`]). So a block that was begun too long ago, because
//! the store was away for example, is not published any more: it is written anew under another id.

mod queues;
mod turn;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use hashbrown::HashSet;
use model::{BlockId, TenantId, TraceId};
use spans::SpanTable;
use storage::block::BlockSource;
use storage::continued::continued;
use storage::ids::{SegmentSequence, WriterId};
use storage::manifest::{Change, Manifest, Watermark};
use storage::members::Standing;
use storage::publish_deadline::PublishDeadline;
use storage::{Error as StorageError, block};
use tokio::sync::{Mutex, mpsc, oneshot};
use tracing::{Instrument, info_span};

use crate::command::LogCommand;
use crate::error::Error;
use crate::live::{CutHead, Live};
use crate::stores::Storage;
use crate::telemetry::Metrics;
use crate::unavailable::Unavailable;
use queues::{Queue, Queues};
pub(crate) use turn::{FlushJobs, FlushQueue, flush_queue};

/// Tenants whose blocks are written at once.
const TENANTS_AT_ONCE: usize = 4;
/// How long ago a writer was last found to be a member when it begins a block: with the time in which a block may be published,
/// less than what is said of it stays after it was retired. So nothing is published in the name of a writer that is forgotten.
const STANDING_FOR: Duration = Duration::from_secs(10 * 60);

/// The rows of one cut, and the log segments that end with it.
pub(crate) struct FlushJob {
    pub segment: SegmentSequence,
    pub heads: Vec<Arc<CutHead>>,
    pub done: Option<Done>,
}

/// Hears of the first failure, or of success.
pub(crate) type Done = oneshot::Sender<Result<(), Error>>;

/// What the log has to be told.
#[derive(Debug, Default)]
struct LogShare {
    /// Rows of unavailable tenants are in no block, and will not be.
    must_hold_through: Option<SegmentSequence>,
}

/// What became of a tenant's turn.
struct Turn {
    queue: Queue,
    /// How many heads got through.
    published: usize,
    /// Up to where the log must be kept, because what was left of the queue is given up.
    held: Option<SegmentSequence>,
}

/// What is said of a cut that waits behind another of its tenant.
const BEHIND: &str = "an earlier block of the tenant could not be published yet";

/// A head on its way into a block.
pub(crate) struct Pending {
    pub head: Arc<CutHead>,
    /// Of the block: another one when it has to be written anew.
    block_id: BlockId,
    /// When the files of its block were begun, if they were.
    deadline: Option<PublishDeadline>,
    /// Which of its traces older blocks have, as of when the files were begun: another attempt writes the same bytes, for a
    /// put of the first may still arrive.
    continued: Option<KnownParts>,
    /// Where the watermark must stand; see [`Watermark::from`].
    pub from: Option<SegmentSequence>,
}

impl Pending {
    pub(crate) fn of(head: Arc<CutHead>) -> Self {
        Self { block_id: head.block_id, head, deadline: None, continued: None, from: None }
    }
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
    /// Whoever records this start in the data folder.
    pub recording: Mutex<()>,
    /// Of a writer whose log is on the bucket.
    pub standing: Option<Arc<Standing>>,
    /// Where such a writer has raised its watermarks to: only there they may stand when it raises them.
    pub raised: Mutex<HashMap<TenantId, SegmentSequence>>,
}

impl Flusher {
    /// Flushes tenants as their rows are cut, some at a time, each until its blocks are published. A block that cannot be
    /// does not hold up other tenants: the spans of its tenant are refused after a few attempts, and the attempts go on. A
    /// manifest that is damaged is mended by no attempt: its tenant's rows stay as they are, and the log is kept for the next
    /// start.
    ///
    /// # Errors
    /// [`StorageError::WriterElsewhere`], [`StorageError::WriterRetired`] and [`StorageError::WatermarkMoved`]: no block is published any more, and nothing is deleted from the log.
    pub(crate) async fn run(self, mut jobs: FlushJobs) -> Result<(), StorageError> {
        let (mut queues, mut log) = (Queues::default(), LogShare::default());
        let mut is_open = true;
        while is_open || !queues.is_idle() {
            let next_due = queues.next_due(tokio::time::Instant::now());
            tokio::select! {
                biased;
                job = jobs.next(), if is_open => match job {
                    Some(job) => queues.add(job),
                    None => is_open = false,
                },
                () = tokio::time::sleep_until(next_due.unwrap_or_else(tokio::time::Instant::now)), if next_due.is_some() => {}
            }
            self.flush_due(&mut queues, &mut log).await?;
            self.let_go(&mut queues, &mut log);
            if queues.has_room() {
                jobs.give_turn();
            }
        }
        Ok(())
    }

    /// Lets all tenants have a turn that are due.
    async fn flush_due(&self, queues: &mut Queues, log: &mut LogShare) -> Result<(), StorageError> {
        let due = queues.take_due(tokio::time::Instant::now());
        let flush = |(tenant, queue): (TenantId, Queue)| async { (tenant, self.flush_queue(queue).await) };
        let turns: Vec<_> = futures::stream::iter(due).map(flush).buffer_unordered(TENANTS_AT_ONCE).collect().await;
        let mut got_through = false;
        for (tenant, turn) in turns {
            let Turn { queue, published, held } = turn?;
            got_through |= published > 0;
            log.must_hold_through = log.must_hold_through.max(held);
            if queue.is_put_off && queue.waiting.is_empty() && held.is_none() {
                tracing::info!(%tenant, "blocks of this tenant can be published again, its spans are accepted");
                self.unavailable.remove(&tenant);
            }
            queues.give_back(tenant, queue);
        }
        if got_through {
            for tenant in queues.somebody_got_through() {
                tracing::error!(%tenant, "blocks of this tenant cannot be published while others can, its spans are refused until they can be");
                self.unavailable.add(tenant, "its blocks cannot be published".to_owned());
            }
        }
        Ok(())
    }

    /// Flushes the heads of one tenant in their order, until one fails.
    async fn flush_queue(&self, mut queue: Queue) -> Result<Turn, StorageError> {
        let (mut published, mut held) = (0, None);
        while let Some((pending, job)) = queue.waiting.front_mut() {
            let span = info_span!(parent: None, "flush", tenant = %pending.head.tenant);
            let Err(error) = self.flush(pending, job.segment).instrument(span).await else {
                self.live.published(&pending.head);
                published += 1;
                queue.went_on();
                continue;
            };
            let (tenant, block_id, job) = (pending.head.tenant.clone(), pending.block_id, job.clone());
            if let StorageError::WriterElsewhere { .. }
            | StorageError::WriterRetired
            | StorageError::WatermarkMoved { .. } = error
            {
                job.tell(Err(Error::NotReady { reason: error.to_string() }));
                return Err(error);
            }
            self.metrics.flush_failed();
            let is_final = matches!(error, StorageError::ManifestDamaged { .. } | StorageError::ManifestVersion { .. });
            if is_final {
                tracing::error!(%tenant, %block_id, %error, "spans of this tenant are refused, what the log has of it is kept");
                self.unavailable.add(tenant, error.to_string());
                held = queue.waiting.iter().map(|(_, job)| job.segment).max();
            } else {
                tracing::warn!(%tenant, %block_id, %error, "flush failed, will retry");
            }
            job.tell(Err(Error::storage("publish a block")(error)));
            let behind = queue.waiting.iter().skip(1);
            behind.for_each(|(_, job)| job.tell(Err(Error::NotReady { reason: BEHIND.to_owned() })));
            if is_final {
                queue.waiting.clear();
            } else {
                queue.failed(tokio::time::Instant::now());
            }
            break;
        }
        Ok(Turn { queue, published, held })
    }

    /// Lets the log delete what is in blocks. Never waits: the log writer may be waiting for this task.
    fn let_go(&self, queues: &mut Queues, log: &mut LogShare) {
        let hold = |segment: &mut SegmentSequence| self.log.try_send(LogCommand::HoldThrough(*segment)).is_ok();
        if let Some(through) = queues.done_through()
            && (log.must_hold_through.take_if(hold).is_some() || log.must_hold_through.is_none())
            // with a full queue the next turn removes these segments too
            && self.log.try_send(LogCommand::RemoveThrough(through)).is_ok()
        {
            queues.forget_through(through);
        }
    }

    pub(crate) async fn flush(&self, pending: &mut Pending, segment: SegmentSequence) -> Result<(), StorageError> {
        let started = Instant::now();
        if let Some(standing) = &self.standing {
            standing.confirm_within(STANDING_FOR).await?;
        }
        if pending.deadline.is_some_and(|deadline| !deadline.may_publish()) && self.give_up(pending, segment).await? {
            return Ok(());
        }
        let deadline = *pending.deadline.get_or_insert_with(PublishDeadline::from_now);
        let head = pending.head.clone();
        let tables = Arc::new(self.storage.cpu.run(move || tables(&head)).await??);
        let known = match pending.continued.take() {
            Some(known) => known,
            None => self.known_parts(&pending.head.tenant, &tables).await?,
        };
        pending.continued = Some(known.clone());
        let (tenant, block_id) = (&pending.head.tenant, pending.block_id);
        let (encoded_tenant, continued) = (tenant.clone(), known.traces.clone());
        let encode = move || block::encode_tables(block_id, &encoded_tenant, &tables, Some(continued));
        let block = self.storage.cpu.run(encode).await??;
        block.put(tenant, self.storage.objects.as_ref()).await?;
        let entry = block.entry().written_now();
        let (spans, bytes) = (entry.spans, entry.bytes());
        self.record_incarnation().await?;
        let from = match &self.standing {
            None => None,
            Some(_) if pending.from.is_some() => pending.from,
            Some(_) => Some(self.raised.lock().await.get(tenant).copied().unwrap_or_default()),
        };
        let watermark = Some(Watermark { by: self.storage.lineage.clone(), segment, from });
        let change = Change { add: vec![entry], deadline: Some(deadline), watermark, ..Change::default() };
        let writer_id = self.storage.lineage.writer().id;
        let change_of = |now: &Manifest| {
            let mut change = change.clone();
            if !knows_all_writers(&known.manifest, now, &writer_id) {
                change.add.iter_mut().for_each(|entry| entry.continued_traces = None);
            }
            Some(change)
        };
        self.storage.manifests.commit(tenant, change_of).await?;
        if self.standing.is_some() {
            self.raised.lock().await.insert(tenant.clone(), segment);
        }
        tracing::info!(%tenant, %block_id, spans, bytes, took = ?started.elapsed(), "block published");
        self.metrics.flushed(bytes, started.elapsed());
        self.metrics.copies_dropped(tenant, pending.head.received_spans().saturating_sub(spans));
        Ok(())
    }

    /// Once, although the first blocks of several tenants need it at the same time.
    async fn record_incarnation(&self) -> Result<(), StorageError> {
        let _turn = self.recording.lock().await;
        self.storage.record_incarnation().await
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
        tracing::warn!(tenant = %head.tenant, block_id = %pending.block_id, "a block was not published in time and is written anew");
        // no other attempt may publish the old one any more: its spans would be there twice
        pending.block_id = pending.block_id.another();
        (pending.deadline, pending.continued) = (None, None);
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
