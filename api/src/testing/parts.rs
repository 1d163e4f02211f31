//! The real ingester and querier over a store and a log in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ingester::Ingester;
use model::limits::TenantLimits;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use prometheus_client::registry::Registry;
use querier::Querier;
use storage::block::BlockCache;
use storage::ids::WriterId;
use storage::incarnation::Lineage;
use storage::testing::Disk;
use storage::view::LocalViews;
use storage::wal::Log;
use storage::{CpuPool, manifest};

pub(crate) struct Parts {
    pub(crate) ingester: Ingester,
    pub(crate) querier: Querier,
    /// Where the log lies.
    pub(crate) disk: Disk,
}

impl Parts {
    /// Ready to be asked.
    pub(crate) async fn open(limits: Arc<TenantLimits>, registry: &mut Registry) -> Self {
        let disk = Disk::default();
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let cpu = CpuPool::new(1);
        let telemetry = storage::Telemetry::unregistered();
        let store = manifest::Store::open(objects.clone(), telemetry.clone()).await.unwrap();
        let lineage = Arc::new(Lineage::new(WriterId(uuid::Uuid::from_u128(1)), Vec::new()));
        let manifests = Arc::new(store);
        let storage = ingester::Storage {
            objects: objects.clone(),
            manifests: manifests.clone(),
            cpu: cpu.clone(),
            telemetry: telemetry.clone(),
            lineage,
            puts_may_be_late: true,
            cache: BlockCache::new(8 << 20, storage::Telemetry::unregistered()),
            trace_reach: Duration::from_secs(3_600),
        };
        let log = Log::open_on(Arc::new(disk.clone()), Path::new("wal")).unwrap();
        let ingester =
            Ingester::open(ingester::Config::default(), log, storage, limits.clone(), registry).await.unwrap();
        ingester.ready().await;
        let cache = BlockCache::new(0, telemetry.clone());
        let views = LocalViews { live: Arc::new(ingester.clone()), manifests, objects, cpu: cpu.clone(), cache };
        let config = querier::Config::default();
        let querier = Querier::with_limits(config, limits, Arc::new(views), cpu, &telemetry, registry);
        Self { ingester, querier, disk }
    }
}
