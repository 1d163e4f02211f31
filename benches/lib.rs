//! What the benches share: data made from a seed.

pub mod everyday;
pub mod process;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use model::{BlockId, TenantId, TimeRange};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use prost::Message;
use querier::request::{MetricsRequest, SearchFilter, SearchRequest};
use querier::{Intervals, Querier};
use spans::testing::shop_request;
use spans::{SpanTable, TableBuilder};
use storage::block::{BlockCache, BlockSource, EncodedBlock, encode};
use storage::{CpuPool, Telemetry};

/// When the data begins, unix nanoseconds.
pub const START_NANOS: u64 = 1_700_000_000_000_000_000;

/// Serialized requests of about 800 spans each, twenty a second, and how many spans they hold together.
pub fn requests(seeds: Range<u64>) -> (Vec<Vec<u8>>, usize) {
    let requests: Vec<Vec<u8>> =
        seeds.map(|seed| shop_request(seed, 45, START_NANOS + seed * 50_000_000).encode_to_vec()).collect();
    let spans = requests.iter().map(|request| spans::check(request).map_or(0, |summary| summary.spans)).sum();
    (requests, spans)
}

/// A table of all spans of these requests.
pub fn table(requests: &[Vec<u8>]) -> SpanTable {
    let mut builder = TableBuilder::default();
    for request in requests {
        builder.append(request).expect("the generator makes valid requests");
    }
    builder.snapshot().expect("the table is small")
}

/// Encodes a table for the tenant of single-tenant mode.
pub fn encoded(table: &SpanTable) -> EncodedBlock {
    encode(BlockId::generate(), &TenantId::single(), table, Some(Default::default()))
        .expect("a table of the builder can be encoded")
}

/// A block of these spans in an in-memory object store.
pub fn block(table: &SpanTable) -> BlockSource {
    let (objects, block): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), encoded(table));
    let tenant = TenantId::single();
    tokio_runtime().block_on(block.put(&tenant, objects.as_ref())).expect("memory takes everything");
    BlockSource::new(
        tenant,
        block.entry(),
        objects,
        CpuPool::new(2),
        BlockCache::new(64 << 20, Telemetry::unregistered()),
    )
}

/// A runtime with the process's cores.
pub fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("the system has threads")
}

/// CPU time that this process has used so far, to a hundredth of a second; zero where the system does not say.
pub fn process_cpu() -> Duration {
    cpu_of("self").into_iter().sum()
}

/// The same without what the system did for it.
pub fn user_cpu() -> Duration {
    let [user, _] = cpu_of("self");
    user
}

/// User and system time of a process, by its number or as `self`.
fn cpu_of(process: &str) -> [Duration; 2] {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // behind the name in brackets, which may hold anything, user and system time are the 12th and 13th field
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
    [(); 2].map(|()| {
        let ticks = fields.next().and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or_default();
        Duration::from_millis(10 * ticks)
    })
}

/// How many of the newest twenty traces a search finds.
pub async fn search(querier: &Querier, query: &str) -> usize {
    let request = SearchRequest {
        filter: SearchFilter::TraceQl(query.to_owned()),
        range: TimeRange::ALL,
        limit: 20,
        spans_per_span_set: 3,
        after: None,
    };
    querier.search(TenantId::single(), request, None).await.expect("a query that is evaluated").traces.len()
}

/// How many series a metrics query has, with a dashboard's exemplars.
pub async fn metrics(querier: &Querier, query: &str, intervals: Intervals) -> usize {
    let query = traceql::parse_metrics(query).expect("a query of the language");
    let request = MetricsRequest { query, intervals, max_exemplars: 100, max_series: None };
    querier.metrics(TenantId::single(), request).await.expect("a query that is evaluated").series.len()
}
