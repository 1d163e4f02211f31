//! The task that deletes files of blocks that no manifest names.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use model::{BlockId, TenantId};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::watch::Watch;
use super::{PERIOD, delete_block};
use crate::error::Error;
use crate::manifest::{Manifest, Store};
use crate::paths::{self, ObjectKey};
use crate::telemetry::Telemetry;

/// Blocks whose files are deleted at once.
const DELETE_CONCURRENCY: usize = 8;

/// Deletes what has no name, of all tenants. Any number may work on one store; what each has seen is lost with it.
pub struct Collector {
    manifests: Arc<Store>,
    objects: Arc<dyn ObjectStore>,
    grace: Duration,
    telemetry: Telemetry,
    tenants: HashMap<TenantId, TenantWatch>,
}

#[derive(Default)]
struct TenantWatch {
    watch: Watch,
    /// That objects of others lie there is logged once.
    has_foreign: bool,
}

/// What lies where the blocks of a tenant lie.
#[derive(Default)]
struct Listing {
    /// Bytes of each block's files.
    blocks: BTreeMap<BlockId, u64>,
    foreign: usize,
    first_foreign: Option<Path>,
}

impl Collector {
    /// `grace` is how long a block is seen without a name before its files go; see [`super::least_grace`].
    pub fn new(manifests: Arc<Store>, objects: Arc<dyn ObjectStore>, grace: Duration, telemetry: Telemetry) -> Self {
        Self { manifests, objects, grace, telemetry, tenants: HashMap::new() }
    }

    /// Works until it is dropped. What fails is tried again with the next round.
    pub async fn run(mut self) {
        let mut rounds = tokio::time::interval(PERIOD);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.round(Instant::now).await;
        }
    }

    /// Looks at every tenant once. `now` is asked after each listing.
    pub async fn round(&mut self, now: impl Fn() -> Instant) {
        for tenant in self.manifests.available_tenants() {
            if let Err(error) = self.collect(&tenant, &now).await {
                warn!(%tenant, %error, "files without a name could not be collected, will retry");
                self.telemetry.garbage.failed();
            }
        }
    }

    async fn collect(&mut self, tenant: &TenantId, now: impl Fn() -> Instant) -> Result<(), Error> {
        let listing = list(self.objects.as_ref(), tenant).await?;
        // only now: a block that was listed may have been published since
        let manifest = self.manifests.refresh(tenant).await?;
        if manifest.sequence == 0 {
            return Ok(()); // its manifests may be lost, and the blocks all that is left
        }
        let now = now();
        let of_tenant = self.tenants.entry(tenant.clone()).or_default();
        of_tenant.note_foreign(tenant, &listing);
        of_tenant.watch.look(listing.unnamed(&manifest).map(|(id, _)| id), now);
        let due = of_tenant.watch.due(self.grace, now);
        let (blocks, bytes) =
            listing.unnamed(&manifest).fold((0, 0), |(blocks, sum), (_, bytes)| (blocks + 1, sum + bytes));
        self.telemetry.set_unnamed_blocks(tenant, blocks, bytes);
        self.telemetry.garbage.set_foreign(tenant, listing.foreign);
        if due.is_empty() { Ok(()) } else { self.delete(tenant, due).await }
    }

    async fn delete(&self, tenant: &TenantId, due: Vec<BlockId>) -> Result<(), Error> {
        let fence = self.manifests.fence(tenant).await?;
        let unnamed = due.into_iter().filter(|id| fence.block(id).is_none());
        let mut outcome = Ok(());
        let deleted = async |id: BlockId| delete_block(self.objects.as_ref(), tenant, &id).await;
        let mut results = futures::stream::iter(unnamed).map(deleted).buffer_unordered(DELETE_CONCURRENCY);
        let mut count = 0;
        while let Some(result) = results.next().await {
            count += usize::from(result.is_ok());
            outcome = outcome.and(result);
        }
        if count > 0 {
            info!(%tenant, blocks = count, "files of blocks without a name deleted");
        }
        self.telemetry.garbage.deleted(count);
        outcome
    }
}

impl TenantWatch {
    fn note_foreign(&mut self, tenant: &TenantId, listing: &Listing) {
        if let (false, Some(key)) = (self.has_foreign, &listing.first_foreign) {
            let objects = listing.foreign;
            warn!(%tenant, objects, %key, "objects that are not a block's lie among the blocks, they are left alone");
        }
        self.has_foreign = listing.foreign > 0;
    }
}

impl Listing {
    fn unnamed<'a>(&'a self, manifest: &'a Manifest) -> impl Iterator<Item = (BlockId, u64)> + 'a {
        let of_block = self.blocks.iter().map(|(id, bytes)| (*id, *bytes));
        of_block.filter(|(id, _)| manifest.block(id).is_none())
    }
}

async fn list(objects: &dyn ObjectStore, tenant: &TenantId) -> Result<Listing, Error> {
    let prefix = paths::blocks(tenant);
    let listed = objects.list(Some(&prefix)).try_fold(Listing::default(), |mut listing, object| async move {
        match ObjectKey::parse(&object.location) {
            Some(ObjectKey::BlockFile { block_id, .. }) => *listing.blocks.entry(block_id).or_default() += object.size,
            _ => {
                listing.foreign += 1;
                listing.first_foreign.get_or_insert(object.location);
            }
        }
        Ok(listing)
    });
    listed.await.map_err(Error::objects("list blocks in", &prefix))
}
