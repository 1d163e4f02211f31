//! What a tenant may, as numbers, and the table of all tenants, which changes while the process runs.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::TenantId;

/// Limits of one tenant. 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of requests a second.
    pub rate_limit_bytes: u64,
    /// Bytes that may come at once; 0 for as many as a second may bring.
    pub burst_size_bytes: u64,
    /// Whether a client that was refused for the rate is not told when to try again, and then drops.
    pub hides_retry_info: bool,
    /// Longest range of a search and of tags; 0 for that of all tenants.
    pub max_search_range: Duration,
    /// Longest range of a metrics query; 0 for that of all tenants.
    pub max_metrics_range: Duration,
    /// How long spans are kept.
    pub block_retention: Duration,
}

/// Limits by tenant at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitTable {
    /// Of tenants that are not named.
    pub others: Limits,
    pub tenants: BTreeMap<TenantId, Limits>,
    /// What the operator wrote of each tenant, and of `*`, as YAML; for people to look at.
    pub written: BTreeMap<String, String>,
}

impl LimitTable {
    pub fn of(&self, tenant: &TenantId) -> Limits {
        self.tenants.get(tenant).copied().unwrap_or(self.others)
    }
}

/// The table that holds now. Each look at it may find another one.
#[derive(Debug, Default)]
pub struct TenantLimits {
    table: RwLock<Arc<LimitTable>>,
}

impl TenantLimits {
    pub fn new(table: LimitTable) -> Self {
        Self { table: RwLock::new(Arc::new(table)) }
    }

    pub fn of(&self, tenant: &TenantId) -> Limits {
        self.table().of(tenant)
    }

    pub fn table(&self) -> Arc<LimitTable> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn replace(&self, table: LimitTable) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_its_own_limits_or_those_of_the_others() {
        let of = |rate_limit_bytes| Limits { rate_limit_bytes, ..Limits::default() };
        let (team, other) = (TenantId::parse("team").unwrap(), TenantId::parse("other").unwrap());
        let limits = TenantLimits::new(LimitTable {
            others: of(1),
            tenants: BTreeMap::from([(team.clone(), of(2))]),
            ..LimitTable::default()
        });
        assert_eq!((limits.of(&team), limits.of(&other)), (of(2), of(1)));
        limits.replace(LimitTable { others: of(3), ..LimitTable::default() });
        assert_eq!((limits.of(&team), limits.of(&other)), (of(3), of(3)));
    }
}
