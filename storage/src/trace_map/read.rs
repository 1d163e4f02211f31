//! Asking a stored trace map: what a question lacks is fetched, checked, kept for the next one.
//!
//! Damage and a store that does not answer cost speed and nothing else: the answer is then that the block may have the
//! trace. Each is named once in the log and counted.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use model::{TenantId, TraceId};
use object_store::ObjectStore;
use object_store::path::Path;

use super::format::{self, HEADER_BYTES, Header, Pair};
use crate::cache::{ByteCache, Capacity};
use crate::exact::{self, Unread};
use crate::ids::TraceMapId;
use crate::manifest::TraceMapEntry;
use crate::paths;
use crate::telemetry::Telemetry;
use crate::trace_ids::TraceHash;

/// A map of up to this size is read as a whole: it takes about as long as a request to be answered.
const WHOLE_BYTES: u64 = 512 << 10;
/// The share of the cache that is for headers and whole maps; the rest is for buckets.
const HEADER_SHARE: u64 = 2;
const EXPECTED_MAPS: usize = 64;
const EXPECTED_BUCKETS: usize = 1_024;

/// Headers and buckets of trace maps, kept between questions within a budget of bytes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TraceMapCache {
    opened: ByteCache<TraceMapId, Option<Arc<OpenMap>>>,
    buckets: ByteCache<(TraceMapId, usize), Bytes>,
    telemetry: Telemetry,
}

/// What is kept of a map; `None` in its place stands for damage that was found and named.
struct OpenMap {
    header: Header,
    /// The object, if it is small: its buckets are known to be undamaged.
    whole: Option<Bytes>,
}

impl TraceMapCache {
    pub fn new(capacity_bytes: u64, telemetry: Telemetry) -> Self {
        let header_bytes = capacity_bytes / HEADER_SHARE;
        let opened_bytes = |_: &_, opened: &Option<Arc<OpenMap>>| {
            let of_opened =
                |opened: &Arc<OpenMap>| opened.header.memory_bytes() + opened.whole.as_ref().map_or(0, Bytes::len);
            opened.as_ref().map_or(0, of_opened)
        };
        let headers =
            Capacity { name: "trace_map", bytes: header_bytes, entries: EXPECTED_MAPS, bytes_of: opened_bytes };
        let buckets = Capacity {
            name: "trace_map_bucket",
            bytes: capacity_bytes - header_bytes,
            entries: EXPECTED_BUCKETS,
            bytes_of: |_, bucket: &Bytes| bucket.len(),
        };
        let (opened, buckets) = (ByteCache::new(&headers, &telemetry), ByteCache::new(&buckets, &telemetry));
        Self { opened, buckets, telemetry }
    }
}

/// A trace map, for the questions of one query.
pub(crate) struct TraceMap {
    id: TraceMapId,
    path: Path,
    object_bytes: u64,
    block_count: usize,
    objects: Arc<dyn ObjectStore>,
    cache: TraceMapCache,
    /// It failed once, and is asked no more.
    has_failed: AtomicBool,
}

enum Failure {
    Damaged(String),
    /// Damage that is named already.
    Known,
    /// The store did not give it; it may the next time.
    Unread(object_store::Error),
}

impl TraceMap {
    pub fn new(tenant: &TenantId, entry: &TraceMapEntry, objects: Arc<dyn ObjectStore>, cache: TraceMapCache) -> Self {
        Self {
            id: entry.id,
            path: paths::trace_map(tenant, &entry.id),
            object_bytes: entry.bytes,
            block_count: entry.blocks.len(),
            objects,
            cache,
            has_failed: AtomicBool::new(false),
        }
    }

    /// Whether the block of this number may have the trace; true where that cannot be said.
    pub async fn may_hold(&self, block: usize, id: &TraceId) -> bool {
        if self.has_failed.load(Ordering::Relaxed) {
            return true;
        }
        match self.holds(block, id).await {
            Ok(holds) => holds,
            Err(failure) => {
                if !self.has_failed.swap(true, Ordering::Relaxed) {
                    self.report(failure);
                }
                true
            }
        }
    }

    async fn holds(&self, block: usize, id: &TraceId) -> Result<bool, Failure> {
        let open = || async { self.open().await.map(Some) }.boxed();
        let opened = self.cache.opened.get_or_load(&self.id, open).await?;
        let opened = opened.ok_or(Failure::Known)?;
        let pair = Pair::new(TraceHash::of(id), block);
        let (number, place) = (pair.bucket(), opened.header.place(pair.bucket()));
        if place.is_empty() {
            return Ok(false);
        }
        if let Some(whole) = &opened.whole {
            return Ok(format::holds(&whole[place.start as usize..place.end as usize], pair));
        }
        let load = async || {
            let bucket = self.fetch(place).await?;
            match opened.header.is_whole(number, &bucket) {
                // a copy of its own, so that the cache holds what it counts
                true => Ok(Bytes::copy_from_slice(&bucket)),
                false => Err(Failure::Damaged(format!("the checksum of bucket {number} does not match"))),
            }
        };
        Ok(format::holds(&self.cache.buckets.get_or_load(&(self.id, number), || load().boxed()).await?, pair))
    }

    async fn open(&self) -> Result<Arc<OpenMap>, Failure> {
        let is_small = self.object_bytes <= WHOLE_BYTES;
        let read = self.fetch(0..if is_small { self.object_bytes } else { HEADER_BYTES as u64 }).await?;
        let opened = match is_small {
            true => format::verified(&read, self.block_count).map(|header| OpenMap { header, whole: Some(read) }),
            false => {
                Header::decode(&read, self.object_bytes, self.block_count).map(|header| OpenMap { header, whole: None })
            }
        };
        opened.map(Arc::new).map_err(Failure::Damaged)
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Bytes, Failure> {
        let range = std::slice::from_ref(&range);
        let read = exact::ranges(self.objects.as_ref(), &self.path, self.object_bytes, range).await;
        let read = read.map_err(|unread| match unread {
            Unread::CutShort { found } => Failure::Damaged(format!("it has {found} bytes, not {}", self.object_bytes)),
            Unread::Store(object_store::Error::NotFound { .. }) => Failure::Damaged("it is not there".to_owned()),
            Unread::Store(error) => Failure::Unread(error),
        })?;
        Ok(read.into_iter().next().unwrap_or_default())
    }

    /// Names what is wrong; damage once, as long as the cache remembers it.
    fn report(&self, failure: Failure) {
        let (id, key) = (self.id, &self.path);
        match failure {
            Failure::Known => {}
            Failure::Unread(error) => {
                tracing::warn!(%id, %key, %error, "trace map could not be read, look-ups ask its blocks one by one");
                self.cache.telemetry.trace_map_failed("unread");
            }
            Failure::Damaged(reason) => {
                tracing::warn!(%id, %key, %reason, "trace map is damaged, look-ups ask its blocks one by one");
                self.cache.telemetry.damaged_trace_map();
                self.cache.opened.insert(self.id, None);
            }
        }
    }
}
