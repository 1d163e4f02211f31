//! Settings that tenants have made for themselves, as text. What is in them is not known here.
//!
//! Each change is an object `<tenant>/overrides/<20-digit version>.json` of its own, created only if it is absent, so of two
//! who change the same version one is told; the newest counts. An empty one says that the settings were deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt;
use model::TenantId;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use crate::error::Error;
use crate::{exact, paths};

/// How many versions stay. A writer that slept for longer finds the place of its version free again, and must not take that
/// for the first of its number: see [`crate::manifest`].
const KEPT: u64 = 8;
const READ_ATTEMPTS: usize = 8;

/// The settings of all tenants.
#[derive(Debug, Clone)]
pub struct UserOverrides {
    objects: Arc<dyn ObjectStore>,
}

/// Settings of a tenant, and how often they were changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    pub version: u64,
    pub text: String,
}

/// Why settings were not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Others were faster.
    #[error("version does not match")]
    Conflict,
    #[error(transparent)]
    Storage(#[from] Error),
}

impl UserOverrides {
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects }
    }

    /// The settings of a tenant, if it has made any.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get(&self, tenant: &TenantId) -> Result<Option<Versioned>, Error> {
        Ok(self.newest(tenant).await?.filter(|newest| !newest.text.is_empty()))
    }

    /// Every tenant that has made settings.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn all(&self) -> Result<Vec<(TenantId, Versioned)>, Error> {
        let root = Path::default();
        let listed = self.objects.list_with_delimiter(None).await.map_err(Error::objects("list tenants in", &root))?;
        let mut all = Vec::new();
        for tenant in listed.common_prefixes.iter().filter_map(paths::tenant_of) {
            if let Some(found) = self.get(&tenant).await? {
                all.push((tenant, found));
            }
        }
        Ok(all)
    }

    /// Changes the settings that have this version, 0 for none; an empty text deletes them. Gives the new version.
    ///
    /// # Errors
    /// [`ChangeError::Conflict`] when they have another version.
    pub async fn change(&self, tenant: &TenantId, version: u64, text: &str) -> Result<u64, ChangeError> {
        let newest = self.newest(tenant).await?;
        let shown = newest.as_ref().filter(|newest| !newest.text.is_empty()).map_or(0, |newest| newest.version);
        if shown != version {
            return Err(ChangeError::Conflict);
        }
        let next = newest.map_or(0, |newest| newest.version) + 1;
        let key = paths::overrides_version(tenant, next);
        match self.objects.put_opts(&key, text.to_owned().into(), PutMode::Create.into()).await {
            Err(object_store::Error::AlreadyExists { .. }) => return Err(ChangeError::Conflict),
            result => result.map_err(Error::objects("create overrides", &key))?,
        };
        let versions = self.versions(tenant).await?;
        if versions.last().is_some_and(|newest| *newest >= next.saturating_add(KEPT)) {
            return Err(ChangeError::Conflict); // our key was free because it had been deleted
        }
        for old in versions.range(..(next + 1).saturating_sub(KEPT)) {
            let key = paths::overrides_version(tenant, *old);
            if let Err(error) = self.objects.delete(&key).await {
                tracing::debug!(%tenant, %key, %error, "old overrides not deleted");
            }
        }
        Ok(next)
    }

    async fn newest(&self, tenant: &TenantId) -> Result<Option<Versioned>, Error> {
        for _ in 0..READ_ATTEMPTS {
            let Some(version) = self.versions(tenant).await?.pop_last() else { return Ok(None) };
            let key = paths::overrides_version(tenant, version);
            match exact::whole(self.objects.as_ref(), &key).await {
                // deleted since it was listed, so there is a newer one
                Err(object_store::Error::NotFound { .. }) => {}
                read => {
                    let bytes = read.map_err(Error::objects("read overrides", &key))?;
                    return Ok(Some(Versioned { version, text: String::from_utf8_lossy(&bytes).into_owned() }));
                }
            }
        }
        Err(Error::CommitContention { tenant: tenant.clone(), attempts: READ_ATTEMPTS })
    }

    async fn versions(&self, tenant: &TenantId) -> Result<BTreeSet<u64>, Error> {
        let prefix = paths::overrides(tenant);
        let listed = self.objects.list(Some(&prefix));
        let versions = listed.try_filter_map(|object| async move { Ok(paths::parse_overrides(&object.location)) });
        versions.try_collect().await.map_err(Error::objects("list overrides in", &prefix))
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn store() -> (UserOverrides, TenantId) {
        (UserOverrides::new(Arc::new(InMemory::new())), TenantId::parse("team").unwrap())
    }

    #[tokio::test]
    async fn settings_are_changed_by_who_knows_their_version() {
        let (store, tenant) = store();
        let shown = async || store.get(&tenant).await.unwrap().map(|found| (found.version, found.text));
        assert_eq!(shown().await, None);
        assert!(matches!(store.change(&tenant, 1, "a").await, Err(ChangeError::Conflict)));
        let mut version = store.change(&tenant, 0, "a").await.unwrap();
        assert!(matches!(store.change(&tenant, 0, "b").await, Err(ChangeError::Conflict)));
        for number in 0..2 * KEPT {
            version = store.change(&tenant, version, &number.to_string()).await.unwrap();
        }
        assert_eq!(shown().await, Some((version, "15".to_owned())));
        assert_eq!(store.versions(&tenant).await.unwrap().len() as u64, KEPT);
        store.change(&tenant, version, "").await.unwrap();
        assert_eq!((shown().await, store.all().await.unwrap().len()), (None, 0));
        let again = store.change(&tenant, 0, "c").await.unwrap();
        assert!(again > version, "a version never comes twice");
        assert_eq!(store.all().await.unwrap(), [(tenant.clone(), Versioned { version: again, text: "c".to_owned() })]);
    }
}
