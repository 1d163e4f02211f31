//! Several nodes in one process, over the seam between processes: messages are lost, and rows are published and their blocks
//! merged between a question and its answer. Any node that is asked finds every acknowledged span once, or says that it may lack
//! some; nodes are killed, started again, and stopped for good meanwhile.
//!
//! What a rule is for is shown by breaking it: each [`Plant`] is caught within so many seeds.
//!
//! ```sh
//! MOSSO_CLUSTER_SEEDS=200 cargo test --test e2e cluster_simulation
//! ```

mod jobs;
pub mod parts;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use fuzz::variable;
use ingester::Ingester;
use model::{TenantId, TimeRange, TraceId};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use peers::{Answer, Holder, PeerError, Peers, Question, Worker};
use prometheus_client::registry::Registry;
use prost::Message;
use querier::request::{MetricsRequest, SearchFilter, SearchRequest};
use querier::{Intervals, Querier};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use spans::SpanTable;
use storage::compaction::{self, Compactor};
use storage::ids::WriterId;
use storage::incarnation::{Incarnation, Lineage};
use storage::members::{JOINING_TIME, Members, Record, Retired};
use storage::testing::Disk;
use storage::view::{LiveRows, TableId};
use storage::{CpuPool, Telemetry, manifest};
use tokio::sync::watch;

use self::jobs::OtherNodes;
use self::parts::Parts;

const SEEDS: &str = "MOSSO_CLUSTER_SEEDS";
const DEFAULT_SEEDS: u64 = 6;
/// Every plant is caught by one of so many seeds.
const SEEDS_OF_A_PLANT: u64 = 12;
const STEPS: usize = 40;
const LISTED_BYTES: u64 = 1 << 20;
pub const TRACES: u64 = 6;
pub const NO_LIMIT: usize = 10_000;

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    /// A writer takes spans as soon as its record is put.
    NoJoiningTime,
    /// Rows that are gone to a newer manifest are taken for none.
    GoneIgnored,
    /// A writer that does not answer is taken for one without rows.
    SilenceIgnored,
    /// Traces that lie in several blocks are looked at in each of them, too.
    SplitTracesDoneTwice,
}

const PLANTS: [Plant; 4] =
    [Plant::NoJoiningTime, Plant::GoneIgnored, Plant::SilenceIgnored, Plant::SplitTracesDoneTwice];

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What lies between the nodes.
struct Network {
    reachable: Mutex<BTreeMap<Incarnation, Arc<Reachable>>>,
    /// All that were ever reachable.
    known: Mutex<Vec<Incarnation>>,
    jobs_done: Mutex<usize>,
    random: Mutex<SmallRng>,
    is_faulty: Mutex<bool>,
    plant: Option<Plant>,
}

/// A writer that others can ask.
struct Reachable {
    holder: Holder,
    worker: Worker,
    ingester: Ingester,
    manifests: Arc<manifest::Store>,
    objects: Arc<dyn ObjectStore>,
    cpu: CpuPool,
}

impl Network {
    fn happens(&self, probability: f64) -> bool {
        *locked(&self.is_faulty) && locked(&self.random).random_bool(probability)
    }

    fn find(&self, incarnation: &Incarnation) -> Result<Arc<Reachable>, PeerError> {
        let found = locked(&self.reachable).get(incarnation).cloned();
        found.ok_or_else(|| PeerError::Unreachable("nobody listens there".to_owned()))
    }

    /// What may come between a message and what it is about.
    async fn meanwhile(&self, writer: &Reachable) {
        if self.happens(0.15) {
            _ = writer.ingester.flush().await;
            if self.happens(0.5) {
                _ = writer.compact().await;
            }
        }
    }

    fn lost(&self) -> Result<(), PeerError> {
        if self.happens(0.005) { Err(PeerError::Unreachable("the message was lost".to_owned())) } else { Ok(()) }
    }
}

impl Reachable {
    async fn compact(&self) -> Result<()> {
        let config = compaction::Config {
            cycle: Duration::from_secs(30),
            window: Duration::from_secs(3600),
            quiet: Duration::ZERO,
            max_traces: 1_000,
            max_block_bytes: 1 << 30,
        };
        let (manifests, objects, cpu) = (self.manifests.clone(), self.objects.clone(), self.cpu.clone());
        let (_stop, running) = watch::channel(false);
        Compactor::new(manifests, objects, cpu, &config, Telemetry::unregistered()).round(&running).await;
        Ok(())
    }
}

#[async_trait]
impl Peers for Network {
    async fn live(&self, writer: &Record, question: &Question) -> Result<Answer, PeerError> {
        let ask = async {
            self.lost()?;
            let writer = self.find(&writer.incarnation)?;
            self.meanwhile(&writer).await;
            let mut question = question.clone();
            if self.plant == Some(Plant::GoneIgnored) {
                question.manifest = u64::MAX;
            }
            let answer = writer.holder.answer(&question)?;
            self.meanwhile(&writer).await;
            self.lost()?;
            Ok(answer)
        };
        match ask.await {
            Err(_) if self.plant == Some(Plant::SilenceIgnored) => Ok(Answer::Rows(Vec::new())),
            answer => answer,
        }
    }

    async fn table(&self, writer: &Record, tenant: &TenantId, id: TableId) -> Result<Option<SpanTable>, PeerError> {
        self.lost()?;
        let incarnation = writer.incarnation;
        let writer = self.find(&incarnation)?;
        self.meanwhile(&writer).await;
        writer.holder.table(&incarnation, tenant, id)
    }
}

/// A way to reach the network that can be shared.
struct Wire(Arc<Network>);

#[async_trait]
impl Peers for Wire {
    async fn live(&self, writer: &Record, question: &Question) -> Result<Answer, PeerError> {
        self.0.live(writer, question).await
    }

    async fn table(&self, writer: &Record, tenant: &TenantId, id: TableId) -> Result<Option<SpanTable>, PeerError> {
        self.0.table(writer, tenant, id).await
    }
}

/// A data folder, and the process on it.
struct Node {
    writer: WriterId,
    disk: Disk,
    before: Vec<Incarnation>,
    running: Option<Running>,
}

struct Running {
    incarnation: Incarnation,
    ingester: Ingester,
    querier: Querier,
    members: Arc<Members>,
    manifests: Arc<manifest::Store>,
}

struct World {
    random: SmallRng,
    network: Arc<Network>,
    objects: Arc<dyn ObjectStore>,
    cpu: CpuPool,
    nodes: Vec<Node>,
    tenant: TenantId,
    now_nanos: u64,
    /// The trace of each span that was acknowledged.
    acknowledged: BTreeMap<u64, u64>,
    /// Of all answers, those that say that they are whole.
    whole_answers: usize,
    answers: usize,
    history: Vec<String>,
}

impl World {
    fn new(seed: u64, plant: Option<Plant>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            random: SmallRng::seed_from_u64(seed),
            network: Arc::new(Network {
                reachable: Mutex::default(),
                known: Mutex::default(),
                jobs_done: Mutex::default(),
                random: Mutex::new(SmallRng::seed_from_u64(!seed)),
                is_faulty: Mutex::new(true),
                plant,
            }),
            objects: Arc::new(InMemory::new()),
            cpu: CpuPool::new(1),
            nodes: Vec::new(),
            tenant: TenantId::single(),
            now_nanos: now.as_nanos() as u64,
            acknowledged: BTreeMap::new(),
            whole_answers: 0,
            answers: 0,
            history: Vec::new(),
        }
    }

    async fn run(&mut self) -> Result<()> {
        for _ in 0..2 {
            self.add_node().await?;
        }
        for step in 0..STEPS {
            let node = self.random.random_range(0..self.nodes.len());
            let operation = match self.random.random_range(0..100) {
                0..50 => self.push(node).await.map(|()| "push"),
                50..60 => Ok("look"),
                60..68 => self.flush(node).await.map(|()| "flush"),
                68..73 => self.kill(node).await.map(|()| "kill"),
                73..95 => self.start(node).await.map(|()| "start"),
                95..98 => self.stop(node).await.map(|()| "stop"),
                _ => self.add_node().await.map(|()| "add"),
            };
            self.history.push(format!("step {step}: node {node}: {}", operation?));
            let asked = self.random.random_range(0..self.nodes.len());
            self.check(asked).await.with_context(|| format!("asked node {asked}"))?;
        }
        *locked(&self.network.is_faulty) = false;
        for node in 0..self.nodes.len() {
            self.start(node).await?;
        }
        for node in 0..self.nodes.len() {
            ensure!(self.check(node).await?, "node {node} lacks something though all run and nothing is lost");
        }
        Ok(())
    }

    async fn close(&mut self) {
        for running in self.nodes.iter_mut().filter_map(|node| node.running.take()) {
            running.ingester.close().await; // ends its threads
        }
    }

    async fn add_node(&mut self) -> Result<()> {
        let writer = WriterId(uuid::Uuid::from_u128(self.nodes.len() as u128 + 1));
        self.nodes.push(Node { writer, disk: Disk::default(), before: Vec::new(), running: None });
        self.start(self.nodes.len() - 1).await
    }

    /// As `src/app/cluster.rs` does it.
    async fn start(&mut self, number: usize) -> Result<()> {
        let node = &mut self.nodes[number];
        if node.running.is_some() {
            return Ok(());
        }
        let lineage = Arc::new(Lineage::new(node.writer, node.before.clone()));
        let incarnation = lineage.writer().incarnation;
        let parts = Parts::open(&self.objects, &self.cpu).await?;
        parts.join(&lineage, format!("node-{number}")).await?;
        if self.network.plant != Some(Plant::NoJoiningTime) {
            pass(JOINING_TIME).await;
        }
        let ingester = parts.open_ingester(lineage, &node.disk).await?;
        let live: Arc<dyn LiveRows> = Arc::new(ingester.clone());
        let holder = Holder::new(live.clone(), parts.manifests.clone(), LISTED_BYTES);
        let views = parts.views(live, Arc::new(Wire(self.network.clone())));
        let Parts { objects, cpu, cache, manifests, members } = parts;
        let (config, telemetry) = (querier::Config::default(), Telemetry::unregistered());
        let querier = Querier::new(config, Arc::new(views), cpu.clone(), &telemetry, &mut Registry::default());
        let others = OtherNodes { network: self.network.clone(), own: incarnation };
        querier.spread_over(Arc::new(others), jobs::EVERYTHING);
        let worker = Worker { querier: querier.clone(), objects: objects.clone(), cpu: cpu.clone(), cache };
        let (ingester_of, manifests_of) = (ingester.clone(), manifests.clone());
        let reachable = Reachable { holder, worker, ingester: ingester_of, manifests: manifests_of, objects, cpu };
        locked(&self.network.known).push(incarnation);
        locked(&self.network.reachable).insert(incarnation, Arc::new(reachable));
        for earlier in &node.before {
            members.retire(earlier, &Retired::new(sequences(&manifests))).await?;
        }
        node.before.push(incarnation);
        node.running = Some(Running { incarnation, ingester, querier, members, manifests });
        Ok(())
    }

    /// What is live stays in the log.
    async fn kill(&mut self, number: usize) -> Result<()> {
        if let Some(running) = self.nodes[number].running.take() {
            locked(&self.network.reachable).remove(&running.incarnation);
            running.ingester.close().await;
        }
        Ok(())
    }

    async fn stop(&mut self, number: usize) -> Result<()> {
        let Some(running) = self.nodes[number].running.take() else { return Ok(()) };
        running.ingester.refuse();
        running.ingester.publish_all(Duration::from_secs(60)).await?;
        let mark = Retired::new(sequences(&running.manifests));
        running.members.retire(&running.incarnation, &mark).await?;
        locked(&self.network.reachable).remove(&running.incarnation);
        running.ingester.close().await;
        Ok(())
    }

    async fn flush(&mut self, number: usize) -> Result<()> {
        match &self.nodes[number].running {
            Some(running) => Ok(running.ingester.flush().await?),
            None => Ok(()),
        }
    }

    /// One to four spans of one trace.
    async fn push(&mut self, number: usize) -> Result<()> {
        let Some(running) = &self.nodes[number].running else { return Ok(()) };
        let (trace, first) = (self.random.random_range(1..=TRACES), self.acknowledged.len() as u64 + 1);
        let spans: Vec<u64> = (first..first + self.random.random_range(1..=4)).collect();
        running.ingester.push(&self.tenant, request(trace, &spans, self.now_nanos).into()).await?;
        self.acknowledged.extend(spans.into_iter().map(|span| (span, trace)));
        Ok(())
    }

    /// Asks a node for everything; whether it said that its answers are whole.
    async fn check(&mut self, number: usize) -> Result<bool> {
        let Some(running) = &self.nodes[number].running else { return Ok(false) };
        let (querier, tenant) = (&running.querier.clone(), &self.tenant.clone());
        let range = around(self.now_nanos);
        let mut is_whole = true;

        let (spans, lacks) = search_everything(querier, tenant, range).await?;
        self.judge("search", &spans, lacks, |_| true)?;
        is_whole &= !lacks;
        self.count(!lacks);

        let query = traceql::parse_metrics("{ } | count_over_time()").context("the query is TraceQL")?;
        let request = MetricsRequest { query, intervals: Intervals::whole(range), max_exemplars: 0, max_series: None };
        if let Some(answer) = answered(querier.metrics(tenant, request).await)? {
            let spans: f64 =
                answer.series.iter().flat_map(|series| &series.values).filter(|value| !value.is_nan()).sum();
            let (spans, all) = (spans as usize, self.acknowledged.len());
            ensure!(spans == all || answer.partial.is_some() && spans < all, "metrics count {spans} spans of {all}");
            is_whole &= answer.partial.is_none();
            self.count(answer.partial.is_none());
        }

        for trace in 1..=TRACES {
            let Some(answer) = answered(querier.trace_by_id(tenant, trace_id(trace), None).await)? else { continue };
            let scopes = answer.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
            let ids = scopes.flat_map(|scope| &scope.spans).map(|span| span.span_id.as_slice().try_into());
            let spans = counted(ids.map(|id| u64::from_be_bytes(id.unwrap_or_default())));
            self.judge("by id", &spans, answer.lack.is_some(), |of| of == trace)?;
            is_whole &= answer.lack.is_none();
            self.count(answer.lack.is_none());
        }
        Ok(is_whole)
    }

    fn count(&mut self, is_whole: bool) {
        self.answers += 1;
        self.whole_answers += usize::from(is_whole);
    }

    fn judge(
        &self,
        asked: &str,
        found: &BTreeMap<u64, usize>,
        lacks: bool,
        is_asked: impl Fn(u64) -> bool,
    ) -> Result<()> {
        each_once(&self.acknowledged, asked, found, lacks, is_asked)
    }
}

/// Every certain span of the traces that were asked for is found once, or not at all by an answer that lacks something.
pub fn each_once(
    certain: &BTreeMap<u64, u64>,
    asked: &str,
    found: &BTreeMap<u64, usize>,
    lacks: bool,
    is_asked: impl Fn(u64) -> bool,
) -> Result<()> {
    for (span, _) in certain.iter().filter(|(_, trace)| is_asked(**trace)) {
        let times = found.get(span).copied().unwrap_or_default();
        ensure!(times == 1 || times == 0 && lacks, "{asked}: span {span} was found {times} times");
    }
    Ok(())
}

/// When all spans of a simulation are that starts now.
pub fn around(now_nanos: u64) -> TimeRange {
    TimeRange::new(now_nanos - 1_000_000_000, now_nanos + 3_600_000_000_000)
}

/// How often a search for everything finds each span, and whether its answer may lack some.
pub async fn search_everything(
    querier: &Querier,
    tenant: &TenantId,
    range: TimeRange,
) -> Result<(BTreeMap<u64, usize>, bool)> {
    let filter = SearchFilter::TraceQl("{ }".to_owned());
    let request = SearchRequest { filter, range, limit: NO_LIMIT, spans_per_span_set: NO_LIMIT, after: None };
    let found = answered(querier.search(tenant, request, None).await)?;
    let lacks = found.as_ref().is_none_or(|found| found.lack.is_some());
    let found = found.unwrap_or_default();
    let spans = found.traces.iter().flat_map(|trace| &trace.span_sets).flat_map(|set| &set.spans);
    Ok((counted(spans.map(|span| u64::from_be_bytes(span.span_id.0))), lacks))
}

/// `None` when there is no answer for a reason that passes.
pub fn answered<T>(answer: Result<T, querier::Error>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind() == model::ErrorKind::Unavailable => Ok(None),
        Err(error) => bail!(error),
    }
}

pub fn counted(spans: impl Iterator<Item = u64>) -> BTreeMap<u64, usize> {
    let mut counted = BTreeMap::new();
    spans.for_each(|span| *counted.entry(span).or_default() += 1);
    counted
}

fn sequences(manifests: &manifest::Store) -> Vec<(TenantId, u64)> {
    let known = |tenant: TenantId| Some((tenant.clone(), manifests.snapshot(&tenant)?.sequence));
    manifests.tenants().into_iter().filter_map(known).collect()
}

/// Lets time jump.
pub async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

pub fn trace_id(trace: u64) -> TraceId {
    TraceId(u128::from(trace).to_be_bytes())
}

pub fn request(trace: u64, spans: &[u64], now_nanos: u64) -> Vec<u8> {
    let span = |number: &u64| Span {
        trace_id: trace_id(trace).0.to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        name: format!("span {number}"),
        start_time_unix_nano: now_nanos + number,
        end_time_unix_nano: now_nanos + number + 1_000,
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans: spans.iter().map(span).collect(), ..Default::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] }
        .encode_to_vec()
}

/// What happened in a run.
#[derive(Default)]
struct Counts {
    whole_answers: usize,
    answers: usize,
    jobs_done: usize,
}

/// What happened; or what is wrong in a run, behind all that was done before.
fn run(seed: u64, plant: Option<Plant>) -> Result<Counts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let mut world = World::new(seed, plant);
        let outcome = world.run().await;
        world.close().await;
        let jobs_done = *locked(&world.network.jobs_done);
        let (whole_answers, answers) = (world.whole_answers, world.answers);
        let outcome = outcome.map(|()| Counts { whole_answers, answers, jobs_done });
        outcome.with_context(|| world.history.join("\n")).with_context(|| format!("seed {seed}"))
    })
}

#[test]
fn any_node_finds_every_span_once_or_says_that_it_may_not() {
    let seeds = variable(SEEDS).unwrap_or(DEFAULT_SEEDS);
    let (mut whole, mut all, mut jobs, mut failed) = (0, 0, 0, Vec::new());
    for seed in 0..seeds {
        match run(seed, None) {
            Ok(run) => (whole, all, jobs) = (whole + run.whole_answers, all + run.answers, jobs + run.jobs_done),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(whole > all / 3 && whole < all, "{whole} of {all} answers were whole");
    assert!(jobs > all / 10, "{jobs} jobs of {all} answers were done by other nodes");
    println!("{whole} of {all} answers were whole, the others said that they were not; {jobs} jobs of other nodes");
}

#[test]
fn a_rule_that_is_broken_is_noticed() {
    let is_noticed = |error: anyhow::Error| {
        let what = error.root_cause().to_string();
        what.contains("was found 0 times") || what.contains("metrics count")
    };
    let is_caught = |plant| (0..SEEDS_OF_A_PLANT).any(|seed| run(seed, Some(plant)).is_err_and(is_noticed));
    let missed: Vec<Plant> = PLANTS.into_iter().filter(|plant| !is_caught(*plant)).collect();
    assert_eq!(missed, []);
}
