//! Who is in a view, and for how long a view counts.

use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use uuid::Uuid;

use super::*;
use crate::ids::WriterId;
use crate::incarnation::Writer;

fn record(number: u128) -> Record {
    let writer =
        Writer { id: WriterId(Uuid::from_u128(number)), incarnation: Incarnation(Uuid::from_u128(number << 8)) };
    Record::new(writer, format!("10.0.0.{number}:4319"), "zone-a".to_owned(), "1.2.3")
}

fn addresses(view: &MembersView) -> Vec<&str> {
    let mut addresses: Vec<&str> = view.writers.iter().map(|record| record.address.as_str()).collect();
    addresses.sort_unstable();
    addresses
}

async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_writer_is_in_every_view_that_counts_when_it_acknowledges() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (writer, reader) = (Members::new(objects.clone()), Members::new(objects));
    let before = reader.view().await.unwrap();
    assert!(before.writers.is_empty());
    writer.join(&record(1)).await.unwrap();
    pass(VIEW_VALID_FOR - Duration::from_millis(1)).await;
    assert!(Arc::ptr_eq(&reader.view().await.unwrap(), &before), "a view that counts is not listed anew");
    pass(JOINING_TIME - VIEW_VALID_FOR + Duration::from_millis(1)).await;
    let view = reader.view().await.unwrap();
    assert_eq!(addresses(&view), ["10.0.0.1:4319"]);
    assert!(view.has(&record(1).incarnation));
}

#[tokio::test(start_paused = true)]
async fn a_view_counts_from_the_start_of_its_listing() {
    let slow = ThrottleConfig { wait_list_per_call: Duration::from_secs(3), ..ThrottleConfig::default() };
    let reader = Members::new(Arc::new(ThrottledStore::new(InMemory::new(), slow)));
    let view = reader.view().await.unwrap();
    pass(Duration::from_millis(1_900)).await;
    assert!(view.is_valid());
    pass(Duration::from_millis(200)).await;
    assert!(!view.is_valid(), "five seconds after its start, two after its end");
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_takes_longer_than_it_counts_is_no_view() {
    let slow = ThrottleConfig { wait_list_per_call: VIEW_VALID_FOR, ..ThrottleConfig::default() };
    let reader = Members::new(Arc::new(ThrottledStore::new(InMemory::new(), slow)));
    let error = reader.view().await.unwrap_err();
    assert!(error.to_string().contains("cluster/writers could not be listed within the time"), "{error}");
    assert!(reader.last_view().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_retired_writer_is_left_out_by_those_who_have_its_manifests_and_forgotten_later() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (members, tenant) = (Members::new(objects.clone()), TenantId::single());
    for number in 1..=2 {
        members.join(&record(number)).await.unwrap();
    }
    let with_both = members.view().await.unwrap();
    assert_eq!((addresses(&with_both).len(), with_both.least_manifest(&tenant)), (2, 0));
    members.retire(&record(1).incarnation, &Retired::new([(tenant.clone(), 7)])).await.unwrap();
    let view = members.view_after(&with_both).await.unwrap();
    assert_eq!((addresses(&view), view.least_manifest(&tenant)), (vec!["10.0.0.2:4319"], 7));

    pass(KEPT_RETIRED).await;
    let view = members.view().await.unwrap();
    assert_eq!(view.least_manifest(&tenant), 7);
    let left: Vec<_> = objects.list(Some(&paths::writers())).try_collect().await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    pass(VIEW_VALID_FOR).await;
    assert_eq!(addresses(&members.view().await.unwrap()), ["10.0.0.2:4319"]);
}

#[tokio::test]
async fn a_record_is_put_once() {
    let members = Members::new(Arc::new(InMemory::new()));
    members.join(&record(1)).await.unwrap();
    members.join(&record(1)).await.unwrap();
    let mut elsewhere = record(1);
    elsewhere.address = "10.0.0.9:4319".to_owned();
    let error = members.join(&elsewhere).await.unwrap_err();
    assert!(error.to_string().contains("something else was there"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_nobody_is_left_out() {
    let objects = Arc::new(InMemory::new());
    let (members, key) = (Members::new(objects.clone()), paths::writer(&record(1).incarnation, WriterFile::Record));
    objects.put(&key, r#"{"version": 2}"#.into()).await.unwrap();
    let error = members.view().await.unwrap_err();
    assert!(error.to_string().contains(key.as_ref()), "{error}");
    let mut later = record(1);
    later = serde_json::from_str(&serde_json::to_string(&later).unwrap().replace("\"version\":1", "\"version\":2"))
        .unwrap();
    objects.put(&key, later.encode().into()).await.unwrap();
    let error = members.view().await.unwrap_err();
    assert!(error.to_string().ends_with("has version 2, this program knows version 1"), "{error}");
}
