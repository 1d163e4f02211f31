//! A rollup says of each row group what its spans say, however the row group came into its block.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, UInt8Type};
use model::{BlockId, TenantId, TraceId};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use spans::testing::shop_request;
use spans::{SpanTable, TableBuilder};

use super::*;
use crate::block::{BlockCache, BlockSource, encode};
use crate::cpu::CpuPool;
use crate::paths::{self, BlockFile};
use crate::source::{Projection, Source};
use crate::telemetry::Telemetry;

/// Row group, service, name, kind, status, whether they are roots, bucket.
type Kind = (usize, Option<String>, String, i32, i32, bool, u8);

/// Number of spans, and the trace that stands for them.
type Counts = BTreeMap<Kind, (u32, TraceId)>;

fn texts(array: &ArrayRef) -> StringArray {
    cast(array, &DataType::Utf8).unwrap().as_string().clone()
}

/// What the spans of a block say.
async fn counted(block: &dyn Source) -> Counts {
    let mut counts = Counts::new();
    let dimensions = block.dimensions().await.unwrap();
    let services = texts(dimensions.resources.column_by_name("resource.service.name").unwrap());
    for (number, group) in dimensions.row_groups.iter().enumerate() {
        let rows = 0..group.spans.len();
        let spans =
            block.fetch(number, std::slice::from_ref(&rows), &Projection::all()).await.unwrap().decode().unwrap();
        let traces = block.traces(number).await.unwrap();
        let traces = spans::Traces::of(&traces).unwrap();
        let column = |name| spans::column(&spans, name).unwrap();
        let names = texts(column(column::NAME));
        let durations = column("duration_nanos").as_primitive::<Int64Type>();
        let (parents, far) = (column("parent_offset"), column("parent_span_id"));
        for row in rows {
            let resource = spans::u32s(&spans, column::RESOURCE).unwrap()[row] as usize;
            let id = traces.id(spans::u32s(&spans, column::TRACE).unwrap()[row] as usize);
            let kind = (
                number,
                services.is_valid(resource).then(|| services.value(resource).to_owned()),
                names.value(row).to_owned(),
                column(column::KIND).as_primitive::<Int32Type>().value(row),
                column(column::STATUS_CODE).as_primitive::<Int32Type>().value(row),
                parents.is_null(row) && far.is_null(row),
                bucket(durations.value(row)).unwrap_or(0),
            );
            let (count, lowest) = counts.entry(kind).or_insert((0, id));
            *count += 1;
            if id.draw() < lowest.draw() {
                *lowest = id;
            }
        }
    }
    counts
}

/// What the rollup of a block says.
async fn rolled_up(block: &dyn Source) -> Counts {
    let rollup = block.rollup().await.unwrap().expect("it has a rollup");
    let dimensions = block.dimensions().await.unwrap();
    let services = texts(dimensions.resources.column_by_name("resource.service.name").unwrap());
    let mut counts = Counts::new();
    for group in 0..dimensions.row_groups.len() {
        let rows = rollup.rows_of(&[group]).unwrap();
        let traces = block.traces(group).await.unwrap();
        let traces = spans::Traces::of(&traces).unwrap();
        let column = |name| spans::column(&rows, name).unwrap();
        let names = texts(column(column::NAME));
        for row in 0..rows.num_rows() {
            let resource = spans::u32s(&rows, column::RESOURCE).unwrap()[row] as usize;
            let trace = traces.id(spans::u32s(&rows, column::TRACE).unwrap()[row] as usize);
            assert_eq!(column(column::TRACE_ID).as_fixed_size_binary().value(row), trace.0);
            let kind = (
                group,
                services.is_valid(resource).then(|| services.value(resource).to_owned()),
                names.value(row).to_owned(),
                column(column::KIND).as_primitive::<Int32Type>().value(row),
                column(column::STATUS_CODE).as_primitive::<Int32Type>().value(row),
                column(column::IS_ROOT).as_boolean().value(row),
                column(column::BUCKET).as_primitive::<UInt8Type>().value(row),
            );
            let spans = spans::u32s(&rows, column::SPANS).unwrap()[row];
            assert!(counts.insert(kind, (spans, trace)).is_none(), "a kind has one row in a row group");
        }
    }
    counts
}

/// Asserts that a block has a rollup of all its row groups, and that it is right.
pub(crate) async fn assert_is_rolled_up(block: &dyn Source) {
    let counts = rolled_up(block).await;
    assert!(counts.len() > 20);
    assert_eq!(counts, counted(block).await);
    let dimensions = block.dimensions().await.unwrap();
    for (number, group) in dimensions.row_groups.iter().enumerate() {
        assert!((group.time_range.start_nanos..=group.time_range.end_nanos).contains(&group.last_start_nanos));
        let spans = counts.iter().filter(|((group, ..), _)| *group == number).map(|(_, (spans, _))| *spans as usize);
        assert_eq!(spans.sum::<usize>(), group.spans.len());
    }
}

fn table(requests: impl IntoIterator<Item = ExportTraceServiceRequest>) -> SpanTable {
    let mut builder = TableBuilder::default();
    requests.into_iter().for_each(|request| _ = builder.append(&request.encode_to_vec()).unwrap());
    builder.snapshot().unwrap()
}

async fn stored(table: &SpanTable) -> (Arc<dyn ObjectStore>, BlockSource) {
    let (objects, tenant): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), TenantId::single());
    let block = encode(BlockId::generate(), &tenant, table, None).unwrap();
    block.put(&tenant, objects.as_ref()).await.unwrap();
    (objects.clone(), open(objects, block.entry()))
}

fn open(objects: Arc<dyn ObjectStore>, entry: crate::manifest::BlockEntry) -> BlockSource {
    let cache = BlockCache::new(1 << 20, Telemetry::unregistered());
    BlockSource::new(TenantId::single(), entry, objects, CpuPool::new(1), cache)
}

/// The traffic of a shop with a third of the names.
pub(crate) fn few_kinds(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    let spans = request.resource_spans.iter_mut().flat_map(|of| &mut of.scope_spans).flat_map(|of| &mut of.spans);
    spans.for_each(|span| span.name.truncate("GET /api/v1/resource-1".len()));
    request
}

/// Traffic of a shop, of which some traces have no root, and one resource no service.
fn shop(traces: usize) -> SpanTable {
    let mut request = few_kinds(shop_request(7, traces, 1_700_000_000_000_000_000));
    let first = &mut request.resource_spans[0];
    first.scope_spans[0].spans.truncate(traces / 2);
    first.resource.as_mut().unwrap().attributes.retain(|pair| pair.key != "service.name");
    table([request])
}

#[tokio::test]
async fn a_rollup_says_what_the_spans_say() {
    let table = shop(500);
    assert!(table.span_count() > LEAST_SPANS);
    assert_is_rolled_up(&stored(&table).await.1).await;
}

#[tokio::test]
async fn row_groups_that_are_soon_read_or_have_too_many_kinds_have_none() {
    assert!(stored(&shop(20)).await.1.rollup().await.unwrap().is_none());
    let mut request = shop_request(7, 500, 1_700_000_000_000_000_000);
    let spans = request.resource_spans.iter_mut().flat_map(|of| &mut of.scope_spans).flat_map(|of| &mut of.spans);
    spans.enumerate().for_each(|(number, span)| span.name = format!("GET /orders/{number}"));
    assert!(stored(&table([request])).await.1.rollup().await.unwrap().is_none());
}

#[tokio::test]
async fn a_damaged_rollup_is_done_without() {
    let (objects, block) = stored(&shop(500)).await;
    let (tenant, entry) = block.stored().unwrap();
    let path = paths::block_file(tenant, &entry.id, BlockFile::Directory);
    let mut content = objects.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
    let tail = content.split_last_chunk::<28>().unwrap().1;
    let (start, bytes) = (tail[..8].try_into().unwrap(), tail[8..12].try_into().unwrap());
    let (start, bytes) = (u64::from_le_bytes(start) as usize, u32::from_le_bytes(bytes) as usize);
    let head: serde_json::Value = serde_json::from_slice(&content[start..start + bytes]).unwrap();
    content[head["rollup"]["start"].as_u64().unwrap() as usize + 40] ^= 1;
    objects.put(&path, content.into()).await.unwrap();
    let damaged = open(objects, entry.clone());
    assert!(damaged.rollup().await.unwrap().is_none());
    assert_eq!(counted(&damaged).await, counted(&block).await);
}
