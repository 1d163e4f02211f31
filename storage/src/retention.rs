//! Spans are kept for a time: blocks that end before it leave the manifest, and a while later their files go.
//!
//! The order is the protocol: first one commit takes the blocks out of the manifest, then, after a grace period in which
//! queries that planned with them end, the files are deleted. A process that dies in between leaves files that no
//! manifest names.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{BlockId, TenantId};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::error::Error;
use crate::manifest::{BlockEntry, Change, Manifest, Store};
use crate::paths::{self, BlockFile};

/// How often expired blocks are looked for.
const PERIOD: Duration = Duration::from_secs(60);
/// How long files stay after their block has left the manifest: longer than any query takes.
const GRACE: Duration = Duration::from_secs(10 * 60);

/// Drops expired blocks of all tenants.
pub struct Retention {
    manifests: Arc<Store>,
    objects: Arc<dyn ObjectStore>,
    keep: Duration,
    /// Blocks out of the manifest, whose files are still there, oldest first.
    dropped: Vec<(Instant, TenantId, BlockId)>,
}

impl Retention {
    /// `keep` is how long a block stays after it was written and its last span has ended.
    pub fn new(manifests: Arc<Store>, objects: Arc<dyn ObjectStore>, keep: Duration) -> Self {
        Self { manifests, objects, keep, dropped: Vec::new() }
    }

    /// Works until it is dropped. What fails is tried again with the next round.
    pub async fn run(mut self) {
        let mut rounds = tokio::time::interval(PERIOD);
        loop {
            rounds.tick().await;
            self.round(SystemTime::now()).await;
        }
    }

    /// Drops what is expired at `now`, and deletes the files of what was dropped long enough ago.
    pub async fn round(&mut self, now: SystemTime) {
        let now_nanos = now.duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        for tenant in self.manifests.tenants() {
            if let Err(error) = self.drop_expired(&tenant, now_nanos).await {
                tracing::warn!(%tenant, %error, "expired blocks could not be dropped, will retry");
            }
        }
        self.delete_dropped(Instant::now()).await;
    }

    async fn drop_expired(&mut self, tenant: &TenantId, now_nanos: u64) -> Result<(), Error> {
        let before = expiry(now_nanos, self.keep);
        let blocks = expired(&*self.manifests.load(tenant).await?, before);
        if blocks.is_empty() {
            return Ok(());
        }
        let change = |manifest: &Manifest| Some(Change { remove: expired(manifest, before), ..Change::default() });
        self.manifests.commit(tenant, change).await?;
        tracing::info!(%tenant, blocks = blocks.len(), "expired blocks dropped");
        self.dropped.extend(blocks.into_iter().map(|block_id| (Instant::now(), tenant.clone(), block_id)));
        Ok(())
    }

    async fn delete_dropped(&mut self, now: Instant) {
        let due = self.dropped.partition_point(|(since, _, _)| now.saturating_duration_since(*since) >= GRACE);
        for (_, tenant, block_id) in self.dropped.drain(..due) {
            for file in BlockFile::ALL {
                let key = paths::block_file(&tenant, &block_id, file);
                match self.objects.delete(&key).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => tracing::warn!(%key, %error, "a file of an expired block could not be deleted"),
                }
            }
        }
    }
}

fn expiry(now_nanos: u64, keep: Duration) -> u64 {
    now_nanos.saturating_sub(u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX))
}

/// The blocks that were written, and whose last span ended, before `before_nanos`: spans that arrive late stay as long as
/// others.
fn expired(manifest: &Manifest, before_nanos: u64) -> Vec<BlockId> {
    let is_expired = |block: &&BlockEntry| block.end_nanos.max(block.id.created_nanos()) < before_nanos;
    manifest.blocks.iter().filter(is_expired).map(|block| block.id).collect()
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::manifest::BlockFiles;
    use crate::telemetry::Telemetry;

    const HOUR_NANOS: u64 = 3600 * 1_000_000_000;

    fn entry(end_nanos: u64) -> BlockEntry {
        let (id, files) = (BlockId::generate(), BlockFiles::default());
        BlockEntry { id, start_nanos: 0, end_nanos, traces: 1, spans: 1, level: 0, files }
    }

    #[tokio::test]
    async fn blocks_go_first_from_the_manifest_and_then_from_the_store() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let manifests = Arc::new(Store::open(objects.clone(), Telemetry::unregistered()).await.unwrap());
        let (tenant, old) = (TenantId::single(), entry(HOUR_NANOS));
        let written_nanos = old.id.created_nanos();
        let (late, new) = (entry(HOUR_NANOS), entry(written_nanos + 10 * HOUR_NANOS));
        let file = paths::block_file(&tenant, &old.id, BlockFile::Spans);
        objects.put(&file, "spans".into()).await.unwrap();
        let add = Change { add: vec![old, late, new.clone()], ..Change::default() };
        manifests.commit(&tenant, |_| Some(add.clone())).await.unwrap();

        let mut retention = Retention::new(manifests.clone(), objects.clone(), Duration::from_secs(5 * 3600));
        retention.drop_expired(&tenant, written_nanos + HOUR_NANOS).await.unwrap();
        assert_eq!(manifests.load(&tenant).await.unwrap().blocks.len(), 3, "old spans that have just arrived stay");
        retention.drop_expired(&tenant, written_nanos + 6 * HOUR_NANOS).await.unwrap();
        assert_eq!(manifests.load(&tenant).await.unwrap().blocks, [new]);
        retention.delete_dropped(Instant::now()).await;
        assert!(objects.head(&file).await.is_ok(), "within the grace period");
        retention.delete_dropped(Instant::now() + GRACE).await;
        assert!(objects.head(&file).await.is_err());
    }
}
