//! Spans are kept for a time: expired blocks leave the manifest. Their files are the collector's ([`crate::garbage`]).
//!
//! A block expires as a whole, so that no span goes before its time: retention counts from the end of its newest span,
//! or from when the last of them was first written, whichever is later ([`BlockEntry::kept_from_nanos`]). That it does
//! not keep the others much longer is compaction's part: it only merges what was written in the same window.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::limits::TenantLimits;
use model::{BlockId, TenantId};

use crate::clock::unix_nanos;
use crate::error::Error;
use crate::manifest::{BlockEntry, Change, Manifest, Store};
use crate::telemetry::Telemetry;
use crate::upkeep_share::UpkeepShare;

/// How often expired blocks are looked for.
const PERIOD: Duration = Duration::from_secs(60);

/// Drops expired blocks of all tenants. Any number may work on one store.
pub struct Retention {
    manifests: Arc<Store>,
    limits: Arc<TenantLimits>,
    telemetry: Telemetry,
    share: UpkeepShare,
}

impl Retention {
    pub fn new(manifests: Arc<Store>, limits: Arc<TenantLimits>, telemetry: Telemetry) -> Self {
        Self { manifests, limits, telemetry, share: UpkeepShare::all() }
    }

    /// Does only this share of the work.
    #[must_use]
    pub fn sharing(self, share: UpkeepShare) -> Self {
        Self { share, ..self }
    }

    /// Works until it is dropped. What fails is tried again with the next round.
    pub async fn run(self) {
        let mut rounds = tokio::time::interval(PERIOD);
        loop {
            rounds.tick().await;
            self.round(unix_nanos()).await;
        }
    }

    /// Drops what is expired at `now_nanos`.
    pub async fn round(&self, now_nanos: u64) {
        let started = Instant::now();
        let tenants = self.manifests.available_tenants().into_iter().filter(|tenant| self.share.has(tenant, 0));
        for tenant in tenants {
            if let Err(error) = self.drop_expired(&tenant, now_nanos).await {
                tracing::warn!(%tenant, %error, "expired blocks could not be dropped, will retry");
                self.telemetry.garbage.failed();
            }
        }
        self.telemetry.garbage.round_took(started.elapsed());
    }

    async fn drop_expired(&self, tenant: &TenantId, now_nanos: u64) -> Result<(), Error> {
        let keep = self.limits.of(tenant).block_retention;
        let before = now_nanos.saturating_sub(u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX));
        let blocks = expired(&*self.manifests.load(tenant).await?, before);
        if blocks.is_empty() {
            return Ok(());
        }
        let change = |manifest: &Manifest| Some(Change { remove: expired(manifest, before), ..Change::default() });
        self.manifests.commit(tenant, change).await?;
        tracing::info!(%tenant, blocks = blocks.len(), ?keep, "expired blocks dropped");
        self.telemetry.garbage.expired(blocks.len());
        Ok(())
    }
}

fn expired(manifest: &Manifest, before_nanos: u64) -> Vec<BlockId> {
    let is_expired = |block: &&BlockEntry| block.kept_from_nanos() < before_nanos;
    manifest.blocks.iter().filter(is_expired).map(|block| block.id).collect()
}

#[cfg(test)]
mod tests {
    use model::limits::{LimitTable, Limits};
    use object_store::memory::InMemory;

    use super::*;
    use crate::manifest::BlockFiles;

    const HOUR_NANOS: u64 = 3600 * 1_000_000_000;
    const NOW: u64 = 1_000 * HOUR_NANOS;

    fn entry(end_nanos: u64, written_nanos: u64) -> BlockEntry {
        let (id, files) = (BlockId::generate(), BlockFiles::default());
        BlockEntry {
            id,
            start_nanos: 0,
            end_nanos,
            traces: 1,
            spans: 1,
            level: 0,
            written_nanos,
            continued_traces: None,
            redacted_through: 0,
            files,
            unknown: Default::default(),
        }
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(3600 * hours)
    }

    /// What is left of `blocks` for a tenant after a look at [`NOW`].
    async fn kept(tenant: &str, blocks: &[&BlockEntry]) -> Vec<BlockEntry> {
        let tenant = TenantId::parse(tenant).unwrap();
        let keep = |block_retention| Limits { block_retention, ..Limits::default() };
        let of = |name: &str, limits| (TenantId::parse(name).unwrap(), limits);
        let tenants = [of("short", keep(hours(1))), of("long", keep(hours(100)))].into();
        let table = LimitTable { others: keep(hours(5)), tenants, ..LimitTable::default() };
        let limits = Arc::new(TenantLimits::new(table));
        let manifests = Store::open(Arc::new(InMemory::new()), Telemetry::unregistered()).await.unwrap();
        let retention = Retention::new(Arc::new(manifests), limits, Telemetry::unregistered());
        let add = Change { add: blocks.iter().copied().cloned().collect(), ..Change::default() };
        retention.manifests.commit(&tenant, |_| Some(add.clone())).await.unwrap();
        retention.drop_expired(&tenant, NOW).await.unwrap();
        retention.manifests.load(&tenant).await.unwrap().blocks.clone()
    }

    #[tokio::test]
    async fn blocks_go_when_their_newest_span_is_old_and_was_written_long_ago() {
        let old = entry(NOW - 6 * HOUR_NANOS, NOW - 6 * HOUR_NANOS);
        let late = entry(NOW - 500 * HOUR_NANOS, NOW - 4 * HOUR_NANOS);
        let ahead = entry(NOW - 4 * HOUR_NANOS, NOW - 6 * HOUR_NANOS);
        let new = entry(NOW - 2 * HOUR_NANOS, NOW - 2 * HOUR_NANOS);
        assert_eq!(kept("any", &[&old, &late, &ahead, &new]).await, [late, ahead, new]);
    }

    #[tokio::test]
    async fn tenants_may_have_a_retention_of_their_own() {
        let (old, new) = (entry(0, NOW - 6 * HOUR_NANOS), entry(0, NOW - 2 * HOUR_NANOS));
        assert_eq!(kept("any", &[&old, &new]).await, std::slice::from_ref(&new));
        assert_eq!(kept("short", &[&old, &new]).await, []);
        assert_eq!(kept("long", &[&old, &new]).await, [old, new]);
    }
}
