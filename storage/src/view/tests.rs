//! A span is in a view once, whatever is published and merged while the view is taken.

use std::sync::{Mutex, PoisonError};

use futures::executor::block_on;
use model::BlockId;
use object_store::memory::InMemory;
use prost::Message;
use spans::TableBuilder;
use spans::testing::shop_request;

use super::*;
use crate::block::{EncodedBlock, encode};
use crate::ids::WriterId;
use crate::incarnation::{Incarnation, Lineage};
use crate::manifest::{Change, Store, Watermark};
use crate::memory::MemorySource;
use crate::telemetry::Telemetry;

/// What happens after a view has taken live rows, and before it reads the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// The rows are cut.
    Cut,
    /// A commit publishes them.
    Published,
    /// Compaction puts another block in the place of theirs.
    Compacted,
    /// Retention drops it.
    Expired,
}

fn start(id: u128, before: Vec<Incarnation>) -> Arc<Lineage> {
    Arc::new(Lineage::new(WriterId(uuid::Uuid::from_u128(id)), before))
}

/// One head of live rows.
struct Log {
    lineage: Arc<Lineage>,
    manifests: Arc<Store>,
    objects: Arc<dyn ObjectStore>,
    block_id: BlockId,
    cut: CutPosition,
    table: spans::SpanTable,
    meanwhile: Mutex<Meanwhile>,
}

const SEGMENT: SegmentSequence = SegmentSequence(3);

impl Log {
    async fn new(meanwhile: Meanwhile) -> Arc<Self> {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let manifests = Arc::new(Store::open(objects.clone(), Telemetry::unregistered()).await.unwrap());
        let mut builder = TableBuilder::default();
        builder.append(&shop_request(1, 5, 1).encode_to_vec()).unwrap();
        let (block_id, table) = (BlockId::generate(), builder.snapshot().unwrap());
        let (lineage, meanwhile) = (start(7, Vec::new()), Mutex::new(meanwhile));
        Arc::new(Self { lineage, manifests, objects, block_id, cut: CutPosition::default(), table, meanwhile })
    }

    fn block(&self, block_id: BlockId) -> EncodedBlock {
        encode(block_id, &TenantId::single(), &self.table, None).unwrap()
    }

    async fn commit(&self, change: Change) {
        self.manifests.commit(&TenantId::single(), |_| Some(change.clone())).await.unwrap();
    }

    async fn go_on(&self, until: Meanwhile) {
        if until == Meanwhile::Nothing {
            return;
        }
        self.cut.set(SEGMENT);
        if until == Meanwhile::Cut {
            return;
        }
        let published = self.block(self.block_id).entry();
        let watermark = Some(Watermark { by: self.lineage.clone(), segment: SEGMENT, from: None });
        self.commit(Change { add: vec![published.clone()], watermark, ..Change::default() }).await;
        let replace = |add| Change { add, remove: vec![published.id], ..Change::default() };
        match until {
            Meanwhile::Compacted => self.commit(replace(vec![self.block(BlockId::generate()).entry()])).await,
            Meanwhile::Expired => self.commit(replace(Vec::new())).await,
            _ => {}
        }
    }

    fn views(self: &Arc<Self>) -> LocalViews {
        LocalViews {
            live: self.clone(),
            manifests: self.manifests.clone(),
            objects: self.objects.clone(),
            cpu: CpuPool::new(1),
            cache: BlockCache::new(0, Telemetry::unregistered()),
        }
    }
}

impl LiveRows for Log {
    fn writer(&self) -> Writer {
        self.lineage.writer()
    }

    fn tables(&self, _tenant: &TenantId) -> Result<Vec<LiveTable>, Error> {
        let source = Arc::new(MemorySource::new(self.block_id, self.table.clone())?);
        let meanwhile =
            std::mem::replace(&mut *self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner), Meanwhile::Nothing);
        block_on(self.go_on(meanwhile));
        Ok(vec![LiveTable { id: None, cut: self.cut.clone(), source }])
    }
}

/// Spans that a view shows live, and in blocks.
async fn seen(views: &LocalViews) -> (usize, usize) {
    let view = views.view(&TenantId::single(), Reach::Everything).await.unwrap();
    let (live, stored): (Vec<_>, Vec<_>) = view.sources.iter().partition(|source| source.is_live());
    let count = |sources: Vec<&Arc<dyn Source>>| sources.iter().map(|source| source.span_count()).sum();
    (count(live), count(stored))
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_seen_once_whatever_happens_between_the_live_rows_and_the_manifest() {
    for (meanwhile, live, stored) in [
        (Meanwhile::Nothing, 1, 0),
        (Meanwhile::Cut, 1, 0),
        (Meanwhile::Published, 0, 1),
        (Meanwhile::Compacted, 0, 1),
        (Meanwhile::Expired, 0, 0),
    ] {
        let log = Log::new(meanwhile).await;
        let spans = log.table.span_count();
        assert_eq!(seen(&log.views()).await, (live * spans, stored * spans), "{meanwhile:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_rows_stay_whatever_others_publish() {
    let log = Log::new(Meanwhile::Cut).await;
    let (writer, copy) = (log.lineage.clone(), start(7, vec![log.lineage.writer().incarnation]));
    for (by, segment) in [(writer, SEGMENT.0 - 1), (start(8, Vec::new()), 100), (copy, 100)] {
        let watermark = Some(Watermark { by, segment: SegmentSequence(segment), from: None });
        log.commit(Change { watermark, ..Change::default() }).await;
    }
    assert_eq!(seen(&log.views()).await, (log.table.span_count(), 0));
}
