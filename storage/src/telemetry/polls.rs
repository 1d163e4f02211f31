//! Counters of the look for what other processes have committed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::TenantId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::TenantLabels;

#[derive(Debug, Clone)]
pub(crate) struct PollCounters {
    duration: Histogram,
    errors: Family<TenantLabels, Counter>,
    ages: Ages,
}

/// When each tenant's manifest was last known to be the newest. How long ago that is, is computed when somebody asks: so
/// it grows also when nobody polls any more.
#[derive(Debug, Clone, Default)]
struct Ages(Arc<Mutex<BTreeMap<TenantId, Instant>>>);

impl Ages {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TenantId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Ages {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Time since the manifest was known to be the newest";
        let name = "tempodb_blocklist_tenant_index_age_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (tenant, confirmed) in self.lock().iter() {
            let age = ConstGauge::new(confirmed.elapsed().as_secs_f64());
            age.encode(family.encode_family(&TenantLabels::of(tenant))?)?;
        }
        Ok(())
    }
}

impl PollCounters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counters = Self {
            duration: Histogram::new(exponential_buckets(0.001, 4.0, 10)),
            errors: Family::default(),
            ages: Ages::default(),
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
        registry.register_collector(Box::new(counters.ages.clone()));
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

    /// The known manifest of a tenant was the newest `at` this time.
    pub(crate) fn confirmed(&self, tenant: TenantId, at: Instant) {
        self.ages.lock().insert(tenant, at);
    }
}
