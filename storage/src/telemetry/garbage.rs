//! Counters of retention, and of the files that it and others leave.

use std::time::Duration;

use model::TenantId;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::TenantLabels;

#[derive(Debug, Clone)]
pub(crate) struct GarbageCounters {
    expired: Counter,
    deleted: Counter,
    errors: Counter,
    round_duration: Histogram,
    unnamed: Family<TenantLabels, Gauge>,
    foreign: Family<TenantLabels, Gauge>,
}

impl GarbageCounters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counters = Self {
            expired: Counter::default(),
            deleted: Counter::default(),
            errors: Counter::default(),
            round_duration: Histogram::new(exponential_buckets(0.001, 4.0, 10)),
            unnamed: Family::default(),
            foreign: Family::default(),
        };
        registry.register(
            "tempodb_retention_marked_for_deletion",
            "Expired blocks that were taken out of the manifest",
            counters.expired.clone(),
        );
        registry.register(
            "tempodb_retention_deleted",
            "Blocks whose files were deleted because no manifest named them",
            counters.deleted.clone(),
        );
        registry.register(
            "tempodb_retention_errors",
            "Failures to drop expired blocks or to delete files without a name",
            counters.errors.clone(),
        );
        registry.register(
            "tempodb_retention_duration_seconds",
            "Time to drop the expired blocks of all tenants",
            counters.round_duration.clone(),
        );
        registry.register(
            "mosso_garbage_blocks",
            "Blocks with files that no manifest names, which are deleted after the grace period",
            counters.unnamed.clone(),
        );
        registry.register(
            "mosso_garbage_foreign_objects",
            "Objects among the blocks that are not a block's, which are left alone",
            counters.foreign.clone(),
        );
        counters
    }

    pub(crate) fn expired(&self, blocks: usize) {
        self.expired.inc_by(blocks as u64);
    }

    pub(crate) fn deleted(&self, blocks: usize) {
        self.deleted.inc_by(blocks as u64);
    }

    pub(crate) fn failed(&self) {
        self.errors.inc();
    }

    pub(crate) fn round_took(&self, duration: Duration) {
        self.round_duration.observe(duration.as_secs_f64());
    }

    pub(super) fn set_unnamed(&self, tenant: &TenantId, blocks: usize) {
        self.unnamed.get_or_create(&TenantLabels::of(tenant)).set(blocks as i64);
    }

    pub(crate) fn set_foreign(&self, tenant: &TenantId, objects: usize) {
        self.foreign.get_or_create(&TenantLabels::of(tenant)).set(objects as i64);
    }
}
