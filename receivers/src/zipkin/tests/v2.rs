use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::*;
use crate::attributes::{attribute, text_attribute};

const PROTOBUF: &[u8] = include_bytes!("../../../fixtures/zipkin_v2.pb");

/// The same span as in the file.
const JSON: &str = r#"[{
    "traceId": "0af7651916cd43dd8448eb211c80319c", "id": "0000000000000011", "parentId": "22", "kind": "CLIENT",
    "name": "charge card", "timestamp": 1700000000123456, "duration": 2500,
    "localEndpoint": {"serviceName": "checkout", "ipv4": "10.0.0.1"},
    "remoteEndpoint": {"serviceName": "bank", "port": 443},
    "tags": {"peer": "größe", "otel.scope.name": "shop"},
    "annotations": [{"timestamp": 1700000000123457, "value": "retry"}]
}]"#;

fn span(fields: &str) -> Span {
    one(Form::V2Json, fields).1
}

#[test]
fn a_span_is_the_same_in_both_forms() {
    let request = read(Form::V2Json, JSON);
    assert_eq!(spans(Form::V2Protobuf, Bytes::from_static(PROTOBUF), READING), Ok(request.clone()));

    let resource_spans = &request.resource_spans[0];
    let resource = &resource_spans.resource.as_ref().unwrap().attributes;
    assert_eq!(*resource, [text_attribute("service.name", "checkout")]);
    let scope_spans = &resource_spans.scope_spans[0];
    assert_eq!(scope_spans.scope.as_ref().unwrap().name, "shop");
    let span = &scope_spans.spans[0];
    assert_eq!(span.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!((&*span.span_id, &*span.parent_span_id), (&0x11_u64.to_be_bytes()[..], &0x22_u64.to_be_bytes()[..]));
    assert_eq!((&*span.name, span.kind()), ("charge card", SpanKind::Client));
    assert_eq!(span.start_time_unix_nano, 1_700_000_000_123_456_000);
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 2_500_000);
    let attributes = [
        text_attribute("peer", "größe"),
        text_attribute("net.host.ip", "10.0.0.1"),
        text_attribute("peer.service", "bank"),
        attribute("net.peer.port", Value::IntValue(443)),
    ];
    assert_eq!(span.attributes, attributes);
    assert_eq!((&*span.events[0].name, span.events[0].time_unix_nano), ("retry", 1_700_000_000_123_457_000));
}

#[test]
fn the_status_is_in_the_tags() {
    for (tags, expected, left) in [
        (r#""error":"true""#, Some((StatusCode::Error, "")), 0),
        (r#""error":"timeout""#, Some((StatusCode::Error, "timeout")), 1),
        (r#""error":"""#, Some((StatusCode::Error, "")), 1),
        (r#""otel.status_code":"OK""#, Some((StatusCode::Ok, "")), 0),
        (
            r#""otel.status_code":"STATUS_CODE_ERROR","otel.status_description":"no""#,
            Some((StatusCode::Error, "no")),
            0,
        ),
        (r#""otel.status_code":"ERROR","error":"no""#, Some((StatusCode::Error, "no")), 1),
        (r#""http.status_code":"500""#, None, 1),
    ] {
        let span = span(&format!(r#""timestamp":1,"tags":{{{tags}}}"#));
        let status = span.status.as_ref().map(|status| (status.code(), status.message.as_str()));
        assert_eq!((status, span.attributes.len()), (expected, left), "{tags}");
    }
}

#[test]
fn tags_of_a_resource_make_one_and_no_span_loses_its_own() {
    let body = r#"[
        {"traceId":"1","id":"1","localEndpoint":{"serviceName":"a"},"tags":{"host.name":"h1"}},
        {"traceId":"1","id":"2","localEndpoint":{"serviceName":"a"},"tags":{"host.name":"h2"}},
        {"traceId":"1","id":"3","localEndpoint":{"serviceName":"a"},"tags":{"host.name":"h1","x":"y"}},
        {"traceId":"1","id":"4","localEndpoint":{"serviceName":"a"},"tags":{"otlp.service.name.source":"k8s.pod.name"}},
        {"traceId":"1","id":"5","tags":{"service.version":"7"}}
    ]"#;
    let request = read(Form::V2Json, body);
    let groups: Vec<(Vec<(&str, &str)>, usize)> = request
        .resource_spans
        .iter()
        .map(|group| {
            let attributes = &group.resource.as_ref().unwrap().attributes;
            let texts = attributes.iter().map(|one| {
                let value = one.value.as_ref().and_then(|value| value.value.as_ref()).unwrap();
                (one.key.as_str(), crate::attributes::text(value))
            });
            (texts.collect(), group.scope_spans[0].spans.len())
        })
        .collect();
    assert_eq!(
        groups,
        [
            (vec![("service.name", "a"), ("host.name", "h1")], 2),
            (vec![("service.name", "a"), ("host.name", "h2")], 1),
            (vec![("k8s.pod.name", "a")], 1),
            (vec![("service.version", "7")], 1),
        ]
    );
}

#[test]
fn events_and_links_of_the_collector_are_read_and_other_texts_stay_as_they_are() {
    let span = span(
        r#""tags":{"otlp.link.0":"0af7651916cd43dd8448eb211c80319c|00f067aa0ba902b7|a=b|{\"n\":2,\"s\":\"x|y\"}|3",
        "otlp.link.1":"no link"},"annotations":[
        {"timestamp":1,"value":"retry|{\"n\":1,\"r\":0.5,\"b\":true}|4"},{"timestamp":2,"value":"a|b|c"},
        {"timestamp":3,"value":"a|b"}]"#,
    );
    let [link] = span.links.as_slice() else { panic!("one link: {span:?}") };
    assert_eq!(link.span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!((&*link.trace_state, link.dropped_attributes_count), ("a=b", 3));
    assert_eq!(link.attributes, [attribute("n", Value::IntValue(2)), text_attribute("s", "x|y")]);
    let names: Vec<&str> = span.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["retry", "a|b|c", "a|b"]);
    assert_eq!(span.events[0].dropped_attributes_count, 4);
    assert_eq!(span.events[0].attributes.len(), 3);
    assert!(span.attributes.contains(&text_attribute("otlp.link.1", "no link")));
}

#[test]
fn a_span_without_a_time_begins_with_its_first_annotation_or_now() {
    let absent = attribute("otel.zipkin.absentField.startTime", Value::BoolValue(true));
    let annotated = span(r#""shared":true,"annotations":[{"timestamp":9,"value":"b"},{"timestamp":7,"value":"a"}]"#);
    assert_eq!((annotated.start_time_unix_nano, annotated.end_time_unix_nano), (7_000, 7_000));
    let bare = span(r#""duration":1000000"#);
    assert_eq!((bare.start_time_unix_nano, bare.end_time_unix_nano), (4_000_000_000, 5_000_000_000));
    assert_eq!((annotated.attributes, bare.attributes), (vec![absent.clone()], vec![absent]));
}

#[test]
fn client_and_server_of_a_call_keep_the_id_that_they_share() {
    let body = r#"[{"traceId":"1","id":"2","parentId":"2","kind":"CLIENT"},{"traceId":"1","id":"2","kind":"SERVER","shared":true}]"#;
    let request = read(Form::V2Json, body);
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    assert_eq!(
        (&spans[0].span_id, &spans[0].parent_span_id),
        (&spans[1].span_id, &vec![]),
        "no span is its own parent"
    );
    assert_eq!([spans[0].kind(), spans[1].kind()], [SpanKind::Client, SpanKind::Server]);
}

#[test]
fn values_are_read_as_senders_differ() {
    let (_, span) = one(
        Form::V2Json,
        r#""name":null,"kind":null,"timestamp":"12","duration":3.7,"parentId":"","tags":{"n":5,"b":true,"gone":null},
        "localEndpoint":null,"annotations":[null],"debug":true,"unknown":{}"#,
    );
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (12_000, 15_000));
    assert_eq!(span.attributes, [text_attribute("b", "true"), text_attribute("n", "5")]);
    let parsed = Reading { parses_tags: true, ..READING };
    let body = Bytes::from_static(br#"[{"traceId":"1","id":"1","timestamp":1,"tags":{"n":"5"}}]"#);
    let request = spans(Form::V2Json, body, parsed).unwrap();
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.attributes, [attribute("n", Value::IntValue(5))]);
}

#[test]
fn what_is_wrong_is_named() {
    for (body, expected) in [
        ("{}", "spans: expected a list, found an object"),
        ("[5]", "spans[0]: expected an object, found a number"),
        ("[", "invalid JSON"),
        (r#"[{"id":"1"}]"#, "spans[0]: no traceId"),
        (r#"[{"traceId":"1"}]"#, "spans[0]: no id"),
        (r#"[{"traceId":"1","id":"xyz"}]"#, r#"spans[0].id: "xyz" is no id"#),
        (r#"[{"traceId":"1","id":"1","kind":"LOCAL"}]"#, r#"spans[0].kind: "LOCAL" is no kind"#),
        (r#"[{"traceId":"1","id":"1","timestamp":"now"}]"#, "spans[0].timestamp: expected a whole number"),
        (
            r#"[{"traceId":"1","id":"1","annotations":[{"timestamp":{}}]}]"#,
            "spans[0].annotations[0].timestamp: expected",
        ),
        (r#"[{"traceId":"1","id":"1","localEndpoint":{"port":[]}}]"#, "spans[0].localEndpoint.port: expected"),
    ] {
        let error = failure(Form::V2Json, body);
        assert!(error.contains(expected), "{error}");
    }
    let cut = failure_of_bytes(&PROTOBUF[..PROTOBUF.len() - 1]);
    assert!(cut.starts_with("the request: "), "{cut}");
    let empty = failure_of_bytes(b"\x0a\x00");
    assert!(empty.contains("spans[0]: a span has a trace id and an id"), "{empty}");
}

fn failure_of_bytes(body: &[u8]) -> String {
    spans(Form::V2Protobuf, Bytes::copy_from_slice(body), READING).unwrap_err().to_string()
}
