//! Tables that are encoded a row group at a time are the same block as one table of them all.

use std::sync::Arc;

use model::{BlockId, TenantId, TraceId};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use proptest::prelude::*;
use prost::Message;
use spans::testing::{canonical, odd_request, shop_request};
use spans::{Copies, SpanTable, TableBuilder};

use super::{divide, encode_tables, join, with_shared_dimensions, write};
use crate::block::{BlockCache, BlockSource, EncodedBlock};
use crate::cpu::CpuPool;
use crate::source::Source;
use crate::telemetry::Telemetry;
use crate::testing::whole_table;

fn table_of(seeds: &[u64]) -> SpanTable {
    let mut builder = TableBuilder::default();
    seeds.iter().for_each(|&seed| _ = builder.append(&odd_request(seed).encode_to_vec()).unwrap());
    builder.snapshot().unwrap()
}

/// Ten traces of a shop; of the same seed the same ones.
fn shop(seed: u64, start_nanos: u64) -> SpanTable {
    let mut builder = TableBuilder::default();
    builder.append(&shop_request(seed, 10, start_nanos).encode_to_vec()).unwrap();
    builder.snapshot().unwrap()
}

fn encode_by(tables: &[SpanTable], row_group_rows: usize) -> EncodedBlock {
    let tables = with_shared_dimensions(tables).unwrap();
    let row_groups = divide(&tables, row_group_rows).unwrap();
    let joined = row_groups.iter().map(|row_group| join(&tables, row_group));
    write(BlockId::generate(), &TenantId::single(), &tables, joined, None).unwrap()
}

async fn stored(block: &EncodedBlock) -> BlockSource {
    let (objects, tenant): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), TenantId::single());
    block.put(&tenant, objects.as_ref()).await.unwrap();
    let cache = BlockCache::new(1 << 20, Telemetry::unregistered());
    BlockSource::new(tenant, block.entry(), objects, CpuPool::new(1), cache)
}

fn read(block: &EncodedBlock) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let table = runtime.block_on(async { whole_table(&stored(block).await).await.unwrap() });
    canonical(&spans::encode(&table).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_block_of_several_tables_has_their_spans_once(
        seeds in prop::collection::vec(prop::collection::vec(0..20u64, 1..4), 1..5),
        row_group_rows in 1..40usize,
    ) {
        let tables: Vec<SpanTable> = seeds.iter().map(|seeds| table_of(seeds)).collect();
        let joined = spans::merge_tables(&tables, Copies::DropAll).unwrap().table;
        prop_assume!(joined.span_count() > 0);
        let block = encode_by(&tables, row_group_rows);
        prop_assert_eq!(block.entry().spans, joined.span_count() as u64);
        prop_assert_eq!(block.entry().traces, joined.trace_count() as u64);
        prop_assert_eq!(read(&block), canonical(&spans::encode(&joined).unwrap()));
    }
}

#[test]
fn the_parts_of_a_trace_come_together_and_copies_in_other_tables_are_dropped() {
    let (first, again, other) = (shop(1, 1_000), shop(1, 1_000), shop(2, 9_000));
    let block = encode_by(&[first.clone(), other.clone(), again], 30);
    assert_eq!(block.entry().spans, (first.span_count() + other.span_count()) as u64);
    assert_eq!(block.entry().traces, 20);
}

#[test]
fn row_groups_have_the_newest_traces_first_and_no_more_spans_than_the_trace_that_fills_them() {
    let tables: Vec<SpanTable> = (0..6).map(|seed| shop(seed % 4, 1_000_000 * (seed % 4))).collect();
    let views: Vec<_> = tables.iter().map(|table| table.traces().unwrap()).collect();
    let longest_trace =
        2 * views.iter().flat_map(|view| (0..view.len()).map(|row| view.span_rows(row).len())).max().unwrap();
    let row_groups = divide(&tables, 50).unwrap();
    assert!(row_groups.len() > 4, "{}", row_groups.len());
    let (mut newest_allowed, mut seen) = (u64::MAX, std::collections::HashSet::<TraceId>::new());
    for (number, row_group) in row_groups.iter().enumerate() {
        let parts = || {
            row_group.iter().enumerate().flat_map(|(table, rows)| rows.iter().map(move |&row| (table, row as usize)))
        };
        let rows: usize = parts().map(|(table, row)| views[table].span_rows(row).len()).sum();
        assert!(rows < 50 + longest_trace, "{rows} rows");
        assert!(rows >= 50 || number + 1 == row_groups.len(), "{rows} rows");
        let ids: std::collections::HashSet<TraceId> = parts().map(|(table, row)| views[table].id(row)).collect();
        assert!(ids.iter().all(|id| seen.insert(*id)), "a trace is in two row groups");
        let starts = || parts().map(|(table, row)| views[table].start_nanos(row));
        assert!(starts().max().unwrap() <= newest_allowed);
        newest_allowed = starts().min().unwrap();
    }
    assert_eq!(seen.len(), 40);
}

#[test]
fn the_same_tables_give_the_same_bytes() {
    let tables = [shop(1, 1_000), shop(2, 500), table_of(&[3, 4])];
    let id = BlockId::generate();
    let encode = || encode_tables(id, &TenantId::single(), &tables, None).unwrap().files;
    assert_eq!(encode(), encode());
}

#[tokio::test]
async fn a_key_that_is_frequent_in_all_tables_together_gets_a_column() {
    let tables = [shop(1, 1_000), shop(2, 500), shop(3, 700)];
    let block = encode_tables(BlockId::generate(), &TenantId::single(), &tables, None).unwrap();
    let joined = spans::merge_tables(&tables, Copies::DropAll).unwrap().table;
    let expected = spans::attribute_keys(&joined).unwrap();
    assert_eq!(stored(&block).await.dimensions().await.unwrap().keys, expected);
}
