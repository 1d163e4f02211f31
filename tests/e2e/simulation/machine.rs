//! A running process: what `App` puts together, without listeners and clocks, on a disk and a store that fail.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use ingester::{Ingester, Readiness};
use mosso::app;
use object_store::ObjectStore;
use prometheus_client::registry::Registry;
use querier::Querier;
use storage::compaction::{self, Compactor};
use storage::lock::WriterId;
use storage::retention::{self, Retention};
use storage::testing::{Disk, FaultyStore, Power};
use storage::wal::Log;
use storage::{CpuPool, Telemetry, manifest};
use tokio::sync::watch;

use super::plan::Start;

const WRITER: WriterId = WriterId(uuid::Uuid::from_u128(1));
/// How far ahead retention looks, and how long blocks are kept: what was written now and is old by its time goes.
const AHEAD: Duration = Duration::from_secs(10 * 24 * 3600);
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// More rounds of compaction than a run has blocks: one that never ends is a fault.
const MOST_ROUNDS: usize = 100;

pub struct Machine {
    pub ingester: Ingester,
    pub querier: Querier,
    manifests: Arc<manifest::Store>,
    objects: Arc<dyn ObjectStore>,
    cpu: CpuPool,
}

impl Machine {
    /// Returns when the log is replayed.
    pub async fn start(start: Start, disk: &Disk, objects: &FaultyStore, power: &Power) -> Result<Self> {
        let objects: Arc<dyn ObjectStore> = Arc::new(objects.clone());
        let manifests = Arc::new(manifest::Store::open(objects.clone(), Telemetry::unregistered()).await?);
        let cpu = CpuPool::new(1);
        let storage = ingester::Storage {
            objects: objects.clone(),
            manifests: manifests.clone(),
            cpu: cpu.clone(),
            telemetry: Telemetry::unregistered(),
            writer_id: WRITER,
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
        let ingester = Ingester::open(config, log, storage, registry).await?;
        let sources =
            app::sources(ingester.clone(), manifests.clone(), objects.clone(), cpu.clone(), Telemetry::unregistered());
        let querier = Querier::new(querier::Config::default(), sources, cpu.clone(), registry);
        let machine = Self { ingester, querier, manifests, objects, cpu };
        match machine.wait_ready(power).await {
            Ok(()) => Ok(machine),
            Err(error) => {
                machine.ingester.close().await;
                Err(error)
            }
        }
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

    pub async fn compact(&self, elsewhere: bool) -> Result<()> {
        let manifests = match elsewhere {
            true => Arc::new(manifest::Store::open(self.objects.clone(), Telemetry::unregistered()).await?),
            false => self.manifests.clone(),
        };
        let config = compaction::Config {
            cycle: Duration::from_secs(30),
            window: Duration::from_secs(3600),
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

    pub async fn expire(&self) {
        let config = retention::Config { default: KEEP, per_tenant: HashMap::new() };
        let retention = Retention::new(self.manifests.clone(), config, Telemetry::unregistered());
        let then = (SystemTime::now() + AHEAD).duration_since(UNIX_EPOCH).unwrap_or_default();
        retention.round(then.as_nanos() as u64).await;
    }
}
