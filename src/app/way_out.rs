//! What answers queries: over the live spans of this process, or of all processes of a cluster, and over blocks.

use std::sync::Arc;

use anyhow::{Result, bail};
use ingester::Ingester;
use model::limits::TenantLimits;
use prometheus_client::registry::Registry;
use querier::Querier;
use storage::memory_budget::Parts;
use storage::view::{LocalViews, Views};

use super::cluster::Cluster;
use super::store::Store;
use crate::config::Config;

/// What queries look at, without and with a cluster. `table_bytes` is for live spans of other processes.
pub(super) fn views(
    config: &Config,
    store: &Store,
    cluster: Option<&Cluster>,
    ingester: Option<&Ingester>,
    table_bytes: u64,
) -> Result<Arc<dyn Views>> {
    match (cluster, ingester) {
        (Some(cluster), ingester) => Ok(Arc::new(cluster.views(ingester, store, table_bytes))),
        (None, Some(ingester)) => Ok(Arc::new(LocalViews {
            live: Arc::new(ingester.clone()),
            manifests: store.manifests.clone(),
            objects: store.objects.clone(),
            cpu: store.cpu.clone(),
            cache: store.cache.clone(),
        })),
        (None, None) => bail!("target {} needs cluster.enabled", config.target().name()),
    }
}

/// The querier, with what all queries together may take.
pub(super) fn querier(
    config: &Config,
    parts: &Parts,
    store: &Store,
    views: Arc<dyn Views>,
    limits: Arc<TenantLimits>,
    registry: &mut Registry,
) -> Querier {
    let config = querier::Config {
        max_memory_bytes: parts.queries,
        max_row_groups: parts.concurrent_row_groups(),
        ..config.querier()
    };
    Querier::with_limits(config, limits, views, store.cpu.clone(), &store.telemetry, registry)
}
