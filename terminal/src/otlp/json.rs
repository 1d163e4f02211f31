//! OTLP/JSON ⇄ messages. What is written is what the specification says; what is read may have enums by name, 64-bit
//! integers as numbers, `null`, and fields that are not known.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde_json::{Map, Value, json};

use crate::trace::hex;

/// Values that stand in each other deeper than this are refused.
const MAX_DEPTH: usize = 64;

/// A `TracesData` as one line.
pub(crate) fn document(resource_spans: &[ResourceSpans]) -> String {
    json!({ "resourceSpans": resource_spans.iter().map(resource_spans_value).collect::<Vec<_>>() }).to_string()
}

/// An object without the members that say nothing.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Number(number) => number.as_u64() == Some(0),
        _ => false,
    };
    let members = members.into_iter().filter(|(_, value)| !says_nothing(value));
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn list<T>(items: &[T], write: impl Fn(&T) -> Value) -> Value {
    items.iter().map(write).collect()
}

fn nanos(nanos: u64) -> Value {
    if nanos == 0 { Value::Null } else { Value::String(nanos.to_string()) }
}

fn resource_spans_value(message: &ResourceSpans) -> Value {
    object([
        ("resource", message.resource.as_ref().map_or(Value::Null, resource_value)),
        ("scopeSpans", list(&message.scope_spans, scope_spans_value)),
        ("schemaUrl", message.schema_url.as_str().into()),
    ])
}

fn resource_value(message: &Resource) -> Value {
    object([
        ("attributes", list(&message.attributes, key_value)),
        ("droppedAttributesCount", message.dropped_attributes_count.into()),
    ])
}

fn scope_spans_value(message: &ScopeSpans) -> Value {
    object([
        ("scope", message.scope.as_ref().map_or(Value::Null, scope_value)),
        ("spans", list(&message.spans, span_value)),
        ("schemaUrl", message.schema_url.as_str().into()),
    ])
}

fn scope_value(message: &InstrumentationScope) -> Value {
    object([
        ("name", message.name.as_str().into()),
        ("version", message.version.as_str().into()),
        ("attributes", list(&message.attributes, key_value)),
        ("droppedAttributesCount", message.dropped_attributes_count.into()),
    ])
}

fn span_value(message: &Span) -> Value {
    object([
        ("traceId", hex(&message.trace_id).into()),
        ("spanId", hex(&message.span_id).into()),
        ("traceState", message.trace_state.as_str().into()),
        ("parentSpanId", hex(&message.parent_span_id).into()),
        ("flags", message.flags.into()),
        ("name", message.name.as_str().into()),
        ("kind", message.kind.into()),
        ("startTimeUnixNano", nanos(message.start_time_unix_nano)),
        ("endTimeUnixNano", nanos(message.end_time_unix_nano)),
        ("attributes", list(&message.attributes, key_value)),
        ("droppedAttributesCount", message.dropped_attributes_count.into()),
        ("events", list(&message.events, event_value)),
        ("droppedEventsCount", message.dropped_events_count.into()),
        ("links", list(&message.links, link_value)),
        ("droppedLinksCount", message.dropped_links_count.into()),
        ("status", message.status.as_ref().map_or(Value::Null, status_value)),
    ])
}

fn event_value(message: &Event) -> Value {
    object([
        ("timeUnixNano", nanos(message.time_unix_nano)),
        ("name", message.name.as_str().into()),
        ("attributes", list(&message.attributes, key_value)),
        ("droppedAttributesCount", message.dropped_attributes_count.into()),
    ])
}

fn link_value(message: &Link) -> Value {
    object([
        ("traceId", hex(&message.trace_id).into()),
        ("spanId", hex(&message.span_id).into()),
        ("traceState", message.trace_state.as_str().into()),
        ("attributes", list(&message.attributes, key_value)),
        ("droppedAttributesCount", message.dropped_attributes_count.into()),
        ("flags", message.flags.into()),
    ])
}

fn status_value(message: &Status) -> Value {
    object([("message", message.message.as_str().into()), ("code", message.code.into())])
}

fn key_value(message: &KeyValue) -> Value {
    json!({ "key": message.key, "value": message.value.as_ref().map_or_else(|| json!({}), any_value) })
}

fn any_value(message: &AnyValue) -> Value {
    match &message.value {
        None | Some(Any::StringValueStrindex(_)) => json!({}),
        Some(Any::StringValue(text)) => json!({ "stringValue": text }),
        Some(Any::BoolValue(value)) => json!({ "boolValue": value }),
        Some(Any::IntValue(number)) => json!({ "intValue": number.to_string() }),
        Some(Any::DoubleValue(number)) => json!({ "doubleValue": double(*number) }),
        Some(Any::BytesValue(bytes)) => json!({ "bytesValue": STANDARD.encode(bytes) }),
        Some(Any::ArrayValue(array)) => json!({ "arrayValue": { "values": list(&array.values, any_value) } }),
        Some(Any::KvlistValue(kvlist)) => json!({ "kvlistValue": { "values": list(&kvlist.values, key_value) } }),
    }
}

/// Numbers that JSON has no form for have names in the JSON of protobuf.
fn double(number: f64) -> Value {
    match number {
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        number if number.is_nan() => "NaN".into(),
        number => number.into(),
    }
}

/// Reads the spans of a `TracesData`.
///
/// # Errors
/// A text that names the field that is not as it should be.
pub(crate) fn read(document: &Value) -> Result<Vec<ResourceSpans>, String> {
    Fields(document).list("resourceSpans", |value| {
        let fields = Fields(value);
        Ok(ResourceSpans {
            resource: fields.message("resource", read_resource)?,
            scope_spans: fields.list("scopeSpans", read_scope_spans)?,
            schema_url: fields.text("schemaUrl")?,
        })
    })
}

/// Reads an `AnyValue`.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_value(value: &Value) -> Result<AnyValue, String> {
    read_any(value, 0)
}

fn read_resource(value: &Value) -> Result<Resource, String> {
    let fields = Fields(value);
    let dropped_attributes_count = fields.number("droppedAttributesCount")?;
    Ok(Resource { attributes: fields.attributes(0)?, dropped_attributes_count, entity_refs: Vec::new() })
}

fn read_scope_spans(value: &Value) -> Result<ScopeSpans, String> {
    let fields = Fields(value);
    let scope = fields.message("scope", |value| {
        let fields = Fields(value);
        Ok(InstrumentationScope {
            name: fields.text("name")?,
            version: fields.text("version")?,
            attributes: fields.attributes(0)?,
            dropped_attributes_count: fields.number("droppedAttributesCount")?,
        })
    })?;
    Ok(ScopeSpans { scope, spans: fields.list("spans", read_span)?, schema_url: fields.text("schemaUrl")? })
}

fn read_span(value: &Value) -> Result<Span, String> {
    let fields = Fields(value);
    Ok(Span {
        trace_id: fields.id("traceId")?,
        span_id: fields.id("spanId")?,
        trace_state: fields.text("traceState")?,
        parent_span_id: fields.id("parentSpanId")?,
        flags: fields.number("flags")?,
        name: fields.text("name")?,
        kind: fields.named_number("kind", |name| SpanKind::from_str_name(name).map(|kind| kind as i32))?,
        start_time_unix_nano: fields.number("startTimeUnixNano")?,
        end_time_unix_nano: fields.number("endTimeUnixNano")?,
        attributes: fields.attributes(0)?,
        dropped_attributes_count: fields.number("droppedAttributesCount")?,
        events: fields.list("events", read_event)?,
        dropped_events_count: fields.number("droppedEventsCount")?,
        links: fields.list("links", read_link)?,
        dropped_links_count: fields.number("droppedLinksCount")?,
        status: fields.message("status", |value| {
            let fields = Fields(value);
            let code = fields.named_number("code", |name| StatusCode::from_str_name(name).map(|code| code as i32))?;
            Ok(Status { message: fields.text("message")?, code })
        })?,
    })
}

fn read_event(value: &Value) -> Result<Event, String> {
    let fields = Fields(value);
    Ok(Event {
        time_unix_nano: fields.number("timeUnixNano")?,
        name: fields.text("name")?,
        attributes: fields.attributes(0)?,
        dropped_attributes_count: fields.number("droppedAttributesCount")?,
    })
}

fn read_link(value: &Value) -> Result<Link, String> {
    let fields = Fields(value);
    Ok(Link {
        trace_id: fields.id("traceId")?,
        span_id: fields.id("spanId")?,
        trace_state: fields.text("traceState")?,
        attributes: fields.attributes(0)?,
        dropped_attributes_count: fields.number("droppedAttributesCount")?,
        flags: fields.number("flags")?,
    })
}

fn read_key_value(value: &Value, depth: usize) -> Result<KeyValue, String> {
    let fields = Fields(value);
    let value = fields.message("value", |value| read_any(value, depth))?;
    Ok(KeyValue { key: fields.text("key")?, value, ..KeyValue::default() })
}

fn read_any(value: &Value, depth: usize) -> Result<AnyValue, String> {
    if depth > MAX_DEPTH {
        return Err(format!("an attribute is nested deeper than {MAX_DEPTH} levels"));
    }
    let fields = Fields(value);
    let Some((name, content)) = value.as_object().and_then(|object| object.iter().find(|(_, value)| !value.is_null()))
    else {
        return Ok(AnyValue::default());
    };
    let value = match name.as_str() {
        "stringValue" => Any::StringValue(fields.text(name)?),
        "boolValue" => Any::BoolValue(content.as_bool().ok_or_else(|| wrong(name, content))?),
        "intValue" => Any::IntValue(fields.number(name)?),
        "doubleValue" => Any::DoubleValue(read_double(content).ok_or_else(|| wrong(name, content))?),
        "bytesValue" => Any::BytesValue(STANDARD.decode(fields.text(name)?).map_err(|_| wrong(name, content))?),
        "arrayValue" => {
            let values = Fields(content).list("values", |value| read_any(value, depth + 1))?;
            Any::ArrayValue(ArrayValue { values })
        }
        "kvlistValue" => {
            let values = Fields(content).list("values", |value| read_key_value(value, depth + 1))?;
            Any::KvlistValue(KeyValueList { values })
        }
        _ => return Ok(AnyValue::default()),
    };
    Ok(AnyValue { value: Some(value) })
}

fn read_double(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// The members of an object; those that are `null` are not there.
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<String, String> {
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| wrong(name, value));
        self.get(name).map_or(Ok(String::new()), text)
    }

    fn number<T: TryFrom<i128> + Default>(&self, name: &str) -> Result<T, String> {
        let Some(value) = self.get(name) else { return Ok(T::default()) };
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let number = text.parse::<i128>().ok().and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| wrong(name, value))
    }

    fn named_number(&self, name: &str, of_name: impl Fn(&str) -> Option<i32>) -> Result<i32, String> {
        match self.get(name).and_then(Value::as_str).and_then(of_name) {
            Some(number) => Ok(number),
            None => self.number(name),
        }
    }

    fn id(&self, name: &str) -> Result<Vec<u8>, String> {
        let text = self.text(name)?;
        from_hex(&text).ok_or_else(|| format!("{name} {text:?} is not hex, as ids are in OTLP/JSON"))
    }

    fn attributes(&self, depth: usize) -> Result<Vec<KeyValue>, String> {
        self.list("attributes", |value| read_key_value(value, depth))
    }

    fn message<T>(&self, name: &str, read: impl Fn(&Value) -> Result<T, String>) -> Result<Option<T>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(value @ Value::Object(_)) => read(value).map(Some),
            Some(other) => Err(wrong(name, other)),
        }
    }

    fn list<T>(&self, name: &str, read: impl Fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => values.iter().map(read).collect(),
            Some(other) => Err(wrong(name, other)),
        }
    }
}

fn wrong(name: &str, value: &Value) -> String {
    format!("{name} cannot be {}", crate::figures::cut(&value.to_string(), 40))
}

/// Bytes of hex digits, of an even number of them.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(value: Any) -> Option<AnyValue> {
        Some(AnyValue { value: Some(value) })
    }

    fn attribute(key: &str, value: Any) -> KeyValue {
        KeyValue { key: key.to_owned(), value: any(value), ..KeyValue::default() }
    }

    fn everything() -> Vec<ResourceSpans> {
        let inner = AnyValue { value: Some(Any::DoubleValue(0.5)) };
        let attributes = vec![
            attribute("text", Any::StringValue("ключ".to_owned())),
            attribute("int", Any::IntValue(i64::MIN)),
            attribute("infinite", Any::DoubleValue(f64::INFINITY)),
            attribute("bytes", Any::BytesValue(vec![0, 255])),
            attribute("list", Any::ArrayValue(ArrayValue { values: vec![inner, AnyValue::default()] })),
            attribute("map", Any::KvlistValue(KeyValueList { values: vec![attribute("b", Any::BoolValue(false))] })),
            KeyValue { key: "nothing".to_owned(), value: Some(AnyValue::default()), ..KeyValue::default() },
        ];
        let link = Link { trace_id: vec![3; 16], span_id: vec![4; 8], flags: 1, ..Link::default() };
        let event = Event { time_unix_nano: u64::MAX, name: "e".to_owned(), ..Event::default() };
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: "a=b".to_owned(),
            flags: 256,
            name: "GET".to_owned(),
            kind: SpanKind::Server as i32,
            start_time_unix_nano: 1_700_000_000_123_456_789,
            attributes,
            events: vec![event],
            links: vec![link],
            dropped_links_count: 7,
            status: Some(Status { code: StatusCode::Error as i32, message: "no".to_owned() }),
            ..Span::default()
        };
        let scope = Some(InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() });
        let resource = Some(Resource {
            attributes: vec![attribute("service.name", Any::StringValue("s".to_owned()))],
            ..Resource::default()
        });
        let scope_spans = vec![ScopeSpans { scope, spans: vec![span], schema_url: "u".to_owned() }];
        vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }]
    }

    #[test]
    fn what_is_written_is_read_again_unchanged() {
        let text = document(&everything());
        assert!(!text.contains('\n') && text.contains(r#""startTimeUnixNano":"1700000000123456789""#), "{text}");
        assert_eq!(read(&serde_json::from_str(&text).unwrap()), Ok(everything()));
    }

    #[test]
    fn other_writers_are_understood() {
        let text = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0A","spanId":"0b","parentSpanId":null,
            "kind":"SPAN_KIND_CLIENT","startTimeUnixNano":5,"status":{"code":"STATUS_CODE_OK"},"new":{},
            "attributes":[{"key":"a","value":{"intValue":3}},{"key":"b","value":{"arrayValue":{}}}]}]}]}]}"#;
        let read = read(&serde_json::from_str(text).unwrap()).unwrap();
        let span = &read[0].scope_spans[0].spans[0];
        assert_eq!((span.trace_id.as_slice(), span.kind, span.start_time_unix_nano), ([10].as_slice(), 3, 5));
        assert_eq!(span.status.as_ref().map(|status| status.code), Some(1));
        assert_eq!(span.attributes[0].value, any(Any::IntValue(3)));
    }

    #[test]
    fn a_wrong_field_is_named() {
        let problem = |span: &str| {
            let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
            read(&serde_json::from_str(&text).unwrap()).unwrap_err()
        };
        assert_eq!(problem(r#"{"traceId":"AAECAwQ="}"#), r#"traceId "AAECAwQ=" is not hex, as ids are in OTLP/JSON"#);
        assert_eq!(problem(r#"{"name":5}"#), "name cannot be 5");
        assert_eq!(problem(r#"{"startTimeUnixNano":"soon"}"#), r#"startTimeUnixNano cannot be "soon""#);
        assert_eq!(problem(r#"{"events":{}}"#), "events cannot be {}");
    }
}
