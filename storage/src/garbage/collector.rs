//! The task that deletes what no manifest names.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use model::TenantId;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::watch::Watch;
use super::{Item, PERIOD};
use crate::error::Error;
use crate::manifest::{Manifest, Store};
use crate::paths::{self, ObjectKey};
use crate::telemetry::Telemetry;
use crate::upkeep_share::UpkeepShare;

/// Items that are deleted at once.
const DELETE_CONCURRENCY: usize = 8;

/// Deletes what has no name, of all tenants. Any number may work on one store; what each has seen is lost with it.
pub struct Collector {
    manifests: Arc<Store>,
    objects: Arc<dyn ObjectStore>,
    grace: Duration,
    telemetry: Telemetry,
    share: UpkeepShare,
    tenants: HashMap<TenantId, TenantWatch>,
}

#[derive(Default)]
struct TenantWatch {
    watch: Watch,
    /// That objects of others lie there is logged once.
    has_foreign: bool,
}

/// What lies in the folder of a tenant.
#[derive(Default)]
struct Listing {
    /// Bytes of each block's files, of each trace map and of each part of a manifest.
    items: BTreeMap<Item, u64>,
    /// Objects that are not ours.
    foreign: usize,
    first_foreign: Option<Path>,
}

impl Collector {
    /// `grace` is how long something is seen without a name before it goes; see [`super::least_grace`].
    pub fn new(manifests: Arc<Store>, objects: Arc<dyn ObjectStore>, grace: Duration, telemetry: Telemetry) -> Self {
        Self { manifests, objects, grace, telemetry, share: UpkeepShare::all(), tenants: HashMap::new() }
    }

    /// Does only this share of the work. What becomes its share is seen for `grace` from then on.
    #[must_use]
    pub fn sharing(self, share: UpkeepShare) -> Self {
        Self { share, ..self }
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
        // what another has watched meanwhile counts for nothing here
        self.tenants.retain(|tenant, _| self.share.has(tenant, 0));
        for tenant in self
            .manifests
            .available_tenants()
            .into_iter()
            .filter(|tenant| self.share.has(tenant, 0))
            .collect::<Vec<_>>()
        {
            if let Err(error) = self.collect(&tenant, &now).await {
                warn!(%tenant, %error, "objects that no manifest names could not be deleted, will retry");
                self.telemetry.garbage.failed();
            }
        }
    }

    async fn collect(&mut self, tenant: &TenantId, now: impl Fn() -> Instant) -> Result<(), Error> {
        let listing = list(self.objects.as_ref(), tenant).await?;
        // only now: what was listed may have been published since
        let manifest = self.manifests.refresh(tenant).await?;
        if manifest.sequence == 0 {
            return Ok(()); // its manifests may be lost, and the blocks all that is left
        }
        let now = now();
        let of_tenant = self.tenants.entry(tenant.clone()).or_default();
        of_tenant.note_foreign(tenant, &listing);
        let unnamed = listing.unnamed(&manifest);
        of_tenant.watch.look(unnamed.keys().copied(), now);
        let due = of_tenant.watch.due(self.grace, now);
        let of_blocks: Vec<u64> =
            unnamed.iter().filter(|(item, _)| matches!(item, Item::Block(_))).map(|(_, bytes)| *bytes).collect();
        let trace_maps = unnamed.keys().filter(|item| matches!(item, Item::TraceMap(_))).count();
        self.telemetry.set_unnamed_blocks(tenant, of_blocks.len(), of_blocks.iter().sum());
        self.telemetry.garbage.set_unnamed_trace_maps(tenant, trace_maps);
        self.telemetry.garbage.set_foreign(tenant, listing.foreign);
        if due.is_empty() { Ok(()) } else { self.delete(tenant, due).await }
    }

    async fn delete(&self, tenant: &TenantId, due: Vec<Item>) -> Result<(), Error> {
        let fence = self.manifests.fence(tenant).await?;
        let unnamed = due.into_iter().filter(|item| !item.is_in(&fence));
        let mut outcome = Ok(());
        let deleted = async |item: Item| item.delete(self.objects.as_ref(), tenant).await.map(|()| item);
        let mut results = futures::stream::iter(unnamed).map(deleted).buffer_unordered(DELETE_CONCURRENCY);
        let (mut blocks, mut trace_maps, mut manifest_parts) = (0, 0, 0);
        while let Some(result) = results.next().await {
            match result {
                Ok(Item::Block(_)) => blocks += 1,
                Ok(Item::TraceMap(_)) => trace_maps += 1,
                Ok(Item::ManifestPart(_)) => manifest_parts += 1,
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        if blocks + trace_maps + manifest_parts > 0 {
            info!(%tenant, blocks, trace_maps, manifest_parts, "objects that no manifest names were deleted");
        }
        self.telemetry.garbage.deleted(blocks);
        outcome
    }
}

impl TenantWatch {
    fn note_foreign(&mut self, tenant: &TenantId, listing: &Listing) {
        if let (false, Some(key)) = (self.has_foreign, &listing.first_foreign) {
            let objects = listing.foreign;
            warn!(%tenant, objects, %key, "objects that are not ours lie among those of the tenant, they are left alone");
        }
        self.has_foreign = listing.foreign > 0;
    }
}

impl Listing {
    fn unnamed(&self, manifest: &Manifest) -> BTreeMap<Item, u64> {
        self.items.iter().filter(|(item, _)| !item.is_in(manifest)).map(|(item, bytes)| (*item, *bytes)).collect()
    }
}

async fn list(objects: &dyn ObjectStore, tenant: &TenantId) -> Result<Listing, Error> {
    let prefix = paths::tenant(tenant);
    let listed = objects.list(Some(&prefix)).try_fold(Listing::default(), |mut listing, object| async move {
        let item = match ObjectKey::parse(&object.location) {
            Some(ObjectKey::BlockFile { block_id, .. }) => Item::Block(block_id),
            Some(ObjectKey::TraceMap { id, .. }) => Item::TraceMap(id),
            Some(ObjectKey::ManifestPart { id, .. }) => Item::ManifestPart(id),
            Some(ObjectKey::Manifest { .. }) => return Ok(listing), // commits delete the old ones
            None => {
                listing.foreign += 1;
                listing.first_foreign.get_or_insert(object.location);
                return Ok(listing);
            }
        };
        *listing.items.entry(item).or_default() += object.size;
        Ok(listing)
    });
    listed.await.map_err(Error::objects("list objects in", &prefix))
}
