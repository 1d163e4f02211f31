//! Adoption: what a writer that is gone left in its log on the bucket becomes blocks, published in its name.
//!
//! ```text
//! sealed log ─▶ entries beyond the watermark of their tenant ─▶ live rows of nobody ─▶ cut ─▶ block ─▶ commit, if the watermark
//!     ▲                                                                                                 is where it was
//!     └───────────────────────────── it moved: replay what lies beyond it ◀────────────────────────────────┘
//! ```
//!
//! The writer may be alive, and its last flush still arrive. Whichever commit comes first counts: if it is the writer's, the
//! watermark has moved and only the rest is adopted; if it is this one, the writer finds its watermark raised already and takes
//! its rows for published, which they are. Two that adopt one log are told apart in the same way. No block is begun before the
//! writer was found to be a member, and none is published long after ([`storage::publish_deadline`]): so nothing is committed in
//! the name of a writer that is forgotten.
//!
//! What a writer acknowledged on its disk and did not ship ([`crate::ship`]) the next start on that disk publishes in the same way,
//! from there: [`Adopter::adopt_disk`].

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, stream};
use model::{ErrorKind, TenantId};
use storage::Error as StorageError;
use storage::bucket_log::LogReader;
use storage::ids::SegmentSequence;
use storage::incarnation::{Lineage, Writer};
use storage::members::Standing;
use storage::paths;
use storage::wal::{Files, Recovery, Replay, WholeSegment};
use tokio::sync::mpsc;

use crate::flush::{Flusher, Pending};
use crate::live::{CutHead, Live};
use crate::sort;
use crate::stores::Storage;
use crate::telemetry::Metrics;
use crate::unavailable::Unavailable;

/// Objects that are read ahead.
const READ_AHEAD: usize = 8;
/// How often a log is replayed at the most, because watermarks moved meanwhile: the writer has two cuts under way.
const MOST_PASSES: usize = 5;

/// Adopts logs of others.
#[derive(Clone)]
pub struct Adopter {
    storage: Storage,
    metrics: Metrics,
    /// Blocks are cut at this much memory of rows.
    max_block_bytes: usize,
}

/// Where the rows of each tenant are in blocks.
struct Watermarks(HashMap<TenantId, SegmentSequence>);

impl Adopter {
    pub(crate) fn new(storage: Storage, metrics: Metrics, max_block_bytes: usize) -> Self {
        Self { storage, metrics, max_block_bytes }
    }

    /// Publishes what a writer left in objects up to `last`; its log is sealed behind that. Afterwards it may be retired.
    ///
    /// # Errors
    /// When something could not be published. What was stays so, and the next attempt goes on from there.
    pub async fn adopt(&self, writer: Writer, reader: &LogReader, last: u64) -> Result<(), StorageError> {
        let (flusher, mut watermarks) = self.begin(writer).await?;
        for _ in 0..MOST_PASSES {
            if self.pass(&flusher, &writer, reader, last, &mut watermarks).await? {
                return Ok(());
            }
        }
        Err(watermarks.moved(writer))
    }

    /// Publishes what a start that has ended left on the disk of this process, shipped or not. Afterwards it may be retired.
    ///
    /// # Errors
    /// Those of [`adopt`](Self::adopt).
    pub async fn adopt_disk(&self, writer: Writer, files: Arc<dyn Files>, dir: &Path) -> Result<(), StorageError> {
        let (flusher, mut watermarks) = self.begin(writer).await?;
        for _ in 0..MOST_PASSES {
            let recovery = Recovery::open(files.clone(), dir)?;
            if self.pass_over_disk(&flusher, recovery, &mut watermarks).await? {
                return Ok(());
            }
        }
        Err(watermarks.moved(writer))
    }

    async fn begin(&self, writer: Writer) -> Result<(Flusher, Watermarks), StorageError> {
        let objects = self.storage.objects.clone();
        let standing = Arc::new(Standing::of(objects, writer.incarnation).await?);
        let flusher = self.flusher(writer, standing);
        let mut watermarks = Watermarks(HashMap::new());
        for (tenant, manifest) in flusher.storage.manifests.refresh_all().await? {
            match manifest {
                Ok(manifest) => _ = watermarks.0.insert(tenant, manifest.published_by(&writer)),
                // its rows cannot be published; those of others can
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                Err(error) => return Err(error),
            }
        }
        Ok((flusher, watermarks))
    }

    /// Publishes in the name of a writer, rows that are live nowhere else.
    fn flusher(&self, writer: Writer, standing: Arc<Standing>) -> Flusher {
        let lineage = Arc::new(Lineage::only(writer));
        let (log, _commands) = mpsc::channel(1);
        Flusher {
            live: Arc::new(Live::default()),
            storage: Storage { lineage, ..self.storage.clone() },
            log,
            metrics: self.metrics.clone(),
            unavailable: Arc::new(Unavailable::default()),
            recording: Default::default(),
            standing: Some(standing),
            raised: Default::default(),
        }
    }

    /// Replays the log once; false when a watermark moved meanwhile, and something may be left.
    async fn pass(
        &self,
        flusher: &Flusher,
        writer: &Writer,
        reader: &LogReader,
        last: u64,
        watermarks: &mut Watermarks,
    ) -> Result<bool, StorageError> {
        let incarnation = writer.incarnation;
        let numbers = reader.numbers_after(&incarnation, 0).await?;
        let numbers: Vec<u64> = numbers.into_iter().filter(|number| *number <= last).collect();
        // what is no longer there, all watermarks cover
        let newest_watermark = watermarks.0.values().copied().max().unwrap_or_default().0;
        let needed = (newest_watermark + 1)..=last;
        if let Some(missing) = needed.clone().find(|number| numbers.binary_search(number).is_err()) {
            let key = paths::log_object(&incarnation, missing).to_string();
            return Err(StorageError::LogObjectDamaged { key, reason: "is missing".to_owned() });
        }
        let read =
            |number: u64| async move { Ok::<_, StorageError>((number, reader.read(&incarnation, number).await?)) };
        let mut objects = stream::iter(numbers).map(read).buffered(READ_AHEAD);
        let mut is_complete = true;
        while let Some(object) = objects.next().await {
            let (number, object): (u64, _) = object?;
            let Some(object) = object else { continue }; // deleted since, so all watermarks cover it
            let key = paths::log_object(&incarnation, number);
            let (live, segment) = (flusher.live.clone(), SegmentSequence(number));
            let is_wanted: Vec<TenantId> =
                object.tenants.iter().filter(|tenant| segment > watermarks.of(tenant)).cloned().collect();
            if !is_wanted.is_empty() {
                flusher.storage.cpu.run(move || stage(&live, &object.entries(&key)?, &is_wanted)).await??;
            }
            if flusher.live.size().memory_bytes >= self.max_block_bytes {
                is_complete &= self.publish(flusher, segment, watermarks).await?;
            }
        }
        Ok(is_complete & self.publish(flusher, SegmentSequence(last), watermarks).await?)
    }

    /// As [`pass`](Self::pass), over segments.
    async fn pass_over_disk(
        &self,
        flusher: &Flusher,
        recovery: Recovery,
        watermarks: &mut Watermarks,
    ) -> Result<bool, StorageError> {
        let last = recovery.sizes().last_key_value().map_or(SegmentSequence::NONE, |(sequence, _)| *sequence);
        let (mut replay, mut is_complete) = (recovery.replay(), true);
        loop {
            let (live, known) = (flusher.live.clone(), watermarks.0.clone());
            let staged = flusher.storage.cpu.run(move || stage_next(replay, &live, &Watermarks(known))).await??;
            let Some((rest, segment)) = staged else { break };
            replay = rest;
            for (offset, reason) in &segment.damage {
                tracing::error!(segment = %segment.sequence, offset, reason, "the log that an earlier start left is damaged at this offset, the entries behind it are read");
                self.metrics.replay_failed();
            }
            if flusher.live.size().memory_bytes >= self.max_block_bytes {
                is_complete &= self.publish(flusher, segment.sequence, watermarks).await?;
            }
        }
        Ok(is_complete & self.publish(flusher, last, watermarks).await?)
    }

    /// Publishes the rows so far, all of which lie in objects up to `segment`.
    async fn publish(
        &self,
        flusher: &Flusher,
        segment: SegmentSequence,
        watermarks: &mut Watermarks,
    ) -> Result<bool, StorageError> {
        let (mut is_complete, mut failed) = (true, None);
        for head in flusher.live.cut(segment) {
            let tenant = head.tenant.clone();
            let published = flusher.flush(&mut self.pending(&head, watermarks), segment).await;
            flusher.live.published(&head);
            match published {
                Ok(()) => _ = watermarks.0.insert(tenant, segment),
                Err(StorageError::WatermarkMoved { .. }) => {
                    let manifest = flusher.storage.manifests.refresh(&tenant).await?;
                    watermarks.0.insert(tenant, manifest.published_by(&flusher.storage.lineage.writer()));
                    is_complete = false;
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(is_complete), Err)
    }

    fn pending(&self, head: &Arc<CutHead>, watermarks: &Watermarks) -> Pending {
        let mut pending = Pending::of(head.clone());
        pending.from = Some(watermarks.of(&head.tenant));
        pending
    }
}

impl Watermarks {
    fn of(&self, tenant: &TenantId) -> SegmentSequence {
        self.0.get(tenant).copied().unwrap_or_default()
    }

    fn moved(self, writer: Writer) -> StorageError {
        let tenant = self.0.into_keys().next().unwrap_or_else(TenantId::single);
        StorageError::WatermarkMoved { tenant, writer_id: writer.id }
    }
}

/// Makes live rows of what the next segment has beyond the watermarks.
fn stage_next(
    mut replay: Replay,
    live: &Live,
    watermarks: &Watermarks,
) -> Result<Option<(Replay, WholeSegment)>, StorageError> {
    let Some(segment) = replay.next_whole()? else { return Ok(None) };
    let tenants = segment.entries.iter().map(|(tenant, _)| tenant.clone());
    let wanted: BTreeSet<TenantId> = tenants.filter(|tenant| segment.sequence > watermarks.of(tenant)).collect();
    stage(live, &segment.entries, &Vec::from_iter(wanted))?;
    Ok(Some((replay, segment)))
}

fn stage(live: &Live, entries: &[(TenantId, bytes::Bytes)], wanted: &[TenantId]) -> Result<(), StorageError> {
    for (tenant, payload) in entries.iter().filter(|(tenant, _)| wanted.contains(tenant)) {
        let staged = live.stage(tenant, payload);
        staged.map_err(|error| StorageError::LiveSpans { reason: error.to_string() })?;
        live.show(tenant).iter().for_each(|chunk| sort::sort(chunk));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
