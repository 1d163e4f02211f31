//! What a tenant may, as numbers, and the table of all tenants, which changes while the process runs.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::{TenantId, Tenants};

/// Most alternatives of the filter of a question for names and values of tags, unless the tenant has another limit (Tempo's
/// default).
pub const MAX_CONDITION_GROUPS: u64 = 100;

/// Limits of one tenant. 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of requests a second.
    pub rate_limit_bytes: u64,
    /// Bytes that may come at once; 0 for as many as a second may bring.
    pub burst_size_bytes: u64,
    /// Whether a client that is refused for the rate is told when to try again. One that is not told drops.
    pub retry_info_enabled: bool,
    /// Traces that may be live at a time.
    pub max_live_traces: u64,
    /// Bytes of OTLP of a trace.
    pub max_bytes_per_trace: u64,
    /// Bytes of a key or a text of an attribute; what is longer is cut.
    pub max_attribute_bytes: u64,
    /// Longest range of a search and of tags; 0 for that of all tenants.
    pub max_search_range: Duration,
    /// Longest range of a metrics query; 0 for that of all tenants.
    pub max_metrics_range: Duration,
    /// Bytes of tag names or values in one answer; 0 for that of all tenants.
    pub max_bytes_per_tag_answer: u64,
    /// Blocks that one question for values of a tag looks at.
    pub max_blocks_per_tag_answer: u64,
    /// Alternatives of the filter of a question for names and values of tags.
    pub max_condition_groups: u64,
    /// Compressed bytes of blocks that one query may read; 0 for that of all tenants.
    pub max_bytes_per_query: u64,
    /// Queries in work at a time; 0 for that of all tenants.
    pub max_outstanding_queries: u64,
    /// Whether ids of found traces have all of their 32 digits. Without, zeros in front are left out.
    pub left_pad_trace_ids: bool,
    /// Whether traces are given with similar spans as one when the client does not say; `None` for what holds for all tenants.
    pub span_pruning_by_default: Option<bool>,
    /// How long spans are kept.
    pub block_retention: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate_limit_bytes: 0,
            burst_size_bytes: 0,
            retry_info_enabled: true,
            max_live_traces: 0,
            max_bytes_per_trace: 0,
            max_attribute_bytes: 0,
            max_search_range: Duration::ZERO,
            max_metrics_range: Duration::ZERO,
            max_bytes_per_tag_answer: 0,
            max_blocks_per_tag_answer: 0,
            max_condition_groups: MAX_CONDITION_GROUPS,
            max_bytes_per_query: 0,
            max_outstanding_queries: 0,
            left_pad_trace_ids: false,
            span_pruning_by_default: None,
            block_retention: Duration::ZERO,
        }
    }
}

impl Limits {
    /// For a query over the tenants of both: what one of them may not, both may not.
    fn and_of_queries(self, other: Self) -> Self {
        Self {
            max_search_range: lesser(self.max_search_range, other.max_search_range),
            max_metrics_range: lesser(self.max_metrics_range, other.max_metrics_range),
            max_bytes_per_tag_answer: lesser(self.max_bytes_per_tag_answer, other.max_bytes_per_tag_answer),
            max_blocks_per_tag_answer: lesser(self.max_blocks_per_tag_answer, other.max_blocks_per_tag_answer),
            max_condition_groups: lesser(self.max_condition_groups, other.max_condition_groups),
            max_bytes_per_query: lesser(self.max_bytes_per_query, other.max_bytes_per_query),
            left_pad_trace_ids: self.left_pad_trace_ids || other.left_pad_trace_ids,
            span_pruning_by_default: self.span_pruning_by_default.max(other.span_pruning_by_default),
            ..self
        }
    }
}

/// The lesser of two limits, of which zero is none.
pub fn lesser<T: Ord + Default>(left: T, right: T) -> T {
    [left, right].into_iter().filter(|limit| *limit != T::default()).min().unwrap_or_default()
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

    /// What a query over these tenants may.
    pub fn of_query(&self, tenants: &Tenants) -> Limits {
        let table = self.table();
        let of_tenants = tenants.iter().map(|tenant| table.of(tenant));
        of_tenants.reduce(Limits::and_of_queries).unwrap_or_default()
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
        let range = |seconds| Limits { max_search_range: Duration::from_secs(seconds), ..Limits::default() };
        let strict = TenantLimits::new(LimitTable {
            tenants: BTreeMap::from([(team.clone(), range(9)), (other.clone(), range(5))]),
            ..LimitTable::default()
        });
        let of_query = |names: &str| strict.of_query(&Tenants::parse(names).unwrap()).max_search_range.as_secs();
        assert_eq!(
            [of_query("team|other"), of_query("team"), of_query("nobody|team"), of_query("nobody")],
            [5, 9, 9, 0]
        );
        limits.replace(LimitTable { others: of(3), ..LimitTable::default() });
        assert_eq!((limits.of(&team), limits.of(&other)), (of(3), of(3)));
    }
}
