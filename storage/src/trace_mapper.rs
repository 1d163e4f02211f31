//! The task that makes trace maps, one after the other.
//!
//! ```text
//! manifest ─▶ planner   blocks without a map, small maps
//!             (here)    their trace ids ─▶ one object ─▶ manifest
//!             whole     all of a map, to merge it or to compare it with its blocks
//! ```

mod planner;
mod whole;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{BlockId, TenantId};
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::time::MissedTickBehavior;

use crate::block::{BlockCache, BlockSource};
use crate::cpu::CpuPool;
use crate::damage::{Damage, UPKEEP_RETRY};
use crate::error::Error;
use crate::garbage::delete_trace_map;
use crate::ids::TraceMapId;
use crate::manifest::{BlockEntry, Change, Manifest, Store, TraceMapEntry};
use crate::paths;
use crate::publish_deadline::PublishDeadline;
use crate::source::Source;
use crate::telemetry::Telemetry;
use crate::trace_ids::TraceHash;
use crate::trace_map::format::{self, Pair};
use crate::upkeep_share::UpkeepShare;
use planner::{Job, Limits, plan};
use whole::read_whole;

pub use whole::{Fault, fault};

/// How often the manifests are looked at.
const PERIOD: Duration = Duration::from_secs(5);

/// Keeps the trace maps of all tenants. Any number may work on one store.
pub struct TraceMapper {
    manifests: Arc<Store>,
    objects: Arc<dyn ObjectStore>,
    cpu: CpuPool,
    /// Of the blocks, for what is known to be damaged.
    cache: BlockCache,
    telemetry: Telemetry,
    limits: Limits,
    share: UpkeepShare,
    /// Blocks whose traces could not be read, and since when: they are in no map.
    left_out: HashMap<BlockId, Instant>,
}

/// What a map is made of.
#[derive(Default)]
struct Members {
    blocks: Vec<BlockId>,
    pairs: Vec<Pair>,
}

impl TraceMapper {
    pub fn new(
        manifests: Arc<Store>,
        objects: Arc<dyn ObjectStore>,
        cpu: CpuPool,
        cache: BlockCache,
        telemetry: Telemetry,
    ) -> Self {
        let (limits, share) = (Limits::default(), UpkeepShare::all());
        Self { manifests, objects, cpu, cache, telemetry, limits, share, left_out: HashMap::new() }
    }

    /// Does only this share of the work.
    #[must_use]
    pub fn sharing(self, share: UpkeepShare) -> Self {
        Self { share, ..self }
    }

    /// Makes a map as soon as there are so many blocks without one.
    #[must_use]
    pub fn with_least_new_blocks(self, least_new_blocks: usize) -> Self {
        Self { limits: Limits { least_new_blocks, ..self.limits }, ..self }
    }

    /// Stays within this much memory: what would be larger while it is made becomes several maps.
    #[must_use]
    pub fn within(self, memory_bytes: u64) -> Self {
        Self { limits: self.limits.within(memory_bytes), ..self }
    }

    /// Works until it is dropped. What fails is tried again with the next round.
    pub async fn run(mut self) {
        let mut rounds = tokio::time::interval(PERIOD);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.round().await;
        }
    }

    /// Makes all maps that are due.
    pub async fn round(&mut self) {
        let now = Instant::now();
        self.left_out.retain(|_, since| now.saturating_duration_since(*since) < UPKEEP_RETRY);
        for tenant in self.manifests.available_tenants() {
            if !self.share.has(&tenant, 0) {
                continue;
            }
            if let Err(error) = self.map(&tenant).await {
                tracing::warn!(%tenant, %error, "trace maps could not be made, will retry");
            }
        }
    }

    async fn map(&mut self, tenant: &TenantId) -> Result<(), Error> {
        while let Some(job) = self.next_job(tenant).await? {
            self.run_job(tenant, job).await?;
        }
        Ok(())
    }

    /// What this process knows may be old: it is looked up before work begins.
    async fn next_job(&self, tenant: &TenantId) -> Result<Option<Job>, Error> {
        if self.job(&*self.manifests.load(tenant).await?).is_none() {
            return Ok(None);
        }
        Ok(self.job(&*self.manifests.refresh(tenant).await?))
    }

    fn job(&self, manifest: &Manifest) -> Option<Job> {
        plan(manifest, &self.limits, |block_id| self.left_out.contains_key(block_id))
    }

    /// Makes and commits a map. What it stored is taken back unless a manifest may name it.
    async fn run_job(&mut self, tenant: &TenantId, job: Job) -> Result<(), Error> {
        let started = Instant::now();
        let replaced: Vec<TraceMapId> = job.maps.iter().map(|(map, _)| map.id).collect();
        let Members { blocks, pairs } = self.read(tenant, job).await?;
        if blocks.is_empty() {
            return Ok(());
        }
        let (id, block_count, traces) = (TraceMapId::generate(), blocks.len(), pairs.len());
        let object = self.cpu.run(move || format::encode(pairs, block_count)).await?;
        let (key, bytes, deadline) = (paths::trace_map(tenant, &id), object.len() as u64, PublishDeadline::from_now());
        self.objects.put(&key, object.into()).await.map_err(Error::objects("write", &key))?;
        let map = TraceMapEntry { id, bytes, blocks, unknown: Default::default() };
        let change = |manifest: &Manifest| {
            is_due(manifest, &map, &replaced).then(|| Change {
                add_trace_map: Some(map.clone()),
                remove_trace_maps: replaced.clone(),
                deadline: Some(deadline),
                ..Change::default()
            })
        };
        match self.manifests.commit(tenant, change).await {
            Ok(manifest) if manifest.trace_map(&id).is_some() => {
                let maps = manifest.trace_maps.len();
                tracing::debug!(%tenant, %id, blocks = block_count, traces, bytes, maps, took = ?started.elapsed(),
                    "trace map made");
                Ok(())
            }
            // others were faster
            Ok(_) => {
                self.discard(tenant, &id).await;
                Ok(())
            }
            Err(error @ Error::TooLate { .. }) => {
                self.discard(tenant, &id).await;
                Err(error)
            }
            // the commit may have been made: if it was not, the map is the collector's
            Err(error) => Err(error),
        }
    }

    /// The traces of all blocks of a job. A map that cannot be used is made anew from its blocks.
    async fn read(&mut self, tenant: &TenantId, job: Job) -> Result<Members, Error> {
        let (mut members, mut new_blocks) = (Members::default(), job.blocks);
        for (map, live) in job.maps {
            match read_whole(tenant, &map, self.objects.as_ref(), &self.cpu).await? {
                Ok(pairs) => members.add_map(&map, &live, &pairs),
                Err(reason) => {
                    let key = paths::trace_map(tenant, &map.id);
                    tracing::warn!(%tenant, %key, %reason, "trace map is damaged, it is made anew");
                    self.telemetry.damaged_trace_map();
                    new_blocks.extend(live);
                }
            }
        }
        for entry in new_blocks {
            let (objects, cpu, cache) = (self.objects.clone(), self.cpu.clone(), self.cache.clone());
            let block_id = entry.id;
            match BlockSource::new(tenant.clone(), entry, objects, cpu, cache).traces_by_hash().await {
                Ok(ids) => members.add_block(block_id, ids.hashes()),
                // it was named where it was met
                Err(error) if Damage::of(&error).is_some() => {
                    tracing::warn!(%tenant, %block_id, "a damaged block is left out of trace maps");
                    self.left_out.insert(block_id, Instant::now());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(members)
    }

    /// Deletes a map that no manifest names, as far as that goes.
    async fn discard(&self, tenant: &TenantId, id: &TraceMapId) {
        if let Err(error) = delete_trace_map(self.objects.as_ref(), tenant, id).await {
            tracing::debug!(%tenant, %id, %error, "a discarded trace map is left to the collector");
        }
    }
}

impl Members {
    fn add_block(&mut self, block_id: BlockId, hashes: impl Iterator<Item = TraceHash>) {
        let number = self.blocks.len();
        self.blocks.push(block_id);
        self.pairs.extend(hashes.map(|hash| Pair::new(hash, number)));
    }

    /// Adds the blocks of a map that are still there.
    fn add_map(&mut self, map: &TraceMapEntry, live: &[BlockEntry], pairs: &[Pair]) {
        let live: HashSet<BlockId> = live.iter().map(|block| block.id).collect();
        let mut new_number = |block_id: &BlockId| {
            live.contains(block_id).then(|| {
                self.blocks.push(*block_id);
                self.blocks.len() - 1
            })
        };
        let numbers: Vec<Option<usize>> = map.blocks.iter().map(&mut new_number).collect();
        let of_live = pairs.iter().filter_map(|pair| Some(Pair::new(pair.hash(), (*numbers.get(pair.block())?)?)));
        self.pairs.extend(of_live);
    }
}

/// Whether a map still replaces what it was made from, and no other has its new blocks.
fn is_due(manifest: &Manifest, map: &TraceMapEntry, replaced: &[TraceMapId]) -> bool {
    let mapped_elsewhere: HashSet<&BlockId> = manifest
        .trace_maps
        .iter()
        .filter(|known| !replaced.contains(&known.id))
        .flat_map(|known| &known.blocks)
        .collect();
    let is_there = |id: &TraceMapId| manifest.trace_map(id).is_some();
    // a commit without a clear outcome may have made it already
    is_there(&map.id) || replaced.iter().all(is_there) && !map.blocks.iter().any(|id| mapped_elsewhere.contains(id))
}
