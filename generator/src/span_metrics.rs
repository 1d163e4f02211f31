//! Span metrics: calls, durations and sizes by service, operation, kind and status; target info.
//!
//! ```text
//! row ─▶ its group in the table (groups.rs) ─▶ sums of the group (totals.rs) ─▶ series, once for each table
//!        a new group ─▶ texts of its labels ─▶ known from a table before, or put together
//! ```

mod groups;
mod names;
mod totals;

use std::sync::Arc;

use hashbrown::HashMap;
use spans::SpanTable;

use crate::columns::{Attributes, MOST_WANTED_KEYS, Spans, Value, place_of};
use crate::config::{DimensionMapping, Processor, SpanMetrics, TenantConfig};
use crate::error::Error;
use crate::filter::{Filter, TableFilter};
use crate::interner::{Interner, ListId, TextId};
use crate::labels::{LabelBuilder, LabelSet, label_name_beside};
use crate::memory::Memory;
use crate::multiplier::Multiplier;
use crate::names::{kind_name, status_name};
use crate::registry::{FamilyId, Kind, Registry};
use crate::selection::Selection;

use self::groups::Groups;
pub(crate) use self::names::Names;
use self::totals::{Found, Totals};

const INTRINSIC: [&str; 7] = ["service", "span_name", "span_kind", "status_code", "status_message", "job", "instance"];

/// The processor of one tenant.
pub(crate) struct SpanMetricsProcessor {
    config: SpanMetrics,
    names: Names,
    filter: Arc<Filter>,
    /// Attributes that are looked for.
    keys: Vec<String>,
    /// Those that say something of a resource: `keys`, and who it is.
    keys_of_resources: Vec<String>,
    /// Labels with the place of their attribute.
    dimensions: Vec<(String, usize)>,
    /// Labels with the places of their attributes, and what joins them.
    mappings: Vec<(String, Vec<usize>, String)>,
    calls: Option<FamilyId>,
    latency: Option<FamilyId>,
    size: Option<FamilyId>,
    has_classic: bool,
    has_native: bool,
    target_info: Option<FamilyId>,
    known: KnownSeries,
}

/// Series that tables before had, by the texts of their labels.
#[derive(Default)]
struct KnownSeries {
    texts: Interner,
    series: HashMap<ListId, Found>,
    /// The registry's when they were found.
    removals: u64,
}

/// Texts that are remembered; with more, remembering starts anew.
const MOST_REMEMBERED_TEXTS: usize = 20_000;

/// What became of spans that a processor was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct SpanCounts {
    pub filtered: u64,
    /// Names with ids in them that became a template, or would have.
    pub folded: u64,
}

impl SpanMetricsProcessor {
    /// `None` when no part of it is switched on.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub(crate) fn new(config: &TenantConfig, memory: &Memory, registry: &mut Registry) -> Result<Option<Self>, Error> {
        let is_on = |part| config.has(&[Processor::SpanMetrics, part]);
        let (count, latency, size) = (
            is_on(Processor::SpanMetricsCount),
            is_on(Processor::SpanMetricsLatency),
            is_on(Processor::SpanMetricsSize),
        );
        if !(count || latency || size) {
            return Ok(None);
        }
        let (histograms, names) = (config.histograms, Names::new(config, memory));
        let config = config.span_metrics.clone();
        let mut keys = Vec::new();
        let label = |name: &str| label_name_beside(name, &INTRINSIC);
        let dimensions = config.dimensions.iter().map(|key| (label(key), place_of(&mut keys, key))).collect();
        let mapping = |DimensionMapping { name, source_labels, join }: &DimensionMapping| {
            let places = source_labels.iter().map(|key| place_of(&mut keys, key)).collect();
            (label(name), places, join.clone())
        };
        let mappings = config.dimension_mappings.iter().map(mapping).collect();
        if keys.len() + IDENTITY.len() > MOST_WANTED_KEYS {
            let most = MOST_WANTED_KEYS - IDENTITY.len();
            let reason = format!("{} attributes are wanted, at most {most} can be", keys.len());
            return Err(Error::Config { key: "dimensions", reason });
        }
        let mut keys_of_resources = keys.clone();
        for key in IDENTITY {
            place_of(&mut keys_of_resources, key);
        }
        let mut counter = |name, help| registry.family(name, help, Kind::Counter);
        Ok(Some(Self {
            calls: count.then(|| counter("traces_spanmetrics_calls_total", "Spans")),
            size: size.then(|| counter("traces_spanmetrics_size_total", "Bytes of spans as OTLP")),
            latency: latency.then(|| {
                let buckets = histograms.kind(&config.histogram_buckets);
                registry.family("traces_spanmetrics_latency", "Duration of spans in seconds", buckets)
            }),
            target_info: config
                .enable_target_info
                .then(|| registry.info_family("traces_target_info", "Attributes of resources that send spans")),
            has_classic: histograms.classic,
            has_native: latency && histograms.native.is_some(),
            filter: Arc::new(Filter::new(&config.filter_policies)?),
            dimensions,
            mappings,
            keys,
            keys_of_resources,
            names,
            config,
            known: KnownSeries::default(),
        }))
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn names_mut(&mut self) -> &mut Names {
        &mut self.names
    }

    /// Counts the selected spans.
    ///
    /// # Errors
    /// [`Error::Table`] when the table does not have the shape of [`spans::schema`].
    pub(crate) fn take(
        &mut self,
        table: &SpanTable,
        spans: &Spans<'_>,
        selection: &Selection,
        registry: &mut Registry,
        now_millis: i64,
    ) -> Result<SpanCounts, Error> {
        let sizes = if self.size.is_some() { spans::span_sizes(table)? } else { Vec::new() };
        let SpanMetrics { span_multiplier_key, enable_tracestate_span_multiplier, .. } = &self.config;
        let (multiplier_key, of_trace_state) = (span_multiplier_key.clone(), *enable_tracestate_span_multiplier);
        let multiplier = Multiplier { key: &multiplier_key, of_trace_state };
        let (keys, intrinsic) = (self.keys.clone(), self.config.intrinsic_dimensions.clone());
        let filter = self.filter.clone();
        let mut filter = TableFilter::new(&filter, spans);
        let mut groups = Groups::new(spans, &intrinsic, &self.keys_of_resources, &keys);
        let bounds = if self.has_classic { self.config.histogram_buckets.bounds().to_vec() } else { Vec::new() };
        let mut totals = Totals::new(&bounds);
        let mut has_target_info = vec![false; table.resources.num_rows()];
        let mut counts = SpanCounts::default();
        self.known.keep(registry);
        for (trace, rows) in selection.traces() {
            for row in rows {
                if !filter.takes(spans, row) {
                    counts.filtered += 1;
                    continue;
                }
                let (group, is_new) = groups.of(row);
                if is_new {
                    totals.push(self.series(spans, row, groups.values(), registry, now_millis));
                }
                let (seconds, weight) = (spans.seconds(row), multiplier.of(spans, row));
                totals.add(group, (trace, row), seconds, weight, sizes.get(row).copied().unwrap_or_default());
                if let (true, Some(latency)) = (self.has_native, totals.series(group).latency) {
                    registry.observe_native(latency, seconds, weight);
                }
                let resource = spans.resources[row] as usize;
                if self.target_info.is_some() && !std::mem::replace(&mut has_target_info[resource], true) {
                    self.set_target_info(spans, resource, registry, now_millis);
                }
            }
        }
        counts.folded = totals.count(spans, registry, now_millis);
        Ok(counts)
    }

    /// The series of a row, which are known mostly.
    fn series(
        &mut self,
        spans: &Spans<'_>,
        row: usize,
        values: &[Option<Value>],
        registry: &mut Registry,
        now_millis: i64,
    ) -> Found {
        // what is beyond a limit is told each time, and a template may become another
        if registry.limits().max_cardinality_per_label > 0 || self.names.are_looked_at() {
            return self.new_series(spans, row, values, registry, now_millis);
        }
        let texts = self.texts(spans, row, values);
        let texts = self.known.texts.list(&texts);
        if let Some(found) = self.known.series.get(&texts) {
            return *found;
        }
        let found = self.new_series(spans, row, values, registry, now_millis);
        if !found.ids().any(|id| registry.is_overflow(id)) {
            self.known.series.insert(texts, found);
        }
        found
    }

    /// All that labels are made from.
    fn texts(&mut self, spans: &Spans<'_>, row: usize, values: &[Option<Value>]) -> Vec<Option<TextId>> {
        let Self { known: KnownSeries { texts, .. }, config, keys_of_resources, .. } = self;
        let (intrinsic, resource) = (&config.intrinsic_dimensions, spans.resources[row] as usize);
        let mut list = Vec::with_capacity(4 + values.len() + keys_of_resources.len());
        list.push(intrinsic.span_name.then(|| texts.text(spans.names.get(row))));
        list.push(intrinsic.span_kind.then(|| texts.text(kind_name(spans.kinds[row]))));
        list.push(intrinsic.status_code.then(|| texts.text(status_name(spans.status_codes[row]))));
        list.push(intrinsic.status_message.then(|| texts.text(spans.status_messages.get(row))));
        list.extend(values.iter().map(|value| value.map(|value| texts.text(&spans.attributes.text(value)))));
        let of_resource = |key: &String| spans.resource_attributes.find(resource, key);
        list.extend(keys_of_resources.iter().map(|key| of_resource(key).map(|text| texts.text(&text))));
        list
    }

    fn new_series(
        &mut self,
        spans: &Spans<'_>,
        row: usize,
        values: &[Option<Value>],
        registry: &mut Registry,
        now_millis: i64,
    ) -> Found {
        let name = spans.names.get(row);
        let template = if self.config.intrinsic_dimensions.span_name { self.names.template(name) } else { None };
        let shown = template.as_deref().filter(|_| self.names.are_folded()).unwrap_or(name);
        let labels = registry.limit_values(self.labels(spans, row, shown, values, registry));
        self.names.would_need(template.as_deref(), &labels, now_millis);
        let mut of = |family: Option<FamilyId>| family.map(|family| registry.series(family, &labels, now_millis));
        let (calls, latency, size) = (of(self.calls), of(self.latency), of(self.size));
        Found { calls, latency, size, is_folded: template.is_some() }
    }

    fn labels(
        &self,
        spans: &Spans<'_>,
        row: usize,
        name: &str,
        values: &[Option<Value>],
        registry: &Registry,
    ) -> LabelSet {
        let resource = spans.resources[row] as usize;
        let mut labels = LabelBuilder::new(registry.limits());
        let intrinsic = &self.config.intrinsic_dimensions;
        let identity = Identity::of(&spans.resource_attributes, resource);
        let intrinsics = [
            (intrinsic.service, "service", identity.service.as_str()),
            (intrinsic.span_name, "span_name", name),
            (intrinsic.span_kind, "span_kind", kind_name(spans.kinds[row])),
            (intrinsic.status_code, "status_code", status_name(spans.status_codes[row])),
            (intrinsic.status_message, "status_message", spans.status_messages.get(row)),
        ];
        for (_, name, value) in intrinsics.into_iter().filter(|(is_on, ..)| *is_on) {
            labels.add(name, value);
        }
        // the resource says first what an attribute is
        let value_of = |place: usize| {
            let of_resource = spans.resource_attributes.find(resource, &self.keys[place]);
            of_resource.or_else(|| values[place].map(|value| spans.attributes.text(value))).unwrap_or_default()
        };
        for (label, place) in &self.dimensions {
            labels.add(label, value_of(*place));
        }
        for (label, places, join) in &self.mappings {
            let texts: Vec<_> = places.iter().map(|&place| value_of(place)).filter(|text| !text.is_empty()).collect();
            labels.add(label, texts.join(join));
        }
        if self.config.enable_target_info {
            labels.add("job", identity.job());
            if self.config.enable_instance_label {
                labels.add("instance", identity.instance);
            }
        }
        labels.build()
    }

    fn set_target_info(&self, spans: &Spans<'_>, resource: usize, registry: &mut Registry, now_millis: i64) {
        let Some(family) = self.target_info else { return };
        let (attributes, identity) = (&spans.resource_attributes, Identity::of(&spans.resource_attributes, resource));
        let mut labels = LabelBuilder::new(registry.limits());
        for item in attributes.items(resource) {
            let key = attributes.key(item);
            let is_said_otherwise = IDENTITY.contains(&key);
            let is_excluded = self.config.target_info_excluded_dimensions.iter().any(|excluded| excluded == key);
            let is_no_name = key.is_empty() || key.starts_with(|first: char| first.is_ascii_digit());
            if !(is_said_otherwise || is_excluded || is_no_name) {
                labels.add(&label_name_beside(key, &INTRINSIC), attributes.text(attributes.value(item)));
            }
        }
        labels.add("job", identity.job());
        if self.config.enable_instance_label {
            labels.add("instance", identity.instance.as_str());
        }
        let labels = labels.build();
        let identifying = labels.iter().filter(|(name, _)| matches!(&**name, "job" | "instance")).count();
        if identifying > 0 && labels.len() > identifying {
            let series = registry.series(family, &labels, now_millis);
            registry.set(series, 1.0, now_millis);
        }
    }
}

impl KnownSeries {
    /// Forgets series that may be others by now, and all once there are many.
    fn keep(&mut self, registry: &Registry) {
        if self.removals != registry.removals() || self.texts.len() > MOST_REMEMBERED_TEXTS {
            *self = Self { removals: registry.removals(), ..Self::default() };
        }
    }
}

/// The attributes that say who a resource is.
const IDENTITY: [&str; 3] = ["service.name", "service.namespace", "service.instance.id"];

/// Who a resource is.
struct Identity {
    service: String,
    namespace: String,
    instance: String,
}

impl Identity {
    fn of(attributes: &Attributes<'_>, resource: usize) -> Self {
        let text = |key| attributes.find(resource, key).unwrap_or_default().into_owned();
        Self {
            service: text("service.name"),
            namespace: text("service.namespace"),
            instance: text("service.instance.id"),
        }
    }

    fn job(&self) -> String {
        match (self.namespace.as_str(), self.service.as_str()) {
            (_, "") => String::new(),
            ("", service) => service.to_owned(),
            (namespace, service) => format!("{namespace}/{service}"),
        }
    }
}

/// One gauge for each host that sends spans.
pub(crate) struct HostInfoProcessor {
    identifiers: Vec<String>,
    family: FamilyId,
}

impl HostInfoProcessor {
    pub(crate) fn new(config: &TenantConfig, registry: &mut Registry) -> Option<Self> {
        let host_info = &config.host_info;
        config.has(&[Processor::HostInfo]).then(|| Self {
            identifiers: host_info.host_identifiers.clone(),
            family: registry.info_family(&host_info.metric_name, "Hosts that send spans"),
        })
    }

    /// Tells the hosts of some resources.
    pub(crate) fn take(
        &self,
        spans: &Spans<'_>,
        resources: impl IntoIterator<Item = usize>,
        registry: &mut Registry,
        now_millis: i64,
    ) {
        for resource in resources {
            let host = self.identifiers.iter().find_map(|key| {
                spans.resource_attributes.find(resource, key).filter(|host| !host.is_empty()).map(|host| (key, host))
            });
            if let Some((source, host)) = host {
                let mut labels = LabelBuilder::new(registry.limits());
                labels.add("grafana_host_id", host);
                labels.add("host_source", source.as_str());
                let series = registry.series(self.family, &labels.build(), now_millis);
                registry.set(series, 1.0, now_millis);
            }
        }
    }
}
