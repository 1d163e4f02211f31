//! A process among others on one store: it says where it is before it takes spans, answers for its live rows, asks for
//! those of others, and says at its end that nobody needs to ask any more.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use generator::Generator;
use ingester::{Ingester, OpenedLog};
use peers::{ClusterViews, ClusterWorkers, GrpcPeers, Holder, Logged, Peers, TableCache, UpkeepWatch, Worker};
use prometheus_client::registry::Registry;
use querier::Querier;
use querier::jobs::{JOB_VERSION, SpreadPolicy};
use storage::bucket_log::collect::{LostLogs, OwnCollector};
use storage::bucket_log::{BucketLog, LogReader, Settings};
use storage::ids::{Incarnation, NodeId};
use storage::incarnation::Lineage;
use storage::manifest;
use storage::members::{Members, Record, Retired, Standing};
use storage::nodes::{Node, Nodes, Role};
use storage::upkeep_share::UpkeepShare;
use storage::view::LiveRows;
use storage::wal;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::store::Store;
use crate::adoption::Adoption;
use crate::config::Config;
use crate::generating::Others;
use crate::tasks::Tasks;

/// How long the last spans may take to become blocks when a writer stops for good.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the mark may take that says so.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long it may take to leave the list of those that work for others; they forget a process that is not there anyway.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long calls of others may take once the process stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait before what is said of earlier starts is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The part of a process that other processes know.
pub struct Cluster {
    members: Arc<Members>,
    manifests: Arc<manifest::Store>,
    nodes: Arc<Nodes>,
    node: Arc<Node>,
    /// Where others reach this process, if they do.
    address: Option<SocketAddr>,
    listener: Option<TcpListener>,
    /// Of a process that takes spans.
    writer: Option<Writer>,
    peers: Arc<GrpcPeers>,
    telemetry: peers::Telemetry,
    serving: Tasks,
    stop_serving: CancellationToken,
}

/// A start of a writer, as others know it.
struct Writer {
    lineage: Arc<Lineage>,
    /// If the log is on the bucket.
    standing: Option<Arc<Standing>>,
    /// Where the log is that is shipped there, if one is.
    folder: Option<PathBuf>,
}

impl Cluster {
    /// Opens the listener and says where it is, if spans are taken; they may be taken [`storage::members::JOINING_TIME`] later.
    ///
    /// # Errors
    /// When the address cannot be bound, or the store cannot be written.
    pub async fn join(
        config: &Config,
        store: &Store,
        lineage: Option<Arc<Lineage>>,
        registry: &mut Registry,
    ) -> Result<Self> {
        let Store { objects, manifests, .. } = store.clone();
        let (members, nodes) = (Arc::new(Members::new(objects.clone())), Arc::new(Nodes::new(objects.clone())));
        let listener = match &config.cluster.listen_address {
            Some(listen_address) => {
                Some(listen_address.bind().await.with_context(|| format!("listen on {listen_address}"))?)
            }
            None => None,
        };
        let address = listener.as_ref().map(TcpListener::local_addr).transpose();
        let address = address.context("read the address of the listener for other processes")?;
        let advertised = Some(config.cluster.advertise_address.clone()).filter(|address| !address.is_empty());
        let advertised = advertised.or_else(|| address.map(|address| address.to_string())).unwrap_or_default();
        let (zone, build) = (config.cluster.zone.clone(), env!("CARGO_PKG_VERSION"));
        let lineage = lineage.filter(|_| listener.is_some());
        let mut writer = None;
        if let Some(lineage) = lineage {
            // before others hear of this start: the next one retires it, if this one cannot
            let (of_folder, named) = (lineage.clone(), manifests.incarnations_of(&lineage.writer().id));
            store.background.run(move || of_folder.record(named.as_ref())).await??;
            let mut record = Record::new(lineage.writer(), advertised.clone(), zone.clone(), build);
            let standing = config.keeps_log_on_bucket().then(|| {
                record = match config.ships_log() {
                    true => record.clone().with_shipped_log(),
                    false => record.clone().with_log_on_bucket(),
                };
                Arc::new(Standing::joining(objects.clone(), lineage.writer().incarnation))
            });
            members.join(&record).await.context("say in the store where this process is")?;
            info!(writer = %record.writer, incarnation = %record.incarnation, address = record.address, "joined the cluster");
            let folder = config.ships_log().then(|| store.dir.shipped_log_dir(&lineage.writer().incarnation));
            writer = Some(Writer { lineage, standing, folder });
        }
        let roles = if listener.is_some() { config.target().roles() } else { &[] };
        let node = Arc::new(Node::new(NodeId::generate(), advertised, zone, build, JOB_VERSION, roles));
        let telemetry = peers::Telemetry::register(registry);
        let peers = GrpcPeers::new(config.cluster.peer_timeout.get(), store.cpu.clone(), telemetry.clone());
        Ok(Self {
            members,
            manifests,
            nodes,
            node,
            address,
            listener,
            writer,
            peers: Arc::new(peers),
            telemetry,
            serving: Tasks::default(),
            stop_serving: CancellationToken::new(),
        })
    }

    /// The log on the bucket of this start, if it has one; with a folder for it, if it is shipped there.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn log(&self, config: &Config, store: &Store) -> Result<Option<OpenedLog>, storage::Error> {
        let Some(Writer { standing: Some(standing), folder, .. }) = &self.writer else { return Ok(None) };
        let settings = Settings { linger: config.cluster.log_linger.get() };
        let log = BucketLog::new(store.objects.clone(), standing.clone(), settings, &store.telemetry);
        let Some(folder) = folder else { return Ok(Some(log.into())) };
        // nothing to read back: the folder is that of this start alone
        let (local, _) = wal::Log::open(folder)?;
        Ok(Some(OpenedLog::shipped(local, log)))
    }

    pub fn members(&self) -> Arc<Members> {
        self.members.clone()
    }

    /// Where others ask this process.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What queries see: the live rows of all writers. Those of others are kept within `table_bytes`.
    pub fn views(&self, own: Option<&Ingester>, store: &Store, table_bytes: u64) -> ClusterViews {
        let Store { objects, manifests, cpu, cache, .. } = store.clone();
        let tables = TableCache::new(table_bytes, &store.telemetry);
        let logged = Logged {
            reader: LogReader::new(objects.clone(), store.telemetry.clone()),
            tables: tables.clone(),
            manifests: manifests.clone(),
            cpu: cpu.clone(),
        };
        ClusterViews {
            own: own.map(|ingester| Arc::new(ingester.clone()) as Arc<dyn LiveRows>),
            members: self.members.clone(),
            peers: self.peers.clone(),
            tables,
            logged,
            manifests,
            objects,
            cpu,
            cache,
            telemetry: self.telemetry.clone(),
        }
    }

    /// The other writers, for one that counts spans of calls whose halves lie in different processes.
    pub fn others(&self) -> Option<Others> {
        let own = self.writer.as_ref()?.lineage.writer().incarnation;
        Some(Others { members: self.members.clone(), peers: self.peers.clone(), own })
    }

    /// Others look at blocks for large queries of this process.
    pub fn spread(&self, querier: &Querier, config: &Config) {
        let workers = ClusterWorkers::new(self.node.clone(), self.nodes.clone(), self.peers.clone());
        let least_bytes = config.cluster.spread_queries_from_bytes;
        querier.spread_over(Arc::new(workers), SpreadPolicy { least_bytes, ..SpreadPolicy::default() });
    }

    /// What others are told of the live rows of an ingester. Rows that they were told of are kept within `listed_bytes`.
    pub fn holder(&self, ingester: &Ingester, listed_bytes: u64) -> Holder {
        Holder::new(Arc::new(ingester.clone()), self.manifests.clone(), listed_bytes)
    }

    /// Answers others from now on: for the live rows of an ingester, for what a generator waits for, and with work on blocks.
    pub fn serve(&mut self, holder: Option<Holder>, generator: Option<Arc<Generator>>, worker: Worker) {
        let Some(listener) = self.listener.take() else { return };
        let mut server = peers::Server::new(self.node.id, worker.cpu.clone());
        if let Some(holder) = holder {
            server = server.with_holder(holder);
        }
        if let Some(generator) = generator {
            server = server.with_halves(Arc::new(move |question: &[u8]| generator.answer(question)));
        }
        if self.node.has(Role::Queries) {
            server = server.with_worker(worker);
        }
        self.serving.spawn("listener for other processes", server.serve(listener, self.stop_serving.clone()));
    }

    /// Keeps this process in the list of those that work for others, and knows which upkeep is its own.
    pub fn watch(&self, share: UpkeepShare) -> impl Future<Output = ()> + use<> {
        let does_something = self.node.has(Role::Queries) || self.node.has(Role::Upkeep);
        let watch = UpkeepWatch::new(self.node.clone(), self.nodes.clone(), self.peers.clone(), share);
        let watch = does_something.then(|| watch.run());
        async move {
            match watch {
                Some(watch) => watch.await,
                None => std::future::pending().await,
            }
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
        let heard = (self.members.clone(), self.peers.clone() as Arc<dyn Peers>);
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
        store: &Store,
        grace: Duration,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let (own, covered) = (self.incarnation_on_bucket()?, ingester.covered()?);
        let collector = OwnCollector::new(store.objects.clone(), own, covered, grace, store.telemetry.clone());
        Some(collector.run())
    }

    /// Deletes what is left of writers that are gone.
    pub fn collect_lost_logs(&self, store: &Store) -> impl Future<Output = ()> + use<> {
        let Store { objects, manifests, telemetry, .. } = store.clone();
        LostLogs { objects, manifests, telemetry }.run()
    }

    /// This start, if it has a log on the bucket.
    pub fn incarnation_on_bucket(&self) -> Option<Incarnation> {
        Some(self.writer.as_ref()?.standing.as_ref()?.incarnation())
    }

    /// Publishes what is live and says that nobody needs to ask this writer any more; no request may be under way. What
    /// cannot be published stays in the log, and others say that it is missing until the next start. Gives the folder of a
    /// shipped log that is not needed any more, once its ingester is closed.
    pub async fn stop(mut self, ingester: Option<&Ingester>) -> Option<PathBuf> {
        let mut emptied = None;
        match tokio::time::timeout(LEAVE_TIMEOUT, self.nodes.remove(&self.node.id)).await {
            Ok(Ok(())) => {}
            outcome => debug!(?outcome, "this process is still in the list of those that work for others"),
        }
        if let Some((writer, ingester)) = self.writer.as_ref().zip(ingester) {
            let retired = async {
                ingester.publish_all(PUBLISH_TIMEOUT).await?;
                let (now, mark) = (writer.lineage.writer(), Retired::new(self.manifests.sequences()));
                let retire = self.members.retire(&now.incarnation, &mark);
                tokio::time::timeout(RETIRE_TIMEOUT, retire).await??;
                anyhow::Ok(())
            };
            match retired.await {
                Ok(()) => {
                    emptied = writer.folder.clone();
                    info!("all spans are in blocks, the others need not ask this process any more");
                }
                Err(error) => warn!(
                    %error,
                    "spans stay in the log of this process: on its disk, answers of the others are partial until it starts again; on the bucket, others publish them"
                ),
            }
        }
        self.stop_serving.cancel();
        self.serving.all_ended_within(DRAIN_TIMEOUT).await;
        emptied
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
