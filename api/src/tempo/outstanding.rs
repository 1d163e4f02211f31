//! How many queries each tenant has in work, so that a limit can keep places for the others.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::TenantId;

use crate::Edge;

/// Tenants that have queries in work, with how many.
#[derive(Default)]
pub(crate) struct Outstanding(Mutex<HashMap<TenantId, usize>>);

/// The place of one query.
pub(super) struct Place<'o> {
    outstanding: &'o Outstanding,
    tenant: TenantId,
}

impl Edge {
    /// A place for a query of the tenant, if it has one left.
    pub(super) fn place(&self, tenant: &TenantId) -> Option<Place<'_>> {
        let own = self.limits.of(tenant).max_outstanding_queries;
        let own = usize::try_from(own).unwrap_or(usize::MAX);
        self.outstanding.enter(tenant, if own > 0 { own } else { self.config.query.max_outstanding_per_tenant })
    }
}

impl Outstanding {
    /// A place, if the tenant has fewer than `most`; 0 for any number.
    pub(super) fn enter(&self, tenant: &TenantId, most: usize) -> Option<Place<'_>> {
        let mut counts = self.counts();
        let count = counts.get(tenant).copied().unwrap_or_default();
        if most > 0 && count >= most {
            return None;
        }
        counts.insert(tenant.clone(), count + 1);
        Some(Place { outstanding: self, tenant: tenant.clone() })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<TenantId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.outstanding.counts();
        match counts.get_mut(&self.tenant) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.tenant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_so_many_places_and_takes_none_from_others() {
        let (outstanding, a, b) =
            (Outstanding::default(), TenantId::parse("a").unwrap(), TenantId::parse("b").unwrap());
        let first = outstanding.enter(&a, 1);
        assert!(first.is_some() && outstanding.enter(&a, 1).is_none() && outstanding.enter(&b, 1).is_some());
        drop(first);
        assert!(outstanding.enter(&a, 1).is_some(), "a place that is left is free again");
        assert!(outstanding.enter(&a, 0).is_some());
        assert!(outstanding.counts().is_empty());
    }
}
