//! Traces for tests: OTLP messages, tables and sources from short descriptions.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use async_trait::async_trait;
use model::{BlockId, SpanId, TenantId, TimeRange, TraceId};
use object_store::memory::InMemory;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prometheus_client::registry::Registry;
use prost::Message;
use spans::{SpanTable, TableBuilder};
use storage::block::{self, BlockCache, BlockSource, Continued};
use storage::index::{IndexBuilder, Limits};
use storage::memory::MemorySource;
use storage::paths::BlockFile;
use storage::source::{Dimensions, Fetched, Projection, RowGroup, Source, SourceWrapper, TracePart};
use storage::view::TenantView;
use storage::{CpuPool, Telemetry, TraceIds};
use tokio::sync::Semaphore;

use crate::{Config, Querier};

pub(crate) const MS: u64 = 1_000_000;
/// When traces of these tests begin, unless they say otherwise.
pub(crate) const START: u64 = 1_700_000_000_000_000_000;

fn any(value: any_value::Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

pub(crate) fn text(text: &str) -> AnyValue {
    any(any_value::Value::StringValue(text.to_owned()))
}

pub(crate) fn int(number: i64) -> AnyValue {
    any(any_value::Value::IntValue(number))
}

pub(crate) fn float(number: f64) -> AnyValue {
    any(any_value::Value::DoubleValue(number))
}

pub(crate) fn bool(value: bool) -> AnyValue {
    any(any_value::Value::BoolValue(value))
}

pub(crate) fn array(values: impl IntoIterator<Item = AnyValue>) -> AnyValue {
    any(any_value::Value::ArrayValue(ArrayValue { values: values.into_iter().collect() }))
}

pub(crate) fn attributes(pairs: &[(&str, AnyValue)]) -> Vec<KeyValue> {
    pairs
        .iter()
        .map(|(key, value)| KeyValue { key: (*key).to_owned(), value: Some(value.clone()), ..Default::default() })
        .collect()
}

pub(crate) fn trace_id(number: u8) -> TraceId {
    TraceId([number; 16])
}

pub(crate) fn span_id(number: u64) -> SpanId {
    SpanId(number.to_be_bytes())
}

/// A span with what most tests need; the rest is set on the message.
pub(crate) fn span(trace: u8, id: u64, parent: u64, name: &str, start_ms: u64, duration_ms: u64) -> Span {
    let start_nanos = START + start_ms * MS;
    Span {
        trace_id: trace_id(trace).0.to_vec(),
        span_id: span_id(id).0.to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { span_id(parent).0.to_vec() },
        name: name.to_owned(),
        start_time_unix_nano: start_nanos,
        end_time_unix_nano: start_nanos + duration_ms * MS,
        ..Default::default()
    }
}

pub(crate) fn event(name: &str, at_nanos: u64, pairs: &[(&str, AnyValue)]) -> span::Event {
    span::Event { name: name.to_owned(), time_unix_nano: at_nanos, attributes: attributes(pairs), ..Default::default() }
}

pub(crate) fn status(code: i32, message: &str) -> Option<Status> {
    Some(Status { code, message: message.to_owned() })
}

/// Spans of a service.
pub(crate) fn service(name: &str, spans: Vec<Span>) -> ResourceSpans {
    resource(&[("service.name", text(name))], "", spans)
}

pub(crate) fn resource(pairs: &[(&str, AnyValue)], scope: &str, spans: Vec<Span>) -> ResourceSpans {
    let resource = Resource { attributes: attributes(pairs), ..Default::default() };
    let scope = (!scope.is_empty()).then(|| InstrumentationScope { name: scope.to_owned(), ..Default::default() });
    ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![ScopeSpans { scope, spans, ..Default::default() }],
        ..Default::default()
    }
}

pub(crate) fn table(resource_spans: Vec<ResourceSpans>) -> SpanTable {
    let mut builder = TableBuilder::default();
    builder.append(&ExportTraceServiceRequest { resource_spans }.encode_to_vec()).unwrap();
    builder.snapshot().unwrap()
}

pub(crate) fn source(resource_spans: Vec<ResourceSpans>) -> Arc<dyn Source> {
    Arc::new(MemorySource::new(BlockId::generate(), table(resource_spans)).unwrap())
}

/// So that even a few spans make several pages, with hashes and buckets.
pub(crate) const SMALL_PAGES: Limits = Limits {
    page_spans: 1,
    least_hashed_texts: 2,
    most_listed_texts: 4,
    most_listed_numbers: 2,
    most_hashes: usize::MAX,
    most_fields: 8_192,
};

/// The table as a block in memory, with an index under these limits.
pub(crate) async fn indexed_block(table: &SpanTable, limits: Limits) -> BlockSource {
    block_with(table, limits, None).await
}

/// A block that lists these traces as those that older blocks have, too.
pub(crate) async fn listing_block(table: &SpanTable, continued: &[TraceId]) -> BlockSource {
    let continued = continued.iter().copied().collect();
    block_with(table, Limits::default(), Some(Arc::new(continued))).await
}

async fn block_with(table: &SpanTable, limits: Limits, continued: Continued) -> BlockSource {
    let (objects, tenant) = (Arc::new(InMemory::new()), TenantId::single());
    let mut block = block::encode(BlockId::generate(), &tenant, table, continued).unwrap();
    let mut index = IndexBuilder::new(limits);
    index.add(table).unwrap();
    let index = index.finish().unwrap();
    let is_index = |name: &str| name == BlockFile::Index.name();
    block.meta.files.iter_mut().filter(|file| is_index(&file.name)).for_each(|file| file.bytes = index.len() as u64);
    block.files.retain(|(file, _)| *file != BlockFile::Index);
    block.files.push((BlockFile::Index, index));
    block.put(&tenant, objects.as_ref()).await.unwrap();
    let cache = BlockCache::new(1 << 20, Telemetry::unregistered());
    BlockSource::new(tenant, block.entry(), objects, CpuPool::new(1), cache)
}

pub(crate) fn querier(sources: Vec<Arc<dyn Source>>) -> Querier {
    querier_with(Config::default(), sources)
}

pub(crate) fn querier_with(config: Config, sources: Vec<Arc<dyn Source>>) -> Querier {
    let view = Arc::new(TenantView::of(sources));
    Querier::new(config, view, CpuPool::new(2), &storage::Telemetry::unregistered(), &mut Registry::default())
}

/// A source whose small tables cannot be read.
pub(crate) struct Damaged;

#[async_trait]
impl Source for Damaged {
    fn block_id(&self) -> BlockId {
        "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap()
    }

    fn is_live(&self) -> bool {
        false
    }

    fn time_range(&self) -> TimeRange {
        TimeRange::ALL
    }

    fn span_count(&self) -> usize {
        0
    }

    fn size_bytes(&self) -> u64 {
        0
    }

    async fn dimensions(&self) -> Result<Arc<Dimensions>, storage::Error> {
        Err(damage())
    }

    async fn traces_by_hash(&self) -> Result<Arc<TraceIds>, storage::Error> {
        Err(damage())
    }

    async fn find_traces(&self, _: &[TraceId]) -> Result<Vec<TracePart>, storage::Error> {
        Err(damage())
    }

    async fn services(&self, _: usize) -> Result<ArrayRef, storage::Error> {
        Err(damage())
    }

    async fn traces(&self, _: usize) -> Result<RecordBatch, storage::Error> {
        Err(damage())
    }

    async fn fetch(&self, _: usize, _: &[std::ops::Range<usize>], _: &Projection) -> Result<Fetched, storage::Error> {
        Err(damage())
    }
}

fn damage() -> storage::Error {
    storage::Error::BlockDamaged { key: "spans.parquet".to_owned(), reason: "test".to_owned() }
}

/// A source of two row groups, half of the traces each, of which the second cannot be read.
pub(crate) struct HalfDamaged {
    readable: MemorySource,
    dimensions: Dimensions,
    time_range: TimeRange,
}

impl HalfDamaged {
    pub fn of(table: &SpanTable) -> Self {
        let half = table.trace_count() / 2;
        let readable = table.slice_traces(0..half).unwrap();
        let (spans, traces, time_range) = (readable.span_count(), half, table.time_range().unwrap().unwrap());
        let (last_start_nanos, most_trace_spans) = (time_range.end_nanos, table.span_count());
        let group = |spans, traces| RowGroup { spans, traces, time_range, last_start_nanos, most_trace_spans };
        let row_groups =
            vec![group(0..spans, 0..traces), group(spans..table.span_count(), traces..table.trace_count())];
        let (resources, scopes) = (table.resources.clone(), table.scopes.clone());
        let keys = spans::attribute_keys(table).unwrap();
        let readable = MemorySource::new(BlockId::generate(), readable).unwrap();
        Self { readable, dimensions: Dimensions { resources, scopes, row_groups, keys }, time_range }
    }
}

#[async_trait]
impl Source for HalfDamaged {
    fn block_id(&self) -> BlockId {
        self.readable.block_id()
    }

    fn is_live(&self) -> bool {
        false
    }

    fn time_range(&self) -> TimeRange {
        self.time_range
    }

    fn span_count(&self) -> usize {
        self.dimensions.row_groups[1].spans.end
    }

    fn size_bytes(&self) -> u64 {
        0
    }

    async fn dimensions(&self) -> Result<Arc<Dimensions>, storage::Error> {
        Ok(Arc::new(self.dimensions.clone()))
    }

    async fn traces_by_hash(&self) -> Result<Arc<TraceIds>, storage::Error> {
        self.readable.traces_by_hash().await
    }

    async fn find_traces(&self, ids: &[TraceId]) -> Result<Vec<TracePart>, storage::Error> {
        self.readable.find_traces(ids).await
    }

    async fn traces(&self, group: usize) -> Result<RecordBatch, storage::Error> {
        if group > 0 { Err(damage()) } else { self.readable.traces(group).await }
    }

    async fn services(&self, group: usize) -> Result<ArrayRef, storage::Error> {
        if group > 0 { Err(damage()) } else { self.readable.services(group).await }
    }

    async fn fetch(
        &self,
        group: usize,
        rows: &[std::ops::Range<usize>],
        columns: &Projection,
    ) -> Result<Fetched, storage::Error> {
        if group > 0 { Err(damage()) } else { self.readable.fetch(group, rows, columns).await }
    }
}

/// A source of which all can be read but the spans.
pub(crate) struct WithoutSpans(pub Arc<dyn Source>);

#[async_trait]
impl SourceWrapper for WithoutSpans {
    fn inner(&self) -> &dyn Source {
        self.0.as_ref()
    }

    async fn fetch(&self, _: usize, _: &[std::ops::Range<usize>], _: &Projection) -> Result<Fetched, storage::Error> {
        Err(damage())
    }
}

/// A source whose spans cannot be read until [`Gated::open`] is called.
pub(crate) struct Gated {
    source: Arc<dyn Source>,
    gate: Semaphore,
}

impl Gated {
    pub fn closed(source: Arc<dyn Source>) -> Arc<Self> {
        Arc::new(Self { source, gate: Semaphore::new(0) })
    }

    pub fn open(&self) {
        self.gate.close();
    }
}

#[async_trait]
impl SourceWrapper for Gated {
    fn inner(&self) -> &dyn Source {
        self.source.as_ref()
    }

    async fn fetch(
        &self,
        group: usize,
        rows: &[std::ops::Range<usize>],
        columns: &Projection,
    ) -> Result<Fetched, storage::Error> {
        let _closed = self.gate.acquire().await;
        self.source.fetch(group, rows, columns).await
    }
}

pub(crate) fn with(span: Span, pairs: &[(&str, AnyValue)]) -> Span {
    Span { attributes: attributes(pairs), ..span }
}

/// Spans of the service of a number: the last has no name.
pub(crate) fn numbered_service(number: u64, spans: Vec<Span>) -> ResourceSpans {
    match ["front", "back", "store"].get(number as usize) {
        Some(name) => service(name, spans),
        None => resource(&[("no.name", text("x"))], "", spans),
    }
}

/// Sixty traces of four services, one of them without a name, some of whose spans start in the second ten seconds: enough for
/// a rollup.
pub(crate) fn spans_of_few_kinds() -> Vec<ResourceSpans> {
    let of_service = |service: u64| {
        let spans = (1..=60_u8).flat_map(|trace| {
            (0..20).map(move |number| {
                let id = service * 20 + number + 1;
                let start_ms = u64::from(trace) * 300 + number;
                let duration_ms = [0, 1, 3, 90][(number % 4) as usize] * if trace == 9 { 40 } else { 1 };
                Span {
                    status: status((number % 3) as i32, ""),
                    kind: (number % 2) as i32 + 2,
                    ..with(
                        span(
                            trace,
                            id,
                            u64::from(id != 1),
                            ["get", "put"][(number % 2) as usize],
                            start_ms,
                            duration_ms,
                        ),
                        &[("lane", text(["a", "b", "c"][usize::from(trace) % 3]))],
                    )
                }
            })
        });
        numbered_service(service, spans.collect())
    };
    (0..4).map(of_service).collect()
}
