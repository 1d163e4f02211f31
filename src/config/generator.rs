//! `metrics_generator`, and what `overrides` says of it by tenant.
//!
//! Tempo's keys and defaults, but for how long is waited: `service_graphs.wait` and `metrics_ingestion_time_range_slack`
//! are 10 minutes here. As in Tempo nothing is generated until `processors` of the overrides names something.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Error, Result};
use generator::remote_write::TargetConfig;
use generator::{
    Buckets, DEFAULT_WAIT, DimensionMapping, FilterPolicy, Histograms, HostInfo, Limits, NameFolding, NativeBuckets,
    Processor, ServiceGraphs, SpanMetrics, TenantConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::config::{GoDuration, Secret};

/// `metrics_generator`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsGenerator {
    pub processor: Processors,
    pub registry: Registry,
    /// Spans that ended longer ago than this, or further ahead, are in no metric.
    pub metrics_ingestion_time_range_slack: GoDuration,
    pub storage: Storage,
}

impl Default for MetricsGenerator {
    fn default() -> Self {
        Self {
            processor: Processors::default(),
            registry: Registry::default(),
            metrics_ingestion_time_range_slack: GoDuration::from_secs(DEFAULT_WAIT.as_secs()),
            storage: Storage::default(),
        }
    }
}

/// `metrics_generator.processor`: how metrics are made. Which are made is said in `overrides`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Processors {
    pub service_graphs: ServiceGraphs,
    pub span_metrics: SpanMetrics,
    pub host_info: HostInfo,
}

/// `metrics_generator.registry`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// How old spans get before they are counted.
    pub collection_interval: GoDuration,
    /// A series that has not changed for so long is forgotten.
    pub stale_duration: GoDuration,
    /// Labels of every series.
    pub external_labels: BTreeMap<String, String>,
    /// The label that names the tenant; none while empty.
    pub inject_tenant_id_as: String,
    /// Longer names of labels are cut off; 0 for no limit.
    pub max_label_name_length: usize,
    /// Longer values of labels are cut off; 0 for no limit.
    pub max_label_value_length: usize,
}

impl Default for Registry {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            collection_interval: GoDuration::from_secs(15),
            stale_duration: GoDuration::from_secs(limits.stale_duration.as_secs()),
            external_labels: BTreeMap::new(),
            inject_tenant_id_as: String::new(),
            max_label_name_length: limits.max_label_name_bytes,
            max_label_value_length: limits.max_label_value_bytes,
        }
    }
}

/// `metrics_generator.storage`: where series are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Folder of what waits to be sent; `generator` in `data_dir` while empty.
    pub path: PathBuf,
    /// As in Prometheus; several targets may be named.
    pub remote_write: Vec<TargetConfig>,
    /// With multi-tenancy, whether `X-Scope-OrgID` names the tenant of what is sent.
    pub remote_write_add_org_id_header: bool,
    /// Bytes that may wait for each target; with more, the oldest are lost and counted. Not a key of Tempo's.
    pub max_queue_bytes: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            remote_write: Vec::new(),
            remote_write_add_org_id_header: true,
            max_queue_bytes: 256 << 20,
        }
    }
}

/// `overrides.defaults.metrics_generator`, and the same of a tenant. What is left out is as `metrics_generator` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GeneratorLimits {
    /// What is generated: `span-metrics`, `service-graphs`, `host-info`, or parts such as `span-metrics-latency`.
    pub processors: Vec<String>,
    /// Most series of all names together; 0 for no limit.
    pub max_active_series: usize,
    /// Most values of one label; 0 for no limit.
    pub max_cardinality_per_label: usize,
    /// Spans that ended longer ago are in no metric; 0 for `metrics_ingestion_time_range_slack`.
    pub ingestion_time_range_slack: GoDuration,
    /// The label of exemplars that holds the trace id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id_label_name: Option<String>,
    /// Series are shown, and not sent.
    pub disable_collection: bool,
    /// Whether names of spans with ids in them become templates, `GET /user/8231` then is `GET /user/<_>`: `enabled`, or
    /// `dry_run` to only count how many series that would leave.
    pub span_name_sanitization: NameFolding,
    /// Which buckets histograms have: `classic`, `native` (they grow by a factor), or `both`.
    pub generate_native_histograms: HistogramBuckets,
    /// Native buckets are at most this factor wide, at first; 1.1 when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_histogram_bucket_factor: Option<BucketFactor>,
    /// Most native buckets of a histogram: with more, two become one; 100 when it is left out, 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_histogram_max_bucket_number: Option<usize>,
    /// Sent beside the headers of a target.
    pub remote_write_headers: BTreeMap<String, Secret>,
    pub processor: ProcessorOverrides,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HistogramBuckets {
    #[default]
    Classic,
    Native,
    Both,
}

/// A number above 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
#[schemars(with = "f64")]
pub struct BucketFactor(f64);

/// It is no NaN.
impl Eq for BucketFactor {}

impl TryFrom<f64> for BucketFactor {
    type Error = &'static str;

    fn try_from(factor: f64) -> Result<Self, Self::Error> {
        let usable = factor.is_finite() && factor > 1.0;
        if usable { Ok(Self(factor)) } else { Err("native_histogram_bucket_factor must be a number above 1") }
    }
}

/// Tempo's defaults.
const BUCKET_FACTOR: f64 = 1.1;
const MAX_BUCKET_NUMBER: usize = 100;

impl GeneratorLimits {
    /// Whether the operator, or the tenant, has to be told [`WITHOUT_LOCAL_BLOCKS`].
    pub fn names_local_blocks(&self) -> bool {
        self.processors.iter().any(|name| name == LOCAL_BLOCKS)
    }

    fn histograms(&self) -> Histograms {
        let factor = self.native_histogram_bucket_factor.map_or(BUCKET_FACTOR, |BucketFactor(factor)| factor);
        let most = self.native_histogram_max_bucket_number.unwrap_or(MAX_BUCKET_NUMBER);
        let native = self.generate_native_histograms != HistogramBuckets::Classic;
        Histograms {
            classic: self.generate_native_histograms != HistogramBuckets::Native,
            native: native.then(|| NativeBuckets::new(factor, most)),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessorOverrides {
    pub service_graphs: ServiceGraphsOverrides,
    pub span_metrics: SpanMetricsOverrides,
    pub host_info: HostInfoOverrides,
}

/// Each key takes the place of the one of `metrics_generator.processor.service_graphs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceGraphsOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram_buckets: Option<Buckets>,
    /// Attributes of spans and resources that become labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<Vec<String>>,
    /// The first of them names the service at the other end of a call without a second half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_attributes: Option<Vec<String>>,
    /// Which spans count; all of them without a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_policies: Option<Vec<FilterPolicy>>,
    /// Whether labels of `dimensions` say by `client_` and `server_` which side they are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_client_server_prefix: Option<bool>,
    /// Whether the time between sending and receiving of messages is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_messaging_system_latency_histogram: Option<bool>,
    /// Whether the label `virtual_node` says which side of an edge sent no span.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_virtual_node_label: Option<bool>,
    /// The attribute that says how many spans a span stands for; none while empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_multiplier_key: Option<String>,
    /// Whether the sampling threshold in the trace state says how many spans a span stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_tracestate_span_multiplier: Option<bool>,
}

/// Each key takes the place of the one of `metrics_generator.processor.span_metrics`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpanMetricsOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram_buckets: Option<Buckets>,
    /// Attributes of spans and resources that become labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<Vec<String>>,
    pub intrinsic_dimensions: IntrinsicDimensionsOverrides,
    /// Which spans count; all of them without a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_policies: Option<Vec<FilterPolicy>>,
    /// Labels that are made of the values of several attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimension_mappings: Option<Vec<DimensionMapping>>,
    /// Whether `traces_target_info` is made from attributes of resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_target_info: Option<bool>,
    /// Attributes that are left out of `traces_target_info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_info_excluded_dimensions: Option<Vec<String>>,
    /// Whether the label `instance` holds `service.instance.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_instance_label: Option<bool>,
    /// The attribute that says how many spans a span stands for; none while empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_multiplier_key: Option<String>,
    /// Whether the sampling threshold in the trace state says how many spans a span stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_tracestate_span_multiplier: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IntrinsicDimensionsOverrides {
    /// Whether there is a label `service`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<bool>,
    /// Whether there is a label `span_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_name: Option<bool>,
    /// Whether there is a label `span_kind`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_kind: Option<bool>,
    /// Whether there is a label `status_code`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<bool>,
    /// Whether there is a label `status_message`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_message: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HostInfoOverrides {
    /// Resource attributes that name a host; the first that is there counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_identifiers: Option<Vec<String>>,
    /// Name of the series that say which hosts send spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name: Option<String>,
}

/// Puts a value in the place of another, if there is one.
fn set<T: Clone>(place: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

/// Tempo's processor for metrics queries about what is new, which need none here.
const LOCAL_BLOCKS: &str = "local-blocks";
/// What whoever names it is told.
pub const WITHOUT_LOCAL_BLOCKS: &str =
    "the processor local-blocks is read over: metrics queries read live spans without it";

impl MetricsGenerator {
    /// What is generated for a tenant with these limits.
    ///
    /// # Errors
    /// When a processor is not known.
    pub(super) fn with_limits(&self, limits: &GeneratorLimits) -> Result<TenantConfig> {
        let processors = limits.processors.iter().filter(|name| *name != LOCAL_BLOCKS);
        let processors = processors.map(|name| Processor::parse(name).map_err(Error::msg));
        let defaults = TenantConfig::default();
        let mut config = TenantConfig {
            processors: processors.collect::<Result<_>>()?,
            span_metrics: self.processor.span_metrics.clone(),
            service_graphs: self.processor.service_graphs.clone(),
            host_info: self.processor.host_info.clone(),
            limits: Limits {
                max_active_series: limits.max_active_series,
                max_cardinality_per_label: limits.max_cardinality_per_label,
                max_label_name_bytes: self.registry.max_label_name_length,
                max_label_value_bytes: self.registry.max_label_value_length,
                stale_duration: self.registry.stale_duration.get(),
            },
            histograms: limits.histograms(),
            name_folding: limits.span_name_sanitization,
            slack: match limits.ingestion_time_range_slack.get() {
                Duration::ZERO => self.metrics_ingestion_time_range_slack.get(),
                slack => slack,
            },
            trace_id_label_name: limits.trace_id_label_name.clone().unwrap_or(defaults.trace_id_label_name),
            external_labels: self.registry.external_labels.clone(),
            tenant_label: self.registry.inject_tenant_id_as.clone(),
            disable_collection: limits.disable_collection,
        };
        limits.processor.apply(&mut config);
        Ok(config)
    }
}

impl ProcessorOverrides {
    fn apply(&self, config: &mut TenantConfig) {
        let (graphs, of) = (&mut config.service_graphs, &self.service_graphs);
        set(&mut graphs.histogram_buckets, of.histogram_buckets.as_ref());
        set(&mut graphs.dimensions, of.dimensions.as_ref());
        set(&mut graphs.peer_attributes, of.peer_attributes.as_ref());
        set(&mut graphs.filter_policies, of.filter_policies.as_ref());
        set(&mut graphs.enable_client_server_prefix, of.enable_client_server_prefix.as_ref());
        let messaging = &mut graphs.enable_messaging_system_latency_histogram;
        set(messaging, of.enable_messaging_system_latency_histogram.as_ref());
        set(&mut graphs.enable_virtual_node_label, of.enable_virtual_node_label.as_ref());
        set(&mut graphs.span_multiplier_key, of.span_multiplier_key.as_ref());
        set(&mut graphs.enable_tracestate_span_multiplier, of.enable_tracestate_span_multiplier.as_ref());

        let (metrics, of) = (&mut config.span_metrics, &self.span_metrics);
        set(&mut metrics.histogram_buckets, of.histogram_buckets.as_ref());
        set(&mut metrics.dimensions, of.dimensions.as_ref());
        set(&mut metrics.filter_policies, of.filter_policies.as_ref());
        set(&mut metrics.dimension_mappings, of.dimension_mappings.as_ref());
        set(&mut metrics.enable_target_info, of.enable_target_info.as_ref());
        set(&mut metrics.target_info_excluded_dimensions, of.target_info_excluded_dimensions.as_ref());
        set(&mut metrics.enable_instance_label, of.enable_instance_label.as_ref());
        set(&mut metrics.span_multiplier_key, of.span_multiplier_key.as_ref());
        set(&mut metrics.enable_tracestate_span_multiplier, of.enable_tracestate_span_multiplier.as_ref());
        let (intrinsic, of) = (&mut metrics.intrinsic_dimensions, &of.intrinsic_dimensions);
        set(&mut intrinsic.service, of.service.as_ref());
        set(&mut intrinsic.span_name, of.span_name.as_ref());
        set(&mut intrinsic.span_kind, of.span_kind.as_ref());
        set(&mut intrinsic.status_code, of.status_code.as_ref());
        set(&mut intrinsic.status_message, of.status_message.as_ref());

        let (hosts, of) = (&mut config.host_info, &self.host_info);
        set(&mut hosts.host_identifiers, of.host_identifiers.as_ref());
        set(&mut hosts.metric_name, of.metric_name.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn nothing_is_generated_until_one_line_says_so() {
        assert!(!Config::default().generator().unwrap().config.is_on());
        let yaml = "overrides: {defaults: {metrics_generator: {processors: [service-graphs, span-metrics]}}}";
        let config = Config::parse(yaml).unwrap();
        assert!(config.generator().unwrap().config.is_on());
        assert_eq!(Config::parse(&config.to_yaml()).unwrap(), config);
    }

    #[test]
    fn a_tenants_settings_take_the_place_of_those_of_all() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("overrides.yaml");
        let of_tenant = "
overrides:
  team-a:
    metrics_generator:
      processors: [span-metrics]
      max_active_series: 7
      processor: {span_metrics: {dimensions: [http.route], intrinsic_dimensions: {span_kind: false}}}
";
        std::fs::write(&file, of_tenant).unwrap();
        let yaml = format!(
            "
metrics_generator:
  registry: {{external_labels: {{cluster: eu}}, inject_tenant_id_as: tenant}}
  processor: {{span_metrics: {{dimensions: [region], enable_target_info: true}}, service_graphs: {{wait: 10s}}}}
overrides: {{per_tenant_override_config: {}}}
",
            file.display()
        );
        let generator = Config::parse(&yaml).unwrap().generator().unwrap().config;
        assert!(generator.default.processors.is_empty());
        let of = generator.of(&model::TenantId::parse("team-a").unwrap());
        assert_eq!(of.span_metrics.dimensions, ["http.route"]);
        assert!(of.span_metrics.enable_target_info && !of.span_metrics.intrinsic_dimensions.span_kind);
        assert_eq!((of.limits.max_active_series, of.service_graphs.wait.as_secs(), of.slack.as_secs()), (7, 10, 600));
        let labels: Vec<_> = of.external_labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!((labels, of.tenant_label.as_str()), (vec!["cluster=eu".to_owned()], "tenant"));
    }

    #[test]
    fn buckets_and_names_are_as_tempos_keys_say() {
        let of = |keys: &str| {
            let yaml =
                format!("overrides: {{defaults: {{metrics_generator: {{processors: [span-metrics], {keys}}}}}}}");
            Config::parse(&yaml).unwrap().generator().unwrap().config.default
        };
        let default = of("");
        assert_eq!((default.histograms, default.name_folding), (Histograms::default(), NameFolding::Off));
        let native = |buckets| Histograms { classic: false, native: Some(buckets) };
        assert_eq!(of("generate_native_histograms: native").histograms, native(NativeBuckets::new(1.1, 100)));
        let keys = "generate_native_histograms: both, native_histogram_bucket_factor: 2, native_histogram_max_bucket_number: 7";
        let both = Histograms { classic: true, native: Some(NativeBuckets::new(2.0, 7)) };
        assert_eq!(of(keys).histograms, both);
        assert_eq!(of("span_name_sanitization: dry_run").name_folding, NameFolding::DryRun);
        assert_eq!(of("span_name_sanitization: enabled").name_folding, NameFolding::On);
        let yaml = "overrides: {defaults: {metrics_generator: {native_histogram_bucket_factor: 1}}}";
        let error = Config::parse(yaml).unwrap_err().to_string();
        assert!(error.contains("native_histogram_bucket_factor must be a number above 1"), "{error}");
    }

    #[test]
    fn what_cannot_be_generated_is_named() {
        let error = |yaml| Config::parse(yaml).unwrap_err().to_string();
        let unknown = error("overrides: {defaults: {metrics_generator: {processors: [span-metric]}}}");
        assert!(
            unknown.contains(r#""span-metric" is no processor of the metrics generator; there are span-metrics"#),
            "{unknown}"
        );
        let buckets = error("metrics_generator: {processor: {span_metrics: {histogram_buckets: [1, 0.5]}}}");
        assert!(buckets.contains("histogram buckets must be finite and ascending"), "{buckets}");
        let target = error("metrics_generator: {storage: {remote_write: [{url: prometheus/api/v1/write}]}}");
        assert!(target.contains("url \"prometheus/api/v1/write\": relative URL without a base"), "{target}");
        let twice =
            error("metrics_generator: {storage: {remote_write: [{url: http://a, name: x}, {url: http://b, name: x}]}}");
        assert!(twice.contains("two targets are named x"), "{twice}");
        let interval = error("metrics_generator: {registry: {collection_interval: 0s}}");
        assert!(
            interval.contains("metrics_generator.registry.collection_interval: must be longer than 0s"),
            "{interval}"
        );
    }
}
