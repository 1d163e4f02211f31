//! Spans of version 1 → OTLP.
//!
//! | Zipkin | OTLP |
//! |---|---|
//! | first of the annotations `cs`, `cr`, `sr`, `ss`, `ms`, `mr` | kind; its endpoint is the resource |
//! | earliest and latest annotation, without a timestamp | start and end |
//! | other annotations | events |
//! | binary annotations | attributes; `lc` is `component` |
//! | of these `sa`, `ma`, of a server `ca`, with an endpoint | `peer.service`, `net.peer.ip`, `net.peer.port` |
//! | of these `error`, `http.status_code`, … | status: `status.rs` |

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};

use super::status::StatusTags;
use super::{Annotation, BinaryAnnotation, Span};
use crate::attributes::{SERVICE_NAME, attribute, put, text, text_attribute, with_last_values};
use crate::grouping::{Grouping, ScopeName};
use crate::id::span_id_bytes;
use crate::time::nanos_of_micros;
use crate::zipkin::endpoint::Endpoint;
use crate::zipkin::{Reading, TIME_ABSENT};

const LOCAL_COMPONENT: &str = "lc";
const COMPONENT: &str = "component";
const UNKNOWN_SERVICE: &str = "unknown-service";

pub(in crate::zipkin) fn spans(spans: Vec<Span>, reading: Reading, grouping: &mut Grouping) {
    for sent in spans {
        let place = grouping.resource(resource(&sent));
        grouping.add(place, ScopeName::default(), span(sent, reading));
    }
}

fn resource(span: &Span) -> Vec<KeyValue> {
    let Endpoint { service_name, ipv4, ipv6, port } = local_endpoint(span);
    let mut attributes = vec![text_attribute(SERVICE_NAME, service_name)];
    attributes.extend((!ipv4.is_empty()).then(|| text_attribute("ipv4", ipv4)));
    attributes.extend((!ipv6.is_empty()).then(|| text_attribute("ipv6", ipv6)));
    attributes.extend((port != 0).then(|| text_attribute("port", port.to_string())));
    attributes
}

/// Who made the span: of the annotations with a kind, else of the tags.
fn local_endpoint(span: &Span) -> Endpoint {
    let of_kind = span
        .annotations
        .iter()
        .find(|annotation| kind(&annotation.value).is_some() && !annotation.endpoint.service_name.is_empty());
    if let Some(annotation) = of_kind {
        return annotation.endpoint.clone();
    }
    let tags = || span.binary_annotations.iter().rev().filter(|tag| !is_address(tag));
    let of_tags = tags().map(|tag| tag.endpoint.service_name.as_str()).find(|name| !name.is_empty());
    let component = tags().find(|tag| tag.key == LOCAL_COMPONENT).map(|tag| text(&tag.value));
    let of_event = span.annotations.iter().map(|annotation| annotation.endpoint.service_name.as_str());
    let service_name = of_tags.or(component).or_else(|| of_event.into_iter().find(|name| !name.is_empty()));
    Endpoint { service_name: service_name.unwrap_or(UNKNOWN_SERVICE).to_owned(), ..Endpoint::default() }
}

fn span(span: Span, reading: Reading) -> otlp::Span {
    let kind = span.annotations.iter().find_map(|annotation| kind(&annotation.value)).unwrap_or_default();
    let (start_micros, end_micros) = times(&span);
    let (peers, tags): (Vec<_>, Vec<_>) = span.binary_annotations.into_iter().partition(|tag| is_peer(tag, kind));
    let mut status = StatusTags::default();
    let tags = tags.into_iter().map(|tag| attribute(key(tag.key), tag.value)).filter(|tag| !status.takes(tag));
    let mut attributes = with_last_values(tags.collect());
    peers.iter().for_each(|tag| tag.endpoint.put_as_peer(&mut attributes));
    if start_micros.is_none() {
        put(&mut attributes, TIME_ABSENT, Value::BoolValue(true));
    }
    let nanos = |micros: Option<i64>| micros.map_or(reading.now_nanos, nanos_of_micros);
    otlp::Span {
        trace_id: span.trace_id.to_be_bytes().to_vec(),
        span_id: span_id_bytes(span.id),
        parent_span_id: span_id_bytes(if span.parent_id == span.id { 0 } else { span.parent_id }),
        name: span.name,
        kind: kind.into(),
        start_time_unix_nano: nanos(start_micros),
        end_time_unix_nano: nanos(end_micros),
        attributes,
        events: span.annotations.into_iter().filter_map(event).collect(),
        status: status.status(),
        ..otlp::Span::default()
    }
}

fn key(key: String) -> String {
    if key == LOCAL_COMPONENT { COMPONENT.to_owned() } else { key }
}

fn kind(annotation: &str) -> Option<SpanKind> {
    Some(match annotation {
        "cs" | "cr" => SpanKind::Client,
        "sr" | "ss" => SpanKind::Server,
        "ms" => SpanKind::Producer,
        "mr" => SpanKind::Consumer,
        _ => return None,
    })
}

/// Start and end in microseconds, where they are known.
fn times(span: &Span) -> (Option<i64>, Option<i64>) {
    if span.timestamp_micros > 0 {
        let end = span.timestamp_micros.saturating_add(span.duration_micros);
        return (Some(span.timestamp_micros), Some(end));
    }
    let known = || span.annotations.iter().map(|annotation| annotation.micros).filter(|micros| *micros > 0);
    (known().min(), known().max())
}

fn is_address(tag: &BinaryAnnotation) -> bool {
    matches!(&*tag.key, "ca" | "sa" | "ma")
}

/// A server's `sa` is its own address, a client's `ca` too.
fn is_peer(tag: &BinaryAnnotation, kind: SpanKind) -> bool {
    let is_of_other_side = if kind == SpanKind::Server { tag.key == "ca" } else { tag.key != "ca" };
    is_address(tag) && is_of_other_side && tag.endpoint != Endpoint::default()
}

fn event(annotation: Annotation) -> Option<Event> {
    let is_event = kind(&annotation.value).is_none() && !annotation.value.is_empty();
    is_event.then(|| Event {
        time_unix_nano: nanos_of_micros(annotation.micros),
        name: annotation.value,
        ..Event::default()
    })
}
