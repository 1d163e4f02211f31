use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use model::{ErrorKind, TenantId};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use prometheus_client::registry::Registry;

use super::*;
use crate::config::TraceConfig;
use crate::error::Error;
use crate::paths::{self, DataDir};
use crate::telemetry::Telemetry;
use crate::testing::{Call, Fault, FaultyStore};

fn tenant() -> TenantId {
    TenantId::parse("team*a").unwrap()
}

fn block() -> BlockEntry {
    let files = BlockFiles {
        spans_bytes: 1,
        traces_bytes: 2,
        resources_bytes: 3,
        scopes_bytes: 4,
        index_bytes: 5,
        directory_bytes: 6,
        unknown: Default::default(),
    };
    let id = BlockId::generate();
    BlockEntry {
        id,
        start_nanos: 5,
        end_nanos: 6,
        traces: 7,
        spans: 8,
        level: 0,
        written_nanos: 9,
        continued_traces: Some(10),
        redacted_through: 0,
        files,
        unknown: Default::default(),
    }
}

fn add(block: &BlockEntry) -> Change {
    Change { add: vec![block.clone()], ..Change::default() }
}

const WRITER: WriterId = WriterId(uuid::Uuid::from_u128(1));

/// A writer that has just started.
fn writer() -> Arc<Lineage> {
    Arc::new(Lineage::new(WRITER, Vec::new()))
}

fn raised(by: &Arc<Lineage>, segment: u64) -> Option<Watermark> {
    Some(Watermark { by: by.clone(), segment: SegmentSequence(segment), from: None })
}

async fn open(objects: &Arc<dyn ObjectStore>) -> Store {
    Store::open(objects.clone(), Telemetry::unregistered()).await.unwrap()
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn ids(manifest: &Manifest) -> Vec<BlockId> {
    manifest.blocks.iter().map(|block| block.id).collect()
}

#[tokio::test]
async fn what_is_committed_is_there_after_a_restart() {
    let objects = memory();
    let (first, second, writer) = (block(), block(), writer());
    let store = open(&objects).await;
    assert_eq!(*store.load(&tenant()).await.unwrap(), Manifest::default());
    assert!(store.tenants().is_empty(), "asking for a tenant does not make one");
    let watermark = raised(&writer, 3);
    let change = Change { add: vec![second.clone(), first.clone()], watermark, ..Change::default() };
    let committed = store.commit(&tenant(), |_| Some(change.clone())).await.unwrap();
    assert_eq!(store.snapshot(&tenant()).unwrap(), committed);

    let reopened = open(&objects).await;
    assert_eq!(reopened.tenants(), [tenant()]);
    let manifest = reopened.snapshot(&tenant()).unwrap();
    assert_eq!(manifest, committed);
    assert_eq!((manifest.sequence, ids(&manifest)), (1, vec![first.id, second.id]));
    assert_eq!(manifest.watermark(&writer.writer().id), SegmentSequence(3));
    assert_eq!(manifest.bytes(), 42);
}

#[tokio::test]
async fn a_change_that_is_there_already_is_not_made_again() {
    let store = open(&memory()).await;
    let block = block();
    for _ in 0..3 {
        let manifest = store.commit(&tenant(), |_| Some(add(&block))).await.unwrap();
        assert_eq!((manifest.sequence, ids(&manifest)), (1, vec![block.id]));
    }
    assert_eq!(store.commit(&tenant(), |_| None).await.unwrap().sequence, 1);
}

#[tokio::test]
async fn a_watermark_never_sinks() {
    let store = open(&memory()).await;
    let writer = writer();
    for (segment, expected) in [(4, 4), (2, 4), (5, 5)] {
        let change = Change { watermark: raised(&writer, segment), ..Change::default() };
        let manifest = store.commit(&tenant(), |_| Some(change.clone())).await.unwrap();
        assert_eq!(manifest.watermark(&writer.writer().id), SegmentSequence(expected));
    }
}

#[tokio::test]
async fn blocks_are_replaced_once_and_only_while_they_are_there() {
    let store = open(&memory()).await;
    let (old, new, other) = (block(), block(), block());
    store.commit(&tenant(), |_| Some(add(&old))).await.unwrap();
    let replace = |by: &BlockEntry| Change { remove: vec![old.id], ..add(by) };
    for _ in 0..2 {
        let manifest = store.commit(&tenant(), |_| Some(replace(&new))).await.unwrap();
        assert_eq!(ids(&manifest), [new.id]);
    }
    let error = store.commit(&tenant(), |_| Some(replace(&other))).await.unwrap_err();
    assert!(matches!(error, Error::BlocksGone { block_id, .. } if block_id == old.id));
    let drop_both = Change { remove: vec![old.id, new.id], ..Change::default() };
    assert!(store.commit(&tenant(), |_| Some(drop_both.clone())).await.unwrap().blocks.is_empty());
}

#[tokio::test]
async fn nothing_is_lost_in_a_race() {
    const WRITERS: usize = 16;
    const COMMITS: usize = 4;
    let temp = tempfile::tempdir().unwrap();
    let config = TraceConfig::default();
    let local = crate::objects::open(&config, &DataDir::new(temp.path()), &Telemetry::unregistered()).unwrap();
    for objects in [memory(), local] {
        // Each writer has a store of its own, as in a process of its own; the last two share one.
        let mut stores: Vec<Arc<Store>> = Vec::new();
        for _ in 1..WRITERS {
            stores.push(Arc::new(open(&objects).await));
        }
        stores.push(stores[WRITERS - 2].clone());
        let commits = stores.into_iter().map(|store| {
            tokio::spawn(async move {
                let mut added = Vec::new();
                for _ in 0..COMMITS {
                    let block = block();
                    store.commit(&tenant(), |_| Some(add(&block))).await.unwrap();
                    added.push(block.id);
                }
                added
            })
        });
        let added: BTreeSet<BlockId> = join_all(commits).await.into_iter().flat_map(Result::unwrap).collect();
        let manifest = open(&objects).await.load(&tenant()).await.unwrap();
        assert_eq!(added.len(), WRITERS * COMMITS);
        assert_eq!(ids(&manifest), added.into_iter().collect::<Vec<_>>(), "{objects}");
        assert_eq!(manifest.sequence as usize, WRITERS * COMMITS);
    }
}

#[tokio::test]
async fn the_latest_manifests_stay_and_a_writer_that_slept_finds_the_newest() {
    let objects = memory();
    let (awake, asleep) = (open(&objects).await, open(&objects).await);
    let first = block();
    awake.commit(&tenant(), |_| Some(add(&first))).await.unwrap();
    asleep.refresh(&tenant()).await.unwrap();
    for _ in 0..20 {
        awake.commit(&tenant(), |_| Some(add(&block()))).await.unwrap();
    }
    for sequence in 1..=21 {
        let there = objects.head(&paths::manifest(&tenant(), sequence)).await.is_ok();
        assert_eq!(there, sequence > 21 - 8, "{sequence}");
    }
    // For the sleeper manifest 2 is next, and its key is free again.
    let late = block();
    let manifest = asleep.commit(&tenant(), |_| Some(add(&late))).await.unwrap();
    assert_eq!((manifest.sequence, manifest.blocks.len()), (22, 22));
    assert_eq!(awake.refresh(&tenant()).await.unwrap(), manifest);
    assert!(objects.head(&paths::manifest(&tenant(), 2)).await.is_err(), "the misplaced manifest is gone");
}

#[tokio::test]
async fn a_commit_that_arrives_after_a_fence_is_not_made() {
    let dying = FaultyStore::default();
    let store = Store::open(Arc::new(dying.clone()), Telemetry::unregistered()).await.unwrap();
    dying.faults().always(Call::Write, Fault::Late);
    store.commit(&tenant(), |_| Some(add(&block()))).await.unwrap_err();
    dying.faults().clear();

    let next = Store::open(Arc::new(dying.clone()), Telemetry::unregistered()).await.unwrap();
    assert_eq!(next.fence(&tenant()).await.unwrap().sequence, 1);
    for put in dying.take_late() {
        dying.deliver(put).await;
    }
    assert!(next.refresh(&tenant()).await.unwrap().blocks.is_empty());
    let block = block();
    next.commit(&tenant(), |_| Some(add(&block))).await.unwrap();
    assert_eq!(ids(&next.fence(&tenant()).await.unwrap()), [block.id]);
}

#[tokio::test]
async fn a_damaged_manifest_is_named_and_never_taken_for_an_empty_one() {
    let objects = memory();
    let store = open(&objects).await;
    let other = TenantId::parse("other").unwrap();
    store.commit(&tenant(), |_| Some(add(&block()))).await.unwrap();
    store.commit(&other, |_| Some(add(&block()))).await.unwrap();
    let key = paths::manifest(&tenant(), 1);
    let whole = objects.get(&key).await.unwrap().bytes().await.unwrap();
    let cut = [0, 1, whole.len() / 2, whole.len() - 1].map(|end| whole[..end].to_vec());
    let flipped = (0..whole.len()).map(|position| {
        let mut bytes = whole.to_vec();
        bytes[position] ^= 1;
        bytes
    });
    for damaged in flipped.chain(cut) {
        let text = String::from_utf8_lossy(&damaged).into_owned();
        objects.put(&key, damaged.into()).await.unwrap();
        let store = open(&objects).await;
        for error in [
            store.load(&tenant()).await.expect_err(&text),
            store.commit(&tenant(), |_| Some(add(&block()))).await.expect_err(&text),
        ] {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains(key.as_ref()), "{error}");
        }
        assert_eq!(store.tenants(), [other.clone(), tenant()]);
        assert_eq!(store.load(&other).await.unwrap().blocks.len(), 1, "other tenants do not suffer");
    }
}

#[tokio::test]
async fn a_manifest_of_which_only_a_part_was_read_is_not_damaged() {
    let objects = FaultyStore::default();
    let store = Store::open(Arc::new(objects.clone()), Telemetry::unregistered()).await.unwrap();
    let manifest = store.commit(&tenant(), |_| Some(add(&block()))).await.unwrap();
    objects.faults().always(Call::Read, Fault::Truncated);
    let error = Store::open(Arc::new(objects.clone()), Telemetry::unregistered()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    objects.faults().clear();
    let reopened = Store::open(Arc::new(objects), Telemetry::unregistered()).await.unwrap();
    assert_eq!(reopened.load(&tenant()).await.unwrap(), manifest);
}

#[tokio::test]
async fn a_manifest_under_the_wrong_sequence_is_damage() {
    let objects = memory();
    open(&objects).await.commit(&tenant(), |_| Some(add(&block()))).await.unwrap();
    objects.copy(&paths::manifest(&tenant(), 1), &paths::manifest(&tenant(), 2)).await.unwrap();
    let error = open(&objects).await.load(&tenant()).await.unwrap_err();
    assert!(error.to_string().ends_with("00000000000000000002.json is damaged: its sequence is 1"), "{error}");
}

#[tokio::test]
async fn a_manifest_of_version_1_still_opens() {
    let objects = memory();
    let text = r#"{"version":1,"checksum":4233957295,"manifest":{"sequence":1,"blocks":[{"id":"0190163d-8694-739b-aea5-966c26f8ad91","start_nanos":5,"end_nanos":6,"traces":7,"spans":8,"level":0,"files":{"spans_bytes":1,"traces_bytes":2,"resources_bytes":3,"scopes_bytes":4}}],"wal_watermarks":{"00000000-0000-0000-0000-000000000001":3}}}"#;
    objects.put(&paths::manifest(&tenant(), 1), text.into()).await.unwrap();
    let manifest = open(&objects).await.load(&tenant()).await.unwrap();
    assert_eq!((manifest.blocks[0].spans, manifest.blocks[0].bytes()), (8, 10));
    assert_eq!(manifest.watermark(&WRITER), SegmentSequence(3));
    assert!(manifest.is_of(&writer()), "whoever raised it");
    assert_eq!(manifest.blocks[0].written_nanos, 1_718_360_049_300_000_000, "when its id was made");
}

#[tokio::test]
async fn a_fence_makes_who_decided_before_it_decide_again() {
    let objects = memory();
    let (store, other) = (open(&objects).await, open(&objects).await);
    let (first, second) = (block(), block());
    let committed = store.commit(&tenant(), |_| Some(add(&first))).await.unwrap();
    let fence = other.fence(&tenant()).await.unwrap();
    assert_eq!((fence.sequence, &fence.blocks), (2, &committed.blocks));
    let seen = std::sync::Mutex::new(Vec::new());
    let decide = |manifest: &Manifest| {
        seen.lock().unwrap().push(manifest.sequence);
        Some(add(&second))
    };
    let manifest = store.commit(&tenant(), decide).await.unwrap();
    assert_eq!((manifest.sequence, ids(&manifest)), (3, vec![first.id, second.id]));
    assert_eq!(*seen.lock().unwrap(), [1, 2]);
}

#[tokio::test]
async fn what_a_writer_has_published_is_not_added_again_after_it_was_replaced() {
    let store = open(&memory()).await;
    let (published, compacted) = (block(), block());
    let publish = Change { watermark: raised(&writer(), 3), ..add(&published) };
    store.commit(&tenant(), |_| Some(publish.clone())).await.unwrap();
    let replace = Change { remove: vec![published.id], ..add(&compacted) };
    store.commit(&tenant(), |_| Some(replace.clone())).await.unwrap();
    let manifest = store.commit(&tenant(), |_| Some(publish.clone())).await.unwrap();
    assert_eq!(ids(&manifest), [compacted.id]);
}

#[tokio::test]
async fn a_watermark_that_another_process_has_raised_is_not_taken_for_ones_own() {
    let (store, before) = (open(&memory()).await, writer());
    let after = |start: &Lineage| Arc::new(Lineage::new(WRITER, vec![start.writer().incarnation]));
    let (original, copy) = (after(&before), after(&before));
    let raise = async |by: &Arc<Lineage>, segment| {
        let change = Change { watermark: raised(by, segment), ..add(&block()) };
        store.commit(&tenant(), |_| Some(change.clone())).await
    };
    raise(&before, 1).await.unwrap();
    let manifest = raise(&original, 4).await.unwrap();
    assert_eq!(manifest.published_by(&original.writer()), SegmentSequence(4));
    for other in [&before, &copy] {
        assert_eq!(manifest.published_by(&other.writer()), SegmentSequence::NONE);
        assert!(!manifest.is_of(other));
        for segment in [2, 4, 5] {
            let error = raise(other, segment).await.unwrap_err();
            assert!(matches!(error, Error::WriterElsewhere { writer_id: WRITER, .. }), "{error}");
        }
    }
    let next = after(&original);
    assert!(manifest.is_of(&next));
    raise(&next, 4).await.expect_err("no rows of its own can lie there");
    assert_eq!(raise(&next, 5).await.unwrap().published_by(&next.writer()), SegmentSequence(5));
    assert_eq!(store.incarnations_of(&WRITER), Some(BTreeSet::from([next.writer().incarnation])));
}

/// Requests that were made so far: LIST and GET.
fn requests(registry: &Registry) -> [u64; 2] {
    ["LIST", "GET"].map(|operation| {
        let start = format!("tempodb_backend_request_duration_seconds_count{{operation=\"{operation}\"");
        crate::telemetry::tests::sum(registry, &start)
    })
}

#[tokio::test]
async fn a_poll_takes_over_what_others_commit_and_costs_little_when_there_is_nothing() {
    let mut registry = Registry::default();
    let telemetry = Telemetry::register(&mut registry);
    let config = TraceConfig { backend: crate::config::Backend::Memory, ..TraceConfig::default() };
    let objects = crate::objects::open(&config, &DataDir::new(""), &telemetry).unwrap();
    let (ours, others) = (Arc::new(open(&objects).await), open(&objects).await);
    let poller = Poller::new(ours.clone(), Duration::from_secs(60), telemetry);
    let (first, second) = (block(), block());
    for (tenant, block, count) in [(tenant(), first, 1), (TenantId::parse("new").unwrap(), second, 2)] {
        others.commit(&tenant, |_| Some(add(&block))).await.unwrap();
        assert!(!ours.tenants().contains(&tenant));
        poller.poll().await;
        assert_eq!(ids(&ours.snapshot(&tenant).unwrap()), [block.id]);
        assert_eq!(ours.tenants().len(), count);
    }
    let [lists, gets] = requests(&registry);
    poller.poll().await;
    assert_eq!(requests(&registry), [lists + 3, gets], "tenants, and the manifests of two");
}

#[tokio::test(start_paused = true)]
async fn looking_for_tenants_that_do_not_exist_costs_one_list_a_second() {
    let mut registry = Registry::default();
    let telemetry = Telemetry::register(&mut registry);
    let config = TraceConfig { backend: crate::config::Backend::Memory, ..TraceConfig::default() };
    let objects = crate::objects::open(&config, &DataDir::new(""), &telemetry).unwrap();
    let (ours, others) = (open(&objects).await, open(&objects).await);
    let [lists, gets] = requests(&registry);
    for number in 0..10_000 {
        let tenant = TenantId::parse(&format!("t{number}")).unwrap();
        assert_eq!(*ours.load(&tenant).await.unwrap(), Manifest::default());
    }
    assert_eq!(requests(&registry), [lists + 1, gets]);
    assert_eq!(ours.tenants().len(), 0);
    // one that others have written since is found
    let (tenant, block) = (TenantId::parse("t7").unwrap(), block());
    others.commit(&tenant, |_| Some(add(&block))).await.unwrap();
    tokio::time::advance(Duration::from_millis(1001)).await;
    assert_eq!(ids(&ours.load(&tenant).await.unwrap()), [block.id]);
}

#[tokio::test]
async fn a_poll_that_fails_keeps_what_was_known() {
    let objects = memory();
    let (ours, others) = (Arc::new(open(&objects).await), open(&objects).await);
    let mut registry = Registry::default();
    let poller = Poller::new(ours.clone(), Duration::from_secs(60), Telemetry::register(&mut registry));
    let known = others.commit(&tenant(), |_| Some(add(&block()))).await.unwrap();
    poller.poll().await;
    others.commit(&tenant(), |_| Some(add(&block()))).await.unwrap();
    objects.put(&paths::manifest(&tenant(), 2), "{".into()).await.unwrap();
    poller.poll().await;
    assert_eq!(ours.snapshot(&tenant()).unwrap(), known);
    let text = crate::telemetry::tests::text(&registry);
    assert!(text.contains("tempodb_blocklist_poll_errors_total{tenant=\"team*a\"} 1"), "{text}");
}

#[tokio::test]
async fn a_commit_without_a_clear_outcome_is_written_again_when_it_is_repeated() {
    let failing = Arc::new(FaultyStore::default());
    let store = Store::open(failing.clone(), Telemetry::unregistered()).await.unwrap();
    let block = block();
    failing.faults().always(Call::Write, Fault::Unclear);
    store.commit(&tenant(), |_| Some(add(&block))).await.unwrap_err();
    failing.faults().clear();
    let manifest = store.commit(&tenant(), |_| Some(add(&block))).await.unwrap();
    assert_eq!((manifest.sequence, ids(&manifest)), (2, vec![block.id]));
    let manifest = store.commit(&tenant(), |_| Some(add(&block))).await.unwrap();
    assert_eq!(manifest.sequence, 2, "now the outcome is clear");
}

#[tokio::test]
async fn the_age_of_what_is_known_grows_also_when_nobody_polls_any_more() {
    let (objects, mut registry) = (memory(), Registry::default());
    let (ours, telemetry) = (Arc::new(open(&objects).await), Telemetry::register(&mut registry));
    open(&objects).await.commit(&tenant(), |_| Some(add(&block()))).await.unwrap();
    let poller = Poller::new(ours, Duration::from_secs(60), telemetry);
    poller.poll().await;
    drop(poller);
    let age = || -> f64 {
        let text = crate::telemetry::tests::text(&registry);
        let line = "tempodb_blocklist_tenant_index_age_seconds{tenant=\"team*a\"} ";
        text.lines().find_map(|text| text.strip_prefix(line)).expect(&text).parse().unwrap()
    };
    let first = age();
    while age() <= first {
        std::thread::yield_now();
    }
}

/// A program of the same version that is newer may know more; both work on the store while it is upgraded.
#[tokio::test]
async fn fields_that_are_not_known_are_passed_on_by_the_next_commit() {
    let objects = memory();
    let map = TraceMapId::generate();
    let block_id = BlockId::generate();
    let content = format!(
        r#"{{"sequence":1,"blocks":[{{"id":"{block_id}","start_nanos":5,"end_nanos":6,"traces":7,"spans":8,"level":0,"written_nanos":9,"files":{{"spans_bytes":1,"traces_bytes":2,"resources_bytes":3,"scopes_bytes":4,"index_bytes":5,"bloom_bytes":12}},"zone":"a"}}],"trace_maps":[{{"id":"{map}","bytes":3,"blocks":["{block_id}"],"depth":2}}],"wal_watermarks":{{}},"regions":[{{"id":18446744073709551615}}]}}"#
    );
    let checksum = crc32fast::hash(content.as_bytes());
    let text = format!(r#"{{"version":1,"checksum":{checksum},"manifest":{content}}}"#);
    objects.put(&paths::manifest(&tenant(), 1), text.into()).await.unwrap();
    let store = open(&objects).await;
    store.commit(&tenant(), |_| Some(Change { watermark: raised(&writer(), 3), ..add(&block()) })).await.unwrap();
    let written = objects.get(&paths::manifest(&tenant(), 2)).await.unwrap().bytes().await.unwrap();
    let written = serde_json::from_slice::<serde_json::Value>(&written).unwrap()["manifest"].take();
    assert_eq!(written["regions"][0]["id"], u64::MAX);
    assert_eq!((&written["blocks"][0]["zone"], &written["trace_maps"][0]["depth"]), (&"a".into(), &2.into()));
    assert_eq!(written["blocks"][0]["files"]["bloom_bytes"], 12);
    assert_eq!(open(&objects).await.load(&tenant()).await.unwrap().blocks.len(), 2);
}

#[tokio::test]
async fn a_manifest_of_a_later_version_is_refused_as_that() {
    let objects = memory();
    open(&objects).await.commit(&tenant(), |_| Some(add(&block()))).await.unwrap();
    let text = r#"{"version":3,"checksum":0,"manifest":{},"more":1}"#;
    objects.put(&paths::manifest(&tenant(), 2), text.into()).await.unwrap();
    let error = open(&objects).await.load(&tenant()).await.unwrap_err();
    assert!(error.to_string().ends_with("2.json has version 3, this program knows version 2"), "{error}");
}
