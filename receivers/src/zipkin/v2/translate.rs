//! Spans of version 2 → OTLP.
//!
//! | Zipkin | OTLP |
//! |---|---|
//! | local endpoint | `service.name` of the resource; `net.host.ip`, `net.host.port` |
//! | remote endpoint | `peer.service`, `net.peer.ip`, `net.peer.port` |
//! | tags that describe a resource | the resource: `translate/resource_tags.rs` |
//! | tags `otel.scope.name`, `otel.scope.version`, older: `otel.library.*` | scope |
//! | kind; tag `span.kind` = `internal` without one | kind |
//! | tags `otel.status_code`, `otel.status_description`; any `error` | status |
//! | tags `otlp.link.0` … `otlp.link.127`, `w3c.tracestate` | links, trace state |
//! | annotations | events |
//!
//! Client and server of a call may share an id; whoever asks for the trace tells them apart.

mod resource_tags;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::{Kind, Span, annotation};
use crate::attributes::{
    ERROR, NO_SERVICE_NAME, OTEL_STATUS_CODE, OTEL_STATUS_DESCRIPTION, SCOPE_NAME, SCOPE_VERSION, SERVICE_NAME,
    SPAN_KIND, W3C_TRACE_STATE, attribute, put, text_attribute, with_last_values,
};
use crate::grouping::{Grouping, ScopeName};
use crate::id::span_id_bytes;
use crate::time::nanos_of_micros;
use crate::zipkin::{Reading, TIME_ABSENT, numbers};

const SERVICE_NAME_SOURCE: &str = "otlp.service.name.source";
const LIBRARY_NAME: &str = "otel.library.name";
const LIBRARY_VERSION: &str = "otel.library.version";
const NET_HOST_IP: &str = "net.host.ip";
const NET_HOST_PORT: &str = "net.host.port";
/// As many as the collector reads.
const MAX_LINKS: usize = 128;

pub(in crate::zipkin) fn spans(spans: Vec<Span>, reading: Reading, grouping: &mut Grouping) {
    for mut sent in spans {
        let place = grouping.resource(resource(&mut sent));
        let scope = scope(&mut sent);
        grouping.add(place, scope, span(sent, reading));
    }
}

impl Span {
    fn take_tag(&mut self, name: &str) -> Option<String> {
        let place = self.tags.iter().position(|(key, _)| key == name)?;
        Some(self.tags.remove(place).1)
    }
}

/// Spans that tell other things of their resource have another one.
fn resource(span: &mut Span) -> Vec<KeyValue> {
    let source = span.take_tag(SERVICE_NAME_SOURCE).filter(|source| !source.is_empty());
    let has_service = !span.local.service_name.is_empty() && span.local.service_name != NO_SERVICE_NAME;
    let service =
        has_service.then(|| text_attribute(source.as_deref().unwrap_or(SERVICE_NAME), &*span.local.service_name));
    let tags = std::mem::take(&mut span.tags);
    let (of_resource, of_span): (Vec<_>, Vec<_>) = tags.into_iter().partition(|(key, _)| resource_tags::is_one(key));
    span.tags = of_span;
    let tags = of_resource.into_iter().map(|(key, value)| text_attribute(key, value));
    with_last_values(service.into_iter().chain(tags).collect())
}

fn scope(span: &mut Span) -> ScopeName {
    let library = (span.take_tag(LIBRARY_NAME), span.take_tag(LIBRARY_VERSION));
    let scope = (span.take_tag(SCOPE_NAME), span.take_tag(SCOPE_VERSION));
    ScopeName { name: scope.0.or(library.0).unwrap_or_default(), version: scope.1.or(library.1).unwrap_or_default() }
}

fn span(mut span: Span, reading: Reading) -> otlp::Span {
    let times = Times::of(&span, reading);
    let kind = kind(&mut span);
    let status = status(&mut span);
    let links = links(&mut span);
    let trace_state = span.take_tag(W3C_TRACE_STATE).unwrap_or_default();
    let tags = span.tags.into_iter().map(|(key, value)| attribute(key, numbers::value(value, reading)));
    let mut attributes = with_last_values(tags.collect());
    span.local.put_address(&mut attributes, NET_HOST_IP, NET_HOST_PORT);
    span.remote.put_as_peer(&mut attributes);
    if times.is_absent {
        put(&mut attributes, TIME_ABSENT, Value::BoolValue(true));
    }
    otlp::Span {
        trace_id: span.trace_id.to_be_bytes().to_vec(),
        span_id: span_id_bytes(span.id),
        parent_span_id: span_id_bytes(if span.parent_id == span.id { 0 } else { span.parent_id }),
        trace_state,
        name: span.name,
        kind: kind.into(),
        start_time_unix_nano: times.start_nanos,
        end_time_unix_nano: times.end_nanos,
        attributes,
        events: span.annotations.iter().map(|(micros, text)| annotation::event(*micros, text)).collect(),
        links,
        status,
        ..otlp::Span::default()
    }
}

struct Times {
    start_nanos: u64,
    end_nanos: u64,
    is_absent: bool,
}

impl Times {
    /// A server that shares the client's span may leave the time to it. Such a span begins with its first annotation, or
    /// when it came: in 1970, no search would find it, and its trace would last for ever.
    fn of(span: &Span, reading: Reading) -> Self {
        let duration_nanos = nanos_of_micros(span.duration_micros);
        let first = span.annotations.iter().map(|(micros, _)| *micros).filter(|micros| *micros > 0).min();
        let start_nanos = match (span.timestamp_micros, first) {
            (micros @ 1.., _) => nanos_of_micros(micros),
            (_, Some(first)) => nanos_of_micros(first),
            (_, None) => reading.now_nanos.saturating_sub(duration_nanos),
        };
        let end_nanos = start_nanos.saturating_add(duration_nanos);
        Self { start_nanos, end_nanos, is_absent: span.timestamp_micros <= 0 }
    }
}

fn kind(span: &mut Span) -> SpanKind {
    match span.kind {
        Some(Kind::Client) => SpanKind::Client,
        Some(Kind::Server) => SpanKind::Server,
        Some(Kind::Producer) => SpanKind::Producer,
        Some(Kind::Consumer) => SpanKind::Consumer,
        None => match span.take_tag(SPAN_KIND).as_deref() {
            Some("internal") => SpanKind::Internal,
            _ => SpanKind::Unspecified,
        },
    }
}

/// Any `error` is an error. What it says is the message where nothing else is, and stays as a tag, unless it is `true`.
fn status(span: &mut Span) -> Option<Status> {
    let named = span.take_tag(OTEL_STATUS_CODE).map(|name| code_of_name(&name));
    let description = named.and_then(|_| span.take_tag(OTEL_STATUS_DESCRIPTION));
    let Some(error) = span.take_tag(ERROR) else {
        return named.map(|code| Status { code: code.into(), message: description.unwrap_or_default() });
    };
    if error == "true" {
        return Some(Status { code: StatusCode::Error.into(), message: description.unwrap_or_default() });
    }
    span.tags.push((ERROR.to_owned(), error.clone()));
    Some(Status { code: StatusCode::Error.into(), message: description.unwrap_or(error) })
}

/// As the specification, older collectors and `OTLP` spell them.
fn code_of_name(name: &str) -> StatusCode {
    let name = name.to_ascii_uppercase();
    match name.strip_prefix("STATUS_CODE_").unwrap_or(&name) {
        "OK" => StatusCode::Ok,
        "ERROR" => StatusCode::Error,
        _ => StatusCode::Unset,
    }
}

/// A tag that is no link stays a tag.
fn links(span: &mut Span) -> Vec<Link> {
    let mut links = Vec::new();
    for number in 0..MAX_LINKS {
        let name = format!("otlp.link.{number}");
        let Some(place) = span.tags.iter().position(|(key, _)| *key == name) else { break };
        if let Some(link) = annotation::link(&span.tags[place].1) {
            span.tags.remove(place);
            links.push(link);
        }
    }
    links
}
