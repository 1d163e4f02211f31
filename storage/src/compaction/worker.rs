//! The task that does compaction jobs, one after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{BlockId, ErrorKind, TenantId};
use object_store::ObjectStore;
use tokio::sync::watch;
use tracing::{Instrument, info_span};

use super::merge::{Failure, Merged, Merger};
use super::planner::{Job, Limits, plan};
use crate::block::{BlockCache, BlockSource};
use crate::clock::unix_nanos;
use crate::cpu::CpuPool;
use crate::damage::{Damage, UPKEEP_RETRY};
use crate::deletion;
use crate::error::Error;
use crate::garbage::delete_block;
use crate::manifest::{BlockEntry, Change, Manifest, Store};
use crate::publish_deadline::PublishDeadline;
use crate::source::Source;
use crate::telemetry::{Compacted, Telemetry};
use crate::upkeep_share::UpkeepShare;

/// Most inputs of a job: each has an open file and a window of decoded spans.
const MAX_INPUTS: usize = 16;
/// Memory for decoded spans, unless told otherwise; as much again may hold what grows with a block.
const BUDGET_BYTES: usize = 96 << 20;
/// Memory of a row of `traces`, in an input and in the plan.
const TRACE_BYTES: u64 = 128;
/// Memory for each span of a new block: hashes of its index, and Parquet's metadata of its pages, once more for the inputs.
const SPAN_OF_BLOCK_BYTES: u64 = 24;

/// What is kept of a block while deleted traces are looked for in it.
const LOOKED_THROUGH_BYTES: u64 = 8 << 20;

/// When and how far blocks are merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How often jobs are looked for when there were none.
    pub cycle: Duration,
    /// Blocks whose newest spans ended in the same window are merged. Not 0.
    pub window: Duration,
    /// A window of the past is being filled while blocks come in such a time: then it is merged as one of the present.
    pub quiet: Duration,
    /// Most traces of a new block.
    pub max_traces: u64,
    /// Most bytes of a new block.
    pub max_block_bytes: u64,
}

/// Merges the blocks of all tenants, one job at a time. Any number may work on one store.
pub struct Compactor {
    manifests: Arc<Store>,
    objects: Arc<dyn ObjectStore>,
    cpu: CpuPool,
    limits: Limits,
    budget_bytes: usize,
    cycle: Duration,
    telemetry: Telemetry,
    share: UpkeepShare,
    /// Blocks that could not be read, and since when: left alone.
    damaged: HashMap<BlockId, Instant>,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Committed,
    /// Another worker was faster.
    Lost,
    Failed,
}

impl Compactor {
    pub fn new(
        manifests: Arc<Store>,
        objects: Arc<dyn ObjectStore>,
        cpu: CpuPool,
        config: &Config,
        telemetry: Telemetry,
    ) -> Self {
        let limits = Limits {
            window_nanos: u64::try_from(config.window.as_nanos()).unwrap_or(u64::MAX).max(1),
            quiet_nanos: u64::try_from(config.quiet.as_nanos()).unwrap_or(u64::MAX),
            max_inputs: MAX_INPUTS,
            max_traces: config.max_traces.min(BUDGET_BYTES as u64 / TRACE_BYTES),
            max_spans: BUDGET_BYTES as u64 / SPAN_OF_BLOCK_BYTES,
            max_bytes: config.max_block_bytes,
        };
        Self {
            manifests,
            objects,
            cpu,
            limits,
            budget_bytes: BUDGET_BYTES,
            cycle: config.cycle,
            telemetry,
            share: UpkeepShare::all(),
            damaged: HashMap::new(),
        }
    }

    /// Keeps decoded spans within this many bytes instead.
    #[must_use]
    pub fn with_budget_bytes(self, budget_bytes: usize) -> Self {
        Self { budget_bytes, ..self }
    }

    /// Stays within this much memory: half is for decoded spans, half for what grows with a block, so that blocks with more
    /// traces or spans than fit are not merged.
    #[must_use]
    pub fn within(mut self, memory_bytes: u64) -> Self {
        let half = memory_bytes / 2;
        self.limits.max_traces = self.limits.max_traces.min((half / TRACE_BYTES).max(1));
        self.limits.max_spans = (half / SPAN_OF_BLOCK_BYTES).max(1);
        self.with_budget_bytes(usize::try_from(half).unwrap_or(usize::MAX))
    }

    /// Does only this share of the work.
    #[must_use]
    pub fn sharing(self, share: UpkeepShare) -> Self {
        Self { share, ..self }
    }

    /// Works until `stop` says so; a job under way ends at its next row group.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            if !self.round(&stop).await {
                tokio::select! {
                    _ = tokio::time::sleep(self.cycle) => {}
                    changed = stop.changed() => if changed.is_err() { break },
                }
            }
        }
    }

    /// Does the most useful job of every tenant that has one; true when any was committed.
    pub async fn round(&mut self, stop: &watch::Receiver<bool>) -> bool {
        let mut did_something = false;
        for tenant in self.manifests.available_tenants() {
            if *stop.borrow() {
                break;
            }
            match self.next_job(&tenant).await {
                Ok(Some(job)) => {
                    let span = info_span!(parent: None, "compaction", %tenant);
                    let outcome = self.run_job(&tenant, &job, PublishDeadline::from_now(), stop).instrument(span).await;
                    did_something |= outcome == Outcome::Committed;
                }
                Ok(None) => {}
                Err(error) => self.report(&tenant, &error),
            }
        }
        did_something
    }

    /// The most useful job: first what takes deleted traces out. What this process knows may be old: it is looked up before
    /// work begins.
    async fn next_job(&mut self, tenant: &TenantId) -> Result<Option<Job>, Error> {
        if let Some(job) = self.redaction(tenant).await? {
            return Ok(Some(job));
        }
        if self.jobs(tenant).await?.is_empty() {
            return Ok(None);
        }
        self.manifests.refresh(tenant).await?;
        let mut jobs = self.jobs(tenant).await?;
        Ok(if jobs.is_empty() { None } else { Some(jobs.swap_remove(0)) })
    }

    /// Looks through blocks that may have deleted traces, notes which have none, and gives the first that has one: it is
    /// written anew by itself, however large it is.
    async fn redaction(&mut self, tenant: &TenantId) -> Result<Option<Job>, Error> {
        let known = self.manifests.snapshot(tenant).unwrap_or_default();
        let is_looked_through = known.blocks.iter().all(|block| block.redacted_through >= known.last_tombstone);
        if !self.share.has(tenant, 0)
            || known.tombstones.is_empty()
            || is_looked_through && known.spent_tombstones(unix_nanos()).is_empty()
        {
            return Ok(None);
        }
        let manifest = self.manifests.refresh(tenant).await?;
        let (newest, mut looked_through, mut job) = (manifest.last_tombstone, Vec::new(), None);
        let cache = BlockCache::new(LOOKED_THROUGH_BYTES, self.telemetry.clone());
        for source in BlockSource::all(tenant, &manifest, &self.objects, &self.cpu, &cache) {
            let block_id = source.block_id();
            let Some(entry) = manifest.block(&block_id).filter(|entry| entry.redacted_through < newest) else {
                continue;
            };
            if self.damaged.contains_key(&block_id) {
                continue;
            }
            match deletion::found(&source, &manifest.deleted_after(entry.redacted_through)).await {
                Ok(found) if found.is_empty() => looked_through.push((block_id, newest)),
                Ok(_) => {
                    job = Some(Job { group: self.limits.group_of_block(entry), inputs: vec![entry.clone()] });
                    break;
                }
                Err(error) => {
                    self.report(tenant, &error);
                    self.damaged.insert(block_id, Instant::now());
                }
            }
        }
        let note = |manifest: &Manifest| {
            let remove_tombstones = manifest.spent_tombstones(unix_nanos());
            let change = Change { looked_through: looked_through.clone(), remove_tombstones, ..Change::default() };
            (change != Change::default()).then_some(change)
        };
        self.manifests.commit(tenant, note).await?;
        Ok(job)
    }

    async fn jobs(&mut self, tenant: &TenantId) -> Result<Vec<Job>, Error> {
        let now = Instant::now();
        self.damaged.retain(|_, since| now.saturating_duration_since(*since) < UPKEEP_RETRY);
        // none for a tenant whose manifest is damaged, which was named when it was read
        let manifest = self.manifests.snapshot(tenant).unwrap_or_default();
        let blocks: Vec<_> =
            manifest.blocks.iter().filter(|block| !self.damaged.contains_key(&block.id)).cloned().collect();
        let mut jobs = plan(&blocks, unix_nanos(), &self.limits);
        jobs.retain(|job| self.share.has(tenant, job.group.share_key()));
        self.telemetry.compaction.set_outstanding(tenant, jobs.iter().map(|job| job.inputs.len()).sum());
        Ok(jobs)
    }

    /// Does a job that was begun then, and says what became of it; what it stored is taken back unless a manifest may name
    /// it.
    pub(super) async fn run_job(
        &mut self,
        tenant: &TenantId,
        job: &Job,
        deadline: PublishDeadline,
        stop: &watch::Receiver<bool>,
    ) -> Outcome {
        let (started, mut new_blocks) = (Instant::now(), Vec::new());
        let merged = match self.merge(tenant, job, deadline, &mut new_blocks, stop).await {
            Ok(merged) => merged,
            Err(failure) => {
                self.discard(tenant, &new_blocks).await;
                return self.failed(tenant, job, failure).await;
            }
        };
        let remove = job.inputs.iter().map(|input| input.id).collect();
        let change = Change { add: merged.blocks.clone(), deadline: Some(deadline), remove, ..Change::default() };
        match self.manifests.commit(tenant, |_| Some(change.clone())).await {
            Ok(_) => {
                let (inputs, blocks) = (job.inputs.len(), merged.blocks.len());
                tracing::info!(%tenant, inputs, blocks, bytes = job.bytes(), joined_traces = merged.joined_traces,
                    dropped_spans = merged.dropped_spans, deleted_spans = merged.deleted_spans, took = ?started.elapsed(), "blocks compacted");
                self.telemetry.compaction.compacted(&Compacted {
                    level: merged.level,
                    input_blocks: inputs,
                    traces_written: merged.blocks.iter().map(|block| block.traces).sum(),
                    bytes_written: merged.blocks.iter().map(BlockEntry::bytes).sum(),
                    joined_traces: merged.joined_traces,
                    dropped_spans: merged.dropped_spans,
                });
                Outcome::Committed
            }
            // no manifest will name the new blocks
            Err(error @ (Error::BlocksGone { .. } | Error::TooLate { .. })) => {
                self.discard(tenant, &new_blocks).await;
                self.failed(tenant, job, error.into()).await
            }
            // the commit may have been made: if it was not, the files are the collector's
            Err(error) => self.failed(tenant, job, error.into()).await,
        }
    }

    async fn merge(
        &self,
        tenant: &TenantId,
        job: &Job,
        deadline: PublishDeadline,
        new_blocks: &mut Vec<BlockId>,
        stop: &watch::Receiver<bool>,
    ) -> Result<Merged, Failure> {
        let manifest = self.manifests.snapshot(tenant).unwrap_or_default();
        let merger = Merger {
            deleted: &Arc::new(manifest.deleted_after(0)),
            redacted_through: manifest.last_tombstone,
            objects: &self.objects,
            cpu: &self.cpu,
            tenant,
            limits: &self.limits,
            budget_bytes: self.budget_bytes,
        };
        let go_on = || match *stop.borrow() {
            true => Err(Error::Stopping),
            false if !deadline.may_publish() => Err(Error::TooLate { tenant: tenant.clone() }),
            false => self.check_inputs(tenant, job),
        };
        let merged = merger.merge(job, new_blocks, go_on).await?;
        let read: u64 = job.inputs.iter().map(|input| input.spans).sum();
        let left_out = merged.dropped_spans as u64 + merged.deleted_spans;
        let written = merged.blocks.iter().map(|block| block.spans).sum::<u64>() + left_out;
        match read == written {
            true => Ok(merged),
            false => Err(Error::SpansMissing { tenant: tenant.clone(), read, written }.into()),
        }
    }

    /// Whether the inputs are still there, as far as this process knows.
    fn check_inputs(&self, tenant: &TenantId, job: &Job) -> Result<(), Error> {
        let manifest = self.manifests.snapshot(tenant).unwrap_or_default();
        match job.inputs.iter().find(|input| manifest.block(&input.id).is_none()) {
            Some(gone) => Err(Error::BlocksGone { tenant: tenant.clone(), block_id: gone.id }),
            None => Ok(()),
        }
    }

    /// Says why a job failed, and leaves alone from now on what cannot be read.
    async fn failed(&mut self, tenant: &TenantId, job: &Job, failure: Failure) -> Outcome {
        // an input that cannot be found may have been replaced by others meanwhile
        _ = self.manifests.refresh(tenant).await;
        let Failure { input, error } = failure;
        let is_lost = matches!(*error, Error::BlocksGone { .. } | Error::Stopping);
        if is_lost || self.check_inputs(tenant, job).is_err() {
            return Outcome::Lost;
        }
        self.report(tenant, &error);
        if let Some(damage) = Damage::of(&error) {
            self.telemetry.damaged_block_file(damage.file);
        }
        if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Internal) {
            let suspects = job.inputs.iter().map(|suspect| suspect.id);
            for block_id in suspects.filter(|suspect| input.is_none_or(|input| input == *suspect)) {
                tracing::error!(%tenant, %block_id, "a block that cannot be compacted is left as it is");
                self.damaged.insert(block_id, Instant::now());
                self.telemetry.compaction.damaged_block();
            }
        }
        Outcome::Failed
    }

    fn report(&self, tenant: &TenantId, error: &Error) {
        tracing::warn!(%tenant, %error, "compaction failed, will retry");
        self.telemetry.compaction.failed();
    }

    /// Deletes files that no manifest names, as far as that goes.
    async fn discard(&self, tenant: &TenantId, blocks: &[BlockId]) {
        for block_id in blocks {
            if let Err(error) = delete_block(self.objects.as_ref(), tenant, block_id).await {
                tracing::debug!(%tenant, %block_id, %error, "a discarded block is left to the collector");
            }
        }
    }
}
