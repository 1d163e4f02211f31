use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::*;
use crate::tempo::proto;

fn written(write: impl FnOnce(&mut Json)) -> String {
    let mut json = Json::default();
    write(&mut json);
    json.text
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[test]
fn doubles_print_as_in_go() {
    for (value, text) in [
        (0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (5.5e-7, "5.5e-7"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.25e22, "-1.25e+22"),
        (1e300, "1e+300"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (f64::NAN, r#""NaN""#),
        (f64::INFINITY, r#""Infinity""#),
        (f64::NEG_INFINITY, r#""-Infinity""#),
    ] {
        assert_eq!(written(|json| json.double(value)), text);
    }
}

#[test]
fn strings_are_escaped_as_in_go() {
    for (value, text) in [
        ("plain ä ✓", r#""plain ä ✓""#),
        ("a<b>&c", r#""a\u003cb\u003e\u0026c""#),
        ("q\"b\\n\nr\rt\t", r#""q\"b\\n\nr\rt\t""#),
        ("\u{1}\u{1f}\u{7f}", "\"\\u0001\\u001f\u{7f}\""),
        ("\u{2028}\u{2029}", r#""\u2028\u2029""#),
        ("", r#""""#),
    ] {
        assert_eq!(written(|json| json.string(value)), text);
    }
}

#[test]
fn values_print_even_when_zero() {
    let array = Value::ArrayValue(ArrayValue {
        values: vec![AnyValue { value: Some(Value::IntValue(1)) }, AnyValue { value: None }],
    });
    let list = Value::KvlistValue(KeyValueList { values: vec![attribute("k", Value::BoolValue(true))] });
    for (value, text) in [
        (Some(Value::StringValue(String::new())), r#"{"stringValue":""}"#),
        (Some(Value::BoolValue(false)), r#"{"boolValue":false}"#),
        (Some(Value::IntValue(0)), r#"{"intValue":"0"}"#),
        (Some(Value::IntValue(i64::MIN)), r#"{"intValue":"-9223372036854775808"}"#),
        (Some(Value::DoubleValue(0.0)), r#"{"doubleValue":0}"#),
        (Some(Value::DoubleValue(f64::INFINITY)), r#"{"doubleValue":"Infinity"}"#),
        (Some(Value::BytesValue(vec![0xff, 0xfe])), r#"{"bytesValue":"//4="}"#),
        (Some(array), r#"{"arrayValue":{"values":[{"intValue":"1"},{}]}}"#),
        (Some(list), r#"{"kvlistValue":{"values":[{"key":"k","value":{"boolValue":true}}]}}"#),
        (Some(Value::ArrayValue(ArrayValue::default())), r#"{"arrayValue":{}}"#),
        (None, "{}"),
    ] {
        assert_eq!(written(|json| json.any_value(&AnyValue { value })), text);
    }
}

fn resource_spans(span: Span) -> ResourceSpans {
    ResourceSpans {
        scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

#[test]
fn a_span_has_its_keys_in_order() {
    let span = Span {
        trace_id: vec![0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0xbc, 0x12, 0x34, 0x56, 0x78, 0x9d, 0xef],
        span_id: vec![0, 0, 0, 0, 0, 0, 0, 1],
        trace_state: "k=v".to_owned(),
        parent_span_id: vec![1],
        flags: 257,
        name: "GET /cart".to_owned(),
        kind: 2,
        start_time_unix_nano: 5,
        end_time_unix_nano: 6,
        attributes: vec![attribute("http.status_code", Value::IntValue(500))],
        dropped_attributes_count: 1,
        events: vec![Event { time_unix_nano: 7, name: "e".to_owned(), ..Event::default() }],
        dropped_events_count: 2,
        links: vec![Link { trace_id: vec![2], span_id: vec![3], flags: 1, ..Link::default() }],
        dropped_links_count: 3,
        status: Some(Status { message: "boom".to_owned(), code: 2 }),
    };
    let text = Json::of(&proto::Trace { resource_spans: vec![resource_spans(span)] });
    assert_eq!(
        text,
        concat!(
            r#"{"batches":[{"resource":{},"scopeSpans":[{"scope":{},"spans":[{"traceId":"AAAAAAAAAAAKvBI0Vnid7w==","#,
            r#""spanId":"AAAAAAAAAAE=","traceState":"k=v","parentSpanId":"AQ==","flags":257,"name":"GET /cart","#,
            r#""kind":"SPAN_KIND_SERVER","startTimeUnixNano":"5","endTimeUnixNano":"6","#,
            r#""attributes":[{"key":"http.status_code","value":{"intValue":"500"}}],"droppedAttributesCount":1,"#,
            r#""events":[{"timeUnixNano":"7","name":"e"}],"droppedEventsCount":2,"#,
            r#""links":[{"traceId":"Ag==","spanId":"Aw==","flags":1}],"droppedLinksCount":3,"#,
            r#""status":{"message":"boom","code":"STATUS_CODE_ERROR"}}]}]}]}"#
        )
    );
}

#[test]
fn an_empty_span_still_has_resource_scope_and_status() {
    let mut resource_spans = resource_spans(Span { kind: 9, ..Span::default() });
    resource_spans.resource = Some(Resource::default());
    let response = proto::TraceByIdResponse {
        trace: proto::Trace { resource_spans: vec![resource_spans] },
        status: 1,
        message: "half".to_owned(),
        ..proto::TraceByIdResponse::default()
    };
    let span = r#"{"resource":{},"scopeSpans":[{"scope":{},"spans":[{"kind":9,"status":{}}]}]}"#;
    let text =
        format!(r#"{{"trace":{{"resourceSpans":[{span}]}},"metrics":{{}},"status":"PARTIAL","message":"half"}}"#);
    assert_eq!(Json::of(&response), text);
}

#[test]
fn empty_answers_keep_their_lists() {
    assert_eq!(Json::of(&proto::TraceByIdResponse::default()), r#"{"trace":{},"metrics":{}}"#);
    assert_eq!(Json::of(&proto::SearchResponse::default()), r#"{"traces":[],"metrics":{}}"#);
    assert_eq!(Json::of(&proto::SearchTagsResponse::default()), r#"{"tagNames":[],"metrics":{}}"#);
    assert_eq!(Json::of(&proto::SearchTagsV2Response::default()), r#"{"scopes":[],"metrics":{}}"#);
    assert_eq!(Json::of(&proto::SearchTagValuesResponse::default()), r#"{"tagValues":[],"metrics":{}}"#);
    assert_eq!(Json::of(&proto::SearchTagValuesV2Response::default()), r#"{"tagValues":[],"metrics":{}}"#);
}

#[test]
fn a_found_trace_has_its_keys_in_order() {
    let span_set = proto::SpanSet {
        spans: vec![proto::Span {
            span_id: "0000000000000001".to_owned(),
            name: "GET".to_owned(),
            start_time_unix_nano: 5,
            duration_nanos: 0,
            attributes: vec![attribute("nestedSetParent", Value::IntValue(-1))],
        }],
        matched: 2,
        attributes: vec![attribute("count()", Value::IntValue(2))],
    };
    let stats = |span_count, error_count| proto::ServiceStats { span_count, error_count };
    let trace = proto::TraceSearchMetadata {
        trace_id: "f1".to_owned(),
        root_service_name: "<root span not yet received>".to_owned(),
        start_time_unix_nano: 5,
        span_set: Some(span_set.clone()),
        span_sets: vec![span_set],
        service_stats: BTreeMap::from([("b".to_owned(), stats(3, 1)), ("a".to_owned(), stats(1, 0))]),
        ..proto::TraceSearchMetadata::default()
    };
    let metrics = proto::SearchMetrics { inspected_bytes: 9, total_jobs: 3, inspected_spans: 10, ..Default::default() };
    let set = concat!(
        r#"{"spans":[{"spanID":"0000000000000001","name":"GET","startTimeUnixNano":"5","#,
        r#""attributes":[{"key":"nestedSetParent","value":{"intValue":"-1"}}]}],"matched":2,"#,
        r#""attributes":[{"key":"count()","value":{"intValue":"2"}}]}"#
    );
    let text = format!(
        concat!(
            r#"{{"traces":[{{"traceID":"f1","rootServiceName":"\u003croot span not yet received\u003e","#,
            r#""startTimeUnixNano":"5","spanSet":{set},"spanSets":[{set}],"#,
            r#""serviceStats":{{"a":{{"spanCount":1}},"b":{{"spanCount":3,"errorCount":1}}}}}}],"#,
            r#""metrics":{{"inspectedBytes":"9","totalJobs":3,"inspectedSpans":"10"}}}}"#
        ),
        set = set
    );
    assert_eq!(Json::of(&proto::SearchResponse { traces: vec![trace], metrics }), text);
}
