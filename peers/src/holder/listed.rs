//! Tables that others were told of, kept a while beyond their publication: whoever lists them fetches them a moment later,
//! and begins the whole query again if they are gone by then.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::TenantId;
use storage::memory::MemorySource;
use storage::view::TableId;

use crate::source::memory_bytes;

/// A query fetches what it was told of within this time, or begins again. Noticed when others are told of more.
const KEPT_FOR: Duration = Duration::from_secs(10);

struct Kept {
    tenant: TenantId,
    id: TableId,
    rows: Arc<MemorySource>,
    listed_at: Instant,
    bytes: u64,
}

/// The tables that were listed last, the latest at the back.
pub(super) struct ListedTables {
    tables: Mutex<VecDeque<Kept>>,
    most_bytes: u64,
}

impl ListedTables {
    /// Keeps the latest tables that together have so many bytes.
    pub fn within(most_bytes: u64) -> Self {
        Self { tables: Mutex::default(), most_bytes }
    }

    /// Keeps a table from now on. One that is kept already is the latest now.
    pub fn keep(&self, tenant: &TenantId, id: TableId, rows: &Arc<MemorySource>) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tables.iter().position(|kept| kept.is(tenant, id)).and_then(|at| tables.remove(at));
        tables.retain(|kept| kept.listed_at.elapsed() < KEPT_FOR);
        // each question lists the same tables: they are measured once
        let bytes = known.map_or_else(|| memory_bytes(rows) as u64, |kept| kept.bytes);
        tables.push_back(Kept { tenant: tenant.clone(), id, rows: rows.clone(), listed_at: Instant::now(), bytes });
        let mut bytes: u64 = tables.iter().map(|kept| kept.bytes).sum();
        while bytes > self.most_bytes
            && let Some(oldest) = tables.pop_front()
        {
            bytes -= oldest.bytes;
        }
    }

    pub fn find(&self, tenant: &TenantId, id: TableId) -> Option<Arc<MemorySource>> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.iter().find(|kept| kept.is(tenant, id)).map(|kept| kept.rows.clone())
    }
}

impl Kept {
    fn is(&self, tenant: &TenantId, id: TableId) -> bool {
        self.id == id && self.tenant == *tenant
    }
}
