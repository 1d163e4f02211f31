//! The bucket as one node sees it: it fails as planned, waits while its node is suspended, and breaks the rules that a plant
//! says.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use storage::paths;
use storage::testing::{Fault, FaultyStore, Power};
use tokio::sync::watch;

use super::Plant;

/// See the module.
#[derive(Debug, Clone)]
pub struct NodeStore {
    pub store: FaultyStore,
    pub power: Power,
    /// False while the node is suspended.
    pub goes_on: Arc<watch::Sender<bool>>,
    /// The next put of a manifest is under way when the node dies.
    pub dies_in_commit: Arc<AtomicBool>,
    /// Late puts of others arrive while a log is read.
    pub delivers_while_reading: Arc<AtomicBool>,
    /// What the next listing of a log shows instead of what is there.
    pub stale_listing: Arc<Mutex<Option<Vec<ObjectMeta>>>>,
    pub plant: Option<Plant>,
}

impl NodeStore {
    /// On a machine of its own.
    pub fn new(bucket: &FaultyStore, plant: Option<Plant>) -> Self {
        let power = Power::default();
        Self {
            store: bucket.on(power.clone()),
            power,
            goes_on: Arc::new(watch::Sender::new(true)),
            dies_in_commit: Arc::default(),
            delivers_while_reading: Arc::default(),
            stale_listing: Arc::default(),
            plant,
        }
    }

    async fn gate(&self) {
        // the sender lives as long as this does
        _ = self.goes_on.subscribe().wait_for(|goes_on| *goes_on).await;
    }

    fn listed(&self, prefix: Option<&Path>, offset: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let is_log = prefix.is_some_and(|prefix| paths::log_of(prefix).is_some());
        let stale = is_log.then(|| self.stale_listing.lock().expect("no test panics with it").take()).flatten();
        if let Some(stale) = stale {
            return stream::iter(stale.into_iter().map(Ok)).boxed();
        }
        let (store, prefix, offset) = (self.clone(), prefix.cloned(), offset.cloned());
        let list = async move {
            store.gate().await;
            Ok::<_, Error>(match &offset {
                Some(offset) => store.store.list_with_offset(prefix.as_ref(), offset),
                None => store.store.list(prefix.as_ref()),
            })
        };
        stream::once(list).try_flatten().boxed()
    }
}

fn is_log(key: &Path) -> bool {
    key.prefix_matches(&paths::logs())
}

fn done() -> PutResult {
    PutResult { e_tag: None, version: None, extensions: Default::default() }
}

impl fmt::Display for NodeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of a node: {}", self.store)
    }
}

#[async_trait]
impl ObjectStore for NodeStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.gate().await;
        let is_manifest = location.as_ref().contains("/manifest/");
        if is_manifest && self.dies_in_commit.swap(false, Ordering::SeqCst) {
            self.store.faults().clear();
            self.store.faults().plan(0, Fault::PowerCutLate);
        }
        if is_log(location) && self.plant == Some(Plant::AckBeforeThePut) && !self.power.is_cut() {
            self.store.faults().plan(0, Fault::Late);
            _ = self.store.put_opts(location, payload, opts).await;
            return Ok(done());
        }
        match self.store.put_opts(location, payload, opts).await {
            Err(Error::AlreadyExists { .. })
                if is_log(location) && self.plant == Some(Plant::AlreadyExistsBelieved) =>
            {
                Ok(done())
            }
            result => result,
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.gate().await;
        self.store.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.gate().await;
        if is_log(location) && self.delivers_while_reading.load(Ordering::SeqCst) {
            for late in self.store.take_late() {
                self.store.deliver(late).await;
            }
        }
        self.store.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.gate().await;
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.gate().await;
        self.store.copy_opts(from, to, options).await
    }
}
