//! Wiring: builds the parts, hands them to each other, and stops them in order.

mod cluster;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use api::{Addresses, Edge, Servers};
use ingester::{Ingester, OpenedLog};
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
use storage::incarnation::{Lineage, Writer};
use storage::lock::DataDirLock;
use storage::paths::DataDir;
use storage::retention::Retention;
use storage::trace_mapper::TraceMapper;
use storage::view::{LocalViews, Views};
use storage::wal::{LocalFiles, Log};
use storage::{Telemetry, manifest, objects};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::cluster::Cluster;
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
    /// None in a process that takes no spans.
    ingester: Option<Ingester>,
    /// None in a process that is alone on its store.
    cluster: Option<Cluster>,
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
    _lock: Option<DataDirLock>,
}

impl App {
    /// Opens the data folder, binds the listeners and serves. The log is read back in the background: until that is
    /// done `/ready` answers 503.
    ///
    /// # Errors
    /// When the data folder cannot be used, an address cannot be bound, or stored data cannot be opened.
    pub async fn start(config: &Config) -> Result<Self> {
        let mut registry = Registry::default();
        let target = config.target();
        let (cpu, background) = (CpuPool::of_all_cores(), CpuPool::in_background());
        let mut memory = config.memory_budget(cpu.threads());
        let peer_table_bytes = config.take_for_peers(&mut memory.parts);
        memory.log();
        config.warn_of_memory(&memory.parts);
        memory.register(&mut registry);
        let config = &config.clone().with_parts(&memory.parts);
        let servers = Servers::bind(&config.api()).await?;
        let dir = config.folders();
        let has_folder = target.takes_spans() && !config.keeps_log_on_bucket();
        let lock = has_folder.then(|| DataDirLock::acquire(&dir)).transpose()?;
        if has_folder {
            storage::telemetry::register_disk(&mut registry, dir.wal_dir());
        }
        let telemetry = Telemetry::register(&mut registry);
        let (objects, manifests) = open_store(&config.storage.trace, &dir, telemetry.clone())
            .await
            .with_context(|| format!("open {}", config.storage.trace.store_name()))?;
        let cache = BlockCache::of(&config.storage.trace, &telemetry);
        let objects = objects::cached(objects, cache.clone());
        let lineage = match (target.takes_spans(), has_folder) {
            (false, _) => None,
            (true, true) => Some(Arc::new(Lineage::open(&dir)?)),
            (true, false) => Some(Arc::new(Lineage::only(Writer::of_one_start()))),
        };
        let mut cluster = match config.cluster.enabled {
            true => Some(
                Cluster::join(config, objects.clone(), manifests.clone(), lineage.clone(), &background)
                    .await
                    .context("join the cluster")?,
            ),
            false => None,
        };
        let limits = Arc::new(TenantLimits::new(config.tenant_limits()?));
        let limit_reloader = LimitReloader::new(config.clone(), limits.clone(), &mut registry);
        let log = has_folder.then(|| Log::open(dir.wal_dir())).transpose()?;
        let has_user_overrides = config.overrides.user_configurable_overrides.enabled;
        let (files, folder) = (Arc::new(LocalFiles::default()), config.generator_dir());
        let generated = config.generator()?.within(memory.parts.generator);
        let opened = log.as_ref().map(|(log, _)| log);
        let Generating { generator, feed, counting, senders } =
            generating::open(generated, has_user_overrides, &folder, files, opened, background.clone(), &mut registry)?;
        let on_bucket = || cluster.as_ref()?.log(config, objects.clone(), &telemetry);
        let log = log.map(OpenedLog::from).or_else(on_bucket);
        let ingester_storage = lineage.map(|lineage| ingester::Storage {
            objects: objects.clone(),
            manifests: manifests.clone(),
            cpu: background.clone(),
            telemetry: telemetry.clone(),
            lineage,
            puts_may_be_late: config.storage.trace.backend.is_remote(),
            cache: cache.clone(),
            trace_reach: Duration::from_secs(config.querier().trace_reach_seconds),
        });
        let ingester = match ingester_storage.clone().zip(log) {
            None => None,
            Some((storage, log)) => {
                let limits = limits.clone();
                Some(Ingester::open_feeding(config.ingester(), log, storage, limits, feed, &mut registry).await?)
            }
        };
        let deletions = config.deletion.enabled.then(|| Deletions {
            deleter: Deleter {
                manifests: manifests.clone(),
                objects: objects.clone(),
                cpu: cpu.clone(),
                cache: cache.clone(),
            },
            ingester: ingester.clone(),
        });
        let views: Arc<dyn Views> = match (&mut cluster, &ingester) {
            (Some(cluster), ingester) => {
                if let Some(ingester) = ingester {
                    cluster.serve(ingester, cpu.clone());
                }
                let places = (cpu.clone(), cache.clone());
                let counted = (peer_table_bytes, &telemetry, &mut registry);
                Arc::new(cluster.views(ingester.as_ref(), config, objects.clone(), places, counted))
            }
            (None, Some(ingester)) => Arc::new(LocalViews {
                live: Arc::new(ingester.clone()),
                manifests: manifests.clone(),
                objects: objects.clone(),
                cpu: cpu.clone(),
                cache: cache.clone(),
            }),
            (None, None) => bail!("target {} needs cluster.enabled", target.name()),
        };
        let of_all_queries = querier::Config {
            max_memory_bytes: memory.parts.queries,
            max_row_groups: memory.parts.concurrent_row_groups(),
            ..config.querier()
        };
        let querier =
            Querier::with_limits(of_all_queries, limits.clone(), views, cpu.clone(), &telemetry, &mut registry);
        let user_overrides = has_user_overrides.then(|| {
            let store = storage::user_overrides::UserOverrides::new(objects.clone());
            Arc::new(UserOverrides::new(config.clone(), store, generator.clone(), &mut registry))
        });

        let mut upkeep = Tasks::default();
        let mut compaction = Tasks::default();
        let (stop_compaction, running) = watch::channel(false);
        let poll_period = config.storage.trace.blocklist_poll.get();
        upkeep.spawn("manifest poller", manifest::Poller::new(manifests.clone(), poll_period, telemetry.clone()).run());
        upkeep.spawn("limit reloader", limit_reloader.run());
        if target.keeps_blocks_in_order() {
            let of_tenants = limits.clone();
            upkeep.spawn("retention", Retention::new(manifests.clone(), of_tenants, telemetry.clone()).run());
            let grace = config.garbage_grace();
            let collector = Collector::new(manifests.clone(), objects.clone(), grace, telemetry.clone());
            upkeep.spawn("collector", collector.run());
            let (of_maps, places) = (telemetry.clone(), (background.clone(), cache.clone()));
            let trace_mapper = TraceMapper::new(manifests.clone(), objects.clone(), places.0, places.1, of_maps);
            upkeep.spawn("trace mapper", trace_mapper.within(memory.parts.trace_maps).run());
            let settings = config.compaction();
            let compactor =
                Compactor::new(manifests.clone(), objects.clone(), background.clone(), &settings, telemetry.clone());
            compaction.spawn("compactor", compactor.within(memory.parts.compaction).run(running));
        }
        if let Some((cluster, ingester)) = cluster.as_ref().zip(ingester.as_ref()) {
            upkeep.spawn("retirement of earlier starts", cluster.retire_earlier_starts(ingester));
            let adoption = ingester_storage.and_then(|storage| cluster.adopt_others(ingester, storage));
            adoption.into_iter().for_each(|adoption| upkeep.spawn("adoption of writers that are gone", adoption));
            let grace = config.garbage_grace();
            let collector = cluster.collect_own_log(ingester, objects.clone(), grace, &telemetry);
            collector.into_iter().for_each(|collector| upkeep.spawn("collector of the log", collector));
        }
        if let Some(cluster) = cluster.as_ref().filter(|_| target.keeps_blocks_in_order()) {
            upkeep.spawn("collector of lost logs", cluster.collect_lost_logs(objects.clone(), &telemetry));
        }
        if let Some(overrides) = user_overrides.clone() {
            upkeep.spawn("settings of tenants", overrides.run());
        }
        let mut generating = Tasks::default();
        if let Some((counting, fed)) = counting {
            generating.spawn("metrics generator", counting.run(fed));
        }
        senders.into_iter().for_each(|sender| upkeep.spawn("remote write", sender.run()));

        let stop_serving = CancellationToken::new();
        let edge_telemetry = api::Telemetry::register(&mut registry);
        let (registry, text) = (Arc::new(registry), config.to_yaml());
        let mut edge = Edge::new(config.api(), ingester.clone(), querier, limits, edge_telemetry, registry, text)
            .generating(generator)
            .until(stop_serving.clone());
        if let Some(deletions) = deletions {
            edge = edge.with_deletions(Arc::new(deletions));
        }
        if let Some(overrides) = user_overrides {
            edge = edge.with_user_overrides(overrides);
        }
        let addresses = servers.addresses()?;
        upkeep.spawn("listener reloader", ListenerReloader::new(servers.files()).run());
        let mut serving = Tasks::default();
        serving.spawn("server", servers.serve(Arc::new(edge), stop_serving.clone()));
        Ok(Self {
            addresses,
            ingester,
            cluster,
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

    /// Where other processes ask for live spans.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.cluster.as_ref().and_then(Cluster::address)
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
        let ingester_failed = async {
            match &self.ingester {
                Some(ingester) => ingester.failed().await,
                None => std::future::pending().await,
            }
        };
        let cluster_failed = async {
            match &mut self.cluster {
                Some(cluster) => cluster.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            reason = ingester_failed => reason,
            reason = cluster_failed => reason,
            reason = self.serving.ended() => reason,
            reason = self.upkeep.ended() => reason,
            reason = self.compaction.ended() => reason,
            reason = self.generating.ended() => reason,
        }
    }

    /// Whether it failed because other processes have taken over its log: a new start goes on under another id.
    pub fn is_retired(&self) -> bool {
        self.ingester.as_ref().is_some_and(Ingester::is_retired)
    }

    /// Refuse, drain, close: what was acknowledged is in the log, synced; in a cluster it is in blocks, if that can be.
    ///
    /// # Errors
    /// When serving ended by a panic.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(ingester) = &self.ingester {
            ingester.refuse();
        }
        self.stop_serving.cancel();
        self.stop_compaction.send_replace(true);
        let served = self.serving.all_ended().await;
        if let Some(cluster) = self.cluster {
            cluster.stop(self.ingester.as_ref()).await;
        }
        self.upkeep.abort().await;
        self.compaction.all_ended_within(COMPACTION_STOP_TIMEOUT).await;
        if let Some(ingester) = &self.ingester {
            ingester.close().await;
        }
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
