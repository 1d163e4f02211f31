//! The real wire in a simulated network: gRPC whose packets are late, held back and lost, between nodes of which some end in the
//! middle of an answer. The node that is asked finds every acknowledged span once, or says that it may lack some; and all of
//! them, once the network is whole again.
//!
//! ```sh
//! MOSSO_WIRE_SEEDS=100 cargo test --test e2e cluster_wire
//! ```

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail, ensure};
use async_trait::async_trait;
use futures::stream;
use fuzz::variable;
use ingester::Ingester;
use model::TenantId;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use peers::{Dial, GrpcPeers, Holder, Server, Socket};
use prometheus_client::registry::Registry;
use querier::Querier;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use storage::ids::{NodeId, WriterId};
use storage::incarnation::Lineage;
use storage::members::JOINING_TIME;
use storage::testing::Disk;
use storage::view::LiveRows;
use storage::{CpuPool, Telemetry};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use turmoil::Sim;
use turmoil::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::cluster_simulation::parts::Parts;
use crate::cluster_simulation::{TRACES, around, each_once, locked, request, search_everything};

const SEEDS: &str = "MOSSO_WIRE_SEEDS";
const DEFAULT_SEEDS: u64 = 4;
const STEPS: usize = 100;
const BETWEEN_STEPS: Duration = Duration::from_millis(500);
const PORT: u16 = 4319;
/// Where the node runs that is asked. It takes spans, too.
const ASKED: &str = "asked";
const OTHERS: [&str; 3] = ["one", "two", "three"];
/// Of one call.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is asked, a second apart, until an answer is whole again.
const MOST_ASKED: usize = 10;
/// Simulated time goes by in steps of it.
const TICK: Duration = Duration::from_millis(10);
const LISTED_BYTES: u64 = 1 << 20;

/// Connections of the simulated network.
struct SimulatedNetwork;

#[async_trait]
impl Dial for SimulatedNetwork {
    async fn dial(&self, address: &str) -> io::Result<Box<dyn Socket>> {
        Ok(Box::new(TcpStream::connect(address).await?))
    }
}

/// The rows of a writer, once it runs.
type Opened = watch::Sender<Option<Holder>>;

/// Listens for as long as its host runs.
async fn serve(mut opened: watch::Receiver<Option<Holder>>, cpu: CpuPool) -> turmoil::Result {
    let holder = opened.wait_for(Option::is_some).await?.clone().ok_or("a writer")?;
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let accept = |listener: TcpListener| async {
        let accepted = listener.accept().await.map(|(stream, _)| Box::new(stream) as Box<dyn Socket>);
        Some((accepted, listener))
    };
    let server = Server::new(NodeId::generate(), cpu).with_holder(holder);
    server.serve_over(stream::unfold(listener, accept), CancellationToken::new()).await;
    Ok(())
}

/// The nodes, and what they have acknowledged.
struct Cluster {
    random: SmallRng,
    tenant: TenantId,
    now_nanos: u64,
    /// The first is that of the node that is asked.
    ingesters: Vec<Ingester>,
    querier: Querier,
    /// The trace of each span.
    acknowledged: BTreeMap<u64, u64>,
    whole_answers: usize,
    answers: usize,
}

impl Cluster {
    async fn start(seed: u64, cpu: &CpuPool, opened: &[Opened]) -> Result<Self> {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut started = Vec::new();
        for (number, host) in [ASKED].iter().chain(&OTHERS).enumerate() {
            let parts = Parts::open(&objects, cpu).await?;
            let lineage = Arc::new(Lineage::new(WriterId(Uuid::from_u128(number as u128 + 1)), Vec::new()));
            parts.join(&lineage, format!("{host}:{PORT}")).await?;
            let ingester = parts.open_ingester(lineage, &Disk::default()).await?;
            if let Some(opened) = number.checked_sub(1).map(|other| &opened[other]) {
                let holder = Holder::new(Arc::new(ingester.clone()), parts.manifests.clone(), LISTED_BYTES);
                opened.send_replace(Some(holder));
            }
            started.push((parts, ingester));
        }
        tokio::time::sleep(JOINING_TIME).await;
        let (parts, own) = &started[0];
        let peers = GrpcPeers::new(PATIENCE, cpu.clone(), peers::Telemetry::default()).over(Arc::new(SimulatedNetwork));
        let own: Arc<dyn LiveRows> = Arc::new(own.clone());
        let views = Arc::new(parts.views(own, Arc::new(peers)));
        let (config, telemetry) = (querier::Config::default(), Telemetry::unregistered());
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(Self {
            random: SmallRng::seed_from_u64(seed),
            tenant: TenantId::single(),
            now_nanos: now.as_nanos() as u64,
            querier: Querier::new(config, views, cpu.clone(), &telemetry, &mut Registry::default()),
            ingesters: started.into_iter().map(|(_, ingester)| ingester).collect(),
            acknowledged: BTreeMap::new(),
            whole_answers: 0,
            answers: 0,
        })
    }

    async fn run(&mut self, ended: &Mutex<Vec<&'static str>>) -> Result<()> {
        for step in 0..STEPS {
            let other = OTHERS[self.random.random_range(0..OTHERS.len())];
            match self.random.random_range(0..100) {
                0..45 => self.push().await?,
                45..55 => self.flush().await?,
                55..59 => turmoil::partition(ASKED, other),
                59..61 => turmoil::partition_oneway(ASKED, other),
                61..63 => turmoil::partition_oneway(other, ASKED),
                63..67 => turmoil::hold(ASKED, other),
                67..70 => locked(ended).push(other),
                _ => mend(other),
            }
            self.ask().await.with_context(|| format!("step {step}"))?;
            tokio::time::sleep(BETWEEN_STEPS).await;
        }
        OTHERS.into_iter().for_each(mend);
        for _ in 0..MOST_ASKED {
            if self.ask().await? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        bail!("no answer is whole though the network is")
    }

    /// One to four spans of one trace, to any node.
    async fn push(&mut self) -> Result<()> {
        let (trace, first) = (self.random.random_range(1..=TRACES), self.acknowledged.len() as u64 + 1);
        let spans: Vec<u64> = (first..first + self.random.random_range(1..=4)).collect();
        let node = self.random.random_range(0..self.ingesters.len());
        self.ingesters[node].push(&self.tenant, request(trace, &spans, self.now_nanos).into()).await?;
        self.acknowledged.extend(spans.into_iter().map(|span| (span, trace)));
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let node = self.random.random_range(0..self.ingesters.len());
        Ok(self.ingesters[node].flush().await?)
    }

    /// Whether the answer says that it is whole.
    async fn ask(&mut self) -> Result<bool> {
        let (spans, lacks) = search_everything(&self.querier, &self.tenant, around(self.now_nanos)).await?;
        each_once(&self.acknowledged, "search", &spans, lacks, |_| true)?;
        self.answers += 1;
        self.whole_answers += usize::from(!lacks);
        Ok(!lacks)
    }

    async fn close(self) {
        for ingester in self.ingesters {
            ingester.close().await; // ends its threads
        }
    }
}

fn mend(other: &'static str) {
    turmoil::release(ASKED, other);
    turmoil::repair(ASKED, other);
}

/// How many answers were whole, and how many there were.
fn run(seed: u64) -> Result<(usize, usize)> {
    let mut network = turmoil::Builder::new();
    network.rng_seed(seed).tick_duration(TICK).simulation_duration(Duration::from_secs(100_000)).tcp_capacity(1 << 16);
    network.min_message_latency(Duration::from_millis(1)).max_message_latency(Duration::from_millis(200));
    let (mut sim, cpu) = (network.build(), CpuPool::new(1));
    let opened: Vec<Opened> = OTHERS.iter().map(|_| watch::Sender::new(None)).collect();
    for (host, opened) in OTHERS.iter().zip(&opened) {
        let (opened, cpu) = (opened.subscribe(), cpu.clone());
        sim.host(*host, move || serve(opened.clone(), cpu.clone()));
    }
    let (ended, counts) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new((0, 0))));
    let (ending, counting) = (ended.clone(), counts.clone());
    let cpu_of_asked = cpu.clone();
    sim.client(ASKED, async move {
        let mut cluster = Cluster::start(seed, &cpu_of_asked, &opened).await?;
        let outcome = cluster.run(&ending).await;
        *locked(&counting) = (cluster.whole_answers, cluster.answers);
        cluster.close().await;
        outcome.map_err(Into::into)
    });
    run_hosts(&mut sim, &cpu, &ended).map_err(|error| anyhow!("seed {seed}: {error}"))?;
    let counts = *locked(&counts);
    ensure!(counts.1 > 0, "nothing was asked");
    Ok(counts)
}

/// Until the node that is asked is done. Hosts that end begin anew at once.
///
/// Simulated time stands still while the pool works: its threads are real, and on a busy machine every call would be late.
fn run_hosts(sim: &mut Sim<'_>, cpu: &CpuPool, ended: &Mutex<Vec<&'static str>>) -> turmoil::Result {
    while !sim.step()? {
        let (rest, rests) = mpsc::channel();
        cpu.on_each_thread(move || _ = rest.send(()));
        rests.recv()?;
        for host in locked(ended).drain(..) {
            sim.bounce(host);
        }
    }
    Ok(())
}

#[test]
fn answers_over_a_network_that_fails_have_every_span_once_or_say_that_they_may_not() {
    let (mut whole, mut all, mut failed) = (0, 0, Vec::new());
    for seed in 0..variable(SEEDS).unwrap_or(DEFAULT_SEEDS) {
        match run(seed) {
            Ok((of_whole, of_all)) => (whole, all) = (whole + of_whole, all + of_all),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(whole > all / 10 && whole < all, "{whole} of {all} answers were whole");
    println!("{whole} of {all} answers were whole, the others said that they were not");
}
