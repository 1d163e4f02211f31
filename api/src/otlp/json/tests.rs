mod fuzz;

use super::*;

fn read(text: &str) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(to_protobuf(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))).unwrap()
}

fn read_span(fields: &str) -> Span {
    let request = read(&format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#));
    request.resource_spans[0].scope_spans[0].spans[0].clone()
}

fn read_attribute(value: &str) -> Option<Any> {
    let span = read_span(&format!(r#""attributes":[{{"key":"k","value":{value}}}]"#));
    span.attributes[0].value.clone().and_then(|value| value.value)
}

#[test]
fn a_whole_request_is_read() {
    let request = read(
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}],
        "droppedAttributesCount":1},"schemaUrl":"r","scopeSpans":[{"scope":{"name":"lib","version":"1"},"schemaUrl":"s",
        "spans":[{"traceId":"5B8EFFF798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","parentSpanId":"eee19b7ec3c1b173",
        "traceState":"a=b","flags":257,"name":"cart","kind":2,"startTimeUnixNano":"1544712660000000000",
        "endTimeUnixNano":1544712661000000000,"droppedEventsCount":2,"droppedLinksCount":3,
        "events":[{"timeUnixNano":"5","name":"tick"}],"links":[{"traceId":"00","spanId":"01","flags":1}],
        "status":{"code":"STATUS_CODE_ERROR","message":"no"}}]}]}]}"#,
    );
    let resource_spans = &request.resource_spans[0];
    assert_eq!(resource_spans.resource.as_ref().unwrap().dropped_attributes_count, 1);
    let scope_spans = &resource_spans.scope_spans[0];
    assert_eq!((scope_spans.scope.as_ref().unwrap().name.as_str(), scope_spans.schema_url.as_str()), ("lib", "s"));
    let span = &scope_spans.spans[0];
    assert_eq!(span.trace_id[..3], [0x5b, 0x8e, 0xff]);
    assert_eq!(span.parent_span_id.last(), Some(&0x73));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1544712660000000000, 1544712661000000000));
    assert_eq!((span.kind, span.flags, span.dropped_events_count, span.dropped_links_count), (2, 257, 2, 3));
    assert_eq!((span.events[0].time_unix_nano, span.links[0].flags), (5, 1));
    assert_eq!(span.status.as_ref().unwrap().code, 2);
}

#[test]
fn values_are_read_as_what_they_are() {
    for (text, value) in [
        (r#"{"stringValue":""}"#, Any::StringValue(String::new())),
        (r#"{"boolValue":false}"#, Any::BoolValue(false)),
        (r#"{"intValue":"-9223372036854775808"}"#, Any::IntValue(i64::MIN)),
        (r#"{"intValue":7}"#, Any::IntValue(7)),
        (r#"{"intValue":1e3}"#, Any::IntValue(1000)),
        (r#"{"doubleValue":1}"#, Any::DoubleValue(1.0)),
        (r#"{"doubleValue":"-Infinity"}"#, Any::DoubleValue(f64::NEG_INFINITY)),
        (r#"{"bytesValue":"_-8"}"#, Any::BytesValue(vec![0xff, 0xef])),
        (r#"{"bytesValue":"/+8="}"#, Any::BytesValue(vec![0xff, 0xef])),
        (r#"{"arrayValue":{}}"#, Any::ArrayValue(ArrayValue::default())),
        (r#"{"string_value":"snake"}"#, Any::StringValue("snake".to_owned())),
    ] {
        assert_eq!(read_attribute(text), Some(value), "{text}");
    }
    assert_eq!(read_attribute("{}"), None);
    assert_eq!(read_attribute(r#"{"stringValue":null}"#), None);
    assert!(matches!(read_attribute(r#"{"doubleValue":"NaN"}"#), Some(Any::DoubleValue(nan)) if nan.is_nan()));
    let list = read_attribute(
        r#"{"kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":1},{}]}}}]}}"#,
    );
    let Some(Any::KvlistValue(list)) = list else { panic!("{list:?}") };
    let Some(Any::ArrayValue(array)) = list.values[0].value.clone().unwrap().value else { panic!("{list:?}") };
    assert_eq!(array.values.len(), 2);
}

#[test]
fn a_damaged_text_costs_one_character_and_no_span() {
    let text = |value: &[u8]| {
        let before = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"good"},{"name":"#;
        let request = to_protobuf(&[before, value, b"}]}]}]}"].concat()).unwrap();
        let request = ExportTraceServiceRequest::decode(request).unwrap();
        let spans = &request.resource_spans[0].scope_spans[0].spans;
        assert_eq!((spans.len(), spans[0].name.as_str()), (2, "good"));
        spans[1].name.clone()
    };
    assert_eq!(text(br#""cut \ud83d""#), "cut \u{fffd}");
    assert_eq!(text(b"\"cut \xf0\x9f\""), "cut \u{fffd}");
    let list = read_attribute(r#"{"arrayValue":{"values":[{"stringValue":"whole"},{"stringValue":"\udc00"}]}}"#);
    let Some(Any::ArrayValue(list)) = list else { panic!("{list:?}") };
    assert_eq!(list.values[1].value, Some(Any::StringValue("\u{fffd}".to_owned())));
}

#[test]
fn what_is_absent_null_or_unknown_does_no_harm() {
    assert!(read("{}").resource_spans.is_empty());
    assert!(read(r#"{"resource_spans":[]}"#).resource_spans.is_empty());
    assert!(read(r#"{"resourceSpans":null,"more":{"a":1}}"#).resource_spans.is_empty());
    let span = read_span(r#""kind":null,"name":null,"attributes":null,"status":null,"unknown":[1]"#);
    assert_eq!(span, Span::default());
    assert_eq!(read_span(r#""kind":"SPAN_KIND_CLIENT""#).kind, 3);
    assert_eq!(read_span(r#""start_time_unix_nano":"5""#).start_time_unix_nano, 5);
}

#[test]
fn wrong_types_name_the_field() {
    let in_span = |fields: &str| format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#);
    const SPAN: &str = "invalid OTLP: resourceSpans[0].scopeSpans[0].spans[0]";
    for (text, message) in [
        ("[]".to_owned(), "invalid OTLP: the request: expected an object, found an array".to_owned()),
        (
            r#"{"resourceSpans":"many"}"#.to_owned(),
            "invalid OTLP: resourceSpans: expected an array, found a string".to_owned(),
        ),
        (in_span(r#""name":5"#), format!("{SPAN}.name: expected a string, found a number")),
        (in_span(r#""traceId":"xy""#), format!("{SPAN}.traceId: expected pairs of hex digits, found a string")),
        (in_span(r#""traceId":"abc""#), format!("{SPAN}.traceId: expected pairs of hex digits, found a string")),
        (in_span(r#""kind":"SERVER""#), format!(r#"{SPAN}.kind: "SERVER" is not a known name"#)),
        (in_span(r#""startTimeUnixNano":-1"#), format!("{SPAN}.startTimeUnixNano: -1 is out of range")),
        (
            in_span(r#""startTimeUnixNano":1.5"#),
            format!("{SPAN}.startTimeUnixNano: expected an integer, found a number"),
        ),
        (
            in_span(r#""attributes":[{"key":"a","value":{"boolValue":"true"}}]"#),
            format!("{SPAN}.attributes[0].value.boolValue: expected a boolean, found a string"),
        ),
    ] {
        assert_eq!(to_protobuf(text.as_bytes()).unwrap_err().to_string(), message, "{text}");
    }
    assert!(to_protobuf(b"{").unwrap_err().to_string().starts_with("invalid JSON: "));
}
