//! Wiring: builds the parts, hands them to each other, and stops them in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use api::{Addresses, Edge, Servers};
use ingester::Ingester;
use model::limits::TenantLimits;
use object_store::ObjectStore;
use prometheus_client::registry::Registry;
use querier::Querier;
use storage::block::BlockCache;
use storage::compaction::Compactor;
use storage::config::TraceConfig;
use storage::cpu::CpuPool;
use storage::deletion::Deleter;
use storage::garbage::Collector;
use storage::incarnation::Lineage;
use storage::lock::DataDirLock;
use storage::paths::DataDir;
use storage::retention::Retention;
use storage::trace_mapper::TraceMapper;
use storage::view::LocalViews;
use storage::wal::{LocalFiles, Log};
use storage::{Telemetry, manifest, objects};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::deletion::Deletions;
use crate::generating::{self, Generating};
use crate::reload::{LimitReloader, ListenerReloader};
use crate::tasks::Tasks;
use crate::user_overrides::UserOverrides;

/// How long requests under way may take once the process is asked to stop; a stop as a whole stays below 5 s.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long compaction may take to come to the end of its row group; what it wrote by then counts for nothing anyway.
const COMPACTION_STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the last spans may take to be counted.
const GENERATOR_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// A running mosso.
pub struct App {
    addresses: Addresses,
    ingester: Ingester,
    stop_serving: CancellationToken,
    serving: Tasks,
    /// Polls manifests, makes trace maps, drops what has expired, deletes what has no name; each may stop at any point.
    upkeep: Tasks,
    compaction: Tasks,
    stop_compaction: watch::Sender<bool>,
    pools: [CpuPool; 2],
    memory_budget_bytes: u64,
    /// Counts spans until the last has come.
    generating: Tasks,
    _lock: DataDirLock,
}

impl App {
    /// Opens the data folder, binds the listeners and serves. The log is read back in the background: until that is
    /// done `/ready` answers 503.
    ///
    /// # Errors
    /// When the data folder cannot be used, an address cannot be bound, or stored data cannot be opened.
    pub async fn start(config: &Config) -> Result<Self> {
        let mut registry = Registry::default();
        let (cpu, background) = (CpuPool::of_all_cores(), CpuPool::in_background());
        let memory = config.memory_budget(cpu.threads());
        memory.log();
        config.warn_of_memory(&memory.parts);
        memory.register(&mut registry);
        let config = &config.clone().with_parts(&memory.parts);
        let servers = Servers::bind(&config.api()).await?;
        let dir = config.storage.trace.data_dir(&config.data_dir);
        let lock = DataDirLock::acquire(&dir)?;
        storage::telemetry::register_disk(&mut registry, dir.wal_dir());
        let telemetry = Telemetry::register(&mut registry);
        let (objects, manifests) = open_store(&config.storage.trace, &dir, telemetry.clone())
            .await
            .with_context(|| format!("open {}", config.storage.trace.store_name()))?;
        let cache = BlockCache::of(&config.storage.trace, &telemetry);
        let objects = objects::cached(objects, cache.clone());
        let storage = ingester::Storage {
            objects: objects.clone(),
            manifests: manifests.clone(),
            cpu: background.clone(),
            telemetry: telemetry.clone(),
            lineage: Arc::new(Lineage::open(&dir)?),
            puts_may_be_late: config.storage.trace.backend.is_remote(),
            cache: cache.clone(),
            trace_reach: Duration::from_secs(config.querier().trace_reach_seconds),
        };
        let log = Log::open(dir.wal_dir())?;
        let limits = Arc::new(TenantLimits::new(config.tenant_limits()?));
        let limit_reloader = LimitReloader::new(config.clone(), limits.clone(), &mut registry);
        let has_user_overrides = config.overrides.user_configurable_overrides.enabled;
        let (files, folder) = (Arc::new(LocalFiles::default()), config.generator_dir());
        let generated = config.generator()?.within(memory.parts.generator);
        let Generating { generator, feed, counting, senders } =
            generating::open(generated, has_user_overrides, &folder, files, &log.0, background.clone(), &mut registry)?;
        let ingester =
            Ingester::open_feeding(config.ingester(), log, storage, limits.clone(), feed, &mut registry).await?;
        let retention = Retention::new(manifests.clone(), limits.clone(), telemetry.clone());
        let collector = Collector::new(manifests.clone(), objects.clone(), config.garbage_grace(), telemetry.clone());
        let poll_period = config.storage.trace.blocklist_poll.get();
        let poller = manifest::Poller::new(manifests.clone(), poll_period, telemetry.clone());
        let compactor = Compactor::new(
            manifests.clone(),
            objects.clone(),
            background.clone(),
            &config.compaction(),
            telemetry.clone(),
        )
        .within(memory.parts.compaction);
        let trace_mapper =
            TraceMapper::new(manifests.clone(), objects.clone(), background.clone(), cache.clone(), telemetry.clone())
                .within(memory.parts.trace_maps);
        let deletions = config.deletion.enabled.then(|| Deletions {
            deleter: Deleter {
                manifests: manifests.clone(),
                objects: objects.clone(),
                cpu: cpu.clone(),
                cache: cache.clone(),
            },
            ingester: ingester.clone(),
        });
        let views = LocalViews {
            live: Arc::new(ingester.clone()),
            manifests,
            objects: objects.clone(),
            cpu: cpu.clone(),
            cache,
        };
        let of_all_queries = querier::Config {
            max_memory_bytes: memory.parts.queries,
            max_row_groups: memory.parts.concurrent_row_groups(),
            ..config.querier()
        };
        let querier = Querier::with_limits(
            of_all_queries,
            limits.clone(),
            Arc::new(views),
            cpu.clone(),
            &telemetry,
            &mut registry,
        );
        let user_overrides = has_user_overrides.then(|| {
            let store = storage::user_overrides::UserOverrides::new(objects.clone());
            Arc::new(UserOverrides::new(config.clone(), store, generator.clone(), &mut registry))
        });
        let edge_telemetry = api::Telemetry::register(&mut registry);
        let registry = Arc::new(registry);
        let edge =
            Edge::new(config.api(), ingester.clone(), querier, limits, edge_telemetry, registry, config.to_yaml())
                .generating(generator);
        let edge = match deletions {
            Some(deletions) => edge.with_deletions(Arc::new(deletions)),
            None => edge,
        };
        let edge = Arc::new(match &user_overrides {
            Some(overrides) => edge.with_user_overrides(overrides.clone()),
            None => edge,
        });

        let addresses = servers.addresses()?;
        let listener_reloader = ListenerReloader::new(servers.files());
        let stop_serving = CancellationToken::new();
        let (mut serving, mut upkeep, mut compaction) = (Tasks::default(), Tasks::default(), Tasks::default());
        serving.spawn("server", servers.serve(edge, stop_serving.clone()));
        upkeep.spawn("manifest poller", poller.run());
        upkeep.spawn("trace mapper", trace_mapper.run());
        upkeep.spawn("retention", retention.run());
        upkeep.spawn("limit reloader", limit_reloader.run());
        upkeep.spawn("listener reloader", listener_reloader.run());
        upkeep.spawn("collector", collector.run());
        if let Some(overrides) = user_overrides {
            upkeep.spawn("settings of tenants", overrides.run());
        }
        let mut generating = Tasks::default();
        if let Some((counting, fed)) = counting {
            generating.spawn("metrics generator", counting.run(fed));
        }
        senders.into_iter().for_each(|sender| upkeep.spawn("remote write", sender.run()));
        let (stop_compaction, running) = watch::channel(false);
        compaction.spawn("compactor", compactor.run(running));
        Ok(Self {
            addresses,
            ingester,
            stop_serving,
            serving,
            upkeep,
            compaction,
            stop_compaction,
            pools: [cpu, background],
            memory_budget_bytes: memory.bytes,
            generating,
            _lock: lock,
        })
    }

    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The threads that do the work.
    pub fn pools(&self) -> &[CpuPool; 2] {
        &self.pools
    }

    /// What the process plans with.
    pub fn memory_budget_bytes(&self) -> u64 {
        self.memory_budget_bytes
    }

    /// Runs a task beside the others until the process stops; its end is a failure like theirs.
    pub fn run_beside(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.upkeep.spawn(name, task);
    }

    /// Waits until a part has died that the process needs; says which, and why. It must be stopped then, so that whoever
    /// supervises it starts it anew.
    pub async fn failed(&mut self) -> String {
        tokio::select! {
            reason = self.ingester.failed() => reason,
            reason = self.serving.ended() => reason,
            reason = self.upkeep.ended() => reason,
            reason = self.compaction.ended() => reason,
            reason = self.generating.ended() => reason,
        }
    }

    /// Refuse, drain, close: what was acknowledged is in the log, synced.
    ///
    /// # Errors
    /// When serving ended by a panic.
    pub async fn stop(mut self) -> Result<()> {
        self.ingester.refuse();
        self.stop_serving.cancel();
        self.stop_compaction.send_replace(true);
        let served = self.serving.all_ended().await;
        self.upkeep.abort().await;
        self.compaction.all_ended_within(COMPACTION_STOP_TIMEOUT).await;
        self.ingester.close().await;
        self.generating.all_ended_within(GENERATOR_STOP_TIMEOUT).await;
        served.map_err(anyhow::Error::msg)
    }
}

/// The object store and the manifests in it. A remote store is asked first whether it can be worked with at all.
async fn open_store(
    config: &TraceConfig,
    dir: &DataDir,
    telemetry: Telemetry,
) -> Result<(Arc<dyn ObjectStore>, Arc<manifest::Store>), storage::Error> {
    let objects = objects::open(config, dir, &telemetry)?;
    if config.backend.is_remote() {
        objects::probe(objects.as_ref()).await?;
    }
    let manifests = manifest::Store::open(objects.clone(), telemetry).await?;
    Ok((objects, Arc::new(manifests)))
}
