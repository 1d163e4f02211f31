//! The way in as a whole, on stores that fail and logs that are read back.

use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use prost::Message;
use spans::testing::shop_request;
use storage::block::BlockCache;
use storage::compaction::{self, Compactor};
use storage::cpu::CpuPool;
use storage::ids::SegmentSequence;
use storage::incarnation::Lineage;
use storage::manifest;
use storage::paths::DataDir;
use storage::testing::{Call, Fault, FaultyStore, Power};
use storage::view::{LocalViews, Reach, Views};
use storage::wal::{Log, Position};
use storage::{Source, Telemetry};
use tokio::sync::watch;

use super::*;
use crate::Fed;
use crate::command::ApplyCommand;

struct Running {
    ingester: Ingester,
    manifests: Arc<manifest::Store>,
    objects: Arc<dyn ObjectStore>,
}

/// Spans that a query would find in published blocks, and live.
async fn seen(views: &LocalViews, tenant: &TenantId) -> (usize, usize) {
    let view = views.view(tenant, Reach::Everything).await.unwrap();
    let (live, stored): (Vec<_>, Vec<_>) = view.sources.iter().partition(|source| source.is_live());
    let count = |sources: Vec<&Arc<dyn Source>>| sources.iter().map(|source| source.span_count()).sum();
    (count(stored), count(live))
}

/// A start that takes longer has failed for good.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A process on a data folder that has no more than the log.
async fn open(wal_dir: &Path, objects: Arc<FaultyStore>, config: Config) -> Result<Running, Error> {
    open_feeding(wal_dir, objects, config, None).await
}

/// The same with somebody who counts spans.
async fn open_feeding(
    wal_dir: &Path,
    objects: Arc<FaultyStore>,
    config: Config,
    feed: Option<Feed>,
) -> Result<Running, Error> {
    let dir = DataDir::new(wal_dir).with_wal_dir(wal_dir);
    let manifests = Arc::new(manifest::Store::open(objects.clone(), Telemetry::unregistered()).await.unwrap());
    let storage = Storage {
        objects: objects.clone(),
        manifests: manifests.clone(),
        cpu: CpuPool::new(1),
        telemetry: Telemetry::unregistered(),
        lineage: Arc::new(Lineage::open(&dir).unwrap()),
        puts_may_be_late: true,
        cache: BlockCache::new(8 << 20, Telemetry::unregistered()),
        trace_reach: Duration::from_secs(3_600),
    };
    let log = Log::open(wal_dir).unwrap();
    let registry = &mut Registry::default();
    let ingester = Ingester::open_feeding(config, log, storage, Arc::default(), feed, registry).await?;
    Ok(Running { ingester, manifests, objects })
}

/// As [`open`], ready.
async fn start(wal_dir: &Path, objects: Arc<FaultyStore>, config: Config) -> Running {
    let running = open(wal_dir, objects, config).await.unwrap();
    let ingester = &running.ingester;
    let is_ready = async {
        ingester.ready().await;
    };
    let late = |_| panic!("not ready in time: {:?}", ingester.readiness());
    tokio::time::timeout(START_TIMEOUT, is_ready).await.unwrap_or_else(late);
    running
}

impl Running {
    async fn push(&self, tenant: &TenantId, seed: u64) -> usize {
        self.ingester.push(tenant, shop_request(seed, 5, seed * 1_000_000).encode_to_vec().into()).await.unwrap().spans
    }

    fn views(&self, live: Arc<dyn LiveRows>) -> LocalViews {
        let cache = BlockCache::new(0, Telemetry::unregistered());
        let (manifests, objects, cpu) = (self.manifests.clone(), self.objects.clone(), CpuPool::new(1));
        LocalViews { live, manifests, objects, cpu, cache }
    }

    /// Spans in published blocks, and live ones that are in none of them.
    async fn spans(&self, tenant: &TenantId) -> (usize, usize) {
        seen(&self.views(Arc::new(self.ingester.clone())), tenant).await
    }

    /// Merges blocks, if there are several.
    async fn compact(&self) {
        let config = compaction::Config {
            cycle: Duration::from_secs(30),
            window: Duration::from_secs(3600),
            quiet: Duration::ZERO,
            max_traces: 1_000,
            max_block_bytes: 1 << 30,
        };
        let (manifests, objects) = (self.manifests.clone(), self.objects.clone());
        let mut compactor = Compactor::new(manifests, objects, CpuPool::new(1), &config, Telemetry::unregistered());
        let (_stop, running) = watch::channel(false);
        compactor.round(&running).await;
    }
}

fn small_blocks() -> Config {
    Config { max_block_bytes: 1, ..Config::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_live_at_once_and_in_a_block_after_a_flush() {
    let (dir, tenant) = (tempfile::tempdir().unwrap(), TenantId::single());
    let running = start(dir.path(), Arc::default(), Config::default()).await;
    let spans = running.push(&tenant, 1).await;
    assert_eq!(running.spans(&tenant).await, (0, spans));
    running.ingester.flush().await.unwrap();
    assert_eq!(running.spans(&tenant).await, (spans, 0));
    running.ingester.flush().await.unwrap();
    assert_eq!(running.spans(&tenant).await, (spans, 0), "nothing to flush");
}

/// Live rows after whose taking the rows are published, and their block is merged with others.
struct Overtaken {
    running: Running,
    runtime: tokio::runtime::Handle,
}

impl LiveRows for Overtaken {
    fn writer(&self) -> Writer {
        self.running.ingester.writer()
    }

    fn tables(&self, tenant: &TenantId) -> Result<Vec<LiveTable>, storage::Error> {
        let tables = self.running.ingester.tables(tenant)?;
        self.runtime.block_on(async {
            self.running.ingester.flush().await.unwrap();
            self.running.compact().await;
        });
        Ok(tables)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_finds_spans_once_that_are_published_and_merged_while_it_begins() {
    let (dir, tenant) = (tempfile::tempdir().unwrap(), TenantId::single());
    let running = start(dir.path(), Arc::default(), Config::default()).await;
    let mut sent = running.push(&tenant, 1).await;
    running.ingester.flush().await.unwrap();
    sent += running.push(&tenant, 2).await;
    let (manifests, objects) = (running.manifests.clone(), running.objects.clone());
    let (ingester, cpu) = (running.ingester.clone(), CpuPool::new(1));
    let overtaken = Overtaken { running, runtime: tokio::runtime::Handle::current() };
    let cache = BlockCache::new(0, Telemetry::unregistered());
    let views = LocalViews { live: Arc::new(overtaken), manifests: manifests.clone(), objects, cpu, cache };
    assert_eq!(seen(&views, &tenant).await, (sent, 0));
    assert_eq!(manifests.load(&tenant).await.unwrap().blocks.len(), 1, "they were merged");
    ingester.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_restart_once() {
    let (dir, objects, tenant) = (tempfile::tempdir().unwrap(), Arc::<FaultyStore>::default(), TenantId::single());
    let (mut sent, other) = (0, TenantId::parse("other").unwrap());
    for round in 0..4 {
        let config = if round % 2 == 0 { Config::default() } else { small_blocks() };
        let running = start(dir.path(), objects.clone(), config).await;
        for seed in 0..10 {
            sent += running.push(&tenant, round * 100 + seed).await;
        }
        running.push(&other, round).await;
        let (published, live) = running.spans(&tenant).await;
        assert_eq!(published + live, sent, "round {round}");
        running.ingester.close().await;
    }
    let running = start(dir.path(), objects, Config::default()).await;
    let (published, live) = running.spans(&tenant).await;
    assert_eq!(published + live, sent);
}

/// Otherwise it deletes segments that a later ingester on the same folder is about to read.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_ingester_touches_its_log_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path(), Arc::default(), small_blocks()).await;
    running.push(&TenantId::single(), 1).await;
    assert!(!running.ingester.state.log.is_closed());
    running.ingester.close().await;
    assert!(running.ingester.state.log.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_delays_blocks_and_loses_nothing() {
    let (dir, objects, tenant) = (tempfile::tempdir().unwrap(), Arc::<FaultyStore>::default(), TenantId::single());
    let running = start(dir.path(), objects.clone(), Config::default()).await;
    let spans = running.push(&tenant, 1).await;
    objects.faults().always(Call::Write, Fault::Refused);
    assert!(running.ingester.flush().await.is_err());
    assert_eq!(running.spans(&tenant).await, (0, spans), "still found");
    objects.faults().clear();
    running.ingester.flush().await.unwrap();
    assert_eq!(running.spans(&tenant).await, (spans, 0));
}

/// The put of a process that died may reach the store when the next one has already read what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_published_after_a_restart_is_not_there_twice() {
    const CALLS_OF_A_FLUSH: u64 = 9;
    for call in 0..CALLS_OF_A_FLUSH {
        let (dir, objects, tenant) = (tempfile::tempdir().unwrap(), FaultyStore::default(), TenantId::single());
        let running = start(dir.path(), Arc::new(objects.clone()), Config::default()).await;
        let spans = running.push(&tenant, 1).await;
        objects.faults().plan(call, Fault::PowerCutLate);
        running.ingester.flush().await.unwrap_err();
        running.ingester.close().await;

        let objects = objects.on(Power::default());
        let running = start(dir.path(), Arc::new(objects.clone()), Config::default()).await;
        for put in objects.take_late() {
            objects.deliver(put).await;
        }
        running.ingester.flush().await.unwrap();
        assert_eq!(running.spans(&tenant).await, (spans, 0), "call {call}");
    }
}

/// A data folder and a copy of it have one writer id, and so one watermark.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_on_copies_of_a_data_folder_one_stops_and_keeps_its_log() {
    let (dir, copied, objects) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Arc::<FaultyStore>::default());
    let (tenant, is_copy) = (TenantId::single(), "this data folder is a copy");
    let original = start(dir.path(), objects.clone(), Config::default()).await;
    let writer_id = |dir: &Path| DataDir::new(dir).writer_id_file();
    std::fs::copy(writer_id(dir.path()), writer_id(copied.path())).unwrap();
    let copy = start(copied.path(), objects.clone(), Config::default()).await;

    let (mut sent, mut flushes) = (0, 0..4);
    while flushes.next().is_some() {
        sent += original.push(&tenant, flushes.start).await;
        original.ingester.flush().await.unwrap();
    }
    let kept = copy.push(&tenant, 100).await;
    assert_eq!(copy.spans(&tenant).await, (sent, kept));
    let refused = copy.ingester.flush().await.unwrap_err().to_string();
    assert!(refused.contains(is_copy), "{refused}");
    assert!(copy.ingester.failed().await.contains(is_copy));
    assert_eq!(copy.spans(&tenant).await, (sent, kept), "what it has acknowledged is found until it ends");
    copy.ingester.push(&tenant, shop_request(5, 5, 1).encode_to_vec().into()).await.unwrap_err();
    copy.ingester.close().await;
    let refused = open(copied.path(), objects.clone(), Config::default()).await.err().unwrap().to_string();
    assert!(refused.contains(is_copy), "{refused}");

    std::fs::remove_file(writer_id(copied.path())).unwrap();
    let copy = start(copied.path(), objects.clone(), Config::default()).await;
    assert_eq!(copy.spans(&tenant).await, (sent, kept), "under an id of its own nothing is lost");
    copy.ingester.flush().await.unwrap();
    sent += kept + original.push(&tenant, 200).await;
    original.ingester.flush().await.unwrap();
    assert_eq!(original.spans(&tenant).await, (sent, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_part_is_told_and_spans_are_refused() {
    let (dir, tenant) = (tempfile::tempdir().unwrap(), TenantId::single());
    let running = start(dir.path(), Arc::default(), Config::default()).await;
    running.ingester.state.spawn("cutter", async { panic!("no luck") });
    assert_eq!(running.ingester.failed().await, "the cutter has died");
    let refused = running.ingester.push(&tenant, shop_request(1, 5, 1).encode_to_vec().into()).await.unwrap_err();
    assert!(refused.to_string().contains("the cutter has died"), "{refused}");
    running.ingester.close().await;
    assert!(running.ingester.state.log.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_cut_before_the_log_is_replayed() {
    let (dir, tenant) = (tempfile::tempdir().unwrap(), TenantId::single());
    let running = start(dir.path(), Arc::default(), small_blocks()).await;
    running.push(&tenant, 1).await;
    running.ingester.state.set_readiness(Readiness::Replaying { detail: "again".to_owned() });
    running.ingester.state.live.stage(&tenant, &shop_request(2, 5, 1).encode_to_vec()).unwrap();
    running.ingester.state.live.show(&tenant);
    assert!(!running.ingester.state.request_cut_if_due());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_found_and_acknowledged_after_its_sync_and_not_without_it() {
    let (dir, tenant) = (tempfile::tempdir().unwrap(), TenantId::single());
    let running = start(dir.path(), Arc::default(), Config::default()).await;
    let state = running.ingester.state.clone();
    let ((flush_queue, _jobs), (full_chunks, _chunks)) = (flush_queue(), mpsc::channel(1));
    let applier = apply::spawn(state.clone(), flush_queue, full_chunks);
    for outcome in [ApplyCommand::NotSynced { reason: "disk".to_owned() }, ApplyCommand::Synced] {
        let is_synced = matches!(outcome, ApplyCommand::Synced);
        let (acknowledge, mut acknowledged) = oneshot::channel();
        let request = Bytes::from(shop_request(1, 5, 1).encode_to_vec());
        let spans = spans::check(&request).unwrap().spans;
        let room = state.queued_bytes.clone().acquire_owned().await.unwrap();
        let time_range = TimeRange::ALL;
        let push = Push { tenant: tenant.clone(), request, time_range, acknowledge, _room: room };
        applier.send(ApplyCommand::Stage(vec![push])).unwrap();
        while state.live.size().memory_bytes == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(running.spans(&tenant).await, (0, 0), "staged");
        assert!(acknowledged.try_recv().is_err(), "not before the sync");
        applier.send(outcome).unwrap();
        assert_eq!(acknowledged.await.unwrap().is_ok(), is_synced);
        assert_eq!(running.spans(&tenant).await, (0, if is_synced { spans } else { 0 }));
    }
}

/// A manifest that cannot be read: its text, for a repair.
async fn damage_manifest(objects: &FaultyStore, tenant: &TenantId) -> (ObjectPath, Bytes) {
    let prefix = ObjectPath::from(format!("{tenant}/manifest"));
    let listed: Vec<_> = objects.list(Some(&prefix)).try_collect().await.unwrap();
    let newest = listed.into_iter().map(|object| object.location).max().unwrap();
    let whole = objects.get(&newest).await.unwrap().bytes().await.unwrap();
    objects.put(&newest, whole.slice(1..).into()).await.unwrap();
    (newest, whole)
}

/// What another process committed is damaged while this one runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_damaged_later_does_not_hold_up_other_tenants() {
    let (dir, objects, other) =
        (tempfile::tempdir().unwrap(), Arc::<FaultyStore>::default(), TenantId::parse("other").unwrap());
    let tenant = TenantId::single();
    let running = start(dir.path(), objects.clone(), Config::default()).await;
    let (mut sent, mut sent_other) = (running.push(&tenant, 1).await, running.push(&other, 2).await);
    running.ingester.flush().await.unwrap();
    let next = storage::paths::manifest(&tenant, 2);
    objects.put(&next, Bytes::from_static(b"{").into()).await.unwrap();

    sent += running.push(&tenant, 3).await;
    sent_other += running.push(&other, 4).await;
    running.ingester.flush().await.unwrap_err();
    for seed in 10..13 {
        let error = running.ingester.push(&tenant, shop_request(5, 5, 1).encode_to_vec().into()).await.unwrap_err();
        assert!(error.retry_after().is_some() && error.to_string().contains(next.as_ref()), "{error}");
        sent_other += running.push(&other, seed).await;
        running.ingester.flush().await.unwrap();
        assert_eq!(running.spans(&other).await, (sent_other, 0), "others do not suffer");
    }
    running.ingester.close().await;

    objects.delete(&next).await.unwrap();
    let running = start(dir.path(), objects, Config::default()).await;
    let (published, live) = running.spans(&tenant).await;
    assert_eq!(published + live, sent);
    assert_eq!(running.spans(&other).await, (sent_other, 0));
}

/// The blocks of one tenant cannot be stored: its bucket policy, its key, its quota.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_blocks_cannot_be_stored_does_not_hold_up_others_and_comes_back() {
    let (dir, objects, other) =
        (tempfile::tempdir().unwrap(), Arc::<FaultyStore>::default(), TenantId::parse("other").unwrap());
    let tenant = TenantId::single();
    let running = start(dir.path(), objects.clone(), Config::default()).await;
    objects.refuse_below(Some(ObjectPath::from(tenant.as_str())));
    let mut sent = running.push(&tenant, 1).await;
    running.ingester.flush().await.unwrap_err();
    // others get through while it is tried again and again, and then its spans are refused
    let (mut seed, mut sent_other) = (2, 0);
    let refused = async {
        loop {
            sent_other += running.push(&other, seed).await;
            running.ingester.flush().await.unwrap();
            assert_eq!(running.spans(&other).await, (sent_other, 0), "others do not suffer");
            seed += 1;
            let request = shop_request(seed, 5, seed * 1_000_000).encode_to_vec();
            match running.ingester.push(&tenant, request.into()).await {
                Ok(accepted) => sent += accepted.spans,
                Err(error) => return error,
            }
            // its rows are cut with those of others, and wait behind those that came before
            running.ingester.flush().await.unwrap_err();
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(60), refused).await.expect("it is put off in time");
    assert_eq!((error.kind(), error.retry_after().is_some()), (model::ErrorKind::Unavailable, true), "{error}");
    assert_eq!(running.spans(&tenant).await, (0, sent), "what was acknowledged is still found");
    objects.refuse_below(None);
    let taken_again = async {
        while running.ingester.push(&tenant, shop_request(seed + 1, 5, 1).encode_to_vec().into()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken_again).await.expect("it comes back in time");
    assert!(running.spans(&tenant).await.0 >= sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_makes_its_tenant_unavailable_and_loses_nothing() {
    let (dir, objects, other) =
        (tempfile::tempdir().unwrap(), Arc::<FaultyStore>::default(), TenantId::parse("other").unwrap());
    let tenant = TenantId::single();
    let running = start(dir.path(), objects.clone(), Config::default()).await;
    let mut sent = running.push(&tenant, 1).await;
    let mut sent_other = running.push(&other, 2).await;
    running.ingester.flush().await.unwrap();
    // in the log only
    sent += running.push(&tenant, 3).await;
    sent_other += running.push(&other, 4).await;
    running.ingester.close().await;

    let (key, whole) = damage_manifest(&objects, &tenant).await;
    for seed in 10..12 {
        let running = start(dir.path(), objects.clone(), Config::default()).await;
        let error = running.ingester.push(&tenant, shop_request(5, 5, 1).encode_to_vec().into()).await.unwrap_err();
        assert_eq!(error.kind(), model::ErrorKind::Unavailable);
        assert!(error.retry_after().is_some() && error.to_string().contains(key.as_ref()), "{error}");
        sent_other += running.push(&other, seed).await;
        running.ingester.flush().await.unwrap();
        assert_eq!(running.spans(&other).await, (sent_other, 0), "others do not suffer");
        running.ingester.close().await;
    }

    objects.put(&key, whole.into()).await.unwrap();
    let running = start(dir.path(), objects, Config::default()).await;
    let (published, live) = running.spans(&tenant).await;
    assert_eq!(published + live, sent);
    assert_eq!(running.spans(&other).await, (sent_other, 0));
}

/// Spans that come from a feed until something else does.
async fn fed_spans(fed: &mut mpsc::Receiver<Fed>, is_replayed: bool) -> (usize, Option<Fed>) {
    let mut count = 0;
    loop {
        match fed.recv().await {
            Some(Fed::Spans(spans)) => {
                assert_eq!(spans.is_replayed, is_replayed);
                count += spans.table().unwrap().span_count();
            }
            other => return (count, other),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_counted_for_good_is_kept_and_comes_again_although_blocks_have_it() {
    let (dir, objects, tenant) = (tempfile::tempdir().unwrap(), Arc::<FaultyStore>::default(), TenantId::single());
    let rarely = Duration::from_secs(3600);
    let start = async |counted| {
        let (feed, fed) = Feed::new(rarely, counted);
        let running = open_feeding(dir.path(), objects.clone(), Config::default(), Some(feed)).await.unwrap();
        (running, fed)
    };
    let from_the_beginning = Position { segment: SegmentSequence(1), offset: 0 };
    let (running, mut fed) = start(from_the_beginning).await;
    assert!(matches!(fed_spans(&mut fed, true).await, (0, Some(Fed::CaughtUp))));
    running.ingester.ready().await;
    let sent = running.push(&tenant, 1).await;
    running.ingester.flush().await.unwrap();
    let mark = async |running: &Running| running.ingester.state.log.send(LogCommand::Mark).await.unwrap();
    mark(&running).await;
    let (count, Some(Fed::Barrier(_))) = fed_spans(&mut fed, false).await else { panic!("no barrier") };
    assert_eq!(count, sent);
    running.ingester.close().await;
    assert!(matches!(fed_spans(&mut fed, false).await, (0, Some(Fed::Barrier(_)))));
    assert!(fed.recv().await.is_none());

    // nobody said that it was counted
    let (running, mut fed) = start(from_the_beginning).await;
    let (count, Some(Fed::CaughtUp)) = fed_spans(&mut fed, true).await else { panic!("not caught up") };
    assert_eq!((count, running.spans(&tenant).await), (sent, (sent, 0)));
    running.ingester.ready().await;
    let more = running.push(&tenant, 2).await;
    running.ingester.flush().await.unwrap();
    mark(&running).await;
    let (count, Some(Fed::Barrier(barrier))) = fed_spans(&mut fed, false).await else { panic!("no barrier") };
    assert_eq!(count, more);
    barrier.counted();
    let segments = || {
        std::fs::read_dir(dir.path()).unwrap().filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "wal"))
        })
    };
    tokio::time::timeout(START_TIMEOUT, async {
        while segments().count() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("the log lets go of what is in blocks and counted");
    let counted = barrier.position;
    running.ingester.close().await;

    let (running, mut fed) = start(counted).await;
    assert!(matches!(fed_spans(&mut fed, true).await, (0, Some(Fed::CaughtUp))));
    running.ingester.close().await;
}
