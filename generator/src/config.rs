//! What is generated for a tenant: settings as Tempo names them, with Tempo's defaults but for how long halves of a call
//! and late spans are waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use model::TenantId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::config::GoDuration;

use crate::buckets::Buckets;
use crate::filter::FilterPolicy;
use crate::limits::Limits;
use crate::registry::{HistogramKind, Kind, NativeBuckets};

/// Halves of a call and spans that come late are counted up to this: a whole trace has come together by then.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(10 * 60);

/// The parts that can be switched on; Tempo's names are those of [`Processor::parse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Processor {
    SpanMetrics,
    SpanMetricsLatency,
    SpanMetricsCount,
    SpanMetricsSize,
    ServiceGraphs,
    ServiceGraphsRequest,
    ServiceGraphsLatency,
    ServiceGraphsConnectionInfo,
    HostInfo,
}

impl Processor {
    const NAMES: [(&'static str, Self); 9] = [
        ("span-metrics", Self::SpanMetrics),
        ("span-metrics-latency", Self::SpanMetricsLatency),
        ("span-metrics-count", Self::SpanMetricsCount),
        ("span-metrics-size", Self::SpanMetricsSize),
        ("service-graphs", Self::ServiceGraphs),
        ("service-graphs-request", Self::ServiceGraphsRequest),
        ("service-graphs-latency", Self::ServiceGraphsLatency),
        ("service-graphs-connection-info", Self::ServiceGraphsConnectionInfo),
        ("host-info", Self::HostInfo),
    ];

    /// # Errors
    /// One that lists the names there are.
    pub fn parse(name: &str) -> Result<Self, String> {
        let known = Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, processor)| *processor);
        known.ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name).join(", ");
            format!("{name:?} is no processor of the metrics generator; there are {names}")
        })
    }
}

/// Everything about one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantConfig {
    /// Nothing is generated while this is empty.
    pub processors: Vec<Processor>,
    pub span_metrics: SpanMetrics,
    pub service_graphs: ServiceGraphs,
    pub host_info: HostInfo,
    pub limits: Limits,
    pub histograms: Histograms,
    pub name_folding: NameFolding,
    /// Spans that ended longer ago, or further ahead, are left out and counted.
    pub slack: Duration,
    /// The label of exemplars that holds the trace id.
    pub trace_id_label_name: String,
    /// Labels of every series but those of target info and host info.
    pub external_labels: BTreeMap<String, String>,
    /// One more of them, which names the tenant; none while empty.
    pub tenant_label: String,
    /// Series are counted and shown, and not sent.
    pub disable_collection: bool,
}

impl Default for TenantConfig {
    fn default() -> Self {
        Self {
            processors: Vec::new(),
            span_metrics: SpanMetrics::default(),
            service_graphs: ServiceGraphs::default(),
            host_info: HostInfo::default(),
            limits: Limits::default(),
            histograms: Histograms::default(),
            name_folding: NameFolding::default(),
            slack: DEFAULT_WAIT,
            trace_id_label_name: "traceID".to_owned(),
            external_labels: BTreeMap::new(),
            tenant_label: String::new(),
            disable_collection: false,
        }
    }
}

impl TenantConfig {
    /// The same for one tenant, with the label that names it.
    pub(crate) fn of_tenant(&self, tenant: &TenantId) -> Self {
        let mut config = self.clone();
        if !self.tenant_label.is_empty() {
            config.external_labels.insert(self.tenant_label.clone(), tenant.to_string());
        }
        config
    }

    pub fn has(&self, any_of: &[Processor]) -> bool {
        self.processors.iter().any(|processor| any_of.contains(processor))
    }
}

/// Whether names of spans with ids in them are one name: `span_name_sanitization`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NameFolding {
    #[default]
    #[serde(rename = "")]
    Off,
    /// It is only counted what would come of it.
    #[serde(rename = "dry_run")]
    DryRun,
    #[serde(rename = "enabled")]
    On,
}

/// Which buckets histograms have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histograms {
    /// Those that `histogram_buckets` names.
    pub classic: bool,
    /// Those that grow by a factor.
    pub native: Option<NativeBuckets>,
}

impl Default for Histograms {
    fn default() -> Self {
        Self { classic: true, native: None }
    }
}

impl Histograms {
    pub(crate) fn kind(self, classic: &Buckets) -> Kind {
        Kind::Histogram(HistogramKind { classic: self.classic.then(|| classic.clone()), native: self.native })
    }
}

/// `processor.span_metrics`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpanMetrics {
    pub histogram_buckets: Buckets,
    pub intrinsic_dimensions: IntrinsicDimensions,
    /// Attributes, of the resource or else of the span, that become labels.
    pub dimensions: Vec<String>,
    /// Labels made of several attributes.
    pub dimension_mappings: Vec<DimensionMapping>,
    /// Whether `traces_target_info` is made from attributes of resources.
    pub enable_target_info: bool,
    /// Attributes that are left out of `traces_target_info`.
    pub target_info_excluded_dimensions: Vec<String>,
    /// Whether the label `instance` holds `service.instance.id`.
    pub enable_instance_label: bool,
    /// The attribute that says which share of spans was sampled.
    pub span_multiplier_key: String,
    /// The share of sampled spans is that of the trace state (`ot=th:…`).
    pub enable_tracestate_span_multiplier: bool,
    /// Which spans count; all of them without a policy.
    pub filter_policies: Vec<FilterPolicy>,
}

impl Default for SpanMetrics {
    fn default() -> Self {
        Self {
            histogram_buckets: Buckets::doubling(0.002, 14),
            intrinsic_dimensions: IntrinsicDimensions::default(),
            dimensions: Vec::new(),
            dimension_mappings: Vec::new(),
            enable_target_info: false,
            target_info_excluded_dimensions: Vec::new(),
            enable_instance_label: true,
            span_multiplier_key: String::new(),
            enable_tracestate_span_multiplier: false,
            filter_policies: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IntrinsicDimensions {
    /// Whether there is a label `service`.
    pub service: bool,
    /// Whether there is a label `span_name`.
    pub span_name: bool,
    /// Whether there is a label `span_kind`.
    pub span_kind: bool,
    /// Whether there is a label `status_code`.
    pub status_code: bool,
    /// Whether there is a label `status_message`.
    pub status_message: bool,
}

impl Default for IntrinsicDimensions {
    fn default() -> Self {
        Self { service: true, span_name: true, span_kind: true, status_code: true, status_message: false }
    }
}

/// A label whose value is that of the attributes, those that are there, joined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DimensionMapping {
    pub name: String,
    pub source_labels: Vec<String>,
    pub join: String,
}

/// `processor.service_graphs`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceGraphs {
    /// How long one half of a call waits for the other.
    pub wait: GoDuration,
    /// Halves that wait at a time; with more, the oldest has waited long enough.
    pub max_items: usize,
    pub histogram_buckets: Buckets,
    /// Attributes of spans and resources that become labels.
    pub dimensions: Vec<String>,
    /// Whether labels of `dimensions` say by `client_` and `server_` which side they are of.
    pub enable_client_server_prefix: bool,
    /// Whether the time between sending and receiving of messages is measured.
    pub enable_messaging_system_latency_histogram: bool,
    /// Whether the label `virtual_node` says which side of an edge sent no span.
    pub enable_virtual_node_label: bool,
    /// The first of them names the service at the other end of a call without a second half.
    pub peer_attributes: Vec<String>,
    /// A client span with one of them calls a database.
    pub database_name_attributes: Vec<String>,
    /// The attribute that says how many spans a span stands for; none while empty.
    pub span_multiplier_key: String,
    /// Whether the sampling threshold in the trace state says how many spans a span stands for.
    pub enable_tracestate_span_multiplier: bool,
    /// Which spans count; all of them without a policy.
    pub filter_policies: Vec<FilterPolicy>,
}

impl Default for ServiceGraphs {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            wait: GoDuration::from_secs(DEFAULT_WAIT.as_secs()),
            max_items: 100_000,
            histogram_buckets: Buckets::doubling(0.1, 8),
            dimensions: Vec::new(),
            enable_client_server_prefix: false,
            enable_messaging_system_latency_histogram: false,
            enable_virtual_node_label: false,
            peer_attributes: names(&["peer.service", "db.name", "db.system", "db.system.name"]),
            database_name_attributes: names(&["db.namespace", "db.name", "db.system", "db.system.name"]),
            span_multiplier_key: String::new(),
            enable_tracestate_span_multiplier: false,
            filter_policies: Vec::new(),
        }
    }
}

/// `processor.host_info`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HostInfo {
    /// Resource attributes that name a host; the first that is there counts.
    pub host_identifiers: Vec<String>,
    /// Name of the series that say which hosts send spans.
    pub metric_name: String,
}

impl Default for HostInfo {
    fn default() -> Self {
        Self {
            host_identifiers: vec!["k8s.node.name".to_owned(), "host.id".to_owned()],
            metric_name: "traces_host_info".to_owned(),
        }
    }
}
