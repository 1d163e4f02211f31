//! The generator of a process: the processors and series of every tenant that has any.

mod elsewhere;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::TenantId;
use spans::SpanTable;

use crate::columns::Spans;
use crate::config::TenantConfig;
use crate::copies::RecentSpans;
use crate::error::Error;
use crate::exposition::{self, Format};
use crate::memory::{DEFAULT_MEMORY_BYTES, Memory};
use crate::registry::Registry;
use crate::remote_write::{Form, Request, RequestWriter, SeriesOptions};
use crate::selection::Selection;
use crate::service_graph::ServiceGraphProcessor;
use crate::span_metrics::{HostInfoProcessor, SpanMetricsProcessor};
use crate::state::{Checkpoint, Collection, Numbered, Numbering, State, TenantState};
use crate::telemetry::{Telemetry, TenantTelemetry};

use self::elsewhere::CountedCalls;

/// What is generated, for whom, and how often it is collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Of tenants that are not named.
    pub default: TenantConfig,
    pub per_tenant: HashMap<TenantId, TenantConfig>,
    /// How old spans get before they are counted, and how often series are sent.
    pub collection_interval: Duration,
    /// What series, halves that wait and remembered spans of all tenants may take.
    pub memory_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            default: TenantConfig::default(),
            per_tenant: HashMap::new(),
            collection_interval: Duration::from_secs(15),
            memory_bytes: DEFAULT_MEMORY_BYTES,
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
        all.try_for_each(|config| {
            let memory = Memory::unlimited();
            let mut registry = Registry::new(config.limits.clone(), memory.series.clone());
            Processors::new(config, &memory, &mut registry).map(|_| ())
        })
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
    memory: Memory,
    recent: Mutex<RecentSpans>,
    /// What tenants have set for themselves since.
    own: Mutex<HashMap<TenantId, TenantConfig>>,
    tenants: Mutex<HashMap<TenantId, Arc<Mutex<Tenant>>>>,
    /// Grows whenever anything changes that a checkpoint holds.
    changes: AtomicU64,
    /// When the checkpoint was made that counting went on from; 0 without one.
    resumed_nanos: AtomicU64,
    /// Whether all that the log held has been counted.
    is_caught_up: AtomicBool,
}

pub(crate) struct Processors {
    pub span_metrics: Option<SpanMetricsProcessor>,
    pub service_graph: Option<ServiceGraphProcessor>,
    pub host_info: Option<HostInfoProcessor>,
}

struct Tenant {
    config: TenantConfig,
    registry: Registry,
    processors: Processors,
    /// Tells its spans from those of other tenants.
    hash: u64,
    counted: CountedCalls,
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
        let memory = Memory::divide(config.memory_bytes);
        let recent = Mutex::new(RecentSpans::new(period_millis, start_millis, memory.copies));
        Ok(Self {
            config,
            instance,
            start_millis,
            telemetry,
            memory,
            recent,
            own: Mutex::default(),
            tenants: Mutex::default(),
            changes: AtomicU64::new(0),
            resumed_nanos: AtomicU64::new(0),
            is_caught_up: AtomicBool::new(true),
        })
    }

    /// Goes on from a checkpoint. Time that has passed since does not count.
    ///
    /// # Errors
    /// [`Error::Config`] when a tenant's settings cannot be used.
    pub fn resume(&self, checkpoint: Checkpoint, now_nanos: u64) -> Result<(), Error> {
        let State { saved_millis, tenants, recent: recent_state, .. } = checkpoint.state;
        let shift_millis = millis(now_nanos).saturating_sub(saved_millis).max(0);
        let since_millis = recent_state.map_or(saved_millis, |recent| recent.since_millis);
        lock(&self.recent).restore(checkpoint.recent, since_millis.saturating_add(shift_millis));
        for TenantState { id, texts, label_sets, families, graph, names, counted } in tenants {
            let Ok(id) = TenantId::parse(&id) else { continue };
            let Some(tenant) = self.tenant(&id)? else { continue };
            let (mut tenant, numbered) = (lock(&tenant), Numbered::new(texts, &label_sets));
            tenant.registry.restore(families, &numbered, shift_millis);
            if let (Some(processor), Some(graph)) = (&mut tenant.processors.service_graph, graph) {
                processor.restore(graph, &numbered, shift_millis);
            }
            if let Some(processor) = &mut tenant.processors.span_metrics {
                processor.names_mut().restore(names, &numbered);
            }
            tenant.counted = CountedCalls::restore(&counted);
        }
        let saved_nanos = u64::try_from(saved_millis).unwrap_or_default().saturating_mul(1_000_000);
        self.resumed_nanos.store(saved_nanos, Ordering::Relaxed);
        Ok(())
    }

    /// Whether all that the log held has been counted; until then series would be shown that fall behind what they were.
    pub fn set_caught_up(&self, is_caught_up: bool) {
        self.is_caught_up.store(is_caught_up, Ordering::Release);
    }

    pub fn is_caught_up(&self) -> bool {
        self.is_caught_up.load(Ordering::Acquire)
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn with_recent<T>(&self, work: impl FnOnce(&mut RecentSpans) -> T) -> T {
        work(&mut lock(&self.recent))
    }

    pub(crate) fn save_tenants(&self) -> Vec<TenantState> {
        self.all().into_iter().map(|(id, tenant)| lock(&tenant).save(&id)).collect()
    }

    /// The checkpoint that [`save_tenants`](Self::save_tenants) made last is stored.
    pub(crate) fn stored(&self) {
        for (_, tenant) in self.all() {
            let Tenant { counted, processors, .. } = &mut *lock(&tenant);
            counted.stored();
            processors.service_graph.iter_mut().for_each(ServiceGraphProcessor::stored);
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is generated for a tenant now: what it has set for itself, or else what is configured.
    pub fn config_of(&self, tenant: &TenantId) -> TenantConfig {
        lock(&self.own).get(tenant).unwrap_or_else(|| self.config.of(tenant)).clone()
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
            let memory = Memory::unlimited();
            Processors::new(config, &memory, &mut Registry::new(config.limits.clone(), memory.series.clone()))?;
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
        self.changed();
        Ok(())
    }

    /// Counts the spans of a live table, each once however often it comes.
    ///
    /// # Errors
    /// [`Error::Table`] when the table does not have the shape of [`spans::schema`].
    pub fn take(&self, tenant: &TenantId, table: &SpanTable, now_nanos: u64) -> Result<(), Error> {
        self.take_ended_since(now_nanos, tenant, table, now_nanos)
    }

    /// The same for spans that an earlier process received after its last checkpoint: they are not late because no process
    /// ran since.
    ///
    /// # Errors
    /// Those of [`take`](Self::take).
    pub fn take_replayed(&self, tenant: &TenantId, table: &SpanTable, now_nanos: u64) -> Result<(), Error> {
        self.take_ended_since(self.resumed_nanos.load(Ordering::Relaxed), tenant, table, now_nanos)
    }

    /// Spans are late when they ended longer before `since_nanos` than is waited for.
    fn take_ended_since(
        &self,
        since_nanos: u64,
        tenant: &TenantId,
        table: &SpanTable,
        now_nanos: u64,
    ) -> Result<(), Error> {
        let Some(tenant) = self.tenant(tenant)? else { return Ok(()) };
        let mut tenant = lock(&tenant);
        let slack_nanos = u64::try_from(tenant.config.slack.as_nanos()).unwrap_or(u64::MAX);
        let taken = since_nanos.saturating_sub(slack_nanos)..=now_nanos.saturating_add(slack_nanos);
        self.changed();
        tenant.take(table, &self.recent, &taken, now_nanos)
    }

    /// Lets time pass: halves that waited long enough are counted, stale series are forgotten.
    pub fn tick(&self, now_nanos: u64) {
        let (copies_bytes, forgotten) = self.with_recent(|recent| {
            recent.tick(millis(now_nanos));
            (recent.memory_bytes(), recent.take_forgotten())
        });
        self.telemetry.memory(self.memory.series.used(), self.memory.halves.used(), copies_bytes);
        self.telemetry.forgotten(forgotten);
        for (_, tenant) in self.all() {
            if lock(&tenant).tick(millis(now_nanos)) {
                self.changed();
            }
        }
    }

    /// A collection of now. Series that none told before were zero one interval ago, or at the start of the process.
    pub fn collection(&self, now_nanos: u64) -> Collection {
        let now_millis = millis(now_nanos);
        let interval_millis = i64::try_from(self.config.collection_interval.as_millis()).unwrap_or(i64::MAX);
        let zero_millis = now_millis.saturating_sub(interval_millis).max(self.start_millis).min(now_millis - 1);
        Collection { now_millis, zero_millis }
    }

    /// What all series have counted, as requests of these forms, tenant by tenant.
    pub fn collect(&self, forms: &[Form], collection: Collection) -> Vec<Request> {
        let mut tenants = self.all();
        tenants.sort_by(|(one, _), (other, _)| one.cmp(other));
        let requests =
            tenants.into_iter().flat_map(|(id, tenant)| lock(&tenant).collect(&id, forms, &self.instance, collection));
        requests.collect()
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
        let tenant = Arc::new(Mutex::new(Tenant::new(id, config, &self.memory, self.telemetry.of(id))?));
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
    pub(crate) fn new(config: &TenantConfig, memory: &Memory, registry: &mut Registry) -> Result<Self, Error> {
        Ok(Self {
            span_metrics: SpanMetricsProcessor::new(config, memory, registry)?,
            service_graph: ServiceGraphProcessor::new(config, memory, registry)?,
            host_info: HostInfoProcessor::new(config, registry),
        })
    }
}

impl Tenant {
    fn new(id: &TenantId, config: &TenantConfig, memory: &Memory, telemetry: TenantTelemetry) -> Result<Self, Error> {
        let mut registry = Registry::new(config.limits.clone(), memory.series.clone());
        let processors = Processors::new(config, memory, &mut registry)?;
        let hash = u64::from(crc32fast::hash(id.as_str().as_bytes())) << 32 | id.as_str().len() as u64;
        Ok(Self {
            config: config.of_tenant(id),
            registry,
            processors,
            hash,
            counted: CountedCalls::default(),
            telemetry,
        })
    }

    fn take(
        &mut self,
        table: &SpanTable,
        recent: &Mutex<RecentSpans>,
        taken: &RangeInclusive<u64>,
        now_nanos: u64,
    ) -> Result<(), Error> {
        let spans = Spans::of(table)?;
        let selection = Selection::of(&spans, self.hash, &mut lock(recent), taken);
        self.telemetry.received(table.span_count());
        self.telemetry.discarded("copy", selection.copies);
        self.telemetry.discarded("outside_metrics_ingestion_slack", selection.outside_slack);
        let Self { processors, registry, .. } = self;
        let now_millis = millis(now_nanos);
        if let Some(span_metrics) = &mut processors.span_metrics {
            let counts = span_metrics.take(table, &spans, &selection, registry, now_millis)?;
            self.telemetry.discarded("span_metrics_filtered", counts.filtered);
            self.telemetry.names(counts.folded, span_metrics.names().demand());
        }
        if let Some(service_graph) = &mut processors.service_graph {
            service_graph.take(&spans, &selection, registry, now_millis);
        }
        if let Some(host_info) = &processors.host_info {
            host_info.take(&spans, 0..spans.service_names.len(), registry, now_millis);
        }
        self.tell();
        Ok(())
    }

    /// Returns whether anything has changed.
    fn tick(&mut self, now_millis: i64) -> bool {
        let mut has_changed = false;
        if let Some(service_graph) = &mut self.processors.service_graph {
            has_changed |= service_graph.tick(&mut self.registry, now_millis);
        }
        has_changed |= self.registry.remove_stale(now_millis);
        self.tell();
        has_changed
    }

    fn save(&mut self, id: &TenantId) -> TenantState {
        let mut numbering = Numbering::default();
        let families = self.registry.save(&mut numbering);
        let graph = self.processors.service_graph.as_mut().map(|processor| processor.save(&mut numbering));
        let span_metrics = self.processors.span_metrics.as_ref();
        let names = span_metrics.map(|processor| processor.names().save(&mut numbering)).unwrap_or_default();
        let (texts, label_sets) = numbering.finish();
        let counted = self.counted.save();
        TenantState { id: id.to_string(), texts, label_sets, families, graph, names, counted }
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
        Collection { now_millis, zero_millis }: Collection,
    ) -> Vec<Request> {
        if self.config.disable_collection || forms.is_empty() {
            return Vec::new();
        }
        let mut external_labels = self.config.external_labels.clone();
        external_labels.insert("__metrics_gen_instance".to_owned(), instance.to_owned());
        let trace_id_label = &self.config.trace_id_label_name;
        let options = SeriesOptions { external_labels: &external_labels, trace_id_label, now_millis, zero_millis };
        let requests = write_requests(id, forms, options, &self.registry);
        self.registry.mark_collected(zero_millis);
        requests
    }

    fn exposition(&self, format: Format) -> String {
        exposition::write(&self.registry, &self.config.external_labels, &self.config.trace_id_label_name, format)
    }
}

/// The series of a tenant as requests of these forms.
pub(crate) fn write_requests(
    tenant: &TenantId,
    forms: &[Form],
    options: SeriesOptions<'_>,
    registry: &Registry,
) -> Vec<Request> {
    forms.iter().flat_map(|&form| RequestWriter::new(tenant.clone(), form, options).write(registry)).collect()
}

#[cfg(test)]
mod tests;
