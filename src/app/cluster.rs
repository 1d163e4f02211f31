//! A process among others on one store: it says where it is before it takes spans, answers for its live rows, asks for
//! those of others, and says at its end that nobody needs to ask any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use generator::Generator;
use ingester::Ingester;
use model::TenantId;
use peers::{ClusterViews, GrpcPeers, Holder, TableCache};
use prometheus_client::registry::Registry;
use storage::incarnation::Lineage;
use storage::members::{Members, Record, Retired};
use storage::view::LiveRows;
use storage::{CpuPool, manifest};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::store::Store;
use crate::config::Config;
use crate::generating::Others;
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
    peers: Arc<GrpcPeers>,
    telemetry: peers::Telemetry,
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
}

impl Cluster {
    /// Opens the listener and says where it is; spans may be taken [`storage::members::JOINING_TIME`] later.
    ///
    /// # Errors
    /// When the address cannot be bound, or the store cannot be written.
    pub async fn join(
        config: &Config,
        store: &Store,
        lineage: Option<Arc<Lineage>>,
        registry: &mut Registry,
    ) -> Result<Self> {
        let (members, manifests) = (Arc::new(Members::new(store.objects.clone())), store.manifests.clone());
        let writer = match lineage.zip(config.cluster.listen_address.as_ref()) {
            None => None,
            Some((lineage, listen_address)) => {
                let listener = listen_address.bind().await.with_context(|| format!("listen on {listen_address}"))?;
                let address = listener.local_addr().context("read the address of the listener for peers")?;
                // before others hear of this start: the next one retires it, if this one cannot
                let (of_folder, named) = (lineage.clone(), manifests.incarnations_of(&lineage.writer().id));
                store.background.run(move || of_folder.record(named.as_ref())).await??;
                let advertised = Some(config.cluster.advertise_address.clone()).filter(|address| !address.is_empty());
                let advertised = advertised.unwrap_or_else(|| address.to_string());
                let (zone, build) = (config.cluster.zone.clone(), env!("CARGO_PKG_VERSION"));
                let record = Record::new(lineage.writer(), advertised, zone, build);
                members.join(&record).await.context("say in the store where this process is")?;
                info!(writer = %record.writer, incarnation = %record.incarnation, address = record.address, "joined the cluster");
                Some(Writer { lineage, listener: Some(listener), address })
            }
        };
        let telemetry = peers::Telemetry::register(registry);
        let peers = GrpcPeers::new(config.cluster.peer_timeout.get(), store.cpu.clone(), telemetry.clone());
        let (peers, serving, stop_serving) = (Arc::new(peers), Tasks::default(), CancellationToken::new());
        Ok(Self { members, manifests, peers, telemetry, writer, serving, stop_serving })
    }

    /// Where others ask for the live rows of this process.
    pub fn address(&self) -> Option<SocketAddr> {
        self.writer.as_ref().map(|writer| writer.address)
    }

    /// What queries see: the live rows of all writers. Those of others are kept within `table_bytes`.
    pub fn views(&self, own: Option<&Ingester>, store: &Store, table_bytes: u64) -> ClusterViews {
        let Store { objects, manifests, cpu, cache, .. } = store.clone();
        ClusterViews {
            own: own.map(|ingester| Arc::new(ingester.clone()) as Arc<dyn LiveRows>),
            members: self.members.clone(),
            peers: self.peers.clone(),
            tables: TableCache::new(table_bytes, &store.telemetry),
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

    /// Answers others from now on.
    pub fn serve(&mut self, ingester: &Ingester, generator: Option<Arc<Generator>>, cpu: CpuPool) {
        let listener = self.writer.as_mut().and_then(|writer| writer.listener.take());
        if let Some(listener) = listener {
            let holder = Holder::new(Arc::new(ingester.clone()), self.manifests.clone());
            let mut server = peers::Server::new(holder, cpu);
            if let Some(generator) = generator {
                server = server.with_halves(Arc::new(move |question: &[u8]| generator.answer(question)));
            }
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

    /// Publishes what is live and says that nobody needs to ask this writer any more; no request may be under way. What
    /// cannot be published stays in the log, and others say that it is missing until the next start.
    pub async fn stop(mut self, ingester: Option<&Ingester>) {
        if let Some((writer, ingester)) = self.writer.as_ref().zip(ingester) {
            let retired = async {
                ingester.publish_all(PUBLISH_TIMEOUT).await?;
                let (now, mark) = (writer.lineage.writer(), Retired::new(sequences(&self.manifests)));
                let retire = self.members.retire(&now.incarnation, &mark);
                tokio::time::timeout(RETIRE_TIMEOUT, retire).await??;
                anyhow::Ok(())
            };
            match retired.await {
                Ok(()) => info!("all spans are in blocks, the others need not ask this process any more"),
                Err(error) => warn!(
                    %error,
                    "spans stay in the log of this process: answers of the others are partial until it starts again"
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
            members.retire(&record.incarnation, &Retired::new(sequences(manifests))).await?;
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

/// The newest manifest of every tenant that this process knows.
fn sequences(manifests: &manifest::Store) -> Vec<(TenantId, u64)> {
    let known = |tenant: TenantId| Some((tenant.clone(), manifests.snapshot(&tenant)?.sequence));
    manifests.tenants().into_iter().filter_map(known).collect()
}
