//! Tenants whose spans are refused: their manifest is damaged, and what the log has of them is kept for a start at which it
//! can be read; or their blocks cannot be published while those of others can, until they can be.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use model::TenantId;

use crate::error::Error;

/// Found at start or later.
#[derive(Debug, Default)]
pub(crate) struct Unavailable(RwLock<HashMap<TenantId, String>>);

impl Unavailable {
    /// These tenants, each with the reason.
    pub(crate) fn new(reasons: HashMap<TenantId, String>) -> Self {
        Self(RwLock::new(reasons))
    }

    pub(crate) fn add(&self, tenant: TenantId, reason: String) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, reason);
    }

    pub(crate) fn remove(&self, tenant: &TenantId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// # Errors
    /// [`Error::TenantUnavailable`] when spans of this tenant cannot be taken.
    pub(crate) fn check(&self, tenant: &TenantId) -> Result<(), Error> {
        match self.0.read().unwrap_or_else(PoisonError::into_inner).get(tenant) {
            None => Ok(()),
            Some(reason) => Err(Error::TenantUnavailable { tenant: tenant.clone(), reason: reason.clone() }),
        }
    }
}
