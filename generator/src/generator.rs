//! The generator of a process: the processors and series of every tenant that has any.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::TenantId;
use spans::SpanTable;

use crate::columns::Spans;
use crate::config::TenantConfig;
use crate::copies::RecentSpans;
use crate::error::Error;
use crate::exposition::{self, Format};
use crate::registry::Registry;
use crate::remote_write::{Form, Request, RequestWriter, SeriesOptions};
use crate::selection::Selection;
use crate::service_graph::ServiceGraphProcessor;
use crate::span_metrics::{HostInfoProcessor, SpanMetricsProcessor};
use crate::telemetry::{Telemetry, TenantTelemetry};

/// What is generated, for whom, and how often it is collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Of tenants that are not named.
    pub default: TenantConfig,
    pub per_tenant: HashMap<TenantId, TenantConfig>,
    /// How old spans get before they are counted, and how often series are sent.
    pub collection_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            default: TenantConfig::default(),
            per_tenant: HashMap::new(),
            collection_interval: Duration::from_secs(15),
        }
    }
}

impl Config {
    /// Whether anything is generated for anyone.
    pub fn is_on(&self) -> bool {
        std::iter::once(&self.default).chain(self.per_tenant.values()).any(|config| !config.processors.is_empty())
    }

    fn longest_slack(&self) -> Duration {
        let slacks = self.per_tenant.values().map(|config| config.slack);
        slacks.fold(self.default.slack, Duration::max)
    }

    pub fn of(&self, tenant: &TenantId) -> &TenantConfig {
        self.per_tenant.get(tenant).unwrap_or(&self.default)
    }

    /// # Errors
    /// [`Error::Config`] when a tenant's settings cannot be used.
    pub fn check(&self) -> Result<(), Error> {
        let mut all = std::iter::once(&self.default).chain(self.per_tenant.values());
        all.try_for_each(|config| Processors::new(config, &mut Registry::new(config.limits.clone())).map(|_| ()))
    }
}

/// Counts tables of spans. Its calls are CPU work of some milliseconds.
pub struct Generator {
    config: Config,
    /// Labels what is sent, so that several processes may send the same series.
    instance: String,
    /// When counting began, unix milliseconds.
    start_millis: i64,
    telemetry: Telemetry,
    recent: Mutex<RecentSpans>,
    /// What tenants have set for themselves since.
    own: Mutex<HashMap<TenantId, TenantConfig>>,
    tenants: Mutex<HashMap<TenantId, Arc<Mutex<Tenant>>>>,
}

struct Processors {
    span_metrics: Option<SpanMetricsProcessor>,
    service_graph: Option<ServiceGraphProcessor>,
    host_info: Option<HostInfoProcessor>,
}

struct Tenant {
    config: TenantConfig,
    registry: Registry,
    processors: Processors,
    /// Tells its spans from those of other tenants.
    hash: u64,
    telemetry: TenantTelemetry,
}

impl Generator {
    /// # Errors
    /// [`Error::Config`] when a tenant's settings cannot be used.
    pub fn new(
        config: Config,
        instance: String,
        now_nanos: u64,
        registry: &mut prometheus_client::registry::Registry,
    ) -> Result<Self, Error> {
        config.check()?;
        let (telemetry, start_millis) = (Telemetry::register(registry), millis(now_nanos));
        // what ended longer ago is left out in any case
        let period_millis = i64::try_from(config.longest_slack().as_millis()).unwrap_or(i64::MAX);
        let recent = Mutex::new(RecentSpans::new(period_millis, start_millis));
        let (own, tenants) = (Mutex::default(), Mutex::default());
        Ok(Self { config, instance, start_millis, telemetry, recent, own, tenants })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is generated for a tenant from now on; `None` for what was configured at the start. Its series begin anew, unless
    /// nothing changes.
    ///
    /// # Errors
    /// [`Error::Config`] when the settings cannot be used.
    pub fn set_own(&self, tenant: &TenantId, config: Option<TenantConfig>) -> Result<(), Error> {
        let slack = self.config.longest_slack();
        // copies of spans are known for so long
        let config = config.map(|config| TenantConfig { slack: config.slack.min(slack), ..config });
        if let Some(config) = &config {
            Processors::new(config, &mut Registry::new(config.limits.clone()))?;
        }
        let mut own = lock(&self.own);
        if own.get(tenant) == config.as_ref() {
            return Ok(());
        }
        match config {
            Some(config) => drop(own.insert(tenant.clone(), config)),
            None => drop(own.remove(tenant)),
        }
        lock(&self.tenants).remove(tenant);
        Ok(())
    }

    /// Counts the spans of a live table, each once however often it comes.
    ///
    /// # Errors
    /// [`Error::Table`] when the table does not have the shape of [`spans::schema`].
    pub fn take(&self, tenant: &TenantId, table: &SpanTable, now_nanos: u64) -> Result<(), Error> {
        match self.tenant(tenant)? {
            Some(tenant) => lock(&tenant).take(table, &self.recent, now_nanos),
            None => Ok(()),
        }
    }

    /// Lets time pass: halves that waited long enough are counted, stale series are forgotten.
    pub fn tick(&self, now_nanos: u64) {
        lock(&self.recent).tick(millis(now_nanos));
        for (_, tenant) in self.all() {
            lock(&tenant).tick(millis(now_nanos));
        }
    }

    /// What all series have counted, as requests of these forms. Series that no request told before were zero one
    /// interval ago, or at the start of the process.
    pub fn collect(&self, forms: &[Form], now_nanos: u64) -> Vec<Request> {
        let now_millis = millis(now_nanos);
        let interval_millis = i64::try_from(self.config.collection_interval.as_millis()).unwrap_or(i64::MAX);
        let zero_millis = now_millis.saturating_sub(interval_millis).max(self.start_millis).min(now_millis - 1);
        let collect = |(id, tenant): (TenantId, Arc<Mutex<Tenant>>)| {
            lock(&tenant).collect(&id, forms, &self.instance, now_millis, zero_millis)
        };
        self.all().into_iter().flat_map(collect).collect()
    }

    /// The series of a tenant as a scraper reads them; none for a tenant for whom nothing was counted.
    pub fn exposition(&self, tenant: &TenantId, format: Format) -> String {
        let tenant = lock(&self.tenants).get(tenant).cloned();
        tenant.map_or_else(|| exposition::none(format), |tenant| lock(&tenant).exposition(format))
    }

    fn all(&self) -> Vec<(TenantId, Arc<Mutex<Tenant>>)> {
        lock(&self.tenants).iter().map(|(id, tenant)| (id.clone(), tenant.clone())).collect()
    }

    /// `None` for a tenant for whom nothing is generated.
    fn tenant(&self, id: &TenantId) -> Result<Option<Arc<Mutex<Tenant>>>, Error> {
        // held while the tenant is made, so that it is made with what holds
        let own = lock(&self.own);
        let config = own.get(id).unwrap_or_else(|| self.config.of(id));
        if config.processors.is_empty() {
            return Ok(None);
        }
        let mut tenants = lock(&self.tenants);
        if let Some(tenant) = tenants.get(id) {
            return Ok(Some(tenant.clone()));
        }
        let tenant = Arc::new(Mutex::new(Tenant::new(id, config, self.telemetry.of(id))?));
        tenants.insert(id.clone(), tenant.clone());
        Ok(Some(tenant))
    }
}

/// A panic while the lock was held can only have come from a table that could not be read; counts stay usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn millis(nanos: u64) -> i64 {
    (nanos / 1_000_000) as i64
}

impl Processors {
    fn new(config: &TenantConfig, registry: &mut Registry) -> Result<Self, Error> {
        Ok(Self {
            span_metrics: SpanMetricsProcessor::new(config, registry)?,
            service_graph: ServiceGraphProcessor::new(config, registry)?,
            host_info: HostInfoProcessor::new(config, registry),
        })
    }
}

impl Tenant {
    fn new(id: &TenantId, config: &TenantConfig, telemetry: TenantTelemetry) -> Result<Self, Error> {
        let mut registry = Registry::new(config.limits.clone());
        let processors = Processors::new(config, &mut registry)?;
        let hash = u64::from(crc32fast::hash(id.as_str().as_bytes())) << 32 | id.as_str().len() as u64;
        Ok(Self { config: config.clone(), registry, processors, hash, telemetry })
    }

    fn take(&mut self, table: &SpanTable, recent: &Mutex<RecentSpans>, now_nanos: u64) -> Result<(), Error> {
        let spans = Spans::of(table)?;
        let selection = Selection::of(&spans, self.hash, &mut lock(recent), self.config.slack, now_nanos);
        self.telemetry.received(table.span_count());
        self.telemetry.discarded("copy", selection.copies);
        self.telemetry.discarded("outside_metrics_ingestion_slack", selection.outside_slack);
        let Self { processors, registry, .. } = self;
        let now_millis = millis(now_nanos);
        if let Some(span_metrics) = &processors.span_metrics {
            let filtered = span_metrics.take(table, &spans, &selection, registry, now_millis)?;
            self.telemetry.discarded("span_metrics_filtered", filtered);
        }
        if let Some(service_graph) = &mut processors.service_graph {
            service_graph.take(&spans, &selection, registry, now_millis);
        }
        if let Some(host_info) = &processors.host_info {
            host_info.take(&spans, registry, now_millis);
        }
        self.tell();
        Ok(())
    }

    fn tick(&mut self, now_millis: i64) {
        if let Some(service_graph) = &mut self.processors.service_graph {
            service_graph.tick(&mut self.registry, now_millis);
        }
        self.registry.remove_stale(now_millis);
        self.tell();
    }

    /// Shows what happened among the counters of the process.
    fn tell(&mut self) {
        let refused = self.registry.take_refused();
        self.telemetry.series(self.registry.active_series(), &refused);
        if let Some(service_graph) = &mut self.processors.service_graph {
            self.telemetry.graph(&service_graph.take_counts(), service_graph.waiting());
        }
    }

    fn collect(
        &mut self,
        id: &TenantId,
        forms: &[Form],
        instance: &str,
        now_millis: i64,
        zero_millis: i64,
    ) -> Vec<Request> {
        if self.config.disable_collection || forms.is_empty() {
            return Vec::new();
        }
        let mut external_labels = self.config.external_labels.clone();
        external_labels.insert("__metrics_gen_instance".to_owned(), instance.to_owned());
        let trace_id_label = &self.config.trace_id_label_name;
        let requests = forms.iter().flat_map(|&form| {
            let options = SeriesOptions { external_labels: &external_labels, trace_id_label, now_millis, zero_millis };
            RequestWriter::new(id.clone(), form, options).write(&self.registry)
        });
        let requests = requests.collect();
        self.registry.mark_collected();
        requests
    }

    fn exposition(&self, format: Format) -> String {
        exposition::write(&self.registry, &self.config.external_labels, &self.config.trace_id_label_name, format)
    }
}

#[cfg(test)]
mod tests;
