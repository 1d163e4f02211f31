//! A writer sends the rows that a manifest does not have, and no others, whatever has become of their block.

use std::sync::Mutex;

use model::BlockId;
use object_store::memory::InMemory;
use prost::Message;
use spans::TableBuilder;
use spans::testing::shop_request;
use storage::ids::SegmentSequence;
use storage::ids::WriterId;
use storage::incarnation::{Lineage, Writer};
use storage::manifest::{Change, Manifest, Store, Watermark};
use storage::view::CutPosition;
use storage::{Telemetry, block};
use uuid::Uuid;

use super::*;

const LISTED_BYTES: u64 = 1 << 20;
const SEGMENT: SegmentSequence = SegmentSequence(3);

/// One head of live rows, which stay until they are taken out.
struct Log {
    lineage: Arc<Lineage>,
    block_id: BlockId,
    cut: CutPosition,
    source: Mutex<Option<Arc<MemorySource>>>,
    is_whole: bool,
    /// Rows were cut at no other segment.
    only_cut: Option<SegmentSequence>,
}

impl LiveRows for Log {
    fn writer(&self) -> Writer {
        self.lineage.writer()
    }

    fn tables(&self, _tenant: &TenantId) -> Result<Vec<LiveTable>, Error> {
        let source = self.source.lock().unwrap().clone();
        Ok(source.map(|source| LiveTable { id: Some(TableId(5)), cut: self.cut.clone(), source }).into_iter().collect())
    }

    fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn has_cut_at(&self, segment: SegmentSequence) -> bool {
        self.only_cut.is_none_or(|cut| segment == cut || segment == SegmentSequence::NONE)
    }
}

struct Cluster {
    log: Arc<Log>,
    manifests: Arc<Store>,
    holder: Holder,
}

impl Cluster {
    async fn new(is_whole: bool) -> Self {
        Self::cut_only_at(is_whole, None).await
    }

    async fn cut_only_at(is_whole: bool, only_cut: Option<SegmentSequence>) -> Self {
        let mut builder = TableBuilder::default();
        builder.append(&shop_request(1, 5, 1).encode_to_vec()).unwrap();
        let block_id = BlockId::generate();
        let source = MemorySource::new(block_id, builder.snapshot().unwrap()).unwrap();
        let lineage = Arc::new(Lineage::new(WriterId(Uuid::from_u128(7)), Vec::new()));
        let source = Mutex::new(Some(Arc::new(source)));
        let log = Arc::new(Log { lineage, block_id, cut: CutPosition::default(), source, is_whole, only_cut });
        let manifests = Store::open(Arc::new(InMemory::new()), Telemetry::unregistered()).await.unwrap();
        let manifests = Arc::new(manifests);
        let holder = Holder::new(log.clone(), manifests.clone(), LISTED_BYTES);
        Self { log, manifests, holder }
    }

    fn table(&self) -> spans::SpanTable {
        self.log.source.lock().unwrap().as_ref().unwrap().table()
    }

    /// The question of somebody who has this manifest.
    fn question(&self, manifest: &Manifest) -> Question {
        Question {
            tenant: TenantId::single(),
            incarnation: self.log.writer().incarnation,
            manifest: manifest.sequence,
            watermark: manifest.published_by(&self.log.writer()),
            reach: Reach::Everything,
        }
    }

    /// How many spans it is told, or which manifest to read.
    fn told(&self, manifest: &Manifest) -> Result<usize, u64> {
        match self.holder.answer(&self.question(manifest)).unwrap() {
            Answer::Rows(listed) => Ok(listed.iter().map(|listed| listed.span_count).sum()),
            Answer::Gone { manifest } => Err(manifest),
        }
    }

    async fn commit(&self, change: Change) -> Arc<Manifest> {
        self.manifests.commit(&TenantId::single(), |_| Some(change.clone())).await.unwrap()
    }
}

#[tokio::test]
async fn rows_are_told_until_a_manifest_has_them_and_not_again_when_their_block_was_merged() {
    let cluster = Cluster::new(true).await;
    let (before, spans) = (Manifest::default(), cluster.table().span_count());
    assert_eq!(cluster.told(&before), Ok(spans));
    cluster.log.cut.set(SEGMENT);
    assert_eq!(cluster.told(&before), Ok(spans), "cut, and in no block");

    let entry = |id| block::encode(id, &TenantId::single(), &cluster.table(), None).unwrap().entry();
    let published = entry(cluster.log.block_id);
    let watermark = Some(Watermark { by: cluster.log.lineage.clone(), segment: SEGMENT, from: None });
    let first = cluster.commit(Change { add: vec![published.clone()], watermark, ..Change::default() }).await;
    assert_eq!(cluster.told(&first), Ok(0), "still live, and in the block of this manifest");
    assert_eq!(cluster.told(&before), Err(first.sequence), "the rows may leave at any moment");
    let merged = Change { add: vec![entry(BlockId::generate())], remove: vec![published.id], ..Change::default() };
    let second = cluster.commit(merged).await;
    assert!(second.block(&cluster.log.block_id).is_none());
    assert_eq!(cluster.told(&second), Ok(0), "their block is another one by now");

    *cluster.log.source.lock().unwrap() = None;
    assert_eq!((cluster.told(&before), cluster.told(&first)), (Err(second.sequence), Err(second.sequence)));
    assert_eq!(cluster.told(&second), Ok(0));
}

#[tokio::test]
async fn a_trace_is_sent_alone_and_a_table_whole() {
    let cluster = Cluster::new(true).await;
    let table = cluster.table();
    let id = table.traces().unwrap().id(2);
    let spans = table.traces().unwrap().span_rows(2).len();
    let question = Question { reach: Reach::Trace(id), ..cluster.question(&Manifest::default()) };
    let Answer::Rows(listed) = cluster.holder.answer(&question).unwrap() else { panic!("nothing is gone") };
    let Rows::Given(given) = &listed[0].rows else { panic!("the rows come along") };
    assert_eq!((listed.len(), given.trace_count(), given.span_count()), (1, 1, spans));
    let absent = Question { reach: Reach::Trace(TraceId([9; 16])), ..question };
    assert!(matches!(cluster.holder.answer(&absent).unwrap(), Answer::Rows(listed) if listed.is_empty()));

    let incarnation = cluster.log.writer().incarnation;
    let fetch = |id| cluster.holder.table(&incarnation, &TenantId::single(), TableId(id)).unwrap();
    assert_eq!((fetch(5).map(|table| table.span_count()), fetch(6).is_none()), (Some(table.span_count()), true));
}

#[tokio::test]
async fn a_table_that_was_told_of_can_be_fetched_when_it_is_in_a_block_already() {
    for (listed_bytes, told_first, is_kept) in
        [(LISTED_BYTES, true, true), (LISTED_BYTES, false, false), (1, true, false)]
    {
        let cluster = Cluster::new(true).await;
        let holder = Holder::new(cluster.log.clone(), cluster.manifests.clone(), listed_bytes);
        let (question, spans) = (cluster.question(&Manifest::default()), cluster.table().span_count());
        if told_first {
            assert!(matches!(holder.answer(&question).unwrap(), Answer::Rows(listed) if listed.len() == 1));
        }
        *cluster.log.source.lock().unwrap() = None;
        let fetched = holder.table(&question.incarnation, &question.tenant, TableId(5)).unwrap();
        assert_eq!(fetched.map(|table| table.span_count()), is_kept.then_some(spans), "within {listed_bytes} bytes");
    }
}

#[tokio::test]
async fn who_is_not_meant_or_has_not_read_its_log_does_not_answer() {
    let cluster = Cluster::new(true).await;
    let question = cluster.question(&Manifest::default());
    let other = Question { incarnation: Incarnation(Uuid::from_u128(1)), ..question };
    assert_eq!(cluster.holder.answer(&other).unwrap_err(), PeerError::Elsewhere);
    let reading = Cluster::new(false).await;
    let question = reading.question(&Manifest::default());
    assert_eq!(reading.holder.answer(&question).unwrap_err(), PeerError::NotWhole);
}

#[tokio::test]
async fn a_watermark_that_others_raised_tells_nothing_about_live_rows() {
    let cluster = Cluster::cut_only_at(true, Some(SEGMENT)).await;
    let ask = |watermark| {
        let question = Question { watermark, ..cluster.question(&Manifest::default()) };
        cluster.holder.answer(&question)
    };
    assert!(ask(SegmentSequence::NONE).is_ok() && ask(SEGMENT).is_ok());
    assert!(matches!(ask(SegmentSequence(2)), Err(PeerError::Refused(_))), "its rows may lie on both sides of it");
}
