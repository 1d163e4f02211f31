//! Jobs over a real connection.

use std::net::SocketAddr;

use model::{BlockId, TenantId, TimeRange};
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use prometheus_client::registry::Registry;
use querier::jobs::SpreadPolicy;
use querier::request::{MetricsRequest, SearchFilter, SearchRequest};
use querier::{Config, Intervals};
use spans::TableBuilder;
use spans::testing::shop_request;
use storage::Telemetry;
use storage::block;
use storage::view::TenantView;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::server::{JOBS_AT_ONCE, Server};

const START_NANOS: u64 = 1_700_000_000_000_000_000;
const BLOCKS: u64 = 24;
/// How soon the work of a query that nobody waits for ends everywhere.
const ENDS_WITHIN: Duration = Duration::from_millis(100);

/// A store with blocks, and a query's view of them.
async fn stored() -> (Arc<InMemory>, Vec<BlockEntry>) {
    let (objects, mut entries) = (Arc::new(InMemory::new()), Vec::new());
    for number in 0..BLOCKS {
        let mut builder = TableBuilder::default();
        let request = shop_request(number + 1, 20, START_NANOS + number * 1_000_000_000);
        builder.append(&request.encode_to_vec()).unwrap();
        let table = builder.snapshot().unwrap();
        let block = block::encode(BlockId::generate(), &TenantId::single(), &table, Some(Arc::default())).unwrap();
        block.put(&TenantId::single(), objects.as_ref()).await.unwrap();
        entries.push(block.entry());
    }
    (objects, entries)
}

/// A querier with what it is made of.
struct Parts {
    querier: Querier,
    cpu: CpuPool,
    cache: BlockCache,
    registry: Registry,
}

fn querier(objects: Arc<dyn ObjectStore>, entries: &[BlockEntry]) -> Parts {
    let (cpu, cache) = (CpuPool::new(2), BlockCache::new(8 << 20, Telemetry::unregistered()));
    let source = |entry: &BlockEntry| {
        let block = BlockSource::new(TenantId::single(), entry.clone(), objects.clone(), cpu.clone(), cache.clone());
        Arc::new(block) as Arc<dyn Source>
    };
    let view = Arc::new(TenantView::of(entries.iter().map(source).collect()));
    let (telemetry, mut registry) = (Telemetry::unregistered(), Registry::default());
    let querier = Querier::new(Config::default(), view, cpu.clone(), &telemetry, &mut registry);
    Parts { querier, cpu, cache, registry }
}

/// A node that does jobs.
struct Serving {
    server: Server,
    stop: CancellationToken,
    registry: Registry,
}

impl Serving {
    fn jobs_done(&self) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("mosso_query_jobs_done_for_others_total "));
        line.unwrap().parse().unwrap()
    }
}

fn node(number: u128, address: SocketAddr, build: &str) -> Node {
    let id = NodeId(Uuid::from_u128(number));
    Node::new(id, address.to_string(), String::new(), build, JOB_VERSION, &[Role::Queries])
}

/// A node that does jobs over this store, and is in its list of nodes.
async fn serve(number: u128, objects: Arc<dyn ObjectStore>, build: &str) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = node(number, listener.local_addr().unwrap(), build);
    Nodes::new(objects.clone()).join(&node).await.unwrap();
    let Parts { querier, cpu, cache, registry } = querier(objects.clone(), &[]);
    let worker = Worker { querier, objects, cpu: cpu.clone(), cache };
    let (server, stop) = (Server::new(node.id, cpu).with_worker(worker), CancellationToken::new());
    tokio::spawn(server.clone().serve(listener, stop.clone()));
    Serving { server, stop, registry }
}

fn asker(objects: Arc<dyn ObjectStore>, entries: &[BlockEntry]) -> Querier {
    let own = Arc::new(node(99, SocketAddr::from(([127, 0, 0, 1], 1)), "1"));
    let Parts { querier, cpu, .. } = querier(objects.clone(), entries);
    let peers = Arc::new(GrpcPeers::new(Duration::from_secs(3), cpu, crate::Telemetry::default()));
    let workers = ClusterWorkers::new(own, Arc::new(Nodes::new(objects)), peers);
    querier.spread_over(Arc::new(workers), SpreadPolicy { least_bytes: 0, newest_here: 0 });
    querier
}

fn metrics() -> MetricsRequest {
    let range = TimeRange::new(START_NANOS, START_NANOS + 60_000_000_000);
    let query = traceql::parse_metrics("{ } | avg_over_time(duration) by (resource.service.name)").unwrap();
    MetricsRequest { query, intervals: Intervals::whole(range), max_exemplars: 10, max_series: None }
}

fn search() -> SearchRequest {
    let filter = SearchFilter::TraceQl("{ duration > 1ms } | select(resource.service.name)".to_owned());
    SearchRequest { filter, range: TimeRange::ALL, limit: 300, spans_per_span_set: 3, after: None }
}

async fn answers(querier: &Querier) -> (String, String) {
    let measured = querier.metrics(TenantId::single(), metrics()).await.unwrap();
    let found = querier.search(TenantId::single(), search(), None).await.unwrap();
    (format!("{:?}", measured.series), format!("{:?}", found.traces))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_the_same_build_do_jobs_and_the_answer_is_that_of_one() {
    let (objects, entries) = stored().await;
    let alone = answers(&querier(objects.clone(), &entries).querier).await;
    let (first, second) = (serve(1, objects.clone(), "1").await, serve(2, objects.clone(), "1").await);
    let other = serve(3, objects.clone(), "2").await;
    let spread = asker(objects.clone(), &entries);
    assert_eq!(answers(&spread).await, alone);
    assert_eq!(other.jobs_done(), 0, "a node of another build is given none");
    assert!(first.jobs_done() > 0 && second.jobs_done() > 0);
    // one that is gone, though it is in the list
    first.stop.cancel();
    assert_eq!(answers(&spread).await, alone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_dropped_ends_elsewhere_too() {
    let (objects, entries) = stored().await;
    let slow = ThrottledStore::new(objects.clone(), ThrottleConfig::default());
    let slow = Arc::new(slow);
    let Serving { server, .. } = serve(1, slow.clone(), "1").await;
    slow.config_mut(|config| config.wait_get_per_call = Duration::from_secs(3_600));
    let querier = asker(objects, &entries);
    let query = tokio::spawn(async move { querier.metrics(TenantId::single(), metrics()).await });
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.jobs_under_way() == 0 {
        assert!(Instant::now() < deadline, "no job came");
        tokio::task::yield_now().await;
    }
    query.abort();
    let dropped = Instant::now();
    while server.jobs_under_way() > 0 {
        assert!(dropped.elapsed() < ENDS_WITHIN, "{} of {JOBS_AT_ONCE} go on", server.jobs_under_way());
        tokio::task::yield_now().await;
    }
}
