//! A block is published once, and not when its files may be gone.

use std::time::{Duration, SystemTime};

use model::{BlockId, TenantId};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use prometheus_client::registry::Registry;
use prost::Message;
use spans::testing::shop_request;
use storage::Telemetry;
use storage::block::BlockCache;
use storage::cpu::CpuPool;
use storage::ids::WriterId;
use storage::incarnation::Lineage;
use storage::manifest::{BlockEntry, Store};
use storage::source::Source;

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
        Flusher {
            live: Arc::default(),
            storage,
            log,
            metrics,
            unavailable: Arc::default(),
            recording: Mutex::default(),
            standing: None,
            raised: Mutex::default(),
        }
    }

    /// Live rows that were cut, whose block was begun then.
    fn cut(&self, live: &Live, deadline: PublishDeadline) -> Pending {
        live.stage(&self.tenant, &shop_request(1, 5, 1).encode_to_vec()).unwrap();
        live.show(&self.tenant);
        Pending { deadline: Some(deadline), ..Pending::of(live.cut(SEGMENT).remove(0)) }
    }

    async fn blocks(&self) -> Vec<BlockEntry> {
        self.manifests().await.load(&self.tenant).await.unwrap().blocks.clone()
    }
}

fn too_long_ago() -> PublishDeadline {
    PublishDeadline::of(Instant::now(), SystemTime::UNIX_EPOCH)
}

#[tokio::test]
async fn a_block_that_was_not_published_in_time_is_written_anew() {
    let bucket = Bucket::new();
    let flusher = bucket.flusher().await;
    for (deadline, is_another) in [(PublishDeadline::from_now(), false), (too_long_ago(), true)] {
        let mut pending = bucket.cut(&flusher.live, deadline);
        let first = pending.block_id;
        let live = flusher.live.tables(&bucket.tenant).unwrap();
        let segment = SegmentSequence(1 + u64::from(is_another));
        flusher.flush(&mut pending, segment).await.unwrap();
        let published = pending.block_id;
        assert_eq!(published != first, is_another);
        assert!(bucket.blocks().await.iter().any(|block| block.id == published));
        assert_eq!(live[0].source.block_id(), first, "a query that has begun knows the rows by it");
        flusher.live.published(&pending.head);
    }
}

#[test]
fn the_log_is_let_go_up_to_the_end_of_a_cut_before_which_nothing_waits() {
    let (live, mut queues) = (Live::default(), Queues::default());
    let tenants = ["a", "b"].map(|tenant| TenantId::parse(tenant).unwrap());
    let cut = |segment: u64, tenants: &[TenantId], queues: &mut Queues| {
        for tenant in tenants {
            live.stage(tenant, &shop_request(segment, 5, 1).encode_to_vec()).unwrap();
            live.show(tenant);
        }
        let segment = SegmentSequence(segment);
        queues.add(FlushJob { segment, heads: live.cut(segment), done: None });
    };
    let turn = |queues: &mut Queues, gets_through: &TenantId| {
        for (tenant, mut queue) in queues.take_due(tokio::time::Instant::now()) {
            if tenant == *gets_through {
                queue.went_on()
            } else {
                queue.failed(tokio::time::Instant::now())
            }
            queues.give_back(tenant, queue);
        }
    };
    // the rows of segments 1 to 3 are in the first cut
    cut(3, &tenants, &mut queues);
    turn(&mut queues, &tenants[0]);
    assert_eq!(queues.done_through(), None, "rows of b lie in 1 to 3");
    cut(7, &tenants[..1], &mut queues);
    turn(&mut queues, &tenants[0]);
    assert_eq!(queues.done_through(), None);
    let (tenant, mut queue) = queues.take_due(tokio::time::Instant::now() + Duration::from_secs(60)).remove(0);
    assert_eq!(tenant, tenants[1]);
    queue.went_on();
    queues.give_back(tenant, queue);
    assert_eq!(queues.done_through(), Some(SegmentSequence(7)));
    queues.forget_through(SegmentSequence(7));
    cut(9, &tenants[1..], &mut queues);
    assert_eq!(queues.done_through(), None);
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
    let mut pending = Pending::of(flusher.live.cut(SEGMENT).remove(0));
    flusher.flush(&mut pending, SEGMENT).await.unwrap();
    assert_eq!(bucket.blocks().await[0].spans, spans);
    let mut counters = String::new();
    prometheus_client::encoding::text::encode(&mut counters, &registry).unwrap();
    let copies = format!("mosso_ingester_span_copies_total{{tenant=\"single-tenant\"}} {}", 2 * spans);
    assert!(counters.contains(&copies), "{counters}");
}

#[tokio::test]
async fn a_commit_without_a_clear_outcome_is_not_made_twice() {
    for deadline in [PublishDeadline::from_now(), too_long_ago()] {
        let bucket = Bucket::new();
        let flusher = bucket.flusher().await;
        let mut pending = bucket.cut(&flusher.live, deadline);
        // the commit was made, though the flusher was told that it failed; then others have compacted the block
        let tables = tables(&pending.head).unwrap();
        let entry = block::encode_tables(pending.block_id, &bucket.tenant, &tables, None).unwrap().entry();
        let raised = Some(Watermark { by: flusher.storage.lineage.clone(), segment: SEGMENT, from: None });
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
