//! The store, opened, with what all parts reach it by.

use std::sync::Arc;

use anyhow::{Context, Result};
use object_store::ObjectStore;
use prometheus_client::registry::Registry;
use storage::block::BlockCache;
use storage::config::TraceConfig;
use storage::cpu::CpuPool;
use storage::deletion::Deleter;
use storage::paths::DataDir;
use storage::{Telemetry, manifest, objects};

use crate::config::Config;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Store {
    pub dir: DataDir,
    pub objects: Arc<dyn ObjectStore>,
    pub manifests: Arc<manifest::Store>,
    pub cache: BlockCache,
    /// For answers.
    pub cpu: CpuPool,
    /// For what arrives, and for what keeps the store in order.
    pub background: CpuPool,
    pub telemetry: Telemetry,
}

impl Store {
    pub async fn open(config: &Config, [cpu, background]: [CpuPool; 2], registry: &mut Registry) -> Result<Self> {
        let (dir, trace) = (config.folders(), &config.storage.trace);
        if config.has_folder() {
            storage::telemetry::register_disk(registry, dir.wal_dir());
        }
        let telemetry = Telemetry::register(registry);
        let (objects, manifests) = open_objects(trace, &dir, telemetry.clone())
            .await
            .with_context(|| format!("open {}", trace.store_name()))?;
        let cache = BlockCache::of(trace, &telemetry);
        let objects = objects::cached(objects, cache.clone());
        Ok(Self { dir, objects, manifests, cache, cpu, background, telemetry })
    }

    /// What deletes traces before their time.
    pub fn deleter(&self) -> Deleter {
        let Self { objects, manifests, cache, cpu, .. } = self.clone();
        Deleter { manifests, objects, cpu, cache }
    }
}

/// The objects and the manifests among them. A remote store is asked first whether it can be worked with at all.
async fn open_objects(
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
