//! What a simulated node is made of.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use ingester::Ingester;
use object_store::ObjectStore;
use peers::{ClusterViews, Logged, Peers, TableCache};
use prometheus_client::registry::Registry;
use storage::block::BlockCache;
use storage::bucket_log::LogReader;
use storage::incarnation::Lineage;
use storage::members::{Members, Record};
use storage::testing::Disk;
use storage::view::LiveRows;
use storage::wal::Log;
use storage::{CpuPool, Telemetry, manifest};

/// What all parts of a node share.
#[derive(Clone)]
pub struct Parts {
    pub objects: Arc<dyn ObjectStore>,
    pub cpu: CpuPool,
    pub cache: BlockCache,
    pub manifests: Arc<manifest::Store>,
    pub members: Arc<Members>,
}

impl Parts {
    pub async fn open(objects: &Arc<dyn ObjectStore>, cpu: &CpuPool) -> Result<Self> {
        Ok(Self {
            objects: objects.clone(),
            cpu: cpu.clone(),
            cache: BlockCache::new(8 << 20, Telemetry::unregistered()),
            manifests: Arc::new(manifest::Store::open(objects.clone(), Telemetry::unregistered()).await?),
            members: Arc::new(Members::new(objects.clone())),
        })
    }

    /// Says where the node is reached.
    pub async fn join(&self, lineage: &Lineage, address: String) -> Result<()> {
        Ok(self.members.join(&Record::new(lineage.writer(), address, String::new(), "")).await?)
    }

    /// What its ingester stores with.
    pub fn storage(&self, lineage: Arc<Lineage>) -> ingester::Storage {
        ingester::Storage {
            objects: self.objects.clone(),
            manifests: self.manifests.clone(),
            cpu: self.cpu.clone(),
            telemetry: Telemetry::unregistered(),
            lineage,
            puts_may_be_late: true,
            cache: self.cache.clone(),
            trace_reach: Duration::from_secs(3_600),
        }
    }

    /// An ingester that has read its log.
    pub async fn open_ingester(&self, lineage: Arc<Lineage>, disk: &Disk) -> Result<Ingester> {
        let log = Log::open_on(Arc::new(disk.clone()), Path::new("/wal"))?;
        // time jumps where nodes join
        let config = ingester::Config { push_timeout: Duration::from_secs(1 << 20), ..ingester::Config::default() };
        let storage = self.storage(lineage);
        let ingester = Ingester::open(config, log, storage, Arc::default(), &mut Registry::default()).await?;
        tokio::select! {
            () = ingester.ready() => {}
            reason = ingester.failed() => bail!(reason),
        }
        Ok(ingester)
    }

    /// What the node sees: its own rows, and those that it asks the others for.
    pub fn views(&self, own: Arc<dyn LiveRows>, peers: Arc<dyn Peers>) -> ClusterViews {
        let telemetry = Telemetry::unregistered();
        let tables = TableCache::new(64 << 20, &telemetry);
        let (cpu, manifests) = (self.cpu.clone(), self.manifests.clone());
        let reader = LogReader::new(self.objects.clone(), telemetry);
        ClusterViews {
            own: Some(own),
            members: self.members.clone(),
            peers,
            tables: tables.clone(),
            logged: Logged { reader, tables, manifests: manifests.clone(), cpu: cpu.clone() },
            manifests,
            objects: self.objects.clone(),
            cpu,
            cache: self.cache.clone(),
            telemetry: peers::Telemetry::default(),
        }
    }
}
