//! What a log has beyond a manifest, read by somebody else.

use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use prost::Message;
use spans::testing::shop_request;
use std::time::Duration;
use storage::Telemetry;
use storage::bucket_log::{BucketLog, LogEntry, Settings};
use storage::ids::SegmentSequence;
use storage::incarnation::{Lineage, Writer};
use storage::manifest::{Change, Watermark};
use storage::members::{Members, Standing};

use super::*;

struct Fixture {
    objects: Arc<dyn ObjectStore>,
    writer: Record,
    log: BucketLog,
    logged: Logged,
    lineage: Arc<Lineage>,
}

impl Fixture {
    async fn new() -> Self {
        let (objects, telemetry): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Telemetry::unregistered());
        let of_one_start = Writer::of_one_start();
        let writer = Record::new(of_one_start, "gone:1".to_owned(), String::new(), "").with_log_on_bucket();
        let standing = Arc::new(Standing::joining(objects.clone(), writer.incarnation));
        Members::new(objects.clone()).join(&writer).await.unwrap();
        let log = BucketLog::new(objects.clone(), standing, Settings { linger: Duration::ZERO }, &telemetry);
        let logged = Logged {
            reader: LogReader::new(objects.clone(), telemetry.clone()),
            tables: TableCache::new(64 << 20, &telemetry),
            manifests: Arc::new(manifest::Store::open(objects.clone(), telemetry).await.unwrap()),
            cpu: CpuPool::new(1),
        };
        Self { objects, writer, log, logged, lineage: Arc::new(Lineage::only(of_one_start)) }
    }

    /// Logs a trace of a tenant; gives the number of its spans.
    async fn append(&mut self, tenant: &str, seed: u64) -> usize {
        let (tenant, payload) = (tenant_of(tenant), shop_request(seed, 1, 1).encode_to_vec());
        let spans = spans::check(&payload).unwrap().spans;
        let entry = LogEntry { tenant, payload: payload.into(), time_range: model::TimeRange::ALL };
        self.log.append(&[entry]).await.unwrap();
        spans
    }

    async fn publish(&self, tenant: &str, through: u64) {
        let (by, segment) = (self.lineage.clone(), SegmentSequence(through));
        let watermark = Some(Watermark { by, segment, from: None });
        let change = |_: &Manifest| Some(Change { watermark: watermark.clone(), ..Change::default() });
        self.logged.manifests.commit(&tenant_of(tenant), change).await.unwrap();
    }

    async fn manifest(&self, tenant: &str) -> Arc<Manifest> {
        self.logged.manifests.load(&tenant_of(tenant)).await.unwrap()
    }

    async fn spans(&self, tenant: &str) -> usize {
        match self.logged.beyond(&self.writer, &tenant_of(tenant), &*self.manifest(tenant).await).await.unwrap() {
            Beyond::Rows(sources) => sources.iter().map(|source| source.table().span_count()).sum(),
            Beyond::Gone { manifest } => panic!("gone to {manifest}"),
        }
    }

    fn kept_bytes(&self) -> u64 {
        self.logged.tables.bytes()
    }
}

fn tenant_of(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

#[tokio::test]
async fn rows_beyond_the_watermark_of_a_tenant_are_there_and_no_others() {
    let mut fixture = Fixture::new().await;
    let (mut even, mut odd) = (Vec::new(), Vec::new());
    for seed in 1..=3 {
        odd.push(fixture.append("odd", 2 * seed - 1).await);
        even.push(fixture.append("even", 2 * seed).await);
    }
    let (all_even, all_odd) = (even.iter().sum::<usize>(), odd.iter().sum::<usize>());
    let found = (fixture.spans("even").await, fixture.spans("odd").await, fixture.spans("none").await);
    assert_eq!(found, (all_even, all_odd, 0));
    fixture.publish("even", 4).await;
    assert_eq!((fixture.spans("even").await, fixture.spans("odd").await), (even[2], all_odd));
    let more = even[2] + fixture.append("even", 7).await;
    assert_eq!(fixture.spans("even").await, more, "what has come since");
    let kept = fixture.kept_bytes();
    assert_eq!((fixture.spans("even").await, fixture.kept_bytes()), (more, kept), "what was read is kept");
}

#[tokio::test]
async fn a_manifest_that_is_older_than_what_was_deleted_is_not_enough() {
    let mut fixture = Fixture::new().await;
    let mut spans = Vec::new();
    for seed in 1..=3 {
        spans.push(fixture.append("a", seed).await);
    }
    let before = fixture.manifest("a").await;
    fixture.publish("a", 2).await;
    for number in 1..=2 {
        fixture.objects.delete(&paths::log_object(&fixture.writer.incarnation, number)).await.unwrap();
    }
    let beyond = fixture.logged.beyond(&fixture.writer, &tenant_of("a"), &before).await.unwrap();
    assert!(matches!(beyond, Beyond::Gone { manifest: 1 }));
    assert_eq!(fixture.spans("a").await, spans[2]);
    assert_eq!(fixture.spans("b").await, 0, "what is missing was of others");
}

#[tokio::test]
async fn a_damaged_object_is_named() {
    let mut fixture = Fixture::new().await;
    fixture.append("a", 1).await;
    let key = paths::log_object(&fixture.writer.incarnation, 1);
    fixture.objects.put(&key, "something else".into()).await.unwrap();
    let manifest = fixture.manifest("a").await;
    let beyond = fixture.logged.beyond(&fixture.writer, &tenant_of("a"), &manifest).await;
    let Err(error) = beyond else { panic!("it was read") };
    assert!(error.to_string().contains(key.as_ref()), "{error}");
}

#[test]
fn numbers_are_read_in_runs_that_do_not_change() {
    assert_eq!(runs(&[]), []);
    assert_eq!(runs(&[1, 2, 3]), [1..=3]);
    assert_eq!(runs(&[62, 63, 64, 65, 127, 128]), [62..=63, 64..=65, 127..=127, 128..=128]);
    assert_eq!(runs(&[5, 7, 8]), [5..=5, 7..=8]);
}
