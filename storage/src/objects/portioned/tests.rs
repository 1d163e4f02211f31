use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use prometheus_client::registry::Registry;
use proptest::prelude::*;

use super::*;
use crate::objects::counted::Counted;
use crate::telemetry::Telemetry;

const PART_BYTES: u64 = 1000;

/// A store in memory, and what is counted of its requests.
fn store() -> (Portioned<Counted<Arc<InMemory>>>, Registry) {
    let mut registry = Registry::default();
    let counted = Counted::new(Arc::new(InMemory::new()), Telemetry::register(&mut registry));
    (Portioned::new(counted, PART_BYTES), registry)
}

fn requests(registry: &Registry, operation: &str) -> u64 {
    let start = format!("tempodb_backend_request_duration_seconds_count{{operation=\"{operation}\"");
    crate::telemetry::tests::sum(registry, &start)
}

fn pattern(bytes: usize) -> Bytes {
    (0..bytes).map(|position| (position * 31 / 7) as u8).collect()
}

#[tokio::test]
async fn near_ranges_are_read_by_one_request_and_far_ones_by_their_own() {
    let (store, registry) = store();
    let (key, content) = (Path::from("a"), pattern(4 << 20));
    store.inner.put(&key, content.clone().into()).await.unwrap();
    let ranges = [3_000_000..3_000_100, 10..20, 600..600, 500_000..500_010, 15..30];
    let read = store.get_ranges(&key, &ranges).await.unwrap();
    let expected: Vec<&[u8]> = ranges.iter().map(|range| &content[range.start as usize..range.end as usize]).collect();
    assert_eq!(read, expected);
    assert_eq!(requests(&registry, "GET"), 2);
}

#[tokio::test]
async fn a_read_beyond_the_end_is_an_error() {
    let (store, _) = store();
    let key = Path::from("a");
    store.inner.put(&key, pattern(100).into()).await.unwrap();
    store.get_ranges(&key, std::slice::from_ref(&(90..101))).await.unwrap_err();
}

#[tokio::test]
async fn a_large_object_is_uploaded_in_parts_and_a_small_one_at_once() {
    for (bytes, parts) in [(1000, None), (1001, Some(2)), (20_500, Some(21))] {
        let (store, registry) = store();
        let (key, content) = (Path::from("a"), pattern(bytes));
        let payload: PutPayload = content.chunks(700).map(Bytes::copy_from_slice).collect();
        store.put(&key, payload).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), content);
        assert_eq!(requests(&registry, "PUT"), parts.unwrap_or(1));
        assert_eq!(requests(&registry, "POST"), if parts.is_some() { 2 } else { 0 });
    }
}

#[tokio::test]
async fn creating_is_never_divided() {
    let (store, registry) = store();
    let (key, create) = (Path::from("a"), PutOptions::from(PutMode::Create));
    store.put_opts(&key, pattern(5000).into(), create.clone()).await.unwrap();
    let error = store.put_opts(&key, pattern(5001).into(), create).await.unwrap_err();
    assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}");
    assert_eq!(requests(&registry, "POST"), 0);
}

fn any_range() -> impl Strategy<Value = Range<u64>> {
    (0..40_000_000u64, prop_oneof![0..1000u64, 0..3_000_000u64]).prop_map(|(start, bytes)| start..start + bytes)
}

proptest! {
    #[test]
    fn portions_cover_every_range_and_nothing_twice(ranges in proptest::collection::vec(any_range(), 0..40)) {
        let portions = joined(&ranges);
        for pair in portions.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start);
        }
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let covering = portions.iter().filter(|portion| portion.start <= range.start && range.end <= portion.end);
            prop_assert_eq!(covering.count(), 1);
        }
        let read: u64 = portions.iter().map(|portion| portion.end - portion.start).sum();
        let wanted: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        prop_assert!(read <= wanted + JOIN_GAP_BYTES * ranges.len() as u64);
    }
}
