//! A running process: what `App` puts together, without listeners and clocks, on a disk and a store that fail.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use futures::TryStreamExt;
use generator::Generator;
use ingester::{Ingester, Readiness};
use model::TenantId;
use model::limits::{LimitTable, Limits, TenantLimits};
use mosso::generating;
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use prometheus_client::registry::Registry;
use querier::Querier;
use storage::block::BlockCache;
use storage::compaction::{self, Compactor};
use storage::config::TraceConfig;
use storage::deletion::Deleter;
use storage::garbage::Collector;
use storage::incarnation::Lineage;
use storage::manifest::BlockEntry;
use storage::paths::{self, BlockFile, ObjectKey};
use storage::retention::Retention;
use storage::testing::{Disk, FaultyStore, Power};
use storage::trace_mapper::TraceMapper;
use storage::view::LocalViews;
use storage::wal::Log;
use storage::{CpuPool, Telemetry, manifest};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::counted;
use super::plan::Start;

/// How far ahead retention looks, and how long blocks are kept: what was written now and is old by its time goes.
const AHEAD: Duration = Duration::from_secs(10 * 24 * 3600);
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
const KEEP_LONGER: Duration = Duration::from_secs(70 * 24 * 3600);
/// How long files lie without a name before they go, and how often the collector looks meanwhile: as rarely as it may.
const GRACE: Duration = Duration::from_secs(3600);
const LOOK_PERIOD: Duration = Duration::from_secs(15 * 60);
/// More rounds of compaction than a run has blocks, and more flushes than fail: what never ends is a fault.
const MOST_ROUNDS: usize = 100;

pub struct Machine {
    pub ingester: Ingester,
    pub querier: Querier,
    pub deleter: Deleter,
    collector: Mutex<Collector>,
    manifests: Arc<manifest::Store>,
    objects: Arc<dyn ObjectStore>,
    cpu: CpuPool,
    cache: BlockCache,
    generator: Arc<Generator>,
    counting: JoinHandle<()>,
}

impl Machine {
    /// Returns when the log is replayed.
    pub async fn start(
        start: Start,
        lineage: Arc<Lineage>,
        disk: &Disk,
        objects: &FaultyStore,
        power: &Power,
    ) -> Result<Self> {
        let objects: Arc<dyn ObjectStore> = Arc::new(objects.clone());
        let manifests = Arc::new(manifest::Store::open(objects.clone(), Telemetry::unregistered()).await?);
        let cpu = CpuPool::new(1);
        let storage = ingester::Storage {
            objects: objects.clone(),
            manifests: manifests.clone(),
            cpu: cpu.clone(),
            telemetry: Telemetry::unregistered(),
            lineage,
            puts_may_be_late: true,
            cache: BlockCache::new(8 << 20, Telemetry::unregistered()),
            trace_reach: Duration::from_secs(3_600),
        };
        let log = Log::open_on(Arc::new(disk.clone()), Path::new("/wal"))?;
        let defaults = ingester::Config::default();
        let config = ingester::Config {
            max_block_bytes: if start.has_small_blocks { 1 } else { defaults.max_block_bytes },
            // simulated time runs while a push waits for threads that run in real time
            push_timeout: Duration::from_secs(3600),
            ..defaults
        };
        let registry = &mut Registry::default();
        let (files, folder) = (Arc::new(disk.clone()), Path::new("/generator"));
        let generating =
            generating::open(counted::generated(), false, folder, files, Some(&log.0), cpu.clone(), registry)?;
        let (generator, feed) = (generating.generator, generating.feed);
        let ingester = Ingester::open_feeding(config, log, storage, Arc::default(), feed, registry).await?;
        let (counting, fed) = generating.counting.context("metrics are generated")?;
        let counting = tokio::spawn(counting.run(fed));
        let cache = BlockCache::of(&TraceConfig::default(), &Telemetry::unregistered());
        let views = LocalViews {
            live: Arc::new(ingester.clone()),
            manifests: manifests.clone(),
            objects: objects.clone(),
            cpu: cpu.clone(),
            cache: cache.clone(),
        };
        let querier = Querier::new(
            querier::Config::default(),
            Arc::new(views),
            cpu.clone(),
            &Telemetry::unregistered(),
            registry,
        );
        let collector = Mutex::new(collector(&manifests, &objects));
        let deleter =
            Deleter { manifests: manifests.clone(), objects: objects.clone(), cpu: cpu.clone(), cache: cache.clone() };
        let machine =
            Self { ingester, querier, deleter, collector, manifests, objects, cpu, cache, generator, counting };
        match machine.wait_ready(power).await {
            Ok(()) => Ok(machine),
            Err(error) => {
                machine.close().await;
                Err(error)
            }
        }
    }

    /// Ends all threads and tasks; returns what was counted.
    pub async fn close(self) -> Arc<Generator> {
        self.ingester.close().await;
        _ = self.counting.await; // a panic of it is told of by the counts that lack
        self.generator
    }

    async fn wait_ready(&self, power: &Power) -> Result<()> {
        loop {
            match self.ingester.readiness() {
                Readiness::Ready => return Ok(()),
                Readiness::Replaying { detail } if detail.contains("could not be replayed") => bail!(detail),
                Readiness::Replaying { .. } if power.is_cut() => bail!("the power went while the log was replayed"),
                Readiness::Replaying { .. } => {}
                readiness => bail!("{readiness:?}"),
            }
            // replay is a thread, and may wait for blocks that are published here
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    }

    /// What is live becomes blocks. A flush may be given up before it is done, as simulated time can run ahead of it.
    pub async fn flush_all(&self) -> Result<()> {
        for _ in 0..MOST_ROUNDS {
            if self.ingester.flush().await.is_ok() {
                return Ok(());
            }
        }
        bail!("live spans do not become blocks")
    }

    pub async fn compact(&self, elsewhere: bool) -> Result<()> {
        let manifests = self.manifests_of(elsewhere).await?;
        let config = compaction::Config {
            cycle: Duration::from_secs(30),
            window: Duration::from_secs(3600),
            quiet: Duration::ZERO,
            max_traces: 1_000,
            max_block_bytes: 1 << 30,
        };
        let telemetry = Telemetry::unregistered();
        let mut compactor = Compactor::new(manifests, self.objects.clone(), self.cpu.clone(), &config, telemetry);
        let (_stop, running) = watch::channel(false);
        for _ in 0..MOST_ROUNDS {
            if !compactor.round(&running).await {
                return Ok(());
            }
        }
        bail!("compaction does not end")
    }

    /// Makes trace maps of all blocks, as far as that goes.
    pub async fn map(&self, elsewhere: bool) -> Result<()> {
        let (manifests, objects) = (self.manifests_of(elsewhere).await?, self.objects.clone());
        let (cpu, cache, telemetry) = (self.cpu.clone(), self.cache.clone(), Telemetry::unregistered());
        TraceMapper::new(manifests, objects, cpu, cache, telemetry).with_least_new_blocks(1).round().await;
        Ok(())
    }

    /// Looks for files without a name for as long as it takes until they go. Polls meanwhile, as a process does.
    pub async fn collect(&self, elsewhere: bool) -> Result<()> {
        let mut others = collector(&self.manifests_of(elsewhere).await?, &self.objects);
        let mut own = self.collector.lock().await;
        let collector = if elsewhere { &mut others } else { &mut *own };
        let end = Instant::now() + GRACE;
        loop {
            _ = self.manifests.refresh_all().await; // what it knew stays, if that fails
            collector.round(|| Instant::now().into_std()).await;
            if Instant::now() >= end {
                return Ok(());
            }
            tokio::time::advance(LOOK_PERIOD).await;
        }
    }

    /// Fails unless the store has the files of the blocks and the trace maps that manifests name, and no others.
    pub async fn check_files(&self) -> Result<()> {
        let mut named = BTreeSet::new();
        for tenant in self.manifests.tenants() {
            let manifest = self.manifests.load(&tenant).await?;
            let files = |block: &BlockEntry| BlockFile::ALL.map(|file| paths::block_file(&tenant, &block.id, file));
            named.extend(manifest.blocks.iter().flat_map(files));
            named.extend(manifest.trace_maps.iter().map(|map| paths::trace_map(&tenant, &map.id)));
            named.extend(manifest.parts.iter().map(|part| paths::manifest_part(&tenant, &part.id)));
        }
        let has_name = |key: &ObjectPath| !matches!(ObjectKey::parse(key), None | Some(ObjectKey::Manifest { .. }));
        let stored: Vec<ObjectPath> = self.objects.list(None).map_ok(|object| object.location).try_collect().await?;
        let stored: BTreeSet<ObjectPath> = stored.into_iter().filter(has_name).collect();
        let (left, lost) = (stored.difference(&named).next(), named.difference(&stored).next());
        ensure!(left.is_none(), "{left:?} lies in the store, and no manifest names it");
        ensure!(lost.is_none(), "{lost:?} does not lie in the store, and a manifest names it");
        Ok(())
    }

    /// The manifests as this process knows them, or one `elsewhere` that has just been started.
    async fn manifests_of(&self, elsewhere: bool) -> Result<Arc<manifest::Store>> {
        Ok(match elsewhere {
            true => Arc::new(manifest::Store::open(self.objects.clone(), Telemetry::unregistered()).await?),
            false => self.manifests.clone(),
        })
    }

    /// Drops what is past its time, except of a tenant that is kept for longer.
    pub async fn expire(&self, kept: Option<TenantId>) {
        let keep = |block_retention| Limits { block_retention, ..Limits::default() };
        let tenants = kept.into_iter().map(|tenant| (tenant, keep(KEEP_LONGER))).collect();
        let table = LimitTable { others: keep(KEEP), tenants, ..LimitTable::default() };
        let limits = Arc::new(TenantLimits::new(table));
        let retention = Retention::new(self.manifests.clone(), limits, Telemetry::unregistered());
        let then = (SystemTime::now() + AHEAD).duration_since(UNIX_EPOCH).unwrap_or_default();
        retention.round(then.as_nanos() as u64).await;
    }
}

fn collector(manifests: &Arc<manifest::Store>, objects: &Arc<dyn ObjectStore>) -> Collector {
    Collector::new(manifests.clone(), objects.clone(), GRACE, Telemetry::unregistered())
}
