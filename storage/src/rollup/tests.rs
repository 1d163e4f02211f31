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

const START_NANOS: u64 = 1_700_000_000_000_000_000;

/// Row group, service, name, kind, status, whether they are roots, bucket.
type Kind = (usize, Option<String>, String, i32, i32, bool, u8);

/// Number of spans by the first time of their slot, the trace that stands for them, and in which slot its first one starts.
type Counts = BTreeMap<Kind, (BTreeMap<u64, u32>, TraceId, Option<u64>)>;

/// The first time of each slot of a row group.
fn slots_of(group: &RowGroup) -> Vec<u64> {
    Slots::of(group.time_range.start_nanos, group.last_start_nanos).times().map(|times| *times.start()).collect()
}

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
        let offsets = column("start_offset_nanos").as_primitive::<Int64Type>();
        let slots = slots_of(group);
        let (parents, far) = (column("parent_offset"), column("parent_span_id"));
        for row in rows {
            let resource = spans::u32s(&spans, column::RESOURCE).unwrap()[row] as usize;
            let trace = spans::u32s(&spans, column::TRACE).unwrap()[row] as usize;
            let (id, start_nanos) = (traces.id(trace), traces.start_nanos(trace) + offsets.value(row) as u64);
            let kind = (
                number,
                services.is_valid(resource).then(|| services.value(resource).to_owned()),
                names.value(row).to_owned(),
                column(column::KIND).as_primitive::<Int32Type>().value(row),
                column(column::STATUS_CODE).as_primitive::<Int32Type>().value(row),
                parents.is_null(row) && far.is_null(row),
                bucket(durations.value(row)).unwrap_or(0),
            );
            let slot = *slots.iter().rfind(|first| **first <= start_nanos).unwrap();
            let (by_slot, lowest, of_lowest) = counts.entry(kind).or_insert((BTreeMap::new(), id, Some(slot)));
            *by_slot.entry(slot).or_default() += 1;
            if id.draw() < lowest.draw() {
                (*lowest, *of_lowest) = (id, Some(slot));
            } else if id == *lowest {
                *of_lowest = (*of_lowest).min(Some(slot));
            }
        }
    }
    counts
}

/// What a rollup says of all kinds of spans of one row group.
fn counted_at(rollup: &Rollup, group: usize, slots: Vec<SlotsAt>) -> CountedAt {
    let mut of_groups = vec![Vec::new(); group];
    of_groups.push(slots);
    CountedAt::of(rollup, &BooleanBuffer::new_set(rollup.rows().num_rows()), &of_groups).unwrap()
}

/// What the rollup of a block says.
async fn rolled_up(block: &dyn Source) -> Counts {
    let rollup = block.rollup().await.unwrap().expect("it has a rollup");
    let dimensions = block.dimensions().await.unwrap();
    let services = texts(dimensions.resources.column_by_name("resource.service.name").unwrap());
    let mut counts = Counts::new();
    for (group, known) in dimensions.row_groups.iter().enumerate() {
        let slots = slots_of(known).into_iter().map(|time| SlotsAt { slots: 1, time: Some(time) }).collect();
        let CountedAt { rows, spans, times, with_trace } = counted_at(&rollup, group, slots);
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
            let (by_slot, known, of_known) = counts.entry(kind).or_insert((BTreeMap::new(), trace, None));
            assert_eq!(*known, trace);
            assert!(by_slot.insert(times[row], spans[row]).is_none(), "a kind has one row for each slot");
            if with_trace.value(row) {
                assert_eq!(of_known.replace(times[row]), None, "the trace is in one slot");
            }
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
        let of_group = counts.iter().filter(|((group, ..), _)| *group == number);
        let spans: u32 = of_group.flat_map(|(_, (by_slot, ..))| by_slot.values()).sum();
        assert_eq!(spans as usize, group.spans.len());
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

/// Traffic of a shop over four seconds, of which some traces have no root, and one resource no service.
fn shop(traces: usize) -> SpanTable {
    table((0..5).map(|number| {
        let mut request = few_kinds(shop_request(7 + number, traces / 5, START_NANOS + number * 900_000_000));
        let first = &mut request.resource_spans[0];
        first.scope_spans[0].spans.truncate(traces / 10);
        first.resource.as_mut().unwrap().attributes.retain(|pair| pair.key != "service.name");
        request
    }))
}

#[tokio::test]
async fn a_rollup_says_what_the_spans_say() {
    let table = shop(500);
    assert!(table.span_count() > LEAST_SPANS);
    assert_is_rolled_up(&stored(&table).await.1).await;
}

#[tokio::test]
async fn slots_of_one_time_count_together_and_those_without_one_do_not() {
    let (_, block) = stored(&shop(500)).await;
    let (rollup, groups) =
        (block.rollup().await.unwrap().unwrap(), block.dimensions().await.unwrap().row_groups.clone());
    let slots = slots_of(&groups[0]);
    assert!(slots.len() > 3, "{slots:?}");
    let at_seven = SlotsAt { slots: 2, time: Some(7) };
    let found = counted_at(&rollup, 0, vec![at_seven, SlotsAt { slots: slots.len() - 2, time: None }]);
    assert!(found.times.iter().all(|time| *time == 7));
    let in_first_two = |by_slot: &BTreeMap<u64, u32>| by_slot.range(..slots[2]).map(|(_, spans)| spans).sum::<u32>();
    let expected: Vec<u32> = counted(&block).await.values().map(|(by_slot, ..)| in_first_two(by_slot)).collect();
    let sorted = |mut counts: Vec<u32>| {
        counts.retain(|count| *count > 0);
        counts.sort_unstable();
        counts
    };
    assert_eq!(sorted(found.spans), sorted(expected));
}

#[tokio::test]
async fn row_groups_that_are_soon_read_or_have_too_many_kinds_have_none() {
    assert!(stored(&shop(20)).await.1.rollup().await.unwrap().is_none());
    let mut request = shop_request(7, 500, START_NANOS);
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
    content[head["rollup_by_slot"]["start"].as_u64().unwrap() as usize + 40] ^= 1;
    objects.put(&path, content.into()).await.unwrap();
    let damaged = open(objects, entry.clone());
    assert!(damaged.rollup().await.unwrap().is_none());
    assert_eq!(counted(&damaged).await, counted(&block).await);
}
