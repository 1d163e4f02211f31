//! A process among others on one store: it says where it is before it takes spans, answers for its live rows, asks for
//! those of others, and says at its end that nobody needs to ask any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ingester::{Ingester, OpenedLog};
use object_store::ObjectStore;
use peers::{ClusterViews, GrpcPeers, Holder, Logged, Peers, TableCache};
use prometheus_client::registry::Registry;
use storage::block::BlockCache;
use storage::bucket_log::collect::{LostLogs, OwnCollector};
use storage::bucket_log::{BucketLog, LogReader, Settings};
use storage::incarnation::{Incarnation, Lineage};
use storage::members::{Members, Record, Retired, Standing};
use storage::view::LiveRows;
use storage::{CpuPool, manifest};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::adoption::Adoption;
use crate::config::Config;
use crate::tasks::Tasks;

/// How long the last spans may take to become blocks when a writer stops for good.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the mark may take that says so.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long calls of others may take once the process stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait before what is said of earlier starts is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The part of a process that other processes know.
pub struct Cluster {
    members: Arc<Members>,
    manifests: Arc<manifest::Store>,
    /// How others are reached; once [`views`](Self::views) was called.
    peers: Option<Arc<dyn Peers>>,
    /// Of a process that takes spans.
    writer: Option<Writer>,
    serving: Tasks,
    stop_serving: CancellationToken,
}

/// Where others find the live rows of this process.
struct Writer {
    lineage: Arc<Lineage>,
    listener: Option<TcpListener>,
    address: SocketAddr,
    /// If the log is on the bucket.
    standing: Option<Arc<Standing>>,
}

impl Cluster {
    /// Opens the listener and says where it is; spans may be taken [`storage::members::JOINING_TIME`] later.
    ///
    /// # Errors
    /// When the address cannot be bound, or the store cannot be written.
    pub async fn join(
        config: &Config,
        objects: Arc<dyn ObjectStore>,
        manifests: Arc<manifest::Store>,
        lineage: Option<Arc<Lineage>>,
        cpu: &CpuPool,
    ) -> Result<Self> {
        let members = Arc::new(Members::new(objects.clone()));
        let writer = match lineage.zip(config.cluster.listen_address.as_ref()) {
            None => None,
            Some((lineage, listen_address)) => {
                let listener = listen_address.bind().await.with_context(|| format!("listen on {listen_address}"))?;
                let address = listener.local_addr().context("read the address of the listener for peers")?;
                // before others hear of this start: the next one retires it, if this one cannot
                let (of_folder, named) = (lineage.clone(), manifests.incarnations_of(&lineage.writer().id));
                cpu.run(move || of_folder.record(named.as_ref())).await??;
                let advertised = Some(config.cluster.advertise_address.clone()).filter(|address| !address.is_empty());
                let advertised = advertised.unwrap_or_else(|| address.to_string());
                let (zone, build) = (config.cluster.zone.clone(), env!("CARGO_PKG_VERSION"));
                let mut record = Record::new(lineage.writer(), advertised, zone, build);
                let standing = config.keeps_log_on_bucket().then(|| {
                    record = record.clone().with_log_on_bucket();
                    Arc::new(Standing::joining(objects, lineage.writer().incarnation))
                });
                members.join(&record).await.context("say in the store where this process is")?;
                info!(writer = %record.writer, incarnation = %record.incarnation, address = record.address, "joined the cluster");
                Some(Writer { lineage, listener: Some(listener), address, standing })
            }
        };
        let (serving, stop_serving) = (Tasks::default(), CancellationToken::new());
        Ok(Self { members, manifests, peers: None, writer, serving, stop_serving })
    }

    /// The log on the bucket of this start, if it has one.
    pub fn log(
        &self,
        config: &Config,
        objects: Arc<dyn ObjectStore>,
        telemetry: &storage::Telemetry,
    ) -> Option<OpenedLog> {
        let standing = self.writer.as_ref()?.standing.clone()?;
        let settings = Settings { linger: config.cluster.log_linger.get() };
        Some(BucketLog::new(objects, standing, settings, telemetry).into())
    }

    /// Where others ask for the live rows of this process.
    pub fn address(&self) -> Option<SocketAddr> {
        self.writer.as_ref().map(|writer| writer.address)
    }

    /// What queries see: the live rows of all writers.
    pub fn views(
        &mut self,
        own: Option<&Ingester>,
        config: &Config,
        objects: Arc<dyn ObjectStore>,
        (cpu, cache): (CpuPool, BlockCache),
        (table_bytes, storage, registry): (u64, &storage::Telemetry, &mut Registry),
    ) -> ClusterViews {
        let telemetry = peers::Telemetry::register(registry);
        let timeout = config.cluster.peer_timeout.get();
        let peers: Arc<dyn Peers> = Arc::new(GrpcPeers::new(timeout, cpu.clone(), telemetry.clone()));
        self.peers = Some(peers.clone());
        let tables = TableCache::new(table_bytes, storage);
        let logged = Logged {
            reader: LogReader::new(objects.clone(), storage.clone()),
            tables: tables.clone(),
            manifests: self.manifests.clone(),
            cpu: cpu.clone(),
        };
        ClusterViews {
            own: own.map(|ingester| Arc::new(ingester.clone()) as Arc<dyn LiveRows>),
            members: self.members.clone(),
            peers,
            tables,
            logged,
            manifests: self.manifests.clone(),
            objects,
            cpu,
            cache,
            telemetry,
        }
    }

    /// Answers others from now on.
    pub fn serve(&mut self, ingester: &Ingester, cpu: CpuPool) {
        let listener = self.writer.as_mut().and_then(|writer| writer.listener.take());
        if let Some(listener) = listener {
            let holder = Holder::new(Arc::new(ingester.clone()), self.manifests.clone());
            let server = peers::Server::new(holder, cpu);
            self.serving.spawn("listener for other processes", server.serve(listener, self.stop_serving.clone()));
        }
    }

    /// Waits until the listener has died.
    pub async fn failed(&mut self) -> String {
        self.serving.ended().await
    }

    /// Once the log was read and others know this start: says of the earlier starts of this writer that nobody needs to ask
    /// them any more. What they had is live here, or in blocks. Then waits until it is dropped.
    pub fn retire_earlier_starts(&self, ingester: &Ingester) -> impl Future<Output = ()> + use<> {
        let (members, manifests, ingester) = (self.members.clone(), self.manifests.clone(), ingester.clone());
        let lineage = self.writer.as_ref().map(|writer| writer.lineage.clone());
        async move {
            ingester.ready().await;
            while let Some(lineage) = &lineage
                && let Err(error) = retire_earlier(&members, &manifests, lineage).await
            {
                warn!(%error, "earlier starts of this process could not be retired, will retry");
                tokio::time::sleep(RETRY).await;
            }
            std::future::pending().await
        }
    }

    /// Adopts logs on the bucket of writers that are gone, if this process has such a log itself; ends it when others have
    /// adopted this one.
    pub fn adopt_others(
        &self,
        ingester: &Ingester,
        storage: ingester::Storage,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let own = self.incarnation_on_bucket()?;
        let (objects, telemetry) = (storage.objects.clone(), storage.telemetry.clone());
        let reader = LogReader::new(objects.clone(), telemetry);
        let heard = (self.members.clone(), self.peers.clone()?);
        let (manifests, adopter) = (self.manifests.clone(), ingester.adopter(storage));
        let adoption = Adoption::new(own, heard, (objects, reader), manifests, adopter);
        let ingester = ingester.clone();
        Some(async move {
            ingester.ready().await;
            adoption.run().await;
            ingester.taken_over();
            std::future::pending().await
        })
    }

    /// Deletes what blocks have of this process's log on the bucket, after `grace`.
    pub fn collect_own_log(
        &self,
        ingester: &Ingester,
        objects: Arc<dyn ObjectStore>,
        grace: Duration,
        telemetry: &storage::Telemetry,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let collector =
            OwnCollector::new(objects, self.incarnation_on_bucket()?, ingester.covered()?, grace, telemetry.clone());
        Some(collector.run())
    }

    /// Deletes what is left of writers that are gone.
    pub fn collect_lost_logs(
        &self,
        objects: Arc<dyn ObjectStore>,
        telemetry: &storage::Telemetry,
    ) -> impl Future<Output = ()> + use<> {
        LostLogs { objects, manifests: self.manifests.clone(), telemetry: telemetry.clone() }.run()
    }

    fn incarnation_on_bucket(&self) -> Option<Incarnation> {
        Some(self.writer.as_ref()?.standing.as_ref()?.incarnation())
    }

    /// Publishes what is live and says that nobody needs to ask this writer any more; no request may be under way. What
    /// cannot be published stays in the log, and others say that it is missing until the next start.
    pub async fn stop(mut self, ingester: Option<&Ingester>) {
        if let Some((writer, ingester)) = self.writer.as_ref().zip(ingester) {
            let retired = async {
                ingester.publish_all(PUBLISH_TIMEOUT).await?;
                let (now, mark) = (writer.lineage.writer(), Retired::new(self.manifests.sequences()));
                let retire = self.members.retire(&now.incarnation, &mark);
                tokio::time::timeout(RETIRE_TIMEOUT, retire).await??;
                anyhow::Ok(())
            };
            match retired.await {
                Ok(()) => info!("all spans are in blocks, the others need not ask this process any more"),
                Err(error) => warn!(
                    %error,
                    "spans stay in the log of this process: on its disk, answers of the others are partial until it starts again; on the bucket, others publish them"
                ),
            }
        }
        self.stop_serving.cancel();
        self.serving.all_ended_within(DRAIN_TIMEOUT).await;
    }
}

async fn retire_earlier(
    members: &Members,
    manifests: &manifest::Store,
    lineage: &Lineage,
) -> Result<(), storage::Error> {
    let now = lineage.writer();
    for record in &members.view().await?.writers {
        if record.writer != now.id || record.incarnation == now.incarnation {
            continue;
        }
        if lineage.includes(&record.incarnation) {
            members.retire(&record.incarnation, &Retired::new(manifests.sequences())).await?;
            info!(incarnation = %record.incarnation, "an earlier start of this process is retired");
        } else {
            warn!(
                incarnation = %record.incarnation,
                address = record.address,
                "another process has the id of this one: one of the two data folders is a copy"
            );
        }
    }
    Ok(())
}
