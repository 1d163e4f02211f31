//! Counters of the generator itself, by Tempo's names.

use model::TenantId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTenant {
    tenant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Discarded {
    tenant: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLabel {
    tenant: String,
    label_name: String,
}

/// What memory is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPart {
    part: &'static str,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Telemetry {
    received: Family<OfTenant, Counter>,
    discarded: Family<Discarded, Counter>,
    active_series: Family<OfTenant, Gauge>,
    series_limited: Family<OfTenant, Counter>,
    values_limited: Family<OfLabel, Counter>,
    edges: Family<OfTenant, Counter>,
    expired_edges: Family<OfTenant, Counter>,
    crowded_out: Family<OfTenant, Counter>,
    waiting: Family<OfTenant, Gauge>,
    out_of_memory: Family<OfPart, Counter>,
    memory_bytes: Family<OfPart, Gauge>,
    folded: Family<OfTenant, Counter>,
    demand: Family<OfTenant, Gauge>,
}

impl Telemetry {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let telemetry = Self::default();
        let mut counter = |name: &str, help: &str, family: &Family<OfTenant, Counter>| {
            registry.register(format!("tempo_metrics_generator_{name}"), help, family.clone());
        };
        counter("spans_received", "Spans that metrics are made from, copies among them", &telemetry.received);
        counter("registry_series_limited", "Label sets beyond max_active_series", &telemetry.series_limited);
        counter("processor_service_graphs_edges", "Calls that were counted", &telemetry.edges);
        let help = "Halves of calls that waited in vain and name no other end";
        counter("processor_service_graphs_expired_edges", help, &telemetry.expired_edges);
        let help = "Halves that waited for less than service_graphs.wait because max_items others did";
        counter("processor_service_graphs_crowded_out", help, &telemetry.crowded_out);
        counter("registry_spans_sanitized", "Spans whose name became a template, or would have", &telemetry.folded);
        registry.register(
            "tempo_metrics_generator_registry_post_sanitization_demand_estimate",
            "Sets of labels of span metrics with folded names",
            telemetry.demand.clone(),
        );
        registry.register(
            "tempo_metrics_generator_spans_discarded",
            "Spans that are in no metric, by reason",
            telemetry.discarded.clone(),
        );
        registry.register(
            "tempo_metrics_generator_registry_label_values_limited",
            "Values beyond max_cardinality_per_label",
            telemetry.values_limited.clone(),
        );
        registry.register(
            "tempo_metrics_generator_registry_active_series",
            "Series that are counted",
            telemetry.active_series.clone(),
        );
        registry.register(
            "mosso_metrics_generator_out_of_memory",
            "Series that are counted with all others, halves of calls that waited less, and spans whose copies count, because there was no memory",
            telemetry.out_of_memory.clone(),
        );
        registry.register(
            "mosso_metrics_generator_memory_bytes",
            "Memory that series, halves of calls and remembered spans take",
            telemetry.memory_bytes.clone(),
        );
        registry.register(
            "mosso_metrics_generator_waiting_halves",
            "Halves of calls that wait for the other",
            telemetry.waiting.clone(),
        );
        telemetry
    }

    pub(crate) fn memory(&self, series: usize, halves: usize, copies: usize) {
        for (part, bytes) in [("series", series), ("halves", halves), ("copies", copies)] {
            self.memory_bytes.get_or_create(&OfPart { part }).set(bytes as i64);
        }
    }

    /// Spans that were forgotten before their time.
    pub(crate) fn forgotten(&self, spans: u64) {
        self.no_memory("copies", spans);
    }

    fn no_memory(&self, part: &'static str, count: u64) {
        self.out_of_memory.get_or_create(&OfPart { part }).inc_by(count);
    }

    pub(crate) fn of(&self, tenant: &TenantId) -> TenantTelemetry {
        TenantTelemetry { all: self.clone(), tenant: tenant.to_string() }
    }
}

/// The counters of one tenant.
pub(crate) struct TenantTelemetry {
    all: Telemetry,
    tenant: String,
}

impl TenantTelemetry {
    fn labels(&self) -> OfTenant {
        OfTenant { tenant: self.tenant.clone() }
    }

    pub(crate) fn received(&self, spans: usize) {
        self.all.received.get_or_create(&self.labels()).inc_by(spans as u64);
    }

    pub(crate) fn discarded(&self, reason: &'static str, spans: u64) {
        if spans > 0 {
            self.all.discarded.get_or_create(&Discarded { tenant: self.tenant.clone(), reason }).inc_by(spans);
        }
    }

    /// What folding of names did; nothing is shown where it never did.
    pub(crate) fn names(&self, folded: u64, demand: usize) {
        if demand > 0 {
            self.all.folded.get_or_create(&self.labels()).inc_by(folded);
            self.all.demand.get_or_create(&self.labels()).set(demand as i64);
        }
    }

    pub(crate) fn series(&self, active: usize, refused: &crate::registry::Refused) {
        self.all.active_series.get_or_create(&self.labels()).set(active as i64);
        self.all.series_limited.get_or_create(&self.labels()).inc_by(refused.series);
        self.all.no_memory("series", refused.out_of_memory);
        for (label_name, count) in &refused.values {
            let labels = OfLabel { tenant: self.tenant.clone(), label_name: label_name.clone() };
            self.all.values_limited.get_or_create(&labels).inc_by(*count);
        }
    }

    pub(crate) fn graph(&self, counts: &crate::service_graph::GraphCounts, waiting: usize) {
        self.all.edges.get_or_create(&self.labels()).inc_by(counts.edges);
        self.all.expired_edges.get_or_create(&self.labels()).inc_by(counts.expired);
        self.all.crowded_out.get_or_create(&self.labels()).inc_by(counts.crowded_out);
        self.all.no_memory("halves", counts.out_of_memory);
        self.all.waiting.get_or_create(&self.labels()).set(waiting as i64);
        self.discarded("service_graphs_filtered", counts.filtered);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTarget {
    target: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Dropped {
    target: String,
    reason: &'static str,
}

/// What became of what is sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct RemoteWriteTelemetry {
    sent: Family<OfTarget, Counter>,
    dropped: Family<Dropped, Counter>,
    retries: Family<OfTarget, Counter>,
    waiting_requests: Family<OfTarget, Gauge>,
    waiting_bytes: Family<OfTarget, Gauge>,
}

impl RemoteWriteTelemetry {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let telemetry = Self::default();
        registry.register("mosso_remote_write_samples_sent", "Samples that a target took", telemetry.sent.clone());
        registry.register(
            "mosso_remote_write_samples_dropped",
            "Samples that no target will get, by reason",
            telemetry.dropped.clone(),
        );
        registry.register(
            "mosso_remote_write_retries",
            "Requests that a target could not take, and that are sent again",
            telemetry.retries.clone(),
        );
        registry.register(
            "mosso_remote_write_queue_requests",
            "Requests that wait on disk",
            telemetry.waiting_requests.clone(),
        );
        registry.register(
            "mosso_remote_write_queue_bytes",
            "Bytes of requests that wait on disk",
            telemetry.waiting_bytes.clone(),
        );
        telemetry
    }

    pub(crate) fn of(&self, target: &str) -> TargetTelemetry {
        TargetTelemetry { all: self.clone(), target: target.to_owned() }
    }
}

/// The counters of one target.
#[derive(Debug, Clone)]
pub(crate) struct TargetTelemetry {
    all: RemoteWriteTelemetry,
    target: String,
}

impl TargetTelemetry {
    fn labels(&self) -> OfTarget {
        OfTarget { target: self.target.clone() }
    }

    pub(crate) fn sent(&self, samples: u64) {
        self.all.sent.get_or_create(&self.labels()).inc_by(samples);
    }

    pub(crate) fn dropped(&self, reason: &'static str, samples: u64) {
        self.all.dropped.get_or_create(&Dropped { target: self.target.clone(), reason }).inc_by(samples);
    }

    pub(crate) fn retried(&self) {
        self.all.retries.get_or_create(&self.labels()).inc();
    }

    pub(crate) fn waiting(&self, requests: usize, bytes: u64) {
        self.all.waiting_requests.get_or_create(&self.labels()).set(requests as i64);
        self.all.waiting_bytes.get_or_create(&self.labels()).set(bytes as i64);
    }
}
