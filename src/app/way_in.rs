//! What takes spans, and what makes metrics of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use generator::Generator;
use ingester::{Ingester, OpenedLog};
use model::limits::TenantLimits;
use prometheus_client::registry::Registry;
use storage::incarnation::Lineage;
use storage::memory_budget::Parts;
use storage::wal::{LocalFiles, Log};

use super::cluster::Cluster;
use super::store::Store;
use crate::config::Config;
use crate::generating::{self, Generating};
use crate::tasks::Tasks;

/// The way in of a process; without an ingester where it takes no spans.
pub(super) struct WayIn {
    pub ingester: Option<Ingester>,
    /// What the ingester stores with.
    pub ingester_storage: Option<ingester::Storage>,
    pub generator: Arc<Generator>,
    /// Whether spans are counted in this process.
    pub counted: bool,
    /// Counts spans until the last has come.
    pub generating: Tasks,
    /// Send series until the process stops.
    pub senders: Tasks,
}

impl WayIn {
    /// Opens the log, and reads it back in the background. Other processes of the cluster are asked for halves of calls.
    pub async fn open(
        config: &Config,
        parts: &Parts,
        store: &Store,
        lineage: Option<Arc<Lineage>>,
        cluster: Option<&Cluster>,
        limits: Arc<TenantLimits>,
        registry: &mut Registry,
    ) -> Result<Self> {
        let keeps_local_log = config.has_folder() && !config.keeps_log_on_bucket();
        let log = keeps_local_log.then(|| Log::open(store.dir.wal_dir())).transpose()?;
        let (files, folder) = (Arc::new(LocalFiles::default()), config.generator_dir());
        let generated = config.generator()?.within(parts.generator);
        let tenants_may_switch_on = config.overrides.user_configurable_overrides.enabled;
        let opened = log.as_ref().map(|(log, _)| log);
        let cpu = store.background.clone();
        let Generating { generator, feed, counting, senders: all_senders } =
            generating::open(generated, tenants_may_switch_on, &folder, files, opened, cpu, registry)?;
        let log = match (log, cluster) {
            (None, Some(cluster)) => cluster.log(config, store)?,
            (log, _) => log.map(OpenedLog::from),
        };
        let ingester_storage = lineage.map(|lineage| storage_of(config, store, lineage));
        let ingester = match ingester_storage.clone().zip(log) {
            None => None,
            Some((storage, log)) => {
                Some(Ingester::open_feeding(config.ingester(), log, storage, limits, feed, registry).await?)
            }
        };
        let (mut generating, mut senders) = (Tasks::default(), Tasks::default());
        let counted = counting.is_some();
        if let Some((mut counting, fed)) = counting {
            if let Some(others) = cluster.and_then(Cluster::others) {
                counting.ask(others);
            }
            generating.spawn("metrics generator", counting.run(fed));
        }
        all_senders.into_iter().for_each(|sender| senders.spawn("remote write", sender.run()));
        Ok(Self { ingester, ingester_storage, generator, counted, generating, senders })
    }
}

fn storage_of(config: &Config, store: &Store, lineage: Arc<Lineage>) -> ingester::Storage {
    ingester::Storage {
        objects: store.objects.clone(),
        manifests: store.manifests.clone(),
        cpu: store.background.clone(),
        telemetry: store.telemetry.clone(),
        lineage,
        puts_may_be_late: config.storage.trace.backend.is_remote(),
        cache: store.cache.clone(),
        trace_reach: Duration::from_secs(config.querier().trace_reach_seconds),
    }
}
