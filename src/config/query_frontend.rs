//! `query_frontend`: what a client may ask.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use storage::config::GoDuration;

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

/// `query_frontend.trace_by_id`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FrontendTraceById {
    /// Traces by id that take less are counted as within the objective; 0 for none.
    pub duration_slo: GoDuration,
    /// Whether a client may ask for similar spans of a trace as one, with `span_pruning` (experimental in Tempo 3.1). Off, as
    /// in Tempo.
    pub span_pruning_enabled: bool,
    /// Whether it gets them so when it does not say.
    pub span_pruning_enabled_by_default: bool,
}

/// `query_frontend.mcp_server`: whether language models may ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct McpServer {
    /// Serve the Model Context Protocol at `/api/mcp`. What spans hold may then reach the provider of a model.
    pub enabled: bool,
}

/// Reads a duration; one before zero, which moves the end of a query past now in Tempo, is none.
fn none_before_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GoDuration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let text = if text.starts_with('-') { "0" } else { &text };
    GoDuration::deserialize(serde::de::value::StrDeserializer::new(text))
}

/// Reads a number of which Tempo has a fraction, too.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number >= 0.0 && number.is_finite() {
        return Ok(number as u64);
    }
    Err(serde::de::Error::custom(format!("{number} is no number of bytes")))
}
