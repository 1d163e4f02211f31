//! Traces as Jaeger's page and API give them: `{"data": [{"traceID", "spans", "processes"}]}`, or one of `data`.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde::Deserialize;
use serde_json::Value;

use super::zipkin::{attribute, padded_hex};

#[derive(Deserialize)]
struct Document {
    data: Vec<JaegerTrace>,
}

#[derive(Deserialize)]
struct JaegerTrace {
    #[serde(default)]
    spans: Vec<JaegerSpan>,
    #[serde(default)]
    processes: BTreeMap<String, Process>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Process {
    service_name: String,
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JaegerSpan {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    #[serde(rename = "parentSpanID", default)]
    parent_span_id: String,
    #[serde(default)]
    operation_name: String,
    #[serde(default)]
    references: Vec<Reference>,
    /// Microseconds.
    #[serde(default)]
    start_time: u64,
    #[serde(default)]
    duration: u64,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    logs: Vec<Log>,
    #[serde(rename = "processID", default)]
    process_id: String,
    /// Older ones have it in place.
    #[serde(default)]
    process: Option<Process>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    ref_type: String,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    #[serde(default)]
    value: Value,
}

#[derive(Deserialize)]
struct Log {
    #[serde(default)]
    timestamp: u64,
    #[serde(default)]
    fields: Vec<Tag>,
}

/// One part a trace.
pub(super) fn parts(value: &Value) -> Result<Vec<Vec<ResourceSpans>>, String> {
    let unreadable = |error: serde_json::Error| format!("it is not what Jaeger exports: {error}");
    let traces = match value.get("data") {
        Some(_) => Document::deserialize(value).map_err(unreadable)?.data,
        None => vec![JaegerTrace::deserialize(value).map_err(unreadable)?],
    };
    traces.into_iter().map(resource_spans).collect()
}

fn resource_spans(trace: JaegerTrace) -> Result<Vec<ResourceSpans>, String> {
    let mut of_process = BTreeMap::<String, ResourceSpans>::new();
    for mut span in trace.spans {
        let own = span.process.take();
        let key = own.as_ref().map_or_else(|| span.process_id.clone(), |process| format!("\0{}", process.service_name));
        let process = own.as_ref().or_else(|| trace.processes.get(&span.process_id));
        let resource = of_process.entry(key).or_insert_with(|| resource(process));
        let (scope, span) = read(span)?;
        match resource.scope_spans.iter_mut().find(|known| known.scope == scope) {
            Some(known) => known.spans.push(span),
            None => resource.scope_spans.push(ScopeSpans { scope, spans: vec![span], ..ScopeSpans::default() }),
        }
    }
    Ok(of_process.into_values().collect())
}

fn resource(process: Option<&Process>) -> ResourceSpans {
    let name = process.map(|process| attribute("service.name", Any::StringValue(process.service_name.clone())));
    let tags = process.iter().flat_map(|process| &process.tags).filter_map(tag);
    let resource = Resource { attributes: name.into_iter().chain(tags).collect(), ..Resource::default() };
    ResourceSpans { resource: Some(resource), ..ResourceSpans::default() }
}

fn read(span: JaegerSpan) -> Result<(Option<InstrumentationScope>, Span), String> {
    let trace_id = padded_hex(&span.trace_id, 16, "traceID")?;
    let parent = span.references.iter().position(|reference| {
        reference.ref_type == "CHILD_OF" && padded_hex(&reference.trace_id, 16, "traceID").as_ref() == Ok(&trace_id)
    });
    let parent_id = parent.map_or(span.parent_span_id.as_str(), |at| span.references[at].span_id.as_str());
    let parent_span_id = match parent_id.trim_matches('0') {
        "" => Vec::new(),
        _ => padded_hex(parent_id, 8, "the parent's spanID")?,
    };
    let others = span.references.iter().enumerate().filter(|(at, _)| Some(*at) != parent);
    let links = others.map(|(_, reference)| link(reference)).collect::<Result<_, _>>()?;
    let mut tags = Tags(span.tags);
    let scope = tags.take("otel.scope.name").or_else(|| tags.take("otel.library.name"));
    let version = tags.take("otel.scope.version").or_else(|| tags.take("otel.library.version"));
    let scope = scope.map(|name| InstrumentationScope {
        name,
        version: version.unwrap_or_default(),
        ..InstrumentationScope::default()
    });
    let start = span.start_time.saturating_mul(1_000);
    let (kind, status, trace_state) = (tags.kind(), tags.status(), tags.take("w3c.tracestate").unwrap_or_default());
    let span = Span {
        trace_id,
        span_id: padded_hex(&span.span_id, 8, "spanID")?,
        trace_state,
        parent_span_id,
        name: span.operation_name,
        kind: kind as i32,
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(span.duration.saturating_mul(1_000)),
        attributes: tags.0.iter().filter_map(tag).collect(),
        events: span.logs.into_iter().map(event).collect(),
        links,
        status,
        ..Span::default()
    };
    Ok((scope, span))
}

fn link(reference: &Reference) -> Result<Link, String> {
    Ok(Link {
        trace_id: padded_hex(&reference.trace_id, 16, "traceID of a reference")?,
        span_id: padded_hex(&reference.span_id, 8, "spanID of a reference")?,
        ..Link::default()
    })
}

/// What OpenTelemetry keeps in fields of a span, Jaeger keeps in tags.
struct Tags(Vec<Tag>);

impl Tags {
    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|tag| tag.key == key)?;
        match self.0.swap_remove(at).value {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    fn kind(&mut self) -> SpanKind {
        match self.take("span.kind").as_deref() {
            Some("server") => SpanKind::Server,
            Some("client") => SpanKind::Client,
            Some("producer") => SpanKind::Producer,
            Some("consumer") => SpanKind::Consumer,
            Some("internal") => SpanKind::Internal,
            _ => SpanKind::Unspecified,
        }
    }

    fn status(&mut self) -> Option<Status> {
        let code = self.take("otel.status_code").map(|code| code.to_ascii_uppercase());
        let has_failed = self.take("error").is_some_and(|error| error != "false");
        let message = self.take("otel.status_description").unwrap_or_default();
        match code.as_deref() {
            Some("OK") => Some(Status { code: StatusCode::Ok as i32, message }),
            Some("ERROR") => Some(Status { code: StatusCode::Error as i32, message }),
            _ if has_failed => Some(Status { code: StatusCode::Error as i32, message }),
            _ => None,
        }
    }
}

/// `null` is no value.
fn tag(tag: &Tag) -> Option<KeyValue> {
    let value = match &tag.value {
        Value::Null => return None,
        Value::Bool(value) => Any::BoolValue(*value),
        Value::String(text) => Any::StringValue(text.clone()),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Any::IntValue(number),
            None => Any::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        },
        other => Any::StringValue(other.to_string()),
    };
    Some(attribute(&tag.key, value))
}

/// The field `event` is its name, else `message`.
fn event(log: Log) -> Event {
    let Log { timestamp, fields } = log;
    let mut fields = Tags(fields);
    let name = fields.take("event").or_else(|| fields.take("message")).unwrap_or_else(|| "log".to_owned());
    let attributes = fields.0.iter().filter_map(tag).collect();
    Event { time_unix_nano: timestamp.saturating_mul(1_000), name, attributes, ..Event::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_jaeger_keeps_in_tags_goes_where_it_belongs() {
        let document = json!({"data": [{"traceID": "af", "spans": [{
            "traceID": "af", "spanID": "b", "operationName": "GET /", "startTime": 1_700_000_000_000_001_u64, "duration": 1500,
            "references": [
                {"refType": "CHILD_OF", "traceID": "af", "spanID": "a"},
                {"refType": "FOLLOWS_FROM", "traceID": "ee", "spanID": "e"}],
            "tags": [
                {"key": "span.kind", "type": "string", "value": "server"},
                {"key": "error", "type": "bool", "value": true},
                {"key": "otel.status_description", "type": "string", "value": "boom"},
                {"key": "otel.scope.name", "type": "string", "value": "lib"},
                {"key": "http.status_code", "type": "int64", "value": 500},
                {"key": "ratio", "type": "float64", "value": 0.5}],
            "logs": [{"timestamp": 1_700_000_000_000_002_u64, "fields": [{"key": "event", "type": "string", "value": "retry"},
                {"key": "attempt", "type": "int64", "value": 2}]}],
            "processID": "p1", "warnings": null}],
            "processes": {"p1": {"serviceName": "shop", "tags": [{"key": "host.name", "type": "string", "value": "h"}]}}}],
            "total": 0, "errors": null});
        let parts = parts(&document).unwrap();
        let resource = &parts[0][0];
        let keys = |pairs: &[KeyValue]| pairs.iter().map(|pair| pair.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&resource.resource.as_ref().unwrap().attributes), ["service.name", "host.name"]);
        assert_eq!(resource.scope_spans[0].scope.as_ref().unwrap().name, "lib");
        let span = &resource.scope_spans[0].spans[0];
        assert_eq!((span.trace_id.len(), span.trace_id[15], span.parent_span_id[7]), (16, 0xaf, 0xa));
        assert_eq!(span.start_time_unix_nano, 1_700_000_000_000_001_000);
        assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 1_500_000);
        assert_eq!((span.kind, span.links.len(), span.links[0].trace_id[15]), (SpanKind::Server as i32, 1, 0xee));
        assert_eq!(span.status, Some(Status { code: StatusCode::Error as i32, message: "boom".to_owned() }));
        let mut attributes = keys(&span.attributes);
        attributes.sort();
        assert_eq!(attributes, ["http.status_code", "ratio"]);
        assert_eq!(
            (span.events[0].name.as_str(), keys(&span.events[0].attributes)),
            ("retry", vec!["attempt".to_owned()])
        );
    }

    #[test]
    fn what_is_not_jaegers_is_named() {
        assert!(parts(&json!({"data": 5})).unwrap_err().starts_with("it is not what Jaeger exports: "));
        let bad = json!({"spans": [{"traceID": "xyz", "spanID": "1"}]});
        assert_eq!(parts(&bad).unwrap_err(), r#"traceID "xyz" is not hex of at most 32 digits"#);
    }
}
