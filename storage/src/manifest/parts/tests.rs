use std::collections::BTreeMap;

use model::TenantId;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::error::Error;
use crate::manifest::format::{decode, encode};
use crate::manifest::{BlockFiles, Change, Store};
use crate::paths;
use crate::telemetry::Telemetry;

/// A block as one of a real store: numbers of many digits.
fn block(number: u64) -> BlockEntry {
    let files = BlockFiles {
        spans_bytes: 61_234_567,
        traces_bytes: 5_123_456,
        resources_bytes: 23_456,
        scopes_bytes: 3_456,
        index_bytes: 4_123_456,
        directory_bytes: 1_123_456,
        unknown: Default::default(),
    };
    BlockEntry {
        id: id(number),
        start_nanos: 1_700_000_000_000_000_000 + number,
        end_nanos: 1_700_000_300_000_000_000 + number,
        traces: 212_345,
        spans: 2_123_456,
        level: 1,
        written_nanos: 1_700_000_310_000_000_000 + number,
        continued_traces: Some(12_345),
        redacted_through: 0,
        files,
        unknown: Default::default(),
    }
}

fn id(number: u64) -> BlockId {
    BlockId(Uuid::from_u128(0x0192_f0c8_7b4a_7c3e_8f00_0000_0000_0000 + u128::from(number)))
}

fn map(number: u64, of: std::ops::Range<u64>) -> TraceMapEntry {
    let blocks = of.map(id).collect();
    TraceMapEntry { id: TraceMapId(id(number).0), bytes: 1_234_567, blocks, unknown: Default::default() }
}

fn tenant() -> TenantId {
    TenantId::single()
}

async fn open(objects: &Arc<InMemory>) -> Store {
    Store::open(objects.clone(), Telemetry::unregistered()).await.unwrap()
}

async fn commit(store: &Store, change: Change) -> Arc<Manifest> {
    store.commit(&tenant(), |_| Some(change.clone())).await.unwrap()
}

/// A manifest that is stored and read again, with the parts that were stored with it and before.
fn stored_and_read(manifest: &Manifest, parts: &BTreeMap<ManifestPartId, Arc<Part>>) -> Manifest {
    let key = Path::from("manifest");
    let stored = decode(&key, manifest.sequence, &encode(manifest)).unwrap();
    let parts = stored.parts.iter().map(|part| parts[&part.id].clone()).collect();
    stored.whole(&key, parts).unwrap()
}

#[tokio::test]
async fn of_twenty_thousand_blocks_a_commit_writes_less_than_a_hundred_and_fifty_kilobytes() {
    const BLOCKS: u64 = 20_000;
    const COMMITS: u64 = 16;
    let objects = Arc::new(InMemory::new());
    let store = open(&objects).await;
    for first in (0..BLOCKS).step_by(1_000) {
        let maps = Some(map(first, first..first + 1_000));
        let add = (first..first + 1_000).map(block).collect();
        commit(&store, Change { add, add_trace_map: maps, ..Change::default() }).await;
    }
    // as after a while of merging and retention: a third of all is gone
    let remove: Vec<_> = (0..BLOCKS).filter(|number| number % 3 == 0).map(id).collect();
    commit(&store, Change { remove, ..Change::default() }).await;
    let (mut most, mut parts) = (0, 0);
    for first in (BLOCKS..BLOCKS + 2 * PART_ENTRIES as u64).step_by(2 * PART_ENTRIES / COMMITS as usize) {
        let before = store.snapshot(&tenant()).unwrap().parts.len();
        let add = (first..first + 2 * PART_ENTRIES as u64 / COMMITS).map(block).collect();
        let manifest = commit(&store, Change { add, ..Change::default() }).await;
        parts += manifest.parts.len() - before;
        most = most.max(objects.head(&paths::manifest(&tenant(), manifest.sequence)).await.unwrap().size);
    }
    println!("{most} bytes at most, {parts} parts were stored by {COMMITS} commits");
    assert!(most < 150_000, "{most} bytes");
    assert!((1..=2).contains(&parts), "{parts} parts");
    assert_eq!(open(&objects).await.snapshot(&tenant()), store.snapshot(&tenant()));
}

#[tokio::test]
async fn a_process_reads_only_the_parts_that_it_does_not_know() {
    let objects = crate::testing::FaultyStore::default();
    let open = async || Store::open(Arc::new(objects.clone()), Telemetry::unregistered()).await.unwrap();
    let (ours, theirs) = (open().await, open().await);
    commit(&theirs, Change { add: (0..1_000).map(block).collect(), ..Change::default() }).await;
    assert_eq!(ours.refresh(&tenant()).await.unwrap().blocks.len(), 1_000);
    let part = ours.snapshot(&tenant()).unwrap().parts[0].id;
    // it is not read again: it could not be
    objects.delete(&paths::manifest_part(&tenant(), &part)).await.unwrap();
    let committed = commit(&theirs, Change { add: vec![block(1_000)], ..Change::default() }).await;
    assert_eq!(ours.refresh(&tenant()).await.unwrap(), committed);
    let error = open().await.load(&tenant()).await.unwrap_err();
    let wanted = format!("manifest {} is damaged: it is not there", paths::manifest_part(&tenant(), &part));
    assert!(matches!(error, Error::ManifestDamaged { .. }) && error.to_string() == wanted, "{error}");
}

#[tokio::test]
async fn a_small_manifest_has_no_parts_and_older_programs_read_it() {
    let objects = Arc::new(InMemory::new());
    let store = open(&objects).await;
    commit(&store, Change { add: (0..SEAL_AT as u64 - 1).map(block).collect(), ..Change::default() }).await;
    let version = async |sequence| {
        let bytes = objects.get(&paths::manifest(&tenant(), sequence)).await.unwrap().bytes().await.unwrap();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["version"].as_u64()
    };
    assert_eq!(version(1).await, Some(1));
    commit(&store, Change { add: vec![block(9_999)], ..Change::default() }).await;
    assert_eq!(version(2).await, Some(2));
    // what retention leaves needs none any more
    commit(&store, Change { remove: (0..200).map(id).collect(), ..Change::default() }).await;
    assert_eq!(version(3).await, Some(1));
}

#[tokio::test]
async fn nobody_loses_a_block_when_many_store_parts_at_once() {
    let objects = Arc::new(InMemory::new());
    let commits = (0..8_u64).map(|writer| {
        let objects = objects.clone();
        tokio::spawn(async move {
            let store = open(&objects).await;
            for round in 0..8 {
                let first = 1_000 * writer + 50 * round;
                commit(&store, Change { add: (first..first + 50).map(block).collect(), ..Change::default() }).await;
                let remove = (first..first + 10).map(id).collect();
                commit(&store, Change { remove, ..Change::default() }).await;
            }
        })
    });
    for done in futures::future::join_all(commits).await {
        done.unwrap();
    }
    let manifest = open(&objects).await.load(&tenant()).await.unwrap();
    let kept = |writer: u64| (0..8).flat_map(move |round| (10..50).map(move |left| 1_000 * writer + 50 * round + left));
    assert_eq!(
        manifest.blocks.iter().map(|block| block.id).collect::<Vec<_>>(),
        (0..8).flat_map(kept).map(id).collect::<Vec<_>>()
    );
}

/// A change of a store at work.
#[derive(Debug, Clone)]
enum Step {
    Publish(u64),
    /// Of so many of the oldest one block.
    Merge(usize),
    Expire(usize),
    Map(u64),
    LookThrough(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..200_u64).prop_map(Step::Publish),
        2 => (2..60_usize).prop_map(Step::Merge),
        1 => (1..150_usize).prop_map(Step::Expire),
        1 => (1..400_u64).prop_map(Step::Map),
        1 => (1..50_usize).prop_map(Step::LookThrough),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_manifest_in_parts_says_what_it_would_say_whole(steps in proptest::collection::vec(any_step(), 1..24)) {
        let (mut whole, mut in_parts) = (Manifest::default(), Manifest::default());
        let (mut stored, mut next) = (BTreeMap::new(), 0..u64::MAX);
        for step in steps {
            let oldest = |count| whole.blocks.iter().take(count).map(|block| block.id).collect::<Vec<_>>();
            let change = match step {
                Step::Publish(count) => Change { add: next.by_ref().take(count as usize).map(block).collect(), ..Change::default() },
                Step::Merge(count) => Change { add: next.by_ref().take(1).map(block).collect(), remove: oldest(count), ..Change::default() },
                Step::Expire(count) => Change { remove: oldest(count), ..Change::default() },
                Step::Map(count) => Change { add_trace_map: next.next().map(|number| map(number, number.saturating_sub(count)..number)), ..Change::default() },
                Step::LookThrough(count) => Change { looked_through: oldest(count).into_iter().map(|id| (id, next.start)).collect(), ..Change::default() },
            };
            whole = whole.apply(&change).unwrap().unwrap_or(whole);
            let Some(applied) = in_parts.apply(&change).unwrap() else { continue };
            let (laid_out, new) = applied.in_parts();
            stored.extend(new.into_iter().map(|part| (part.id, part)));
            in_parts = stored_and_read(&laid_out, &stored);
            prop_assert_eq!(&in_parts, &laid_out);
            let layout = in_parts.layout();
            prop_assert!(layout.blocks.len() < SEAL_AT);
            prop_assert!(in_parts.parts.len() <= 1 + 2 * in_parts.blocks.len() / PART_ENTRIES + in_parts.trace_maps.len());
            prop_assert_eq!(&Manifest { parts: Vec::new(), ..in_parts.clone() }, &whole);
        }
    }
}
