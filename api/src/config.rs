//! What can be set at the edge: addresses, limits, timeouts.

mod listen;
mod prefix;

use std::time::Duration;

use model::limits::Limits;
use serde::{Deserialize, Serialize};

use crate::{AuthConfig, CorsConfig, KafkaConfig, Listener, TlsConfig};

pub use listen::{ListenAddress, ListenError, ListenHost};
pub use prefix::{ApiPrefix, PrefixError};

/// Settings of the servers and their handlers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the query API, `/metrics` and `/status`. All interfaces and port 3200, as Tempo.
    pub http_listen: ListenAddress,
    /// Prefix of the query routes, such as `/tempo`; probes stay at the root. Empty, as Tempo.
    pub http_api_prefix: ApiPrefix,
    /// OTLP over gRPC; `null` closes the port.
    pub otlp_grpc: Option<OtlpGrpcConfig>,
    /// OTLP over HTTP; `null` closes the port.
    pub otlp_http: Option<OtlpHttpConfig>,
    /// Jaeger; closed unless asked for.
    pub jaeger: JaegerConfig,
    /// Zipkin; closed unless asked for.
    pub zipkin: Option<ZipkinConfig>,
    /// A topic of Kafka that is read; none unless asked for.
    #[serde(skip)]
    pub kafka: Option<KafkaConfig>,
    /// Whether `X-Scope-OrgID` names the tenant. Off: there is one tenant, and the header is ignored.
    pub multitenancy_enabled: bool,
    /// When an exporter that was refused for a limit should try again, in seconds, unless the refusal says more; 0 tells
    /// it nothing, and exporters then drop. Tempo's 5.
    pub retry_after_seconds: u64,
    /// Connections open at a time on each port; more wait to be accepted.
    pub max_connections: usize,
    /// OTLP requests in work at a time; more wait. It bounds memory: each may hold an unpacked body.
    pub max_concurrent_pushes: usize,
    /// Bytes of all OTLP bodies that have arrived, whole or in part, and are not stored yet; more are refused for now.
    pub max_bytes_of_bodies: usize,
    /// How long a new connection may wait with its first request, in seconds.
    pub first_request_timeout_seconds: u64,
    /// How long a connection may wait for the next head of a request, in seconds; idle clients of HTTP/1 are closed after
    /// it too.
    pub header_read_timeout_seconds: u64,
    /// How long a connection may be without a request, in seconds, before its client is told to open another when it needs
    /// one.
    pub idle_timeout_seconds: u64,
    /// How long the body of a request may take to arrive, in seconds; over gRPC, to be stored as well. Tempo's 30.
    pub body_read_timeout_seconds: u64,
    /// Over so many seconds the body of an OTLP request must bring 1 KiB a second on average.
    pub body_stall_timeout_seconds: u64,
    /// How long a stop waits for requests in flight, in seconds, before it closes their connections. 3: a stop as a whole
    /// stays below 5 seconds.
    pub drain_timeout_seconds: u64,
    /// The query API.
    pub query: QueryConfig,
    /// TLS of the query API.
    #[serde(skip)]
    pub http_tls: Option<TlsConfig>,
    /// Pages of other origins that may ask the query API.
    #[serde(skip)]
    pub http_cors: CorsConfig,
    /// Who may ask, and send.
    #[serde(skip)]
    pub authentication: AuthConfig,
}

/// OTLP over gRPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpGrpcConfig {
    pub endpoint: ListenAddress,
    /// Largest message in MiB, compressed or not. 4, as in Tempo.
    pub max_recv_msg_size_mib: usize,
    #[serde(skip)]
    pub tls: Option<TlsConfig>,
}

/// OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpHttpConfig {
    pub endpoint: ListenAddress,
    /// Largest body in bytes, before and after decompression. 20 MiB, as in Tempo.
    pub max_request_body_size: usize,
    #[serde(skip)]
    pub tls: Option<TlsConfig>,
    /// Pages of other origins that may send.
    #[serde(skip)]
    pub cors: CorsConfig,
}

/// Jaeger. What is `None` is closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerConfig {
    /// `PostSpans` over gRPC.
    pub grpc: Option<OtlpGrpcConfig>,
    /// Thrift over HTTP.
    pub thrift_http: Option<OtlpHttpConfig>,
    /// Packets in thrift's compact encoding.
    pub thrift_compact: Option<UdpConfig>,
    /// Packets in thrift's binary encoding.
    pub thrift_binary: Option<UdpConfig>,
}

/// Packets over UDP. Limits are the collector's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UdpConfig {
    pub endpoint: ListenAddress,
    /// Packets that wait to be stored; more are dropped and counted.
    pub queue_size: usize,
    /// Largest packet in bytes; larger ones are dropped and counted.
    pub max_packet_size: usize,
    /// Packets that are being stored at a time.
    pub workers: usize,
    /// Bytes that the system keeps until they are read here; 0 for its own default.
    pub socket_buffer_size: usize,
}

/// Zipkin over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZipkinConfig {
    pub endpoint: ListenAddress,
    /// Largest body in bytes, before and after decompression.
    pub max_request_body_size: usize,
    /// Whether tags that look like numbers and booleans are such.
    pub parse_string_tags: bool,
    #[serde(skip)]
    pub tls: Option<TlsConfig>,
}

/// Limits of the query API. Defaults are Tempo's unless a field says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryConfig {
    /// Queries in work at a time; more are refused with 429.
    pub max_concurrent: usize,
    /// How long a query may take, in seconds; 0 for as long as it likes, as Tempo. The querier has a limit of its own,
    /// which says what to do.
    pub timeout_seconds: u64,
    /// How many seconds before now a search ends at the latest. 0, where Tempo has 30: live spans are searchable at once.
    pub end_cutoff_seconds: u64,
    /// Traces in an answer when the client does not say.
    pub default_result_limit: usize,
    /// Most traces that a client may ask for; 0 for any number.
    pub max_result_limit: usize,
    /// Spans of a span set when the client does not say.
    pub default_spans_per_span_set: usize,
    /// Most spans of a span set that a client may ask for; 0 for any number.
    pub max_spans_per_span_set: usize,
    /// Longest time range of a search and of tags, in seconds; 0 for any. One week.
    pub max_search_range_seconds: u64,
    /// Longest time range of a metrics query, in seconds; 0 for any. One day.
    pub max_metrics_range_seconds: u64,
    /// Most series of a metrics answer; the rest is cut off with a word. 0 for any number.
    pub max_response_series: usize,
    /// Queries of one tenant in work at a time; more are refused with 429. 0 for any number.
    pub max_outstanding_per_tenant: usize,
    /// Whether a query may be about several tenants (`X-Scope-OrgID: a|b`).
    pub multi_tenant_queries_enabled: bool,
    /// Longest TraceQL text, in bytes.
    pub max_query_bytes: usize,
    /// Whether a client may ask for similar spans of a trace as one (`span_pruning`).
    pub span_pruning_enabled: bool,
    /// Whether it gets them so when it does not say.
    pub span_pruning_by_default: bool,
    /// Whether ids of found traces have all of their 32 digits.
    pub left_pad_trace_ids: bool,
    /// Whether language models may ask, at `/api/mcp`. Off, as in Tempo: who asks may hand what spans hold to others.
    pub mcp_enabled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http_listen: all_interfaces(3200),
            http_api_prefix: ApiPrefix::default(),
            otlp_grpc: Some(OtlpGrpcConfig::default()),
            otlp_http: Some(OtlpHttpConfig::default()),
            jaeger: JaegerConfig::default(),
            zipkin: None,
            kafka: None,
            multitenancy_enabled: false,
            retry_after_seconds: 5,
            max_connections: 4096,
            max_concurrent_pushes: 128,
            max_bytes_of_bodies: 256 << 20,
            first_request_timeout_seconds: 30,
            header_read_timeout_seconds: 120,
            idle_timeout_seconds: 600,
            body_read_timeout_seconds: 30,
            body_stall_timeout_seconds: 5,
            drain_timeout_seconds: 3,
            query: QueryConfig::default(),
            http_tls: None,
            http_cors: CorsConfig::default(),
            authentication: AuthConfig::default(),
        }
    }
}

fn all_interfaces(port: u16) -> ListenAddress {
    ListenAddress::new(ListenHost::all_interfaces(), port)
}

impl Default for OtlpGrpcConfig {
    fn default() -> Self {
        Self { endpoint: all_interfaces(4317), max_recv_msg_size_mib: 4, tls: None }
    }
}

impl Default for OtlpHttpConfig {
    fn default() -> Self {
        Self { endpoint: all_interfaces(4318), max_request_body_size: 20 << 20, tls: None, cors: CorsConfig::default() }
    }
}

impl UdpConfig {
    /// With the collector's limits.
    pub fn at(endpoint: ListenAddress) -> Self {
        Self { endpoint, queue_size: 1_000, max_packet_size: 65_000, workers: 10, socket_buffer_size: 0 }
    }
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            max_concurrent: 256,
            timeout_seconds: 0,
            end_cutoff_seconds: 0,
            default_result_limit: 20,
            max_result_limit: 262_144,
            default_spans_per_span_set: 3,
            max_spans_per_span_set: 100,
            max_search_range_seconds: 168 * 3600,
            max_metrics_range_seconds: 24 * 3600,
            max_response_series: 0,
            max_outstanding_per_tenant: 2_000,
            multi_tenant_queries_enabled: true,
            max_query_bytes: traceql::MAX_QUERY_BYTES,
            span_pruning_enabled: false,
            span_pruning_by_default: false,
            left_pad_trace_ids: false,
            mcp_enabled: false,
        }
    }
}

impl Config {
    /// What a refused exporter is told when the refusal itself does not know.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        (self.retry_after_seconds > 0).then(|| Duration::from_secs(self.retry_after_seconds))
    }

    pub(crate) fn body_read_timeout(&self) -> Duration {
        Duration::from_secs(self.body_read_timeout_seconds)
    }
}

impl Config {
    /// At least a second: a rate over no time is none.
    pub(crate) fn body_stall_timeout(&self) -> Duration {
        Duration::from_secs(self.body_stall_timeout_seconds.max(1))
    }

    pub(crate) fn first_request_timeout(&self) -> Duration {
        Duration::from_secs(self.first_request_timeout_seconds)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_seconds)
    }

    /// The TLS of a listener, if it has one.
    pub fn tls(&self, listener: Listener) -> Option<&TlsConfig> {
        match listener {
            Listener::Http => self.http_tls.as_ref(),
            Listener::OtlpGrpc => self.otlp_grpc.as_ref()?.tls.as_ref(),
            Listener::OtlpHttp => self.otlp_http.as_ref()?.tls.as_ref(),
            Listener::JaegerGrpc => self.jaeger.grpc.as_ref()?.tls.as_ref(),
            Listener::JaegerThriftHttp => self.jaeger.thrift_http.as_ref()?.tls.as_ref(),
            Listener::Zipkin => self.zipkin.as_ref()?.tls.as_ref(),
        }
    }
}

impl QueryConfig {
    /// As it is for a tenant.
    pub(crate) fn within(&self, limits: &Limits) -> Self {
        let seconds = |own: Duration, of_all| if own.is_zero() { of_all } else { own.as_secs().max(1) };
        Self {
            max_search_range_seconds: seconds(limits.max_search_range, self.max_search_range_seconds),
            max_metrics_range_seconds: seconds(limits.max_metrics_range, self.max_metrics_range_seconds),
            left_pad_trace_ids: limits.left_pad_trace_ids,
            span_pruning_by_default: limits.span_pruning_by_default.unwrap_or(self.span_pruning_by_default),
            ..self.clone()
        }
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        (self.timeout_seconds > 0).then(|| Duration::from_secs(self.timeout_seconds))
    }
}
