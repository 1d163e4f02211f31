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

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use model::TenantId;
use object_store::ObjectStore;

use crate::block::{BlockCache, BlockSource};
use crate::cpu::CpuPool;
use crate::deletion::Hider;
use crate::error::Error;
use crate::ids::SegmentSequence;
use crate::incarnation::Writer;
use crate::manifest::{self, Manifest};
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

/// Live rows that are cut together.
pub struct LiveTable {
    pub cut: CutPosition,
    pub source: Arc<dyn Source>,
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
}

/// What a query sees of a tenant.
#[derive(Clone, Default)]
pub struct TenantView {
    pub sources: Vec<Arc<dyn Source>>,
}

impl TenantView {
    /// `manifest` was read after `tables` were taken from `writer`.
    fn new(writer: &Writer, tables: Vec<LiveTable>, manifest: &Manifest, blocks: Vec<BlockSource>) -> Self {
        let watermark = manifest.published_by(writer);
        let is_live = |table: &LiveTable| table.cut.get().is_none_or(|segment| segment > watermark);
        let live = tables.into_iter().filter(is_live).map(|table| table.source);
        let blocks = blocks.into_iter().map(|block| Arc::new(block) as Arc<dyn Source>);
        Self { sources: live.chain(blocks).collect() }
    }

    /// Hides deleted traces.
    async fn without_deleted(mut self, manifest: &Manifest) -> Result<Self, Error> {
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
    async fn view(&self, tenant: &TenantId) -> Result<TenantView, Error>;
}

/// The same for everyone: sources that do not change.
#[async_trait]
impl Views for TenantView {
    async fn view(&self, _tenant: &TenantId) -> Result<TenantView, Error> {
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
    async fn view(&self, tenant: &TenantId) -> Result<TenantView, Error> {
        let (live, of_tenant) = (self.live.clone(), tenant.clone());
        let tables = self.cpu.run(move || live.tables(&of_tenant)).await??;
        let manifest = self.manifests.load(tenant).await?;
        let blocks = BlockSource::all(tenant, &manifest, &self.objects, &self.cpu, &self.cache);
        TenantView::new(&self.live.writer(), tables, &manifest, blocks).without_deleted(&manifest).await
    }
}

#[cfg(test)]
mod tests;
