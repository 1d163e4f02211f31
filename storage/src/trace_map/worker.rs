//! The task that makes trace maps, one after the other, and deletes those that no manifest names any more.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{BlockId, ErrorKind, TenantId};
use object_store::{ObjectStore, ObjectStoreExt};

use super::TraceMapId;
use super::format::{self, Pair, TraceHash};
use super::planner::{Job, Limits, plan};
use crate::block::read_trace_ids;
use crate::cpu::CpuPool;
use crate::error::Error;
use crate::manifest::{BlockEntry, Change, Manifest, Store, TraceMapEntry};
use crate::paths;
use crate::telemetry::Telemetry;

/// How often the manifests are looked at.
const PERIOD: Duration = Duration::from_secs(5);
/// How long a map stays after it has left the manifest: longer than any query takes.
pub(super) const GRACE: Duration = Duration::from_secs(10 * 60);

/// Keeps the trace maps of all tenants. Any number may work on one store.
pub struct TraceMapper {
    manifests: Arc<Store>,
    objects: Arc<dyn ObjectStore>,
    cpu: CpuPool,
    telemetry: Telemetry,
    limits: Limits,
    tenants: HashMap<TenantId, Seen>,
    /// Maps out of the manifest whose objects are still there, oldest first.
    gone: VecDeque<(Instant, TenantId, TraceMapId)>,
}

/// What is remembered of a tenant.
#[derive(Default)]
struct Seen {
    /// Blocks whose traces cannot be read: they are in no map, and this process tries them no more.
    left_out: HashSet<BlockId>,
    /// The maps when the manifest was last looked at.
    maps: BTreeSet<TraceMapId>,
}

/// What a map is made of.
#[derive(Default)]
struct Members {
    blocks: Vec<BlockId>,
    pairs: Vec<Pair>,
}

impl TraceMapper {
    pub fn new(manifests: Arc<Store>, objects: Arc<dyn ObjectStore>, cpu: CpuPool, telemetry: Telemetry) -> Self {
        Self {
            manifests,
            objects,
            cpu,
            telemetry,
            limits: Limits::default(),
            tenants: HashMap::new(),
            gone: VecDeque::new(),
        }
    }

    /// Works until it is dropped. What fails is tried again with the next round.
    pub async fn run(mut self) {
        let mut rounds = tokio::time::interval(PERIOD);
        loop {
            rounds.tick().await;
            self.round().await;
            self.delete_gone(Instant::now()).await;
        }
    }

    /// Makes all maps that are due.
    pub async fn round(&mut self) {
        for tenant in self.manifests.tenants() {
            if let Err(error) = self.map(&tenant).await {
                tracing::warn!(%tenant, %error, "trace maps could not be made, will retry");
            }
        }
    }

    async fn map(&mut self, tenant: &TenantId) -> Result<(), Error> {
        let mut manifest = self.manifests.load(tenant).await?;
        self.notice_gone(tenant, &manifest, Instant::now());
        while let Some(job) = self.next_job(tenant, &manifest) {
            manifest = self.run_job(tenant, job).await?;
            self.notice_gone(tenant, &manifest, Instant::now());
        }
        Ok(())
    }

    fn next_job(&mut self, tenant: &TenantId, manifest: &Manifest) -> Option<Job> {
        let left_out = &mut self.tenants.entry(tenant.clone()).or_default().left_out;
        left_out.retain(|block_id| manifest.block(block_id).is_some());
        plan(manifest, &self.limits, |block_id| left_out.contains(block_id))
    }

    /// Makes and commits a map; returns the manifest that came of it.
    async fn run_job(&mut self, tenant: &TenantId, job: Job) -> Result<Arc<Manifest>, Error> {
        let started = Instant::now();
        let replaced: Vec<TraceMapId> = job.maps.iter().map(|(map, _)| map.id).collect();
        let Members { blocks, pairs } = self.read(tenant, job).await?;
        if blocks.is_empty() {
            return self.manifests.load(tenant).await;
        }
        let (id, block_count, traces) = (TraceMapId::generate(), blocks.len(), pairs.len());
        let object = self.cpu.run(move || format::encode(pairs, block_count)).await?;
        let (key, bytes) = (paths::trace_map(tenant, &id), object.len() as u64);
        self.objects.put(&key, object.into()).await.map_err(Error::objects("write", &key))?;
        let map = TraceMapEntry { id, bytes, blocks };
        let change = |manifest: &Manifest| {
            is_due(manifest, &map, &replaced).then(|| Change {
                add_trace_map: Some(map.clone()),
                remove_trace_maps: replaced.clone(),
                ..Change::default()
            })
        };
        let manifest = self.manifests.commit(tenant, change).await?;
        match manifest.trace_maps.iter().any(|known| known.id == id) {
            true => {
                let maps = manifest.trace_maps.len();
                tracing::debug!(%tenant, %id, blocks = block_count, traces, bytes, maps, took = ?started.elapsed(),
                    "trace map made");
            }
            false => self.delete(tenant, &id).await, // others were faster
        }
        Ok(manifest)
    }

    /// The traces of all blocks of a job. A map that cannot be used is made anew from its blocks.
    async fn read(&mut self, tenant: &TenantId, job: Job) -> Result<Members, Error> {
        let (mut members, mut new_blocks) = (Members::default(), job.blocks);
        for (map, live) in job.maps {
            match self.read_map(tenant, &map).await? {
                Some(pairs) => members.add_map(&map, &live, &pairs),
                None => new_blocks.extend(live),
            }
        }
        for block in new_blocks {
            match read_trace_ids(tenant, &block, &self.objects, &self.cpu).await {
                Ok(ids) => members.add_block(block.id, ids.iter().map(TraceHash::of)),
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                    tracing::warn!(%tenant, block_id = %block.id, %error, "a block is left out of trace maps");
                    self.tenants.entry(tenant.clone()).or_default().left_out.insert(block.id);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(members)
    }

    /// What a map says; `None` for one that is damaged or gone.
    async fn read_map(&self, tenant: &TenantId, map: &TraceMapEntry) -> Result<Option<Vec<Pair>>, Error> {
        let (key, block_count) = (paths::trace_map(tenant, &map.id), map.blocks.len());
        let reason = match self.objects.get(&key).await {
            Ok(object) => {
                let object = object.bytes().await.map_err(Error::objects("read", &key))?;
                match self.cpu.run(move || format::decode(&object, block_count)).await? {
                    Ok(pairs) => return Ok(Some(pairs)),
                    Err(reason) => reason,
                }
            }
            Err(object_store::Error::NotFound { .. }) => "it is not there".to_owned(),
            Err(error) => return Err(Error::objects("read", &key)(error)),
        };
        tracing::warn!(%tenant, %key, %reason, "trace map is damaged, it is made anew");
        self.telemetry.trace_map_failed("damaged");
        Ok(None)
    }

    fn notice_gone(&mut self, tenant: &TenantId, manifest: &Manifest, now: Instant) {
        let maps: BTreeSet<TraceMapId> = manifest.trace_maps.iter().map(|map| map.id).collect();
        let seen = self.tenants.entry(tenant.clone()).or_default();
        self.gone.extend(seen.maps.difference(&maps).map(|id| (now, tenant.clone(), *id)));
        seen.maps = maps;
    }

    pub(super) async fn delete_gone(&mut self, now: Instant) {
        let due = self.gone.partition_point(|(since, ..)| now.saturating_duration_since(*since) >= GRACE);
        for (_, tenant, id) in self.gone.drain(..due).collect::<Vec<_>>() {
            self.delete(&tenant, &id).await;
        }
    }

    async fn delete(&self, tenant: &TenantId, id: &TraceMapId) {
        let key = paths::trace_map(tenant, id);
        match self.objects.delete(&key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => tracing::warn!(%key, %error, "a trace map that is gone could not be deleted"),
        }
    }
}

impl Members {
    fn add_block(&mut self, block_id: BlockId, hashes: impl Iterator<Item = TraceHash>) {
        let number = self.blocks.len();
        self.blocks.push(block_id);
        self.pairs.extend(hashes.map(|hash| hash.in_block(number)));
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
        let of_live = pairs.iter().filter_map(|pair| Some(pair.hash().in_block((*numbers.get(pair.block())?)?)));
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
    let is_there = |id: &TraceMapId| manifest.trace_maps.iter().any(|known| known.id == *id);
    // a commit without a clear outcome may have made it already
    is_there(&map.id) || replaced.iter().all(is_there) && !map.blocks.iter().any(|id| mapped_elsewhere.contains(id))
}
