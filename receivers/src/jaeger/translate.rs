//! A batch of Jaeger's → OTLP.
//!
//! | Jaeger | OTLP |
//! |---|---|
//! | process: service, tags | resource: `service.name`, attributes; `hostname` is `host.name` |
//! | tag `span.kind` | kind |
//! | tags `error`, `otel.status_code`, `http.status_code` | status: `status.rs` |
//! | tags `otel.scope.name`, `otel.scope.version`, `w3c.tracestate` | scope, trace state |
//! | parent, or the first reference to a span of the same trace, `CHILD_OF` before others | parent |
//! | other references | links with `opentracing.ref_type` |
//! | logs; field `event` | events; name |

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use prost::Message;

use super::{Batch, Process, Reference, ReferenceKind, Span, status};
use crate::attributes::{
    NO_SERVICE_NAME, SCOPE_NAME, SCOPE_VERSION, SERVICE_NAME, SPAN_KIND, W3C_TRACE_STATE, find, put, take_text,
    text_attribute, with_last_values,
};
use crate::grouping::{Grouping, ResourcePlace, ScopeName};
use crate::id::span_id_bytes;

const EVENT_NAME: &str = "event";
const HOSTNAME: &str = "hostname";
const HOST_NAME: &str = "host.name";
const CLIENT_VERSION: &str = "jaeger.version";
const EXPORTER_VERSION: &str = "opencensus.exporterversion";
const REFERENCE_TYPE: &str = "opentracing.ref_type";

/// The W3C flag of a span that was sampled.
const SAMPLED: u32 = 1;

pub(super) fn batch(batch: Batch) -> ExportTraceServiceRequest {
    let mut grouping = Grouping::default();
    let of_batch = grouping.resource(resource(batch.process));
    let mut places = HashMap::new();
    for (process, sent) in batch.spans {
        // what says nothing at all is padding
        if process.is_none() && sent == Span::default() {
            continue;
        }
        let place = process.map_or(of_batch, |process| place_of(process, &mut places, &mut grouping));
        let (scope, span) = span(sent);
        grouping.add(place, scope, span);
    }
    grouping.finish()
}

/// Spans of one process usually have the same one, which then is translated once.
fn place_of(process: Process, places: &mut HashMap<Vec<u8>, ResourcePlace>, grouping: &mut Grouping) -> ResourcePlace {
    let mut key = process.service_name.clone().into_bytes();
    process.tags.iter().for_each(|tag| key.extend(tag.encode_length_delimited_to_vec()));
    *places.entry(key).or_insert_with(|| grouping.resource(resource(process)))
}

fn resource(process: Process) -> Vec<KeyValue> {
    if process.service_name == NO_SERVICE_NAME {
        return Vec::new();
    }
    let service = (!process.service_name.is_empty()).then(|| text_attribute(SERVICE_NAME, process.service_name));
    let mut attributes = with_last_values(service.into_iter().chain(process.tags).collect());
    if find(&attributes, HOST_NAME).is_none()
        && let Some(hostname) = attributes.iter_mut().find(|attribute| attribute.key == HOSTNAME)
    {
        hostname.key = HOST_NAME.to_owned();
    }
    if find(&attributes, EXPORTER_VERSION).is_none()
        && let Some(version) = take_text(&mut attributes, CLIENT_VERSION)
    {
        put(&mut attributes, EXPORTER_VERSION, Value::StringValue(format!("Jaeger-{version}")));
    }
    attributes
}

fn span(span: Span) -> (ScopeName, otlp::Span) {
    let parent = parent(&span);
    let mut attributes = with_last_values(span.tags);
    let scope = scope(&mut attributes);
    let kind = take_text(&mut attributes, SPAN_KIND).map_or(SpanKind::Unspecified, |name| kind(&name));
    let status = status::take(&mut attributes, kind);
    let translated = otlp::Span {
        trace_id: span.trace_id.to_be_bytes().to_vec(),
        span_id: span_id_bytes(span.span_id),
        parent_span_id: span_id_bytes(parent),
        trace_state: take_text(&mut attributes, W3C_TRACE_STATE).unwrap_or_default(),
        flags: if span.is_sampled { SAMPLED } else { 0 },
        name: span.operation_name,
        kind: kind.into(),
        start_time_unix_nano: span.start_nanos,
        end_time_unix_nano: span.end_nanos,
        attributes,
        events: span.logs,
        links: span.references.iter().filter(|reference| !reference.is_parent(parent)).map(link).collect(),
        status,
        ..otlp::Span::default()
    };
    (scope, translated)
}

/// The version belongs to the name; without one it stays where it is.
fn scope(attributes: &mut Vec<KeyValue>) -> ScopeName {
    match take_text(attributes, SCOPE_NAME) {
        Some(name) => ScopeName { name, version: take_text(attributes, SCOPE_VERSION).unwrap_or_default() },
        None => ScopeName::default(),
    }
}

fn kind(name: &str) -> SpanKind {
    match name {
        "client" => SpanKind::Client,
        "server" => SpanKind::Server,
        "producer" => SpanKind::Producer,
        "consumer" => SpanKind::Consumer,
        "internal" => SpanKind::Internal,
        _ => SpanKind::Unspecified,
    }
}

/// 0 for none.
fn parent(span: &Span) -> u64 {
    if span.parent_span_id != 0 {
        return span.parent_span_id;
    }
    let mut of_trace = span.references.iter().filter(|reference| reference.trace_id == span.trace_id);
    let first = of_trace.clone().next();
    let child_of = of_trace.find(|reference| reference.kind == ReferenceKind::ChildOf);
    child_of.or(first).map_or(0, |reference| reference.span_id)
}

impl Reference {
    fn is_parent(&self, parent: u64) -> bool {
        self.kind == ReferenceKind::ChildOf && self.span_id == parent
    }
}

fn link(reference: &Reference) -> Link {
    let kind = match reference.kind {
        ReferenceKind::ChildOf => "child_of",
        ReferenceKind::FollowsFrom => "follows_from",
    };
    Link {
        trace_id: reference.trace_id.to_be_bytes().to_vec(),
        span_id: reference.span_id.to_be_bytes().to_vec(),
        attributes: vec![text_attribute(REFERENCE_TYPE, kind)],
        ..Link::default()
    }
}

/// A log.
pub(super) fn event(time_unix_nano: u64, fields: Vec<KeyValue>) -> Event {
    let mut attributes = with_last_values(fields);
    let name = take_text(&mut attributes, EVENT_NAME).unwrap_or_default();
    Event { time_unix_nano, name, attributes, ..Event::default() }
}

/// What stands for a value of a type that Jaeger does not have.
pub(super) fn unknown_tag_type(kind: i32) -> Value {
    Value::StringValue(format!("<Unknown Jaeger TagType {kind}>"))
}
