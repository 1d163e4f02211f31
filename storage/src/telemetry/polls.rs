//! Counters of the look for what other processes have committed.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use model::TenantId;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::TenantLabels;

#[derive(Debug, Clone)]
pub(crate) struct PollCounters {
    duration: Histogram,
    errors: Family<TenantLabels, Counter>,
    age: Family<TenantLabels, Gauge<f64, AtomicU64>>,
}

impl PollCounters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counters = Self {
            duration: Histogram::new(exponential_buckets(0.001, 4.0, 10)),
            errors: Family::default(),
            age: Family::default(),
        };
        registry.register(
            "tempodb_blocklist_poll_duration_seconds",
            "Time to look for newer manifests of all tenants",
            counters.duration.clone(),
        );
        registry.register(
            "tempodb_blocklist_poll_errors",
            "Manifests that could not be polled; without a tenant when tenants could not be listed",
            counters.errors.clone(),
        );
        registry.register(
            "tempodb_blocklist_tenant_index_age_seconds",
            "At the last poll, time since the manifest was known to be the newest",
            counters.age.clone(),
        );
        counters
    }

    pub(crate) fn took(&self, duration: Duration) {
        self.duration.observe(duration.as_secs_f64());
    }

    /// `None` when the tenants could not be listed.
    pub(crate) fn failed(&self, tenant: Option<&TenantId>) {
        let labels = tenant.map_or_else(|| TenantLabels { tenant: String::new() }, TenantLabels::of);
        self.errors.get_or_create(&labels).inc();
    }

    pub(crate) fn set_age(&self, tenant: &TenantId, age: Duration) {
        self.age.get_or_create(&TenantLabels::of(tenant)).set(age.as_secs_f64());
    }
}
