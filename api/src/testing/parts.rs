//! The real ingester and querier over a store in memory and a log in a temporary folder. Blocks are never read: what a
//! test sends is live.

use std::sync::Arc;
use std::time::Duration;

use ingester::{Ingester, Readiness};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use prometheus_client::registry::Registry;
use querier::{Querier, Sources};
use storage::paths::DataDir;
use storage::{CpuPool, lock, manifest};
use tempfile::TempDir;

pub(crate) struct Parts {
    pub(crate) ingester: Ingester,
    pub(crate) querier: Querier,
    _dir: TempDir,
}

impl Parts {
    /// Ready to be asked.
    pub(crate) async fn open(registry: &mut Registry) -> Self {
        let dir = TempDir::new().unwrap();
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let cpu = CpuPool::new(1);
        let telemetry = storage::Telemetry::unregistered();
        let store = manifest::Store::open(objects.clone(), telemetry.clone()).await.unwrap();
        let writer_id = lock::writer_id(&DataDir::new(dir.path())).unwrap();
        let manifests = Arc::new(store);
        let storage = ingester::Storage { objects, manifests, cpu: cpu.clone(), telemetry, writer_id };
        let ingester =
            Ingester::open(ingester::Config::default(), &dir.path().join("wal"), storage, registry).await.unwrap();
        while ingester.readiness() != Readiness::Ready {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let querier = Querier::new(querier::Config::default(), live_sources(ingester.clone()), cpu, registry);
        Self { ingester, querier, _dir: dir }
    }
}

fn live_sources(ingester: Ingester) -> Sources {
    Arc::new(move |tenant| {
        let sources = ingester.live_sources(tenant).expect("live spans can be put in columns");
        Box::pin(async move { Ok(sources) })
    })
}
