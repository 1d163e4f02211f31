//! What a query sees of a tenant: its live rows and the blocks of one manifest, every span once.
//!
//! ```text
//! live rows ──▶ manifest ──▶ where were these rows cut? ──▶ view
//! ```
//!
//! Live rows are taken first: whatever leaves them later is in a block of the manifest. What was published in between is
//! in both, and the log tells. A cut takes all rows up to the end of a segment, and the commit that publishes them raises
//! the writer's watermark to that segment; so live rows whose cut is at or below the watermark are left out. The block
//! that they became tells nothing: it may have been merged with others by the time the manifest is read.
//!
//! Where several processes write to one store, a view also has the live rows of the others (`peers/src/views.rs`): by the
//! same comparison, made by each of them for its own rows.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use model::{TenantId, TraceId};
use object_store::ObjectStore;

use crate::block::{BlockCache, BlockSource};
use crate::cpu::CpuPool;
use crate::deletion::Hider;
use crate::error::Error;
use crate::ids::SegmentSequence;
use crate::incarnation::Writer;
use crate::manifest::{self, Manifest};
use crate::memory::MemorySource;
use crate::source::Source;

/// The segment at whose end rows were cut; not known as long as they are not. Clones agree.
#[derive(Debug, Clone, Default)]
pub struct CutPosition(Arc<OnceLock<SegmentSequence>>);

impl CutPosition {
    /// To be called once, before the rows are given to whoever publishes them. So a manifest that has them is read when
    /// the position is known, and one that is read while it is not does not have them.
    pub fn set(&self, segment: SegmentSequence) {
        _ = self.0.set(segment);
    }

    pub fn get(&self) -> Option<SegmentSequence> {
        self.0.get().copied()
    }
}

/// Live rows to which no more are added, by a number that no other rows of the process have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u64);

/// Live rows that are cut together.
pub struct LiveTable {
    /// None for rows to which more may be added: the next table of them is another one.
    pub id: Option<TableId>,
    pub cut: CutPosition,
    pub source: Arc<MemorySource>,
}

impl LiveTable {
    /// Whether no manifest has the rows that says so of the watermark of their log.
    pub fn is_beyond(&self, watermark: SegmentSequence) -> bool {
        self.cut.get().is_none_or(|segment| segment > watermark)
    }
}

/// The rows of one log that are not yet in a published block.
pub trait LiveRows: Send + Sync {
    /// Whose log it is.
    fn writer(&self) -> Writer;

    /// All live rows of a tenant, oldest first. They stay until the commit that publishes them can be seen. CPU work.
    ///
    /// # Errors
    /// When rows cannot be put in columns.
    fn tables(&self, tenant: &TenantId) -> Result<Vec<LiveTable>, Error>;

    /// Whether rows were cut at this segment, or none were so far. If not, others publish this log by cuts of their own, and
    /// live rows cannot be told apart by that watermark: what lies beyond it is in the log.
    fn has_cut_at(&self, _segment: SegmentSequence) -> bool {
        true
    }

    /// False while the log is being read: rows that it has are missing.
    fn is_whole(&self) -> bool {
        true
    }
}

/// Which rows a question may need. A view may have more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Everything,
    /// Everything; what lies in other processes is in memory before the query begins, and stays there until it ends.
    Held,
    Trace(TraceId),
}

/// What a query sees of a tenant.
#[derive(Clone, Default)]
pub struct TenantView {
    pub sources: Vec<Arc<dyn Source>>,
    /// Whose live rows are missing, and why; for people.
    pub missing: Vec<String>,
    /// Memory of sources that nobody else has.
    pub held_bytes: usize,
}

impl TenantView {
    /// One that has everything.
    pub fn of(sources: Vec<Arc<dyn Source>>) -> Self {
        Self { sources, ..Self::default() }
    }

    /// `manifest` was read after `tables` were taken from `writer`.
    pub fn new(writer: &Writer, tables: Vec<LiveTable>, manifest: &Manifest, blocks: Vec<BlockSource>) -> Self {
        let watermark = manifest.published_by(writer);
        let live = tables.into_iter().filter(|table| table.is_beyond(watermark));
        let live = live.map(|table| table.source as Arc<dyn Source>);
        let blocks = blocks.into_iter().map(|block| Arc::new(block) as Arc<dyn Source>);
        Self::of(live.chain(blocks).collect())
    }

    /// Hides deleted traces.
    pub async fn without_deleted(mut self, manifest: &Manifest) -> Result<Self, Error> {
        let mut hider = Hider::new(manifest);
        for source in &mut self.sources {
            let known = manifest.block(&source.block_id()).filter(|_| !source.is_live());
            *source = hider.hide(source.clone(), known.map_or(0, |block| block.redacted_through)).await?;
        }
        Ok(self)
    }
}

/// Gives each query the view that it is answered from.
#[async_trait]
pub trait Views: Send + Sync {
    /// # Errors
    /// When the manifest cannot be read, or live rows cannot be put in columns.
    async fn view(&self, tenant: &TenantId, reach: Reach) -> Result<TenantView, Error>;
}

/// The same for everyone: sources that do not change.
#[async_trait]
impl Views for TenantView {
    async fn view(&self, _tenant: &TenantId, _reach: Reach) -> Result<TenantView, Error> {
        Ok(self.clone())
    }
}

/// Views of the live rows of this process, and of the blocks in manifests as it knows them.
pub struct LocalViews {
    pub live: Arc<dyn LiveRows>,
    pub manifests: Arc<manifest::Store>,
    pub objects: Arc<dyn ObjectStore>,
    pub cpu: CpuPool,
    pub cache: BlockCache,
}

#[async_trait]
impl Views for LocalViews {
    async fn view(&self, tenant: &TenantId, _reach: Reach) -> Result<TenantView, Error> {
        let (live, of_tenant) = (self.live.clone(), tenant.clone());
        let tables = self.cpu.run(move || live.tables(&of_tenant)).await??;
        let manifest = self.manifests.load(tenant).await?;
        let blocks = BlockSource::all(tenant, &manifest, &self.objects, &self.cpu, &self.cache);
        TenantView::new(&self.live.writer(), tables, &manifest, blocks).without_deleted(&manifest).await
    }
}

#[cfg(test)]
mod tests;
