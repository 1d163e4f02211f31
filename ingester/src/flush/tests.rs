//! A block is published once, and not when its files may be gone.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use model::{BlockId, TenantId};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use prometheus_client::registry::Registry;
use prost::Message;
use spans::testing::shop_request;
use storage::Telemetry;
use storage::block::BlockCache;
use storage::cpu::CpuPool;
use storage::incarnation::Lineage;
use storage::lock::WriterId;
use storage::manifest::{BlockEntry, Store};

use super::*;

const SEGMENT: SegmentSequence = SegmentSequence(1);

fn writer() -> Arc<Lineage> {
    Arc::new(Lineage::new(WriterId(uuid::Uuid::from_u128(7)), Vec::new()))
}

struct Bucket {
    objects: Arc<dyn ObjectStore>,
    tenant: TenantId,
}

impl Bucket {
    fn new() -> Self {
        Self { objects: Arc::new(InMemory::new()), tenant: TenantId::single() }
    }

    /// Opens the manifests as a process of its own does.
    async fn manifests(&self) -> Arc<Store> {
        Arc::new(Store::open(self.objects.clone(), Telemetry::unregistered()).await.unwrap())
    }

    async fn flusher(&self) -> Flusher {
        let storage = Storage {
            objects: self.objects.clone(),
            manifests: self.manifests().await,
            cpu: CpuPool::new(1),
            lineage: writer(),
            puts_may_be_late: true,
            cache: BlockCache::new(8 << 20, Telemetry::unregistered()),
            trace_reach: Duration::from_secs(3_600),
            telemetry: Telemetry::unregistered(),
        };
        let (log, _) = mpsc::channel(1);
        let metrics = Metrics::register(&mut Registry::default());
        Flusher { live: Arc::default(), storage, log, metrics, unavailable: Arc::default() }
    }

    /// Live rows that were cut, whose block was begun then.
    fn cut(&self, live: &Live, begun: Begun) -> Pending {
        live.stage(&self.tenant, &shop_request(1, 5, 1).encode_to_vec()).unwrap();
        live.show(&self.tenant);
        Pending { head: live.cut(SEGMENT).remove(0), begun: Some(begun), continued: None }
    }

    async fn blocks(&self) -> Vec<BlockEntry> {
        self.manifests().await.load(&self.tenant).await.unwrap().blocks.clone()
    }
}

fn too_long_ago() -> Begun {
    Begun::at(Instant::now(), SystemTime::UNIX_EPOCH)
}

#[tokio::test]
async fn a_block_that_was_not_published_in_time_is_written_anew() {
    let bucket = Bucket::new();
    let flusher = bucket.flusher().await;
    for (begun, is_another) in [(Begun::now(), false), (too_long_ago(), true)] {
        let mut pending = bucket.cut(&flusher.live, begun);
        let first = pending.head.block.id();
        let live = flusher.live.tables(&bucket.tenant).unwrap();
        let segment = SegmentSequence(1 + u64::from(is_another));
        flusher.flush(&mut pending, segment).await.unwrap();
        let published = live[0].source.block_id();
        assert_eq!(published != first, is_another);
        assert!(bucket.blocks().await.iter().any(|block| block.id == published));
        flusher.live.published(&pending.head);
    }
}

#[tokio::test]
async fn spans_that_were_sent_again_are_in_the_block_once_and_counted() {
    let (bucket, mut registry) = (Bucket::new(), Registry::default());
    let flusher = Flusher { metrics: Metrics::register(&mut registry), ..bucket.flusher().await };
    let batch = shop_request(1, 5, 1).encode_to_vec();
    let spans = spans::check(&batch).unwrap().spans as u64;
    for _ in 0..3 {
        flusher.live.stage(&bucket.tenant, &batch).unwrap();
        flusher.live.show(&bucket.tenant);
    }
    let mut pending = Pending { head: flusher.live.cut(SEGMENT).remove(0), begun: None, continued: None };
    flusher.flush(&mut pending, SEGMENT).await.unwrap();
    assert_eq!(bucket.blocks().await[0].spans, spans);
    let mut counters = String::new();
    prometheus_client::encoding::text::encode(&mut counters, &registry).unwrap();
    let copies = format!("mosso_ingester_span_copies_total{{tenant=\"single-tenant\"}} {}", 2 * spans);
    assert!(counters.contains(&copies), "{counters}");
}

#[tokio::test]
async fn a_commit_without_a_clear_outcome_is_not_made_twice() {
    for begun in [Begun::now(), too_long_ago()] {
        let bucket = Bucket::new();
        let flusher = bucket.flusher().await;
        let mut pending = bucket.cut(&flusher.live, begun);
        // the commit was made, though the flusher was told that it failed; then others have compacted the block
        let tables = tables(&pending.head).unwrap();
        let entry = block::encode_tables(pending.head.block.id(), &bucket.tenant, &tables, None).unwrap().entry();
        let raised = Some(Watermark { by: flusher.storage.lineage.clone(), segment: SEGMENT });
        let published = Change { add: vec![entry.clone()], watermark: raised, ..Change::default() };
        let compacted = BlockEntry { id: BlockId::generate(), level: 1, ..entry.clone() };
        let replaced = Change { add: vec![compacted.clone()], remove: vec![entry.id], ..Change::default() };
        let others = bucket.manifests().await;
        for change in [published, replaced] {
            others.commit(&bucket.tenant, |_| Some(change.clone())).await.unwrap();
        }
        flusher.flush(&mut pending, SEGMENT).await.unwrap();
        assert_eq!(bucket.blocks().await, std::slice::from_ref(&compacted));
    }
}

#[test]
fn rows_are_cut_only_when_the_cut_before_is_published() {
    let (queue, mut jobs) = FlushQueue::new();
    assert!(queue.push_when_free(SEGMENT, None, Vec::new));
    let first = jobs.blocking_recv().unwrap();
    let (is_published, started) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
    let next = std::thread::spawn({
        let (is_published, started, queue) = (is_published.clone(), started.clone(), queue.clone());
        move || {
            started.wait();
            let take = || {
                assert!(is_published.load(Ordering::SeqCst), "live rows, and two cuts beside them");
                Vec::new()
            };
            queue.push_when_free(SEGMENT, None, take)
        }
    });
    started.wait();
    (0..100).for_each(|_| std::thread::yield_now());
    is_published.store(true, Ordering::SeqCst);
    drop(first);
    assert!(next.join().unwrap());
    drop(jobs);
    assert!(!queue.push_when_free(SEGMENT, None, Vec::new), "nobody takes it, and nobody waits for ever");
}
