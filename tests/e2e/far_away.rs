//! A store whose every call takes 20 ms, and nothing cached: how often a query waits for it, one call after another.
//!
//! That is the most calls of which none began before another had ended. It does not depend on how fast the machine is.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use model::{BlockId, TenantId, TimeRange, TraceId};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prometheus_client::registry::Registry;
use prost::Message;
use querier::request::{SearchFilter, SearchRequest};
use querier::{Config, Querier};
use spans::TableBuilder;
use storage::block::{self, BlockCache, BlockSource, EncodedBlock};
use storage::manifest::{Change, Manifest, Store};
use storage::trace_mapper::TraceMapper;
use storage::view::TenantView;
use storage::{CpuPool, Source, Telemetry};

const CALL: Duration = Duration::from_millis(20);
const BLOCKS: u64 = 1_000;
const START_NANOS: u64 = 1_700_000_000_000_000_000;
const MINUTE_NANOS: u64 = 60_000_000_000;
/// The block, of all, whose traces are looked for.
const SOUGHT: u64 = 617;

struct Stored {
    far: Arc<Far>,
    manifest: Arc<Manifest>,
}

/// A store that is far away to read from.
#[derive(Debug)]
struct Far {
    near: Arc<dyn ObjectStore>,
    /// When each call began and ended.
    calls: Mutex<Vec<(Instant, Instant)>>,
}

impl Far {
    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let start = Instant::now();
        tokio::time::sleep(CALL).await;
        let result = call.await;
        self.calls.lock().expect("no call panics").push((start, Instant::now()));
        result
    }

    /// The most calls since this was asked last of which none began before another had ended.
    fn calls_in_a_row(&self) -> usize {
        let mut calls = std::mem::take(&mut *self.calls.lock().expect("no call panics"));
        calls.sort_by_key(|(_, end)| *end);
        let (mut in_a_row, mut last_end) = (0, None);
        for (start, end) in calls {
            if last_end.is_none_or(|last_end| start >= last_end) {
                (in_a_row, last_end) = (in_a_row + 1, Some(end));
            }
        }
        in_a_row
    }
}

impl fmt::Display for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("far")
    }
}

#[async_trait]
impl ObjectStore for Far {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.near.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.near.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.call(self.near.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.call(self.near.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.near.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.near.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.near.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.near.copy_opts(from, to, options).await
    }
}

fn trace_id(block: u64, number: u64) -> TraceId {
    let spread = (block * 1_000 + number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    TraceId(((u128::from(spread) << 64) | u128::from(block * 1_000 + number + 1)).to_be_bytes())
}

fn text(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value)) });
    KeyValue { key: key.to_owned(), value, ..Default::default() }
}

/// One minute of traces, of two spans each.
fn encoded(block: u64) -> EncodedBlock {
    let span = |trace: u64, id: u64| {
        let start = START_NANOS + block * MINUTE_NANOS + trace * 1_000_000_000;
        Span {
            trace_id: trace_id(block, trace).0.to_vec(),
            span_id: id.to_be_bytes().to_vec(),
            parent_span_id: if id == 1 { Vec::new() } else { 1_u64.to_be_bytes().to_vec() },
            name: "op".to_owned(),
            start_time_unix_nano: start,
            end_time_unix_nano: start + 1_000,
            attributes: vec![text("user.id", format!("user-{block}-{trace}"))],
            ..Default::default()
        }
    };
    let spans = (0..40).flat_map(|trace| [span(trace, 1), span(trace, 2)]).collect();
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    let mut builder = TableBuilder::default();
    builder
        .append(&ExportTraceServiceRequest { resource_spans }.encode_to_vec())
        .expect("a store in memory and whole spans");
    let table = builder.snapshot().expect("a store in memory and whole spans");
    block::encode(BlockId::generate(), &TenantId::single(), &table, Some(Arc::default()))
        .expect("a store in memory and whole spans")
}

async fn stored() -> Stored {
    let (objects, tenant): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), TenantId::single());
    let manifests = Arc::new(
        Store::open(objects.clone(), Telemetry::unregistered()).await.expect("a store in memory and whole spans"),
    );
    let mut add = Vec::new();
    for number in 0..BLOCKS {
        let block = encoded(number);
        block.put(&tenant, objects.as_ref()).await.expect("a store in memory and whole spans");
        add.push(block.entry());
    }
    manifests
        .commit(&tenant, |_| Some(Change { add: add.clone(), ..Change::default() }))
        .await
        .expect("a store in memory and whole spans");
    let (cache, telemetry) = (BlockCache::new(0, Telemetry::unregistered()), Telemetry::unregistered());
    TraceMapper::new(manifests.clone(), objects.clone(), CpuPool::new(2), cache, telemetry).round().await;
    let manifest = manifests.load(&tenant).await.expect("a store in memory and whole spans");
    Stored { far: Arc::new(Far { near: objects, calls: Mutex::default() }), manifest }
}

/// A process that has just begun, and knows the manifest.
fn querier(stored: &Stored) -> Querier {
    let cpu = CpuPool::new(2);
    let cache = BlockCache::new(96 << 20, Telemetry::unregistered());
    let objects: Arc<dyn ObjectStore> = stored.far.clone();
    let blocks = BlockSource::all(&TenantId::single(), &stored.manifest, &objects, &cpu, &cache);
    let sources = blocks.into_iter().map(|block| Arc::new(block) as Arc<dyn Source>).collect();
    let (telemetry, view) = (Telemetry::unregistered(), Arc::new(TenantView::of(sources)));
    Querier::new(Config::default(), view, cpu, &telemetry, &mut Registry::default())
}

async fn search(querier: &Querier, query: &str) -> usize {
    let range = TimeRange::new(START_NANOS, START_NANOS + BLOCKS * MINUTE_NANOS);
    let request = SearchRequest {
        filter: SearchFilter::TraceQl(query.to_owned()),
        range,
        limit: 20,
        after: None,
        spans_per_span_set: 3,
    };
    querier.search(TenantId::single(), request, None).await.expect("a store in memory and whole spans").traces.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_wait_for_few_calls_of_a_far_store_one_after_another() {
    let stored = stored().await;
    let spans_of = async |querier: Querier| {
        let found = querier.trace_by_id(TenantId::single(), trace_id(SOUGHT, 7), None).await.unwrap();
        found.resource_spans.iter().flat_map(|of| &of.scope_spans).map(|of| of.spans.len()).sum::<usize>()
    };
    assert_eq!(spans_of(querier(&stored)).await, 2);
    let by_id = stored.far.calls_in_a_row();
    assert_eq!(search(&querier(&stored), "{ }").await, 20);
    let newest = stored.far.calls_in_a_row();
    assert_eq!(search(&querier(&stored), &format!("{{ span.user.id = `user-{SOUGHT}-7` }}")).await, 1);
    let needle = stored.far.calls_in_a_row();

    println!("trace by id {by_id} of 5, newest twenty {newest} of 10, one value in {BLOCKS} blocks {needle} of 100");
    assert!(by_id <= 5 && newest <= 10 && needle <= 100, "{by_id}, {newest}, {needle}");
}
