use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::*;
use crate::attributes::{attribute, text_attribute};

const THRIFT: &[u8] = include_bytes!("../../../fixtures/zipkin_v1.thrift");

/// The same span as in the file.
const JSON: &str = r#"[{
    "traceId": "0af7651916cd43dd8448eb211c80319c", "id": "0000000000000011", "parentId": "0000000000000022",
    "name": "charge card",
    "annotations": [
        {"timestamp": 1700000000123456, "value": "cs",
         "endpoint": {"serviceName": "checkout", "ipv4": "10.0.0.1", "port": 65535}},
        {"timestamp": 1700000000123457, "value": "retry", "endpoint": {"serviceName": "checkout"}},
        {"timestamp": 1700000000125956, "value": "cr", "endpoint": {"serviceName": "checkout"}}
    ],
    "binaryAnnotations": [
        {"key": "peer", "value": "größe", "endpoint": {"serviceName": "checkout"}},
        {"key": "cached", "value": true},
        {"key": "retries", "value": "-3"},
        {"key": "sa", "value": true, "endpoint": {"serviceName": "bank", "ipv4": "10.0.0.2", "port": 443}}
    ]
}]"#;

#[test]
fn a_span_is_the_same_in_both_forms() {
    let reading = Reading { parses_tags: true, ..READING };
    let request = spans(Form::V1Json, Bytes::from_static(JSON.as_bytes()), reading).unwrap();
    assert_eq!(spans(Form::V1Thrift, Bytes::from_static(THRIFT), READING), Ok(request.clone()));

    let resource_spans = &request.resource_spans[0];
    let resource = [
        text_attribute("service.name", "checkout"),
        text_attribute("ipv4", "10.0.0.1"),
        text_attribute("port", "65535"),
    ];
    assert_eq!(resource_spans.resource.as_ref().unwrap().attributes, resource);
    let span = &resource_spans.scope_spans[0].spans[0];
    assert_eq!(span.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!((&*span.span_id, &*span.parent_span_id), (&0x11_u64.to_be_bytes()[..], &0x22_u64.to_be_bytes()[..]));
    assert_eq!((&*span.name, span.kind()), ("charge card", SpanKind::Client));
    assert_eq!(span.start_time_unix_nano, 1_700_000_000_123_456_000);
    assert_eq!(span.end_time_unix_nano, 1_700_000_000_125_956_000);
    let attributes = [
        text_attribute("peer", "größe"),
        attribute("cached", Value::BoolValue(true)),
        attribute("retries", Value::IntValue(-3)),
        text_attribute("peer.service", "bank"),
        text_attribute("net.peer.ip", "10.0.0.2"),
        attribute("net.peer.port", Value::IntValue(443)),
    ];
    assert_eq!(span.attributes, attributes);
    let events: Vec<&str> = span.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(events, ["retry"]);
}

#[test]
fn kind_and_times_come_from_the_annotations_unless_the_span_has_a_time() {
    for (annotations, kind, times) in [
        (r#"{"value":"sr","timestamp":5},{"value":"ss","timestamp":9}"#, SpanKind::Server, (5_000, 9_000)),
        (r#"{"value":"cr","timestamp":9},{"value":"cs","timestamp":5}"#, SpanKind::Client, (5_000, 9_000)),
        (r#"{"value":"ms","timestamp":5}"#, SpanKind::Producer, (5_000, 5_000)),
        (r#"{"value":"mr","timestamp":5}"#, SpanKind::Consumer, (5_000, 5_000)),
        (r#"{"value":"x","timestamp":5}"#, SpanKind::Unspecified, (5_000, 5_000)),
        ("", SpanKind::Unspecified, (5_000_000_000, 5_000_000_000)),
    ] {
        let (_, span) = one(Form::V1Json, &format!(r#""annotations":[{annotations}]"#));
        assert_eq!((span.kind(), (span.start_time_unix_nano, span.end_time_unix_nano)), (kind, times), "{annotations}");
        assert_eq!(span.attributes.is_empty(), !annotations.is_empty(), "{annotations}");
    }
    let (_, span) = one(Form::V1Json, r#""timestamp":7,"duration":2,"annotations":[{"value":"cs","timestamp":1}]"#);
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (7_000, 9_000));
}

#[test]
fn the_service_is_who_made_the_span_and_not_whom_it_asked() {
    for (fields, service) in [
        (
            r#""annotations":[{"value":"x","endpoint":{"serviceName":"b"}},{"value":"cs","endpoint":{"serviceName":"a"}}]"#,
            "a",
        ),
        (r#""binaryAnnotations":[{"key":"lc","value":"worker","endpoint":{"serviceName":"a"}}]"#, "a"),
        (r#""binaryAnnotations":[{"key":"lc","value":"worker"}]"#, "worker"),
        (r#""binaryAnnotations":[{"key":"sa","value":true,"endpoint":{"serviceName":"bank"}}]"#, "unknown-service"),
        (r#""annotations":[{"value":"x","endpoint":{"serviceName":"b"}}]"#, "b"),
    ] {
        let (resource, _) = one(Form::V1Json, fields);
        assert_eq!(resource, [text_attribute("service.name", service)], "{fields}");
    }
    let (_, span) = one(Form::V1Json, r#""timestamp":1,"binaryAnnotations":[{"key":"lc","value":"worker"}]"#);
    assert_eq!(span.attributes, [text_attribute("component", "worker")]);
    let server = r#""timestamp":1,"annotations":[{"value":"sr"}],"binaryAnnotations":[
        {"key":"sa","value":true,"endpoint":{"serviceName":"me"}},{"key":"ca","value":true,"endpoint":{"serviceName":"you"}}]"#;
    let (_, span) = one(Form::V1Json, server);
    assert_eq!(span.attributes, [attribute("sa", Value::BoolValue(true)), text_attribute("peer.service", "you")]);
}

#[test]
fn the_status_is_in_the_tags_of_several_libraries() {
    for (tags, expected, left) in [
        (&[("error", "true")][..], Some((StatusCode::Error, "")), 0),
        (&[("error", "timeout")], Some((StatusCode::Error, "timeout")), 0),
        (&[("error", "x"), ("otel.status_description", "y")], Some((StatusCode::Error, "y")), 0),
        (&[("census.status_code", "0")], Some((StatusCode::Ok, "")), 0),
        (&[("census.status_code", "14"), ("census.status_description", "off")], Some((StatusCode::Error, "off")), 0),
        (&[("otel.status_code", "ERROR"), ("error", "no")], Some((StatusCode::Error, "no")), 0),
        (&[("otel.status_code", "2"), ("http.status_code", "200")], Some((StatusCode::Error, "")), 1),
        (&[("http.status_code", "404"), ("http.status_message", "none")], Some((StatusCode::Error, "none")), 2),
        (&[("http.status_code", "200")], Some((StatusCode::Unset, "")), 1),
        (&[("http.status_code", "fine")], None, 1),
    ] {
        let tags: Vec<String> =
            tags.iter().map(|(key, value)| format!(r#"{{"key":"{key}","value":"{value}"}}"#)).collect();
        let fields = format!(r#""timestamp":1,"binaryAnnotations":[{}]"#, tags.join(","));
        let (_, span) = one(Form::V1Json, &fields);
        let status = span.status.as_ref().map(|status| (status.code(), status.message.as_str()));
        assert_eq!((status, span.attributes.len()), (expected, left), "{fields}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let error = failure(Form::V1Json, r#"[{"traceId":"1","id":"1","binaryAnnotations":[{"key":"a"},{"key":5}]}]"#);
    assert_eq!(error, "spans[0].binaryAnnotations[1].key: expected a text, found a number");
    let cut = spans(Form::V1Thrift, Bytes::from_static(&THRIFT[..THRIFT.len() - 30]), READING).unwrap_err().to_string();
    assert!(cut.starts_with("spans[0].binary_annotations[3]: "), "{cut}");
}
