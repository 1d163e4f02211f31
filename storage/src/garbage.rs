//! Blocks, trace maps and parts of manifests that no manifest names, and when they go.
//!
//! Compaction and retention take blocks out of the manifest, larger trace maps the smaller ones; jobs fail and processes
//! die between two writes. Nobody remembers what they leave. The collector looks at what lies in the store, and deletes the
//! files of a block, or a trace map, that it has itself seen without a name for the grace period:
//!
//! ```text
//! list objects ─▶ refresh the manifest ─▶ watch: what has no name, and since when ─▶ none is due: done
//!                                                                                     │
//!                  delete the files of what is due and not in the fence ◀── fence ◀───┘ some are
//! ```
//!
//! **A block is never published after its files have gone:**
//!
//! 1. It is published within [`MAX_UNPUBLISHED`] of the moment at which its writing began, or never. Every attempt to
//!    commit looks at the clock after it has read the manifest that it builds on ([`PublishDeadline`]). What is late is written
//!    anew under another id (flush) or given up (compaction).
//! 2. Before it deletes, the collector commits the manifest once more, unchanged: the fence. A commit that was decided on
//!    an older manifest fails from then on, however long it was under way: retries, a slow store and a suspended process
//!    do not matter. Whoever tries again reads the fence or a newer manifest, and looks at the clock again.
//! 3. By then the grace period has passed since the collector saw the files, and more since their writing began. It is
//!    longer than [`MAX_UNPUBLISHED`]: by the difference, the writer's clock may be slow.
//!
//! **No query reads files that have gone:** between the commit that takes a block out of the manifest and the deletion of
//! its files lies the grace period; less, when the collector saw it before it had a name, by the time that it may be
//! unpublished and by one gap between two looks. A query takes its time, and plans with a manifest that is as old as the
//! last poll. [`least_grace`] adds that up. A process that cannot poll for longer than that finds files missing, and
//! answers without those blocks, as partial.
//!
//! Trace maps are published and deleted by the same rules, although a query that finds one gone loses nothing but time. So are
//! parts of manifests; each is stored for one attempt to commit, which fails once the fence is there. Who reads a manifest reads
//! its parts at once.
//!
//! A tenant without a readable manifest is left alone, and so is every object that is not one of ours. Parts of uploads
//! that a process left unfinished are not listed by [`object_store`]: a rule of the bucket has to remove them.

mod collector;
mod watch;

use std::time::Duration;

use model::{BlockId, TenantId};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::error::Error;
use crate::ids::{ManifestPartId, TraceMapId};
use crate::manifest::Manifest;
use crate::paths::{self, BlockFile};
use crate::publish_deadline::MAX_UNPUBLISHED;

pub use collector::Collector;

/// How often the collector looks at the store.
const PERIOD: Duration = Duration::from_secs(5 * 60);
/// Looks that are further apart do not show that a block had no name in between.
const MAX_GAP: Duration = Duration::from_secs(15 * 60);
/// A commit that was decided in time is made by then.
const COMMIT_TIME: Duration = Duration::from_secs(5 * 60);

/// The shortest safe grace period, where a query takes `query_time` and manifests are polled every `poll_period`.
pub fn least_grace(query_time: Duration, poll_period: Duration) -> Duration {
    [MAX_GAP, COMMIT_TIME, query_time, poll_period].into_iter().fold(MAX_UNPUBLISHED, Duration::saturating_add)
}

/// What has a name of its own in the manifest, and goes as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Block(BlockId),
    TraceMap(TraceMapId),
    ManifestPart(ManifestPartId),
}

impl Item {
    fn is_in(self, manifest: &Manifest) -> bool {
        match self {
            Self::Block(id) => manifest.block(&id).is_some(),
            Self::TraceMap(id) => manifest.trace_map(&id).is_some(),
            Self::ManifestPart(id) => manifest.parts.iter().any(|part| part.id == id),
        }
    }

    async fn delete(self, objects: &dyn ObjectStore, tenant: &TenantId) -> Result<(), Error> {
        match self {
            Self::Block(id) => delete_block(objects, tenant, &id).await,
            Self::TraceMap(id) => delete_trace_map(objects, tenant, &id).await,
            Self::ManifestPart(id) => delete(objects, &paths::manifest_part(tenant, &id)).await,
        }
    }
}

/// Deletes the files of a block, as far as that goes; one that is not there counts as deleted.
///
/// # Errors
/// The first file that could not be deleted.
pub(crate) async fn delete_block(
    objects: &dyn ObjectStore,
    tenant: &TenantId,
    block_id: &BlockId,
) -> Result<(), Error> {
    let mut outcome = Ok(());
    for file in BlockFile::ALL {
        outcome = outcome.and(delete(objects, &paths::block_file(tenant, block_id, file)).await);
    }
    outcome
}

/// Deletes a trace map; one that is not there counts as deleted.
pub(crate) async fn delete_trace_map(
    objects: &dyn ObjectStore,
    tenant: &TenantId,
    id: &TraceMapId,
) -> Result<(), Error> {
    delete(objects, &paths::trace_map(tenant, id)).await
}

async fn delete(objects: &dyn ObjectStore, key: &Path) -> Result<(), Error> {
    match objects.delete(key).await {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        result => result.map_err(Error::objects("delete", key)),
    }
}

#[cfg(test)]
mod tests;
