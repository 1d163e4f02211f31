//! The way in as a whole, on stores that fail and logs that are read back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStoreExt, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};
use prost::Message;
use spans::testing::shop_request;
use storage::Telemetry;

use super::*;
use crate::apply::ApplyCommand;

/// An object store that can be away.
#[derive(Debug, Default)]
struct Flaky {
    store: InMemory,
    is_away: AtomicBool,
}

impl std::fmt::Display for Flaky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("flaky")
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(
        &self,
        at: &ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(object_store::Error::Generic { store: "flaky", source: "away".into() });
        }
        self.store.put_opts(at, payload, options).await
    }
    async fn put_multipart_opts(
        &self,
        at: &ObjectPath,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(at, options).await
    }
    async fn get_opts(&self, at: &ObjectPath, options: GetOptions) -> object_store::Result<GetResult> {
        self.store.get_opts(at, options).await
    }
    fn delete_stream(
        &self,
        at: BoxStream<'static, object_store::Result<ObjectPath>>,
    ) -> BoxStream<'static, object_store::Result<ObjectPath>> {
        self.store.delete_stream(at)
    }
    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.store.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> object_store::Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> object_store::Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

struct Running {
    ingester: Ingester,
    manifests: Arc<manifest::Store>,
}

/// A start that takes longer has failed for good.
const START_TIMEOUT: Duration = Duration::from_secs(30);

const WRITER: WriterId = WriterId(uuid::Uuid::from_u128(7));

async fn start(wal_dir: &Path, objects: Arc<Flaky>, config: Config) -> Running {
    let manifests = Arc::new(manifest::Store::open(objects.clone(), Telemetry::unregistered()).await.unwrap());
    let storage = Storage {
        objects,
        manifests: manifests.clone(),
        cpu: CpuPool::new(1),
        telemetry: Telemetry::unregistered(),
        writer_id: WRITER,
    };
    let ingester = Ingester::open(config, wal_dir, storage, &mut Registry::default()).await.unwrap();
    let is_ready = async {
        while ingester.readiness() != Readiness::Ready {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let late = |_| panic!("not ready in time: {:?}", ingester.readiness());
    tokio::time::timeout(START_TIMEOUT, is_ready).await.unwrap_or_else(late);
    Running { ingester, manifests }
}

impl Running {
    async fn push(&self, tenant: &TenantId, seed: u64) -> usize {
        self.ingester.push(tenant, shop_request(seed, 5, seed * 1_000_000).encode_to_vec().into()).await.unwrap().spans
    }

    /// Spans in published blocks, and live ones that are in none of them.
    async fn spans(&self, tenant: &TenantId) -> (usize, usize) {
        let live = self.ingester.live_sources(tenant).unwrap();
        let manifest = self.manifests.load(tenant).await.unwrap();
        let live = live.iter().filter(|source| manifest.block(&source.block_id()).is_none());
        (manifest.blocks.iter().map(|block| block.spans as usize).sum(), live.map(|source| source.span_count()).sum())
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

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_restart_once() {
    let (dir, objects, tenant) = (tempfile::tempdir().unwrap(), Arc::<Flaky>::default(), TenantId::single());
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
    assert!(!running.ingester.inner.log.is_closed());
    running.ingester.close().await;
    assert!(running.ingester.inner.log.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_delays_blocks_and_loses_nothing() {
    let (dir, objects, tenant) = (tempfile::tempdir().unwrap(), Arc::<Flaky>::default(), TenantId::single());
    let running = start(dir.path(), objects.clone(), Config::default()).await;
    let spans = running.push(&tenant, 1).await;
    objects.is_away.store(true, Ordering::Relaxed);
    assert!(running.ingester.flush().await.is_err());
    assert_eq!(running.spans(&tenant).await, (0, spans), "still found");
    objects.is_away.store(false, Ordering::Relaxed);
    running.ingester.flush().await.unwrap();
    assert_eq!(running.spans(&tenant).await, (spans, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_cut_before_the_log_is_replayed() {
    let (dir, tenant) = (tempfile::tempdir().unwrap(), TenantId::single());
    let running = start(dir.path(), Arc::default(), small_blocks()).await;
    running.push(&tenant, 1).await;
    running.ingester.inner.set_readiness(Readiness::Replaying { detail: "again".to_owned() });
    running.ingester.inner.live.stage(&tenant, &shop_request(2, 5, 1).encode_to_vec()).unwrap();
    running.ingester.inner.live.show(&tenant);
    assert!(!running.ingester.inner.request_cut_if_due());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_found_and_acknowledged_after_its_sync_and_not_without_it() {
    let (dir, tenant) = (tempfile::tempdir().unwrap(), TenantId::single());
    let running = start(dir.path(), Arc::default(), Config::default()).await;
    let inner = running.ingester.inner.clone();
    let ((flush_jobs, _jobs), (full_chunks, _chunks)) = (mpsc::channel(1), mpsc::channel(1));
    let applier = apply::spawn(inner.clone(), flush_jobs, full_chunks);
    for outcome in [ApplyCommand::NotSynced { reason: "disk".to_owned() }, ApplyCommand::Synced] {
        let is_synced = matches!(outcome, ApplyCommand::Synced);
        let (acknowledge, mut acknowledged) = oneshot::channel();
        let request = Bytes::from(shop_request(1, 5, 1).encode_to_vec());
        let spans = spans::check(&request).unwrap().spans;
        let room = inner.queued_bytes.clone().acquire_owned().await.unwrap();
        let push = Push { tenant: tenant.clone(), request, acknowledge, _room: room };
        applier.send(ApplyCommand::Stage(vec![push])).unwrap();
        while inner.live.size().memory_bytes == 0 {
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
async fn damage_manifest(objects: &Flaky, tenant: &TenantId) -> (ObjectPath, Bytes) {
    let prefix = ObjectPath::from(format!("{tenant}/manifest"));
    let listed: Vec<_> = objects.list(Some(&prefix)).try_collect().await.unwrap();
    let newest = listed.into_iter().map(|object| object.location).max().unwrap();
    let whole = objects.get(&newest).await.unwrap().bytes().await.unwrap();
    objects.put(&newest, whole.slice(1..).into()).await.unwrap();
    (newest, whole)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_makes_its_tenant_unavailable_and_loses_nothing() {
    let (dir, objects, other) =
        (tempfile::tempdir().unwrap(), Arc::<Flaky>::default(), TenantId::parse("other").unwrap());
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
