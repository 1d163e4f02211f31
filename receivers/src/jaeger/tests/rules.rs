//! The rules of translation, one by one.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::super::*;
use crate::attributes::{attribute, find, text_attribute};

fn translated(span: Span) -> otlp::Span {
    let request = translate::batch(Batch { process: Process::default(), spans: vec![(None, span)] });
    request.resource_spans[0].scope_spans[0].spans[0].clone()
}

fn tagged(tags: &[KeyValue]) -> otlp::Span {
    translated(Span { span_id: 1, tags: tags.to_vec(), ..Span::default() })
}

fn text(key: &str, value: &str) -> KeyValue {
    text_attribute(key, value)
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn error(value: bool) -> KeyValue {
    attribute("error", Value::BoolValue(value))
}

#[test]
fn the_status_is_what_the_tags_say_first_to_last() {
    use StatusCode::{Error, Ok, Unset};
    let server = text("span.kind", "server");
    for (tags, expected, left) in [
        (vec![error(true)], Some((Error, "")), 0),
        (vec![error(true), text("otel.status_description", "no")], Some((Error, "no")), 0),
        (vec![error(true), text("http.status_message", "gone")], Some((Error, "gone")), 1),
        (vec![error(true), text("otel.status_code", "OK")], Some((Error, "")), 0),
        (vec![error(false)], None, 1),
        (vec![text("error", "true")], None, 1),
        (vec![text("otel.status_code", "ok")], Some((Ok, "")), 0),
        (vec![text("otel.status_code", "ERROR"), text("otel.status_description", "x")], Some((Error, "x")), 0),
        (vec![text("otel.status_code", "?")], Some((Unset, "")), 0),
        (vec![number("http.status_code", 503)], Some((Error, "")), 1),
        (vec![text("http.status_code", "503")], Some((Error, "")), 1),
        (vec![number("http.response.status_code", 404)], Some((Error, "")), 1),
        (vec![number("http.status_code", 404), server.clone()], None, 1),
        (vec![number("http.status_code", 500), server], Some((Error, "")), 1),
        (vec![number("http.status_code", 399)], None, 1),
        (vec![text("http.status_code", "good")], None, 1),
    ] {
        let span = tagged(&tags);
        let status = span.status.as_ref().map(|status| (status.code(), status.message.as_str()));
        assert_eq!((status, span.attributes.len()), (expected, left), "{tags:?}");
    }
}

#[test]
fn kind_scope_and_trace_state_are_taken_out_of_the_tags() {
    for (name, kind) in
        [("internal", 1), ("server", 2), ("client", 3), ("producer", 4), ("consumer", 5), ("SERVER", 0), ("", 0)]
    {
        let span = tagged(&[text("span.kind", name)]);
        assert_eq!((span.kind, span.attributes.len()), (kind, 0), "{name}");
    }
    let tags = ["otel.scope.name", "otel.scope.version", "w3c.tracestate", "left"].map(|key| text(key, key)).to_vec();
    let span = Span { span_id: 1, tags, ..Span::default() };
    let request = translate::batch(Batch { process: Process::default(), spans: vec![(None, span)] });
    let scope_spans = &request.resource_spans[0].scope_spans[0];
    let scope = scope_spans.scope.as_ref().unwrap();
    assert_eq!((&*scope.name, &*scope.version), ("otel.scope.name", "otel.scope.version"));
    assert_eq!(scope_spans.spans[0].trace_state, "w3c.tracestate");
    assert_eq!(scope_spans.spans[0].attributes, [text("left", "left")]);
    assert_eq!(tagged(&[text("otel.scope.version", "1")]).attributes, [text("otel.scope.version", "1")]);
}

#[test]
fn the_parent_is_the_field_or_a_reference_within_the_trace_and_the_others_are_links() {
    use ReferenceKind::{ChildOf, FollowsFrom};
    let reference = |kind, trace_id, span_id| Reference { kind, trace_id, span_id };
    for (parent_span_id, references, parent, links) in [
        (7, vec![reference(ChildOf, 1, 7)], 7, vec![]),
        (0, vec![reference(ChildOf, 1, 8)], 8, vec![]),
        (0, vec![reference(FollowsFrom, 1, 9), reference(ChildOf, 1, 8)], 8, vec![9]),
        (0, vec![reference(FollowsFrom, 1, 9)], 9, vec![9]),
        (0, vec![reference(ChildOf, 2, 8)], 0, vec![8]),
        (7, vec![reference(ChildOf, 1, 8)], 7, vec![8]),
        (0, vec![], 0, vec![]),
    ] {
        let span = translated(Span { trace_id: 1, span_id: 1, parent_span_id, references, ..Span::default() });
        let parent_id = if parent == 0 { vec![] } else { u64::to_be_bytes(parent).to_vec() };
        let found: Vec<Vec<u8>> = span.links.iter().map(|link| link.span_id.clone()).collect();
        let links: Vec<Vec<u8>> = links.into_iter().map(|id| u64::to_be_bytes(id).to_vec()).collect();
        assert_eq!((span.parent_span_id, found), (parent_id, links), "{parent_span_id}");
    }
}

#[test]
fn a_process_is_a_resource() {
    let resource = |service: &str, tags: &[KeyValue]| {
        let process = Process { service_name: service.to_owned(), tags: tags.to_vec() };
        let span = Span { span_id: 1, ..Span::default() };
        let request = translate::batch(Batch { process, spans: vec![(None, span)] });
        request.resource_spans[0].resource.clone().unwrap().attributes
    };
    let service = text("service.name", "a");
    assert_eq!(resource("a", &[]), std::slice::from_ref(&service));
    assert_eq!(resource("", &[number("n", 1)]), [number("n", 1)]);
    assert_eq!(resource("OTLPResourceNoServiceName", &[number("n", 1)]), []);
    assert_eq!(resource("a", &[text("hostname", "h")]), [service.clone(), text("host.name", "h")]);
    let both = [text("hostname", "h"), text("host.name", "i")];
    assert_eq!(resource("a", &both), [&[service][..], &both].concat());
    let version = resource("a", &[text("jaeger.version", "Go-2.30")]);
    assert_eq!(find(&version, "opencensus.exporterversion"), Some(&Value::StringValue("Jaeger-Go-2.30".to_owned())));
}

#[test]
fn spans_with_a_process_of_their_own_stand_with_their_like() {
    let process = |service: &str| Process { service_name: service.to_owned(), tags: Vec::new() };
    let span = |span_id| Span { span_id, ..Span::default() };
    let spans = vec![(None, span(1)), (Some(process("b")), span(2)), (None, span(3)), (Some(process("b")), span(4))];
    let request = translate::batch(Batch { process: process("a"), spans });
    let counts: Vec<usize> = request.resource_spans.iter().map(|one| one.scope_spans[0].spans.len()).collect();
    assert_eq!(counts, [2, 2]);
    let padding = Batch { process: process("a"), spans: vec![(None, Span::default())] };
    assert_eq!(translate::batch(padding).resource_spans, []);
}

#[test]
fn an_event_has_the_name_that_its_log_gives_it() {
    let event = translate::event(5, vec![text("event", "cache miss"), text("key", "k")]);
    assert_eq!((&*event.name, event.attributes.len(), event.time_unix_nano), ("cache miss", 1, 5));
    assert_eq!(translate::event(5, vec![text("message", "m")]).name, "");
}
