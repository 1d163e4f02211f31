//! Tempo's messages (`tempopb`), by hand. Each answer becomes one of these, and is then written as protobuf or JSON.
//!
//! Messages that clients read without looking whether they are there (`trace`, `metrics`) are `required`: always written.
//! No field may be added to JSON that Tempo 3.0 lacks: Grafana refuses unknown keys in search answers and instant metrics.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Trace {
    #[prost(message, repeated, tag = "1")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TraceByIdResponse {
    #[prost(message, required, tag = "1")]
    pub(super) trace: Trace,
    #[prost(message, required, tag = "2")]
    pub(super) metrics: TraceByIdMetrics,
    #[prost(enumeration = "PartialStatus", tag = "3")]
    pub(super) status: i32,
    #[prost(string, tag = "4")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TraceByIdMetrics {
    #[prost(uint64, tag = "1")]
    pub(super) inspected_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum PartialStatus {
    Complete = 0,
    Partial = 1,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SearchResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) traces: Vec<TraceSearchMetadata>,
    #[prost(message, required, tag = "2")]
    pub(super) metrics: SearchMetrics,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TraceSearchMetadata {
    #[prost(string, tag = "1")]
    pub(super) trace_id: String,
    #[prost(string, tag = "2")]
    pub(super) root_service_name: String,
    #[prost(string, tag = "3")]
    pub(super) root_trace_name: String,
    #[prost(uint64, tag = "4")]
    pub(super) start_time_unix_nano: u64,
    #[prost(uint32, tag = "5")]
    pub(super) duration_ms: u32,
    /// The first of `span_sets`, for the trace table of Grafana.
    #[prost(message, optional, tag = "6")]
    pub(super) span_set: Option<SpanSet>,
    #[prost(message, repeated, tag = "7")]
    pub(super) span_sets: Vec<SpanSet>,
    #[prost(btree_map = "string, message", tag = "8")]
    pub(super) service_stats: BTreeMap<String, ServiceStats>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ServiceStats {
    #[prost(uint32, tag = "1")]
    pub(super) span_count: u32,
    #[prost(uint32, tag = "2")]
    pub(super) error_count: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SpanSet {
    #[prost(message, repeated, tag = "1")]
    pub(super) spans: Vec<Span>,
    #[prost(uint32, tag = "2")]
    pub(super) matched: u32,
    #[prost(message, repeated, tag = "3")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Span {
    #[prost(string, tag = "1")]
    pub(super) span_id: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(uint64, tag = "3")]
    pub(super) start_time_unix_nano: u64,
    #[prost(uint64, tag = "4")]
    pub(super) duration_nanos: u64,
    #[prost(message, repeated, tag = "5")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SearchMetrics {
    #[prost(uint32, tag = "1")]
    pub(super) inspected_traces: u32,
    #[prost(uint64, tag = "2")]
    pub(super) inspected_bytes: u64,
    #[prost(uint32, tag = "3")]
    pub(super) total_blocks: u32,
    #[prost(uint32, tag = "4")]
    pub(super) completed_jobs: u32,
    #[prost(uint32, tag = "5")]
    pub(super) total_jobs: u32,
    #[prost(uint64, tag = "6")]
    pub(super) total_block_bytes: u64,
    #[prost(uint64, tag = "7")]
    pub(super) inspected_spans: u64,
    /// This and the next are Tempo 3.1's. They are in protobuf only, where they are passed over by who does not know them:
    /// Grafana refuses unknown keys in JSON.
    #[prost(uint64, tag = "8")]
    pub(super) backend_reads: u64,
    #[prost(uint64, tag = "9")]
    pub(super) backend_bytes: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct QueryRangeResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) series: Vec<TimeSeries>,
    #[prost(message, required, tag = "2")]
    pub(super) metrics: SearchMetrics,
    #[prost(enumeration = "PartialStatus", tag = "3")]
    pub(super) status: i32,
    #[prost(string, tag = "4")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<KeyValue>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    pub(super) exemplars: Vec<Exemplar>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Sample {
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    #[prost(int64, tag = "2")]
    pub(super) timestamp_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<KeyValue>,
    #[prost(double, tag = "2")]
    pub(super) value: f64,
    #[prost(int64, tag = "3")]
    pub(super) timestamp_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct QueryInstantResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) series: Vec<InstantSeries>,
    #[prost(message, required, tag = "2")]
    pub(super) metrics: SearchMetrics,
    #[prost(enumeration = "PartialStatus", tag = "3")]
    pub(super) status: i32,
    #[prost(string, tag = "4")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InstantSeries {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<KeyValue>,
    #[prost(double, tag = "2")]
    pub(super) value: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SearchTagsResponse {
    #[prost(string, repeated, tag = "1")]
    pub(super) tag_names: Vec<String>,
    #[prost(message, required, tag = "2")]
    pub(super) metrics: MetadataMetrics,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SearchTagsV2Response {
    #[prost(message, repeated, tag = "1")]
    pub(super) scopes: Vec<SearchTagsV2Scope>,
    #[prost(message, required, tag = "2")]
    pub(super) metrics: MetadataMetrics,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SearchTagsV2Scope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) tags: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SearchTagValuesResponse {
    #[prost(string, repeated, tag = "1")]
    pub(super) tag_values: Vec<String>,
    #[prost(message, required, tag = "2")]
    pub(super) metrics: MetadataMetrics,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SearchTagValuesV2Response {
    #[prost(message, repeated, tag = "1")]
    pub(super) tag_values: Vec<TagValue>,
    #[prost(message, required, tag = "2")]
    pub(super) metrics: MetadataMetrics,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TagValue {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MetadataMetrics {
    #[prost(uint64, tag = "1")]
    pub(super) inspected_bytes: u64,
    #[prost(uint32, tag = "2")]
    pub(super) total_jobs: u32,
    #[prost(uint32, tag = "3")]
    pub(super) completed_jobs: u32,
    #[prost(uint32, tag = "4")]
    pub(super) total_blocks: u32,
    #[prost(uint64, tag = "5")]
    pub(super) total_block_bytes: u64,
}

#[cfg(test)]
mod tests;
