//! The sections of the file, as Tempo names them.

use std::fmt;
use std::str::FromStr;

use api::{ListenAddress, ListenHost};
use model::NotApplicable;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use storage::config::GoDuration;

/// `server`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where the HTTP API listens. Loopback unless told otherwise: there is no authentication.
    pub http_listen_address: ListenHost,
    pub http_listen_port: u16,
    /// The environment variable `RUST_LOG` goes before it.
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    #[serde(skip_serializing)]
    pub grpc_listen_port: NotApplicable,
    #[serde(skip_serializing)]
    pub grpc_listen_address: NotApplicable,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line with `key=value` fields.
    #[default]
    Logfmt,
    Json,
}

/// The least severe lines that are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
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
            grpc_listen_port: NotApplicable::default(),
            grpc_listen_address: NotApplicable::default(),
        }
    }
}

/// `distributor`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distributor {
    pub receivers: Receivers,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Receivers {
    pub otlp: Otlp,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    pub protocols: OtlpProtocols,
}

/// A protocol that is named listens, with or without settings; without this section both do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcReceiver {
    pub endpoint: ListenAddress,
    /// Largest request, in MiB, after decompression (Tempo's default).
    pub max_recv_msg_size_mib: usize,
}

impl Default for GrpcReceiver {
    fn default() -> Self {
        Self { endpoint: ListenAddress::new(ListenHost::loopback(), 4317), max_recv_msg_size_mib: 4 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpReceiver {
    pub endpoint: ListenAddress,
    /// Largest body, in bytes, after decompression (Tempo's default).
    pub max_request_body_size: usize,
}

impl Default for HttpReceiver {
    fn default() -> Self {
        Self { endpoint: ListenAddress::new(ListenHost::loopback(), 4318), max_request_body_size: 20 << 20 }
    }
}

/// `ingester`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngesterSection {
    /// See [`ingester::Config::max_block_duration`].
    pub max_block_duration: GoDuration,
    /// See [`ingester::Config::max_block_bytes`]. Not set: from the memory of the process.
    pub max_block_bytes: Option<usize>,
    /// See [`ingester::Config::max_queued_bytes`]. Not set: from the memory of the process.
    pub max_queued_bytes: Option<usize>,
    #[serde(skip_serializing)]
    pub trace_idle_period: NotApplicable,
    #[serde(skip_serializing)]
    pub flush_check_period: NotApplicable,
    #[serde(skip_serializing)]
    pub complete_block_timeout: NotApplicable,
}

impl Default for IngesterSection {
    fn default() -> Self {
        let defaults = ingester::Config::default();
        Self {
            max_block_duration: GoDuration::from_secs(defaults.max_block_duration.as_secs()),
            max_block_bytes: None,
            max_queued_bytes: None,
            trace_idle_period: NotApplicable::default(),
            flush_check_period: NotApplicable::default(),
            complete_block_timeout: NotApplicable::default(),
        }
    }
}

/// `compactor`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compactor {
    pub compaction: Compaction,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// longer than any query takes, and than any block may be under way. See [`storage::garbage::least_grace`].
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerierSection {
    pub search: QuerierSearch,
    /// See [`querier::Config::max_concurrent_reads`]. Not set: as many as all queries together may.
    pub max_concurrent_reads: Option<usize>,
    /// See [`querier::Config::max_concurrent_scans`].
    pub max_concurrent_scans: usize,
    /// See [`querier::Config::max_bytes_per_query`].
    pub max_bytes_per_query: u64,
    /// See [`querier::Config::max_memory_bytes_per_query`]. Not set: from the memory of the process.
    pub max_memory_bytes_per_query: Option<u64>,
    /// See [`querier::Config::max_metrics_samples`].
    pub max_metrics_samples: usize,
    /// See [`querier::Config::metrics_cache_max_bytes`]. Not set: from the memory of the process.
    pub metrics_cache_max_bytes: Option<u64>,
    /// See [`querier::Config::max_bytes_per_trace`].
    pub max_bytes_per_trace: usize,
    /// See [`querier::Config::max_bytes_per_tag_answer`].
    pub max_bytes_per_tag_answer: usize,
    /// See [`querier::Config::trace_reach_seconds`].
    pub trace_reach_seconds: u64,
    #[serde(skip_serializing)]
    pub max_concurrent_queries: NotApplicable,
    #[serde(skip_serializing)]
    pub trace_by_id: NotApplicable,
    #[serde(skip_serializing)]
    pub frontend_worker: NotApplicable,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerierSearch {
    /// How long any query may take, not a search only. See [`querier::Config::max_query_time`].
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
            max_concurrent_queries: NotApplicable::default(),
            trace_by_id: NotApplicable::default(),
            frontend_worker: NotApplicable::default(),
        }
    }
}

impl Default for QuerierSearch {
    fn default() -> Self {
        Self { query_timeout: GoDuration::from_secs(querier::Config::default().max_query_time.as_secs()) }
    }
}

/// `query_frontend`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryFrontend {
    /// How far before now a search ends. 0: the newest spans are found at once.
    pub query_end_cutoff: GoDuration,
    /// How long a query may take with all that is around it. 0, as in Tempo: `querier.search.query_timeout` is enough.
    pub api_timeout: GoDuration,
    pub search: FrontendSearch,
    #[serde(skip_serializing)]
    pub trace_by_id: NotApplicable,
    #[serde(skip_serializing)]
    pub metrics: NotApplicable,
    #[serde(skip_serializing)]
    pub max_outstanding_per_tenant: NotApplicable,
    #[serde(skip_serializing)]
    pub max_retries: NotApplicable,
}

/// `query_frontend.search`: what a client may ask of a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrontendSearch {
    /// See [`api::QueryConfig::default_result_limit`].
    pub default_result_limit: usize,
    /// See [`api::QueryConfig::max_result_limit`].
    pub max_result_limit: usize,
    /// See [`api::QueryConfig::default_spans_per_span_set`].
    pub default_spans_per_span_set: usize,
    /// See [`api::QueryConfig::max_spans_per_span_set`].
    pub max_spans_per_span_set: usize,
    /// Longest range of a search and of tags; 0 for any.
    pub max_duration: GoDuration,
    #[serde(skip_serializing)]
    pub concurrent_jobs: NotApplicable,
    #[serde(skip_serializing)]
    pub target_bytes_per_job: NotApplicable,
    #[serde(skip_serializing)]
    pub query_backend_after: NotApplicable,
    #[serde(skip_serializing)]
    pub query_ingesters_until: NotApplicable,
    #[serde(skip_serializing)]
    pub duration_slo: NotApplicable,
    #[serde(skip_serializing)]
    pub throughput_bytes_slo: NotApplicable,
    #[serde(skip_serializing)]
    pub metadata_slo: NotApplicable,
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
            concurrent_jobs: NotApplicable::default(),
            target_bytes_per_job: NotApplicable::default(),
            query_backend_after: NotApplicable::default(),
            query_ingesters_until: NotApplicable::default(),
            duration_slo: NotApplicable::default(),
            throughput_bytes_slo: NotApplicable::default(),
            metadata_slo: NotApplicable::default(),
        }
    }
}
