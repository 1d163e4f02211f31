//! The nodes of a run, and what befalls them.

mod gone;
mod network;

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use ingester::{Adopter, Ingester, OpenedLog};
use model::TenantId;
use mosso::adoption::Adoption;
use object_store::{ObjectStore, ObjectStoreExt};
use peers::{Holder, Peers};
use prometheus_client::registry::Registry;
use querier::Querier;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use storage::bucket_log::collect::{LostLogs, OwnCollector};
use storage::bucket_log::{BucketLog, LogReader, Settings};
use storage::incarnation::{Incarnation, Lineage, Writer};
use storage::members::{JOINING_TIME, Members, Record, Retired, Standing};
use storage::testing::{Disk, Fault, FaultyStore, Power};
use storage::view::LiveRows;
use storage::wal::Log;
use storage::{CpuPool, Error, Telemetry, manifest, paths};
use tokio::task::JoinHandle;

use self::network::{Network, Wire};
use super::store::NodeStore;
use super::{Model, Plant};
use crate::cluster_simulation::parts::Parts;
use crate::cluster_simulation::{TRACES, pass, request};

/// How long a push may take; one whose node is dying takes for ever.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a start may take.
const START: Duration = Duration::from_secs(20);
/// Of a put that another waits for.
const FEW_TURNS: usize = 30;
const MOST_NODES: usize = 4;
/// Where a node keeps the log that it ships.
const LOG: &str = "/log";
/// For tables that others were told of, with every other seed; with the others they may be gone when they are fetched.
const LISTED_BYTES: u64 = 1 << 20;

/// A push that is under way while its node is suspended.
struct UnderWay {
    trace: u64,
    spans: Vec<u64>,
    outcome: JoinHandle<bool>,
}

pub struct Node {
    record: Record,
    store: NodeStore,
    ingester: Ingester,
    querier: Querier,
    members: Arc<Members>,
    manifests: Arc<manifest::Store>,
    adopter: Adopter,
    adoption: Adoption,
    collector: OwnCollector,
    under_way: Option<UnderWay>,
    is_suspended: bool,
    /// False once it was killed or stopped.
    runs: bool,
    /// Of one that ships its log.
    disk: Option<Disk>,
}

/// What a node left on its disk that ships its log.
struct Left {
    writer: Writer,
    disk: Disk,
}

pub struct World {
    pub random: SmallRng,
    pub tenant: TenantId,
    pub now_nanos: u64,
    pub nodes: Vec<Node>,
    pub is_faulty: bool,
    plant: Option<Plant>,
    /// Whether most nodes acknowledge on a disk, and ship their log.
    is_shipping: bool,
    left: Vec<Left>,
    bucket: FaultyStore,
    network: Arc<Network>,
    listed_bytes: u64,
    suspended: BTreeMap<Incarnation, Arc<Holder>>,
    cpu: CpuPool,
}

impl World {
    pub fn new(seed: u64, plant: Option<Plant>, is_shipping: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            random: SmallRng::seed_from_u64(seed),
            tenant: TenantId::single(),
            now_nanos: now.as_nanos() as u64,
            nodes: Vec::new(),
            is_faulty: true,
            plant,
            is_shipping,
            left: Vec::new(),
            bucket: FaultyStore::default(),
            network: Arc::default(),
            listed_bytes: if seed.is_multiple_of(2) { LISTED_BYTES } else { 0 },
            suspended: BTreeMap::new(),
            cpu: CpuPool::new(1),
        }
    }

    pub fn any_node(&mut self) -> usize {
        self.random.random_range(0..self.nodes.len().max(1))
    }

    fn is_awake(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.runs && !node.is_suspended)
    }

    pub fn queriers(&self) -> Vec<(usize, Querier)> {
        let awake = (0..self.nodes.len()).filter(|node| self.is_awake(*node));
        awake.map(|node| (node, self.nodes[node].querier.clone())).collect()
    }

    pub fn any_querier(&mut self) -> Option<(usize, Querier)> {
        let mut queriers = self.queriers();
        match queriers.len() {
            0 => None,
            count => Some(queriers.swap_remove(self.random.random_range(0..count))),
        }
    }

    /// As `src/app.rs` does it.
    pub async fn start(&mut self) -> Result<String> {
        if self.nodes.iter().filter(|node| node.runs).count() >= MOST_NODES {
            return Ok("there are enough".to_owned());
        }
        let number = self.nodes.len();
        let store = NodeStore::new(&self.bucket, self.plant);
        let objects: Arc<dyn ObjectStore> = Arc::new(store.clone());
        let (writer, telemetry) = (Writer::of_one_start(), Telemetry::unregistered());
        let lineage = Arc::new(Lineage::only(writer));
        let parts = Parts::open(&objects, &self.cpu).await?;
        let (manifests, members) = (parts.manifests.clone(), parts.members.clone());
        let standing = Arc::new(Standing::joining(objects.clone(), writer.incarnation));
        let disk = self.new_disk(&store.power);
        let record = Record::new(writer, format!("node-{number}"), String::new(), "");
        let record = match disk.is_some() && self.plant != Some(Plant::UnshippedNotSaid) {
            true => record.with_shipped_log(),
            false => record.with_log_on_bucket(),
        };
        members.join(&record).await?;
        pass(JOINING_TIME).await;
        let storage = parts.storage(lineage);
        // longer than a step takes, for a node that may have more than the bucket
        let linger = if disk.is_some() && self.random.random_bool(0.5) { PATIENCE } else { Duration::ZERO };
        let log = BucketLog::new(objects.clone(), standing, Settings { linger }, &telemetry);
        let log = match disk.clone() {
            Some(disk) => OpenedLog::shipped(Log::open_on(Arc::new(disk), FilePath::new(LOG))?.0, log),
            None => log.into(),
        };
        // time jumps
        let forever = Duration::from_secs(1 << 20);
        let config =
            ingester::Config { push_timeout: forever, max_block_duration: forever, ..ingester::Config::default() };
        let registry = &mut Registry::default();
        let ingester = Ingester::open(config, log, storage.clone(), Arc::default(), registry).await?;
        tokio::time::timeout(START, ingester.ready()).await?;
        let live: Arc<dyn LiveRows> = Arc::new(ingester.clone());
        self.network.add(writer.incarnation, Arc::new(Holder::new(live.clone(), manifests.clone(), self.listed_bytes)));
        let peers: Arc<dyn Peers> = Arc::new(Wire(self.network.clone()));
        let views = parts.views(live, peers.clone());
        let reader = LogReader::new(objects.clone(), telemetry.clone());
        let querier = Querier::new(querier::Config::default(), Arc::new(views), self.cpu.clone(), &telemetry, registry);
        let adopter = ingester.adopter(storage);
        let adoption = Adoption::new(
            writer.incarnation,
            (members.clone(), peers),
            (objects.clone(), reader),
            manifests.clone(),
            adopter.clone(),
        );
        let covered = ingester.covered().unwrap_or_default();
        let collector = OwnCollector::new(objects, writer.incarnation, covered, Duration::ZERO, telemetry);
        let (under_way, is_suspended, runs) = (None, false, true);
        self.nodes.push(Node {
            record,
            store,
            ingester,
            querier,
            members,
            manifests,
            adopter,
            adoption,
            collector,
            under_way,
            is_suspended,
            runs,
            disk,
        });
        if self.is_shipping && self.random.random_bool(0.7) {
            self.publish_left(number).await?;
        }
        Ok(format!("node {number}"))
    }

    fn new_disk(&mut self, power: &Power) -> Option<Disk> {
        let ships = self.is_shipping && self.random.random_bool(0.8);
        ships.then(|| Disk::default().after_crash(power.clone(), &mut self.random))
    }

    /// As `src/app/earlier_logs.rs` does it on the disks of nodes that are gone, as if they were those of this one.
    pub async fn publish_left(&mut self, number: usize) -> Result<()> {
        for left in std::mem::take(&mut self.left) {
            let node = &self.nodes[number];
            let published = node.adopter.adopt_disk(left.writer, Arc::new(left.disk.clone()), FilePath::new(LOG)).await;
            match published {
                Ok(()) => {
                    let mark = Retired::new(node.manifests.sequences());
                    node.members.retire(&left.writer.incarnation, &mark).await?;
                }
                Err(Error::WriterRetired) => {}
                Err(error) => {
                    ensure!(error.kind() == model::ErrorKind::Unavailable, error);
                    self.left.push(left);
                }
            }
        }
        Ok(())
    }

    /// A process that is gone leaves its disk, after a crash or not.
    fn leave_disk(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if let Some(disk) = node.disk.take() {
            let disk = disk.after_crash(Power::default(), &mut self.random);
            self.left.push(Left { writer: node.record.writer(), disk });
        }
    }

    fn new_push(&mut self, model: &mut Model) -> (u64, Vec<u64>, Vec<u8>) {
        let trace = self.random.random_range(1..=TRACES);
        let spans = model.new_spans(self.random.random_range(1..=4));
        let bytes = request(trace, &spans, self.now_nanos);
        (trace, spans, bytes)
    }

    /// One to four spans of one trace.
    pub async fn push(&mut self, node: usize, model: &mut Model) -> Result<String> {
        if !self.is_awake(node) {
            return Ok("nobody is there".to_owned());
        }
        let (trace, spans, bytes) = self.new_push(model);
        let pushed = self.nodes[node].ingester.push(&self.tenant, bytes.into());
        let outcome = tokio::time::timeout(PATIENCE, pushed).await;
        let is_acknowledged = matches!(outcome, Ok(Ok(_)));
        let told = format!("{spans:?}: {}", if is_acknowledged { "acknowledged" } else { "refused" });
        model.pushed(trace, spans, is_acknowledged);
        self.restart_if_retired(node).await?;
        if outcome.is_err() || self.nodes[node].store.power.is_cut() {
            self.kill(node).await;
        }
        Ok(told)
    }

    pub async fn push_with_fault(&mut self, node: usize, model: &mut Model) -> Result<String> {
        let faults = [
            Fault::Refused,
            Fault::Unclear,
            Fault::Late,
            Fault::Twice,
            Fault::Conflict,
            Fault::PowerCutBefore,
            Fault::PowerCutAfter,
            Fault::PowerCutLate,
        ];
        let fault = faults[self.random.random_range(0..faults.len())];
        if self.is_faulty && self.is_awake(node) {
            self.nodes[node].store.store.faults().plan(0, fault);
        }
        let told = self.push(node, model).await?;
        if let Some(node) = self.nodes.get(node) {
            node.store.store.faults().clear();
        }
        Ok(format!("{fault:?}, {told}"))
    }

    pub async fn flush(&mut self, node: usize) -> &'static str {
        if !self.is_awake(node) {
            return "nobody is there";
        }
        match tokio::time::timeout(PATIENCE, self.nodes[node].ingester.flush()).await {
            Ok(Ok(())) => "published",
            _ => "failed",
        }
    }

    /// A commit is under way when the node dies, and may arrive whenever it likes.
    pub async fn die_in_flush(&mut self, node: usize) -> &'static str {
        if !self.is_awake(node) {
            return "nobody is there";
        }
        self.nodes[node].store.dies_in_commit.store(true, Ordering::SeqCst);
        _ = tokio::time::timeout(Duration::from_millis(100), self.nodes[node].ingester.flush()).await;
        self.kill(node).await
    }

    /// What blocks have of a log goes at once; sometimes an hour passes, and what is left of writers that are gone goes, too.
    pub async fn collect(&mut self, number: usize) -> Result<&'static str> {
        if !self.is_awake(number) {
            return Ok("nobody is there");
        }
        let node = &mut self.nodes[number];
        node.collector.look().await?;
        if self.plant == Some(Plant::NewestObjectCollected) {
            let (writer, objects) = (node.record.incarnation, node.store.clone());
            let covered = node.ingester.covered().unwrap_or_default().load(Ordering::SeqCst);
            for number in 1..=covered {
                _ = objects.delete(&paths::log_object(&writer, number)).await;
            }
        }
        if !self.random.random_bool(0.2) || self.plant.is_some() {
            return Ok("of its own log");
        }
        node.members.view().await?;
        pass(storage::members::KEPT_RETIRED).await;
        node.members.view().await?;
        let (objects, manifests) = (Arc::new(node.store.clone()), node.manifests.clone());
        let lost = LostLogs { objects, manifests, telemetry: Telemetry::unregistered() };
        for _ in 0..2 {
            lost.manifests.refresh_all().await?;
            lost.look().await?;
        }
        Ok("of all, an hour later")
    }

    pub async fn deliver_late(&mut self) -> usize {
        let late = self.bucket.take_late();
        let count = late.len();
        for put in late {
            self.bucket.deliver(put).await;
        }
        count
    }

    pub async fn close(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.runs) {
            node.store.goes_on.send_replace(true);
            node.ingester.close().await; // ends its threads
        }
    }
}
