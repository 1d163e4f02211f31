//! Chunks that were closed, for whoever counts spans.

use std::sync::Arc;

use model::{BlockId, TenantId};
use spans::{SpanTable, TableBuilder};

use super::Chunk;

/// Spans of one tenant to which no more are added.
pub struct LiveSpans {
    pub tenant: TenantId,
    /// They were received by an earlier process, which may have counted them and lost the count.
    pub is_replayed: bool,
    chunk: Arc<Chunk>,
}

impl LiveSpans {
    pub(super) fn new(tenant: TenantId, chunk: Arc<Chunk>) -> Self {
        Self { tenant, is_replayed: false, chunk }
    }

    /// Spans that are not live, or are so elsewhere.
    pub(crate) fn replayed(tenant: TenantId, rows: TableBuilder) -> Self {
        let chunk = Arc::new(Chunk::new(BlockId::generate(), rows, None));
        Self { tenant, is_replayed: true, chunk }
    }

    /// The spans as a sorted table. CPU work of some 20 ms, unless a query has asked before.
    ///
    /// # Errors
    /// When the spans do not fit a table; they stay as they came.
    pub fn table(&self) -> Result<SpanTable, storage::Error> {
        Ok(self.chunk.source()?.table())
    }
}
