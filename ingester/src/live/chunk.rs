//! Live rows to which no more are added: first as they came, then sorted, once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use model::BlockId;
use spans::TableBuilder;
use storage::Error as StorageError;
use storage::memory::MemorySource;
use storage::view::TableId;

/// Of the next chunk of the process.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Rows that can be found all the time; whoever asks first sorts them, and others who ask wait for that.
pub(crate) struct Chunk {
    pub(super) id: TableId,
    block_id: BlockId,
    rows: Mutex<Rows>,
    /// Spans that were received, copies among them.
    pub(crate) received_spans: usize,
}

enum Rows {
    AsTheyCame(Box<TableBuilder>),
    Sorted(Arc<MemorySource>),
}

impl Chunk {
    /// `snapshot` is the table of all rows, if there is one already.
    pub(crate) fn new(block_id: BlockId, rows: TableBuilder, snapshot: Option<Arc<MemorySource>>) -> Self {
        let received_spans = rows.span_count();
        let rows = snapshot.map_or_else(|| Rows::AsTheyCame(Box::new(rows)), Rows::Sorted);
        let id = TableId(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        Self { id, block_id, rows: Mutex::new(rows), received_spans }
    }

    /// The sorted rows. The first call is CPU work of some 20 ms.
    ///
    /// # Errors
    /// When the rows do not fit a table; they stay as they came.
    pub(crate) fn source(&self) -> Result<Arc<MemorySource>, StorageError> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let source = match &*rows {
            Rows::Sorted(source) => return Ok(source.clone()),
            Rows::AsTheyCame(builder) => Arc::new(MemorySource::new(self.block_id, builder.snapshot()?)?),
        };
        *rows = Rows::Sorted(source.clone());
        Ok(source)
    }
}
