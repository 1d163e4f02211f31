//! Whether what is acknowledged is in the log, whatever a store says and whoever seals.

use bytes::Bytes;
use futures::TryStreamExt;
use model::{TenantId, TimeRange};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;

use super::collect::{LostLogs, OwnCollector};
use super::*;
use crate::error::Error;
use crate::ids::SegmentSequence;
use crate::incarnation::{Incarnation, Lineage, Writer};
use crate::manifest::{self, Change, Watermark};
use crate::members::{KEPT_RETIRED, Members, Record, Retired, Standing};
use crate::paths;
use crate::telemetry::Telemetry;
use crate::testing::{Fault, FaultyStore};

const SETTINGS: Settings = Settings { linger: Duration::ZERO };

fn entry(number: u64) -> LogEntry {
    let payload = Bytes::from(format!("request {number}"));
    LogEntry { tenant: TenantId::single(), payload, time_range: TimeRange::new(number, number) }
}

/// A writer that has joined, and its store.
struct Fixture {
    objects: Arc<dyn ObjectStore>,
    members: Members,
    writer: Incarnation,
    log: BucketLog,
    reader: LogReader,
}

impl Fixture {
    async fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self::joined(objects, Writer::of_one_start()).await
    }

    async fn joined(objects: Arc<dyn ObjectStore>, writer: Writer) -> Self {
        let (members, telemetry) = (Members::new(objects.clone()), Telemetry::unregistered());
        let standing = Arc::new(Standing::joining(objects.clone(), writer.incarnation));
        let record = Record::new(writer, "here:1".to_owned(), String::new(), "").with_log_on_bucket();
        members.join(&record).await.unwrap();
        let reader = LogReader::new(objects.clone(), telemetry.clone());
        let log = BucketLog::new(objects.clone(), standing, SETTINGS, &telemetry);
        Self { objects, members, writer: writer.incarnation, log, reader }
    }

    async fn append(&mut self, number: u64) -> Result<SegmentSequence, Error> {
        self.log.append(&[entry(number)]).await
    }

    async fn seal(&self) -> Seal {
        seal(self.objects.as_ref(), &self.reader, &self.writer).await.unwrap()
    }

    /// The requests in the log, by object.
    async fn logged(&self) -> Vec<(u64, String)> {
        let mut logged = Vec::new();
        for number in self.reader.numbers_after(&self.writer, 0).await.unwrap() {
            let object = self.reader.read(&self.writer, number).await.unwrap().unwrap();
            let entries = object.entries(&paths::log_object(&self.writer, number)).unwrap();
            let texts: Vec<String> =
                entries.iter().map(|(_, payload)| String::from_utf8_lossy(payload).into_owned()).collect();
            logged.push((number, if object.is_seal { "seal".to_owned() } else { texts.join(", ") }));
        }
        logged
    }

    async fn retire(&self) {
        self.members.retire(&self.writer, &Retired::new([])).await.unwrap();
    }
}

fn logged(requests: &[(u64, &str)]) -> Vec<(u64, String)> {
    requests.iter().map(|(number, text)| (*number, (*text).to_owned())).collect()
}

async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

#[tokio::test(start_paused = true)]
async fn objects_are_numbered_without_gaps_whatever_the_store_says() {
    for fault in [
        None,
        Some(Fault::Refused),
        Some(Fault::Unclear),
        Some(Fault::Twice),
        Some(Fault::Conflict),
        Some(Fault::Late),
        Some(Fault::Delayed),
    ] {
        let store = FaultyStore::default();
        let mut fixture = Fixture::new(Arc::new(store.clone())).await;
        assert_eq!(fixture.append(1).await.unwrap(), SegmentSequence(1));
        fault.into_iter().for_each(|fault| store.faults().plan(0, fault));
        assert_eq!(fixture.append(2).await.unwrap(), SegmentSequence(2), "{fault:?}");
        for late in store.take_late() {
            store.deliver(late).await; // finds its number taken, by itself
        }
        assert_eq!(fixture.append(3).await.unwrap(), SegmentSequence(3), "{fault:?}");
        let all = logged(&[(1, "request 1"), (2, "request 2"), (3, "request 3")]);
        assert_eq!(fixture.logged().await, all, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn own_late_put_that_comes_first_is_success() {
    let store = FaultyStore::default();
    let mut fixture = Fixture::new(Arc::new(store.clone())).await;
    store.faults().plan(0, Fault::Late);
    store.faults().plan(1, Fault::Refused);
    let append = fixture.append(1);
    let deliver = async {
        tokio::task::yield_now().await;
        for late in store.take_late() {
            store.deliver(late).await;
        }
    };
    let (appended, ()) = tokio::join!(append, deliver);
    assert_eq!(appended.unwrap(), SegmentSequence(1));
    assert_eq!(fixture.logged().await, logged(&[(1, "request 1")]));
}

#[tokio::test(start_paused = true)]
async fn a_writer_whose_log_is_sealed_acknowledges_nothing_more() {
    let mut fixture = Fixture::new(Arc::new(InMemory::new())).await;
    fixture.append(1).await.unwrap();
    assert_eq!(fixture.seal().await, Seal::Sealed { last: 1 });
    assert_eq!(fixture.seal().await, Seal::Sealed { last: 1 }, "whoever comes later finds it so");
    let error = fixture.append(2).await.unwrap_err();
    assert!(matches!(error, Error::WriterRetired), "{error}");
    assert_eq!(fixture.logged().await, logged(&[(1, "request 1"), (2, "seal")]));
}

#[tokio::test(start_paused = true)]
async fn a_log_without_requests_can_be_sealed() {
    let fixture = Fixture::new(Arc::new(InMemory::new())).await;
    assert_eq!(fixture.seal().await, Seal::Sealed { last: 0 });
}

/// Of a seal and a put that meet at one number, one wins.
#[tokio::test(start_paused = true)]
async fn a_put_that_was_late_and_comes_before_the_seal_wins_and_one_that_comes_after_is_refused() {
    for delivered_before in [true, false] {
        let store = FaultyStore::default();
        let mut fixture = Fixture::new(Arc::new(store.clone())).await;
        fixture.append(1).await.unwrap();
        store.faults().plan(0, Fault::Late);
        let reader = fixture.reader.clone();
        let (writer, objects) = (fixture.writer, fixture.objects.clone());
        let append = fixture.append(2);
        let meanwhile = async {
            tokio::task::yield_now().await;
            let late = store.take_late();
            if delivered_before {
                for put in late {
                    store.deliver(put).await;
                }
                return seal(objects.as_ref(), &reader, &writer).await.unwrap();
            }
            let outcome = seal(objects.as_ref(), &reader, &writer).await.unwrap();
            for put in late {
                store.deliver(put).await;
            }
            outcome
        };
        let (appended, outcome) = tokio::join!(append, meanwhile);
        match delivered_before {
            true => {
                assert_eq!(appended.unwrap(), SegmentSequence(2));
                assert_eq!(outcome, Seal::Sealed { last: 2 }, "behind what is acknowledged");
            }
            false => {
                assert!(matches!(appended, Err(Error::WriterRetired)), "{appended:?}");
                assert_eq!(outcome, Seal::Sealed { last: 1 });
            }
        }
    }
}

/// A store in which somebody else does something at the moment of a listing.
#[tokio::test(start_paused = true)]
async fn a_seal_at_a_number_that_was_deleted_long_ago_counts_for_nothing() {
    let objects = Arc::new(InMemory::new());
    let mut fixture = Fixture::new(objects.clone()).await;
    for number in 1..=5 {
        fixture.append(number).await.unwrap();
    }
    // what a sealer does that listed when there was nothing, and slept until the first four were deleted
    for number in 1..=4 {
        objects.delete(&paths::log_object(&fixture.writer, number)).await.unwrap();
    }
    let asleep = Slept { inner: objects.clone(), shows_nothing: std::sync::atomic::AtomicBool::new(true) };
    let reader = LogReader::new(Arc::new(asleep), Telemetry::unregistered());
    let outcome = seal(objects.as_ref(), &reader, &fixture.writer).await.unwrap();
    assert_eq!(outcome, Seal::Lives);
    fixture.append(6).await.unwrap();
}

/// Its first listing is of long ago, when there was nothing.
#[derive(Debug)]
struct Slept {
    inner: Arc<InMemory>,
    shows_nothing: std::sync::atomic::AtomicBool,
}

impl std::fmt::Display for Slept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("slept")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Slept {
    async fn put_opts(
        &self,
        location: &Path,
        payload: object_store::PutPayload,
        opts: object_store::PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<'static, object_store::Result<Path>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        match self.shows_nothing.swap(false, std::sync::atomic::Ordering::SeqCst) {
            true => Box::pin(futures::stream::empty()),
            false => self.inner.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<object_store::ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: object_store::CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_of_somebody_else_ends_the_log_with_its_name() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut fixture = Fixture::new(objects.clone()).await;
    let twin = Writer { id: crate::ids::WriterId(fixture.writer.0), incarnation: fixture.writer };
    let mut twin = Fixture::joined(objects, twin).await;
    twin.append(1).await.unwrap();
    let error = fixture.append(2).await.unwrap_err();
    assert!(matches!(error, Error::LogElsewhere { .. }), "{error}");
    assert!(error.to_string().starts_with(paths::log_object(&fixture.writer, 1).as_ref()), "{error}");
}

/// A writer that slept for hours: it was sealed, adopted and forgotten, and its next number is free again.
#[tokio::test(start_paused = true)]
async fn a_put_at_a_number_that_was_sealed_and_deleted_is_not_believed() {
    let mut fixture = Fixture::new(Arc::new(InMemory::new())).await;
    fixture.append(1).await.unwrap();
    assert_eq!(fixture.seal().await, Seal::Sealed { last: 1 });
    fixture.retire().await;
    let reader = Members::new(fixture.objects.clone());
    reader.view().await.unwrap();
    pass(KEPT_RETIRED).await;
    reader.view().await.unwrap();
    lost_logs(&fixture).await.look().await.unwrap();
    assert_eq!(fixture.logged().await, []);
    let error = fixture.append(2).await.unwrap_err();
    assert!(matches!(error, Error::WriterRetired), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_was_idle_for_long_looks_whether_it_is_a_member_and_goes_on() {
    let mut fixture = Fixture::new(Arc::new(InMemory::new())).await;
    fixture.append(1).await.unwrap();
    pass(5 * KEPT_RETIRED).await;
    fixture.append(2).await.unwrap();
    assert_eq!(fixture.logged().await, logged(&[(1, "request 1"), (2, "request 2")]));
}

async fn lost_logs(fixture: &Fixture) -> LostLogs {
    let telemetry = Telemetry::unregistered();
    let manifests = manifest::Store::open(fixture.objects.clone(), telemetry.clone()).await.unwrap();
    LostLogs { objects: fixture.objects.clone(), manifests: Arc::new(manifests), telemetry }
}

#[tokio::test(start_paused = true)]
async fn what_blocks_have_goes_after_an_hour_and_the_newest_object_stays() {
    let grace = Duration::from_secs(3600);
    let mut fixture = Fixture::new(Arc::new(InMemory::new())).await;
    let (objects, covered) = (fixture.objects.clone(), fixture.log.covered());
    let mut collector = OwnCollector::new(objects, fixture.writer, covered, grace, Telemetry::unregistered());
    for number in 1..=4 {
        fixture.append(number).await.unwrap();
    }
    fixture.log.cover(SegmentSequence(2));
    collector.look().await.unwrap();
    pass(grace / 2).await;
    fixture.log.cover(SegmentSequence(4));
    collector.look().await.unwrap();
    assert_eq!(fixture.logged().await.len(), 4, "not yet");
    pass(grace / 2).await;
    collector.look().await.unwrap();
    assert_eq!(fixture.logged().await, logged(&[(2, "request 2"), (3, "request 3"), (4, "request 4")]));
    pass(grace / 2).await;
    collector.look().await.unwrap();
    assert_eq!(fixture.logged().await, logged(&[(4, "request 4")]), "all of it is in blocks");
    fixture.append(5).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_held_is_not_covered_any_more() {
    let mut fixture = Fixture::new(Arc::new(InMemory::new())).await;
    for number in 1..=2 {
        fixture.append(number).await.unwrap();
    }
    fixture.log.cover(SegmentSequence(1));
    fixture.log.hold();
    fixture.log.cover(SegmentSequence(2));
    assert_eq!(fixture.log.covered().load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// First the record and the mark, then the log, last the watermarks.
#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_writer_goes_in_its_order() {
    let mut fixture = Fixture::new(Arc::new(InMemory::new())).await;
    fixture.append(1).await.unwrap();
    let lost = lost_logs(&fixture).await;
    let (tenant, writer) = (TenantId::single(), fixture.writer);
    let by = Arc::new(Lineage::only(Writer { id: crate::ids::WriterId(writer.0), incarnation: writer }));
    let watermark = Some(Watermark { by, segment: SegmentSequence(1), from: None });
    let raise = |_: &manifest::Manifest| Some(Change { watermark: watermark.clone(), ..Change::default() });
    lost.manifests.commit(&tenant, raise).await.unwrap();
    let has_watermark = || !lost.manifests.snapshot(&tenant).unwrap().wal_watermarks.is_empty();

    fixture.retire().await;
    fixture.members.view().await.unwrap();
    lost.look().await.unwrap();
    assert_eq!((fixture.logged().await.len(), has_watermark()), (1, true), "for an hour all of it stays");
    pass(KEPT_RETIRED).await;
    fixture.members.view().await.unwrap();
    let left: Vec<_> = fixture.objects.list(Some(&paths::writers())).try_collect().await.unwrap();
    assert_eq!(left.len(), 0);
    lost.look().await.unwrap();
    assert_eq!((fixture.logged().await.len(), has_watermark()), (0, true));
    lost.look().await.unwrap();
    assert!(!has_watermark());
}
