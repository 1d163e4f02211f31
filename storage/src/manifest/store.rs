//! Reading and committing manifests; the snapshots that readers in this process take.
//!
//! Consistency. A commit is the creation of object `n + 1` by someone who read object `n`. Old manifests are deleted, so a
//! writer that slept for long could find `n + 1` absent although it was once there. It cannot take that for success: when
//! `n + 1` was deleted, a manifest newer by [`KEPT`] exists, and after each put the writer looks for one.
//!
//! So once a manifest `n` exists, no change that was decided on an older one is made any more: see [`Store::fence`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use model::{ErrorKind, TenantId};
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, error};
use uuid::Uuid;

use super::{Change, Manifest, Part, Refused, format};
use crate::error::Error;
use crate::exact;
use crate::ids::{ManifestPartId, WriterId};
use crate::incarnation::Incarnation;
use crate::paths::{self, ObjectKey};
use crate::telemetry::Telemetry;

/// How many manifests of a tenant stay. All processes on a store must agree on it: see the consistency note above.
const KEPT: u64 = 8;
const COMMIT_ATTEMPTS: usize = 64;
/// Between two attempts a writer waits for a random part of a time that doubles from this …
const FIRST_CONTENTION_WAIT: Duration = Duration::from_millis(4);
/// … to this.
const LONGEST_CONTENTION_WAIT: Duration = Duration::from_millis(512);
const READ_ATTEMPTS: usize = 8;
/// How old a list of all tenants may be that says that a tenant is not there. So long it may take until a tenant is found
/// that another process has just written for the first time.
const ROLL_AGE: Duration = Duration::from_secs(1);
/// Tenants that are read at once.
const READ_CONCURRENCY: usize = 16;
/// Parts of a manifest that are read or stored at once.
const PART_CONCURRENCY: usize = 16;

/// The manifests of all tenants.
#[derive(Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    telemetry: Telemetry,
    tenants: RwLock<HashMap<TenantId, Arc<Tenant>>>,
    /// For tenants that this process does not know.
    roll: Mutex<Roll>,
}

/// Which tenants are in the store, as it was listed last.
#[derive(Debug, Default)]
struct Roll {
    listed: Option<Instant>,
    tenants: HashSet<TenantId>,
}

#[derive(Debug, Default)]
struct Tenant {
    /// `None` before the first commit, and when the newest manifest is damaged.
    snapshot: RwLock<Option<Arc<Manifest>>>,
    /// Commits of this process take turns.
    commits: Mutex<CommitState>,
}

#[derive(Debug, Default)]
struct CommitState {
    /// A put of this process had no clear outcome: what it wrote may be seen, and yet not be durable.
    unclear: bool,
}

impl Store {
    /// Reads the newest manifest of every tenant.
    ///
    /// A damaged one is logged, and is the answer to every [`Store::load`] of its tenant; other tenants do not suffer.
    pub async fn open(objects: Arc<dyn ObjectStore>, telemetry: Telemetry) -> Result<Self, Error> {
        let store = Self { objects, telemetry, tenants: RwLock::default(), roll: Mutex::default() };
        let tenants = store.refresh_all().await?;
        debug!(tenants = tenants.len(), "manifests read");
        for (tenant, result) in tenants {
            match result {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    error!(%tenant, %error, "manifest cannot be read, the tenant is unavailable");
                    store.telemetry.damaged_manifest();
                    store.tenant(&tenant);
                }
                result => drop(result?),
            }
        }
        Ok(store)
    }

    /// Every tenant that has a manifest, sorted.
    pub fn tenants(&self) -> Vec<TenantId> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.keys().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Those of them whose manifests this process could read.
    pub fn available_tenants(&self) -> Vec<TenantId> {
        self.tenants().into_iter().filter(|tenant| self.snapshot(tenant).is_some()).collect()
    }

    /// The newest manifest that this process knows; an empty one for a tenant without blocks. Reads the store only for a
    /// tenant that is not known yet, and lists it once in [`ROLL_AGE`] however many of those there are: anybody may ask for
    /// any tenant.
    ///
    /// # Errors
    /// [`Error::ManifestDamaged`] names the object that cannot be read.
    pub async fn load(&self, tenant: &TenantId) -> Result<Arc<Manifest>, Error> {
        match self.snapshot(tenant) {
            Some(manifest) => Ok(manifest),
            None if self.is_known(tenant) || self.is_on_roll(tenant).await? => self.refresh(tenant).await,
            None => Ok(Arc::default()),
        }
    }

    fn is_known(&self, tenant: &TenantId) -> bool {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).contains_key(tenant)
    }

    /// Whether the store has the tenant, as far as a list says that is not old.
    async fn is_on_roll(&self, tenant: &TenantId) -> Result<bool, Error> {
        let mut roll = self.roll.lock().await;
        if roll.listed.is_none_or(|listed| listed.elapsed() > ROLL_AGE) {
            roll.tenants = self.list_tenants().await?.into_iter().collect();
            roll.listed = Some(Instant::now());
        }
        Ok(roll.tenants.contains(tenant))
    }

    async fn list_tenants(&self) -> Result<Vec<TenantId>, Error> {
        let root = object_store::path::Path::default();
        let listed = self.objects.list_with_delimiter(None).await.map_err(Error::objects("list tenants in", &root))?;
        Ok(listed.common_prefixes.iter().filter_map(paths::tenant_of).collect())
    }

    /// The incarnations of a writer that the manifests of all tenants name; `None` when not all of them could be read.
    pub fn incarnations_of(&self, writer_id: &WriterId) -> Option<BTreeSet<Incarnation>> {
        let manifests = self.tenants().into_iter().map(|tenant| self.snapshot(&tenant));
        let named = manifests.map(|manifest| Some(manifest?.incarnations.get(writer_id).copied()));
        named.collect::<Option<Vec<_>>>().map(|named| named.into_iter().flatten().collect())
    }

    /// The number of the newest manifest of every tenant, as far as this process knows.
    pub fn sequences(&self) -> Vec<(TenantId, u64)> {
        let known = |tenant: TenantId| Some((tenant.clone(), self.snapshot(&tenant)?.sequence));
        self.tenants().into_iter().filter_map(known).collect()
    }

    /// What [`Store::load`] would return without reading the store.
    pub fn snapshot(&self, tenant: &TenantId) -> Option<Arc<Manifest>> {
        let tenant = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant)?.clone();
        tenant.snapshot()
    }

    /// Takes over what other processes have committed. Costs one LIST when there is nothing new.
    ///
    /// # Errors
    /// What this process knew before stays.
    pub async fn refresh(&self, tenant: &TenantId) -> Result<Arc<Manifest>, Error> {
        for _ in 0..READ_ATTEMPTS {
            let Some(sequence) = self.list(tenant).await?.pop_last() else { return Ok(Arc::default()) };
            // a manifest never changes
            if let Some(known) = self.snapshot(tenant).filter(|known| known.sequence >= sequence) {
                return Ok(known);
            }
            match self.read(tenant, sequence).await {
                // Deleted since it was listed, so there is a newer one.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                result => return Ok(self.publish(tenant, Arc::new(result?))),
            }
        }
        Err(Error::CommitContention { tenant: tenant.clone(), attempts: READ_ATTEMPTS })
    }

    /// [`Store::refresh`] of every tenant that is in the store, known or not; says for each what came of it.
    ///
    /// # Errors
    /// When tenants cannot be listed.
    pub async fn refresh_all(&self) -> Result<Vec<(TenantId, Result<Arc<Manifest>, Error>)>, Error> {
        let refreshed = futures::stream::iter(self.list_tenants().await?).map(async |tenant: TenantId| {
            let result = self.refresh(&tenant).await;
            (tenant, result)
        });
        Ok(refreshed.buffer_unordered(READ_CONCURRENCY).collect().await)
    }

    /// Commits what `change` makes of the newest manifest; it is asked again whenever another commit came first.
    ///
    /// Returns the manifest that holds the change, durably; or the one for which `change` had nothing to do.
    /// A change that is already in the manifest is not made twice, so a commit that failed may be repeated.
    ///
    /// # Errors
    /// [`Error::BlocksGone`] when blocks to replace are no longer there; [`Error::TooLate`] when blocks were to be added
    /// that were begun too long ago; [`Error::WriterElsewhere`] when others write under the id of a writer;
    /// [`Error::WatermarkMoved`] when its watermark is not where the change needs it. After any other
    /// error the change may have been made or not.
    pub async fn commit(
        &self,
        tenant: &TenantId,
        change: impl Fn(&Manifest) -> Option<Change>,
    ) -> Result<Arc<Manifest>, Error> {
        let next = |newest: &Manifest, is_unclear: bool| {
            let Some(change) = change(newest) else { return Ok(None) };
            match newest.apply(&change).map_err(|refused| refused.of(tenant))? {
                Some(_) if change.deadline.is_some_and(|deadline| !deadline.may_publish()) => {
                    Err(Error::TooLate { tenant: tenant.clone() })
                }
                // The change may be there because of a put that was never synced; a new manifest makes sure.
                None if is_unclear => Ok(Some(newest.clone().following())),
                next => Ok(next),
            }
        };
        self.create_next(tenant, next).await
    }

    /// Commits the newest manifest once more, unchanged. No change that was decided on an older one is made from then on:
    /// who is about to make it reads and decides again.
    ///
    /// # Errors
    /// Nothing is certain then.
    pub async fn fence(&self, tenant: &TenantId) -> Result<Arc<Manifest>, Error> {
        self.create_next(tenant, |newest, _| Ok(Some(newest.clone().following()))).await
    }

    /// Creates what `next` makes of the newest manifest, and asks again whenever others were faster. `next` hears whether
    /// what is in that manifest may not be durable; `None` when there is nothing to do.
    async fn create_next(
        &self,
        tenant: &TenantId,
        next: impl Fn(&Manifest, bool) -> Result<Option<Manifest>, Error>,
    ) -> Result<Arc<Manifest>, Error> {
        let slot = self.tenant(tenant);
        let mut state = slot.commits.lock().await;
        let mut newest = self.load(tenant).await?;
        for attempt in 0..COMMIT_ATTEMPTS {
            let Some(next) = next(&newest, state.unclear)? else { return Ok(newest) };
            let (next, new_parts) = next.in_parts();
            self.put_parts(tenant, &new_parts).await?;
            let was_unclear = std::mem::replace(&mut state.unclear, true);
            let created = self.create(tenant, &next).await?;
            state.unclear = was_unclear && !created;
            if created {
                return Ok(self.publish(tenant, Arc::new(next)));
            }
            self.telemetry.commit_conflict();
            tokio::time::sleep(contention_wait(attempt)).await;
            newest = self.refresh(tenant).await?;
        }
        Err(Error::CommitContention { tenant: tenant.clone(), attempts: COMMIT_ATTEMPTS })
    }

    /// Stores parts that the manifest names which is created next, and no other: see [`super::parts`].
    async fn put_parts(&self, tenant: &TenantId, parts: &[Arc<Part>]) -> Result<(), Error> {
        let put = async |part: &Arc<Part>| {
            let key = paths::manifest_part(tenant, &part.id);
            let stored = self.objects.put(&key, format::encode_part(part).into()).await;
            stored.map(drop).map_err(Error::objects("store part of a manifest", &key))
        };
        futures::stream::iter(parts).map(put).buffer_unordered(PART_CONCURRENCY).try_collect().await
    }

    /// Puts a manifest and deletes those that it makes superfluous. False when others were faster.
    async fn create(&self, tenant: &TenantId, manifest: &Manifest) -> Result<bool, Error> {
        let key = paths::manifest(tenant, manifest.sequence);
        match self.objects.put_opts(&key, format::encode(manifest).into(), PutMode::Create.into()).await {
            Err(object_store::Error::AlreadyExists { .. }) => return Ok(false),
            result => result.map_err(Error::objects("create manifest", &key))?,
        };
        let sequences = self.list(tenant).await?;
        if sequences.last().is_some_and(|newest| *newest >= manifest.sequence.saturating_add(KEPT)) {
            return Ok(false); // our key was free because it had been deleted
        }
        self.delete(tenant, sequences.range(..(manifest.sequence + 1).saturating_sub(KEPT))).await;
        Ok(true)
    }

    /// Deletes manifests, as far as it goes; the next commit tries again.
    async fn delete(&self, tenant: &TenantId, sequences: impl Iterator<Item = &u64>) {
        for sequence in sequences {
            let key = paths::manifest(tenant, *sequence);
            if let Err(error) = self.objects.delete(&key).await {
                debug!(%tenant, %key, %error, "old manifest not deleted");
            }
        }
    }

    async fn read(&self, tenant: &TenantId, sequence: u64) -> Result<Manifest, Error> {
        let key = paths::manifest(tenant, sequence);
        let bytes = exact::whole(self.objects.as_ref(), &key).await.map_err(Error::objects("read manifest", &key))?;
        let stored = format::decode(&key, sequence, &bytes)?;
        let known = self.snapshot(tenant);
        let known = known.iter().flat_map(|manifest| &manifest.parts).map(|part| (part.id, part.clone()));
        let known: HashMap<ManifestPartId, Arc<Part>> = known.collect();
        let part = async |id: ManifestPartId| match known.get(&id) {
            Some(part) => Ok(part.clone()),
            None => self.read_part(tenant, id).await.map(Arc::new),
        };
        let ids: Vec<ManifestPartId> = stored.parts.iter().map(|part| part.id).collect();
        let parts = futures::stream::iter(ids).map(part).buffered(PART_CONCURRENCY).try_collect().await?;
        stored.whole(&key, parts)
    }

    async fn read_part(&self, tenant: &TenantId, id: ManifestPartId) -> Result<Part, Error> {
        let key = paths::manifest_part(tenant, &id);
        let bytes = match exact::whole(self.objects.as_ref(), &key).await {
            // no manifest that is there names what is gone
            Err(object_store::Error::NotFound { .. }) => {
                return Err(Error::ManifestDamaged { key: key.to_string(), reason: "it is not there".to_owned() });
            }
            result => result.map_err(Error::objects("read part of a manifest", &key))?,
        };
        format::decode_part(&key, id, &bytes)
    }

    async fn list(&self, tenant: &TenantId) -> Result<BTreeSet<u64>, Error> {
        let prefix = paths::manifests(tenant);
        let objects = self.objects.list(Some(&prefix));
        let sequences = objects.try_filter_map(|object| async move {
            Ok(match ObjectKey::parse(&object.location) {
                Some(ObjectKey::Manifest { sequence, .. }) => Some(sequence),
                _ => None,
            })
        });
        sequences.try_collect().await.map_err(Error::objects("list manifests in", &prefix))
    }

    /// Shows a manifest to readers, unless they have a newer one; returns what they have then.
    fn publish(&self, tenant: &TenantId, manifest: Arc<Manifest>) -> Arc<Manifest> {
        let slot = self.tenant(tenant);
        let mut snapshot = slot.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(newer) = snapshot.as_ref().filter(|known| known.sequence >= manifest.sequence) {
            return newer.clone();
        }
        self.telemetry.set_live_blocks(tenant, manifest.blocks.len(), manifest.bytes());
        self.telemetry.set_trace_maps(tenant, manifest.trace_maps.len());
        snapshot.insert(manifest).clone()
    }

    fn tenant(&self, tenant: &TenantId) -> Arc<Tenant> {
        if let Some(known) = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant) {
            return known.clone();
        }
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        tenants.entry(tenant.clone()).or_default().clone()
    }
}

/// How long to wait after an attempt that others were faster than. Random, so that those who wait do not meet again.
fn contention_wait(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt).unwrap_or(u32::MAX).min(u32::BITS - 1);
    let longest = FIRST_CONTENTION_WAIT.saturating_mul(1 << doublings).min(LONGEST_CONTENTION_WAIT);
    let random = u32::try_from(Uuid::new_v4().as_u128() & u128::from(u32::MAX)).unwrap_or_default();
    longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

impl Refused {
    fn of(self, tenant: &TenantId) -> Error {
        let tenant = tenant.clone();
        match self {
            Self::BlockGone(block_id) => Error::BlocksGone { tenant, block_id },
            Self::WriterElsewhere(writer_id) => Error::WriterElsewhere { tenant, writer_id },
            Self::WatermarkMoved(writer_id) => Error::WatermarkMoved { tenant, writer_id },
        }
    }
}

impl Tenant {
    fn snapshot(&self) -> Option<Arc<Manifest>> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_that_meet_wait_for_different_and_bounded_times() {
        let waits: BTreeSet<Duration> = (0..100).map(|_| contention_wait(COMMIT_ATTEMPTS)).collect();
        assert!(waits.len() > 90 && waits.iter().all(|wait| *wait <= LONGEST_CONTENTION_WAIT), "{waits:?}");
        assert!((0..100).all(|_| contention_wait(0) <= FIRST_CONTENTION_WAIT));
    }
}
