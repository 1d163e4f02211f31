//! What has no name goes, in time and not before; what has one or may still get one stays.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::*;
use crate::config::TraceConfig;
use crate::manifest::{BlockEntry, BlockFiles, Change, Store, TraceMapEntry};
use crate::paths::DataDir;
use crate::publish_deadline::PublishDeadline;
use crate::telemetry::Telemetry;
use crate::testing::{Fault, FaultyStore};

const GRACE: Duration = Duration::from_secs(3600);

/// A store and the blocks of one tenant in it.
struct Bucket {
    objects: Arc<dyn ObjectStore>,
    tenant: TenantId,
}

impl Bucket {
    fn of(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, tenant: TenantId::single() }
    }

    fn in_memory() -> Self {
        Self::of(Arc::new(InMemory::new()))
    }

    /// Opens the manifests as a process of its own does.
    async fn manifests(&self) -> Arc<Store> {
        Arc::new(Store::open(self.objects.clone(), Telemetry::unregistered()).await.unwrap())
    }

    /// Stores the files of a block, which no manifest names yet.
    async fn write(&self) -> BlockEntry {
        let id = BlockId::generate();
        for file in BlockFile::ALL {
            self.objects.put(&paths::block_file(&self.tenant, &id, file), file.name().into()).await.unwrap();
        }
        let files = BlockFiles::default();
        let (traces, spans, continued_traces) = (1, 1, None);
        BlockEntry {
            id,
            start_nanos: 1,
            end_nanos: 2,
            traces,
            spans,
            level: 0,
            written_nanos: 3,
            continued_traces,
            redacted_through: 0,
            files,
            unknown: Default::default(),
        }
    }

    async fn commit(&self, change: Change) {
        self.manifests().await.commit(&self.tenant, |_| Some(change.clone())).await.unwrap();
    }

    async fn publish(&self) -> BlockEntry {
        let entry = self.write().await;
        self.commit(Change { add: vec![entry.clone()], ..Change::default() }).await;
        entry
    }

    /// Stores a trace map of the block, which no manifest names yet.
    async fn write_trace_map(&self, of: &BlockEntry) -> TraceMapEntry {
        let id = TraceMapId::generate();
        self.objects.put(&paths::trace_map(&self.tenant, &id), "a map".into()).await.unwrap();
        TraceMapEntry { id, bytes: 5, blocks: vec![of.id], unknown: Default::default() }
    }

    async fn has_trace_map(&self, map: &TraceMapEntry) -> bool {
        self.objects.head(&paths::trace_map(&self.tenant, &map.id)).await.is_ok()
    }

    /// Ids of the blocks that have files.
    async fn with_files(&self) -> BTreeSet<BlockId> {
        let listed: Vec<_> = self.objects.list(Some(&paths::blocks(&self.tenant))).try_collect().await.unwrap();
        let id = |object: &ObjectMeta| match paths::ObjectKey::parse(&object.location) {
            Some(paths::ObjectKey::BlockFile { block_id, .. }) => Some(block_id),
            _ => None,
        };
        listed.iter().filter_map(id).collect()
    }
}

/// A collector and its clock.
struct Collecting {
    collector: Collector,
    now: Instant,
}

impl Collecting {
    async fn start(bucket: &Bucket) -> Self {
        let manifests = bucket.manifests().await;
        let collector = Collector::new(manifests, bucket.objects.clone(), GRACE, Telemetry::unregistered());
        Self { collector, now: Instant::now() }
    }

    /// Rounds for so long, and one more.
    async fn go_on(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.collector.round(|| self.now).await;
        while self.now < end {
            self.now += PERIOD;
            self.collector.round(|| self.now).await;
        }
    }
}

#[tokio::test]
async fn files_without_a_name_go_after_the_grace_period() {
    let temp = tempfile::tempdir().unwrap();
    let dir = DataDir::new(temp.path());
    let local = crate::objects::open(&TraceConfig::default(), &dir, &Telemetry::unregistered()).unwrap();
    for bucket in [Bucket::in_memory(), Bucket::of(local)] {
        let (kept, dropped, orphan) = (bucket.publish().await, bucket.publish().await, bucket.write().await);
        let foreign = Path::from(format!("{}/blocks/{}/notes.txt", bucket.tenant, kept.id));
        bucket.objects.put(&foreign, "not ours".into()).await.unwrap();
        bucket.commit(Change { remove: vec![dropped.id], ..Change::default() }).await;

        let mut collector = Collecting::start(&bucket).await;
        collector.go_on(GRACE - PERIOD).await;
        assert_eq!(bucket.with_files().await, BTreeSet::from([kept.id, dropped.id, orphan.id]), "{}", bucket.objects);
        collector.go_on(PERIOD).await;
        assert_eq!(bucket.with_files().await, BTreeSet::from([kept.id]), "{}", bucket.objects);
        assert!(bucket.objects.head(&foreign).await.is_ok(), "what is not a block's file is left alone");
        for file in BlockFile::ALL {
            assert!(bucket.objects.head(&paths::block_file(&bucket.tenant, &kept.id, file)).await.is_ok());
        }
    }
}

#[tokio::test]
async fn a_trace_map_stays_as_long_as_it_has_a_name() {
    let bucket = Bucket::in_memory();
    let block = bucket.publish().await;
    let (named, replaced) = (bucket.write_trace_map(&block).await, bucket.write_trace_map(&block).await);
    let orphan = bucket.write_trace_map(&block).await;
    for (map, remove) in [(&replaced, vec![]), (&named, vec![replaced.id])] {
        let add_trace_map = Some(map.clone());
        bucket.commit(Change { add_trace_map, remove_trace_maps: remove, ..Change::default() }).await;
    }
    let mut collector = Collecting::start(&bucket).await;
    collector.go_on(GRACE - PERIOD).await;
    assert!(bucket.has_trace_map(&replaced).await && bucket.has_trace_map(&orphan).await);
    collector.go_on(PERIOD).await;
    assert!(!bucket.has_trace_map(&replaced).await && !bucket.has_trace_map(&orphan).await);
    bucket.commit(Change { remove: vec![block.id], ..Change::default() }).await;
    collector.go_on(GRACE - PERIOD).await;
    assert!(bucket.has_trace_map(&named).await, "a map goes as its last block does");
    collector.go_on(PERIOD).await;
    assert!(!bucket.has_trace_map(&named).await);
}

#[tokio::test]
async fn a_restart_begins_the_grace_period_anew() {
    let bucket = Bucket::in_memory();
    let (kept, orphan) = (bucket.publish().await, bucket.write().await);
    Collecting::start(&bucket).await.go_on(GRACE - PERIOD).await;
    let mut restarted = Collecting::start(&bucket).await;
    restarted.go_on(GRACE - PERIOD).await;
    assert_eq!(bucket.with_files().await, BTreeSet::from([kept.id, orphan.id]));
    restarted.go_on(PERIOD).await;
    assert_eq!(bucket.with_files().await, BTreeSet::from([kept.id]));
}

#[tokio::test]
async fn what_others_have_published_is_not_taken_for_garbage() {
    let bucket = Bucket::in_memory();
    let (first, second) = (bucket.publish().await, bucket.write().await);
    let mut collector = Collecting::start(&bucket).await;
    collector.go_on(Duration::from_secs(600)).await;
    bucket.commit(Change { add: vec![second.clone()], ..Change::default() }).await;
    collector.go_on(2 * GRACE).await;
    assert_eq!(bucket.with_files().await, BTreeSet::from([first.id, second.id]));
}

#[tokio::test]
async fn a_tenant_without_a_readable_manifest_is_left_alone() {
    for is_lost in [true, false] {
        let bucket = Bucket::in_memory();
        let (entry, orphan) = (bucket.publish().await, bucket.write().await);
        let mut collectors = vec![Collecting::start(&bucket).await];
        let key = paths::manifest(&bucket.tenant, 1);
        match is_lost {
            true => bucket.objects.delete(&key).await.unwrap(),
            // one that was read before it was damaged is as good as ever
            false => drop((bucket.objects.put(&key, "{".into()).await.unwrap(), collectors.pop())),
        }
        collectors.push(Collecting::start(&bucket).await);
        for mut collector in collectors {
            collector.go_on(2 * GRACE).await;
        }
        assert_eq!(bucket.with_files().await, BTreeSet::from([entry.id, orphan.id]), "lost: {is_lost}");
    }
}

fn too_long_ago() -> PublishDeadline {
    PublishDeadline::of(Instant::now(), SystemTime::now() - MAX_UNPUBLISHED)
}

#[tokio::test]
async fn what_was_begun_too_long_ago_is_not_published() {
    let bucket = Bucket::in_memory();
    let mapped = bucket.publish().await;
    for deadline in [PublishDeadline::from_now(), too_long_ago()] {
        let (entry, map) = (bucket.write().await, bucket.write_trace_map(&mapped).await);
        let add_block = Change { add: vec![entry.clone()], deadline: Some(deadline), ..Change::default() };
        let add_map = Change { add_trace_map: Some(map.clone()), deadline: Some(deadline), ..Change::default() };
        for change in [add_block, add_map] {
            let result = bucket.manifests().await.commit(&bucket.tenant, |_| Some(change.clone())).await;
            assert_eq!(matches!(result, Err(Error::TooLate { .. })), !deadline.may_publish(), "{result:?}");
        }
        let manifest = bucket.manifests().await.load(&bucket.tenant).await.unwrap();
        let is_there = manifest.block(&entry.id).is_some() && manifest.trace_map(&map.id).is_some();
        assert_eq!(is_there, deadline.may_publish());
    }
}

/// The put of a manifest is under way for longer than the grace period.
#[tokio::test]
async fn a_commit_that_was_decided_before_the_files_went_is_not_made() {
    let objects = FaultyStore::default();
    let bucket = Bucket::of(Arc::new(objects.clone()));
    let (kept, entry) = (bucket.publish().await, bucket.write().await);
    let slow = bucket.manifests().await;
    let publish = async |deadline| {
        let change = Change { add: vec![entry.clone()], deadline: Some(deadline), ..Change::default() };
        slow.commit(&bucket.tenant, |_| Some(change.clone())).await
    };
    objects.faults().plan(0, Fault::Late);
    publish(PublishDeadline::from_now()).await.unwrap_err();

    Collecting::start(&bucket).await.go_on(GRACE).await;
    assert_eq!(bucket.with_files().await, BTreeSet::from([kept.id]));
    for put in objects.take_late() {
        objects.deliver(put).await;
    }
    assert!(matches!(publish(too_long_ago()).await, Err(Error::TooLate { .. })));
    assert_eq!(bucket.manifests().await.load(&bucket.tenant).await.unwrap().blocks, [kept]);
}
