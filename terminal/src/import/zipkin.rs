//! Spans in Zipkin's JSON, version 2: a list of spans, or of traces that are lists of spans.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde::Deserialize;
use serde_json::Value;

use crate::otlp::json::from_hex;

/// Spans of one part.
const SPANS_PER_PART: usize = 2_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ZipkinSpan {
    trace_id: String,
    id: String,
    #[serde(default)]
    parent_id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    /// Microseconds.
    #[serde(default)]
    timestamp: Option<u64>,
    #[serde(default)]
    duration: Option<u64>,
    #[serde(default)]
    local_endpoint: Option<Endpoint>,
    #[serde(default)]
    remote_endpoint: Option<Endpoint>,
    #[serde(default)]
    annotations: Vec<Annotation>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(default)]
    service_name: Option<String>,
    #[serde(default)]
    ipv4: Option<String>,
    #[serde(default)]
    ipv6: Option<String>,
    #[serde(default)]
    port: Option<i64>,
}

#[derive(Deserialize)]
struct Annotation {
    timestamp: u64,
    value: String,
}

pub(super) fn parts(value: &Value) -> Result<Vec<Vec<ResourceSpans>>, String> {
    let unreadable = |error: serde_json::Error| format!("it is not Zipkin's JSON of version 2: {error}");
    let is_of_traces = value.get(0).is_some_and(Value::is_array);
    let spans: Vec<ZipkinSpan> = if is_of_traces {
        let traces = Vec::<Vec<ZipkinSpan>>::deserialize(value).map_err(unreadable)?;
        traces.into_iter().flatten().collect()
    } else {
        Vec::deserialize(value).map_err(unreadable)?
    };
    spans.chunks(SPANS_PER_PART).map(resource_spans).collect()
}

fn resource_spans(spans: &[ZipkinSpan]) -> Result<Vec<ResourceSpans>, String> {
    let mut of_service = BTreeMap::<&str, Vec<Span>>::new();
    for span in spans {
        let endpoint = span.local_endpoint.as_ref();
        let service = endpoint.and_then(|endpoint| endpoint.service_name.as_deref()).unwrap_or_default();
        of_service.entry(service).or_default().push(read(span)?);
    }
    let resource_spans = of_service.into_iter().map(|(service, spans)| {
        let name = attribute("service.name", Any::StringValue(service.to_owned()));
        let attributes = if service.is_empty() { Vec::new() } else { vec![name] };
        ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    });
    Ok(resource_spans.collect())
}

fn read(span: &ZipkinSpan) -> Result<Span, String> {
    let start = span.timestamp.unwrap_or_default().saturating_mul(1_000);
    let duration = span.duration.unwrap_or_default().saturating_mul(1_000);
    let event = |annotation: &Annotation| Event {
        time_unix_nano: annotation.timestamp.saturating_mul(1_000),
        name: annotation.value.clone(),
        ..Event::default()
    };
    let parent = span.parent_id.as_deref().filter(|id| !id.is_empty());
    Ok(Span {
        trace_id: padded_hex(&span.trace_id, 16, "traceId")?,
        span_id: padded_hex(&span.id, 8, "id")?,
        parent_span_id: parent.map(|id| padded_hex(id, 8, "parentId")).transpose()?.unwrap_or_default(),
        name: span.name.clone().unwrap_or_default(),
        kind: kind(span.kind.as_deref()) as i32,
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(duration),
        attributes: attributes(span),
        events: span.annotations.iter().map(event).collect(),
        status: status(&span.tags),
        ..Span::default()
    })
}

fn kind(name: Option<&str>) -> SpanKind {
    match name {
        Some("CLIENT") => SpanKind::Client,
        Some("SERVER") => SpanKind::Server,
        Some("PRODUCER") => SpanKind::Producer,
        Some("CONSUMER") => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

/// Tags that say how the span ended.
const STATUS_TAGS: [&str; 3] = ["error", "otel.status_code", "otel.status_description"];

fn status(tags: &BTreeMap<String, String>) -> Option<Status> {
    let text = |key: &str| tags.get(key).cloned();
    let error = text("error").filter(|error| error != "false");
    let message = text("otel.status_description").or_else(|| error.clone().filter(|error| error != "true"));
    let message = message.unwrap_or_default();
    match text("otel.status_code").as_deref() {
        Some("OK") => Some(Status { code: StatusCode::Ok as i32, message: String::new() }),
        Some("ERROR") => Some(Status { code: StatusCode::Error as i32, message }),
        _ => error.map(|_| Status { code: StatusCode::Error as i32, message }),
    }
}

fn attributes(span: &ZipkinSpan) -> Vec<KeyValue> {
    let tags = span.tags.iter().filter(|(key, _)| !STATUS_TAGS.contains(&key.as_str()));
    let tags = tags.map(|(key, value)| attribute(key, Any::StringValue(value.clone())));
    let remote = span.remote_endpoint.iter().flat_map(|remote| {
        let text = |key, text: &Option<String>| text.clone().map(|text| attribute(key, Any::StringValue(text)));
        let address = remote.ipv4.clone().or_else(|| remote.ipv6.clone());
        let port = remote.port.filter(|port| *port != 0).map(|port| attribute("net.peer.port", Any::IntValue(port)));
        [text("peer.service", &remote.service_name), text("net.peer.ip", &address), port].into_iter().flatten()
    });
    tags.chain(remote).collect()
}

pub(super) fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// An id of `bytes` bytes; zeros in front may be left out.
pub(super) fn padded_hex(text: &str, bytes: usize, name: &str) -> Result<Vec<u8>, String> {
    let digits = bytes * 2;
    let id = Some(text).filter(|text| !text.is_empty() && text.len() <= digits);
    let id = id.and_then(|text| from_hex(&format!("{text:0>digits$}")));
    id.ok_or_else(|| format!("{name} {text:?} is not hex of at most {digits} digits"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_of_services_become_spans_of_resources() {
        let spans = json!([
            {"traceId": "5982fe77008310cc", "id": "bd7a977555f6b982", "name": "get", "kind": "SERVER",
             "timestamp": 1_700_000_000_000_001_u64, "duration": 7, "localEndpoint": {"serviceName": "shop", "ipv4": "1.2.3.4"},
             "annotations": [{"timestamp": 1_700_000_000_000_003_u64, "value": "ws"}], "tags": {"http.path": "/", "error": "no stock"}},
            {"traceId": "5982fe77008310cc", "parentId": "bd7a977555f6b982", "id": "ebf33e1a81dc6f71", "kind": "CLIENT",
             "timestamp": 1, "localEndpoint": {"serviceName": "shop"}, "remoteEndpoint": {"serviceName": "db", "port": 5432}},
        ]);
        for document in [spans.clone(), json!([spans])] {
            let parts = parts(&document).unwrap();
            assert_eq!((parts.len(), parts[0].len()), (1, 1));
            let [server, client] = parts[0][0].scope_spans[0].spans.as_slice() else { panic!("{parts:?}") };
            assert_eq!(
                (server.trace_id.len(), server.kind, server.name.as_str()),
                (16, SpanKind::Server as i32, "get")
            );
            assert_eq!(server.end_time_unix_nano - server.start_time_unix_nano, 7_000);
            assert_eq!(server.status, Some(Status { code: StatusCode::Error as i32, message: "no stock".to_owned() }));
            assert_eq!((server.attributes.len(), server.events[0].name.as_str()), (1, "ws"));
            assert_eq!(client.parent_span_id, server.span_id);
            let keys: Vec<&str> = client.attributes.iter().map(|pair| pair.key.as_str()).collect();
            assert_eq!(keys, ["peer.service", "net.peer.port"]);
        }
    }

    #[test]
    fn what_is_not_zipkins_is_named() {
        assert!(parts(&json!([{"id": 5}])).unwrap_err().starts_with("it is not Zipkin's JSON of version 2: "));
        let long = json!([{"traceId": "1".repeat(33), "id": "1"}]);
        assert!(parts(&long).unwrap_err().ends_with("is not hex of at most 32 digits"));
        assert_eq!(parts(&json!([])).unwrap().len(), 0);
    }
}
