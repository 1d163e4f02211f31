//! The sections of the file, as Tempo names them.

use std::fmt;
use std::str::FromStr;

use api::{ListenAddress, ListenHost};
use schemars::JsonSchema;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use storage::config::GoDuration;

use super::access::Cors;
use super::receivers::Receivers;
use super::tls::{ReceiverTls, ServerTls, TlsVersion};

/// `server`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where the HTTP API listens. Loopback unless told otherwise: without `authentication` whoever reaches it may ask.
    pub http_listen_address: ListenHost,
    /// Port of the HTTP API, which gRPC shares.
    pub http_listen_port: u16,
    /// The environment variable `RUST_LOG` goes before it.
    pub log_level: LogLevel,
    /// How a line of the log is written.
    pub log_format: LogFormat,
    /// Least version of TLS: VersionTLS12, the default, or VersionTLS13.
    pub tls_min_version: TlsVersion,
    /// Cipher suites of TLS 1.2, by their names in the standard, parted by commas. Empty: all that are safe.
    pub tls_cipher_suites: String,
    pub http_tls_config: ServerTls,
    /// As `http_tls_config`, if it is set at all: gRPC shares the port.
    pub grpc_tls_config: ServerTls,
    /// Pages of other origins that may ask the API.
    pub cors: Cors,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line with `key=value` fields.
    #[default]
    Logfmt,
    Json,
}

/// The least severe lines that are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", try_from = "String")]
#[schemars(!try_from)]
pub enum LogLevel {
    Error,
    /// Also `warning`.
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// A text that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no log level; write error, warn, info, debug or trace")]
pub struct LogLevelError(String);

impl FromStr for LogLevel {
    type Err = LogLevelError;

    fn from_str(text: &str) -> Result<Self, LogLevelError> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "error" => Self::Error,
            "warn" | "warning" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return Err(LogLevelError(text.to_owned())),
        })
    }
}

impl TryFrom<String> for LogLevel {
    type Error = LogLevelError;

    fn try_from(text: String) -> Result<Self, LogLevelError> {
        text.parse()
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            http_listen_address: ListenHost::loopback(),
            http_listen_port: 3200,
            log_level: LogLevel::default(),
            log_format: LogFormat::default(),
            tls_min_version: TlsVersion::default(),
            tls_cipher_suites: String::new(),
            http_tls_config: ServerTls::default(),
            grpc_tls_config: ServerTls::default(),
            cors: Cors::default(),
        }
    }
}

/// `distributor`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Distributor {
    pub receivers: Receivers,
    /// When an exporter that was refused for a limit should try again, unless the refusal says more; 0 tells it nothing,
    /// and exporters then drop.
    pub retry_after_on_resource_exhausted: GoDuration,
    /// Bytes of a key or a text of an attribute, of which longer ones are cut to. 0, no limit, where Tempo has 2,048: what was
    /// sent is kept, and to look for what is too long costs every request a walk.
    pub max_attribute_bytes: u64,
}

impl Default for Distributor {
    fn default() -> Self {
        let retry_after = api::Config::default().retry_after_seconds;
        Self {
            receivers: Receivers::default(),
            retry_after_on_resource_exhausted: GoDuration::from_secs(retry_after),
            max_attribute_bytes: 0,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    pub protocols: OtlpProtocols,
}

/// A protocol that is named listens, with or without settings; without this section both do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OtlpProtocols {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcReceiver>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpReceiver>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum OtlpProtocol {
    Grpc,
    Http,
}

/// Read as a map, in which a key counts that has no value: `grpc:` alone means that OTLP comes over gRPC.
impl<'de> Deserialize<'de> for OtlpProtocols {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OtlpProtocolsVisitor)
    }
}

struct OtlpProtocolsVisitor;

impl<'de> Visitor<'de> for OtlpProtocolsVisitor {
    type Value = OtlpProtocols;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("grpc and http")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<OtlpProtocols, A::Error> {
        let mut protocols = OtlpProtocols { grpc: None, http: None };
        while let Some(protocol) = entries.next_key()? {
            match protocol {
                OtlpProtocol::Grpc => protocols.grpc = Some(entries.next_value()?),
                OtlpProtocol::Http => protocols.http = Some(entries.next_value()?),
            }
        }
        Ok(protocols)
    }
}

impl Default for OtlpProtocols {
    fn default() -> Self {
        Self { grpc: Some(GrpcReceiver::default()), http: Some(HttpReceiver::default()) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcReceiver {
    /// Where OTLP over gRPC is received: `host:port`.
    pub endpoint: ListenAddress,
    /// Largest request, in MiB, after decompression (Tempo's default).
    pub max_recv_msg_size_mib: usize,
    pub tls: ReceiverTls,
}

impl Default for GrpcReceiver {
    fn default() -> Self {
        Self {
            endpoint: ListenAddress::new(ListenHost::loopback(), 4317),
            max_recv_msg_size_mib: 4,
            tls: ReceiverTls::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpReceiver {
    /// Where OTLP over HTTP is received: `host:port`.
    pub endpoint: ListenAddress,
    /// Largest body, in bytes, after decompression (Tempo's default).
    pub max_request_body_size: usize,
    pub tls: ReceiverTls,
    /// Pages of other origins that may send.
    pub cors: Cors,
}

impl Default for HttpReceiver {
    fn default() -> Self {
        Self {
            endpoint: ListenAddress::new(ListenHost::loopback(), 4318),
            max_request_body_size: 20 << 20,
            tls: ReceiverTls::default(),
            cors: Cors::default(),
        }
    }
}

/// `ingester`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IngesterSection {
    /// Age at which live spans become a block at the latest.
    pub max_block_duration: GoDuration,
    /// Bytes of memory that live spans hold before they become a block; four times as many are held while one is written.
    /// Not set: from the memory of the process.
    pub max_block_bytes: Option<usize>,
    /// Bytes of requests that may wait for the log. Not set: from the memory of the process.
    pub max_queued_bytes: Option<usize>,
}

impl Default for IngesterSection {
    fn default() -> Self {
        let defaults = ingester::Config::default();
        Self {
            max_block_duration: GoDuration::from_secs(defaults.max_block_duration.as_secs()),
            max_block_bytes: None,
            max_queued_bytes: None,
        }
    }
}

/// `compactor`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compactor {
    pub compaction: Compaction,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compaction {
    /// How long spans are kept after their end, or after they were written if that is later. 7 days.
    pub block_retention: GoDuration,
    /// Blocks whose newest spans ended in the same window are merged. 1 hour (Tempo's default).
    pub compaction_window: GoDuration,
    /// How often blocks to be merged are looked for. 5 seconds: to look costs nothing while there are none.
    pub compaction_cycle: GoDuration,
    /// Most traces of a merged block. 6 million (Tempo's default); the memory of a merge sets a lower limit.
    pub max_compaction_objects: u64,
    /// Most bytes of a merged block. 2 GiB: a block is rewritten as a whole, and larger ones make no query faster.
    pub max_block_bytes: u64,
    /// How long the files of a block stay that was merged, has expired, or was never finished. 1 hour (Tempo's default):
    /// longer than any query takes, and than any block may be under way.
    pub compacted_block_retention: GoDuration,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            block_retention: GoDuration::from_secs(7 * 24 * 3600),
            compaction_window: GoDuration::from_secs(3600),
            compaction_cycle: GoDuration::from_secs(5),
            max_compaction_objects: 6_000_000,
            max_block_bytes: 2 << 30,
            compacted_block_retention: GoDuration::from_secs(3600),
        }
    }
}

/// `querier`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuerierSection {
    pub search: QuerierSearch,
    /// Row groups that one query reads at the same time. Not set: as many as all queries together may.
    pub max_concurrent_reads: Option<usize>,
    /// Queries that scan and run at a time; the others wait in line. One alone keeps all cores busy for most of its time.
    pub max_concurrent_scans: usize,
    /// Compressed bytes of blocks that one query may read; more end it. Set it lower where reading costs money.
    pub max_bytes_per_query: u64,
    /// Bytes that one query may gather. Not set: from the memory of the process.
    pub max_memory_bytes_per_query: Option<u64>,
    /// Numbers that one metrics query may hold: series times intervals.
    pub max_metrics_samples: usize,
    /// Bytes of what blocks gave to metrics queries, kept for those that ask again; 0 keeps nothing. Not set: from the
    /// memory of the process.
    pub metrics_cache_max_bytes: Option<u64>,
    /// Bytes of a trace from which on only its first spans are given.
    pub max_bytes_per_trace: usize,
    /// Bytes of tag names or values in one answer; what goes beyond is left out.
    pub max_bytes_per_tag_answer: usize,
    /// Seconds from a known part of a trace within which its other parts are looked for.
    pub trace_reach_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuerierSearch {
    /// How long any query may take, not a search only.
    pub query_timeout: GoDuration,
}

impl Default for QuerierSection {
    fn default() -> Self {
        let defaults = querier::Config::default();
        Self {
            search: QuerierSearch::default(),
            max_concurrent_reads: None,
            max_concurrent_scans: defaults.max_concurrent_scans,
            max_bytes_per_query: defaults.max_bytes_per_query,
            max_memory_bytes_per_query: None,
            max_metrics_samples: defaults.max_metrics_samples,
            metrics_cache_max_bytes: None,
            max_bytes_per_trace: defaults.max_bytes_per_trace,
            max_bytes_per_tag_answer: defaults.max_bytes_per_tag_answer,
            trace_reach_seconds: defaults.trace_reach_seconds,
        }
    }
}

impl Default for QuerierSearch {
    fn default() -> Self {
        Self { query_timeout: GoDuration::from_secs(querier::Config::default().max_query_time.as_secs()) }
    }
}

/// `query_frontend`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueryFrontend {
    /// How far before now a search ends. 0: the newest spans are found at once.
    #[serde(deserialize_with = "none_before_zero")]
    pub query_end_cutoff: GoDuration,
    /// How long a query may take with all that is around it. 0, as in Tempo: `querier.search.query_timeout` is enough.
    pub api_timeout: GoDuration,
    /// Queries of one tenant in work at a time; more are refused. 0 for any number.
    pub max_outstanding_per_tenant: usize,
    /// Whether a query may be about several tenants at once: `X-Scope-OrgID: a|b`.
    pub multi_tenant_queries_enabled: bool,
    /// Longest TraceQL text, in bytes.
    pub max_query_expression_size_bytes: usize,
    pub search: FrontendSearch,
    pub metrics: FrontendMetrics,
    pub mcp_server: McpServer,
    pub trace_by_id: FrontendTraceById,
}

/// How soon, or how fast, questions of a kind are to be answered. It changes nothing but what
/// `tempo_query_frontend_queries_within_slo_total` counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Slo {
    /// Answers that take less are counted as within the objective; 0 for none.
    pub duration_slo: GoDuration,
    /// Answers that look at so many bytes a second are, too; 0 for none.
    #[serde(deserialize_with = "whole_number")]
    pub throughput_bytes_slo: u64,
}

impl Slo {
    pub fn objective(&self) -> querier::Objective {
        querier::Objective { duration: self.duration_slo.get(), bytes_per_second: self.throughput_bytes_slo }
    }
}

/// Reads a number of which Tempo has a fraction, too.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number >= 0.0 && number.is_finite() {
        return Ok(number as u64);
    }
    Err(serde::de::Error::custom(format!("{number} is no number of bytes")))
}

/// `deletion`: traces that are deleted before their time. Of mosso alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Deletion {
    /// Whether `/api/deletions` is there. With `authentication` a credential needs `admin` to delete; without it
    /// everybody who may read may delete.
    pub enabled: bool,
}

/// `query_frontend.trace_by_id`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FrontendTraceById {
    /// Traces by id that take less are counted as within the objective; 0 for none.
    pub duration_slo: GoDuration,
}

impl Default for QueryFrontend {
    fn default() -> Self {
        let defaults = api::QueryConfig::default();
        Self {
            query_end_cutoff: GoDuration::default(),
            api_timeout: GoDuration::default(),
            max_outstanding_per_tenant: defaults.max_outstanding_per_tenant,
            multi_tenant_queries_enabled: defaults.multi_tenant_queries_enabled,
            max_query_expression_size_bytes: defaults.max_query_bytes,
            search: FrontendSearch::default(),
            metrics: FrontendMetrics::default(),
            trace_by_id: FrontendTraceById::default(),
            mcp_server: McpServer::default(),
        }
    }
}

/// `query_frontend.mcp_server`: whether language models may ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct McpServer {
    /// Serve the Model Context Protocol at `/api/mcp`. What spans hold may then reach the provider of a model.
    pub enabled: bool,
}

/// `query_frontend.metrics`: what a client may ask of a metrics query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FrontendMetrics {
    /// Longest range of a metrics query; 0 for any.
    pub max_duration: GoDuration,
    /// Most series of an answer; the rest is cut off, and the answer says so. 0 for any number.
    pub max_response_series: usize,
    /// Answers that take less are counted as within the objective; 0 for none.
    pub duration_slo: GoDuration,
    /// Answers that look at so many bytes a second are, too; 0 for none.
    #[serde(deserialize_with = "whole_number")]
    pub throughput_bytes_slo: u64,
}

impl Default for FrontendMetrics {
    fn default() -> Self {
        let defaults = api::QueryConfig::default();
        Self {
            max_duration: GoDuration::from_secs(defaults.max_metrics_range_seconds),
            max_response_series: defaults.max_response_series,
            duration_slo: GoDuration::default(),
            throughput_bytes_slo: 0,
        }
    }
}

/// Reads a duration; one before zero, which moves the end of a query past now in Tempo, is none.
fn none_before_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GoDuration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let text = if text.starts_with('-') { "0" } else { &text };
    GoDuration::deserialize(serde::de::value::StrDeserializer::new(text))
}

/// `query_frontend.search`: what a client may ask of a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FrontendSearch {
    /// Traces in an answer when the client does not say.
    pub default_result_limit: usize,
    /// Most traces that a client may ask for; 0 for any number.
    pub max_result_limit: usize,
    /// Spans of a span set when the client does not say.
    pub default_spans_per_span_set: usize,
    /// Most spans of a span set that a client may ask for; 0 for any number.
    pub max_spans_per_span_set: usize,
    /// Longest range of a search and of tags; 0 for any.
    pub max_duration: GoDuration,
    /// Searches that take less are counted as within the objective; 0 for none.
    pub duration_slo: GoDuration,
    /// Searches that look at so many bytes a second are, too; 0 for none.
    #[serde(deserialize_with = "whole_number")]
    pub throughput_bytes_slo: u64,
    /// The same of names and values of tags.
    pub metadata_slo: Slo,
}

impl Default for FrontendSearch {
    fn default() -> Self {
        let defaults = api::QueryConfig::default();
        Self {
            default_result_limit: defaults.default_result_limit,
            max_result_limit: defaults.max_result_limit,
            default_spans_per_span_set: defaults.default_spans_per_span_set,
            max_spans_per_span_set: defaults.max_spans_per_span_set,
            max_duration: GoDuration::from_secs(defaults.max_search_range_seconds),
            duration_slo: GoDuration::default(),
            throughput_bytes_slo: 0,
            metadata_slo: Slo::default(),
        }
    }
}
