//! What a writer left is published once, whoever else publishes it meanwhile.

use std::time::Duration;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use prometheus_client::registry::Registry;
use prost::Message;
use spans::testing::shop_request;
use storage::Telemetry;
use storage::block::BlockCache;
use storage::bucket_log::{BucketLog, LogEntry, Settings};
use storage::cpu::CpuPool;
use storage::manifest::{self, Manifest};
use storage::members::{Members, Record, Retired};

use super::*;

/// A writer that logged and is gone, and who adopts it.
struct Fixture {
    objects: Arc<dyn ObjectStore>,
    members: Members,
    writer: Writer,
    standing: Arc<Standing>,
    log: BucketLog,
    reader: LogReader,
    adopter: Adopter,
    tenant: TenantId,
    /// Spans of each object.
    spans: Vec<u64>,
}

impl Fixture {
    async fn new(max_block_bytes: usize) -> Self {
        let (objects, telemetry): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Telemetry::unregistered());
        let (members, writer) = (Members::new(objects.clone()), Writer::of_one_start());
        let standing = Arc::new(Standing::joining(objects.clone(), writer.incarnation));
        members.join(&Record::new(writer, "gone:1".to_owned(), String::new(), "").with_log_on_bucket()).await.unwrap();
        let settings = Settings { linger: Duration::ZERO };
        let storage = Storage {
            objects: objects.clone(),
            manifests: Arc::new(manifest::Store::open(objects.clone(), telemetry.clone()).await.unwrap()),
            cpu: CpuPool::new(1),
            telemetry: telemetry.clone(),
            lineage: Arc::new(Lineage::only(Writer::of_one_start())),
            puts_may_be_late: true,
            cache: BlockCache::new(8 << 20, telemetry.clone()),
            trace_reach: Duration::from_secs(3_600),
        };
        let metrics = Metrics::register(&mut Registry::default());
        let log = BucketLog::new(objects.clone(), standing.clone(), settings, &telemetry);
        let mut fixture = Self {
            reader: LogReader::new(objects.clone(), telemetry),
            objects,
            members,
            writer,
            standing,
            log,
            adopter: Adopter::new(storage, metrics, max_block_bytes),
            tenant: TenantId::single(),
            spans: Vec::new(),
        };
        for seed in 1..=3 {
            let payload = fixture.request(seed);
            fixture.spans.push(spans::check(&payload).unwrap().spans as u64);
            let (tenant, payload) = (fixture.tenant.clone(), payload.into());
            fixture.log.append(&[LogEntry { tenant, payload, time_range: model::TimeRange::ALL }]).await.unwrap();
        }
        fixture
    }

    fn request(&self, seed: u64) -> Vec<u8> {
        shop_request(seed, 1, 1).encode_to_vec()
    }

    async fn manifest(&self) -> Arc<Manifest> {
        self.adopter.storage.manifests.refresh(&self.tenant).await.unwrap()
    }

    async fn adopt(&self, last: u64) -> Result<(), StorageError> {
        self.adopter.adopt(self.writer, &self.reader, last).await
    }

    /// As the writer itself does it, of the objects from one through another.
    async fn flush_as_writer(&self, flusher: &Flusher, from: u64, through: u64) -> Result<(), StorageError> {
        for seed in from..=through {
            flusher.live.stage(&self.tenant, &self.request(seed)).unwrap();
            flusher.live.show(&self.tenant);
        }
        let segment = SegmentSequence(through);
        let head = flusher.live.cut(segment).remove(0);
        flusher.flush(&mut Pending::of(head), segment).await
    }

    fn of_writer(&self) -> Flusher {
        self.adopter.flusher(self.writer, self.standing.clone())
    }
}

fn stored(manifest: &Manifest) -> u64 {
    manifest.blocks.iter().map(|block| block.spans).sum()
}

#[tokio::test]
async fn all_that_was_logged_is_published_once_in_the_name_of_its_writer() {
    for (max_block_bytes, blocks) in [(usize::MAX, 1), (1, 3)] {
        let fixture = Fixture::new(max_block_bytes).await;
        for _ in 0..2 {
            fixture.adopt(3).await.unwrap();
            let manifest = fixture.manifest().await;
            assert_eq!((manifest.blocks.len(), stored(&manifest)), (blocks, fixture.spans.iter().sum()));
            assert_eq!(manifest.published_by(&fixture.writer), SegmentSequence(3));
        }
    }
}

#[tokio::test]
async fn only_the_rest_is_adopted_when_the_last_flush_of_the_writer_comes_first() {
    let fixture = Fixture::new(usize::MAX).await;
    let adopting = fixture.adopter.flusher(fixture.writer, fixture.standing.clone());
    // the watermark as it was before
    let mut watermarks = Watermarks(HashMap::new());
    fixture.flush_as_writer(&fixture.of_writer(), 1, 2).await.unwrap();
    let (adopter, writer, reader) = (&fixture.adopter, &fixture.writer, &fixture.reader);
    assert!(!adopter.pass(&adopting, writer, reader, 3, &mut watermarks).await.unwrap(), "the watermark has moved");
    let manifest = fixture.manifest().await;
    assert_eq!(
        (stored(&manifest), manifest.published_by(writer)),
        (fixture.spans[0] + fixture.spans[1], SegmentSequence(2))
    );
    assert!(adopter.pass(&adopting, writer, reader, 3, &mut watermarks).await.unwrap());
    let manifest = fixture.manifest().await;
    assert_eq!((stored(&manifest), manifest.published_by(writer)), (fixture.spans.iter().sum(), SegmentSequence(3)));
}

#[tokio::test]
async fn a_flush_of_the_writer_that_comes_after_its_adoption_changes_nothing() {
    let fixture = Fixture::new(usize::MAX).await;
    fixture.adopt(3).await.unwrap();
    let before = fixture.manifest().await;
    fixture.flush_as_writer(&fixture.of_writer(), 1, 3).await.unwrap();
    assert_eq!(fixture.manifest().await, before, "its rows are in blocks");
}

#[tokio::test]
async fn a_flush_of_the_writer_beyond_a_watermark_that_others_raised_is_refused() {
    let fixture = Fixture::new(usize::MAX).await;
    fixture.adopt(1).await.unwrap();
    let error = fixture.flush_as_writer(&fixture.of_writer(), 1, 3).await.unwrap_err();
    assert!(matches!(error, StorageError::WatermarkMoved { .. }), "{error}");
    fixture.adopt(3).await.unwrap();
    assert_eq!(stored(&*fixture.manifest().await), fixture.spans.iter().sum::<u64>());
}

#[tokio::test]
async fn an_object_that_is_missing_is_named_and_nobody_is_adopted_who_is_retired() {
    let fixture = Fixture::new(usize::MAX).await;
    let key = paths::log_object(&fixture.writer.incarnation, 2);
    fixture.objects.delete(&key).await.unwrap();
    let error = fixture.adopt(3).await.unwrap_err();
    assert!(error.to_string().contains(key.as_ref()), "{error}");
    fixture.members.retire(&fixture.writer.incarnation, &Retired::new([])).await.unwrap();
    assert!(matches!(fixture.adopt(3).await, Err(StorageError::WriterRetired)));
}
