//! Traces that were deleted: gone from answers at once, and from files when the blocks that have them are written anew.
//!
//! ```text
//! delete ─▶ tombstone in the manifest ─▶ views hide the trace ─▶ compaction writes blocks without it ─▶ tombstone goes
//! ```
//!
//! Tombstones are numbered. A block's entry in the manifest says up to which number the block is known to have none of the
//! deleted traces: because it was written without them, or because it was looked through. So blocks that are published
//! later, of rows that were live when their trace was deleted, are found, too. A tombstone stays for a day after no block
//! has its trace any more: what comes late of the trace is deleted with it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use model::{BlockId, TenantId, TraceId};
use object_store::ObjectStore;
use serde::Serialize;
use traceql::Field;

use crate::block::{BlockCache, BlockSource};
use crate::clock::unix_nanos;
use crate::cpu::CpuPool;
use crate::error::Error;
use crate::index::ValueCount;
use crate::manifest::{self, Change, Manifest, Tombstone};
use crate::source::{Source, SourceWrapper, TracePart};

/// Traces of a tenant that may be deleted and not yet gone from its files. Every commit writes them all.
pub const MAX_TOMBSTONES: usize = 10_000;

/// How long the spans of a deleted trace are waited for that come late: longer than rows are live.
const KEPT_NANOS: u64 = 24 * 3_600 * 1_000_000_000;

/// Ids of deleted traces.
pub type DeletedTraces = HashSet<TraceId>;

impl Manifest {
    /// The deleted traces that what is known to have none up to this number may have.
    pub fn deleted_after(&self, number: u64) -> DeletedTraces {
        self.tombstones.iter().filter(|stone| stone.number > number).map(|stone| stone.trace_id).collect()
    }

    /// The tombstones that nothing is to be hidden for any more.
    pub(crate) fn spent_tombstones(&self, now_nanos: u64) -> Vec<u64> {
        let looked_through = self.blocks.iter().map(|block| block.redacted_through).min().unwrap_or(u64::MAX);
        let is_spent = |stone: &&Tombstone| {
            stone.number <= looked_through && stone.deleted_nanos.saturating_add(KEPT_NANOS) < now_nanos
        };
        self.tombstones.iter().filter(is_spent).map(|stone| stone.number).collect()
    }
}

/// Why traces were not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error(
        "{0} deleted traces wait to leave the files of the tenant, at most {MAX_TOMBSTONES} may: try again when compaction has \
         caught up"
    )]
    TooMany(usize),
    #[error(transparent)]
    Storage(#[from] Error),
}

/// What became of the deleted traces of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub traces: Vec<DeletedTrace>,
    /// Blocks that have deleted traces, and that are to be written anew.
    pub blocks_to_rewrite: Vec<BlockId>,
    /// Blocks that could not be looked through.
    pub unreadable_blocks: Vec<BlockId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedTrace {
    #[serde(rename = "traceID")]
    pub trace_id: String,
    pub deleted_unix_nanos: u64,
    /// Whether no block has it any more.
    pub is_gone_from_blocks: bool,
}

/// Deletes traces, and says what became of them.
#[derive(Clone)]
pub struct Deleter {
    pub manifests: Arc<manifest::Store>,
    pub objects: Arc<dyn ObjectStore>,
    pub cpu: CpuPool,
    pub cache: BlockCache,
}

impl Deleter {
    /// From now on nothing is found of these traces, nor of their spans that come within a day.
    ///
    /// # Errors
    /// When nothing was deleted, or nobody knows.
    pub async fn delete(&self, tenant: &TenantId, ids: &[TraceId]) -> Result<(), DeleteError> {
        let known = self.manifests.load(tenant).await?.tombstones.len();
        if known + ids.len() > MAX_TOMBSTONES {
            return Err(DeleteError::TooMany(known));
        }
        let change = Change { delete_traces: ids.to_vec(), deleted_nanos: unix_nanos(), ..Change::default() };
        self.manifests.commit(tenant, |_| Some(change.clone())).await?;
        Ok(())
    }

    /// What became of the deleted traces: looks for each of them in every block that may have it.
    ///
    /// # Errors
    /// When the manifest cannot be read.
    pub async fn report(&self, tenant: &TenantId) -> Result<Report, Error> {
        let manifest = self.manifests.refresh(tenant).await?;
        let (mut still_there, mut blocks_to_rewrite, mut unreadable_blocks) = (HashSet::new(), Vec::new(), Vec::new());
        for block in BlockSource::all(tenant, &manifest, &self.objects, &self.cpu, &self.cache) {
            // what the manifest says of the block is not believed here
            match found(&block, &manifest.deleted_after(0)).await {
                Ok(found) if found.is_empty() => {}
                Ok(found) => {
                    still_there.extend(found);
                    blocks_to_rewrite.push(block.block_id());
                }
                Err(_) => unreadable_blocks.push(block.block_id()),
            }
        }
        let traces = manifest.tombstones.iter().map(|stone| DeletedTrace {
            trace_id: stone.trace_id.to_string(),
            deleted_unix_nanos: stone.deleted_nanos,
            is_gone_from_blocks: !still_there.contains(&stone.trace_id) && unreadable_blocks.is_empty(),
        });
        Ok(Report { traces: traces.collect(), blocks_to_rewrite, unreadable_blocks })
    }
}

/// Those of some traces that a source has.
pub(crate) async fn found(source: &dyn Source, ids: &DeletedTraces) -> Result<Vec<TraceId>, Error> {
    let ids: Vec<TraceId> = ids.iter().copied().collect();
    Ok(source.find_traces(&ids).await?.into_iter().map(|part| part.id).collect())
}

/// Hides deleted traces in the sources of a tenant.
pub(crate) struct Hider<'m> {
    manifest: &'m Manifest,
    /// The deleted traces by the number up to which they are known to be gone.
    by_number: BTreeMap<u64, Arc<DeletedTraces>>,
}

impl<'m> Hider<'m> {
    pub fn new(manifest: &'m Manifest) -> Self {
        Self { manifest, by_number: BTreeMap::new() }
    }

    /// A source that is known to have none of the deleted traces up to this number. What is live is looked through here: it
    /// is small, and stays as it is where it has none of them.
    pub async fn hide(&mut self, source: Arc<dyn Source>, number: u64) -> Result<Arc<dyn Source>, Error> {
        if self.manifest.tombstones.last().is_none_or(|newest| newest.number <= number) {
            return Ok(source);
        }
        let manifest = self.manifest;
        let deleted = self.by_number.entry(number).or_insert_with(|| Arc::new(manifest.deleted_after(number))).clone();
        if source.is_live() && found(source.as_ref(), &deleted).await?.is_empty() {
            return Ok(source);
        }
        Ok(Arc::new(Hiding { source, deleted }))
    }
}

/// A source whose traces of these were deleted.
pub fn hiding(source: Arc<dyn Source>, deleted: Arc<DeletedTraces>) -> Arc<dyn Source> {
    if deleted.is_empty() { source } else { Arc::new(Hiding { source, deleted }) }
}

/// A source of which some traces are not to be seen.
struct Hiding {
    source: Arc<dyn Source>,
    deleted: Arc<DeletedTraces>,
}

#[async_trait]
impl SourceWrapper for Hiding {
    fn inner(&self) -> &dyn Source {
        self.source.as_ref()
    }

    fn deleted_traces(&self) -> Option<&Arc<DeletedTraces>> {
        Some(&self.deleted)
    }

    /// What is listed has what deleted traces have.
    async fn values(&self, _field: &Field) -> Result<Option<Vec<ValueCount>>, Error> {
        Ok(None)
    }

    async fn find_traces(&self, ids: &[TraceId]) -> Result<Vec<TracePart>, Error> {
        let mut found = self.source.find_traces(ids).await?;
        found.retain(|part| !self.deleted.contains(&part.id));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::Telemetry;
    use crate::manifest::Store;

    fn id(number: u8) -> TraceId {
        TraceId([number; 16])
    }

    #[tokio::test]
    async fn tombstones_are_numbered_and_go_when_they_are_old_and_no_block_may_have_their_trace() {
        let (objects, tenant) = (Arc::new(InMemory::new()), TenantId::single());
        let store = Store::open(objects.clone(), Telemetry::unregistered()).await.unwrap();
        let delete = async |ids: &[TraceId], at: u64| {
            let change = Change { delete_traces: ids.to_vec(), deleted_nanos: at, ..Change::default() };
            store.commit(&tenant, |_| Some(change.clone())).await.unwrap()
        };
        let numbers = |manifest: &Manifest| {
            manifest.tombstones.iter().map(|stone| (stone.trace_id.0[0], stone.number)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&*delete(&[id(1), id(2)], 5).await), [(1, 1), (2, 2)]);
        let manifest = delete(&[id(1)], 9).await;
        assert_eq!(numbers(&manifest), [(2, 2), (1, 3)], "what comes back is deleted again");
        assert_eq!(manifest.deleted_after(2), [id(1)].into());
        assert_eq!(manifest.spent_tombstones(KEPT_NANOS), [] as [u64; 0], "what comes late is waited for");
        let spent = manifest.spent_tombstones(KEPT_NANOS + 6);
        assert_eq!(spent, [2]);
        let change = Change { remove_tombstones: spent, ..Change::default() };
        let manifest = store.commit(&tenant, |_| Some(change.clone())).await.unwrap();
        assert_eq!((numbers(&manifest), manifest.last_tombstone), (vec![(1, 3)], 3));
        let again = Store::open(objects, Telemetry::unregistered()).await.unwrap();
        assert_eq!(again.load(&tenant).await.unwrap(), manifest);
    }
}
