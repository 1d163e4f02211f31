//! What is acknowledged on a disk reaches the bucket, in order, or blocks; however long the bucket is away.

use std::path::Path;

use model::{ErrorKind, TenantId};
use object_store::ObjectStore;
use prometheus_client::registry::Registry;
use prost::Message;
use spans::testing::shop_request;
use storage::Telemetry;
use storage::block::BlockCache;
use storage::bucket_log::{LogReader, Seal, Settings, seal};
use storage::incarnation::{Lineage, Writer};
use storage::manifest;
use storage::members::{Members, Record, Standing};
use storage::paths;
use storage::testing::{Disk, FaultyStore};
use storage::wal::Log;

use super::*;
use crate::{Adopter, Config, Error, Ingester, OpenedLog, Storage};

const LOG: &str = "/log";

/// A writer on a disk, and what others see of it.
struct Fixture {
    bucket: FaultyStore,
    disk: Disk,
    writer: Writer,
    manifests: Arc<manifest::Store>,
    ingester: Ingester,
    adopter: Adopter,
    reader: LogReader,
    tenant: TenantId,
}

impl Fixture {
    async fn new() -> Self {
        let (bucket, disk, telemetry) = (FaultyStore::default(), Disk::default(), Telemetry::unregistered());
        let (objects, writer): (Arc<dyn ObjectStore>, _) = (Arc::new(bucket.clone()), Writer::of_one_start());
        let standing = Arc::new(Standing::joining(objects.clone(), writer.incarnation));
        let record = Record::new(writer, "here:1".to_owned(), String::new(), "").with_shipped_log();
        Members::new(objects.clone()).join(&record).await.unwrap();
        let manifests = Arc::new(manifest::Store::open(objects.clone(), telemetry.clone()).await.unwrap());
        let storage = Storage {
            objects: objects.clone(),
            manifests: manifests.clone(),
            cpu: CpuPool::new(1),
            telemetry: telemetry.clone(),
            lineage: Arc::new(Lineage::only(writer)),
            puts_may_be_late: true,
            cache: BlockCache::new(8 << 20, telemetry.clone()),
            trace_reach: Duration::from_secs(3_600),
        };
        let log = BucketLog::new(objects.clone(), standing, Settings { linger: Duration::ZERO }, &telemetry);
        let local = Log::open_on(Arc::new(disk.clone()), Path::new(LOG)).unwrap().0;
        let log = OpenedLog::shipped(local, log);
        let registry = &mut Registry::default();
        let ingester = Ingester::open(Config::default(), log, storage.clone(), Arc::default(), registry).await.unwrap();
        ingester.ready().await;
        let (adopter, reader) = (ingester.adopter(storage), LogReader::new(objects, telemetry));
        Self { bucket, disk, writer, manifests, ingester, adopter, reader, tenant: TenantId::single() }
    }

    async fn push(&self, seed: u64) -> Result<usize, Error> {
        let request = shop_request(seed, 1, 1).encode_to_vec();
        self.ingester.push(&self.tenant, request.into()).await.map(|accepted| accepted.spans)
    }

    /// The requests in the objects so far.
    async fn shipped(&self) -> Vec<Vec<u8>> {
        let mut requests = Vec::new();
        for number in self.reader.numbers_after(&self.writer.incarnation, 0).await.unwrap() {
            let object = self.reader.read(&self.writer.incarnation, number).await.unwrap().unwrap();
            let key = paths::log_object(&self.writer.incarnation, number);
            requests.extend(object.entries(&key).unwrap().into_iter().map(|(_, payload)| payload.to_vec()));
        }
        requests
    }

    async fn await_shipped(&self, seeds: impl Iterator<Item = u64>) {
        let expected: Vec<Vec<u8>> = seeds.map(|seed| shop_request(seed, 1, 1).encode_to_vec()).collect();
        let shipped = async {
            while self.shipped().await.len() < expected.len() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), shipped).await.expect("all is shipped");
        assert_eq!(self.shipped().await, expected, "each once, in the order of their acknowledgements");
    }

    async fn published(&self) -> u64 {
        let manifest = self.manifests.refresh(&self.tenant).await.unwrap();
        manifest.blocks.iter().map(|block| block.spans).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_taken_while_the_bucket_is_away_and_shipped_in_order_when_it_is_back() {
    let fixture = Fixture::new().await;
    fixture.push(1).await.unwrap();
    fixture.await_shipped(1..=1).await;
    fixture.bucket.refuse_below(Some(paths::logs()));
    for seed in 2..=9 {
        fixture.push(seed).await.unwrap();
    }
    assert_eq!(fixture.ingester.readiness(), crate::Readiness::Ready);
    fixture.bucket.refuse_below(None);
    fixture.await_shipped(1..=9).await;
    fixture.ingester.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_spans_until_there_is_room() {
    let fixture = Fixture::new().await;
    fixture.disk.set_free_bytes(Some(0));
    let refused = fixture.push(1).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    fixture.disk.set_free_bytes(None);
    fixture.push(2).await.unwrap();
    fixture.await_shipped(2..=2).await;
    fixture.ingester.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_forgets_what_blocks_have_and_the_bucket_too() {
    let fixture = Fixture::new().await;
    let mut spans = 0;
    for seed in 1..=3 {
        spans += fixture.push(seed).await.unwrap() as u64;
        fixture.await_shipped(1..=seed).await;
    }
    fixture.ingester.flush().await.unwrap();
    let emptied = async {
        while fixture.disk.file_count() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), emptied).await.expect("one segment is left, the next");
    assert_eq!(fixture.published().await, spans);
    fixture.ingester.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_adopted_and_what_the_disk_has_beyond_it_is_published_once() {
    for adopted_first in [true, false] {
        let fixture = Fixture::new().await;
        let mut spans = fixture.push(1).await.unwrap() as u64;
        fixture.await_shipped(1..=1).await;
        fixture.bucket.refuse_below(Some(paths::logs()));
        spans += fixture.push(2).await.unwrap() as u64;
        fixture.ingester.close().await;
        fixture.bucket.refuse_below(None);

        let sealed = seal(&fixture.bucket, &fixture.reader, &fixture.writer.incarnation).await.unwrap();
        let Seal::Sealed { last } = sealed else { panic!("nobody writes it") };
        let (files, dir) = (Arc::new(fixture.disk.clone()), Path::new(LOG));
        if adopted_first {
            fixture.adopter.adopt(fixture.writer, &fixture.reader, last).await.unwrap();
            assert!(fixture.published().await < spans, "what was not shipped is on the disk alone");
        }
        fixture.adopter.adopt_disk(fixture.writer, files.clone(), dir).await.unwrap();
        fixture.adopter.adopt(fixture.writer, &fixture.reader, last).await.unwrap();
        fixture.adopter.adopt_disk(fixture.writer, files, dir).await.unwrap();
        assert_eq!(fixture.published().await, spans, "{adopted_first}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_whose_log_was_sealed_begins_anew() {
    let fixture = Fixture::new().await;
    fixture.push(1).await.unwrap();
    fixture.await_shipped(1..=1).await;
    seal(&fixture.bucket, &fixture.reader, &fixture.writer.incarnation).await.unwrap();
    // acknowledged, for the disk has it; the next start publishes it from there
    fixture.push(2).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), fixture.ingester.failed()).await.expect("it notices");
    assert!(fixture.ingester.is_retired());
    fixture.ingester.close().await;
}
