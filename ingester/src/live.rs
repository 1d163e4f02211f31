//! Rows that are not yet in a published block.
//!
//! ```text
//! stage ──▶ open rows ──show──▶ open rows that queries see ──(full)──▶ chunks ──cut──▶ flushing ──▶ published
//!              └──discard: the log could not be synced
//! ```
//!
//! Rows are staged while the log is still being synced. No query sees them before [`Live::show`]; from then on they can
//! be found until the block that holds them can be.
//!
//! Each tenant's rows have a lock of their own: decoding a request of one tenant, or making a table of its newest rows for a
//! query, keeps nobody waiting who is busy with another's.

mod chunk;
mod closed;
mod gauge;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use model::{BlockId, TenantId};
use spans::{Mark, TableBuilder};
use storage::ids::SegmentSequence;
use storage::memory::MemorySource;
use storage::view::{CutPosition, LiveTable};

use crate::cut::LiveSize;
use crate::error::Error;

pub(crate) use chunk::Chunk;
pub use closed::LiveSpans;
pub(crate) use gauge::LiveSpansGauge;

/// Rows become a chunk, sorted once, when so many have come together: what a query sorts anew at the most.
const CHUNK_SPANS: usize = 16_384;
/// … or when they hold so much memory: some chunks find room in the smallest cache of another process
/// (`cluster.enabled`).
const CHUNK_BYTES: usize = 8 << 20;
/// Cuts that are remembered: more than there are in the time for which anybody uses a manifest.
const REMEMBERED_CUTS: usize = 10_000;
/// … or when somebody asks for them and they are so many: what is in no chunk is sorted for one query, and again for the next if
/// rows have come meanwhile. Another process keeps chunks, too, and fetches the others anew.
const ASKED_CHUNK_SPANS: usize = 4_096;

/// The live rows of all tenants.
#[derive(Default)]
pub(crate) struct Live {
    /// Written to where a tenant comes or goes, and read by whoever holds the lock of one: none goes meanwhile.
    tenants: RwLock<HashMap<TenantId, Mutex<TenantLive>>>,
    closed: Closed,
    /// Where rows were cut, the newest of them.
    cuts: Mutex<BTreeSet<SegmentSequence>>,
}

/// Chunks that were closed and not yet handed on; `None` where nobody wants them.
#[derive(Default)]
struct Closed(Option<Mutex<Vec<LiveSpans>>>);

impl Closed {
    fn push(&self, tenant: &TenantId, chunk: &Arc<Chunk>) {
        if let Self(Some(chunks)) = self {
            let chunk = LiveSpans::new(tenant.clone(), chunk.clone());
            chunks.lock().unwrap_or_else(PoisonError::into_inner).push(chunk);
        }
    }
}

#[derive(Default)]
struct TenantLive {
    head: Option<Head>,
    /// Cut, and not yet published.
    flushing: Vec<Arc<CutHead>>,
}

/// What queries see of a tenant: chunks, and the rows that are in none.
#[derive(Default)]
struct Shown {
    chunks: Vec<(CutPosition, Arc<Chunk>)>,
    open: Option<LiveTable>,
}

/// Rows that the next cut takes.
struct Head {
    block_id: BlockId,
    cut: CutPosition,
    since: Instant,
    chunks: Vec<Arc<Chunk>>,
    chunk_bytes: usize,
    open: TableBuilder,
    /// The open rows that queries see; those behind it are staged.
    shown: Mark,
    /// The shown rows as a table, for as long as no more are shown.
    snapshot: Option<Arc<MemorySource>>,
}

/// Rows of one tenant that are to become one block.
pub(crate) struct CutHead {
    pub tenant: TenantId,
    /// That of the first attempt to write it, and of the rows as long as they are live.
    pub block_id: BlockId,
    cut: CutPosition,
    pub chunks: Vec<Arc<Chunk>>,
}

impl CutHead {
    /// Spans that were received, copies among them.
    pub(crate) fn received_spans(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.received_spans as u64).sum()
    }
}

fn locked(live: &Mutex<TenantLive>) -> MutexGuard<'_, TenantLive> {
    // a panic while the lock was held can only have come from a table that could not be built; rows stay usable
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// Live rows whose closed chunks are kept for [`take_closed`](Self::take_closed).
    pub(crate) fn keeping_closed() -> Self {
        Self { closed: Closed(Some(Mutex::default())), ..Self::default() }
    }

    fn tenants(&self) -> RwLockReadGuard<'_, HashMap<TenantId, Mutex<TenantLive>>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tenants_mut(&self) -> RwLockWriteGuard<'_, HashMap<TenantId, Mutex<TenantLive>>> {
        self.tenants.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `action` makes of the rows of a tenant; `None` for one that has none.
    fn with<T>(&self, tenant: &TenantId, action: impl FnOnce(&mut TenantLive) -> T) -> Option<T> {
        Some(action(&mut locked(self.tenants().get(tenant)?)))
    }

    /// Forgets a tenant if it has no rows.
    fn remove_if_empty(&self, tenant: &TenantId) {
        let mut tenants = self.tenants_mut();
        if tenants.get(tenant).is_some_and(|live| locked(live).is_empty()) {
            tenants.remove(tenant);
        }
    }

    /// Adds the spans of a checked request, out of sight of queries.
    pub(crate) fn stage(&self, tenant: &TenantId, request: &[u8]) -> Result<usize, Error> {
        loop {
            let append = |live: &mut TenantLive| live.head.get_or_insert_with(Head::new).open.append(request);
            match self.with(tenant, append) {
                Some(appended) => return appended.map_err(Error::Table),
                // it may go again before its rows are there
                None => drop(self.tenants_mut().entry(tenant.clone()).or_default()),
            }
        }
    }

    /// Lets queries find the staged rows of a tenant. Returns the chunk that is full now, for the caller to sort.
    pub(crate) fn show(&self, tenant: &TenantId) -> Option<Arc<Chunk>> {
        self.with(tenant, |live| {
            let chunk = live.head.as_mut()?.show()?;
            self.closed.push(tenant, &chunk);
            Some(chunk)
        })?
    }

    /// Closes all chunks, where somebody wants them; not those with rows that are staged.
    pub(crate) fn close_shown(&self) {
        if self.closed.0.is_none() {
            return;
        }
        for (tenant, live) in self.tenants().iter() {
            self.close(tenant, &mut locked(live), 1);
        }
    }

    fn close(&self, tenant: &TenantId, live: &mut TenantLive, least_spans: usize) {
        if let Some(head) = live.head.as_mut()
            && head.open.span_count() >= least_spans
            && head.open.mark() == head.shown
            && let Some(chunk) = head.close_chunk()
        {
            self.closed.push(tenant, &chunk);
        }
    }

    /// Whether there are rows that are in no published block.
    pub(crate) fn is_empty(&self) -> bool {
        self.tenants().is_empty()
    }

    /// The chunks that were closed since the last call, oldest first.
    pub(crate) fn take_closed(&self) -> Vec<LiveSpans> {
        let chunks = self.closed.0.as_ref().map(|chunks| chunks.lock().unwrap_or_else(PoisonError::into_inner));
        chunks.map(|mut chunks| std::mem::take(&mut *chunks)).unwrap_or_default()
    }

    /// Takes back the staged rows of a tenant.
    pub(crate) fn discard(&self, tenant: &TenantId) {
        self.with(tenant, |live| {
            if let Some(head) = &mut live.head {
                head.open.truncate(&head.shown);
                live.head.take_if(|head| head.is_empty());
            }
        });
        self.remove_if_empty(tenant);
    }

    /// Memory of the rows that a cut would take, and since when they are there.
    pub(crate) fn size(&self) -> LiveSize {
        let mut size = LiveSize::default();
        for live in self.tenants().values() {
            if let Some(head) = &locked(live).head {
                size.memory_bytes += head.memory_bytes();
                size.oldest = Some(size.oldest.map_or(head.since, |oldest| oldest.min(head.since)));
            }
        }
        size
    }

    /// Spans of all tenants that are in no published block, copies among them.
    pub(crate) fn received_spans(&self) -> u64 {
        let of_head = |head: &Head| {
            let closed: usize = head.chunks.iter().map(|chunk| chunk.received_spans).sum();
            (closed + head.open.span_count()) as u64
        };
        let of_tenant = |live: &Mutex<TenantLive>| {
            let live = locked(live);
            let flushing: u64 = live.flushing.iter().map(|head| head.received_spans()).sum();
            flushing + live.head.as_ref().map_or(0, of_head)
        };
        self.tenants().values().map(of_tenant).sum()
    }

    /// Takes all shown rows of all tenants out of the heads; they stay findable until [`published`](Self::published).
    /// To be called when no row is staged, and all of them lie in segments up to `segment`.
    pub(crate) fn cut(&self, segment: SegmentSequence) -> Vec<Arc<CutHead>> {
        self.remember_cut(segment);
        let mut cut = Vec::new();
        for (tenant, live) in self.tenants().iter() {
            let mut live = locked(live);
            let Some(mut head) = live.head.take() else { continue };
            if let Some(chunk) = head.close_chunk() {
                self.closed.push(tenant, &chunk);
            }
            head.cut.set(segment);
            let Head { block_id, cut: position, chunks, .. } = head;
            let head = Arc::new(CutHead { tenant: tenant.clone(), block_id, cut: position, chunks });
            live.flushing.push(head.clone());
            cut.push(head);
        }
        cut
    }

    fn remember_cut(&self, segment: SegmentSequence) {
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.insert(segment);
        if cuts.len() > REMEMBERED_CUTS {
            cuts.pop_first();
        }
    }

    /// Whether rows were cut at this segment, or it is before all.
    pub(crate) fn has_cut_at(&self, segment: SegmentSequence) -> bool {
        segment == SegmentSequence::NONE || self.cuts.lock().unwrap_or_else(PoisonError::into_inner).contains(&segment)
    }

    /// The block is in the manifest: its rows are no longer live.
    pub(crate) fn published(&self, published: &Arc<CutHead>) {
        self.with(&published.tenant, |live| live.flushing.retain(|head| !Arc::ptr_eq(head, published)));
        self.remove_if_empty(&published.tenant);
    }

    /// All live rows of a tenant, oldest first. CPU work of some milliseconds when rows have come since the last call.
    pub(crate) fn tables(&self, tenant: &TenantId) -> Result<Vec<LiveTable>, Error> {
        let shown = self.with(tenant, |live| {
            self.close(tenant, live, ASKED_CHUNK_SPANS);
            live.shown()
        });
        let Shown { chunks, open } = shown.transpose()?.unwrap_or_default();
        let table = |(cut, chunk): (CutPosition, Arc<Chunk>)| {
            Ok(LiveTable { id: Some(chunk.id), cut, source: chunk.source()? })
        };
        let chunks = chunks.into_iter().map(table);
        let mut tables = chunks.collect::<Result<Vec<_>, _>>().map_err(Error::storage("sort live spans"))?;
        tables.extend(open);
        Ok(tables)
    }
}

impl TenantLive {
    fn shown(&mut self) -> Result<Shown, Error> {
        let mut shown = Shown::default();
        let with_cut = |cut: &CutPosition, chunk: &Arc<Chunk>| (cut.clone(), chunk.clone());
        for head in &self.flushing {
            shown.chunks.extend(head.chunks.iter().map(|chunk| with_cut(&head.cut, chunk)));
        }
        if let Some(head) = &mut self.head {
            shown.chunks.extend(head.chunks.iter().map(|chunk| with_cut(&head.cut, chunk)));
            shown.open = head.snapshot()?.map(|source| LiveTable { id: None, cut: head.cut.clone(), source });
        }
        Ok(shown)
    }

    fn is_empty(&self) -> bool {
        self.head.is_none() && self.flushing.is_empty()
    }
}

impl Head {
    fn new() -> Self {
        Self {
            block_id: BlockId::generate(),
            cut: CutPosition::default(),
            since: Instant::now(),
            chunks: Vec::new(),
            chunk_bytes: 0,
            open: TableBuilder::default(),
            shown: Mark::default(),
            snapshot: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.open.is_empty()
    }

    fn memory_bytes(&self) -> usize {
        self.chunk_bytes + self.open.memory_bytes()
    }

    /// Returns the chunk that is full with this.
    fn show(&mut self) -> Option<Arc<Chunk>> {
        let all = self.open.mark();
        if all != self.shown {
            (self.shown, self.snapshot) = (all, None);
        }
        let is_full = self.open.span_count() >= CHUNK_SPANS || self.open.memory_bytes() >= CHUNK_BYTES;
        if is_full { self.close_chunk() } else { None }
    }

    fn snapshot(&mut self) -> Result<Option<Arc<MemorySource>>, Error> {
        if self.snapshot.is_none() && self.shown.span_count() > 0 {
            let table = self.open.snapshot_at(&self.shown).map_err(Error::Table)?;
            let source = MemorySource::new(self.block_id, table).map_err(Error::storage("index live spans"))?;
            self.snapshot = Some(Arc::new(source));
        }
        Ok(self.snapshot.clone())
    }

    /// The open rows, all of them shown, become a chunk.
    fn close_chunk(&mut self) -> Option<Arc<Chunk>> {
        debug_assert_eq!(self.open.mark(), self.shown, "a chunk holds no staged rows");
        if self.open.is_empty() {
            return None;
        }
        self.chunk_bytes += self.open.memory_bytes();
        self.shown = Mark::default();
        let chunk = Arc::new(Chunk::new(self.block_id, std::mem::take(&mut self.open), self.snapshot.take()));
        self.chunks.push(chunk.clone());
        Some(chunk)
    }
}

#[cfg(test)]
mod tests;
