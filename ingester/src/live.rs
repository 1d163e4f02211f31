//! Rows that are not yet in a published block: they can be found from the moment they are applied until the block that
//! holds them is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use model::{BlockId, TenantId};
use spans::TableBuilder;
use storage::memory::MemorySource;
use storage::source::Source;

use crate::cut::LiveSize;
use crate::error::Error;

/// Rows are sealed into a sorted table when so many have come together: what a query sorts anew at the most.
const CHUNK_SPANS: usize = 16_384;
/// … or when they hold so much memory.
const CHUNK_BYTES: usize = 24 << 20;

/// The live rows of all tenants.
#[derive(Default)]
pub(crate) struct Live {
    tenants: Mutex<HashMap<TenantId, TenantLive>>,
}

#[derive(Default)]
struct TenantLive {
    head: Option<Head>,
    /// Cut, and not yet published.
    flushing: Vec<Arc<CutHead>>,
}

/// Rows that the next cut takes.
struct Head {
    block_id: BlockId,
    since: Instant,
    chunks: Vec<Arc<MemorySource>>,
    chunk_bytes: usize,
    open: TableBuilder,
    /// The open rows as a table, for as long as no more come.
    snapshot: Option<Arc<MemorySource>>,
}

/// Rows of one tenant that are to become one block.
pub(crate) struct CutHead {
    pub tenant: TenantId,
    pub block_id: BlockId,
    pub chunks: Vec<Arc<MemorySource>>,
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, TenantLive>> {
        // a panic while the lock was held can only have come from a table that could not be built; rows stay usable
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the spans of a checked request; they can be found when this returns.
    pub(crate) fn apply(&self, tenant: &TenantId, request: &[u8]) -> Result<usize, Error> {
        let mut tenants = self.lock();
        if !tenants.contains_key(tenant) {
            tenants.insert(tenant.clone(), TenantLive::default());
        }
        let live = tenants.get_mut(tenant).expect("inserted above");
        live.head.get_or_insert_with(Head::new).append(request)
    }

    /// Memory of the rows that a cut would take, and since when they are there.
    pub(crate) fn size(&self) -> LiveSize {
        let tenants = self.lock();
        let heads = || tenants.values().filter_map(|live| live.head.as_ref());
        LiveSize { memory_bytes: heads().map(Head::memory_bytes).sum(), oldest: heads().map(|head| head.since).min() }
    }

    /// Takes all rows of all tenants out of the heads; they stay findable until [`published`](Self::published).
    pub(crate) fn cut(&self) -> Result<Vec<Arc<CutHead>>, Error> {
        let (mut tenants, mut cut) = (self.lock(), Vec::new());
        // all are sealed before any is taken: a head that is taken must reach the flusher
        for live in tenants.values_mut() {
            live.head.as_mut().map_or(Ok(()), Head::seal)?;
        }
        for (tenant, live) in tenants.iter_mut() {
            if let Some(head) = live.head.take_if(|head| !head.chunks.is_empty()) {
                let head = Arc::new(CutHead { tenant: tenant.clone(), block_id: head.block_id, chunks: head.chunks });
                live.flushing.push(head.clone());
                cut.push(head);
            }
        }
        Ok(cut)
    }

    /// The block is in the manifest: its rows are no longer live.
    pub(crate) fn published(&self, tenant: &TenantId, block_id: BlockId) {
        let mut tenants = self.lock();
        if let Some(live) = tenants.get_mut(tenant) {
            live.flushing.retain(|head| head.block_id != block_id);
            if live.head.is_none() && live.flushing.is_empty() {
                tenants.remove(tenant);
            }
        }
    }

    /// All live rows of a tenant, oldest first. CPU work of some milliseconds when rows have come since the last call.
    pub(crate) fn sources(&self, tenant: &TenantId) -> Result<Vec<Arc<dyn Source>>, Error> {
        let mut tenants = self.lock();
        let Some(live) = tenants.get_mut(tenant) else { return Ok(Vec::new()) };
        let flushing = live.flushing.iter().flat_map(|head| &head.chunks);
        let mut chunks: Vec<Arc<MemorySource>> = flushing.cloned().collect();
        if let Some(head) = &mut live.head {
            chunks.extend(head.chunks.iter().cloned());
            chunks.extend(head.snapshot()?);
        }
        Ok(chunks.into_iter().map(|chunk| chunk as Arc<dyn Source>).collect())
    }
}

impl Head {
    fn new() -> Self {
        Self {
            block_id: BlockId::generate(),
            since: Instant::now(),
            chunks: Vec::new(),
            chunk_bytes: 0,
            open: TableBuilder::default(),
            snapshot: None,
        }
    }

    fn memory_bytes(&self) -> usize {
        self.chunk_bytes + self.open.memory_bytes()
    }

    fn append(&mut self, request: &[u8]) -> Result<usize, Error> {
        self.snapshot = None;
        let spans = self.open.append(request).map_err(Error::Table)?;
        if self.open.span_count() >= CHUNK_SPANS || self.open.memory_bytes() >= CHUNK_BYTES {
            self.seal()?;
        }
        Ok(spans)
    }

    fn snapshot(&mut self) -> Result<Option<Arc<MemorySource>>, Error> {
        if self.snapshot.is_none() && !self.open.is_empty() {
            let table = self.open.snapshot().map_err(Error::Table)?;
            let source = MemorySource::new(self.block_id, table).map_err(Error::storage("index live spans"))?;
            self.snapshot = Some(Arc::new(source));
        }
        Ok(self.snapshot.clone())
    }

    /// Turns the open rows into a chunk.
    fn seal(&mut self) -> Result<(), Error> {
        if let Some(chunk) = self.snapshot()? {
            self.chunk_bytes += self.open.memory_bytes();
            self.chunks.push(chunk);
            self.open = TableBuilder::default();
            self.snapshot = None;
        }
        Ok(())
    }
}
