use model::TenantId;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use prometheus_client::registry::Registry;
use prost::Message;
use spans::TableBuilder;
use spans::testing::shop_request;

use super::*;
use crate::block::{BlockSource, encode};
use crate::cpu::CpuPool;
use crate::objects::counted::Counted;
use crate::objects::portioned::Portioned;
use crate::paths;
use crate::source::{Projection, Source};
use crate::telemetry::Telemetry;
use crate::telemetry::tests::sum;

const BUDGET: u64 = 16 << 20;

/// A store as those beyond a network are, with a block of so many bytes.
async fn store(bytes: usize) -> (Cached, Path, Vec<u8>, Registry) {
    let mut registry = Registry::default();
    let telemetry = Telemetry::register(&mut registry);
    let remote = Portioned::new(Counted::new(InMemory::new(), telemetry.clone()), 8 << 20);
    let cache = BlockCache::new(BUDGET, telemetry.clone()).with_pages(BUDGET, &telemetry);
    let store = Cached::new(Arc::new(remote), cache);
    let path = paths::block_file(&TenantId::single(), &BlockId::generate(), BlockFile::Spans);
    let content: Vec<u8> = (0..bytes).map(|position| (position * 31 / 7) as u8).collect();
    store.put(&path, content.clone().into()).await.unwrap();
    (store, path, content, registry)
}

fn requests(registry: &Registry) -> u64 {
    sum(registry, r#"tempodb_backend_request_duration_seconds_count{operation="GET""#)
}

async fn read(store: &Cached, path: &Path, content: &[u8], ranges: &[Range<u64>]) {
    let expected: Vec<&[u8]> = ranges.iter().map(|range| &content[range.start as usize..range.end as usize]).collect();
    assert_eq!(store.get_ranges(path, ranges).await.unwrap(), expected);
}

#[tokio::test]
async fn pages_of_a_hundred_columns_are_one_request_and_none_the_next_time() {
    let (store, path, content, registry) = store(2 << 20).await;
    let ranges: Vec<Range<u64>> = (0..100).map(|column| column * 20_000..column * 20_000 + 900).collect();
    read(&store, &path, &content, &ranges).await;
    assert_eq!(requests(&registry), 1);
    read(&store, &path, &content, &ranges).await;
    assert_eq!(requests(&registry), 1);
    let more = [ranges[3].clone(), 7..30, ranges[1].clone(), 1_999_990..2_000_000];
    read(&store, &path, &content, &more).await;
    assert_eq!(requests(&registry), 3, "only what is not there is read, and it lies apart");
}

#[tokio::test]
async fn what_is_kept_stays_within_the_budget_and_long_ranges_are_not_kept() {
    let (store, path, content, registry) = store(24 << 20).await;
    for start in (0..24 << 20).step_by(64 << 10) {
        read(&store, &path, &content, std::slice::from_ref(&(start..start + (64 << 10)))).await;
        assert!(store.cache.pages().unwrap().bytes() <= BUDGET);
    }
    let (before, long) = (requests(&registry), 0..MAX_RANGE_BYTES as u64 + 1);
    for _ in 0..2 {
        read(&store, &path, &content, std::slice::from_ref(&long)).await;
    }
    assert_eq!(requests(&registry), before + 2);
}

#[tokio::test]
async fn a_deleted_block_is_forgotten_and_others_are_not() {
    let (store, path, content, registry) = store(10_000).await;
    let other = paths::block_file(&TenantId::single(), &BlockId::generate(), BlockFile::Spans);
    store.put(&other, content.clone().into()).await.unwrap();
    for path in [&path, &other] {
        read(&store, path, &content, std::slice::from_ref(&(0..5_000))).await;
    }
    store.delete(&path).await.unwrap();
    store.get_ranges(&path, std::slice::from_ref(&(0..5_000))).await.unwrap_err();
    let before = requests(&registry);
    read(&store, &other, &content, std::slice::from_ref(&(0..5_000))).await;
    assert_eq!(requests(&registry), before);
}

#[tokio::test]
async fn a_trace_is_read_by_seven_requests_and_by_none_the_next_time() {
    let (store, _, _, registry) = store(1).await;
    let (cache, store): (_, Arc<dyn ObjectStore>) = (store.cache.clone(), Arc::new(store));
    let mut builder = TableBuilder::default();
    (0..20).for_each(|seed| _ = builder.append(&shop_request(seed, 45, seed << 30).encode_to_vec()).unwrap());
    let (tenant, table) = (TenantId::single(), builder.snapshot().unwrap());
    let block = encode(BlockId::generate(), &tenant, &table, None).unwrap();
    block.put(&tenant, store.as_ref()).await.unwrap();
    let block = BlockSource::new(tenant, block.entry(), store, CpuPool::new(2), cache);
    let traces = table.traces().unwrap();
    let read = async || {
        let at = block.find_trace(&traces.id(200)).await.unwrap().unwrap();
        let rows = traces.span_rows(at.trace);
        let fetched = block.fetch(0, std::slice::from_ref(&rows), &Projection::all()).await.unwrap();
        assert_eq!(fetched.decode().unwrap().num_rows(), rows.len());
    };
    read().await;
    let first = "three to open the block, one to find the trace, two for its row group, one for the columns";
    assert_eq!(requests(&registry), 7, "{first}");
    read().await;
    assert_eq!(requests(&registry), 7);
}

#[tokio::test]
async fn other_objects_are_read_each_time() {
    let (store, ..) = store(1).await;
    let path = Path::from("a");
    for content in ["first", "later"] {
        store.put(&path, content.into()).await.unwrap();
        assert_eq!(store.get_ranges(&path, std::slice::from_ref(&(0..5))).await.unwrap(), [content]);
    }
}
