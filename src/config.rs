//! The configuration file: Tempo's keys where the meaning is the same, some of our own.
//!
//! ```text
//! sources.rs   file → environment.rs → tree (yaml.rs) → flags.rs → moved.rs → types (sections.rs and below) → checked
//! receivers.rs, kafka.rs   what else than OTLP is received
//! tempo_keys.rs   which keys Tempo has          not_applied.rs   why some change nothing
//! reference.rs    which keys are read here
//! ```
//!
//! A key without a value is left to its default. Unknown keys are errors that name the nearest known one. Tempo's keys that
//! do not apply here are read over with a warning. The file is parsed once, checked once (what `check-config` calls ok can
//! start), and turned into the settings of each crate.

mod sources;

mod environment;
pub mod flags;
mod moved;
mod yaml;

mod access;
mod cluster;
mod generator;
mod kafka;
mod memory;
mod overrides;
mod receivers;
mod sections;
mod tls;

pub mod not_applied;
pub mod reference;
pub mod tempo_keys;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use api::{ApiPrefix, ListenAddress};
use model::TenantId;
use model::limits::LimitTable;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use storage::config::GoDuration;
use storage::members::JOINING_TIME;
use storage::paths::DataDir;

use self::generator::LOCAL_BLOCKS;
use self::overrides::OfAll;
use self::receivers::Jaeger;
use self::tls::ServerTls;
use self::yaml::Parsed;

pub use access::Authentication;
pub use cluster::Cluster;
pub use generator::{GeneratorLimits, MetricsGenerator};
pub use memory::Memory;
pub use moved::our_name;
pub use overrides::{Generated, Overrides};
pub use receivers::Receivers;
pub use sections::{
    Compaction, Compactor, Deletion, Distributor, IngesterSection, LogFormat, LogLevel, QuerierSection, QueryFrontend,
    Server,
};
pub use sources::Sources;

/// Columns of live spans hold less than 2 GiB of text.
const MAX_BLOCK_BYTES: usize = 1 << 30;
/// A gRPC message states its length in 32 bits, and is held in memory as a whole.
const GRPC_MESSAGE_MIB: RangeInclusive<usize> = 1..=2048;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the log and, with the local backend, of the blocks. Used by one process at a time.
    pub data_dir: PathBuf,
    /// Which parts run: `all`, or one of several: `writer`, `querier`, `compactor`. Tempo's names are taken for the part
    /// that does the same.
    pub target: String,
    /// Whether `X-Scope-OrgID` names the tenant; off, everything belongs to `single-tenant`.
    pub multitenancy_enabled: bool,
    /// Put before `/api`, for a reverse proxy.
    pub http_api_prefix: ApiPrefix,
    pub server: Server,
    pub authentication: Authentication,
    pub distributor: Distributor,
    pub ingester: IngesterSection,
    pub compactor: Compactor,
    pub querier: QuerierSection,
    pub query_frontend: QueryFrontend,
    pub storage: storage::config::Config,
    pub overrides: Overrides,
    pub metrics_generator: MetricsGenerator,
    pub memory: Memory,
    pub cluster: Cluster,
    pub deletion: Deletion,

    /// Whether variables of the environment stand in files, too in the one with the limits of tenants.
    #[serde(skip)]
    expand_env: bool,
    /// Tempo's keys in the file that change nothing here.
    #[serde(skip)]
    not_applicable: Vec<String>,
    /// Tempo's keys in the file that have another name here, with that name.
    #[serde(skip)]
    moved: Vec<(String, String)>,
    /// What else the operator should know.
    #[serde(skip)]
    remarks: Vec<String>,
}

/// A key whose value cannot be used, and why.
struct Unusable {
    key: &'static str,
    reason: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            target: "all".to_owned(),
            multitenancy_enabled: false,
            http_api_prefix: ApiPrefix::default(),
            server: Server::default(),
            authentication: Authentication::default(),
            distributor: Distributor::default(),
            ingester: IngesterSection::default(),
            compactor: Compactor::default(),
            querier: QuerierSection::default(),
            query_frontend: QueryFrontend::default(),
            storage: storage::config::Config::default(),
            overrides: Overrides::default(),
            metrics_generator: MetricsGenerator::default(),
            memory: Memory::default(),
            cluster: Cluster::default(),
            deletion: Deletion::default(),
            expand_env: false,
            not_applicable: Vec::new(),
            moved: Vec::new(),
            remarks: Vec::new(),
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// One that names the file, the place in it, and the key or value that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        Sources::file(path).config()
    }

    /// Parses and checks YAML; an empty text is the default configuration.
    ///
    /// # Errors
    /// One that names the key or value that is wrong, with its line and column.
    pub fn parse(yaml: &str) -> Result<Self> {
        Sources::default().config_of(yaml)
    }

    fn checked(mut parsed: Parsed<Self>, missing_variables: Vec<String>) -> Result<Self, yaml::Error> {
        match parsed.value.check() {
            Ok(ignored_of_tenants) => {
                let config = &mut parsed.value;
                config.not_applicable = [parsed.ignored, ignored_of_tenants].concat();
                config.remarks = config.remarks(&missing_variables);
                Ok(parsed.value)
            }
            Err(Unusable { key, reason }) => Err(parsed.error_at(key, format!("{key}: {reason}"))),
        }
    }

    fn remarks(&self, missing_variables: &[String]) -> Vec<String> {
        let missing = missing_variables
            .iter()
            .map(|name| format!("the variable {name} is not set and has no default, so nothing stands in its place"));
        let target = (self.target != self.target().name())
            .then(|| format!("target {:?} is {:?} here", self.target, self.target().name()));
        let packets = (self.multitenancy_enabled && self.distributor.receivers.has_packets()).then(|| {
            "Jaeger's UDP packets cannot name a tenant: with multitenancy_enabled, all of them are dropped".to_owned()
        });
        let has_local_blocks =
            self.overrides.defaults.metrics_generator.processors.iter().any(|name| name == LOCAL_BLOCKS);
        let local_blocks = has_local_blocks
            .then(|| "the processor local-blocks is read over: metrics queries read live spans without it".to_owned());
        missing.chain(target).chain(packets).chain(local_blocks).collect()
    }

    /// Whether a process can be started with these values; gives the keys that the file with the limits of tenants has
    /// for nothing.
    fn check(&self) -> Result<Vec<String>, Unusable> {
        let ensure = |holds: bool, key, reason: String| if holds { Ok(()) } else { Err(Unusable { key, reason }) };
        let longer_than_nothing =
            |key, duration: Duration| ensure(!duration.is_zero(), key, "must be longer than 0s".into());

        self.check_cluster()?;
        let block_bytes = format!("must be between 1 and {MAX_BLOCK_BYTES}");
        let has_block_bytes = self.ingester.max_block_bytes.is_none_or(|bytes| (1..=MAX_BLOCK_BYTES).contains(&bytes));
        ensure(has_block_bytes, "ingester.max_block_bytes", block_bytes)?;
        self.memory.validate().map_err(|error| Unusable { key: "memory", reason: error.to_string() })?;
        let otlp = &self.distributor.receivers.otlp.protocols;
        let message_mib = format!("must be between {} and {}", GRPC_MESSAGE_MIB.start(), GRPC_MESSAGE_MIB.end());
        ensure(
            otlp.grpc.as_ref().is_none_or(|grpc| GRPC_MESSAGE_MIB.contains(&grpc.max_recv_msg_size_mib)),
            "distributor.receivers.otlp.protocols.grpc.max_recv_msg_size_mib",
            message_mib.clone(),
        )?;
        let jaeger = self.distributor.receivers.jaeger.as_ref();
        ensure(
            jaeger.is_none_or(Jaeger::names_a_protocol),
            "distributor.receivers.jaeger",
            "names no protocol; write grpc, thrift_http, thrift_compact or thrift_binary in `protocols`".into(),
        )?;
        if let Some((key, reason)) = jaeger.and_then(Jaeger::problem_of_packets) {
            return Err(Unusable { key, reason });
        }
        let jaeger_grpc = jaeger.and_then(|jaeger| jaeger.protocols.grpc.as_ref());
        ensure(
            jaeger_grpc.is_none_or(|grpc| GRPC_MESSAGE_MIB.contains(&grpc.max_recv_msg_size_mib)),
            "distributor.receivers.jaeger.protocols.grpc.max_recv_msg_size_mib",
            message_mib,
        )?;
        storage::objects::check(&self.storage.trace)
            .map_err(|error| Unusable { key: "storage.trace", reason: error.to_string() })?;

        let Compaction { compaction_window, compaction_cycle, .. } = &self.compactor.compaction;
        longer_than_nothing("compactor.compaction.block_retention", self.block_retention())?;
        longer_than_nothing("compactor.compaction.compaction_window", compaction_window.get())?;
        longer_than_nothing("compactor.compaction.compaction_cycle", compaction_cycle.get())?;
        let (query_timeout, poll) = (self.querier.search.query_timeout.get(), self.storage.trace.blocklist_poll.get());
        longer_than_nothing("storage.trace.blocklist_poll", poll)?;
        let least_grace = storage::garbage::least_grace(query_timeout, poll);
        ensure(
            self.garbage_grace() >= least_grace,
            "compactor.compaction.compacted_block_retention",
            format!(
                "must be at least {least_grace:?} with this querier.search.query_timeout and \
                 storage.trace.blocklist_poll: blocks are read and written for so long"
            ),
        )?;
        longer_than_nothing(
            "metrics_generator.registry.collection_interval",
            self.metrics_generator.registry.collection_interval.get(),
        )?;
        let generator = self.generator().and_then(|generated| {
            generated.remote_write.check()?;
            Ok(generated.config.check()?)
        });
        generator.map_err(|error| Unusable { key: "metrics_generator", reason: format!("{error:#}") })?;
        let api = self.secured_api()?;
        let files = api::ListenerFiles::load(&api);
        files.map_err(|error| Unusable { key: key_of(&error), reason: error.to_string() })?;
        let loaded = self.overrides.load(&self.of_all_tenants(), self.expand_env);
        loaded
            .map(|loaded| loaded.ignored)
            .map_err(|error| Unusable { key: "overrides.per_tenant_override_config", reason: format!("{error:#}") })
    }

    /// Tempo's keys in this file that change nothing here.
    pub fn not_applicable(&self) -> &[String] {
        &self.not_applicable
    }

    /// Tempo's keys in this file that have another name here, with that name.
    pub fn moved(&self) -> &[(String, String)] {
        &self.moved
    }

    /// One line for each key that changes nothing, and for what else the operator should know.
    pub fn warnings(&self) -> Vec<String> {
        let not_applied = self.not_applicable.iter();
        let not_applied =
            not_applied.map(|key| format!("{key} does not apply here and is ignored: {}", not_applied::reason(key)));
        not_applied.chain(self.remarks.iter().cloned()).collect()
    }

    /// The effective configuration as YAML.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// What differs from the defaults, as YAML.
    pub fn changes_to_yaml(&self) -> String {
        let values = |config: &Self| serde_json::to_value(config).unwrap_or_default();
        match changes(values(self), &values(&Self::default())) {
            Some(changes) => serde_saphyr::to_string(&changes).unwrap_or_else(|error| format!("# {error}\n")),
            None => String::new(),
        }
    }

    /// Settings of the edge.
    pub fn api(&self) -> api::Config {
        // what is wrong in them has been said when the file was read
        self.secured_api().unwrap_or_default()
    }

    fn secured_api(&self) -> Result<api::Config, Unusable> {
        let otlp = &self.distributor.receivers.otlp.protocols;
        let unusable = |key| move |reason| Unusable { key, reason };
        let mut api = self.open_api();
        let Server { tls_min_version, tls_cipher_suites, http_tls_config, grpc_tls_config, cors, .. } = &self.server;
        let shares_port = *grpc_tls_config == ServerTls::default() || grpc_tls_config == http_tls_config;
        if !shares_port {
            let reason =
                "gRPC shares the port of HTTP: write the same in http_tls_config, or leave this out".to_owned();
            return Err(Unusable { key: "server.grpc_tls_config", reason });
        }
        api.http_tls =
            http_tls_config.to_api(*tls_min_version, tls_cipher_suites).map_err(unusable("server.http_tls_config"))?;
        api.http_cors = cors.to_api();
        if let (Some(api), Some(grpc)) = (&mut api.otlp_grpc, &otlp.grpc) {
            api.tls = grpc.tls.to_api().map_err(unusable("distributor.receivers.otlp.protocols.grpc.tls"))?;
        }
        if let (Some(api), Some(http)) = (&mut api.otlp_http, &otlp.http) {
            api.tls = http.tls.to_api().map_err(unusable("distributor.receivers.otlp.protocols.http.tls"))?;
            api.cors = http.cors.to_api();
        }
        let unusable = |(key, reason)| Unusable { key, reason };
        if self.target().takes_spans() {
            let receivers = &self.distributor.receivers;
            api.jaeger = receivers.jaeger().map_err(unusable)?;
            api.zipkin = receivers.zipkin().map_err(unusable)?;
            api.kafka = receivers.kafka().map_err(unusable)?;
        }
        let unusable = |key| move |reason| Unusable { key, reason };
        api.authentication =
            self.authentication.to_api(self.multitenancy_enabled).map_err(unusable("authentication"))?;
        Ok(api)
    }

    /// Without what protects it.
    fn open_api(&self) -> api::Config {
        let otlp = &self.distributor.receivers.otlp.protocols;
        let takes_spans = self.target().takes_spans();
        let (search, metrics) = (&self.query_frontend.search, &self.query_frontend.metrics);
        let defaults = api::Config::default();
        api::Config {
            http_listen: ListenAddress::new(self.server.http_listen_address.clone(), self.server.http_listen_port),
            http_api_prefix: self.http_api_prefix.clone(),
            otlp_grpc: otlp.grpc.as_ref().filter(|_| takes_spans).map(|grpc| api::OtlpGrpcConfig {
                endpoint: grpc.endpoint.clone(),
                max_recv_msg_size_mib: grpc.max_recv_msg_size_mib,
                tls: None,
            }),
            otlp_http: otlp.http.as_ref().filter(|_| takes_spans).map(|http| api::OtlpHttpConfig {
                endpoint: http.endpoint.clone(),
                max_request_body_size: http.max_request_body_size,
                ..api::OtlpHttpConfig::default()
            }),
            multitenancy_enabled: self.multitenancy_enabled,
            retry_after_seconds: self.distributor.retry_after_on_resource_exhausted.as_secs(),
            drain_timeout_seconds: crate::app::DRAIN_TIMEOUT.as_secs(),
            query: api::QueryConfig {
                timeout_seconds: self.query_frontend.api_timeout.as_secs(),
                end_cutoff_seconds: self.query_frontend.query_end_cutoff.as_secs(),
                default_result_limit: search.default_result_limit,
                max_result_limit: search.max_result_limit,
                default_spans_per_span_set: search.default_spans_per_span_set,
                max_spans_per_span_set: search.max_spans_per_span_set,
                max_search_range_seconds: search.max_duration.as_secs(),
                max_metrics_range_seconds: metrics.max_duration.as_secs(),
                max_response_series: metrics.max_response_series,
                max_outstanding_per_tenant: self.query_frontend.max_outstanding_per_tenant,
                multi_tenant_queries_enabled: self.query_frontend.multi_tenant_queries_enabled,
                max_query_bytes: self.query_frontend.max_query_expression_size_bytes,
                mcp_enabled: self.query_frontend.mcp_server.enabled,
                ..defaults.query
            },
            ..defaults
        }
    }

    /// Settings of compaction.
    pub fn compaction(&self) -> storage::compaction::Config {
        let compaction = &self.compactor.compaction;
        storage::compaction::Config {
            cycle: compaction.compaction_cycle.get(),
            window: compaction.compaction_window.get(),
            max_traces: compaction.max_compaction_objects,
            max_block_bytes: compaction.max_block_bytes,
        }
    }

    /// The limits of all tenants; reads the file that has them.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub fn tenant_limits(&self) -> Result<LimitTable> {
        Ok(self.overrides.load(&self.of_all_tenants(), self.expand_env)?.table)
    }

    fn of_all_tenants(&self) -> OfAll {
        OfAll { block_retention: self.block_retention(), max_attribute_bytes: self.distributor.max_attribute_bytes }
    }

    fn block_retention(&self) -> Duration {
        self.compactor.compaction.block_retention.get()
    }

    /// Settings of the metrics generator; reads the file with the limits of tenants.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub fn generator(&self) -> Result<Generated> {
        let mut generated = self.overrides.generator(&self.metrics_generator, self.expand_env)?;
        generated.remote_write.has_tenant_header &= self.multitenancy_enabled;
        Ok(generated)
    }

    /// What the operator has set of the generator for a tenant, and whether it is for this tenant alone. Reads the file with
    /// the limits of tenants.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub fn generator_limits(&self, tenant: &TenantId) -> Result<(GeneratorLimits, bool)> {
        self.overrides.generator_limits(tenant, self.expand_env)
    }

    /// What is generated for a tenant with these limits.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn generator_of_tenant(
        &self,
        tenant: &TenantId,
        limits: &GeneratorLimits,
    ) -> Result<::generator::TenantConfig> {
        self.metrics_generator.of_tenant(tenant.as_str(), limits)
    }

    /// Where series wait until they are sent.
    pub fn generator_dir(&self) -> PathBuf {
        let path = &self.metrics_generator.storage.path;
        if path.as_os_str().is_empty() { self.data_dir.join("generator") } else { path.clone() }
    }

    /// How long files of blocks stay that no manifest names.
    pub fn garbage_grace(&self) -> Duration {
        self.compactor.compaction.compacted_block_retention.get()
    }

    /// Settings of the way out.
    pub fn querier(&self) -> querier::Config {
        let defaults = querier::Config::default();
        querier::Config {
            max_concurrent_reads: self.querier.max_concurrent_reads.unwrap_or(defaults.max_concurrent_reads),
            max_concurrent_scans: self.querier.max_concurrent_scans,
            max_query_time: self.querier.search.query_timeout.get(),
            max_bytes_per_query: self.querier.max_bytes_per_query,
            max_memory_bytes_per_query: self
                .querier
                .max_memory_bytes_per_query
                .unwrap_or(defaults.max_memory_bytes_per_query),
            max_metrics_samples: self.querier.max_metrics_samples,
            metrics_cache_max_bytes: self.querier.metrics_cache_max_bytes.unwrap_or(defaults.metrics_cache_max_bytes),
            max_bytes_per_trace: self.querier.max_bytes_per_trace,
            max_bytes_per_tag_answer: self.querier.max_bytes_per_tag_answer,
            trace_reach_seconds: self.querier.trace_reach_seconds,
            objectives: self.objectives(),
            ..defaults // what all queries together may: of `memory`
        }
    }

    /// Where the log and, with the local backend, blocks lie.
    pub fn folders(&self) -> DataDir {
        let dir = self.storage.trace.data_dir(&self.data_dir);
        if self.cluster.enabled { dir.with_shared_blocks() } else { dir }
    }

    fn objectives(&self) -> querier::Objectives {
        let QueryFrontend { search, metrics, trace_by_id, .. } = &self.query_frontend;
        let objective =
            |duration: &GoDuration, bytes_per_second| querier::Objective { duration: duration.get(), bytes_per_second };
        querier::Objectives {
            traces: objective(&trace_by_id.duration_slo, 0),
            search: objective(&search.duration_slo, search.throughput_bytes_slo),
            metadata: search.metadata_slo.objective(),
            metrics: objective(&metrics.duration_slo, metrics.throughput_bytes_slo),
        }
    }

    /// Settings of the way in.
    pub fn ingester(&self) -> ingester::Config {
        let defaults = ingester::Config::default();
        ingester::Config {
            max_block_bytes: self.ingester.max_block_bytes.unwrap_or(defaults.max_block_bytes),
            max_queued_bytes: self.ingester.max_queued_bytes.unwrap_or(defaults.max_queued_bytes),
            max_block_duration: self.ingester.max_block_duration.get(),
            joining_time: if self.cluster.enabled { JOINING_TIME } else { Duration::ZERO },
            ..defaults
        }
    }
}

/// The section that names the file which cannot be used.
fn key_of(error: &api::Error) -> &'static str {
    match error {
        api::Error::Tls { listener: api::Listener::Http, .. } => "server.http_tls_config",
        api::Error::Tls { listener: api::Listener::OtlpGrpc, .. } => "distributor.receivers.otlp.protocols.grpc.tls",
        api::Error::Tls { listener: api::Listener::OtlpHttp, .. } => "distributor.receivers.otlp.protocols.http.tls",
        api::Error::Tls { listener: api::Listener::JaegerGrpc, .. } => {
            "distributor.receivers.jaeger.protocols.grpc.tls"
        }
        api::Error::Tls { listener: api::Listener::JaegerThriftHttp, .. } => {
            "distributor.receivers.jaeger.protocols.thrift_http.tls"
        }
        api::Error::Tls { listener: api::Listener::Zipkin, .. } => "distributor.receivers.zipkin.tls",
        api::Error::Kafka(_) => "distributor.receivers.kafka",
        api::Error::Credentials(_) => "authentication",
        api::Error::Cors(_) | api::Error::Listen { .. } => "server",
    }
}

/// What of a value is not in the default. A section that lacks a key of the default counts as a whole: there the absence
/// of a key means something.
fn changes(value: Value, default: &Value) -> Option<Value> {
    match (value, default) {
        (Value::Object(section), Value::Object(defaults)) if defaults.keys().all(|key| section.contains_key(key)) => {
            let changed = section.into_iter().filter_map(|(key, value)| {
                let default = defaults.get(&key).unwrap_or(&Value::Null);
                Some((key, changes(value, default)?))
            });
            let changed: Map<String, Value> = changed.collect();
            (!changed.is_empty()).then_some(Value::Object(changed))
        }
        (value, default) => (value != *default).then_some(value),
    }
}

#[cfg(test)]
mod tests;
