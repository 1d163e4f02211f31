//! What goes into a block comes out, and columns can be read one by one.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use model::{BlockId, Scope, TenantId, TraceId};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use prometheus_client::registry::Registry;
use proptest::prelude::*;
use prost::Message;
use spans::schema::{AttributeColumn, column};
use spans::testing::{canonical, odd_request};
use spans::{SpanTable, TableBuilder, Traces};

use super::{BlockCache, BlockSource, encode};
use crate::cpu::CpuPool;
use crate::source::{Projection, Source, TraceAt};
use crate::telemetry::Telemetry;
use crate::telemetry::tests::sum;
use crate::testing::{Call, Fault, FaultyStore, whole_table};

pub(super) fn table_of(seeds: &[u64]) -> SpanTable {
    let mut builder = TableBuilder::default();
    for &seed in seeds {
        builder.append(&odd_request(seed).encode_to_vec()).unwrap();
    }
    builder.snapshot().unwrap()
}

/// Stores a table as a block of an in-memory store and opens it.
async fn stored(table: &SpanTable) -> BlockSource {
    let (objects, tenant, id): (Arc<dyn ObjectStore>, _, _) =
        (Arc::new(InMemory::new()), TenantId::single(), BlockId::generate());
    let block = encode(id, &tenant, table, None).unwrap();
    block.put(&tenant, objects.as_ref()).await.unwrap();
    let entry = block.entry();
    BlockSource::new(tenant, entry, objects, CpuPool::new(1), BlockCache::new(1 << 20, Telemetry::unregistered()))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_block_gives_back_what_was_put_in(seeds in prop::collection::vec(any::<u64>(), 1..6)) {
        let table = table_of(&seeds);
        prop_assume!(table.span_count() > 0);
        let block = runtime().block_on(async {
            let block = stored(&table).await;
            let read = whole_table(&block).await.unwrap();
            // resources and scopes without spans are not stored
            assert_eq!(block.dimensions().await.unwrap().keys, spans::attribute_keys(&read).unwrap());
            read
        });
        prop_assert_eq!(canonical(&spans::encode(&block).unwrap()), canonical(&spans::encode(&table).unwrap()));
        // and put together with live rows again
        let twice = spans::merge_tables(&[block, table_of(&seeds)], spans::Copies::Keep).unwrap().table;
        prop_assert_eq!(twice.span_count(), table.span_count() * 2);
    }
}

#[tokio::test]
async fn a_row_group_knows_how_many_spans_its_largest_trace_has() {
    let table = table_of(&(0..40).collect::<Vec<_>>());
    let block = stored(&table).await;
    let traces = block.traces(0).await.unwrap();
    let traces = spans::Traces::of(&traces).unwrap();
    let most = (0..traces.len()).map(|trace| traces.span_rows(trace).len()).max().unwrap();
    assert!(1 < most && most < table.span_count());
    assert_eq!(block.dimensions().await.unwrap().row_groups[0].most_trace_spans, most);
}

#[tokio::test]
async fn one_trace_is_read_without_the_rest() {
    let table = table_of(&(0..200).collect::<Vec<_>>());
    let block = stored(&table).await;
    let traces = Traces::of(&table.traces).unwrap();
    for row in (0..traces.len()).step_by(17) {
        assert_eq!(block.find_trace(&traces.id(row)).await.unwrap(), Some(TraceAt { group: 0, trace: row }));
        let rows = traces.span_rows(row);
        let fetched = block.fetch(0, std::slice::from_ref(&rows), &Projection::all()).await.unwrap();
        let expected = SpanTable { spans: table.spans.slice(rows.start, rows.len()), ..table.clone() };
        let dimensions = block.dimensions().await.unwrap();
        let traces = block.traces(0).await.unwrap();
        let (resources, scopes) = (dimensions.resources.clone(), dimensions.scopes.clone());
        let got = SpanTable { spans: fetched.decode().unwrap(), traces, resources, scopes };
        assert_eq!(canonical(&spans::encode(&got).unwrap()), canonical(&spans::encode(&expected).unwrap()));
    }
    assert_eq!(block.find_trace(&TraceId([0xfe; 16])).await.unwrap(), None);
}

/// Maps over names and values have seeds that nobody knows; what is written must not tell.
#[test]
fn the_same_table_makes_the_same_block() {
    let (id, table) = (BlockId::generate(), table_of(&(0..60).collect::<Vec<_>>()));
    let contents = || {
        let block = encode(id, &TenantId::single(), &table, None).unwrap();
        block.files.into_iter().map(|(file, content)| (file.name(), content)).collect::<Vec<_>>()
    };
    let first = contents();
    for _ in 0..4 {
        for ((name, expected), (_, content)) in first.iter().zip(contents()) {
            assert!(*expected == content, "{name} differs");
        }
    }
}

#[tokio::test]
async fn a_block_is_stored_in_two_rounds() {
    let objects = FaultyStore::default();
    let rounds = async |puts: usize| {
        objects.faults().always(Call::Write, Fault::Delayed);
        let tenant = TenantId::single();
        let block = encode(BlockId::generate(), &tenant, &table_of(&[1]), None).unwrap();
        let key = object_store::path::Path::from("other");
        let mut work: futures::future::BoxFuture<'_, ()> = match puts {
            0 => Box::pin(async { block.put(&tenant, &objects).await.unwrap() }),
            _ => Box::pin(async { _ = objects.put(&key, Bytes::new().into()).await.unwrap() }),
        };
        let mut polls = 1;
        while futures::poll!(&mut work).is_pending() {
            polls += 1;
        }
        polls
    };
    let of_one = rounds(1).await;
    assert!(of_one > 10, "{of_one} polls");
    assert_eq!(rounds(0).await, 2 * of_one - 1);
}

#[tokio::test]
async fn attributes_become_columns_by_themselves() {
    let block = stored(&table_of(&(0..50).collect::<Vec<_>>())).await;
    let projection = Projection { columns: [column::NAME].into(), attributes: ["key.0".to_owned()].into() };
    let fetched = block.fetch(0, &[0..2, 5..9], &projection).await.unwrap();
    assert!(fetched.bytes > 0);
    let batch = fetched.decode().unwrap();
    assert_eq!(batch.num_rows(), 6);
    let schema = batch.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert!(names.contains(&"span.key.0:int"), "{names:?}");
    let others = schema
        .fields()
        .iter()
        .filter_map(|field| AttributeColumn::of(field))
        .filter(|of| of.key != "key.0" || of.scope != Scope::Span);
    assert_eq!(others.count(), 0);
}

#[tokio::test]
async fn any_rows_are_read_as_they_stand_in_the_whole() {
    let block = stored(&table_of(&(0..300).collect::<Vec<_>>())).await;
    let rows = block.dimensions().await.unwrap().row_groups[0].spans.len();
    let read = async |ranges: &[std::ops::Range<usize>]| {
        block.fetch(0, ranges, &Projection::all()).await.unwrap().decode().unwrap()
    };
    let whole = read(std::slice::from_ref(&(0..rows))).await;
    assert!(rows > 3_000, "several pages");
    // few runs, for which pages are left out, and so many that all are read
    let few = vec![0..1, 100..140, rows / 2..rows / 2 + 3, rows - 1..rows];
    let many: Vec<_> = (0..rows / 7).map(|run| run * 7..run * 7 + 1 + run % 3).collect();
    for ranges in [few, many] {
        let slices: Vec<RecordBatch> = ranges.iter().map(|range| whole.slice(range.start, range.len())).collect();
        assert_eq!(read(&ranges).await, concat_batches(&whole.schema(), &slices).unwrap());
    }
}

#[tokio::test]
async fn any_number_of_opened_blocks_stays_within_the_budget() {
    const BUDGET: u64 = 400_000;
    let (mut registry, objects) = (Registry::default(), Arc::new(InMemory::new()));
    let (tenant, cpu, telemetry) = (TenantId::single(), CpuPool::new(1), Telemetry::register(&mut registry));
    let cache = BlockCache::new(BUDGET, telemetry);
    for seed in 0..100 {
        let block = encode(BlockId::generate(), &tenant, &table_of(&[seed, seed + 1_000]), None).unwrap();
        block.put(&tenant, objects.as_ref()).await.unwrap();
        let block = BlockSource::new(tenant.clone(), block.entry(), objects.clone(), cpu.clone(), cache.clone());
        block.dimensions().await.unwrap();
        block.keys().await.unwrap();
        assert!(sum(&registry, "mosso_cache_bytes") <= BUDGET);
    }
    assert!(sum(&registry, "mosso_cache_bytes") > BUDGET / 10);
    assert!(sum(&registry, "mosso_cache_evictions_total") > 0);
}
