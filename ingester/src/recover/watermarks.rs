//! Up to where the log is in blocks, with certainty: not even a commit of the process before, which died while its put was
//! under way, changes that any more. Otherwise spans could be replayed and, a moment later, be in a block as well. Where
//! no put can be late, nothing is written to find out: a process has to start on a full disk, too.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use model::{ErrorKind, TenantId};
use storage::Error as StorageError;
use storage::ids::SegmentSequence;
use storage::manifest::Manifest;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::stores::Storage;

/// How long replay waits before it asks a store again that could not be reached.
const FENCE_RETRY: Duration = Duration::from_secs(1);

/// For each tenant the last segment of this writer whose entries are all in blocks.
pub(crate) struct Watermarks {
    storage: Storage,
    runtime: Handle,
    cancel: CancellationToken,
    known: HashMap<TenantId, SegmentSequence>,
    /// Tenants whose watermark only this process can raise.
    fenced: HashSet<TenantId>,
}

impl Watermarks {
    /// Reads the manifests of all tenants; beside what they say, the tenants whose manifest is damaged, with the reason.
    /// `cancel` ends the wait for a store that cannot be reached.
    pub(crate) async fn load(
        storage: Storage,
        cancel: CancellationToken,
    ) -> Result<(Self, HashMap<TenantId, String>), Error> {
        let (mut known, mut unavailable) = (HashMap::new(), HashMap::new());
        for tenant in storage.manifests.tenants() {
            match storage.manifests.load(&tenant).await {
                Ok(manifest) => {
                    let covered =
                        watermark(&storage, &tenant, &manifest).map_err(Error::storage("take over the log"))?;
                    known.insert(tenant, covered);
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::error!(%tenant, %error, "spans of this tenant are refused, what the log has of it is kept");
                    unavailable.insert(tenant, error.to_string());
                }
                Err(error) => return Err(Error::storage("read manifests")(error)),
            }
        }
        let watermarks = Self { storage, runtime: Handle::current(), cancel, known, fenced: HashSet::new() };
        Ok((watermarks, unavailable))
    }

    /// The highest of all tenants.
    pub(crate) fn newest(&self) -> SegmentSequence {
        self.known.values().copied().max().unwrap_or_default()
    }

    /// Whether the entries of a tenant in a segment are in blocks. Blocks; the first time that the answer is no, the
    /// tenant is fenced if puts may be late.
    pub(crate) fn fence_and_check(&mut self, tenant: &TenantId, segment: SegmentSequence) -> Result<bool, Error> {
        if self.storage.puts_may_be_late && !self.is_covered(tenant, segment) && !self.fenced.contains(tenant) {
            let fenced = self.runtime.block_on(self.cancel.run_until_cancelled(fence(&self.storage, tenant)));
            self.known.insert(tenant.clone(), fenced.ok_or(Error::Stopped)??);
            self.fenced.insert(tenant.clone());
        }
        Ok(self.is_covered(tenant, segment))
    }

    fn is_covered(&self, tenant: &TenantId, segment: SegmentSequence) -> bool {
        self.known.get(tenant).is_some_and(|covered| segment <= *covered)
    }
}

async fn fence(storage: &Storage, tenant: &TenantId) -> Result<SegmentSequence, Error> {
    loop {
        match storage.manifests.fence(tenant).await {
            Ok(manifest) => return watermark(storage, tenant, &manifest).map_err(Error::storage("take over the log")),
            Err(error) if is_passing(&error) => {
                tracing::warn!(%tenant, %error, "the log cannot be replayed before a manifest is written, will retry");
                tokio::time::sleep(FENCE_RETRY).await;
            }
            Err(error) => return Err(Error::storage("write a manifest")(error)),
        }
    }
}

/// # Errors
/// [`StorageError::WriterElsewhere`] when it is about another log.
fn watermark(storage: &Storage, tenant: &TenantId, manifest: &Manifest) -> Result<SegmentSequence, StorageError> {
    let writer_id = storage.lineage.writer().id;
    match manifest.is_of(&storage.lineage) {
        true => Ok(manifest.watermark(&writer_id)),
        false => Err(StorageError::WriterElsewhere { tenant: tenant.clone(), writer_id }),
    }
}

fn is_passing(error: &StorageError) -> bool {
    error.kind() == ErrorKind::Unavailable
}
