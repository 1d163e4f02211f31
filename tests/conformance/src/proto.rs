//! Protobuf to protobuf JSON and back, driven by the field tables in `messages`.
//!
//! Bodies are read by table and not through generated types, so that one walk gives the JSON form which the comparators know:
//! names as declared, 64-bit integers as strings, enums by name, bytes in base64, fields that hold their default left out.

pub mod messages;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Buf;
use prost::{decode_length_delimiter, encode_length_delimiter};
use serde_json::{Value, json};

use crate::json::{Malformed, Object};

pub struct Message {
    pub fields: &'static [Field],
}

pub struct Field {
    pub name: &'static str,
    pub number: u64,
    pub kind: Kind,
    pub rule: Rule,
}

#[derive(Clone, Copy)]
pub enum Kind {
    String,
    Bytes,
    Bool,
    Uint32,
    Uint64,
    Int32,
    Int64,
    Fixed32,
    Fixed64,
    Double,
    Enum(&'static [&'static str]),
    Message(&'static Message),
}

#[derive(Clone, Copy, PartialEq)]
pub enum Rule {
    /// Left out when it holds the default.
    Single,
    Repeated,
    /// One of the fields of a message that holds nothing else: there even with a default value, and alone.
    Oneof,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Enums {
    Names,
    Numbers,
}

/// One field as it lies on the wire.
enum Raw<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

pub fn decode(message: &Message, body: &[u8], enums: Enums) -> Result<Object, Malformed> {
    let mut out = Object::new();
    decode_into(&mut out, message, body, enums)?;
    Ok(out)
}

fn decode_into(out: &mut Object, message: &Message, mut body: &[u8], enums: Enums) -> Result<(), Malformed> {
    while !body.is_empty() {
        let key = varint(&mut body)?;
        let raw = read_raw(key & 7, &mut body)?;
        if let Some(field) = message.fields.iter().find(|f| f.number == key >> 3) {
            set(out, field, raw, enums)?;
        }
    }
    Ok(())
}

fn varint(body: &mut &[u8]) -> Result<u64, Malformed> {
    let length = decode_length_delimiter(body).map_err(|e| Malformed(format!("protobuf: {e}")))?;
    Ok(length as u64)
}

fn read_raw<'a>(wire_type: u64, body: &mut &'a [u8]) -> Result<Raw<'a>, Malformed> {
    let ends = |_| Malformed("protobuf: the message ends within a field".into());
    match wire_type {
        0 => Ok(Raw::Varint(varint(body)?)),
        1 => body.try_get_u64_le().map(|v| Raw::Fixed64(v.to_le_bytes())).map_err(ends),
        2 => {
            let length = usize::try_from(varint(body)?).unwrap_or(usize::MAX);
            let (field, after) = body.split_at_checked(length).ok_or_else(|| {
                Malformed(format!("protobuf: a field of {length} bytes, where {} are left", body.len()))
            })?;
            *body = after;
            Ok(Raw::Bytes(field))
        }
        5 => body.try_get_u32_le().map(|v| Raw::Fixed32(v.to_le_bytes())).map_err(ends),
        other => Err(Malformed(format!("protobuf: wire type {other}"))),
    }
}

fn set(out: &mut Object, field: &Field, raw: Raw<'_>, enums: Enums) -> Result<(), Malformed> {
    if field.rule == Rule::Oneof {
        out.retain(|name, _| name == field.name);
    }
    if let (Kind::Message(message), Raw::Bytes(body)) = (field.kind, &raw) {
        return set_message(out, field, message, body, enums);
    }
    let Some((value, is_default)) = scalar(field.kind, raw, enums)? else { return Ok(()) };
    match field.rule {
        Rule::Repeated => push(out, field, value),
        Rule::Single if is_default => drop(out.remove(field.name)),
        Rule::Single | Rule::Oneof => drop(out.insert(field.name.into(), value)),
    }
    Ok(())
}

/// A single message that appears twice is merged, as protobuf demands.
fn set_message(out: &mut Object, field: &Field, message: &Message, body: &[u8], enums: Enums) -> Result<(), Malformed> {
    if field.rule == Rule::Repeated {
        push(out, field, Value::Object(decode(message, body, enums)?));
        return Ok(());
    }
    let slot = out.entry(field.name).or_insert_with(|| json!({}));
    slot.as_object_mut().map_or(Ok(()), |inner| decode_into(inner, message, body, enums))
}

fn push(out: &mut Object, field: &Field, value: Value) {
    if let Value::Array(items) = out.entry(field.name).or_insert_with(|| json!([])) {
        items.push(value);
    }
}

/// The JSON of a scalar and whether it is the default; nothing when the wire type is not that of the field.
fn scalar(kind: Kind, raw: Raw<'_>, enums: Enums) -> Result<Option<(Value, bool)>, Malformed> {
    Ok(Some(match (kind, raw) {
        (Kind::String, Raw::Bytes(bytes)) => {
            let text =
                std::str::from_utf8(bytes).map_err(|e| Malformed(format!("protobuf: a string is not UTF-8: {e}")))?;
            (json!(text), text.is_empty())
        }
        (Kind::Bytes, Raw::Bytes(bytes)) => (json!(BASE64_STANDARD.encode(bytes)), bytes.is_empty()),
        (Kind::Bool, Raw::Varint(n)) => (json!(n != 0), n == 0),
        (Kind::Uint32, Raw::Varint(n)) => (json!(n as u32), n as u32 == 0),
        (Kind::Int32, Raw::Varint(n)) => (json!(n as i32), n as i32 == 0),
        (Kind::Uint64, Raw::Varint(n)) => (json!(n.to_string()), n == 0),
        (Kind::Int64, Raw::Varint(n)) => (json!((n as i64).to_string()), n == 0),
        (Kind::Fixed32, Raw::Fixed32(bytes)) => {
            let n = u32::from_le_bytes(bytes);
            (json!(n), n == 0)
        }
        (Kind::Fixed64, Raw::Fixed64(bytes)) => {
            let n = u64::from_le_bytes(bytes);
            (json!(n.to_string()), n == 0)
        }
        (Kind::Double, Raw::Fixed64(bytes)) => (double(f64::from_le_bytes(bytes)), bytes == [0; 8]),
        (Kind::Enum(names), Raw::Varint(n)) => {
            let name = usize::try_from(n).ok().and_then(|i| names.get(i)).filter(|_| enums == Enums::Names);
            (name.map_or(json!(n as i32), |name| json!(name)), n == 0)
        }
        _ => return Ok(None),
    }))
}

fn double(value: f64) -> Value {
    match value {
        v if v.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        v => json!(v),
    }
}

/// The wire form of a request. Reads what streaming requests are made of: strings, unsigned integers and messages of those.
pub fn encode(message: &Message, doc: &Object) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    for (name, value) in doc {
        let wrong = || Malformed(format!("{name} cannot be sent"));
        let field = message.fields.iter().find(|f| f.name == name).ok_or_else(wrong)?;
        match (field.kind, value) {
            (Kind::String, Value::String(text)) => put_bytes(&mut out, field.number, text.as_bytes()),
            (Kind::Uint32 | Kind::Uint64, Value::Number(n)) => {
                put_varint(&mut out, field.number << 3);
                put_varint(&mut out, n.as_u64().ok_or_else(wrong)?);
            }
            (Kind::Message(inner), Value::Array(items)) if field.rule == Rule::Repeated => {
                for item in items {
                    put_bytes(&mut out, field.number, &encode(inner, item.as_object().ok_or_else(wrong)?)?);
                }
            }
            _ => return Err(wrong()),
        }
    }
    Ok(out)
}

fn put_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(out, number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, n: u64) {
    encode_length_delimiter(n as usize, out).expect("a Vec grows as needed");
}

#[cfg(test)]
mod tests {
    use super::messages::{SEARCH_REQUEST, SEARCH_RESPONSE, TRACE};
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value as Any};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};
    use prost::Message as _;

    #[test]
    fn otlp_becomes_protobuf_json() {
        let any = |value| Some(AnyValue { value: Some(value) });
        let attribute = |key: &str, value| KeyValue { key: key.into(), value, ..Default::default() };
        let values = vec![AnyValue { value: None }, AnyValue { value: Some(Any::BytesValue(vec![0, 255])) }];
        let span = Span {
            trace_id: vec![1; 16],
            kind: 2,
            start_time_unix_nano: 7,
            flags: 257,
            status: Some(Status::default()),
            attributes: vec![
                attribute("empty", any(Any::StringValue(String::new()))),
                attribute("int", any(Any::IntValue(-3))),
                attribute("no", any(Any::BoolValue(false))),
                attribute("inf", any(Any::DoubleValue(f64::NEG_INFINITY))),
                attribute("list", any(Any::ArrayValue(ArrayValue { values }))),
                attribute("none", None),
            ],
            ..Default::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
        let data = TracesData { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] };
        let got = decode(&TRACE, &data.encode_to_vec(), Enums::Names).unwrap();
        let want = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
            "traceId": "AQEBAQEBAQEBAQEBAQEBAQ==", "kind": "SPAN_KIND_SERVER", "startTimeUnixNano": "7", "flags": 257, "status": {},
            "attributes": [
                {"key": "empty", "value": {"stringValue": ""}}, {"key": "int", "value": {"intValue": "-3"}},
                {"key": "no", "value": {"boolValue": false}}, {"key": "inf", "value": {"doubleValue": "-Infinity"}},
                {"key": "list", "value": {"arrayValue": {"values": [{}, {"bytesValue": "AP8="}]}}}, {"key": "none"},
            ],
        }]}]}]});
        assert_eq!(Value::Object(got), want);
    }

    #[test]
    fn a_body_cut_short_is_malformed() {
        for body in [&[10, 10, 10, 8, 8][..], &[10], &[0xff], &[9, 1], &[11]] {
            assert!(decode(&SEARCH_RESPONSE, body, Enums::Names).is_err(), "{body:?}");
        }
    }

    #[test]
    fn requests_read_back() {
        let doc = json!({"Query": "{ }", "start": 5, "Limit": 300, "Tags": [{"key": "a", "value": "b"}]});
        let body = encode(&SEARCH_REQUEST, doc.as_object().unwrap()).unwrap();
        assert_eq!(Value::Object(decode(&SEARCH_REQUEST, &body, Enums::Names).unwrap()), doc);
        assert!(encode(&SEARCH_REQUEST, json!({"limit": 1}).as_object().unwrap()).is_err());
    }
}
