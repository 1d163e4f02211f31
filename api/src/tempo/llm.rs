//! Answers in the form for language models (`Accept: application/vnd.grafana.llm`): a trace by id (v2) and values of tags
//! (v2), with few words and attributes as plain maps. All other answers are JSON as ever.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde::Serialize;
use serde_json::{Map, Value};

use super::plain::{self, hex};
use super::proto::{MetadataMetrics, PartialStatus, SearchTagValuesV2Response, TraceByIdResponse};

/// What clients ask for.
pub(super) const MEDIA_TYPE: &str = "application/vnd.grafana.llm";
/// What they are told that they got.
pub(super) const CONTENT_TYPE: &str = "application/vnd.grafana.llm+json";

/// An answer that has this form.
pub(super) trait ToLlm {
    fn llm(&self) -> String;
}

impl ToLlm for TraceByIdResponse {
    fn llm(&self) -> String {
        let resource_spans = &self.trace.resource_spans;
        let spans = resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans);
        let Some(first) = spans.take(1).next() else { return "{}".to_owned() };
        let inspected_bytes = self.metrics.inspected_bytes;
        text(&TraceAnswer {
            trace: Trace { trace_id: hex(&first.trace_id), services: resource_spans.iter().map(Service::of).collect() },
            metrics: (inspected_bytes > 0).then(|| Metrics { inspected_bytes, ..Metrics::default() }),
            status: if self.status == PartialStatus::Partial as i32 { "PARTIAL" } else { "COMPLETE" },
            message: &self.message,
        })
    }
}

impl ToLlm for SearchTagValuesV2Response {
    fn llm(&self) -> String {
        let mut tag_values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for value in &self.tag_values {
            tag_values.entry(&value.kind).or_default().push(&value.value);
        }
        let metrics = Some(Metrics::of(&self.metrics)).filter(|metrics| *metrics != Metrics::default());
        text(&ValuesAnswer { tag_values, metrics })
    }
}

/// Plain data has a JSON form.
fn text(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("maps have texts as keys, and numbers are finite")
}

#[derive(Serialize)]
struct TraceAnswer<'a> {
    trace: Trace<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Metrics>,
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace<'a> {
    trace_id: String,
    services: Vec<Service<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Service<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    service_name: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    resource: Map<String, Value>,
    scopes: Vec<Scope<'a>>,
}

#[derive(Serialize)]
struct Scope<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    spans: Vec<PlainSpan<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlainSpan<'a> {
    span_id: String,
    name: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    parent_span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time_unix_nano: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time_unix_nano: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    attributes: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<PlainEvent<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<PlainLink>,
    status: PlainStatus<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlainEvent<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_unix_nano: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    attributes: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlainLink {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    attributes: Map<String, Value>,
}

#[derive(Serialize)]
struct PlainStatus<'a> {
    code: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ValuesAnswer<'a> {
    tag_values: BTreeMap<&'a str, Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Metrics>,
}

/// As numbers, where other answers have texts.
#[derive(Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    #[serde(skip_serializing_if = "is_zero")]
    inspected_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    total_jobs: u64,
    #[serde(skip_serializing_if = "is_zero")]
    completed_jobs: u64,
    #[serde(skip_serializing_if = "is_zero")]
    total_blocks: u64,
    #[serde(skip_serializing_if = "is_zero")]
    total_block_bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Metrics {
    fn of(metrics: &MetadataMetrics) -> Self {
        Self {
            inspected_bytes: metrics.inspected_bytes,
            total_jobs: metrics.total_jobs.into(),
            completed_jobs: metrics.completed_jobs.into(),
            total_blocks: metrics.total_blocks.into(),
            total_block_bytes: metrics.total_block_bytes,
        }
    }
}

impl<'a> Service<'a> {
    /// The name stands apart from the other attributes.
    fn of(resource_spans: &'a ResourceSpans) -> Self {
        let mut resource = resource_spans.resource.as_ref().map(|it| attributes(&it.attributes)).unwrap_or_default();
        let service_name = match resource.remove("service.name") {
            Some(Value::String(name)) => name,
            _ => String::new(),
        };
        Self { service_name, resource, scopes: resource_spans.scope_spans.iter().map(Scope::of).collect() }
    }
}

impl<'a> Scope<'a> {
    fn of(scope_spans: &'a ScopeSpans) -> Self {
        let scope = scope_spans.scope.as_ref();
        Self {
            name: scope.map_or("", |scope| &scope.name),
            version: scope.map_or("", |scope| &scope.version),
            spans: scope_spans.spans.iter().map(PlainSpan::of).collect(),
        }
    }
}

impl<'a> PlainSpan<'a> {
    fn of(span: &'a Span) -> Self {
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        let has_kind = span.kind != 0;
        Self {
            span_id: hex(&span.span_id),
            name: &span.name,
            parent_span_id: hex(&span.parent_span_id),
            kind: has_kind.then(|| span.kind().as_str_name()),
            start_time_unix_nano: time(start),
            end_time_unix_nano: time(end),
            duration_ms: (start > 0 && end > start).then(|| (end - start) as f64 / 1e6),
            attributes: attributes(&span.attributes),
            events: span.events.iter().map(PlainEvent::of).collect(),
            links: span.links.iter().map(PlainLink::of).collect(),
            status: PlainStatus::of(span.status.as_ref()),
        }
    }
}

impl<'a> PlainEvent<'a> {
    fn of(event: &'a Event) -> Self {
        let time_unix_nano = time(event.time_unix_nano);
        Self { name: &event.name, time_unix_nano, attributes: attributes(&event.attributes) }
    }
}

impl PlainLink {
    fn of(link: &Link) -> Self {
        Self { trace_id: hex(&link.trace_id), span_id: hex(&link.span_id), attributes: attributes(&link.attributes) }
    }
}

impl<'a> PlainStatus<'a> {
    /// An unset status has no message.
    fn of(status: Option<&'a Status>) -> Self {
        match status.filter(|status| status.code != 0) {
            Some(status) => Self { code: status.code().as_str_name(), message: &status.message },
            None => Self { code: "STATUS_CODE_UNSET", message: "" },
        }
    }
}

fn time(nanos: u64) -> Option<String> {
    (nanos > 0).then(|| nanos.to_string())
}

fn attributes(attributes: &[KeyValue]) -> Map<String, Value> {
    plain::map(attributes, hex)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use serde_json::json;

    use super::*;
    use crate::tempo::proto;

    fn attribute(key: &str, value: Any) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
    }

    #[test]
    fn a_trace_is_told_by_service_with_plain_attributes() {
        let name = attribute("service.name", Any::StringValue("shop".to_owned()));
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: "GET".to_owned(),
            kind: 3,
            start_time_unix_nano: 1_000_000,
            end_time_unix_nano: 2_500_000,
            attributes: vec![attribute("raw", Any::BytesValue(vec![171])), attribute("n", Any::IntValue(5))],
            status: Some(Status { code: 2, message: "no".to_owned() }),
            ..Default::default()
        };
        let scope = InstrumentationScope { name: "lib".to_owned(), ..Default::default() };
        let response = TraceByIdResponse {
            trace: proto::Trace {
                resource_spans: vec![ResourceSpans {
                    resource: Some(Resource { attributes: vec![name], ..Default::default() }),
                    scope_spans: vec![ScopeSpans { scope: Some(scope), spans: vec![span], ..Default::default() }],
                    ..Default::default()
                }],
            },
            status: PartialStatus::Partial as i32,
            message: "less".to_owned(),
            ..Default::default()
        };
        let expected = json!({
            "trace": {
                "traceId": "01".repeat(16),
                "services": [{
                    "serviceName": "shop",
                    "scopes": [{"name": "lib", "spans": [{
                        "spanId": "02".repeat(8),
                        "name": "GET",
                        "kind": "SPAN_KIND_CLIENT",
                        "startTimeUnixNano": "1000000",
                        "endTimeUnixNano": "2500000",
                        "durationMs": 1.5,
                        "attributes": {"raw": "ab", "n": 5},
                        "status": {"code": "STATUS_CODE_ERROR", "message": "no"},
                    }]}],
                }],
            },
            "status": "PARTIAL",
            "message": "less",
        });
        assert_eq!(serde_json::from_str::<Value>(&response.llm()).unwrap(), expected);
        assert_eq!(TraceByIdResponse::default().llm(), "{}");
    }

    #[test]
    fn values_are_told_by_type() {
        let value = |kind: &str, value: &str| proto::TagValue { kind: kind.to_owned(), value: value.to_owned() };
        let tag_values = vec![value("string", "b"), value("int", "1"), value("string", "a")];
        let response = SearchTagValuesV2Response { tag_values, ..Default::default() };
        let expected = json!({"tagValues": {"string": ["b", "a"], "int": ["1"]}});
        assert_eq!(serde_json::from_str::<Value>(&response.llm()).unwrap(), expected);
    }
}
