//! Which tenants metrics may name.
//!
//! A client can send any tenant id with any request, and every name in metrics is a series that stays. So only tenants that
//! have data have names there.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use crate::TenantId;

/// What all other tenants are called; no id looks so.
pub const UNKNOWN: &str = "unknown tenant";

/// Tenants of which this process has met data.
#[derive(Debug, Default)]
pub struct KnownTenants(RwLock<HashSet<TenantId>>);

impl KnownTenants {
    /// To be called for a tenant that has data.
    pub fn add(&self, tenant: &TenantId) {
        if !self.has(tenant) {
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone());
        }
    }

    /// The tenant's name in metrics. The one of a store without tenants is always known.
    pub fn label<'t>(&self, tenant: &'t TenantId) -> &'t str {
        if *tenant == TenantId::single() || self.has(tenant) { tenant.as_str() } else { UNKNOWN }
    }

    fn has(&self, tenant: &TenantId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tenants_with_data_have_names() {
        let (known, tenant) = (KnownTenants::default(), TenantId::parse("a").unwrap());
        assert_eq!((known.label(&tenant), known.label(&TenantId::single())), (UNKNOWN, "single-tenant"));
        known.add(&tenant);
        assert_eq!(known.label(&tenant), "a");
        assert!(TenantId::parse(UNKNOWN).is_err());
    }
}
