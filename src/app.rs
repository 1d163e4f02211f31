//! Wiring: builds the parts, hands them to each other, and stops them in order.

mod cluster;
mod earlier_logs;
mod store;
mod upkeep;
mod way_in;
mod way_out;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use api::{Addresses, Edge, Servers};
use futures::future::BoxFuture;
use generator::Generator;
use ingester::Ingester;
use model::limits::TenantLimits;
use peers::Worker;
use prometheus_client::registry::Registry;
use storage::MemoryBudget;
use storage::cpu::CpuPool;
use storage::incarnation::{Lineage, Writer};
use storage::lock::DataDirLock;
use storage::upkeep_share::UpkeepShare;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::cluster::Cluster;
use self::store::Store;
use self::upkeep::Upkeep;
use self::way_in::WayIn;
use crate::config::{Config, PeerParts};
use crate::deletion::Deletions;
use crate::reload::{LimitReloader, ListenerReloader};
use crate::tasks::Tasks;
use crate::telemetry::Process;
use crate::user_overrides::UserOverrides;

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
    /// Polls manifests, makes trace maps, drops what has expired, deletes what has no name, takes over what was set; each may
    /// stop at any point.
    upkeep: Tasks,
    compaction: Tasks,
    stop_compaction: watch::Sender<bool>,
    pools: [CpuPool; 2],
    memory_budget_bytes: u64,
    /// Counts spans until the last has come.
    generating: Tasks,
    /// Send series; each may stop at any point.
    senders: Tasks,
    _lock: Option<DataDirLock>,
}

impl App {
    /// Opens the data folder, binds the listeners and serves. The log is read back in the background: until that is
    /// done `/ready` answers 503.
    ///
    /// # Errors
    /// When the data folder cannot be used, an address cannot be bound, or stored data cannot be opened.
    pub fn start(config: &Config) -> BoxFuture<'_, Result<Self>> {
        Box::pin(Self::open(config)) // see `docs/decisions/0035-the-first-build.md`
    }

    async fn open(config: &Config) -> Result<Self> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let pools = [CpuPool::of_all_cores(), CpuPool::in_background()];
        let Planned { config, memory, peer_parts } = planned(config, &pools[0], &mut registry);
        let parts = &memory.parts;
        let servers = Servers::bind(&config.api()).await?;
        let lock = config.has_folder().then(|| DataDirLock::acquire(&config.folders())).transpose()?;

        let store = Store::open(&config, pools.clone(), &mut registry).await?;
        let lineage = lineage(&config, &store)?;
        let mut cluster = match config.cluster.enabled {
            true => {
                Some(Cluster::join(&config, &store, lineage.clone(), &mut registry).await.context("join the cluster")?)
            }
            false => None,
        };
        let limits = Arc::new(TenantLimits::new(config.tenant_limits()?));
        let WayIn { ingester, ingester_storage, generator, counted, generating, senders } =
            WayIn::open(&config, parts, &store, lineage, cluster.as_ref(), limits.clone(), &mut registry).await?;
        let views = way_out::views(&config, &store, cluster.as_ref(), ingester.as_ref(), peer_parts.fetched_tables)?;
        let querier = way_out::querier(&config, parts, &store, views, limits.clone(), &mut registry);
        if let Some(cluster) = &mut cluster {
            cluster.spread(&querier, &config);
            let Store { objects, cpu, cache, .. } = store.clone();
            let worker = Worker { querier: querier.clone(), objects, cpu, cache };
            let holder = ingester.as_ref().map(|ingester| cluster.holder(ingester, peer_parts.listed_tables));
            cluster.serve(holder, counted.then(|| generator.clone()), worker);
        }

        let share = UpkeepShare::all();
        let mut upkeep = Upkeep::begin(&config, parts, &store, &limits, share.clone());
        if let Some(cluster) = &cluster {
            upkeep.begin_in_cluster(cluster, ingester.as_ref().zip(ingester_storage), &config, &store, share);
        }
        let Upkeep { tasks: mut upkeep, compaction, stop_compaction } = upkeep;
        upkeep.spawn("limit reloader", LimitReloader::new(config.clone(), limits.clone(), &mut registry).run());
        let user_overrides = open_user_overrides(&config, &store, generator.clone(), &mut registry);
        if let Some(overrides) = user_overrides.clone() {
            upkeep.spawn("settings of tenants", overrides.run());
        }

        let stop_serving = CancellationToken::new();
        let telemetry = api::Telemetry::register(&mut registry);
        let (registry, text) = (Arc::new(registry), config.to_yaml());
        let mut edge = Edge::new(config.api(), ingester.clone(), querier, limits, telemetry, registry, text)
            .generating(generator)
            .until(stop_serving.clone());
        if config.deletion.enabled {
            edge = edge.with_deletions(Arc::new(Deletions { deleter: store.deleter(), ingester: ingester.clone() }));
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
            pools,
            memory_budget_bytes: memory.bytes,
            generating,
            senders,
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
            reason = self.senders.ended() => reason,
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
    pub fn stop(self) -> BoxFuture<'static, Result<()>> {
        Box::pin(self.close())
    }

    async fn close(mut self) -> Result<()> {
        if let Some(ingester) = &self.ingester {
            ingester.refuse();
        }
        self.stop_serving.cancel();
        self.stop_compaction.send_replace(true);
        let served = self.serving.all_ended().await;
        let mut emptied = None;
        if let Some(cluster) = self.cluster {
            emptied = cluster.stop(self.ingester.as_ref()).await;
        }
        self.upkeep.abort().await;
        self.senders.abort().await;
        self.compaction.all_ended_within(COMPACTION_STOP_TIMEOUT).await;
        if let Some(ingester) = &self.ingester {
            ingester.close().await;
        }
        emptied.into_iter().for_each(|log| earlier_logs::remove(&log));
        self.generating.all_ended_within(GENERATOR_STOP_TIMEOUT).await;
        served.map_err(anyhow::Error::msg)
    }
}

/// The settings of a process with what follows from its memory.
struct Planned {
    config: Config,
    memory: MemoryBudget,
    peer_parts: PeerParts,
}

fn planned(config: &Config, cpu: &CpuPool, registry: &mut Registry) -> Planned {
    let mut memory = config.memory_budget(cpu.threads());
    let peer_parts = config.take_for_peers(&mut memory.parts);
    memory.log();
    config.warn_of_memory(&memory.parts);
    memory.register(registry);
    Planned { config: config.clone().with_parts(&memory.parts), memory, peer_parts }
}

/// Which starts of a writer this process goes on from, if it takes spans: those of its folder, or none.
fn lineage(config: &Config, store: &Store) -> Result<Option<Arc<Lineage>>> {
    Ok(match (config.target().takes_spans(), config.keeps_log_on_bucket()) {
        (false, _) => None,
        (true, false) => Some(Arc::new(Lineage::open(&store.dir)?)),
        (true, true) => Some(Arc::new(Lineage::only(Writer::of_one_start()))),
    })
}

fn open_user_overrides(
    config: &Config,
    store: &Store,
    generator: Arc<Generator>,
    registry: &mut Registry,
) -> Option<Arc<UserOverrides>> {
    config.overrides.user_configurable_overrides.enabled.then(|| {
        let stored = storage::user_overrides::UserOverrides::new(store.objects.clone());
        Arc::new(UserOverrides::new(config.clone(), stored, generator, registry))
    })
}
